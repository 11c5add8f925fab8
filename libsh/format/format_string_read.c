/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what a format string wrote. It can be inverted when the end of each variable part can be found:
 *  - raw key or value: its length (%K, %V) stands before it, or a literal stands right after it, and the data
 * does not hold it;
 *  - numbers, names, hex, base64: what may follow begins with a character that they cannot contain ("what may
 * follow" the last part is the first part, of the next record);
 *  - {json} and %h: end themselves.
 * A literal that ends a raw part is looked for in every other such part too while reading: data that holds it
 * is ambiguous and refused. {hex} and {base64} print null as "-", so that it is not taken for empty; raw
 * parts print nothing for null.
 */
#include "libsh/format/format_string_private.h"

#include <stdio.h>
#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/text.h"

enum { DATA_MAX = 256 << 20 /* a length in the input is not believed beyond this */ };

/* ---- can it be inverted? ---- */

/* The characters that a part which ends by its alphabet may contain; NULL: it ends otherwise. */
static const char *alphabet(const struct part *p)
{
	if (p->modifier == HEX)
		return "0123456789abcdefABCDEF-";
	if (p->modifier == BASE64)
		return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=-";
	if (p->modifier == RFC3339)
		return "0123456789-:.TZ";
	if (p->variable == 't')
		return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	if (p->variable && strchr("poTKV", p->variable))
		return "0123456789-";
	return NULL;
}

static bool is_raw(const struct part *p)
{
	return (p->variable == 'k' || p->variable == 'v') && p->modifier == RAW;
}

/* May the part begin with c? */
static bool may_begin(const struct part *p, char c)
{
	if (!p->variable)
		return p->literal[0] == c;
	if (p->variable == 'h')
		return c == '[';
	if (p->modifier == JSON)
		return c == '"' || c == 'n' || c == '{';
	if (is_raw(p))
		return true;
	return c && strchr(alphabet(p), c);
}

static bool may_be_empty(const struct part *p)
{
	return is_raw(p) || p->modifier == HEX || p->modifier == BASE64 || p->variable == 't';
}

static int find_variable(const struct format_string *f, char variable)
{
	for (int i = 0; i < f->count; i++)
		if (f->parts[i].variable == variable)
			return i;
	return -1;
}

/* Does the length of the raw part i stand before it? */
static bool length_is_known(const struct format_string *f, int i)
{
	int at = find_variable(f, f->parts[i].variable == 'k' ? 'K' : 'V');

	return at >= 0 && at < i;
}

/* Part i ends by its alphabet: may what follows begin with a character of it? */
static bool runs_into_next(const struct format_string *f, int i)
{
	for (int step = 1; step <= f->count; step++) {
		const struct part *next = &f->parts[(i + step) % f->count];

		for (const char *c = alphabet(&f->parts[i]); *c; c++)
			if (may_begin(next, *c))
				return true;
		if (!may_be_empty(next))
			return false;
	}
	return true;
}

static int check_part(const struct format_string *f, int i, struct err *e)
{
	const struct part *p = &f->parts[i];
	char name[32];

	if (!p->variable)
		return 0;
	format_string_part_name(p, name);
	if (find_variable(f, p->variable) < i)
		return err_set(
			e, ERR_USAGE, "the format cannot be read back: %s appears a second time", name);
	if ((p->variable == 'K' && find_variable(f, 'k') < 0) ||
		(p->variable == 'V' && find_variable(f, 'v') < 0))
		return err_set(e, ERR_USAGE,
			"the format cannot be read back: %s is a length, but %%%c is missing", name,
			p->variable | 0x20);
	if (alphabet(p) && runs_into_next(f, i)) {
		err_set(e, ERR_USAGE, "the format cannot be read back: nothing shows where part %d, %s, ends",
			i + 1, name);
		return err_hint(e, "put a delimiter such as a space or \\n behind it");
	}
	if (is_raw(p) && !length_is_known(f, i) && (i + 1 == f->count || f->parts[i + 1].variable)) {
		err_set(e, ERR_USAGE, "the format cannot be read back: nothing shows where part %d, %s, ends",
			i + 1, name);
		return err_hint(e,
			"put its length (%%%c) before it, a delimiter behind it, or use {json}, {hex} or "
			"{base64}",
			p->variable - 0x20);
	}
	return 0;
}

int format_string_check_invertible(const struct format_string *f, struct err *e)
{
	if (find_variable(f, 'v') < 0) {
		err_set(e, ERR_USAGE, "the format cannot be read back: the value is not in it");
		return err_hint(e, "put %%v into the format");
	}
	for (int i = 0; i < f->count; i++)
		if (check_part(f, i, e))
			return -1;
	return 0;
}

/* ---- reading ---- */

enum { MORE = -2 }; /* the input ends inside the part */

struct reading {
	const struct format_string *format;
	const char *at, *end;
	bool last;
	int64_t key_length, value_length; /* -1: null, -2: not known */
	struct arena *arena;
	struct ndjson_record *out;
	struct err *e;
};

static int misfit(struct reading *rd, int i, const char *what)
{
	char name[32];

	return err_set(rd->e, ERR_BAD_DATA, "part %d of the format, %s: %s", i + 1,
		format_string_part_name(&rd->format->parts[i], name), what);
}

static int read_literal(struct reading *rd, int i)
{
	const struct part *p = &rd->format->parts[i];
	size_t left = (size_t)(rd->end - rd->at), n = left < p->len ? left : p->len;

	if (memcmp(rd->at, p->literal, n))
		return misfit(rd, i, "the text differs");
	if (n < p->len)
		return MORE;
	rd->at += n;
	return 0;
}

/* The run of characters of the part's alphabet. It is complete when another character or the end of all input
 * follows. */
static int read_token(struct reading *rd, int i, struct bytes *token)
{
	const char *letters = alphabet(&rd->format->parts[i]), *start = rd->at, *p = start;

	while (p < rd->end && *p && strchr(letters, *p))
		p++;
	if (p == rd->end && !rd->last)
		return MORE;
	*token = (struct bytes){(const uint8_t *)start, (size_t)(p - start)};
	rd->at = p;
	return 0;
}

static int read_number(struct reading *rd, int i, int64_t min, int64_t max, int64_t *out)
{
	struct bytes token;
	char digits[24];
	int got = read_token(rd, i, &token);

	if (got)
		return got;
	if (!token.len || token.len >= sizeof(digits))
		return misfit(rd, i, "expected a number");
	memcpy(digits, token.data, token.len);
	digits[token.len] = '\0';
	if (text_parse_int(digits, min, max, "number", out, NULL))
		return misfit(rd, i, "expected a number in range");
	return 0;
}

static int read_date(struct reading *rd, int i, int64_t *out)
{
	struct bytes token;
	char text[CLOCK_RFC3339_BYTES];
	int got = read_token(rd, i, &token);

	if (got)
		return got;
	if (!token.len || token.len >= sizeof(text))
		return misfit(rd, i, "expected a date");
	memcpy(text, token.data, token.len);
	text[token.len] = '\0';
	if (text_parse_int(text, INT64_MIN, INT64_MAX, "date", out, NULL) &&
		clock_parse_rfc3339(text, out, NULL))
		return misfit(rd, i, "expected a date");
	return 0;
}

/* Empty bytes need an address, as none means null. */
static const uint8_t nothing[1];

static int read_encoded(struct reading *rd, int i, struct bytes *out)
{
	struct bytes token;
	struct buf decoded;
	bool hex = rd->format->parts[i].modifier == HEX;
	int got = read_token(rd, i, &token);

	if (got)
		return got;
	if (token.len == 1 && *token.data == '-') {
		*out = (struct bytes){NULL, 0};
		return 0;
	}
	buf_init(&decoded, token.len);
	if (hex ? text_hex_decode(&decoded, (const char *)token.data, token.len) :
		  text_base64_decode(&decoded, (const char *)token.data, token.len)) {
		buf_release(&decoded);
		return misfit(rd, i, hex ? "malformed hex" : "malformed base64");
	}
	*out = (struct bytes){
		decoded.len ? arena_dup(rd->arena, decoded.data, decoded.len) : nothing, decoded.len};
	buf_release(&decoded);
	return 0;
}

static int read_json(struct reading *rd, int i, struct bytes *out)
{
	struct json_scan s;
	struct err why = ERR_INIT;
	int result;

	if (rd->at < rd->end && (*rd->at == ' ' || *rd->at == '\t' || *rd->at == '\n' || *rd->at == '\r'))
		return misfit(rd, i, "expected a JSON value");
	json_scan_init(&s, rd->at, (size_t)(rd->end - rd->at), rd->arena);
	result = out ? ndjson_read_value(&s, out, &why)
		     : ndjson_read_headers(&s, false, &rd->out->record, &why);
	if (result)
		return s.incomplete ? MORE : misfit(rd, i, why.text);
	rd->at = s.at;
	return 0;
}

static int read_length(struct reading *rd, int64_t length, int i, struct bytes *out)
{
	if (length < 0) {
		*out = (struct bytes){NULL, 0};
		return 0;
	}
	if (length > DATA_MAX)
		return misfit(rd, i, "its length is beyond 256 MiB");
	if (rd->end - rd->at < length)
		return MORE;
	*out = (struct bytes){length ? (const uint8_t *)rd->at : nothing, (size_t)length};
	rd->at += length;
	return 0;
}

/* Does the data hold a literal that ends a raw part? Then where the parts ended cannot be known. */
static bool holds_delimiter(const struct format_string *f, const char *data, size_t n)
{
	for (int i = 0; i + 1 < f->count; i++)
		if (is_raw(&f->parts[i]) && !length_is_known(f, i) &&
			memmem(data, n, f->parts[i + 1].literal, f->parts[i + 1].len))
			return true;
	return false;
}

/* Does the delimiter begin with its own end, as "aa" does? */
static bool overlaps_itself(const struct part *d)
{
	for (size_t k = 1; k < d->len; k++)
		if (!memcmp(d->literal, d->literal + d->len - k, k))
			return true;
	return false;
}

/*
 * Data "xa" before the delimiter "aa" makes "xaaa", which reads as "x" and then "a". A second match that
 * overlaps the first shows it. 1: so it is, 0: no, MORE: the input ends too early to tell.
 */
static int second_match(const struct reading *rd, const char *found, const struct part *d)
{
	size_t behind = (size_t)(rd->end - found) - d->len;

	if (!overlaps_itself(d))
		return 0;
	if (behind < d->len - 1 && !rd->last)
		return MORE;
	if (behind > d->len - 1)
		behind = d->len - 1;
	return memmem(found + 1, d->len - 1 + behind, d->literal, d->len) != NULL;
}

/* Does the input end with a part of the delimiter? Then it is cut off, or the data is ambiguous. */
static bool ends_inside(const struct reading *rd, const struct part *d)
{
	size_t left = (size_t)(rd->end - rd->at);

	for (size_t k = 1; k < d->len && k <= left; k++)
		if (!memcmp(rd->end - k, d->literal, k))
			return true;
	return false;
}

static int read_delimited(struct reading *rd, int i, struct bytes *out)
{
	const struct part *delimiter = &rd->format->parts[i + 1];
	size_t left = (size_t)(rd->end - rd->at), n;
	const char *found = delimiter->len == 1 ? memchr(rd->at, delimiter->literal[0], left) :
						  memmem(rd->at, left, delimiter->literal, delimiter->len);
	int twice;

	if (!found && rd->last && i + 2 == rd->format->count && !ends_inside(rd, delimiter))
		found = rd->end; /* the last line may lack its end */
	if (!found)
		return MORE;
	n = (size_t)(found - rd->at);
	twice = found < rd->end ? second_match(rd, found, delimiter) : 0;
	if (twice == MORE)
		return MORE;
	if (twice || holds_delimiter(rd->format, rd->at, n)) {
		misfit(rd, i, "the data holds a delimiter of the format, so where it ends is ambiguous");
		return err_hint(rd->e, "put its length (%%%c) before it, or use {json}, {hex} or {base64}",
			rd->format->parts[i].variable - 0x20);
	}
	*out = (struct bytes){n ? (const uint8_t *)rd->at : nothing, n};
	rd->at = found;
	return 0;
}

static int read_bytes(struct reading *rd, int i, int64_t length, struct bytes *out)
{
	const struct part *p = &rd->format->parts[i];

	if (p->modifier == JSON)
		return read_json(rd, i, out);
	if (p->modifier != RAW)
		return read_encoded(rd, i, out);
	return length_is_known(rd->format, i) ? read_length(rd, length, i, out) : read_delimited(rd, i, out);
}

static int read_part(struct reading *rd, int i)
{
	const struct part *p = &rd->format->parts[i];
	struct record *r = &rd->out->record;
	int64_t number;
	int got;

	switch (p->variable) {
	case 0:
		return read_literal(rd, i);
	case 't':
		return read_token(rd, i, &rd->out->topic) == MORE ? MORE : 0;
	case 'p':
		got = read_number(rd, i, 0, INT32_MAX, &number);
		if (!got)
			rd->out->partition = (int32_t)number;
		return got;
	case 'o':
		rd->out->has_offset = true;
		return read_number(rd, i, 0, INT64_MAX, &r->offset);
	case 'T':
		rd->out->has_timestamp = true;
		return p->modifier == RFC3339 ? read_date(rd, i, &r->timestamp) :
						read_number(rd, i, INT64_MIN, INT64_MAX, &r->timestamp);
	case 'K':
		return read_number(rd, i, -1, DATA_MAX, &rd->key_length);
	case 'V':
		return read_number(rd, i, -1, DATA_MAX, &rd->value_length);
	case 'h':
		return read_json(rd, i, NULL);
	case 'k':
		return read_bytes(rd, i, rd->key_length, &r->key);
	default:
		return read_bytes(rd, i, rd->value_length, &r->value);
	}
}

/* A length that stands beside an escaped or delimited part must agree with it. */
static int check_length(struct reading *rd, int64_t length, struct bytes b, const char *name)
{
	if (length == -2 || length == (b.data ? (int64_t)b.len : -1))
		return 0;
	return err_set(rd->e, ERR_BAD_DATA, "%s does not agree with the data: %lld", name, (long long)length);
}

ptrdiff_t format_string_read(const struct format_string *f, const char *data, size_t n, bool last,
	struct arena *a, struct ndjson_record *out, struct err *e)
{
	struct reading rd = {f, data, data + n, last, -2, -2, a, out, e};

	*out = (struct ndjson_record){.partition = -1};
	if (!n)
		return 0;
	for (int i = 0; i < f->count; i++) {
		int got = read_part(&rd, i);
		bool trailing = i + 1 == f->count && !f->parts[i].variable && rd.at == rd.end;

		if (got == MORE && last && trailing)
			break; /* the last record may lack the literal that ends it */
		if (got == MORE && last)
			return misfit(&rd, i, "the input ends too early");
		if (got == MORE)
			return 0;
		if (got)
			return -1;
	}
	if (check_length(&rd, rd.key_length, out->record.key, "%K") ||
		check_length(&rd, rd.value_length, out->record.value, "%V"))
		return -1;
	return rd.at - data;
}
