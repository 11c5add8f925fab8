/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checksum for every page of the database file. SQLite notices damage to the form of its trees, not to what they hold; here a page
 * that is not as it was written cannot be read at all. A layer over the file system that SQLite uses fills in the last 8 bytes of
 * each page, which SQLite leaves alone, when it is written, and compares them when it is read:
 *
 *   n-8  CRC-32C u32 of the page's number and of its bytes before, little-endian
 *   n-4  page number u32
 *
 * Only the database itself goes through it: frames of the WAL have checksums of SQLite's own. A file that was made without room for
 * them (byte 20 of its header) is left as it is.
 */
#include <string.h>
#include "libsh/base/crc32c.h"
#include "libsh/store/meta_sqlite.h"

enum { SUM_BYTES = 8, HEADER_BYTES = 100 };

struct page_file {
	sqlite3_file base;
	uint32_t page_bytes; /* 0: no checksums */
	sqlite3_file real[]; /* of the file system below */
};

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct page_file *)f)->real;
}

/* ---- checksums ---- */

static void learn(struct page_file *f, const uint8_t *header)
{
	uint32_t bytes = (uint32_t)header[16] << 8 | header[17];

	if (memcmp(header, "SQLite format 3", 16) == 0)
		f->page_bytes = header[20] == SUM_BYTES ? (bytes == 1 ? 65536 : bytes) : 0;
}

/* The first page ends with its number, but says that there is no room for that: the byte that says so was changed. Without room a
 * page ends with the text of the table that was made first. */
static bool room_is_denied(const struct page_file *f, const uint8_t *page, int n, sqlite3_int64 offset)
{
	return offset == 0 && !f->page_bytes && n > HEADER_BYTES && get_le32(page + n - 4) == 1;
}

static bool is_page(const struct page_file *f, int n, sqlite3_int64 offset)
{
	return f->page_bytes && (uint32_t)n == f->page_bytes && offset % n == 0;
}

static uint32_t sum(const uint8_t *page, size_t n, uint32_t number)
{
	uint8_t prefix[4];

	put_le32(prefix, number);
	return crc32c(crc32c(0, prefix, sizeof(prefix)), page, n - SUM_BYTES);
}

static int file_read(sqlite3_file *base, void *p, int n, sqlite3_int64 offset)
{
	struct page_file *f = (struct page_file *)base;
	const uint8_t *page = p;
	uint32_t number;
	int code = f->real->pMethods->xRead(f->real, p, n, offset);

	if (code != SQLITE_OK)
		return code;
	if (offset == 0 && n >= HEADER_BYTES)
		learn(f, p);
	if (room_is_denied(f, p, n, offset))
		return SQLITE_IOERR_DATA;
	if (!is_page(f, n, offset))
		return SQLITE_OK;
	number = (uint32_t)(offset / n) + 1;
	if (get_le32(page + n - SUM_BYTES) == sum(page, (size_t)n, number) && get_le32(page + n - 4) == number)
		return SQLITE_OK;
	return SQLITE_IOERR_DATA;
}

static int file_write(sqlite3_file *base, const void *p, int n, sqlite3_int64 offset)
{
	struct page_file *f = (struct page_file *)base;
	uint8_t *page = (uint8_t *)(uintptr_t)p; /* SQLite's own buffer: the end of it is ours */
	uint32_t number;

	if (offset == 0 && n >= HEADER_BYTES)
		learn(f, p);
	if (is_page(f, n, offset)) {
		number = (uint32_t)(offset / n) + 1;
		put_le32(page + n - SUM_BYTES, sum(page, (size_t)n, number));
		put_le32(page + n - 4, number);
	}
	return f->real->pMethods->xWrite(f->real, p, n, offset);
}

/* ---- everything else is handed on ---- */

static int file_close(sqlite3_file *f)
{
	return real_of(f)->pMethods->xClose(real_of(f));
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int file_sync(sqlite3_file *f, int flags)
{
	return real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int file_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int file_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int file_check_lock(sqlite3_file *f, int *held)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), held);
}

static int file_control(sqlite3_file *f, int what, void *p)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), what, p);
}

static int file_sector_size(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int file_characteristics(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **p)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, p);
}

static int file_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int file_shm_unmap(sqlite3_file *f, int remove)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

/* Version 2: without xFetch nothing is mapped, so each page comes through file_read(). */
static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_lock,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags)
{
	sqlite3_vfs *below = vfs->pAppData;
	struct page_file *f = (struct page_file *)file;
	uint8_t header[HEADER_BYTES];
	int code;

	if (!(flags & SQLITE_OPEN_MAIN_DB))
		return below->xOpen(below, name, file, flags, out_flags);
	memset(f, 0, sizeof(*f));
	code = below->xOpen(below, name, f->real, flags, out_flags);
	if (f->real->pMethods)
		f->base.pMethods = &methods;
	if (code == SQLITE_OK && f->real->pMethods->xRead(f->real, header, sizeof(header), 0) == SQLITE_OK)
		learn(f, header);
	return code;
}

const char *meta_sqlite_page_sum_vfs(void)
{
	static sqlite3_vfs vfs;
	static const char name[] = "streamhouse";
	sqlite3_vfs *below;

	if (sqlite3_vfs_find(name))
		return name;
	below = sqlite3_vfs_find(NULL);
	vfs = *below;
	vfs.zName = name;
	vfs.pNext = NULL;
	vfs.pAppData = below;
	vfs.szOsFile = (int)sizeof(struct page_file) + below->szOsFile;
	vfs.xOpen = vfs_open;
	return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? name : NULL;
}

int meta_sqlite_page_sum_make_room(sqlite3 *db)
{
	int bytes = SUM_BYTES;

	return sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
}
