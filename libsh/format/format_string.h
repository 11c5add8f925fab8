/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Format strings of `streamctl consume -f` and `produce -f`: %t topic %p partition %o offset %T timestamp ms
 * %k key %v value %K %V their lengths (-1 for null) %h headers %% and \n \t \0 \xNN \\; modifiers %k{hex}
 * %v{base64} %v{json} %T{rfc3339}. %h prints the headers as the JSON array of ndjson.h; {hex} and {base64} print
 * null as "-". Which formats can be read back, and why, is at the top of format_string_read.c.
 */
#ifndef SH_FORMAT_FORMAT_STRING_H
#define SH_FORMAT_FORMAT_STRING_H

#include "libsh/base/buf.h"
#include "libsh/base/err.h"
#include "libsh/format/ndjson.h"

struct format_string;
struct format_string *format_string_parse(const char *text, struct err *e); /* ERR_USAGE names the part */
void format_string_free(struct format_string *f);
int format_string_write(const struct format_string *f, struct buf *out, const char *topic, int32_t partition,
	const struct record *r, struct err *e);
/* 0 if what the format writes reads back to the same bytes, or is refused there as ambiguous because a delimiter is in
 * the data; else ERR_USAGE naming the part. */
int format_string_check_invertible(const struct format_string *f, struct err *e);
/* Read one record from the front of data. Returns bytes used; 0: more input needed (with `last` it is an
 * error when anything is left); -1: does not fit (ERR_BAD_DATA names the part). Bytes may go to the arena. */
ptrdiff_t format_string_read(const struct format_string *f, const char *data, size_t n, bool last,
	struct arena *a, struct ndjson_record *out, struct err *e);

#endif
