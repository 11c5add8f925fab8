/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the driver keeps in memory: living topics with the ends of their partitions, slots, and the young
 * segments. It is read once at open. The end of a partition is the end of its newest page, or where it
 * begins, and then of its young runs, each of which must continue where the one before ended.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/store/meta_sqlite.h"

/* ---- topics ---- */

struct known_topic *meta_sqlite_memory_topic(const struct meta_sqlite *m, const struct uuid *id)
{
	return map_get(&m->known.by_id, id->b, sizeof(id->b));
}

void meta_sqlite_memory_add_topic(struct meta_sqlite *m, struct known_topic *t)
{
	struct known *k = &m->known;

	map_put(&k->by_id, t->id.b, sizeof(t->id.b), t);
	map_put(&k->by_number, &t->number, sizeof(t->number), t);
	map_puts(&k->by_name, t->name, t);
	k->partition_count += t->partition_count;
	k->config_bytes += t->config_bytes;
}

struct known_topic *meta_sqlite_memory_wanted(const struct meta_sqlite *m, const struct segment_run *r)
{
	struct known_topic *t = meta_sqlite_memory_topic(m, &r->topic);

	return t && r->end_offset > t->partitions[r->partition].log_start ? t : NULL;
}

static void free_topic(struct known_topic *t)
{
	mem_free(t->name);
	mem_free(t->partitions);
	mem_free(t);
}

void meta_sqlite_memory_remove_topic(struct meta_sqlite *m, struct known_topic *t)
{
	struct known *k = &m->known;

	map_del(&k->by_id, t->id.b, sizeof(t->id.b));
	map_del(&k->by_number, &t->number, sizeof(t->number));
	map_del(&k->by_name, t->name, strlen(t->name));
	k->partition_count -= t->partition_count;
	k->config_bytes -= t->config_bytes;
	free_topic(t);
}

static int load_topics(struct meta_sqlite *m, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_TOPICS, e, "");
	int more;

	if (!s)
		return -1;
	while ((more = meta_sqlite_step(m, s, e)) == 1) {
		struct known_topic *t = mem_zalloc(sizeof(*t));
		int64_t partitions = sqlite3_column_int64(s, 3);

		t->number = sqlite3_column_int64(s, 0);
		t->name = mem_strdup((const char *)sqlite3_column_text(s, 2));
		t->version = sqlite3_column_int64(s, 4);
		t->config_bytes = sqlite3_column_bytes(s, 5);
		meta_config_retention((const char *)sqlite3_column_text(s, 5), &t->retention_ms,
			&t->retention_bytes);
		if (partitions < 1 || partitions > META_PARTITIONS_MAX)
			err_set(e, ERR_CORRUPT, "metadata %s: topic %s has %lld partitions", m->path, t->name,
				(long long)partitions);
		if (partitions < 1 || partitions > META_PARTITIONS_MAX ||
			meta_sqlite_column_uuid(m, s, 1, &t->id, e) < 0) {
			free_topic(t);
			sqlite3_reset(s);
			return -1;
		}
		t->partition_count = partitions;
		t->partitions = mem_zalloc(t->partition_count * sizeof(*t->partitions));
		meta_sqlite_memory_add_topic(m, t);
	}
	return more;
}

static int load_end(struct meta_sqlite *m, const struct known_topic *t, uint32_t partition, struct err *e)
{
	struct known_partition *p = &t->partitions[partition];
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_PAGE_LAST_END, e, "ii", t->number, (int64_t)partition);
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	if (more && sqlite3_column_int64(s, 0) > p->flushed_end)
		p->flushed_end = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return 0;
}

static int load_partitions(struct meta_sqlite *m, const struct known_topic *t, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_PARTITIONS, e, "i", t->number);
	uint32_t next = 0;
	int more;

	if (!s)
		return -1;
	while ((more = meta_sqlite_step(m, s, e)) == 1 && next < t->partition_count &&
		sqlite3_column_int64(s, 0) == next) {
		struct known_partition *p = &t->partitions[next];

		p->slot = sqlite3_column_int64(s, 1);
		p->epoch_floor = sqlite3_column_int64(s, 2);
		p->log_start = sqlite3_column_int64(s, 3);
		p->flushed_end = sqlite3_column_int64(s, 4);
		p->records = sqlite3_column_int64(s, 5);
		p->bytes = sqlite3_column_int64(s, 6);
		p->version = sqlite3_column_int64(s, 7);
		p->expired_records = sqlite3_column_int64(s, 8);
		p->expired_bytes = sqlite3_column_int64(s, 9);
		p->offset_floor = sqlite3_column_int64(s, 10);
		p->oldest_ms = INT64_MIN;
		if (load_end(m, t, next, e) < 0)
			break;
		next++;
	}
	sqlite3_reset(s);
	if (more == 0 && next == t->partition_count)
		return 0;
	if (more >= 0 && (!e || e->code == ERR_NONE))
		err_set(e, ERR_CORRUPT, "metadata %s: rows of partitions of topic %s are missing", m->path,
			t->name);
	return -1;
}

static int load_all_partitions(struct meta_sqlite *m, struct err *e)
{
	size_t it = 0;
	void *value;

	while (map_next(&m->known.by_number, &it, NULL, NULL, &value))
		if (load_partitions(m, value, e) < 0)
			return -1;
	return 0;
}

/* ---- slots ---- */

struct known_slot *meta_sqlite_memory_slot(const struct meta_sqlite *m, uint32_t slot)
{
	for (size_t low = 0, high = m->known.slot_count; low < high;) {
		size_t middle = low + (high - low) / 2;
		struct known_slot *s = &m->known.slots[middle];

		if (s->slot == slot)
			return s;
		if (s->slot < slot)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct known_slot *meta_sqlite_memory_session(const struct meta_sqlite *m, uint64_t session)
{
	for (size_t i = 0; i < m->known.slot_count; i++)
		if (m->known.slots[i].session == session)
			return m->known.slots[i].open ? &m->known.slots[i] : NULL;
	return NULL;
}

uint32_t meta_sqlite_memory_epoch(const struct meta_sqlite *m, const struct known_partition *p)
{
	const struct known_slot *s = meta_sqlite_memory_slot(m, p->slot);

	return s && s->session > p->epoch_floor ? s->session : p->epoch_floor;
}

static int load_slots(struct meta_sqlite *m, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_SLOTS, e, "");
	struct known *k = &m->known;
	int more;

	if (!s)
		return -1;
	while ((more = meta_sqlite_step(m, s, e)) == 1) {
		struct known_slot *slot;

		k->slots = mem_realloc_array(k->slots, k->slot_count + 1, sizeof(*k->slots));
		slot = &k->slots[k->slot_count++];
		memset(slot, 0, sizeof(*slot));
		slot->slot = sqlite3_column_int64(s, 0);
		slot->session = sqlite3_column_int64(s, 2);
		slot->opened_ms = sqlite3_column_int64(s, 3);
		slot->open = sqlite3_column_type(s, 4) == SQLITE_NULL;
		slot->ended_ms = sqlite3_column_int64(s, 4);
		slot->last_number = sqlite3_column_int64(s, 5);
		slot->newest_committed = sqlite3_column_int64(s, 6);
		slot->ttl_ms = sqlite3_column_int64(s, 7);
		if (meta_sqlite_column_uuid(m, s, 1, &slot->id, e) < 0) {
			sqlite3_reset(s);
			return -1;
		}
	}
	return more;
}

static int load_pending(struct meta_sqlite *m, struct err *e)
{
	for (size_t i = 0; i < m->known.slot_count; i++) {
		struct known_slot *slot = &m->known.slots[i];
		sqlite3_stmt *s = meta_sqlite_bind(m, SQL_PENDING_COUNT, e, "i", (int64_t)slot->slot);

		if (!s || meta_sqlite_step(m, s, e) < 0)
			return -1;
		slot->pending = sqlite3_column_int64(s, 0);
		sqlite3_reset(s);
	}
	return 0;
}

/* ---- young segments ---- */

static int compare_runs(const void *a, const void *b)
{
	const struct segment_run *x = a, *y = b;
	int c = uuid_compare(&x->topic, &y->topic);

	return c ? c : (x->partition > y->partition) - (x->partition < y->partition);
}

struct young_segment *meta_sqlite_memory_new_young(
	int64_t number, const struct meta_object *o, const struct segment_run *runs, size_t count)
{
	struct young_segment *y = mem_zalloc(sizeof(*y));

	y->number = number;
	y->object = *o;
	y->object.name = arena_strdup(&y->arena, o->name);
	y->runs = arena_dup(&y->arena, runs, count * sizeof(*runs));
	y->count = count;
	qsort(y->runs, count, sizeof(*runs), compare_runs);
	return y;
}

void meta_sqlite_memory_free_young(struct young_segment *y)
{
	if (!y)
		return;
	arena_release(&y->arena);
	mem_free(y);
}

/* The caller has checked that there is room and that every run continues its partition. */
void meta_sqlite_memory_push_young(struct meta_sqlite *m, struct young_segment *y)
{
	struct known *k = &m->known;

	for (size_t i = 0; i < y->count; i++) {
		const struct segment_run *r = &y->runs[i];
		struct known_topic *t = meta_sqlite_memory_topic(m, &r->topic);

		if (!t) /* deleted since */
			continue;
		if (r->end_offset > t->partitions[r->partition].flushed_end)
			t->partitions[r->partition].flushed_end = r->end_offset;
		if (!meta_sqlite_memory_wanted(m, r))
			continue;
		t->partitions[r->partition].records += r->records;
		t->partitions[r->partition].bytes += r->raw_bytes;
	}
	k->young[k->young_count++] = y;
	k->young_runs += y->count;
}

const struct segment_run *meta_sqlite_memory_young_run(
	const struct young_segment *y, const struct uuid *topic, uint32_t partition)
{
	struct segment_run key = {.topic = *topic, .partition = partition};

	return y->count ? bsearch(&key, y->runs, y->count, sizeof(key), compare_runs) : NULL;
}

static int check_young(const struct meta_sqlite *m, const struct young_segment *y, struct err *e)
{
	for (size_t i = 0; i < y->count; i++) {
		const struct segment_run *r = &y->runs[i];
		const struct known_topic *t = meta_sqlite_memory_topic(m, &r->topic);

		if (!t)
			continue;
		/* Expired, and its end kept when a younger segment that held only such runs was removed. */
		if (r->partition < t->partition_count && !meta_sqlite_memory_wanted(m, r) &&
			r->end_offset <= t->partitions[r->partition].flushed_end)
			continue;
		if (r->partition >= t->partition_count ||
			r->previous_end != t->partitions[r->partition].flushed_end ||
			r->first_offset < r->previous_end || r->end_offset <= r->first_offset)
			return err_set(e, ERR_CORRUPT,
				"metadata %s: the run of topic %s, partition %u in object %s does not begin"
				" where the one before ends",
				m->path, t->name, r->partition, y->object.name);
	}
	return 0;
}

static int load_young_row(struct meta_sqlite *m, sqlite3_stmt *s, uint64_t stored_sequence, struct err *e)
{
	struct meta_object o = {.name = (const char *)sqlite3_column_text(s, 1),
		.bytes = sqlite3_column_int64(s, 4),
		.crc = sqlite3_column_int64(s, 5),
		.sequence = sqlite3_column_int64(s, 6)};
	struct known_slot *slot = meta_sqlite_memory_slot(m, sqlite3_column_int64(s, 2));
	uint64_t number = sqlite3_column_int64(s, 3);
	struct arena a = ARENA_INIT;
	struct segment_run *runs;
	struct young_segment *y = NULL;
	size_t count;
	int result = -1;

	if (m->known.young_count == YOUNG_MAX) {
		err_set(e, ERR_CORRUPT, "metadata %s: more than %d segments are not folded", m->path,
			YOUNG_MAX);
		goto out;
	}
	if (meta_sqlite_page_decode(m, sqlite3_column_blob(s, 7), sqlite3_column_bytes(s, 7), &a, NULL, &runs,
		    &count, e) < 0) {
		err_prefix(e, "object %s", o.name);
		goto out;
	}
	y = meta_sqlite_memory_new_young(sqlite3_column_int64(s, 0), &o, runs, count);
	if (check_young(m, y, e) < 0)
		goto out;
	meta_sqlite_memory_push_young(m, y);
	y = NULL;
	if (slot && number > slot->newest_committed)
		slot->newest_committed = number;
	/* Commits do not write the state row: what it misses is counted here. */
	if (o.sequence > stored_sequence) {
		m->state.commit_sequence = o.sequence;
		m->state.live_objects++;
		m->state.live_bytes += o.bytes;
	}
	result = 0;
out:
	meta_sqlite_memory_free_young(y);
	arena_release(&a);
	return result;
}

static int load_young(struct meta_sqlite *m, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_OBJECTS_YOUNG, e, "");
	uint64_t stored_sequence = m->state.commit_sequence;
	int more;

	if (!s)
		return -1;
	while ((more = meta_sqlite_step(m, s, e)) == 1)
		if (load_young_row(m, s, stored_sequence, e) < 0) {
			sqlite3_reset(s);
			return -1;
		}
	return more;
}

static int load_state(struct meta_sqlite *m, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_STATE_READ, e, "");
	struct global_state *g = &m->state;
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	if (more == 0)
		return err_set(e, ERR_CORRUPT, "metadata %s: the row of table state is missing", m->path);
	g->incarnation = sqlite3_column_int64(s, 0);
	g->version = sqlite3_column_int64(s, 1);
	g->session = sqlite3_column_int64(s, 2);
	g->commit_sequence = sqlite3_column_int64(s, 3);
	g->producer_id = sqlite3_column_int64(s, 4);
	g->live_objects = sqlite3_column_int64(s, 5);
	g->live_bytes = sqlite3_column_int64(s, 6);
	g->snapshot = sqlite3_column_int64(s, 7);
	g->founded = sqlite3_column_int64(s, 8);
	sqlite3_reset(s);
	return 0;
}

int meta_sqlite_memory_load(struct meta_sqlite *m, struct err *e)
{
	struct err ours = ERR_INIT;

	meta_sqlite_memory_release(m);
	m->state_changed = false;
	if (load_state(m, &ours) == 0 && load_slots(m, &ours) == 0 && load_pending(m, &ours) == 0 &&
		load_topics(m, &ours) == 0 && load_all_partitions(m, &ours) == 0 && load_young(m, &ours) == 0)
		return 0;
	if (e)
		*e = ours;
	return -1;
}

void meta_sqlite_memory_release(struct meta_sqlite *m)
{
	struct known *k = &m->known;
	size_t it = 0;
	void *value;

	while (map_next(&k->by_number, &it, NULL, NULL, &value))
		free_topic(value);
	map_release(&k->by_id);
	map_release(&k->by_number);
	map_release(&k->by_name);
	for (size_t i = 0; i < k->young_count; i++)
		meta_sqlite_memory_free_young(k->young[i]);
	mem_free(k->slots);
	memset(k, 0, sizeof(*k));
}
