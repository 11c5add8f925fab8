/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segments as files and objects: built from a range of a WAL file with bounded memory, read block by block.
 */
#ifndef SH_STORE_SEGMENT_FILE_H
#define SH_STORE_SEGMENT_FILE_H

#include "libsh/base/err.h"
#include "libsh/base/mem.h"
#include "libsh/format/segment.h"
#include "libsh/format/wal.h"

/* What of a partition goes into a segment; the names come along because the WAL holds ids only. */
struct segment_source {
	struct uuid topic;
	uint32_t partition;
	const char *topic_name;
	int64_t first_offset; /* batches that end at or below this are in a segment already: left out */
	int64_t end_offset;   /* batches that start at or above this are left out (INT64_MAX: none) */
};
struct segment_build {
	/* in */
	int wal_fd;                /* read with pread only */
	uint64_t generation, first_lsn, end_lsn; /* one WAL file; each entry's generation and LSN are checked */
	const struct segment_source *sources; /* sorted by (topic, partition); entries of others are left out */
	size_t source_count;
	struct segment_info info;  /* object ... created_ms filled in by the caller */
	int out_fd;                /* an empty file, read-write */
	size_t memory_bytes;       /* cap on what is held at once, index of the range included (at most 32 bytes a batch on top) */
	/* out */
	struct segment_run *runs;  /* mem_free() */
	size_t run_count;
	uint64_t bytes;            /* of the object; 0: nothing was left to write */
	uint32_t crc;
};
/* ERR_CORRUPT when an entry is not what it should be (text names the LSN). Codec: LZ4 unless the batches of a block are compressed already. */
int segment_build(struct segment_build *b, struct err *e);

/* Where bytes come from when reading: an object, a cached file, a local file. */
struct segment_input {
	int (*read)(void *ctx, uint64_t offset, void *p, size_t n, struct err *e);
	void *ctx;
	uint64_t bytes; /* size of the whole object */
};
struct segment_file { /* whole footer in memory: for offline commands and merges */
	struct arena arena;
	struct segment_info info;
	struct segment_run_detail *runs;
	size_t run_count;
	struct segment_trailer trailer;
};
int segment_file_open(struct segment_file *f, const struct segment_input *in, struct err *e);
void segment_file_release(struct segment_file *f);
/* Read, check and decompress one block into out (emptied first). */
int segment_block_read(const struct segment_input *in, const struct segment_block *block, struct buf *out, struct err *e);
/* Checksum of the whole object and of everything in it; used by check. */
int segment_file_verify(const struct segment_input *in, struct err *e);

#endif
