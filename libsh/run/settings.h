/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of shd: one table (settings.def) feeds the parser, `shd -t`, `shd -O`, the environment and
 * shd.conf(5). Sources, later ones win: default, profile, shd.conf, environment (SHD_HTTP_LISTEN is
 * http.listen), -O.
 */
#ifndef SH_RUN_SETTINGS_H
#define SH_RUN_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

enum setting_type {
	SETTING_STRING, SETTING_INT, SETTING_BOOL, SETTING_SIZE, SETTING_DURATION, SETTING_ENUM, SETTING_LISTEN,
	SETTING_URL, SETTING_WAL_SYNC,
};
/* Which roles are told the value (secrets stay where they are used). */
enum { FOR_SUPERVISOR = 1, FOR_AGENT = 2, FOR_STORE = 4, FOR_META = 8, FOR_JANITOR = 16, FOR_ALL = 31 };

struct setting {
	const char *name;
	enum setting_type type;
	const char *default_text;
	int64_t min, max;          /* numbers: bytes, milliseconds */
	const char *choices;       /* enums: "a|b|c" */
	bool reloadable;           /* SIGHUP takes a new value; else a restart does */
	bool secret;               /* shd -t prints it as stars */
	unsigned roles;
	const char *text;          /* for the man page, mdoc */
};
extern const struct setting settings_table[];
extern const int settings_count;

struct settings; /* resolved values */
struct settings *settings_new(void); /* defaults */
void settings_free(struct settings *s);
/* origin: "shd.conf:12", "environment", "-O"; appears in errors and in settings_print(). */
int settings_set(struct settings *s, const char *name, const char *value, const char *origin, struct err *e);
int settings_load_file(struct settings *s, const char *path, struct err *e);
/* A name like SHD_HTTP_X that is no setting is an error; other SHD_ names are not ours. */
int settings_load_environment(struct settings *s, char **environment, struct err *e);
int settings_apply_profile(struct settings *s, const char *profile, struct err *e);
/* What must fit together: e.g. segment.max_bytes against wal.max_bytes. */
int settings_check(const struct settings *s, struct err *e);
/* name = value  # origin; passwords as stars. */
void settings_print(const struct settings *s, struct buf *out);
void settings_mdoc(struct buf *out);                            /* the items of shd.conf(5) */
void settings_profiles_mdoc(struct buf *out);
const char *settings_origin(const struct settings *s, const char *name); /* "default" when nobody set it */
/* name=value lines for one role, and back. */
int settings_write(const struct settings *s, unsigned role, struct buf *out);
int settings_read(struct settings *s, const void *p, size_t n, struct err *e);
/* Names of settings that differ and cannot be changed by reload, comma separated, into out. */
void settings_diff(const struct settings *old, const struct settings *new_, bool reloadable, struct buf *out);
/* Those that cannot be changed by reload get the running values back. */
void settings_keep_fixed(struct settings *s, const struct settings *running);

/* Typed access; an unknown name or wrong type is a bug and aborts. */
const char *settings_string(const struct settings *s, const char *name);
/* An int, a size in bytes, a duration in ms, or a bool. */
int64_t settings_number(const struct settings *s, const char *name);
bool settings_bool(const struct settings *s, const char *name);

enum wal_sync { WAL_SYNC_ALWAYS, WAL_SYNC_INTERVAL, WAL_SYNC_NEVER };
enum wal_sync settings_wal_sync(const struct settings *s, int64_t *interval_ms);

#endif
