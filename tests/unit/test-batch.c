/* SPDX-License-Identifier: Apache-2.0 */
/* Record batches written and read: known bytes, round trips, damage; and the partition of a key. */
#include <stdlib.h>
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"
#include "libsh/format/murmur2.h"
#include "tests/unit/tap.h"

enum { MAX = 64 << 20 };

#define TEXT(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})
#define NOTHING ((struct bytes){NULL, 0})

/*
 * As an idempotent producer sends it, made from the specification with an implementation of its own:
 * producer 4711, epoch 3, first sequence 9, at 1700000000000 ms:
 * ("k1", "hello"), (null, "") 150 ms later with headers trace=01 and trace=null, ("k3", null) 3 ms earlier.
 */
static const uint8_t known[107] = {
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x5f,
	0xff,
	0xff,
	0xff,
	0xff,
	0x02,
	0x27,
	0xd7,
	0x9e,
	0xcb,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x02,
	0x00,
	0x00,
	0x01,
	0x8b,
	0xcf,
	0xe5,
	0x68,
	0x00,
	0x00,
	0x00,
	0x01,
	0x8b,
	0xcf,
	0xe5,
	0x68,
	0x96,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x00,
	0x12,
	0x67,
	0x00,
	0x03,
	0x00,
	0x00,
	0x00,
	0x09,
	0x00,
	0x00,
	0x00,
	0x03,
	0x1a,
	0x00,
	0x00,
	0x00,
	0x04,
	0x6b,
	0x31,
	0x0a,
	0x68,
	0x65,
	0x6c,
	0x6c,
	0x6f,
	0x00,
	0x2c,
	0x00,
	0xac,
	0x02,
	0x02,
	0x01,
	0x00,
	0x04,
	0x0a,
	0x74,
	0x72,
	0x61,
	0x63,
	0x65,
	0x02,
	0x01,
	0x0a,
	0x74,
	0x72,
	0x61,
	0x63,
	0x65,
	0x01,
	0x10,
	0x00,
	0x05,
	0x04,
	0x04,
	0x6b,
	0x33,
	0x01,
	0x00,
};

static bool same_bytes(struct bytes a, struct bytes b)
{
	return !a.data == !b.data && a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

static bool same_record(const struct record *a, const struct record *b)
{
	return a->timestamp == b->timestamp && same_bytes(a->key, b->key) && same_bytes(a->value, b->value) &&
	       a->header_count == b->header_count && a->headers.len == b->headers.len &&
	       (!a->headers.len || !memcmp(a->headers.data, b->headers.data, a->headers.len));
}

/* 0 when the batch holds exactly these records, from offset `base` on. */
static int compare(
	const void *batch, size_t n, const struct record *want, int count, int64_t base, struct err *e)
{
	struct batch_reader *b = batch_reader_new(batch, n, 0, e);
	struct record r;
	int at = 0, rc = -1;

	while (b && (rc = batch_reader_next(b, &r, e)) == 1) {
		if (at == count || r.offset != base + at || !same_record(&r, &want[at])) {
			rc = err_set(e, ERR_INTERNAL, "record %d differs", at);
			break;
		}
		at++;
	}
	batch_reader_free(b);
	return rc == 0 && at == count ? 0 : -1;
}

/* The same of the keys alone. */
static int compare_keys(const void *batch, size_t n, const struct record *want, int count, struct err *e)
{
	struct batch_reader *b = batch_reader_new(batch, n, 0, e);
	struct bytes key;
	int at = 0, rc = -1;

	while (b && (rc = batch_reader_next_key(b, &key, e)) == 1) {
		if (at == count || !same_bytes(key, want[at].key)) {
			rc = err_set(e, ERR_INTERNAL, "key %d differs", at);
			break;
		}
		at++;
	}
	batch_reader_free(b);
	return rc == 0 && at == count ? 0 : -1;
}

static void write_batch(enum codec codec, const struct record *records, int count, struct buf *out)
{
	struct batch_writer w;
	struct err e = ERR_INIT;

	batch_writer_init(&w, codec, 0);
	for (int i = 0; i < count; i++)
		if (batch_writer_add(&w, &records[i], &e) < 0)
			abort();
	if (batch_writer_finish(&w, out, &e) < 0)
		abort();
	batch_writer_release(&w);
}

static int known_records(struct record r[3], struct buf *headers)
{
	record_headers_add(headers, TEXT("trace"), TEXT("\1"));
	record_headers_add(headers, TEXT("trace"), NOTHING);
	r[0] = (struct record){0, 1700000000000, TEXT("k1"), TEXT("hello"), NOTHING, 0};
	r[1] = (struct record){
		1, 1700000000150, NOTHING, TEXT(""), {(const uint8_t *)headers->data, headers->len}, 2};
	r[2] = (struct record){2, 1699999999997, TEXT("k3"), NOTHING, NOTHING, 0};
	return 3;
}

static void test_known_bytes(void)
{
	struct buf headers = BUF_INIT(100), out = BUF_INIT(1000);
	struct record r[3];
	struct batch_header h;
	struct batch_writer w;
	struct err e = ERR_INIT;
	uint8_t copy[sizeof(known)];

	known_records(r, &headers);
	ok(batch_size(known, sizeof(known)) == 107 && batch_size(known, 11) == 0, "the size of a batch");
	ok(batch_header_read(known, sizeof(known), &h, &e) == 0, "the header of known bytes is read");
	ok(h.record_count == 3 && h.last_offset_delta == 2 && h.base_timestamp == 1700000000000 &&
			h.max_timestamp == 1700000000150 && h.producer_id == 4711 && h.producer_epoch == 3 &&
			h.base_sequence == 9 && h.crc == 0x27d79ecb && h.leader_epoch == -1 &&
			h.attributes == 0,
		"with all its fields");
	ok(batch_check_crc(known, sizeof(known), &e) == 0, "its CRC fits");
	ok(compare(known, sizeof(known), r, 3, 0, &e) == 0, "its records are read");
	batch_writer_init(&w, CODEC_NONE, 0);
	w.producer_id = 4711, w.producer_epoch = 3, w.base_sequence = 9;
	for (int i = 0; i < 3; i++)
		batch_writer_add(&w, &r[i], &e);
	ok(batch_writer_size(&w) == sizeof(known), "the writer knows the size");
	ok(batch_writer_finish(&w, &out, &e) == 0 && out.len == sizeof(known) &&
			!memcmp(out.data, known, 107),
		"and writes the same bytes");
	ok(w.count == 0 && batch_writer_size(&w) == 61 && batch_writer_finish(&w, &out, &e) < 0 &&
			out.len == 107,
		"after which it is empty, and an empty batch is not written");
	memcpy(copy, known, sizeof(known));
	batch_stamp(copy, INT64_C(1) << 40, 77);
	batch_header_read(copy, sizeof(copy), &h, &e);
	ok(h.leader_epoch == 77 && batch_last_offset(&h) == (INT64_C(1) << 40) + 2 &&
			batch_check_crc(copy, sizeof(copy), &e) == 0 &&
			compare(copy, sizeof(copy), r, 3, INT64_C(1) << 40, &e) == 0,
		"offset and epoch are stamped without touching the CRC");
	batch_writer_release(&w);
	buf_release(&headers);
	buf_release(&out);
}

static void test_headers(void)
{
	struct buf headers = BUF_INIT(100);
	struct record r = {.header_count = 3};
	struct record_header h;
	struct err e = ERR_INIT;
	size_t pos = 0;

	record_headers_add(&headers, TEXT("a"), TEXT("1"));
	record_headers_add(&headers, TEXT("a"), NOTHING);
	record_headers_add(&headers, TEXT(""), TEXT(""));
	r.headers = (struct bytes){(const uint8_t *)headers.data, headers.len};
	ok(record_header_next(&r, &pos, &h, &e) == 1 && same_bytes(h.key, TEXT("a")) &&
			same_bytes(h.value, TEXT("1")),
		"a header");
	ok(record_header_next(&r, &pos, &h, &e) == 1 && same_bytes(h.key, TEXT("a")) && !h.value.data,
		"the same again, with a null value");
	ok(record_header_next(&r, &pos, &h, &e) == 1 && h.key.data && !h.key.len && h.value.data &&
			!h.value.len,
		"an empty one");
	ok(record_header_next(&r, &pos, &h, &e) == 0, "no more");
	r.headers.len--;
	pos = 0;
	while (record_header_next(&r, &pos, &h, &e) == 1)
		;
	ok(e.code == ERR_CORRUPT_BATCH, "headers cut off are damage");
	buf_release(&headers);
}

/* All kinds of records, some larger than any window. */
static void test_round_trip(enum codec codec)
{
	enum { COUNT = 400 };
	struct record *r = mem_array(COUNT, sizeof(*r));
	struct buf headers = BUF_INIT(100000), out = BUF_INIT(MAX);
	uint8_t *noise = mem_alloc(3 << 20);
	struct batch_header h;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < 3 << 20; i++)
		noise[i] = (uint8_t)(i * i >> 7 ^ i >> 3);
	for (int i = 0; i < 5000; i++)
		record_headers_add(
			&headers, (struct bytes){noise + i, (size_t)i % 7}, i % 3 ? TEXT("x") : NOTHING);
	for (int i = 0; i < COUNT; i++) {
		r[i].timestamp = 1700000000000 + (i * 7919) % 100000 - 50000;
		r[i].key = i % 5 ? (struct bytes){noise + i, (size_t)i % 40} : NOTHING;
		r[i].value = i % 7 ? (struct bytes){noise + i, (size_t)(i * 37) % 3000} : NOTHING;
	}
	r[100].headers = (struct bytes){(uint8_t *)headers.data, headers.len};
	r[100].header_count = 5000;
	r[200].value.data = noise;
	r[200].value.len = 3 << 20;
	r[201].key = r[200].value;
	r[202].timestamp = INT64_MIN;
	r[203].timestamp = INT64_MAX;
	write_batch(codec, r, COUNT, &out);
	ok(batch_header_read(out.data, out.len, &h, &e) == 0 && batch_codec(&h) == codec &&
			h.record_count == COUNT && h.max_timestamp == INT64_MAX,
		"%s: a batch of %zu bytes is written", codec_name(codec), out.len);
	ok(compare(out.data, out.len, r, COUNT, 0, &e) == 0,
		"%s: all kinds of records, large ones too, come back", codec_name(codec));
	ok(compare_keys(out.data, out.len, r, COUNT, &e) == 0, "%s: and their keys alone", codec_name(codec));
	put_be32(out.data + 57, COUNT - 1);
	ok(compare(out.data, out.len, r, COUNT, 0, &e) < 0 && e.code == ERR_CORRUPT_BATCH &&
			compare_keys(out.data, out.len, r, COUNT, &e) < 0 && e.code == ERR_CORRUPT_BATCH,
		"%s: a count that is too small is damage", codec_name(codec));
	put_be32(out.data + 57, COUNT + 1);
	ok(compare(out.data, out.len, r, COUNT, 0, &e) < 0 && e.code == ERR_CORRUPT_BATCH &&
			compare_keys(out.data, out.len, r, COUNT, &e) < 0 && e.code == ERR_CORRUPT_BATCH,
		"%s: one that is too large, too", codec_name(codec));
	buf_release(&out);
	buf_release(&headers);
	mem_free(noise);
	mem_free(r);
}

/* Every byte changed in three ways, every length cut: an error, or the same records. */
static void test_damage(enum codec codec)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	struct batch_rules rules = {.max_before_ms = INT64_MAX, .max_after_ms = INT64_MAX};
	struct buf headers = BUF_INIT(100), out = BUF_INIT(10000), rewritten = BUF_INIT(10000);
	struct record r[3];
	struct batch_header h;
	int count = known_records(r, &headers), wrong = 0, rc;
	uint8_t *copy;

	write_batch(codec, r, count, &out);
	for (size_t i = 0; i < out.len; i++)
		for (size_t k = 0; k < array_count(flips); k++) {
			copy = mem_dup(out.data, out.len);
			copy[i] ^= flips[k];
			compare(copy, out.len, r, count, 0, NULL); /* without the CRC's help: no crash */
			compare_keys(copy, out.len, r, count, NULL);
			rc = batch_validate(copy, out.len, &rules, &h, &rewritten, NULL);
			wrong += rc == 0 && compare(copy, out.len, r, count, 0, NULL) < 0;
			wrong += rc == 0 && (i < 12 || i >= 16); /* the leader epoch is anybody's */
			mem_free(copy);
		}
	is_int(wrong, 0, "a batch changed at any byte is refused or the same");
	for (size_t n = 0; n < out.len; n++) {
		copy = mem_dup(out.data, n);
		wrong += batch_validate(copy, n, &rules, &h, &rewritten, NULL) == 0;
		wrong += compare(copy, n, r, count, 0, NULL) == 0;
		wrong += compare_keys(copy, n, r, count, NULL) == 0;
		mem_free(copy);
	}
	is_int(wrong, 0, "and so is one cut off anywhere");
	buf_release(&headers);
	buf_release(&out);
	buf_release(&rewritten);
}

static void test_limits(void)
{
	struct batch_writer w;
	struct record r = {.value = TEXT("0123456789")};
	struct buf out = BUF_INIT(80);
	struct err e = ERR_INIT;

	batch_writer_init(&w, CODEC_NONE, 20);
	ok(batch_writer_add(&w, &r, &e) == 0 && batch_writer_size(&w) <= 61 + record_max_size(&r),
		"one record fits");
	ok(batch_writer_add(&w, &r, &e) < 0 && e.code == ERR_TOO_LARGE && w.count == 1,
		"a second one does not");
	r.value.len = 0;
	ok(batch_writer_finish(&w, &out, &e) == 0, "which spoils nothing");
	batch_writer_add(&w, &r, &e);
	ok(batch_writer_finish(&w, &out, &e) < 0 && e.code == ERR_TOO_LARGE && out.len == 78 && w.count == 1,
		"a batch that does not fit its buffer leaves both as they were");
	batch_writer_release(&w);
	buf_release(&out);
}

/* What compaction and transactions leave behind is read, though no producer may send it. */
static void test_stored_batches(void)
{
	uint8_t copy[sizeof(known)];
	struct batch_reader *b;
	struct record r;
	struct err e = ERR_INIT;

	memcpy(copy, known, sizeof(known));
	put_be32(copy + 23, 9);
	b = batch_reader_new(copy, sizeof(copy), 0, &e);
	while (batch_reader_next(b, &r, &e) == 1)
		;
	ok(e.code == ERR_NONE, "a last offset delta above the count is read");
	batch_reader_free(b);
	put_be32(copy + 8, 49);
	put_be32(copy + 57, 0);
	b = batch_reader_new(copy, 61, 0, &e);
	ok(b && batch_reader_next(b, &r, &e) == 0, "a batch without records is read");
	batch_reader_free(b);
	memcpy(copy, known, sizeof(known));
	put_be16(copy + 21, BATCH_LOG_APPEND_TIME);
	b = batch_reader_new(copy, sizeof(copy), 0, &e);
	ok(batch_reader_next(b, &r, &e) == 1 && r.timestamp == 1700000000150, "LogAppendTime is the batch's");
	batch_reader_free(b);
	put_be32(copy + 23, 1);
	b = batch_reader_new(copy, sizeof(copy), 0, &e);
	while (batch_reader_next(b, &r, &e) == 1)
		;
	ok(e.code == ERR_CORRUPT_BATCH, "an offset past the last one is damage");
	batch_reader_free(b);
}

/* From UtilsTest of Kafka's clients. */
static void test_murmur2(void)
{
	is_int((int32_t)murmur2("21", 2), -973932308, "murmur2 of 21");
	is_int((int32_t)murmur2("foobar", 6), -790332482, "murmur2 of foobar");
	is_int((int32_t)murmur2("a-little-bit-long-string", 24), -985981536, "murmur2 of a long string");
	is_int((int32_t)murmur2("a-little-bit-longer-string", 26), -1486304829, "murmur2 of a longer string");
	is_int((int32_t)murmur2("abc", 3), 479470107, "murmur2 of abc");
	is_int(murmur2_partition("foobar", 6, 12), (-790332482 & 0x7fffffff) % 12, "the partition of foobar");
}

int main(void)
{
	static const enum codec all[] = {CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};

	test_known_bytes();
	test_headers();
	for (size_t i = 0; i < array_count(all); i++) {
		test_round_trip(all[i]);
		test_damage(all[i]);
	}
	test_limits();
	test_stored_batches();
	test_murmur2();
	return done_testing();
}
