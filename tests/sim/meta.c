/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of meta.h in memory, as far as the log's core asks for it: sessions, topics, intents, commits with their verdicts,
 * runs, retention and garbage. Same rules in the same order as the driver on SQLite; always there and durable, for its own
 * crashes are the business of that driver's tests.
 */
#include <stdio.h>
#include <string.h>

#include "libsh/base/plant.h"
#include "libsh/store/meta.h"
#include "tests/sim/sim.h"

enum { TOPICS = 3, PARTITIONS = 2, RUNS = 2000, OBJECTS = 2000 };

struct run {
	struct segment_run run;
	int object;
};
struct part {
	int64_t log_start, flushed_end;
	uint64_t version, expired_records, expired_bytes, records, bytes;
	uint32_t epoch_floor;
	size_t first, count; /* of runs; those before `first` expired */
	struct run runs[RUNS];
};
struct object {
	char name[64];
	enum { OBJECT_PENDING, OBJECT_LIVE, OBJECT_DEAD, OBJECT_GONE } state;
	uint64_t session, bytes, sequence;
	uint32_t crc, living;
	int64_t dead_ns;
};
static struct {
	uint64_t session, sequence, version, numbers;
	bool open;
	size_t topic_count, object_count;
	struct { struct uuid id; char name[32], config[64]; struct part parts[PARTITIONS]; uint64_t version; } topics[TOPICS];
	struct object objects[OBJECTS];
} m;

void meta_reset(void)
{
	for (size_t i = 0; i < m.topic_count; i++)
		for (size_t k = 0; k < PARTITIONS; k++) {
			struct part *p = &m.topics[i].parts[k];

			p->log_start = p->flushed_end = 0;
			p->version = p->expired_records = p->expired_bytes = p->records = p->bytes = 0;
			p->first = p->count = 0;
		}
	m.session = m.sequence = m.version = m.numbers = 0;
	m.open = false;
	m.topic_count = m.object_count = 0;
}

static struct part *part_of(const struct uuid *topic, uint32_t partition)
{
	for (size_t i = 0; i < m.topic_count; i++)
		if (uuid_equal(&m.topics[i].id, topic) && partition < PARTITIONS)
			return &m.topics[i].parts[partition];
	return NULL;
}

int64_t meta_log_start(const struct uuid *topic, uint32_t partition)
{
	return part_of(topic, partition)->log_start;
}

static int topic_create(const struct msg_topic_create *c, struct err *e)
{
	for (size_t i = 0; i < m.topic_count; i++)
		if (!strcmp(m.topics[i].name, c->name))
			return err_set(e, ERR_EXISTS, "topic %s exists", c->name);
	if (m.topic_count == TOPICS)
		return err_set(e, ERR_INVALID_ARGUMENT, "too many topics");
	m.version++;
	m.topics[m.topic_count].id = (struct uuid){{(uint8_t)(m.topic_count + 1)}};
	snprintf(m.topics[m.topic_count].name, sizeof(m.topics[0].name), "%s", c->name);
	snprintf(m.topics[m.topic_count].config, sizeof(m.topics[0].config), "%s", c->config);
	m.topics[m.topic_count].version = m.version;
	for (size_t k = 0; k < PARTITIONS; k++)
		m.topics[m.topic_count].parts[k].version = m.version;
	m.topic_count++;
	return 0;
}

static int session_check(uint64_t session, struct err *e)
{
	if (!m.open || session != m.session)
		return err_set(e, ERR_FENCED, "session %llu is over", (unsigned long long)session);
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
		struct msg_topic_row row = {m.topics[i].id, m.topics[i].name, PARTITIONS, 1, m.topics[i].config, 0, 0};

		if (m.topics[i].version > r->version)
			pack_row_write(&topics, msg_topic_row_fields, &row);
		for (uint32_t k = 0; k < PARTITIONS; k++) {
			const struct part *p = &m.topics[i].parts[k];
			struct msg_partition_row part = {m.topics[i].id, k, 0, (uint32_t)m.session, p->log_start, p->flushed_end,
				p->records, p->bytes, p->expired_records, p->expired_bytes};

			if (p->version > r->version)
				pack_row_write(&parts, msg_partition_row_fields, &part);
		}
	}
	out->version = m.version;
	out->topics = (struct bytes){(uint8_t *)topics.data, topics.len};
	out->partitions = (struct bytes){(uint8_t *)parts.data, parts.len};
	out->incarnation = 7;
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

int meta_intent(uint64_t session, const char *name, uint64_t *number, uint64_t *newest, struct err *e)
{
	struct object *o;

	if (session_check(session, e) < 0)
		return -1;
	if (m.object_count == OBJECTS)
		return err_set(e, ERR_UNAVAILABLE, "too many objects for the simulator");
	o = &m.objects[m.object_count++];
	memset(o, 0, sizeof(*o));
	snprintf(o->name, sizeof(o->name), "%s", name);
	o->session = session;
	*number = ++m.numbers;
	*newest = 0;
	return 0;
}

static enum meta_verdict judge(const struct segment_run *r, uint64_t session)
{
	const struct part *p = part_of(&r->topic, r->partition);

	if (!p || (session != m.session && !PLANTED(old_session_commits)))
		return META_REFUSED_FENCED;
	return r->first_offset == p->flushed_end || r->previous_end == p->flushed_end ? META_ACCEPTED : META_REFUSED_GAP;
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
			return true;
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
	if (!o)
		return err_set(e, ERR_NOT_FOUND, "object %s was never announced", c->object);
	if (o->state == OBJECT_PENDING) {
		o->sequence = ++m.sequence;
		o->bytes = c->bytes;
		o->crc = c->crc;
		for (size_t i = 0; i < n; i++) {
			verdicts[i] = (uint8_t)judge(&runs[i], c->session);
			if (verdicts[i] == META_ACCEPTED)
				run_take(o, &runs[i]);
		}
		o->state = o->living ? OBJECT_LIVE : OBJECT_DEAD;
	} else if (!o->sequence || o->bytes != c->bytes || o->crc != c->crc) {
		return err_set(e, ERR_CONFLICT, "object %s was given up, or has other content", c->object);
	} else {
		for (size_t i = 0; i < n; i++)
			verdicts[i] = holds(o, &runs[i]) ? META_ALREADY : META_REFUSED_GAP;
	}
	out->commit_sequence = o->sequence;
	return 0;
}

static int run_find(const struct msg_run_find *f, struct msg_run_found *out, struct arena *a)
{
	static struct buf bytes = BUF_INIT(1 << 16);
	const struct part *p = part_of(&f->topic, f->partition);

	for (size_t i = p ? p->first : 0; p && i < p->count; i++) {
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
	struct msg_session_opened *opened = reply;

	switch (type) {
	case MSG_SESSION_OPEN:
		m.open = true;
		*opened = (struct msg_session_opened){++m.session, 7, m.sequence};
		return 0;
	case MSG_SESSION_RENEW:
		return session_renew(body, reply, e);
	case MSG_SESSION_CLOSE:
		if (session_check(((const struct msg_session_close *)body)->session, e) < 0)
			return -1;
		m.open = false;
		return 0;
	case MSG_TOPIC_CREATE:
		return topic_create(body, e);
	case MSG_SEGMENT_COMMIT:
		return commit(body, reply, a, e);
	case MSG_RUN_FIND:
		return run_find(body, reply, a);
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
	if (--o->living == 0) {
		o->state = OBJECT_DEAD;
		o->dead_ns = sim.now_ns;
	}
	sim_event("expired", p->log_start, 0);
}

void meta_retain(void)
{
	enum { GRACE_MS = 200 };

	for (size_t i = 0; i < m.topic_count; i++)
		for (size_t k = 0; k < PARTITIONS; k++) {
			struct part *p = &m.topics[i].parts[k];

			if (p->count - p->first > 4 && sim_percent(20))
				expire(p);
		}
	for (size_t i = 0; i < m.object_count; i++) {
		struct object *o = &m.objects[i];

		if (o->state == OBJECT_PENDING && o->session != m.session)
			o->state = OBJECT_DEAD;
		if (o->state == OBJECT_DEAD && o->dead_ns + GRACE_MS * MS < sim.now_ns) {
			store_remove(o->name);
			o->state = OBJECT_GONE;
		}
	}
}
