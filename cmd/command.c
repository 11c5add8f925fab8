/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "cmd/command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum { DEFAULT_TIMEOUT_MS = 30000, HELP_MAX_BYTES = 1 << 20 };

#define GLOBAL(member) offsetof(struct command_globals, member)
const struct option command_global_options[] = {
	{.type = OPTION_STRING, .letter = 's', .name = "server", .argument = "URL", .offset = GLOBAL(server),
		.text = "Talk to the server at URL",
		.more = "The default is $STREAMCTL_SERVER, or http://127.0.0.1:8080. HOST:PORT stands for http://HOST:PORT."},
	{.type = OPTION_STRING, .letter = 'c', .name = "context", .argument = "NAME",
		.offset = GLOBAL(context),
		.text = "Take server and credentials from context NAME of the configuration file",
		.more = "See FILES in streamctl(1)."},
	{.type = OPTION_CHOICE, .letter = 'o', .name = "output", .argument = "FORMAT",
		.offset = GLOBAL(output),
		.text = "Print results as table, json, ndjson or tsv", .choices = "table|json|ndjson|tsv"},
	{.type = OPTION_FLAG, .letter = 'q', .name = "quiet", .offset = GLOBAL(quiet),
		.text = "Print only results and errors"},
	{.type = OPTION_FLAG, .letter = 'v', .name = "verbose", .offset = GLOBAL(verbose),
		.text = "Say more on standard error"},
	{.type = OPTION_DURATION, .name = "timeout", .argument = "TIME", .offset = GLOBAL(timeout_ms),
		.text = "Give up on an answer after TIME", .more = "The default is 30s."},
	{.type = OPTION_FLAG, .name = "no-color", .offset = GLOBAL(no_color), .text = "Use no colours"},
	{.type = OPTION_FLAG, .letter = 'h', .name = "help", .offset = GLOBAL(help),
		.text = "Print the usage and exit"},
	{.type = OPTION_FLAG, .name = "version", .offset = GLOBAL(version),
		.text = "Print the version and exit"},
	{.type = OPTION_END},
};

void command_globals_init(struct command_globals *g)
{
	const char *timeout = getenv("STREAMCTL_TIMEOUT"), *output = getenv("STREAMCTL_OUTPUT");
	static const char *const formats[] = {"table", "json", "ndjson", "tsv"};

	*g = (struct command_globals){.output = -1, .timeout_ms = DEFAULT_TIMEOUT_MS};
	g->server = getenv("STREAMCTL_SERVER");
	if (g->server && !*g->server)
		g->server = NULL;
	g->context = getenv("STREAMCTL_CONTEXT");
	if (g->context && !*g->context)
		g->context = NULL;
	if (timeout && option_parse_duration(timeout, &g->timeout_ms, NULL))
		g->timeout_ms = DEFAULT_TIMEOUT_MS;
	for (int i = 0; output && i < 4; i++)
		if (!strcmp(output, formats[i]))
			g->output = i;
	g->quiet = getenv("STREAMCTL_QUIET") != NULL;
	g->verbose = getenv("STREAMCTL_VERBOSE") != NULL;
	g->no_color = getenv("NO_COLOR") != NULL;
}

void command_globals_settle(struct command_globals *g)
{
	bool server_given = g->server && g->server != getenv("STREAMCTL_SERVER");
	bool context_given = g->context && g->context != getenv("STREAMCTL_CONTEXT");

	if (server_given || (g->server && !context_given))
		g->context = NULL;
	else if (g->context)
		g->server = NULL;
}

int command_fail(const struct command_run *r, const struct err *e)
{
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", r->title, e->text[0] ? e->text : err_name(e->code));
	if (e->hint[0])
		fprintf(stderr, "  %s\n", e->hint);
	return err_exit_status(e->code);
}

void command_note(const struct command_run *r, const char *fmt, ...)
{
	va_list ap;

	if (r->globals->quiet)
		return;
	fprintf(stderr, "%s: ", r->title);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void command_write(const struct command_run *r, const void *p, size_t n)
{
	for (const char *c = p; n > 0;) {
		ssize_t wrote = write(STDOUT_FILENO, c, n);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0 && errno == EPIPE)
			exit(EXIT_DONE);
		if (wrote < 0) {
			fprintf(stderr, "%s: cannot write to standard output: %s\n", r->title,
				strerror(errno));
			exit(err_exit_status(ERR_IO));
		}
		c += wrote;
		n -= (size_t)wrote;
	}
}

bool command_shows_progress(const struct command_run *r)
{
	return !r->globals->quiet && isatty(STDERR_FILENO);
}

static void add_usage(struct buf *out, const struct command *c, const char *title)
{
	if (!c->subcommands) {
		buf_addf(out, "%s [OPTIONS]%s%s\n", title, c->operands ? " " : "",
			c->operands ? c->operands : "");
		return;
	}
	for (const struct command *s = c->subcommands; s->name; s++)
		buf_addf(out, "%s%s %s [OPTIONS]%s%s\n", s == c->subcommands ? "" : "       ", title, s->name,
			s->operands ? " " : "", s->operands ? s->operands : "");
}

static void add_help(struct buf *out, const struct command *c, const char *title)
{
	buf_adds(out, "usage: ");
	add_usage(out, c, title);
	buf_addf(out, "\n%s.\n", c->summary);
	if (c->subcommands) {
		buf_addc(out, '\n');
		for (const struct command *s = c->subcommands; s->name; s++)
			buf_addf(out, "  %-12s %s\n", s->name, s->summary);
	}
	if (c->options) {
		buf_adds(out, "\nOptions:\n");
		options_help(c->options, out);
	}
	buf_adds(out, "\nGlobal options:\n");
	options_help(command_global_options, out);
}

/*
 * --list-options: for the build, which makes completions and man pages of it. A "command" line, then its
 * options, for each subcommand.
 * --list-options=mdoc [SUBCOMMAND]: the options as items of an mdoc list; of "global" those of every command.
 */
static int list_options(const struct command *c, const char *format, const char *subcommand, struct buf *out)
{
	const struct command single[2] = {*c, {.name = NULL}};
	const struct command *all = c->subcommands ? c->subcommands : single;

	if (!strcmp(format, "mdoc") && subcommand && !strcmp(subcommand, "global")) {
		options_mdoc(command_global_options, out);
		return EXIT_DONE;
	}
	for (const struct command *s = all; s->name; s++) {
		if (subcommand && strcmp(subcommand, s->name))
			continue;
		if (!strcmp(format, "mdoc")) {
			options_mdoc(s->options, out);
			continue;
		}
		buf_addf(out, "command\t%s\t%s\t%s\n", c->subcommands ? s->name : "",
			s->complete ? s->complete : "", s->summary);
		options_tsv(s->options, out);
	}
	return EXIT_DONE;
}

static int usage_error(struct command_run *r, struct err *e)
{
	if (!e->hint[0])
		err_hint(e, "%s --help lists the options", r->title);
	return command_fail(r, e);
}

static const struct command *pick_subcommand(const struct command *c, const char *name, struct err *e)
{
	struct buf names = BUF_INIT(200);
	const struct command *s;

	for (s = c->subcommands; s->name; s++)
		if (name && !strcmp(s->name, name))
			return s;
	for (s = c->subcommands; s->name; s++)
		buf_addf(&names, "%s%s", names.len ? ", " : "", s->name);
	if (name)
		err_set(e, ERR_USAGE, "there is no \"%s %s\"; there are %s", c->name, name, names.data);
	else
		err_set(e, ERR_USAGE, "%s needs one of %s", c->name, names.data);
	buf_release(&names);
	return NULL;
}

static int check_operands(const struct command_run *r, struct err *e)
{
	const struct command *c = r->command;

	if (r->argc < c->min_operands)
		return err_set(e, ERR_USAGE, "it needs %s", c->operands);
	if (c->max_operands >= 0 && r->argc > c->max_operands)
		return err_set(e, ERR_USAGE, "it takes no \"%s\"", r->argv[c->max_operands]);
	return 0;
}

static int parse_and_run(struct command_run *r, struct command_globals *g, int argc, char **argv)
{
	const struct command *c = r->command;
	struct option_set sets[] = {{c->options, r->values}, {command_global_options, g}};
	struct err e = ERR_INIT;

	if (options_parse(sets, 2, argc, argv, false, &r->argc, &e))
		return usage_error(r, &e);
	command_globals_settle(g);
	r->argv = argv;
	if (g->help || g->version) {
		struct buf text = BUF_INIT(HELP_MAX_BYTES);

		if (g->version)
			buf_adds(&text, "streamctl " PACKAGE_VERSION "\n");
		else
			add_help(&text, c, r->title);
		command_write(r, text.data, text.len);
		buf_release(&text);
		return EXIT_DONE;
	}
	if (check_operands(r, &e))
		return usage_error(r, &e);
	return c->run(r);
}

static void release_values(const struct command *c, void *values)
{
	for (const struct option *o = c->options; o && o->type != OPTION_END; o++)
		if (o->type == OPTION_LIST)
			option_list_release((struct option_list *)((char *)values + o->offset));
	mem_free(values);
}

/*
 * A standard descriptor that is closed would be the next socket: input read from it, results written to it.
 * What stands in for it can only fail.
 */
static void keep_standard_descriptors(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			(void)!open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int command_main(const struct command *command, int argc, char **argv)
{
	char title[100];
	struct command_globals globals;
	struct command_run r = {.command = command, .title = title, .globals = &globals};
	struct err e = ERR_INIT;
	int status;

	keep_standard_descriptors();
	signal(SIGPIPE, SIG_IGN); /* writing says EPIPE, and command_write() ends quietly */
	command_globals_init(&globals);
	snprintf(title, sizeof(title), "streamctl %s", command->name);
	if (argc > 1 && !strncmp(argv[1], "--list-options", 14)) {
		struct buf text = BUF_INIT(HELP_MAX_BYTES);

		status = list_options(
			command, argv[1][14] ? argv[1] + 15 : "tsv", argc > 2 ? argv[2] : NULL, &text);
		command_write(&r, text.data, text.len);
		buf_release(&text);
		return status;
	}
	if (command->subcommands) {
		struct option_set set = {command_global_options, &globals};

		if (options_parse(&set, 1, argc, argv, true, &argc, &e))
			return usage_error(&r, &e);
		if (!globals.help && !globals.version) {
			r.command = pick_subcommand(command, argc ? argv[0] : NULL, &e);
			if (!r.command)
				return usage_error(&r, &e);
			snprintf(title, sizeof(title), "streamctl %s %s", command->name, r.command->name);
		} else {
			argc = 1;
		}
	}
	r.values = mem_zalloc(r.command->values_size + 1);
	if (r.command->defaults)
		r.command->defaults(r.values);
	status = parse_and_run(&r, &globals, argc, argv);
	release_values(r.command, r.values);
	return status;
}
