/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/run/pack.h"

#include <string.h>

static size_t fixed_size(enum pack_type type)
{
	switch (type) {
	case PACK_U8:
		return 1;
	case PACK_U16:
		return 2;
	case PACK_U32:
	case PACK_I32:
		return 4;
	case PACK_U64:
	case PACK_I64:
		return 8;
	case PACK_UUID:
		return sizeof(struct uuid);
	default:
		return 0; /* has a length in front */
	}
}

static void write_run(struct buf *out, const void *p, size_t n)
{
	if (n > UINT32_MAX) {
		out->overflow = true;
		return;
	}
	buf_add_le32(out, (uint32_t)n);
	if (n)
		buf_add(out, p, n);
}

static void write_field(struct buf *out, const struct pack_field *f, const void *s)
{
	const void *m = (const char *)s + f->offset;
	const char *text;
	const struct bytes *b;

	switch (f->type) {
	case PACK_U8:
		buf_add_u8(out, *(const uint8_t *)m);
		break;
	case PACK_U16:
		buf_add_le16(out, *(const uint16_t *)m);
		break;
	case PACK_U32:
	case PACK_I32:
		buf_add_le32(out, *(const uint32_t *)m);
		break;
	case PACK_U64:
	case PACK_I64:
		buf_add_le64(out, *(const uint64_t *)m);
		break;
	case PACK_UUID:
		buf_add(out, m, sizeof(struct uuid));
		break;
	case PACK_STR:
		text = *(const char *const *)m;
		write_run(out, text, text ? strlen(text) : 0);
		break;
	case PACK_BYTES:
		b = m;
		write_run(out, b->data, b->len);
		break;
	case PACK_END:
		break;
	}
}

int pack_write(struct buf *out, const struct pack_field *fields, const void *s)
{
	size_t before = out->len;

	for (; fields->type != PACK_END; fields++)
		write_field(out, fields, s);
	if (out->overflow) {
		buf_truncate(out, before);
		return -1;
	}
	return 0;
}

static void read_fixed(const struct pack_field *f, void *m, const uint8_t *p)
{
	switch (f->type) {
	case PACK_U8:
		*(uint8_t *)m = *p;
		break;
	case PACK_U16:
		*(uint16_t *)m = get_le16(p);
		break;
	case PACK_U32:
	case PACK_I32:
		*(uint32_t *)m = get_le32(p);
		break;
	case PACK_U64:
	case PACK_I64:
		*(uint64_t *)m = get_le64(p);
		break;
	default:
		memcpy(m, p, sizeof(struct uuid));
		break;
	}
}

static int read_run(
	const struct pack_field *f, void *m, const uint8_t *p, size_t n, struct arena *a, struct err *e)
{
	if (f->type == PACK_BYTES) {
		*(struct bytes *)m = (struct bytes){p, n};
		return 0;
	}
	if (memchr(p, 0, n))
		return err_set(e, ERR_CORRUPT, "message field %s: text with a NUL byte", f->name);
	*(const char **)m = arena_strndup(a, (const char *)p, n);
	return 0;
}

static void clear_field(const struct pack_field *f, void *m)
{
	if (f->type == PACK_STR)
		*(const char **)m = "";
	else if (f->type == PACK_BYTES)
		*(struct bytes *)m = (struct bytes){NULL, 0};
	else
		memset(m, 0, fixed_size(f->type));
}

int pack_read(
	const struct pack_field *fields, void *s, const void *p, size_t n, struct arena *a, struct err *e)
{
	const uint8_t *at = p, *end = at + n;

	for (const struct pack_field *f = fields; f->type != PACK_END; f++) {
		void *m = (char *)s + f->offset;
		size_t size = fixed_size(f->type), left = (size_t)(end - at);

		if (!left) { /* an older sender's message ends here */
			clear_field(f, m);
			continue;
		}
		if (left < (size ? size : 4))
			return err_set(
				e, ERR_CORRUPT, "message field %s: ends after %zu bytes", f->name, left);
		if (size) {
			read_fixed(f, m, at);
			at += size;
			continue;
		}
		size = get_le32(at);
		at += 4;
		if (size > left - 4)
			return err_set(e, ERR_CORRUPT, "message field %s: says %zu bytes, %zu are there",
				f->name, size, left - 4);
		if (read_run(f, m, at, size, a, e))
			return -1;
		at += size;
	}
	return 0;
}

int pack_row_write(struct buf *out, const struct pack_field *fields, const void *s)
{
	size_t before = out->len;

	if (buf_add_le32(out, 0) || pack_write(out, fields, s)) {
		buf_truncate(out, before);
		return -1;
	}
	put_le32(out->data + before, (uint32_t)(out->len - before - 4));
	return 0;
}

int pack_row_next(struct bytes rows, size_t *pos, const struct pack_field *fields, void *s, struct arena *a,
	struct err *e)
{
	size_t left, size;

	if (*pos >= rows.len)
		return 0;
	left = rows.len - *pos;
	if (left < 4)
		return err_set(e, ERR_CORRUPT, "rows end in the middle of a length");
	size = get_le32(rows.data + *pos);
	if (size > left - 4)
		return err_set(e, ERR_CORRUPT, "a row says %zu bytes, %zu are there", size, left - 4);
	if (pack_read(fields, s, rows.data + *pos + 4, size, a, e))
		return -1;
	*pos += 4 + size;
	return 1;
}
