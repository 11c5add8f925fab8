/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/rebuild.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/crc32c.h"
#include "libsh/base/map.h"
#include "libsh/store/meta_restore.h"
#include "libsh/store/offline.h"

enum {
	NUMBERS_JUMP = 1000,      /* past all sessions, segments and commits that were seen: some may not have been */
	PRODUCERS_JUMP = 1000000,
	RUNS_MAX = 50000000,
	PARTITION_MAX = META_PARTITIONS_MAX,
};

struct segment { /* an object that could be read */
	struct meta_object object;
	struct segment_info info;
	size_t first_run, run_count; /* in runs, before those are sorted */
	size_t chosen, waiting, deleted, expired, doubled, in_doubt;
	struct segment_run *take;    /* the runs chosen, previous_end as the metadata is to have it */
	bool done;
};
struct run {
	struct segment_run run;
	size_t segment;
	int64_t reach; /* how far the chain goes that begins here */
};
struct work {
	struct rebuild *r;
	struct arena arena;
	struct snapshot snapshot;
	struct map topics; /* by id: struct snapshot_topic */
	struct map names;  /* of living topics */
	struct segment *segments;
	size_t segment_count, segment_room;
	struct run *runs;
	size_t run_count, run_room;
	struct map kept; /* names, with why */
	uint64_t incarnation, session;
	struct err *e;
};

static void __attribute__((format(printf, 4, 5))) note(
	struct work *w, bool damage, const char *where, const char *fmt, ...)
{
	struct buf text = BUF_INIT(4096);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	w->r->note(w->r->ctx, damage, where, text.data ? text.data : "");
	buf_release(&text);
}

static void keep(struct work *w, const char *name, const char *why)
{
	map_puts(&w->kept, name, arena_strdup(&w->arena, why));
}

/* ---- the snapshot ---- */

struct names {
	struct arena *arena;
	const char **list;
	size_t count, room;
};

static int add_name(void *ctx, const struct object_info *o)
{
	struct names *n = ctx;
	uint64_t incarnation, number;

	if (!snapshot_name_parse(o->name, &incarnation, &number))
		return 0;
	if (n->count == n->room) {
		n->room = n->room ? 2 * n->room : 16;
		n->list = mem_realloc_array(n->list, n->room, sizeof(*n->list));
	}
	n->list[n->count++] = arena_strdup(n->arena, o->name);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(const char *const *)b, *(const char *const *)a);
}

static int read_snapshot(struct work *w, const char *name, struct err *e)
{
	struct object_store *s = w->r->store;
	uint64_t bytes;
	void *p;
	int result;

	if (s->driver->size(s, name, &bytes, e) < 0)
		return -1;
	if (bytes > SNAPSHOT_MAX_BYTES)
		return err_set(e, ERR_CORRUPT, "it has %llu bytes, more than any snapshot", (unsigned long long)bytes);
	p = mem_alloc(bytes + 1);
	result = s->driver->get(s, name, 0, p, bytes, e);
	if (result == 0)
		result = snapshot_read(p, bytes, &w->arena, &w->snapshot, e);
	mem_free(p);
	return result;
}

static int find_snapshot(struct work *w, struct err *e)
{
	struct object_store *s = w->r->store;
	struct names n = {.arena = &w->arena};
	uint64_t number;
	int result = s->driver->list(s, "meta/", add_name, &n, e);

	if (n.count)
		qsort(n.list, n.count, sizeof(*n.list), newest_first);
	if (n.count)
		snapshot_name_parse(n.list[0], &w->incarnation, &number);
	for (size_t i = 0; result == 0 && i < n.count && !w->r->snapshot_found; i++) {
		struct err why = ERR_INIT;

		if (read_snapshot(w, n.list[i], &why) == 0)
			w->r->snapshot_found = true;
		else if (why.code == ERR_CORRUPT || why.code == ERR_NOT_FOUND)
			note(w, true, n.list[i], "%s: an older snapshot is used", why.text);
		else
			result = err_set(e, why.code, "%s: %s", n.list[i], why.text);
	}
	mem_free(n.list);
	if (result == 0 && !w->r->snapshot_found && !w->r->without_snapshot) {
		err_set(e, ERR_NOT_FOUND, "there is no snapshot of the metadata in the store that can be read");
		return err_hint(e, "--without-snapshot takes what segments say: configs are lost, and deleted topics may come back");
	}
	if (!w->r->snapshot_found)
		memset(&w->snapshot, 0, sizeof(w->snapshot));
	w->r->snapshot_incarnation = w->snapshot.incarnation;
	w->r->snapshot_number = w->snapshot.number;
	w->r->snapshot_taken_ms = w->snapshot.taken_ms;
	w->session = w->snapshot.session;
	return result;
}

/* ---- segments ---- */

static int add_runs(struct work *w, struct segment *s, const struct segment_file *f, struct err *e)
{
	s->first_run = w->run_count;
	s->run_count = f->run_count;
	if (w->run_count + f->run_count > RUNS_MAX)
		return err_set(e, ERR_TOO_LARGE, "the store holds more than %d runs", RUNS_MAX);
	if (w->run_count + f->run_count > w->run_room) {
		w->run_room = 2 * (w->run_count + f->run_count);
		w->runs = mem_realloc_array(w->runs, w->run_room, sizeof(*w->runs));
	}
	for (size_t i = 0; i < f->run_count; i++) {
		w->runs[w->run_count++] = (struct run){.run = f->runs[i].run, .segment = w->segment_count};
		if (f->runs[i].run.last_epoch > w->session)
			w->session = f->runs[i].run.last_epoch;
	}
	return 0;
}

static void learn_topics(struct work *w, const struct segment_file *f);

static int read_segment(struct work *w, const struct object_info *o, struct err *e)
{
	uint8_t trailer[SEGMENT_TRAILER_BYTES];
	struct offline_object object;
	struct segment_file f;
	struct segment *s;
	int result;

	offline_object_init(&object, w->r->store, o->name, o->bytes);
	if (segment_file_open(&f, &object.input, e) < 0)
		return -1;
	result = object.input.read(object.input.ctx, o->bytes - sizeof(trailer), trailer, sizeof(trailer), e);
	if (w->segment_count == w->segment_room) {
		w->segment_room = w->segment_room ? 2 * w->segment_room : 256;
		w->segments = mem_realloc_array(w->segments, w->segment_room, sizeof(*w->segments));
	}
	s = &w->segments[w->segment_count];
	*s = (struct segment){.info = f.info,
		.object = {.name = arena_strdup(&w->arena, o->name),
			.bytes = o->bytes,
			.crc = crc32c(f.trailer.object_crc, trailer, sizeof(trailer))}};
	if (result == 0)
		result = add_runs(w, s, &f, e);
	if (result == 0) {
		learn_topics(w, &f);
		w->segment_count++;
		w->session = f.info.session > w->session ? f.info.session : w->session;
	}
	segment_file_release(&f);
	return result;
}

static int on_object(void *ctx, const struct object_info *o)
{
	struct work *w = ctx;
	struct err why = ERR_INIT;
	uint64_t incarnation;

	if (!meta_object_name_parse(o->name, &incarnation))
		return 0;
	w->r->segments++;
	if (incarnation > w->incarnation)
		w->incarnation = incarnation;
	if (read_segment(w, o, &why) == 0)
		return 0;
	if (why.code != ERR_CORRUPT && why.code != ERR_NOT_FOUND && why.code != ERR_NOT_BUILT) {
		/* The store does not answer: that says nothing of what it holds. */
		err_set(w->e, why.code, "%s: %s", o->name, why.text);
		return err_hint(w->e, "try again; an object that is damaged for good can be moved out of the store");
	}
	w->r->unreadable++;
	note(w, true, o->name, "%s; it is left out", why.text);
	keep(w, o->name, "it could not be read");
	return 0;
}

/* ---- topics ---- */

static struct snapshot_topic *find_topic(const struct work *w, const struct uuid *id)
{
	return map_get(&w->topics, id->b, sizeof(id->b));
}

static void index_topics(struct work *w)
{
	for (size_t i = 0; i < w->snapshot.topic_count; i++) {
		struct snapshot_topic *t = arena_dup(&w->arena, &w->snapshot.topics[i], sizeof(*t));

		map_put(&w->topics, t->id.b, sizeof(t->id.b), t);
		if (!t->deleted)
			map_puts(&w->names, t->name, t);
	}
}

/* Partitions that the snapshot does not know were added after it. */
static void widen(struct work *w, struct snapshot_topic *t, uint32_t partitions)
{
	struct snapshot_partition *p;

	if (partitions <= t->partition_count)
		return;
	p = arena_alloc(&w->arena, partitions * sizeof(*p));
	if (t->partition_count)
		memcpy(p, t->partitions, t->partition_count * sizeof(*p));
	t->partitions = p;
	t->partition_count = partitions;
}

static void learn_topic(struct work *w, const struct segment_run_detail *d)
{
	struct snapshot_topic *t = find_topic(w, &d->run.topic);

	if (d->run.partition >= PARTITION_MAX || (t && t->deleted))
		return;
	if (!t && map_gets(&w->names, d->topic_name)) {
		note(w, true, d->topic_name, "segments hold another topic of that name, made after the snapshot: it is left out");
		return;
	}
	if (!t) {
		t = arena_alloc(&w->arena, sizeof(*t));
		*t = (struct snapshot_topic){.id = d->run.topic,
			.name = arena_strdup(&w->arena, d->topic_name),
			.config = "{}",
			.replication_factor = 1,
			.created_ms = clock_real_ms()};
		map_put(&w->topics, t->id.b, sizeof(t->id.b), t);
		map_puts(&w->names, t->name, t);
		note(w, false, t->name, "it is in no snapshot: it gets a config without settings");
	}
	widen(w, t, d->run.partition + 1);
}

static void learn_topics(struct work *w, const struct segment_file *f)
{
	for (size_t i = 0; i < f->run_count; i++)
		if (meta_topic_name_check(f->runs[i].topic_name, NULL) == 0)
			learn_topic(w, &f->runs[i]);
}

/* ---- chains ---- */

static int compare_runs(const void *a, const void *b)
{
	const struct run *x = a, *y = b;
	int c = uuid_compare(&x->run.topic, &y->run.topic);

	if (!c)
		c = (x->run.partition > y->run.partition) - (x->run.partition < y->run.partition);
	if (!c)
		c = (x->run.previous_end > y->run.previous_end) - (x->run.previous_end < y->run.previous_end);
	return c;
}

/* First of the sorted runs whose previous end is at least that. */
static size_t first_from(const struct run *runs, size_t count, int64_t previous_end)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (runs[middle].run.previous_end < previous_end)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void find_reaches(struct run *runs, size_t count)
{
	for (size_t i = count; i-- > 0;) {
		int64_t end = runs[i].run.end_offset;

		runs[i].reach = end;
		if (end <= runs[i].run.previous_end) /* no run at all */
			continue;
		for (size_t n = first_from(runs, count, end); n < count && runs[n].run.previous_end == end; n++)
			if (runs[n].reach > runs[i].reach)
				runs[i].reach = runs[n].reach;
	}
}

static bool is_better(const struct work *w, const struct run *a, const struct run *b)
{
	const struct segment_info *x = &w->segments[a->segment].info, *y = &w->segments[b->segment].info;

	if (a->reach != b->reach)
		return a->reach > b->reach;
	if (x->session != y->session)
		return x->session > y->session;
	return x->number > y->number;
}

static struct run *best_at(struct work *w, struct run *runs, size_t count, int64_t cursor)
{
	struct run *best = NULL;

	for (size_t i = first_from(runs, count, cursor); i < count && runs[i].run.previous_end == cursor; i++)
		if (!best || is_better(w, &runs[i], best))
			best = &runs[i];
	return best;
}

static void choose(struct work *w, struct run *run, int64_t previous_end)
{
	struct segment *s = &w->segments[run->segment];

	if (!s->take)
		s->take = arena_alloc(&w->arena, s->run_count * sizeof(*s->take));
	s->take[s->chosen] = run->run;
	s->take[s->chosen++].previous_end = previous_end;
}

struct chain {
	struct snapshot_partition *p;
	struct run *runs;
	size_t count;
	char where[META_TOPIC_NAME_MAX + 16];
};

/* Nothing begins at the cursor: where to go on; -1: nowhere. */
static int64_t after_gap(struct work *w, struct chain *c, int64_t cursor, bool begun)
{
	size_t next = first_from(c->runs, c->count, cursor);
	int64_t from = next < c->count ? c->runs[next].run.previous_end : -1;

	if (from < 0 || (begun && from > c->p->flushed_end && w->r->snapshot_found))
		return -1;
	note(w, true, c->where, "offsets %lld to %lld are in no segment%s", (long long)cursor, (long long)from - 1,
		begun ? "" : ": they expired after the snapshot, or are lost");
	return from;
}

/* Takes the chain, from the log start to *reached; returns where its first run begins. */
static int64_t follow(struct work *w, struct chain *c, int64_t *reached)
{
	int64_t cursor = c->p->log_start, end = cursor, begin = cursor;
	bool begun = false;

	for (;;) {
		struct run *run = best_at(w, c->runs, c->count, cursor);

		for (size_t i = 0; !run && !begun && i < c->count; i++) /* the log start may lie inside of a run */
			if (c->runs[i].run.previous_end < cursor && c->runs[i].run.end_offset > cursor) {
				run = &c->runs[i];
				begin = end = run->run.previous_end;
			}
		if (!run) {
			cursor = after_gap(w, c, cursor, begun);
			if (cursor < 0) {
				*reached = end;
				return begin;
			}
			if (!begun)
				c->p->log_start = begin = end = cursor;
			continue;
		}
		choose(w, run, end);
		begun = true;
		cursor = end = run->run.end_offset;
	}
}

/* What became of the runs that were not chosen, for the report, and for what must be kept. */
static void judge_rest(struct work *w, const struct chain *c, int64_t end)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct segment_run *run = &c->runs[i].run;
		struct segment *s = &w->segments[c->runs[i].segment];

		if (run->end_offset <= c->p->log_start)
			s->expired++;
		else if (run->end_offset <= end)
			s->doubled++;
		else
			s->in_doubt++;
	}
}

static void choose_chain(struct work *w, struct chain *c)
{
	int64_t wanted = c->p->flushed_end, end, begin;

	find_reaches(c->runs, c->count);
	begin = follow(w, c, &end);
	if (end < wanted)
		note(w, true, c->where, "offsets %lld to %lld were committed and are in no segment", (long long)end,
			(long long)wanted - 1);
	judge_rest(w, c, end);
	c->p->flushed_end = begin;
}

static void choose_all(struct work *w)
{
	if (w->run_count)
		qsort(w->runs, w->run_count, sizeof(*w->runs), compare_runs);
	for (size_t i = 0, n; i < w->run_count; i += n) {
		const struct segment_run *first = &w->runs[i].run;
		struct snapshot_topic *t = find_topic(w, &first->topic);
		struct chain c = {.runs = &w->runs[i]};

		for (n = 1; i + n < w->run_count && w->runs[i + n].run.partition == first->partition &&
			    uuid_equal(&w->runs[i + n].run.topic, &first->topic);
			n++)
			;
		c.count = n;
		if (t && !t->deleted && first->partition < t->partition_count) {
			c.p = &t->partitions[first->partition];
			snprintf(c.where, sizeof(c.where), "%s-%u", t->name, first->partition);
			choose_chain(w, &c);
			continue;
		}
		for (size_t k = 0; k < n; k++)
			*(t && t->deleted ? &w->segments[w->runs[i + k].segment].deleted :
					    &w->segments[w->runs[i + k].segment].in_doubt) += 1;
	}
}

/* ---- the new database ---- */

static struct snapshot_slot *find_slot(struct snapshot *s, const struct uuid *id)
{
	for (size_t i = 0; i < s->slot_count; i++)
		if (uuid_equal(&s->slots[i].id, id))
			return &s->slots[i];
	return NULL;
}

static void learn_slots(struct work *w)
{
	struct snapshot *s = &w->snapshot;

	for (size_t i = 0; i < w->segment_count; i++) {
		const struct segment_info *info = &w->segments[i].info;
		struct snapshot_slot *slot = find_slot(s, &info->slot), *wider;

		if (!slot) {
			wider = arena_alloc(&w->arena, (s->slot_count + 1) * sizeof(*wider));
			if (s->slot_count)
				memcpy(wider, s->slots, s->slot_count * sizeof(*wider));
			slot = &wider[s->slot_count];
			for (size_t n = 0; n < s->slot_count; n++)
				if (wider[n].number >= slot->number)
					slot->number = wider[n].number + 1;
			slot->id = info->slot;
			slot->session = info->session;
			s->slots = wider;
			s->slot_count++;
		}
		if (info->number > slot->last_number)
			slot->last_number = info->number;
		if (w->segments[i].chosen && info->number > slot->newest_committed)
			slot->newest_committed = info->number;
	}
	for (size_t i = 0; i < s->slot_count; i++) {
		s->slots[i].last_number += NUMBERS_JUMP;
		s->slots[i].session = w->session + 1 + i; /* never the same for two */
	}
}

/* Everything jumps past all that was seen, and what may have been given out since. */
static void set_counters(struct work *w)
{
	struct snapshot *s = &w->snapshot;
	size_t it = 0, count = 0;
	void *value;

	learn_slots(w);
	s->incarnation = w->incarnation + (1 << 20);
	s->session = w->session + NUMBERS_JUMP + s->slot_count;
	s->commit_sequence += NUMBERS_JUMP;
	s->version += NUMBERS_JUMP;
	s->producer_id = s->producer_id ? s->producer_id + PRODUCERS_JUMP : 0;
	s->topics = arena_alloc(&w->arena, (w->topics.count + 1) * sizeof(*s->topics));
	while (map_next(&w->topics, &it, NULL, NULL, &value))
		s->topics[count++] = *(struct snapshot_topic *)value;
	s->topic_count = count;
	w->r->incarnation = s->incarnation;
}

static int compare_segments(const void *a, const void *b)
{
	const struct segment_info *x = &((const struct segment *)a)->info, *y = &((const struct segment *)b)->info;
	int c = uuid_compare(&x->slot, &y->slot);

	if (!c)
		c = (x->first_lsn > y->first_lsn) - (x->first_lsn < y->first_lsn);
	return c ? c : (x->number > y->number) - (x->number < y->number);
}

/* Whether each of its runs begins where its partition ends by now; then those ends move. */
static bool fits(struct work *w, struct segment *s)
{
	for (size_t i = 0; i < s->chosen; i++)
		if (find_topic(w, &s->take[i].topic)->partitions[s->take[i].partition].flushed_end != s->take[i].previous_end)
			return false;
	for (size_t i = 0; i < s->chosen; i++)
		find_topic(w, &s->take[i].topic)->partitions[s->take[i].partition].flushed_end = s->take[i].end_offset;
	return true;
}

/* In the order of the log, which is that of commits; should a partition have moved, again for what had to wait. */
static int restore_objects(struct work *w, struct meta_restore *m, struct err *e)
{
	size_t left = 0, before;

	if (w->segment_count)
		qsort(w->segments, w->segment_count, sizeof(*w->segments), compare_segments);
	for (size_t i = 0; i < w->segment_count; i++)
		left += w->segments[i].chosen > 0;
	do {
		before = left;
		for (size_t i = 0; i < w->segment_count; i++) {
			struct segment *s = &w->segments[i];

			if (!s->chosen || s->done || !fits(w, s))
				continue;
			if (meta_restore_object(m, &s->object, find_slot(&w->snapshot, &s->info.slot)->number, s->info.number,
				    s->take, s->chosen, e) < 0)
				return -1;
			s->done = true;
			w->r->taken++;
			left--;
		}
	} while (left && left < before);
	return left ? err_set(e, ERR_CORRUPT, "%zu segments cannot be put into an order of commits", left) : 0;
}

static int restore_rest(struct work *w, struct meta_restore *m, struct err *e)
{
	const void *key;
	size_t it = 0, length;
	void *why;

	for (size_t i = 0; i < w->segment_count; i++) {
		const struct segment *s = &w->segments[i];

		if (s->chosen)
			continue;
		if (s->in_doubt) {
			note(w, false, s->object.name, "it does not follow what is known to be committed: left out, and kept");
			keep(w, s->object.name, "it has no place in its partitions");
			w->r->kept++;
		} else if (s->doubled) {
			w->r->doubled++;
		} else if (s->expired) {
			w->r->expired++;
		} else {
			w->r->deleted++;
		}
	}
	while (map_next(&w->kept, &it, &key, &length, &why)) {
		char *name = mem_strndup(key, length);
		int result = meta_restore_keep(m, name, why, e);

		mem_free(name);
		if (result < 0)
			return -1;
	}
	return 0;
}

struct wanted_end {
	struct uuid topic;
	uint32_t partition;
	int64_t end;
};

/* The ends that the snapshot names, before chains are followed. */
static struct wanted_end *gather_ends(struct work *w, size_t *count)
{
	struct wanted_end *ends = NULL;
	size_t n = 0, room = 0;

	for (size_t i = 0; i < w->snapshot.topic_count; i++)
		for (uint32_t p = 0; p < w->snapshot.topics[i].partition_count; p++) {
			if (n == room) {
				room = room ? 2 * room : 64;
				ends = mem_realloc_array(ends, room, sizeof(*ends));
			}
			ends[n++] = (struct wanted_end){
				w->snapshot.topics[i].id, p, w->snapshot.topics[i].partitions[p].flushed_end};
		}
	*count = n;
	return ends;
}

/* A partition of which the snapshot knows an end, but no segment is there: it begins, empty, where it ended. */
static void settle_empty(struct work *w)
{
	size_t it = 0;
	void *value;

	while (map_next(&w->topics, &it, NULL, NULL, &value)) {
		struct snapshot_topic *t = value;

		for (uint32_t p = 0; p < t->partition_count; p++) {
			struct run key = {.run = {.topic = t->id, .partition = p, .previous_end = INT64_MIN}};
			size_t low = 0, high = w->run_count;
			char where[META_TOPIC_NAME_MAX + 16];

			while (low < high) {
				size_t middle = low + (high - low) / 2;

				if (compare_runs(&w->runs[middle], &key) < 0)
					low = middle + 1;
				else
					high = middle;
			}
			if (low < w->run_count && w->runs[low].run.partition == p && uuid_equal(&w->runs[low].run.topic, &t->id))
				continue;
			snprintf(where, sizeof(where), "%s-%u", t->name, p);
			if (t->partitions[p].log_start < t->partitions[p].flushed_end)
				note(w, true, where, "offsets %lld to %lld were committed and are in no segment",
					(long long)t->partitions[p].log_start, (long long)t->partitions[p].flushed_end - 1);
			t->partitions[p].log_start = t->partitions[p].flushed_end;
		}
	}
}

static int restore_ends(struct work *w, struct meta_restore *m, const struct wanted_end *ends, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++) {
		const struct snapshot_topic *t = find_topic(w, &ends[i].topic);

		if (!t->deleted && t->partitions[ends[i].partition].flushed_end < ends[i].end &&
			meta_restore_end_at(m, &ends[i].topic, ends[i].partition, ends[i].end, e) < 0)
			return -1;
	}
	return 0;
}

static int restore(struct work *w, struct err *e)
{
	struct meta_restore *m = NULL;
	struct wanted_end *ends;
	size_t count;
	int result = -1;

	ends = gather_ends(w, &count);
	choose_all(w);
	settle_empty(w);
	set_counters(w);
	if (meta_restore_begin(w->r->path, &w->snapshot, &m, e) == 0 && restore_objects(w, m, e) == 0 &&
		restore_rest(w, m, e) == 0 && restore_ends(w, m, ends, count, e) == 0 &&
		meta_restore_finish(m, &w->r->counts, e) == 0)
		result = 0;
	meta_restore_free(m);
	mem_free(ends);
	return result;
}

int rebuild_run(struct rebuild *r, struct err *e)
{
	struct work w = {.r = r, .e = e};
	int result = -1;

	if (find_snapshot(&w, e) == 0) {
		index_topics(&w);
		result = r->store->driver->list(r->store, "segments/", on_object, &w, e);
		if (result == 0)
			result = restore(&w, e);
	}
	map_release(&w.topics);
	map_release(&w.names);
	map_release(&w.kept);
	mem_free(w.segments);
	mem_free(w.runs);
	arena_release(&w.arena);
	return result < 0 ? -1 : 0;
}
