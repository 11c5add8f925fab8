/* SPDX-License-Identifier: Apache-2.0 */
/* Role programs: where they are, and what they find in their environment. */
#ifndef SH_DAEMON_PROGRAM_H
#define SH_DAEMON_PROGRAM_H

#include <sys/types.h>
#include "daemon/messages.h"

/* Starts the role's program with fd as its descriptor 3; see spawn_child(). title: "agent 0". */
int program_start(enum role role, const char *title, int fd, pid_t *pid, struct err *e);
/* What the kernel says that its first thread, where the loop is, does: 'R' runs, 'S' sleeps, 'D' waits for a disk, 'T' was stopped;
 * '?' unknown. */
char program_state(pid_t pid);

#endif
