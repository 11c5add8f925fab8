/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log as the protocols (HTTP, later Kafka) see it: topics, partitions, append, wait for durability, fetch, seek.
 *
 * All calls are on the agent's loop. Offsets: log_start <= flushed_end <= synced_end <= end. What a consumer may see ends at the
 * high watermark: the synced prefix of a topic with durability `wal` (or `none`), the committed prefix of one with `object`.
 */
#ifndef SH_AGENT_LOG_H
#define SH_AGENT_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include "daemon/role.h"
#include "libsh/base/list.h"
#include "libsh/base/uuid.h"
#include "libsh/format/batch.h"

enum durability { DURABILITY_NONE, DURABILITY_WAL, DURABILITY_OBJECT, DURABILITY_TOPIC /* in requests: the topic's level */ };
const char *durability_name(enum durability d); /* "none" "wal" "object" */
int durability_parse(const char *text, enum durability *d, struct err *e);

struct log;

struct partition {
	struct topic *topic;
	uint32_t number;
	uint32_t slot, epoch;         /* owner and lease epoch */
	int64_t log_start, flushed_end, synced_end, end;
	uint64_t records, bytes;      /* committed and in the tail */
	uint64_t expired_records, expired_bytes; /* ever, as far as we were told */
	const char *damage;           /* why it does not serve, or NULL */
	struct partition_private *private_;
};
struct topic_config { /* parsed from the text values; defaults filled in */
	enum durability durability;
	int64_t retention_ms, retention_bytes;
	int64_t max_message_bytes;
	bool compact, log_append_time;
	enum codec compression;       /* when compression_fixed */
	bool compression_fixed;
	int64_t timestamp_before_ms, timestamp_after_ms;
};
struct topic {
	struct uuid id;
	char *name;
	uint32_t partition_count, replication_factor;
	struct partition **partitions; /* partition_count of them */
	char *config_text;            /* JSON object of what was set */
	struct topic_config config;
	int64_t created_ms;
	bool deleted;                 /* its partitions take and give nothing any more */
	int refs;                     /* topic_ref() */
};
/* Whoever keeps a topic or one of its partitions beyond a callback holds a reference. */
void topic_ref(struct topic *t);
void topic_unref(struct topic *t);

/* ---- topics ---- */
struct topic *log_topic(struct log *l, const char *name, size_t len);              /* NULL when unknown */
/* ERR_TOPIC_NOT_FOUND, ERR_PARTITION_NOT_FOUND, ERR_NOT_OWNER, ERR_PARTITION_DAMAGED. */
struct partition *log_partition(struct log *l, const char *topic, size_t len, int64_t partition, struct err *e);
size_t log_topic_count(struct log *l);
/* In order of name: the first topic whose name is above `after` (NULL: the first of all). */
struct topic *log_topic_after(struct log *l, const char *after);
int64_t partition_high_watermark(const struct partition *p);
/* Exact number of records and bytes (of batches) a client can count on seeing; from metadata and tail. */
void topic_totals(const struct topic *t, uint64_t *records, uint64_t *bytes);

/* Changes go through the meta process; done() comes when this agent's own table shows the result. e NULL: done. */
typedef void log_done_fn(void *ctx, const struct err *e);
void log_topic_create(struct log *l, const char *name, uint32_t partitions, uint32_t replication_factor, const char *config_json,
	log_done_fn *done, void *ctx);
void log_topic_alter(struct log *l, const char *name, uint32_t partitions, const char *config_json, log_done_fn *done, void *ctx);
void log_topic_delete(struct log *l, const char *name, log_done_fn *done, void *ctx);
/* Checks a set of config keys and values (JSON object of strings, numbers, booleans; null only when altering). */
int topic_config_check(const char *config_json, bool altering, struct err *e);

/* ---- append ---- */
/* Whether a request that would add about n bytes may start; ERR_BACK_PRESSURE, ERR_WAL_FAILED, ERR_FENCED, ERR_UNAVAILABLE otherwise. */
int log_may_append(struct log *l, size_t n, struct err *e);
/*
 * One batch as a producer sent it, in two steps, because checking what was compressed can take a second. log_check_run() may be called on
 * any thread, touches nothing but its struct, and may be given up. batch is borrowed and may be changed in place; max_raw_bytes caps what
 * it may be once decompressed (0: the hard limit), above it is ERR_TOO_LARGE and batch as it was.
 */
struct batch_check {
	struct batch_rules rules;
	bool fixed;                 /* the topic says how batches are compressed: `codec` */
	enum codec codec;
	void *batch;                /* n bytes; in the end those that are stored */
	size_t n;
	struct batch_header header; /* of those */
	struct buf rewritten, recompressed;
};
void log_check_begin(struct batch_check *c, const struct partition *p, void *batch, size_t n, size_t max_raw_bytes);
int log_check_run(struct batch_check *c, struct err *e);
void log_check_release(struct batch_check *c);
/* What was found good is stamped and copied. *base_offset and *last_offset are final (provisional at level none). An idempotent retry is
 * answered with the original offsets and appends nothing. */
int log_append_checked(struct log *l, struct partition *p, struct batch_check *c, int64_t *base_offset, int64_t *last_offset, struct err *e);
/* One record; all that arrive for a partition in one turn of the loop form one batch. A timestamp of -1 is now. r->offset is ignored. */
int log_append_record(struct log *l, struct partition *p, const struct record *r, int64_t *offset, int64_t *timestamp, struct err *e);

/* Wait until everything of p below end_offset has the level asked for. `want` is raised to the topic's level; none completes at once. done() is called exactly once,
 * from the loop, not from inside log_wait(): with the level reached, or with e (ERR_OUTCOME_UNKNOWN, ERR_WAL_FAILED, ERR_FENCED). */
struct log_wait {
	struct list node;
	struct partition *partition;
	int64_t end_offset;
	enum durability want;
	void (*done)(struct log_wait *w, enum durability reached, const struct err *e);
};
void log_wait(struct log *l, struct log_wait *w, struct partition *p, int64_t end_offset, enum durability want,
	void (*done)(struct log_wait *, enum durability, const struct err *));
void log_wait_cancel(struct log_wait *w);
/* What an ack would say for this request now: with wal.sync=never, `wal` asked for by name is refused. */
int log_check_durability(struct log *l, struct partition *p, enum durability asked, struct err *e);

/* ---- read ---- */
struct log_fetch {
	/* in, set by the caller */
	int64_t offset;               /* the first batch returned is the one that holds it */
	int64_t limit;                /* batches that start at or above are left out; INT64_MAX: high watermark */
	size_t max_bytes;             /* soft: at least one whole batch if there is one */
	void (*done)(struct log_fetch *f, const struct err *e); /* ERR_OFFSET_OUT_OF_RANGE, ERR_UNAVAILABLE, ERR_CORRUPT ... */
	/* out */
	struct buf batches;           /* whole batches, back to back; belongs to the caller: buf_release() */
	int64_t next_offset;          /* where to go on; == offset when nothing was there */
	int64_t high_watermark;       /* at the time of reading */
	/* private; zero at first */
	int64_t skip_below_ms;        /* batches whose maximum timestamp is lower are left out; 0: none. For log_seek(). */
	struct log *log;
	struct partition *partition;
	struct fetch_state *state;
};
/* One read of up to max_bytes; from the tail done() may come from inside this call. Nothing at or above the high watermark is returned. */
void log_fetch(struct log *l, struct log_fetch *f, struct partition *p);
void log_fetch_cancel(struct log_fetch *f); /* done() will not be called; frees private state, not the buffer */

/* Called once when the high watermark is above offset, or the partition goes away (e set). Costs nothing while it waits. */
struct log_watch {
	struct list node;
	int64_t offset;
	void (*ready)(struct log_watch *w, const struct err *e);
};
void log_watch(struct log *l, struct log_watch *w, struct partition *p, int64_t offset, void (*ready)(struct log_watch *, const struct err *));
void log_watch_cancel(struct log_watch *w);

/* Offset of the first record whose timestamp is >= timestamp_ms (exact to the record); -1 when there is none below the high watermark. */
typedef void log_seek_fn(void *ctx, int64_t offset, int64_t timestamp_ms, const struct err *e);
struct log_seek;
struct log_seek *log_seek(struct log *l, struct partition *p, int64_t timestamp_ms, log_seek_fn *done, void *ctx); /* NULL when done() came from inside */
void log_seek_cancel(struct log_seek *s);

/* ---- state, for status and metrics ---- */
struct log_status {
	const char *state;            /* "starting" "serving" "draining" "failed" "fenced" */
	bool serving;
	uint32_t slot;
	uint64_t session;
	int64_t lease_left_ms;
	uint64_t wal_bytes, wal_max_bytes, wal_files, tail_batches, tail_index_bytes;
	uint64_t appended_batches, appended_bytes, appended_records, syncs, sync_ns_total, fetches, fetched_bytes;
	uint64_t segments_built, commits_refused, quarantined_entries, damaged_partitions;
	uint64_t read_errors;         /* reads that found what should be there missing or damaged */
	const char *problem;          /* text of the failure, or NULL */
	bool wal_no_space;            /* for its next file */
	const char *flush_error;      /* why segments are not written, until one is again; or NULL */
	int64_t flush_error_since_ms; /* real clock */
	int64_t flush_age_ms;         /* of the oldest stretch that is on its way to a segment; 0: none is */
	const char *read_error;       /* the last one, or NULL */
	int64_t read_error_ms;        /* real clock */
};
void log_get_status(struct log *l, struct log_status *s);

/* ---- life, used by agent.c only ---- */
struct log *log_new(struct role_self *self);
void log_start(struct log *l, void (*serving)(void *ctx), void *ctx); /* locks the slot, opens a session, recovers */
void log_drain(struct log *l, void (*drained)(void *ctx), void *ctx);
void log_reload(struct log *l);
void log_request(struct log *l, struct role_request *r); /* META_CHANGED */
/* Gives up the slot and all memory; for tests, in which many logs live in one process. Nobody may wait or fetch any more. */
void log_free(struct log *l);

#endif
