/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "libsh/base/bytes.h"
#include "libsh/base/mem.h"

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_digits[] = "0123456789abcdef";

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int text_parse_int(const char *text, int64_t min, int64_t max, const char *what, int64_t *out, struct err *e)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (!is_digit(text[text[0] == '-']) || *end)
		return err_set(e, ERR_INVALID_ARGUMENT, "%s: '%.64s' is not a number", what, text);
	if (errno == ERANGE || value < min || value > max)
		return err_set(e, ERR_INVALID_ARGUMENT, "%s: %.64s is not from %" PRId64 " to %" PRId64, what,
			text, min, max);
	*out = value;
	return 0;
}

/* The power of 1024 of a unit such as "k", "MB" or "GiB"; -1 when it is none. */
static int size_unit(const char *unit)
{
	static const char letters[] = "kmgt";
	const char *letter;
	int power = 0;

	if (*unit && (letter = strchr(letters, *unit | 0x20))) {
		power = (int)(letter - letters) + 1;
		unit++;
		if (*unit == 'i' && unit[1])
			unit++;
	}
	if (*unit == 'b' || *unit == 'B')
		unit++;
	return *unit ? -1 : power;
}

int text_parse_size(const char *text, int64_t *bytes, struct err *e)
{
	char *end;
	long long value;
	int power;

	errno = 0;
	value = strtoll(text, &end, 10);
	power = is_digit(*text) && errno == 0 ? size_unit(end) : -1;
	if (power < 0 || __builtin_mul_overflow(value, INT64_C(1) << (10 * power), &value)) {
		err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' is not a size", text);
		return err_hint(e, "write it as 1048576, 64k, 16M, 1G or 2T");
	}
	*bytes = value;
	return 0;
}

int text_parse_bool(const char *text, bool *out, struct err *e)
{
	static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};

	for (size_t i = 0; i < array_count(words); i++)
		for (int value = 0; value < 2; value++)
			if (text_equal_nocase(text, words[i][value])) {
				*out = value;
				return 0;
			}
	return err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' is neither true nor false", text);
}

const char *text_format_size(int64_t bytes, char *out)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t unit = 0;

	while ((value >= 1024 || value <= -1024) && unit + 1 < array_count(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(out, 16, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return out;
}

const char *text_plural(int64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

/* Length of the UTF-8 sequence at p, 0 when it is none (RFC 3629, table 3-7 of Unicode). */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t len;

	if (*p < 0x80)
		return 1;
	if (*p < 0xc2 || *p > 0xf4)
		return 0;
	len = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	if (*p == 0xe0)
		low = 0xa0; /* shorter forms exist below */
	else if (*p == 0xed)
		high = 0x9f; /* surrogates */
	else if (*p == 0xf0)
		low = 0x90;
	else if (*p == 0xf4)
		high = 0x8f; /* past U+10FFFF */
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool text_is_utf8(const void *data, size_t n)
{
	const uint8_t *p = data, *end = p + n;

	while (p < end) {
		size_t len;

		while (end - p >= 8 && !(get_le64(p) & 0x8080808080808080))
			p += 8;
		if (p == end)
			break;
		len = utf8_sequence(p, (size_t)(end - p));
		if (!len)
			return false;
		p += len;
	}
	return true;
}

int text_base64_encode(struct buf *out, const void *data, size_t n)
{
	const uint8_t *p = data;
	size_t len = (n + 2) / 3 * 4;
	char *at;

	if (n > SIZE_MAX / 2 || buf_reserve(out, len) < 0)
		return -1;
	at = out->data + out->len;
	for (; n; p += 3, at += 4) {
		uint32_t v = (uint32_t)p[0] << 16 | (n > 1 ? (uint32_t)p[1] << 8 : 0) | (n > 2 ? p[2] : 0);

		at[0] = base64_digits[v >> 18];
		at[1] = base64_digits[v >> 12 & 63];
		at[2] = n > 1 ? base64_digits[v >> 6 & 63] : '=';
		at[3] = n > 2 ? base64_digits[v & 63] : '=';
		n -= n > 2 ? 3 : n;
	}
	buf_grew(out, len);
	return 0;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters to `bytes` (1 to 3) bytes; the bits that padding leaves over must be zero. */
static int base64_group(const char *s, size_t bytes, uint8_t *out)
{
	uint32_t v = 0;

	for (size_t i = 0; i < 4; i++) {
		int digit = i <= bytes ? base64_value(s[i]) : 0;

		if (digit < 0)
			return -1;
		v = v << 6 | (uint32_t)digit;
	}
	if (bytes < 3 && (v & ((1u << (8 * (3 - bytes))) - 1)))
		return -1;
	for (size_t i = 0; i < bytes; i++)
		out[i] = (uint8_t)(v >> (16 - 8 * i));
	return 0;
}

int text_base64_decode(struct buf *out, const char *s, size_t n)
{
	size_t padding = 0, len;
	uint8_t *at;

	if (n % 4)
		return -1;
	if (n && s[n - 1] == '=')
		padding = s[n - 2] == '=' ? 2 : 1;
	len = n / 4 * 3 - padding;
	if (buf_reserve(out, len) < 0)
		return -1;
	at = (uint8_t *)out->data + out->len;
	for (size_t i = 0; i < n; i += 4, at += 3)
		if (base64_group(s + i, i + 4 == n ? 3 - padding : 3, at) < 0) {
			out->data[out->len] = '\0';
			return -1;
		}
	buf_grew(out, len);
	return 0;
}

int text_hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int text_hex_encode(struct buf *out, const void *data, size_t n)
{
	const uint8_t *p = data;
	char *at;

	if (n > SIZE_MAX / 2 || buf_reserve(out, 2 * n) < 0)
		return -1;
	at = out->data + out->len;
	for (size_t i = 0; i < n; i++) {
		*at++ = hex_digits[p[i] >> 4];
		*at++ = hex_digits[p[i] & 15];
	}
	buf_grew(out, 2 * n);
	return 0;
}

int text_hex_decode(struct buf *out, const char *s, size_t n)
{
	if (n % 2 || buf_reserve(out, n / 2) < 0)
		return -1;
	for (size_t i = 0; i < n; i += 2) {
		int high = text_hex_value(s[i]), low = text_hex_value(s[i + 1]);

		if (high < 0 || low < 0) {
			out->data[out->len] = '\0';
			return -1;
		}
		out->data[out->len + i / 2] = (char)(high << 4 | low);
	}
	buf_grew(out, n / 2);
	return 0;
}

static bool is_url_safe(char c)
{
	return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c && strchr("-._~", c));
}

int text_url_encode(struct buf *out, const char *s, size_t n)
{
	size_t before = out->len;

	for (size_t i = 0; i < n; i++) {
		uint8_t c = (uint8_t)s[i];
		char escaped[3] = {'%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15]};

		if (is_url_safe(s[i]) ? buf_addc(out, s[i]) < 0 : buf_add(out, escaped, 3) < 0) {
			buf_truncate(out, before);
			return -1;
		}
	}
	return 0;
}

int text_url_decode(struct buf *out, const char *s, size_t n, bool plus_is_space)
{
	size_t before = out->len;

	for (size_t i = 0; i < n; i++) {
		char c = s[i] == '+' && plus_is_space ? ' ' : s[i];

		if (c == '%') {
			int high = n - i > 2 ? text_hex_value(s[i + 1]) : -1;
			int low = high < 0 ? -1 : text_hex_value(s[i + 2]);

			if (low < 0)
				goto bad;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (buf_addc(out, c) < 0)
			goto bad;
	}
	return 0;
bad:
	buf_truncate(out, before);
	return -1;
}

static size_t json_escape(uint8_t c, char out[6])
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	out[0] = '\\';
	for (const char *s = shorts; *s; s += 2)
		if ((uint8_t)*s == c) {
			out[1] = s[1];
			return 2;
		}
	memcpy(out + 1, "u00", 3);
	out[4] = hex_digits[c >> 4];
	out[5] = hex_digits[c & 15];
	return 6;
}

int text_json_string(struct buf *out, const void *data, size_t n)
{
	const uint8_t *p = data, *end = p + n;
	size_t before = out->len;
	char escape[6];

	buf_addc(out, '"');
	while (p < end) {
		const uint8_t *plain = p;

		while (p < end && *p >= 0x20 && *p != '"' && *p != '\\' && *p != 0x7f)
			p++;
		buf_add(out, plain, (size_t)(p - plain));
		if (p < end)
			buf_add(out, escape, json_escape(*p++, escape));
	}
	if (buf_addc(out, '"') == 0)
		return 0;
	buf_truncate(out, before);
	return -1;
}

bool text_glob(const char *pattern, const char *text)
{
	const char *star = NULL, *retry = NULL;

	while (*text) {
		if (*pattern == '*') {
			star = ++pattern; /* only the last star ever needs to try again */
			retry = text;
		} else if (*pattern && (*pattern == '?' || *pattern == *text)) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star;
			text = ++retry;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

bool text_ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && !strcmp(text + n - m, end);
}

char *text_trim(char *text)
{
	static const char blank[] = " \t\r\n";
	size_t n;

	text += strspn(text, blank);
	n = strlen(text);
	while (n && strchr(blank, text[n - 1]))
		text[--n] = '\0';
	return text;
}

bool text_equal_nocase(const char *a, const char *b)
{
	return strcasecmp(a, b) == 0;
}
