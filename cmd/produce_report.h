/* SPDX-License-Identifier: Apache-2.0 */
/* What streamctl produce says: acknowledgements (--acks), progress on a terminal, and how far it came. */
#ifndef SH_CMD_PRODUCE_REPORT_H
#define SH_CMD_PRODUCE_REPORT_H

#include "cmd/produce_batches.h"

struct produce_report {
	/* set by the caller */
	struct command_run *run;
	const struct produce_batches *batches;
	const struct produce_input *input;
	int file;                      /* which one is read, counted from 1 */
	int64_t records_before_file;

	int64_t started_ms, progress_ms;
	bool progress_shown;
};

void produce_report_start(struct produce_report *p);
produce_acked_fn produce_report_ack; /* ctx: the report */
void produce_report_progress(struct produce_report *p, int64_t now_ms);
/* Everything has ended; e is what ended it, if anything did. Returns the exit status. */
int produce_report_end(struct produce_report *p, const struct err *e, const struct produce_totals *t);

#endif
