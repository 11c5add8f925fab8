/* SPDX-License-Identifier: Apache-2.0 */
/* Text: numbers and sizes with errors, UTF-8, base64 (RFC 4648), hex, URL encoding, JSON strings, patterns. */
#ifndef SH_BASE_TEXT_H
#define SH_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

/* The whole of text must be a decimal number within the range. `what` names it in the error. */
int text_parse_int(const char *text, int64_t min, int64_t max, const char *what, int64_t *out, struct err *e);
/* A size: digits and an optional k, M, G, T (powers of 1024; either case, an optional B). */
int text_parse_size(const char *text, int64_t *bytes, struct err *e);
int text_parse_bool(const char *text, bool *out, struct err *e); /* true/false, yes/no, on/off, 1/0 */
/* "1.5 MiB"; out holds at least 16 bytes. */
const char *text_format_size(int64_t bytes, char *out);

/* The word for n things: text_plural(n, "record", "records"). */
const char *text_plural(int64_t n, const char *one, const char *many);

bool text_is_utf8(const void *p, size_t n); /* RFC 3629: no surrogates, no overlong forms */

int text_base64_encode(struct buf *out, const void *p, size_t n);
int text_base64_decode(struct buf *out, const char *s, size_t n); /* strict; -1 on malformed input */
int text_hex_value(char c); /* 0 to 15, either case; -1: not a hex digit */
int text_hex_encode(struct buf *out, const void *p, size_t n);
int text_hex_decode(struct buf *out, const char *s, size_t n);
int text_url_encode(struct buf *out, const char *s, size_t n);  /* leaves A-Z a-z 0-9 - . _ ~ */
int text_url_decode(struct buf *out, const char *s, size_t n, bool plus_is_space); /* -1 on bad % */
/* The bytes as a JSON string with its quotes; they must be UTF-8. */
int text_json_string(struct buf *out, const void *p, size_t n);

bool text_glob(const char *pattern, const char *text); /* * and ? */
bool text_equal_nocase(const char *a, const char *b);
bool text_ends_with(const char *text, const char *end);
char *text_trim(char *text); /* without blanks and line ends around it; in place */

#endif
