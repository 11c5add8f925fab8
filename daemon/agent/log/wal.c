/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's side of the WAL: LSNs, staging, files in use. The threads are in wal_thread.c.
 */
#include <fcntl.h>
#include <unistd.h>

#include "daemon/agent/log/wal_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"

enum { SPARES_KEPT = 2 };

static void wal_report(void *ctx)
{
	struct wal *w = ctx;
	bool failed;
	uint64_t synced;

	pthread_mutex_lock(&w->lock);
	synced = w->synced_lsn;
	failed = w->failed && !w->failure_reported;
	w->failure_reported |= failed;
	w->no_space_seen = w->no_space;
	pthread_mutex_unlock(&w->lock);
	if (synced > w->synced_seen) {
		w->synced_seen = synced;
		w->events.synced(w->ctx, synced);
	}
	if (failed) {
		w->failed_seen = true;
		w->events.failed(w->ctx, &w->failure);
	}
}

struct wal *wal_new(struct loop *l, const struct wal_options *o, const struct wal_events *events, void *ctx, struct err *e)
{
	struct wal *w = mem_zalloc(sizeof(*w));

	w->loop = l;
	w->options = *o;
	w->options.dir = w->dir = mem_strdup(o->dir);
	w->events = *events;
	w->ctx = ctx;
	list_init(&w->files);
	list_init(&w->staged);
	list_init(&w->idle_chunks);
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->work, &attr);
	pthread_cond_init(&w->prepare, &attr);
	pthread_condattr_destroy(&attr);
	if (loop_waker_init(l, &w->waker, wal_report, w, e) < 0) {
		mem_free(w->dir);
		mem_free(w);
		return NULL;
	}
	return w;
}

void wal_stop(struct wal *w)
{
	if (!w)
		return;
	wal_threads_stop(w);
	loop_waker_release(w->loop, &w->waker);
	while (!list_empty(&w->files)) {
		struct wal_file *f = list_entry(list_pop(&w->files), struct wal_file, node);

		fd_close(&f->fd);
		mem_free(f->path);
		mem_free(f);
	}
	while (!list_empty(&w->staged))
		mem_free(list_entry(list_pop(&w->staged), struct wal_chunk, node));
	while (!list_empty(&w->idle_chunks))
		mem_free(list_entry(list_pop(&w->idle_chunks), struct wal_chunk, node));
	while (w->spare_count > 0)
		mem_free(w->spares[--w->spare_count]);
	loop_turn_end_cancel(&w->kick);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->work);
	pthread_cond_destroy(&w->prepare);
	mem_free(w->dir);
	mem_free(w);
}

uint64_t wal_next_generation(const struct wal *w)
{
	return (w->options.session << 24) + w->files_made + 1;
}

static struct wal_file *wal_file_add(struct wal *w, uint64_t base_lsn, uint64_t generation)
{
	struct wal_file *f = mem_zalloc(sizeof(*f));

	f->fd = -1;
	f->base_lsn = base_lsn;
	f->generation = generation;
	f->end_lsn = base_lsn + WAL_HEADER_BYTES;
	f->path = mem_printf("%s/%016llx.wal", w->dir, (unsigned long long)base_lsn);
	list_push(&w->files, &f->node);
	w->file_count++;
	return f;
}

struct wal_file *wal_adopt(struct wal *w, const char *path, int fd, const struct wal_file_header *h, uint64_t end_lsn)
{
	struct wal_file *f = wal_file_add(w, h->base_lsn, h->generation);

	mem_free(f->path);
	f->path = mem_strdup(path);
	f->fd = fd;
	f->end_lsn = end_lsn;
	f->prewritten = true;
	w->synced_lsn = w->synced_seen = w->end_lsn = end_lsn;
	return f;
}

bool wal_adopt_spare(struct wal *w, const char *path)
{
	int fd = w->spare_count < SPARES_KEPT ? disk_open(path, O_RDONLY, 0, NULL) : -1;
	int64_t size = fd >= 0 ? disk_size(fd, NULL) : -1;

	fd_close(&fd);
	if (size != WAL_FILE_BYTES) /* whoever prepared it died on the way: the disk may be full in the middle of it */
		return false;
	w->spares[w->spare_count++] = mem_strdup(path);
	return true;
}

int wal_begin(struct wal *w, uint64_t base_lsn, uint64_t previous_end_lsn, const void *entries, size_t n, struct err *e)
{
	struct wal_file *f = wal_file_add(w, base_lsn, wal_next_generation(w));

	w->files_made++;
	w->current = w->first = f;
	f->end_lsn += n;
	if (wal_file_create(w, f, previous_end_lsn, entries, n, e) < 0) {
		w->current = NULL;
		list_remove(&f->node);
		w->file_count--;
		mem_free(f->path);
		mem_free(f);
		return -1;
	}
	w->end_lsn = f->end_lsn;
	w->synced_lsn = w->synced_seen = f->end_lsn;
	return wal_threads_start(w, e);
}

static bool wal_fits_file(const struct wal *w, uint64_t space)
{
	return w->current->end_lsn + space <= w->current->base_lsn + WAL_FILE_BYTES;
}

int wal_may_append(struct wal *w, uint64_t n, struct err *e)
{
	uint64_t room, staged;

	if (w->failed_seen || !w->current)
		return err_set(e, ERR_WAL_FAILED, "the write-ahead log takes no more data: %s",
			w->failure.text[0] ? w->failure.text : "an earlier write or sync failed");
	if (w->no_space_seen) {
		err_set(e, ERR_NO_SPACE, "no disk space for the next file of the write-ahead log in %s", w->dir);
		return err_hint(e, "free space there; writing goes on by itself");
	}
	pthread_mutex_lock(&w->lock);
	staged = w->staged_bytes;
	pthread_mutex_unlock(&w->lock);
	if (staged + n > WAL_STAGED_MAX && staged > 0)
		return err_set(e, ERR_BACK_PRESSURE, "the disk is behind: %llu bytes wait to be written", (unsigned long long)staged);
	room = w->current->base_lsn + WAL_FILE_BYTES - w->current->end_lsn;
	if (n + n / 8 + 4096 > room && (w->file_count + 1) * (uint64_t)WAL_FILE_BYTES > w->options.max_bytes) {
		err_set(e, ERR_BACK_PRESSURE, "the write-ahead log is full (wal.max_bytes=%llu)",
			(unsigned long long)w->options.max_bytes);
		return err_hint(e, "segments are being written; try again");
	}
	return 0;
}

/* The chunk that takes `space` more bytes of file f; its buffer never moves, so the thread may read while we add behind. */
static struct wal_chunk *wal_stage(struct wal *w, struct wal_file *f, uint64_t position, size_t space)
{
	struct wal_chunk *c = w->open_chunk;
	size_t size = space > WAL_CHUNK_BYTES ? space : WAL_CHUNK_BYTES;

	if (c && c->file == f && c->position + c->len == position && c->size - c->len >= space)
		return c;
	if (size == WAL_CHUNK_BYTES && w->idle_chunk_count) {
		c = list_entry(list_pop(&w->idle_chunks), struct wal_chunk, node);
		w->idle_chunk_count--;
	} else {
		c = mem_alloc(sizeof(*c) + size);
		c->size = size;
	}
	c->file = f;
	c->position = position;
	c->len = 0;
	c->previous_end_lsn = 0;
	list_push(&w->staged, &c->node);
	w->open_chunk = c;
	return c;
}

static void wal_next_file(struct wal *w)
{
	uint64_t previous_end = w->current->end_lsn;
	struct wal_file *f = wal_file_add(w, w->current->base_lsn + WAL_FILE_BYTES, wal_next_generation(w));

	w->files_made++;
	w->current = f;
	w->end_lsn = f->end_lsn;
	wal_stage(w, f, WAL_HEADER_BYTES, 0)->previous_end_lsn = previous_end;
}

/* One wake-up of the threads for all that a turn of the loop stages. */
static void wal_kick(void *ctx)
{
	struct wal *w = ctx;

	pthread_mutex_lock(&w->lock);
	pthread_cond_signal(&w->work);
	if (w->current && w->current->end_lsn - w->current->base_lsn > WAL_FILE_BYTES / 4 && !w->spare_count)
		pthread_cond_signal(&w->prepare);
	pthread_mutex_unlock(&w->lock);
}

uint64_t wal_append(struct wal *w, struct wal_entry *entry, const void *batch)
{
	uint64_t space = wal_entry_space(entry->length);
	struct wal_chunk *c;
	uint8_t *p;

	pthread_mutex_lock(&w->lock);
	if (!wal_fits_file(w, space))
		wal_next_file(w);
	entry->generation = w->current->generation;
	entry->lsn = w->end_lsn;
	entry->synced_lsn = PLANTED(claim_too_high) ? w->end_lsn : w->synced_seen;
	c = wal_stage(w, w->current, entry->lsn - w->current->base_lsn, space);
	p = c->data + c->len;
	wal_entry_write(entry, batch, p);
	if (entry->length)
		memcpy(p + WAL_ENTRY_BYTES, batch, entry->length);
	memset(p + WAL_ENTRY_BYTES + entry->length, 0, space - WAL_ENTRY_BYTES - entry->length);
	c->len += space;
	w->staged_bytes += space;
	w->end_lsn = w->current->end_lsn = entry->lsn + space;
	pthread_mutex_unlock(&w->lock);
	loop_at_turn_end(w->loop, &w->kick, wal_kick, w);
	return entry->lsn;
}

void wal_sync(struct wal *w)
{
	pthread_mutex_lock(&w->lock);
	w->sync_wanted = true;
	pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}

uint64_t wal_end_lsn(const struct wal *w)
{
	return w->end_lsn;
}

uint64_t wal_synced_lsn(const struct wal *w)
{
	return w->synced_seen;
}

bool wal_failed(const struct wal *w)
{
	return w->failed_seen || !w->current;
}

const struct wal_file *wal_find(const struct wal *w, uint64_t lsn)
{
	list_for_each(n, &w->files) {
		const struct wal_file *f = list_entry(n, struct wal_file, node);

		if (lsn >= f->base_lsn && lsn < f->base_lsn + WAL_FILE_BYTES)
			return f;
	}
	return NULL;
}

struct wal_file *wal_oldest(struct wal *w)
{
	return list_first(&w->files, struct wal_file, node);
}

const struct wal_file *wal_next(const struct wal *w, const struct wal_file *f)
{
	return f->node.next == &w->files ? NULL : list_entry(f->node.next, struct wal_file, node);
}

int wal_file_fd(const struct wal_file *f)
{
	return __atomic_load_n(&f->fd, __ATOMIC_ACQUIRE);
}

bool wal_is_left(const struct wal *w, const struct wal_file *f)
{
	const struct wal_file *next = wal_next(w, f);

	if (!w->current)
		return false;
	return next && wal_file_fd(next) >= 0;
}

void wal_recycle(struct wal *w, struct wal_file *f)
{
	char *spare = mem_printf("%s/%016llx.spare", w->dir, (unsigned long long)f->generation);
	struct err e = ERR_INIT;
	bool keep;

	pthread_mutex_lock(&w->lock);
	list_remove(&f->node);
	w->file_count--;
	keep = w->spare_count < SPARES_KEPT && !w->failed && w->current;
	pthread_mutex_unlock(&w->lock);
	crash_point("recycle.due");
	if ((keep ? disk_rename(f->path, spare, &e) : disk_unlink(f->path, &e)) < 0) {
		log_warn("%s", e.text);
		keep = false;
	}
	crash_point("recycle.done");
	if (keep) { /* the preparer may have added one meanwhile: there is room for that */
		pthread_mutex_lock(&w->lock);
		w->spares[w->spare_count++] = spare;
		pthread_mutex_unlock(&w->lock);
	} else {
		mem_free(spare);
	}
	fd_close(&f->fd);
	mem_free(f->path);
	mem_free(f);
}

void wal_get_numbers(struct wal *w, struct wal_numbers *n)
{
	pthread_mutex_lock(&w->lock);
	n->files = w->file_count;
	n->bytes = w->file_count * (uint64_t)WAL_FILE_BYTES;
	n->staged_bytes = w->staged_bytes;
	n->syncs = w->syncs;
	n->sync_ns = w->sync_ns;
	n->no_space = w->no_space_seen;
	pthread_mutex_unlock(&w->lock);
}
