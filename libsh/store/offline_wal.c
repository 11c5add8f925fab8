/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WAL files of a data directory as recovery would see them. Beside a running shd a file may be recycled, and even renamed, while
 * it is read: then what looked like damage was the new life of the file, which its generation tells.
 */
#include "libsh/store/offline.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"

enum { DAMAGES_MAX = 1000 /* of one file that are told one by one */, MARK_MAX = 4096 };

struct scan {
	struct offline *o;
	const struct offline_wal_handlers *h;
	void *ctx;
	struct offline_wal_totals *totals;
	struct { uint64_t from, to; } damages[DAMAGES_MAX];
	size_t damage_count;
};

static int on_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct scan *s = ctx;

	if (entry->type != WAL_BATCH)
		return 0;
	s->totals->entries++;
	s->totals->bytes += entry->length;
	return s->h->entry(s->ctx, offline_find(s->o, &entry->topic, entry->partition), entry, batch);
}

static int on_damage(void *ctx, uint64_t from, uint64_t to)
{
	struct scan *s = ctx;

	if (s->damage_count == DAMAGES_MAX) {
		s->damages[DAMAGES_MAX - 1].to = to; /* the last one takes in all that follow */
		return 0;
	}
	s->damages[s->damage_count].from = from;
	s->damages[s->damage_count++].to = to;
	return 0;
}

static const struct wal_scan_handlers scan_handlers = {on_entry, on_damage};

static int scan_file(struct scan *s, const struct wal_file_name *file, uint64_t limit, struct err *e)
{
	int fd = disk_open(file->path, O_RDONLY, 0, e), rc;
	struct wal_scan_result result;
	struct wal_file_header now;
	struct err failed = ERR_INIT;

	if (fd < 0)
		return disk_exists(file->path) ? -1 : 0; /* gone: its batches are in segments by now */
	s->damage_count = 0;
	s->totals->files++;
	rc = wal_scan(fd, limit, false, &scan_handlers, s, &result, &failed);
	if (wal_file_header_load(fd, &now, NULL) == 0 && now.generation == file->header.generation) {
		for (size_t i = 0; i < s->damage_count; i++)
			s->h->damage(s->ctx, file->path, s->damages[i].from, s->damages[i].to);
	} else if (rc == -1 && failed.code != ERR_NONE) {
		rc = 0; /* recycled meanwhile */
	}
	if (rc == -1 && failed.code != ERR_NONE) {
		err_prefix(&failed, "%s", file->path);
		s->h->unreadable(s->ctx, &failed);
		rc = 0;
	}
	fd_close(&fd);
	return rc;
}

/* The number in the first line of a mark beside the WAL files, UINT64_MAX without a mark. */
static int read_mark(const char *wal_dir, const char *name, uint64_t *lsn, struct err *e)
{
	char *path = mem_printf("%s/%s", wal_dir, name);
	struct buf text = BUF_INIT(MARK_MAX);
	struct err failed = ERR_INIT;
	int rc = disk_read_file(path, &text, &failed);

	*lsn = UINT64_MAX;
	if (rc == 0 && text.len)
		*lsn = strtoull(text.data, NULL, 10);
	if (rc && failed.code != ERR_NOT_FOUND && e)
		*e = failed;
	rc = rc && failed.code != ERR_NOT_FOUND ? -1 : 0;
	buf_release(&text);
	mem_free(path);
	return rc;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int scan_files(struct scan *s, const char *wal_dir, const struct wal_file_name *files, size_t count, struct err *e)
{
	uint64_t failed, clean, limit;
	int rc = 0;

	if (read_mark(wal_dir, "FAILED", &failed, e) || read_mark(wal_dir, "CLEAN", &clean, e))
		return -1;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		const struct wal_file_header *h = &files[i].header;

		limit = i + 1 < count ? files[i + 1].header.previous_end_lsn : UINT64_MAX;
		if (i + 1 == count && clean > h->base_lsn && clean - h->base_lsn <= WAL_FILE_BYTES)
			limit = clean;
		rc = scan_file(s, &files[i], at_most(limit, failed), e);
	}
	return rc;
}

static int scan_slot(struct scan *s, const char *slot, struct err *e)
{
	char *wal_dir = mem_printf("%s/slots/%s/wal", s->o->data_dir, slot);
	struct wal_file_name *files = NULL;
	size_t count = 0, bad = 0;
	struct err unread;
	int rc = 0;

	if (!disk_exists(wal_dir))
		goto out;
	rc = wal_list(wal_dir, &files, &count, &bad, e);
	if (rc)
		goto out;
	if (bad) {
		err_set(&unread, ERR_CORRUPT, "%s: %zu WAL files have no readable header", wal_dir, bad);
		s->h->unreadable(s->ctx, &unread);
	}
	rc = scan_files(s, wal_dir, files, count, e);
out:
	wal_list_free(files, count);
	mem_free(wal_dir);
	return rc;
}

int offline_wal(struct offline *o, const struct offline_wal_handlers *h, void *ctx, struct offline_wal_totals *totals, struct err *e)
{
	char *dir = mem_printf("%s/slots", o->data_dir), **names = NULL;
	struct scan *s = mem_zalloc(sizeof(*s));
	size_t count = 0;
	int rc = 0;

	memset(totals, 0, sizeof(*totals));
	s->o = o;
	s->h = h;
	s->ctx = ctx;
	s->totals = totals;
	if (disk_exists(dir))
		rc = disk_list(dir, &names, &count, e);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (strspn(names[i], "0123456789") == strlen(names[i]))
			rc = scan_slot(s, names[i], e);
	disk_list_free(names, count);
	mem_free(s);
	mem_free(dir);
	return rc;
}
