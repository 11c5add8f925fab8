/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "libsh/base/bytes.h"
#include "libsh/base/mem.h"

enum { BUF_ALLOC_MIN = 64 };

void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf)BUF_INIT(max_bytes);
}

void buf_release(struct buf *b)
{
	mem_free(b->data);
	buf_init(b, b->max);
}

void buf_release_secret(struct buf *b)
{
	if (b->data)
		explicit_bzero(b->data, b->alloc);
	buf_release(b);
}

void buf_reset(struct buf *b)
{
	buf_truncate(b, 0);
	b->overflow = false;
}

/* Grow to hold len + extra and the final NUL: doubling, but never past what the cap can need. */
static void grow(struct buf *b, size_t extra)
{
	size_t need = b->len + extra + 1;
	size_t alloc = b->alloc < BUF_ALLOC_MIN ? BUF_ALLOC_MIN : b->alloc * 2;

	if (alloc > b->max && b->max < SIZE_MAX)
		alloc = b->max + 1;
	if (alloc < need)
		alloc = need;
	b->data = mem_realloc(b->data, alloc);
	b->alloc = alloc;
}

int buf_reserve(struct buf *b, size_t extra)
{
	if (b->overflow || b->len > b->max || extra > b->max - b->len || extra >= SIZE_MAX - b->len) {
		b->overflow = true;
		return -1;
	}
	if (!b->data || extra >= b->alloc - b->len)
		grow(b, extra);
	b->data[b->len] = '\0';
	return 0;
}

void buf_grew(struct buf *b, size_t n)
{
	assert(n <= b->max - b->len);
	if (!n)
		return;
	assert(b->len + n < b->alloc);
	b->len += n;
	b->data[b->len] = '\0';
}

int buf_add(struct buf *b, const void *p, size_t n)
{
	if (buf_reserve(b, n) < 0)
		return -1;
	if (n)
		memcpy(b->data + b->len, p, n);
	buf_grew(b, n);
	return 0;
}

int buf_adds(struct buf *b, const char *s)
{
	return buf_add(b, s, strlen(s));
}

int buf_addc(struct buf *b, char c)
{
	return buf_add(b, &c, 1);
}

int buf_vaddf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int len;

	va_copy(again, ap);
	len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	assert(len >= 0);
	if (buf_reserve(b, (size_t)len) < 0)
		return -1;
	vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
	buf_grew(b, (size_t)len);
	return 0;
}

int buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = buf_vaddf(b, fmt, ap);
	va_end(ap);
	return rc;
}

void *buf_add_zeros(struct buf *b, size_t n)
{
	char *start;

	if (buf_reserve(b, n) < 0)
		return NULL;
	start = b->data + b->len;
	memset(start, 0, n);
	buf_grew(b, n);
	return start;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	if (!n)
		return;
	memmove(b->data, b->data + n, b->len - n);
	buf_truncate(b, b->len - n);
}

void buf_truncate(struct buf *b, size_t len)
{
	assert(len <= b->len);
	b->len = len;
	if (b->data)
		b->data[len] = '\0';
}

char *buf_detach(struct buf *b, size_t *len)
{
	char *data = b->data ? b->data : mem_zalloc(1);

	if (len)
		*len = b->len;
	buf_init(b, b->max);
	return data;
}

int buf_add_u8(struct buf *b, uint8_t v)
{
	return buf_add(b, &v, sizeof(v));
}

int buf_add_le16(struct buf *b, uint16_t v)
{
	uint8_t bytes[2];

	put_le16(bytes, v);
	return buf_add(b, bytes, sizeof(bytes));
}

int buf_add_le32(struct buf *b, uint32_t v)
{
	uint8_t bytes[4];

	put_le32(bytes, v);
	return buf_add(b, bytes, sizeof(bytes));
}

int buf_add_le64(struct buf *b, uint64_t v)
{
	uint8_t bytes[8];

	put_le64(bytes, v);
	return buf_add(b, bytes, sizeof(bytes));
}
