/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser and the whole server: the input is what a client sends over a connection, in pieces whose
 * size its first byte gives. The log is in memory and keeps what earlier inputs left. The server must
 * answer or close, and be left without connections.
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon/agent/http/server.h"
#include "libsh/base/log.h"
#include "tests/helper/fake_log.h"

enum { LONGEST_MS = 40 };

struct client {
	struct loop *loop;
	struct http_server *server;
	struct timer end;
	struct turn_end turn;
	int fd;
	const uint8_t *data;
	size_t left, piece;
};

static void client_end(void *ctx)
{
	struct client *c = ctx;

	loop_stop(c->loop, 0);
}

/* A piece a turn; what the server says is read and forgotten. */
static void client_turn(void *ctx)
{
	struct client *c = ctx;
	char bytes[65536];
	size_t n = c->left < c->piece ? c->left : c->piece;
	ssize_t sent = n ? send(c->fd, c->data, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;

	while (recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	if (sent > 0) {
		c->data += sent;
		c->left -= sent;
		if (!c->left)
			shutdown(c->fd, SHUT_WR);
	}
	if (!c->server->set.count) {
		loop_stop(c->loop, 0);
		return;
	}
	loop_at_turn_end(c->loop, &c->turn, client_turn, c);
}

static struct role_self self;
static struct log *fake;

static void created(void *ctx, const struct err *e)
{
	(void)ctx;
	(void)e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void initialize(void)
{
	log_init("fuzz-http", LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
	self.loop = loop_new(NULL);
	self.settings = settings_new();
	self.data_dir = "/nowhere";
	self.count = 1;
	fake = fake_log_new(self.loop);
	log_topic_create(fake, "t", 3, 1, "{}", created, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client c = {.data = data + 1, .left = size - 1};
	int pair[2];

	if (!self.loop)
		initialize();
	if (size < 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return 0;
	c.piece = data[0] ? data[0] * 16u : 1;
	c.loop = self.loop;
	c.fd = pair[1];
	c.server = http_server_new(&self, fake);
	http_server_serving(c.server, true);
	if (!log_topic(fake, "t", 1))
		log_topic_create(fake, "t", 3, 1, "{}", created, NULL);
	if (http_server_attach(c.server, pair[0], NULL)) {
		loop_timer_set(self.loop, &c.end, LONGEST_MS, client_end, &c);
		loop_at_turn_end(self.loop, &c.turn, client_turn, &c);
		loop_run(self.loop);
	}
	loop_timer_cancel(self.loop, &c.end);
	loop_turn_end_cancel(&c.turn);
	http_server_free(c.server);
	close(c.fd);
	return 0;
}
