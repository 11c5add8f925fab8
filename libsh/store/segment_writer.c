/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/segment_writer.h"

#include <string.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/store/producer_set.h"

enum {
	OUT_BYTES = 128 << 10,             /* gathered before a write, which finds them in the CPU's cache */
	OUT_MAX = OUT_BYTES + 48 * 1024 * 1024, /* with one block of the largest batch, which LZ4 may enlarge, on top */
	WRITE_THROUGH_BYTES = 64 << 10,    /* what is stored as it is and this large is not copied first */
	SECTION_MAX = 512 << 20,
};

/* What is kept of a run until the footer is written; blocks, producers and filter lie in the arena. */
struct run {
	struct segment_run row;
	const char *topic_name;
	struct segment_block *blocks;
	uint32_t block_count, producer_count;
	struct segment_producer *producers;
	struct bytes bloom;
};

struct segment_writer {
	int fd;
	struct segment_info info;
	struct buf out;      /* not written yet */
	uint64_t written;
	uint32_t crc;        /* of what was written */
	size_t bloom_left;
	struct arena arena;
	struct run *runs;
	size_t run_count, run_alloc;

	/* of the run at hand */
	struct segment_block *blocks;
	uint32_t block_count, block_alloc;
	uint64_t max_records;
	struct producer_set producers;
	struct bloom_builder *bloom; /* NULL: no filter for this run */

	/* of the block at hand */
	const uint8_t *block;
	size_t block_bytes;
	bool compressible;
	struct segment_block row;
};

struct segment_writer *segment_writer_new(int out_fd, const struct segment_info *info, size_t bloom_bytes)
{
	struct segment_writer *w = mem_zalloc(sizeof(*w));
	uint8_t header[SEGMENT_HEADER_BYTES];

	w->fd = out_fd;
	w->info = *info;
	w->bloom_left = bloom_bytes;
	buf_init(&w->out, OUT_MAX);
	segment_header_write(info, header);
	buf_add(&w->out, header, sizeof(header));
	return w;
}

void segment_writer_free(struct segment_writer *w)
{
	if (!w)
		return;
	buf_release(&w->out);
	arena_release(&w->arena);
	mem_free(w->runs);
	mem_free(w->blocks);
	producer_set_release(&w->producers);
	bloom_builder_free(w->bloom);
	mem_free(w);
}

/* ---- output ---- */

static int write_bytes(struct segment_writer *w, const void *p, size_t n, struct err *e)
{
	if (disk_pwrite(w->fd, p, n, (int64_t)w->written, e))
		return -1;
	w->crc = crc32c(w->crc, p, n);
	w->written += n;
	return 0;
}

static int write_out(struct segment_writer *w, struct err *e)
{
	if (w->out.len && write_bytes(w, w->out.data, w->out.len, e))
		return -1;
	buf_reset(&w->out);
	return 0;
}

static int put(struct segment_writer *w, const void *p, size_t n, struct err *e)
{
	if (n >= WRITE_THROUGH_BYTES)
		return write_out(w, e) || write_bytes(w, p, n, e) ? -1 : 0;
	if (w->out.len + n > OUT_BYTES && write_out(w, e))
		return -1;
	if (buf_add(&w->out, p, n))
		return err_set(e, ERR_TOO_LARGE, "the segment's output buffer is full");
	return 0;
}

/* ---- blocks ---- */

static int put_block(struct segment_writer *w, struct err *e)
{
	struct segment_block *row = &w->row;
	size_t n = w->block_bytes, before = w->out.len, stored;

	row->position = w->written + before;
	row->raw_bytes = (uint32_t)n;
	if (w->compressible) {
		if (block_compress(CODEC_LZ4, w->block, n, &w->out, e))
			return -1;
		stored = w->out.len - before;
		if (stored <= n - n / 16 && stored < n) {
			row->codec = CODEC_LZ4;
			row->stored_bytes = (uint32_t)stored;
			row->crc = crc32c(0, w->out.data + before, stored);
			return w->out.len >= OUT_BYTES ? write_out(w, e) : 0;
		}
		buf_truncate(&w->out, before);
	}
	row->codec = CODEC_NONE;
	row->stored_bytes = (uint32_t)n;
	row->crc = crc32c(0, w->block, n);
	return put(w, w->block, n, e);
}

int segment_writer_flush(struct segment_writer *w, struct err *e)
{
	if (!w->block_bytes)
		return 0;
	if (put_block(w, e))
		return -1;
	if (w->block_count == w->block_alloc) {
		w->block_alloc = w->block_alloc ? 2 * w->block_alloc : 64;
		w->blocks = mem_realloc_array(w->blocks, w->block_alloc, sizeof(*w->blocks));
	}
	w->blocks[w->block_count++] = w->row;
	w->block_bytes = 0;
	return 0;
}

static void block_add(struct segment_writer *w, const struct segment_writer_batch *batch, const struct batch_header *h)
{
	if (!w->block_bytes) {
		w->block = batch->data;
		w->compressible = false;
		w->row.first_offset = h->base_offset;
		w->row.max_timestamp = h->max_timestamp;
	}
	w->block_bytes += batch->length;
	w->row.end_offset = batch_last_offset(h) + 1;
	if (h->max_timestamp > w->row.max_timestamp)
		w->row.max_timestamp = h->max_timestamp;
	if (batch_codec(h) == CODEC_NONE)
		w->compressible = true;
}

/* ---- runs ---- */

int segment_writer_begin(struct segment_writer *w, const struct segment_writer_run *run, struct err *e)
{
	struct run *r;

	if (strlen(run->topic_name) > SEGMENT_TOPIC_NAME_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT, "a topic name of %zu bytes", strlen(run->topic_name));
	if (w->run_count == w->run_alloc) {
		w->run_alloc = w->run_alloc ? 2 * w->run_alloc : 16;
		w->runs = mem_realloc_array(w->runs, w->run_alloc, sizeof(*w->runs));
	}
	r = &w->runs[w->run_count++];
	memset(r, 0, sizeof(*r));
	r->row.topic = run->topic;
	r->row.partition = run->partition;
	r->row.previous_end = run->previous_end;
	r->row.position = w->written + w->out.len;
	r->topic_name = run->topic_name;
	w->max_records = run->max_records;
	w->block_count = 0;
	return 0;
}

static void run_add(struct segment_run *r, const struct segment_writer_batch *batch, const struct batch_header *h)
{
	if (!r->raw_bytes) {
		r->first_offset = h->base_offset;
		r->first_epoch = batch->epoch;
		r->min_timestamp = h->base_timestamp < h->max_timestamp ? h->base_timestamp : h->max_timestamp;
		r->max_timestamp = h->max_timestamp;
		r->max_append_ms = batch->append_ms;
	}
	r->end_offset = batch_last_offset(h) + 1;
	r->last_epoch = batch->epoch;
	if (h->base_timestamp < r->min_timestamp)
		r->min_timestamp = h->base_timestamp;
	if (h->max_timestamp > r->max_timestamp)
		r->max_timestamp = h->max_timestamp;
	if (batch->append_ms > r->max_append_ms)
		r->max_append_ms = batch->append_ms;
	r->records += (uint64_t)h->record_count;
	r->raw_bytes += batch->length;
}

/*
 * A filter must know every key, so all records are walked; that is worth it only where keys are in use, which the
 * first record of the run tells. A run without filter is searched, never skipped.
 */
static int add_keys(struct segment_writer *w, const struct segment_writer_batch *batch, bool first, struct err *e)
{
	struct batch_reader *reader;
	struct bytes key;
	int rc;

	if (!first && !w->bloom)
		return 0;
	reader = batch_reader_new(batch->data, batch->length, 0, e);
	if (!reader)
		return -1;
	rc = batch_reader_next_key(reader, &key, e);
	if (first && rc == 1 && key.data)
		w->bloom = bloom_builder_new(w->max_records);
	for (; w->bloom && rc == 1; rc = batch_reader_next_key(reader, &key, e))
		if (key.data)
			bloom_builder_add(w->bloom, key.data, key.len);
	batch_reader_free(reader);
	return rc < 0 ? -1 : 0;
}

int segment_writer_add(struct segment_writer *w, const struct segment_writer_batch *batch, struct err *e)
{
	struct segment_run *r = &w->runs[w->run_count - 1].row;
	bool first = r->raw_bytes == 0;
	struct batch_header h;

	if (batch_header_read(batch->data, batch->length, &h, e))
		return -1;
	if (w->block_bytes && w->block_bytes + batch->length > SEGMENT_BLOCK_BYTES && segment_writer_flush(w, e))
		return -1;
	if (!(h.attributes & BATCH_CONTROL) && add_keys(w, batch, first, e))
		return -1;
	block_add(w, batch, &h);
	run_add(r, batch, &h);
	producer_set_note(&w->producers, &h, batch->append_ms);
	return 0;
}

static int end_bloom(struct segment_writer *w, struct run *r, struct err *e)
{
	struct buf b;
	int rc;

	if (!w->bloom)
		return 0;
	buf_init(&b, SECTION_MAX);
	rc = bloom_builder_finish(w->bloom, &b);
	if (rc)
		err_set(e, ERR_TOO_LARGE, "a bloom filter is larger than %d bytes", SECTION_MAX);
	if (rc == 0 && b.len && b.len <= w->bloom_left) {
		w->bloom_left -= b.len;
		r->bloom.data = arena_dup(&w->arena, b.data, b.len);
		r->bloom.len = b.len;
	}
	buf_release(&b);
	bloom_builder_free(w->bloom);
	w->bloom = NULL;
	return rc;
}

int segment_writer_end(struct segment_writer *w, struct err *e)
{
	struct run *r = &w->runs[w->run_count - 1];

	if (segment_writer_flush(w, e) || end_bloom(w, r, e))
		return -1;
	r->row.stored_bytes = w->written + w->out.len - r->row.position;
	r->blocks = arena_dup(&w->arena, w->blocks, w->block_count * sizeof(*w->blocks));
	r->block_count = w->block_count;
	r->producers = producer_set_take(&w->producers, &w->arena, &r->producer_count);
	return 0;
}

/* ---- footer ---- */

static int put_section(struct segment_writer *w, struct buf *section, int written, uint32_t *crc, struct err *e)
{
	if (written)
		return err_set(e, ERR_TOO_LARGE, "a section of the segment's footer is larger than %d bytes", SECTION_MAX);
	*crc = crc32c(*crc, section->data, section->len);
	if (put(w, section->data, section->len, e))
		return -1;
	buf_reset(section);
	return 0;
}

static int put_footer(struct segment_writer *w, uint32_t *crc, struct err *e)
{
	struct segment_run_detail *d = mem_zalloc(sizeof(*d));
	struct buf section = BUF_INIT(SECTION_MAX);
	int rc = put_section(w, &section, segment_info_write(&section, &w->info), crc, e);

	for (size_t i = 0; rc == 0 && i < w->run_count; i++) {
		struct run *r = &w->runs[i];

		d->run = r->row;
		strcpy(d->topic_name, r->topic_name);
		d->blocks = r->blocks;
		d->block_count = r->block_count;
		d->producers = r->producers;
		d->producer_count = r->producer_count;
		d->bloom = r->bloom;
		rc = segment_run_write(&section, d, w->written + w->out.len);
		rc = put_section(w, &section, rc, crc, e);
		r->row = d->run;
	}
	buf_release(&section);
	mem_free(d);
	return rc;
}

int segment_writer_finish(struct segment_writer *w, struct segment_run **runs, size_t *run_count, uint64_t *bytes,
	uint32_t *crc, struct err *e)
{
	struct segment_trailer t = {.footer_position = w->written + w->out.len, .run_count = (uint32_t)w->run_count};
	uint8_t trailer[SEGMENT_TRAILER_BYTES];

	if (put_footer(w, &t.footer_crc, e) || write_out(w, e))
		return -1;
	t.footer_bytes = w->written - t.footer_position;
	t.object_crc = w->crc;
	segment_trailer_write(&t, trailer);
	if (write_bytes(w, trailer, sizeof(trailer), e))
		return -1;
	*runs = mem_array(w->run_count + 1, sizeof(**runs));
	for (size_t i = 0; i < w->run_count; i++)
		(*runs)[i] = w->runs[i].row;
	*run_count = w->run_count;
	*bytes = w->written;
	*crc = w->crc;
	return 0;
}
