/* SPDX-License-Identifier: Apache-2.0 */
/* streamctl check --rebuild: metadata made anew from a store; says what was taken, what was left out, and why. */
#ifndef SH_CMD_CHECK_REBUILD_H
#define SH_CMD_CHECK_REBUILD_H

#include "cmd/check_report.h"

/* store: a directory of objects, or a URL; path: of the new database. */
int check_rebuild(struct check_report *r, const char *store, const char *path, bool without_snapshot, bool lost_log, struct err *e);

#endif
