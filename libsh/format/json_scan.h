/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A scanner over one JSON text (RFC 8259) in memory: the caller walks through it once, asking for what it
 * expects; no tree is built. Strings without escapes point into the text, others into the arena. Strings must
 * be valid UTF-8 without lone surrogates. Errors are ERR_BAD_DATA and name the column.
 *
 *	json_scan_init(&s, text, n, &arena);
 *	if (json_scan_open(&s, JSON_OBJECT, e))
 *		return -1;
 *	while ((got = json_scan_member(&s, &name, e)) > 0)
 *		if (name is ...) json_scan_string(&s, &value, e) ... else json_scan_skip(&s, NULL, e);
 *	if (got < 0 || json_scan_end(&s, e)) return -1;
 */
#ifndef SH_FORMAT_JSON_SCAN_H
#define SH_FORMAT_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/bytes.h"
#include "libsh/base/err.h"
#include "libsh/base/mem.h"

enum { JSON_SCAN_DEPTH_MAX = 64 };
enum json_kind { JSON_NONE, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_scan {
	const char *start, *at, *end;
	struct arena *arena;
	bool first;      /* just after an opening bracket */
	bool incomplete; /* the error was that the text ended too early */
};

void json_scan_init(struct json_scan *s, const char *text, size_t n, struct arena *a);
/* What the next value is, by its first character; JSON_NONE when it cannot be one. */
enum json_kind json_scan_kind(struct json_scan *s);
/* Step into an array or object. */
int json_scan_open(struct json_scan *s, enum json_kind kind, struct err *e);
/* 1: the next member's name was read and its value stands next; 0: the object has closed. */
int json_scan_member(struct json_scan *s, struct bytes *name, struct err *e);
/* 1: an element stands next; 0: the array has closed. */
int json_scan_element(struct json_scan *s, struct err *e);
int json_scan_string(struct json_scan *s, struct bytes *out, struct err *e);
int json_scan_int(struct json_scan *s, int64_t *out, struct err *e); /* no fraction, no exponent */
int json_scan_null(struct json_scan *s, struct err *e);
/* Any value; raw (may be NULL) is its text. */
int json_scan_skip(struct json_scan *s, struct bytes *raw, struct err *e);
/* Only white space may be left. */
int json_scan_end(struct json_scan *s, struct err *e);
/* For the caller's own complaints: sets ERR_BAD_DATA "column N: text". */
int json_scan_error(const struct json_scan *s, struct err *e, const char *text);

static inline bool json_scan_is(const struct bytes *name, const char *text, size_t len)
{
	return name->len == len && !memcmp(name->data, text, len);
}
#define JSON_IS(name, literal) json_scan_is((name), (literal), sizeof(literal) - 1)

#endif
