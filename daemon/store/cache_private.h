/* SPDX-License-Identifier: Apache-2.0 */
/* What cache.c (the index) and fill.c (files being made) share; nobody else includes it. */
#ifndef SH_STORE_ROLE_CACHE_PRIVATE_H
#define SH_STORE_ROLE_CACHE_PRIVATE_H

#include <stddef.h>
#include "daemon/store/cache.h"
#include "libsh/base/list.h"
#include "libsh/base/map.h"
#include "libsh/store/object.h"

enum { CACHE_PATH_MAX = 3 + OBJECT_NAME_MAX + 2 * 17 + 1 };

struct cache {
	char *dir;
	int dir_fd;
	uint64_t max_bytes;
	uint64_t bytes, reserved; /* of entries; of files being filled */
	uint64_t memory;	  /* of entries and of what is being filled in memory instead */
	size_t count;
	struct list lru;    /* entries, least recently used first */
	struct list in_memory; /* entries too, while the disk is full or broken */
	uint64_t in_memory_bytes;
	struct map objects; /* name to struct cache_object */
};
struct cache_found { /* a file that an earlier process left */
	char object[OBJECT_NAME_MAX + 1];
	uint64_t start, length;
	int64_t modified_ms;
};
struct cache_listing {
	struct cache_found *found;
	size_t count, alloc;
};

/* Below the cache directory. */
void cache_path(char path[CACHE_PATH_MAX], const char *object, uint64_t start, uint64_t length);
void cache_entry_add(
	struct cache *c, const char *object, uint64_t start, uint64_t length, int64_t now_ms, bool checked);
/* One in memory: fd is taken over. */
void cache_entry_add_memory(struct cache *c, const char *object, uint64_t start, uint64_t length, int fd);
/* Gives up entries in memory, least recently used first, down to so many bytes. */
void cache_trim_memory(struct cache *c, uint64_t bytes);
void cache_trim(struct cache *c, uint64_t extra);

#endif
