/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local cache of objects: files that hold a stretch of an object each, bounded in bytes and number, least
 * recently used first out. A file is never rewritten nor truncated, only unlinked, so a descriptor that was
 * lent out stays good for as long as its holder wants it. Losing a file, or the whole directory while the
 * process is down, costs a fetch and nothing else; so nothing here is synced.
 *
 *   DIR/<2 hex digits>/<object, / as +>,<start>,<length>   the bytes, then a trailer; numbers in hex
 *   DIR/tmp/                                               what is being filled; emptied at open
 *
 * The trailer: magic "SHCACHE1", length u64, CRC-32C of the bytes u32, CRC-32C of the trailer before this
 * field u32. Entries found at open are listed by name and size, oldest first to go. Their bytes are compared
 * with the checksum when an entry is first wanted: what the machine lost in a crash must not be served.
 *
 * The index belongs to one thread (the loop). A fill is written by one thread at a time, which may be
 * another.
 */
#ifndef SH_STORE_ROLE_CACHE_H
#define SH_STORE_ROLE_CACHE_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/err.h"

enum { CACHE_TRAILER_BYTES = 24, CACHE_MAX_ENTRIES = 16384 };

struct cache;
/* Makes the directory. Entries above the limits are removed at once. */
int cache_open(const char *dir, uint64_t max_bytes, struct cache **c, struct err *e);
void cache_free(struct cache *c); /* files stay */
void cache_set_max(struct cache *c, uint64_t max_bytes);
uint64_t cache_max(const struct cache *c);
uint64_t cache_bytes(const struct cache *c); /* on disk, what is being filled included */
bool cache_in_memory(const struct cache *c); /* its disk is full or broken: some parts are kept in memory */

/* ---- looking up ---- */
struct cache_hit {
	int fd;                 /* read-only; the caller's to close */
	uint64_t start, length; /* of the stretch that stands at position 0 of fd */
	bool checked;           /* else: cache_check() first */
};
/* An entry that covers [offset, offset + length). It becomes the most recently used. false: there is none.
 * With hit NULL it only answers. */
bool cache_find(struct cache *c, const char *object, uint64_t offset, uint64_t length, struct cache_hit *hit);
/* Whether the bytes are those that were written; blocks, for a worker. */
int cache_check(int fd, uint64_t length, struct err *e);
void cache_checked(struct cache *c, const char *object, uint64_t start, uint64_t length);
void cache_drop(struct cache *c, const char *object, uint64_t start, uint64_t length);
/* Every entry that covers part of [offset, offset + length); UINT64_MAX as length: all of the object. */
void cache_drop_range(struct cache *c, const char *object, uint64_t offset, uint64_t length);

/* ---- filling ---- */
struct cache_fill {
	int fd;             /* read-write */
	int read_fd;        /* read-only, to lend */
	uint64_t expected;  /* bytes, reserved in the cache */
	uint64_t length;    /* once sealed */
	bool memory;        /* in memory: the disk is full or broken */
	bool sealed;
	char temporary[64]; /* below DIR; empty: none */
};
/* Room for `expected` bytes is made by evicting. When the disk has none left all of the cache is given up for
 * it, and then memory is used. */
int cache_fill_begin(struct cache *c, struct cache_fill *f, uint64_t expected, struct err *e);
int cache_fill_begin_memory(struct cache *c, struct cache_fill *f, uint64_t expected, struct err *e);
/* Room on the disk for so many bytes, before somebody takes the trouble to get them. ERR_NO_SPACE; where that cannot be asked, 0. For a
 * worker. */
int cache_fill_allocate(const struct cache_fill *f, uint64_t length, struct err *e);
/* The first `length` bytes of fd are the content: add the trailer. Reads them for the checksum; blocks, for a
 * worker. */
int cache_fill_seal(struct cache_fill *f, uint64_t length, struct err *e);
/* Make the sealed file the entry for [start, start + length). Failing is no error: read_fd can be lent all
 * the same. */
void cache_fill_commit(struct cache *c, struct cache_fill *f, const char *object, uint64_t start);
/* Always the last call for a fill; closes both descriptors that are not -1. */
void cache_fill_release(struct cache *c, struct cache_fill *f);
/* Unlink entries, least recently used first, until `bytes` were freed. false: there was nothing left to
 * unlink. */
bool cache_evict(struct cache *c, uint64_t bytes);

#endif
