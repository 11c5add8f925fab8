/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash map from byte strings to pointers (open addressing, linear probing, grows at 3/4). Keys are copied.
 * The hash is seeded per process, so hostile keys cannot pile up.
 */
#ifndef SH_BASE_MAP_H
#define SH_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

struct map {
	struct map_slot *slots;
	size_t count, used, size; /* live entries, slots not empty, slots */
};
#define MAP_INIT {NULL, 0, 0, 0}

void *map_get(const struct map *m, const void *key, size_t len); /* NULL when absent */
void *map_put(struct map *m, const void *key, size_t len, void *value); /* returns the old value or NULL; value is not NULL */
void *map_del(struct map *m, const void *key, size_t len);       /* returns the value or NULL */
void *map_gets(const struct map *m, const char *key);
void *map_puts(struct map *m, const char *key, void *value);
/* Visit all: start with *it = 0; false at the end. Deleting the visited entry is allowed. */
bool map_next(const struct map *m, size_t *it, const void **key, size_t *len, void **value);
void map_release(struct map *m); /* values are the caller's */

#endif
