/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots of the metadata for the object store. The janitor takes them: when it is told that topics changed or log
 * starts rose, and on its timer. What it takes goes to the store; when it is there we hear of it.
 *
 * A topic's deletion is answered when a snapshot that knows of it is stored, so that one that was answered does not come
 * back when the metadata is made anew from the store. When the store cannot be reached, or takes too long, the answer
 * comes all the same, with a word in the log.
 */
#include <string.h>
#include "daemon/meta/meta.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"

enum { HOLD_MS = 4000, WANTED_TIMEOUT_MS = 10000 };

struct held { /* an answer that waits for a snapshot */
	struct list node;
	struct meta_role *role;
	struct role_reply *reply;
	uint64_t takes; /* so many had been taken: a later one is meant */
	struct timer timer;
};

static void answer_held(struct held *h)
{
	loop_timer_cancel(h->role->self->loop, &h->timer);
	list_remove(&h->node);
	role_answer(h->reply, &(struct msg_empty){0}, NULL, 0);
	mem_free(h);
}

static void release(struct meta_role *r, uint64_t takes)
{
	list_for_each_safe(n, &r->snapshots.held) {
		struct held *h = list_entry(n, struct held, node);

		if (h->takes < takes)
			answer_held(h);
	}
}

static void held_too_long(void *ctx)
{
	struct held *h = ctx;

	log_warn("a topic was deleted, but no snapshot that knows of it is in the object store yet");
	answer_held(h);
}

static void wanted(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct meta_role *r = ctx;

	(void)reply;
	(void)message;
	(void)e; /* the janitor's timer does the same, later */
	r->snapshots.asking = false;
	if (r->snapshots.ask_again) {
		r->snapshots.ask_again = false;
		snapshot_want(r);
	}
}

void snapshot_init(struct meta_role *r)
{
	list_init(&r->snapshots.held);
}

void snapshot_want(struct meta_role *r)
{
	struct snapshots *s = &r->snapshots;

	if (!peer_connected(r->self, ROLE_JANITOR, 0))
		return;
	s->ask_again = s->asking;
	if (s->asking)
		return;
	s->asking = true;
	peer_call(r->self, ROLE_JANITOR, 0, MSG_SNAPSHOT_WANTED, &(struct msg_empty){0}, NULL, 0, WANTED_TIMEOUT_MS, wanted, r);
}

void snapshot_hold(struct meta_role *r, struct role_reply *reply)
{
	struct snapshots *s = &r->snapshots;
	struct held *h;

	if (s->failing || !peer_connected(r->self, ROLE_JANITOR, 0)) {
		log_warn("a topic was deleted while the object store cannot be reached: a rebuild from it would bring it back");
		role_answer(reply, &(struct msg_empty){0}, NULL, 0);
		return;
	}
	h = mem_zalloc(sizeof(*h));
	h->role = r;
	h->reply = reply;
	h->takes = s->takes;
	list_push(&s->held, &h->node);
	loop_timer_set(r->self->loop, &h->timer, HOLD_MS, held_too_long, h);
	snapshot_want(r);
}

void snapshot_release_all(struct meta_role *r)
{
	release(r, UINT64_MAX);
}

/* ---- messages ---- */

int snapshot_handle_take(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	struct snapshots *s = &r->snapshots;
	struct msg_snapshot_taken *out = reply;
	struct buf bytes = BUF_INIT(SNAPSHOT_MAX_BYTES);
	struct arena a = ARENA_INIT;
	struct snapshot taken;
	char name[SNAPSHOT_NAME_BYTES];
	int result = r->meta->driver->snapshot(r->meta, s->have_stored ? &s->stored : NULL, &a, &taken, e);

	(void)body;
	if (result < 0) {
		s->failing = true;
		release(r, UINT64_MAX);
	}
	if (result == 0) { /* what is stored knows all */
		s->failing = false;
		release(r, s->takes + 1);
	}
	if (result > 0)
		result = snapshot_write(&bytes, &taken, e);
	if (result == 0 && bytes.len) {
		r->turn.answer_fd = fd_memory("snapshot", bytes.data, bytes.len, e);
		result = r->turn.answer_fd < 0 ? -1 : 0;
	}
	if (result == 0 && bytes.len) {
		s->takes++;
		s->taken = taken;
		s->taken_takes = s->takes;
		out->name = arena_strdup(&r->turn.arena, snapshot_name(taken.incarnation, taken.number, name));
		out->bytes = bytes.len;
	}
	buf_release(&bytes);
	arena_release(&a);
	return result;
}

int snapshot_handle_stored(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_snapshot_stored *m = body;
	struct snapshots *s = &r->snapshots;
	char name[SNAPSHOT_NAME_BYTES];

	(void)reply;
	s->failing = m->failed;
	if (m->failed) {
		release(r, UINT64_MAX);
		/* Our names are given once, so somebody else has our incarnation: a copy of this metadata. */
		return m->taken ? r->meta->driver->set_behind(r->meta, m->name, e) : 0;
	}
	if (s->taken_takes && !strcmp(m->name, snapshot_name(s->taken.incarnation, s->taken.number, name))) {
		s->stored = s->taken;
		s->have_stored = true;
		release(r, s->taken_takes);
	}
	return 0;
}

/*
 * Can it not be from our metadata, nor from one that ours was made from? If it is newer, ours is an older copy, or not the one that
 * belongs to this store. A snapshot that is older than ours was begun: ours was begun anew where there were data, on a new disk perhaps,
 * and that snapshot is what they can be made from again; none of ours may come before it.
 */
static bool is_strange(const char *name, const struct meta_position *ours)
{
	uint64_t incarnation, number;

	if (meta_object_name_parse(name, &incarnation))
		return incarnation > ours->incarnation;
	return snapshot_name_parse(name, &incarnation, &number) &&
	       (incarnation > ours->incarnation || incarnation < ours->founded ||
		       (incarnation == ours->incarnation && number > ours->snapshot));
}

static int judge(struct meta_role *r, const struct msg_name_row *row, struct msg_objects_judged *out, struct buf *given_up,
	struct err *e)
{
	enum meta_standing standing;
	uint64_t incarnation;

	if (!meta_object_name_parse(row->name, &incarnation))
		return 0;
	if (r->meta->driver->standing(r->meta, row->name, &standing, e) < 0)
		return -1;
	out->known += standing == META_OBJECT_KNOWN;
	out->strange += standing == META_OBJECT_STRANGE;
	if (standing == META_OBJECT_GIVEN_UP && pack_row_write(given_up, msg_name_row_fields, row) < 0)
		return err_set(e, ERR_TOO_LARGE, "more names than a message holds");
	return 0;
}

/* From now on, or no more: what was ahead is gone from the store. */
static int note_behind(struct meta_role *r, const char *was, const char *is, bool whole, struct err *e)
{
	if (!is && was && whole) {
		log_warn("%.200s, from after this metadata, is no longer in the object store: deleting goes on", was);
		return r->meta->driver->set_behind(r->meta, NULL, e);
	}
	return is && !was ? r->meta->driver->set_behind(r->meta, is, e) : 0;
}

int snapshot_handle_unknown(struct meta_role *r, const void *body, void *reply, struct err *e)
{
	const struct msg_objects_unknown *m = body;
	struct msg_objects_judged *out = reply;
	struct buf rows = BUF_INIT(CHAN_MAX_BYTES / 4);
	struct meta_position position;
	struct msg_name_row row;
	const char *was;
	size_t at = 0;
	int more = 0;

	if (r->meta->driver->position(r->meta, &position, e) < 0 ||
		r->meta->driver->behind(r->meta, &r->turn.arena, &was, e) < 0)
		return -1;
	while ((more = pack_row_next(m->names, &at, msg_name_row_fields, &row, &r->turn.arena, e)) == 1) {
		if (!out->ahead && (is_strange(row.name, &position) || (was && !strcmp(was, row.name))))
			out->ahead = row.name;
		if (judge(r, &row, out, &rows, e) < 0) {
			more = -1;
			break;
		}
	}
	if (more == 0)
		more = note_behind(r, was, out->ahead, m->whole, e);
	out->given_up = (struct bytes){arena_dup(&r->turn.arena, rows.data, rows.len), rows.len};
	buf_release(&rows);
	return more < 0 ? -1 : 0;
}
