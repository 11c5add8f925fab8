/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a segment object: streamhouse-segment(5). Pure: bytes to structs and back; reading and writing files is
 * libsh/store/segment_file.h. Integers are little-endian.
 *
 *   header | run of blocks per (topic id, partition), sorted | footer | trailer
 *
 * A block holds whole record batches, about SEGMENT_BLOCK_BYTES of them before compression. The footer is a sequence of
 * sections {type u16, flags u16 (bit 0: must be understood), length u32, payload}: one INFO, then one RUN per partition.
 * Each run's section has its own checksum, so a reader fetches just that one. The trailer has a fixed
 * size and says where the footer is, with a CRC-32C of the whole object before it.
 */
#ifndef SH_FORMAT_SEGMENT_H
#define SH_FORMAT_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/bytes.h"
#include "libsh/base/err.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "libsh/format/compress.h"

enum {
	SEGMENT_HEADER_BYTES = 64,
	SEGMENT_TRAILER_BYTES = 64,
	SEGMENT_SECTION_BYTES = 8,       /* header of a section */
	SEGMENT_BLOCK_BYTES = 256 << 10, /* aim; a larger batch makes a larger block */
	SEGMENT_NAME_MAX = 200,          /* bytes of an object name */
	SEGMENT_TOPIC_NAME_MAX = 249,
	SEGMENT_PRODUCER_BATCHES = 5,    /* the last ones of a producer, as Kafka keeps them */
};
enum segment_section {
	SEGMENT_INFO = 1,
	SEGMENT_RUN = 2,
	SEGMENT_REPLACED = 3,      /* reserved: names of the objects that a merge replaces */
	SEGMENT_ABORTED = 4,       /* reserved: aborted transactions */
	SEGMENT_ENCRYPTION = 5,    /* reserved */
	SEGMENT_DELETE_HORIZON = 6,/* reserved */
};

/* Who made it, from what. */
struct segment_info {
	struct uuid object;        /* also in its name */
	struct uuid slot;
	uint64_t session, number;  /* number: counts the segments of a slot */
	uint64_t newest_committed; /* newest number of this slot known committed at the time of writing */
	uint64_t incarnation;      /* of the metadata */
	uint64_t generation, first_lsn, end_lsn; /* range of the WAL */
	int64_t created_ms;
};

/* What the metadata keeps of a run. previous_end == first_offset unless there is a recorded gap. */
struct segment_run {
	struct uuid topic;
	uint32_t partition, first_epoch, last_epoch;
	int64_t previous_end;                /* end of the partition before this run */
	int64_t first_offset, end_offset;    /* end is exclusive */
	int64_t min_timestamp, max_timestamp, max_append_ms;
	uint64_t records, raw_bytes;         /* raw: of batches as stored in the WAL */
	uint64_t position, stored_bytes;     /* of the blocks in the object */
	uint64_t section_position;           /* of the run's section in the object ... */
	uint32_t section_bytes;              /* ... header included */
};

struct segment_block {
	uint64_t position;
	uint32_t stored_bytes, raw_bytes, crc; /* CRC-32C of the stored bytes */
	int64_t first_offset, end_offset, max_timestamp;
	enum codec codec;
};

/* Last batches of a producer, for idempotence. */
struct segment_producer {
	int64_t producer_id, last_used_ms, open_transaction_first; /* -1: none open */
	int16_t epoch;
	uint8_t batch_count; /* oldest first */
	struct { int32_t first_sequence, last_sequence; int64_t base_offset; } batches[SEGMENT_PRODUCER_BATCHES];
};

struct segment_run_detail { /* a run's section */
	struct segment_run run;
	char topic_name[SEGMENT_TOPIC_NAME_MAX + 1];
	struct segment_block *blocks;
	uint32_t block_count;
	struct segment_producer *producers;
	uint32_t producer_count;
	struct bytes bloom; /* over the keys; empty: not there */
};

struct segment_trailer {
	uint64_t footer_position;
	uint64_t footer_bytes;
	uint32_t footer_crc;
	uint32_t object_crc; /* CRC-32C of everything before the trailer */
	uint32_t run_count;
};

void segment_header_write(const struct segment_info *info, uint8_t out[SEGMENT_HEADER_BYTES]);
int segment_header_read(const uint8_t *p, struct uuid *object, struct err *e);
int segment_info_write(struct buf *footer, const struct segment_info *info);
/* position: where this section will stand in the object; stored in the run too. */
int segment_run_write(struct buf *footer, struct segment_run_detail *detail, uint64_t position);
void segment_trailer_write(const struct segment_trailer *t, uint8_t out[SEGMENT_TRAILER_BYTES]);
int segment_trailer_read(const uint8_t *p, uint64_t object_bytes, struct segment_trailer *t, struct err *e);

/* Walk a whole footer. 1: *type and *payload filled; 0 at the end; -1 on damage or a section that must be understood and is not.
 * Sections that are unknown and may be are passed over. */
int segment_section_next(const void *footer, size_t n, size_t *pos, uint16_t *type, struct bytes *payload, struct err *e);
int segment_info_read(struct bytes payload, struct segment_info *info, struct err *e);
/* One run's section, section header included; checks its CRC. Arrays come from the arena. */
int segment_run_read(const void *section, size_t n, struct arena *a, struct segment_run_detail *d, struct err *e);

/* The run index that the metadata keeps in one blob: rows of struct segment_run with a version in front. */
int segment_runs_encode(struct buf *out, const struct segment_run *runs, size_t count);
int segment_runs_decode(const void *p, size_t n, struct arena *a, struct segment_run **runs, size_t *count, struct err *e);

/* Bloom filter over keys, about 10 bits a key (1 % wrong yes). Hash: XXH64, documented in streamhouse-segment(5). */
struct bloom_builder;
/* max_keys: at least as many as will be added; takes 10 bits for each. Above a cap of 4 Mi keys the filter is left out. */
struct bloom_builder *bloom_builder_new(size_t max_keys);
void bloom_builder_add(struct bloom_builder *b, const void *key, size_t n);
int bloom_builder_finish(struct bloom_builder *b, struct buf *out); /* appends nothing when there were no keys, or too many */
void bloom_builder_free(struct bloom_builder *b);
bool bloom_may_contain(struct bytes bloom, const void *key, size_t n); /* true when the filter is empty or unreadable */

#endif
