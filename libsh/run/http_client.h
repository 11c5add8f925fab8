/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client: the one door to libcurl. A client keeps its connections alive and runs any number of calls
 * at once, driven by the thread that calls http_client_wait(); one client belongs to one thread.
 *
 * Errors: ERR_CONNECT when nothing can have reached the server; ERR_OUTCOME_UNKNOWN when a request that
 * changes something was sent, in part at least, and no answer came; ERR_REQUEST_TIMEOUT or ERR_UNAVAILABLE
 * when one that only reads failed so. An answer with status 400 or more becomes the error that its body names
 * ({"error":{"code","message","hint"}}). A request that changes something is never sent twice by this layer.
 * Header fields may hold secrets: our copies of them are overwritten before they are freed.
 */
#ifndef SH_RUN_HTTP_CLIENT_H
#define SH_RUN_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

struct http_client;
/* base_url: "http://host:port", without a path. token: sent as Authorization: Bearer, or NULL. Both are
 * copied. */
struct http_client *http_client_new(const char *base_url, const char *token, struct err *e);
void http_client_free(struct http_client *c);
const char *http_client_url(const struct http_client *c);
/* Certificates of the authorities that are trusted, a PEM file; NULL: the system's. */
void http_client_set_ca_file(struct http_client *c, const char *path);
/* Past the proxies that the environment names: for what is near, and nobody else's to see. */
void http_client_set_direct(struct http_client *c);

enum { HTTP_CLIENT_BODY_MAX = 64 << 20 }; /* of an answer that is collected */

struct http_call;
struct http_call_request {
	const char *method;        /* "GET", "POST", ... */
	const char *path;          /* "/api/v1/topics?x=y", encoded */
	const char *content_type;  /* of the body; NULL: no body */
	const char *accept;        /* NULL: application/json */
	const void *body;          /* borrowed until the call is done */
	size_t body_bytes;
	const char *const *fields; /* further header fields, "Name: value", NULL at the end; copied. NULL: none */
	/* Instead of body: fills p, returns bytes, 0 at the end, -1 to give up. body_bytes is what will come; 0: not known. */
	ptrdiff_t (*read_body)(void *ctx, void *p, size_t n);
	/* Body of a 2xx answer as it comes; 0, or -1 to end the call (done() then gets ERR_PARTIAL). NULL:
	 * collected. */
	int (*data)(void *ctx, const void *p, size_t n);
	/* Header and trailer fields of the answer, a line each; NULL: not wanted. */
	void (*field)(void *ctx, const char *line, size_t n);
	void *ctx;
	int64_t timeout_ms;        /* for the whole call; 0: none */
	int64_t silence_ms;        /* give up when nothing moves for so long; 0: never */
	bool reads_only;           /* safe to send again, and nothing is left behind when it fails */
};
struct http_call_answer {
	int status;                /* 0: none came */
	bool complete;             /* all of it came, whatever it says */
	int64_t retry_after_ms;    /* -1: not given */
	int64_t date_ms;           /* the server's clock, by its Date field; -1: not given */
	bool untrusted;            /* no answer: its certificate is not vouched for */
	struct buf body;           /* collected; of errors always */
};
/* The answer lives as long as the callback, which may start new calls. */
typedef void http_call_done_fn(void *ctx, struct http_call_answer *answer, const struct err *e);

/* Starts a call; done() comes from http_client_wait(), with e->code ERR_NONE on success. The request is
 * copied, but not what it points to for the body. */
struct http_call *http_client_start(
	struct http_client *c, const struct http_call_request *q, http_call_done_fn *done, void *ctx);
/* Ends a call without done(). */
void http_client_cancel(struct http_client *c, struct http_call *call);
/* Let calls progress until one is done, `fd` (or -1) is readable, or the time is over. Returns true while
 * calls are under way. *readable (may be NULL) tells about fd. A signal ends the wait. */
bool http_client_wait(struct http_client *c, int fd, bool *readable, int64_t timeout_ms);

/* One call, start to end. The answer's body is the caller's to release, also on error. */
int http_client_do(struct http_client *c, const struct http_call_request *q, struct http_call_answer *answer,
	struct err *e);

#endif
