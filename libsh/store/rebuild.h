/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metadata made anew from an object store alone: the newest snapshot that can be read, and the footers of all segments. Nothing
 * in the store is changed.
 *
 * A partition's runs are taken as a chain from its log start: each begins where the one before ends. Of several that could follow, the
 * one that leads furthest is taken (they hold the same batches: a segment that was built twice). Up to the end that the
 * snapshot names, a link that is missing is damage and becomes a recorded gap; behind it the chain ends there, since what follows
 * may never have been committed. Runs of deleted topics and below log starts are left out, and so may be swept later; what could
 * not be read or had no place is left out as well, but kept.
 */
#ifndef SH_STORE_REBUILD_H
#define SH_STORE_REBUILD_H

#include "libsh/store/meta.h"
#include "libsh/store/object.h"

struct rebuild {
	/* in */
	struct object_store *store;
	const char *path;       /* of the new database: must not exist */
	bool without_snapshot;  /* go on when there is none: topics by what segments say, deleted ones may come back */
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

#endif
