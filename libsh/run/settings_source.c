/* SPDX-License-Identifier: Apache-2.0 */
/* Where settings come from (file, environment, profile, the supervisor's message) and how they are shown. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "libsh/base/disk.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"
#include "libsh/run/settings.h"

enum { FILE_MAX_BYTES = 1 << 20, NAME_MAX_BYTES = 64, LINE_MAX_BYTES = 8192 };

/* A comment is a # at the start or after a blank. Quotes keep blanks and #; there is nothing to escape. */
static int unquote(char **value, struct err *e)
{
	char *v = text_trim(*value), *end;

	if (*v == '"') {
		end = strchr(++v, '"');
		if (!end)
			return err_set(e, ERR_USAGE, "a quote is not closed");
		*end++ = '\0';
		end = text_trim(end);
		if (*end && *end != '#')
			return err_set(e, ERR_USAGE, "text after the closing quote");
	} else {
		for (char *at = v; *at; at++)
			if (*at == '#' && (at == v || at[-1] == ' ' || at[-1] == '\t')) {
				*at = '\0';
				break;
			}
		v = text_trim(v);
	}
	*value = v;
	return 0;
}

static int set_line(struct settings *s, char *line, const char *origin, struct err *e)
{
	char *equals, *name = text_trim(line), *value;

	if (!*name || *name == '#')
		return 0;
	equals = strchr(name, '=');
	if (!equals)
		return err_set(e, ERR_USAGE, "%s: expected name = value", origin);
	*equals = '\0';
	name = text_trim(name);
	value = equals + 1;
	if (unquote(&value, e))
		return err_prefix(e, "%s: %s", origin, name);
	return settings_set(s, name, value, origin, e);
}

static int load_text(struct settings *s, char *text, const char *path, struct err *e)
{
	int number = 0;

	for (char *line = text, *next; line; line = next) {
		char *origin;
		int status;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		origin = mem_printf("%s:%d", path, ++number);
		status = strlen(line) > LINE_MAX_BYTES
				 ? err_set(e, ERR_USAGE, "%s: the line is too long", origin)
				 : set_line(s, line, origin, e);
		mem_free(origin);
		if (status)
			return -1;
	}
	return 0;
}

int settings_load_file(struct settings *s, const char *path, struct err *e)
{
	struct buf b = BUF_INIT(FILE_MAX_BYTES);
	int status = disk_read_file(path, &b, e);

	if (!status && b.len && memchr(b.data, 0, b.len))
		status = err_set(e, ERR_USAGE, "%s: has NUL bytes: not a configuration", path);
	if (!status && b.len)
		status = load_text(s, b.data, path, e);
	buf_release(&b);
	return status;
}

/* http.max_connections is SHD_HTTP_MAX_CONNECTIONS */
static void environment_name(const char *name, char out[NAME_MAX_BYTES])
{
	size_t n = (size_t)snprintf(out, NAME_MAX_BYTES, "SHD_%s", name);

	for (size_t i = 4; i < n && i < NAME_MAX_BYTES; i++)
		out[i] = out[i] == '.' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* The setting's number; -1: not ours; -2: looks like one (SHD_HTTP_...) but is none. */
static int environment_match(const char *entry, size_t len)
{
	char name[NAME_MAX_BYTES];
	int result = -1;

	for (int i = 0; i < settings_count; i++) {
		size_t group = strcspn(settings_table[i].name, ".");

		environment_name(settings_table[i].name, name);
		if (strlen(name) == len && !memcmp(name, entry, len))
			return i;
		if (settings_table[i].name[group] && len > group + 5 && !memcmp(name, entry, group + 5))
			result = -2;
	}
	return result;
}

int settings_load_environment(struct settings *s, char **environment, struct err *e)
{
	for (; *environment; environment++) {
		size_t len = strcspn(*environment, "=");
		int which;

		if (strncmp(*environment, "SHD_", 4) || (*environment)[len] != '=')
			continue;
		which = environment_match(*environment, len);
		if (which == -2) {
			err_set(e, ERR_USAGE, "environment: %.*s stands for no setting", (int)len,
				*environment);
			return err_hint(e, "shd.conf(5) lists all settings");
		}
		if (which >= 0 &&
			settings_set(s, settings_table[which].name, *environment + len + 1, "environment", e))
			return -1;
	}
	return 0;
}

/* ---- profiles ---- */

static const struct profile_value {
	const char *profile, *name, *value;
} profile_values[] = {
	{"ultra-safe", "wal.sync", "always"},
	{"ultra-safe", "segment.max_age", "5s"},
	{"ultra-safe", "object.flush_interval", "100ms"},
	{"balanced", "wal.sync", "always"},
	{"balanced", "segment.max_age", "30s"},
	{"throughput", "wal.sync", "interval:100ms"},
	{"throughput", "wal.max_bytes", "8G"},
	{"throughput", "segment.max_age", "60s"},
	{"throughput", "object.flush_interval", "1s"},
	{"throughput", "object.flush_bytes", "32M"},
	{"throughput", "cache.max_bytes", "4G"},
	{"glacier", "wal.sync", "always"},
	{"glacier", "wal.max_bytes", "8G"},
	{"glacier", "segment.max_age", "10m"},
	{"glacier", "object.flush_interval", "5s"},
	{"glacier", "object.flush_bytes", "64M"},
	{"glacier", "cache.max_bytes", "256M"},
};

int settings_apply_profile(struct settings *s, const char *profile, struct err *e)
{
	char origin[64];
	bool found = false;

	snprintf(origin, sizeof(origin), "profile %.32s", profile);
	for (size_t i = 0; i < array_count(profile_values); i++) {
		const struct profile_value *v = &profile_values[i];

		if (strcmp(v->profile, profile))
			continue;
		found = true;
		if (settings_set(s, v->name, v->value, origin, e))
			return -1;
	}
	if (found)
		return 0;
	err_set(e, ERR_USAGE, "there is no profile '%.32s'", profile);
	return err_hint(e, "profiles: ultra-safe, balanced, throughput, glacier");
}

void settings_profiles_mdoc(struct buf *out)
{
	const char *last = "";

	for (size_t i = 0; i < array_count(profile_values); i++) {
		const struct profile_value *v = &profile_values[i];

		if (strcmp(v->profile, last))
			buf_addf(out, ".It Cm %s\n", v->profile);
		last = v->profile;
		buf_addf(out, ".Li %s=%s\n", v->name, v->value);
	}
}

/* ---- between supervisor and roles ---- */

int settings_write(const struct settings *s, unsigned role, struct buf *out)
{
	for (int i = 0; i < settings_count; i++)
		if (settings_table[i].roles & role)
			buf_addf(out, "%s=%s\n", settings_table[i].name,
				settings_string(s, settings_table[i].name));
	return out->overflow ? -1 : 0;
}

int settings_read(struct settings *s, const void *p, size_t n, struct err *e)
{
	const char *at = p, *end = at + n;

	while (at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));
		char *line, *equals;
		int status = -1;

		stop = stop ? stop : end;
		line = mem_strndup(at, (size_t)(stop - at));
		equals = strchr(line, '=');
		if (equals) {
			*equals = '\0';
			status = settings_set(s, line, equals + 1, "supervisor", e);
		} else {
			err_set(e, ERR_CORRUPT, "settings from the supervisor: a line without '='");
		}
		mem_free(line);
		if (status)
			return -1;
		at = stop + 1;
	}
	return 0;
}

/* ---- showing ---- */

/* Passwords of URLs as stars. */
static void add_value(struct buf *out, const struct setting *d, const char *text)
{
	const char *user = strstr(text, "://"), *at = user ? strrchr(user, '@') : NULL;
	const char *colon = at ? memchr(user + 3, ':', (size_t)(at - user - 3)) : NULL;

	if (d->secret && *text)
		buf_adds(out, "***");
	else if (d->type == SETTING_URL && colon)
		buf_addf(out, "%.*s***%s", (int)(colon + 1 - text), text, at);
	else if (strpbrk(text, " \t#") || !*text)
		buf_addf(out, "\"%s\"", text);
	else
		buf_adds(out, text);
}

void settings_print(const struct settings *s, struct buf *out)
{
	for (int i = 0; i < settings_count; i++) {
		const struct setting *d = &settings_table[i];

		buf_addf(out, "%s = ", d->name);
		add_value(out, d, settings_string(s, d->name));
		buf_addf(out, "  # %s\n", settings_origin(s, d->name));
	}
}

static const char *type_text(const struct setting *d)
{
	switch (d->type) {
	case SETTING_INT:
		return "number";
	case SETTING_BOOL:
		return "true or false";
	case SETTING_SIZE:
		return "size";
	case SETTING_DURATION:
		return "time";
	case SETTING_LISTEN:
		return "addresses";
	case SETTING_URL:
		return "URL";
	case SETTING_WAL_SYNC:
		return "always, interval:TIME or never";
	default:
		return "text";
	}
}

static void add_range(struct buf *out, const struct setting *d)
{
	static const struct {
		int64_t size;
		char letter;
	} sizes[] = {{1LL << 40, 'T'}, {1 << 30, 'G'}, {1 << 20, 'M'}, {1 << 10, 'k'}, {1, 'B'}},
	  times[] = {{86400000, 'd'}, {3600000, 'h'}, {60000, 'm'}, {1000, 's'}};
	const int64_t bounds[2] = {d->min, d->max};

	for (int i = 0; i < 2; i++) {
		int64_t v = bounds[i];
		size_t u = 0;

		buf_adds(out, i ? " to " : ", ");
		while (d->type == SETTING_SIZE && v % sizes[u].size)
			u++;
		while (d->type == SETTING_DURATION && u < 4 && v % times[u].size)
			u++;
		if (d->type == SETTING_SIZE)
			buf_addf(out, "%lld%c", (long long)(v / sizes[u].size), sizes[u].letter);
		else if (d->type == SETTING_DURATION && u < 4)
			buf_addf(out, "%lld%c", (long long)(v / times[u].size), times[u].letter);
		else
			buf_addf(out, "%lld%s", (long long)v, d->type == SETTING_DURATION ? "ms" : "");
	}
}

void settings_mdoc(struct buf *out)
{
	for (int i = 0; i < settings_count; i++) {
		const struct setting *d = &settings_table[i];

		buf_addf(out, ".It Ic %s\n(", d->name);
		if (d->type == SETTING_ENUM)
			for (const char *at = d->choices; *at; at++)
				*at == '|' ? buf_adds(out, ", ") : buf_addc(out, *at);
		else
			buf_adds(out, type_text(d));
		if (d->type == SETTING_INT || d->type == SETTING_SIZE || d->type == SETTING_DURATION)
			add_range(out, d);
		buf_addf(out, "; default %s%s)\n", *d->default_text ? d->default_text : "empty",
			d->reloadable ? "; reloadable" : "");
		buf_addf(out, "%s\n", d->text);
	}
}
