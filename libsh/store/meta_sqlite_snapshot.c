/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the metadata goes into a snapshot, and what keeps the object store and the metadata together: how a
 * name stands here, and whether something in the store is from a time that is ahead of ours.
 */
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/store/meta_sqlite.h"

static void fill_slots(const struct meta_sqlite *m, struct arena *a, struct snapshot *s)
{
	s->slot_count = m->known.slot_count;
	s->slots = arena_alloc(a, (s->slot_count + 1) * sizeof(*s->slots));
	for (size_t i = 0; i < s->slot_count; i++) {
		const struct known_slot *k = &m->known.slots[i];

		s->slots[i] = (struct snapshot_slot){.id = k->id,
			.number = k->slot,
			.session = k->session,
			.last_number = k->last_number,
			.newest_committed = k->newest_committed};
	}
}

static void fill_partitions(const struct meta_sqlite *m, struct arena *a, struct snapshot_topic *t)
{
	const struct known_topic *k = meta_sqlite_memory_topic(m, &t->id);

	t->partition_count = k->partition_count;
	t->partitions = arena_alloc(a, k->partition_count * sizeof(*t->partitions));
	for (uint32_t i = 0; i < k->partition_count; i++) {
		const struct known_partition *p = &k->partitions[i];

		t->partitions[i] = (struct snapshot_partition){.slot = p->slot,
			.epoch = meta_sqlite_memory_epoch(m, p),
			.log_start = p->log_start,
			.flushed_end = p->flushed_end,
			.expired_records = p->expired_records,
			.expired_bytes = p->expired_bytes,
			.offset_floor = p->offset_floor};
	}
}

static int fill_topics(struct meta_sqlite *m, struct arena *a, struct snapshot *s, struct err *e)
{
	struct meta_partition *partitions;
	struct meta_topic *topics;
	size_t partition_count;
	uint64_t version;

	if (meta_sqlite_topic_changes(&m->meta, 0, a, &topics, &s->topic_count, &partitions, &partition_count,
		    &version, e) < 0)
		return -1;
	s->topics = arena_alloc(a, (s->topic_count + 1) * sizeof(*s->topics));
	for (size_t i = 0; i < s->topic_count; i++) {
		s->topics[i] = (struct snapshot_topic){.id = topics[i].id,
			.name = topics[i].name,
			.config = topics[i].config,
			.replication_factor = topics[i].replication_factor,
			.created_ms = topics[i].created_ms,
			.deleted = topics[i].deleted};
		if (!topics[i].deleted)
			fill_partitions(m, a, &s->topics[i]);
	}
	return 0;
}

int meta_sqlite_snapshot_take(
	struct meta *base, const struct snapshot *since, struct arena *a, struct snapshot *s, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	const struct global_state *g = &m->state;

	memset(s, 0, sizeof(*s));
	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	if (meta_sqlite_snapshot_check(m, e) < 0)
		return meta_sqlite_change_end(m, -1, e);
	if (since && since->version == g->version && since->session == g->session &&
		since->commit_sequence == g->commit_sequence && since->producer_id == g->producer_id)
		return meta_sqlite_change_end(m, 0, e);
	m->state.snapshot++;
	m->state_changed = true;
	s->incarnation = g->incarnation;
	s->number = g->snapshot;
	s->taken_ms = clock_real_ms();
	s->version = g->version;
	s->session = g->session;
	s->commit_sequence = g->commit_sequence;
	s->producer_id = g->producer_id;
	fill_slots(m, a, s);
	return meta_sqlite_change_end(m, fill_topics(m, a, s, e) < 0 ? -1 : 1, e);
}

int meta_sqlite_snapshot_position(struct meta *base, struct meta_position *p, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	*p = (struct meta_position){
		.incarnation = m->state.incarnation, .founded = m->state.founded, .snapshot = m->state.snapshot};
	return 0;
}

/* 1: that statement finds the name; 0: it does not. */
static int look_up(struct meta_sqlite *m, enum meta_sqlite_sql which, const char *name, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, which, e, "t", name);
	int there = s ? meta_sqlite_step(m, s, e) : -1;

	if (there == 1)
		sqlite3_reset(s);
	return there;
}

int meta_sqlite_snapshot_standing(struct meta *base, const char *name, enum meta_standing *standing, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	int there;

	*standing = META_OBJECT_KNOWN;
	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	there = look_up(m, SQL_OBJECT_KNOWN, name, e);
	if (there == 0) {
		there = look_up(m, SQL_GIVEN_UP_KNOWN, name, e);
		if (there >= 0)
			*standing = there ? META_OBJECT_GIVEN_UP : META_OBJECT_STRANGE;
	}
	return meta_sqlite_read_end(m, there < 0 ? -1 : 0, e);
}

/* ---- going back in time ---- */

int meta_sqlite_snapshot_set_behind(struct meta *base, const char *name, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	return meta_sqlite_change_end(m, meta_sqlite_run(m, SQL_BEHIND_WRITE, e, name ? "t" : "n", name), e);
}

int meta_sqlite_snapshot_behind(struct meta *base, struct arena *a, const char **name, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	sqlite3_stmt *s;
	int more;

	*name = NULL;
	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	s = meta_sqlite_bind(m, SQL_BEHIND_READ, e, "");
	more = s ? meta_sqlite_step(m, s, e) : -1;
	if (more == 1) {
		*name = arena_strdup(a, (const char *)sqlite3_column_text(s, 0));
		sqlite3_reset(s);
	}
	return meta_sqlite_read_end(m, more < 0 ? -1 : 0, e);
}

int meta_sqlite_snapshot_check(struct meta_sqlite *m, struct err *e)
{
	struct arena a = ARENA_INIT;
	const char *name;
	int result = meta_sqlite_snapshot_behind(&m->meta, &a, &name, e);

	if (result == 0 && name) {
		result = err_set(e, ERR_CONFLICT, "this metadata went back in time, or another is used with the same store: "
			"%.200s there is from after it; nothing is removed", name);
		err_hint(e, "see streamhouse-recovery(7)");
	}
	arena_release(&a);
	return result;
}

int meta_sqlite_snapshot_gap(struct meta *base, const struct uuid *topic, uint32_t partition, int64_t from, int64_t end,
	struct arena *a, const char **why, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	const struct known_topic *t;
	sqlite3_stmt *s;
	int there;

	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	t = meta_sqlite_memory_topic(m, topic);
	if (!t)
		return 0;
	s = meta_sqlite_bind(m, SQL_GAP_FIND, e, "iiii", t->number, (int64_t)partition, from, end);
	there = s ? meta_sqlite_step(m, s, e) : -1;
	if (there == 1) {
		*why = arena_strdup(a, (const char *)sqlite3_column_text(s, 0));
		sqlite3_reset(s);
	}
	return meta_sqlite_read_end(m, there, e);
}
