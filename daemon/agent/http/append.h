/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all requests that append share: partitions touched, waiting for durability, the count of what was
 * taken.
 *
 * For each partition there is one log_wait at a time, whatever the length of the request: what is appended
 * while it is out is covered by the next one. So memory is bounded by the number of partitions touched.
 */
#ifndef SH_AGENT_HTTP_APPEND_H
#define SH_AGENT_HTTP_APPEND_H

#include "daemon/agent/http/server.h"

struct append;
struct append_count { uint64_t records, bytes; int64_t end; };
struct append_part {
	struct list node;
	struct append *append;
	struct log_wait wait;
	uint32_t number;
	bool out;                       /* wait is under way */
	int64_t first_offset, last_offset;
	uint64_t checked;               /* the turn (append.turn) in which partition was looked up */
	struct partition *partition;    /* valid in that turn only */
	struct append_count taken, waiting, acknowledged; /* records and bytes: totals; in waiting: of this wait */
};
struct append {
	struct http_request *r;
	struct log *log;
	const char *topic;              /* name */
	struct uuid topic_id;
	enum durability asked, reached;
	struct list parts;              /* in order of first use */
	struct map by_number;
	struct append_part *last;
	uint64_t turn;
	uint64_t records, acknowledged; /* totals */
	uint32_t waits;                 /* under way */
	struct timer timer;
	struct err failure;             /* of the first wait that failed */
	bool finishing, done_called, timed_out;
	void (*progress)(struct append *a); /* a wait is over and more is to come; may be NULL */
	void (*done)(struct append *a); /* after append_finish(), once nothing is waited for; may come from inside */
};

/* Durability asked for by ack_mode and durability, as texts (NULL: absent). */
int append_durability(const char *durability, const char *ack_mode, enum durability *out, struct err *e);
/* ERR_TOPIC_NOT_FOUND, or why nothing can be appended now. */
int append_begin(struct append *a, struct http_request *r, const char *topic, size_t len,
	enum durability asked,
	void (*done)(struct append *a), struct err *e);
void append_release(struct append *a);
/* Each turn: the topic as it is now. ERR_TOPIC_NOT_FOUND when it was deleted meanwhile. */
struct topic *append_topic(struct append *a, struct err *e);
/* partition -1: chosen by the key, or in turn. */
int append_record(struct append *a, struct topic *t, int64_t partition, struct record *r,
	int32_t *chosen, struct err *e);
/* A batch that is checked here and now. ERR_TOO_LARGE also when it is more than max_raw_bytes once decompressed; then it is as it was. */
int append_batch(struct append *a, int64_t partition, void *batch, size_t n, size_t max_raw_bytes, struct err *e);
/* One that log_check_run() found good. */
int append_checked(struct append *a, int64_t partition, struct batch_check *c, struct err *e);
/* Where it goes, if it may. */
const struct partition *append_partition(struct append *a, int64_t partition, struct err *e);
/* Wait for what was appended so far; call it once a turn. */
void append_wait(struct append *a);
void append_finish(struct append *a);
/* ,"records":N,...,"partitions":[...] with what was taken. */
void append_describe(const struct append *a, struct buf *out);

/* partition_choice.c: the partition for a record without key: the same for a turn of the loop, up to 64
 * KiB, then the next. */
uint32_t partition_choice_next(struct http_server *s, const struct topic *t, size_t bytes);

#endif
