/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results in the form that -o asks for: a table with aligned columns for people, one JSON array, one JSON
 * object a line, or tab-separated values with a line of names. With -q a table has only its first column and
 * no heading, for scripts.
 */
#ifndef SH_CMD_OUTPUT_H
#define SH_CMD_OUTPUT_H

#include <stdint.h>
#include "cmd/command.h"

enum output_type { OUTPUT_TEXT, OUTPUT_NUMBER, OUTPUT_BYTES /* a size: "1.5 MiB" in tables */ };
struct output_column {
	const char *name;    /* "message_count"; tables print it in capitals, with spaces */
	enum output_type type;
	const char *heading; /* "records", where the API's name is not what tables call it; NULL: the name */
};

enum { OUTPUT_COLUMNS_MAX = 16 };
struct output;
struct output *output_new(const struct command_run *r, const struct output_column *columns, int count);
/* One value per column, in order. NULL text is shown as "-" or null. */
void output_text(struct output *o, const char *text);
void output_number(struct output *o, int64_t number);
/* Print everything and free. `single`: one object was asked for; tables list its columns line by line, JSON
 * has no array. */
void output_finish(struct output *o, bool single);

#endif
