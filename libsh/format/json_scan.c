/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/json_scan.h"

#include "libsh/base/text.h"

void json_scan_init(struct json_scan *s, const char *text, size_t n, struct arena *a)
{
	*s = (struct json_scan){text, text, text + n, a, false, false};
}

int json_scan_error(const struct json_scan *s, struct err *e, const char *text)
{
	return err_set(e, ERR_BAD_DATA, "column %zu: %s", (size_t)(s->at - s->start) + 1, text);
}

static int ends_early(struct json_scan *s, struct err *e)
{
	s->incomplete = true;
	return json_scan_error(s, e, "the JSON text ends too early");
}

static void skip_space(struct json_scan *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
		s->at++;
}

enum json_kind json_scan_kind(struct json_scan *s)
{
	skip_space(s);
	if (s->at == s->end)
		return JSON_NONE;
	switch (*s->at) {
	case '"':
		return JSON_STRING;
	case '{':
		return JSON_OBJECT;
	case '[':
		return JSON_ARRAY;
	case 'n':
		return JSON_NULL;
	case 't':
	case 'f':
		return JSON_BOOL;
	default:
		return *s->at == '-' || (*s->at >= '0' && *s->at <= '9') ? JSON_NUMBER : JSON_NONE;
	}
}

/* The next character must be c. */
static int take(struct json_scan *s, char c, const char *complaint, struct err *e)
{
	skip_space(s);
	if (s->at == s->end)
		return ends_early(s, e);
	if (*s->at != c)
		return json_scan_error(s, e, complaint);
	s->at++;
	return 0;
}

int json_scan_open(struct json_scan *s, enum json_kind kind, struct err *e)
{
	if (take(s, kind == JSON_OBJECT ? '{' : '[',
		    kind == JSON_OBJECT ? "expected an object" : "expected an array", e))
		return -1;
	s->first = true;
	return 0;
}

/* The comma between two entries, or the closing bracket: 1, 0, -1. */
static int next_entry(struct json_scan *s, char closing, struct err *e)
{
	bool first = s->first;

	s->first = false;
	skip_space(s);
	if (s->at == s->end)
		return ends_early(s, e);
	if (*s->at == closing) {
		s->at++;
		return 0;
	}
	if (first)
		return 1;
	return take(s, ',', "expected a comma or a closing bracket", e) ? -1 : 1;
}

int json_scan_member(struct json_scan *s, struct bytes *name, struct err *e)
{
	int more = next_entry(s, '}', e);

	if (more <= 0)
		return more;
	if (json_scan_string(s, name, e) || take(s, ':', "expected a colon", e))
		return -1;
	return 1;
}

int json_scan_element(struct json_scan *s, struct err *e)
{
	return next_entry(s, ']', e);
}

static int hex4(const char *p, unsigned *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++) {
		char c = p[i], lower = (char)(c | 0x20);

		if (c >= '0' && c <= '9')
			*out = *out << 4 | (unsigned)(c - '0');
		else if (lower >= 'a' && lower <= 'f')
			*out = *out << 4 | (unsigned)(lower - 'a' + 10);
		else
			return -1;
	}
	return 0;
}

static char *put_utf8(char *to, unsigned code)
{
	if (code < 0x80) {
		*to++ = (char)code;
	} else if (code < 0x800) {
		*to++ = (char)(0xc0 | code >> 6);
		*to++ = (char)(0x80 | (code & 0x3f));
	} else if (code < 0x10000) {
		*to++ = (char)(0xe0 | code >> 12);
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
		*to++ = (char)(0x80 | (code & 0x3f));
	} else {
		*to++ = (char)(0xf0 | code >> 18);
		*to++ = (char)(0x80 | (code >> 12 & 0x3f));
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
		*to++ = (char)(0x80 | (code & 0x3f));
	}
	return to;
}

/* s->at is behind a backslash; the closing quote is known to exist before `close`. Writes at most 4 bytes for
 * 6 or 12 read. */
static int unescape(struct json_scan *s, const char *close, char **to, struct err *e)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *found = *s->at ? strchr(from, *s->at) : NULL;
	unsigned code, low;

	if (found) {
		*(*to)++ = into[found - from];
		s->at++;
		return 0;
	}
	if (*s->at != 'u' || close - s->at < 5 || hex4(s->at + 1, &code))
		return json_scan_error(s, e, "bad escape in a string");
	s->at += 5;
	if (code >= 0xd800 && code < 0xdc00) {
		if (close - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u' || hex4(s->at + 2, &low) ||
			low < 0xdc00 || low > 0xdfff)
			return json_scan_error(s, e, "half a surrogate pair in a string");
		s->at += 6;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	} else if (code >= 0xdc00 && code < 0xe000) {
		return json_scan_error(s, e, "half a surrogate pair in a string");
	}
	*to = put_utf8(*to, code);
	return 0;
}

/* Find the closing quote; says whether there were escapes. */
static const char *find_close(struct json_scan *s, bool *escapes, struct err *e)
{
	const char *p = s->at;

	*escapes = false;
	for (; p < s->end; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '"')
			return p;
		if (c == '\\') {
			*escapes = true;
			if (++p == s->end)
				break;
		} else if (c < 0x20) {
			s->at = p;
			json_scan_error(s, e, "control character in a string");
			return NULL;
		}
	}
	s->at = s->end;
	ends_early(s, e);
	return NULL;
}

int json_scan_string(struct json_scan *s, struct bytes *out, struct err *e)
{
	bool escapes;
	const char *close;
	char *text, *to;

	if (take(s, '"', "expected a string", e))
		return -1;
	close = find_close(s, &escapes, e);
	if (!close)
		return -1;
	if (!text_is_utf8(s->at, (size_t)(close - s->at)))
		return json_scan_error(s, e, "a string is not valid UTF-8");
	if (!escapes) {
		*out = (struct bytes){(const uint8_t *)s->at, (size_t)(close - s->at)};
		s->at = close + 1;
		return 0;
	}
	text = to = arena_alloc(s->arena, (size_t)(close - s->at));
	while (s->at < close) {
		const char *escape = memchr(s->at, '\\', (size_t)(close - s->at));
		size_t plain = (size_t)((escape ? escape : close) - s->at);

		memcpy(to, s->at, plain);
		to += plain;
		s->at += plain;
		if (!escape)
			break;
		s->at++;
		if (unescape(s, close, &to, e))
			return -1;
	}
	s->at = close + 1;
	*out = (struct bytes){(const uint8_t *)text, (size_t)(to - text)};
	return 0;
}

static bool is_digit(const struct json_scan *s, const char *p)
{
	return p < s->end && *p >= '0' && *p <= '9';
}

/* Past a number as RFC 8259 spells it; NULL when it is none. */
static const char *number_end(const struct json_scan *s, bool *whole)
{
	const char *p = s->at;

	*whole = true;
	p += p < s->end && *p == '-';
	if (!is_digit(s, p))
		return NULL;
	if (*p == '0')
		p++;
	else
		while (is_digit(s, p))
			p++;
	if (p < s->end && *p == '.') {
		*whole = false;
		if (!is_digit(s, ++p))
			return NULL;
		while (is_digit(s, p))
			p++;
	}
	if (p < s->end && (*p | 0x20) == 'e') {
		*whole = false;
		p++;
		p += p < s->end && (*p == '+' || *p == '-');
		if (!is_digit(s, p))
			return NULL;
		while (is_digit(s, p))
			p++;
	}
	return p;
}

int json_scan_int(struct json_scan *s, int64_t *out, struct err *e)
{
	const char *end, *p;
	bool whole, negative;
	int64_t value = 0;

	if (json_scan_kind(s) != JSON_NUMBER)
		return json_scan_error(s, e, "expected a number");
	end = number_end(s, &whole);
	if (!end || !whole)
		return json_scan_error(s, e, "expected a whole number");
	negative = *s->at == '-';
	for (p = s->at + negative; p < end; p++) /* downwards, as the negative range is the larger one */
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_sub_overflow(value, *p - '0', &value))
			return json_scan_error(s, e, "the number is too large");
	if (!negative && value == INT64_MIN)
		return json_scan_error(s, e, "the number is too large");
	*out = negative ? value : -value;
	s->at = end;
	return 0;
}

static int take_word(struct json_scan *s, const char *word, struct err *e)
{
	size_t len = strlen(word), left;

	skip_space(s);
	left = (size_t)(s->end - s->at);
	if (left < len && !memcmp(s->at, word, left))
		return ends_early(s, e);
	if (left < len || memcmp(s->at, word, len))
		return json_scan_error(s, e, "expected a value");
	s->at += len;
	return 0;
}

int json_scan_null(struct json_scan *s, struct err *e)
{
	return take_word(s, "null", e);
}

static int skip_value(struct json_scan *s, int depth, struct err *e)
{
	enum json_kind kind = json_scan_kind(s);
	struct bytes text;
	const char *end;
	bool whole;
	int more;

	switch (kind) {
	case JSON_STRING:
		return json_scan_string(s, &text, e);
	case JSON_NULL:
		return take_word(s, "null", e);
	case JSON_BOOL:
		return take_word(s, *s->at == 't' ? "true" : "false", e);
	case JSON_NUMBER:
		end = number_end(s, &whole);
		if (!end)
			return json_scan_error(s, e, "bad number");
		s->at = end;
		return 0;
	case JSON_ARRAY:
	case JSON_OBJECT:
		if (depth >= JSON_SCAN_DEPTH_MAX)
			return json_scan_error(s, e, "the JSON text is nested too deeply");
		if (json_scan_open(s, kind, e))
			return -1;
		while ((more = kind == JSON_OBJECT ? json_scan_member(s, &text, e)
						   : json_scan_element(s, e)) > 0)
			if (skip_value(s, depth + 1, e))
				return -1;
		return more;
	case JSON_NONE:
		break;
	}
	return s->at == s->end ? ends_early(s, e) : json_scan_error(s, e, "expected a value");
}

int json_scan_skip(struct json_scan *s, struct bytes *raw, struct err *e)
{
	const char *start;

	skip_space(s);
	start = s->at;
	if (skip_value(s, 0, e))
		return -1;
	if (raw)
		*raw = (struct bytes){(const uint8_t *)start, (size_t)(s->at - start)};
	return 0;
}

int json_scan_end(struct json_scan *s, struct err *e)
{
	skip_space(s);
	return s->at == s->end ? 0 : json_scan_error(s, e, "something follows the JSON value");
}
