/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which server a command talks to: -s, -c, $STREAMCTL_SERVER, $STREAMCTL_CONTEXT, the configuration file's
 * `current`, http://127.0.0.1:8080. The file is $XDG_CONFIG_HOME/streamctl/config; streamctl(1) describes it.
 */
#ifndef SH_CMD_CLIENT_H
#define SH_CMD_CLIENT_H

#include "cmd/command.h"
#include "libsh/run/api.h"

struct api *client_open(const struct command_globals *g, struct err *e);

#endif
