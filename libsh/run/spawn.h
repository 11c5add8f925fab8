/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a process that belongs to us: it gets one descriptor (as 3) and dies when we do. */
#ifndef SH_RUN_SPAWN_H
#define SH_RUN_SPAWN_H

#include <sys/types.h>
#include "libsh/base/err.h"

/*
 * fork and exec. In the child fd is descriptor 3, stdin and stdout are /dev/null, stderr is ours, everything
 * else is closed; signals are back at their defaults, except that those a terminal or a service manager sends
 * to a whole group (INT, TERM, HUP) are ignored. environment: what the child gets, NULL: ours. The kernel
 * kills the child when the calling thread ends. -1 also when exec failed (ERR_NOT_FOUND: no such program).
 */
int spawn_child(
	const char *path, char *const argv[], char *const environment[], int fd, pid_t *pid, struct err *e);

#endif
