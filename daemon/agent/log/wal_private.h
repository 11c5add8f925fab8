/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by wal.c (loop) and wal_thread.c (threads). What both touch is under `lock`. */
#ifndef SH_AGENT_WAL_PRIVATE_H
#define SH_AGENT_WAL_PRIVATE_H

#include <pthread.h>

#include "daemon/agent/log/wal.h"

enum {
	WAL_SPARES_MAX = 4,
	/* A batch of max.message.bytes as it is unless set fits; a larger entry has a chunk of its own. */
	WAL_CHUNK_BYTES = (1 << 20) + (64 << 10),
	WAL_IDLE_CHUNKS_MAX = 4, /* kept for the next entries: fresh memory costs more than the copy into it */
};

struct wal_chunk { /* bytes on their way to one file */
	struct list node;
	struct wal_file *file;
	uint64_t position;         /* in the file */
	uint64_t previous_end_lsn; /* of the file, when this is its first chunk */
	size_t len, size;
	uint8_t data[];
};

struct wal {
	struct loop *loop;
	struct wal_options options;
	char *dir;
	struct wal_events events;
	void *ctx;
	struct waker waker;
	struct turn_end kick;

	/* the loop's own */
	struct wal_file *current, *first; /* first: the one that wal_begin() made */
	uint64_t end_lsn, synced_seen, files_made;
	bool failed_seen, no_space_seen;

	pthread_mutex_t lock;
	pthread_cond_t work, prepare;
	struct list files;         /* changed by the loop only, under lock */
	size_t file_count;
	struct list staged;        /* chunks */
	struct wal_chunk *open_chunk;
	struct list idle_chunks;
	int idle_chunk_count;
	uint64_t staged_bytes;
	uint64_t synced_lsn;
	bool sync_wanted, stop, failed, failure_reported, no_space;
	struct err failure;        /* written once, before failed is set */
	uint64_t syncs, sync_ns;
	char *spares[WAL_SPARES_MAX]; /* paths of files ready for use */
	int spare_count;

	pthread_t writer, preparer;
	bool threads_run;
};

/* Writes header and first entries aside, syncs, names the file; sets f->fd. Any thread. */
int wal_file_create(struct wal *w, struct wal_file *f, uint64_t previous_end_lsn, const void *entries, size_t n, struct err *e);
int wal_threads_start(struct wal *w, struct err *e);
void wal_threads_stop(struct wal *w);

#endif
