/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_call() of the simulator. A request takes its time, may be lost, or arrive twice; its answer as well. What is under way
 * when the agent's life ends still arrives. The store builds real segments and keeps objects in memory.
 */
#include <stdlib.h>
#include <string.h>

#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/segment_file.h"
#include "tests/sim/sim.h"

enum { OBJECTS = 4096, BUILD_MEMORY_BYTES = 8 << 20, TIMEOUT_MS = 2000 /* of what takes longer elsewhere */ };

struct peer_call_handle {
	struct list node;
	struct node *of;
	int type, fd;
	struct buf body, reply, data; /* data: what the descriptor of the answer holds */
	int64_t deliver_ns, again_ns, answer_ns, sent_ns, slow_ns; /* again, answer: INT64_MAX: does not happen */
	bool to_meta, delivered, dead, answering; /* answering: the agent looks at the reply */
	struct err e;
	peer_done_fn *done;
	void *ctx;
};

static struct list calls = {&calls, &calls};
static struct { uint8_t *data; size_t bytes; struct buf runs; uint32_t crc; bool put_again; } objects[OBJECTS];
static uint64_t object_count;
static int64_t meta_deliver_ns[NODES], meta_answer_ns[NODES]; /* a channel keeps the order, there and back */

static void call_free(struct peer_call_handle *c)
{
	list_remove(&c->node);
	if (c->fd >= 0)
		fd_close(&c->fd);
	buf_release(&c->body);
	buf_release(&c->reply);
	buf_release(&c->data);
	free(c);
}

void peers_reset(void)
{
	while (!list_empty(&calls))
		call_free(list_entry(calls.next, struct peer_call_handle, node));
	for (uint64_t i = 0; i < object_count; i++) {
		free(objects[i].data);
		objects[i].data = NULL;
		buf_release(&objects[i].runs);
	}
	object_count = 0;
	memset(meta_deliver_ns, 0, sizeof(meta_deliver_ns));
	memset(meta_answer_ns, 0, sizeof(meta_answer_ns));
}

/* What was sent still arrives, only nobody waits for the answer. A build needs the file, which is gone. */
void peers_end_life(const struct node *of)
{
	list_for_each_safe(n, &calls) {
		struct peer_call_handle *c = list_entry(n, struct peer_call_handle, node);

		if (c->of != of)
			continue;
		c->dead = true;
		c->answering = false;
		if (c->type == MSG_SEGMENT_BUILD || c->type == MSG_SESSION_OPEN || c->delivered)
			call_free(c);
	}
	meta_deliver_ns[of->number] = meta_answer_ns[of->number] = 0; /* a new channel */
}

static int64_t delay_ns(void)
{
	if (sim_fault(FAULT_PEERS, 10))
		return (int64_t)sim_below(1500 * MS);
	return (int64_t)sim_below(sim_percent(20) ? 30 * MS : 2 * MS);
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

struct peer_call_handle *peer_call(struct role_self *self, enum role peer, uint32_t index, int type, const void *body,
	const int *fds, int fd_count, uint32_t timeout_ms, peer_done_fn *done, void *ctx)
{
	struct peer_call_handle *c = calloc(1, sizeof(*c));
	struct node *owner = memory_owner(NULL);

	(void)self;
	(void)index;
	c->of = sim.node;
	c->type = type;
	c->fd = fd_count ? disk_open_again(fds[0]) : -1;
	c->done = done;
	c->ctx = ctx;
	c->sent_ns = sim.now_ns;
	c->deliver_ns = (c->of->cut_until_ns > sim.now_ns && sim_percent(50) ? c->of->cut_until_ns : sim.now_ns) + delay_ns();
	c->to_meta = peer == ROLE_META;
	if (c->to_meta)
		c->deliver_ns = meta_deliver_ns[c->of->number] = later(meta_deliver_ns[c->of->number], c->deliver_ns);
	c->again_ns = message_table[type].again && type != MSG_SESSION_OPEN && sim_fault(FAULT_PEERS, 30) ? c->deliver_ns + delay_ns() : INT64_MAX;
	if (peer == ROLE_STORE && sim_fault(FAULT_STORE, 20)) /* done in the end, but who asked has given up by then */
		c->slow_ns = (int64_t)sim_below(4000 * MS);
	c->answer_ns = sim.now_ns + (int64_t)(timeout_ms < TIMEOUT_MS ? timeout_ms : TIMEOUT_MS) * MS;
	err_set(&c->e, ERR_OUTCOME_UNKNOWN, "no answer came");
	if (sim_fault(FAULT_PEERS, 20) || (c->of->cut_until_ns > sim.now_ns && c->deliver_ns < c->of->cut_until_ns)) { /* never sent */
		c->deliver_ns = c->again_ns = INT64_MAX;
		c->answer_ns = sim.now_ns + delay_ns();
		err_set(&c->e, ERR_UNAVAILABLE, "the peer is away");
	}
	buf_init(&c->body, 1 << 24);
	buf_init(&c->reply, 1 << 24);
	buf_init(&c->data, 1 << 24);
	pack_write(&c->body, message_table[type].body, body);
	list_push(&calls, &c->node);
	memory_owner(owner);
	return c;
}

void peer_cancel(struct peer_call_handle *h)
{
	h->dead = true;
}

bool peer_connected(struct role_self *self, enum role peer, uint32_t index)
{
	(void)self;
	(void)peer;
	(void)index;
	return true;
}

void role_answer(struct role_reply *r, const void *body, const int *fds, int fd_count)
{
	(void)r;
	(void)body;
	(void)fds;
	(void)fd_count;
}

/* ---- the store ---- */

static uint64_t object_number(const char *name)
{
	return strtoull(name + strlen("segments/"), NULL, 10);
}

void store_remove(const char *name)
{
	uint64_t number = object_number(name);

	if (number >= object_count)
		return;
	if (objects[number].put_again) { /* by a store that was thought dead: now nobody knows of it */
		objects[number].put_again = false;
		sim_event("put again", (int64_t)number, 0);
		return;
	}
	free(objects[number].data);
	objects[number].data = NULL;
}

bool store_runs(const char *name, struct arena *a, struct segment_run **runs, size_t *count, uint64_t *bytes, uint32_t *crc)
{
	uint64_t i = object_number(name);

	if (i >= object_count || !objects[i].data)
		return false;
	*bytes = objects[i].bytes;
	*crc = objects[i].crc;
	return segment_runs_decode(objects[i].runs.data, objects[i].runs.len, a, runs, count, NULL) == 0;
}

bool store_rot(void)
{
	uint64_t i = sim_below(object_count), at;

	if (i >= object_count || !objects[i].data)
		return false;
	at = sim_below(objects[i].bytes);
	objects[i].data[at] ^= (uint8_t)(1 << at % 8);
	sim_event("rot in object", (int64_t)i, (int64_t)at);
	return true;
}

static int store_put(uint64_t number, int fd, uint64_t bytes, struct err *e)
{
	bool fails = sim_fault(FAULT_STORE, 40), happens = !fails || sim_percent(50);

	if (happens) {
		objects[number].data = malloc(bytes);
		objects[number].bytes = bytes;
		objects[number].put_again = sim_fault(FAULT_STORE, 50);
		if (disk_pread(fd, objects[number].data, bytes, 0, e) < 0)
			return -1;
	}
	return fails ? err_set(e, happens ? ERR_OUTCOME_UNKNOWN : ERR_UNAVAILABLE, "the store fails") : 0;
}

static int store_build(struct peer_call_handle *c, const struct msg_segment_build *m, struct msg_segment_built *r, struct arena *a,
	struct err *e)
{
	static struct buf runs = BUF_INIT(1 << 20);
	struct segment_build b = {.wal_fd = c->fd, .generation = m->generation, .first_lsn = m->first_lsn, .end_lsn = m->end_lsn,
		.memory_bytes = BUILD_MEMORY_BYTES, .out_fd = disk_anonymous()};
	struct segment_source *sources = arena_alloc(a, (m->sources.len / 16 + 1) * sizeof(*sources));
	struct msg_source_row row;
	uint64_t number = object_count < OBJECTS ? object_count++ : OBJECTS; /* a name is never used twice */
	size_t at = 0, n = 0;
	int result = -1;

	while (pack_row_next(m->sources, &at, msg_source_row_fields, &row, a, e) > 0)
		sources[n++] = (struct segment_source){row.topic, row.partition, row.name, row.first_offset, row.end_offset};
	b.sources = sources;
	b.source_count = n;
	b.info.session = m->session;
	b.info.slot = m->slot_id;
	memcpy(b.info.object.b, &number, sizeof(number));
	r->object = arena_printf(a, "segments/%llu", (unsigned long long)number);
	if (number == OBJECTS)
		err_set(e, ERR_UNAVAILABLE, "the simulator has no room for more objects");
	else if (meta_intent(m->session, r->object, &b.info.number, &b.info.newest_committed, e) == 0 && segment_build(&b, e) == 0)
		result = b.bytes ? store_put(number, b.out_fd, b.bytes, e) : 0;
	buf_reset(&runs);
	segment_runs_encode(&runs, b.runs, b.run_count);
	if (number < OBJECTS) {
		buf_init(&objects[number].runs, 1 << 20);
		segment_runs_encode(&objects[number].runs, b.runs, b.run_count);
		objects[number].crc = b.crc;
	}
	r->bytes = b.bytes;
	r->crc = b.crc;
	r->runs = (struct bytes){(uint8_t *)runs.data, runs.len};
	mem_free(b.runs);
	fd_close(&b.out_fd);
	return result;
}

static int store_read(struct peer_call_handle *c, const struct msg_object_read *m, struct msg_object_data *r, struct err *e)
{
	uint64_t number = object_number(m->object);

	if (sim_fault(FAULT_STORE, 10))
		return err_set(e, ERR_UNAVAILABLE, "the store fails");
	if (number >= object_count || !objects[number].data || m->offset + m->length > objects[number].bytes)
		return err_set(e, ERR_NOT_FOUND, "object %s is not there", m->object);
	r->position = 0;
	return buf_add(&c->data, objects[number].data + m->offset, m->length);
}

/* ---- calls ---- */

/* Does the agent find the metadata good, as far as it remembers what it saw? */
static void call_meets_metadata(const struct peer_call_handle *c)
{
	bool tells = c->type == MSG_SESSION_OPEN || c->type == MSG_SESSION_RENEW || c->type == MSG_SEGMENT_COMMIT;

	if (tells && !c->dead && c->of == sim.owner && c->of->log)
		meta_accepted(c->of->log->commit_sequence,
			c->of->log->session > c->of->log->seen_session ? c->of->log->session : c->of->log->seen_session);
}

static void call_act(struct peer_call_handle *c)
{
	struct arena a = ARENA_INIT;
	uint64_t body[64] = {0}, reply[64] = {0};
	struct err e = ERR_INIT;
	int result = pack_read(message_table[c->type].body, body, c->body.data, c->body.len, &a, &e);

	call_meets_metadata(c);
	buf_reset(&c->reply);
	buf_reset(&c->data);
	if (result == 0)
		result = c->type == MSG_SEGMENT_BUILD ? store_build(c, (const void *)body, (void *)reply, &a, &e) :
			c->type == MSG_OBJECT_READ ? store_read(c, (const void *)body, (void *)reply, &e) :
						      meta_call(c->type, body, reply, &a, &e);
	c->e = e;
	if (result == 0)
		pack_write(&c->reply, message_table[c->type].reply, reply);
	else if (e.code == ERR_NONE)
		err_set(&c->e, ERR_INTERNAL, "no error was given");
	if (result == 0 && !c->dead && (c->type == MSG_SESSION_RENEW || c->type == MSG_SESSION_OPEN)) {
		int64_t until = c->sent_ns / MS + settings_number(c->of->self.settings, "session.ttl");

		c->of->lease_until_ms = later(c->of->lease_until_ms, until);
	}
	sim_event(message_table[c->type].name, result, c->e.code);
	arena_release(&a);
}

void peers_meta_restarts(void)
{
	list_for_each(n, &calls) {
		struct peer_call_handle *c = list_entry(n, struct peer_call_handle, node);

		if (c->to_meta && c->delivered && !c->answering)
			err_set(&c->e, ERR_OUTCOME_UNKNOWN, "the peer is away");
	}
}

static void call_deliver(struct peer_call_handle *c)
{
	int64_t answer_ns;

	c->delivered = true;
	call_act(c);
	if (sim_fault(FAULT_PEERS, 20)) /* the answer is lost */
		err_set(&c->e, ERR_OUTCOME_UNKNOWN, "no answer came");
	answer_ns = later(sim.now_ns, c->of->cut_until_ns) + delay_ns() + c->slow_ns;
	if (c->to_meta)
		answer_ns = meta_answer_ns[c->of->number] = later(meta_answer_ns[c->of->number], answer_ns);
	if (answer_ns < c->answer_ns)
		c->answer_ns = answer_ns;
	else if (c->e.code == ERR_NONE) /* too late */
		err_set(&c->e, ERR_OUTCOME_UNKNOWN, "no answer came in time");
}

bool peers_run(int64_t *next_ns)
{
	list_for_each_safe(n, &calls) {
		struct peer_call_handle *c = list_entry(n, struct peer_call_handle, node);
		bool waits = !c->dead || (!c->delivered && c->deliver_ns < INT64_MAX) || c->again_ns < INT64_MAX;

		if (c->answering)
			continue;
		if (!waits) {
			call_free(c);
			continue;
		}
		if (!c->delivered && c->deliver_ns <= sim.now_ns) {
			call_deliver(c);
			return true;
		}
		if (c->delivered && c->again_ns <= sim.now_ns) {
			struct err before = c->e;

			c->again_ns = INT64_MAX;
			call_act(c);
			if (before.code == ERR_OUTCOME_UNKNOWN)
				c->e = before;
			return true;
		}
		if (!c->dead && c->answer_ns <= sim.now_ns)
			loop_post(c->of->self.loop);
		int64_t next = !c->delivered ? c->deliver_ns : c->again_ns;

		if (!c->dead && c->answer_ns > sim.now_ns && c->answer_ns < next)
			next = c->answer_ns;
		if (next < *next_ns)
			*next_ns = next;
	}
	return false;
}

static struct peer_call_handle *call_due(void)
{
	list_for_each(n, &calls) {
		struct peer_call_handle *c = list_entry(n, struct peer_call_handle, node);

		if (c->of == sim.node && !c->dead && c->answer_ns <= sim.now_ns)
			return c;
	}
	return NULL;
}

void peers_answer(void)
{
	struct peer_call_handle *c;

	while ((c = call_due())) {
		struct chan_message message = {.fds = {-1, -1, -1, -1}};
		struct arena a = ARENA_INIT;
		uint64_t reply[64] = {0};
		struct err e = c->e;

		c->dead = c->answering = true; /* it may still arrive, or a second time */
		if (e.code == ERR_NONE)
			pack_read(message_table[c->type].reply, reply, c->reply.data, c->reply.len, &a, &e);
		if (e.code == ERR_NONE && c->data.len) {
			message.fds[0] = fd_memory("object", c->data.data, c->data.len, &e);
			message.fd_count = 1;
		}
		c->done(c->ctx, e.code == ERR_NONE ? reply : NULL, &message, e.code == ERR_NONE ? NULL : &e);
		c->answering = false;
		fd_close(&message.fds[0]);
		arena_release(&a);
	}
}
