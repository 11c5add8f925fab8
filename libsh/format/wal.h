/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the write-ahead log: streamhouse-wal(5). Integers are little-endian. Pure: bytes to structs and back.
 *
 * A WAL file is WAL_FILE_BYTES long: a header of WAL_HEADER_BYTES, then entries at multiples of WAL_ALIGN. An LSN
 * (log sequence number) is a byte position in the endless log: base LSN of the file + position in the file.
 *
 * File header (4096 bytes, rest zero)           Entry (WAL_ENTRY_BYTES, then the record batch, then zeros up to WAL_ALIGN)
 *  0 magic "SHWAL\r\n\0"                         0 magic u32 "SHWE"
 *  8 major u16, minor u16 (1.0)                  4 crc u32: CRC-32C of bytes 8..79 and of the batch's bytes 0..20
 * 12 crc u32: CRC-32C of bytes 16..159           8 generation u64, of the file
 * 16 generation u64: never the same twice       16 LSN u64, equal to its position
 *    in a slot, raised when a file is recycled  24 topic id, 16 bytes
 * 24 base LSN u64, a multiple of the file size  40 partition u32
 * 32 previous end LSN u64: where the file       44 lease epoch u32
 *    before this one ends; what it holds from   48 previous end offset i64 of the partition
 *    there on was rewritten or never valid      56 synced LSN u64: known to be on disk when this was written
 * 40 slot id, 16 bytes                          64 append time i64, ms since 1970
 * 56 session u64 that made it                   72 length u32 of the batch
 * 64 created i64, ms since 1970                 76 type u16 (bit 15: must be understood), 78 reserved u16
 * 72 reserved up to 160
 */
#ifndef SH_FORMAT_WAL_H
#define SH_FORMAT_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/err.h"
#include "libsh/base/uuid.h"

#ifndef SH_WAL_FILE_BYTES
#define SH_WAL_FILE_BYTES (64 << 20) /* the simulator takes smaller ones, to see many of them */
#endif
enum {
	WAL_FILE_BYTES = SH_WAL_FILE_BYTES,
	WAL_HEADER_BYTES = 4096,
	WAL_ALIGN = 64,
	WAL_ENTRY_BYTES = 80,
	WAL_VERSION_MAJOR = 1,
	WAL_VERSION_MINOR = 0,
};
enum wal_entry_type {
	WAL_BATCH = 0x8001,     /* a record batch, stamped with its offset */
	WAL_SYNC_MARK = 0x0002, /* length 0: says only that everything before its synced LSN is on disk */
};

struct wal_file_header {
	uint64_t generation, base_lsn, previous_end_lsn, session;
	struct uuid slot;
	int64_t created_ms;
};
struct wal_entry {
	uint64_t generation, lsn, synced_lsn;
	struct uuid topic;
	uint32_t partition, epoch, length;
	int64_t previous_end, append_ms;
	uint16_t type;
};

void wal_file_header_write(const struct wal_file_header *h, uint8_t out[WAL_HEADER_BYTES]);
int wal_file_header_read(const uint8_t *p, struct wal_file_header *h, struct err *e); /* p holds 4096 bytes */

/* `batch` may be NULL when length is 0; its first 21 bytes go into the CRC, so stamp it before. */
void wal_entry_write(const struct wal_entry *entry, const void *batch, uint8_t out[WAL_ENTRY_BYTES]);
/* The fields as they stand in WAL_ENTRY_BYTES bytes, whatever they are worth: to say what a damaged entry may have been. */
void wal_entry_peek(const uint8_t *p, struct wal_entry *entry);
enum wal_check {
	WAL_VALID,
	WAL_INVALID, /* not an entry, or damaged */
	WAL_SHORT,   /* n does not reach to the end of the entry; *need says how many bytes would, and
	              * above WAL_ENTRY_BYTES + 21 the entry's own CRC fits and *entry is filled */
};
/* Look at the n bytes at p as the entry that must stand at `lsn` in a file of `generation`. With check_batch the batch's own CRC is checked too. */
enum wal_check wal_entry_read(const void *p, size_t n, uint64_t lsn, uint64_t generation, bool check_batch,
	struct wal_entry *entry, size_t *need);
/* Bytes an entry with a batch of that length takes in the file, padding included. */
static inline uint64_t wal_entry_space(uint32_t length)
{
	return ((uint64_t)WAL_ENTRY_BYTES + length + WAL_ALIGN - 1) & ~(uint64_t)(WAL_ALIGN - 1);
}
static inline uint64_t wal_file_base(uint64_t lsn)
{
	return lsn - lsn % WAL_FILE_BYTES;
}

#endif
