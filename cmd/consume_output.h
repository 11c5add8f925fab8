/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a consumed record: printed in some form, or given to a command; and whether it is wanted at
 * all (--grep). */
#ifndef SH_CMD_CONSUME_OUTPUT_H
#define SH_CMD_CONSUME_OUTPUT_H

#include <regex.h>
#include "cmd/command.h"
#include "libsh/base/buf.h"
#include "libsh/format/format_string.h"

enum consume_shape { SHAPE_VALUES, SHAPE_FORMAT, SHAPE_NDJSON, SHAPE_JSON };
struct consume_output {
	const struct command_run *run;
	enum consume_shape shape;
	char end;                     /* after each value or JSON line */
	bool named;                   /* several topics: JSON says which */
	struct format_string *format;
	const char *exec;             /* a command for sh -c, or NULL */
	bool grep;
	regex_t pattern;
	struct buf out;
	int64_t records;              /* printed, or taken by the command */
};

/* format: text of -f or NULL. ERR_USAGE for what does not fit. */
int consume_output_init(struct consume_output *o, const struct command_run *r, const char *format, bool nul,
	const char *grep, const char *exec, struct err *e);
void consume_output_release(struct consume_output *o);
/* 1: done with it, 0: not wanted, -1 */
int consume_output_record(struct consume_output *o, const char *topic, int32_t partition,
	const struct record *r, struct err *e);
void consume_output_flush(struct consume_output *o);
void consume_output_end(struct consume_output *o); /* closes the JSON array, flushes */

#endif
