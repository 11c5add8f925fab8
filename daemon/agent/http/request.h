/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request on its way through the server, as handlers see it.
 *
 * Requests of a connection queue in order of arrival, and so do their answers. One that appends starts as
 * soon as its head is there and does not wait for the answers before it; any other starts when it is the
 * first of the queue, so it sees what was done before it on its connection.
 *
 * A handler answers exactly once: http_answer...() with a whole body, or http_stream_start(),
 * http_stream_write() ..., http_stream_end(). It may do so at once or later; what it keeps between hangs
 * on r->state and is released in r->release, which is called exactly once, when the request is over or its
 * connection is gone, and must cancel whatever would call back.
 */
#ifndef SH_AGENT_HTTP_REQUEST_H
#define SH_AGENT_HTTP_REQUEST_H

#include "daemon/agent/conn/conn.h"
#include "daemon/agent/http/parser.h"
#include "libsh/base/buf.h"
#include "libsh/base/list.h"
#include "libsh/base/mem.h"

struct http_server;
struct http_conn;
struct http_request;

enum { HTTP_SEGMENTS_MAX = 12, HTTP_PARAMS_MAX = 4 };

/* What becomes of a request's body. */
enum http_body_use {
	HTTP_BODY_NONE,       /* thrown away */
	/* collected in r->collected, up to HTTP_SMALL_BODY_MAX, before the handler is called */
	HTTP_BODY_SMALL,
	HTTP_BODY_LARGE,      /* the same, up to the setting http.max_body_bytes */
	HTTP_BODY_STREAM,     /* handler called with the head; then r->body and r->body_end */
};
struct http_route {
	int method;               /* enum http_method; a GET answers HEAD, too. 0: every method */
	/* "/api/v1/topics/{topic}"; a last segment of "**" stands for any number, none too */
	const char *pattern;
	void (*handle)(struct http_request *r);
	enum http_body_use body;
	unsigned flags;
	const char *missing;      /* for what is not built: its name */
};
enum { /* flags of a route */
	ROUTE_APPENDS = 1,        /* starts on arrival */
	ROUTE_ALWAYS = 2,         /* answers also while the log does not serve */
	ROUTE_CONFLUENT = 4,      /* errors also carry error_code and message */
};
extern const struct http_route http_routes[]; /* ends with pattern NULL */

struct http_request {
	struct list node;                  /* in the connection's queue */
	struct http_conn *conn;            /* NULL once it is gone */
	struct http_server *server;
	struct arena arena;                /* the request's memory; its head is the first in it */
	struct http_head head;
	struct http_body framing;
	const struct http_route *route;
	const char *path;                  /* as it came, for logs and errors */
	const char *params[HTTP_PARAMS_MAX]; /* decoded {..} of the pattern, in order */
	struct buf collected;
	int64_t begun_ns;

	void *state;
	void (*release)(struct http_request *r);
	/* Body bytes, in place; returns how many were used: all of them unless http_body_block() was
	 * called meanwhile. */
	size_t (*body)(struct http_request *r, char *p, size_t n);
	void (*body_end)(struct http_request *r);
	/* The client went away or broke the framing in the middle of the body: answer with what was done. */
	void (*body_failed)(struct http_request *r, const struct err *e);
	void (*room)(struct http_request *r); /* output has room again */
	void (*drain)(struct http_request *r);/* the server is about to stop: a request that only waits ends now */
	bool drops_on_eof;                 /* ends when the client closed its side (event streams) */

	/* private */
	struct buf answer;                 /* while requests before it are not answered */
	char *extra_fields;
	size_t collected_cap, reserved;
	int status;
	bool started, answered, streaming, stream_chunked, body_seen, continue_due, close_after;
};

enum { HTTP_SMALL_BODY_MAX = 1 << 20,
	HTTP_ANSWER_MAX = 64 << 20 /* of an answer that is built as a whole */ };

/* ---- what was asked ---- */
/* Decoded value of a query parameter, NULL when absent; "" for a name without value. */
const char *http_query(struct http_request *r, const char *name);
/* 1: present, *out set; 0: absent; -1: not a number in the range. */
int http_query_int(struct http_request *r, const char *name, int64_t min, int64_t max, int64_t *out,
	struct err *e);
int http_query_size(struct http_request *r, const char *name, int64_t min, int64_t max, int64_t *out,
	struct err *e);
struct bytes http_field(const struct http_request *r, enum http_field f);
/* The media type of a field's value is this one, parameters ignored. */
bool http_media_is(struct bytes value, const char *type);

/* ---- answers ---- */
#define HTTP_JSON "application/json"
/* Add a header field to the answer to come. */
void http_answer_field(struct http_request *r, const char *name, const char *fmt,
	...) __attribute__((format(printf, 3, 4)));
/* type NULL: no body */
void http_answer(struct http_request *r, int status, const char *type, const void *body, size_t n);
/* empties body */
void http_answer_buf(struct http_request *r, int status, const char *type, struct buf *body);
/* Of a stream that has begun the connection is cut, so that the client sees a broken answer and not a short one. */
void http_answer_err(struct http_request *r, const struct err *e);
/* The error object with members of one's own behind it: members is "" or starts with a comma. */
void http_answer_err_with(struct http_request *r, const struct err *e, const char *members);

/* Only in requests that do not have ROUTE_APPENDS. */
void http_stream_start(struct http_request *r, int status, const char *type);
void http_stream_write(struct http_request *r, struct buf *b); /* empties b */
size_t http_stream_room(struct http_request *r); /* 0: wait for r->room() */
/* trailer: a field line without CR LF, or NULL. */
void http_stream_end(struct http_request *r, const char *trailer);

/* ---- back-pressure of body streams ---- */
/* Count n bytes of a body that are kept in memory against the limit for all; ERR_BACK_PRESSURE. */
int http_body_reserve(struct http_request *r, size_t n, struct err *e);
void http_body_unreserve(struct http_request *r); /* all of the request's; by itself when it is over */
void http_body_block(struct http_request *r);  /* no more of the body for now */
void http_body_resume(struct http_request *r);
/* Bytes that were appended and are not acknowledged yet, for the connection; true: too many, stop. */
bool http_unacknowledged(struct http_request *r, int64_t change);

#endif
