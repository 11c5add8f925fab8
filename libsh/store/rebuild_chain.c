/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which runs make up a partition. They are taken as a chain from the log start: each begins where the one before ends.
 *
 * First those are put aside that later ones overtook. Epochs grow with each change of hands, and whoever takes over begins where the
 * metadata says that the partition ends; its predecessor commits nothing any more. So when a run of a later epoch begins at P,
 * whatever has only earlier epochs and reaches beyond P was never committed, though it may fit into a hole, or onto the end, by chance.
 *
 * Of several that can follow then, all hold the same batches as far as they go: a segment that was built twice, of which one lost its
 * race. The one that leads furthest is taken; equal ones by session and number.
 */
#include <stdio.h>
#include <stdlib.h>
#include "libsh/store/rebuild_private.h"

struct chain {
	struct rebuild_work *w;
	struct snapshot_partition *p;
	int64_t committed; /* the snapshot's flushed end */
	int64_t expired;   /* its log start: below it nothing is wanted. The partition's own moves up when its first runs are lost. */
	int64_t *end;      /* where offsets go on */
	bool learned;      /* the snapshot does not know the partition */
	struct rebuild_run *runs; /* sorted by previous end */
	size_t count;
	char where[META_TOPIC_NAME_MAX + 16];
};

static int compare_runs(const void *a, const void *b)
{
	const struct rebuild_run *x = a, *y = b;
	int c = (x->topic > y->topic) - (x->topic < y->topic);

	if (!c)
		c = (x->partition > y->partition) - (x->partition < y->partition);
	if (!c)
		c = (x->previous_end > y->previous_end) - (x->previous_end < y->previous_end);
	return c ? c : (x->end_offset > y->end_offset) - (x->end_offset < y->end_offset);
}

/* ---- those that were overtaken ---- */

static int compare_epochs(const void *a, const void *b)
{
	const struct rebuild_run *x = *(struct rebuild_run *const *)a, *y = *(struct rebuild_run *const *)b;

	return (x->first_epoch < y->first_epoch) - (x->first_epoch > y->first_epoch); /* latest first */
}

/* Moves them behind the others and leaves them out of c->count; their fate is to be in doubt. */
static void put_aside_overtaken(struct chain *c)
{
	struct rebuild_run **by_epoch = mem_array(c->count, sizeof(struct rebuild_run *));
	struct rebuild_run *runs = mem_array(c->count, sizeof(*runs));
	int64_t *lowest = mem_array(c->count, sizeof(*lowest)); /* beginning of those up to here */
	size_t kept = 0, aside = c->count;

	for (size_t i = 0; i < c->count; i++)
		by_epoch[i] = &c->runs[i];
	qsort(by_epoch, c->count, sizeof(struct rebuild_run *), compare_epochs);
	for (size_t i = 0; i < c->count; i++) {
		lowest[i] = by_epoch[i]->previous_end;
		if (i && lowest[i - 1] < lowest[i])
			lowest[i] = lowest[i - 1];
	}
	for (size_t i = 0; i < c->count; i++) {
		size_t low = 0, high = c->count; /* how many have a later epoch than all of this one */

		while (low < high) {
			size_t middle = low + (high - low) / 2;

			if (by_epoch[middle]->first_epoch > c->runs[i].last_epoch)
				low = middle + 1;
			else
				high = middle;
		}
		if (low && lowest[low - 1] < c->runs[i].end_offset)
			runs[--aside] = c->runs[i];
		else
			runs[kept++] = c->runs[i];
	}
	for (size_t i = 0; i < c->count; i++)
		c->runs[i] = runs[i];
	c->count = kept;
	mem_free(lowest);
	mem_free(runs);
	mem_free(by_epoch);
}

/* ---- the chain ---- */

/* First of the runs whose previous end is at least that. */
static size_t first_from(const struct chain *c, int64_t previous_end)
{
	size_t low = 0, high = c->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->runs[middle].previous_end < previous_end)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void find_reaches(struct chain *c)
{
	int64_t at = INT64_MIN, reach = INT64_MIN;

	/* Backwards: what begins at an end lies behind, and its reach is known. Equal ends share one look. */
	for (size_t i = c->count; i-- > 0;) {
		int64_t end = c->runs[i].end_offset;

		if (end != at) {
			at = reach = end;
			for (size_t n = first_from(c, end); n < c->count && c->runs[n].previous_end == end; n++)
				if (c->runs[n].reach > reach)
					reach = c->runs[n].reach;
		}
		c->runs[i].reach = reach;
	}
}

static bool is_better(const struct rebuild_work *w, const struct rebuild_run *a, const struct rebuild_run *b)
{
	const struct rebuild_segment *x = &w->segments[a->segment], *y = &w->segments[b->segment];

	if (a->reach != b->reach)
		return a->reach > b->reach;
	if (x->session != y->session)
		return x->session > y->session;
	return x->number > y->number;
}

static struct rebuild_run *best_at(struct chain *c, int64_t cursor)
{
	struct rebuild_run *best = NULL;

	for (size_t i = first_from(c, cursor); i < c->count && c->runs[i].previous_end == cursor; i++)
		if (!best || is_better(c->w, &c->runs[i], best))
			best = &c->runs[i];
	return best;
}

/* The first: the log start may lie inside of a run. */
static struct rebuild_run *best_around(struct chain *c, int64_t log_start)
{
	struct rebuild_run *best = NULL;

	for (size_t i = 0; i < c->count && c->runs[i].previous_end <= log_start; i++)
		if (c->runs[i].end_offset > log_start && (!best || is_better(c->w, &c->runs[i], best)))
			best = &c->runs[i];
	return best;
}

/* Nothing begins at the cursor: where to go on; -1: nowhere. */
static int64_t after_gap(struct chain *c, int64_t cursor, bool begun)
{
	size_t next = first_from(c, cursor);
	int64_t from = next < c->count ? c->runs[next].previous_end : -1;

	if (from < 0 || (begun && from > c->committed && c->w->r->snapshot_found))
		return -1;
	rebuild_note(c->w, true, c->where, "offsets %lld to %lld are in no segment that follows%s", (long long)cursor, (long long)from - 1,
		begun ? "" : ": they expired after the snapshot, or are lost");
	return from;
}

/* Takes the chain, from the log start to *reached; returns where its first run begins. */
static int64_t follow(struct chain *c, int64_t *reached)
{
	struct rebuild_run *run = best_around(c, c->p->log_start);
	int64_t cursor = c->p->log_start, begin = run ? run->previous_end : cursor;
	bool begun = false;

	*reached = begin;
	for (;;) {
		if (!run) {
			cursor = after_gap(c, cursor, begun);
			if (cursor < 0)
				return begin;
			if (!begun)
				c->p->log_start = begin = *reached = cursor;
			run = best_at(c, cursor);
		}
		run->fate = RUN_CHOSEN;
		run->previous_end = *reached; /* a hole is recorded */
		begun = true;
		if (c->learned)
			c->p->slot = c->w->snapshot.slots[c->w->segments[run->segment].slot].number;
		cursor = *reached = run->end_offset;
		run = best_at(c, cursor);
	}
}

/* ---- the others ---- */

/* Whether chosen ones hold all offsets of it that are wanted: they follow each other, so it is enough to walk along those that meet it. */
static bool is_covered(const struct rebuild_run *chosen, size_t count, int64_t from, int64_t end)
{
	size_t low = 0, high = count;

	while (low < high) { /* the first that ends behind `from` */
		size_t middle = low + (high - low) / 2;

		if (chosen[middle].end_offset <= from)
			low = middle + 1;
		else
			high = middle;
	}
	for (; from < end; from = chosen[low++].end_offset)
		if (low == count || chosen[low].first_offset > from)
			return false;
	return true;
}

static int compare_first(const void *a, const void *b)
{
	const struct rebuild_run *x = a, *y = b;

	return (x->first_offset > y->first_offset) - (x->first_offset < y->first_offset);
}

/* What became of the runs that were not chosen, for the report, and for what must be kept. */
static void judge_rest(struct chain *c, size_t all)
{
	struct rebuild_run *chosen = mem_array(all + 1, sizeof(*chosen));
	size_t count = 0;

	for (size_t i = 0; i < all; i++)
		if (c->runs[i].fate == RUN_CHOSEN)
			chosen[count++] = c->runs[i];
	if (count)
		qsort(chosen, count, sizeof(*chosen), compare_first);
	for (size_t i = 0; i < all; i++) {
		struct rebuild_run *r = &c->runs[i];
		int64_t from = r->first_offset > c->p->log_start ? r->first_offset : c->p->log_start;

		if (r->fate == RUN_CHOSEN)
			continue;
		if (r->end_offset <= c->expired)
			r->fate = RUN_EXPIRED;
		else if (i < c->count && is_covered(chosen, count, from, r->end_offset))
			r->fate = RUN_DOUBLED;
	}
	mem_free(chosen);
}

static void choose(struct chain *c)
{
	size_t all = c->count;
	int64_t end;

	put_aside_overtaken(c);
	find_reaches(c);
	c->p->flushed_end = follow(c, &end);
	*c->end = end > c->committed ? end : c->committed;
	if (end < c->committed)
		rebuild_note(c->w, true, c->where, "offsets %lld to %lld were committed and are in no segment", (long long)end,
			(long long)c->committed - 1);
	judge_rest(c, all);
}

/* ---- all partitions ---- */

/* One of which the snapshot knows an end, but no segment is there: it begins, empty, where it ended. */
static void settle_empty(struct chain *c)
{
	if (c->p->log_start < c->p->flushed_end)
		rebuild_note(c->w, true, c->where, "offsets %lld to %lld were committed and are in no segment", (long long)c->p->log_start,
			(long long)c->p->flushed_end - 1);
	c->p->log_start = *c->end = c->p->flushed_end;
}

static void choose_topic(struct rebuild_work *w, struct rebuild_topic *t, struct rebuild_run *runs, size_t count)
{
	t->ends = arena_alloc(&w->arena, (t->t.partition_count + (size_t)1) * sizeof(*t->ends));
	for (uint32_t p = 0; p < t->t.partition_count; p++) {
		struct chain c = {.w = w, .p = &t->t.partitions[p], .end = &t->ends[p], .learned = p >= t->partitions_known, .runs = runs};

		c.committed = c.p->flushed_end;
		c.expired = c.p->log_start;
		snprintf(c.where, sizeof(c.where), "%s-%u", t->t.name, p);
		while (c.count < count && runs[c.count].partition == p)
			c.count++;
		runs += c.count;
		count -= c.count;
		if (c.count)
			choose(&c);
		else
			settle_empty(&c);
		if (w->r->logs_lost)
			c.p->offset_floor = (*c.end > c.p->offset_floor ? *c.end : c.p->offset_floor) + REBUILD_OFFSETS_JUMP;
	}
}

void rebuild_chain_choose_all(struct rebuild_work *w)
{
	size_t at = 0;

	if (w->run_count)
		qsort(w->runs, w->run_count, sizeof(*w->runs), compare_runs);
	for (uint32_t i = 0; i < w->topic_count; i++) {
		struct rebuild_topic *t = &w->topics[i];
		size_t count = 0;

		while (at + count < w->run_count && w->runs[at + count].topic == i)
			count++;
		if (!t->t.deleted && !t->left_out)
			choose_topic(w, t, &w->runs[at], count);
		for (size_t n = 0; t->t.deleted && n < count; n++)
			w->runs[at + n].fate = RUN_DELETED;
		at += count;
	}
}
