/* SPDX-License-Identifier: Apache-2.0 */
/* Random records for property tests: binary keys, null and empty values, newlines, duplicate and null
 * headers. */
#ifndef SH_TESTS_RANDOM_RECORD_H
#define SH_TESTS_RANDOM_RECORD_H

#include <stdlib.h>
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"

struct random_source {
	unsigned seed;
	struct arena arena;
};

static inline unsigned random_below(struct random_source *s, unsigned n)
{
	return (unsigned)rand_r(&s->seed) % n;
}

enum random_kind { RANDOM_BINARY, RANDOM_TEXT, RANDOM_PLAIN /* letters only */ };

static inline struct bytes random_bytes(struct random_source *s, enum random_kind kind, bool nullable)
{
	static const char *const pieces[] = {"\n", "\t", "\"", "\\", "a", "key", "\r\n", "\xc3\xa4",
		"\xe2\x82\xac", "\xf0\x9f\x98\x80", " ", "null", "-", "{\"base64\":\"\"}", "\x01", ",", "]",
		"7f", "=="};
	struct bytes b = {NULL, 0};
	uint8_t *p;
	unsigned pieces_count = random_below(s, 12);

	if (nullable && !random_below(s, 6))
		return b;
	p = arena_alloc(&s->arena, 256);
	b.data = p;
	if (!random_below(s, 6))
		return b;
	if (kind == RANDOM_TEXT) {
		while (pieces_count--) {
			const char *piece = pieces[random_below(s, array_count(pieces))];

			memcpy(p + b.len, piece, strlen(piece));
			b.len += strlen(piece);
		}
		return b;
	}
	b.len = random_below(s, 40);
	for (size_t i = 0; i < b.len; i++)
		p[i] = (uint8_t)(kind == RANDOM_BINARY ? random_below(s, 256) : 'a' + random_below(s, 26));
	return b;
}

static inline struct record random_record(struct random_source *s, enum random_kind kind)
{
	struct record r = {
		.offset = random_below(s, 1000000), .timestamp = 1700000000000 + random_below(s, 1000000)};
	struct buf headers = BUF_INIT(1 << 16);
	unsigned count = random_below(s, 4);

	if (!random_below(s, 20))
		r.timestamp = -1;
	r.key = random_bytes(s, kind == RANDOM_BINARY && random_below(s, 2) ? RANDOM_TEXT : kind, true);
	r.value = random_bytes(s, kind == RANDOM_BINARY && random_below(s, 2) ? RANDOM_TEXT : kind, true);
	for (unsigned i = 0; i < count; i++) {
		struct bytes name = random_bytes(s, random_below(s, 2) ? RANDOM_BINARY : RANDOM_TEXT, false);

		record_headers_add(&headers, name, random_bytes(s, RANDOM_BINARY, true));
		r.header_count++;
		if (!random_below(s, 3)) { /* the same name again */
			record_headers_add(&headers, name, random_bytes(s, RANDOM_TEXT, true));
			r.header_count++;
		}
	}
	r.headers = (struct bytes){
		headers.len ? arena_dup(&s->arena, headers.data, headers.len) : NULL, headers.len};
	buf_release(&headers);
	return r;
}

static inline bool bytes_same(struct bytes a, struct bytes b)
{
	return !a.data == !b.data && a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

#endif
