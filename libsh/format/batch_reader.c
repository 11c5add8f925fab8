/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/mem.h"
#include "libsh/format/record_stream.h"

struct batch_reader {
	struct batch_header header;
	struct record_stream stream;
	int32_t next;            /* index of the next record */
	int64_t last_delta;      /* offset delta of the last one, -1 before the first */
};

struct batch_reader *batch_reader_new(const void *batch, size_t n, size_t max_raw_bytes, struct err *e)
{
	struct batch_header h;
	struct batch_reader *b;
	size_t size;

	if (batch_header_read(batch, n, &h, e) < 0)
		return NULL;
	size = (size_t)batch_size(batch, n);
	if (size > n) {
		err_set(e, ERR_CORRUPT_BATCH, "the batch is cut off: %zu of %zu bytes", n, size);
		return NULL;
	}
	if (h.record_count < 0 || h.last_offset_delta < 0) {
		err_set(e, ERR_CORRUPT_BATCH, "a batch of %d records with last offset delta %d cannot be",
			h.record_count, h.last_offset_delta);
		return NULL;
	}
	b = mem_zalloc(sizeof(*b));
	b->header = h;
	b->last_delta = -1;
	if (record_stream_open(&b->stream, batch, size, &h, max_raw_bytes, e) == 0)
		return b;
	batch_reader_free(b);
	return NULL;
}

/* Compaction leaves gaps, but never changes the order. */
static int check_offset(const struct batch_reader *b, int32_t delta, struct err *e)
{
	if (delta <= b->last_delta || delta > b->header.last_offset_delta)
		return err_set(e, ERR_CORRUPT_BATCH, "record %d: its offset delta %d is out of order",
			b->next, delta);
	return 0;
}

int batch_reader_next(struct batch_reader *b, struct record *r, struct err *e)
{
	const struct batch_header *h = &b->header;
	struct record_fields f;

	if (b->next == h->record_count)
		return record_stream_finish(&b->stream, e);
	if (record_stream_next(&b->stream, b->next, &f, e) < 0 || check_offset(b, f.offset_delta, e) < 0)
		return -1;
	b->last_delta = f.offset_delta;
	b->next++;
	r->offset = (int64_t)((uint64_t)h->base_offset + (uint64_t)f.offset_delta);
	r->timestamp = h->attributes & BATCH_LOG_APPEND_TIME
		? h->max_timestamp
		: (int64_t)((uint64_t)h->base_timestamp + (uint64_t)f.timestamp_delta);
	r->key = f.key;
	r->value = f.value;
	r->headers = f.headers;
	r->header_count = f.header_count;
	return 1;
}

int batch_reader_next_key(struct batch_reader *b, struct bytes *key, struct err *e)
{
	struct record_fields f;

	if (b->next == b->header.record_count)
		return record_stream_finish(&b->stream, e);
	if (record_stream_next_key(&b->stream, b->next, &f, e) < 0 || check_offset(b, f.offset_delta, e) < 0)
		return -1;
	b->last_delta = f.offset_delta;
	b->next++;
	*key = f.key;
	return 1;
}

void batch_reader_free(struct batch_reader *b)
{
	if (!b)
		return;
	record_stream_close(&b->stream);
	mem_free(b);
}

/* A length and its bytes, from *pos on. */
static int header_part(const struct record *r, size_t *pos, struct bytes *out)
{
	const uint8_t *p = r->headers.data + *pos, *end = r->headers.data + r->headers.len;
	int32_t len;
	size_t used = varint_get(p, end, &len);

	if (!used || len < -1 || len > end - p - (ptrdiff_t)used)
		return -1;
	*out = len < 0 ? (struct bytes){NULL, 0} : (struct bytes){p + used, (size_t)len};
	*pos += used + out->len;
	return 0;
}

int record_header_next(const struct record *r, size_t *pos, struct record_header *h, struct err *e)
{
	if (*pos >= r->headers.len)
		return 0;
	if (header_part(r, pos, &h->key) < 0 || !h->key.data || header_part(r, pos, &h->value) < 0)
		return err_set(e, ERR_CORRUPT_BATCH, "the headers of the record at offset %lld are damaged",
			(long long)r->offset);
	return 1;
}
