/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What segments cannot tell of the metadata, as one object: streamhouse-snapshot(5). With the footers of all segments
 * it is enough to make the metadata anew. Pure: bytes to structs and back. Integers are little-endian.
 *
 *   header   0 "ShdSnap" and a zero byte, 8 major u16, 10 minor u16, 12 zero u32
 *   sections {type u16, flags u16 (bit 0: must be understood), length u32, payload}: INFO, then SLOT and TOPIC, END
 *   INFO     0 incarnation u64, 8 number u64, 16 taken ms i64, 24 version u64, 32 session u64, 40 commit sequence u64,
 *            48 next producer id i64
 *   SLOT     0 id 16 bytes, 16 number u32, 20 zero u32, 24 session u64, 32 last segment u64, 40 newest committed u64
 *   TOPIC    0 id 16 bytes, 16 partitions u32, 20 replication factor u32, 24 created ms i64, 32 state u32 (1: deleted),
 *            36 bytes of name u32, 40 bytes of config u32, 44 bytes of a partition's row u32; name, config, then rows:
 *            0 slot u32, 4 epoch u32, 8 log start i64, 16 flushed end i64, 24 expired records u64, 32 expired bytes u64,
 *            40 offset floor i64 (in rows of at least 48 bytes)
 *   END      CRC-32C u32 of all bytes before this section
 */
#ifndef SH_FORMAT_SNAPSHOT_H
#define SH_FORMAT_SNAPSHOT_H

#include <stdbool.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"

enum { SNAPSHOT_MAX_BYTES = 256 << 20, SNAPSHOT_NAME_BYTES = 64 };

struct snapshot_slot {
	struct uuid id;
	uint32_t number;
	uint64_t session, last_number, newest_committed;
};
struct snapshot_partition {
	uint32_t slot, epoch;
	int64_t log_start, flushed_end;
	int64_t offset_floor; /* no offset below is given any more, whatever the end; 0: no such thing */
	uint64_t expired_records, expired_bytes;
};
struct snapshot_topic {
	struct uuid id;
	const char *name, *config;
	uint32_t partition_count, replication_factor; /* a deleted topic has no partitions */
	int64_t created_ms;
	bool deleted;
	struct snapshot_partition *partitions;
};
struct snapshot {
	uint64_t incarnation, number, version, session, commit_sequence;
	int64_t taken_ms, producer_id;
	struct snapshot_slot *slots;
	size_t slot_count;
	struct snapshot_topic *topics;
	size_t topic_count;
};

/* Init out with SNAPSHOT_MAX_BYTES. -1: it does not fit. */
int snapshot_write(struct buf *out, const struct snapshot *s, struct err *e);
/* Memory from a; strings are copied. */
int snapshot_read(const void *p, size_t n, struct arena *a, struct snapshot *s, struct err *e);

/* "meta/<incarnation, 16 hex digits>-<number, 16>.snapshot": the newest sorts last. */
const char *snapshot_name(uint64_t incarnation, uint64_t number, char out[SNAPSHOT_NAME_BYTES]);
bool snapshot_name_parse(const char *name, uint64_t *incarnation, uint64_t *number);

#endif
