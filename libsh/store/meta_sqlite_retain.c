/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention: whole committed runs leave a partition, oldest first, when they are older than retention.ms or
 * when retention.bytes is kept without them. Runs in pages are cut out of them; runs of young segments stay
 * where they are and count no more, since they lie below the log start; folding leaves them out.
 *
 * A run's age counts from the smaller of its newest timestamp and the time it was appended. That trusts the
 * real clock, so a step of it (seen by comparing with the boot clock, also across restarts of ours) and a
 * boot (when nobody has set it yet, perhaps) put off what goes by age for hold_ms.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/store/meta_sqlite.h"

enum { CLOCK_STEP_MS = 60000 };

struct retaining { /* one partition in one step */
	struct meta_sqlite *m;
	const struct meta_retain *r;
	struct known_topic *topic;
	uint32_t number;
	struct known_partition *p;
	int64_t page_end;                  /* of the last run cut from a page; 0: none */
	uint64_t page_records, page_bytes; /* cut from pages: the row's totals hold only those */
	uint64_t runs, records, bytes;     /* all that went */
};

/* ---- the clock ---- */

static int write_clock(struct meta_sqlite *m, const struct meta_clock *c, int64_t hold_until_ms, struct err *e)
{
	return meta_sqlite_run(
		m, SQL_CLOCK_WRITE, e, "tii", c->boot_id, c->real_ms - c->boot_ms, hold_until_ms);
}

int meta_sqlite_retain_clock(struct meta_sqlite *m, struct meta_clock *c, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_CLOCK_READ, e, "");
	int64_t offset_ms, hold_until_ms;
	bool same_boot;
	int more;

	c->held = true;
	c->jumped_ms = 0;
	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	same_boot = more && !strcmp((const char *)sqlite3_column_text(s, 0), c->boot_id);
	offset_ms = sqlite3_column_int64(s, 1);
	hold_until_ms = sqlite3_column_int64(s, 2);
	sqlite3_reset(s);
	if (!same_boot) {
		c->held = c->boot_ms < c->hold_ms;
		return write_clock(m, c, c->hold_ms, e);
	}
	offset_ms = c->real_ms - c->boot_ms - offset_ms;
	if (offset_ms > CLOCK_STEP_MS || offset_ms < -CLOCK_STEP_MS) {
		c->jumped_ms = offset_ms;
		return write_clock(m, c, c->boot_ms + c->hold_ms, e);
	}
	c->held = c->boot_ms < hold_until_ms;
	return 0;
}

/* ---- which runs go ---- */

/* INT64_MAX: nobody knows, so it never comes of age. */
static int64_t run_time(const struct segment_run *run)
{
	bool stamped = run->max_timestamp >= 0, noted = run->max_append_ms > 0;

	if (!noted)
		return stamped ? run->max_timestamp : INT64_MAX;
	return stamped && run->max_timestamp < run->max_append_ms ? run->max_timestamp : run->max_append_ms;
}

static bool is_old(const struct retaining *x, int64_t time_ms)
{
	return x->topic->retention_ms >= 0 && !x->r->clock.held && time_ms < x->r->clock.real_ms &&
	       x->r->clock.real_ms - time_ms > x->topic->retention_ms;
}

/* As Kafka does it: what stays is still at least retention.bytes. */
static bool is_above_size(const struct retaining *x, uint64_t run_bytes)
{
	return x->topic->retention_bytes >= 0 && x->p->bytes >= run_bytes &&
	       x->p->bytes - run_bytes >= (uint64_t)x->topic->retention_bytes;
}

static bool goes(const struct retaining *x, const struct segment_run *run)
{
	return is_old(x, run_time(run)) || is_above_size(x, run->raw_bytes);
}

/* A look at memory alone says of most partitions that nothing can go. */
static bool may_go(const struct retaining *x)
{
	const struct known_partition *p = x->p;

	if (p->log_start >= p->flushed_end)
		return false;
	return p->oldest_ms == INT64_MIN || is_old(x, p->oldest_ms) ||
	       (x->topic->retention_bytes >= 0 && p->bytes > (uint64_t)x->topic->retention_bytes);
}

static void take(struct retaining *x, const struct segment_run *run)
{
	struct known_partition *p = x->p;

	p->log_start = run->end_offset;
	p->records -= run->records;
	p->bytes -= run->raw_bytes;
	p->expired_records += run->records;
	p->expired_bytes += run->raw_bytes;
	x->runs++;
	x->records += run->records;
	x->bytes += run->raw_bytes;
}

/* ---- pages ---- */

static int cut_page(struct retaining *x, int64_t page, const int64_t *objects, const struct segment_run *runs,
	size_t gone, size_t count, struct err *e)
{
	struct buf blob = BUF_INIT(RUNS_BLOB_MAX);
	int64_t max_timestamp = INT64_MIN;
	int result;

	for (size_t i = 0; i < gone; i++)
		if (meta_sqlite_garbage_less_living(x->m, objects[i], 1, e) < 0)
			return -1;
	if (gone == count)
		return meta_sqlite_run(x->m, SQL_PAGE_REMOVE, e, "i", page);
	for (size_t i = gone; i < count; i++)
		if (runs[i].max_timestamp > max_timestamp)
			max_timestamp = runs[i].max_timestamp;
	result = meta_sqlite_page_encode(&blob, objects + gone, runs + gone, count - gone, e);
	if (result == 0)
		result = meta_sqlite_run(x->m, SQL_PAGE_CUT, e, "iid", page, max_timestamp, &blob);
	buf_release(&blob);
	return result;
}

/* The partition's first page. 1: all of it went, look at the next; 0: the rest stays, or there is no page. */
static int retain_page(struct retaining *x, bool *there, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(x->m, SQL_PAGE_FIRST, e, "ii", x->topic->number, (int64_t)x->number);
	struct arena a = ARENA_INIT;
	size_t count = 0, gone = 0;
	struct segment_run *runs;
	int64_t *objects, page;
	int result = s ? meta_sqlite_step(x->m, s, e) : -1;

	*there = result > 0;
	if (result <= 0)
		return result;
	page = sqlite3_column_int64(s, 0);
	result = meta_sqlite_page_decode(x->m, sqlite3_column_blob(s, 1), sqlite3_column_bytes(s, 1), &a, &objects,
		&runs, &count, e);
	sqlite3_reset(s);
	for (; result == 0 && gone < count && goes(x, &runs[gone]); gone++) {
		take(x, &runs[gone]);
		x->page_end = runs[gone].end_offset;
		x->page_records += runs[gone].records;
		x->page_bytes += runs[gone].raw_bytes;
	}
	if (result == 0 && gone < count)
		x->p->oldest_ms = run_time(&runs[gone]);
	if (result == 0 && gone)
		result = cut_page(x, page, objects, runs, gone, count, e);
	arena_release(&a);
	return result < 0 ? -1 : gone == count;
}

static void retain_young(struct retaining *x)
{
	const struct known *k = &x->m->known;

	for (size_t i = 0; i < k->young_count; i++) {
		const struct segment_run *run =
			meta_sqlite_memory_young_run(k->young[i], &x->topic->id, x->number);

		if (!run || run->end_offset <= x->p->log_start)
			continue;
		if (!goes(x, run)) {
			x->p->oldest_ms = run_time(run);
			return;
		}
		take(x, run);
	}
	x->p->oldest_ms = INT64_MIN;
}

/* ---- a step ---- */

static int write_partition(struct retaining *x, struct err *e)
{
	struct known_partition *p = x->p;

	p->version = x->m->state.version;
	return meta_sqlite_run(x->m, SQL_PARTITION_EXPIRES, e, "iiiiiiiii", x->topic->number, (int64_t)x->number,
		p->log_start, x->page_end, (int64_t)x->page_records, (int64_t)x->page_bytes,
		(int64_t)p->expired_records, (int64_t)p->expired_bytes, (int64_t)p->version);
}

/* 1: the budget ended before the partition did. */
static int retain_partition(struct retaining *x, struct meta_retain *r, size_t *budget, struct err *e)
{
	bool there = true;
	int more = 1;

	while (more == 1 && *budget > 0) {
		more = retain_page(x, &there, e);
		(*budget)--;
	}
	if (more < 0)
		return -1;
	if (!there)
		retain_young(x);
	if (x->runs == 0)
		return more;
	if (r->runs == 0) { /* the first of this step: all share a version */
		x->m->state.version++;
		x->m->state_changed = true;
	}
	r->partitions++;
	r->runs += x->runs;
	r->records += x->records;
	r->bytes += x->bytes;
	return write_partition(x, e) < 0 ? -1 : more;
}

/* 1: the budget is used up. */
static int retain_topic(
	struct meta_sqlite *m, struct known_topic *t, struct meta_retain *r, size_t *budget, struct err *e)
{
	uint32_t first = t->number == m->retain_topic ? m->retain_partition : 0;

	for (uint32_t i = first; i < t->partition_count; i++) {
		struct retaining x = {.m = m, .r = r, .topic = t, .number = i, .p = &t->partitions[i]};
		int more = 0;

		if (!may_go(&x))
			continue;
		if (*budget)
			more = retain_partition(&x, r, budget, e);
		if (more < 0)
			return -1;
		if (more || *budget == 0) {
			m->retain_topic = t->number;
			m->retain_partition = i;
			return 1;
		}
	}
	return 0;
}

static int compare_topics(const void *a, const void *b)
{
	const struct known_topic *x = *(struct known_topic *const *)a, *y = *(struct known_topic *const *)b;

	return (x->number > y->number) - (x->number < y->number);
}

/* Living topics that do not keep for ever, from where the step before stopped. */
static struct known_topic **gather(const struct meta_sqlite *m, size_t *count)
{
	struct known_topic **all = mem_array(m->known.by_id.count + 1, sizeof(struct known_topic *));
	size_t it = 0, n = 0;
	void *value;

	while (map_next(&m->known.by_id, &it, NULL, NULL, &value)) {
		struct known_topic *t = value;

		if ((t->retention_ms >= 0 || t->retention_bytes >= 0) && t->number >= m->retain_topic)
			all[n++] = t;
	}
	if (n)
		qsort(all, n, sizeof(struct known_topic *), compare_topics);
	*count = n;
	return all;
}

static int retain_all(struct meta_sqlite *m, struct meta_retain *r, struct err *e)
{
	size_t budget = RETAIN_PAGES, count;
	struct known_topic **topics = gather(m, &count);
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++)
		result = retain_topic(m, topics[i], r, &budget, e);
	if (result == 0) { /* from the beginning next time */
		m->retain_topic = 0;
		m->retain_partition = 0;
	}
	mem_free(topics);
	return result;
}

int meta_sqlite_retain_step(struct meta *base, struct meta_retain *r, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	int result;

	r->partitions = r->runs = r->records = r->bytes = 0;
	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	result = meta_sqlite_retain_clock(m, &r->clock, e);
	if (result == 0)
		result = retain_all(m, r, e);
	if (result >= 0 && r->runs && meta_sqlite_garbage_bury_young(m, e) < 0)
		result = -1;
	/* Memory is ahead of the database now: give the whole transaction up, then it is read again. */
	if (result < 0)
		m->lost = true;
	return meta_sqlite_change_end(m, result, e);
}
