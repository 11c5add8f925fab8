/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include "daemon/agent/http/parser.h"
#include "libsh/base/buf.h"
#include "tests/unit/tap.h"

/* What came of a request, as text: so that two ways of parsing it can be compared. */
static void describe(struct buf *out, const char *p, size_t n, size_t step)
{
	size_t have = 0, scanned = 0, at, used;
	struct http_head h;
	struct http_body b;
	struct err e = ERR_INIT;
	ptrdiff_t head = 0;

	while (!head && have < n) {
		have = have + step < n ? have + step : n;
		head = http_head_length(p, have, &scanned, &e);
	}
	if (head <= 0 || http_head_parse(p, (size_t)head, &h, &e) < 0) {
		buf_addf(out, "%s", head ? err_name(e.code) : "incomplete");
		return;
	}
	buf_addf(out, "%d %.*s ?%.*s 1.%d keep=%d expect=%d length=%llu body=", h.method, (int)h.path.len,
		h.path.data,
		(int)h.query.len, h.query.data ? (const char *)h.query.data : "", h.minor, h.keep_alive, h.expect_continue,
		(unsigned long long)h.content_length);
	http_body_init(&b, &h);
	for (at = (size_t)head, have = at;;) {
		enum http_body_step s = http_body_next(&b, p + at, have - at, &used, &e);
		size_t take;

		at += used;
		if (s == HTTP_BODY_DATA) {
			take = b.left < have - at ? b.left : have - at;
			buf_add(out, p + at, take);
			http_body_took(&b, take);
			at += take;
		} else if (s == HTTP_BODY_MORE && have < n) {
			have = have + step < n ? have + step : n;
		} else {
			buf_addf(out, " %s rest=%zu", s == HTTP_BODY_END ? "end" : s == HTTP_BODY_BAD ? "bad" : "more",
				s == HTTP_BODY_BAD ? 0 : n - at);
			return;
		}
	}
}

static void check(const char *text, const char *want, const char *title)
{
	struct buf whole = BUF_INIT(1 << 20), part = BUF_INIT(1 << 20);
	size_t n = strlen(text);
	bool same = true;

	describe(&whole, text, n, n);
	for (size_t step = 1; step < n; step++) {
		buf_reset(&part);
		describe(&part, text, n, step);
		same = same && !strcmp(part.data, whole.data);
	}
	is_str(whole.data, want, title);
	if (!same)
		ok(false, "%s: the same when it comes in pieces", title);
	buf_release(&whole);
	buf_release(&part);
}

#define HOST "Host: a\r\n"

static void test_requests(void)
{
	check("GET / HTTP/1.1\r\n" HOST "\r\n", "1 / ? 1.1 keep=1 expect=0 length=0 body= end rest=0",
		"the smallest request");
	check("GET /a?b=c HTTP/1.0\r\n\r\nGET", "1 /a ?b=c 1.0 keep=0 expect=0 length=0 body= end rest=3",
		"HTTP/1.0 closes");
	check("GET http://x:1/a/b?c HTTP/1.1\r\n" HOST "\r\n",
		"1 /a/b ?c 1.1 keep=1 expect=0 length=0 body= end rest=0",
		"absolute form");
	check("POST /p HTTP/1.1\r\n" HOST "content-LENGTH:  5 \r\nConnection: x, Close\r\n\r\nhello!",
		"4 /p ? 1.1 keep=0 expect=0 length=5 body=hello end rest=1", "a body of declared length");
	check("PUT /p HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		"8 /p ? 1.1 keep=1 expect=1 length=1 body= more rest=0", "Expect");
	check("POST /p HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n1\r\n \r\n00\r\nTrailer: 1\r\n\r\nNEXT",
		"4 /p ? 1.1 keep=1 expect=0 length=0 body=hello  end rest=4", "chunks, an extension, trailers");
	check("BREW / HTTP/1.1\r\n" HOST "\r\n", "64 / ? 1.1 keep=1 expect=0 length=0 body= end rest=0",
		"an unknown method");
}

static void test_refused(void)
{
	static const struct { const char *text, *title; } bad[] = {
		{"GET / HTTP/1.1\n" HOST "\r\n", "bare LF after the request line"},
		{"GET / HTTP/1.1\r\nHost: a\n\r\n", "bare LF after a field"},
		{"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", "bare CR in a field"},
		{"GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", "a folded field"},
		{"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", "a space before the colon"},
		{"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", "a field without colon"},
		{"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", "a field without name"},
		{"GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n", "a control character in a value"},
		{"GET  / HTTP/1.1\r\n" HOST "\r\n", "two spaces"},
		{"GET / HTTP/2.0\r\n" HOST "\r\n", "another version"},
		{"GET /\r\n" HOST "\r\n", "no version"},
		{"GET a HTTP/1.1\r\n" HOST "\r\n", "a target without slash"},
		{"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", "a raw byte in the target"},
		{"GET / HTTP/1.1\r\n\r\n", "no Host"},
		{"GET / HTTP/1.1\r\n" HOST HOST "\r\n", "two Hosts"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
			"length and chunked"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "two lengths that differ"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", "two lengths that agree"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", "a list of lengths"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", "a negative length"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", "a length with a sign"},
		{"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", "a length that cannot be"},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "chunks in HTTP/1.0"},
		{"\x16\x03\x01 GET", "TLS on a plain port"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		check(bad[i].text, "invalid_argument", bad[i].title);
	check("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", "not_built",
		"another transfer coding");
}

static void test_chunks(void)
{
	static const struct { const char *body, *want; } bodies[] = {
		{"5\r\nhello0\r\n\r\n", "hello bad rest=0"}, {"g\r\n", " bad rest=0"}, {"\r\n", " bad rest=0"},
			{"5 \r\n", " bad rest=0"},
		{"-1\r\n", " bad rest=0"}, {"1\nx", " bad rest=0"}, {"fffffffffffffffff\r\n", " bad rest=0"},
			{"0x1\r\n", " bad rest=0"},
		{"0\r\n\r\n", " end rest=0"}, {"0\r\nA: b\n", " bad rest=0"}, {"1\r\nx\r\n", "x more rest=0"},
			{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789 end rest=0"},
	};

	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		char text[300], want[300];

		snprintf(text, sizeof(text), "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%s",
			bodies[i].body);
		snprintf(want, sizeof(want), "4 / ? 1.1 keep=1 expect=0 length=0 body=%s", bodies[i].want);
		check(text, want, bodies[i].want);
	}
}

static void test_limits(void)
{
	struct buf b = BUF_INIT(1 << 20), out = BUF_INIT(1 << 20);

	buf_adds(&b, "GET / HTTP/1.1\r\n" HOST);
	for (int i = 0; i < HTTP_FIELDS_MAX; i++)
		buf_adds(&b, "A: b\r\n");
	buf_adds(&b, "\r\n");
	describe(&out, b.data, b.len, b.len);
	is_str(out.data, "headers_too_large", "one field more than the limit");
	buf_reset(&b);
	buf_reset(&out);
	buf_adds(&b, "GET /");
	while (b.len < HTTP_HEAD_MAX + 100)
		buf_addc(&b, 'a');
	describe(&out, b.data, b.len, 1000);
	is_str(out.data, "headers_too_large", "a head larger than the limit");
	buf_release(&b);
	buf_release(&out);
}

int main(void)
{
	test_requests();
	test_refused();
	test_chunks();
	test_limits();
	return done_testing();
}
