/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sliding window over a file that is read with pread, mostly forwards: memory is one window, grown when a
 * single thing is larger. Used for WAL files; a mapping would turn a bad sector into SIGBUS.
 */
#ifndef SH_STORE_WINDOW_H
#define SH_STORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/err.h"

struct window {
	int fd;          /* the caller's */
	int direct_fd;   /* the same file opened with O_DIRECT, or -1 */
	uint64_t size;   /* of the file when opened */
	uint64_t start;  /* where data stands in the file */
	size_t len, capacity, read_bytes;
	uint8_t *data;   /* aligned, inside memory */
	void *memory;
};

/* read_bytes: how much to read at once. direct: bypass the page cache where the file system can. */
int window_open(struct window *w, int fd, bool direct, size_t read_bytes, struct err *e);
void window_close(struct window *w);
/* The bytes at `position`, valid until the next call: *have of them, at least `need` unless the file ends before. NULL on error. */
const uint8_t *window_at(struct window *w, uint64_t position, size_t need, size_t *have, struct err *e);
/* Whether the bytes at position are in memory already. */
static inline bool window_holds(const struct window *w, uint64_t position, size_t n)
{
	return position >= w->start && position - w->start <= w->len && n <= w->len - (position - w->start);
}

#endif
