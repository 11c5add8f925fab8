/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/children.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/messages.h"
#include "libsh/base/clock.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"
#include "libsh/run/chan.h"
#include "libsh/run/spawn.h"

enum {
	PAUSE_FIRST_MS = 100,      /* before the second restart; the first is at once */
	PAUSE_MAX_MS = 60000,
	LIVED_WELL_MS = 5000,      /* after such a life the throttle starts anew */
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
	int64_t running_since_ms;
	int64_t pause_ms;        /* before the next restart */
	int failures;            /* exits of its own before the family was ever ready */
	struct timer restart;
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
	child->running_since_ms = clock_mono_ms();
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

/*
 * The program of a role: in $SHD_LIBEXEC, beside shd in a build tree (daemon/agent/shd-agent beside
 * daemon/shd), or where it was installed.
 */
static char *find_program(enum role role)
{
	const char *dir = getenv("SHD_LIBEXEC"), *name = role_name(role);
	char self[4096], *path;
	ssize_t n;

	if (dir && *dir)
		return mem_printf("%s/shd-%s", dir, name);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		path = mem_printf("%s/%s/shd-%s", self, name, name);
		if (!access(path, X_OK))
			return path;
		mem_free(path);
	}
	return mem_printf("%s/shd-%s", SH_LIBEXECDIR, name);
}

/*
 * Our environment without what is not a role's business: keys of the object store are for the store, those of
 * a database for meta. Settings reach the roles that need them by CONFIGURE. The strings stay ours.
 */
static char **environment_for(enum role role)
{
	static const struct {
		const char *prefix;
		enum role role; /* the supervisor: nobody's */
	} secrets[] = {{"AWS_", ROLE_STORE}, {"PG", ROLE_META}, {"SHD_", ROLE_SUPERVISOR},
		{"STREAMCTL_", ROLE_SUPERVISOR}};
	size_t count = 0, kept = 0;
	char **result;

	while (environ[count])
		count++;
	result = mem_array(count + 1, sizeof(*result));
	for (size_t i = 0; i < count; i++) {
		bool keep = true;

		for (size_t j = 0; j < array_count(secrets); j++)
			keep = keep && (secrets[j].role == role || strncmp(environ[i], secrets[j].prefix,
									   strlen(secrets[j].prefix)) != 0);
		if (keep)
			result[kept++] = environ[i];
	}
	result[kept] = NULL;
	return result;
}

static int launch(struct child *child, struct err *e)
{
	char *path = find_program(child->role), *title = mem_printf("shd: %s", child_name(child));
	char *argv[] = {title, NULL}, **environment = environment_for(child->role);
	int fds[2] = {-1, -1}, status = -1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds)) {
		err_sys(e, ERR_INTERNAL, "cannot make a channel");
		goto out;
	}
	if (spawn_child(path, argv, environment, fds[1], &child->pid, e)) {
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
	mem_free(environment);
	mem_free(path);
	mem_free(title);
	return status;
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
	tell(child, MSG_START, &nothing, NULL, 0, started);
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
	int64_t pause_ms;

	if (child->running_since_ms && clock_mono_ms() - child->running_since_ms >= LIVED_WELL_MS)
		child->pause_ms = 0;
	child->running_since_ms = 0;
	pause_ms = child->pause_ms;
	child->pause_ms = pause_ms ? 2 * pause_ms : PAUSE_FIRST_MS;
	if (child->pause_ms > PAUSE_MAX_MS)
		child->pause_ms = PAUSE_MAX_MS;
	log_info("starting %s again%s", child_name(child), pause_ms ? " after a pause" : "");
	loop_timer_set(child->family->loop, &child->restart, pause_ms, child_start_again, child);
}

static void child_start_again(void *ctx)
{
	struct child *child = ctx;
	struct err e = ERR_INIT;

	if (!child_start(child, &e))
		return;
	log_error("%s: %s", child_name(child), e.text);
	if (!child->pid)
		restart_later(child);
}

static void log_death(const struct child *child, pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_error("%s (pid %d) was killed by signal %d (%s)", child_name(child), (int)pid,
			WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (child->state != DRAINING || WEXITSTATUS(status))
		log_error("%s (pid %d) exited with status %d", child_name(child), (int)pid,
			WEXITSTATUS(status));
	else
		log_debug("%s (pid %d) has drained", child_name(child), (int)pid);
}

static void child_died(struct child *child, int status)
{
	struct children *c = child->family;
	bool finished = c->killing || (c->draining && phase_of(child) <= c->phase);

	if (!c->killing)
		log_death(child, child->pid, status);
	if (finished && !(WIFEXITED(status) && !WEXITSTATUS(status)))
		c->unclean = true;
	child->pid = 0;
	child->state = DOWN;
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
