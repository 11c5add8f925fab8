/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's HTTP server on a log in memory: what tests of the protocol drive.
 *
 * 	http-server [-O name=value]... [name=value]...
 *
 * Listens on a free port of 127.0.0.1, prints it, and serves until SIGTERM or until its standard input
 * closes. name=value without -O are rules of the fake log: ack_ms, refuse_every, fail_at, check, and
 * starting=1 (the log does not serve); output_max=BYTES is the conn_set's.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "daemon/agent/http/server.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"
#include "tests/helper/fake_log.h"

struct server {
	struct role_self self;
	struct http_server *http;
	struct watch input;
};

static void drained(void *ctx)
{
	struct server *s = ctx;

	loop_stop(s->self.loop, 0);
}

static void on_signal(void *ctx, int signo)
{
	struct server *s = ctx;

	(void)signo;
	http_server_drain(s->http, drained, s);
}

static void on_input(void *ctx, uint32_t events)
{
	struct server *s = ctx;
	char c;

	(void)events;
	if (read(STDIN_FILENO, &c, 1) > 0)
		return;
	loop_unwatch(s->self.loop, &s->input);
	http_server_drain(s->http, drained, s);
}

static int listen_anywhere(char text[32])
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 128) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		fatal("listen");
	snprintf(text, 32, "127.0.0.1:%u", ntohs(address.sin_port));
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static bool set_rule(struct log *l, const char *text, bool *serving, int64_t *output_max)
{
	struct fake_log_rules *rules = fake_log_rules(l);
	const char *value = strchr(text, '=');
	int64_t n = value ? atoll(value + 1) : 0;

	if (!strncmp(text, "ack_ms=", 7))
		rules->ack_ms = n;
	else if (!strncmp(text, "refuse_every=", 13))
		rules->refuse_every = (uint64_t)n;
	else if (!strncmp(text, "fail_at=", 8))
		rules->fail_at = (uint64_t)n;
	else if (!strncmp(text, "check=", 6))
		rules->check = n != 0;
	else if (!strncmp(text, "starting=", 9))
		*serving = !n;
	else if (!strncmp(text, "output_max=", 11))
		*output_max = n;
	else
		return false;
	return true;
}

static void set_option(struct settings *settings, char *text)
{
	char *equals = strchr(text, '=');
	struct err e = ERR_INIT;

	if (!equals)
		fatalx("%s: not name=value", text);
	*equals = '\0';
	if (settings_set(settings, text, equals + 1, "-O", &e) < 0)
		fatalx("%s", e.text);
}

int main(int argc, char **argv)
{
	struct server s = {.self = {.role = ROLE_AGENT, .data_dir = "/nowhere", .count = 1}, .input = {.fd = -1}};
	struct signals signals = {.watch = {.fd = -1}};
	struct err e = ERR_INIT;
	struct log *log;
	bool serving = true;
	int64_t output_max = 0;
	char address[32];
	int result;

	log_init("http-server", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	s.self.loop = loop_new(&e);
	s.self.settings = settings_new();
	log = fake_log_new(s.self.loop);
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-O") && i + 1 < argc)
			set_option(s.self.settings, argv[++i]);
		else if (!set_rule(log, argv[i], &serving, &output_max))
			fatalx("%s: unknown", argv[i]);
	}
	s.http = http_server_new(&s.self, log);
	if (output_max)
		s.http->set.output_max = (size_t)output_max;
	result = listen_anywhere(address);
	http_server_listen(s.http, result, address);
	http_server_serving(s.http, serving);
	if (loop_signals(s.self.loop, &signals, (int[]){SIGTERM, SIGINT}, 2, on_signal, &s, &e) < 0)
		fatalx("%s", e.text);
	loop_watch(s.self.loop, &s.input, STDIN_FILENO, EPOLLIN, on_input, &s, NULL);
	result = loop_run(s.self.loop);
	http_server_free(s.http);
	fake_log_free(log);
	settings_free(s.self.settings);
	arena_release(&s.self.arena);
	loop_unwatch(s.self.loop, &s.input);
	loop_unwatch(s.self.loop, &signals.watch);
	loop_free(s.self.loop);
	return result;
}
