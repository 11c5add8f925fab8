/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the log share with each other and with nobody else.
 *
 *   topics.c    the table of topics and partitions, as meta has it; topic_config.c: their configs
 *   session.c   slot lock, session, lease and its deadline
 *   wal*.c      the writing end of the write-ahead log
 *   append.c    batches and records into the WAL
 *   producers.c idempotence
 *   waits.c     acks and watches: who waits for which end of a partition
 *   tail.c      index of what is in no segment yet
 *   flush.c     ranges of the WAL become segments; files are recycled
 *   fetch.c     reading: tail and segments; seek.c: by timestamp
 *   runs.c      open runs of segments: indexes, lent descriptors
 *   recover.c   from the files found at start to a serving log
 *   quarantine.c  entries that nobody may serve, kept for the operator
 *   log.c       life and status
 */
#ifndef SH_AGENT_LOG_PRIVATE_H
#define SH_AGENT_LOG_PRIVATE_H

#include "daemon/agent/log/log.h"
#include "daemon/agent/log/wal.h"
#include "libsh/base/map.h"
#include "libsh/format/segment.h"

enum {
	META_TIMEOUT_MS = 10000,
	BUILD_TIMEOUT_MS = 120000,
	READ_TIMEOUT_MS = 15000,
	RANGES_MAX = 4,            /* segments being built or committed at once */
	RUNS_MAX = 256,            /* open runs kept */
	RUNS_AHEAD = 4,            /* of a sequential reader: opened and brought into the cache before they are wanted */
	AHEADS_MAX = 16,           /* such readers at a time */
	PRODUCERS_MAX = 10000,     /* idempotent producers remembered in a partition ... */
	PRODUCERS_TOTAL_MAX = 1 << 18, /* ... and in all of them, some 50 MB; the least recently used goes */
};

enum log_state { LOG_STARTING, LOG_SERVING, LOG_DRAINING, LOG_FAILED };

struct tail_entry { /* 16 bytes a batch: the limit on them is wal.index_max_bytes */
	uint64_t lsn;
	int64_t base_offset;
};
struct tail { /* ring, oldest first */
	struct tail_entry *entries;
	uint32_t first, count, size; /* size is a power of two */
};

struct partition_private {
	struct partition *owner;
	struct tail tail;
	struct batch_writer *open;   /* records of this turn of the loop, not appended yet */
	struct list open_node;
	int64_t shown;               /* high watermark when its topic was raised to level object */
	struct list waits;           /* struct log_wait, any order */
	struct list watches;         /* struct log_watch */
	struct list fetches;         /* struct fetch_state: those that wait for meta or store */
	struct list touched_node;    /* in log->advanced: ends moved in this turn */
	uint64_t range_seen;         /* newest range this partition was noted for */
	struct producers *producers; /* NULL: no idempotent producer was seen */
	char *damage_text;
	bool refused;                /* the metadata refused a commit: what is above flushed_end goes to quarantine */
	int64_t resume;              /* of the mark; -1: none; INT64_MAX: of one that cannot be understood */
	int64_t accepted;
	bool mark_due;               /* the mark of damage is not on disk as it should be */
	int64_t gap_start;           /* end before an accepted loss, until the next entry has named it; -1: none */
	bool suspect;                /* during recovery: its last batches may have been in damaged bytes */
};

/* What was appended and is not known synced: FIFO. */
struct unsynced {
	struct partition *partition;
	uint64_t end_lsn;
	int64_t end_offset;
};
struct unsynced_ring {
	struct unsynced *entries;
	size_t first, count, size;
};

struct range { /* of the WAL, on its way to a segment */
	struct list node;          /* in log->ranges, in order */
	struct log *log;
	uint64_t number, first_lsn, end_lsn;
	enum { RANGE_WAITING, RANGE_BUILDING, RANGE_BUILT, RANGE_COMMITTING, RANGE_DONE } state;
	struct partition **partitions; /* that may have entries in it */
	size_t partition_count;
	char *object;              /* NULL: there was nothing to write */
	uint64_t bytes;
	uint32_t crc;
	void *runs;                /* encoded */
	size_t runs_bytes;
	uint8_t *verdicts;         /* of the last commit, if it was refused */
	size_t verdict_count;
	unsigned refusals;         /* with a renewal after each */
	uint32_t tries;
	int64_t begun_ns;          /* loop time */
	struct timer retry;
};

struct gone_topic { /* deleted, but still known to ranges or requests */
	struct list node;
	struct topic *topic;
	uint64_t range_number; /* newest range that may know it */
	uint64_t end_lsn;      /* of the WAL when it was deleted */
};

struct log {
	struct role_self *self;
	struct loop *loop;
	enum log_state state;
	char *slot_dir, *wal_dir, *quarantine_dir;
	int slot_lock;
	struct uuid slot_id;
	uint32_t slot;
	void (*serving)(void *ctx);
	void *serving_ctx;
	void (*drained)(void *ctx);
	void *drained_ctx;
	void (*drain_step)(struct log *l);
	char problem[400];

	/* session.c */
	uint64_t session, incarnation, commit_sequence, meta_version;
	uint64_t seen_session;           /* of the life before */
	int64_t lease_until_ms, ttl_ms;  /* boot clock */
	int64_t renew_sent_ms;
	bool renewing, renew_again;
	uint64_t saved_sequence;
	int64_t remember_again_ns;       /* loop time */
	void (*opened)(struct log *l), (*closed)(struct log *l);
	struct timer renew_timer;
	struct list syncs;               /* callers waiting for a newer table */

	/* topics.c */
	struct map topics_by_name, topics_by_id;
	struct topic **sorted;           /* by name */
	size_t topic_count;
	struct list gone;                /* deleted topics still referred to, in the order of their deletion */
	struct map deleted_ids;          /* of all topics deleted ever; until recovery ends */

	/* append.c, waits.c */
	struct wal *wal;
	struct buf scratch;
	struct list open_partitions;
	struct turn_end seal;
	struct unsynced_ring unsynced;
	struct list advanced;            /* partitions whose ends moved */
	struct list ready_waits;         /* answered at the end of the turn, whatever happens */
	struct list vain_watches;        /* of deleted topics */
	struct turn_end deliver;
	struct timer mark_timer;
	uint64_t marked_lsn;

	/* producers.c */
	struct list producers;           /* of all partitions, least recently used first */
	size_t producer_count;

	/* tail.c, flush.c */
	uint64_t index_bytes;
	uint64_t range_start_lsn;        /* first LSN that no range has */
	uint64_t range_number;
	struct partition **touched;      /* partitions with entries at or above range_start_lsn */
	size_t touched_count, touched_size;
	struct list ranges;
	int64_t oldest_ns;               /* when the first entry at or above range_start_lsn came; 0: none */
	uint64_t object_wanted_lsn;      /* acks at level object wait for what lies below */
	int64_t object_wanted_ns;
	struct timer flush_timer;
	struct err flush_error;          /* the newest, until a range commits */
	int64_t flush_error_since_ms;    /* real clock, of the first */

	/* fetch.c */
	struct err read_error;           /* the last that was of missing or damaged data */
	int64_t read_error_ms;

	/* runs.c */
	struct list runs;                /* least recently used first */
	size_t run_count;
	struct list aheads;
	unsigned ahead_count;
	struct buf block;                /* the block read last, decompressed */
	const struct open_run *block_run;
	uint32_t block_index;
	struct buf window;               /* of a WAL file, while the tail is read */

	struct log_status numbers;       /* counters only */
	struct recovery *recovery;
};

/* topics.c */
int topics_apply(struct log *l, const struct msg_session_renewed *r, struct err *e);
struct topic *topics_by_id(struct log *l, const struct uuid *id);
void topics_free_gone(struct log *l);
int topic_config_parse(const char *json, struct topic_config *c, struct err *e);
void topics_release(struct log *l);

/* session.c */
int session_lock_slot(struct log *l, struct err *e);
void session_open(struct log *l, void (*opened)(struct log *l));
bool session_lease_holds(const struct log *l);
/* Ask meta for changes now; done() when the table is at least as new as this moment. */
void session_sync(struct log *l, log_done_fn *done, void *ctx);
void session_close(struct log *l, void (*closed)(struct log *l));
/* The highest commit sequence tells that metadata went back in time. */
void session_saw_commit(struct log *l, uint64_t sequence);
/* What was seen is on disk: then older metadata will be noticed, and what they do not have need not be in the WAL any more. */
int session_remember(struct log *l);

/* append.c */
void append_seal_all(void *log);
void append_seal(struct log *l, struct partition *p);
void append_discard(struct log *l, struct partition *p);

/* producers.c */
/* 0: append it; 1: it is there already, offsets filled in; -1: error (*last_offset is -1). */
int producers_check(struct log *l, struct partition *p, const struct batch_header *h, int64_t *base_offset, int64_t *last_offset,
	struct err *e);
void producers_note(struct log *l, struct partition *p, const struct batch_header *h, int64_t base_offset);
void producers_release(struct log *l, struct partition *p);

/* waits.c */
void waits_advanced(struct log *l, struct partition *p); /* an end moved: look at who waits, at the end of this turn */
void waits_fail(struct log *l, struct partition *p, const struct err *e);
void waits_fail_unsynced(struct log *l, const struct err *e);
void waits_synced(struct log *l, uint64_t lsn);
void unsynced_push(struct log *l, struct partition *p, uint64_t end_lsn, int64_t end_offset);

/* tail.c */
void tail_add(struct log *l, struct partition *p, uint64_t lsn, int64_t base_offset);
void tail_drop_below(struct log *l, struct partition *p, int64_t offset);
void tail_release(struct log *l, struct partition *p);
const struct tail_entry *tail_at(const struct tail *t, uint32_t i);
/* Index of the last entry whose base offset is <= offset; -1 when the tail starts above it. */
int64_t tail_find(const struct tail *t, int64_t offset);

/* flush.c */
void flush_note(struct log *l, struct partition *p);
void flush_check(struct log *l);
/* Somebody waits until what p holds now is in the object store. */
void flush_wanted(struct log *l, struct partition *p);
void flush_cut(struct log *l, uint64_t end_lsn);
void flush_recycle(struct log *l);
bool flush_idle(const struct log *l);
void flush_release(struct log *l);
/* How long the oldest range has been on its way; 0: there is none. */
int64_t flush_age_ms(const struct log *l);
/* The log is full because segments are not written: say so, and why. */
void flush_explain(const struct log *l, struct err *e);

/* quarantine.c */
void quarantine_load(struct log *l, struct partition *p);
/* resume: an offset above all that may have been given; the highest named counts. */
void quarantine_mark(struct log *l, struct partition *p, const char *why, int64_t resume);
/* The mark, if there is one, is on disk as it should be: before the WAL that it speaks of goes. */
int quarantine_keep_mark(struct log *l, struct partition *p, struct err *e);
/* At the end of recovery: marks that changed are written, accepted losses take effect. */
int quarantine_settle(struct log *l, struct err *e);
int quarantine_range(struct log *l, const struct range *r, struct partition *p, int64_t from_offset, struct err *e);
int quarantine_add(struct log *l, uint64_t file_base, const struct wal_entry *entry, const void *batch, struct err *e);

/* fetch.c */
void fetch_fail(struct log *l, struct partition *p, const struct err *e);

/* runs.c */
struct open_run { /* one partition's run in a segment object: its block index, and a lent piece of the object */
	struct list node;          /* in log->runs, least recently used first */
	struct log *log;
	struct uuid topic;
	uint32_t partition;
	char *object;
	uint64_t object_bytes;
	struct arena arena;
	struct segment_run_detail detail;
	int fd;                    /* holds bytes [window_offset, +window_bytes) of the object at window_position; -1: none */
	uint64_t window_offset, window_bytes, window_position;
	uint32_t next_block;       /* that a sequential reader takes next */
};
struct open_run *runs_find(struct log *l, const struct partition *p, int64_t offset);
/* Ask meta and store for the run that holds offset, or the first behind it. done() once, not from inside; run NULL with e NULL: there is none. */
typedef void runs_open_fn(void *ctx, struct open_run *run, const struct err *e);
struct runs_opening;
struct runs_opening *runs_open(struct log *l, const struct partition *p, int64_t offset, runs_open_fn *done, void *ctx);
void runs_open_cancel(struct runs_opening *o);
/* A reader comes to the end of r: open the next runs, and have the store fetch where each begins. */
void runs_ahead(struct log *l, const struct partition *p, const struct open_run *r);
/* Whether the block's bytes are in the window. */
bool runs_has(const struct open_run *r, const struct segment_block *b);
/* Check and decompress block i into log->block; kept there until another is read. */
int runs_block(struct open_run *r, uint32_t i, struct err *e);
void runs_drop(struct open_run *r);
void runs_release(struct log *l);
void runs_forget(struct log *l, const struct topic *t);
void runs_forget_below(struct log *l, const struct partition *p, int64_t offset);

/* recover.c */
void recover_start(struct log *l, void (*done)(struct log *l));
void recover_step(struct log *l);
void recover_release(struct log *l);
/* Everything is synced and nothing more will be written. */
void recover_write_clean(struct log *l);

/* log.c */
void log_problem(struct log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void log_wal_failed(void *log, const struct err *e);

#endif
