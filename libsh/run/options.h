/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of a program from one table: it parses the command line, prints --help, and feeds the shell
 * completions and the OPTIONS part of the man page. Long options are written in full; "--" ends options; "-"
 * is an operand; operands and options may be mixed. An option's argument is the next word, whatever it begins
 * with.
 *
 * A table is a static array that ends with OPTION_END. `offset` says where in the caller's struct of values
 * the result goes, as the type tells; values not given are left as they were, so defaults are set before
 * parsing.
 */
#ifndef SH_RUN_OPTIONS_H
#define SH_RUN_OPTIONS_H

#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

enum option_type {
	OPTION_END,
	OPTION_FLAG,     /* bool: set to true; takes no argument */
	OPTION_STRING,   /* const char *: points into argv */
	OPTION_INT,      /* int64_t, between min and max when they differ */
	OPTION_SIZE,     /* int64_t in bytes; "64k", "1M" */
	OPTION_DURATION, /* int64_t in milliseconds; "5ms", "30s", always with a unit */
	OPTION_CHOICE,   /* int: which of `choices` */
	OPTION_LIST,     /* struct option_list: may be given again and again */
};

struct option {
	enum option_type type;
	char letter;           /* 0: none */
	const char *name;      /* without the dashes */
	const char *argument;  /* "N", "FILE"; NULL for flags */
	size_t offset;
	const char *text;      /* one line for --help and completions; no full stop */
	const char *more;      /* further sentences for the man page, plain text; may be NULL */
	const char *choices;   /* "a|b|c" */
	const char *complete;  /* what completions offer: "topic", "file", "directory", "a|b|c", or NULL */
	int64_t min, max;
	bool optional;         /* OPTION_STRING: --name or --name=VALUE; without a value it is "" */
};

enum { OPTION_LIST_MAX = 1024 };
struct option_list {
	const char **items; /* free with option_list_release() */
	int count;
};
void option_list_release(struct option_list *l);

/* A table and the struct its offsets point into. */
struct option_set {
	const struct option *table;
	void *values;
};

/*
 * Parse argv[1..]; operands are moved to the front, in order: argv[0..*operand_count). With stop_at_operand
 * the first operand ends the options (for a dispatcher). ERR_USAGE names the word at fault.
 */
int options_parse(const struct option_set *sets, int set_count, int argc, char **argv, bool stop_at_operand,
	int *operand_count, struct err *e);

/* As clock_parse_duration(), but a number other than 0 needs its unit: of "5" nobody knows whether it is seconds. */
int option_parse_duration(const char *text, int64_t *ms, struct err *e);

/* "  -p, --partition N   text", wrapped at 80 columns. */
void options_help(const struct option *table, struct buf *out);
/* .It Fl p , Fl -partition Ar N ...: the items of an mdoc list. */
void options_mdoc(const struct option *table, struct buf *out);
/* A line per option for the completion generator: letter, name, argument, kind, text, separated by tabs. */
void options_tsv(const struct option *table, struct buf *out);

#endif
