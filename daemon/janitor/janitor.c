/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shd-janitor: has the metadata expire what topics do not keep, and deletes objects that it calls dead. A
 * round: ask meta to raise log starts, ask it for names of objects that are dead for the grace period, have
 * the store remove each, tell meta that it is gone. One call is on its way at a time; between
 * rounds there is only a timer.
 *
 * It decides nothing. What could not be listed or removed stays dead in the metadata and is tried in a later
 * round; a round ends at once when a peer is away, and the pauses double. A single object that cannot be removed
 * holds up nothing: the next list begins behind it, and what was left so is tried again after a pause of its own.
 */
#include <string.h>
#include "daemon/janitor/janitor.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/log.h"
#include "libsh/base/text.h"

enum {
	RETAIN_STEPS_MAX = 64, /* of one round */
	SOON_MS = 1000, /* next round when there is more to do */
	PAUSE_MAX_MS = 3600000,
	LIST_BYTES_MAX = 64 << 20,
};

struct janitor {
	struct role_self *self;
	struct timer timer;
	struct peer_call_handle *call;
	struct arena arena; /* the round's names */
	struct bytes names;
	size_t position;          /* in names */
	const char *name;         /* in work */
	uint64_t removed, failed; /* in this round */
	unsigned retain_steps;
	uint64_t expired_runs, expired_records;
	bool more;
	int64_t pause_ms; /* after failures; 0: none */
	uint32_t skip;         /* names at the front of the list that could not be removed */
	int64_t skip_until_ms; /* boot clock: then they are tried again */
	int64_t skip_pause_ms;
	bool ended;            /* by a failure */
};

/* The program has one role; role.h hands its callbacks no pointer of ours. */
static struct janitor janitor;

static void round_begin(void *ctx);
static void next_name(struct janitor *j);
static void retain(struct janitor *j);

static int64_t interval_ms(const struct janitor *j)
{
	return settings_number(j->self->settings, "janitor.interval");
}

static void back_off(const struct janitor *j, int64_t *pause_ms)
{
	*pause_ms = *pause_ms ? 2 * *pause_ms : interval_ms(j);
	if (*pause_ms > PAUSE_MAX_MS)
		*pause_ms = PAUSE_MAX_MS;
}

static void skip_begin(struct janitor *j)
{
	if (j->skip && clock_boot_ms() >= j->skip_until_ms)
		j->skip = 0;
}

/* The first one of those that are left decides when all are tried again. */
static void skip_one(struct janitor *j)
{
	if (j->skip++ > 0)
		return;
	back_off(j, &j->skip_pause_ms);
	j->skip_until_ms = clock_boot_ms() + j->skip_pause_ms;
}

static void round_end(struct janitor *j)
{
	int64_t after_ms = interval_ms(j);

	if (j->expired_runs)
		log_info("retention: %llu %s in %llu %s expired", (unsigned long long)j->expired_records,
			text_plural((int64_t)j->expired_records, "record", "records"),
			(unsigned long long)j->expired_runs, text_plural((int64_t)j->expired_runs, "run", "runs"));
	if (j->removed)
		log_info("removed %llu dead %s", (unsigned long long)j->removed,
			text_plural((int64_t)j->removed, "object", "objects"));
	if (!j->skip)
		j->skip_pause_ms = 0;
	if (j->ended) {
		back_off(j, &j->pause_ms);
		after_ms = j->pause_ms > after_ms ? j->pause_ms : after_ms;
	} else {
		j->pause_ms = 0;
		if ((j->more || j->removed + j->failed >= NAMES_MAX) && after_ms > SOON_MS)
			after_ms = SOON_MS;
	}
	arena_release(&j->arena);
	loop_timer_set(j->self->loop, &j->timer, after_ms, round_begin, j);
}

static void round_fail(struct janitor *j)
{
	j->ended = true;
	round_end(j);
}

static void failed(struct janitor *j, const char *doing, const struct err *e)
{
	if (j->failed++ == 0)
		log_warn("%s: %s; trying again later", doing, e->text);
}

static void done(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct janitor *j = ctx;

	(void)reply;
	(void)message;
	j->call = NULL;
	if (e) {
		failed(j, "telling the metadata what was removed", e);
		round_fail(j);
		return;
	}
	j->removed++;
	crash_point("garbage.forgotten");
	next_name(j);
}

static void removed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct janitor *j = ctx;
	struct msg_garbage_done body = {.name = j->name};

	(void)reply;
	(void)message;
	j->call = NULL;
	if (!e) {
		crash_point("garbage.removed");
		j->call = peer_call(
			j->self, ROLE_META, 0, MSG_GARBAGE_DONE, &body, NULL, 0, CALL_TIMEOUT_MS, done, j);
		return;
	}
	failed(j, "removing an object", e);
	skip_one(j);
	if (err_can_retry(e->code)) /* the store is away or busy: so it would be for the others; or it guards this one */
		round_fail(j);
	else
		next_name(j);
}

static void next_name(struct janitor *j)
{
	struct msg_object_remove body = {0};
	struct msg_name_row row;
	struct err e = ERR_INIT;
	int more = pack_row_next(j->names, &j->position, msg_name_row_fields, &row, &j->arena, &e);

	if (more < 0)
		failed(j, "reading the list of dead objects", &e);
	if (more <= 0) {
		j->ended = j->ended || more < 0;
		round_end(j);
		return;
	}
	j->name = body.name = row.name;
	j->call = peer_call(
		j->self, ROLE_STORE, 0, MSG_OBJECT_REMOVE, &body, NULL, 0, CALL_TIMEOUT_MS, removed, j);
}

static void listed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_garbage_names *names = reply;
	struct janitor *j = ctx;

	(void)message;
	j->call = NULL;
	if (e) {
		failed(j, "asking for dead objects", e);
		round_fail(j);
		return;
	}
	j->names = (struct bytes){
		arena_dup(&j->arena, names->names.data, names->names.len), names->names.len};
	j->more = j->more || names->more;
	if (j->names.len)
		crash_point("garbage.listed");
	next_name(j);
}

static void list_dead(struct janitor *j)
{
	struct msg_garbage_list body = {.grace_ms = settings_number(j->self->settings, "object.grace"),
		.max = NAMES_MAX,
		.skip = j->skip};

	if (!orphans_looked()) {
		round_end(j);
		return;
	}
	j->call = peer_call(
		j->self, ROLE_META, 0, MSG_GARBAGE_LIST, &body, NULL, 0, CALL_TIMEOUT_MS, listed, j);
}

static void retained(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_retained *step = reply;
	struct janitor *j = ctx;

	(void)message;
	j->call = NULL;
	if (e) {
		failed(j, "expiring what topics do not keep", e);
		round_fail(j);
		return;
	}
	if (step->runs)
		crash_point("retention.expired");
	j->expired_runs += step->runs;
	j->expired_records += step->records;
	j->more = step->more;
	if (step->more && ++j->retain_steps < RETAIN_STEPS_MAX)
		retain(j);
	else
		list_dead(j);
}

static void retain(struct janitor *j)
{
	struct msg_retain body = {.hold_ms = settings_number(j->self->settings, "object.grace")};

	j->call =
		peer_call(j->self, ROLE_META, 0, MSG_RETAIN, &body, NULL, 0, CALL_TIMEOUT_MS, retained, j);
}

static void round_begin(void *ctx)
{
	struct janitor *j = ctx;

	j->removed = j->failed = j->expired_runs = j->expired_records = 0;
	j->retain_steps = 0;
	j->ended = j->more = false;
	skip_begin(j);
	j->position = 0;
	retain(j);
}

int janitor_read_listed(const struct msg_object_listed *m, struct chan_message *message, struct arena *a, struct bytes *rows,
	struct err *e)
{
	uint8_t *p;

	if (message->fd_count < 1 || m->bytes > LIST_BYTES_MAX)
		return err_set(e, ERR_INTERNAL, "the store sent no list, or one of %llu bytes", (unsigned long long)m->bytes);
	p = arena_alloc(a, m->bytes + 1);
	*rows = (struct bytes){p, m->bytes};
	return disk_pread(message->fds[0], p, m->bytes, 0, e);
}

static void janitor_request(struct role_self *self, struct role_request *r)
{
	struct err e = ERR_INIT;

	(void)self;
	if (r->type != MSG_SNAPSHOT_WANTED) {
		err_set(&e, ERR_INTERNAL, "the janitor does not take message %d", r->type);
		role_answer_error(r->reply, &e);
		return;
	}
	role_answer(r->reply, &(struct msg_empty){0}, NULL, 0);
	snapshots_wanted();
}

static void janitor_start(struct role_self *self)
{
	janitor.self = self;
	loop_timer_set(self->loop, &janitor.timer, interval_ms(&janitor), round_begin, &janitor);
	orphans_start(self); /* when it has looked, snapshots begin */
	role_ready(self);
}

static void janitor_reload(struct role_self *self)
{
	if (!janitor.call)
		loop_timer_set(self->loop, &janitor.timer, interval_ms(&janitor), round_begin, &janitor);
}

static void janitor_drain(struct role_self *self)
{
	loop_timer_cancel(self->loop, &janitor.timer);
	if (janitor.call)
		peer_cancel(janitor.call);
	orphans_drain();
	snapshots_drain();
	role_drained(self);
}

int main(int argc, char **argv)
{
	static const struct role_program program = {
		.role = ROLE_JANITOR,
		.start = janitor_start,
		.request = janitor_request,
		.reload = janitor_reload,
		.drain = janitor_drain,
	};

	return role_main(&program, argc, argv);
}
