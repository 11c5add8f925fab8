/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit. The first request of a turn that changes something opens a transaction; all that follow in
 * the turn, reads as well, are handled inside, and their answers wait until it is on disk. When it cannot be
 * committed, none of them has happened as far as we know, and each of them hears why. Reads outside of a
 * transaction are answered at once.
 */
#include "daemon/meta/meta.h"
#include "libsh/base/crash.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"

static void send(struct meta_role *r, struct turn_answer *a)
{
	if (a->error)
		role_answer_error(a->reply, a->error);
	else if (a->holds)
		snapshot_hold(r, a->reply);
	else
		role_answer(a->reply, a->body, &a->fd, a->fd >= 0);
	fd_close(&a->fd);
}

void turn_finish(struct meta_role *r)
{
	struct turn *t = &r->turn;
	struct err failed = ERR_INIT;

	loop_turn_end_cancel(&t->end);
	if (t->transaction)
		crash_point("meta.changed");
	if (t->transaction && r->meta->driver->commit(r->meta, &failed) < 0)
		log_error("metadata of %zu requests could not be committed: %s%s%s", t->count, failed.text,
			*failed.hint ? "; " : "", failed.hint);
	if (t->transaction)
		crash_point("meta.committed");
	t->transaction = false;
	for (size_t i = 0; i < t->count; i++) {
		if (failed.code && !t->answers[i].error)
			t->answers[i].error = &failed;
		send(r, &t->answers[i]);
	}
	t->count = 0;
	arena_release(&t->arena);
	notice_changes(r);
}

static void finish_at_end(void *ctx)
{
	turn_finish(ctx);
}

static int begin(struct meta_role *r, struct err *e)
{
	struct turn *t = &r->turn;

	if (t->transaction)
		return 0;
	if (r->meta->driver->begin(r->meta, e) < 0)
		return -1;
	t->transaction = true;
	loop_at_turn_end(r->self->loop, &t->end, finish_at_end, r);
	return 0;
}

static void log_damage(int type, const struct err *e)
{
	if (e->code == ERR_CORRUPT || e->code == ERR_IO || e->code == ERR_INTERNAL || e->code == ERR_NO_SPACE)
		log_error("%s: %s", message_table[type].name, e->text);
}

void turn_request(struct meta_role *r, struct role_request *q)
{
	const struct handler *h = handlers_find(q->type);
	struct turn *t = &r->turn;
	struct turn_answer a = {.reply = q->reply, .fd = -1};
	struct err e = ERR_INIT;

	if (!r->meta || !h) {
		err_set(&e, r->meta ? ERR_INTERNAL : ERR_UNAVAILABLE, "the meta process %s",
			r->meta ? "does not know this message" : "is ending");
		role_answer_error(q->reply, &e);
		return;
	}
	a.body = arena_alloc(&t->arena, h->reply_bytes);
	a.holds = h->holds;
	t->answer_fd = -1;
	if ((h->changes && begin(r, &e) < 0) || h->run(r, q->body, a.body, &e) < 0) {
		a.error = arena_dup(&t->arena, &e, sizeof(e));
		log_damage(q->type, &e);
	}
	a.fd = t->answer_fd;
	t->answers[t->count++] = a;
	if (!t->transaction || t->count == TURN_ANSWERS_MAX || t->arena.used > TURN_BYTES_MAX)
		turn_finish(r);
}
