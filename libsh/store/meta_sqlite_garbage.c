/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From live and pending to dead to gone, in bounded steps. Dead comes first, in a transaction of its own; the
 * object is deleted a grace period later, and its row last. Nothing goes because it could not be read.
 *
 * Names of segments that were begun and never committed are remembered (table given_up) after their row went:
 * a store process that was thought dead may put such an object late. Only those are orphans that may be removed;
 * of an object that is merely unknown here nobody can say whose it is.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/store/meta_sqlite.h"

int meta_sqlite_garbage_dies(struct meta_sqlite *m, int64_t number, uint64_t bytes, struct err *e)
{
	if (meta_sqlite_run(m, SQL_OBJECT_DIES, e, "ii", number, clock_real_ms()) < 0)
		return -1;
	m->state.live_objects--;
	m->state.live_bytes -= bytes;
	m->state_changed = true;
	return 0;
}

enum {
	ABANDONED_MS = 15 * 60 * 1000, /* many times what a build may take */
	FORGET_MAX = 1000, /* names given up, in one step */
};
#define GIVEN_UP_MS (INT64_C(30) * 24 * 3600 * 1000) /* what was given up is remembered so long */

/*
 * Pending rows of sessions that are over for longer than the grace period. The store may still be writing the
 * object of one that ended just now; a commit can then no longer follow, but the bytes would stay behind.
 *
 * And those of any session that are old: every attempt to build a segment begins another, and an object store
 * that refuses for hours must not use up what the session may begin. A commit that comes after all is refused,
 * and the agent builds anew.
 */
static int give_up_pending(struct meta_sqlite *m, int64_t now_ms, int64_t grace_ms, struct err *e)
{
	for (size_t i = 0; i < m->known.slot_count; i++) {
		struct known_slot *s = &m->known.slots[i];
		int64_t over = -1;

		if (s->pending == 0)
			continue;
		if (!s->open && now_ms - s->ended_ms >= grace_ms)
			over = s->session;
		else if (now_ms - s->opened_ms >= grace_ms)
			over = s->session - 1;
		if (meta_sqlite_run(m, SQL_PENDING_GIVE_UP, e, "iiii", (int64_t)s->slot, over, now_ms,
			    now_ms - ABANDONED_MS) < 0)
			return -1;
		s->given_up = sqlite3_changes(m->db);
	}
	return 0;
}

static bool young_is_wanted(const struct meta_sqlite *m, const struct young_segment *y)
{
	for (size_t r = 0; r < y->count; r++)
		if (meta_sqlite_memory_wanted(m, &y->runs[r]))
			return true;
	return false;
}

int meta_sqlite_garbage_keep_ends(struct meta_sqlite *m, const struct young_segment *y, struct err *e)
{
	for (size_t r = 0; r < y->count; r++) {
		const struct known_topic *t = meta_sqlite_memory_topic(m, &y->runs[r].topic);

		if (t && !meta_sqlite_memory_wanted(m, &y->runs[r]) &&
			meta_sqlite_run(m, SQL_PARTITION_BASE_END, e, "iii", t->number,
				(int64_t)y->runs[r].partition, y->runs[r].end_offset) < 0)
			return -1;
	}
	return 0;
}

int meta_sqlite_garbage_bury_young(struct meta_sqlite *m, struct err *e)
{
	struct known *k = &m->known;
	bool unwanted[YOUNG_MAX];
	size_t kept = 0;

	for (size_t i = 0; i < k->young_count; i++) {
		unwanted[i] = !young_is_wanted(m, k->young[i]);
		if (unwanted[i] &&
			(meta_sqlite_garbage_keep_ends(m, k->young[i], e) < 0 ||
				meta_sqlite_garbage_dies(
					m, k->young[i]->number, k->young[i]->object.bytes, e) < 0))
			return -1;
	}
	for (size_t i = 0; i < k->young_count; i++) {
		if (unwanted[i]) {
			k->young_runs -= k->young[i]->count;
			meta_sqlite_memory_free_young(k->young[i]);
		} else {
			k->young[kept++] = k->young[i];
		}
	}
	k->young_count = kept;
	return 0;
}

/* ---- pages of deleted topics ---- */

struct swept {
	int64_t pages[SWEEP_PAGES];
	size_t page_count;
	int64_t objects[SWEEP_PAGES * PAGE_RUNS_MAX]; /* one entry a run */
	size_t object_count;
};

static int read_pages(struct meta_sqlite *m, int64_t topic, struct swept *w, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_PAGES_OF_TOPIC, e, "ii", topic, (int64_t)SWEEP_PAGES);
	struct arena a = ARENA_INIT;
	int more = -1;

	while (s && (more = meta_sqlite_step(m, s, e)) == 1) {
		struct segment_run *runs;
		int64_t *objects;
		size_t count;

		if (meta_sqlite_page_decode(m, sqlite3_column_blob(s, 1), sqlite3_column_bytes(s, 1), &a,
			    &objects, &runs, &count, e) < 0 ||
			count > PAGE_RUNS_MAX) {
			sqlite3_reset(s);
			more = -1;
			break;
		}
		w->pages[w->page_count++] = sqlite3_column_int64(s, 0);
		memcpy(w->objects + w->object_count, objects, count * sizeof(*objects));
		w->object_count += count;
		arena_release(&a);
	}
	arena_release(&a);
	return more;
}

static int compare_numbers(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

int meta_sqlite_garbage_less_living(struct meta_sqlite *m, int64_t number, int64_t runs, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_OBJECT_LESS_LIVING, e, "ii", number, runs);
	int64_t living;
	uint64_t bytes;
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	if (more == 0)
		return err_set(e, ERR_CORRUPT,
			"metadata %s: runs lead to object number %lld, which is not there", m->path,
			(long long)number);
	living = sqlite3_column_int64(s, 0);
	bytes = sqlite3_column_int64(s, 1);
	if (meta_sqlite_step(m, s, e) != 0) /* to its end: only then is it done */
		return -1;
	return living > 0 ? 0 : meta_sqlite_garbage_dies(m, number, bytes, e);
}

static int remove_pages(struct meta_sqlite *m, struct swept *w, struct err *e)
{
	for (size_t i = 0; i < w->page_count; i++)
		if (meta_sqlite_run(m, SQL_PAGE_REMOVE, e, "i", w->pages[i]) < 0)
			return -1;
	if (w->object_count)
		qsort(w->objects, w->object_count, sizeof(w->objects[0]), compare_numbers);
	for (size_t i = 0, n; i < w->object_count; i += n) {
		for (n = 1; i + n < w->object_count && w->objects[i + n] == w->objects[i]; n++)
			;
		if (meta_sqlite_garbage_less_living(m, w->objects[i], n, e) < 0)
			return -1;
	}
	return 0;
}

/* 1: there may be more to do. */
static int sweep_topic(struct meta_sqlite *m, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_TOPIC_TO_SWEEP, e, "");
	struct swept *w;
	int64_t topic;
	int result;

	if (!s || (result = meta_sqlite_step(m, s, e)) <= 0)
		return s ? result : -1;
	topic = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	w = mem_alloc(sizeof(*w));
	w->page_count = w->object_count = 0;
	result = read_pages(m, topic, w, e);
	if (result == 0)
		result = remove_pages(m, w, e);
	if (result == 0 && w->page_count < SWEEP_PAGES)
		result = meta_sqlite_run(m, SQL_TOPIC_SWEPT, e, "i", topic);
	mem_free(w);
	return result < 0 ? -1 : 1;
}

/* ---- the list ---- */

static int list_dead(struct meta_sqlite *m, struct meta_garbage *g, struct arena *a, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_DEAD_LIST, e, "iii", g->clock.real_ms - g->grace_ms, (int64_t)g->max,
		(int64_t)g->skip);
	int more = -1;

	g->names = arena_alloc(a, (g->max + 1) * sizeof(*g->names));
	g->count = 0;
	while (s && (more = meta_sqlite_step(m, s, e)) == 1)
		g->names[g->count++] = arena_strdup(a, (const char *)sqlite3_column_text(s, 0));
	return more;
}

/* The clock was set back: what waits would wait for all that time again. It waits from now on. */
static int bring_to_now(struct meta_sqlite *m, int64_t now_ms, struct err *e)
{
	if (meta_sqlite_run(m, SQL_PENDING_IN_FUTURE, e, "i", now_ms) < 0 ||
		meta_sqlite_run(m, SQL_DEAD_IN_FUTURE, e, "i", now_ms) < 0)
		return -1;
	return meta_sqlite_run(m, SQL_GIVEN_UP_IN_FUTURE, e, "i", now_ms);
}

/* What goes by its age, unless the clock was set: it would make everything old at once. */
static int go_by_age(struct meta_sqlite *m, struct meta_garbage *g, struct arena *a, struct err *e)
{
	int64_t now_ms = g->clock.real_ms;

	if (meta_sqlite_retain_clock(m, &g->clock, e) < 0 || bring_to_now(m, now_ms, e) < 0)
		return -1;
	if (g->clock.held)
		return 0;
	if (give_up_pending(m, now_ms, g->grace_ms, e) < 0 ||
		meta_sqlite_run(m, SQL_GIVEN_UP_FORGET, e, "ii", now_ms - GIVEN_UP_MS, (int64_t)FORGET_MAX) < 0)
		return -1;
	return list_dead(m, g, a, e);
}

int meta_sqlite_garbage_sweep(struct meta *base, struct meta_garbage *g, struct arena *a, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	int more = -1;

	g->names = NULL;
	g->count = 0;
	if (g->grace_ms < 0 || g->max < 1 || g->max > 10000)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"garbage older than %lld ms, %zu at once, cannot be listed", (long long)g->grace_ms, g->max);
	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	for (size_t i = 0; i < m->known.slot_count; i++)
		m->known.slots[i].given_up = 0;
	if (meta_sqlite_snapshot_check(m, e) == 0 && go_by_age(m, g, a, e) == 0 && (more = sweep_topic(m, e)) >= 0 &&
		meta_sqlite_garbage_bury_young(m, e) < 0)
		more = -1;
	for (size_t i = 0; more >= 0 && i < m->known.slot_count; i++)
		m->known.slots[i].pending -= m->known.slots[i].given_up;
	return meta_sqlite_change_end(m, more, e);
}

int meta_sqlite_garbage_done(struct meta *base, const char *name, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	sqlite3_stmt *s;
	int there = 0;

	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	if (meta_sqlite_run(m, SQL_GIVEN_UP_ADD, e, "ti", name, clock_real_ms()) < 0 ||
		meta_sqlite_run(m, SQL_OBJECT_REMOVE, e, "t", name) < 0)
		return meta_sqlite_change_end(m, -1, e);
	if (sqlite3_changes(m->db) == 0) {
		s = meta_sqlite_bind(m, SQL_OBJECT_BY_NAME, e, "t", name);
		there = s ? meta_sqlite_step(m, s, e) : -1;
		if (there == 1)
			sqlite3_reset(s);
	}
	if (there == 1)
		there = err_set(e, ERR_CONFLICT, "object %s is not dead", name);
	return meta_sqlite_change_end(m, there, e);
}
