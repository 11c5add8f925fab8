/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of a data directory: its metadata against its objects and its write-ahead log. */
#ifndef SH_CMD_CHECK_DATA_H
#define SH_CMD_CHECK_DATA_H

#include "cmd/check_report.h"
#include "libsh/store/object.h"

/* Which part of the segments has all of its data read: of each hundred, percent. */
struct check_sample {
	int64_t percent, sum;
};
bool check_sample_next(struct check_sample *s);

/* Read every byte of an object; a finding if it is not as it was written. */
void check_read_object(struct check_report *r, struct object_store *s, const char *name, uint64_t bytes);

/* The same of a snapshot of the metadata. */
void check_read_snapshot(struct check_report *r, struct object_store *s, const char *name);

/* objects_url NULL: the directory `objects` inside. -1: could not even begin. */
int check_data(struct check_report *r, const char *dir, const char *objects_url, struct check_sample *sample, struct err *e);

#endif
