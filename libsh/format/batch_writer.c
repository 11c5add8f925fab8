/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include "libsh/base/crc32c.h"
#include "libsh/format/batch.h"

enum { BATCH_MAGIC = 2, CRC_START = 21, RECORD_OVERHEAD_MAX = 5 + 1 + 10 + 5 + 5 + 5 + 5 };

void batch_writer_init(struct batch_writer *w, enum codec codec, size_t max_raw_bytes)
{
	*w = (struct batch_writer){
		.codec = codec, .producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
	if (!max_raw_bytes || max_raw_bytes > BATCH_MAX_RAW_BYTES)
		max_raw_bytes = BATCH_MAX_RAW_BYTES;
	buf_init(&w->records, max_raw_bytes);
}

void batch_writer_release(struct batch_writer *w)
{
	buf_release(&w->records);
}

size_t batch_writer_size(const struct batch_writer *w)
{
	return BATCH_HEADER_BYTES + w->records.len;
}

size_t record_max_size(const struct record *r)
{
	return RECORD_OVERHEAD_MAX + r->key.len + r->value.len + r->headers.len;
}

static size_t bytes_size(struct bytes b)
{
	return b.data ? varint_size((int32_t)b.len) + b.len : 1;
}

static uint8_t *put_bytes(uint8_t *p, struct bytes b)
{
	p += varint_put(p, b.data ? (int32_t)b.len : -1);
	if (b.len)
		memcpy(p, b.data, b.len);
	return p + b.len;
}

int batch_writer_add(struct batch_writer *w, const struct record *r, struct err *e)
{
	int64_t base = w->count ? w->base_timestamp : r->timestamp;
	int64_t delta = (int64_t)((uint64_t)r->timestamp - (uint64_t)base);
	size_t limit = w->records.max - w->records.len, body;
	uint8_t *start, *p;

	if (r->key.len > limit || r->value.len > limit || r->headers.len > limit || w->count == INT_MAX)
		goto too_large;
	body = 1 + varlong_size(delta) + varint_size(w->count) + bytes_size(r->key) + bytes_size(r->value) +
		varint_size(r->header_count) + r->headers.len;
	if (body > limit || varint_size((int32_t)body) > limit - body)
		goto too_large;
	buf_reserve(&w->records, varint_size((int32_t)body) + body);
	start = p = (uint8_t *)w->records.data + w->records.len;
	p += varint_put(p, (int32_t)body);
	*p++ = 0;
	p += varlong_put(p, delta);
	p += varint_put(p, w->count);
	p = put_bytes(p, r->key);
	p = put_bytes(p, r->value);
	p += varint_put(p, r->header_count);
	if (r->headers.len)
		memcpy(p, r->headers.data, r->headers.len);
	buf_grew(&w->records, (size_t)(p - start) + r->headers.len);
	w->base_timestamp = base;
	w->max_timestamp = !w->count || r->timestamp > w->max_timestamp ? r->timestamp : w->max_timestamp;
	w->count++;
	return 0;
too_large:
	return err_set(e, ERR_TOO_LARGE, "a record of about %zu bytes does not fit: %zu of %zu are left",
		record_max_size(r), limit, w->records.max);
}

static void put_header(uint8_t *p, size_t size, const struct batch_writer *w)
{
	put_be64(p, 0);
	put_be32(p + 8, (uint32_t)(size - BATCH_LENGTH_OFFSET));
	put_be32(p + 12, UINT32_MAX);
	p[16] = BATCH_MAGIC;
	put_be16(p + 21, (uint16_t)w->codec);
	put_be32(p + 23, (uint32_t)(w->count - 1));
	put_be64(p + 27, (uint64_t)w->base_timestamp);
	put_be64(p + 35, (uint64_t)w->max_timestamp);
	put_be64(p + 43, (uint64_t)w->producer_id);
	put_be16(p + 51, (uint16_t)w->producer_epoch);
	put_be32(p + 53, (uint32_t)w->base_sequence);
	put_be32(p + 57, (uint32_t)w->count);
	put_be32(p + 17, crc32c(0, p + CRC_START, size - CRC_START));
}

int batch_writer_finish(struct batch_writer *w, struct buf *out, struct err *e)
{
	size_t before = out->len;

	if (!w->count)
		return err_set(e, ERR_INVALID_ARGUMENT, "a batch needs a record");
	if (!buf_add_zeros(out, BATCH_HEADER_BYTES)) {
		err_set(e, ERR_TOO_LARGE, "no room for another batch in %zu bytes", out->max);
		goto fail;
	}
	if (compress_bytes(w->codec, w->level, w->records.data, w->records.len, out, e) < 0)
		goto fail;
	if (out->len - before > BATCH_MAX_BYTES) {
		err_set(e, ERR_TOO_LARGE, "a batch of %zu bytes is above the limit of %d", out->len - before,
			BATCH_MAX_BYTES);
		goto fail;
	}
	put_header((uint8_t *)out->data + before, out->len - before, w);
	buf_reset(&w->records);
	w->count = 0;
	return 0;
fail:
	buf_truncate(out, before);
	return -1;
}

int record_headers_add(struct buf *headers, struct bytes key, struct bytes value)
{
	uint8_t *p;

	if (key.len > INT_MAX || value.len > INT_MAX || buf_reserve(headers, key.len + value.len + 10) < 0)
		return -1;
	p = (uint8_t *)headers->data + headers->len;
	p += varint_put(p, (int32_t)key.len);
	if (key.len)
		memcpy(p, key.data, key.len);
	p = put_bytes(p + key.len, value);
	buf_grew(headers, (size_t)((char *)p - headers->data) - headers->len);
	return 0;
}
