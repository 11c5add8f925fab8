/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The writing end of the write-ahead log: one per agent, all partitions in one sequence of files.
 *
 * The loop assigns LSNs and copies entries into staging buffers; a thread of its own takes all that is staged, writes it,
 * syncs it and reports. A slow or hung fdatasync therefore stalls nobody but those who wait for it. A second thread prepares
 * files ahead of their use. After a failed write or sync nothing is ever written here again.
 */
#ifndef SH_AGENT_WAL_H
#define SH_AGENT_WAL_H

#include "libsh/base/uuid.h"
#include "libsh/format/wal.h"
#include "libsh/run/loop.h"
#include "libsh/run/settings.h"

enum { WAL_STAGED_MAX = 32 << 20 }; /* bytes copied but not written yet; above it appends are refused */

struct wal_file {
	struct list node;       /* in wal->files, oldest first */
	char *path;
	int fd;                 /* set by the writer: read it through wal_file_fd() */
	uint64_t base_lsn, generation;
	uint64_t end_lsn;       /* behind its last entry; moves while it is the current file */
	bool prewritten;
};

struct wal_options {
	const char *dir;
	struct uuid slot;
	uint64_t session;
	enum wal_sync sync;
	int64_t interval_ms;
	uint64_t max_bytes;
};
struct wal_events { /* called on the loop */
	void (*synced)(void *ctx, uint64_t lsn);
	void (*failed)(void *ctx, const struct err *e);
};

struct wal;
struct wal *wal_new(struct loop *l, const struct wal_options *o, const struct wal_events *events, void *ctx, struct err *e);
void wal_stop(struct wal *w); /* waits for what is staged to be written and synced; then frees */

/* Files found at start, oldest first; their descriptors are taken over. */
struct wal_file *wal_adopt(struct wal *w, const char *path, int fd, const struct wal_file_header *h, uint64_t end_lsn);
/* A spare file found at start; false: we have enough of them. */
bool wal_adopt_spare(struct wal *w, const char *path);
/*
 * Begin the file that entries go to from now on. It is written aside with all `entries` (n bytes, ready to be written at
 * WAL_HEADER_BYTES), synced, and only then given its name, so that a crash leaves either the old end or the new one.
 */
int wal_begin(struct wal *w, uint64_t base_lsn, uint64_t previous_end_lsn, const void *entries, size_t n, struct err *e);
/* Generation of the next file: the session in the upper bits, so it is never the same twice. */
uint64_t wal_next_generation(const struct wal *w);

/* Whether n more bytes of batches fit now: ERR_BACK_PRESSURE, ERR_NO_SPACE, ERR_WAL_FAILED. */
int wal_may_append(struct wal *w, uint64_t n, struct err *e);
/* Stage one entry. Fills in generation, LSN and synced LSN. The caller has asked wal_may_append(). Returns the LSN. */
uint64_t wal_append(struct wal *w, struct wal_entry *entry, const void *batch);
/* Ask for a sync whatever the policy; synced() reports it. */
void wal_sync(struct wal *w);

uint64_t wal_end_lsn(const struct wal *w);    /* where the next entry goes */
uint64_t wal_synced_lsn(const struct wal *w);
bool wal_failed(const struct wal *w);
const struct wal_file *wal_find(const struct wal *w, uint64_t lsn); /* NULL when no such file */
struct wal_file *wal_oldest(struct wal *w);
const struct wal_file *wal_next(const struct wal *w, const struct wal_file *f); /* NULL: f is the newest */
/* Whether the writer has left f for a newer file, so that nothing but readers can still know it. */
bool wal_is_left(const struct wal *w, const struct wal_file *f);
/* Descriptor of f for positions below the synced LSN; -1 while the writer has not opened it. */
int wal_file_fd(const struct wal_file *f);
/* Everything in it is committed or of no use: keep it as a spare, or unlink it. */
void wal_recycle(struct wal *w, struct wal_file *f);

struct wal_numbers { uint64_t files, bytes, staged_bytes, syncs, sync_ns; bool no_space; };
void wal_get_numbers(struct wal *w, struct wal_numbers *n);

#endif
