/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a batch, and what can be done to a batch without looking at its records. */
#include "libsh/format/batch.h"

#include "libsh/base/crc32c.h"

enum { BATCH_MAGIC = 2, CRC_OFFSET = 17, CRC_START = 21 };

int64_t batch_size(const void *p, size_t n)
{
	int32_t length;

	if (n < BATCH_LENGTH_OFFSET)
		return 0;
	length = (int32_t)get_be32((const uint8_t *)p + 8);
	if (length < BATCH_HEADER_BYTES - BATCH_LENGTH_OFFSET ||
		length > BATCH_MAX_BYTES - BATCH_LENGTH_OFFSET)
		return -1;
	return (int64_t)length + BATCH_LENGTH_OFFSET;
}

int batch_header_read(const void *batch, size_t n, struct batch_header *h, struct err *e)
{
	const uint8_t *p = batch;

	if (n < BATCH_HEADER_BYTES)
		return err_set(e, ERR_CORRUPT_BATCH, "a batch needs %d bytes for its header, here are %zu",
			BATCH_HEADER_BYTES, n);
	h->base_offset = (int64_t)get_be64(p);
	h->batch_length = (int32_t)get_be32(p + 8);
	h->leader_epoch = (int32_t)get_be32(p + 12);
	h->magic = (int8_t)p[16];
	h->crc = get_be32(p + CRC_OFFSET);
	h->attributes = (int16_t)get_be16(p + 21);
	h->last_offset_delta = (int32_t)get_be32(p + 23);
	h->base_timestamp = (int64_t)get_be64(p + 27);
	h->max_timestamp = (int64_t)get_be64(p + 35);
	h->producer_id = (int64_t)get_be64(p + 43);
	h->producer_epoch = (int16_t)get_be16(p + 51);
	h->base_sequence = (int32_t)get_be32(p + 53);
	h->record_count = (int32_t)get_be32(p + 57);
	if (h->magic != BATCH_MAGIC)
		return err_set(e, ERR_CORRUPT_BATCH, "record batches have magic 2, not %d", h->magic);
	if (batch_size(p, n) < 0)
		return err_set(e, ERR_CORRUPT_BATCH, "a batch length of %d cannot be", h->batch_length);
	return 0;
}

void batch_stamp(void *batch, int64_t base_offset, int32_t leader_epoch)
{
	uint8_t *p = batch;

	put_be64(p, (uint64_t)base_offset);
	put_be32(p + 12, (uint32_t)leader_epoch);
}

int batch_check_crc(const void *batch, size_t n, struct err *e)
{
	const uint8_t *p = batch;
	uint32_t stored, computed;

	if (n < BATCH_HEADER_BYTES)
		return err_set(e, ERR_CORRUPT_BATCH, "a batch of %zu bytes is shorter than its header", n);
	stored = get_be32(p + CRC_OFFSET);
	computed = crc32c(0, p + CRC_START, n - CRC_START);
	if (stored != computed)
		return err_set(e, ERR_CORRUPT_BATCH, "the batch's CRC is %08x, its bytes have %08x", stored,
			computed);
	return 0;
}
