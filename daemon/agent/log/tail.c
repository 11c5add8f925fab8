/* SPDX-License-Identifier: Apache-2.0 */
/* The index of the tail: where the batches of a partition that are in no segment yet stand in the WAL. */
#include "daemon/agent/log/log_private.h"

const struct tail_entry *tail_at(const struct tail *t, uint32_t i)
{
	return &t->entries[(t->first + i) & (t->size - 1)];
}

static void tail_resize(struct log *l, struct tail *t, uint32_t size)
{
	struct tail_entry *entries = mem_array(size, sizeof(*entries));

	for (uint32_t i = 0; i < t->count; i++)
		entries[i] = *tail_at(t, i);
	l->index_bytes += ((uint64_t)size - t->size) * sizeof(*entries);
	mem_free(t->entries);
	t->entries = entries;
	t->size = size;
	t->first = 0;
}

void tail_add(struct log *l, struct partition *p, uint64_t lsn, int64_t base_offset)
{
	struct tail *t = &p->private_->tail;
	struct tail_entry entry = {lsn, base_offset};

	if (t->count == t->size)
		tail_resize(l, t, t->size ? t->size * 2 : 4);
	t->entries[(t->first + t->count++) & (t->size - 1)] = entry;
	l->numbers.tail_batches++;
}

void tail_release(struct log *l, struct partition *p)
{
	struct tail *t = &p->private_->tail;

	l->numbers.tail_batches -= t->count;
	l->index_bytes -= t->size * sizeof(*t->entries);
	mem_free(t->entries);
	memset(t, 0, sizeof(*t));
}

/* Offsets are cut at batch boundaries: an entry goes when the next one, or the end, is at or below the offset. */
void tail_drop_below(struct log *l, struct partition *p, int64_t offset)
{
	struct tail *t = &p->private_->tail;

	while (t->count) {
		int64_t end = t->count > 1 ? tail_at(t, 1)->base_offset : p->end;

		if (end > offset)
			break;
		t->first = (t->first + 1) & (t->size - 1);
		t->count--;
		l->numbers.tail_batches--;
	}
	if (!t->count) /* also a small one: many idle partitions would fill the index with nothing */
		tail_release(l, p);
	else if (t->size > 64 && t->count <= t->size / 4)
		tail_resize(l, t, t->size / 2);
}

int64_t tail_find(const struct tail *t, int64_t offset)
{
	int64_t low = -1, high = t->count;

	while (high - low > 1) {
		int64_t middle = low + (high - low) / 2;

		if (tail_at(t, (uint32_t)middle)->base_offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}
