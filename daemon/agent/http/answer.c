/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: heads, error bodies, streams. An answer whose turn has not come waits in its request. */
#include "daemon/agent/http/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "libsh/format/json_write.h"

/* rest of a refused body that is read and thrown away to keep the connection */
enum { DISCARD_MAX = 64 << 10 };

static const char *reason(int status)
{
	static const struct { int status; const char *text; } reasons[] = {
		{200, "OK"}, {201, "Created"}, {204, "No Content"}, {400, "Bad Request"}, {401, "Unauthorized"}, {403,
			"Forbidden"},
		{404, "Not Found"}, {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"},
		{413, "Content Too Large"}, {415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"},
		{422, "Unprocessable Content"}, {429, "Too Many Requests"}, {431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"}, {501, "Not Implemented"}, {503, "Service Unavailable"}, {504,
			"Gateway Timeout"},
	};

	for (size_t i = 0; i < array_count(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return "Unknown";
}

static const char *date_now(struct http_server *s)
{
	int64_t second = clock_real_ms() / 1000;
	time_t t = second;
	struct tm tm;

	if (second != s->date_second) {
		s->date_second = second;
		strftime(s->date, sizeof(s->date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
	}
	return s->date;
}

static void put(struct http_request *r, const void *p, size_t n)
{
	if (!n)
		return;
	if (r->conn->queue.next == &r->node && !r->answer.len) {
		conn_write(&r->conn->conn, p, n);
	} else {
		buf_add(&r->answer, p, n);
		r->conn->waiting_answers += n;
	}
}

static void put_buf(struct http_request *r, struct buf *b)
{
	if (r->conn->queue.next == &r->node && !r->answer.len) {
		conn_write_buf(&r->conn->conn, b);
	} else {
		put(r, b->data, b->len);
		buf_release(b);
	}
}

/* Whether the connection can be used after this answer. */
static void decide_close(struct http_request *r)
{
	const struct http_body *body = &r->framing;

	if (!body->ended && (body->chunked || body->left > DISCARD_MAX || (r->head.expect_continue &&
		!r->body_seen)))
		r->close_after = true;
	if (r->server->draining && r->conn->queue.prev == &r->node)
		r->close_after = true;
	r->continue_due = false;
	if (r->conn->blocked_by == r)
		r->conn->blocked_by = NULL;
}

/* length -1: a stream. */
static void put_head(struct http_request *r, int status, const char *type, int64_t length)
{
	char head[1024];
	int n;

	decide_close(r);
	r->status = status;
	n = snprintf(head, sizeof(head), "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, reason(status),
		date_now(r->server));
	if (type)
		n += snprintf(head + n, sizeof(head) - n, "Content-Type: %s\r\n", type);
	if (length >= 0 && status != 204)
		n += snprintf(head + n, sizeof(head) - n, "Content-Length: %" PRId64 "\r\n", length);
	else if (length < 0 && r->stream_chunked)
		n += snprintf(head + n, sizeof(head) - n, "Transfer-Encoding: chunked\r\n");
	if (r->close_after)
		n += snprintf(head + n, sizeof(head) - n, "Connection: close\r\n");
	else if (r->head.minor == 0)
		n += snprintf(head + n, sizeof(head) - n, "Connection: keep-alive\r\n");
	put(r, head, n);
	if (r->extra_fields)
		put(r, r->extra_fields, strlen(r->extra_fields));
	put(r, "\r\n", 2);
}

static void answer_complete(struct http_request *r)
{
	r->answered = true;
	http_conn_advance(r->conn);
}

void http_answer_field(struct http_request *r, const char *name, const char *fmt, ...)
{
	char value[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(value, sizeof(value), fmt, ap);
	va_end(ap);
	r->extra_fields = arena_printf(&r->arena, "%s%s: %s\r\n", r->extra_fields ? r->extra_fields : "", name,
		value);
}

void http_answer(struct http_request *r, int status, const char *type, const void *body, size_t n)
{
	if (r->answered || r->streaming)
		return;
	put_head(r, status, type, (int64_t)n);
	if (r->head.method != HTTP_HEAD && n)
		put(r, body, n);
	r->server->counters.out_bytes += n;
	answer_complete(r);
}

void http_answer_buf(struct http_request *r, int status, const char *type, struct buf *body)
{
	struct err e = ERR_INIT;

	if (body->len && body->data[body->len - 1] != '\n' && type && !strcmp(type, HTTP_JSON))
		buf_addc(body, '\n'); /* for people with curl */
	if (body->overflow) {
		buf_release(body);
		err_set(&e, ERR_TOO_LARGE, "the answer would be larger than %zu bytes", body->max);
		http_answer_err(r, &e);
		return;
	}
	if (r->answered || r->streaming) {
		buf_release(body);
		return;
	}
	put_head(r, status, type, (int64_t)body->len);
	r->server->counters.out_bytes += body->len;
	if (r->head.method != HTTP_HEAD)
		put_buf(r, body);
	buf_release(body);
	answer_complete(r);
}

static void stream_abort(struct http_request *r, const struct err *e)
{
	struct conn *c = &r->conn->conn;

	log_warn("http: %s: answer broken off: %s", r->path, e->text);
	r->answered = r->close_after = true;
	r->conn->no_more = true;
	if (r->stream_chunked) {
		conn_finish(c);
		return;
	}
	/* without chunks only a reset tells the client that this is not the end */
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
	conn_end(c);
}

void http_answer_err_with(struct http_request *r, const struct err *e, const char *members)
{
	struct buf b = BUF_INIT(64 << 10);
	int status = err_http_status(e->code);

	if (r->answered)
		return;
	if (r->streaming) {
		stream_abort(r, e);
		return;
	}
	json_write_open(&b, '{');
	json_write_name(&b, "error");
	json_write_open(&b, '{');
	json_write_member_string(&b, "code", err_name(e->code));
	json_write_member_string(&b, "message", e->text);
	if (e->hint[0])
		json_write_member_string(&b, "hint", e->hint);
	json_write_close(&b, '}');
	buf_adds(&b, members);
	if (r->route && r->route->flags & ROUTE_CONFLUENT) {
		json_write_member_int(&b, "error_code", status);
		json_write_member_string(&b, "message", e->text);
	}
	json_write_close(&b, '}');
	buf_addc(&b, '\n');
	if (status == 429 || status == 503)
		http_answer_field(r, "Retry-After", "1");
	if (status == 500)
		log_error("http: %s: %s", r->path ? r->path : "?", e->text);
	if (status >= 500 || status == 429)
		series_now(&r->server->series, clock_real_ms())->errors++;
	http_answer_buf(r, status, HTTP_JSON, &b);
}

void http_answer_err(struct http_request *r, const struct err *e)
{
	http_answer_err_with(r, e, "");
}

/* ---- streams ---- */

void http_stream_start(struct http_request *r, int status, const char *type)
{
	r->stream_chunked = r->head.minor == 1;
	if (!r->stream_chunked)
		r->close_after = true;
	put_head(r, status, type, -1);
	r->streaming = true;
}

void http_stream_write(struct http_request *r, struct buf *b)
{
	char size[24];

	if (r->answered || !b->len || r->head.method == HTTP_HEAD) {
		buf_release(b);
		return;
	}
	r->server->counters.out_bytes += b->len;
	if (r->stream_chunked)
		put(r, size, snprintf(size, sizeof(size), "%zx\r\n", b->len));
	put_buf(r, b);
	if (r->stream_chunked)
		put(r, "\r\n", 2);
}

size_t http_stream_room(struct http_request *r)
{
	return conn_room(&r->conn->conn);
}

void http_stream_end(struct http_request *r, const char *trailer)
{
	if (r->stream_chunked && r->head.method != HTTP_HEAD) {
		put(r, "0\r\n", 3);
		if (trailer) {
			put(r, trailer, strlen(trailer));
			put(r, "\r\n", 2);
		}
		put(r, "\r\n", 2);
	}
	answer_complete(r);
}
