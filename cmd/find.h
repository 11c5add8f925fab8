/* SPDX-License-Identifier: Apache-2.0 */
/* Where the program of a command is: $STREAMCTL_EXEC_PATH, beside this program, the libexec directory or PATH. */
#ifndef SH_CMD_FIND_H
#define SH_CMD_FIND_H

#include <stdbool.h>
#include <stddef.h>

enum { FIND_PATH_BYTES = 4096 };
/* A name with a slash, or that begins with a dash or dot, is never found. */
bool find_command(const char *name, char *path, size_t path_bytes);

#endif
