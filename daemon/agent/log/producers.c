/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idempotent producers: a batch that carries a producer id is taken once. Kept per partition: the last five batches of each
 * producer. Rules: Kafka's ProducerStateEntry and ProducerAppendInfo. A producer we know nothing of may start at any sequence.
 */
#include "daemon/agent/log/log_private.h"

struct producer {
	struct list node; /* in its partition's, least recently used first */
	struct list any_node; /* in the log's */
	struct producers *owner;
	int64_t id;
	int16_t epoch;
	int count;
	struct { int32_t first, last; int64_t base_offset; } batches[SEGMENT_PRODUCER_BATCHES]; /* oldest first */
};
struct producers {
	struct map by_id;
	struct list by_use;
};

static struct producer *producers_find(struct partition *p, int64_t id)
{
	return p->private_->producers ? map_get(&p->private_->producers->by_id, &id, sizeof(id)) : NULL;
}

int producers_check(struct log *l, struct partition *p, const struct batch_header *h, int64_t *base_offset, int64_t *last_offset,
	struct err *e)
{
	struct producer *known;
	int32_t last;

	(void)l;
	*last_offset = -1;
	if (h->producer_id < 0 || !(known = producers_find(p, h->producer_id)))
		return 0;
	last = batch_last_sequence(h);
	if (h->producer_epoch < known->epoch)
		return err_set(e, ERR_PRODUCER_FENCED, "producer %lld has epoch %d by now, the batch has %d", (long long)known->id,
			known->epoch, h->producer_epoch);
	if (h->producer_epoch > known->epoch) {
		if (h->base_sequence == 0)
			return 0;
		return err_set(e, ERR_OUT_OF_ORDER, "the first sequence of a new producer epoch is 0, not %d", h->base_sequence);
	}
	for (int i = 0; i < known->count; i++)
		if (known->batches[i].first == h->base_sequence && known->batches[i].last == last) {
			*base_offset = known->batches[i].base_offset;
			*last_offset = *base_offset + h->last_offset_delta;
			return 1;
		}
	if (known->count && h->base_sequence != batch_sequence_add(known->batches[known->count - 1].last, 1))
		return err_set(e, ERR_OUT_OF_ORDER, "sequence %d of producer %lld follows %d", h->base_sequence, (long long)known->id,
			known->batches[known->count - 1].last);
	return 0;
}

static void producers_drop(struct log *l, struct producer *p)
{
	map_del(&p->owner->by_id, &p->id, sizeof(p->id));
	list_remove(&p->node);
	list_remove(&p->any_node);
	l->producer_count--;
	mem_free(p);
}

static struct producer *producers_make(struct log *l, struct partition *p, int64_t id)
{
	struct producers *all = p->private_->producers;
	struct producer *made;

	if (!all) {
		all = p->private_->producers = mem_zalloc(sizeof(*all));
		list_init(&all->by_use);
	}
	if (all->by_id.count >= PRODUCERS_MAX)
		producers_drop(l, list_first(&all->by_use, struct producer, node));
	else if (l->producer_count >= PRODUCERS_TOTAL_MAX)
		producers_drop(l, list_first(&l->producers, struct producer, any_node));
	made = mem_zalloc(sizeof(*made));
	made->id = id;
	made->owner = all;
	map_put(&all->by_id, &id, sizeof(id), made);
	l->producer_count++;
	return made;
}

void producers_note(struct log *l, struct partition *p, const struct batch_header *h, int64_t base_offset)
{
	struct producer *known;

	if (h->producer_id < 0)
		return;
	known = producers_find(p, h->producer_id);
	if (!known)
		known = producers_make(l, p, h->producer_id);
	list_remove(&known->node);
	list_push(&known->owner->by_use, &known->node);
	list_remove(&known->any_node);
	list_push(&l->producers, &known->any_node);
	if (h->producer_epoch != known->epoch)
		known->count = 0;
	known->epoch = h->producer_epoch;
	if (known->count == SEGMENT_PRODUCER_BATCHES)
		memmove(&known->batches[0], &known->batches[1], sizeof(known->batches[0]) * --known->count);
	known->batches[known->count].first = h->base_sequence;
	known->batches[known->count].last = batch_last_sequence(h);
	known->batches[known->count++].base_offset = base_offset;
}

void producers_release(struct log *l, struct partition *p)
{
	struct producers *all = p->private_->producers;

	if (!all)
		return;
	while (!list_empty(&all->by_use))
		producers_drop(l, list_first(&all->by_use, struct producer, node));
	map_release(&all->by_id);
	mem_free(all);
	p->private_->producers = NULL;
}
