/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <unistd.h>

#include "libsh/base/mem.h"
#include "libsh/run/address.h"
#include "libsh/run/settings.h"
#include "tests/unit/tap.h"

static int set(const char *name, const char *value, struct err *e)
{
	struct settings *s = settings_new();
	int status;

	err_clear(e);
	status = settings_set(s, name, value, "-O", e);
	settings_free(s);
	return status;
}

static void test_table(void)
{
	int bad = 0;

	for (int i = 0; i < settings_count; i++) {
		const struct setting *d = &settings_table[i];

		bad += !d->roles || !*d->text || d->max < d->min;
		for (int j = 0; j < i; j++)
			bad += !strcmp(d->name, settings_table[j].name);
	}
	is_int(bad, 0, "each setting is there once, has a reader, a text and a range");
}

static void test_defaults(void)
{
	struct settings *s = settings_new();
	struct err e = ERR_INIT;
	int64_t interval = -1;

	is_int(settings_check(s, &e), 0, "the defaults fit together");
	is_str(settings_string(s, "http.listen"), "127.0.0.1:8080", "http.listen");
	is_int(settings_number(s, "wal.max_bytes"), 2LL << 30, "sizes are bytes");
	is_int(settings_number(s, "segment.max_age"), 30000, "times are milliseconds");
	ok(settings_bool(s, "auto.create.topics"), "booleans");
	is_int(settings_wal_sync(s, &interval), WAL_SYNC_ALWAYS, "wal.sync");
	is_str(settings_origin(s, "agents"), "default", "the origin of a default");
	settings_free(s);
}

static void test_values(void)
{
	static const struct {
		const char *name, *value;
		bool good;
	} cases[] = {
		{"agents", "64", true}, {"agents", "0", false}, {"agents", "65", false}, {"agents", "two", false},
		{"http.listen", "[::1]:0,127.0.0.1:80", true}, {"http.listen", "*:8080", true}, {"http.listen", "::1:80", false},
		{"http.listen", "localhost", false}, {"http.listen", "localhost:65536", false}, {"http.listen", "a:b", false},
		{"kafka.listen", "", true}, {"wal.sync", "always", true}, {"wal.sync", "interval:100ms", true},
		{"wal.sync", "interval:", false}, {"wal.sync", "interval:0", false}, {"wal.sync", "often", false},
		{"wal.max_bytes", "1T", true}, {"wal.max_bytes", "1k", false}, {"wal.max_bytes", "12x", false},
		{"segment.max_age", "10m", true}, {"segment.max_age", "1", false}, {"segment.max_age", "-1s", false},
		{"log.level", "debug", true}, {"log.level", "loud", false}, {"log.level", "", false},
		{"object.url", "file:", true}, {"object.url", "file:///x", true}, {"object.url", "file:x", false},
		{"object.url", "s3://bucket/prefix", true}, {"object.url", "s3://", false}, {"object.url", "ftp://x", false},
		{"meta.url", "sqlite:", true}, {"meta.url", "sqlite:///a/b.db", true}, {"meta.url", "postgresql://u:p@h/db", true},
		{"meta.url", "sqlite", false}, {"auto.create.topics", "off", true}, {"auto.create.topics", "maybe", false},
		{"agent.zone", "a\nb", false},
	};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < array_count(cases); i++)
		ok((set(cases[i].name, cases[i].value, &e) == 0) == cases[i].good && (cases[i].good || e.code == ERR_USAGE),
			"%s=%s is %s%s%s", cases[i].name, i + 1 == array_count(cases) ? "(two lines)" : cases[i].value,
			cases[i].good ? "taken" : "refused: ", cases[i].good ? "" : e.text, "");
	set("http.lisen", "x", &e);
	is_str(e.text, "-O: there is no setting 'http.lisen'", "an unknown name");
	is_str(e.hint, "did you mean http.listen?", "is met with the one that was meant");
}

static void test_check(void)
{
	static const struct {
		const char *name, *value;
		enum err_code code;
	} cases[] = {
		{"agents", "2", ERR_NOT_BUILT},
		{"s3.sse_kms_key", "key", ERR_USAGE},
		{"meta.url", "postgresql://u:secret@h/db", ERR_NOT_BUILT},
		{"http.listen", "", ERR_USAGE},
		{"segment.max_bytes", "1M", ERR_NONE},
		{"wal.max_bytes", "192M", ERR_NONE},
	};

	for (size_t i = 0; i < array_count(cases); i++) {
		struct settings *s = settings_new();
		struct err e = ERR_INIT;

		settings_set(s, cases[i].name, cases[i].value, "-O", &e);
		settings_check(s, &e);
		ok(e.code == cases[i].code && !strstr(e.text, "secret"), "%s=%s: %s", cases[i].name, cases[i].value,
			e.code ? e.text : "fits");
		settings_free(s);
	}
}

static int load(struct settings *s, const char *text, struct err *e)
{
	char path[] = "/tmp/sh-settings-XXXXXX";
	int fd = mkstemp(path), status;

	if (write(fd, text, strlen(text)) < 0)
		exit(1);
	close(fd);
	err_clear(e);
	status = settings_load_file(s, path, e);
	if (status)
		memmove(e->text, e->text + strlen(path), strlen(e->text + strlen(path)) + 1);
	unlink(path);
	return status;
}

static void test_file(void)
{
	struct settings *s = settings_new();
	struct err e = ERR_INIT;

	is_int(load(s, "# comment\n\n http.listen=1.2.3.4:5 # why\r\nagent.zone = \" a # b \"  # x\nagent.group = a#b", &e), 0,
		"a file is read");
	is_str(settings_string(s, "http.listen"), "1.2.3.4:5", "comments and blanks are left out");
	is_str(settings_string(s, "agent.zone"), " a # b ", "quotes keep them");
	is_str(settings_string(s, "agent.group"), "a#b", "a # in a word is no comment");
	ok(load(s, "\nagents 3\n", &e) && !strcmp(e.text, ":2: expected name = value"), "a line without = (%s)", e.text);
	ok(load(s, "\n\nagents = x\n", &e) && !strncmp(e.text, ":3: agents: ", 12), "file, line and reason (%s)", e.text);
	ok(load(s, "agent.zone = \"x\n", &e), "an open quote (%s)", e.text);
	ok(load(s, "agent.zone = \"x\" y\n", &e), "text behind a quote (%s)", e.text);
	ok(settings_load_file(s, "/nonexistent/shd.conf", &e) && e.code == ERR_NOT_FOUND, "no such file");
	settings_free(s);
}

static void test_environment(void)
{
	char *good[] = {"PATH=/bin", "SHD_HTTP_LISTEN=:1", "SHD_WAL_MAX_BYTES=1G", "SHD_AUTO_CREATE_TOPICS=no", "SHD_PID=7",
		"SHD_LOG=x", "SHD_AGENTS=3", NULL};
	char *unknown[] = {"SHD_HTTP_LISTEM=:1", NULL}, *bad[] = {"SHD_AGENTS=x", NULL};
	struct settings *s = settings_new();
	struct err e = ERR_INIT;

	is_int(settings_load_environment(s, good, &e), 0, "the environment");
	ok(!strcmp(settings_string(s, "http.listen"), ":1") && settings_number(s, "wal.max_bytes") == 1 << 30 &&
			!settings_bool(s, "auto.create.topics") && settings_number(s, "agents") == 3, "names are found");
	is_str(settings_origin(s, "agents"), "environment", "the origin");
	is_int(settings_load_environment(s, unknown, &e), -1, "a name that looks like a setting and is none is refused");
	is_int(settings_load_environment(s, bad, &e), -1, "so is a bad value");
	settings_free(s);
}

static void test_profiles(void)
{
	static const char *const names[] = {"ultra-safe", "balanced", "throughput", "glacier"};
	struct err e = ERR_INIT;

	for (size_t i = 0; i < array_count(names); i++) {
		struct settings *s = settings_new();

		ok(!settings_apply_profile(s, names[i], &e) && !settings_check(s, &e), "profile %s fits together", names[i]);
		settings_free(s);
	}
	is_int(settings_apply_profile(NULL, "fast", &e), -1, "others are refused");
}

static void test_roles(void)
{
	struct settings *s = settings_new(), *r = settings_new();
	struct buf b = BUF_INIT(1 << 16), names = BUF_INIT(1024);
	struct err e = ERR_INIT;

	settings_set(s, "meta.url", "sqlite:///elsewhere", "-O", &e);
	settings_set(s, "wal.sync", "interval:5ms", "-O", &e);
	settings_set(s, "log.level", "debug", "-O", &e);
	is_int(settings_write(s, FOR_AGENT, &b), 0, "written for an agent");
	ok(!strstr(b.data, "meta.url") && !strstr(b.data, "s3."), "it does not hear of what others need");
	is_int(settings_read(r, b.data, b.len, &e), 0, "and read");
	is_str(settings_string(r, "wal.sync"), "interval:5ms", "values arrive");
	settings_diff(r, s, false, &names);
	is_str(names.data, "meta.url", "what differs and needs a restart");
	buf_reset(&b);
	settings_set(s, "meta.url", "postgresql://me:secret@db/x", "-O", &e);
	settings_print(s, &b);
	ok(strstr(b.data, "meta.url = postgresql://me:***@db/x  # -O\n"), "passwords are not shown");
	buf_reset(&b);
	settings_mdoc(&b);
	ok(!b.overflow && strstr(b.data, ".It Ic wal.sync\n"), "the manual is made from the table");
	buf_release(&b);
	buf_release(&names);
	settings_free(s);
	settings_free(r);
}

int main(void)
{
	test_table();
	test_defaults();
	test_values();
	test_check();
	test_file();
	test_environment();
	test_profiles();
	test_roles();
	return done_testing();
}
