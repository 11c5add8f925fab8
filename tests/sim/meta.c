/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of meta.h in memory, as far as the log's core asks for it: sessions, topics, intents, commits with their verdicts,
 * runs, retention and garbage. Same rules in the same order as the driver on SQLite; always there and durable, for its own
 * crashes are the business of that driver's tests.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "libsh/base/plant.h"
#include "libsh/store/meta.h"
#include "tests/sim/sim.h"

enum { TOPICS = 12 /* ever, in a seed */, PARTITIONS = 2, RUNS = 2000, OBJECTS = 2000 };

struct run {
	struct segment_run run;
	int object;
};
struct part {
	int64_t log_start, flushed_end;
	uint64_t version, expired_records, expired_bytes, records, bytes;
	size_t first, count; /* of runs; those before `first` expired */
	struct run runs[RUNS];
};
struct object {
	char name[64];
	enum { OBJECT_PENDING, OBJECT_LIVE, OBJECT_DEAD, OBJECT_GONE } state;
	uint64_t session, number, bytes, sequence;
	uint32_t crc, living;
	int64_t dead_ns;
};
struct topic_row {
	struct uuid id;
	char name[32], config[64];
	uint64_t version;
	bool deleted;
	struct part parts[PARTITIONS];
};
static struct metadata {
	uint64_t incarnation, session, sequence, version, numbers, newest_committed;
	bool open;
	size_t topic_count, object_count;
	struct topic_row topics[TOPICS];
	struct object objects[OBJECTS];
} m, saved, newest; /* saved: a copy that may come back; newest: what was there before it did */
static bool is_saved, is_back;
static int64_t starts[TOPICS][PARTITIONS]; /* log starts, the highest ever: older metadata may have lower ones */

/* Only as much as there is. */
static void metadata_copy(struct metadata *to, const struct metadata *from)
{
	memcpy(to, from, offsetof(struct metadata, topics));
	memcpy(to->objects, from->objects, from->object_count * sizeof(from->objects[0]));
	for (size_t i = 0; i < from->topic_count; i++) {
		memcpy(&to->topics[i], &from->topics[i], offsetof(struct topic_row, parts));
		for (size_t k = 0; k < PARTITIONS; k++) {
			const struct part *p = &from->topics[i].parts[k];

			memcpy(&to->topics[i].parts[k], p, offsetof(struct part, runs));
			memcpy(to->topics[i].parts[k].runs, p->runs, p->count * sizeof(p->runs[0]));
		}
	}
}

void meta_reset(void)
{
	memset(&m, 0, offsetof(struct metadata, topics));
	memset(starts, 0, sizeof(starts));
	m.incarnation = 7;
	is_saved = is_back = false;
}

void meta_end_session(void)
{
	m.open = false;
}

static struct topic_row *topic_of(const struct uuid *id)
{
	for (size_t i = 0; i < m.topic_count; i++)
		if (uuid_equal(&m.topics[i].id, id))
			return &m.topics[i];
	return NULL;
}

static struct part *part_of(const struct uuid *topic, uint32_t partition)
{
	struct topic_row *t = topic_of(topic);

	return t && !t->deleted && partition < PARTITIONS ? &t->parts[partition] : NULL;
}

int64_t meta_log_start(const struct uuid *topic, uint32_t partition)
{
	const struct topic_row *t = topic_of(topic);

	return t ? starts[t - m.topics][partition] : 0;
}

static struct topic_row *topic_named(const char *name)
{
	for (size_t i = 0; i < m.topic_count; i++)
		if (!m.topics[i].deleted && !strcmp(m.topics[i].name, name))
			return &m.topics[i];
	return NULL;
}

static int topic_create(const struct msg_topic_create *c, struct err *e)
{
	struct topic_row *t = &m.topics[m.topic_count];

	if (is_back)
		return err_set(e, ERR_UNAVAILABLE, "nobody works with older metadata");
	if (topic_named(c->name))
		return err_set(e, ERR_EXISTS, "topic %s exists", c->name);
	if (m.topic_count == TOPICS)
		return err_set(e, ERR_INVALID_ARGUMENT, "too many topics");
	memset(t, 0, offsetof(struct topic_row, parts));
	m.topic_count++;
	m.version++;
	is_saved = false; /* what is older does not know of it */
	t->id = sim_uuid();
	snprintf(t->name, sizeof(t->name), "%s", c->name);
	snprintf(t->config, sizeof(t->config), "%s", c->config);
	t->version = m.version;
	for (size_t k = 0; k < PARTITIONS; k++) {
		memset(&t->parts[k], 0, offsetof(struct part, runs));
		t->parts[k].version = m.version;
	}
	return 0;
}

static void object_loses(struct object *o)
{
	if (--o->living == 0) {
		o->state = OBJECT_DEAD;
		o->dead_ns = sim.now_ns;
	}
}

static int topic_delete(const struct msg_topic_delete *d, struct err *e)
{
	struct topic_row *t = topic_named(d->name);

	if (is_back)
		return err_set(e, ERR_UNAVAILABLE, "nobody works with older metadata");
	if (!t)
		return err_set(e, ERR_TOPIC_NOT_FOUND, "topic %s is not there", d->name);
	t->deleted = true;
	t->version = ++m.version;
	is_saved = false;
	for (size_t k = 0; k < PARTITIONS; k++)
		for (size_t i = t->parts[k].first; i < t->parts[k].count; i++)
			object_loses(&m.objects[t->parts[k].runs[i].object]);
	return 0;
}

static int session_check(uint64_t session, struct err *e)
{
	if (!m.open || session != m.session)
		return err_set(e, ERR_FENCED, "session %llu is over", (unsigned long long)session);
	return 0;
}

static int open_session(const struct msg_session_open *o, struct msg_session_opened *out, struct err *e)
{
	if (o->seen_incarnation == m.incarnation && !PLANTED(back_in_time_taken) &&
		(o->seen_sequence > m.sequence || o->seen_session > m.session))
		return err_set(e, ERR_CORRUPT, "the metadata went back in time");
	m.open = true;
	*out = (struct msg_session_opened){++m.session, m.incarnation, m.sequence};
	return 0;
}

static int session_renew(const struct msg_session_renew *r, struct msg_session_renewed *out, struct err *e)
{
	static struct buf topics = BUF_INIT(1 << 16), parts = BUF_INIT(1 << 16);

	if (session_check(r->session, e) < 0)
		return -1;
	buf_reset(&topics);
	buf_reset(&parts);
	for (size_t i = 0; i < m.topic_count; i++) {
		const struct topic_row *t = &m.topics[i];
		struct msg_topic_row row = {t->id, t->name, PARTITIONS, 1, t->deleted ? "{}" : t->config, 0, t->deleted};

		if (t->version > r->version)
			pack_row_write(&topics, msg_topic_row_fields, &row);
		for (uint32_t k = 0; k < PARTITIONS && !t->deleted; k++) {
			const struct part *p = &t->parts[k];
			struct msg_partition_row part = {t->id, k, 0, (uint32_t)m.session, p->log_start, p->flushed_end,
				p->records, p->bytes, p->expired_records, p->expired_bytes, 0};

			if (p->version > r->version)
				pack_row_write(&parts, msg_partition_row_fields, &part);
		}
	}
	out->version = m.version;
	out->topics = (struct bytes){(uint8_t *)topics.data, topics.len};
	out->partitions = (struct bytes){(uint8_t *)parts.data, parts.len};
	out->incarnation = m.incarnation;
	out->commit_sequence = m.sequence;
	return 0;
}

static struct object *object_find(const char *name)
{
	for (size_t i = 0; i < m.object_count; i++)
		if (!strcmp(m.objects[i].name, name))
			return &m.objects[i];
	return NULL;
}

int meta_intent(uint64_t session, const char *name, uint64_t *number, uint64_t *newest_committed, struct err *e)
{
	struct object *o;

	if (session_check(session, e) < 0)
		return -1;
	*newest_committed = m.newest_committed;
	o = object_find(name);
	if (o && o->state != OBJECT_PENDING)
		return err_set(e, ERR_EXISTS, "object %s is there already", name);
	if (o) {
		*number = o->number;
		return 0;
	}
	if (m.object_count == OBJECTS)
		return err_set(e, ERR_UNAVAILABLE, "too many objects for the simulator");
	o = &m.objects[m.object_count++];
	memset(o, 0, sizeof(*o));
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->session = session;
	*number = o->number = ++m.numbers;
	return 0;
}

static enum meta_verdict judge(const struct segment_run *r)
{
	const struct topic_row *t = topic_of(&r->topic);

	if (t && t->deleted)
		return META_REFUSED_DELETED;
	if (!t || r->partition >= PARTITIONS || (r->last_epoch > m.session && !PLANTED(old_session_commits)))
		return META_REFUSED_FENCED;
	return r->previous_end == t->parts[r->partition].flushed_end ? META_ACCEPTED : META_REFUSED_GAP;
}

static void run_take(struct object *o, const struct segment_run *r)
{
	struct part *p = part_of(&r->topic, r->partition);

	if (p->count == RUNS) {
		sim_anomaly("the simulator has no room for more runs");
		return;
	}
	p->runs[p->count++] = (struct run){*r, (int)(o - m.objects)};
	p->flushed_end = r->end_offset;
	p->records += r->records;
	p->bytes += r->raw_bytes;
	o->living++;
}

/* A run that this object holds already, or did until it expired. */
static bool holds(const struct object *o, const struct segment_run *r)
{
	const struct part *p = part_of(&r->topic, r->partition);

	for (size_t i = 0; p && i < p->count; i++)
		if (p->runs[i].object == o - m.objects && p->runs[i].run.first_offset == r->first_offset &&
			p->runs[i].run.end_offset == r->end_offset)
			return o->state == OBJECT_LIVE;
	return p && r->end_offset <= p->log_start;
}

static int commit(const struct msg_segment_commit *c, struct msg_segment_committed *out, struct arena *a, struct err *e)
{
	struct object *o = object_find(c->object);
	struct segment_run *runs;
	uint8_t *verdicts;
	size_t n;

	if (segment_runs_decode(c->runs.data, c->runs.len, a, &runs, &n, e) < 0)
		return -1;
	verdicts = arena_alloc(a, n + 1);
	out->verdicts = (struct bytes){verdicts, n};
	if (session_check(c->session, NULL) < 0 && !PLANTED(old_session_commits)) {
		memset(verdicts, META_REFUSED_FENCED, n);
		out->commit_sequence = m.sequence;
		return 0;
	}
	if (c->seen > m.sequence && !PLANTED(back_in_time_judged))
		return err_set(e, ERR_CORRUPT, "the metadata went back in time");
	if (!o)
		return err_set(e, ERR_NOT_FOUND, "object %s was never announced", c->object);
	if (o->state == OBJECT_PENDING) {
		o->sequence = ++m.sequence;
		o->bytes = c->bytes;
		o->crc = c->crc;
		for (size_t i = 0; i < n; i++) {
			verdicts[i] = (uint8_t)judge(&runs[i]);
			if (verdicts[i] == META_ACCEPTED)
				run_take(o, &runs[i]);
		}
		o->state = o->living ? OBJECT_LIVE : OBJECT_DEAD;
		o->dead_ns = sim.now_ns;
		if (o->living && o->number > m.newest_committed)
			m.newest_committed = o->number;
	} else if (!o->sequence || o->bytes != c->bytes || o->crc != c->crc) {
		return err_set(e, ERR_CONFLICT, "object %s was given up, or has other content", c->object);
	} else {
		for (size_t i = 0; i < n; i++) {
			enum meta_verdict v = holds(o, &runs[i]) ? META_ALREADY : judge(&runs[i]);

			verdicts[i] = (uint8_t)(v == META_ACCEPTED ? META_REFUSED_GAP : v);
		}
	}
	out->commit_sequence = o->sequence;
	return 0;
}

static int run_find(const struct msg_run_find *f, struct msg_run_found *out, struct arena *a, struct err *e)
{
	static struct buf bytes = BUF_INIT(1 << 16);
	const struct part *p = part_of(&f->topic, f->partition);

	if (!p)
		return err_set(e, ERR_TOPIC_NOT_FOUND, "there is no such topic");
	for (size_t i = p->first; i < p->count; i++) {
		const struct run *r = &p->runs[i];

		if (f->by_timestamp ? r->run.max_timestamp < f->value || r->run.end_offset <= f->from_offset : r->run.end_offset <= f->value)
			continue;
		buf_reset(&bytes);
		segment_runs_encode(&bytes, &r->run, 1);
		out->found = 1;
		out->object = arena_strdup(a, m.objects[r->object].name);
		out->object_bytes = m.objects[r->object].bytes;
		out->run = (struct bytes){(uint8_t *)bytes.data, bytes.len};
		break;
	}
	return 0;
}

int meta_call(int type, const void *body, void *reply, struct arena *a, struct err *e)
{
	switch (type) {
	case MSG_SESSION_OPEN:
		return open_session(body, reply, e);
	case MSG_SESSION_RENEW:
		return session_renew(body, reply, e);
	case MSG_SESSION_CLOSE:
		if (session_check(((const struct msg_session_close *)body)->session, NULL) == 0)
			m.open = false;
		return 0; /* it may be over already */
	case MSG_TOPIC_CREATE:
		return topic_create(body, e);
	case MSG_TOPIC_DELETE:
		return topic_delete(body, e);
	case MSG_SEGMENT_COMMIT:
		return commit(body, reply, a, e);
	case MSG_RUN_FIND:
		return run_find(body, reply, a, e);
	default:
		return err_set(e, ERR_NOT_BUILT, "the simulator has no message %d", type);
	}
}

/* ---- the janitor ---- */

static void expire(struct part *p)
{
	struct run *r = &p->runs[p->first++];
	struct object *o = &m.objects[r->object];

	p->log_start = r->run.end_offset;
	p->records -= r->run.records;
	p->bytes -= r->run.raw_bytes;
	p->expired_records += r->run.records;
	p->expired_bytes += r->run.raw_bytes;
	p->version = ++m.version;
	object_loses(o);
	sim_event("expired", p->log_start, 0);
}

void meta_retain(void)
{
	enum { GRACE_MS = 200 };

	if (is_back) /* the agent refuses, so nothing stays up */
		return;
	for (size_t i = 0; i < m.topic_count; i++)
		for (size_t k = 0; k < PARTITIONS && !m.topics[i].deleted; k++) {
			struct part *p = &m.topics[i].parts[k];

			if (p->count - p->first > 4 && sim_percent(20)) {
				expire(p);
				starts[i][k] = p->log_start > starts[i][k] ? p->log_start : starts[i][k];
			}
		}
	for (size_t i = 0; i < m.object_count; i++) {
		struct object *o = &m.objects[i];

		if (o->state == OBJECT_PENDING && o->session != m.session) {
			o->state = OBJECT_DEAD;
			o->dead_ns = sim.now_ns;
		}
		if (o->state == OBJECT_DEAD && !is_saved && /* a copy may still want it: the grace period is for that */ o->dead_ns + GRACE_MS * MS < sim.now_ns) {
			store_remove(o->name);
			o->state = OBJECT_GONE;
		}
	}
}

/* ---- older metadata ---- */

void meta_save(void)
{
	metadata_copy(&saved, &m);
	is_saved = true;
}

bool meta_can_go_back(void)
{
	return is_saved && !is_back && saved.sequence < m.sequence;
}

void meta_go_back(void)
{
	metadata_copy(&newest, &m);
	metadata_copy(&m, &saved);
	is_back = true;
	peers_meta_restarts();
}

bool meta_is_back(void)
{
	return is_back;
}

void meta_accepted(uint64_t seen, uint64_t session)
{
	if (!is_back || seen > m.sequence || session > m.session)
		return;
	sim_event("older metadata taken", (int64_t)seen, (int64_t)m.sequence);
	is_back = is_saved = false;
	sim.went_back = true;
}

void meta_put_back(void)
{
	metadata_copy(&m, &newest);
	is_back = is_saved = false;
	peers_meta_restarts();
}

/* From what segments say: what was put and not committed follows if it can. */
void meta_rebuild(void)
{
	struct arena a = ARENA_INIT;

	meta_put_back();
	m.incarnation++;
	m.session += 10;
	m.sequence += 10;
	m.open = false;
	for (size_t i = 0; i < m.object_count; i++) {
		struct object *o = &m.objects[i];
		struct segment_run *runs;
		size_t n;

		if (o->sequence || !store_runs(o->name, &a, &runs, &n, &o->bytes, &o->crc))
			continue;
		o->sequence = ++m.sequence;
		for (size_t k = 0; k < n; k++)
			if (judge(&runs[k]) == META_ACCEPTED)
				run_take(o, &runs[k]);
		o->state = o->living ? OBJECT_LIVE : OBJECT_DEAD;
		sim_event("object found", (int64_t)o->number, o->living);
	}
	arena_release(&a);
}
