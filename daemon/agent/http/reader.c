/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/reader.h"

#include <string.h>

int reader_begin(struct reader *rd, struct log *l, const char *topic, int64_t partition,
	void (*ready)(struct reader *),
	struct err *e)
{
	struct partition *p = log_partition(l, topic, strlen(topic), partition, e);

	if (!p)
		return -1;
	*rd = (struct reader){
		.log = l, .topic = topic, .partition = p->number, .limit = INT64_MAX, .fetch_bytes = READER_FETCH_BYTES,
		.ready = ready, .log_start = p->log_start, .high_watermark = partition_high_watermark(p),
	};
	return 0;
}

static void reader_drop(struct reader *rd)
{
	batch_reader_free(rd->records);
	rd->records = NULL;
	buf_release(&rd->fetch.batches);
	rd->fetched = false;
	rd->position = 0;
}

void reader_release(struct reader *rd)
{
	if (rd->fetching)
		log_fetch_cancel(&rd->fetch);
	rd->fetching = false;
	reader_drop(rd);
}

/* ---- fetching ---- */

static void reader_fetched(struct log_fetch *f, const struct err *e)
{
	struct reader *rd = container_of(f, struct reader, fetch);

	rd->fetching = false;
	rd->fetched = true;
	rd->position = 0;
	if (e)
		rd->failure = *e;
	else
		rd->high_watermark = f->high_watermark;
	rd->fetched_next = f->next_offset;
	if (!rd->in_call)
		rd->ready(rd);
}

/* The batches of the last fetch are used up. ITEM: there are new ones. */
static enum reader_step reader_refill(struct reader *rd, struct err *e)
{
	struct partition *p;

	if (rd->fetching)
		return READER_WAIT;
	if (rd->fetched) {
		if (rd->fetched_next > rd->offset)
			rd->offset = rd->fetched_next; /* a gap at the end */
		reader_drop(rd);
		if (rd->offset <= rd->fetch.offset)
			return READER_END;
	}
	if (rd->offset >= rd->limit)
		return READER_END;
	p = log_partition(rd->log, rd->topic, strlen(rd->topic), rd->partition, e);
	if (!p)
		return READER_ERROR;
	rd->log_start = p->log_start;
	rd->high_watermark = partition_high_watermark(p);
	if (rd->offset >= rd->high_watermark)
		return READER_END;
	rd->fetch = (struct log_fetch){
		.offset = rd->offset, .limit = rd->limit, .max_bytes = rd->fetch_bytes, .done = reader_fetched,
		.batches = BUF_INIT(BATCH_MAX_BYTES + 2 * READER_FETCH_BYTES), .next_offset = rd->offset,
	};
	rd->fetching = rd->in_call = true;
	log_fetch(rd->log, &rd->fetch, p);
	rd->in_call = false;
	return rd->fetching ? READER_WAIT : READER_ITEM;
}

/* The next whole batch that holds something at or above the offset. */
static enum reader_step next_batch(struct reader *rd, struct bytes *batch, struct batch_header *h,
	struct err *e)
{
	for (;;) {
		const char *at = rd->fetch.batches.data ? rd->fetch.batches.data + rd->position : NULL;
		size_t left = rd->fetched ? rd->fetch.batches.len - rd->position : 0;
		int64_t size;

		if (rd->failure.code != ERR_NONE) {
			*e = rd->failure;
			return READER_ERROR;
		}
		if (!left) {
			enum reader_step step = reader_refill(rd, e);

			if (step != READER_ITEM)
				return step;
			continue;
		}
		size = batch_size(at, left);
		if (size <= 0 || (size_t)size > left || batch_header_read(at, left, h, e) < 0) {
			err_set(e, ERR_CORRUPT, "%s/%u: what was read at offset %lld is not a batch", rd->topic, rd->partition,
				(long long)rd->offset);
			return READER_ERROR;
		}
		rd->position += size;
		if (batch_last_offset(h) < rd->offset)
			continue;
		if (h->base_offset >= rd->limit)
			return READER_END;
		*batch = (struct bytes){(const uint8_t *)at, size};
		return READER_ITEM;
	}
}

enum reader_step reader_next_batch(struct reader *rd, struct bytes *batch, struct err *e)
{
	struct batch_header h;
	enum reader_step step = next_batch(rd, batch, &h, e);

	if (step == READER_ITEM)
		rd->offset = batch_last_offset(&h) + 1;
	return step;
}

/* ---- records ---- */

static enum reader_step open_batch(struct reader *rd, struct err *e)
{
	struct batch_header h;
	struct bytes batch;
	enum reader_step step = next_batch(rd, &batch, &h, e);

	if (step != READER_ITEM)
		return step;
	if (h.attributes & BATCH_CONTROL) {
		rd->offset = batch_last_offset(&h) + 1;
		return READER_ITEM;
	}
	rd->records = batch_reader_new(batch.data, batch.len, BATCH_MAX_RAW_BYTES, e);
	return rd->records ? READER_ITEM : READER_ERROR;
}

enum reader_step reader_next_record(struct reader *rd, struct record *r, struct err *e)
{
	for (;;) {
		int got;

		if (!rd->records) {
			enum reader_step step = open_batch(rd, e);

			if (step != READER_ITEM)
				return step;
			continue;
		}
		got = batch_reader_next(rd->records, r, e);
		if (got < 0)
			return READER_ERROR;
		if (!got) {
			batch_reader_free(rd->records);
			rd->records = NULL;
			continue;
		}
		if (r->offset < rd->offset)
			continue;
		if (r->offset >= rd->limit)
			return READER_END;
		rd->offset = r->offset + 1;
		return READER_ITEM;
	}
}
