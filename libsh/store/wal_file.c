/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scan of one WAL file.
 *
 * Entries are delivered as they come until one is invalid, at position P. Then it must be known how far the file was
 * synced, S. With a limit (a later file exists) S is the limit. Without, all of the file behind P is searched
 * for valid entries, at every multiple of 64 bytes, and S is the highest position that one of them, or one
 * before P, claims as synced: an entry can only be written after the sync that it tells of.
 *
 *   P >= S   nothing says that these bytes ever reached the disk: the torn end of the log.
 *   P <  S   they did, so they are damaged. The scan goes on at the first valid entry in (P, S]. S itself is the border
 *            of an entry; if nothing valid stands up to there, the damage goes up to S, and S is the end.
 *
 * A valid entry carries its own position and the generation of the file, so neither what a recycled
 * file held before, nor a record that happens to contain a copy of a WAL file, is taken for one.
 */
#include "libsh/store/wal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"
#include "libsh/store/window.h"

enum {
	DIRECT_WINDOW = 4 << 20, /* large, for no read-ahead helps */
	CACHED_WINDOW = 256 << 10, /* stays in the CPU's cache until it was checked */
	NAME_DIGITS = 16,
	MUST_UNDERSTAND = 0x8000,
};

struct scan {
	struct window window;
	uint64_t base, generation;
	uint64_t end;    /* position in the file where entries must have ended */
	uint64_t synced; /* position in the file: S, as far as known */
	bool synced_known; /* no entry not looked at can raise it */
	const struct wal_scan_handlers *handlers;
	void *ctx;
	struct wal_scan_result *result;
};

int wal_file_header_load(int fd, struct wal_file_header *h, struct err *e)
{
	uint8_t *p = mem_alloc(WAL_HEADER_BYTES);
	int rc = disk_pread(fd, p, WAL_HEADER_BYTES, 0, e);

	if (rc == 0)
		rc = wal_file_header_read(p, h, e);
	mem_free(p);
	return rc;
}

/* 1: a valid entry stands at position, its bytes at *p; 0: none; -1: could not be read. */
static int look(struct scan *s, uint64_t position, struct wal_entry *entry, const uint8_t **p, struct err *e)
{
	size_t have, need = WAL_ENTRY_BYTES;

	for (;;) {
		if (need > s->end - position)
			return 0;
		*p = window_at(&s->window, position, need, &have, e);
		if (!*p)
			return -1;
		if (have < need)
			return 0; /* the file ends inside it */
		switch (wal_entry_read(*p, have, s->base + position, s->generation, true, entry, &need)) {
		case WAL_VALID:
			return position + wal_entry_space(entry->length) <= s->end;
		case WAL_INVALID:
			return 0;
		case WAL_SHORT:
			break;
		}
	}
}

/* Recycled files have data up to their end, but a new one is a hole there: read nothing of it. */
static uint64_t skip_hole(const struct scan *s, uint64_t position)
{
	off_t data;

	if (window_holds(&s->window, position, WAL_ENTRY_BYTES))
		return position;
	data = lseek(s->window.fd, (off_t)position, SEEK_DATA); /* all reading is by pread, so the offset may move */
	if (data < 0)
		return errno == ENXIO ? s->end : position;
	return (uint64_t)data - (uint64_t)data % WAL_ALIGN > position ? (uint64_t)data - (uint64_t)data % WAL_ALIGN : position;
}

/* Move *position to the next multiple of 64 at which the window has the magic of an entry, or to what the window cannot tell. */
static bool find_magic(uint64_t *position, uint64_t last, const uint8_t *p, size_t have)
{
	static const char magic[4] = {'S', 'H', 'W', 'E'};

	for (; have >= WAL_ENTRY_BYTES && *position <= last; *position += WAL_ALIGN, p += WAL_ALIGN, have -= WAL_ALIGN)
		if (!memcmp(p, magic, sizeof(magic)))
			return true;
	return false;
}

/* The first valid entry that begins in [*position, last]. 1: found, *position is where; 0: none; -1: could not be read. */
static int find_entry(struct scan *s, uint64_t *position, uint64_t last, struct wal_entry *entry, struct err *e)
{
	const uint8_t *p;
	size_t have;
	int found;

	for (;;) {
		*position = skip_hole(s, *position);
		if (*position > last || *position + WAL_ENTRY_BYTES > s->end)
			return 0;
		p = window_at(&s->window, *position, WAL_ENTRY_BYTES, &have, e);
		if (!p)
			return -1;
		if (have < WAL_ENTRY_BYTES)
			return 0; /* the end of the file */
		if (!find_magic(position, last, p, have))
			continue;
		found = look(s, *position, entry, &p, e);
		if (found)
			return found;
		*position += WAL_ALIGN;
	}
}

/* A claim about what comes behind the entry itself would be nonsense. */
static void note_claim(struct scan *s, const struct wal_entry *entry)
{
	uint64_t claim = entry->synced_lsn < entry->lsn ? entry->synced_lsn : entry->lsn;

	if (claim > s->base + s->synced)
		s->synced = claim - s->base;
}

/* Learn S from all entries behind position. Bodies of valid entries are not searched: what is in there is a user's. */
static int find_claims(struct scan *s, uint64_t position, struct err *e)
{
	struct wal_entry entry;
	int found;

	if (s->synced_known)
		return 0;
	while ((found = find_entry(s, &position, s->end, &entry, e)) == 1) {
		note_claim(s, &entry);
		position += wal_entry_space(entry.length);
	}
	s->synced_known = found == 0;
	return found;
}

static int deliver(struct scan *s, const struct wal_entry *entry, const uint8_t *p, struct err *e)
{
	bool known = entry->type == WAL_BATCH || entry->type == WAL_SYNC_MARK;

	if (!known && entry->type & MUST_UNDERSTAND) {
		err_set(e, ERR_NOT_BUILT, "the WAL entry at LSN 0x%llx has type %#x, which must be understood to read on",
			(unsigned long long)entry->lsn, entry->type);
		return err_hint(e, "use the version of StreamHouse that wrote it, or a newer one");
	}
	note_claim(s, entry);
	s->result->entries++;
	if (!known || !s->handlers->entry)
		return 0;
	return s->handlers->entry(s->ctx, entry, entry->length ? p + WAL_ENTRY_BYTES : NULL);
}

/* What stands at *position is no entry: *end says whether the log ends there, else it is moved to where to go on. */
static int pass_invalid(struct scan *s, uint64_t *position, bool *end, struct err *e)
{
	uint64_t from = *position, next = from + WAL_ALIGN;
	struct wal_entry entry;
	int found;

	if (find_claims(s, next, e))
		return -1;
	*end = from >= s->synced;
	if (*end)
		return 0;
	found = find_entry(s, &next, s->synced, &entry, e);
	if (found < 0)
		return -1;
	*position = found ? next : s->synced;
	s->result->damaged_bytes += *position - from;
	s->result->end_lsn = s->base + *position;
	return s->handlers->damage ? s->handlers->damage(s->ctx, s->base + from, s->base + *position) : 0;
}

static int scan_entries(struct scan *s, struct err *e)
{
	uint64_t position = WAL_HEADER_BYTES;
	struct wal_entry entry;
	const uint8_t *p;
	bool end = false;
	int found, rc = 0;

	while (!end && rc == 0 && position < s->end) {
		found = look(s, position, &entry, &p, e);
		if (found < 0)
			return -1;
		if (!found) {
			rc = pass_invalid(s, &position, &end, e);
			continue;
		}
		position += wal_entry_space(entry.length);
		s->result->end_lsn = s->base + position;
		rc = deliver(s, &entry, p, e);
	}
	return rc;
}

/* Where the entries of the file end at the latest, and what is known to be synced before anything was read. */
static void apply_limit(struct scan *s, uint64_t limit_lsn)
{
	s->end = WAL_FILE_BYTES;
	s->synced = WAL_HEADER_BYTES;
	if (limit_lsn == UINT64_MAX)
		return;
	if (limit_lsn < s->base + WAL_HEADER_BYTES)
		s->end = WAL_HEADER_BYTES; /* all of it was rewritten into the next file */
	else if (limit_lsn - s->base < WAL_FILE_BYTES)
		s->end = limit_lsn - s->base;
	s->synced = s->end;
	s->synced_known = true;
}

int wal_scan(int fd, uint64_t limit_lsn, bool direct, const struct wal_scan_handlers *h, void *ctx,
	struct wal_scan_result *result, struct err *e)
{
	struct scan s = {.handlers = h, .ctx = ctx, .result = result};
	const uint8_t *p;
	size_t have;
	int rc = -1;

	memset(result, 0, sizeof(*result));
	if (window_open(&s.window, fd, direct, direct ? DIRECT_WINDOW : CACHED_WINDOW, e))
		return -1;
	p = window_at(&s.window, 0, WAL_HEADER_BYTES, &have, e);
	if (!p)
		goto out;
	if (have < WAL_HEADER_BYTES) {
		err_set(e, ERR_CORRUPT, "the WAL file is shorter than its header");
		goto out;
	}
	if (wal_file_header_read(p, &result->header, e))
		goto out;
	s.base = result->header.base_lsn;
	s.generation = result->header.generation;
	apply_limit(&s, limit_lsn);
	result->end_lsn = s.base + WAL_HEADER_BYTES;
	rc = scan_entries(&s, e);
	result->synced_lsn = s.base + s.synced;
out:
	window_close(&s.window);
	return rc;
}

/* ---- the directory ---- */

/* "<16 hex digits>.wal"; *base is the number. */
static bool parse_name(const char *name, uint64_t *base)
{
	char *end;

	if (strspn(name, "0123456789abcdefABCDEF") != NAME_DIGITS || strcmp(name + NAME_DIGITS, ".wal"))
		return false;
	*base = strtoull(name, &end, 16);
	return end == name + NAME_DIGITS;
}

static int load_listed(const char *path, const char *name, struct wal_file_header *h)
{
	int fd = disk_open(path, O_RDONLY, 0, NULL);
	uint64_t base;
	int rc;

	if (fd < 0)
		return -1;
	rc = wal_file_header_load(fd, h, NULL);
	fd_close(&fd);
	return rc || !parse_name(name, &base) || base != h->base_lsn ? -1 : 0;
}

static int compare_files(const void *a, const void *b)
{
	const struct wal_file_name *x = a, *y = b;

	if (x->header.base_lsn != y->header.base_lsn)
		return x->header.base_lsn < y->header.base_lsn ? -1 : 1;
	return 0;
}

int wal_list(const char *wal_dir, struct wal_file_name **files, size_t *count, size_t *bad, struct err *e)
{
	struct wal_file_name *out;
	char **names;
	size_t n, used = 0;

	if (disk_list(wal_dir, &names, &n, e))
		return -1;
	out = mem_array(n + 1, sizeof(*out));
	*bad = 0;
	for (size_t i = 0; i < n; i++) {
		if (!text_ends_with(names[i], ".wal"))
			continue;
		out[used].path = mem_printf("%s/%s", wal_dir, names[i]);
		if (load_listed(out[used].path, names[i], &out[used].header) == 0) {
			used++;
			continue;
		}
		mem_free(out[used].path);
		++*bad;
	}
	disk_list_free(names, n);
	qsort(out, used, sizeof(*out), compare_files);
	*files = out;
	*count = used;
	return 0;
}

void wal_list_free(struct wal_file_name *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(files[i].path);
	mem_free(files);
}
