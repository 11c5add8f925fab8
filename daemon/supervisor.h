/* SPDX-License-Identifier: Apache-2.0 */
/* The life of shd from lock to exit; it touches neither a client's bytes nor data. */
#ifndef SH_DAEMON_SUPERVISOR_H
#define SH_DAEMON_SUPERVISOR_H

#include "daemon/configuration.h"

/* Runs until a signal ends it. Takes s over. Returns the exit status: 0 when all has drained. */
int supervisor_run(const struct configuration *config, struct settings *s);

#endif
