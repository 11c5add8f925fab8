/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WAL's two threads. The writer: take what is staged, write, sync, report, again; whatever arrives during one sync
 * shares the next. The preparer: keep one file written ahead, because a sync of a file that has its blocks costs half.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/agent/log/wal_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"

enum { PREWRITE_BYTES = WAL_FILE_BYTES < 1 << 20 ? WAL_FILE_BYTES : 1 << 20, NO_SPACE_PAUSE_MS = 200, PREPARE_PAUSE_MS = 5000 };

static char *wal_take_spare(struct wal *w)
{
	char *path = NULL;

	pthread_mutex_lock(&w->lock);
	if (w->spare_count > 0)
		path = w->spares[--w->spare_count];
	pthread_mutex_unlock(&w->lock);
	return path;
}

/* A file under a name that recovery does not look at: a spare, or a fresh one whose blocks are only reserved. */
static int wal_file_aside(struct wal *w, struct wal_file *f, char **path, struct err *e)
{
	int fd;

	*path = wal_take_spare(w);
	if (*path) {
		fd = disk_open(*path, O_RDWR, 0, e);
		f->prewritten = fd >= 0;
		/* It may have been a WAL file: that it no longer has its old name must be durable before its header changes. */
		if (fd >= 0 && !PLANTED(spare_name_not_synced) && disk_sync_dir(w->dir, e) < 0)
			fd_close(&fd);
		crash_point("wal.spare-taken");
		return fd;
	}
	*path = mem_printf("%s/%016llx.new", w->dir, (unsigned long long)f->generation);
	fd = disk_open(*path, O_RDWR | O_CREAT | O_TRUNC, 0600, e);
	if (fd >= 0 && disk_allocate(fd, WAL_FILE_BYTES, e) < 0) {
		disk_unlink(*path, NULL);
		fd_close(&fd);
	}
	crash_point("wal.file-allocated");
	return fd;
}

int wal_file_create(struct wal *w, struct wal_file *f, uint64_t previous_end_lsn, const void *entries, size_t n, struct err *e)
{
	struct wal_file_header h = {.generation = f->generation, .base_lsn = f->base_lsn, .previous_end_lsn = previous_end_lsn,
		.session = w->options.session, .slot = w->options.slot, .created_ms = clock_real_ms()};
	uint8_t header[WAL_HEADER_BYTES];
	char *aside = NULL;
	int fd = wal_file_aside(w, f, &aside, e);

	if (fd < 0)
		goto fail;
	wal_file_header_write(&h, header);
	if (disk_pwrite(fd, header, sizeof(header), 0, e) < 0 || (n && disk_pwrite(fd, entries, n, WAL_HEADER_BYTES, e) < 0) ||
		(!PLANTED(rewrite_not_synced) && disk_sync(fd, e) < 0))
		goto fail;
	crash_point("wal.file-synced");
	if (disk_rename(aside, f->path, e) < 0)
		goto fail;
	crash_point("wal.file-named");
	if (!PLANTED(no_directory_sync) && disk_sync_dir(w->dir, e) < 0)
		goto fail;
	crash_point("wal.file-durable");
	mem_free(aside);
	__atomic_store_n(&f->fd, fd, __ATOMIC_RELEASE);
	return 0;
fail:
	fd_close(&fd);
	mem_free(aside);
	return -1;
}

/* A full disk is not a failure: nothing was written yet. Try until there is room or we are told to stop. */
static int wal_open_next(struct wal *w, struct wal_chunk *c, struct err *e)
{
	while (wal_file_create(w, c->file, c->previous_end_lsn, NULL, 0, e) < 0) {
		struct timespec pause = {0, NO_SPACE_PAUSE_MS * 1000000L};
		bool stop;

		if (e->code != ERR_NO_SPACE)
			return -1;
		pthread_mutex_lock(&w->lock);
		stop = w->stop;
		w->no_space = true;
		pthread_mutex_unlock(&w->lock);
		loop_wake(&w->waker);
		if (stop)
			return -1;
		nanosleep(&pause, NULL);
	}
	pthread_mutex_lock(&w->lock);
	w->no_space = false;
	pthread_mutex_unlock(&w->lock);
	loop_wake(&w->waker); /* with wal.sync=never nothing else would tell that there is room */
	err_clear(e);
	return 0;
}

static int wal_sync_file(struct wal *w, struct wal_file *f, struct err *e)
{
	int64_t start = clock_mono_ns();

	if (PLANTED(ack_before_sync))
		return 0;
	if (disk_sync(f->fd, e) < 0 && (!PLANTED(sync_tried_again) || disk_sync(f->fd, e) < 0))
		return -1;
	if (PLANTED(sync_tried_again))
		err_clear(e);
	pthread_mutex_lock(&w->lock);
	w->syncs++;
	w->sync_ns += clock_mono_ns() - start;
	pthread_mutex_unlock(&w->lock);
	return 0;
}

/* Write all chunks in order. File N is synced before N+1 gets its first byte. *last is the file now being written. */
static int wal_write_chunks(struct wal *w, struct list *chunks, struct wal_file **last, struct err *e)
{
	list_for_each(n, chunks) {
		struct wal_chunk *c = list_entry(n, struct wal_chunk, node);

		if (*last && *last != c->file && !PLANTED(next_file_too_early) && wal_sync_file(w, *last, e) < 0)
			return -1;
		*last = c->file;
		if (wal_file_fd(c->file) < 0) {
			crash_point("wal.file-left");
			if (wal_open_next(w, c, e) < 0)
				return -1;
		}
		if (c->len && disk_pwrite(c->file->fd, c->data, c->len, (int64_t)c->position, e) < 0)
			return -1;
		/* While the next chunk is copied the disk can begin with this one; what goes wrong, the sync reports. */
		if (c->len && n->next != chunks)
			sync_file_range(c->file->fd, (off_t)c->position, (off_t)c->len, SYNC_FILE_RANGE_WRITE);
	}
	return 0;
}

static void wal_chunks_done(struct wal *w, struct list *chunks)
{
	while (!list_empty(chunks)) {
		struct wal_chunk *c = list_entry(list_pop(chunks), struct wal_chunk, node);

		pthread_mutex_lock(&w->lock);
		w->staged_bytes -= c->len;
		if (w->idle_chunk_count < WAL_IDLE_CHUNKS_MAX && c->size == WAL_CHUNK_BYTES) {
			list_push_front(&w->idle_chunks, &c->node); /* the warm one first */
			w->idle_chunk_count++;
			c = NULL;
		}
		pthread_mutex_unlock(&w->lock);
		mem_free(c);
	}
}

/* The mark that outlives us: what lies behind this LSN was never known to be on disk and must not be believed later. */
static void wal_mark_failed(struct wal *w, const struct err *cause)
{
	char *path = mem_printf("%s/FAILED", w->dir);
	char *text = mem_printf("%llu\n%s\n", (unsigned long long)w->synced_lsn, cause->text);
	struct err e = ERR_INIT;

	crash_point("wal.failed");
	if (disk_write_file(path, text, strlen(text), 0600, &e) < 0)
		log_error("could not write the mark %s: %s", path, e.text);
	crash_point("wal.failed-marked");
	mem_free(path);
	mem_free(text);
	pthread_mutex_lock(&w->lock);
	w->failure = *cause;
	w->failed = true;
	pthread_mutex_unlock(&w->lock);
	loop_wake(&w->waker);
}

/* Wait for work; take the staged chunks. False: stop. */
static bool wal_wait(struct wal *w, struct list *chunks, bool dirty, int64_t sync_at_ns, uint64_t *end_lsn, bool *sync_now)
{
	bool go;

	pthread_mutex_lock(&w->lock);
	while (list_empty(&w->staged) && !w->stop && !(w->sync_wanted && dirty)) {
		struct timespec until = {sync_at_ns / 1000000000, sync_at_ns % 1000000000};

		w->sync_wanted &= dirty;
		if (!dirty || w->options.sync != WAL_SYNC_INTERVAL)
			pthread_cond_wait(&w->work, &w->lock);
		else if (pthread_cond_timedwait(&w->work, &w->lock, &until) == ETIMEDOUT)
			break;
	}
	while (!list_empty(&w->staged))
		list_push(chunks, list_pop(&w->staged));
	w->open_chunk = NULL;
	if (!list_empty(chunks)) {
		struct wal_chunk *c = list_entry(chunks->prev, struct wal_chunk, node);

		*end_lsn = c->file->base_lsn + c->position + c->len;
	}
	*sync_now = w->sync_wanted || w->stop;
	w->sync_wanted = false;
	go = !w->stop || dirty || !list_empty(chunks);
	pthread_mutex_unlock(&w->lock);
	return go;
}

static void *wal_writer(void *arg)
{
	struct wal *w = arg;
	struct wal_file *last = w->first; /* the loop may have left it already */
	struct list chunks;
	struct err e = ERR_INIT;
	uint64_t written = w->synced_lsn;
	int64_t sync_at = 0;
	bool sync_now, dirty = false;

	list_init(&chunks);
	while (wal_wait(w, &chunks, dirty, sync_at, &written, &sync_now)) {
		int64_t now = clock_mono_ns();

		if (!dirty)
			sync_at = now + w->options.interval_ms * 1000000;
		dirty |= !list_empty(&chunks);
		if (wal_write_chunks(w, &chunks, &last, &e) < 0)
			break;
		wal_chunks_done(w, &chunks);
		if (w->options.sync == WAL_SYNC_ALWAYS || sync_now || (w->options.sync == WAL_SYNC_INTERVAL && now >= sync_at)) {
			crash_point("wal.written");
			if (dirty && wal_sync_file(w, last, &e) < 0)
				break;
			crash_point("wal.synced");
			dirty = false;
			pthread_mutex_lock(&w->lock);
			w->synced_lsn = written;
			pthread_mutex_unlock(&w->lock);
			loop_wake(&w->waker);
		}
	}
	if (e.code != ERR_NONE && !(e.code == ERR_NO_SPACE && w->no_space))
		wal_mark_failed(w, &e);
	wal_chunks_done(w, &chunks);
	return NULL;
}

static bool wal_stopping(struct wal *w)
{
	bool stop;

	pthread_mutex_lock(&w->lock);
	stop = w->stop;
	pthread_mutex_unlock(&w->lock);
	return stop;
}

static int wal_prewrite(struct wal *w, const char *path, struct err *e)
{
	static const uint8_t zeros[PREWRITE_BYTES];
	int fd = disk_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600, e);
	int result = -1;

	if (fd < 0)
		return -1;
	for (int64_t at = 0; at < WAL_FILE_BYTES; at += PREWRITE_BYTES) {
		if (wal_stopping(w) || disk_pwrite(fd, zeros, sizeof(zeros), at, e) < 0)
			goto out;
		/* Small steps: a long write-back would stand in the way of the log's own syncs. */
		sync_file_range(fd, at, PREWRITE_BYTES, SYNC_FILE_RANGE_WRITE);
		crash_point("wal.spare-begun");
	}
	result = disk_sync(fd, e);
	crash_point("wal.spare-made");
out:
	fd_close(&fd);
	return result;
}

static void *wal_preparer(void *arg)
{
	struct wal *w = arg;
	uint64_t count = 0;
	int64_t not_before_ms = 0; /* a disk that is nearly full is not filled again and again */

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		pthread_cond_wait(&w->prepare, &w->lock);
		if (w->stop || w->failed || w->spare_count || clock_mono_ms() < not_before_ms)
			continue;
		pthread_mutex_unlock(&w->lock);
		char *path = mem_printf("%s/%llu-%llu.spare", w->dir, (unsigned long long)w->options.session,
			(unsigned long long)count++);
		struct err e = ERR_INIT;
		int made = wal_prewrite(w, path, &e);

		pthread_mutex_lock(&w->lock);
		if (made == 0 && w->spare_count < WAL_SPARES_MAX) {
			w->spares[w->spare_count++] = path;
		} else {
			not_before_ms = clock_mono_ms() + PREPARE_PAUSE_MS;
			disk_unlink(path, NULL);
			mem_free(path);
		}
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

int wal_threads_start(struct wal *w, struct err *e)
{
	if (pthread_create(&w->writer, NULL, wal_writer, w))
		return err_set(e, ERR_INTERNAL, "cannot start the thread that writes the log");
	if (pthread_create(&w->preparer, NULL, wal_preparer, w))
		fatalx("cannot start the thread that prepares log files");
	w->threads_run = true;
	return 0;
}

void wal_threads_stop(struct wal *w)
{
	if (!w->threads_run)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->work);
	pthread_cond_broadcast(&w->prepare);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->writer, NULL);
	pthread_join(w->preparer, NULL);
	w->threads_run = false;
}
