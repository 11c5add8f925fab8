/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes one segment front to back: runs of batches go in, blocks, index, filters and statistics come out. A batch that
 * was added stays where it is until its block is closed, so that blocks are compressed from where the batches were read to.
 */
#ifndef SH_STORE_SEGMENT_WRITER_H
#define SH_STORE_SEGMENT_WRITER_H

#include "libsh/base/err.h"
#include "libsh/format/batch.h"
#include "libsh/format/segment.h"

struct segment_writer;
/* out_fd: an empty file, written from its start. bloom_bytes: cap on all filters together; runs beyond it have none. */
struct segment_writer *segment_writer_new(int out_fd, const struct segment_info *info, size_t bloom_bytes);
void segment_writer_free(struct segment_writer *w);

struct segment_writer_run {
	struct uuid topic;
	uint32_t partition;
	const char *topic_name; /* must stay valid until segment_writer_finish() */
	int64_t previous_end;
	uint64_t max_records;   /* as many or more will be added */
};
int segment_writer_begin(struct segment_writer *w, const struct segment_writer_run *run, struct err *e);
struct segment_writer_batch {
	const uint8_t *data;    /* checked; directly behind the one added before, or segment_writer_flush() came between */
	uint32_t length, epoch;
	int64_t append_ms;
};
int segment_writer_add(struct segment_writer *w, const struct segment_writer_batch *batch, struct err *e);
/* Close the block: the memory of the batches added is not needed any more. */
int segment_writer_flush(struct segment_writer *w, struct err *e);
int segment_writer_end(struct segment_writer *w, struct err *e);

/* Footer and trailer. *runs: mem_free(). *crc: CRC-32C of all *bytes of the object. */
int segment_writer_finish(struct segment_writer *w, struct segment_run **runs, size_t *run_count, uint64_t *bytes,
	uint32_t *crc, struct err *e);

#endif
