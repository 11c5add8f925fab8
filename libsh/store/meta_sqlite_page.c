/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Run indexes in the database: the blob of a young segment, and pages. When YOUNG_MAX segments are young (or
 * their runs reach YOUNG_RUNS_MAX) all of them are folded: a page for each partition they touch, with its
 * runs in order. Pages are found by (topic, partition, end offset): the first whose end is above an offset is
 * the one, also when there is a gap.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/base/crc32c.h"
#include "libsh/store/meta_sqlite.h"

/* ---- blobs ---- */

int meta_sqlite_page_encode(
	struct buf *out, const int64_t *objects, const struct segment_run *runs, size_t count, struct err *e)
{
	size_t start = out->len;

	buf_add_le32(out, 0);
	if (objects) {
		buf_add_le32(out, count);
		for (size_t i = 0; i < count; i++)
			buf_add_le64(out, objects[i]);
	}
	if (segment_runs_encode(out, runs, count) < 0 || out->overflow)
		return err_set(e, ERR_TOO_LARGE, "the index of %zu runs has more than %d bytes", count,
			RUNS_BLOB_MAX);
	put_le32(out->data + start, crc32c(0, out->data + start + 4, out->len - start - 4));
	return 0;
}

static int damaged(const struct meta_sqlite *m, struct err *e)
{
	err_set(e, ERR_CORRUPT, "metadata %s: an index of runs is damaged", m->path);
	return err_hint(e, "stop shd and keep the file; \"The metadata is damaged\" in streamhouse-recovery(7) says how to go on");
}

int meta_sqlite_page_decode(const struct meta_sqlite *m, const void *p, int n, struct arena *a,
	int64_t **objects, struct segment_run **runs, size_t *count, struct err *e)
{
	const uint8_t *data = p;
	size_t pos = 4, listed = 0;

	if (!p || n < 8 || get_le32(data) != crc32c(0, data + 4, n - 4))
		return damaged(m, e);
	if (objects) {
		listed = get_le32(data + 4);
		pos = 8;
		if (listed > ((size_t)n - pos) / 8)
			return damaged(m, e);
		*objects = arena_alloc(a, listed * sizeof(**objects));
		for (size_t i = 0; i < listed; i++, pos += 8)
			(*objects)[i] = get_le64(data + pos);
	}
	if (segment_runs_decode(data + pos, n - pos, a, runs, count, NULL) < 0 ||
		(objects && *count != listed))
		return damaged(m, e);
	return 0;
}

/* ---- folding ---- */

struct fold_run {
	const struct known_topic *topic;
	const struct segment_run *run;
	const struct young_segment *segment;
};

static int compare_fold_runs(const void *a, const void *b)
{
	const struct fold_run *x = a, *y = b;

	if (x->topic != y->topic)
		return x->topic->number < y->topic->number ? -1 : 1;
	if (x->run->partition != y->run->partition)
		return x->run->partition < y->run->partition ? -1 : 1;
	return (x->run->first_offset > y->run->first_offset) - (x->run->first_offset < y->run->first_offset);
}

/* Runs that are wanted, by partition and offset. */
static struct fold_run *gather(const struct meta_sqlite *m, size_t *count)
{
	const struct known *k = &m->known;
	struct fold_run *all = mem_array(k->young_runs + 1, sizeof(*all));
	size_t n = 0;

	for (size_t i = 0; i < k->young_count; i++)
		for (size_t r = 0; r < k->young[i]->count; r++) {
			const struct known_topic *t = meta_sqlite_memory_wanted(m, &k->young[i]->runs[r]);

			if (t)
				all[n++] = (struct fold_run){t, &k->young[i]->runs[r], k->young[i]};
		}
	if (n)
		qsort(all, n, sizeof(*all), compare_fold_runs);
	*count = n;
	return all;
}

static int write_page(struct meta_sqlite *m, uint64_t fold, const struct fold_run *f, size_t count,
	struct buf *blob, struct err *e)
{
	const struct known_partition *p = &f->topic->partitions[f->run->partition];
	int64_t objects[PAGE_RUNS_MAX], max_timestamp = INT64_MIN;
	struct segment_run runs[PAGE_RUNS_MAX];

	for (size_t i = 0; i < count; i++) {
		objects[i] = f[i].segment->number;
		runs[i] = *f[i].run;
		if (runs[i].max_timestamp > max_timestamp)
			max_timestamp = runs[i].max_timestamp;
	}
	buf_reset(blob);
	if (meta_sqlite_page_encode(blob, objects, runs, count, e) < 0 ||
		meta_sqlite_run(m, SQL_PAGE_INSERT, e, "iiiiid", (int64_t)fold, f->topic->number,
			(int64_t)f->run->partition, runs[count - 1].end_offset, max_timestamp, blob) < 0)
		return -1;
	return meta_sqlite_run(m, SQL_PARTITION_TOTALS, e, "iiii", f->topic->number,
		(int64_t)f->run->partition, (int64_t)p->records, (int64_t)p->bytes);
}

static int write_pages(
	struct meta_sqlite *m, uint64_t fold, const struct fold_run *f, size_t count, struct err *e)
{
	struct buf blob = BUF_INIT(RUNS_BLOB_MAX);
	int result = 0;

	for (size_t i = 0, n; i < count && result == 0; i += n) {
		for (n = 1; i + n < count && n < PAGE_RUNS_MAX && f[i + n].topic == f[i].topic &&
			    f[i + n].run->partition == f[i].run->partition;
			n++)
			;
		result = write_page(m, fold, &f[i], n, &blob, e);
	}
	buf_release(&blob);
	return result;
}

static int write_objects(struct meta_sqlite *m, struct err *e)
{
	const struct known *k = &m->known;

	for (size_t i = 0; i < k->young_count; i++) {
		const struct young_segment *y = k->young[i];
		int64_t living = 0;

		for (size_t r = 0; r < y->count; r++)
			living += meta_sqlite_memory_wanted(m, &y->runs[r]) != NULL;
		if (meta_sqlite_garbage_keep_ends(m, y, e) < 0)
			return -1;
		if ((living > 0 ? meta_sqlite_run(m, SQL_OBJECT_FOLDED, e, "ii", y->number, living) :
				  meta_sqlite_garbage_dies(m, y->number, y->object.bytes, e)) < 0)
			return -1;
	}
	for (size_t i = 0; i < k->slot_count; i++)
		if (meta_sqlite_run(m, SQL_SLOT_NUMBERS, e, "iii", (int64_t)k->slots[i].slot,
			    (int64_t)k->slots[i].last_number, (int64_t)k->slots[i].newest_committed) < 0)
			return -1;
	return 0;
}

static int fold_all(struct meta_sqlite *m, struct err *e)
{
	struct known *k = &m->known;
	size_t count;
	struct fold_run *f = gather(m, &count);
	int result = write_pages(m, k->young[k->young_count - 1]->object.sequence, f, count, e);

	mem_free(f);
	if (result < 0 || write_objects(m, e) < 0)
		return -1;
	m->state_changed = true; /* no young row carries the commit sequence any more */
	for (size_t i = 0; i < k->young_count; i++)
		meta_sqlite_memory_free_young(k->young[i]);
	k->young_count = k->young_runs = 0;
	return 0;
}

int meta_sqlite_page_fold(struct meta_sqlite *m, struct err *e)
{
	if (m->known.young_count < YOUNG_MAX && m->known.young_runs < YOUNG_RUNS_MAX)
		return 0;
	return meta_sqlite_page_fold_now(m, e);
}

int meta_sqlite_page_fold_now(struct meta_sqlite *m, struct err *e)
{
	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	return meta_sqlite_change_end(m, fold_all(m, e), e);
}

/* ---- finding ---- */

int meta_sqlite_page_search(struct meta_sqlite *m, const struct known_topic *t, uint32_t partition,
	int64_t from_offset, int64_t timestamp, struct arena *a, int64_t *object, struct segment_run *run,
	struct err *e)
{
	int64_t after = from_offset;

	for (;;) {
		sqlite3_stmt *s = meta_sqlite_bind(
			m, SQL_PAGE_FIND, e, "iiii", t->number, (int64_t)partition, after, timestamp);
		struct segment_run *runs;
		int64_t *objects;
		size_t count;
		int more;

		if (!s || (more = meta_sqlite_step(m, s, e)) <= 0)
			return s ? more : -1;
		after = sqlite3_column_int64(s, 0);
		more = meta_sqlite_page_decode(m, sqlite3_column_blob(s, 1), sqlite3_column_bytes(s, 1), a,
			&objects, &runs, &count, e);
		sqlite3_reset(s);
		if (more < 0)
			return -1;
		for (size_t i = 0; i < count; i++)
			if (runs[i].end_offset > from_offset && runs[i].max_timestamp >= timestamp) {
				*object = objects[i];
				*run = runs[i];
				return 1;
			}
		/* The page's newest timestamp was in a run before from_offset: go on behind the page. */
	}
}

static int read_object(
	struct meta_sqlite *m, int64_t number, struct arena *a, struct meta_object *o, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_OBJECT_BY_NUMBER, e, "i", number);
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	if (more == 0 || sqlite3_column_int64(s, 4) != OBJECT_LIVE) {
		sqlite3_reset(s);
		return err_set(e, ERR_CORRUPT,
			"metadata %s: runs lead to object number %lld, which is not there", m->path,
			(long long)number);
	}
	o->name = arena_strdup(a, (const char *)sqlite3_column_text(s, 0));
	o->bytes = sqlite3_column_int64(s, 1);
	o->crc = sqlite3_column_int64(s, 2);
	o->sequence = sqlite3_column_int64(s, 3);
	sqlite3_reset(s);
	return 0;
}

static int find_run(struct meta_sqlite *m, const struct known_topic *t, uint32_t partition,
	int64_t from_offset, int64_t timestamp, struct arena *a, struct meta_object *o,
	struct segment_run *run, struct err *e)
{
	int64_t object;
	int found = meta_sqlite_page_search(m, t, partition, from_offset, timestamp, a, &object, run, e);

	if (found < 0)
		return -1;
	if (found)
		return read_object(m, object, a, o, e);
	for (size_t i = 0; i < m->known.young_count; i++) {
		const struct young_segment *y = m->known.young[i];
		const struct segment_run *r = meta_sqlite_memory_young_run(y, &t->id, partition);

		if (!r || r->end_offset <= from_offset || r->max_timestamp < timestamp ||
			!meta_sqlite_memory_wanted(m, r))
			continue;
		*run = *r;
		*o = y->object;
		o->name = arena_strdup(a, y->object.name);
		return 0;
	}
	return err_set(e, ERR_NOT_FOUND, "no segment of topic %s, partition %u holds that or more", t->name,
		partition);
}

int meta_sqlite_page_run_find(struct meta *base, const struct uuid *topic, uint32_t partition,
	bool by_timestamp, int64_t value, int64_t from_offset, struct arena *a, struct meta_object *o,
	struct segment_run *run, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	const struct known_topic *t;
	char text[UUID_TEXT_BYTES];
	int result;

	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	t = meta_sqlite_memory_topic(m, topic);
	if (!t)
		return err_set(
			e, ERR_TOPIC_NOT_FOUND, "there is no topic with the id %s", uuid_format(topic, text));
	if (partition >= t->partition_count)
		return err_set(
			e, ERR_PARTITION_NOT_FOUND, "topic %s has no partition %u", t->name, partition);
	result = by_timestamp ? find_run(m, t, partition, from_offset, value, a, o, run, e) :
				find_run(m, t, partition, value, INT64_MIN, a, o, run, e);
	return meta_sqlite_read_end(m, result, e);
}

/* ---- every object ---- */

typedef int each_fn(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count);

struct object_run {
	int64_t object;
	struct segment_run run;
};
struct fold_group { /* what the pages of one fold hold, to be put together by object */
	struct object_run *runs;
	size_t count, room;
};

static int compare_object_runs(const void *a, const void *b)
{
	const struct object_run *x = a, *y = b;
	int c = (x->object > y->object) - (x->object < y->object);

	if (c == 0)
		c = uuid_compare(&x->run.topic, &y->run.topic);
	return c ? c : (x->run.partition > y->run.partition) - (x->run.partition < y->run.partition);
}

struct group_object {
	struct meta_object object;
	size_t first, count;
};

static int compare_sequences(const void *a, const void *b)
{
	const struct group_object *x = a, *y = b;

	return (x->object.sequence > y->object.sequence) - (x->object.sequence < y->object.sequence);
}

static int give_group(struct meta_sqlite *m, struct fold_group *g, each_fn *each, void *ctx, struct err *e)
{
	struct group_object objects[YOUNG_MAX];
	struct segment_run *runs = mem_array(g->count + 1, sizeof(*runs));
	struct arena a = ARENA_INIT;
	size_t n = 0;
	int result = 0;

	if (g->count)
		qsort(g->runs, g->count, sizeof(*g->runs), compare_object_runs);
	for (size_t i = 0; i < g->count && result == 0; i++) {
		runs[i] = g->runs[i].run;
		if (i > 0 && g->runs[i].object == g->runs[i - 1].object) {
			objects[n - 1].count++;
			continue;
		}
		if (n == YOUNG_MAX) {
			result = damaged(m, e);
			break;
		}
		objects[n].first = i;
		objects[n].count = 1;
		result = read_object(m, g->runs[i].object, &a, &objects[n++].object, e);
	}
	if (n)
		qsort(objects, n, sizeof(*objects), compare_sequences);
	for (size_t i = 0; i < n && result == 0; i++)
		result = each(ctx, &objects[i].object, runs + objects[i].first, objects[i].count);
	mem_free(runs);
	arena_release(&a);
	g->count = 0;
	return result;
}

/* One page into the group; those of deleted topics, not swept yet, are left out. */
static int add_page(struct meta_sqlite *m, sqlite3_stmt *s, struct fold_group *g, struct err *e)
{
	int64_t topic = sqlite3_column_int64(s, 1), *objects;
	struct arena a = ARENA_INIT;
	struct segment_run *runs;
	size_t count;

	if (!map_get(&m->known.by_number, &topic, sizeof(topic)))
		return 0;
	if (meta_sqlite_page_decode(m, sqlite3_column_blob(s, 2), sqlite3_column_bytes(s, 2), &a, &objects,
		    &runs, &count, e) < 0) {
		arena_release(&a);
		return -1;
	}
	if (g->count + count > g->room) {
		g->room = 2 * (g->count + count);
		g->runs = mem_realloc_array(g->runs, g->room, sizeof(*g->runs));
	}
	for (size_t i = 0; i < count; i++)
		g->runs[g->count++] = (struct object_run){objects[i], runs[i]};
	arena_release(&a);
	return 0;
}

static int each_folded(struct meta_sqlite *m, each_fn *each, void *ctx, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_PAGES, e, "");
	struct fold_group g = {NULL, 0, 0};
	int64_t fold = -1;
	int result = s ? 0 : -1, more = 0;

	while (result == 0 && (more = meta_sqlite_step(m, s, e)) == 1) {
		if (sqlite3_column_int64(s, 0) != fold)
			result = give_group(m, &g, each, ctx, e);
		fold = sqlite3_column_int64(s, 0);
		if (result == 0)
			result = add_page(m, s, &g, e);
	}
	if (result == 0)
		result = more < 0 ? -1 : give_group(m, &g, each, ctx, e);
	if (s)
		sqlite3_reset(s);
	mem_free(g.runs);
	return result;
}

static int each_young(struct meta_sqlite *m, each_fn *each, void *ctx)
{
	int result = 0;

	for (size_t i = 0; i < m->known.young_count && result == 0; i++) {
		const struct young_segment *y = m->known.young[i];
		struct segment_run *living = mem_array(y->count + 1, sizeof(*living));
		size_t count = 0;

		for (size_t r = 0; r < y->count; r++)
			if (meta_sqlite_memory_wanted(m, &y->runs[r]))
				living[count++] = y->runs[r];
		if (count)
			result = each(ctx, &y->object, living, count);
		mem_free(living);
	}
	return result;
}

int meta_sqlite_page_each_object(struct meta *base,
	int (*each)(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count),
	void *ctx, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	int result;

	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	result = each_folded(m, each, ctx, e);
	if (result == 0)
		result = each_young(m, each, ctx);
	return meta_sqlite_read_end(m, result, e);
}
