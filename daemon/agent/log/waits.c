/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for what: acks wait until everything below an offset has a durability level, watches until the high watermark
 * passes an offset. Both hang on their partition and are looked at only when one of its ends moved.
 */
#include "daemon/agent/log/log_private.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"

static void waits_deliver(void *ctx);

void unsynced_push(struct log *l, struct partition *p, uint64_t end_lsn, int64_t end_offset)
{
	struct unsynced_ring *r = &l->unsynced;

	if (r->count == r->size) {
		size_t size = r->size ? r->size * 2 : 256;
		struct unsynced *entries = mem_array(size, sizeof(*entries));

		for (size_t i = 0; i < r->count; i++)
			entries[i] = r->entries[(r->first + i) & (r->size - 1)];
		mem_free(r->entries);
		r->entries = entries;
		r->size = size;
		r->first = 0;
	}
	r->entries[(r->first + r->count++) & (r->size - 1)] = (struct unsynced){p, end_lsn, end_offset};
}

void waits_advanced(struct log *l, struct partition *p)
{
	if (!list_linked(&p->private_->touched_node))
		list_push(&l->advanced, &p->private_->touched_node);
	loop_at_turn_end(l->loop, &l->deliver, waits_deliver, l);
}

void waits_synced(struct log *l, uint64_t lsn)
{
	struct unsynced_ring *r = &l->unsynced;

	while (r->count && r->entries[r->first].end_lsn <= lsn) {
		struct unsynced *u = &r->entries[r->first];

		if (u->end_offset > u->partition->synced_end)
			u->partition->synced_end = u->end_offset;
		waits_advanced(l, u->partition);
		r->first = (r->first + 1) & (r->size - 1);
		r->count--;
	}
}

static int64_t wait_end(const struct log_wait *w)
{
	return w->want == DURABILITY_OBJECT ? w->partition->flushed_end : w->partition->synced_end;
}

/* Those of `from` that are due move to `to`: callbacks may cancel any wait, so none is called while `from` is walked. */
static void waits_pick(struct partition *p, int64_t high, struct list *waits, struct list *watches)
{
	list_for_each_safe(n, &p->private_->waits) {
		struct log_wait *w = list_entry(n, struct log_wait, node);

		if (w->end_offset <= wait_end(w)) {
			list_remove(&w->node);
			list_push(waits, &w->node);
		}
	}
	list_for_each_safe(n, &p->private_->watches) {
		struct log_watch *w = list_entry(n, struct log_watch, node);

		if (high > w->offset) {
			list_remove(&w->node);
			list_push(watches, &w->node);
		}
	}
}

static void wait_answer(struct log *l, struct log_wait *w)
{
	struct partition *p = w->partition;
	struct err e = ERR_INIT;

	if (p->flushed_end >= w->end_offset) {
		w->done(w, DURABILITY_OBJECT, NULL);
	} else if (session_lease_holds(l) || PLANTED(lease_not_checked)) {
		w->done(w, DURABILITY_WAL, NULL);
	} else {
		err_set(&e, ERR_OUTCOME_UNKNOWN, "the lease on %s-%u ran out before the answer", p->topic->name, p->number);
		w->done(w, DURABILITY_NONE, &e);
	}
}

static void waits_look(struct log *l, struct partition *p)
{
	struct list waits, watches, *n;

	list_init(&waits);
	list_init(&watches);
	waits_pick(p, partition_high_watermark(p), &waits, &watches);
	while ((n = list_pop(&waits)))
		wait_answer(l, list_entry(n, struct log_wait, node));
	while ((n = list_pop(&watches))) {
		struct log_watch *w = list_entry(n, struct log_watch, node);

		w->ready(w, NULL);
	}
}

static void list_move_all(struct list *to, struct list *from)
{
	list_init(to);
	while (!list_empty(from))
		list_push(to, list_pop(from));
}

/* Whether nothing can ever answer this wait; e says why. What is in a segment by now is good. */
static bool wait_is_vain(struct log *l, const struct partition *p, int64_t end_offset, struct err *e)
{
	if (p->topic->deleted)
		err_set(e, ERR_TOPIC_NOT_FOUND, "topic \"%s\" was deleted", p->topic->name);
	else if (l->state == LOG_FAILED && end_offset > p->synced_end)
		err_set(e, ERR_OUTCOME_UNKNOWN, "the write-ahead log failed before the record was known to be on disk: %.200s", l->problem);
	else if (p->private_->refused && end_offset > p->flushed_end)
		err_set(e, ERR_OUTCOME_UNKNOWN, "partition %s-%u does not serve: %.300s", p->topic->name, p->number, p->damage);
	else
		return false;
	return true;
}

static void waits_deliver(void *ctx)
{
	struct log *l = ctx;
	struct list advanced, ready, *n;
	struct err e = ERR_INIT;

	list_move_all(&advanced, &l->advanced);
	while ((n = list_pop(&advanced)))
		waits_look(l, list_entry(n, struct partition_private, touched_node)->owner);
	list_move_all(&ready, &l->ready_waits);
	while ((n = list_pop(&ready))) {
		struct log_wait *w = list_entry(n, struct log_wait, node);
		bool never = w->want != DURABILITY_NONE && wait_is_vain(l, w->partition, w->end_offset, &e);

		w->done(w, PLANTED(none_called_wal) ? DURABILITY_WAL : DURABILITY_NONE, never ? &e : NULL);
	}
	list_move_all(&ready, &l->vain_watches);
	while ((n = list_pop(&ready))) {
		struct log_watch *w = list_entry(n, struct log_watch, node);

		err_set(&e, ERR_TOPIC_NOT_FOUND, "the topic was deleted");
		w->ready(w, &e);
	}
}

void log_wait(struct log *l, struct log_wait *w, struct partition *p, int64_t end_offset, enum durability want,
	void (*done)(struct log_wait *, enum durability, const struct err *))
{
	enum wal_sync policy = settings_wal_sync(l->self->settings, NULL);
	struct err vain = ERR_INIT;

	if (want == DURABILITY_TOPIC)
		want = policy == WAL_SYNC_ALWAYS ? p->topic->config.durability : DURABILITY_NONE;
	if (p->topic->config.durability == DURABILITY_OBJECT)
		want = DURABILITY_OBJECT;
	w->partition = p;
	w->end_offset = end_offset;
	w->want = want;
	w->done = done;
	if (want == DURABILITY_NONE || wait_is_vain(l, p, end_offset, &vain)) {
		list_push(&l->ready_waits, &w->node);
		loop_at_turn_end(l->loop, &l->deliver, waits_deliver, l);
		return;
	}
	list_push(&p->private_->waits, &w->node);
	if (want == DURABILITY_OBJECT && p->flushed_end < end_offset)
		flush_wanted(l, p);
	if (wait_end(w) >= end_offset)
		waits_advanced(l, p);
}

void log_wait_cancel(struct log_wait *w)
{
	list_remove(&w->node);
}

void log_watch(struct log *l, struct log_watch *w, struct partition *p, int64_t offset,
	void (*ready)(struct log_watch *, const struct err *))
{
	w->offset = offset;
	w->ready = ready;
	if (p->topic->deleted) {
		list_push(&l->vain_watches, &w->node);
		loop_at_turn_end(l->loop, &l->deliver, waits_deliver, l);
		return;
	}
	list_push(&p->private_->watches, &w->node);
	if (partition_high_watermark(p) > offset)
		waits_advanced(l, p);
}

void log_watch_cancel(struct log_watch *w)
{
	list_remove(&w->node);
}

static void waits_fail_list(struct list *waits, const struct err *e)
{
	struct list *n;

	while ((n = list_pop(waits))) {
		struct log_wait *w = list_entry(n, struct log_wait, node);

		w->done(w, DURABILITY_NONE, e);
	}
}

/* The partition goes away. */
void waits_fail(struct log *l, struct partition *p, const struct err *e)
{
	struct err copy = *e;
	struct list *n;

	(void)l;
	waits_fail_list(&p->private_->waits, &copy);
	while ((n = list_pop(&p->private_->watches))) {
		struct log_watch *w = list_entry(n, struct log_watch, node);

		w->ready(w, &copy);
	}
}

/* The WAL failed: whether what is not known synced reached the disk, nobody can say. */
void waits_fail_unsynced(struct log *l, const struct err *cause)
{
	struct err e = ERR_INIT;
	struct list failed;

	list_init(&failed);
	err_set(&e, ERR_OUTCOME_UNKNOWN, "the write-ahead log failed before the record was known to be on disk: %.200s", cause->text);
	for (size_t i = 0; i < l->topic_count; i++)
		for (uint32_t k = 0; k < l->sorted[i]->partition_count; k++) {
			struct partition *p = l->sorted[i]->partitions[k];

			list_for_each_safe(n, &p->private_->waits) {
				struct log_wait *w = list_entry(n, struct log_wait, node);

				if (w->end_offset > p->synced_end) {
					list_remove(&w->node);
					list_push(&failed, &w->node);
				}
			}
		}
	waits_fail_list(&failed, &e);
}
