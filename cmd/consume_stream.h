/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One partition being read: fetches batches from an offset on, again and again, takes them apart and hands
 * out the records between `from` and `end`. All streams of a command share one HTTP client and progress
 * together.
 */
#ifndef SH_CMD_CONSUME_STREAM_H
#define SH_CMD_CONSUME_STREAM_H

#include "libsh/format/batch.h"
#include "libsh/run/api.h"

struct consume_stream;
enum {
	CONSUME_TAKEN,
	CONSUME_LAST /* taken, and enough for all streams */,
	CONSUME_REFUSED /* there was enough before it */
};
struct consume_rules {
	/* One of the above, or -1: failed. */
	int (*record)(void *ctx, struct consume_stream *s, const struct record *r, struct err *e);
	/* Retention has deleted what stands between the two offsets. */
	void (*gap)(void *ctx, struct consume_stream *s, int64_t from, int64_t to);
	/* A fetch has ended; the next one may be started. */
	void (*fetched)(void *ctx);
	void *ctx;
	int64_t wait_ms;      /* of a long poll */
	int64_t timeout_ms;   /* without any answer: then a failure that may pass is one */
	int64_t max_records;  /* 0: none; what one fetch need not exceed */
};
struct consume_stream {
	struct api *api;
	const struct consume_rules *rules;
	const char *topic;
	int32_t partition;
	int64_t from;         /* records before it are not handed out */
	int64_t next;         /* offset of the next record to be fetched */
	int64_t told_next;    /* what the server says of it; holds once all of its answer is here */
	int64_t end;          /* exclusive; -1: none */
	int64_t end_time_ms;  /* ends before the first record at or after it, when has_end_time */
	bool has_end_time;
	bool done, lost;      /* lost: next is below the log's start, consume_stream_start() looks it up */
	struct http_call *call;
	struct buf pending;   /* the front of a batch */
	int64_t retry_ms;     /* monotonic clock: not before; 0: now */
	int64_t backoff_ms, alive_ms;
	bool enough;          /* record() said so */
	struct err failure;   /* e.code ERR_NONE: none */
	struct arena arena;
};

void consume_stream_init(struct consume_stream *s, struct api *api, const struct consume_rules *rules,
	const char *topic, int32_t partition);
void consume_stream_release(struct consume_stream *s);
/* Start the next fetch, if none is under way, it is not done, and its pause is over. */
void consume_stream_start(struct consume_stream *s, int64_t now_ms);

#endif
