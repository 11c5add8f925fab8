/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/json_write.h"

#include <math.h>
#include <string.h>
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

static void separate(struct buf *b)
{
	char last = b->len ? b->data[b->len - 1] : '{';

	if (last != '{' && last != '[' && last != ':' && last != ',' && last != '\n')
		buf_addc(b, ',');
}

void json_write_open(struct buf *b, char bracket)
{
	separate(b);
	buf_addc(b, bracket);
}

void json_write_close(struct buf *b, char bracket)
{
	buf_addc(b, bracket);
}

void json_write_name(struct buf *b, const char *name)
{
	separate(b);
	buf_addc(b, '"');
	buf_adds(b, name);
	buf_add(b, "\":", 2);
}

void json_write_uint(struct buf *b, uint64_t n)
{
	char digits[20], *p = digits + sizeof(digits);

	separate(b);
	do
		*--p = (char)('0' + n % 10);
	while (n /= 10);
	buf_add(b, p, digits + sizeof(digits) - p);
}

void json_write_int(struct buf *b, int64_t n)
{
	if (n >= 0) {
		json_write_uint(b, n);
		return;
	}
	separate(b);
	buf_addf(b, "%lld", (long long)n);
}

void json_write_double(struct buf *b, double n)
{
	separate(b);
	if (isfinite(n))
		buf_addf(b, "%.6g", n);
	else
		buf_adds(b, "null");
}

void json_write_bool(struct buf *b, bool v)
{
	separate(b);
	buf_adds(b, v ? "true" : "false");
}

void json_write_null(struct buf *b)
{
	separate(b);
	buf_adds(b, "null");
}

void json_write_bytes(struct buf *b, const void *p, size_t n)
{
	char *copy;

	separate(b);
	if (text_is_utf8(p, n)) {
		text_json_string(b, p, n);
		return;
	}
	copy = mem_strndup(p, n);
	for (size_t i = 0; i < n; i++)
		if (copy[i] & 0x80)
			copy[i] = '?';
	text_json_string(b, copy, strlen(copy));
	mem_free(copy);
}

void json_write_string(struct buf *b, const char *s)
{
	if (s)
		json_write_bytes(b, s, strlen(s));
	else
		json_write_null(b);
}

void json_write_raw(struct buf *b, const char *json, size_t n)
{
	separate(b);
	buf_add(b, json, n);
}

void json_write_member_int(struct buf *b, const char *name, int64_t n)
{
	json_write_name(b, name);
	json_write_int(b, n);
}

void json_write_member_uint(struct buf *b, const char *name, uint64_t n)
{
	json_write_name(b, name);
	json_write_uint(b, n);
}

void json_write_member_string(struct buf *b, const char *name, const char *s)
{
	json_write_name(b, name);
	json_write_string(b, s);
}

void json_write_member_bool(struct buf *b, const char *name, bool v)
{
	json_write_name(b, name);
	json_write_bool(b, v);
}
