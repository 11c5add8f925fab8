/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the HTTP server: connections and their queues, routing, counters. Handlers include this;
 * others http.h. */
#ifndef SH_AGENT_HTTP_SERVER_H
#define SH_AGENT_HTTP_SERVER_H

#include "daemon/agent/http/http.h"
#include "daemon/agent/http/request.h"
#include "daemon/agent/http/series.h"
#include "libsh/base/map.h"

enum {
	HTTP_PIPELINE_MAX = 64,              /* requests of a connection that are not answered */
	/* bytes of answers that wait for their turn; then no new requests are read */
	HTTP_ANSWERS_MAX = 1 << 20,
	HTTP_UNACKNOWLEDGED_MAX = 8 << 20,   /* bytes appended and not acknowledged, per connection */
	HTTP_BODY_MEMORY_MAX = 256 << 20,    /* bodies being collected, all connections together */
	HTTP_ACK_TIMEOUT_MS = 60000,         /* for the level of durability asked for */
	HTTP_DRAIN_TIMEOUT_MS = 10000,
	HTTP_WAIT_MAX_MS = 60000,            /* longest long poll */
	HTTP_DESCRIPTORS_KEPT = 256,         /* of those the process may open, for the log and the other roles */
	HTTP_CONNECTIONS_MIN = 16,           /* whatever is left */
};

struct http_timeouts { /* ms; the first three are settings */
	int64_t head, body, idle, ack, drain;
};
struct http_counters {
	uint64_t requests, status[6];        /* status[4]: answers 4xx */
	uint64_t in_bytes, out_bytes;        /* of bodies */
	uint64_t records_in, record_bytes_in, records_out, record_bytes_out;
};
struct http_server {
	struct role_self *self;
	struct log *log;
	struct conn_set set;
	struct http_timeouts timeouts;
	struct http_counters counters;
	struct series series;
	struct map sticky;                   /* topic id -> struct sticky of partition_choice.c */
	char *address;                       /* first one that is listened on */
	size_t large_body_max;
	bool serving, draining;
	int64_t started_ms, started_boot_ms; /* real clock, and the one that nobody sets */
	size_t body_bytes;                   /* being collected, and copies of checking.c */
	size_t checking_bytes;               /* the latter */
	uint32_t requests_open;
	struct timer drain_timer;
	struct turn_end drain_check;
	struct work_pool *checks;            /* of checking.c; NULL: none was needed yet */
	void (*drained)(void *ctx);
	void *drained_ctx;
	int64_t date_second;
	char date[40];
};
struct http_conn {
	struct conn conn;                    /* first */
	struct http_server *server;
	struct list queue;                   /* of struct http_request, in order of arrival */
	int queued;
	struct http_request *reading;        /* whose body comes in, the last of the queue */
	size_t scanned;                      /* of the head that comes in */
	struct turn_end advance;
	bool head_begun, no_more, advancing; /* no_more: nothing more is read as a request */
	struct http_request *blocked_by;     /* whose handler takes no more of its body for now */
	size_t waiting_answers;              /* bytes in answers that wait for their turn */
	int64_t unacknowledged;
};

/* server.c */
/* a connected stream socket, for tests */
struct conn *http_server_attach(struct http_server *s, int fd, struct err *e);
int64_t http_server_uptime_ms(const struct http_server *s);
void http_server_check_drained(struct http_server *s); /* at the end of this turn, when it is to drain */

/* pipeline.c */
extern const struct conn_handlers http_pipeline_handlers;
size_t http_body_limit(const struct http_server *s); /* of body_bytes */
void http_conn_advance(struct http_conn *c); /* after an answer was completed or the queue has changed */

/* partition_choice.c */
void partition_choice_release(struct http_server *s); /* forgets all choices */

/* router.c */
/* Finds the route and fills in r->route and r->params. -1: 404, 405 (Allow is set), or a path that cannot
 * be decoded. */
int http_route_find(struct http_request *r, struct err *e);
/* -1: a part of the query cannot be decoded. */
int http_query_check(struct http_request *r, struct err *e);

#endif
