/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streamctl COMMAND: finds the program streamctl-COMMAND and becomes it. It is looked for in
 * $STREAMCTL_EXEC_PATH, beside this program (an uninstalled tree), in the libexec directory, and then on
 * PATH, so anybody can add a command. Global options that stand before the command travel in the environment,
 * so that such programs need not know them.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/command.h"
#include "cmd/completion.h"
#include "cmd/find.h"
#include "libsh/base/mem.h"

static const struct {
	const char *name, *summary;
	int group;
} commands[] = {
#define COMMAND(name, group, summary) {#name, summary, group},
#include "cmd/command-list.def"
#undef COMMAND
};
static const char *const group_titles[] = {"", "Records and topics", "The server", "Without a server"};

struct values {
	const char *completion; /* --generate-completion SHELL */
};
static const struct option own_options[] = {
	{.type = OPTION_STRING, .name = "generate-completion", .argument = "SHELL",
		.offset = offsetof(struct values, completion), .complete = "bash|zsh|fish",
		.text = "Print the completions of all commands for bash, zsh or fish"},
	{.type = OPTION_END},
};

static void add_usage(struct buf *out)
{
	buf_adds(out, "usage: streamctl [GLOBAL OPTIONS] COMMAND [OPTIONS] [ARGUMENTS]\n");
	for (int group = 1; group < (int)array_count(group_titles); group++) {
		buf_addf(out, "\n%s:\n", group_titles[group]);
		for (size_t i = 0; i < array_count(commands); i++)
			if (commands[i].group == group)
				buf_addf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
	}
	buf_adds(out, "\nAny program streamctl-NAME on PATH is a command too.\n"
		      "\"streamctl help COMMAND\" opens its manual, \"streamctl COMMAND --help\" lists its "
		      "options.\n"
		      "\nGlobal options:\n");
	options_help(command_global_options, out);
}

static int print_usage(const struct command_run *r, int fd)
{
	struct buf text = BUF_INIT(1 << 20);

	add_usage(&text);
	if (fd == STDOUT_FILENO)
		command_write(r, text.data, text.len);
	else
		fputs(text.data, stderr);
	buf_release(&text);
	return fd == STDOUT_FILENO ? EXIT_DONE : EXIT_USAGE;
}

static int unknown_command(const struct command_run *r, const char *name)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_USAGE, "there is no command \"%s\"", name);
	err_hint(&e, "\"streamctl\" lists the commands; streamctl-%s is neither installed nor on PATH", name);
	return command_fail(r, &e);
}

/* Does man(1) know the page? Not in a tree that is not installed, or where there is no man(1). */
static bool has_page(const char *page)
{
	pid_t pid = fork();
	int status, null;

	if (pid == 0) {
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		execlp("man", "man", "-w", page, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* streamctl help [COMMAND]: the manual, or where there is none the usage. */
static int help(const struct command_run *r, const char *name)
{
	char page[100], path[FIND_PATH_BYTES];

	if (!name)
		return print_usage(r, STDOUT_FILENO);
	snprintf(page, sizeof(page), "streamctl-%s", name);
	if (has_page(page))
		execlp("man", "man", page, (char *)NULL);
	if (find_command(name, path, sizeof(path)))
		execl(path, path, "--help", (char *)NULL);
	return unknown_command(r, name);
}

static void export_globals(const struct command_globals *g)
{
	static const char *const formats[] = {"table", "json", "ndjson", "tsv"};
	char number[32];

	if (g->context) {
		setenv("STREAMCTL_CONTEXT", g->context, 1);
		unsetenv("STREAMCTL_SERVER");
	} else if (g->server) {
		setenv("STREAMCTL_SERVER", g->server, 1);
		unsetenv("STREAMCTL_CONTEXT");
	}
	if (g->output >= 0)
		setenv("STREAMCTL_OUTPUT", formats[g->output], 1);
	if (g->quiet)
		setenv("STREAMCTL_QUIET", "1", 1);
	if (g->verbose)
		setenv("STREAMCTL_VERBOSE", "1", 1);
	if (g->no_color)
		setenv("NO_COLOR", "1", 1);
	snprintf(number, sizeof(number), "%lldms", (long long)g->timeout_ms);
	setenv("STREAMCTL_TIMEOUT", number, 1);
}

static int dispatch(const struct command_run *r, char **argv)
{
	char path[FIND_PATH_BYTES];
	struct err e = ERR_INIT;

	if (!strcmp(argv[0], "help"))
		return help(r, argv[1]);
	if (!find_command(argv[0], path, sizeof(path)))
		return unknown_command(r, argv[0]);
	export_globals(r->globals);
	argv[0] = path;
	execv(path, argv);
	err_sys(&e, ERR_IO, "cannot run %s", path);
	return command_fail(r, &e);
}

int main(int argc, char **argv)
{
	struct values values = {NULL};
	struct command_globals globals;
	struct option_set sets[] = {{command_global_options, &globals}, {own_options, &values}};
	struct command_run r = {.title = "streamctl", .globals = &globals};
	struct err e = ERR_INIT;
	int count;

	command_globals_init(&globals);
	if (options_parse(sets, 2, argc, argv, true, &count, &e)) {
		if (!e.hint[0])
			err_hint(&e, "\"streamctl --help\" lists the global options");
		return command_fail(&r, &e);
	}
	command_globals_settle(&globals);
	argv[count] = NULL;
	if (values.completion)
		return completion_generate(&r, values.completion);
	if (globals.version) {
		puts("streamctl " PACKAGE_VERSION);
		return EXIT_DONE;
	}
	if (globals.help)
		return print_usage(&r, STDOUT_FILENO);
	if (!count)
		return print_usage(&r, isatty(STDIN_FILENO) ? STDOUT_FILENO : STDERR_FILENO);
	return dispatch(&r, argv);
}
