/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a segment: header, sections, trailer, run index, bloom filter. */
#include <stdlib.h>
#include "libsh/format/batch.h"
#include "libsh/format/segment.h"
#include "tests/unit/tap.h"

static struct uuid id(uint8_t n)
{
	struct uuid u;

	memset(u.b, n, sizeof(u.b));
	return u;
}

/* By what is written of them: structs have padding. */
static bool same_runs(const struct segment_run *a, const struct segment_run *b, size_t count)
{
	struct buf x = BUF_INIT(1 << 20), y = BUF_INIT(1 << 20);
	bool same = segment_runs_encode(&x, a, count) == 0 && segment_runs_encode(&y, b, count) == 0 && x.len == y.len &&
		!memcmp(x.data, y.data, x.len);

	buf_release(&x);
	buf_release(&y);
	return same;
}

static struct segment_info an_info(void)
{
	return (struct segment_info){.object = id(1), .slot = id(2), .session = 3, .number = 4, .newest_committed = 5,
		.incarnation = 6, .generation = 7, .first_lsn = 8, .end_lsn = 9, .created_ms = -10};
}

static void test_ends(void)
{
	struct segment_trailer t = {.footer_position = 1000, .footer_bytes = 500, .footer_crc = 1, .object_crc = 2,
		.run_count = 3}, back;
	struct segment_info info = an_info();
	uint8_t p[SEGMENT_TRAILER_BYTES];
	struct err e = ERR_INIT;
	struct uuid object;
	int missed = 0;

	segment_header_write(&info, p);
	ok(segment_header_read(p, &object, NULL) == 0 && uuid_equal(&object, &info.object), "a header reads back");
	p[8] = 2;
	segment_header_read(p, &object, &e);
	is_int(e.code, ERR_NOT_BUILT, "a newer major version is refused as such");
	segment_trailer_write(&t, p);
	ok(segment_trailer_read(p, 1564, &back, NULL) == 0 && back.footer_position == 1000 && back.footer_bytes == 500 &&
		back.footer_crc == 1 && back.object_crc == 2 && back.run_count == 3, "a trailer reads back");
	is_int(segment_trailer_read(p, 1565, &back, NULL), -1, "the trailer of an object of another size is refused");
	for (int i = 0; i < SEGMENT_TRAILER_BYTES * 8; i++) {
		p[i / 8] ^= (uint8_t)(1 << i % 8);
		missed += segment_trailer_read(p, 1564, &back, NULL) == 0;
		p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	is_int(missed, 0, "every flipped bit of a trailer is noticed");
}

static struct segment_run a_run(void)
{
	return (struct segment_run){.topic = id(9), .partition = 4, .first_epoch = 5, .last_epoch = 6, .previous_end = 99,
		.first_offset = 100, .end_offset = 300, .min_timestamp = -5, .max_timestamp = 700, .max_append_ms = 800,
		.records = 190, .raw_bytes = 3000, .position = 64, .stored_bytes = 2100, .section_position = 0,
		.section_bytes = 0};
}

static struct segment_block blocks[2] = {
	{.position = 64, .stored_bytes = 1100, .raw_bytes = 2000, .crc = 7, .first_offset = 100, .end_offset = 200,
		.max_timestamp = 700, .codec = CODEC_LZ4},
	{.position = 1164, .stored_bytes = 1000, .raw_bytes = 1000, .crc = 8, .first_offset = 210, .end_offset = 300,
		.max_timestamp = 600, .codec = CODEC_NONE},
};
static struct segment_producer producers[2] = {
	{.producer_id = 5, .last_used_ms = 6, .open_transaction_first = -1, .epoch = 7, .batch_count = 2,
		.batches = {{1, 2, 3}, {4, 5, 6}}},
	{.producer_id = 9, .last_used_ms = 8, .open_transaction_first = 250, .epoch = -1, .batch_count = 0},
};

static struct segment_run_detail *a_detail(void)
{
	struct segment_run_detail *d = mem_zalloc(sizeof(*d));

	d->run = a_run();
	strcpy(d->topic_name, "orders");
	d->blocks = blocks;
	d->block_count = 2;
	d->producers = producers;
	d->producer_count = 2;
	d->bloom = (struct bytes){(const uint8_t *)"filter", 6};
	return d;
}

static void test_run_section(void)
{
	struct segment_run_detail *d = a_detail(), back;
	struct buf b = BUF_INIT(1 << 20);
	struct arena a = ARENA_INIT;
	int missed = 0;

	ok(segment_run_write(&b, d, 2164) == 0 && d->run.section_position == 2164 && d->run.section_bytes == b.len,
		"a run's section is written, its place noted");
	ok(segment_run_read(b.data, b.len, &a, &back, NULL) == 0 && same_runs(&back.run, &d->run, 1) &&
		!strcmp(back.topic_name, "orders"), "and reads back the same");
	ok(back.block_count == 2 && back.blocks[1].position == 1164 && back.blocks[1].first_offset == 210 &&
		back.blocks[0].codec == CODEC_LZ4 && back.blocks[0].max_timestamp == 700, "with its blocks");
	ok(back.producer_count == 2 && back.producers[0].batches[1].base_offset == 6 && back.producers[0].epoch == 7 &&
		back.producers[1].open_transaction_first == 250, "its producers");
	ok(back.bloom.len == 6 && !memcmp(back.bloom.data, "filter", 6), "and its filter");
	for (size_t i = 0; i < b.len * 8; i++) {
		b.data[i / 8] ^= (char)(1 << i % 8);
		missed += segment_run_read(b.data, b.len, &a, &back, NULL) == 0;
		b.data[i / 8] ^= (char)(1 << i % 8);
	}
	is_int(missed, 0, "every flipped bit of it is noticed");
	missed = 0;
	for (size_t i = 0; i < b.len; i++)
		missed += segment_run_read(b.data, i, &a, &back, NULL) == 0;
	is_int(missed, 0, "every way of cutting it short is noticed");
	arena_release(&a);
	buf_release(&b);
	mem_free(d);
}

/* What the checksum cannot know: rows that were written wrong. */
static void refused(const struct segment_run_detail *d, const char *title)
{
	struct segment_run_detail copy = *d, back;
	struct buf b = BUF_INIT(1 << 20);
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;

	segment_run_write(&b, &copy, 2164);
	segment_run_read(b.data, b.len, &a, &back, &e);
	is_int(e.code, ERR_CORRUPT, title);
	arena_release(&a);
	buf_release(&b);
}

static void test_impossible(void)
{
	struct segment_run_detail *d = a_detail();
	struct segment_block save[2] = {blocks[0], blocks[1]};

	blocks[0].raw_bytes = BATCH_MAX_BYTES + 1;
	refused(d, "a block larger than a batch may be is refused");
	blocks[0] = save[0];
	blocks[1].position++;
	refused(d, "a hole between blocks is refused");
	blocks[1] = save[1];
	blocks[1].first_offset = 150;
	refused(d, "blocks that overlap in offsets are refused");
	blocks[1] = save[1];
	blocks[0].codec = (enum codec)1;
	refused(d, "a codec that blocks do not use is refused");
	blocks[0] = save[0];
	d->run.stored_bytes++;
	refused(d, "a run longer than its blocks is refused");
	d->run.stored_bytes--;
	d->block_count = 0;
	refused(d, "a run without blocks is refused");
	mem_free(d);
}

static void test_sections(void)
{
	struct segment_info info = an_info(), back;
	struct segment_run_detail *d = a_detail();
	struct buf b = BUF_INIT(1 << 20);
	struct bytes payload;
	struct err e = ERR_INIT;
	uint16_t type;
	size_t pos = 0, unknown;

	segment_info_write(&b, &info);
	ok(segment_section_next(b.data, b.len, &pos, &type, &payload, NULL) == 1 && type == SEGMENT_INFO &&
		segment_info_read(payload, &back, NULL) == 0 && !memcmp(&back, &info, sizeof(info)), "INFO reads back");
	unknown = b.len;
	buf_add_le16(&b, 77);
	buf_add_le16(&b, 0);
	buf_add_le32(&b, 3);
	buf_adds(&b, "abc");
	segment_run_write(&b, d, b.len);
	ok(segment_section_next(b.data, b.len, &pos, &type, &payload, NULL) == 1 && type == SEGMENT_RUN,
		"an unknown section that may be is passed over");
	is_int(segment_section_next(b.data, b.len, &pos, &type, &payload, NULL), 0, "the end of the footer is seen");
	b.data[unknown + 2] = 1;
	pos = unknown;
	segment_section_next(b.data, b.len, &pos, &type, &payload, &e);
	is_int(e.code, ERR_NOT_BUILT, "one that must be understood stops the reader");
	pos = 0;
	is_int(segment_section_next(b.data, 20, &pos, &type, &payload, NULL), -1, "a section that passes the end is damage");
	buf_release(&b);
	mem_free(d);
}

/* A later minor version has longer fixed parts and rows; written here by hand. */
static void test_longer(void)
{
	struct segment_info info = an_info(), back;
	struct buf b = BUF_INIT(1 << 20);
	struct bytes payload;
	uint16_t type;
	size_t pos = 0;

	segment_info_write(&b, &info);
	buf_adds(&b, "later fields");
	put_le32(b.data + 4, (uint32_t)(b.len - SEGMENT_SECTION_BYTES));
	ok(segment_section_next(b.data, b.len, &pos, &type, &payload, NULL) == 1 &&
		segment_info_read(payload, &back, NULL) == 0 && back.created_ms == -10, "a longer INFO is read");
	buf_release(&b);
}

static void test_runs(void)
{
	struct segment_run runs[3] = {a_run(), a_run(), a_run()}, *back = NULL;
	struct buf b = BUF_INIT(1 << 20), wide = BUF_INIT(1 << 20);
	struct arena a = ARENA_INIT;
	size_t count;
	int accepted = 0;

	runs[1].partition = 5;
	runs[1].section_bytes = 12345;
	runs[2].section_position = 1ULL << 40;
	ok(segment_runs_encode(&b, runs, 3) == 0 && segment_runs_decode(b.data, b.len, &a, &back, &count, NULL) == 0 &&
		count == 3 && same_runs(back, runs, 3), "a run index reads back");
	ok(back[1].partition == 5 && back[1].section_bytes == 12345 && back[2].section_position == 1ULL << 40 &&
		back[0].previous_end == 99 && back[0].max_append_ms == 800 && back[0].records == 190, "with its fields");
	for (size_t i = 0; i < b.len; i++)
		accepted += segment_runs_decode(b.data, i, &a, &back, &count, NULL) == 0;
	is_int(accepted, 0, "every way of cutting it short is noticed");
	buf_add_le16(&wide, 1);
	buf_add_le16(&wide, 130);
	buf_add_le32(&wide, 3);
	for (int i = 0; i < 3; i++) {
		buf_add(&wide, b.data + 8 + 120 * i, 120);
		buf_adds(&wide, "0123456789");
	}
	ok(segment_runs_decode(wide.data, wide.len, &a, &back, &count, NULL) == 0 && count == 3 &&
		same_runs(back, runs, 3), "longer rows are read");
	buf_reset(&b);
	ok(segment_runs_encode(&b, NULL, 0) == 0 && segment_runs_decode(b.data, b.len, &a, &back, &count, NULL) == 0 &&
		count == 0, "an empty index reads back");
	put_le32(b.data + 4, 0xffffffff);
	is_int(segment_runs_decode(b.data, b.len, &a, &back, &count, NULL), -1, "a count beyond the bytes is refused");
	arena_release(&a);
	buf_release(&b);
	buf_release(&wide);
}

static double wrong_percent(struct bytes filter)
{
	char key[32];
	int wrong = 0;

	for (int i = 0; i < 100000; i++)
		wrong += bloom_may_contain(filter, key, (size_t)snprintf(key, sizeof(key), "absent-%d", i));
	return wrong / 1000.0;
}

static void bloom_of(int adds, int distinct, size_t max_keys, struct buf *out)
{
	struct bloom_builder *b = bloom_builder_new(max_keys);
	char key[32];

	buf_init(out, 16 << 20);
	for (int i = 0; i < adds; i++)
		bloom_builder_add(b, key, (size_t)snprintf(key, sizeof(key), "key-%d", i % distinct));
	bloom_builder_finish(b, out);
	bloom_builder_free(b);
}

static void test_bloom(int adds, int distinct)
{
	struct buf b;
	struct bytes filter;
	char key[32];
	int missed = 0;
	double wrong, bits;

	bloom_of(adds, distinct, (size_t)adds, &b);
	filter = (struct bytes){(const uint8_t *)b.data, b.len};
	for (int i = 0; i < distinct; i++)
		missed += !bloom_may_contain(filter, key, (size_t)snprintf(key, sizeof(key), "key-%d", i));
	is_int(missed, 0, "a filter contains every key");
	wrong = wrong_percent(filter);
	bits = 8.0 * (double)b.len / distinct;
	ok(wrong < 2.0, "%d adds, %d distinct: wrong for %.2f %% of other keys", adds, distinct, wrong);
	ok(bits <= 22 || b.len <= 8 + 64 * 64, "with %.1f bits a key", bits);
	buf_release(&b);
}

static void test_bloom_edges(void)
{
	struct buf b;

	bloom_of(100000, 100000, 1000, &b);
	is_int((long long)b.len, 0, "a filter that got far more keys than it was made for is left out");
	buf_release(&b);
	bloom_of(100, 100, (size_t)1 << 40, &b);
	is_int((long long)b.len, 0, "a filter above the cap is left out");
	buf_release(&b);
	bloom_of(0, 1, 100, &b);
	is_int((long long)b.len, 0, "no key, no filter");
	buf_release(&b);
	ok(bloom_may_contain((struct bytes){NULL, 0}, "k", 1), "without a filter every key may be there");
	ok(bloom_may_contain((struct bytes){(const uint8_t *)"\001\007\0\0\377\377\377\377", 8}, "k", 1),
		"with one that is cut short, too");
}

/* Values that fix the format: XXH64 and the block and bits it picks may never change. */
static void test_bloom_format(size_t max_keys, const char *expected, const char *name)
{
	struct bloom_builder *b = bloom_builder_new(max_keys);
	struct buf out = BUF_INIT(1 << 10);
	struct buf hex = BUF_INIT(1 << 10);

	bloom_builder_add(b, "abc", 3); /* XXH64 44bc2cf5ad770999 */
	bloom_builder_finish(b, &out);
	for (size_t i = 0; i < out.len; i++)
		if (out.data[i])
			buf_addf(&hex, "%zu:%02x ", i, (uint8_t)out.data[i]);
	is_str(hex.data, expected, name);
	ok(bloom_may_contain((struct bytes){(const uint8_t *)out.data, out.len}, "abc", 3), "and it has that key");
	bloom_builder_free(b);
	buf_release(&out);
	buf_release(&hex);
}

int main(void)
{
	test_ends();
	test_run_section();
	test_impossible();
	test_sections();
	test_longer();
	test_runs();
	test_bloom(10000, 10000);
	test_bloom(200000, 200000);
	test_bloom(200000, 1000);
	test_bloom(3, 1);
	test_bloom_edges();
	test_bloom_format(1, "0:01 1:07 4:01 13:41 42:40 46:04 57:20 63:02 70:04 ",
		"the filter of one key is what it always was");
	test_bloom_format(1000, "0:01 1:07 4:05 77:41 106:40 110:04 121:20 127:02 134:04 ",
		"made for a thousand keys it is folded from 20 blocks to 5, and the key is in the second");
	return done_testing();
}
