/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/segment_file.h"

#include <string.h>
#include "libsh/base/crc32c.h"
#include "libsh/format/batch.h"

enum {
	FOOTER_MAX = 1 << 30,
};

/* ---- opening ---- */

static int read_ends(struct segment_file *f, const struct segment_input *in, struct uuid *object, struct err *e)
{
	uint8_t p[SEGMENT_TRAILER_BYTES];

	if (in->bytes < SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES)
		return err_set(e, ERR_CORRUPT, "the segment has %llu bytes, less than any segment",
			(unsigned long long)in->bytes);
	if (in->read(in->ctx, in->bytes - SEGMENT_TRAILER_BYTES, p, SEGMENT_TRAILER_BYTES, e) ||
		segment_trailer_read(p, in->bytes, &f->trailer, e) ||
		in->read(in->ctx, 0, p, SEGMENT_HEADER_BYTES, e))
		return -1;
	return segment_header_read(p, object, e);
}

static int read_section(struct segment_file *f, uint16_t type, struct bytes payload, uint64_t position, size_t run,
	struct err *e)
{
	struct segment_run_detail *d;

	if (type == SEGMENT_INFO)
		return segment_info_read(payload, &f->info, e);
	if (run >= f->trailer.run_count)
		return err_set(e, ERR_CORRUPT, "the segment has more runs than its trailer says");
	d = &f->runs[run];
	if (segment_run_read(payload.data - SEGMENT_SECTION_BYTES, payload.len + SEGMENT_SECTION_BYTES, &f->arena, d, e))
		return -1;
	if (d->run.section_position != position)
		return err_set(e, ERR_CORRUPT, "run %zu of the segment says that its section stands elsewhere", run);
	return 0;
}

/* Runs follow each other from the header to the footer, in order of (topic, partition). */
static int check_order(const struct segment_file *f, struct err *e)
{
	uint64_t position = SEGMENT_HEADER_BYTES;

	for (size_t i = 0; i < f->run_count; i++) {
		const struct segment_run *r = &f->runs[i].run, *before = i ? &f->runs[i - 1].run : NULL;
		int order = before ? uuid_compare(&before->topic, &r->topic) : -1;

		if (r->position != position || order > 0 || (order == 0 && before->partition >= r->partition))
			return err_set(e, ERR_CORRUPT, "run %zu of the segment is out of order", i);
		position += r->stored_bytes;
	}
	if (position != f->trailer.footer_position)
		return err_set(e, ERR_CORRUPT, "the runs of the segment do not reach to its footer");
	return 0;
}

static int read_footer(struct segment_file *f, const uint8_t *footer, const struct uuid *object, struct err *e)
{
	size_t n = (size_t)f->trailer.footer_bytes, pos = 0, start = 0;
	bool info = false;
	struct bytes payload;
	uint16_t type;
	int rc;

	if (crc32c(0, footer, n) != f->trailer.footer_crc)
		return err_set(e, ERR_CORRUPT, "the footer of the segment does not match its checksum");
	if (f->trailer.run_count > n / SEGMENT_SECTION_BYTES)
		return err_set(e, ERR_CORRUPT, "the segment claims %u runs in a footer of %zu bytes", f->trailer.run_count, n);
	f->runs = arena_alloc(&f->arena, ((size_t)f->trailer.run_count + 1) * sizeof(*f->runs));
	while ((rc = segment_section_next(footer, n, &pos, &type, &payload, e)) == 1) {
		start = (size_t)(payload.data - footer) - SEGMENT_SECTION_BYTES;
		if (read_section(f, type, payload, f->trailer.footer_position + start, f->run_count, e))
			return -1;
		info = info || type == SEGMENT_INFO;
		f->run_count += type == SEGMENT_RUN;
	}
	if (rc < 0)
		return -1;
	if (!info || f->run_count != f->trailer.run_count || !uuid_equal(object, &f->info.object))
		return err_set(e, ERR_CORRUPT, "the footer of the segment does not belong to its header and trailer");
	return check_order(f, e);
}

int segment_file_open(struct segment_file *f, const struct segment_input *in, struct err *e)
{
	struct uuid object;
	uint8_t *footer;
	int rc;

	memset(f, 0, sizeof(*f));
	if (read_ends(f, in, &object, e))
		return -1;
	if (f->trailer.footer_bytes > FOOTER_MAX)
		return err_set(e, ERR_TOO_LARGE, "the footer of the segment has %llu bytes, more than the %d that are read",
			(unsigned long long)f->trailer.footer_bytes, FOOTER_MAX);
	footer = mem_alloc((size_t)f->trailer.footer_bytes + 1);
	rc = in->read(in->ctx, f->trailer.footer_position, footer, (size_t)f->trailer.footer_bytes, e);
	if (rc == 0)
		rc = read_footer(f, footer, &object, e);
	mem_free(footer);
	if (rc)
		segment_file_release(f);
	return rc;
}

void segment_file_release(struct segment_file *f)
{
	arena_release(&f->arena);
	f->runs = NULL;
	f->run_count = 0;
}

/* ---- blocks ---- */

static int corrupt_block(const struct segment_block *b, const char *what, struct err *e)
{
	return err_set(e, ERR_CORRUPT, "the block at byte %llu of the segment (offset %lld on) %s",
		(unsigned long long)b->position, (long long)b->first_offset, what);
}

/* The stored bytes into `stored`, checked. */
static int load_block(const struct segment_input *in, const struct segment_block *b, struct buf *stored, struct err *e)
{
	buf_reset(stored);
	if (b->raw_bytes > BATCH_MAX_BYTES || b->stored_bytes > b->raw_bytes || b->position > in->bytes ||
		b->stored_bytes > in->bytes - b->position)
		return corrupt_block(b, "has an impossible index row", e);
	if (buf_reserve(stored, b->stored_bytes))
		return err_set(e, ERR_TOO_LARGE, "a block of %u bytes is larger than its buffer may get", b->stored_bytes);
	if (in->read(in->ctx, b->position, stored->data, b->stored_bytes, e))
		return -1;
	buf_grew(stored, b->stored_bytes);
	if (crc32c(0, stored->data, b->stored_bytes) != b->crc)
		return corrupt_block(b, "does not match its checksum", e);
	return 0;
}

static int unpack_block(const struct segment_block *b, const struct buf *stored, struct buf *out, struct err *e)
{
	buf_reset(out);
	if (buf_reserve(out, b->raw_bytes))
		return err_set(e, ERR_TOO_LARGE, "a block of %u bytes is larger than its buffer may get", b->raw_bytes);
	if (block_decompress(b->codec, stored->data, stored->len, out->data, b->raw_bytes, e))
		return -1;
	buf_grew(out, b->raw_bytes);
	return 0;
}

int segment_block_read(const struct segment_input *in, const struct segment_block *block, struct buf *out, struct err *e)
{
	struct buf stored = BUF_INIT(BATCH_MAX_BYTES);
	int rc;

	if (block->codec == CODEC_NONE)
		return load_block(in, block, out, e);
	rc = load_block(in, block, &stored, e);
	if (rc == 0)
		rc = unpack_block(block, &stored, out, e);
	buf_release(&stored);
	return rc;
}

/* ---- verifying ---- */

struct verify {
	const struct segment_input *in;
	struct segment_file file;
	struct buf stored, raw;
	uint32_t crc;      /* of the object, so far */
};

/* Whole, valid batches whose offsets grow and fit the index row. */
static int verify_batches(const struct segment_block *b, const uint8_t *p, uint64_t *records, struct err *e)
{
	int64_t offset = b->first_offset, max_timestamp = INT64_MIN;
	size_t left = b->raw_bytes;
	struct batch_header h;
	size_t size;

	while (left) {
		if (batch_header_read(p, left, &h, e))
			return -1;
		size = (size_t)h.batch_length + BATCH_LENGTH_OFFSET;
		if (size > left)
			return corrupt_block(b, "ends inside a batch", e);
		if (batch_check_crc(p, size, e))
			return -1;
		if (h.base_offset < offset || (left == b->raw_bytes && h.base_offset != offset))
			return corrupt_block(b, "holds batches whose offsets do not fit", e);
		offset = batch_last_offset(&h) + 1;
		*records += (uint64_t)h.record_count;
		if (h.max_timestamp > max_timestamp)
			max_timestamp = h.max_timestamp;
		p += size;
		left -= size;
	}
	if (offset != b->end_offset || max_timestamp != b->max_timestamp)
		return corrupt_block(b, "holds other batches than its index row says", e);
	return 0;
}

static int verify_run(struct verify *v, const struct segment_run_detail *d, struct err *e)
{
	uint64_t records = 0;

	for (uint32_t i = 0; i < d->block_count; i++) {
		const struct segment_block *b = &d->blocks[i];
		const struct buf *raw = b->codec == CODEC_NONE ? &v->stored : &v->raw;

		if (load_block(v->in, b, &v->stored, e))
			return -1;
		v->crc = crc32c(v->crc, v->stored.data, v->stored.len);
		if (b->codec != CODEC_NONE && unpack_block(b, &v->stored, &v->raw, e))
			return -1;
		if (verify_batches(b, (const uint8_t *)raw->data, &records, e))
			return -1;
	}
	if (records != d->run.records)
		return err_set(e, ERR_CORRUPT, "the run of %s/%u in the segment holds %llu records, not %llu", d->topic_name,
			d->run.partition, (unsigned long long)records, (unsigned long long)d->run.records);
	return 0;
}

/* Header and footer: what lies around the blocks. */
static int crc_range(struct verify *v, uint64_t from, uint64_t to, struct err *e)
{
	while (from < to) {
		size_t n = to - from < SEGMENT_BLOCK_BYTES ? (size_t)(to - from) : SEGMENT_BLOCK_BYTES;

		buf_reset(&v->stored);
		if (buf_reserve(&v->stored, n))
			return err_set(e, ERR_TOO_LARGE, "a buffer of %zu bytes is too large", n);
		if (v->in->read(v->in->ctx, from, v->stored.data, n, e))
			return -1;
		v->crc = crc32c(v->crc, v->stored.data, n);
		from += n;
	}
	return 0;
}

/* The runs lie without a hole between header and footer, so one pass over the object sees every byte. */
static int verify_all(struct verify *v, struct err *e)
{
	const struct segment_trailer *t = &v->file.trailer;

	if (crc_range(v, 0, SEGMENT_HEADER_BYTES, e))
		return -1;
	for (size_t i = 0; i < v->file.run_count; i++)
		if (verify_run(v, &v->file.runs[i], e))
			return -1;
	if (crc_range(v, t->footer_position, t->footer_position + t->footer_bytes, e))
		return -1;
	if (v->crc != t->object_crc)
		return err_set(e, ERR_CORRUPT, "the segment does not match its checksum");
	return 0;
}

int segment_file_verify(const struct segment_input *in, struct err *e)
{
	struct verify v = {.in = in, .stored = BUF_INIT(BATCH_MAX_BYTES), .raw = BUF_INIT(BATCH_MAX_BYTES)};
	int rc;

	if (segment_file_open(&v.file, in, e))
		return -1;
	rc = verify_all(&v, e);
	segment_file_release(&v.file);
	buf_release(&v.stored);
	buf_release(&v.raw);
	return rc;
}
