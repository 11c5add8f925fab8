/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File header (4096 bytes, rest zero)           Entry (80 bytes, then the record batch, then zeros up to 64)
 *  0 magic "SHWAL\r\n\0"                         0 magic u32 "SHWE"
 *  8 major u16                                   4 crc u32: CRC-32C of bytes 8..79 and of the batch's
 * 10 minor u16                                     bytes 0..20 (the batch's own CRC covers the rest)
 * 12 crc u32: CRC-32C of bytes 16..159           8 generation u64, of the file
 * 16 generation u64                             16 LSN u64
 * 24 base LSN u64                               24 topic id, 16 bytes
 * 32 previous end LSN u64                       40 partition u32
 * 40 slot id, 16 bytes                          44 lease epoch u32
 * 56 session u64                                48 previous end offset i64
 * 64 created i64                                56 synced LSN u64
 * 72 reserved up to 160                         64 append time i64
 *                                               72 length u32, 76 type u16, 78 reserved u16
 */
#include "libsh/format/wal.h"

#include "libsh/base/bytes.h"
#include "libsh/base/crc32c.h"
#include "libsh/base/plant.h"
#include "libsh/format/batch.h"

enum {
	HEADER_CRC_FROM = 16,
	HEADER_CRC_TO = 160,
	ENTRY_CRC_FROM = 8,
	BATCH_BYTES_IN_CRC = 21, /* up to the batch's own CRC field and what that does not cover */
};
static const char header_magic[8] = "SHWAL\r\n";
static const char entry_magic[4] = {'S', 'H', 'W', 'E'};

void wal_file_header_write(const struct wal_file_header *h, uint8_t out[WAL_HEADER_BYTES])
{
	memset(out, 0, WAL_HEADER_BYTES);
	memcpy(out, header_magic, sizeof(header_magic));
	put_le16(out + 8, WAL_VERSION_MAJOR);
	put_le16(out + 10, WAL_VERSION_MINOR);
	put_le64(out + 16, h->generation);
	put_le64(out + 24, h->base_lsn);
	put_le64(out + 32, h->previous_end_lsn);
	memcpy(out + 40, h->slot.b, sizeof(h->slot.b));
	put_le64(out + 56, h->session);
	put_le64(out + 64, (uint64_t)h->created_ms);
	put_le32(out + 12, crc32c(0, out + HEADER_CRC_FROM, HEADER_CRC_TO - HEADER_CRC_FROM));
}

int wal_file_header_read(const uint8_t *p, struct wal_file_header *h, struct err *e)
{
	if (memcmp(p, header_magic, sizeof(header_magic)))
		return err_set(e, ERR_CORRUPT, "not a WAL file: it does not begin with the magic of one");
	if (get_le16(p + 8) != WAL_VERSION_MAJOR) {
		err_set(e, ERR_NOT_BUILT, "the WAL file has format version %u.%u, this program reads %d.x",
			get_le16(p + 8), get_le16(p + 10), WAL_VERSION_MAJOR);
		return err_hint(e, "use the version of StreamHouse that wrote it, or a newer one");
	}
	if (get_le32(p + 12) != crc32c(0, p + HEADER_CRC_FROM, HEADER_CRC_TO - HEADER_CRC_FROM))
		return err_set(e, ERR_CORRUPT, "the header of the WAL file does not match its checksum");
	h->generation = get_le64(p + 16);
	h->base_lsn = get_le64(p + 24);
	h->previous_end_lsn = get_le64(p + 32);
	memcpy(h->slot.b, p + 40, sizeof(h->slot.b));
	h->session = get_le64(p + 56);
	h->created_ms = (int64_t)get_le64(p + 64);
	if (h->base_lsn % WAL_FILE_BYTES || h->base_lsn > UINT64_MAX - WAL_FILE_BYTES)
		return err_set(e, ERR_CORRUPT, "the WAL file claims base LSN 0x%llx, which is not a multiple of its size",
			(unsigned long long)h->base_lsn);
	return 0;
}

/* The checksum that belongs into the entry at p, of which the first bytes of the batch are at `batch`. */
static uint32_t entry_crc(const uint8_t *p, const void *batch, uint32_t length)
{
	uint32_t crc = crc32c(0, p + ENTRY_CRC_FROM, WAL_ENTRY_BYTES - ENTRY_CRC_FROM);

	if (!length)
		return crc;
	return crc32c(crc, batch, length < BATCH_BYTES_IN_CRC ? length : BATCH_BYTES_IN_CRC);
}

void wal_entry_write(const struct wal_entry *entry, const void *batch, uint8_t out[WAL_ENTRY_BYTES])
{
	memcpy(out, entry_magic, sizeof(entry_magic));
	put_le64(out + 8, entry->generation);
	put_le64(out + 16, entry->lsn);
	memcpy(out + 24, entry->topic.b, sizeof(entry->topic.b));
	put_le32(out + 40, entry->partition);
	put_le32(out + 44, entry->epoch);
	put_le64(out + 48, (uint64_t)entry->previous_end);
	put_le64(out + 56, entry->synced_lsn);
	put_le64(out + 64, (uint64_t)entry->append_ms);
	put_le32(out + 72, entry->length);
	put_le16(out + 76, entry->type);
	put_le16(out + 78, 0);
	put_le32(out + 4, entry_crc(out, batch, entry->length));
}

void wal_entry_peek(const uint8_t *p, struct wal_entry *entry)
{
	entry->generation = get_le64(p + 8);
	entry->lsn = get_le64(p + 16);
	memcpy(entry->topic.b, p + 24, sizeof(entry->topic.b));
	entry->partition = get_le32(p + 40);
	entry->epoch = get_le32(p + 44);
	entry->previous_end = (int64_t)get_le64(p + 48);
	entry->synced_lsn = get_le64(p + 56);
	entry->append_ms = (int64_t)get_le64(p + 64);
	entry->length = get_le32(p + 72);
	entry->type = get_le16(p + 76);
}

/* What the fields say, before any byte behind the header is looked at. */
static bool entry_plausible(const struct wal_entry *entry)
{
	uint64_t position = entry->lsn % WAL_FILE_BYTES;

	if (entry->length > BATCH_MAX_BYTES || position < WAL_HEADER_BYTES || position % WAL_ALIGN)
		return false;
	if (position + wal_entry_space(entry->length) > WAL_FILE_BYTES)
		return false;
	if (entry->type == WAL_BATCH)
		return entry->length >= BATCH_HEADER_BYTES;
	return entry->type != WAL_SYNC_MARK || entry->length == 0;
}

enum wal_check wal_entry_read(const void *p, size_t n, uint64_t lsn, uint64_t generation, bool check_batch,
	struct wal_entry *entry, size_t *need)
{
	const uint8_t *bytes = p, *batch = bytes + WAL_ENTRY_BYTES;
	uint32_t in_crc;

	if (n >= sizeof(entry_magic) && memcmp(bytes, entry_magic, sizeof(entry_magic)))
		return WAL_INVALID;
	*need = WAL_ENTRY_BYTES;
	if (n < *need)
		return WAL_SHORT;
	wal_entry_peek(bytes, entry);
	if (entry->lsn != lsn || entry->generation != generation || !entry_plausible(entry))
		return WAL_INVALID;
	in_crc = entry->length < BATCH_BYTES_IN_CRC ? entry->length : BATCH_BYTES_IN_CRC;
	*need += in_crc;
	if (n < *need)
		return WAL_SHORT;
	if (get_le32(bytes + 4) != entry_crc(bytes, batch, entry->length) && !PLANTED(wal_crc_not_checked))
		return WAL_INVALID;
	if (entry->type == WAL_BATCH && batch_size(batch, in_crc) != (int64_t)entry->length)
		return WAL_INVALID;
	*need = WAL_ENTRY_BYTES + (size_t)entry->length;
	if (n < *need)
		return WAL_SHORT;
	if (check_batch && !PLANTED(wal_crc_not_checked) && entry->type == WAL_BATCH && batch_check_crc(batch, entry->length, NULL))
		return WAL_INVALID;
	return WAL_VALID;
}
