/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the agent and the store beside the real shd-meta and shd-janitor. The agent commits a run at a time
 * to each of its partitions, whatever happens to meta meanwhile; then it looks whether every run acknowledged
 * is found and no other, deletes the topic, and waits until the janitor has removed all. It says in the log
 * how far it is. The store names objects and holds none; its first removals fail.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/role.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/format/segment.h"

enum { PARTITIONS = 8, RUNS = 300, FAILING_REMOVALS = 3, TIMEOUT_MS = 30000, ASK_AGAIN_MS = 50 };

struct chain { /* commits of one partition, one after the other */
	uint32_t partition;
	int64_t end, asked;
	char object[SEGMENT_NAME_MAX + 1];
};
struct intent { /* the store's: a name being reserved */
	struct role_reply *reply;
};

static struct role_self *self;
static uint64_t session;
static struct uuid topic;
static bool topic_known;
static struct chain chains[PARTITIONS];
static int chains_done, chains_verified, removals;
static struct timer again;

static void call(int type, const void *body, peer_done_fn *done, void *ctx)
{
	peer_call(self, type == MSG_SEGMENT_BUILD ? ROLE_STORE : ROLE_META, 0, type, body, NULL, 0,
		TIMEOUT_MS, done, ctx);
}

static void check(const void *reply, const struct err *e, const char *what)
{
	if (!reply)
		fatalx("%s failed: %s", what, e->text);
}

/* ---- after the topic was deleted ---- */

static void ask_status(void *ctx);

static void status_came(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_meta_status *s = reply;

	(void)message;
	check(reply, e, "META_STATUS");
	if (s->live_objects || s->dead_objects || s->pending_objects)
		loop_timer_set(self->loop, &again, ASK_AGAIN_MS, ask_status, ctx);
	else
		log_info("swept");
}

static void ask_status(void *ctx)
{
	call(MSG_META_STATUS, NULL, status_came, ctx);
}

static void deleted(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	(void)message;
	check(reply, e, "TOPIC_DELETE");
	ask_status(ctx);
}

/* ---- is everything found? ---- */

static void ask_run(struct chain *c);

static void run_came(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_run_found *found = reply;
	struct arena a = ARENA_INIT;
	struct segment_run *run;
	struct chain *c = ctx;
	size_t count;

	(void)message;
	check(reply, e, "RUN_FIND");
	if (found->found != (c->asked < c->end))
		fatalx("partition %u: offset %lld of %lld: found %d", c->partition, (long long)c->asked,
			(long long)c->end, found->found);
	if (found->found &&
		(segment_runs_decode(found->run.data, found->run.len, &a, &run, &count, NULL) < 0 ||
			count != 1 || run->first_offset != c->asked || found->object_bytes != 1000))
		fatalx("partition %u: offset %lld leads to another run", c->partition, (long long)c->asked);
	arena_release(&a);
	if (c->asked++ < c->end) {
		ask_run(c);
	} else if (++chains_verified == PARTITIONS) {
		log_info("verified");
		call(MSG_TOPIC_DELETE, &(struct msg_topic_delete){.name = "load"}, deleted, NULL);
	}
}

static void ask_run(struct chain *c)
{
	struct msg_run_find m = {.topic = topic, .partition = c->partition, .value = c->asked};

	call(MSG_RUN_FIND, &m, run_came, c);
}

static void ends_came(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_session_renewed *r = reply;
	struct arena a = ARENA_INIT;
	struct msg_partition_row row;
	size_t pos = 0;
	int rows = 0;

	(void)ctx;
	(void)message;
	check(reply, e, "SESSION_RENEW");
	for (; pack_row_next(r->partitions, &pos, msg_partition_row_fields, &row, &a, NULL) == 1; rows++)
		if (row.flushed_end != RUNS || row.epoch != session || row.records != RUNS)
			fatalx("partition %u ends at %lld", row.partition, (long long)row.flushed_end);
	if (rows != PARTITIONS)
		fatalx("%d partitions", rows);
	arena_release(&a);
	for (int i = 0; i < PARTITIONS; i++)
		ask_run(&chains[i]);
}

/* ---- commits ---- */

static void build(struct chain *c);

static void committed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_segment_committed *m = reply;
	struct chain *c = ctx;

	(void)message;
	check(reply, e, "SEGMENT_COMMIT");
	/* 0 accepted; 1 already there: the answer of the first try was lost with the process that gave it */
	if (m->verdicts.len != 1 || m->verdicts.data[0] > 1)
		fatalx("partition %u at %lld: verdict %d", c->partition, (long long)c->end,
			m->verdicts.len ? m->verdicts.data[0] : -1);
	if (++c->end < RUNS) {
		build(c);
	} else if (++chains_done == PARTITIONS) {
		log_info("committed");
		call(MSG_SESSION_RENEW, &(struct msg_session_renew){.session = session}, ends_came, NULL);
	}
}

static void built(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_segment_built *b = reply;
	struct chain *c = ctx;
	struct segment_run run = {.topic = topic,
		.partition = c->partition,
		.first_epoch = session,
		.last_epoch = session,
		.previous_end = c->end,
		.first_offset = c->end,
		.end_offset = c->end + 1,
		.records = 1};
	struct buf runs = BUF_INIT(1024);
	struct msg_segment_commit m = {.session = session, .object = c->object, .bytes = 1000, .crc = 7};

	(void)message;
	check(reply, e, "SEGMENT_BUILD");
	snprintf(c->object, sizeof(c->object), "%s", b->object);
	segment_runs_encode(&runs, &run, 1);
	m.runs = (struct bytes){(uint8_t *)runs.data, runs.len};
	call(MSG_SEGMENT_COMMIT, &m, committed, c);
	buf_release(&runs);
}

static void build(struct chain *c)
{
	call(MSG_SEGMENT_BUILD, &(struct msg_segment_build){.session = session}, built, c);
}

/* ---- beginning ---- */

static void topics_came(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_session_renewed *r = reply;
	struct arena a = ARENA_INIT;
	struct msg_topic_row row;
	size_t pos = 0;

	(void)ctx;
	(void)message;
	check(reply, e, "SESSION_RENEW");
	if (!topic_known && pack_row_next(r->topics, &pos, msg_topic_row_fields, &row, &a, NULL) == 1 &&
		!strcmp(row.name, "load")) {
		topic_known = true;
		topic = row.id;
		log_info("told of the topic");
		for (uint32_t i = 0; i < PARTITIONS; i++) {
			chains[i].partition = i;
			build(&chains[i]);
		}
	}
	arena_release(&a);
}

static void created(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	(void)ctx;
	(void)message;
	check(reply, e, "TOPIC_CREATE");
}

static void opened(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct msg_topic_create m = {
		.name = "load", .partitions = PARTITIONS, .replication_factor = 1, .config = "{}"};

	(void)ctx;
	(void)message;
	check(reply, e, "SESSION_OPEN");
	session = ((const struct msg_session_opened *)reply)->session;
	role_ready(self);
	call(MSG_TOPIC_CREATE, &m, created, NULL);
}

static void start(struct role_self *s)
{
	struct msg_session_open m = {.slot_id = uuid_random(), .address = "127.0.0.1:1", .ttl_ms = 10000};

	self = s;
	if (s->role == ROLE_AGENT)
		call(MSG_SESSION_OPEN, &m, opened, NULL);
	else
		role_ready(s);
}

/* ---- the store ---- */

static void intended(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_segment_intended *m = reply;
	struct intent *i = ctx;

	(void)message;
	if (reply)
		role_answer(i->reply,
			&(struct msg_segment_built){.object = m->object, .bytes = 1000, .crc = 7}, NULL, 0);
	else
		role_answer_error(i->reply, e);
	mem_free(i);
}

static void remove_object(struct role_request *r)
{
	struct err e = ERR_INIT;

	if (removals++ < FAILING_REMOVALS) {
		err_set(&e, ERR_UNAVAILABLE, "removal fails on purpose");
		role_answer_error(r->reply, &e);
	} else {
		role_answer(r->reply, &(struct msg_empty){0}, NULL, 0);
	}
}

static void list_nothing(struct role_request *r)
{
	struct err e = ERR_INIT;
	int fd = fd_memory("objects", "", 0, &e);

	if (fd < 0)
		role_answer_error(r->reply, &e);
	else
		role_answer(r->reply, &(struct msg_object_listed){0}, &fd, 1);
	fd_close(&fd);
}

static void request(struct role_self *s, struct role_request *r)
{
	struct msg_segment_intent m;
	struct intent *i;

	if (r->type == MSG_META_CHANGED) {
		role_answer(r->reply, &(struct msg_empty){0}, NULL, 0);
		call(MSG_SESSION_RENEW, &(struct msg_session_renew){.session = session}, topics_came, NULL);
	} else if (r->type == MSG_SEGMENT_BUILD) {
		m = (struct msg_segment_intent){
			((const struct msg_segment_build *)r->body)->session, uuid_random()};
		i = mem_alloc(sizeof(*i));
		i->reply = r->reply;
		peer_call(s, ROLE_META, 0, MSG_SEGMENT_INTENT, &m, NULL, 0, TIMEOUT_MS, intended, i);
	} else if (r->type == MSG_OBJECT_REMOVE) {
		remove_object(r);
	} else if (r->type == MSG_OBJECT_LIST) {
		list_nothing(r);
	} else {
		role_answer_error(r->reply, &(struct err){ERR_NOT_BUILT, "not played", ""});
	}
}

static void take_listener(struct role_self *s, const char *protocol, const char *address, int fd)
{
	(void)s;
	(void)protocol;
	(void)address;
	(void)fd;
}

static void drain(struct role_self *s)
{
	role_drained(s);
}

int main(int argc, char **argv)
{
	struct role_program program = {strstr(argv[0], "agent") ? ROLE_AGENT : ROLE_STORE, start,
		take_listener, request, NULL, drain, NULL};

	return role_main(&program, argc, argv);
}
