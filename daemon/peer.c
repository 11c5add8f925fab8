/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to peers, and requests from them.
 *
 * A call is in one of two places: it waits here (the peer is away, or its channel is full) under a timer of
 * ours, or it is on its way under the channel's timer. When the channel is lost, calls that may be repeated
 * go back to waiting for the peer's next life; the others end with "outcome unknown", because the peer may
 * have acted before it died.
 */
#include "daemon/peer.h"

#include <fcntl.h>
#include <string.h>

#include "libsh/base/fd.h"
#include "libsh/base/log.h"

enum { NS_PER_MS = 1000000 };

union any_body {
#define B(name, FIELDS) struct msg_##name name;
	MESSAGE_BODIES(B)
#undef B
};

struct peer {
	struct list node;
	struct role_life *life;
	enum role role;
	uint32_t index;
	struct chan *chan;     /* NULL: away */
	struct list waiting;   /* of peer_call_handle */
	struct list replies;   /* of role_reply: what we owe on chan */
	struct list held;      /* of held_request: came before we were ready */
	int call_count, held_count;
	size_t call_bytes;
};
struct peer_call_handle {
	struct list node;
	struct peer *peer;
	int type;
	struct buf body;       /* kept while the call may be sent again */
	size_t bytes;          /* of it, counted in call_bytes */
	int fds[CHAN_MAX_FDS];
	int fd_count;
	int64_t deadline_ns;
	struct timer timer;
	bool sent, on_its_way, cancelled;
	struct turn_end failing;
	struct err error;
	peer_done_fn *done;
	void *ctx;
};
struct role_reply {
	struct list node;
	struct chan *chan;     /* NULL: the one who asked is gone */
	uint32_t id;
	int type;
};
struct held_request {
	struct list node;
	int64_t came_ns;
	struct chan_message message; /* body in bytes[] */
	uint8_t bytes[];
};

static const struct chan_handlers peer_handlers;
static void call_replied(void *ctx, struct chan_message *reply, const struct err *e);

static struct peer *peer_find(struct role_life *life, enum role role, uint32_t index)
{
	list_for_each(it, &life->peers) {
		struct peer *p = list_entry(it, struct peer, node);

		if (p->role == role && p->index == index)
			return p;
	}
	return NULL;
}

static struct peer *peer_get(struct role_life *life, enum role role, uint32_t index)
{
	struct peer *p = peer_find(life, role, index);

	if (p)
		return p;
	p = mem_zalloc(sizeof(*p));
	p->life = life;
	p->role = role;
	p->index = index;
	list_init(&p->waiting);
	list_init(&p->replies);
	list_init(&p->held);
	list_push(&life->peers, &p->node);
	return p;
}

bool peer_connected(struct role_self *self, enum role role, uint32_t index)
{
	struct peer *p = peer_find(role_life(self), role, index);

	return p && p->chan && !chan_is_closed(p->chan);
}

/* ---- calls ---- */

static struct loop *loop_of(struct peer_call_handle *h)
{
	return h->peer->life->self.loop;
}

static void call_free(struct peer_call_handle *h)
{
	loop_timer_cancel(loop_of(h), &h->timer);
	loop_turn_end_cancel(&h->failing);
	list_remove(&h->node);
	h->peer->call_count--;
	h->peer->call_bytes -= h->bytes;
	for (int i = 0; i < h->fd_count; i++)
		fd_close(&h->fds[i]);
	buf_release(&h->body);
	mem_free(h);
}

static void call_fail(struct peer_call_handle *h, const struct err *e)
{
	peer_done_fn *done = h->done;
	void *ctx = h->ctx;
	struct err copy = *e;

	call_free(h);
	done(ctx, NULL, NULL, &copy);
}

static void call_fail_now(void *ctx)
{
	struct peer_call_handle *h = ctx;

	call_fail(h, &h->error);
}

/* At the end of this turn, since done() must not be called from inside peer_call(). */
static void call_fail_soon(struct peer_call_handle *h)
{
	loop_timer_cancel(loop_of(h), &h->timer);
	list_remove(&h->node);
	loop_at_turn_end(loop_of(h), &h->failing, call_fail_now, h);
}

static void call_expired(struct peer_call_handle *h)
{
	const char *what = message_table[h->type].name, *who = role_name(h->peer->role);
	struct err e = ERR_INIT;

	if (h->sent)
		err_set(&e, ERR_OUTCOME_UNKNOWN,
			"the %s process did not answer %s in time; whether it acted is unknown", who, what);
	else
		err_set(&e, ERR_UNAVAILABLE, "the %s process could not be reached in time for %s", who, what);
	call_fail(h, &e);
}

static void call_timer(void *ctx)
{
	call_expired(ctx);
}

static int64_t ms_left(struct peer_call_handle *h)
{
	return (h->deadline_ns - loop_now_ns(loop_of(h)) + NS_PER_MS - 1) / NS_PER_MS;
}

static void call_wait(struct peer_call_handle *h)
{
	list_push(&h->peer->waiting, &h->node);
	if (h->deadline_ns != INT64_MAX)
		loop_timer_set(loop_of(h), &h->timer, ms_left(h), call_timer, h);
}

/* -1: the channel takes no more for now. */
static int call_send(struct peer_call_handle *h)
{
	struct peer *p = h->peer;
	int64_t left_ms = h->deadline_ns == INT64_MAX ? 0 : ms_left(h);

	if (h->deadline_ns != INT64_MAX && left_ms <= 0)
		return 0; /* its timer is about to fire */
	if (chan_request(p->chan, (uint16_t)h->type, h->body.data, h->body.len, h->fds, h->fd_count,
		    (uint32_t)left_ms, call_replied, h, &h->error)) {
		if (h->error.code == ERR_BACK_PRESSURE || h->error.code == ERR_UNAVAILABLE)
			return -1;
		call_fail_soon(h);
		return 0;
	}
	loop_timer_cancel(loop_of(h), &h->timer);
	list_remove(&h->node);
	h->sent = h->on_its_way = true;
	if (message_table[h->type].again)
		return 0;
	p->call_bytes -= h->bytes;
	h->bytes = 0;
	buf_release(&h->body);
	return 0;
}

static void send_waiting(struct peer *p)
{
	list_for_each_safe(it, &p->waiting)
		if (!p->chan || call_send(list_entry(it, struct peer_call_handle, node)))
			return;
}

static void call_answered(struct peer_call_handle *h, struct chan_message *m)
{
	struct arena arena = ARENA_INIT;
	struct err e = ERR_INIT;
	union any_body body;
	peer_done_fn *done = h->done;
	void *ctx = h->ctx;

	if (m->type != h->type)
		err_set(&e, ERR_INTERNAL, "%s was answered with a message of type %d",
			message_table[h->type].name, m->type);
	else
		pack_read(message_table[h->type].reply, &body, m->body.data, m->body.len, &arena, &e);
	if (e.code) {
		call_fail(h, &e);
	} else {
		call_free(h);
		done(ctx, &body, m, NULL);
	}
	arena_release(&arena);
}

static void call_replied(void *ctx, struct chan_message *reply, const struct err *e)
{
	struct peer_call_handle *h = ctx;
	struct peer *p = h->peer;
	bool expired = loop_now_ns(loop_of(h)) >= h->deadline_ns;

	h->on_its_way = false;
	if (h->cancelled)
		call_free(h);
	else if (!e)
		call_answered(h, reply);
	else if (chan_is_closed(p->chan) && message_table[h->type].again && !expired)
		call_wait(h);
	else if (chan_is_closed(p->chan) || (e->code == ERR_REQUEST_TIMEOUT && expired))
		call_expired(h);
	else
		call_fail(h, e);
	send_waiting(p);
}

static void call_take(struct peer_call_handle *h, const void *body, const int *fds, int fd_count)
{
	struct peer *p = h->peer;

	buf_init(&h->body, CHAN_MAX_BYTES);
	if (p->call_count > PEER_MAX_CALLS || p->call_bytes > PEER_MAX_CALL_BYTES)
		err_set(&h->error, ERR_BACK_PRESSURE, "too many calls wait for the %s process",
			role_name(p->role));
	else if (body && pack_write(&h->body, message_table[h->type].body, body))
		err_set(&h->error, ERR_TOO_LARGE, "%s is larger than %d bytes", message_table[h->type].name,
			CHAN_MAX_BYTES);
	h->bytes = h->body.len;
	p->call_bytes += h->bytes;
	for (; h->fd_count < fd_count && !h->error.code; h->fd_count++) {
		h->fds[h->fd_count] = fcntl(fds[h->fd_count], F_DUPFD_CLOEXEC, 3);
		if (h->fds[h->fd_count] < 0) {
			err_sys(&h->error, ERR_INTERNAL, "cannot pass a descriptor to the %s process",
				role_name(p->role));
			break;
		}
	}
}

struct peer_call_handle *peer_call(struct role_self *self, enum role peer, uint32_t index, int type,
	const void *body, const int *fds, int fd_count, uint32_t timeout_ms, peer_done_fn *done, void *ctx)
{
	struct peer_call_handle *h = mem_zalloc(sizeof(*h));

	if (!message_allowed(type, self->role, peer) || index >= PEER_MAX_INDEX || fd_count > CHAN_MAX_FDS)
		fatalx("bug: %s may not send message %d to %s %u", role_name(self->role), type,
			role_name(peer), index);
	h->peer = peer_get(role_life(self), peer, index);
	h->peer->call_count++;
	h->type = type;
	h->done = done;
	h->ctx = ctx;
	h->deadline_ns = timeout_ms ? loop_now_ns(self->loop) + (int64_t)timeout_ms * NS_PER_MS : INT64_MAX;
	call_take(h, body, fds, fd_count);
	if (h->error.code) {
		call_fail_soon(h);
		return h;
	}
	call_wait(h);
	if (h->peer->chan)
		send_waiting(h->peer);
	return h;
}

void peer_cancel(struct peer_call_handle *h)
{
	if (!h)
		return;
	if (h->on_its_way)
		h->cancelled = true; /* the channel still knows it; freed with the answer */
	else
		call_free(h);
}

/* ---- requests from peers ---- */

static void request_run(struct peer *p, struct chan_message *m)
{
	struct arena arena = ARENA_INIT;
	struct err e = ERR_INIT;
	union any_body body;
	struct role_request r = {
		.from = p->role, .from_index = p->index, .type = m->type, .body = &body, .message = m};

	if (pack_read(message_table[m->type].body, &body, m->body.data, m->body.len, &arena, &e)) {
		log_error("%s from the %s process: %s", message_table[m->type].name, role_name(p->role),
			e.text);
		chan_reply_error(p->chan, m->id, &e);
	} else {
		r.reply = mem_zalloc(sizeof(*r.reply));
		r.reply->chan = p->chan;
		r.reply->id = m->id;
		r.reply->type = m->type;
		list_push(&p->replies, &r.reply->node);
		p->life->program->request(&p->life->self, &r);
	}
	arena_release(&arena);
}

static void request_hold(struct peer *p, struct chan_message *m)
{
	struct held_request *held;
	struct err e = ERR_INIT;

	if (p->held_count == CHAN_MAX_PENDING) {
		err_set(&e, ERR_BACK_PRESSURE, "the %s process is still starting",
			role_name(p->life->self.role));
		chan_reply_error(p->chan, m->id, &e);
		return;
	}
	held = mem_alloc(sizeof(*held) + m->body.len);
	held->message = *m;
	held->came_ns = loop_now_ns(p->life->self.loop);
	if (m->body.len)
		memcpy(held->bytes, m->body.data, m->body.len);
	held->message.body.data = held->bytes;
	for (int i = 0; i < CHAN_MAX_FDS; i++)
		m->fds[i] = -1;
	list_push(&p->held, &held->node);
	p->held_count++;
}

static void held_free(struct held_request *held)
{
	for (int i = 0; i < CHAN_MAX_FDS; i++)
		fd_close(&held->message.fds[i]);
	mem_free(held);
}

static void request_came(void *ctx, struct chan *c, struct chan_message *m)
{
	struct peer *p = ctx;
	struct err e = ERR_INIT;

	if (!message_allowed(m->type, p->role, p->life->self.role) || !p->life->program->request) {
		err_set(&e, ERR_INTERNAL, "the %s process refuses a message of type %d from the %s process",
			role_name(p->life->self.role), m->type, role_name(p->role));
		log_error("%s", e.text);
		chan_reply_error(c, m->id, &e);
	} else if (p->life->ready) {
		request_run(p, m);
	} else {
		request_hold(p, m);
	}
}

/* Whoever asked has gone on waiting meanwhile. */
static void held_run(struct peer *p, struct held_request *held)
{
	int64_t passed_ms = (loop_now_ns(p->life->self.loop) - held->came_ns) / NS_PER_MS;
	struct chan_message *m = &held->message;
	struct err e = ERR_INIT;

	if (m->timeout_ms && passed_ms >= m->timeout_ms) {
		err_set(&e, ERR_REQUEST_TIMEOUT, "the %s process was starting",
			role_name(p->life->self.role));
		chan_reply_error(p->chan, m->id, &e);
		return;
	}
	if (m->timeout_ms)
		m->timeout_ms -= (uint32_t)passed_ms;
	request_run(p, m);
}

void peer_accept(struct role_life *life)
{
	list_for_each(it, &life->peers) {
		struct peer *p = list_entry(it, struct peer, node);
		struct list *node;

		while ((node = list_pop(&p->held))) {
			struct held_request *held = list_entry(node, struct held_request, node);

			p->held_count--;
			held_run(p, held);
			held_free(held);
		}
	}
}

void role_answer(struct role_reply *r, const void *body, const int *fds, int fd_count)
{
	struct buf b = BUF_INIT(CHAN_MAX_BYTES);
	struct err e = ERR_INIT;

	if (r->chan && body && pack_write(&b, message_table[r->type].reply, body)) {
		err_set(&e, ERR_TOO_LARGE, "the answer to %s is larger than %d bytes",
			message_table[r->type].name, CHAN_MAX_BYTES);
		chan_reply_error(r->chan, r->id, &e);
	} else if (r->chan) {
		chan_reply(r->chan, r->id, (uint16_t)r->type, b.data, b.len, fds, fd_count);
	}
	buf_release(&b);
	list_remove(&r->node);
	mem_free(r);
}

void role_answer_error(struct role_reply *r, const struct err *e)
{
	if (r->chan)
		chan_reply_error(r->chan, r->id, e);
	list_remove(&r->node);
	mem_free(r);
}

/* ---- wiring ---- */

static void peer_drop(struct peer *p)
{
	struct list *node;

	while ((node = list_pop(&p->replies)))
		list_entry(node, struct role_reply, node)->chan = NULL;
	while ((node = list_pop(&p->held)))
		held_free(list_entry(node, struct held_request, node));
	p->held_count = 0;
	chan_free(p->chan);
	p->chan = NULL;
}

static void peer_closed(void *ctx, struct chan *c)
{
	(void)c;
	peer_drop(ctx);
}

static const struct chan_handlers peer_handlers = {request_came, peer_closed};

void peer_list_lost(struct role_life *life, struct buf *rows)
{
	list_for_each(it, &life->peers) {
		const struct peer *p = list_entry(it, struct peer, node);
		struct msg_wire row = {(uint8_t)p->role, p->index};

		if (!p->chan)
			pack_row_write(rows, msg_wire_fields, &row);
	}
}

int peer_wire(struct role_life *life, enum role role, uint32_t index, int fd, struct err *e)
{
	struct peer *p;

	if (role <= ROLE_SUPERVISOR || role >= ROLE_COUNT || index >= PEER_MAX_INDEX) {
		fd_close(&fd);
		return err_set(e, ERR_INTERNAL, "no such peer: role %d, number %u", (int)role, index);
	}
	p = peer_get(life, role, index);
	peer_drop(p);
	p->chan = chan_new(life->self.loop, fd, &peer_handlers, p, e);
	if (!p->chan)
		return -1;
	send_waiting(p);
	if (life->program->peer_wired)
		life->program->peer_wired(&life->self, role, index);
	return 0;
}
