/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/record_stream.h"

#include "libsh/base/mem.h"

enum {
	VARINT_BYTES_MAX = 5,
	WINDOW_BYTES_MIN = 16 << 10,
	WINDOW_BYTES_START_MAX = 120 << 10,
	/*
	 * Honest data can shrink a thousandfold (equal records in a row), so small batches may grow to
	 * RATIO_FREE_BYTES whatever they are; above that no honest producer passes the ratio.
	 */
	RATIO_MAX = 1024,
	RATIO_FREE_BYTES = 16 << 20,
};

size_t record_stream_cap(size_t n, size_t max_raw_bytes)
{
	size_t cap = n * RATIO_MAX;

	if (cap < RATIO_FREE_BYTES)
		cap = RATIO_FREE_BYTES;
	if (cap > BATCH_MAX_RAW_BYTES)
		cap = BATCH_MAX_RAW_BYTES;
	return max_raw_bytes && cap > max_raw_bytes ? max_raw_bytes : cap;
}

int record_stream_open(struct record_stream *s, const void *batch, size_t size, const struct batch_header *h,
	size_t max_raw_bytes, struct err *e)
{
	const uint8_t *records = (const uint8_t *)batch + BATCH_HEADER_BYTES;
	size_t n = size - BATCH_HEADER_BYTES;

	*s = (struct record_stream){records, records + n, NULL, NULL, 0};
	if (batch_codec(h) == CODEC_NONE)
		return 0;
	s->more = decompressor_new(batch_codec(h), records, n, record_stream_cap(size, max_raw_bytes), e);
	if (!s->more)
		return -1;
	s->window_bytes = n < WINDOW_BYTES_MIN / 8 ? WINDOW_BYTES_MIN : n * 8;
	if (s->window_bytes > WINDOW_BYTES_START_MAX)
		s->window_bytes = WINDOW_BYTES_START_MAX;
	s->window = mem_alloc(s->window_bytes);
	s->p = s->end = s->window;
	return 0;
}

void record_stream_close(struct record_stream *s)
{
	decompressor_free(s->more);
	mem_free(s->window);
	*s = (struct record_stream){0};
}

/* Bring the bytes not read yet to the front of the window, and double it when it is full of them. */
static void make_room(struct record_stream *s)
{
	size_t left = (size_t)(s->end - s->p);

	if (s->p > s->window) {
		memmove(s->window, s->p, left);
	} else if (left == s->window_bytes) {
		s->window_bytes *= 2;
		s->window = mem_realloc(s->window, s->window_bytes);
	}
	s->p = s->window;
	s->end = s->window + left;
}

/* Decompress until `need` bytes are there or there are no more. */
static int fill(struct record_stream *s, size_t need, struct err *e)
{
	while ((size_t)(s->end - s->p) < need && s->more) {
		ptrdiff_t n;

		make_room(s);
		n = decompressor_read(s->more, s->window + (s->end - s->window),
			s->window_bytes - (size_t)(s->end - s->window), e);
		if (n < 0)
			return -1;
		if (n == 0) {
			decompressor_free(s->more);
			s->more = NULL;
		}
		s->end += n;
	}
	return 0;
}

/* One or two bytes are the rule: how many, and what they hold, or 0 for all else. */
static inline size_t get_short(const uint8_t *p, const uint8_t *end, int32_t *value)
{
	uint32_t v;
	size_t used = 1;

	if (__builtin_expect(p == end, 0))
		return 0;
	v = p[0];
	if (v >= 0x80) {
		if (__builtin_expect(end - p < 2 || p[1] >= 0x80, 0))
			return 0;
		v = (v & 0x7f) | (uint32_t)p[1] << 7;
		used = 2;
	}
	*value = (int32_t)(v >> 1 ^ (0u - (v & 1)));
	return used;
}

static inline size_t get_int(const uint8_t *p, const uint8_t *end, int32_t *value)
{
	size_t used = get_short(p, end, value);

	return __builtin_expect(used != 0, 1) ? used : varint_get(p, end, value);
}

static inline size_t get_long(const uint8_t *p, const uint8_t *end, int64_t *value)
{
	int32_t v;
	size_t used = get_short(p, end, &v);

	if (__builtin_expect(!used, 0))
		return varlong_get(p, end, value);
	*value = v;
	return used;
}

/* A length and as many bytes; length -1 is null. Returns what is behind, or NULL when it does not fit. */
static inline const uint8_t *get_bytes(const uint8_t *p, const uint8_t *end, struct bytes *out)
{
	int32_t len;
	size_t used = get_int(p, end, &len);

	if (!used || len < -1)
		return NULL;
	p += used;
	if (len == -1) {
		*out = (struct bytes){NULL, 0};
		return p;
	}
	if (len > end - p)
		return NULL;
	*out = (struct bytes){p, (size_t)len};
	return p + len;
}

/* The headers must fill the record to its end. */
static const char *check_headers(const struct record_fields *r)
{
	const uint8_t *p = r->headers.data, *end = p + r->headers.len;

	if (r->header_count < 0 || r->header_count > end - p)
		return "its number of headers cannot be";
	for (int32_t i = 0; i < r->header_count; i++) {
		struct bytes key, value;

		p = get_bytes(p, end, &key);
		if (!p || !key.data)
			return "the name of a header does not fit";
		p = get_bytes(p, end, &value);
		if (!p)
			return "the value of a header does not fit";
	}
	return p == end ? NULL : "it is longer than what it holds";
}

/* The body of a record as far as its key; *at moves behind that. Returns what is wrong, or NULL. */
static inline const char *parse_key(const uint8_t **at, const uint8_t *end, struct record_fields *r)
{
	const uint8_t *p = *at;
	size_t used;

	if (p == end)
		return "it is empty";
	p++; /* attributes: none are defined */
	used = get_long(p, end, &r->timestamp_delta);
	if (!used)
		return "its timestamp does not fit";
	p += used;
	used = get_int(p, end, &r->offset_delta);
	if (!used)
		return "its offset does not fit";
	*at = get_bytes(p + used, end, &r->key);
	return *at ? NULL : "its key does not fit";
}

/* The body of a record, without its length. Returns what is wrong, or NULL. */
static inline const char *parse(const uint8_t *p, const uint8_t *end, struct record_fields *r)
{
	const char *wrong = parse_key(&p, end, r);
	size_t used;

	if (wrong)
		return wrong;
	p = get_bytes(p, end, &r->value);
	if (!p)
		return "its value does not fit";
	used = get_int(p, end, &r->header_count);
	if (!used)
		return "its number of headers does not fit";
	r->headers = (struct bytes){p + used, (size_t)(end - p) - used};
	if (__builtin_expect(!r->header_count && !r->headers.len, 1))
		return NULL;
	return check_headers(r);
}

static int damaged(struct err *e, int32_t index, const char *why)
{
	return err_set(e, ERR_CORRUPT_BATCH, "record %d: %s", index, why);
}

/* The body of the next record, which is there whole, up to *end; NULL when there is none. */
static inline const uint8_t *next_body(struct record_stream *s, int32_t index, const uint8_t **end, struct err *e)
{
	int32_t len;
	size_t used;

	*end = NULL;
	if (s->more && s->end - s->p < VARINT_BYTES_MAX && fill(s, VARINT_BYTES_MAX, e) < 0)
		return NULL;
	if (s->p == s->end) {
		damaged(e, index, "the batch ends before it, though its header counts more");
		return NULL;
	}
	used = get_int(s->p, s->end, &len);
	if (!used || len < 0) {
		damaged(e, index, "its length cannot be");
		return NULL;
	}
	if (s->more && fill(s, used + (size_t)len, e) < 0)
		return NULL;
	if ((size_t)len > (size_t)(s->end - s->p) - used) {
		damaged(e, index, "it is longer than the rest of the batch");
		return NULL;
	}
	*end = s->p + used + len;
	return s->p + used;
}

int record_stream_next(struct record_stream *s, int32_t index, struct record_fields *r, struct err *e)
{
	const uint8_t *end, *body = next_body(s, index, &end, e);
	const char *wrong;

	if (!body)
		return -1;
	wrong = parse(body, end, r);
	if (wrong)
		return damaged(e, index, wrong);
	s->p = end;
	return 0;
}

int record_stream_next_key(struct record_stream *s, int32_t index, struct record_fields *r, struct err *e)
{
	const uint8_t *end, *body = next_body(s, index, &end, e);
	const char *wrong;

	if (!body)
		return -1;
	wrong = parse_key(&body, end, r);
	if (wrong)
		return damaged(e, index, wrong);
	s->p = end;
	return 0;
}

int record_stream_finish(struct record_stream *s, struct err *e)
{
	if (fill(s, 1, e) < 0)
		return -1;
	if (s->p != s->end)
		return err_set(e, ERR_CORRUPT_BATCH, "the batch goes on behind its last record");
	return 0;
}
