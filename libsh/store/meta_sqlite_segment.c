/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intents and commits. An intent is a pending row that reserves the object's name. A commit judges each run
 * by itself and makes the row live with those that were accepted: one row written. The same commit again
 * finds the row live and says ALREADY for what was accepted then; the others are refused again.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/store/meta_sqlite.h"

struct object_row {
	int64_t number;
	enum object_state state;
	uint32_t slot, crc;
	uint64_t slot_number, bytes, sequence;
};

/* 1: there; 0: no such name. */
static int find_object(struct meta_sqlite *m, const char *name, struct object_row *o, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_OBJECT_BY_NAME, e, "t", name);
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	if (more == 0)
		return 0;
	o->number = sqlite3_column_int64(s, 0);
	o->state = sqlite3_column_int64(s, 1);
	o->slot = sqlite3_column_int64(s, 2);
	o->slot_number = sqlite3_column_int64(s, 3);
	o->bytes = sqlite3_column_int64(s, 4);
	o->crc = sqlite3_column_int64(s, 5);
	o->sequence = sqlite3_column_int64(s, 6);
	sqlite3_reset(s);
	return 1;
}

static int check_object_name(const char *name, struct err *e)
{
	size_t length = strlen(name);

	if (length > 0 && length <= SEGMENT_NAME_MAX)
		return 0;
	return err_set(e, ERR_INVALID_ARGUMENT, "an object name of %zu bytes; 1 to %d are possible", length,
		SEGMENT_NAME_MAX);
}

/* ---- intents ---- */

static int insert_intent(struct meta_sqlite *m, struct known_slot *slot, const char *name, struct err *e)
{
	int64_t number = slot->last_number + 1;

	if (slot->pending >= PENDING_MAX) {
		err_set(e, ERR_BACK_PRESSURE, "slot %u has %llu segments that were begun and not committed",
			slot->slot, (unsigned long long)slot->pending);
		return err_hint(
			e, "see why segments cannot be stored; those begun a quarter of an hour ago are given up");
	}
	if (meta_sqlite_run(m, SQL_OBJECT_INSERT, e, "tiiii", name, (int64_t)slot->slot,
		    (int64_t)slot->session, number, clock_real_ms()) < 0 ||
		meta_sqlite_run(m, SQL_SLOT_NUMBERS, e, "iii", (int64_t)slot->slot, number,
			(int64_t)slot->newest_committed) < 0)
		return -1;
	slot->last_number++;
	slot->pending++;
	return 0;
}

/* The same intent again gets the same number. */
static int intend(struct meta_sqlite *m, uint64_t session, const char *name, uint64_t *number,
	uint64_t *newest, struct err *e)
{
	struct known_slot *slot = meta_sqlite_memory_session(m, session);
	struct object_row o;
	int there;

	if (!slot)
		return err_set(e, ERR_FENCED, "session %llu is over: no new object %s",
			(unsigned long long)session, name);
	there = find_object(m, name, &o, e);
	if (there < 0)
		return -1;
	if (there && (o.state != OBJECT_PENDING || o.slot != slot->slot))
		return err_set(e, ERR_EXISTS, "object %s is in the metadata already", name);
	if (!there && insert_intent(m, slot, name, e) < 0)
		return -1;
	*number = there ? o.slot_number : slot->last_number;
	*newest = slot->newest_committed;
	return 0;
}

int meta_sqlite_segment_intent(struct meta *base, uint64_t session, const struct uuid *object,
	const char *name, uint64_t *number, uint64_t *newest_committed, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	(void)object; /* the name holds it, and the name is the key */
	if (check_object_name(name, e) < 0 || meta_sqlite_change_begin(m, e) < 0)
		return -1;
	return meta_sqlite_change_end(m, intend(m, session, name, number, newest_committed, e), e);
}

/* ---- commits ---- */

struct commit {
	struct known_slot *slot;
	struct object_row row;
	const struct meta_object *object;
	const struct segment_run *runs;
	size_t count;
	enum meta_verdict *verdicts;
	struct segment_run *accepted;
	size_t accepted_count;
};

static int check_run(const struct segment_run *r, struct err *e)
{
	if (r->first_offset < 0 || r->previous_end < 0 || r->previous_end > r->first_offset ||
		r->end_offset <= r->first_offset || r->records > INT64_MAX || r->raw_bytes > INT64_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"a run of partition %u from %lld to %lld, after %lld, is not possible", r->partition,
			(long long)r->first_offset, (long long)r->end_offset, (long long)r->previous_end);
	return 0;
}

static int check_commit(
	const struct meta_object *o, const struct segment_run *runs, size_t count, struct err *e)
{
	if (check_object_name(o->name, e) < 0)
		return -1;
	if (o->bytes > INT64_MAX || count > PARTITIONS_TOTAL_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"object %s with %llu bytes and %zu runs is not possible", o->name,
			(unsigned long long)o->bytes, count);
	for (size_t i = 0; i < count; i++)
		if (check_run(&runs[i], e) < 0)
			return -1;
	return 0;
}

/*
 * A topic that memory does not have. Its row says that it was deleted: then its records are not wanted. With
 * no row this is not the metadata that the agent worked with (an older copy, perhaps): FENCED has the agent
 * keep the records aside.
 */
static int judge_unknown(
	struct meta_sqlite *m, const struct uuid *topic, enum meta_verdict *verdict, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_TOPIC_STATE, e, "U", topic);
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return -1;
	*verdict = more ? META_REFUSED_DELETED : META_REFUSED_FENCED;
	sqlite3_reset(s);
	return 0;
}

static struct known_partition *partition_of(const struct meta_sqlite *m, const struct segment_run *r)
{
	struct known_topic *t = meta_sqlite_memory_topic(m, &r->topic);

	return t && r->partition < t->partition_count ? &t->partitions[r->partition] : NULL;
}

static int judge(struct meta_sqlite *m, const struct known_slot *slot, const struct segment_run *r,
	enum meta_verdict *verdict, struct err *e)
{
	const struct known_partition *p = partition_of(m, r);

	if (!meta_sqlite_memory_topic(m, &r->topic))
		return judge_unknown(m, &r->topic, verdict, e);
	if (!p || p->slot != slot->slot || r->last_epoch > meta_sqlite_memory_epoch(m, p))
		*verdict = META_REFUSED_FENCED;
	else if (r->previous_end != p->flushed_end)
		*verdict = META_REFUSED_GAP;
	else
		*verdict = META_ACCEPTED;
	return 0;
}

static int judge_all(struct meta_sqlite *m, struct commit *c, struct err *e)
{
	m->judged++;
	c->accepted = mem_array(c->count + 1, sizeof(*c->accepted));
	for (size_t i = 0; i < c->count; i++) {
		struct known_partition *p = partition_of(m, &c->runs[i]);

		if (judge(m, c->slot, &c->runs[i], &c->verdicts[i], e) < 0)
			return -1;
		if (c->verdicts[i] != META_ACCEPTED)
			continue;
		if (p->judged == m->judged)
			return err_set(e, ERR_INVALID_ARGUMENT,
				"object %s has two runs of partition %u of one topic", c->object->name,
				c->runs[i].partition);
		p->judged = m->judged;
		c->accepted[c->accepted_count++] = c->runs[i];
	}
	return 0;
}

/* The young or folded run that object `number` has of this partition, if it is this one. 1, 0 or -1. */
static int holds_run(struct meta_sqlite *m, int64_t number, const struct segment_run *r, struct err *e)
{
	const struct known_topic *t = meta_sqlite_memory_topic(m, &r->topic);
	struct segment_run found;
	struct arena a = ARENA_INIT;
	int64_t object;
	int there;

	if (!t || r->partition >= t->partition_count)
		return 0;
	for (size_t i = 0; i < m->known.young_count; i++)
		if (m->known.young[i]->number == number) {
			const struct segment_run *y = meta_sqlite_memory_young_run(
				m->known.young[i], &r->topic, r->partition);

			return y && y->first_offset == r->first_offset && y->end_offset == r->end_offset;
		}
	there = meta_sqlite_page_search(
		m, t, r->partition, r->first_offset, INT64_MIN, &a, &object, &found, e);
	arena_release(&a);
	return there <= 0 ? there :
			    object == number && found.first_offset == r->first_offset &&
				    found.end_offset == r->end_offset;
}

/* The commit was judged before: what it holds is ALREADY, the rest is refused as then. */
static int judge_again(struct meta_sqlite *m, struct commit *c, struct err *e)
{
	for (size_t i = 0; i < c->count; i++) {
		int held = c->row.state == OBJECT_LIVE ? holds_run(m, c->row.number, &c->runs[i], e) : 0;
		const struct known_partition *p = partition_of(m, &c->runs[i]);

		if (held == 0 && p && c->runs[i].end_offset <= p->log_start) /* expired since */
			held = 1;

		if (held < 0 || (!held && judge(m, c->slot, &c->runs[i], &c->verdicts[i], e) < 0))
			return -1;
		if (held)
			c->verdicts[i] = META_ALREADY;
		else if (c->verdicts[i] == META_ACCEPTED)
			c->verdicts[i] = META_REFUSED_GAP;
	}
	return 0;
}

static int write_commit(struct meta_sqlite *m, const struct commit *c, uint64_t sequence, struct err *e)
{
	bool live = c->accepted_count > 0;
	struct buf blob = BUF_INIT(RUNS_BLOB_MAX);
	int result = -1;

	if (live && meta_sqlite_page_encode(&blob, NULL, c->accepted, c->accepted_count, e) < 0)
		goto out;
	result = meta_sqlite_run(m, SQL_OBJECT_COMMIT, e, live ? "iiiiiid" : "iiiiiin", c->row.number,
		(int64_t)(live ? OBJECT_LIVE : OBJECT_DEAD), (int64_t)c->object->bytes,
		(int64_t)c->object->crc, (int64_t)sequence, clock_real_ms(), &blob);
out:
	buf_release(&blob);
	return result;
}

static int commit_pending(struct meta_sqlite *m, struct commit *c, uint64_t *sequence, struct err *e)
{
	struct meta_object o = *c->object;

	if (judge_all(m, c, e) < 0)
		return -1;
	o.sequence = m->state.commit_sequence + 1;
	if (write_commit(m, c, o.sequence, e) < 0)
		return -1;
	m->state.commit_sequence = *sequence = o.sequence;
	c->slot->pending--;
	if (c->accepted_count == 0) { /* no young row carries the sequence */
		m->state_changed = true;
		return 0;
	}
	m->state.live_objects++;
	m->state.live_bytes += o.bytes;
	if (c->row.slot_number > c->slot->newest_committed)
		c->slot->newest_committed = c->row.slot_number;
	meta_sqlite_memory_push_young(
		m, meta_sqlite_memory_new_young(c->row.number, &o, c->accepted, c->accepted_count));
	return 0;
}

static int commit_again(struct meta_sqlite *m, struct commit *c, uint64_t *sequence, struct err *e)
{
	if (c->row.sequence == 0)
		return err_set(
			e, ERR_CONFLICT, "object %s was given up: its session was over, or it took too long", c->object->name);
	if (c->row.bytes != c->object->bytes || c->row.crc != c->object->crc)
		return err_set(e, ERR_CONFLICT, "object %s is committed with other content", c->object->name);
	*sequence = c->row.sequence;
	return judge_again(m, c, e);
}

static int fence_all(const struct meta_sqlite *m, struct commit *c, uint64_t *sequence)
{
	for (size_t i = 0; i < c->count; i++)
		c->verdicts[i] = META_REFUSED_FENCED;
	*sequence = m->state.commit_sequence;
	return 0;
}

static int commit(
	struct meta_sqlite *m, uint64_t session, struct commit *c, uint64_t *sequence, struct err *e)
{
	int there;

	c->slot = meta_sqlite_memory_session(m, session);
	if (!c->slot)
		return fence_all(m, c, sequence);
	there = find_object(m, c->object->name, &c->row, e);
	if (there < 0)
		return -1;
	if (there == 0)
		return err_set(
			e, ERR_NOT_FOUND, "object %s was never announced, or is gone", c->object->name);
	if (c->row.slot != c->slot->slot)
		return fence_all(m, c, sequence);
	return c->row.state == OBJECT_PENDING ? commit_pending(m, c, sequence, e) :
						commit_again(m, c, sequence, e);
}

int meta_sqlite_segment_commit(struct meta *base, uint64_t session, const struct meta_object *o,
	const struct segment_run *runs, size_t count, enum meta_verdict *verdicts, uint64_t *sequence,
	struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	struct commit c = {.object = o, .runs = runs, .count = count, .verdicts = verdicts};
	int result;

	if (check_commit(o, runs, count, e) < 0 || meta_sqlite_page_fold(m, e) < 0 ||
		meta_sqlite_change_begin(m, e) < 0)
		return -1;
	result = commit(m, session, &c, sequence, e);
	mem_free(c.accepted);
	return meta_sqlite_change_end(m, result, e);
}
