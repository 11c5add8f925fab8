/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/producer_set.h"

#include <stdlib.h>

static void *row_number(uint32_t row)
{
	return (void *)(uintptr_t)(row + 1);
}

static void map_row(struct producer_set *s, uint32_t row)
{
	map_put(&s->by_id, &s->rows[row].producer_id, sizeof(s->rows[row].producer_id), row_number(row));
}

static uint32_t least_recently_used(const struct producer_set *s)
{
	uint32_t oldest = 0;

	for (uint32_t i = 1; i < s->count; i++)
		if (s->rows[i].last_used_ms < s->rows[oldest].last_used_ms)
			oldest = i;
	return oldest;
}

static uint32_t new_row(struct producer_set *s, int64_t id)
{
	uint32_t row = s->count;

	if (s->count == PRODUCER_SET_MAX) {
		row = least_recently_used(s);
		map_del(&s->by_id, &s->rows[row].producer_id, sizeof(s->rows[row].producer_id));
	} else {
		if (s->count == s->alloc) {
			s->alloc = s->alloc ? 2 * s->alloc : 8;
			s->rows = mem_realloc_array(s->rows, s->alloc, sizeof(*s->rows));
		}
		s->count++;
	}
	memset(&s->rows[row], 0, sizeof(s->rows[row]));
	s->rows[row].producer_id = id;
	s->rows[row].open_transaction_first = -1;
	map_row(s, row);
	return row;
}

static struct segment_producer *find(struct producer_set *s, int64_t id)
{
	uintptr_t number;

	if (!s->count || s->rows[s->last].producer_id != id) {
		number = (uintptr_t)map_get(&s->by_id, &id, sizeof(id));
		s->last = number ? (uint32_t)(number - 1) : new_row(s, id);
	}
	return &s->rows[s->last];
}

static void note_transaction(struct segment_producer *p, const struct batch_header *h)
{
	if (h->attributes & BATCH_CONTROL)
		p->open_transaction_first = -1;
	else if (h->attributes & BATCH_TRANSACTIONAL && p->open_transaction_first < 0)
		p->open_transaction_first = h->base_offset;
}

void producer_set_note(struct producer_set *s, const struct batch_header *h, int64_t append_ms)
{
	struct segment_producer *p;

	if (h->producer_id < 0)
		return;
	p = find(s, h->producer_id);
	if (p->epoch != h->producer_epoch)
		p->batch_count = 0;
	p->epoch = h->producer_epoch;
	p->last_used_ms = append_ms;
	note_transaction(p, h);
	if (h->attributes & BATCH_CONTROL || h->base_sequence < 0)
		return; /* carries no sequence */
	if (p->batch_count == SEGMENT_PRODUCER_BATCHES)
		memmove(&p->batches[0], &p->batches[1], (SEGMENT_PRODUCER_BATCHES - 1) * sizeof(p->batches[0]));
	else
		p->batch_count++;
	p->batches[p->batch_count - 1].first_sequence = h->base_sequence;
	p->batches[p->batch_count - 1].last_sequence = batch_last_sequence(h);
	p->batches[p->batch_count - 1].base_offset = h->base_offset;
}

static int compare_ids(const void *a, const void *b)
{
	const struct segment_producer *x = a, *y = b;

	return x->producer_id < y->producer_id ? -1 : x->producer_id > y->producer_id;
}

struct segment_producer *producer_set_take(struct producer_set *s, struct arena *a, uint32_t *count)
{
	struct segment_producer *rows = NULL;

	*count = s->count;
	if (s->count) {
		qsort(s->rows, s->count, sizeof(*s->rows), compare_ids);
		rows = arena_dup(a, s->rows, s->count * sizeof(*s->rows));
		map_release(&s->by_id);
		s->by_id = (struct map)MAP_INIT;
	}
	s->count = s->last = 0;
	return rows;
}

void producer_set_release(struct producer_set *s)
{
	map_release(&s->by_id);
	mem_free(s->rows);
	s->rows = NULL;
	s->count = s->alloc = 0;
}
