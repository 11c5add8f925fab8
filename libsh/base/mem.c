/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	ARENA_ALIGN = 16,
	ARENA_BLOCK_BYTES = 4096, /* first block; later ones double up to the next line */
	ARENA_BLOCK_BYTES_MAX = 256 << 10,
};

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	_Alignas(ARENA_ALIGN) char data[];
};

static void *checked(void *p)
{
	if (!p)
		abort();
	return p;
}

static size_t product(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		abort();
	return bytes;
}

void *mem_alloc(size_t size)
{
	return checked(malloc(size ? size : 1));
}

void *mem_zalloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *mem_realloc(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1));
}

void *mem_array(size_t n, size_t size)
{
	return mem_zalloc(product(n, size));
}

void *mem_realloc_array(void *p, size_t n, size_t size)
{
	return mem_realloc(p, product(n, size));
}

void *mem_dup(const void *p, size_t len)
{
	void *copy = mem_alloc(len);

	if (len)
		memcpy(copy, p, len);
	return copy;
}

char *mem_strndup(const char *s, size_t len)
{
	char *copy;

	len = strnlen(s, len);
	copy = mem_alloc(len + 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

char *mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

char *mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *text;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (len < 0)
		abort();
	return text;
}

void mem_free(void *p)
{
	free(p);
}

void mem_free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

static struct arena_block *arena_grow(struct arena *a, size_t size)
{
	size_t block_size = a->blocks ? a->blocks->size * 2 : ARENA_BLOCK_BYTES;
	struct arena_block *block;

	if (block_size > ARENA_BLOCK_BYTES_MAX)
		block_size = ARENA_BLOCK_BYTES_MAX;
	if (block_size < size)
		block_size = size;
	block = mem_zalloc(sizeof(*block) + block_size);
	block->size = block_size;
	block->next = a->blocks;
	a->blocks = block;
	return block;
}

void *arena_alloc(struct arena *a, size_t size)
{
	struct arena_block *block = a->blocks;
	void *p;

	if (size > SIZE_MAX / 4)
		abort();
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (!block || block->size - block->used < size)
		block = arena_grow(a, size);
	p = block->data + block->used;
	block->used += size;
	a->used += size;
	return p;
}

void *arena_dup(struct arena *a, const void *p, size_t len)
{
	void *copy = arena_alloc(a, len ? len : 1);

	if (len)
		memcpy(copy, p, len);
	return copy;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
	char *copy;

	len = strnlen(s, len);
	copy = arena_alloc(a, len + 1);
	memcpy(copy, s, len);
	return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (len < 0)
		abort();
	text = arena_alloc(a, (size_t)len + 1);
	va_start(ap, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, ap);
	va_end(ap);
	return text;
}

void arena_release(struct arena *a)
{
	struct arena_block *block = a->blocks;

	while (block) {
		struct arena_block *next = block->next;

		mem_free(block);
		block = next;
	}
	a->blocks = NULL;
	a->used = 0;
}
