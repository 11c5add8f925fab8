/* SPDX-License-Identifier: Apache-2.0 */
/* What `streamctl check` found, printed as it is found (or as a table of findings with -o), and how much it looked at. */
#ifndef SH_CMD_CHECK_REPORT_H
#define SH_CMD_CHECK_REPORT_H

#include "cmd/command.h"
#include "cmd/output.h"

struct check_report {
	const struct command_run *run;
	struct output *output; /* NULL: plain lines */
	int64_t damages, notes;
	int64_t segments, segment_bytes, segments_read, segments_missing, wal_files, batches, partitions;
};
void check_report_init(struct check_report *r, const struct command_run *run);
void check_report_damage(struct check_report *r, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void check_report_note(struct check_report *r, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Prints the summary; returns the exit status. */
int check_report_finish(struct check_report *r);

#endif
