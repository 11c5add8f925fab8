/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's checks: each rule with its error, what is mended, and bombs. */
#include <stdlib.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"
#include "tests/unit/tap.h"

enum { NOW = 1700000000, OUT_MAX = 64 << 20 };

static const struct batch_rules anything = {
	.now_ms = NOW, .max_before_ms = INT64_MAX, .max_after_ms = INT64_MAX};

/* A batch under test, in memory of exactly its size, and what the check said. */
static struct test {
	uint8_t *p;
	size_t n;
	struct batch_header h;
	struct buf rewritten;
	struct err e;
} t = {.rewritten = BUF_INIT(OUT_MAX)};

static void load(const void *p, size_t n)
{
	mem_free(t.p);
	t.p = mem_dup(p, n);
	t.n = n;
}

/* `count` records: key k0, value 0, at NOW; then k1, 1, NOW + 10; ... */
static void make(enum codec codec, int count)
{
	struct buf out = BUF_INIT(OUT_MAX);
	struct batch_writer w;

	batch_writer_init(&w, codec, 0);
	for (int i = 0; i < count; i++) {
		char key[16], value[16];
		int k = snprintf(key, sizeof(key), "k%d", i), v = snprintf(value, sizeof(value), "%d", i);
		struct record r = {
			0, NOW + 10 * i, {(uint8_t *)key, (size_t)k}, {(uint8_t *)value, (size_t)v}, {0}, 0};

		batch_writer_add(&w, &r, NULL);
	}
	batch_writer_finish(&w, &out, NULL);
	load(out.data, out.len);
	batch_writer_release(&w);
	buf_release(&out);
}

/* A batch of none with these bytes as its records. */
static void make_raw(const void *records, size_t n, int count)
{
	struct buf out = BUF_INIT(OUT_MAX);

	make(CODEC_NONE, 1);
	buf_add(&out, t.p, BATCH_HEADER_BYTES);
	buf_add(&out, records, n);
	load(out.data, out.len);
	put_be32(t.p + 8, (uint32_t)(t.n - 12));
	put_be32(t.p + 23, (uint32_t)count - 1);
	put_be32(t.p + 57, (uint32_t)count);
	buf_release(&out);
}

static void fix_crc(void)
{
	put_be32(t.p + 17, crc32c(0, t.p + 21, t.n - 21));
}

static int check(const struct batch_rules *rules)
{
	err_clear(&t.e);
	return batch_validate(t.p, t.n, rules, &t.h, &t.rewritten, &t.e);
}

/* The check fails with this code and leaves the bytes alone. */
static void refused(const struct batch_rules *rules, enum err_code code, const char *title)
{
	uint8_t *before = mem_dup(t.p, t.n);
	int rc = check(rules);

	ok(rc < 0 && t.e.code == code && !t.rewritten.len && !memcmp(before, t.p, t.n), "%s: %s", title,
		err_name(code));
	if (t.e.code != code)
		printf("# %s: %s\n", err_name(t.e.code), t.e.text);
	mem_free(before);
}

static void accepted(const struct batch_rules *rules, const char *title)
{
	const void *batch = t.p;
	size_t n = t.n;
	bool good = check(rules) == 0;

	if (t.rewritten.len) {
		batch = t.rewritten.data;
		n = t.rewritten.len;
	}
	ok(good && batch_check_crc(batch, n, &t.e) == 0, "%s", title);
	if (!good)
		printf("# %s: %s\n", err_name(t.e.code), t.e.text);
}

static void test_frame(void)
{
	struct batch_rules rules = anything;

	make(CODEC_NONE, 3);
	accepted(&rules, "a good batch is taken");
	ok(!t.rewritten.len && t.h.record_count == 3, "as it is");
	batch_stamp(t.p, 0, 12345);
	accepted(&rules, "with any leader epoch");
	load("", 0);
	refused(&rules, ERR_INVALID_RECORD, "no batch at all");
	make(CODEC_NONE, 3);
	t.n = 60;
	refused(&rules, ERR_CORRUPT_BATCH, "half a header");
	make(CODEC_NONE, 3);
	t.n--;
	refused(&rules, ERR_CORRUPT_BATCH, "a batch cut off");
	make(CODEC_NONE, 3);
	put_be32(t.p + 8, get_be32(t.p + 8) - 1);
	refused(&rules, ERR_INVALID_RECORD, "more than one batch");
	make(CODEC_NONE, 3);
	put_be32(t.p + 8, 0x7fffffff);
	refused(&rules, ERR_CORRUPT_BATCH, "a length that cannot be");
	make(CODEC_NONE, 3);
	t.p[16] = 1;
	refused(&rules, ERR_INVALID_RECORD, "magic 1");
	make(CODEC_NONE, 3);
	batch_stamp(t.p, 7, -1);
	refused(&rules, ERR_INVALID_RECORD, "a base offset");
	make(CODEC_NONE, 3);
	t.p[t.n - 1] ^= 1;
	refused(&rules, ERR_CORRUPT_BATCH, "a wrong CRC");
	rules.max_bytes = t.n;
	fix_crc();
	refused(&rules, ERR_INVALID_RECORD, "a right one over damaged records");
	make(CODEC_NONE, 3);
	accepted(&rules, "as many bytes as allowed");
	rules.max_bytes = t.n - 1;
	refused(&rules, ERR_TOO_LARGE, "one more");
}

static void test_header(void)
{
	static const struct {
		int offset, bits;
		int64_t value;
		enum err_code code;
		const char *title;
	} cases[] = {
		{57, 32, 2, ERR_INVALID_RECORD, "a count below the last offset delta"},
		{57, 32, 4, ERR_INVALID_RECORD, "a count above it"},
		{57, 32, -1, ERR_INVALID_RECORD, "a negative count"},
		{23, 32, -1, ERR_INVALID_RECORD, "a negative last offset delta"},
		{23, 32, INT32_MAX, ERR_INVALID_RECORD, "the largest one"},
		{21, 16, BATCH_CONTROL, ERR_INVALID_RECORD, "a control batch"},
		{21, 16, BATCH_CONTROL | BATCH_TRANSACTIONAL, ERR_INVALID_RECORD, "a transactional one"},
		{21, 16, BATCH_DELETE_HORIZON, ERR_INVALID_RECORD, "a delete horizon"},
		{21, 16, BATCH_LOG_APPEND_TIME, ERR_INVALID_TIMESTAMP, "LogAppendTime set by a client"},
		{21, 16, 5, ERR_UNSUPPORTED_CODEC, "an unknown codec"},
		{43, 64, 4711, ERR_INVALID_RECORD, "a producer id without a sequence number"},
	};

	for (size_t i = 0; i < array_count(cases); i++) {
		make(CODEC_NONE, 3);
		if (cases[i].bits == 16)
			put_be16(t.p + cases[i].offset, (uint16_t)cases[i].value);
		else if (cases[i].bits == 32)
			put_be32(t.p + cases[i].offset, (uint32_t)cases[i].value);
		else
			put_be64(t.p + cases[i].offset, (uint64_t)cases[i].value);
		fix_crc();
		refused(&anything, cases[i].code, cases[i].title);
	}
	make(CODEC_NONE, 3);
	put_be64(t.p + 43, 4711);
	put_be32(t.p + 53, 0);
	put_be16(t.p + 21, BATCH_TRANSACTIONAL);
	fix_crc();
	accepted(&anything, "a transactional batch with its sequence number is taken");
}

static void test_counts(enum codec codec)
{
	make(codec, 3);
	put_be32(t.p + 57, 2);
	put_be32(t.p + 23, 1);
	fix_crc();
	refused(&anything, ERR_INVALID_RECORD, "a header that counts fewer records than there are");
	make(codec, 3);
	put_be32(t.p + 57, 4);
	put_be32(t.p + 23, 3);
	fix_crc();
	refused(&anything, ERR_INVALID_RECORD, "a header that counts more");
	make(codec, 3);
	if (codec) {
		t.p[t.n - 5] ^= 0x10;
		fix_crc();
		ok(check(&anything) == 0 || t.e.code == ERR_INVALID_RECORD,
			"%s: damage behind a right CRC is no crash", codec_name(codec));
	}
}

/* Records by hand: length, attributes, timestamp, offset, key length, key, value length, value, headers. */
static void test_record_bytes(void)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *title;
	} bad[] = {
		{"", 0, "no record"},
		{"\x0e\0\0\0\2k\2", 7, "a record longer than the batch"},
		{"\1\0\0\0\2k\2v\0", 9, "a negative length"},
		{"\xff\xff\xff\xff\x0f", 5, "the smallest length"},
		{"\xff\xff\xff\xff\xff\x0f", 6, "a length of too many bytes"},
		{"\0", 1, "an empty record"},
		{"\x10\0\0\0\3k\2v\0", 9, "key length -2"},
		{"\x10\0\0\0\x14k\2v\0", 9, "a key longer than the record"},
		{"\x10\0\0\0\2k\3v\0", 9, "value length -2"},
		{"\x10\0\0\0\2k\x14v\0", 9, "a value longer than the record"},
		{"\x10\0\0\0\2k\2v\1", 9, "a negative number of headers"},
		{"\x10\0\0\0\2k\2v\2", 9, "a header that is not there"},
		{"\x18\0\0\0\2k\2v\xfe\xff\xff\x0f", 12, "more headers than bytes"},
		{"\x14\0\0\0\2k\2v\2\1\0", 11, "a header without a name"},
		{"\x14\0\0\0\2k\2v\2\0\3", 11, "header value length -2"},
		{"\x14\0\0\0\2k\2v\2\0\2", 11, "a header value that is not there"},
		{"\x12\0\0\0\2k\2v\0x", 10, "a record that goes on behind its headers"},
		{"\x10\0\0\0\2k\2v\0\x10\0\0\2\2k\2v\0", 18, "a second record that was not counted"},
		{"\x10\0\0\0\2k\2v\0\0", 10, "a byte behind the records"},
	};

	for (size_t i = 0; i < array_count(bad); i++) {
		make_raw(bad[i].bytes, bad[i].n, 1);
		fix_crc();
		refused(&anything, ERR_INVALID_RECORD, bad[i].title);
	}
	make_raw("\x10\0\0\0\2k\2v\0", 9, 1);
	fix_crc();
	accepted(&anything, "the same without a fault is taken");
	make_raw("\x14\0\0\0\2k\2v\2\0\1", 11, 1);
	fix_crc();
	accepted(&anything, "and so is a header with an empty name and a null value");
}

static void test_keys(void)
{
	struct batch_rules rules = anything;

	rules.require_keys = true;
	make(CODEC_LZ4, 3);
	accepted(&rules, "a compacted topic takes records with keys");
	make_raw("\x10\0\0\0\2k\2v\0\x0e\0\0\2\1\2v\0", 17, 2);
	fix_crc();
	accepted(&anything, "others take records without");
	refused(&rules, ERR_INVALID_RECORD, "a record without a key on a compacted topic");
	ok(strstr(t.e.text, "record 1:") != NULL, "the error names the record");
	make_raw("\x0e\0\0\0\0\2v\0", 8, 1);
	fix_crc();
	accepted(&rules, "an empty key is a key");
}

static void test_timestamps(void)
{
	struct batch_rules rules = anything;

	make(CODEC_ZSTD, 3);
	rules.max_after_ms = 20;
	accepted(&rules, "as far in the future as allowed");
	rules.max_after_ms = 19;
	refused(&rules, ERR_INVALID_TIMESTAMP, "a millisecond more");
	ok(strstr(t.e.text, "record 2:") != NULL, "the error names the record");
	rules = anything;
	rules.now_ms = NOW + 100;
	rules.max_before_ms = 100;
	accepted(&rules, "as far in the past as allowed");
	rules.max_before_ms = 99;
	refused(&rules, ERR_INVALID_TIMESTAMP, "a millisecond more");
	rules.log_append_time = true;
	accepted(&rules, "with LogAppendTime the client's timestamps do not matter");
	make(CODEC_NONE, 1);
	put_be64(t.p + 27, (uint64_t)INT64_MIN);
	fix_crc();
	rules.log_append_time = false;
	refused(&rules, ERR_INVALID_TIMESTAMP, "the smallest timestamp");
	make(CODEC_NONE, 1);
	put_be64(t.p + 27, UINT64_MAX);
	fix_crc();
	accepted(&rules, "no timestamp (-1) is exempt");
}

static void test_mending(enum codec codec)
{
	struct batch_rules rules = anything;
	int64_t wrong[] = {0, NOW + 10, NOW + 21, INT64_MAX, -1};
	bool good = true;

	for (size_t i = 0; i < array_count(wrong); i++) {
		make(codec, 3);
		put_be64(t.p + 35, (uint64_t)wrong[i]);
		fix_crc();
		good &= check(&rules) == 0 && t.h.max_timestamp == NOW + 20 && !t.rewritten.len &&
			(int64_t)get_be64(t.p + 35) == NOW + 20 && batch_check_crc(t.p, t.n, NULL) == 0;
	}
	ok(good, "%s: a wrong maximum timestamp is mended in place", codec_name(codec));
	make(codec, 3);
	put_be64(t.p + 35, 0);
	refused(&rules, ERR_CORRUPT_BATCH, "but never behind a wrong CRC");
	make(codec, 3);
	rules.log_append_time = true;
	rules.now_ms = NOW + 777;
	accepted(&rules, "LogAppendTime is set");
	ok((t.h.attributes & BATCH_LOG_APPEND_TIME) && t.h.max_timestamp == NOW + 777 &&
			batch_codec(&t.h) == codec,
		"%s: in the header", codec_name(codec));
}

static void test_gaps(enum codec codec)
{
	/* offset deltas 0, 2, 1 */
	static const char records[] = "\x10\0\0\0\2a\2x\0\x10\0\x14\4\2b\2y\0\x10\0\x28\2\2c\2z\0";
	struct buf out = BUF_INIT(1000);
	struct batch_reader *b;
	struct record r;
	char keys[8] = "";
	bool numbered = true;

	make_raw(records, sizeof(records) - 1, 3);
	buf_add(&out, t.p, BATCH_HEADER_BYTES);
	compress_bytes(codec, 0, records, sizeof(records) - 1, &out, NULL);
	load(out.data, out.len);
	put_be32(t.p + 8, (uint32_t)(t.n - 12));
	put_be16(t.p + 21, (uint16_t)codec | BATCH_TRANSACTIONAL);
	put_be64(t.p + 43, 4711);
	put_be16(t.p + 51, 3);
	put_be32(t.p + 53, 9);
	fix_crc();
	accepted(&anything, "offset deltas with gaps are taken");
	ok(t.rewritten.len > 0 && t.h.record_count == 3 && t.h.last_offset_delta == 2 &&
			batch_codec(&t.h) == codec && (t.h.attributes & BATCH_TRANSACTIONAL) &&
			t.h.producer_id == 4711 && t.h.producer_epoch == 3 && t.h.base_sequence == 9 &&
			t.h.max_timestamp == NOW + 20,
		"%s: written anew, with all else as it was", codec_name(codec));
	b = batch_reader_new(t.rewritten.data, t.rewritten.len, 0, NULL);
	for (int i = 0; b && batch_reader_next(b, &r, NULL) == 1; i++) {
		numbered &= r.offset == i && r.timestamp == NOW + 10 * i;
		strncat(keys, (const char *)r.key.data, r.key.len);
	}
	batch_reader_free(b);
	ok(numbered && !strcmp(keys, "abc"), "%s: in the order they came, numbered without gaps",
		codec_name(codec));
	buf_release(&out);
}

/* 40 MB of zeros in one batch, which gzip and zstd make a few kilobytes of. */
static void test_bomb(enum codec codec)
{
	struct buf out = BUF_INIT(OUT_MAX);
	uint8_t *zeros = mem_zalloc(10 << 20);
	struct record r = {.timestamp = NOW, .value = {zeros, 10 << 20}};
	struct batch_rules rules = anything;
	struct batch_writer w;

	batch_writer_init(&w, codec, 0);
	w.level = codec == CODEC_GZIP ? 1 : 0;
	for (int i = 0; i < 4; i++)
		batch_writer_add(&w, &r, NULL);
	batch_writer_finish(&w, &out, NULL);
	load(out.data, out.len);
	rules.max_raw_bytes = 1 << 20;
	refused(&rules, ERR_TOO_LARGE, "records above max_raw_bytes");
	if (codec == CODEC_ZSTD)
		refused(&anything, ERR_TOO_LARGE, "a ratio no honest producer has");
	else
		accepted(&anything, "honest compression is taken");
	batch_writer_release(&w);
	buf_release(&out);
	mem_free(zeros);
}

int main(void)
{
	static const enum codec all[] = {CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};

	test_frame();
	test_header();
	test_record_bytes();
	test_keys();
	test_timestamps();
	for (size_t i = 0; i < array_count(all); i++) {
		test_counts(all[i]);
		test_mending(all[i]);
		test_gaps(all[i]);
	}
	test_bomb(CODEC_SNAPPY);
	test_bomb(CODEC_GZIP);
	test_bomb(CODEC_ZSTD);
	mem_free(t.p);
	buf_release(&t.rewritten);
	return done_testing();
}
