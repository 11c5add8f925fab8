/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/parser.h"

#include <string.h>
#include <strings.h>
#include "libsh/base/text.h"

/* tchar of RFC 9110, section 5.6.2 */
static bool is_token_char(unsigned char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
		return true;
	return c && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_field_char(unsigned char c) /* of a value: visible, space, tab, obs-text */
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

bool http_text_is(struct bytes b, const char *text)
{
	return b.data && b.len == strlen(text) && !strncasecmp((const char *)b.data, text, b.len);
}

ptrdiff_t http_head_length(const char *p, size_t n, size_t *scanned, struct err *e)
{
	size_t limit = n < HTTP_HEAD_MAX ? n : HTTP_HEAD_MAX;

	if (n && !is_token_char(p[0]))
		return err_set(e, ERR_INVALID_ARGUMENT, "what arrived is not an HTTP request");
	while (*scanned < limit) {
		const char *lf = memchr(p + *scanned, '\n', limit - *scanned);
		size_t at;

		if (!lf) {
			*scanned = limit;
			break;
		}
		at = lf - p;
		if (!at || p[at - 1] != '\r')
			return err_set(e, ERR_INVALID_ARGUMENT, "a line of the request head ends in LF without CR");
		*scanned = at + 1;
		if (at >= 3 && p[at - 2] == '\n')
			return at + 1;
	}
	if (n >= HTTP_HEAD_MAX) {
		err_set(e, ERR_HEADERS_TOO_LARGE, "the request head is larger than %d bytes", HTTP_HEAD_MAX);
		return -1;
	}
	return 0;
}

/* ---- request line ---- */

static enum http_method parse_method(const char *p, size_t n)
{
	static const struct { const char *name; enum http_method method; } methods[] = {
		{"GET", HTTP_GET}, {"POST", HTTP_POST}, {"HEAD", HTTP_HEAD}, {"PUT", HTTP_PUT}, {"PATCH", HTTP_PATCH},
		{"DELETE", HTTP_DELETE},
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strlen(methods[i].name) == n && !memcmp(p, methods[i].name, n))
			return methods[i].method;
	return HTTP_OTHER;
}

/* origin-form, or absolute-form as it comes through a proxy: http://host/path. */
static int parse_target(const char *p, const char *end, struct http_head *h, struct err *e)
{
	const char *question;

	for (const char *c = p; c < end; c++)
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f || *c == '#')
			return err_set(e, ERR_INVALID_ARGUMENT, "the request target holds a byte that must be percent-encoded");
	if (end - p >= 7 && !strncasecmp(p, "http://", 7)) {
		p += 7;
		while (p < end && *p != '/' && *p != '?')
			p++;
	} else if (p == end || *p != '/') {
		return err_set(e, ERR_INVALID_ARGUMENT, "the request target does not start with /");
	}
	question = memchr(p, '?', end - p);
	h->path = (struct bytes){(const uint8_t *)p, (question ? question : end) - p};
	if (question)
		h->query = (struct bytes){(const uint8_t *)question + 1, end - question - 1};
	return 0;
}

/* "GET /path HTTP/1.1", single spaces, no more. */
static int parse_request_line(const char *p, const char *end, struct http_head *h, struct err *e)
{
	const char *method_end = p, *target, *target_end;

	while (method_end < end && is_token_char(*method_end))
		method_end++;
	if (method_end == p || method_end == end || *method_end != ' ')
		return err_set(e, ERR_INVALID_ARGUMENT, "the request line does not start with a method and a space");
	h->method = parse_method(p, method_end - p);
	target = method_end + 1;
	target_end = memchr(target, ' ', end - target);
	if (!target_end)
		return err_set(e, ERR_INVALID_ARGUMENT, "the request line has no HTTP version");
	p = target_end + 1;
	if (end - p != 8 || memcmp(p, "HTTP/1.", 7) || p[7] < '0' || p[7] > '9')
		return err_set(e, ERR_INVALID_ARGUMENT, "the request is not HTTP/1.0 or HTTP/1.1");
	h->minor = p[7] == '0' ? 0 : 1;
	return parse_target(target, target_end, h, e);
}

/* ---- fields ---- */

static const char *const field_names[HTTP_FIELD_COUNT] = {
	[HTTP_ACCEPT] = "accept",
	[HTTP_CONNECTION] = "connection",
	[HTTP_CONTENT_ENCODING] = "content-encoding",
	[HTTP_CONTENT_LENGTH] = "content-length",
	[HTTP_CONTENT_TYPE] = "content-type",
	[HTTP_EXPECT] = "expect",
	[HTTP_HOST] = "host",
	[HTTP_LAST_EVENT_ID] = "last-event-id",
	[HTTP_TRANSFER_ENCODING] = "transfer-encoding",
};

static int set_field(struct http_head *h, struct bytes name, struct bytes value, struct err *e)
{
	for (int i = 0; i < HTTP_FIELD_COUNT; i++) {
		if (!http_text_is(name, field_names[i]))
			continue;
		if (!h->field[i].data) {
			h->field[i] = value;
			return 0;
		}
		if (i == HTTP_CONTENT_LENGTH || i == HTTP_TRANSFER_ENCODING || i == HTTP_HOST)
			return err_set(e, ERR_INVALID_ARGUMENT, "the field %s appears twice", field_names[i]);
		return 0; /* the first one counts */
	}
	return 0;
}

static int parse_field(const char *p, const char *end, struct http_head *h, struct err *e)
{
	const char *name_end = p, *value;

	if (*p == ' ' || *p == '\t')
		return err_set(e, ERR_INVALID_ARGUMENT, "a header field is folded over two lines");
	while (name_end < end && is_token_char(*name_end))
		name_end++;
	if (name_end == p || name_end == end || *name_end != ':')
		return err_set(e, ERR_INVALID_ARGUMENT, "a header field is not a name, a colon and a value");
	value = name_end + 1;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	for (const char *c = value; c < end; c++)
		if (!is_field_char(*c))
			return err_set(e, ERR_INVALID_ARGUMENT, "a header field holds a control character");
	return set_field(h, (struct bytes){(const uint8_t *)p, name_end - p},
		(struct bytes){(const uint8_t *)value, end - value}, e);
}

/* Whether a comma-separated list holds the word. */
static bool list_has(struct bytes list, const char *word)
{
	const uint8_t *p = list.data, *end = p ? p + list.len : p;

	while (p < end) {
		const uint8_t *comma = memchr(p, ',', end - p), *stop = comma ? comma : end, *last = stop;

		while (p < last && (*p == ' ' || *p == '\t'))
			p++;
		while (last > p && (last[-1] == ' ' || last[-1] == '\t'))
			last--;
		if (http_text_is((struct bytes){p, last - p}, word))
			return true;
		p = comma ? comma + 1 : end;
	}
	return false;
}

static int parse_length(struct bytes text, uint64_t *length, struct err *e)
{
	uint64_t n = 0;

	if (!text.len || text.len > 18)
		return err_set(e, ERR_INVALID_ARGUMENT, "Content-Length is not a number that can be");
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return err_set(e, ERR_INVALID_ARGUMENT, "Content-Length is not a decimal number");
		n = n * 10 + (text.data[i] - '0');
	}
	*length = n;
	return 0;
}

/* What the fields say together about the body and the connection. */
static int conclude(struct http_head *h, struct err *e)
{
	struct bytes coding = h->field[HTTP_TRANSFER_ENCODING], connection = h->field[HTTP_CONNECTION];

	if (coding.data && h->field[HTTP_CONTENT_LENGTH].data)
		return err_set(e, ERR_INVALID_ARGUMENT, "the request has both Content-Length and Transfer-Encoding");
	if (coding.data && h->minor == 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "an HTTP/1.0 request has a Transfer-Encoding");
	if (coding.data && !http_text_is(coding, "chunked"))
		return err_set(e, ERR_NOT_BUILT, "a Transfer-Encoding other than chunked is not supported");
	h->chunked = coding.data != NULL;
	if (h->field[HTTP_CONTENT_LENGTH].data && parse_length(h->field[HTTP_CONTENT_LENGTH],
		&h->content_length, e) < 0)
		return -1;
	if (h->minor == 1 && !h->field[HTTP_HOST].data)
		return err_set(e, ERR_INVALID_ARGUMENT, "an HTTP/1.1 request has no Host field");
	h->keep_alive = h->minor == 1 ? !list_has(connection, "close") : list_has(connection, "keep-alive");
	h->expect_continue = h->minor == 1 && http_text_is(h->field[HTTP_EXPECT], "100-continue") &&
		(h->chunked || h->content_length);
	return 0;
}

int http_head_parse(const char *p, size_t n, struct http_head *h, struct err *e)
{
	const char *end = p + n, *line_end;
	int fields = 0;

	memset(h, 0, sizeof(*h));
	line_end = memchr(p, '\r', n);
	if (!line_end || line_end + 1 == end || line_end[1] != '\n')
		return err_set(e, ERR_INVALID_ARGUMENT, "the request line holds a bare CR");
	if (parse_request_line(p, line_end, h, e) < 0)
		return -1;
	for (p = line_end + 2; p < end; p = line_end + 2) {
		line_end = memchr(p, '\r', end - p);
		if (!line_end || line_end + 1 == end || line_end[1] != '\n')
			return err_set(e, ERR_INVALID_ARGUMENT, "a header field holds a bare CR");
		if (line_end == p)
			return conclude(h, e);
		if (++fields > HTTP_FIELDS_MAX)
			return err_set(e, ERR_HEADERS_TOO_LARGE, "the request has more than %d header fields", HTTP_FIELDS_MAX);
		if (parse_field(p, line_end, h, e) < 0)
			return -1;
	}
	return err_set(e, ERR_INVALID_ARGUMENT, "the request head does not end in an empty line");
}

/* ---- framing of the body ---- */

enum { CHUNK_SIZE, CHUNK_EXTENSION, CHUNK_SIZE_LF, CHUNK_DATA, CHUNK_DATA_CR, CHUNK_DATA_LF,
	TRAILER_START, TRAILER_LINE,
	TRAILER_LF, LAST_LF };

void http_body_init(struct http_body *b, const struct http_head *h)
{
	*b = (struct http_body){.chunked = h->chunked, .left = h->content_length};
	b->ended = !h->chunked && !h->content_length;
}

static int chunk_size_byte(struct http_body *b, char c, struct err *e)
{
	int digit = text_hex_value(c);

	if (++b->line > HTTP_CHUNK_LINE_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT, "the size line of a chunk is longer than %d bytes",
			HTTP_CHUNK_LINE_MAX);
	if (b->state == CHUNK_SIZE && digit >= 0) {
		if (b->left >> 56)
			return err_set(e, ERR_INVALID_ARGUMENT, "the size of a chunk is not a number that can be");
		b->left = b->left << 4 | digit;
		return 0;
	}
	if (b->line == 1)
		return err_set(e, ERR_INVALID_ARGUMENT, "a chunk does not start with its size in hex digits");
	if (c == '\r')
		b->state = CHUNK_SIZE_LF;
	else if (b->state == CHUNK_EXTENSION ? is_field_char(c) : c == ';')
		b->state = CHUNK_EXTENSION;
	else
		return err_set(e, ERR_INVALID_ARGUMENT, "the size line of a chunk holds a byte that does not belong there");
	return 0;
}

static int trailer_byte(struct http_body *b, char c, struct err *e)
{
	if (++b->trailer > HTTP_TRAILER_MAX)
		return err_set(e, ERR_HEADERS_TOO_LARGE, "the trailers are larger than %d bytes", HTTP_TRAILER_MAX);
	if (c == '\r')
		b->state = b->state == TRAILER_START ? LAST_LF : TRAILER_LF;
	else if (is_field_char(c))
		b->state = TRAILER_LINE;
	else
		return err_set(e, ERR_INVALID_ARGUMENT, "a trailer holds a control character");
	return 0;
}

static int expect_byte(struct http_body *b, char c, char want, int next, struct err *e)
{
	if (c != want)
		return err_set(e, ERR_INVALID_ARGUMENT, "the chunked framing of the body is broken");
	b->state = next;
	return 0;
}

static int chunk_byte(struct http_body *b, char c, struct err *e)
{
	int result;

	switch (b->state) {
	case CHUNK_SIZE:
	case CHUNK_EXTENSION:
		return chunk_size_byte(b, c, e);
	case CHUNK_SIZE_LF:
		return expect_byte(b, c, '\n', b->left ? CHUNK_DATA : TRAILER_START, e);
	case CHUNK_DATA_CR:
		return expect_byte(b, c, '\r', CHUNK_DATA_LF, e);
	case CHUNK_DATA_LF:
		b->line = 0;
		return expect_byte(b, c, '\n', CHUNK_SIZE, e);
	case TRAILER_START:
	case TRAILER_LINE:
		return trailer_byte(b, c, e);
	case TRAILER_LF:
		return expect_byte(b, c, '\n', TRAILER_START, e);
	default: /* LAST_LF */
		result = expect_byte(b, c, '\n', LAST_LF, e);
		b->ended = !result;
		return result;
	}
}

enum http_body_step http_body_next(struct http_body *b, const char *p, size_t n, size_t *used, struct err *e)
{
	*used = 0;
	while (!b->ended) {
		if (b->chunked ? b->state == CHUNK_DATA : b->left > 0)
			return *used < n ? HTTP_BODY_DATA : HTTP_BODY_MORE;
		if (*used == n)
			return HTTP_BODY_MORE;
		if (chunk_byte(b, p[(*used)++], e) < 0)
			return HTTP_BODY_BAD;
	}
	return HTTP_BODY_END;
}

void http_body_took(struct http_body *b, size_t n)
{
	b->left -= n;
	if (b->left)
		return;
	if (b->chunked)
		b->state = CHUNK_DATA_CR;
	else
		b->ended = true;
}
