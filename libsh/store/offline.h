/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a store with no daemon: a data directory (metadata, segments, the tail in the WAL), a directory of segments, one
 * segment, one WAL file. Nothing is ever written. It works beside a running shd as well: what moves from
 * the WAL to a segment meanwhile is found by asking the metadata again.
 */
#ifndef SH_STORE_OFFLINE_H
#define SH_STORE_OFFLINE_H

#include "libsh/format/batch.h"
#include "libsh/store/meta.h"
#include "libsh/store/object.h"
#include "libsh/store/segment_file.h"
#include "libsh/store/wal_file.h"

/* What a user named as STORE. A file:// or s3:// URL is a directory of segments; a directory is one of data if it has metadata. */
enum offline_kind { OFFLINE_DATA, OFFLINE_OBJECTS, OFFLINE_SEGMENT, OFFLINE_WAL };
int offline_kind(const char *store, enum offline_kind *kind, struct err *e);
/* Where shd keeps its data when it is not told: $XDG_DATA_HOME/streamhouse, ~/.local/share/streamhouse. mem_free(). */
char *offline_default_store(void);

/* ---- segments ---- */

/* An object of a store as the input of segment_file_open() and the like. Init, then use in.input. */
struct offline_object {
	struct object_store *store;
	const char *name;
	struct segment_input input;
};
void offline_object_init(struct offline_object *o, struct object_store *store, const char *name, uint64_t bytes);
/* The same of a file that is open. */
void offline_file_init(struct segment_input *in, const int *fd, uint64_t bytes);

/* One batch, whole and with a checked CRC. Non-zero stops and is returned. */
typedef int (*offline_each)(void *ctx, const struct batch_header *h, const void *batch, size_t n);
/* The batches of a run that hold offsets in [from, to), in order. */
int offline_run_batches(const struct segment_input *in, const struct segment_run_detail *d, int64_t from, int64_t to, offline_each each,
	void *ctx, struct err *e);
/* The detail of a run that the metadata names: only its section is read. Memory from a. */
int offline_run_detail(const struct segment_input *in, const struct segment_run *run, struct arena *a, struct segment_run_detail *d,
	struct err *e);

/* ---- directories of segments, without metadata ---- */

struct offline_object_run {
	const char *object, *topic_name;
	uint64_t object_bytes;
	struct segment_run run;
};
/* The store of a directory, file:// or s3:// URL; of the last with the settings that are in the environment. */
int offline_objects_open(const char *store, struct object_store **s, struct err *e);
/* Nothing was found there: 0 when that can be, an error when it is no such store, so that a mistyped path does not pass for sound. */
int offline_objects_none(const char *store, struct err *e);
/* The runs of every object that ends in .seg, by topic, partition and first offset. What cannot be read is told and left out. */
int offline_objects_list(struct object_store *s, struct arena *a, struct offline_object_run **runs, size_t *count,
	void (*unreadable)(void *ctx, const char *object, const struct err *e), void *ctx, struct err *e);

/* ---- data directories ---- */

struct offline_partition {
	const struct meta_topic *topic;
	uint32_t partition;
	int64_t log_start, flushed_end;
	int64_t cursor; /* the caller's: how far it has come */
};
struct offline {
	struct arena arena;
	char *data_dir;
	struct meta *meta;
	struct object_store *objects;
	struct offline_partition *partitions; /* of topics not deleted, by topic name and number */
	size_t partition_count;
	struct offline_partition **by_id;
};
/* objects_url: where segments lie, NULL for the directory `objects` inside. */
int offline_open(struct offline *o, const char *data_dir, const char *objects_url, struct err *e);
void offline_close(struct offline *o);
/* Read the metadata again: flushed ends move; partitions made since are not seen. */
int offline_refresh(struct offline *o, struct err *e);
struct offline_partition *offline_find(const struct offline *o, const struct uuid *topic, uint32_t partition); /* NULL: unknown */

struct offline_wal_handlers {
	/* A batch in the WAL, committed already or not. p NULL: its topic is deleted or unknown. Non-zero stops and is returned. */
	int (*entry)(void *ctx, struct offline_partition *p, const struct wal_entry *entry, const void *batch);
	/* Bytes [from, to) of the file are damaged; what is missing shows in the chain of the partitions. */
	void (*damage)(void *ctx, const char *path, uint64_t from, uint64_t to);
	/* A file could not be read: its name is in the error. */
	void (*unreadable)(void *ctx, const struct err *e);
};
struct offline_wal_totals { uint64_t files, entries, bytes; };
/* All WAL files of all slots, each slot in order. */
int offline_wal(struct offline *o, const struct offline_wal_handlers *h, void *ctx, struct offline_wal_totals *totals, struct err *e);

#endif
