/* SPDX-License-Identifier: Apache-2.0 */
/* The table of settings, the values of one configuration, and how text becomes a value. Sources of text are
 * in settings_source.c. */
#include "libsh/run/settings.h"

#include <stdlib.h>
#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"
#include "libsh/run/address.h"

const struct setting settings_table[] = {
#define S(name, type, default_text, min, max, choices, reloadable, secret, roles, text) \
	{name, SETTING_##type, default_text, min, max, choices, reloadable, secret, roles, text},
#include "libsh/run/settings.def"
#undef S
};
const int settings_count = (int)array_count(settings_table);

enum { VALUE_MAX_BYTES = 4096, WAL_FILE_BYTES = 64 << 20 };

struct value {
	char *text;
	char *origin;
	int64_t number;
};
struct settings {
	struct value values[array_count(settings_table)];
};

static int find(const char *name)
{
	for (int i = 0; i < settings_count; i++)
		if (!strcmp(settings_table[i].name, name))
			return i;
	return -1;
}

/* ---- text to values ---- */

/* Which of "a|b|c" text is, or -1. */
static int choice_of(const char *choices, const char *text, size_t len)
{
	int which = 0;

	for (const char *at = choices; *at; which++) {
		size_t n = strcspn(at, "|");

		if (n == len && !memcmp(at, text, n))
			return which;
		at += n + (at[n] == '|');
	}
	return -1;
}

static int parse_choice(const struct setting *d, const char *text, int64_t *number, struct err *e)
{
	*number = choice_of(d->choices, text, strlen(text));
	if (*number < 0)
		return err_set(e, ERR_USAGE, "'%.64s' is none of %s", text, d->choices);
	return 0;
}

static int parse_listen(const char *text, struct err *e)
{
	struct address a;
	int status;

	while ((status = address_next(&text, &a, e)) > 0)
		;
	return status;
}

/* "scheme:" alone where the data directory says the rest, "scheme://..." otherwise. */
static int parse_url(const struct setting *d, const char *text, struct err *e)
{
	size_t scheme = strcspn(text, ":");
	const char *rest = text + scheme;
	bool local;

	/* For tests, and so not among the choices: "fault:RULES_FILE:URL", an object store that fails on
	 * demand. */
	if (!strcmp(d->name, "object.url") && !strncmp(text, "fault:", 6) && strchr(rest + 1, ':'))
		return parse_url(d, strchr(rest + 1, ':') + 1, e);
	if (*rest != ':' || choice_of(d->choices, text, scheme) < 0)
		return err_set(
			e, ERR_USAGE, "'%.64s' does not begin with one of %s and a colon", text, d->choices);
	local = !strncmp(text, "file:", 5) || !strncmp(text, "sqlite:", 7);
	if (local && (!rest[1] || !strncmp(rest, ":///", 4)))
		return 0;
	if (!local && !strncmp(rest, "://", 3) && rest[3] && rest[3] != '/')
		return 0;
	if (local)
		return err_set(e, ERR_USAGE, "'%.64s' needs an absolute path: %.*s:///path", text,
			(int)scheme, text);
	return err_set(e, ERR_USAGE, "'%.64s' is not complete: %.*s://...", text, (int)scheme, text);
}

static int check_range(const struct setting *d, const char *text, int64_t number, struct err *e)
{
	if (number >= d->min && number <= d->max)
		return 0;
	if (d->type == SETTING_SIZE) {
		char low[16], high[16];

		return err_set(e, ERR_USAGE, "'%.64s' is outside of %s to %s", text,
			text_format_size(d->min, low), text_format_size(d->max, high));
	}
	return err_set(e, ERR_USAGE, "'%.64s' is outside of %lld to %lld%s", text, (long long)d->min,
		(long long)d->max, d->type == SETTING_INT ? "" : " ms");
}

static int parse_wal_sync(const struct setting *d, const char *text, int64_t *interval_ms, struct err *e)
{
	*interval_ms = 0;
	if (!strcmp(text, "always") || !strcmp(text, "never"))
		return 0;
	if (strncmp(text, "interval:", 9))
		return err_set(e, ERR_USAGE, "'%.64s' is none of always, interval:TIME, never", text);
	if (clock_parse_duration(text + 9, interval_ms, e))
		return -1;
	return check_range(d, text, *interval_ms, e);
}

static int parse(const struct setting *d, const char *text, int64_t *number, struct err *e)
{
	bool flag = false;

	*number = 0;
	switch (d->type) {
	case SETTING_STRING:
		return 0;
	case SETTING_INT:
		return text_parse_int(text, d->min, d->max, "the value", number, e);
	case SETTING_BOOL:
		if (text_parse_bool(text, &flag, e))
			return -1;
		*number = flag;
		return 0;
	case SETTING_SIZE:
		return text_parse_size(text, number, e) ? -1 : check_range(d, text, *number, e);
	case SETTING_DURATION:
		return clock_parse_duration(text, number, e) ? -1 : check_range(d, text, *number, e);
	case SETTING_ENUM:
		return parse_choice(d, text, number, e);
	case SETTING_LISTEN:
		return parse_listen(text, e);
	case SETTING_URL:
		return parse_url(d, text, e);
	case SETTING_WAL_SYNC:
		return parse_wal_sync(d, text, number, e);
	}
	return err_set(e, ERR_INTERNAL, "unknown type of setting");
}

static int check_characters(const char *text, struct err *e)
{
	if (strlen(text) > VALUE_MAX_BYTES)
		return err_set(e, ERR_USAGE, "a value of %zu bytes is too long", strlen(text));
	for (const char *at = text; *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			return err_set(e, ERR_USAGE, "control characters are not allowed in a value");
	return 0;
}

/* ---- one configuration ---- */

static void assign(struct value *v, const char *text, const char *origin, int64_t number)
{
	mem_free(v->text);
	mem_free(v->origin);
	v->text = mem_strdup(text);
	v->origin = mem_strdup(origin);
	v->number = number;
}

struct settings *settings_new(void)
{
	struct settings *s = mem_zalloc(sizeof(*s));

	for (int i = 0; i < settings_count; i++) {
		int64_t number;

		if (parse(&settings_table[i], settings_table[i].default_text, &number, NULL))
			abort(); /* the table contradicts itself */
		assign(&s->values[i], settings_table[i].default_text, "default", number);
	}
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	for (int i = 0; i < settings_count; i++) {
		mem_free(s->values[i].text);
		mem_free(s->values[i].origin);
	}
	mem_free(s);
}

/* How many letters have to be changed, added or taken away; names are short. */
static int distance(const char *a, const char *b)
{
	int row[64], la = (int)strlen(a), lb = (int)strlen(b);

	if (lb >= 63 || la >= 63)
		return 99;
	for (int j = 0; j <= lb; j++)
		row[j] = j;
	for (int i = 1; i <= la; i++) {
		int diagonal = row[0];

		row[0] = i;
		for (int j = 1; j <= lb; j++) {
			int best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			best = best < row[j] + 1 ? best : row[j] + 1;
			row[j] = best < row[j - 1] + 1 ? best : row[j - 1] + 1;
		}
	}
	return row[lb];
}

static int unknown(const char *name, const char *origin, struct err *e)
{
	int best = -1, best_distance = 4;

	for (int i = 0; i < settings_count; i++) {
		int d = distance(name, settings_table[i].name);

		if (d < best_distance) {
			best = i;
			best_distance = d;
		}
	}
	err_set(e, ERR_USAGE, "%s: there is no setting '%.64s'", origin, name);
	if (best >= 0)
		return err_hint(e, "did you mean %s?", settings_table[best].name);
	return err_hint(e, "shd.conf(5) lists all settings");
}

int settings_set(struct settings *s, const char *name, const char *value, const char *origin, struct err *e)
{
	int i = find(name);
	int64_t number;

	if (i < 0)
		return unknown(name, origin, e);
	if (check_characters(value, e) || parse(&settings_table[i], value, &number, e)) {
		if (e)
			e->code = ERR_USAGE;
		return err_prefix(e, "%s: %s", origin, name);
	}
	assign(&s->values[i], value, origin, number);
	return 0;
}

/* ---- what must fit together ---- */

static int refuse(
	const struct settings *s, const char *name, enum err_code code, struct err *e, const char *why)
{
	const struct value *v = &s->values[find(name)];

	return err_set(e, code, "%s: %s: '%.64s' %s", v->origin, name, v->text, why);
}

static int check_built(const struct settings *s, struct err *e)
{
	if (!strncmp(settings_string(s, "meta.url"), "postgresql:", 11)) {
		err_set(e, ERR_NOT_BUILT, "%s: meta.url: PostgreSQL is not built into this version yet",
			settings_origin(s, "meta.url"));
		return err_hint(e, "use sqlite: or sqlite:///PATH");
	}
	if (settings_number(s, "agents") > 1) {
		refuse(s, "agents", ERR_NOT_BUILT, e,
			"is more than the one agent that this version runs on a machine");
		return err_hint(e, "leave it at 1");
	}
	return 0;
}

int settings_check(const struct settings *s, struct err *e)
{
	int64_t wal = settings_number(s, "wal.max_bytes"), segment = settings_number(s, "segment.max_bytes");

	if (check_built(s, e))
		return -1;
	if (*settings_string(s, "s3.sse_kms_key") && strcmp(settings_string(s, "s3.sse"), "aws:kms") != 0)
		return refuse(s, "s3.sse_kms_key", ERR_USAGE, e, "is of use with s3.sse=aws:kms only");
	if (!*settings_string(s, "http.listen"))
		return refuse(s, "http.listen", ERR_USAGE, e, "names no address");
	/* The file being written, the one being flushed, and one ahead. */
	if (wal < segment + 2LL * WAL_FILE_BYTES)
		return refuse(s, "wal.max_bytes", ERR_USAGE, e,
			"is less than segment.max_bytes and two WAL files of 64M");
	return 0;
}

void settings_diff(const struct settings *old, const struct settings *new_, bool reloadable, struct buf *out)
{
	for (int i = 0; i < settings_count; i++) {
		if (settings_table[i].reloadable != reloadable ||
			!strcmp(old->values[i].text, new_->values[i].text))
			continue;
		buf_addf(out, "%s%s", out->len ? ", " : "", settings_table[i].name);
	}
}

void settings_keep_fixed(struct settings *s, const struct settings *running)
{
	for (int i = 0; i < settings_count; i++) {
		const struct value *v = &running->values[i];

		if (!settings_table[i].reloadable)
			assign(&s->values[i], v->text, v->origin, v->number);
	}
}

/* ---- typed access ---- */

static const struct value *value_of(const struct settings *s, const char *name, bool number)
{
	int i = find(name);
	enum setting_type t;

	if (i < 0)
		abort();
	t = settings_table[i].type;
	if (number && t != SETTING_INT && t != SETTING_BOOL && t != SETTING_SIZE && t != SETTING_DURATION)
		abort();
	return &s->values[i];
}

const char *settings_string(const struct settings *s, const char *name)
{
	return value_of(s, name, false)->text;
}

const char *settings_origin(const struct settings *s, const char *name)
{
	return value_of(s, name, false)->origin;
}

int64_t settings_number(const struct settings *s, const char *name)
{
	return value_of(s, name, true)->number;
}

bool settings_bool(const struct settings *s, const char *name)
{
	return value_of(s, name, true)->number != 0;
}

enum wal_sync settings_wal_sync(const struct settings *s, int64_t *interval_ms)
{
	const struct value *v = value_of(s, "wal.sync", false);

	if (interval_ms)
		*interval_ms = v->number;
	if (v->number)
		return WAL_SYNC_INTERVAL;
	return strcmp(v->text, "never") ? WAL_SYNC_ALWAYS : WAL_SYNC_NEVER;
}
