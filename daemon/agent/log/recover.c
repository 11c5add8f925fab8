/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files found at start to a serving log, one file a step.
 *
 * Each file is scanned with O_DIRECT: the page cache may hold bytes that never reached the disk. Batches that follow what their
 * partition has are indexed, and the file's range goes to the store at once; a step waits while the index is at its limit, so
 * memory is bounded. In the newest file, what lies past the last known synced position may be on disk or not: it is written
 * again into the new file, which gets its name only when it is synced. Only then anything is served.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"
#include "libsh/base/text.h"
#include "libsh/store/wal_file.h"

struct recovery {
	void (*done)(struct log *l);
	struct wal_file_name *files;
	size_t count, next;
	uint64_t clean_lsn;        /* the log was closed here, all of it on disk; 0: it was not closed */
	bool failed;               /* a mark FAILED was found ... */
	uint64_t failed_lsn;       /* ... and what lies from here on must not be believed */
	int64_t started_ms;
	uint64_t entries, bytes, damaged_bytes;
	/* of the file being scanned */
	uint64_t file_base, synced_lsn;
	bool stepping;
	struct turn_end go_on;
	/* entries to be written again */
	struct buf rewrite;
	uint64_t rewrite_base, rewrite_generation, previous_end;
	struct partition **rewritten;
	size_t rewritten_count;
	struct err e;
};

/* What is lost lies between what the partition has and the entry found behind it; or they overlap, which no writer does. */
static char *recover_describe(const struct log *l, const struct partition *p, const struct batch_header *h)
{
	if (h->base_offset > p->end)
		return mem_printf("the log is damaged: its records with offsets %lld to %lld are lost; those found behind them, from offset %lld on, are in %s",
			(long long)p->end, (long long)h->base_offset - 1, (long long)h->base_offset, l->quarantine_dir);
	return mem_printf("the log is damaged: it ends at offset %lld, but records found behind that begin at offset %lld; they are in %s",
		(long long)p->end, (long long)h->base_offset, l->quarantine_dir);
}

static int recover_damaged(struct log *l, struct partition *p, const struct wal_entry *entry, const void *batch,
	const struct batch_header *h)
{
	int64_t end = batch_last_offset(h) + 1;
	char *why;

	p->private_->suspect = false; /* known by now */
	if (end > p->private_->accepted) {
		why = recover_describe(l, p, h);
		quarantine_mark(l, p, why, end);
		mem_free(why);
	}
	return quarantine_add(l, wal_file_base(entry->lsn), entry, batch, &l->recovery->e);
}

/* Put the entry into the new file's first bytes; returns its LSN there. */
static uint64_t recover_rewrite(struct recovery *r, const struct wal_entry *entry, const void *batch)
{
	struct wal_entry copy = *entry;
	uint64_t space = wal_entry_space(entry->length);
	uint8_t *p = buf_add_zeros(&r->rewrite, space);

	if (!p)
		fatalx("the entries behind the last sync do not fit into a file");
	copy.generation = r->rewrite_generation;
	copy.lsn = r->rewrite_base + WAL_HEADER_BYTES + r->rewrite.len - space;
	copy.synced_lsn = r->previous_end;
	wal_entry_write(&copy, batch, p);
	memcpy(p + WAL_ENTRY_BYTES, batch, entry->length);
	return copy.lsn;
}

static void recover_take(struct log *l, struct partition *p, const struct wal_entry *entry, const void *batch, const struct batch_header *h)
{
	struct recovery *r = l->recovery;
	uint64_t lsn = entry->lsn;

	if (lsn >= r->synced_lsn) {
		lsn = recover_rewrite(r, entry, batch);
		r->rewritten = mem_realloc_array(r->rewritten, r->rewritten_count + 1, sizeof(*r->rewritten));
		r->rewritten[r->rewritten_count++] = p;
	} else {
		flush_note(l, p);
	}
	p->private_->suspect = false;
	tail_add(l, p, lsn, h->base_offset);
	if (!PLANTED(producers_forgotten))
		producers_note(l, p, h, h->base_offset);
	p->end = p->synced_end = batch_last_offset(h) + 1;
	p->records += (uint64_t)h->record_count;
	p->bytes += entry->length;
	r->entries++;
	r->bytes += entry->length;
}

static int recover_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct log *l = ctx;
	struct recovery *r = l->recovery;
	struct topic *t;
	struct partition *p;
	struct batch_header h;

	if (entry->type != WAL_BATCH) /* a sync mark; wal_scan() refuses what must be understood */
		return 0;
	t = topics_by_id(l, &entry->topic);
	if (!t && map_get(&l->deleted_ids, &entry->topic, sizeof(entry->topic)))
		return 0; /* ids are never used again */
	if (!t) /* never known to this metadata, an older copy perhaps: that is not deleted */
		return quarantine_add(l, wal_file_base(entry->lsn), entry, batch, &r->e);
	if (batch_header_read(batch, entry->length, &h, &r->e) < 0)
		return -1;
	p = entry->partition < t->partition_count ? t->partitions[entry->partition] : NULL;
	if (!p || p->slot != l->slot)
		return quarantine_add(l, wal_file_base(entry->lsn), entry, batch, &r->e);
	if (batch_last_offset(&h) < p->flushed_end) { /* is in a segment; its producer may still send it again */
		producers_note(l, p, &h, h.base_offset);
		if (h.producer_id >= 0 && entry->lsn >= r->synced_lsn && !PLANTED(producer_left_behind))
			recover_rewrite(r, entry, batch); /* the next recovery will not look here */
		return 0;
	}
	/* Not asked: whether the partition is marked. What came before the damage was served, and stays. */
	if (entry->previous_end != p->end || h.base_offset < p->end)
		return recover_damaged(l, p, entry, batch, &h);
	recover_take(l, p, entry, batch, &h);
	return 0;
}

/* Every partition of ours may have lost its last batches, unless a later entry shows that it did not. */
static void recover_suspect_all(struct log *l)
{
	for (size_t i = 0; i < l->topic_count; i++)
		for (uint32_t k = 0; k < l->sorted[i]->partition_count; k++)
			l->sorted[i]->partitions[k]->private_->suspect = true;
}

/*
 * Whose batches were in the damaged bytes? If they can be walked from entry to entry as their headers stand there, without
 * believing their checksums, those partitions are suspect; if not, all are.
 */
static void recover_suspect(struct log *l, uint64_t from, uint64_t to)
{
	const struct wal_file *f = wal_find(l->wal, from);
	uint8_t head[WAL_ENTRY_BYTES];

	while (f && from < to) {
		struct wal_entry entry;
		struct topic *t;

		if (disk_pread(wal_file_fd(f), head, sizeof(head), (int64_t)(from - f->base_lsn), NULL) < 0)
			break;
		wal_entry_peek(head, &entry);
		t = topics_by_id(l, &entry.topic);
		if (entry.lsn != from || entry.length > BATCH_MAX_BYTES || wal_entry_space(entry.length) > to - from)
			break;
		if (entry.length && (!t || entry.partition >= t->partition_count))
			break;
		if (entry.length)
			t->partitions[entry.partition]->private_->suspect = true;
		from += wal_entry_space(entry.length);
	}
	if (from < to)
		recover_suspect_all(l);
}

/* Whoever builds a segment walks from entry to entry: no range may hold the damaged bytes. */
static int recover_damage(void *ctx, uint64_t from, uint64_t to)
{
	struct log *l = ctx;

	log_error("the WAL is damaged from LSN 0x%llx to 0x%llx: what was there had been synced", (unsigned long long)from,
		(unsigned long long)to);
	flush_cut(l, from);
	l->range_start_lsn = to;
	l->recovery->damaged_bytes += to - from; /* no record takes less than a byte: a bound on offsets lost */
	recover_suspect(l, from, to);
	return 0;
}

/* What nothing has cleared by now would give offsets out twice if it started. */
static void recover_mark_suspects(struct log *l)
{
	char why[400];

	for (size_t i = 0; i < l->topic_count; i++)
		for (uint32_t k = 0; k < l->sorted[i]->partition_count; k++) {
			struct partition *p = l->sorted[i]->partitions[k];

			if (!p->private_->suspect || p->slot != l->slot || p->private_->accepted >= p->end)
				continue;
			snprintf(why, sizeof(why), "the log is damaged behind its offset %lld, and batches of this partition may have been there",
				(long long)p->end);
			quarantine_mark(l, p, why, p->end + (int64_t)l->recovery->damaged_bytes);
		}
}

/* Where the newest file is known to be on disk up to. */
static int recover_find_synced(struct recovery *r, int fd, struct err *e)
{
	static const struct wal_scan_handlers none;
	struct wal_scan_result result;

	if (wal_scan(fd, UINT64_MAX, !PLANTED(cache_trusted), &none, NULL, &result, e) < 0)
		return -1;
	r->synced_lsn = PLANTED(cache_trusted) ? result.end_lsn : result.synced_lsn;
	return 0;
}

static int recover_file(struct log *l, struct wal_file_name *name, const struct wal_file_name *next, struct err *e)
{
	static const struct wal_scan_handlers handlers = {.entry = recover_entry, .damage = recover_damage};
	struct recovery *r = l->recovery;
	uint64_t limit = next ? next->header.previous_end_lsn : UINT64_MAX;
	struct wal_scan_result result;
	int fd = disk_open(name->path, O_RDWR, 0, e);

	if (fd < 0)
		return -1;
	r->file_base = name->header.base_lsn;
	if (!next && r->clean_lsn > name->header.base_lsn && r->clean_lsn - name->header.base_lsn <= WAL_FILE_BYTES)
		limit = r->clean_lsn;
	if (r->failed && r->failed_lsn < limit)
		limit = r->failed_lsn;
	if (limit != UINT64_MAX)
		r->synced_lsn = limit;
	else if (recover_find_synced(r, fd, e) < 0)
		goto fail;
	r->previous_end = r->synced_lsn;
	wal_adopt(l->wal, name->path, fd, &name->header, r->synced_lsn);
	l->range_start_lsn = r->file_base + WAL_HEADER_BYTES;
	err_clear(&r->e);
	if (PLANTED(tail_cut_at_claim))
		limit = r->synced_lsn;
	if (limit > l->range_start_lsn && wal_scan(fd, limit, !PLANTED(cache_trusted), &handlers, l, &result, e) < 0) {
		if (r->e.code != ERR_NONE)
			*e = r->e;
		return -1;
	}
	flush_cut(l, r->synced_lsn);
	crash_point("recover.file-read");
	return 0;
fail:
	fd_close(&fd);
	return -1;
}

/*
 * The word holds once: it is taken away, durably, before an entry is written. Not before the new file has its name: a recovery that
 * dies half way must find it again. Afterwards it is about a file that is not the newest, and means nothing.
 */
static void recover_remove_clean(struct log *l)
{
	char *path = mem_printf("%s/CLEAN", l->wal_dir);
	struct err e = ERR_INIT;

	if (disk_unlink(path, &e) < 0 ? e.code != ERR_NOT_FOUND : disk_sync_dir(l->wal_dir, &e) < 0)
		fatalx("%s", e.text);
	mem_free(path);
}

void recover_release(struct log *l)
{
	struct recovery *r = l->recovery;

	if (!r)
		return;
	loop_turn_end_cancel(&r->go_on);
	wal_list_free(r->files, r->count);
	buf_release(&r->rewrite);
	mem_free(r->rewritten);
	mem_free(r);
	l->recovery = NULL;
}

static void recover_finish(struct log *l)
{
	struct recovery *r = l->recovery;
	struct err e = ERR_INIT;

	recover_mark_suspects(l);
	if (quarantine_settle(l, &e) < 0)
		fatal_err(&e, "a mark of damage cannot be written");
	if (r->failed) {
		l->state = LOG_FAILED;
		l->range_start_lsn = r->failed_lsn;
	} else {
		crash_point("recover.all-read");
		if (wal_begin(l->wal, r->rewrite_base, r->previous_end, r->rewrite.data, r->rewrite.len, &e) < 0)
			fatal_err(&e, "the write-ahead log cannot be opened");
		crash_point("recover.opened");
		recover_remove_clean(l);
		crash_point("recover.clean-gone");
		l->range_start_lsn = r->rewrite_base + WAL_HEADER_BYTES;
		/* All of them before it serves: a range may be due at once, and one cut after the first would leave the others out. */
		if (PLANTED(rewritten_noted_late))
			l->state = LOG_SERVING;
		for (size_t i = 0; i < r->rewritten_count; i++)
			flush_note(l, r->rewritten[i]);
		l->state = LOG_SERVING;
	}
	if (r->count)
		log_info("recovered %llu %s, %llu bytes from %zu WAL %s in %lld ms", (unsigned long long)r->entries,
			text_plural((int64_t)r->entries, "batch", "batches"), (unsigned long long)r->bytes, r->count,
			text_plural((int64_t)r->count, "file", "files"), (long long)(clock_mono_ms() - r->started_ms));
	void (*done)(struct log *) = r->done;
	recover_release(l);
	map_release(&l->deleted_ids);
	flush_recycle(l);
	flush_check(l);
	done(l);
}

static void recover_go_on(void *ctx)
{
	recover_step(ctx);
}

/*
 * Go on with the next file, unless the index is at its limit: then whoever finishes a range calls again. Between two files the
 * loop turns: the session is renewed, and the supervisor hears that we live.
 */
void recover_step(struct log *l)
{
	struct recovery *r = l->recovery;
	struct wal_file_name *f;
	uint64_t index_max = (uint64_t)settings_number(l->self->settings, "wal.index_max_bytes");
	struct err e = ERR_INIT;

	if (!r || r->stepping || l->closed || (l->index_bytes > index_max / 2 && !flush_idle(l) && r->next < r->count))
		return;
	r->stepping = true; /* flushing what it finds may lead here again */
	if (r->next == r->count) {
		recover_finish(l);
		return;
	}
	f = &r->files[r->next++];
	if (recover_file(l, f, r->next < r->count ? f + 1 : NULL, &e) < 0)
		fatal_err(&e, "recovery of %s", f->path);
	r->stepping = false;
	loop_at_turn_end(l->loop, &r->go_on, recover_go_on, l);
}

static void recover_read_mark(struct log *l)
{
	char *path = mem_printf("%s/FAILED", l->wal_dir);
	struct buf text = BUF_INIT(4096);
	struct err e = ERR_INIT;

	if (disk_read_file(path, &text, &e) == 0) {
		l->recovery->failed = true;
		if (!text.len || !(l->recovery->failed_lsn = strtoull(text.data, NULL, 10)))
			fatalx("%s does not begin with an LSN: see streamhouse-recovery(7)", path);
		log_problem(l, "%s says that an earlier write or sync failed: %s", path,
			strchr(text.data, '\n') ? strchr(text.data, '\n') + 1 : "");
	} else if (e.code != ERR_NOT_FOUND) {
		fatalx("%s", e.text);
	}
	buf_release(&text);
	mem_free(path);
}

/* A log that was closed says where, so that its file need not be searched for entries that claim more. */
static void recover_read_clean(struct log *l)
{
	char *path = mem_printf("%s/CLEAN", l->wal_dir);
	struct buf text = BUF_INIT(64);
	struct err e = ERR_INIT;

	if (disk_read_file(path, &text, &e) == 0)
		l->recovery->clean_lsn = text.len ? strtoull(text.data, NULL, 10) : 0;
	else if (e.code != ERR_NOT_FOUND)
		fatalx("%s", e.text);
	buf_release(&text);
	mem_free(path);
}

/* Files that never got their name, and spares: both hold nothing. */
static void recover_tidy(struct log *l)
{
	char **names;
	size_t count;

	if (disk_list(l->wal_dir, &names, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		char *path = mem_printf("%s/%s", l->wal_dir, names[i]);

		if (text_ends_with(names[i], ".new") || (text_ends_with(names[i], ".spare") && !wal_adopt_spare(l->wal, path)))
			disk_unlink(path, NULL);
		mem_free(path);
	}
	disk_list_free(names, count);
}

void recover_write_clean(struct log *l)
{
	char *path = mem_printf("%s/CLEAN", l->wal_dir);
	char *text = mem_printf("%llu\n", (unsigned long long)wal_synced_lsn(l->wal));
	struct err e = ERR_INIT;

	if (disk_write_file(path, text, strlen(text), 0600, &e) < 0)
		log_warn("%s", e.text);
	mem_free(path);
	mem_free(text);
}

void recover_start(struct log *l, void (*done)(struct log *l))
{
	struct recovery *r = l->recovery = mem_zalloc(sizeof(*r));
	struct err e = ERR_INIT;
	size_t bad = 0;

	r->done = done;
	r->started_ms = clock_mono_ms();
	buf_init(&r->rewrite, WAL_FILE_BYTES - WAL_HEADER_BYTES);
	recover_read_mark(l);
	recover_read_clean(l);
	recover_tidy(l);
	crash_point("recover.tidied");
	if (wal_list(l->wal_dir, &r->files, &r->count, &bad, &e) < 0)
		fatalx("%s", e.text);
	if (bad) {
		err_set(&e, ERR_CORRUPT, "%zu file(s) in %s have no readable header and may hold acknowledged records", bad, l->wal_dir);
		err_hint(&e, "see streamhouse-recovery(7)");
		fatal_err(&e, "recovery");
	}
	r->rewrite_base = r->count ? r->files[r->count - 1].header.base_lsn + WAL_FILE_BYTES : WAL_FILE_BYTES;
	r->rewrite_generation = wal_next_generation(l->wal);
	recover_step(l);
}
