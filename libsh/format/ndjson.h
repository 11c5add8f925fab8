/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as JSON lines, every byte kept:
 * {"partition":0,"offset":12,"timestamp":1700000000000,"key":"k","value":"v","headers":[["h","v"]]}
 * key/value absent or null means null; bytes that are not UTF-8 go to key_base64, value_base64 and
 * ["h",{"base64":"..."}] (header names that are not UTF-8: [{"base64":"..."}, ...]); a null header value is
 * null. Reading uses our own scanner: one pass, no tree; depth is limited. Unknown members are skipped, but an
 * object that has some and none of key, value and headers is refused: a name was mistyped.
 */
#ifndef SH_FORMAT_NDJSON_H
#define SH_FORMAT_NDJSON_H

#include "libsh/base/buf.h"
#include "libsh/base/err.h"
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"
#include "libsh/format/json_scan.h"

/* Append the record as one JSON object, no newline. topic may be NULL (then no "topic" member). */
int ndjson_write(
	struct buf *out, const char *topic, int32_t partition, const struct record *r, struct err *e);

struct ndjson_record {
	struct record record;   /* bytes point into the line or the arena */
	int32_t partition;      /* -1 when absent */
	bool has_timestamp;
	bool has_offset;
	struct bytes topic;     /* data NULL when absent */
};
/* One object of n bytes (no newline). Headers may also be an object {"h":"v"}. Value or key that is an
 * object, array, number or boolean is kept as its JSON text when loose is set, else it is an error. */
int ndjson_read(
	const char *line, size_t n, bool loose, struct arena *a, struct ndjson_record *out, struct err *e);

/* Parts of it, for format strings: the headers as [["h","v"],...], and a string, null or {"base64":"..."}. */
int ndjson_write_headers(struct buf *out, const struct record *r, struct err *e);
int ndjson_read_headers(struct json_scan *s, bool loose, struct record *r, struct err *e);
void ndjson_write_value(struct buf *out, struct bytes b);
int ndjson_read_value(struct json_scan *s, struct bytes *out, struct err *e);

#endif
