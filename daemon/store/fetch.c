/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing stretches of objects into the cache. A fetch is one of
 *   a part (4 MiB, aligned), or a stretch longer than a part: read from the object store;
 *   a stretch across the border of two parts: copied from both, so that reading along gets each byte once;
 *   a check: an entry that an earlier process left is compared with its checksum before its first use.
 * Fetches are found by what they fetch, so that all who want it wait for the same one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include "daemon/store/store.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"

enum { KEY_MAX = OBJECT_NAME_MAX + 48 };
enum fetch_kind { FETCH_STORE = 's', FETCH_JOIN = 'j', FETCH_CHECK = 'c' };

struct fetch;
struct piece { /* one side of the border */
	struct fetch *fetch;
	struct fetch_waiter waiter;
	int fd;
	uint64_t position;
};
struct fetch {
	struct work work;
	struct store_role *role;
	enum fetch_kind kind;
	char key[KEY_MAX];
	char object[OBJECT_NAME_MAX + 1];
	uint64_t object_bytes, start, length;
	struct list waiters;
	struct cache_fill fill; /* kinds store and join */
	int fd;			/* kind check: the entry */
	struct piece pieces[2]; /* kind join */
	int pieces_missing;
	bool failed, fill_failed; /* fill_failed: it was the cache's disk, not the store */
	uint64_t gets;
	struct err error;
};

static void fetch_submit(struct fetch *f);

/* ---- on a worker ---- */

static int fill_from_store(struct fetch *f, struct err *e)
{
	uint64_t most = f->length < STORE_PART_BYTES ? f->length : STORE_PART_BYTES;
	struct object_store *s = f->role->objects;
	char *chunk = mem_alloc(most);
	int result = 0;

	for (uint64_t at = 0; at < f->length && result == 0;) {
		size_t n = (size_t)(f->length - at < most ? f->length - at : most);

		result = s->driver->get(s, f->object, f->start + at, chunk, n, e);
		if (result == 0) {
			f->gets++;
			result = disk_pwrite(f->fill.fd, chunk, n, (int64_t)at, e);
			f->fill_failed = result < 0;
		}
		at += n;
	}
	mem_free(chunk);
	return result;
}

static int fill_from_pieces(struct fetch *f, struct err *e)
{
	char *chunk = mem_alloc(f->length);
	int64_t at = 0;
	int result = 0;

	for (int i = 0; i < 2 && result == 0; i++) {
		const struct piece *p = &f->pieces[i];

		result = disk_pread(p->fd, chunk, p->waiter.length, (int64_t)p->position, e);
		if (result == 0) {
			result = disk_pwrite(f->fill.fd, chunk, p->waiter.length, at, e);
			f->fill_failed = result < 0;
		}
		at += (int64_t)p->waiter.length;
	}
	mem_free(chunk);
	return result;
}

static void fetch_run(struct work *w)
{
	struct fetch *f = container_of(w, struct fetch, work);
	int result;

	f->fill_failed = false;
	err_clear(&f->error);
	if (f->kind == FETCH_CHECK) {
		result = cache_check(f->fd, f->length, &f->error);
	} else {
		result = cache_fill_allocate(&f->fill, f->length, &f->error);
		f->fill_failed = result < 0;
		if (result == 0)
			result = f->kind == FETCH_JOIN ? fill_from_pieces(f, &f->error)
						       : fill_from_store(f, &f->error);
		if (result == 0) {
			result = cache_fill_seal(&f->fill, f->length, &f->error);
			f->fill_failed = result < 0;
		}
	}
	f->failed = result < 0;
}

/* ---- on the loop ---- */

static void fetch_free(struct fetch *f)
{
	for (int i = 0; i < 2; i++)
		fd_close(&f->pieces[i].fd);
	fd_close(&f->fd);
	cache_fill_release(f->role->cache, &f->fill);
	mem_free(f);
}

/* Take it off the map, then tell everybody: whoever comes from now on starts anew. */
static void fetch_end(struct fetch *f)
{
	struct store_role *r = f->role;
	struct list *node;

	map_del(&r->fetches, f->key, strlen(f->key));
	while ((node = list_pop(&f->waiters)) != NULL) {
		struct fetch_waiter *w = list_entry(node, struct fetch_waiter, node);
		struct err e = ERR_INIT;
		int fd;

		if (f->kind == FETCH_CHECK && !f->failed) {
			fetch_locate(r, w); /* it is checked, or gone */
			continue;
		}
		if (f->failed) {
			w->done(w, -1, 0, &f->error);
			continue;
		}
		fd = fcntl(f->fill.read_fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			err_sys(&e, ERR_UNAVAILABLE, "cannot lend out a part of object %s", f->object);
		w->done(w, fd, w->offset - f->start, &e);
	}
	fetch_free(f);
	store_idle_check(r);
}

static void fetch_fail(struct fetch *f)
{
	f->failed = true;
	fetch_end(f);
}

static void check_done(struct fetch *f)
{
	if (!f->failed) {
		cache_checked(f->role->cache, f->object, f->start, f->length);
	} else {
		log_warn("a cached file of object %s is damaged and will be fetched again: %s", f->object,
			f->error.text);
		cache_drop(f->role->cache, f->object, f->start, f->length);
	}
	f->failed = false;
	fetch_end(f);
}

/* The disk of the cache failed us: without what it holds there may be room, and if not there is memory. */
static void fetch_elsewhere(struct fetch *f)
{
	struct cache *c = f->role->cache;
	bool full = f->error.code == ERR_NO_SPACE;
	int result;

	cache_fill_release(c, &f->fill);
	if (full && cache_evict(c, f->length))
		result = cache_fill_begin(c, &f->fill, f->length, &f->error);
	else
		result = cache_fill_begin_memory(c, &f->fill, f->length, &f->error);
	if (result < 0)
		fetch_fail(f);
	else
		fetch_submit(f);
}

static void fetch_done(struct work *w)
{
	struct fetch *f = container_of(w, struct fetch, work);
	struct store_role *r = f->role;

	r->counters.gets += f->gets;
	f->gets = 0;
	if (f->kind == FETCH_CHECK) {
		check_done(f);
		return;
	}
	if (f->failed && f->fill_failed && !f->fill.memory) {
		fetch_elsewhere(f);
		return;
	}
	if (!f->failed) {
		if (f->kind == FETCH_STORE) {
			r->counters.get_bytes += f->length;
			store_count_success(r);
		}
		cache_fill_commit(r->cache, &f->fill, f->object, f->start);
	} else if (f->kind == FETCH_STORE) {
		store_count_error(r, &f->error);
	}
	fetch_end(f);
}

static void fetch_submit(struct fetch *f)
{
	if (work_submit(f->role->io_pool, &f->work, &f->error) < 0)
		fetch_fail(f);
}

static void fill_and_submit(struct fetch *f)
{
	if (cache_fill_begin(f->role->cache, &f->fill, f->length, &f->error) < 0)
		fetch_fail(f);
	else
		fetch_submit(f);
}

static void piece_done(struct fetch_waiter *w, int fd, uint64_t position, const struct err *e)
{
	struct piece *p = container_of(w, struct piece, waiter);
	struct fetch *f = p->fetch;

	p->fd = fd;
	p->position = position;
	if (fd < 0) {
		f->failed = true;
		f->error = *e;
	}
	if (--f->pieces_missing > 0)
		return;
	if (f->failed)
		fetch_end(f);
	else
		fill_and_submit(f);
}

static void join_start(struct fetch *f)
{
	uint64_t border = (f->start / STORE_PART_BYTES + 1) * STORE_PART_BYTES;

	f->pieces_missing = 2;
	for (int i = 0; i < 2; i++) {
		struct fetch_waiter *w = &f->pieces[i].waiter;

		f->pieces[i].fetch = f;
		memcpy(w->object, f->object, sizeof(w->object));
		w->object_bytes = f->object_bytes;
		w->offset = i ? border : f->start;
		w->length = i ? f->start + f->length - border : border - f->start;
		w->missed = true; /* counted with the request */
		w->done = piece_done;
	}
	fetch_locate(f->role, &f->pieces[0].waiter);
	fetch_locate(f->role, &f->pieces[1].waiter); /* f may be gone now */
}

/* The fetch of that kind and stretch: one that is under way, or a new one; *created says which. */
static struct fetch *fetch_get(struct store_role *r, enum fetch_kind kind, const struct fetch_waiter *w,
	uint64_t start, uint64_t length, bool *created)
{
	char key[KEY_MAX];
	struct fetch *f;

	snprintf(key, sizeof(key), "%c%s,%" PRIx64 ",%" PRIx64, kind, w->object, start, length);
	f = map_gets(&r->fetches, key);
	*created = !f;
	if (f || r->fetches.count >= STORE_FETCHES)
		return f;
	f = mem_zalloc(sizeof(*f));
	f->role = r;
	f->kind = kind;
	memcpy(f->key, key, sizeof(f->key));
	memcpy(f->object, w->object, sizeof(f->object));
	f->object_bytes = w->object_bytes;
	f->start = start;
	f->length = length;
	f->fd = f->fill.fd = f->fill.read_fd = f->pieces[0].fd = f->pieces[1].fd = -1;
	f->work.run = fetch_run;
	f->work.done = fetch_done;
	list_init(&f->waiters);
	map_puts(&r->fetches, f->key, f);
	return f;
}

static void fetch_start(struct fetch *f)
{
	if (f->kind == FETCH_JOIN)
		join_start(f);
	else if (f->kind == FETCH_CHECK)
		fetch_submit(f);
	else
		fill_and_submit(f);
}

static void part_of(uint64_t object_bytes, uint64_t offset, uint64_t *start, uint64_t *length)
{
	*start = offset / STORE_PART_BYTES * STORE_PART_BYTES;
	*length = object_bytes - *start < STORE_PART_BYTES ? object_bytes - *start : STORE_PART_BYTES;
}

static struct fetch *fetch_for(struct store_role *r, const struct fetch_waiter *w, bool *created)
{
	uint64_t start, length;

	part_of(w->object_bytes, w->offset, &start, &length);
	if (w->offset + w->length <= start + length)
		return fetch_get(r, FETCH_STORE, w, start, length, created);
	if (w->length <= STORE_PART_BYTES)
		return fetch_get(r, FETCH_JOIN, w, w->offset, w->length, created);
	return fetch_get(r, FETCH_STORE, w, w->offset, w->length, created);
}

void fetch_locate(struct store_role *r, struct fetch_waiter *w)
{
	struct cache_hit hit = {.fd = -1};
	struct err e = ERR_INIT;
	bool created;
	struct fetch *f;

	if (cache_find(r->cache, w->object, w->offset, w->length, &hit) && hit.checked) {
		r->counters.cache_hits += !w->missed;
		w->done(w, hit.fd, w->offset - hit.start, &e);
		return;
	}
	if (hit.fd >= 0) {
		f = fetch_get(r, FETCH_CHECK, w, hit.start, hit.length, &created);
	} else {
		r->counters.cache_misses += !w->missed;
		w->missed = true;
		f = fetch_for(r, w, &created);
	}
	if (!f) {
		fd_close(&hit.fd);
		err_set(&e, ERR_BACK_PRESSURE, "%d fetches from the object store are under way",
			STORE_FETCHES);
		w->done(w, -1, 0, &e);
		return;
	}
	list_push(&f->waiters, &w->node);
	if (!created) {
		fd_close(&hit.fd);
		return;
	}
	f->fd = hit.fd;
	fetch_start(f);
}

/* How far ahead this reader of the part may go: 1, and twice as far with each part that it went on to. */
static unsigned ahead_depth(struct store_role *r, const char *object, uint64_t part)
{
	struct store_stream *s = &r->streams[0];

	for (size_t i = 0; i < STORE_STREAMS; i++) {
		struct store_stream *t = &r->streams[i];

		if ((t->part == part || t->part + 1 == part) && !strcmp(t->object, object)) {
			s = t;
			break;
		}
		if (t->used < s->used)
			s = t;
	}
	if (strcmp(s->object, object) != 0 || (s->part != part && s->part + 1 != part)) {
		snprintf(s->object, sizeof(s->object), "%s", object);
		s->depth = 1;
	} else if (s->part != part && s->depth < STORE_AHEAD_PARTS) {
		s->depth *= 2;
	}
	s->part = part;
	s->used = ++r->stream_clock;
	return s->depth;
}

/* In a small cache a guess drives out what is being read: all guesses get a quarter, and nothing of what is in memory. */
static uint64_t guess_parts(const struct store_role *r)
{
	return cache_in_memory(r->cache) ? 0 : cache_max(r->cache) / STORE_PART_BYTES / 4;
}

/* Guesses leave room for what somebody waits for. */
bool fetch_may_guess(const struct store_role *r)
{
	return guess_parts(r) >= STORE_AHEAD_PARTS && r->fetches.count < STORE_FETCHES / 4;
}

void fetch_ahead(struct store_role *r, const char *object, uint64_t object_bytes, uint64_t offset, uint64_t end)
{
	uint64_t part = offset / STORE_PART_BYTES, start, length;
	uint64_t room = guess_parts(r);
	uint64_t depth = ahead_depth(r, object, part);
	struct fetch_waiter w = {.object_bytes = object_bytes};
	struct fetch *f;
	bool created;

	snprintf(w.object, sizeof(w.object), "%s", object);
	for (uint64_t i = 1; i <= depth && i <= room; i++) {
		if ((part + i) * STORE_PART_BYTES >= end || r->fetches.count >= STORE_FETCHES / 4)
			return;
		part_of(object_bytes, (part + i) * STORE_PART_BYTES, &start, &length);
		if (cache_find(r->cache, object, start, length, NULL))
			continue;
		f = fetch_get(r, FETCH_STORE, &w, start, length, &created);
		if (f && created)
			fetch_start(f);
	}
}
