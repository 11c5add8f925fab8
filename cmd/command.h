/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every streamctl-COMMAND program is made of. A command fills in one struct command, and its main() is
 *
 *	int main(int argc, char **argv)
 *	{
 *		return command_main(&produce_command, argc, argv);
 *	}
 *
 * command_main() reads the global options (from the environment, where streamctl puts those that stood before
 * the command, then from the command line) and the command's own, answers --help and --version, checks the
 * number of operands, and calls run(), whose result is the exit status. The tables also feed the completions
 * and the man page: see --list-options in command.c.
 * To add a command: its file here, a line in command-list.def, a line in automake.mk, its man page.
 */
#ifndef SH_CMD_COMMAND_H
#define SH_CMD_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/err.h"
#include "libsh/run/options.h"

enum { /* exit statuses that are not the result of an error; the others come from err_exit_status() */
	EXIT_DONE = 0,
	EXIT_CONDITION = 1, /* a check or condition failed */
	EXIT_USAGE = 2,
	EXIT_PARTIAL = 3,
};

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_NDJSON, OUTPUT_TSV };

struct command_globals {
	const char *server;   /* NULL: not given */
	const char *context;  /* NULL: not given */
	int output;           /* enum output_format, -1: not given */
	int64_t timeout_ms;
	bool quiet, verbose, no_color, help, version;
};

struct command_run;
struct command {
	const char *name;     /* as typed: "produce"; of a subcommand: "create" */
	const char *summary;  /* one line, no full stop */
	const char *operands; /* "TOPIC [FILE...]" */
	/* What the operands are, for completions: "topic", "file", "topic file" (first, others), or NULL. */
	const char *complete;
	int min_operands, max_operands; /* max -1: any number */
	const struct option *options;   /* or NULL */
	size_t values_size;   /* of the struct that options' offsets point into */
	void (*defaults)(void *values); /* may be NULL: all zero */
	int (*run)(struct command_run *r); /* returns the exit status */
	/* Ends with a NULL name. With it, only name and summary of this one are used. */
	const struct command *subcommands;
};

struct command_run {
	const struct command *command;
	const char *title;    /* "streamctl topic create" */
	const struct command_globals *globals;
	void *values;
	int argc;             /* operands */
	char **argv;
};

int command_main(const struct command *command, int argc, char **argv);

extern const struct option command_global_options[];
void command_globals_init(struct command_globals *g); /* defaults, then the environment */
/* After parsing: at most one of server and context stays. Options win over the environment, then the server
 * over the context. */
void command_globals_settle(struct command_globals *g);

/* Print the error and its hint on stderr; returns the exit status of its code. */
int command_fail(const struct command_run *r, const struct err *e);
/* "title: text" on stderr unless -q. */
void command_note(const struct command_run *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Write to stdout; a broken pipe ends the program quietly with status 0, another error with status 10. */
void command_write(const struct command_run *r, const void *p, size_t n);
/* Is stderr a terminal, and talk not switched off with -q? Then progress may be shown. */
bool command_shows_progress(const struct command_run *r);

#endif
