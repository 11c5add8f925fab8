/* SPDX-License-Identifier: Apache-2.0 */
/* The log at its edges: full files, many files, outages, refusals, cancelled and late things. */
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/format/batch.h"
#include "tests/helper/log_driver.h"
#include "tests/unit/tap.h"

static void on_watch(struct log_watch *w, const struct err *e)
{
	(void)w;
	on_done(NULL, e);
}

/* One batch with one record of n bytes; its offset, or -1. */
static int64_t append_bytes(struct partition *p, size_t n)
{
	struct batch_writer w;
	struct buf batch = BUF_INIT(BATCH_MAX_BYTES);
	uint8_t *value = mem_zalloc(n);
	struct record r = {.timestamp = 1, .value = {value, n}};
	struct err e = ERR_INIT;
	int64_t first = -1, last;

	batch_writer_init(&w, CODEC_NONE, BATCH_MAX_BYTES);
	if (batch_writer_add(&w, &r, &e) < 0 || batch_writer_finish(&w, &batch, &e) < 0 ||
		log_append_batch(t.log, p, batch.data, batch.len, &first, &last, &e) < 0)
		printf("# append of %zu bytes: %s\n", n, e.text);
	batch_writer_release(&w);
	buf_release(&batch);
	mem_free(value);
	return first;
}

/* A file that is full to its last byte, flushed before the next one exists. */
static void test_exact_file(const char *dir)
{
	struct partition *p;
	uint64_t room;

	start(dir, NULL, NULL);
	create("exact", 1, "{\"max.message.bytes\":\"33554432\"}");
	p = part("exact", 0);
	for (;;) {
		room = WAL_FILE_BYTES - wal_end_lsn(t.log->wal) % WAL_FILE_BYTES;
		if (append_bytes(p, room > (20 << 20) ? 8 << 20 : room - 192) < 0 || room <= (20 << 20))
			break;
		wait_for(p, p->end, DURABILITY_WAL);
	}
	is_int(wal_end_lsn(t.log->wal) % WAL_FILE_BYTES, 0, "the file is full to its last byte");
	is_int(wait_for(p, p->end, DURABILITY_OBJECT), DURABILITY_OBJECT, "it is flushed");
	append(p, "next", 1);
	is_int(wait_for(p, p->end + 1, DURABILITY_OBJECT), DURABILITY_OBJECT, "so is the file behind it");
	stop();
}

/* Records and a batch that must be compressed anew, for one partition in one turn. */
static void test_recompress(const char *dir)
{
	struct partition *p;

	start(dir, NULL, NULL);
	create("zip", 1, "{\"compression.type\":\"zstd\"}");
	p = part("zip", 0);
	append(p, "record", 1);
	append_bytes(p, 0);
	append(p, "after", 1);
	is_int(wait_for(p, 3, DURABILITY_WAL), DURABILITY_WAL, "records and a batch of one turn");
	is_str(fetch(p, 0), "record,,after", "are three records, each as it was");
	stop();
}

/* The writer of records is kept from turn to turn, and must hear of a new config. */
static void test_kept_writer(const char *dir)
{
	struct partition *p;
	struct batch_header h;

	start(dir, NULL, NULL);
	create("alter", 1, "{}");
	p = part("alter", 0);
	append(p, "plain", 1);
	wait_for(p, 1, DURABILITY_WAL);
	log_topic_alter(t.log, "alter", 0, "{\"compression.type\":\"zstd\"}", on_done, NULL);
	ok(run(5000) && !t.failed, "compression altered");
	append(p, "compressed", 1);
	wait_for(p, 2, DURABILITY_WAL);
	is_str(fetch(p, 1), "compressed", "a record of afterwards");
	ok(batch_header_read(t.fetch.batches.data, t.fetch.batches.len, &h, NULL) == 0 && batch_codec(&h) == CODEC_ZSTD,
		"is compressed as the topic says");
	stop();
}

/* With wal.sync=never nobody reports a sync: age alone must flush. */
static void test_never(const char *dir)
{
	struct partition *p;
	struct log_watch watch = {.offset = 0};
	char *own = mem_printf("%s/never", dir);

	start(own, "wal.sync", "never");
	settings_set(t.self->settings, "segment.max_age", "1s", "test", NULL);
	create("never", 1, "{}");
	p = part("never", 0);
	append(p, "lonely", 1);
	log_watch(t.log, &watch, p, 0, on_watch);
	ok(run(8000) && !t.failed, "with wal.sync=never a record is seen when its age flushes it");
	log_watch_cancel(&watch);
	stop();
	mem_free(own);
}

int main(void)
{
	char dir[] = "/tmp/test-log-edge-XXXXXX";
	char *command;

	if (!mkdtemp(dir))
		return 1;
	test_recompress(dir);
	test_exact_file(dir);
	test_kept_writer(dir);
	test_never(dir);
	command = mem_printf("rm -rf %s", dir);
	if (system(command) != 0)
		printf("# %s is left behind\n", dir);
	mem_free(command);
	return done_testing();
}
