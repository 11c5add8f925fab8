/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the HTTP server: settings, listening, draining. What becomes of the bytes of a connection is in
 * pipeline.c.
 */
#include "daemon/agent/http/server.h"

#include <sys/resource.h>
#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "libsh/run/work.h"
#include "libsh/run/settings.h"

/* Clients must not take the descriptors that the log needs. */
static uint32_t connections_allowed(int64_t wanted)
{
	struct rlimit limit;
	int64_t most;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT32_MAX)
		return (uint32_t)wanted;
	most = (int64_t)limit.rlim_cur - HTTP_DESCRIPTORS_KEPT - CONN_REFUSED_MAX;
	if (most < HTTP_CONNECTIONS_MIN)
		most = HTTP_CONNECTIONS_MIN;
	if (wanted <= most)
		return (uint32_t)wanted;
	log_warn("http.max_connections=%lld: %lld it is, as only %lld files may be open; raise that limit (ulimit -n)",
		(long long)wanted, (long long)most, (long long)limit.rlim_cur);
	return (uint32_t)most;
}

static void server_read_settings(struct http_server *s)
{
	const struct settings *settings = s->self->settings;

	s->timeouts = (struct http_timeouts){
		.head = settings_number(settings, "http.header_timeout"), .body = settings_number(settings,
			"http.body_timeout"),
		.idle = settings_number(settings, "http.idle_timeout"), .ack = HTTP_ACK_TIMEOUT_MS,
			.drain = HTTP_DRAIN_TIMEOUT_MS,
	};
	s->set.stall_ms = s->timeouts.body;
	s->set.max_connections = connections_allowed(settings_number(settings, "http.max_connections"));
	s->large_body_max = (size_t)settings_number(settings, "http.max_body_bytes");
}

struct http_server *http_server_new(struct role_self *self, struct log *log)
{
	struct http_server *s = mem_zalloc(sizeof(*s));

	s->self = self;
	s->log = log;
	s->started_ms = clock_real_ms();
	s->started_boot_ms = clock_boot_ms();
	s->date_second = -1;
	s->address = mem_strdup("");
	conn_set_init(&s->set, self->loop, &http_pipeline_handlers, s, sizeof(struct http_conn));
	server_read_settings(s);
	return s;
}

void http_server_free(struct http_server *s)
{
	if (!s)
		return;
	s->draining = false;
	conn_set_release(&s->set);
	work_pool_free(s->checks);
	loop_turn_end_cancel(&s->drain_check);
	loop_timer_cancel(s->self->loop, &s->drain_timer);
	partition_choice_release(s);
	mem_free(s->address);
	mem_free(s);
}

int64_t http_server_uptime_ms(const struct http_server *s)
{
	return clock_boot_ms() - s->started_boot_ms;
}

struct conn *http_server_attach(struct http_server *s, int fd, struct err *e)
{
	return conn_add(&s->set, fd, e);
}

void http_server_listen(struct http_server *s, int fd, const char *address)
{
	struct err e = ERR_INIT;

	if (!*s->address) {
		mem_free(s->address);
		s->address = mem_strdup(address);
	}
	if (conn_set_listen(&s->set, fd, &e) < 0)
		log_error("http: %s: %s", address, e.text);
}

void http_server_serving(struct http_server *s, bool serving)
{
	s->serving = serving;
}

void http_server_reload(struct http_server *s)
{
	server_read_settings(s);
}

/* ---- draining ---- */

static void server_drained(void *ctx)
{
	struct http_server *s = ctx;
	void (*drained)(void *) = s->drained;

	if (!s->draining || s->set.count || !drained)
		return;
	s->drained = NULL;
	loop_timer_cancel(s->self->loop, &s->drain_timer);
	drained(s->drained_ctx);
}

void http_server_check_drained(struct http_server *s)
{
	if (s->draining)
		loop_at_turn_end(s->self->loop, &s->drain_check, server_drained, s);
}

static void server_drain_deadline(void *ctx)
{
	struct http_server *s = ctx;

	if (s->set.count)
		log_warn("http: %u connections cut: they were not done %lld ms after the order to stop", s->set.count,
			(long long)s->timeouts.drain);
	list_for_each_safe(it, &s->set.conns)
		conn_end(list_entry(it, struct conn, node));
	http_server_check_drained(s);
}

void http_server_drain(struct http_server *s, void (*done)(void *ctx), void *ctx)
{
	s->draining = true;
	s->drained = done;
	s->drained_ctx = ctx;
	conn_set_unlisten(&s->set);
	list_for_each_safe(it, &s->set.conns) {
		struct http_conn *c = (struct http_conn *)list_entry(it, struct conn, node);

		list_for_each_safe(rt, &c->queue) {
			struct http_request *r = list_entry(rt, struct http_request, node);

			if (r->drain && !r->answered)
				r->drain(r);
		}
		http_conn_advance(c);
	}
	loop_timer_set(s->self->loop, &s->drain_timer, s->timeouts.drain, server_drain_deadline, s);
	http_server_check_drained(s);
}
