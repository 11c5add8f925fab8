/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the entries of a WAL file: looked at one by one, and scanned as a file.
 * Input: one byte of options, one of a limit, then what follows the file's header.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "libsh/base/bytes.h"
#include "libsh/base/crc32c.h"
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"
#include "libsh/store/wal_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MEND = 1, LIMIT = 2, DIRECT = 4, GENERATION = 3, INPUT_MAX = 1 << 20 };
static const uint64_t base = 7ULL * WAL_FILE_BYTES;

static void must(bool good)
{
	if (!good)
		abort();
}

/* Give what looks like an entry the place, generation and checksums it needs to get past the first checks. */
static void mend(uint8_t *p, size_t n)
{
	for (size_t at = 0; at + WAL_ENTRY_BYTES <= n; at += WAL_ALIGN) {
		uint8_t *entry = p + at, *batch = entry + WAL_ENTRY_BYTES;
		size_t left = n - at - WAL_ENTRY_BYTES, length = get_le32(entry + 72);
		uint32_t crc;

		if (memcmp(entry, "SHWE", 4))
			continue;
		put_le64(entry + 8, GENERATION);
		put_le64(entry + 16, base + WAL_HEADER_BYTES + at);
		if (length > left)
			continue;
		if (length >= BATCH_HEADER_BYTES) {
			put_be32(batch + 8, (uint32_t)(length - BATCH_LENGTH_OFFSET));
			batch[16] = 2;
			put_be32(batch + 17, crc32c(0, batch + 21, length - 21));
		}
		crc = crc32c(0, entry + 8, WAL_ENTRY_BYTES - 8);
		put_le32(entry + 4, crc32c(crc, batch, length < 21 ? length : 21));
	}
}

struct seen {
	uint64_t end, entries;
};

static int on_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct seen *s = ctx;
	struct batch_header h;

	must(entry->lsn >= s->end && entry->lsn % WAL_ALIGN == 0);
	must(entry->type != WAL_BATCH || batch_header_read(batch, entry->length, &h, NULL) == 0);
	s->end = entry->lsn + wal_entry_space(entry->length);
	s->entries++;
	return 0;
}

static int on_damage(void *ctx, uint64_t from, uint64_t to)
{
	struct seen *s = ctx;

	must(from >= s->end && to > from);
	s->end = to;
	return 0;
}

static void scan(int fd, uint64_t limit, bool direct)
{
	static const struct wal_scan_handlers handlers = {on_entry, on_damage};
	struct seen s = {base + WAL_HEADER_BYTES, 0};
	struct wal_scan_result r;

	if (wal_scan(fd, limit, direct, &handlers, &s, &r, NULL))
		return;
	must(s.end <= r.end_lsn && s.entries <= r.entries); /* entries of unknown types are not delivered */
	must(s.end == r.end_lsn || s.entries < r.entries);
	must(limit == UINT64_MAX || r.end_lsn <= limit || limit < base + WAL_HEADER_BYTES);
	must(r.synced_lsn >= base + WAL_HEADER_BYTES);
}

static void look_at_entry(const uint8_t *p, size_t n)
{
	struct wal_entry entry;
	size_t need;

	if (wal_entry_read(p, n, base + WAL_HEADER_BYTES, GENERATION, true, &entry, &need) == WAL_SHORT)
		must(need > n && need <= (size_t)WAL_ENTRY_BYTES + BATCH_MAX_BYTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct wal_file_header h = {.generation = GENERATION, .base_lsn = base};
	uint8_t header[WAL_HEADER_BYTES], *p;
	uint64_t limit;
	int fd;

	if (n < 2 || n > INPUT_MAX)
		return 0;
	p = mem_dup(data + 2, n - 2);
	if (data[0] & MEND)
		mend(p, n - 2);
	look_at_entry(p, n - 2);
	fd = memfd_create("fuzz-wal", MFD_CLOEXEC);
	wal_file_header_write(&h, header);
	must(fd >= 0 && write(fd, header, sizeof(header)) == (ssize_t)sizeof(header) && write(fd, p, n - 2) == (ssize_t)(n - 2));
	limit = data[0] & LIMIT ? base + (uint64_t)data[1] * WAL_ALIGN * 4 : UINT64_MAX;
	scan(fd, limit, data[0] & DIRECT);
	close(fd);
	mem_free(p);
	return 0;
}
