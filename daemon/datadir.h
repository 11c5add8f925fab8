/* SPDX-License-Identifier: Apache-2.0 */
/* The data directory as the supervisor sees it: whose it is, which version, and run/, where a running shd
 * says how to reach it. */
#ifndef SH_DAEMON_DATADIR_H
#define SH_DAEMON_DATADIR_H

#include <stdbool.h>

#include "libsh/base/err.h"

struct datadir {
	char *path; /* absolute */
	int lock_fd;
};
#define DATADIR_INIT {NULL, -1}

/* Whether a shd has worked there before. */
bool datadir_is_made(const char *path);
/* Makes it when it is not there; one that is not empty must be of shd. ERR_CONFLICT: another shd holds it (the text names its pid). Clears run/ first. */
int datadir_open(struct datadir *d, const char *path, struct err *e);
void datadir_release(struct datadir *d);
/* A file in run/, which appears whole. It is about this run only, so it is not synced. */
int datadir_publish(struct datadir *d, const char *name, const char *text, struct err *e);
void datadir_withdraw(struct datadir *d, const char *name);

#endif
