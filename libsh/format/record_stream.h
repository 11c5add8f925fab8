/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of one batch one after the other, for batch_reader.c and batch_validate.c only.
 *
 * Records that are not compressed are read where they lie. Compressed ones go through a window that
 * holds at least one whole record; it grows only as bytes arrive, never on a declared length.
 *
 *   length varint | attributes i8 | timestampDelta varlong | offsetDelta varint
 *   keyLength varint (-1: null) | key | valueLength varint (-1: null) | value
 *   headerCount varint | headers: keyLength varint | key | valueLength varint (-1: null) | value
 */
#ifndef SH_FORMAT_RECORD_STREAM_H
#define SH_FORMAT_RECORD_STREAM_H

#include "libsh/format/batch.h"

struct record_fields {
	int64_t timestamp_delta;
	int32_t offset_delta;
	int32_t header_count;
	struct bytes key, value, headers;
};

struct record_stream {
	const uint8_t *p, *end;    /* what is there and not read yet */
	struct decompressor *more; /* NULL: that is all */
	uint8_t *window;
	size_t window_bytes;
};

/* The cap on decompressed records of a batch of n bytes: the caller's, the hard one, and a sane ratio. */
size_t record_stream_cap(size_t n, size_t max_raw_bytes);
/* batch: size bytes as its header h says. */
int record_stream_open(struct record_stream *s, const void *batch, size_t size, const struct batch_header *h,
	size_t max_raw_bytes, struct err *e);
/* The next record, valid until the next call; index is for the error. Damage is ERR_CORRUPT_BATCH. */
int record_stream_next(struct record_stream *s, int32_t index, struct record_fields *r, struct err *e);
/* The same, but what lies behind the key is passed over: of *r only the deltas and the key are set. */
int record_stream_next_key(struct record_stream *s, int32_t index, struct record_fields *r, struct err *e);
/* 0 when nothing is left behind the last record. */
int record_stream_finish(struct record_stream *s, struct err *e);
void record_stream_close(struct record_stream *s);

#endif
