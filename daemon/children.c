/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/children.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/messages.h"
#include "daemon/program.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"
#include "libsh/run/chan.h"

enum {
	PAUSE_FIRST_MS = 100,      /* before the second restart; the first is at once */
	LIVED_WELL_MS = 5000,      /* after such a life the throttle starts anew */
	PING_EVERY_MS = 5000,      /* at most; a quarter of watchdog.timeout if that is less */
	PROBLEM_MAX_BYTES = 1024,
	HOPELESS_FAILURES = 3,
	SETTINGS_MAX_BYTES = 256 << 10,
	PHASES = 3,
};

enum child_state { DOWN, STARTING, RUNNING, DRAINING };

struct child {
	struct children *family;
	enum role role;
	uint32_t index, count;
	enum child_state state;
	pid_t pid;               /* 0: none */
	struct chan *chan;
	int64_t pause_ms;        /* before the next restart */
	int deaths;              /* in a row, none of them after a good life */
	char last_death[64];
	int failures;            /* exits of its own before the family was ever ready */
	struct timer restart, lived_well, watch;
	bool pinged;             /* and has not answered */
	bool wired;              /* a channel of it was made since it was last pinged */
	int64_t silent_ms;       /* time that went by in which it could have answered */
};
struct children {
	struct loop *loop;
	const char *data_dir;
	const struct listeners *listeners;
	const struct settings *settings;
	const struct children_events *events;
	void *ctx;
	struct turn_end gone;
	bool was_ready, draining, killing, unclean;
	int phase;               /* of draining */
	int count;
	struct child items[];
};

static void child_start_again(void *ctx);
static void child_lived_well(void *ctx);

struct children *children_new(struct loop *l, const char *data_dir, const struct listeners *listeners,
	int agents, const struct children_events *events, void *ctx)
{
	static const enum role single[] = {ROLE_META, ROLE_STORE, ROLE_JANITOR};
	int count = (int)array_count(single) + agents;
	struct children *c = mem_zalloc(sizeof(*c) + (size_t)count * sizeof(c->items[0]));

	c->loop = l;
	c->data_dir = data_dir;
	c->listeners = listeners;
	c->events = events;
	c->ctx = ctx;
	c->count = count;
	for (int i = 0; i < count; i++) {
		struct child *child = &c->items[i];
		int agent = i - (int)array_count(single);

		child->family = c;
		child->role = agent < 0 ? single[i] : ROLE_AGENT;
		child->index = agent < 0 ? 0 : (uint32_t)agent;
		child->count = agent < 0 ? 1 : (uint32_t)agents;
	}
	return c;
}

void children_free(struct children *c)
{
	if (!c)
		return;
	loop_turn_end_cancel(&c->gone);
	for (int i = 0; i < c->count; i++) {
		loop_timer_cancel(c->loop, &c->items[i].restart);
		loop_timer_cancel(c->loop, &c->items[i].lived_well);
		loop_timer_cancel(c->loop, &c->items[i].watch);
		chan_free(c->items[i].chan);
	}
	mem_free(c);
}

static const char *child_name(const struct child *child)
{
	static char name[32];

	if (child->role == ROLE_AGENT)
		snprintf(name, sizeof(name), "%s %u", role_name(child->role), child->index);
	else
		snprintf(name, sizeof(name), "%s", role_name(child->role));
	return name;
}

/* ---- talking to a child ---- */

static void answered(void *ctx, struct chan_message *reply, const struct err *e)
{
	struct child *child = ctx;

	(void)reply;
	if (e && !chan_is_closed(child->chan)) {
		log_error("%s: %s", child_name(child), e->text);
		kill(child->pid, SIGKILL); /* half set up is worse than started anew */
	}
}

static void started(void *ctx, struct chan_message *reply, const struct err *e)
{
	struct child *child = ctx;
	struct children *c = child->family;

	if (!reply) {
		answered(ctx, reply, e);
		return;
	}
	if (child->state != STARTING)
		return;
	child->state = RUNNING;
	loop_timer_set(c->loop, &child->lived_well, LIVED_WELL_MS, child_lived_well, child);
	log_debug("%s is ready (pid %d)", child_name(child), (int)child->pid);
	for (int i = 0; i < c->count; i++)
		if (c->items[i].state != RUNNING)
			return;
	c->was_ready = true;
	c->events->ready(c->ctx);
}

static void tell(
	struct child *child, int type, const void *body, const int *fds, int fd_count, chan_reply_fn *fn)
{
	struct buf b = BUF_INIT(SETTINGS_MAX_BYTES + 4096);
	struct err e = ERR_INIT;

	if (!child->chan)
		return;
	if (pack_write(&b, message_table[type].body, body))
		err_set(&e, ERR_TOO_LARGE, "%s is too large", message_table[type].name);
	else
		chan_request(child->chan, (uint16_t)type, b.data, b.len, fds, fd_count, 0, fn, child, &e);
	if (e.code && e.code != ERR_UNAVAILABLE) {
		log_error("%s: %s", child_name(child), e.text);
		kill(child->pid, SIGKILL);
	}
	buf_release(&b);
}

static void tell_settings(struct child *child)
{
	struct buf b = BUF_INIT(SETTINGS_MAX_BYTES);
	struct msg_configure m = {
		.data_dir = child->family->data_dir, .index = child->index, .count = child->count};

	settings_write(child->family->settings, 1U << child->role, &b);
	m.settings = (struct bytes){(uint8_t *)b.data, b.len};
	tell(child, MSG_CONFIGURE, &m, NULL, 0, answered);
	buf_release(&b);
}

/* Whether any message goes between the two: only such pairs are wired. */
static bool talk(enum role a, enum role b)
{
	for (int type = MESSAGE_NONE + 1; type < MESSAGE_COUNT; type++)
		if (message_allowed(type, a, b) || message_allowed(type, b, a))
			return true;
	return false;
}

static void wire(struct child *a, struct child *b)
{
	struct msg_wire to_a = {(uint8_t)b->role, b->index}, to_b = {(uint8_t)a->role, a->index};
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		log_error("cannot make a channel for %s: %m", child_name(a));
		kill(a->pid, SIGKILL); /* it will be tried again */
		return;
	}
	a->wired = b->wired = true;
	tell(a, MSG_WIRE, &to_a, &fds[0], 1, answered);
	tell(b, MSG_WIRE, &to_b, &fds[1], 1, answered);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
}

static void tell_listeners(struct child *child)
{
	const struct listeners *l = child->family->listeners;

	for (int i = 0; i < l->count; i++) {
		struct msg_listen m = {l->items[i].protocol, l->items[i].address};

		tell(child, MSG_LISTEN, &m, &l->items[i].fd, 1, answered);
	}
}

/* What agents show as a problem: roles that do not stay alive. */
static void tell_problem(struct child *agent)
{
	struct children *c = agent->family;
	struct buf b = BUF_INIT(PROBLEM_MAX_BYTES);
	struct msg_family m;

	for (int i = 0; i < c->count; i++) {
		const struct child *child = &c->items[i];

		if (child->deaths > 1)
			buf_addf(&b, "%sthe %s process ended %d times in a row (%s); the pause before it is started again is %lld ms",
				b.len ? "; " : "", child_name(child), child->deaths, child->last_death,
				(long long)child->pause_ms);
	}
	buf_addc(&b, '\0');
	m.problem = b.overflow ? "many processes end again and again, see the log" : b.data;
	tell(agent, MSG_FAMILY, &m, NULL, 0, answered);
	buf_release(&b);
}

static void tell_problems(struct children *c)
{
	for (int i = 0; i < c->count; i++)
		if (c->items[i].role == ROLE_AGENT)
			tell_problem(&c->items[i]);
}

static void child_lived_well(void *ctx)
{
	struct child *child = ctx;
	bool known = child->deaths > 1;

	child->pause_ms = 0;
	child->deaths = 0;
	if (known)
		tell_problems(child->family);
}

static void from_child(void *ctx, struct chan *chan, struct chan_message *m)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_INTERNAL, "the supervisor takes no requests");
	log_error("%s sent message %d: %s", child_name(ctx), m->type, e.text);
	chan_reply_error(chan, m->id, &e);
}

static void channel_closed(void *ctx, struct chan *chan)
{
	struct child *child = ctx;

	chan_free(chan);
	child->chan = NULL;
	if (child->pid) /* without its channel it is of no use; mostly it has exited already */
		kill(child->pid, SIGKILL);
}

static const struct chan_handlers child_handlers = {from_child, channel_closed};

/* ---- starting ---- */

static int launch(struct child *child, struct err *e)
{
	int fds[2] = {-1, -1}, status = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		return err_sys(e, ERR_INTERNAL, "cannot make a channel");
	if (program_start(child->role, child_name(child), fds[1], &child->pid, e)) {
		child->pid = 0;
		goto out;
	}
	child->chan = chan_new(child->family->loop, fds[0], &child_handlers, child, e);
	fds[0] = -1;
	if (child->chan)
		status = 0;
	else
		kill(child->pid, SIGKILL);
out:
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	return status;
}

/* ---- the watch ---- */

static struct child *find(struct children *c, enum role role, uint32_t index)
{
	for (int i = 0; i < c->count; i++)
		if (c->items[i].role == role && c->items[i].index == index)
			return &c->items[i];
	return NULL;
}

/*
 * Channels between two processes that live can be lost, when one of them was short of memory for a message. A peer that has died
 * is not here, or its new life was wired while the answer was under way.
 */
static void wire_again(struct child *child, struct bytes lost)
{
	struct arena arena = ARENA_INIT;
	struct msg_wire row;
	size_t at = 0;

	while (!child->wired && pack_row_next(lost, &at, msg_wire_fields, &row, &arena, NULL) == 1) {
		struct child *peer = find(child->family, row.role, row.index);

		if (!peer || !peer->chan || !talk(child->role, peer->role))
			continue;
		log_warn("the channel between %s and the %s process was lost: they get a new one", child_name(child),
			role_name(peer->role));
		wire(child, peer);
		child->wired = false; /* there may be more */
	}
	arena_release(&arena);
}

static void ponged(void *ctx, struct chan_message *reply, const struct err *e)
{
	struct child *child = ctx;
	struct arena arena = ARENA_INIT;
	struct msg_pong pong;

	child->pinged = false;
	if (!reply)
		answered(ctx, reply, e);
	else if (!pack_read(msg_pong_fields, &pong, reply->body.data, reply->body.len, &arena, NULL))
		wire_again(child, pong.lost);
	arena_release(&arena);
}

/*
 * It did not answer within `every`. Time in which it waits for a disk or a file server does not count: a sync may take long, and
 * killing would not end it. Nor does time in which we did not run ourselves, since it is counted here and not by a clock.
 */
static void silent(struct child *child, int64_t every_ms, int64_t limit_ms)
{
	if (child->state == DRAINING || program_state(child->pid) == 'D')
		return;
	child->silent_ms += every_ms;
	if (child->silent_ms < limit_ms)
		return;
	if (child->silent_ms >= limit_ms + every_ms) {
		kill(child->pid, SIGKILL); /* one that is stopped does not hear the other */
		return;
	}
	log_error("%s (pid %d) has not answered for %lld ms (watchdog.timeout): killing it", child_name(child),
		(int)child->pid, (long long)child->silent_ms);
	kill(child->pid, SIGABRT); /* it may leave a core */
}

static void watch(void *ctx)
{
	struct child *child = ctx;
	struct msg_empty nothing = {0};
	int64_t limit_ms = settings_number(child->family->settings, "watchdog.timeout"), every_ms = limit_ms / 4;

	if (!child->chan)
		return;
	if (every_ms > PING_EVERY_MS)
		every_ms = PING_EVERY_MS;
	loop_timer_set(child->family->loop, &child->watch, every_ms, watch, child);
	if (child->pinged) {
		silent(child, every_ms, limit_ms);
		return;
	}
	child->silent_ms = 0;
	child->pinged = true;
	child->wired = false;
	tell(child, MSG_PING, &nothing, NULL, 0, ponged);
}

static int child_start(struct child *child, struct err *e)
{
	struct children *c = child->family;
	struct msg_empty nothing = {0};

	if (launch(child, e))
		return -1;
	child->state = STARTING;
	tell_settings(child);
	for (int i = 0; i < c->count; i++)
		if (&c->items[i] != child && c->items[i].chan && talk(child->role, c->items[i].role))
			wire(child, &c->items[i]);
	if (child->role == ROLE_AGENT)
		tell_listeners(child);
	if (child->role == ROLE_AGENT)
		tell_problem(child);
	tell(child, MSG_START, &nothing, NULL, 0, started);
	child->pinged = false;
	watch(child);
	return 0;
}

void children_configure(struct children *c, const struct settings *s)
{
	c->settings = s;
	for (int i = 0; i < c->count; i++)
		if (c->items[i].chan)
			tell_settings(&c->items[i]);
}

int children_start(struct children *c, struct err *e)
{
	for (int i = 0; i < c->count; i++)
		if (child_start(&c->items[i], e))
			return -1;
	return 0;
}

/* ---- ending ---- */

static int phase_of(const struct child *child)
{
	if (child->role == ROLE_AGENT)
		return 0;
	return child->role == ROLE_META ? 2 : 1; /* everyone else still talks to meta when it stops */
}

static void tell_gone(void *ctx)
{
	struct children *c = ctx;

	c->events->gone(c->ctx, !c->unclean);
}

/* Drain the phase's processes; when none is left, the next phase's. */
static void drain_on(struct children *c)
{
	struct msg_empty nothing = {0};
	int left = 0;

	for (; !left && c->phase < PHASES; c->phase += !left)
		for (int i = 0; i < c->count; i++) {
			struct child *child = &c->items[i];

			if (phase_of(child) > c->phase && !c->killing)
				continue;
			loop_timer_cancel(c->loop, &child->restart);
			left += child->pid != 0;
			if (child->pid && child->state != DRAINING && !c->killing) {
				child->state = DRAINING;
				tell(child, MSG_DRAIN, &nothing, NULL, 0, answered);
			}
		}
	if (!left)
		loop_at_turn_end(c->loop, &c->gone, tell_gone, c);
}

void children_drain(struct children *c)
{
	c->draining = true;
	drain_on(c);
}

void children_kill(struct children *c)
{
	c->draining = c->killing = c->unclean = true;
	for (int i = 0; i < c->count; i++)
		if (c->items[i].pid)
			kill(c->items[i].pid, SIGKILL);
	drain_on(c);
}

static void restart_later(struct child *child)
{
	int64_t pause_ms = child->pause_ms, max_ms = settings_number(child->family->settings, "restart.max_pause");

	child->deaths++;
	child->pause_ms = pause_ms ? 2 * pause_ms : PAUSE_FIRST_MS;
	if (child->pause_ms > max_ms)
		child->pause_ms = max_ms;
	if (pause_ms)
		log_info("starting %s again after a pause of %lld ms", child_name(child), (long long)pause_ms);
	else
		log_info("starting %s again", child_name(child));
	loop_timer_set(child->family->loop, &child->restart, pause_ms, child_start_again, child);
	if (child->deaths > 1)
		tell_problems(child->family);
}

static void child_start_again(void *ctx)
{
	struct child *child = ctx;
	struct err e = ERR_INIT;

	if (!child_start(child, &e))
		return;
	log_error("%s: %s", child_name(child), e.text);
	if (child->pid)
		return; /* killed, and on its way here again */
	snprintf(child->last_death, sizeof(child->last_death), "could not be started");
	restart_later(child);
}

static void note_death(struct child *child, pid_t pid, int status)
{
	char *what = child->last_death;

	if (WIFSIGNALED(status))
		snprintf(what, sizeof(child->last_death), "was killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else
		snprintf(what, sizeof(child->last_death), "exited with status %d", WEXITSTATUS(status));
	if (child->state != DRAINING || !WIFEXITED(status) || WEXITSTATUS(status))
		log_error("%s (pid %d) %s", child_name(child), (int)pid, what);
	else
		log_debug("%s (pid %d) has drained", child_name(child), (int)pid);
}

static void child_died(struct child *child, int status)
{
	struct children *c = child->family;
	bool finished = c->killing || (c->draining && phase_of(child) <= c->phase);

	if (!c->killing)
		note_death(child, child->pid, status);
	if (finished && !(WIFEXITED(status) && !WEXITSTATUS(status)))
		c->unclean = true;
	child->pid = 0;
	child->state = DOWN;
	loop_timer_cancel(c->loop, &child->lived_well);
	loop_timer_cancel(c->loop, &child->watch);
	chan_free(child->chan);
	child->chan = NULL;
	if (c->draining)
		drain_on(c);
	if (finished)
		return;
	child->failures += WIFEXITED(status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == FATAL_FOR_EVER)
		child->failures = HOPELESS_FAILURES;
	if (!c->was_ready && child->failures >= HOPELESS_FAILURES)
		c->events->hopeless(c->ctx);
	else
		restart_later(child);
}

void children_reap(struct children *c)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < c->count; i++)
			if (c->items[i].pid == pid)
				child_died(&c->items[i], status);
}
