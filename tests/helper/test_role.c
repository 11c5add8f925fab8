/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for every role program in tests of the supervisor; which one it is its title says ("shd: agent 0"). The agent asks meta and
 * store for their status, is ready when both have answered, and goes on asking meta. A file DIR/test-ROLE makes it misbehave:
 * "exit": exits with status 3 instead of starting; "never": so, and starting it again does not help; "stuck": never drains; "deaf": never becomes ready;
 * "spin": asked for its status it never returns; "cut" (the agent): it cuts the channels to its peers, once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/role.h"
#include "libsh/base/disk.h"
#include "libsh/base/log.h"

enum { ASK_AGAIN_MS = 20, TIMEOUT_MS = 30000, FIRST_PEER_FD = 4, FD_MAX = 64 };

static struct timer again;
static int answers;
static bool has_cut;

static bool told_to(const struct role_self *self, const char *what)
{
	char *path = mem_printf("%s/test-%s", self->data_dir, role_name(self->role));
	struct buf b = BUF_INIT(64);
	bool yes = !disk_read_file(path, &b, NULL) && b.len && !strncmp(b.data, what, strlen(what));

	buf_release(&b);
	mem_free(path);
	return yes;
}

static void ask(void *ctx);

static void answered(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct role_self *self = ctx;

	(void)message;
	if (!reply)
		log_error("call failed: %s", e->text);
	else if (has_cut)
		log_info("answered after the cut");
	if (++answers == 2)
		role_ready(self);
	if (answers >= 2)
		loop_timer_set(self->loop, &again, ASK_AGAIN_MS, ask, self);
}

/* As if the kernel had refused a message: both sides live, the channel is gone. */
static void cut_channels(void)
{
	for (int fd = FIRST_PEER_FD; fd < FD_MAX; fd++) {
		int type = 0;
		socklen_t size = sizeof(type);

		if (!getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_SEQPACKET)
			shutdown(fd, SHUT_RDWR);
	}
	has_cut = true;
}

static void ask(void *ctx)
{
	if (!has_cut && told_to(ctx, "cut"))
		cut_channels();
	peer_call(ctx, ROLE_META, 0, MSG_META_STATUS, NULL, NULL, 0, TIMEOUT_MS, answered, ctx);
}

static void start(struct role_self *self)
{
	struct err e = ERR_INIT;

	if (told_to(self, "exit"))
		exit(3);
	if (told_to(self, "never")) {
		err_set(&e, ERR_INVALID_ARGUMENT, "it is wrong");
		err_hint(&e, "mend it");
		fatal_err(&e, "not with this configuration");
	}
	if (told_to(self, "deaf"))
		return;
	if (self->role != ROLE_AGENT) {
		role_ready(self);
		return;
	}
	ask(self);
	peer_call(self, ROLE_STORE, 0, MSG_STORE_STATUS, NULL, NULL, 0, TIMEOUT_MS, answered, self);
}

static void take_listener(struct role_self *self, const char *protocol, const char *address, int fd)
{
	(void)self;
	log_info("listening for %s on %s, descriptor %d", protocol, address, fd);
}

static void request(struct role_self *self, struct role_request *r)
{
	struct msg_meta_status meta = {.url = settings_string(self->settings, "log.level")};
	struct msg_store_status store = {.url = settings_string(self->settings, "log.level")};

	while (told_to(self, "spin"))
		;
	role_answer(r->reply, r->type == MSG_META_STATUS ? (void *)&meta : (void *)&store, NULL, 0);
}

static void reload(struct role_self *self)
{
	if (self->role == ROLE_AGENT)
		log_info("reloaded: segment.max_age=%s wal.sync=%s", settings_string(self->settings, "segment.max_age"),
			settings_string(self->settings, "wal.sync"));
}

static void drain(struct role_self *self)
{
	log_info("asked to drain");
	if (!told_to(self, "stuck"))
		role_drained(self);
}

int main(int argc, char **argv)
{
	struct role_program program = {ROLE_SUPERVISOR, start, take_listener, request, reload, drain, NULL};

	for (int r = ROLE_AGENT; r < ROLE_COUNT; r++)
		if (strstr(argv[0], role_name(r)))
			program.role = r;
	return role_main(&program, argc, argv);
}
