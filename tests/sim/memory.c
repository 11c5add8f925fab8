/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h, with a list of what a life of the agent holds: a crash frees it all at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

struct head { /* in front of every piece */
	struct list node; /* of the life; not linked: the world's */
	size_t size;
	uint64_t spare;
};

static struct list pieces[NODES] = {{&pieces[0], &pieces[0]}, {&pieces[1], &pieces[1]}};
static struct node *owner;

struct node *memory_owner(struct node *n)
{
	struct node *before = owner;

	owner = n;
	return before;
}

void memory_end_life(const struct node *of)
{
	struct list *n;

	while ((n = list_pop(&pieces[of->number])))
		free(list_entry(n, struct head, node));
}

static void *piece_new(size_t size)
{
	struct head *h = malloc(sizeof(*h) + size);

	if (!h)
		abort();
	list_init(&h->node);
	h->size = size;
	if (owner)
		list_push(&pieces[owner->number], &h->node);
	return h + 1;
}

static void piece_free(void *p)
{
	struct head *h;

	if (!p)
		return;
	h = (struct head *)p - 1;
	list_remove(&h->node);
	free(h);
}

static void *piece_zeroed(size_t n, size_t size)
{
	return memset(piece_new(n * size), 0, n * size);
}

static void *piece_resize(void *p, size_t size)
{
	void *copy = piece_new(size);
	size_t had = p ? ((struct head *)p - 1)->size : 0;

	if (p)
		memcpy(copy, p, had < size ? had : size);
	piece_free(p);
	return copy;
}

static int __attribute__((format(printf, 2, 0))) piece_vprintf(char **text, const char *fmt, va_list ap)
{
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	*text = piece_new((size_t)n + 1);
	return vsnprintf(*text, (size_t)n + 1, fmt, ap);
}

#define malloc piece_new
#define calloc piece_zeroed
#define realloc piece_resize
#define free piece_free
#define vasprintf piece_vprintf
#include "libsh/base/mem.c"
