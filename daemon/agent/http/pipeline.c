/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an HTTP connection: bytes become requests, requests queue, answers leave in the order of the
 * requests.
 *
 * A request is freed only in conn_advance_now(), which runs at points where no handler is on the stack: in
 * the input path between two steps, else at the end of the turn.
 */
#include "daemon/agent/http/server.h"

#include <stdio.h>
#include "libsh/base/clock.h"
#include "libsh/base/log.h"

/* ---- requests ---- */

static struct http_request *request_new(struct http_conn *c)
{
	struct http_request *r = mem_zalloc(sizeof(*r));

	r->conn = c;
	r->server = c->server;
	r->begun_ns = loop_now_ns(c->server->self->loop);
	r->framing.ended = true;
	buf_init(&r->collected, HTTP_SMALL_BODY_MAX);
	buf_init(&r->answer, INT32_MAX);
	list_push(&c->queue, &r->node);
	c->queued++;
	return r;
}

size_t http_body_limit(const struct http_server *s)
{
	return s->large_body_max > HTTP_BODY_MEMORY_MAX ? s->large_body_max : HTTP_BODY_MEMORY_MAX;
}

int http_body_reserve(struct http_request *r, size_t n, struct err *e)
{
	struct http_server *s = r->server;
	size_t limit = http_body_limit(s);

	if (s->body_bytes + n > limit)
		return err_set(e, ERR_BACK_PRESSURE, "%zu MiB of request bodies are in memory already", limit >> 20);
	s->body_bytes += n;
	r->reserved += n;
	return 0;
}

void http_body_unreserve(struct http_request *r)
{
	r->server->body_bytes -= r->reserved;
	r->reserved = 0;
}

static void request_drop_body(struct http_request *r)
{
	buf_release(&r->collected);
	http_body_unreserve(r);
}

static void request_free(struct http_request *r)
{
	struct http_conn *c = r->conn;

	if (r->release)
		r->release(r);
	r->server->counters.requests++;
	series_now(&r->server->series, clock_real_ms())->requests++;
	r->server->counters.status[r->status >= 100 && r->status < 600 ? r->status / 100 : 0]++;
	request_drop_body(r);
	c->waiting_answers -= r->answer.len;
	buf_release(&r->answer);
	if (c->reading == r)
		c->reading = NULL;
	if (c->blocked_by == r)
		c->blocked_by = NULL;
	list_remove(&r->node);
	c->queued--;
	arena_release(&r->arena);
	mem_free(r);
}

static bool request_is_first(const struct http_request *r)
{
	return r->conn->queue.next == &r->node;
}

/* Calls the handler once all it needs is there and its turn has come. */
static void request_try_start(struct http_request *r)
{
	if (r->started || r->answered || !r->route)
		return;
	if (!r->framing.ended && r->route->body != HTTP_BODY_STREAM)
		return;
	if (!(r->route->flags & ROUTE_APPENDS) && !request_is_first(r))
		return;
	r->started = true;
	r->route->handle(r);
}

/* What can be refused from the head alone. */
static int request_check(struct http_request *r, struct err *e)
{
	struct bytes coding = http_field(r, HTTP_CONTENT_ENCODING);

	if (http_route_find(r, e) < 0 || http_query_check(r, e) < 0)
		return -1;
	if (!r->server->serving && !(r->route->flags & ROUTE_ALWAYS)) {
		err_set(e, ERR_UNAVAILABLE, "the log is not serving yet");
		return err_hint(e, "shd is starting: try again soon; GET /ready tells when it serves");
	}
	if (coding.data && !http_text_is(coding, "identity"))
		return err_set(e, ERR_UNSUPPORTED_MEDIA, "a Content-Encoding is not supported");
	if (http_field(r, HTTP_EXPECT).data && !http_text_is(http_field(r, HTTP_EXPECT), "100-continue"))
		return err_set(e, ERR_INVALID_ARGUMENT, "Expect can only be 100-continue");
	r->collected_cap = r->route->body == HTTP_BODY_LARGE ? r->server->large_body_max : HTTP_SMALL_BODY_MAX;
	buf_init(&r->collected, r->collected_cap);
	if (r->route->body != HTTP_BODY_STREAM && r->head.content_length > r->collected_cap)
		return err_set(e, ERR_TOO_LARGE, "the body of %llu bytes is larger than the limit of %zu bytes",
			(unsigned long long)r->head.content_length, r->collected_cap);
	return 0;
}

static void request_begin(struct http_conn *c, const char *p, size_t n)
{
	struct http_request *r = request_new(c);
	struct err e = ERR_INIT;
	char *head = arena_dup(&r->arena, p, n);

	if (http_head_parse(head, n, &r->head, &e) < 0) {
		r->close_after = c->no_more = true;
		http_answer_err(r, &e);
		return;
	}
	http_body_init(&r->framing, &r->head);
	if (!r->framing.ended)
		c->reading = r;
	if (!r->head.keep_alive)
		r->close_after = true;
	r->continue_due = r->head.expect_continue;
	if (request_check(r, &e) < 0) {
		http_answer_err(r, &e);
		return;
	}
	request_try_start(r);
}

/* An answer for bytes that are not a request. */
static void request_reject(struct http_conn *c, const struct err *e)
{
	struct http_request *r = request_new(c);

	r->head.minor = 1;
	r->close_after = c->no_more = true;
	http_answer_err(r, e);
}

/* ---- bodies ---- */

static void request_collect(struct http_request *r, const char *p, size_t n)
{
	struct err e = ERR_INIT;

	if (r->route->body == HTTP_BODY_NONE)
		return;
	if (!http_body_reserve(r, n, &e)) {
		if (!buf_add(&r->collected, p, n))
			return;
		err_set(&e, ERR_TOO_LARGE, "the body is larger than the limit of %zu bytes", r->collected_cap);
	}
	request_drop_body(r);
	http_answer_err(r, &e);
}

static size_t request_body(struct http_request *r, char *p, size_t n)
{
	r->body_seen = true;
	r->continue_due = false;
	if (r->answered || !r->route)
		return n;
	r->server->counters.in_bytes += n;
	if (r->route->body == HTTP_BODY_STREAM)
		return r->body ? r->body(r, p, n) : n;
	request_collect(r, p, n);
	return n;
}

static void request_body_end(struct http_request *r)
{
	r->conn->reading = NULL;
	if (r->answered)
		return;
	if (r->started && r->body_end)
		r->body_end(r);
	else
		request_try_start(r);
}

/* The body cannot be read to its end; nothing behind it can be, either. */
static void request_body_failed(struct http_request *r, const struct err *e)
{
	r->conn->no_more = r->close_after = true;
	r->conn->reading = NULL;
	r->framing.ended = true;
	if (r->answered)
		return;
	if (r->started && r->body_failed)
		r->body_failed(r, e);
	else
		http_answer_err(r, e);
}

static size_t input_body(struct http_conn *c, char *p, size_t n)
{
	struct http_request *r = c->reading;
	struct err e = ERR_INIT;
	size_t done = 0;

	for (;;) {
		size_t used, take, took;
		enum http_body_step step = http_body_next(&r->framing, p + done, n - done, &used, &e);

		done += used;
		if (step == HTTP_BODY_MORE)
			return done;
		if (step == HTTP_BODY_BAD) {
			request_body_failed(r, &e);
			return n;
		}
		if (step == HTTP_BODY_END) {
			request_body_end(r);
			return done;
		}
		take = r->framing.left < n - done ? r->framing.left : n - done;
		took = request_body(r, p + done, take);
		http_body_took(&r->framing, took);
		done += took;
		if (c->blocked_by)
			return done;
	}
}

/* ---- input ---- */

static bool conn_is_full(const struct http_conn *c)
{
	if (c->blocked_by || c->unacknowledged > HTTP_UNACKNOWLEDGED_MAX)
		return true;
	return !c->reading && (c->queued >= HTTP_PIPELINE_MAX || c->waiting_answers > HTTP_ANSWERS_MAX);
}

static size_t input_head(struct http_conn *c, const char *p, size_t n)
{
	struct err e = ERR_INIT;
	ptrdiff_t length;

	if (!c->scanned && p[0] == '\r') /* an empty line before a request: RFC 9112, section 2.2 */
		return n < 2 ? 0 : p[1] == '\n' ? 2 : (request_reject(c, (err_set(&e, ERR_INVALID_ARGUMENT,
			"what arrived is not an HTTP request"), &e)), n);
	length = http_head_length(p, n, &c->scanned, &e);
	if (!length) {
		if (!c->head_begun)
			conn_deadline(&c->conn, c->server->timeouts.head);
		c->head_begun = true;
		return 0;
	}
	c->head_begun = false;
	c->scanned = 0;
	if (length < 0) {
		request_reject(c, &e);
		return n;
	}
	request_begin(c, p, length);
	return length;
}

static void conn_advance_now(struct http_conn *c);
static void conn_wait_deadline(struct http_conn *c);

static size_t pipeline_input(struct conn *conn, char *p, size_t n)
{
	struct http_conn *c = (struct http_conn *)conn;
	size_t done = 0;

	while (done < n && !c->no_more) {
		size_t used;

		if (conn_is_full(c))
			break;
		c->advancing = true;
		used = c->reading ? input_body(c, p + done, n - done) : input_head(c, p + done, n - done);
		c->advancing = false;
		done += used;
		conn_advance_now(c);
		if (!used && !conn_is_full(c))
			break;
	}
	/* also when all input was used: neither its end nor a deadline concerns a client that we make wait */
	if (conn_is_full(c) && !c->no_more)
		conn_pause(conn);
	conn_wait_deadline(c);
	return c->no_more ? n : done;
}

/* ---- the queue ---- */

/* What the connection waits for from its client decides how long. */
static void conn_wait_deadline(struct http_conn *c)
{
	const struct http_timeouts *t = &c->server->timeouts;

	if (c->reading && !c->conn.paused)
		conn_deadline(&c->conn, t->body);
	else if (c->reading || c->queued)
		conn_deadline(&c->conn, 0);
	else if (!c->head_begun)
		conn_deadline(&c->conn, t->idle);
	else if (!c->conn.deadline_ns) /* it began while a request was under way */
		conn_deadline(&c->conn, t->head);
}

/* The answered request is the first of the queue: gone with it, unless its body is still coming in. */
static bool request_finish(struct http_request *r)
{
	struct http_conn *c = r->conn;

	if (!r->framing.ended && r->close_after) {
		r->framing.ended = true;
		c->reading = NULL;
	}
	if (!r->framing.ended)
		return false;
	if (r->close_after)
		c->no_more = true;
	request_free(r);
	return true;
}

static void conn_advance_now(struct http_conn *c)
{
	struct http_request *r;

	if (c->advancing || c->conn.ended)
		return;
	c->advancing = true;
	if (c->reading && c->reading->framing.ended && !c->blocked_by)
		request_body_end(c->reading);
	while ((r = list_first(&c->queue, struct http_request, node))) {
		if (r->answer.len) {
			c->waiting_answers -= r->answer.len;
			conn_write_buf(&c->conn, &r->answer);
		}
		if (r->continue_due && !r->answered) {
			r->continue_due = false;
			conn_write(&c->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25);
		}
		request_try_start(r);
		if (!r->answered || !request_finish(r))
			break;
	}
	c->advancing = false;
	if (c->server->draining && !c->reading)
		c->no_more = true;
	if (!c->queued && c->no_more && !c->conn.finishing)
		conn_finish(&c->conn);
	if (c->conn.paused && !conn_is_full(c))
		conn_resume(&c->conn);
}

static void conn_advance_later(void *ctx)
{
	struct http_conn *c = ctx;

	conn_advance_now(c);
	if (!c->conn.ended)
		conn_wait_deadline(c);
}

void http_conn_advance(struct http_conn *c)
{
	if (!c->advancing && !c->conn.ended)
		loop_at_turn_end(c->server->self->loop, &c->advance, conn_advance_later, c);
}

void http_body_block(struct http_request *r)
{
	r->conn->blocked_by = r;
}

void http_body_resume(struct http_request *r)
{
	if (r->conn->blocked_by == r)
		r->conn->blocked_by = NULL;
	http_conn_advance(r->conn);
}

bool http_unacknowledged(struct http_request *r, int64_t change)
{
	struct http_conn *c = r->conn;
	bool was_full = conn_is_full(c);

	c->unacknowledged += change;
	if (was_full && !conn_is_full(c))
		http_conn_advance(c);
	return c->unacknowledged > HTTP_UNACKNOWLEDGED_MAX;
}

/* ---- what the connection layer says ---- */

static void pipeline_opened(struct conn *conn)
{
	struct http_conn *c = (struct http_conn *)conn;

	c->server = conn->set->ctx;
	list_init(&c->queue);
	conn_deadline(conn, c->server->timeouts.head);
}

static void pipeline_eof(struct conn *conn)
{
	struct http_conn *c = (struct http_conn *)conn;
	struct http_request *first = list_first(&c->queue, struct http_request, node);
	struct err e = ERR_INIT;

	c->no_more = true;
	if (first && first->drops_on_eof) {
		conn_end(conn);
		return;
	}
	if (c->reading) {
		err_set(&e, ERR_INVALID_ARGUMENT, "the client closed the connection in the middle of the body");
		request_body_failed(c->reading, &e);
	}
	conn_advance_now(c);
}

static void pipeline_deadline(struct conn *conn)
{
	struct http_conn *c = (struct http_conn *)conn;
	struct err e = ERR_INIT;

	if (c->reading) {
		err_set(&e, ERR_REQUEST_TIMEOUT, "no byte of the body came for %lld ms",
			(long long)c->server->timeouts.body);
		request_body_failed(c->reading, &e);
	} else if (c->head_begun) {
		err_set(&e, ERR_REQUEST_TIMEOUT, "the request head was not complete after %lld ms",
			(long long)c->server->timeouts.head);
		c->head_begun = false;
		request_reject(c, &e);
	} else if (!c->queued) {
		c->no_more = true;
	}
	conn_advance_now(c);
}

static void pipeline_room(struct conn *conn)
{
	struct http_conn *c = (struct http_conn *)conn;
	struct http_request *first = list_first(&c->queue, struct http_request, node);

	if (first && first->room && !first->answered)
		first->room(first);
}

static void pipeline_gone(struct conn *conn)
{
	struct http_conn *c = (struct http_conn *)conn;

	c->advancing = true; /* nothing advances any more */
	list_for_each_safe(it, &c->queue)
		request_free(list_entry(it, struct http_request, node));
	loop_turn_end_cancel(&c->advance);
	http_server_check_drained(c->server);
}

static void pipeline_refused(struct conn *conn)
{
	static const char body[] =
		"{\"error\":{\"code\":\"unavailable\",\"message\":\"too many connections\",\"hint\":\"try again\"}}\n";
	char text[400];
	int n = snprintf(text, sizeof(text), "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
		"Retry-After: 1\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", sizeof(body) - 1, body);

	conn_write(conn, text, n);
}

const struct conn_handlers http_pipeline_handlers = {
	.opened = pipeline_opened, .input = pipeline_input, .eof = pipeline_eof, .room = pipeline_room,
		.deadline = pipeline_deadline,
	.gone = pipeline_gone, .refused = pipeline_refused,
};
