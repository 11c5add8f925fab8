/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading WAL files: by recovery, by offline commands, and by whoever builds a segment from a range.
 * Damage is told from a torn tail: an invalid entry below a position that any later valid entry (or a later file) claims as
 * synced is damage, and the scan resynchronises behind it; an invalid entry above all of them is the end.
 */
#ifndef SH_STORE_WAL_FILE_H
#define SH_STORE_WAL_FILE_H

#include "libsh/base/err.h"
#include "libsh/format/wal.h"

struct wal_scan_handlers {
	/* A valid entry, sync marks too; batch (NULL when length is 0) is valid during the call. Non-zero stops the scan and is
	 * returned. Both handlers may be NULL. */
	int (*entry)(void *ctx, const struct wal_entry *entry, const void *batch);
	/* Bytes [from, to) (LSNs) are damaged. */
	int (*damage)(void *ctx, uint64_t from, uint64_t to);
};
struct wal_scan_result {
	struct wal_file_header header;
	uint64_t end_lsn;    /* behind the last valid entry, or the damage at the end */
	uint64_t synced_lsn; /* highest claim seen, or the limit; at least where the first entry stands */
	uint64_t entries, damaged_bytes;
};
/*
 * Scan the file on fd from its first entry. limit_lsn: known end (the next file's previous_end_lsn, or UINT64_MAX); what
 * lies below a known end was synced whole, because file N is synced before file N+1 gets its first byte. direct: read with
 * O_DIRECT, as after a crash, when the page cache may hold what never reached the disk (falls back where
 * the file system cannot).
 */
int wal_scan(int fd, uint64_t limit_lsn, bool direct, const struct wal_scan_handlers *h, void *ctx,
	struct wal_scan_result *result, struct err *e);
int wal_file_header_load(int fd, struct wal_file_header *h, struct err *e);

/* The files of a slot's wal/ directory in order of base LSN. Spare files (recycled, not in use) are left out. */
struct wal_file_name {
	char *path;
	struct wal_file_header header;
};
/* A file whose header cannot be read is reported in *bad (count), never treated as absent. */
int wal_list(const char *wal_dir, struct wal_file_name **files, size_t *count, size_t *bad, struct err *e);
void wal_list_free(struct wal_file_name *files, size_t count);

#endif
