/* SPDX-License-Identifier: Apache-2.0 */
/* What shd-meta does for each message: the body is checked, the metadata called, the answer filled in. */
#include <stdio.h>
#include <string.h>
#include "daemon/meta/meta.h"
#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/log.h"

enum { BOOT_ID_BYTES = 64 };

/* ---- sessions ---- */

static void note_renewal(struct meta_role *r, const struct meta_session *s)
{
	struct renewal *n = &r->renewals[s->slot % AGENTS_MAX];
	int64_t now_ms = clock_boot_ms();

	if (n->session == s->session && now_ms - n->renewed_ms > s->ttl_ms)
		log_warn("session %llu of slot %u was renewed after %lld ms, its time to live is %lld ms",
			(unsigned long long)s->session, s->slot, (long long)(now_ms - n->renewed_ms),
			(long long)s->ttl_ms);
	n->session = s->session;
	n->renewed_ms = now_ms;
}

static int handle_session_open(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_session_open *m = body;
	struct msg_session_opened *out = reply;
	struct meta_session s = {.session = m->seen_session, .incarnation = m->seen_incarnation, .commit_sequence = m->seen_sequence};

	if (r->meta->driver->session_open(r->meta, m->slot, &m->slot_id, m->address, m->ttl_ms, &s, e) < 0)
		return -1;
	note_renewal(r, &s);
	log_info("slot %u opened session %llu", s.slot, (unsigned long long)s.session);
	out->session = s.session;
	out->incarnation = s.incarnation;
	out->commit_sequence = s.commit_sequence;
	return 0;
}

static int add_topic(struct buf *out, const struct meta_topic *t)
{
	struct msg_topic_row row = {.id = t->id,
		.name = t->name,
		.partitions = t->partitions,
		.replication_factor = t->replication_factor,
		.config = t->config,
		.created_ms = t->created_ms,
		.deleted = t->deleted};

	return pack_row_write(out, msg_topic_row_fields, &row);
}

static int add_partition(struct buf *out, const struct meta_partition *p)
{
	struct msg_partition_row row = {.topic = p->topic,
		.partition = p->partition,
		.slot = p->slot,
		.epoch = p->epoch,
		.log_start = p->log_start,
		.flushed_end = p->flushed_end,
		.records = p->records,
		.bytes = p->bytes,
		.expired_records = p->expired_records,
		.expired_bytes = p->expired_bytes,
		.offset_floor = p->offset_floor};

	return pack_row_write(out, msg_partition_row_fields, &row);
}

/* Rows of whole changes, in order of version, until there is enough for one answer. */
static int pack_changes(struct meta_role *r, uint64_t since, struct msg_session_renewed *out,
	struct buf *topics, struct buf *partitions, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct meta_topic *t;
	struct meta_partition *p;
	size_t tn, pn, ti = 0, pi = 0;
	uint64_t newest, version = since;
	int result = -1;

	if (r->meta->driver->changes(r->meta, since, &a, &t, &tn, &p, &pn, &newest, e) < 0)
		goto out;
	while ((ti < tn || pi < pn) && topics->len + partitions->len < CHANGES_BYTES) {
		version = ti < tn ? t[ti].version : p[pi].version;
		if (pi < pn && p[pi].version < version)
			version = p[pi].version;
		for (; ti < tn && t[ti].version == version; ti++)
			add_topic(topics, &t[ti]);
		for (; pi < pn && p[pi].version == version; pi++)
			add_partition(partitions, &p[pi]);
	}
	if (topics->overflow || partitions->overflow) {
		err_set(e, ERR_TOO_LARGE, "the change with version %llu does not fit into a message",
			(unsigned long long)version);
		goto out;
	}
	out->flags = ti < tn || pi < pn ? SESSION_RENEWED_MORE : 0;
	out->version = out->flags & SESSION_RENEWED_MORE ? version : newest;
	result = 0;
out:
	arena_release(&a);
	return result;
}

static int handle_session_renew(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_session_renew *m = body;
	struct msg_session_renewed *out = reply;
	struct buf topics = BUF_INIT(CHAN_MAX_BYTES / 4), partitions = BUF_INIT(CHAN_MAX_BYTES / 4);
	struct meta_session s;
	int result = -1;

	if (r->meta->driver->session_renew(r->meta, m->session, &s, e) < 0)
		return -1;
	note_renewal(r, &s);
	out->incarnation = s.incarnation;
	out->commit_sequence = s.commit_sequence;
	if (pack_changes(r, m->version, out, &topics, &partitions, e) == 0) {
		out->topics = (struct bytes){arena_dup(&r->turn.arena, topics.data, topics.len), topics.len};
		out->partitions = (struct bytes){
			arena_dup(&r->turn.arena, partitions.data, partitions.len), partitions.len};
		result = 0;
	}
	buf_release(&topics);
	buf_release(&partitions);
	return result;
}

static int handle_session_close(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_session_close *m = body;

	(void)reply;
	return r->meta->driver->session_close(r->meta, m->session, e);
}

/* ---- topics ---- */

static int handle_topic_create(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_topic_create *m = body;
	struct msg_topic_created *out = reply;
	struct meta_topic t = {.name = m->name,
		.partitions = m->partitions,
		.replication_factor = m->replication_factor,
		.config = m->config};

	if (r->meta->driver->topic_create(r->meta, &t, e) < 0)
		return -1;
	out->id = t.id;
	return 0;
}

static int handle_topic_alter(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_topic_alter *m = body;

	(void)reply;
	return r->meta->driver->topic_alter(r->meta, m->name, m->partitions, m->config, e);
}

static int handle_topic_delete(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_topic_delete *m = body;

	(void)reply;
	return r->meta->driver->topic_delete(r->meta, m->name, e);
}

static int handle_producer_ids(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_producer_ids *m = body;
	struct msg_producer_ids_given *out = reply;

	return r->meta->driver->producer_ids(r->meta, m->count, &out->first, e);
}

static int handle_meta_status(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	struct msg_meta_status *out = reply;
	struct meta_counts c;
	const char *behind;

	(void)body;
	if (r->meta->driver->counts(r->meta, &c, e) < 0 ||
		r->meta->driver->behind(r->meta, &r->turn.arena, &behind, e) < 0)
		return -1;
	*out = (struct msg_meta_status){.topics = c.topics,
		.partitions = c.partitions,
		.live_objects = c.live_objects,
		.live_bytes = c.live_bytes,
		.pending_objects = c.pending_objects,
		.dead_objects = c.dead_objects,
		.records = c.records,
		.url = r->url,
		.behind = behind};
	return 0;
}

/* ---- segments ---- */

static int handle_segment_intent(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_segment_intent *m = body;
	struct msg_segment_intended *out = reply;
	struct meta_session s;

	if (r->meta->driver->session_renew(r->meta, m->session, &s, e) < 0)
		return -1;
	out->object = meta_object_name(&r->turn.arena, &m->object, s.incarnation);
	out->incarnation = s.incarnation;
	return r->meta->driver->intent(
		r->meta, m->session, &m->object, out->object, &out->number, &out->newest_committed, e);
}

/* A refusal would take a sequence number as well, and so hide that the metadata went back. */
static int check_seen(struct meta_role *r, uint64_t session, uint64_t seen, struct err *e)
{
	struct err over = ERR_INIT;
	struct meta_session s;

	if (r->meta->driver->session_renew(r->meta, session, &s, &over) < 0) /* the commit says so by its verdicts */
		return over.code == ERR_FENCED ? 0 : (*e = over, -1);
	if (s.commit_sequence >= seen)
		return 0;
	err_set(e, ERR_CORRUPT, "the metadata went back in time (commit %llu, but %llu was seen)",
		(unsigned long long)s.commit_sequence, (unsigned long long)seen);
	return err_hint(e, "see streamhouse-recovery(7)");
}

static int handle_segment_commit(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_segment_commit *m = body;
	struct msg_segment_committed *out = reply;
	struct meta_object o = {.name = m->object, .bytes = m->bytes, .crc = m->crc};
	struct arena *a = &r->turn.arena;
	struct segment_run *runs;
	enum meta_verdict *verdicts;
	uint8_t *bytes;
	size_t count;

	if (check_seen(r, m->session, m->seen, e) < 0 || segment_runs_decode(m->runs.data, m->runs.len, a, &runs, &count, e) < 0)
		return -1;
	verdicts = arena_alloc(a, (count + 1) * sizeof(*verdicts));
	if (r->meta->driver->segment_commit(
		    r->meta, m->session, &o, runs, count, verdicts, &out->commit_sequence, e) < 0)
		return -1;
	bytes = arena_alloc(a, count + 1);
	for (size_t i = 0; i < count; i++)
		bytes[i] = verdicts[i];
	out->verdicts = (struct bytes){bytes, count};
	return 0;
}

static int handle_run_find(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_run_find *m = body;
	struct msg_run_found *out = reply;
	struct arena *a = &r->turn.arena;
	struct buf run = BUF_INIT(1024);
	struct segment_run found;
	struct err why = ERR_INIT;
	struct meta_object o;

	if (r->meta->driver->run_find(r->meta, &m->topic, m->partition, m->by_timestamp, m->value,
		    m->from_offset, a, &o, &found, &why) < 0) {
		*e = why;
		return why.code == ERR_NOT_FOUND ? 0 : -1; /* found stays 0 */
	}
	if (segment_runs_encode(&run, &found, 1) < 0) {
		buf_release(&run);
		return err_set(e, ERR_INTERNAL, "a run does not fit into a message");
	}
	out->found = 1;
	out->object = o.name;
	out->object_bytes = o.bytes;
	out->run = (struct bytes){arena_dup(a, run.data, run.len), run.len};
	buf_release(&run);
	return 0;
}

/* ---- garbage ---- */

/* Which boot of the machine this is: boot clocks of two boots say nothing of each other. */
static void read_boot_id(char id[BOOT_ID_BYTES])
{
	struct buf text = BUF_INIT(BOOT_ID_BYTES - 1);

	id[0] = '\0';
	if (disk_read_file("/proc/sys/kernel/random/boot_id", &text, NULL) == 0 && text.len)
		snprintf(id, BOOT_ID_BYTES, "%.*s", (int)strcspn(text.data, "\n"), text.data);
	buf_release(&text);
}

static struct meta_clock clocks(char boot_id[BOOT_ID_BYTES], int64_t hold_ms)
{
	read_boot_id(boot_id);
	return (struct meta_clock){
		.boot_id = boot_id, .boot_ms = clock_boot_ms(), .real_ms = clock_real_ms(), .hold_ms = hold_ms};
}

static void log_jump(const struct meta_clock *c)
{
	if (c->jumped_ms)
		log_warn("the clock was set by %lld s: nothing expires by age for %lld s",
			(long long)c->jumped_ms / 1000, (long long)c->hold_ms / 1000);
}

static int handle_retain(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_retain *m = body;
	struct msg_retained *out = reply;
	char boot_id[BOOT_ID_BYTES];
	struct meta_retain step = {.clock = clocks(boot_id, m->hold_ms)};
	int more = r->meta->driver->retain(r->meta, &step, e);

	if (more < 0)
		return -1;
	log_jump(&step.clock);
	*out = (struct msg_retained){
		.more = more, .runs = step.runs, .records = step.records, .bytes = step.bytes};
	return 0;
}

static int handle_garbage_list(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_garbage_list *m = body;
	struct msg_garbage_names *out = reply;
	struct buf rows = BUF_INIT(CHAN_MAX_BYTES / 4);
	char boot_id[BOOT_ID_BYTES];
	struct meta_garbage step = {
		.clock = clocks(boot_id, m->grace_ms), .grace_ms = m->grace_ms, .max = m->max, .skip = m->skip};
	int more = r->meta->driver->garbage(r->meta, &step, &r->turn.arena, e);

	if (more < 0)
		return -1;
	log_jump(&step.clock);
	for (size_t i = 0; i < step.count; i++) {
		struct msg_name_row row = {.name = step.names[i]};

		pack_row_write(&rows, msg_name_row_fields, &row);
	}
	out->more = more;
	out->names = (struct bytes){arena_dup(&r->turn.arena, rows.data, rows.len), rows.len};
	buf_release(&rows);
	return 0;
}

static int handle_garbage_done(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_garbage_done *m = body;

	(void)reply;
	return r->meta->driver->garbage_done(r->meta, m->name, e);
}

const struct handler *handlers_find(int type)
{
	static const struct handler handlers[MESSAGE_COUNT] = {
		[MSG_SESSION_OPEN] = {handle_session_open, sizeof(struct msg_session_opened), true, false},
		[MSG_SESSION_RENEW] = {handle_session_renew, sizeof(struct msg_session_renewed), false, false},
		[MSG_SESSION_CLOSE] = {handle_session_close, sizeof(struct msg_empty), true, false},
		[MSG_TOPIC_CREATE] = {handle_topic_create, sizeof(struct msg_topic_created), true, false},
		[MSG_TOPIC_ALTER] = {handle_topic_alter, sizeof(struct msg_empty), true, false},
		[MSG_TOPIC_DELETE] = {handle_topic_delete, sizeof(struct msg_empty), true, true},
		[MSG_PRODUCER_IDS] = {handle_producer_ids, sizeof(struct msg_producer_ids_given), true, false},
		[MSG_META_STATUS] = {handle_meta_status, sizeof(struct msg_meta_status), false, false},
		[MSG_SEGMENT_INTENT] = {handle_segment_intent, sizeof(struct msg_segment_intended), true, false},
		[MSG_SEGMENT_COMMIT] = {handle_segment_commit, sizeof(struct msg_segment_committed), true, false},
		[MSG_RUN_FIND] = {handle_run_find, sizeof(struct msg_run_found), false, false},
		[MSG_RETAIN] = {handle_retain, sizeof(struct msg_retained), true, false},
		[MSG_GARBAGE_LIST] = {handle_garbage_list, sizeof(struct msg_garbage_names), true, false},
		[MSG_OBJECTS_UNKNOWN] = {snapshot_handle_unknown, sizeof(struct msg_objects_judged), true, false},
		[MSG_SNAPSHOT_TAKE] = {snapshot_handle_take, sizeof(struct msg_snapshot_taken), true, false},
		[MSG_SNAPSHOT_STORED] = {snapshot_handle_stored, sizeof(struct msg_empty), true, false},
		[MSG_GARBAGE_DONE] = {handle_garbage_done, sizeof(struct msg_empty), true, false},
	};

	return type > 0 && type < MESSAGE_COUNT && handlers[type].run ? &handlers[type] : NULL;
}
