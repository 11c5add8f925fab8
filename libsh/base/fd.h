/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers for descriptors that carry no promises: pipes, sockets, temporary memory. */
#ifndef SH_BASE_FD_H
#define SH_BASE_FD_H

#include <stddef.h>
#include <sys/types.h>
#include "libsh/base/err.h"

void fd_close(int *fd); /* closes if >= 0, sets to -1, keeps errno */
int fd_set_nonblock(int fd);
int fd_set_cloexec(int fd);
int fd_write_all(int fd, const void *p, size_t n, struct err *e);
/* Anonymous memory with these bytes, sealed against change; for passing bulk data. */
int fd_memory(const char *name, const void *p, size_t n, struct err *e);
/* Those of 0, 1 and 2 that are closed lead to /dev/null: else a file of ours gets the number, and what is printed goes into it. */
int fd_fill_standard(void);
/* Close every descriptor from `first` up. */
void fd_close_from(int first);

#endif
