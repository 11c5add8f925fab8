/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of shd. What it does then is supervisor.c. */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/supervisor.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/run/options.h"

enum { EXIT_USAGE = 2, TEXT_MAX_BYTES = 256 << 10 };

struct values {
	const char *data_dir, *file, *profile;
	struct option_list assignments;
	bool check, help, version, mdoc, profiles_mdoc;
};

#define AT(member) offsetof(struct values, member)
static const struct option table[] = {
	{OPTION_STRING, 'D', "data", "DIR", AT(data_dir), "directory of all data; made when it is not there",
		NULL, NULL, "directory", 0, 0, false},
	{OPTION_STRING, 'f', "config", "FILE", AT(file), "read settings from FILE, see shd.conf(5)", NULL,
		NULL, "file", 0, 0, false},
	{OPTION_LIST, 'O', "set", "NAME=VALUE", AT(assignments), "set one setting; may be given again", NULL,
		NULL, NULL, 0, 0, false},
	{OPTION_STRING, 0, "profile", "NAME", AT(profile), "start from a group of settings", NULL,
		"ultra-safe|balanced|throughput|glacier", NULL, 0, 0, false},
	{OPTION_FLAG, 't', "check", NULL, AT(check), "check the configuration, print what results, and exit",
		NULL, NULL, NULL, 0, 0, false},
	{OPTION_FLAG, 'V', "version", NULL, AT(version), "print the version and exit", NULL, NULL, NULL, 0, 0,
		false},
	{OPTION_FLAG, 'h', "help", NULL, AT(help), "print this and exit", NULL, NULL, NULL, 0, 0, false},
	{OPTION_END, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, 0, false},
};
/* For the build: parts of the manual pages. */
static const struct option build_table[] = {
	{OPTION_FLAG, 0, "print-settings-mdoc", NULL, AT(mdoc), "items of shd.conf(5)", NULL, NULL, NULL, 0,
		0, false},
	{OPTION_FLAG, 0, "print-profiles-mdoc", NULL, AT(profiles_mdoc), "profiles of shd.conf(5)", NULL,
		NULL, NULL, 0, 0, false},
	{OPTION_END, 0, NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, 0, false},
};

static int complain(const struct err *e)
{
	fprintf(stderr, "shd: %s\n", e->text);
	if (*e->hint)
		fprintf(stderr, "shd: %s\n", e->hint);
	return EXIT_USAGE;
}

/* 0, or 10 when stdout does not take it. */
static int print(struct buf *b)
{
	struct err e = ERR_INIT;
	int status = b->len ? fd_write_all(1, b->data, b->len, &e) : 0;

	if (status)
		complain(&e);
	buf_release(b);
	return status ? err_exit_status(ERR_IO) : 0;
}

static int print_help(void)
{
	struct buf b = BUF_INIT(TEXT_MAX_BYTES);

	buf_adds(&b, "usage: shd [-D DIR] [-f FILE] [-O NAME=VALUE]... [--profile NAME] [-t]\n"
		     "Runs a StreamHouse server in the foreground. Without options its data is in\n"
		     "~/.local/share/streamhouse and it serves HTTP on 127.0.0.1:8080.\n\n");
	options_help(table, &b);
	buf_adds(&b, "\nshd(8) and shd.conf(5) say more.\n");
	return print(&b);
}

static int print_settings(const struct settings *s)
{
	struct buf b = BUF_INIT(TEXT_MAX_BYTES);

	settings_print(s, &b);
	return print(&b);
}

static int print_mdoc(const struct values *v)
{
	struct buf b = BUF_INIT(TEXT_MAX_BYTES);

	if (v->mdoc)
		settings_mdoc(&b);
	else
		settings_profiles_mdoc(&b);
	return print(&b);
}

/* One that comes before the loop listens waits for it, instead of ending us. */
static void hold_reload(void)
{
	sigset_t reload;

	sigemptyset(&reload);
	sigaddset(&reload, SIGHUP);
	sigprocmask(SIG_BLOCK, &reload, NULL);
}

static int run(const struct values *v)
{
	struct configuration c = {.file = v->file, .profile = v->profile, .data_dir = v->data_dir,
		.assignments = v->assignments.items, .assignment_count = v->assignments.count};
	struct err e = ERR_INIT;
	struct settings *s;
	int status;

	if (v->help)
		return print_help();
	if (v->version)
		return puts("shd " PACKAGE_VERSION) < 0 ? err_exit_status(ERR_IO) : 0;
	if (v->mdoc || v->profiles_mdoc)
		return print_mdoc(v);
	if (!v->check)
		hold_reload();
	s = configuration_load(&c, &e);
	if (!s)
		return complain(&e);
	if (!v->check)
		return supervisor_run(&c, s);
	status = print_settings(s);
	settings_free(s);
	return status;
}

int main(int argc, char **argv)
{
	struct values v = {0};
	const struct option_set sets[] = {{table, &v}, {build_table, &v}};
	struct err e = ERR_INIT;
	int operands = 0, status;

	if (fd_fill_standard())
		return err_exit_status(ERR_IO);
	fd_close_from(3); /* whatever our parent forgot to close must not live as long as we do */
	log_init("shd", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	if (options_parse(sets, 2, argc, argv, false, &operands, &e))
		status = complain(&e);
	else if (operands) {
		err_set(&e, ERR_USAGE, "'%.64s': shd takes no operands", argv[0]);
		err_hint(&e, "shd -h lists its options");
		status = complain(&e);
	} else {
		status = run(&v);
	}
	option_list_release(&v.assignments);
	return status;
}
