/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a broker checks before it takes a producer's batch, in the order of Kafka's UnifiedLog
 * (analyzeAndValidateRecords: check_frame) and LogValidator (validateBatch: check_header, validateRecord:
 * check_records). Only when all is found good is anything mended.
 */
#include <limits.h>
#include "libsh/base/crc32c.h"
#include "libsh/format/record_stream.h"

enum {
	MAGIC_OFFSET = 16,
	CRC_OFFSET = 17,
	CRC_START = 21,
	ATTRIBUTES_OFFSET = 21,
	MAX_TIMESTAMP_OFFSET = 35,
};

/* What the records taught us. */
struct findings {
	int64_t max_timestamp; /* -1 when no record has one */
	bool gaps;             /* offset deltas are not 0, 1, 2, ... */
};

static int check_frame(const uint8_t *p, size_t n, const struct batch_rules *rules, struct batch_header *h,
	struct err *e)
{
	size_t max = rules->max_bytes;
	int64_t size = batch_size(p, n);

	if (!max || max > BATCH_MAX_BYTES)
		max = BATCH_MAX_BYTES;
	if (!n)
		return err_set(e, ERR_INVALID_RECORD, "there is no record batch");
	if (n > MAGIC_OFFSET && p[MAGIC_OFFSET] != 2) {
		err_set(e, ERR_INVALID_RECORD, "the batch has magic %d, only 2 is taken",
			(int8_t)p[MAGIC_OFFSET]);
		return err_hint(e, "use a client that speaks Kafka 0.11 or later");
	}
	if (size > 0 && size < (int64_t)n)
		return err_set(e, ERR_INVALID_RECORD, "%lld bytes follow the batch, only one batch is taken",
			(long long)((int64_t)n - size));
	if (n > max)
		return err_set(e, ERR_TOO_LARGE, "the batch has %zu bytes, the limit is %zu", n, max);
	if (batch_header_read(p, n, h, e) < 0)
		return -1;
	if (size > (int64_t)n)
		return err_set(e, ERR_CORRUPT_BATCH, "the batch is cut off: %zu of %lld bytes", n,
			(long long)size);
	if (h->base_offset != 0)
		return err_set(e, ERR_INVALID_RECORD, "the batch has base offset %lld, a producer sends 0",
			(long long)h->base_offset);
	return batch_check_crc(p, n, e);
}

static int check_header(const struct batch_header *h, struct err *e)
{
	if (h->record_count <= 0 || h->last_offset_delta < 0 || h->last_offset_delta == INT32_MAX ||
		h->record_count != h->last_offset_delta + 1)
		return err_set(e, ERR_INVALID_RECORD,
			"the batch counts %d records, but its last offset delta is %d", h->record_count,
			h->last_offset_delta);
	if (h->attributes & BATCH_CONTROL)
		return err_set(e, ERR_INVALID_RECORD, "a client may not write control batches");
	if (h->attributes & BATCH_DELETE_HORIZON)
		return err_set(e, ERR_INVALID_RECORD, "a client may not set a delete horizon");
	if (h->producer_id >= 0 && h->base_sequence < 0)
		return err_set(e, ERR_INVALID_RECORD, "producer %lld sent a batch without a sequence number",
			(long long)h->producer_id);
	if (batch_codec(h) > CODEC_ZSTD)
		return err_set(e, ERR_UNSUPPORTED_CODEC, "there is no compression codec %d",
			(int)batch_codec(h));
	return 0;
}

/* a - b, held within int64_t. */
static int64_t difference(int64_t a, int64_t b)
{
	int64_t d;

	return __builtin_sub_overflow(a, b, &d) ? (a < b ? INT64_MIN : INT64_MAX) : d;
}

/* Records without a timestamp (-1) are exempt. */
static int check_timestamp(int64_t timestamp, int32_t index, const struct batch_rules *rules, struct err *e)
{
	int64_t age = difference(rules->now_ms, timestamp);

	if (timestamp == -1)
		return 0;
	if (rules->max_before_ms != INT64_MAX && age > rules->max_before_ms)
		return err_set(e, ERR_INVALID_TIMESTAMP,
			"record %d: timestamp %lld is more than %lld ms in the past", index,
			(long long)timestamp, (long long)rules->max_before_ms);
	if (rules->max_after_ms != INT64_MAX && difference(timestamp, rules->now_ms) > rules->max_after_ms)
		return err_set(e, ERR_INVALID_TIMESTAMP,
			"record %d: timestamp %lld is more than %lld ms in the future", index,
			(long long)timestamp, (long long)rules->max_after_ms);
	return 0;
}

static int check_records(struct record_stream *s, const struct batch_header *h,
	const struct batch_rules *rules, struct findings *found, struct err *e)
{
	bool timestamps = !rules->log_append_time &&
		(rules->max_before_ms != INT64_MAX || rules->max_after_ms != INT64_MAX);
	struct record_fields r;

	for (int32_t i = 0; i < h->record_count; i++) {
		int64_t timestamp;

		if (record_stream_next(s, i, &r, e) < 0)
			return -1;
		timestamp = (int64_t)((uint64_t)h->base_timestamp + (uint64_t)r.timestamp_delta);
		if (rules->require_keys && !r.key.data)
			return err_set(e, ERR_INVALID_RECORD,
				"record %d: it has no key, and a compacted topic needs one", i);
		if (h->attributes & BATCH_LOG_APPEND_TIME)
			return err_set(e, ERR_INVALID_TIMESTAMP, "a client may not set LogAppendTime");
		if (timestamps && check_timestamp(timestamp, i, rules, e) < 0)
			return -1;
		if (timestamp > found->max_timestamp)
			found->max_timestamp = timestamp;
		found->gaps |= r.offset_delta != i;
	}
	return record_stream_finish(s, e);
}

/* Write all records anew, numbered without gaps, with the same codec. */
static int rewrite(const void *batch, size_t n, const struct batch_header *h, const struct batch_rules *rules,
	struct buf *out, struct err *e)
{
	struct record_stream s;
	struct record_fields f;
	struct batch_writer w;
	int rc = -1;

	batch_writer_init(&w, batch_codec(h), 0);
	w.producer_id = h->producer_id;
	w.producer_epoch = h->producer_epoch;
	w.base_sequence = h->base_sequence;
	if (record_stream_open(&s, batch, n, h, rules->max_raw_bytes, e) < 0)
		goto out;
	for (int32_t i = 0; i < h->record_count; i++) {
		struct record r;

		if (record_stream_next(&s, i, &f, e) < 0)
			goto out;
		r = (struct record){i, (int64_t)((uint64_t)h->base_timestamp + (uint64_t)f.timestamp_delta),
			f.key, f.value, f.headers, f.header_count};
		if (batch_writer_add(&w, &r, e) < 0)
			goto out;
	}
	rc = batch_writer_finish(&w, out, e);
	if (rc == 0 && rules->max_bytes && out->len > rules->max_bytes)
		rc = err_set(e, ERR_TOO_LARGE,
			"written anew without gaps, the batch has %zu bytes, the limit is %zu", out->len,
			rules->max_bytes);
out:
	record_stream_close(&s);
	batch_writer_release(&w);
	return rc;
}

/* The maximum timestamp and its type, in place with a new CRC where that changes anything. */
static void mend_timestamps(uint8_t *p, size_t n, int16_t attributes, const struct batch_rules *rules,
	const struct findings *found, struct batch_header *h)
{
	int64_t max_timestamp = found->max_timestamp;

	if (rules->log_append_time) {
		attributes |= BATCH_LOG_APPEND_TIME;
		max_timestamp = rules->now_ms;
	}
	if (attributes == h->attributes && max_timestamp == h->max_timestamp)
		return;
	put_be16(p + ATTRIBUTES_OFFSET, (uint16_t)attributes);
	put_be64(p + MAX_TIMESTAMP_OFFSET, (uint64_t)max_timestamp);
	put_be32(p + CRC_OFFSET, crc32c(0, p + CRC_START, n - CRC_START));
	batch_header_read(p, n, h, NULL);
}

int batch_validate(void *batch, size_t n, const struct batch_rules *rules, struct batch_header *h,
	struct buf *rewritten, struct err *e)
{
	struct findings found = {.max_timestamp = -1};
	struct record_stream s = {0};
	int16_t attributes;
	int rc;

	buf_reset(rewritten);
	if (check_frame(batch, n, rules, h, e) < 0 || check_header(h, e) < 0)
		return -1;
	rc = record_stream_open(&s, batch, n, h, rules->max_raw_bytes, e);
	if (rc == 0)
		rc = check_records(&s, h, rules, &found, e);
	record_stream_close(&s);
	if (rc < 0) {
		/* Its CRC was right, so it was made like that, and sending it again is no use. */
		if (e && e->code == ERR_CORRUPT_BATCH)
			e->code = ERR_INVALID_RECORD;
		return -1;
	}
	attributes = h->attributes;
	if (found.gaps) {
		if (rewrite(batch, n, h, rules, rewritten, e) < 0) {
			buf_reset(rewritten);
			return -1;
		}
		batch = rewritten->data;
		n = rewritten->len;
		batch_header_read(batch, n, h, NULL);
	}
	mend_timestamps(batch, n, attributes, rules, &found, h);
	return 0;
}
