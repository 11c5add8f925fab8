/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was chosen, into a new database: objects in the order of the log, which is that of commits, then what must be kept, and where
 * offsets go on when no run says so.
 */
#include <stdio.h>
#include <stdlib.h>
#include "libsh/store/rebuild_private.h"

static int compare_places(const void *a, const void *b)
{
	const struct rebuild_run *x = a, *y = b;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

/* Runs go back to the order of their segments. */
static void count_fates(struct rebuild_work *w)
{
	if (w->run_count)
		qsort(w->runs, w->run_count, sizeof(*w->runs), compare_places);
	for (size_t i = 0; i < w->run_count; i++)
		w->segments[w->runs[i].segment].fates[w->runs[i].fate]++;
}

static void put_topics(struct rebuild_work *w)
{
	struct snapshot *s = &w->snapshot;

	s->topics = arena_alloc(&w->arena, (w->topic_count + 1) * sizeof(*s->topics));
	s->topic_count = 0;
	for (size_t i = 0; i < w->topic_count; i++)
		if (!w->topics[i].left_out)
			s->topics[s->topic_count++] = w->topics[i].t;
}

/* ---- objects ---- */

static int compare_segments(const void *a, const void *b)
{
	const struct rebuild_segment *x = *(struct rebuild_segment *const *)a, *y = *(struct rebuild_segment *const *)b;
	int c = uuid_compare(&x->slot_id, &y->slot_id);

	if (!c)
		c = (x->first_lsn > y->first_lsn) - (x->first_lsn < y->first_lsn);
	return c ? c : (x->number > y->number) - (x->number < y->number);
}

static int64_t *end_of(struct rebuild_work *w, const struct rebuild_run *r)
{
	return &w->topics[r->topic].t.partitions[r->partition].flushed_end;
}

/* Whether each of its chosen runs begins where its partition ends by now; then those ends move. */
static bool fits(struct rebuild_work *w, const struct rebuild_segment *s)
{
	const struct rebuild_run *runs = &w->runs[s->first_run];

	for (uint32_t i = 0; i < s->run_count; i++)
		if (runs[i].fate == RUN_CHOSEN && *end_of(w, &runs[i]) != runs[i].previous_end)
			return false;
	for (uint32_t i = 0; i < s->run_count; i++)
		if (runs[i].fate == RUN_CHOSEN)
			*end_of(w, &runs[i]) = runs[i].end_offset;
	return true;
}

static int restore_object(struct rebuild_work *w, struct meta_restore *m, const struct rebuild_segment *s, struct err *e)
{
	struct meta_object object = {.bytes = s->bytes, .crc = s->crc};
	struct arena a = ARENA_INIT;
	struct segment_run *runs;
	size_t count = 0;
	int result = rebuild_segment_runs(w, s, &a, &runs, e);

	for (uint32_t i = 0; result == 0 && i < s->run_count; i++) {
		const struct rebuild_run *r = &w->runs[s->first_run + i];

		if (r->fate != RUN_CHOSEN)
			continue;
		runs[count] = runs[i];
		runs[count++].previous_end = r->previous_end;
	}
	object.name = rebuild_segment_name(&a, s);
	if (result == 0)
		result = meta_restore_object(m, &object, w->snapshot.slots[s->slot].number, s->number, runs, count, e);
	arena_release(&a);
	return result;
}

/* Should a partition have changed its slot, what had to wait is tried again. */
static int restore_objects(struct rebuild_work *w, struct meta_restore *m, struct err *e)
{
	struct rebuild_segment **left = mem_array(w->segment_count + 1, sizeof(struct rebuild_segment *));
	size_t count = 0, waiting;
	int result = 0;

	for (size_t i = 0; i < w->segment_count; i++)
		if (w->segments[i].fates[RUN_CHOSEN])
			left[count++] = &w->segments[i];
	if (count)
		qsort(left, count, sizeof(struct rebuild_segment *), compare_segments);
	do {
		waiting = 0;
		for (size_t i = 0; result == 0 && i < count; i++) {
			if (!fits(w, left[i])) {
				left[waiting++] = left[i];
				continue;
			}
			result = restore_object(w, m, left[i], e);
			w->r->taken++;
		}
		if (result == 0 && waiting && waiting == count)
			result = err_set(e, ERR_CORRUPT, "%zu segments cannot be put into an order of commits", waiting);
		count = waiting;
	} while (result == 0 && count);
	mem_free(left);
	return result;
}

/* ---- what is left out ---- */

static void keep_segment(struct rebuild_work *w, const struct rebuild_segment *s)
{
	struct arena a = ARENA_INIT;
	const char *name = rebuild_segment_name(&a, s);

	rebuild_note(w, false, name, "%u of its %u runs %s not follow what is known to be committed: left out, and kept",
		s->fates[RUN_IN_DOUBT], s->run_count, s->fates[RUN_IN_DOUBT] == 1 ? "does" : "do");
	rebuild_keep(w, name, "runs of it have no place in their partitions");
	w->r->kept++;
	arena_release(&a);
}

static void judge_segments(struct rebuild_work *w)
{
	for (size_t i = 0; i < w->segment_count; i++) {
		const struct rebuild_segment *s = &w->segments[i];

		if (s->fates[RUN_IN_DOUBT])
			keep_segment(w, s);
		else if (s->fates[RUN_CHOSEN])
			continue;
		else if (s->fates[RUN_DOUBLED])
			w->r->doubled++;
		else if (s->fates[RUN_EXPIRED])
			w->r->expired++;
		else
			w->r->deleted++;
	}
}

/* What deleted topics, log starts and other segments leave nothing of. */
static int restore_given_up(struct rebuild_work *w, struct meta_restore *m, struct err *e)
{
	int result = 0;

	for (size_t i = 0; result == 0 && i < w->segment_count; i++) {
		const struct rebuild_segment *s = &w->segments[i];
		struct arena a = ARENA_INIT;

		if (!s->fates[RUN_IN_DOUBT] && !s->fates[RUN_CHOSEN])
			result = meta_restore_give_up(m, rebuild_segment_name(&a, s), e);
		arena_release(&a);
	}
	return result;
}

static int restore_kept(struct rebuild_work *w, struct meta_restore *m, struct err *e)
{
	const void *key;
	size_t it = 0, length;
	void *why;

	while (map_next(&w->kept, &it, &key, &length, &why)) {
		char *name = mem_strndup(key, length);
		int result = meta_restore_keep(m, name, why, e);

		mem_free(name);
		if (result < 0)
			return -1;
	}
	return 0;
}

/* ---- ends ---- */

static int restore_end(struct meta_restore *m, const struct rebuild_topic *t, uint32_t partition, struct err *e)
{
	int64_t reached = t->t.partitions[partition].flushed_end, end = t->ends[partition];

	if (end <= reached)
		return 0;
	return meta_restore_end_at(m, &t->t.id, partition, reached, end, "the segments that held them are lost", e);
}

static int restore_ends(struct rebuild_work *w, struct meta_restore *m, struct err *e)
{
	for (size_t i = 0; i < w->topic_count; i++) {
		const struct rebuild_topic *t = &w->topics[i];

		if (t->t.deleted || t->left_out)
			continue;
		for (uint32_t p = 0; p < t->t.partition_count; p++)
			if (restore_end(m, t, p, e) < 0)
				return -1;
	}
	return 0;
}

int rebuild_write_all(struct rebuild_work *w, struct err *e)
{
	struct meta_restore *m = NULL;
	int result = -1;

	count_fates(w);
	judge_segments(w);
	if (rebuild_slot_finish(w, e) < 0)
		return -1;
	put_topics(w);
	if (meta_restore_begin(w->r->path, &w->snapshot, &m, e) == 0 && restore_objects(w, m, e) == 0 &&
		restore_kept(w, m, e) == 0 && restore_given_up(w, m, e) == 0 && restore_ends(w, m, e) == 0 && meta_restore_finish(m, &w->r->counts, e) == 0)
		result = 0;
	meta_restore_free(m);
	return result;
}
