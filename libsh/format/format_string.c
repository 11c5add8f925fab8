/* SPDX-License-Identifier: Apache-2.0 */
/* Format strings: from their text to a list of parts, literals and variables, and records written by it. */
#include "libsh/format/format_string_private.h"

#include <stdio.h>
#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/text.h"

static const char *const modifier_names[] = {"", "hex", "base64", "json", "rfc3339"};

const char *format_string_part_name(const struct part *p, char out[32])
{
	if (!p->variable)
		snprintf(out, 32, "a literal");
	else if (p->modifier)
		snprintf(out, 32, "%%%c{%s}", p->variable, modifier_names[p->modifier]);
	else
		snprintf(out, 32, "%%%c", p->variable);
	return out;
}

/* ---- parsing ---- */

static int add_literal(struct format_string *f, char c, struct err *e)
{
	struct part *p = f->count ? &f->parts[f->count - 1] : NULL;

	if (!p || p->variable) {
		if (f->count == FORMAT_PARTS_MAX)
			return err_set(e, ERR_USAGE, "the format has more than %d parts", FORMAT_PARTS_MAX);
		p = &f->parts[f->count++];
		p->literal = arena_alloc(&f->arena, FORMAT_LITERAL_MAX);
	}
	if (p->len == FORMAT_LITERAL_MAX)
		return err_set(e, ERR_USAGE, "a literal in the format is longer than %d bytes", FORMAT_LITERAL_MAX);
	p->literal[p->len++] = c;
	return 0;
}

/* text is behind a backslash. Returns where to go on, NULL on error. */
static const char *parse_escape(struct format_string *f, const char *text, struct err *e)
{
	static const char from[] = "nt0r\\", into[] = "\n\t\0\r\\";
	const char *found = *text ? strchr(from, *text) : NULL;

	if (found)
		return add_literal(f, into[found - from], e) ? NULL : text + 1;
	if (*text == 'x' && text_hex_value(text[1]) >= 0 && text_hex_value(text[2]) >= 0)
		return add_literal(f, (char)(text_hex_value(text[1]) << 4 | text_hex_value(text[2])), e) ? NULL
											       : text + 3;
	err_set(e, ERR_USAGE, "unknown escape \"\\%.1s\" in the format", text);
	err_hint(e, "there are \\n \\t \\r \\0 \\xNN and \\\\");
	return NULL;
}

static bool modifier_fits(char variable, enum modifier m)
{
	if (m == RFC3339)
		return variable == 'T';
	return variable == 'k' || variable == 'v';
}

static const char *parse_modifier(struct part *p, const char *text, struct err *e)
{
	size_t len = strcspn(text, "}");

	for (int m = HEX; m <= RFC3339; m++)
		if (text[len] == '}' && strlen(modifier_names[m]) == len &&
			!memcmp(text, modifier_names[m], len) &&
			modifier_fits(p->variable, (enum modifier)m)) {
			p->modifier = (enum modifier)m;
			return text + len + 1;
		}
	err_set(e, ERR_USAGE, "%%%c has no modifier {%.*s}", p->variable, (int)(len > 40 ? 40 : len), text);
	err_hint(e, "there are %%k and %%v with {hex}, {base64}, {json}, and %%T{rfc3339}; a plain brace is "
		    "\\x7b");
	return NULL;
}

static const char *parse_variable(struct format_string *f, const char *text, struct err *e)
{
	struct part *p;

	if (*text == '%')
		return add_literal(f, '%', e) ? NULL : text + 1;
	if (!*text || !strchr("tpoTkvKVh", *text)) {
		err_set(e, ERR_USAGE, "unknown variable \"%%%.1s\" in the format", text);
		err_hint(e, "there are %%t %%p %%o %%T %%k %%v %%K %%V %%h and %%%%");
		return NULL;
	}
	if (f->count == FORMAT_PARTS_MAX) {
		err_set(e, ERR_USAGE, "the format has more than %d parts", FORMAT_PARTS_MAX);
		return NULL;
	}
	p = &f->parts[f->count++];
	p->variable = *text++;
	return *text == '{' ? parse_modifier(p, text + 1, e) : text;
}

struct format_string *format_string_parse(const char *text, struct err *e)
{
	struct format_string *f = mem_zalloc(sizeof(*f));

	while (text && *text) {
		if (*text == '%')
			text = parse_variable(f, text + 1, e);
		else if (*text == '\\')
			text = parse_escape(f, text + 1, e);
		else
			text = add_literal(f, *text, e) ? NULL : text + 1;
	}
	if (text)
		return f;
	format_string_free(f);
	return NULL;
}

void format_string_free(struct format_string *f)
{
	if (!f)
		return;
	arena_release(&f->arena);
	mem_free(f);
}

/* ---- writing ---- */

static void write_bytes(struct buf *out, const struct part *p, struct bytes b)
{
	if (p->modifier == JSON)
		ndjson_write_value(out, b);
	else if (p->modifier == RAW)
		buf_add(out, b.data, b.len);
	else if (!b.data)
		buf_addc(out, '-');
	else if (p->modifier == HEX)
		text_hex_encode(out, b.data, b.len);
	else
		text_base64_encode(out, b.data, b.len);
}

static void write_number(struct buf *out, int64_t value)
{
	buf_addf(out, "%lld", (long long)value);
}

static int write_part(const struct part *p, struct buf *out, const char *topic, int32_t partition,
	const struct record *r, struct err *e)
{
	char date[CLOCK_RFC3339_BYTES];

	switch (p->variable) {
	case 0:
		buf_add(out, p->literal, p->len);
		return 0;
	case 't':
		buf_adds(out, topic ? topic : "");
		return 0;
	case 'p':
		write_number(out, partition);
		return 0;
	case 'o':
		write_number(out, r->offset);
		return 0;
	case 'T':
		if (p->modifier == RFC3339)
			buf_adds(out, clock_format_rfc3339(r->timestamp, date));
		else
			write_number(out, r->timestamp);
		return 0;
	case 'K':
		write_number(out, r->key.data ? (int64_t)r->key.len : -1);
		return 0;
	case 'V':
		write_number(out, r->value.data ? (int64_t)r->value.len : -1);
		return 0;
	case 'h':
		return ndjson_write_headers(out, r, e);
	default:
		write_bytes(out, p, p->variable == 'k' ? r->key : r->value);
		return 0;
	}
}

int format_string_write(const struct format_string *f, struct buf *out, const char *topic, int32_t partition,
	const struct record *r, struct err *e)
{
	size_t before = out->len;
	bool was_full = out->overflow;

	for (int i = 0; i < f->count; i++)
		if (write_part(&f->parts[i], out, topic, partition, r, e)) {
			buf_truncate(out, before);
			return -1;
		}
	if (!out->overflow)
		return 0;
	buf_truncate(out, before);
	out->overflow = was_full;
	return err_set(e, ERR_TOO_LARGE, "record %lld formatted is larger than %zu bytes",
		(long long)r->offset, out->max);
}
