/* SPDX-License-Identifier: Apache-2.0 */
/* Completions for shells, made from what every command prints on --list-options. */
#ifndef SH_CMD_COMPLETION_H
#define SH_CMD_COMPLETION_H

#include "cmd/command.h"

/* Prints the script for bash, zsh or fish on stdout; returns the exit status. */
int completion_generate(const struct command_run *r, const char *shell);

#endif
