/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. Allocation never fails: out of memory is not an input error, every size is checked against
 * its limit before it is allocated, so running out aborts the process (its supervisor starts it again).
 */
#ifndef SH_BASE_MEM_H
#define SH_BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc));
void *mem_zalloc(size_t size) __attribute__((malloc));
void *mem_realloc(void *p, size_t size);
/* n * size, checked for overflow. */
void *mem_array(size_t n, size_t size) __attribute__((malloc));
void *mem_realloc_array(void *p, size_t n, size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);
void *mem_dup(const void *p, size_t len);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void mem_free(void *p); /* free(3); NULL allowed */
void mem_free_secret(char *text); /* overwritten first; NULL allowed */

/* Memory that is freed all at once; one per request. */
struct arena {
	struct arena_block *blocks;
	size_t used; /* bytes handed out */
};
#define ARENA_INIT {NULL, 0}
void *arena_alloc(struct arena *a, size_t size); /* zeroed, aligned to 16 */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t len);
void *arena_dup(struct arena *a, const void *p, size_t len);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_release(struct arena *a); /* frees everything; the arena may be used again */

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define array_count(a) (sizeof(a) / sizeof((a)[0]))

#endif
