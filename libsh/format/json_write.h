/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes JSON text straight into a buffer, no tree. Commas come by themselves: a value or a name that
 * follows another gets one. Nothing checks that brackets match; the buffer's overflow flag says whether
 * all fitted.
 */
#ifndef SH_FORMAT_JSON_WRITE_H
#define SH_FORMAT_JSON_WRITE_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/buf.h"

void json_write_open(struct buf *b, char bracket);  /* '{' or '[' */
void json_write_close(struct buf *b, char bracket); /* '}' or ']' */
void json_write_name(struct buf *b, const char *name); /* plain ASCII */
void json_write_int(struct buf *b, int64_t n);
void json_write_uint(struct buf *b, uint64_t n);
void json_write_double(struct buf *b, double n); /* six significant digits; not finite: null */
void json_write_bool(struct buf *b, bool v);
void json_write_null(struct buf *b);
void json_write_string(struct buf *b, const char *s); /* NULL: null; bytes that are not UTF-8 become ? */
void json_write_bytes(struct buf *b, const void *p, size_t n);
void json_write_raw(struct buf *b, const char *json, size_t n); /* a value that is JSON already */

/* A member in one call. */
void json_write_member_int(struct buf *b, const char *name, int64_t n);
void json_write_member_uint(struct buf *b, const char *name, uint64_t n);
void json_write_member_string(struct buf *b, const char *name, const char *s);
void json_write_member_bool(struct buf *b, const char *name, bool v);

#endif
