/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/ndjson.h"

#include <string.h>

#include "libsh/base/text.h"
#include "libsh/format/json_scan.h"

/* ---- writing ---- */

static void add_number(struct buf *out, int64_t value)
{
	char digits[24], *p = digits + sizeof(digits);
	uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	do
		*--p = (char)('0' + left % 10);
	while (left /= 10);
	if (value < 0)
		*--p = '-';
	buf_add(out, p, (size_t)(digits + sizeof(digits) - p));
}

#define ADD(out, literal) buf_add((out), (literal), sizeof(literal) - 1)

static void add_base64(struct buf *out, struct bytes b)
{
	buf_addc(out, '"');
	text_base64_encode(out, b.data, b.len);
	buf_addc(out, '"');
}

/* ,"key":"..." or ,"key_base64":"..."; nothing for null. */
static void add_member(struct buf *out, const char *name, size_t name_len, struct bytes b)
{
	if (!b.data)
		return;
	ADD(out, ",\"");
	buf_add(out, name, name_len);
	if (text_is_utf8(b.data, b.len)) {
		ADD(out, "\":");
		text_json_string(out, b.data, b.len);
	} else {
		ADD(out, "_base64\":");
		add_base64(out, b);
	}
}

void ndjson_write_value(struct buf *out, struct bytes b)
{
	if (!b.data) {
		ADD(out, "null");
	} else if (text_is_utf8(b.data, b.len)) {
		text_json_string(out, b.data, b.len);
	} else {
		ADD(out, "{\"base64\":");
		add_base64(out, b);
		buf_addc(out, '}');
	}
}

int ndjson_write_headers(struct buf *out, const struct record *r, struct err *e)
{
	struct record_header h;
	size_t pos = 0;
	char before = '[';
	int more;

	while ((more = record_header_next(r, &pos, &h, e)) > 0) {
		buf_addc(out, before);
		before = ',';
		buf_addc(out, '[');
		ndjson_write_value(out, h.key);
		buf_addc(out, ',');
		ndjson_write_value(out, h.value);
		buf_addc(out, ']');
	}
	if (before == '[')
		buf_addc(out, '[');
	buf_addc(out, ']');
	return more;
}

int ndjson_write(struct buf *out, const char *topic, int32_t partition, const struct record *r, struct err *e)
{
	size_t before = out->len;
	bool was_full = out->overflow;

	buf_addc(out, '{');
	if (topic) {
		ADD(out, "\"topic\":");
		text_json_string(out, topic, strlen(topic));
		buf_addc(out, ',');
	}
	ADD(out, "\"partition\":");
	add_number(out, partition);
	ADD(out, ",\"offset\":");
	add_number(out, r->offset);
	ADD(out, ",\"timestamp\":");
	add_number(out, r->timestamp);
	add_member(out, "key", 3, r->key);
	add_member(out, "value", 5, r->value);
	if (r->header_count) {
		ADD(out, ",\"headers\":");
		if (ndjson_write_headers(out, r, e)) {
			buf_truncate(out, before);
			return -1;
		}
	}
	buf_addc(out, '}');
	if (out->overflow) {
		buf_truncate(out, before);
		out->overflow = was_full;
		return err_set(e, ERR_TOO_LARGE, "record %lld as JSON is larger than %zu bytes",
			(long long)r->offset, out->max);
	}
	return 0;
}

/* ---- reading ---- */

/* Null keeps its own meaning, so empty bytes need an address. */
static const uint8_t nothing[1];

struct reading {
	struct json_scan scan;
	bool loose;
	bool has_key, has_value, has_headers;
	struct bytes unknown; /* the first name that means nothing here */
	struct ndjson_record *out;
};

static int read_base64(struct json_scan *s, struct bytes *out, struct err *e)
{
	struct bytes text;
	struct buf decoded = BUF_INIT((size_t)(s->end - s->start) + 4);

	if (json_scan_kind(s) == JSON_NULL) {
		*out = (struct bytes){NULL, 0};
		return json_scan_null(s, e);
	}
	if (json_scan_string(s, &text, e))
		return -1;
	if (text_base64_decode(&decoded, (const char *)text.data, text.len)) {
		buf_release(&decoded);
		return json_scan_error(s, e, "malformed base64");
	}
	*out = (struct bytes){
		decoded.len ? arena_dup(s->arena, decoded.data, decoded.len) : nothing, decoded.len};
	buf_release(&decoded);
	return 0;
}

/* {"base64":"..."} */
static int read_base64_object(struct json_scan *s, struct bytes *out, struct err *e)
{
	struct bytes name;
	int more;

	if (json_scan_open(s, JSON_OBJECT, e))
		return -1;
	more = json_scan_member(s, &name, e);
	if (more < 0)
		return -1;
	if (!more || !JSON_IS(&name, "base64"))
		return json_scan_error(s, e, "expected {\"base64\":\"...\"}");
	if (read_base64(s, out, e) || (more = json_scan_member(s, &name, e)) < 0)
		return -1;
	return more ? json_scan_error(s, e, "expected only \"base64\" in this object") : 0;
}

/* A string or null; with loose any value, as its text. */
static int read_bytes(struct json_scan *s, bool loose, struct bytes *out, struct err *e)
{
	switch (json_scan_kind(s)) {
	case JSON_NULL:
		*out = (struct bytes){NULL, 0};
		return json_scan_null(s, e);
	case JSON_STRING:
		return json_scan_string(s, out, e);
	default:
		if (!loose && json_scan_kind(s) != JSON_NONE)
			return json_scan_error(s, e, "expected a string or null");
		return json_scan_skip(s, out, e);
	}
}

int ndjson_read_value(struct json_scan *s, struct bytes *out, struct err *e)
{
	return json_scan_kind(s) == JSON_OBJECT ? read_base64_object(s, out, e)
						: read_bytes(s, false, out, e);
}

static int read_header_value(struct json_scan *s, bool loose, struct bytes *out, struct err *e)
{
	struct json_scan object = *s;

	if (json_scan_kind(s) != JSON_OBJECT)
		return read_bytes(s, loose, out, e);
	if (!read_base64_object(s, out, loose ? NULL : e))
		return 0;
	if (!loose)
		return -1;
	*s = object;
	return json_scan_skip(s, out, e);
}

/* ["name", value] */
static int read_pair(struct json_scan *s, bool loose, struct buf *headers, struct err *e)
{
	struct bytes name = {NULL, 0}, value = {NULL, 0};

	if (json_scan_open(s, JSON_ARRAY, e) || json_scan_element(s, e) < 0)
		return -1;
	if (json_scan_kind(s) == JSON_OBJECT ? read_base64_object(s, &name, e)
					     : json_scan_string(s, &name, e))
		return -1;
	if (!name.data)
		return json_scan_error(s, e, "a header has no name");
	switch (json_scan_element(s, e)) {
	case 1:
		if (read_header_value(s, loose, &value, e))
			return -1;
		break;
	case 0:
		return json_scan_error(s, e, "a header is [name, value]");
	default:
		return -1;
	}
	switch (json_scan_element(s, e)) {
	case 0:
		return record_headers_add(headers, name, value) ?
			json_scan_error(s, e, "the headers are too large") : 0;
	case 1:
		return json_scan_error(s, e, "a header is [name, value]");
	default:
		return -1;
	}
}

static int read_header_entries(
	struct json_scan *s, bool loose, struct buf *headers, int32_t *count, struct err *e)
{
	struct bytes name, value;
	int more;

	if (json_scan_kind(s) == JSON_ARRAY) {
		if (json_scan_open(s, JSON_ARRAY, e))
			return -1;
		for (; (more = json_scan_element(s, e)) > 0; (*count)++)
			if (read_pair(s, loose, headers, e))
				return -1;
		return more;
	}
	if (json_scan_open(s, JSON_OBJECT, e))
		return -1;
	for (; (more = json_scan_member(s, &name, e)) > 0; (*count)++) {
		if (read_header_value(s, loose, &value, e))
			return -1;
		if (record_headers_add(headers, name, value))
			return json_scan_error(s, e, "the headers are too large");
	}
	return more;
}

int ndjson_read_headers(struct json_scan *s, bool loose, struct record *r, struct err *e)
{
	struct buf headers = BUF_INIT(BATCH_MAX_BYTES);
	int result;

	r->headers = (struct bytes){NULL, 0};
	r->header_count = 0;
	if (json_scan_kind(s) == JSON_NULL)
		return json_scan_null(s, e);
	result = read_header_entries(s, loose, &headers, &r->header_count, e);
	if (!result && headers.len)
		r->headers = (struct bytes){arena_dup(s->arena, headers.data, headers.len), headers.len};
	buf_release(&headers);
	return result;
}

/* An integer between min and max, or null: then *given stays false. */
static int read_number(
	struct json_scan *s, int64_t min, int64_t max, int64_t *out, bool *given, struct err *e)
{
	if (json_scan_kind(s) == JSON_NULL)
		return json_scan_null(s, e);
	if (json_scan_int(s, out, e))
		return -1;
	*given = true;
	return *out < min || *out > max ? json_scan_error(s, e, "the number is out of range") : 0;
}

static int once(struct json_scan *s, bool *seen, const char *complaint, struct err *e)
{
	if (*seen)
		return json_scan_error(s, e, complaint);
	*seen = true;
	return 0;
}

static int read_member(struct reading *rd, const struct bytes *name, struct err *e)
{
	struct json_scan *s = &rd->scan;
	struct ndjson_record *out = rd->out;
	struct record *r = &out->record;
	int64_t number = -1;
	bool given = false;

	if (JSON_IS(name, "value"))
		return once(s, &rd->has_value, "the value is given twice", e) ||
				       read_bytes(s, rd->loose, &r->value, e)
			       ? -1
			       : 0;
	if (JSON_IS(name, "key"))
		return once(s, &rd->has_key, "the key is given twice", e) ||
				       read_bytes(s, rd->loose, &r->key, e)
			       ? -1
			       : 0;
	if (JSON_IS(name, "value_base64"))
		return once(s, &rd->has_value, "the value is given twice", e) || read_base64(s, &r->value, e)
			       ? -1
			       : 0;
	if (JSON_IS(name, "key_base64"))
		return once(s, &rd->has_key, "the key is given twice", e) || read_base64(s, &r->key, e) ? -1
													: 0;
	if (JSON_IS(name, "headers"))
		return once(s, &rd->has_headers, "the headers are given twice", e) ||
			ndjson_read_headers(s, rd->loose, r, e) ? -1 : 0;
	if (JSON_IS(name, "timestamp"))
		return read_number(s, INT64_MIN, INT64_MAX, &r->timestamp, &out->has_timestamp, e);
	if (JSON_IS(name, "offset"))
		return read_number(s, 0, INT64_MAX, &r->offset, &out->has_offset, e);
	if (JSON_IS(name, "partition")) {
		if (read_number(s, 0, INT32_MAX, &number, &given, e))
			return -1;
		out->partition = (int32_t)number;
		return 0;
	}
	if (JSON_IS(name, "topic"))
		return read_bytes(s, false, &out->topic, e);
	if (!rd->unknown.data)
		rd->unknown = (struct bytes){name->len ? name->data : nothing, name->len};
	return json_scan_skip(s, NULL, e);
}

/* {"valu":"a"} is a mistake and no record of null; {"partition":0,"offset":7} is one, as ndjson_write() puts it. */
static int check_members(const struct reading *rd, struct err *e)
{
	int shown = rd->unknown.len < 40 ? (int)rd->unknown.len : 40;

	if (rd->has_key || rd->has_value || rd->has_headers || !rd->unknown.data)
		return 0;
	err_set(e, ERR_BAD_DATA, "there is no key, value or headers; \"%.*s\" is no member of a record", shown,
		(const char *)rd->unknown.data);
	return err_hint(e, "a record of null is written {\"value\":null}");
}

int ndjson_read(
	const char *line, size_t n, bool loose, struct arena *a, struct ndjson_record *out, struct err *e)
{
	struct reading rd = {.loose = loose, .out = out};
	struct bytes name;
	int more;

	*out = (struct ndjson_record){.partition = -1};
	json_scan_init(&rd.scan, line, n, a);
	if (json_scan_open(&rd.scan, JSON_OBJECT, e))
		return -1;
	while ((more = json_scan_member(&rd.scan, &name, e)) > 0)
		if (read_member(&rd, &name, e))
			return -1;
	if (more < 0 || json_scan_end(&rd.scan, e))
		return -1;
	return check_members(&rd, e);
}
