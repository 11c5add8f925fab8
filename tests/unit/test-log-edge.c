/* SPDX-License-Identifier: Apache-2.0 */
/* The log at its edges: full files, many files, outages, refusals, cancelled and late things. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/format/batch.h"
#include "libsh/store/meta.h"
#include "tests/helper/append_batch.h"
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
		append_batch(t.log, p, &batch, &first, &last, &e) < 0)
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

/* The commit succeeded, its answer was lost, and then meta's disk fails: nothing but the same commit may follow. */
static void test_lost_commit(const char *dir)
{
	struct partition *p;

	start(dir, NULL, NULL);
	create("lost", 1, "{}");
	p = part("lost", 0);
	append(p, "once", 1);
	fake_fault(t.self, MSG_SEGMENT_COMMIT, ERR_OUTCOME_UNKNOWN, true);
	fake_fault(t.self, MSG_SEGMENT_COMMIT, ERR_IO, false);
	is_int(wait_for(p, 1, DURABILITY_OBJECT), DURABILITY_OBJECT, "a commit whose answer was lost is found done");
	ok(!p->damage, "and its partition goes on: %s", p->damage ? p->damage : "");
	is_str(fetch(p, 0), "once", "and reads");
	stop();
}

/* Nothing can be written to the directory of the log's quarantine; or it can again. */
static void quarantine_away(bool away)
{
	char *place = mem_strdup(t.log->quarantine_dir), *aside = mem_printf("%s.away", place);

	ok(away ? rename(place, aside) == 0 && close(open(place, O_WRONLY | O_CREAT, 0600)) == 0
		: unlink(place) == 0 && rename(aside, place) == 0, "quarantine %s", away ? "goes" : "is there again");
	mem_free(place);
	mem_free(aside);
}

static void test_refused(const char *dir)
{
	struct partition *p;

	start(dir, NULL, NULL);
	create("refused", 1, "{}");
	p = part("refused", 0);
	append(p, "first", 1);
	fake_verdict(t.self, META_REFUSED_FENCED, 1);
	is_int(wait_for(p, 1, DURABILITY_OBJECT), DURABILITY_OBJECT, "a refusal is believed when it comes again after a renewal, not before");
	append(p, "mine", 1);
	fake_verdict(t.self, META_REFUSED_GAP, INT_MAX);
	quarantine_away(true);
	log_wait(t.log, &t.wait, p, 2, DURABILITY_OBJECT, on_wait);
	for (int i = 0; i < 1000 && t.log->flush_error.code == ERR_NONE; i++)
		fake_run_until(t.self, &t.flag, 5);
	ok(t.log->flush_error.code != ERR_NONE && !list_empty(&t.log->ranges) && !p->private_->refused,
		"what cannot be put into quarantine stays in the log: %s", t.log->flush_error.text);
	is_int(append(p, "more", 1), -1, "and nothing more is taken meanwhile, to be refused as well");
	quarantine_away(false);
	ok(run(10000) && t.failed, "whoever waits for a refused commit hears of it");
	ok(p->damage && t.log->numbers.quarantined_entries == 1, "its entry is in quarantine");
	is_str(fetch(p, 1), "partition_damaged", "and a read says so");
	is_int(wait_for(p, 2, DURABILITY_OBJECT), DURABILITY_TOPIC, "later waits too");
	is_int(t.log->index_bytes, 0, "and the index forgets it");
	stop();
}

static void test_late_waits(const char *dir)
{
	struct log_watch watch = {.offset = 0};
	struct partition *p = NULL;
	struct topic *topic = NULL;

	start(dir, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		create("gone", 1, "{}");
		p = part("gone", 0);
		topic = p->topic;
		topic_ref(topic);
		log_topic_delete(t.log, "gone", on_done, NULL);
		run(5000);
		if (i < 19)
			topic_unref(topic);
	}
	is_int(wait_for(p, 1, DURABILITY_WAL), DURABILITY_TOPIC, "a wait on a deleted topic ends");
	log_watch(t.log, &watch, p, 0, on_watch);
	ok(run(5000) && t.failed && t.e.code == ERR_TOPIC_NOT_FOUND, "so does a watch");
	topic_unref(topic);
	create("gone", 1, "{}");
	ok(list_empty(&t.log->gone), "deleted topics are forgotten when nobody knows them");
	p = part("gone", 0);
	append(p, "x", 1);
	err_set(&t.e, ERR_IO, "the test says so");
	log_wal_failed(t.log, &t.e);
	is_int(wait_for(p, 1, DURABILITY_WAL), DURABILITY_TOPIC, "a wait after the WAL failed ends");
	stop();
}

static bool drained;
static void on_drained(void *ctx)
{
	(void)ctx;
	drained = true;
	t.flag = true;
}

/* A segment whose commit is due after the session was closed is the next life's. */
static void test_drain(const char *dir)
{
	struct range *r = NULL;
	struct partition *p;

	start(dir, NULL, NULL);
	create("drain", 1, "{}");
	p = part("drain", 0);
	append(p, "last", 1);
	wait_for(p, 1, DURABILITY_WAL);
	fake_fault(t.self, MSG_SEGMENT_COMMIT, ERR_UNAVAILABLE, false);
	log_wait(t.log, &t.wait, p, 1, DURABILITY_OBJECT, on_wait);
	for (int i = 0; i < 1000 && (!(r = list_first(&t.log->ranges, struct range, node)) || r->state != RANGE_BUILT); i++)
		fake_run_until(t.self, &t.flag, 5);
	ok(r && r->state == RANGE_BUILT, "a commit will be sent again");
	log_drain(t.log, on_drained, NULL);
	ok(run(5000) && drained, "the log drains");
	fake_run_until(t.self, &t.flag, 1500);
	ok(!p->damage, "nothing is refused after the session was closed: %s", p->damage ? p->damage : "");
	log_wait_cancel(&t.wait);
	stop();
	start(dir, NULL, NULL);
	is_str(fetch(part("drain", 0), 0), "last", "the next life has it all");
	stop();
}

/* One byte of the WAL entry that holds the value becomes another. */
static void damage(const char *dir, const char *value)
{
	char *command = mem_printf("f=$(grep -l %s %s/slots/0/wal/*.wal); o=$(LC_ALL=C grep -aobF %s $f | head -n 1 | cut -d: -f1); "
				   "printf X | dd of=$f bs=1 seek=$o conv=notrunc 2>/dev/null", value, dir, value);

	ok(system(command) == 0, "one byte damaged");
	mem_free(command);
}

/* The disk changes a byte of a record while the log runs: nobody may be given it. */
static void test_damaged_tail(const char *dir)
{
	char *own = mem_printf("%s/tail", dir);

	start(own, NULL, NULL);
	create("w", 1, "{}");
	for (int i = 0; i < 3; i++) {
		append(part("w", 0), i == 1 ? "rotten" : "fine", 1);
		wait_for(part("w", 0), i + 1, DURABILITY_WAL);
	}
	damage(own, "rotten");
	is_str(fetch(part("w", 0), 0), "corrupt", "a damaged record is not read");
	is_int(t.fetch.offset, 1, "but what comes before it");
	is_int(t.log->numbers.read_errors, 1, "and the status counts it");
	is_str(fetch(part("w", 0), 2), "fine", "what comes behind it can be read");
	stop();
	mem_free(own);
}

/* Damage, and death before what came before the damage was flushed: it was read in between, so it must stay. */
static void test_damage_twice(const char *dir)
{
	char *own = mem_printf("%s/twice", dir), *mark;
	struct buf left = BUF_INIT(4096);

	start(own, NULL, NULL);
	create("w", 1, "{}");
	for (int i = 0; i < 3; i++) {
		append(part("w", 0), i == 1 ? "rotten" : "fine", 1);
		wait_for(part("w", 0), i + 1, DURABILITY_WAL);
	}
	stop();
	damage(own, "rotten");
	for (int life = 0; life < 3; life++) {
		start_without_store(own);
		ok(part("w", 0)->damage != NULL, "life %d knows of the damage", life);
		is_str(fetch(part("w", 0), 0), "fine", "what came before it is served");
		stop();
	}
	mark = mem_printf("%s/slots/0/quarantine/w-0.damaged", own);
	disk_write_file(mark, "spoiled\n", 8, 0600, NULL);
	start_without_store(own);
	stop();
	disk_read_file(mark, &left, NULL);
	is_str(left.data, "spoiled\n", "a spoiled mark is not written over: it may have named higher offsets than are in the log");
	buf_release(&left);
	mem_free(mark);
	mem_free(own);
}

/* Clients choose producer ids, so what is remembered of them has a limit for all partitions together. */
static void test_producers(const char *dir)
{
	enum { PARTITIONS = 40, EXTRA = 100 };
	struct batch_header h = {.record_count = 1};
	int64_t base, last;

	start(dir, NULL, NULL);
	create("producers", PARTITIONS, "{}");
	for (h.producer_id = 0; h.producer_id < PRODUCERS_TOTAL_MAX + EXTRA; h.producer_id++)
		producers_note(t.log, part("producers", h.producer_id % PARTITIONS), &h, 7);
	is_int(t.log->producer_count, PRODUCERS_TOTAL_MAX, "no more producers are remembered than the limit");
	h.producer_id--;
	is_int(producers_check(t.log, part("producers", h.producer_id % PARTITIONS), &h, &base, &last, &t.e), 1,
		"the newest is one of them");
	h.producer_id = EXTRA;
	is_int(producers_check(t.log, part("producers", EXTRA % PARTITIONS), &h, &base, &last, &t.e), 1, "so is the oldest that had room");
	h.producer_id = EXTRA - 1;
	is_int(producers_check(t.log, part("producers", (EXTRA - 1) % PARTITIONS), &h, &base, &last, &t.e), 0, "those before it are not");
	log_topic_delete(t.log, "producers", on_done, NULL);
	ok(run(5000), "the topic is deleted");
	stop();
}

/* A mark that somebody has spoiled is not absent: without it offsets would be given twice. */
static void test_spoiled_marks(const char *dir)
{
	static const struct { const char *suffix, *text, *title; } marks[] = {
		{"damaged", "", "an empty mark of damage"},
		{"damaged", "something else\n", "one that is none"},
		{"damaged", "%s", "one that ends behind the topic's id"},
		{"damaged", "%s on one line, to the end of the file", "one without lines"},
		{"accepted", "", "an empty mark of an accepted loss"},
		{"accepted", "%s\nwhy\n", "one that does not say where to go on"},
	};
	char *own = mem_printf("%s/marks", dir), id[UUID_TEXT_BYTES];

	start(own, NULL, NULL);
	create("m", 1, "{}");
	uuid_format(&part("m", 0)->topic->id, id);
	stop();
	for (size_t i = 0; i < array_count(marks); i++) {
		char *path = mem_printf("%s/slots/0/quarantine/m-0.%s", own, marks[i].suffix);
		FILE *out = fopen(path, "w");

		if (strchr(marks[i].text, '%'))
			fprintf(out, "%s%s", id, strchr(marks[i].text, '%') + 2);
		else
			fputs(marks[i].text, out);
		fclose(out);
		start(own, NULL, NULL);
		ok(part("m", 0)->damage != NULL, "%s keeps the partition from starting", marks[i].title);
		is_int(append(part("m", 0), "x", 1), -1, "so it takes nothing");
		stop();
		disk_unlink(path, NULL);
		mem_free(path);
	}
	start(own, NULL, NULL);
	ok(!part("m", 0)->damage && append(part("m", 0), "x", 1) == 0, "without marks it starts");
	stop();
	mem_free(own);
}

/* A topic that the metadata never knew is not a deleted one. */
static void test_older_metadata(const char *dir)
{
	char *own = mem_printf("%s/older", dir);
	char *save = mem_printf("cp -r %s/meta %s/saved", own, own), *back = mem_printf("rm -r %s/meta; mv %s/saved %s/meta", own, own, own);

	start(own, NULL, NULL);
	create("deleted", 1, "{}");
	append(part("deleted", 0), "unwanted", 1);
	wait_for(part("deleted", 0), 1, DURABILITY_WAL);
	log_topic_delete(t.log, "deleted", on_done, NULL);
	run(5000);
	stop();
	ok(system(save) == 0, "a copy of the metadata");
	start(own, NULL, NULL);
	is_int(t.log->numbers.quarantined_entries, 0, "a deleted topic's entries are dropped");
	create("young", 1, "{}");
	append(part("young", 0), "precious", 1);
	wait_for(part("young", 0), 1, DURABILITY_WAL);
	stop();
	ok(system(back) == 0, "is put back");
	start(own, NULL, NULL);
	is_int(t.log->numbers.quarantined_entries, 1, "what it does not know is kept in quarantine");
	stop();
	mem_free(own);
	mem_free(save);
	mem_free(back);
}

/* A topic raised to level object: what was seen stays in sight, what comes is seen when it is committed. */
static void test_raised(const char *dir)
{
	char *own = mem_printf("%s/raised", dir);
	struct partition *p;

	start(own, NULL, NULL);
	create("raised", 1, "{}");
	p = part("raised", 0);
	append(p, "seen", 1);
	wait_for(p, 1, DURABILITY_WAL);
	fake_down(t.self, ROLE_STORE, true);
	log_topic_alter(t.log, "raised", 0, "{\"durability\":\"object\"}", on_done, NULL);
	run(5000);
	is_int(partition_high_watermark(p), 1, "the high watermark does not go back");
	is_str(fetch(p, 0), "seen", "what was seen is still there");
	append(p, "hidden", 2);
	fake_run_until(t.self, &t.flag, 100);
	is_int(partition_high_watermark(p), 1, "what is not committed is not seen");
	fake_down(t.self, ROLE_STORE, false);
	is_int(wait_for(p, 2, DURABILITY_TOPIC), DURABILITY_OBJECT, "it is, in time");
	is_str(fetch(p, 0), "seen,hidden", "then it is seen");
	stop();
	mem_free(own);
}

/* What expired, or vanished, under an agent that was not told. */
static void test_expired(const char *dir)
{
	char *own = mem_printf("%s/expired", dir), *vanish = mem_printf("rm -r %s/objects/segments", own);
	struct partition *p;

	start(own, NULL, NULL);
	create("expired", 1, "{\"retention.bytes\":\"0\"}");
	p = part("expired", 0);
	append(p, "old", 1);
	wait_for(p, 1, DURABILITY_OBJECT);
	is_str(fetch(p, 0), "old", "a record in a segment");
	append(p, "tail", 2);
	wait_for(p, 2, DURABILITY_WAL);
	runs_release(t.log);
	fake_expire(t.self);
	is_str(fetch(p, 0), "offset_out_of_range", "expires: whoever reads there is told so, and not of damage");
	ok(p->log_start == 1 && p->records == 1, "the log start and the count are right then");
	is_str(fetch(p, 1), "tail", "what follows is read");
	wait_for(p, 2, DURABILITY_OBJECT);
	runs_release(t.log);
	ok(system(vanish) == 0, "an object vanishes");
	is_str(fetch(p, 1), "corrupt", "what is missing although the metadata counts on it is damage");
	stop();
	mem_free(own);
	mem_free(vanish);
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
	test_raised(dir);
	test_expired(dir);
	test_lost_commit(dir);
	test_refused(dir);
	test_late_waits(dir);
	test_drain(dir);
	test_damaged_tail(dir);
	test_damage_twice(dir);
	test_producers(dir);
	test_spoiled_marks(dir);
	test_older_metadata(dir);
	command = mem_printf("rm -rf %s", dir);
	if (system(command) != 0)
		printf("# %s is left behind\n", dir);
	mem_free(command);
	return done_testing();
}
