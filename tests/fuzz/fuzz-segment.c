/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as parts of a segment and as a whole one. What a run's section is read to must be written and read again the same.
 * Input: one byte that says as what, then the bytes.
 */
#include <stdlib.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/mem.h"
#include "libsh/store/segment_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { AS_SECTIONS, AS_RUN, AS_RUN_INDEX, AS_BLOOM, AS_OBJECT, AS_ENDS, WAYS, INPUT_MAX = 1 << 20 };

static void must(bool good)
{
	if (!good)
		abort();
}

static void read_sections(const uint8_t *p, size_t n)
{
	struct segment_info info;
	struct bytes payload;
	uint16_t type;
	size_t pos = 0;

	while (segment_section_next(p, n, &pos, &type, &payload, NULL) == 1) {
		must(pos <= n && payload.data >= p && payload.data + payload.len <= p + n);
		if (type == SEGMENT_INFO)
			segment_info_read(payload, &info, NULL);
	}
}

/* Make the section's type, length and checksum fit. */
static void mend_run(uint8_t *p, size_t n)
{
	uint32_t crc;

	if (n < SEGMENT_SECTION_BYTES + 4)
		return;
	put_le16(p, SEGMENT_RUN);
	put_le32(p + 4, (uint32_t)(n - SEGMENT_SECTION_BYTES));
	crc = crc32c(0, p, SEGMENT_SECTION_BYTES);
	put_le32(p + 8, crc32c(crc, p + 12, n - 12));
}

static void read_run(uint8_t *p, size_t n)
{
	struct segment_run_detail *d = mem_zalloc(2 * sizeof(*d));
	struct buf b = BUF_INIT(64 << 20);
	struct arena a = ARENA_INIT;

	mend_run(p, n);
	if (segment_run_read(p, n, &a, d, NULL) == 0) {
		must(segment_run_write(&b, d, d->run.section_position) == 0);
		must(segment_run_read(b.data, b.len, &a, d + 1, NULL) == 0);
		must(d[0].block_count == d[1].block_count && d[0].producer_count == d[1].producer_count &&
			d[0].bloom.len == d[1].bloom.len && d[0].run.end_offset == d[1].run.end_offset);
		bloom_may_contain(d->bloom, "key", 3);
	}
	buf_release(&b);
	arena_release(&a);
	mem_free(d);
}

static void read_run_index(const uint8_t *p, size_t n)
{
	struct segment_run *runs;
	struct buf b = BUF_INIT(64 << 20);
	struct arena a = ARENA_INIT;
	size_t count;

	if (segment_runs_decode(p, n, &a, &runs, &count, NULL) == 0)
		must(segment_runs_encode(&b, runs, count) == 0 && b.len <= n);
	buf_release(&b);
	arena_release(&a);
}

struct object {
	const uint8_t *p;
	size_t n;
};

static int read_bytes(void *ctx, uint64_t offset, void *p, size_t n, struct err *e)
{
	const struct object *o = ctx;

	if (offset > o->n || n > o->n - offset)
		return err_set(e, ERR_CORRUPT, "the object ends before");
	memcpy(p, o->p + offset, n);
	return 0;
}

/* Make header, footer and trailer fit, as far as the trailer names a footer that lies in the object. */
static void mend_object(uint8_t *p, size_t n)
{
	uint8_t *trailer = p + n - SEGMENT_TRAILER_BYTES;
	uint64_t footer, position;

	put_le32(p + 12, crc32c(0, p + 16, SEGMENT_HEADER_BYTES - 16));
	put_le64(trailer + 32, n);
	footer = get_le64(trailer);
	if (footer < SEGMENT_HEADER_BYTES || footer > n - SEGMENT_TRAILER_BYTES)
		return;
	put_le64(trailer + 8, n - SEGMENT_TRAILER_BYTES - footer);
	for (position = footer; position + SEGMENT_SECTION_BYTES + 4 <= n - SEGMENT_TRAILER_BYTES;) {
		uint64_t length = get_le32(p + position + 4) + (uint64_t)SEGMENT_SECTION_BYTES;

		if (length > n - SEGMENT_TRAILER_BYTES - position)
			break;
		if (get_le16(p + position) == SEGMENT_RUN)
			mend_run(p + position, length);
		position += length;
	}
	put_le32(trailer + 16, crc32c(0, p + footer, n - SEGMENT_TRAILER_BYTES - footer));
	put_le32(trailer + 20, crc32c(0, p, n - SEGMENT_TRAILER_BYTES));
	put_le32(trailer + 52, crc32c(0, trailer, 52));
}

static void read_object(uint8_t *p, size_t n)
{
	struct object o = {p, n};
	struct segment_input in = {read_bytes, &o, n};

	if (n >= SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES)
		mend_object(p, n);
	segment_file_verify(&in, NULL);
}

static void read_ends(const uint8_t *p, size_t n)
{
	struct segment_trailer t;
	struct uuid object;

	if (n < SEGMENT_HEADER_BYTES)
		return;
	segment_header_read(p, &object, NULL);
	segment_trailer_read(p, n, &t, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *p;

	if (n < 1 || n > INPUT_MAX)
		return 0;
	p = mem_dup(data + 1, n - 1);
	n--;
	switch (data[0] % WAYS) {
	case AS_SECTIONS: read_sections(p, n); break;
	case AS_RUN: read_run(p, n); break;
	case AS_RUN_INDEX: read_run_index(p, n); break;
	case AS_BLOOM: bloom_may_contain((struct bytes){p, n}, "key", 3); break;
	case AS_OBJECT: read_object(p, n); break;
	default: read_ends(p, n); break;
	}
	mem_free(p);
	return 0;
}
