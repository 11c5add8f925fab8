/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata made anew from an object store alone: the newest snapshot that can be read, and the footers of all segments. Nothing
 * in the store is changed.
 *
 * A partition's runs are taken as a chain from its log start: each begins where the one before ends (rebuild_chain.c says how it
 * is found). Up to the end that the snapshot names, a link that is missing is damage and becomes a recorded gap; behind it the chain ends
 * there, since what follows may never have been committed. Runs of deleted topics, below log starts, and those that others hold wholly are
 * left out, and so may be swept later; what could not be read or had no place is left out as well, but kept.
 *
 * What the log of a slot holds behind its last segment is recovered when an agent opens that slot. Without it (logs_lost) nobody knows
 * which offsets were given out: each partition goes on REBUILD_OFFSETS_JUMP above its end.
 */
#ifndef SH_STORE_REBUILD_H
#define SH_STORE_REBUILD_H

#include "libsh/store/meta.h"
#include "libsh/store/object.h"

enum { REBUILD_OFFSETS_JUMP = 1000000000 /* more records than a log can hold */ };

struct rebuild {
	/* in */
	struct object_store *store;
	const char *path;       /* of the new database: must not exist */
	bool without_snapshot;  /* go on when there is none: topics by what segments say, deleted ones may come back */
	bool logs_lost;         /* the slots' directories are gone: others may take their places, offsets go on far above */
	void (*note)(void *ctx, bool damage, const char *where, const char *text);
	void *ctx;
	/* out */
	bool snapshot_found;
	uint64_t snapshot_incarnation, snapshot_number;
	int64_t snapshot_taken_ms;
	uint64_t incarnation;   /* lowest that the new one can have */
	uint64_t segments, taken, expired, deleted, doubled, kept, unreadable; /* objects */
	struct meta_counts counts; /* of the new database */
};
int rebuild_run(struct rebuild *r, struct err *e);

/* One snapshot, whole: its checksum, and that it is the one its name says. Memory from a. */
int rebuild_snapshot_read(struct object_store *s, const char *name, struct arena *a, struct snapshot *out, struct err *e);

#endif
