/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files whose loss would lose data: everything the log's core does to a disk goes through these functions,
 * so that a simulator can link its own disk. They restart on EINTR, complete short transfers, and report errors with the path.
 * Descriptors are close-on-exec.
 */
#ifndef SH_BASE_DISK_H
#define SH_BASE_DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

int disk_open(const char *path, int flags, int mode, struct err *e); /* descriptor or -1 */
/* All n bytes at offset, or -1. Read: ERR_CORRUPT when the file ends before. */
int disk_pread(int fd, void *p, size_t n, int64_t offset, struct err *e);
int disk_pwrite(int fd, const void *p, size_t n, int64_t offset, struct err *e);
int disk_pwritev(int fd, struct iovec *iov, int count, int64_t offset, struct err *e); /* changes iov */
int disk_sync(int fd, struct err *e);          /* fdatasync */
int disk_allocate(int fd, int64_t bytes, struct err *e); /* fallocate; falls back to writing zeros */
int64_t disk_size(int fd, struct err *e);
int disk_rename(const char *from, const char *to, struct err *e);
int disk_rename_new(const char *from, const char *to, struct err *e); /* ERR_EXISTS when the name is taken */
int disk_unlink(const char *path, struct err *e); /* absent is success */
int disk_sync_dir(const char *path, struct err *e); /* makes names in it durable */
/* Make a directory and its parents (mode 0700), each name synced; existing is success. */
int disk_make_dirs(const char *path, struct err *e);
/* Names in a directory except . and .., sorted; the caller frees the array with disk_list_free(). */
int disk_list(const char *path, char ***names, size_t *count, struct err *e);
void disk_list_free(char **names, size_t count);
bool disk_exists(const char *path);
/* Whole file into b (up to its cap, ERR_TOO_LARGE above; ERR_NOT_FOUND when absent). */
int disk_read_file(const char *path, struct buf *b, struct err *e);
/* Temporary file, write, sync, rename, sync of the directory: after 0 the new content is durable. */
int disk_write_file(const char *path, const void *p, size_t n, int mode, struct err *e);
/* Exclusive flock on a file (made if absent). ERR_CONFLICT when somebody holds it. Returns the descriptor. */
int disk_lock(const char *path, struct err *e);

#endif
