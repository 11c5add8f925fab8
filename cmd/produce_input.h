/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records out of files: a line each (or up to a NUL), JSON lines, or a format string. Reads in large pieces
 * and hands out pointers into its buffer, without a copy or an allocation per record.
 */
#ifndef SH_CMD_PRODUCE_INPUT_H
#define SH_CMD_PRODUCE_INPUT_H

#include "libsh/format/format_string.h"

struct produce_input_rules {
	char **files;                       /* "-" is stdin; none: stdin */
	int file_count;
	char end;                           /* what ends a record: '\n' or '\0' */
	bool ndjson;
	const struct format_string *format; /* or NULL */
	const char *split_instead;          /* what -K could split at in place of the format; or NULL */
	const char *key_delimiter;          /* of lines: the key stands before the first one; or NULL */
	bool empty_is_null;
};
struct produce_input {
	struct produce_input_rules rules;
	int fd, next_file;
	bool at_end;         /* of the current file */
	char *data;          /* the buffer; bytes from `start` to `len` are not used yet */
	size_t start, len, room;
	size_t scanned;      /* bytes after start known to hold no end */
	struct arena arena;  /* of the record handed out last */
	int64_t records;     /* number of the last one in the current file: for errors */
	int64_t bytes;       /* used, in all */
	int64_t reads;       /* read(2) calls: the caller looks at the clock when it changes */
};

enum produce_input_result { INPUT_RECORD, INPUT_IDLE /* nothing came until then */, INPUT_END, INPUT_ERROR };

void produce_input_init(struct produce_input *in, const struct produce_input_rules *rules);
void produce_input_release(struct produce_input *in);
/* The next record; valid until the next call. has_timestamp and partition as in ndjson.h. After an interrupt
 * what was read whole is still handed out, and then the end. until_ms is on the monotonic clock; -1: as long
 * as it takes. */
enum produce_input_result produce_input_next(
	struct produce_input *in, int64_t until_ms, struct ndjson_record *r, struct err *e);
/* The file that is or was read last: "stdin" or its name. */
const char *produce_input_file(const struct produce_input *in);
/* "stdin, record 12" */
const char *produce_input_where(const struct produce_input *in, char *out, size_t room);

#endif
