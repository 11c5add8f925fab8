/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of rebuild: what is known while metadata is made anew, and the steps in their order.
 *
 *   rebuild.c           the steps; notes for the report, and what must be kept
 *   rebuild_snapshot.c  the newest snapshot that can be read
 *   rebuild_segment.c   the footers of all segments
 *   rebuild_topic.c     which topics there are: those of the snapshot, and what segments say of later ones
 *   rebuild_slot.c      which slots there are
 *   rebuild_chain.c     of each partition, the runs that follow each other
 *   rebuild_write.c     the new database
 *
 * Memory: 64 bytes a run and about 150 a segment, under the limits below. What else is to be known of a run waits in a file
 * beside the new database that has no name.
 */
#ifndef SH_STORE_REBUILD_PRIVATE_H
#define SH_STORE_REBUILD_PRIVATE_H

#include "libsh/base/map.h"
#include "libsh/store/meta_restore.h"
#include "libsh/store/rebuild.h"

enum {
	REBUILD_RUNS_MAX = 50000000,
	REBUILD_SEGMENTS_MAX = 20000000,
	REBUILD_TOPICS_MAX = 1000000, /* deleted ones too */
	REBUILD_PARTITIONS_MAX = 100000, /* of all topics */
	REBUILD_RUNS_BYTES_MAX = 32 << 20, /* of one segment, as they wait in the file */
};

/* An incarnation is a time with 20 random bits: no name of ours comes near this. */
#define REBUILD_INCARNATION_MAX (UINT64_C(1) << 62)

enum run_fate {
	RUN_IN_DOUBT = 0, /* has no place in its partition: left out, and kept */
	RUN_CHOSEN,
	RUN_DELETED,      /* of a deleted topic */
	RUN_EXPIRED,      /* below the log start */
	RUN_DOUBLED,      /* chosen ones hold all of it */
	RUN_FATES
};
struct rebuild_run {
	uint32_t topic, partition; /* topic: in work.topics */
	uint32_t segment, index;   /* in work.segments; in its footer */
	uint32_t first_epoch, last_epoch;
	int64_t previous_end, first_offset, end_offset;
	int64_t reach; /* how far the chain goes that begins here */
	enum run_fate fate;
};
struct rebuild_segment { /* an object that could be read */
	struct uuid object, slot_id;
	uint32_t slot;            /* in snapshot.slots */
	uint64_t incarnation, bytes, session, number, first_lsn;
	uint32_t crc;
	uint32_t run_count;
	size_t first_run;         /* in work.runs while those are in order of segments */
	uint64_t spilled_at;      /* its runs in the file */
	uint32_t spilled_bytes;
	uint32_t fates[RUN_FATES]; /* of its runs */
	bool done;                /* is in the new database */
};
struct rebuild_topic {
	struct snapshot_topic t; /* partitions: as many as the snapshot has, until rebuild_topic_settle() */
	bool in_snapshot;
	bool left_out;
	uint32_t partitions_known; /* to the snapshot */
	uint32_t partitions_seen;  /* by segments: the highest number and one */
	int64_t *ends;             /* of each partition: where offsets go on */
	uint64_t incarnation, session, first_lsn; /* of the newest segment that holds it */
};
struct rebuild_work {
	struct rebuild *r;
	struct arena arena;
	struct snapshot snapshot;
	uint64_t incarnation, session; /* highest that were seen */
	struct map by_id;              /* index in topics, plus one */
	struct rebuild_topic *topics;
	size_t topic_count, topic_room;
	struct rebuild_segment *segments;
	size_t segment_count, segment_room;
	struct rebuild_run *runs;
	size_t run_count, run_room;
	struct map kept; /* names, with why */
	int spill_fd;
	uint64_t spill_end;
};

/* ---- rebuild.c ---- */
void rebuild_note(struct rebuild_work *w, bool damage, const char *where, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void rebuild_keep(struct rebuild_work *w, const char *name, const char *why); /* never to be swept */

/* ---- rebuild_snapshot.c ---- */
int rebuild_snapshot_find(struct rebuild_work *w, struct err *e);

/* ---- rebuild_segment.c ---- */
int rebuild_segment_read_all(struct rebuild_work *w, struct err *e);
/* The runs of the segment as its footer has them; memory from a. */
int rebuild_segment_runs(struct rebuild_work *w, const struct rebuild_segment *s, struct arena *a, struct segment_run **runs,
	struct err *e);
const char *rebuild_segment_name(struct arena *a, const struct rebuild_segment *s);

/* ---- rebuild_topic.c ---- */
int rebuild_topic_take_snapshot(struct rebuild_work *w, struct err *e);
/* What a run says of its topic; *index is that topic's. */
int rebuild_topic_learn(struct rebuild_work *w, const struct rebuild_segment *s, const struct segment_run_detail *d, uint32_t *index,
	struct err *e);
/* After all segments: which of several topics of one name it is, and how many partitions each has. */
int rebuild_topic_settle(struct rebuild_work *w, struct err *e);

/* ---- rebuild_slot.c ---- */
/* After all segments: their slots into snapshot.slots. */
void rebuild_slot_learn(struct rebuild_work *w);
/* After all that was seen: numbers and sessions that nobody can have had. */
int rebuild_slot_finish(struct rebuild_work *w, struct err *e);

/* ---- rebuild_chain.c ---- */
/* Chooses; gives partitions of living topics their log start, their end, and as flushed end where their first run begins. */
void rebuild_chain_choose_all(struct rebuild_work *w);

/* ---- rebuild_write.c ---- */
int rebuild_write_all(struct rebuild_work *w, struct err *e);

#endif
