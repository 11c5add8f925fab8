/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata behind one contract: topics, partitions, slots, sessions, segments. Used by the meta process (sole writer) and, read-only,
 * by offline commands. Calls block. All changes happen between begin() and commit(), many requests to a
 * transaction; a change that fails inside leaves the transaction as it was before that change.
 */
#ifndef SH_STORE_META_H
#define SH_STORE_META_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/err.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "libsh/format/segment.h"
#include "libsh/format/snapshot.h"

enum { META_TOPIC_NAME_MAX = SEGMENT_TOPIC_NAME_MAX, META_PARTITIONS_MAX = 100000, META_CONFIG_MAX = 64 << 10 };

struct meta_topic {
	struct uuid id;
	const char *name;
	uint32_t partitions;
	uint32_t replication_factor; /* kept for clients; we store in the object store */
	const char *config;          /* JSON object of the keys that were set, as text values */
	int64_t created_ms;
	uint64_t version;            /* of the last change */
	bool deleted;
};
struct meta_partition {
	struct uuid topic;
	uint32_t partition;
	uint32_t slot;               /* number of the slot that owns it */
	uint32_t epoch;              /* of the lease now in force */
	int64_t log_start, flushed_end;
	uint64_t records, bytes;     /* committed in segments, without what expired */
	uint64_t expired_records, expired_bytes; /* ever */
	int64_t offset_floor;        /* no offset below is given any more: a log that is lost may have given them; 0: no such thing */
	uint64_t version;
};
struct meta_session {
	uint64_t session;            /* also the epoch of the leases it takes; never the same twice */
	uint32_t slot;
	uint64_t incarnation, commit_sequence;
	int64_t ttl_ms;
};
enum meta_verdict { META_ACCEPTED = 0, META_ALREADY = 1, META_REFUSED_DELETED = 2, META_REFUSED_FENCED = 3, META_REFUSED_GAP = 4 };
struct meta_object { /* a row of the object table */
	const char *name;
	uint64_t bytes;
	uint32_t crc;
	uint64_t sequence;           /* of its commit */
};
/* The clocks that ages are judged by. The real clock may be set: for a while after that, or a boot, no age is believed. */
struct meta_clock {
	/* in */
	const char *boot_id;         /* of this boot of the machine: only then boot clocks can be compared */
	int64_t boot_ms, real_ms;
	int64_t hold_ms;             /* so long */
	/* out */
	bool held;                   /* nothing went by its age */
	int64_t jumped_ms;           /* the real clock was set by this much since the last step; 0: it was not */
};
struct meta_retain { /* a step of retention */
	struct meta_clock clock;
	uint64_t partitions, runs, records, bytes; /* that went */
};
struct meta_garbage { /* a step of garbage */
	struct meta_clock clock;
	int64_t grace_ms;            /* what has been dead for so long is listed */
	size_t max, skip;            /* at most so many names, without the first ones: they could not be removed */
	const char **names;          /* out */
	size_t count;
};
enum meta_standing { META_OBJECT_KNOWN, META_OBJECT_GIVEN_UP, META_OBJECT_STRANGE };
/* Which metadata this is, and what in the object store is of its making. */
struct meta_position {
	uint64_t incarnation;
	uint64_t founded;            /* the lowest incarnation that it accounts for: its own; when made from a store, all before as well (0) */
	uint64_t snapshot;           /* number of the newest */
};
struct meta_counts { uint64_t topics, partitions, live_objects, live_bytes, pending_objects, dead_objects, records, commit_sequence; };

struct meta; /* a driver's handle */
struct meta_driver {
	const char *scheme;
	int (*begin)(struct meta *m, struct err *e);
	int (*commit)(struct meta *m, struct err *e);
	void (*rollback)(struct meta *m);

	/* Topics. create: *t->id and created_ms are filled in; partitions spread evenly over the slots known. */
	int (*topic_create)(struct meta *m, struct meta_topic *t, struct err *e);
	int (*topic_alter)(struct meta *m, const char *name, uint32_t partitions, const char *config_changes, struct err *e);
	int (*topic_delete)(struct meta *m, const char *name, struct err *e);
	/* Topics (deleted ones too) and partitions whose version is above `since`; *version is the newest. Memory from a. */
	int (*changes)(struct meta *m, uint64_t since, struct arena *a, struct meta_topic **topics, size_t *topic_count,
		struct meta_partition **partitions, size_t *partition_count, uint64_t *version, struct err *e);

	/* Sessions. open: the caller holds the slot's lock, so an older session of the slot is over at once. *out says at first what the
	 * slot remembers: ERR_CORRUPT when metadata of that incarnation have fewer sessions or commits, for then they are an older copy. */
	int (*session_open)(struct meta *m, uint32_t slot, const struct uuid *slot_id, const char *address, int64_t ttl_ms,
		struct meta_session *out, struct err *e);
	/* ERR_FENCED when it is not the slot's newest. *out (NULL allowed) is the session with the commit sequence of now. */
	int (*session_renew)(struct meta *m, uint64_t session, struct meta_session *out, struct err *e);
	int (*session_close)(struct meta *m, uint64_t session, struct err *e);

	/* Segments: intent (pending) -> commit (live) -> dead -> row removed. */
	int (*intent)(struct meta *m, uint64_t session, const struct uuid *object, const char *name, uint64_t *number,
		uint64_t *newest_committed, struct err *e);
	int (*segment_commit)(struct meta *m, uint64_t session, const struct meta_object *o, const struct segment_run *runs, size_t count,
		enum meta_verdict *verdicts, uint64_t *sequence, struct err *e);
	/* The run that holds offset, or the first behind it; for timestamps the first run whose max_timestamp >= ts and whose end > from_offset.
	 * ERR_NOT_FOUND when there is none. */
	int (*run_find)(struct meta *m, const struct uuid *topic, uint32_t partition, bool by_timestamp, int64_t value, int64_t from_offset,
		struct arena *a, struct meta_object *o, struct segment_run *run, struct err *e);

	/* Retention: raises log starts by the topics' retention.ms and retention.bytes, whole runs, oldest first. What no run
	 * keeps is dead. A bounded step: 1 says that there is more to do at once. A change like the others. */
	int (*retain)(struct meta *m, struct meta_retain *r, struct err *e);
	/* Garbage. Moves pending rows whose session is over, and live rows of which every run is of a deleted topic, to dead; lists dead ones older
	 * than the grace period, oldest first. A bounded step: 1 says that there is more to do at once. A change like the others.
	 * ERR_CONFLICT while the metadata is behind. */
	int (*garbage)(struct meta *m, struct meta_garbage *g, struct arena *a, struct err *e);
	int (*garbage_done)(struct meta *m, const char *name, struct err *e);
	/* The metadata went back in time (it is an older copy, perhaps): the object of that name in the store is from after it. Nothing is
	 * removed and no snapshot is taken from then on, until NULL says that no such name is left. A change like the others. */
	int (*set_behind)(struct meta *m, const char *name, struct err *e);
	int (*behind)(struct meta *m, struct arena *a, const char **name, struct err *e); /* NULL: it is not */
	/* Every live object, in order of commit. */
	int (*each_object)(struct meta *m, int (*each)(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count),
		void *ctx, struct err *e);

	/* All that segments cannot tell, under the next number: a change like the others. 0: nothing worth a snapshot has changed
	 * since that one (NULL: there is none); 1: *s is filled in, memory from a. */
	int (*snapshot)(struct meta *m, const struct snapshot *since, struct arena *a, struct snapshot *s, struct err *e);
	/* KNOWN: a row has this object's name, whatever its state, or it is one that must be kept. GIVEN_UP: it was begun here and never
	 * committed, and its row is gone; remembered for 30 days. STRANGE: we know nothing of it, so it may be anything. */
	int (*standing)(struct meta *m, const char *name, enum meta_standing *standing, struct err *e);
	int (*position)(struct meta *m, struct meta_position *p, struct err *e);

	/* Why offsets from `from` to `end` are in no run, if that is recorded: 1; else 0. Memory from a. */
	int (*gap)(struct meta *m, const struct uuid *topic, uint32_t partition, int64_t from, int64_t end, struct arena *a,
		const char **why, struct err *e);

	int (*verify)(struct meta *m, struct err *e); /* reads all of it; ERR_CORRUPT */
	int (*producer_ids)(struct meta *m, uint32_t count, int64_t *first, struct err *e);
	int (*counts)(struct meta *m, struct meta_counts *c, struct err *e);
	void (*free)(struct meta *m);
};
struct meta {
	const struct meta_driver *driver;
};

/* "sqlite:" (meta/meta.db under data_dir), "sqlite:///path". Migrates to the newest version unless read_only; a newer version than ours is refused. */
int meta_open(const char *url, const char *data_dir, bool read_only, struct meta **m, struct err *e);
/* Whether there is a database to open, or meta_open() would make one. */
bool meta_is_there(const char *url, const char *data_dir);
void meta_free(struct meta *m);
/* For drivers: is it a JSON object of at most META_CONFIG_MAX bytes; and with changes applied (a null value removes the key), mem_free(). */
int meta_config_check(const char *config, struct err *e);
char *meta_config_merge(const char *config, const char *changes, struct err *e);
/* retention.ms and retention.bytes of a config; -1 (for ever) when not set or not a number. */
void meta_config_retention(const char *config, int64_t *ms, int64_t *bytes);
int meta_topic_name_check(const char *name, struct err *e); /* Kafka's rule: 1-249 of [A-Za-z0-9._-], not . or .. */

/* "segments/<shard>/<incarnation>-<object id>.seg"; the shard, of random bits, spreads names over an object store's partitions. */
const char *meta_object_name(struct arena *a, const struct uuid *object, uint64_t incarnation);
bool meta_object_name_parse(const char *name, uint64_t *incarnation);

#endif
