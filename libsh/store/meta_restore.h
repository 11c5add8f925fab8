/* SPDX-License-Identifier: Apache-2.0 */
/* A metadata database (SQLite) made from nothing but a snapshot and what segments say. For rebuild.c. */
#ifndef SH_STORE_META_RESTORE_H
#define SH_STORE_META_RESTORE_H

#include "libsh/store/meta.h"

struct meta_restore;
/* ERR_EXISTS when the database, or a part of it, is there. */
int meta_restore_check_free(const char *path, struct err *e);
/* The database gets its name in finish(); before that a file beside it is written. ERR_EXISTS when the name is taken. Counters are
 * taken from *s as they are, the incarnation is at least its; a partition begins at its log_start with `flushed_end` as the end
 * of what lies before its first run. */
int meta_restore_begin(const char *path, const struct snapshot *s, struct meta_restore **r, struct err *e);
/* Live, committed after those before it; every run begins (previous_end) where its partition ends. */
int meta_restore_object(struct meta_restore *r, const struct meta_object *o, uint32_t slot, uint64_t number, const struct segment_run *runs,
	size_t count, struct err *e);
/* Not live, but never to be swept. */
int meta_restore_keep(struct meta_restore *r, const char *name, const char *why, struct err *e);
/* Of no use to anybody: may be swept as an orphan. */
int meta_restore_give_up(struct meta_restore *r, const char *name, struct err *e);
/* Offsets of the partition go on from `end`, though its last run ends at `reached`: a gap with a recorded reason. After all objects. */
int meta_restore_end_at(struct meta_restore *r, const struct uuid *topic, uint32_t partition, int64_t reached, int64_t end,
	const char *why, struct err *e);
int meta_restore_finish(struct meta_restore *r, struct meta_counts *counts, struct err *e);
void meta_restore_free(struct meta_restore *r); /* without finish(): nothing is left */

#endif
