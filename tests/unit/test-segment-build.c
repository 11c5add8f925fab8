/* SPDX-License-Identifier: Apache-2.0 */
/* Segments out of the WAL: what goes in, what comes out, and that no damage to them goes unseen. */
#include <stdlib.h>
#include <unistd.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/store/segment_file.h"
#include "tests/unit/tap.h"
#include "tests/unit/wal_fixture.h"

static const uint64_t base = 5ULL * WAL_FILE_BYTES;

/* ---- an object in memory ---- */

struct object {
	uint8_t *p;
	struct segment_input in;
};

static int object_read(void *ctx, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct object *o = ctx;

	if (offset > o->in.bytes || n > o->in.bytes - offset)
		return err_set(e, ERR_CORRUPT, "the object ends before");
	memcpy(p, o->p + offset, n);
	return 0;
}

static void object_load(struct object *o, int fd, uint64_t bytes)
{
	o->p = mem_alloc(bytes + 1);
	if (disk_pread(fd, o->p, bytes, 0, NULL))
		abort();
	o->in = (struct segment_input){object_read, o, bytes};
}

/* ---- building ---- */

static const struct segment_source all_sources[] = {
	{.topic = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, .partition = 0, .topic_name = "one", .end_offset = INT64_MAX},
	{.topic = {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}}, .partition = 7, .topic_name = "one", .end_offset = INT64_MAX},
	{.topic = {{2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}}, .partition = 0, .topic_name = "two", .end_offset = INT64_MAX},
};

static struct segment_build a_build(const struct wal_fixture *w)
{
	return (struct segment_build){.wal_fd = w->fd, .generation = w->generation, .first_lsn = w->base + WAL_HEADER_BYTES,
		.end_lsn = w->base + w->position, .sources = all_sources, .source_count = 3,
		.info = {.object = fixture_id(0xaa), .number = 12, .first_lsn = w->base + WAL_HEADER_BYTES},
		.out_fd = memfd_create("segment", MFD_CLOEXEC), .memory_bytes = 16 << 20};
}

static void done(struct segment_build *b, struct object *o)
{
	mem_free(b->runs);
	close(b->out_fd);
	if (o)
		mem_free(o->p);
}

/* Three partitions, interleaved; the third has compressed batches and no keys. */
static void fill(struct wal_fixture *w, int rounds, size_t value_bytes)
{
	fixture_open(w, 4, base);
	for (int i = 0; i < rounds; i++) {
		fixture_append(w, 2, 0, 5 * i, 5, 0, value_bytes, CODEC_LZ4);
		fixture_append(w, 1, 7, 1000 + 2 * i, 2, 9, value_bytes, CODEC_NONE);
		if (i % 3 == 0)
			fixture_sync_mark(w);
		fixture_append(w, 1, 0, 3 * i, 3, 6, value_bytes, CODEC_NONE);
		fixture_append(w, 9, 0, i, 1, 6, value_bytes, CODEC_NONE); /* nobody asks for it */
	}
}

/* Every record of a run, in order; returns how many were as the fixture wrote them. */
static int64_t read_run(const struct object *o, const struct segment_run_detail *d, size_t key_bytes)
{
	struct buf raw = BUF_INIT(BATCH_MAX_BYTES);
	int64_t good = 0, offset = d->run.first_offset;
	char key[64];

	for (uint32_t i = 0; i < d->block_count; i++) {
		if (segment_block_read(&o->in, &d->blocks[i], &raw, NULL))
			return -1;
		for (size_t at = 0; at < raw.len;) {
			size_t n = (size_t)batch_size(raw.data + at, raw.len - at);
			struct batch_reader *r = batch_reader_new(raw.data + at, n, 0, NULL);
			struct record record;

			while (batch_reader_next(r, &record, NULL) == 1) {
				snprintf(key, sizeof(key), "%0*lld", (int)key_bytes, (long long)offset);
				good += record.offset == offset && (key_bytes ?
					record.key.len == key_bytes && !memcmp(record.key.data, key, key_bytes) : !record.key.data);
				good -= key_bytes && !bloom_may_contain(d->bloom, record.key.data, record.key.len);
				offset++;
			}
			batch_reader_free(r);
			at += n;
		}
	}
	buf_release(&raw);
	return offset == d->run.end_offset ? good : -1;
}

static void test_build(int rounds, size_t value_bytes, size_t memory)
{
	struct wal_fixture w;
	struct segment_build b;
	struct segment_file f;
	struct object o;
	struct err e = ERR_INIT;

	printf("# %d rounds of values of %zu bytes in %zu bytes of memory\n", rounds, value_bytes, memory);
	fill(&w, rounds, value_bytes);
	b = a_build(&w);
	b.memory_bytes = memory;
	if (!ok(segment_build(&b, &e) == 0 && b.run_count == 3, "a segment is built"))
		printf("# %s\n", e.text);
	object_load(&o, b.out_fd, b.bytes);
	ok(b.crc == crc32c(0, o.p, b.bytes) && disk_size(b.out_fd, NULL) == (int64_t)b.bytes, "size and checksum are the file's");
	ok(segment_file_verify(&o.in, &e) == 0, "it verifies %s", e.text);
	ok(segment_file_open(&f, &o.in, NULL) == 0 && f.run_count == 3 && f.info.number == 12, "it opens");
	is_int(f.trailer.object_crc, crc32c(0, o.p, b.bytes - SEGMENT_TRAILER_BYTES), "the trailer has the object's checksum");
	ok(!strcmp(f.runs[0].topic_name, "one") && f.runs[1].run.partition == 7 && !strcmp(f.runs[2].topic_name, "two"),
		"runs are sorted by topic and partition");
	is_int(read_run(&o, &f.runs[0], 6), 3 * rounds, "the first run holds what was appended");
	is_int(read_run(&o, &f.runs[1], 9), 2 * rounds, "so does the second");
	is_int(read_run(&o, &f.runs[2], 0), 5 * rounds, "and the third");
	ok(f.runs[0].bloom.len && !f.runs[2].bloom.len, "with a filter where there are keys");
	ok(f.runs[0].blocks[0].codec == CODEC_LZ4 && f.runs[2].blocks[0].codec == CODEC_NONE,
		"batches that are compressed already are stored as they are");
	ok(f.runs[1].run.first_offset == 1000 && f.runs[1].run.end_offset == 1000 + 2 * rounds &&
		f.runs[1].run.records == 2 * (uint64_t)rounds && f.runs[1].run.min_timestamp == 1700000001000 &&
		f.runs[1].run.max_timestamp == 1700000001000 + 2 * rounds - 1 && f.runs[1].run.first_epoch == 3 &&
		f.runs[1].run.max_append_ms == 1700000000500 + 1000 + 2 * (rounds - 1), "with its statistics");
	ok(b.runs[1].section_position == f.runs[1].run.section_position && b.runs[1].section_bytes == f.runs[1].run.section_bytes &&
		b.runs[1].stored_bytes == f.runs[1].run.stored_bytes, "the run index given back is the footer's");
	segment_file_release(&f);
	done(&b, &o);
	close(w.fd);
}

static void test_filters(void)
{
	struct segment_source sources[2] = {all_sources[0], all_sources[2]};
	struct wal_fixture w;
	struct segment_build b;

	fill(&w, 10, 50);
	b = a_build(&w);
	b.sources = sources;
	b.source_count = 2;
	sources[0].first_offset = 9;
	sources[0].end_offset = 21;
	sources[1].first_offset = 50; /* all of it is in a segment already */
	ok(segment_build(&b, NULL) == 0 && b.run_count == 1 && b.runs[0].first_offset == 9 && b.runs[0].end_offset == 21 &&
		b.runs[0].previous_end == 9, "what is committed already, or not wanted yet, is left out");
	done(&b, NULL);
	b = a_build(&w);
	b.sources = sources + 1;
	b.source_count = 1;
	ok(segment_build(&b, NULL) == 0 && b.bytes == 0 && disk_size(b.out_fd, NULL) == 0, "nothing left, nothing written");
	done(&b, NULL);
	b = a_build(&w);
	b.end_lsn = b.first_lsn;
	ok(segment_build(&b, NULL) == 0 && b.bytes == 0, "an empty range is no error");
	done(&b, NULL);
	close(w.fd);
}

static enum err_code build_code(struct segment_build b, char *text)
{
	struct err e = ERR_INIT;
	int rc = segment_build(&b, &e);

	if (text)
		strcpy(text, e.text);
	done(&b, NULL);
	return rc ? e.code : ERR_NONE;
}

static void test_refused(void)
{
	struct segment_source unsorted[2] = {all_sources[2], all_sources[0]};
	struct wal_fixture w;
	struct segment_build b;
	char text[400], lsn[32];
	int missed = 0;

	fill(&w, 3, 100);
	b = a_build(&w);
	b.generation = 5;
	is_int(build_code(b, NULL), ERR_CORRUPT, "a wrong generation is refused");
	b = a_build(&w);
	b.first_lsn += 64;
	is_int(build_code(b, NULL), ERR_CORRUPT, "a range that begins inside an entry is refused");
	b = a_build(&w);
	b.end_lsn -= 64;
	is_int(build_code(b, NULL), ERR_CORRUPT, "a range that ends inside an entry is refused");
	b = a_build(&w);
	b.end_lsn += 64;
	is_int(build_code(b, NULL), ERR_CORRUPT, "a range that passes the last entry is refused");
	b = a_build(&w);
	b.sources = unsorted;
	b.source_count = 2;
	is_int(build_code(b, NULL), ERR_INVALID_ARGUMENT, "unsorted sources are refused");
	for (uint64_t at = WAL_HEADER_BYTES; at < WAL_HEADER_BYTES + 200; at++) {
		uint8_t byte, bad;

		if (pread(w.fd, &byte, 1, (off_t)at) != 1)
			abort();
		bad = byte ^ 0x20;
		if (pwrite(w.fd, &bad, 1, (off_t)at) != 1)
			abort();
		missed += build_code(a_build(&w), text) != ERR_CORRUPT;
		if (pwrite(w.fd, &byte, 1, (off_t)at) != 1)
			abort();
	}
	is_int(missed, 0, "every damaged byte of an entry is noticed");
	snprintf(lsn, sizeof(lsn), "0x%llx", (unsigned long long)(base + WAL_HEADER_BYTES));
	ok(strstr(text, lsn) != NULL, "and the LSN is named");
	close(w.fd);
}

static void test_chain(void)
{
	struct wal_entry entry = {.topic = fixture_id(1), .epoch = 4, .previous_end = 3, .append_ms = 1, .type = WAL_BATCH};
	struct wal_fixture w;
	struct segment_build b;
	struct buf batch;

	fixture_open(&w, 4, base);
	fixture_append(&w, 1, 0, 0, 3, 4, 10, CODEC_NONE);
	fixture_batch(&batch, 8, 2, 4, 10, CODEC_NONE);
	entry.length = (uint32_t)batch.len;
	fixture_put(&w, &entry, batch.data);
	b = a_build(&w);
	ok(segment_build(&b, NULL) == 0 && b.runs[0].end_offset == 10 && b.runs[0].first_epoch == 3 && b.runs[0].last_epoch == 4,
		"a gap that the chain of ends records is kept");
	done(&b, NULL);
	entry.previous_end = 9;
	batch_stamp(batch.data, 10, 4);
	fixture_put(&w, &entry, batch.data);
	is_int(build_code(a_build(&w), NULL), ERR_CORRUPT, "a broken chain is refused");
	buf_release(&batch);
	close(w.fd);
}

static void test_producers(void)
{
	struct wal_fixture w;
	struct segment_build b;
	struct segment_file f;
	struct object o;

	fixture_open(&w, 4, base);
	for (int i = 0; i < 8; i++) {
		struct batch_writer writer;
		struct record r = {.value = {(const uint8_t *)"v", 1}};
		struct wal_entry entry = {.topic = fixture_id(1), .previous_end = 2 * i, .append_ms = 100 + i, .type = WAL_BATCH};
		struct buf batch = BUF_INIT(1 << 16);

		batch_writer_init(&writer, CODEC_NONE, 1 << 16);
		batch_writer_add(&writer, &r, NULL);
		batch_writer_add(&writer, &r, NULL);
		writer.producer_id = i == 3 ? 40 : 41;
		writer.producer_epoch = 2;
		writer.base_sequence = i == 7 ? INT32_MAX : 2 * i;
		if (batch_writer_finish(&writer, &batch, NULL))
			abort();
		batch_writer_release(&writer);
		batch_stamp(batch.data, 2 * i, 1);
		entry.length = (uint32_t)batch.len;
		fixture_put(&w, &entry, batch.data);
		buf_release(&batch);
	}
	b = a_build(&w);
	ok(segment_build(&b, NULL) == 0, "a segment with producers is built");
	object_load(&o, b.out_fd, b.bytes);
	segment_file_open(&f, &o.in, NULL);
	ok(f.runs[0].producer_count == 2 && f.runs[0].producers[0].producer_id == 40 && f.runs[0].producers[0].batch_count == 1 &&
		f.runs[0].producers[0].batches[0].base_offset == 6, "producers are listed by id");
	ok(f.runs[0].producers[1].batch_count == 5 && f.runs[0].producers[1].batches[0].base_offset == 4 &&
		f.runs[0].producers[1].batches[4].base_offset == 14 && f.runs[0].producers[1].epoch == 2 &&
		f.runs[0].producers[1].last_used_ms == 107, "with their last five batches");
	ok(f.runs[0].producers[1].batches[4].first_sequence == INT32_MAX && f.runs[0].producers[1].batches[4].last_sequence == 0,
		"sequence numbers wrap");
	segment_file_release(&f);
	done(&b, &o);
	close(w.fd);
}

static void test_corruption(void)
{
	struct wal_fixture w;
	struct segment_build b;
	struct object o;
	int missed = 0;

	fill(&w, 4, 30);
	b = a_build(&w);
	segment_build(&b, NULL);
	object_load(&o, b.out_fd, b.bytes);
	for (uint64_t i = 0; i < b.bytes; i++) {
		uint8_t byte = o.p[i];

		for (int bit = 0; bit < 8; bit += 7) {
			o.p[i] = byte ^ (uint8_t)(1 << bit);
			missed += segment_file_verify(&o.in, NULL) == 0;
		}
		o.p[i] = (uint8_t)~byte;
		missed += segment_file_verify(&o.in, NULL) == 0;
		o.p[i] = byte;
	}
	ok(missed == 0 && b.bytes > 1000, "any changed byte of the %llu of a segment is noticed", (unsigned long long)b.bytes);
	missed = 0;
	for (uint64_t n = 0; n < b.bytes; n++) {
		struct segment_input cut = {object_read, &o, n};

		missed += segment_file_verify(&cut, NULL) == 0;
	}
	is_int(missed, 0, "a segment cut short anywhere is noticed");
	is_int(segment_file_verify(&o.in, NULL), 0, "and the whole one is good");
	done(&b, &o);
	close(w.fd);
}

static void test_many(void)
{
	enum { PARTITIONS = 300 };
	struct segment_source sources[PARTITIONS];
	struct wal_fixture w;
	struct segment_build b;
	struct object o;

	fixture_open(&w, 4, base);
	for (uint32_t p = 0; p < PARTITIONS; p++)
		sources[p] = (struct segment_source){.topic = fixture_id(6), .partition = p, .topic_name = "many", .end_offset = INT64_MAX};
	for (int i = 0; i < 12; i++)
		for (uint32_t p = 0; p < PARTITIONS; p++)
			fixture_append(&w, 6, PARTITIONS - 1 - p, 2 * i, 2, 5, 300, CODEC_NONE);
	b = a_build(&w);
	b.sources = sources;
	b.source_count = PARTITIONS;
	b.memory_bytes = 1; /* forces several passes */
	ok(segment_build(&b, NULL) == 0 && b.run_count == PARTITIONS && b.runs[299].partition == 299 && b.runs[17].end_offset == 24,
		"many partitions in little memory");
	object_load(&o, b.out_fd, b.bytes);
	is_int(segment_file_verify(&o.in, NULL), 0, "verify");
	done(&b, &o);
	close(w.fd);
}

int main(void)
{
	test_build(1, 10, 16 << 20);
	test_build(500, 300, 16 << 20);
	test_build(700, 3000, 4 << 20);
	test_build(300, 3000, 1);
	test_filters();
	test_refused();
	test_chain();
	test_producers();
	test_corruption();
	test_many();
	return done_testing();
}
