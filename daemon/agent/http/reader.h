/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a partition forward, a record or a batch at a time, over as many fetches as it takes. */
#ifndef SH_AGENT_HTTP_READER_H
#define SH_AGENT_HTTP_READER_H

#include "daemon/agent/log/log.h"

enum reader_step {
	READER_ITEM,                   /* here it is */
	READER_WAIT,                   /* a fetch is under way; ready() will be called */
	READER_END,                    /* nothing more below the limit or the high watermark now */
	READER_ERROR,
};
struct reader {
	struct log *log;
	const char *topic;             /* stays valid: the caller's */
	uint32_t partition;
	int64_t offset;                /* the next item wanted; moves on */
	int64_t limit;                 /* exclusive; INT64_MAX: none */
	size_t fetch_bytes;
	int64_t log_start, high_watermark; /* as last seen */
	void (*ready)(struct reader *rd);
	/* private */
	struct log_fetch fetch;
	bool fetching, in_call, fetched;
	size_t position;               /* in the fetched batches */
	int64_t fetched_next;
	struct batch_reader *records;
	struct err failure;
};

enum { READER_FETCH_BYTES = 1 << 20 };
/* ERR_TOPIC_NOT_FOUND, ERR_PARTITION_NOT_FOUND ... The reader is zero before; offset and limit are set
 * afterwards. */
int reader_begin(struct reader *rd, struct log *l, const char *topic, int64_t partition,
	void (*ready)(struct reader *),
	struct err *e);
void reader_release(struct reader *rd); /* harmless on a zero one */
/* The record is valid until the next call. Control batches are passed over. */
enum reader_step reader_next_record(struct reader *rd, struct record *r, struct err *e);
enum reader_step reader_next_batch(struct reader *rd, struct bytes *batch, struct err *e);

#endif
