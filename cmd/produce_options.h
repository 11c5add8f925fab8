/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of streamctl produce, and what they come to: how records are read (rules), and what is done to
 * each of them on its way into a batch.
 */
#ifndef SH_CMD_PRODUCE_OPTIONS_H
#define SH_CMD_PRODUCE_OPTIONS_H

#include "cmd/command.h"
#include "cmd/produce_input.h"

struct produce_values {
	const char *key, *key_delimiter, *format, *compress, *rate, *resume_id;
	struct option_list headers;
	int64_t partition, batch_bytes, linger_ms;
	int durability; /* -1: the topic's */
	bool nul, empty_is_null, dry_run, acks;
};
extern const struct option produce_options_table[];
void produce_options_defaults(void *values);

struct produce_plan {
	struct produce_input_rules rules;
	struct format_string *format; /* of the rules */
	char delimiter[16];           /* of the rules' split_instead */
	enum codec codec;
	int64_t rate;                 /* records a second; 0: as fast as it goes */
	struct bytes key;             /* of -k */
	struct buf headers;           /* of -H, encoded */
	int32_t header_count;
};
/* Release also after an error. argv: of the command, the topic first. */
int produce_options_plan(
	const struct produce_values *v, int argc, char **argv, struct produce_plan *plan, struct err *e);
void produce_options_release(struct produce_plan *plan);

#endif
