/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a role: CONFIGURE, WIRE, LISTEN, START, (CONFIGURE and WIRE again), DRAIN. Descriptor 3 leads
 * to the supervisor; when it closes there is nothing left to do.
 */
#include "daemon/role.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/run/proctitle.h"

enum { SUPERVISOR_FD = 3, PONG_MAX_BYTES = 16 << 10 };

static void set_title(struct role_life *life, const char *state)
{
	if (life->self.count > 1 || life->self.role == ROLE_AGENT)
		proctitle_set("shd: %s %u%s", role_name(life->self.role), life->self.index, state);
	else
		proctitle_set("shd: %s%s", role_name(life->self.role), state);
}

static int configure(struct role_life *life, const struct msg_configure *m, struct err *e)
{
	struct settings *s = settings_new();

	if (settings_read(s, m->settings.data, m->settings.len, e)) {
		settings_free(s);
		return -1;
	}
	settings_free(life->self.settings);
	life->self.settings = s;
	log_set_by_name(settings_string(s, "log.format"), settings_string(s, "log.level"));
	if (!life->configured) {
		life->self.data_dir = arena_strdup(&life->self.arena, m->data_dir);
		life->self.index = m->index;
		life->self.count = m->count;
		life->configured = true;
		set_title(life, "");
	} else if (life->program->reload && life->started) {
		life->program->reload(&life->self);
	}
	return 0;
}

static int wire(struct role_life *life, const struct msg_wire *m, struct chan_message *message, struct err *e)
{
	int fd = message->fds[0];

	message->fds[0] = -1;
	if (fd < 0)
		return err_set(e, ERR_INTERNAL, "WIRE came without a descriptor");
	return peer_wire(life, m->role, m->index, fd, e);
}

static int take_listener(
	struct role_life *life, const struct msg_listen *m, struct chan_message *message, struct err *e)
{
	int fd = message->fds[0];

	if (fd < 0 || !life->program->listen)
		return err_set(e, ERR_INTERNAL,
			"LISTEN came without a descriptor, or to a role that does not listen");
	message->fds[0] = -1;
	life->program->listen(&life->self, m->protocol, m->address, fd);
	return 0;
}

/* START and DRAIN are answered later, by role_ready() and role_drained(). */
static void start(struct role_life *life, uint32_t id)
{
	life->start_id = id;
	life->started = true;
	life->program->start(&life->self);
}

static void drain(struct role_life *life, uint32_t id)
{
	life->drain_id = id;
	if (life->draining)
		return;
	life->draining = true;
	set_title(life, ": draining");
	if (life->program->drain && life->started)
		life->program->drain(&life->self);
	else
		role_drained(&life->self);
}

static void take_family(struct role_life *life, const struct msg_family *m)
{
	mem_free(life->self.family_problem);
	life->self.family_problem = *m->problem ? mem_strdup(m->problem) : NULL;
}

static void pong(struct role_life *life, uint32_t id)
{
	struct buf rows = BUF_INIT(PONG_MAX_BYTES), b = BUF_INIT(PONG_MAX_BYTES);
	struct msg_pong m;

	peer_list_lost(life, &rows);
	m.lost = (struct bytes){(uint8_t *)rows.data, rows.len};
	pack_write(&b, msg_pong_fields, &m);
	chan_reply(life->supervisor, id, MSG_PING, b.data, b.len, NULL, 0);
	buf_release(&rows);
	buf_release(&b);
}

static int handle(struct role_life *life, struct chan_message *m, struct err *e)
{
	struct arena arena = ARENA_INIT;
	union {
		struct msg_configure configure;
		struct msg_wire wire;
		struct msg_listen listen;
		struct msg_family family;
		struct msg_empty empty;
	} body;
	int status;

	if (!message_allowed(m->type, ROLE_SUPERVISOR, life->self.role))
		return err_set(e, ERR_INTERNAL,
			"the supervisor sent message %d, which this role does not take", m->type);
	if (!life->configured && m->type != MSG_CONFIGURE)
		return err_set(e, ERR_INTERNAL, "%s came before CONFIGURE", message_table[m->type].name);
	status = pack_read(message_table[m->type].body, &body, m->body.data, m->body.len, &arena, e);
	if (!status && m->type == MSG_CONFIGURE)
		status = configure(life, &body.configure, e);
	else if (!status && m->type == MSG_WIRE)
		status = wire(life, &body.wire, m, e);
	else if (!status && m->type == MSG_LISTEN)
		status = take_listener(life, &body.listen, m, e);
	else if (!status && m->type == MSG_FAMILY)
		take_family(life, &body.family);
	arena_release(&arena);
	return status;
}

static void supervisor_request(void *ctx, struct chan *c, struct chan_message *m)
{
	struct role_life *life = ctx;
	struct err e = ERR_INIT;

	if (handle(life, m, &e)) {
		log_error("%s", e.text);
		chan_reply_error(c, m->id, &e);
	} else if (m->type == MSG_START) {
		start(life, m->id);
	} else if (m->type == MSG_DRAIN) {
		drain(life, m->id);
	} else if (m->type == MSG_PING) {
		pong(life, m->id);
	} else {
		chan_reply(c, m->id, m->type, NULL, 0, NULL, 0);
	}
}

static void supervisor_gone(void *ctx, struct chan *c)
{
	(void)ctx;
	(void)c;
	_exit(1); /* at once: another supervisor may be waiting for our locks */
}

static const struct chan_handlers supervisor_handlers = {supervisor_request, supervisor_gone};

const char *role_full_url(struct role_self *self, const char *url, const char *scheme, const char *path)
{
	/* A copy: url is part of settings, which a reload replaces. */
	return strcmp(url, scheme) ? arena_strdup(&self->arena, url)
				   : arena_printf(&self->arena, "%s//%s/%s", scheme, self->data_dir, path);
}

void role_ready(struct role_self *self)
{
	struct role_life *life = role_life(self);

	if (life->ready)
		return;
	life->ready = true;
	chan_reply(life->supervisor, life->start_id, MSG_START, NULL, 0, NULL, 0);
	peer_accept(life);
}

void role_drained(struct role_self *self)
{
	struct role_life *life = role_life(self);

	chan_reply(life->supervisor, life->drain_id, MSG_DRAIN, NULL, 0, NULL, 0);
	_exit(0); /* whatever had to be saved is; threads may still run */
}

/* The supervisor tells us what to do; signals sent to the whole process group (^C, service managers) are for
 * it. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

	for (size_t i = 0; i < array_count(ignored); i++)
		signal(ignored[i], SIG_IGN);
}

static int without_supervisor(const struct role_program *program)
{
	fprintf(stderr, "shd-%s is a part of shd and is started by it; run shd instead, see shd(8)\n",
		role_name(program->role));
	return 2;
}

int role_main(const struct role_program *program, int argc, char **argv)
{
	struct role_life life = {.program = program, .self.role = program->role};
	struct err e = ERR_INIT;
	int type = 0;
	socklen_t size = sizeof(type);

	if (getsockopt(SUPERVISOR_FD, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_SEQPACKET)
		return without_supervisor(program);
	proctitle_init(argc, argv);
	log_init(role_name(program->role), LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	ignore_signals();
	list_init(&life.peers);
	life.self.loop = loop_new(&e);
	if (life.self.loop)
		life.supervisor = chan_new(life.self.loop, SUPERVISOR_FD, &supervisor_handlers, &life, &e);
	if (!life.supervisor)
		fatalx("cannot start: %s", e.text);
	return loop_run(life.self.loop);
}
