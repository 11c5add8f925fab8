/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: the agents' directories, each with an id of its own. The number that a directory has is in the snapshot only; one that was made
 * after it gets the next number, in the order of sessions.
 *
 * When their logs are lost, slots keep their ids under numbers that no agent has: their places are free for new directories, and an old
 * one that turns up after all is refused.
 */
#include <stdlib.h>
#include "libsh/store/rebuild_private.h"

enum {
	/* Past what was seen: as many may have been given out without a trace. */
	NUMBERS_JUMP = 1000000,
	PRODUCERS_JUMP = 100000000,
	RETIRED_FIRST = 10000,
	SLOT_NUMBER_MAX = 65535,
};

static struct snapshot_slot *find(const struct snapshot *s, const struct uuid *id)
{
	for (size_t i = 0; i < s->slot_count; i++)
		if (uuid_equal(&s->slots[i].id, id))
			return &s->slots[i];
	return NULL;
}

static struct snapshot_slot *add(struct rebuild_work *w, const struct rebuild_segment *from)
{
	struct snapshot *s = &w->snapshot;
	struct snapshot_slot *wider = arena_alloc(&w->arena, (s->slot_count + 1) * sizeof(*wider)), *slot = &wider[s->slot_count];

	for (size_t i = 0; i < s->slot_count; i++) {
		wider[i] = s->slots[i];
		if (wider[i].number >= slot->number && wider[i].number < RETIRED_FIRST)
			slot->number = wider[i].number + 1;
	}
	slot->id = from->slot_id;
	slot->session = from->session;
	s->slots = wider;
	s->slot_count++;
	return slot;
}

static int compare_sessions(const void *a, const void *b)
{
	const struct rebuild_segment *x = *(struct rebuild_segment *const *)a, *y = *(struct rebuild_segment *const *)b;

	return (x->session > y->session) - (x->session < y->session);
}

/* Those of slots that the snapshot does not know, oldest sessions first: what an agent of number 0 began came before that of number 1. */
static void add_new(struct rebuild_work *w)
{
	struct rebuild_segment **unknown = mem_array(w->segment_count + 1, sizeof(struct rebuild_segment *));
	size_t count = 0;

	for (size_t i = 0; i < w->segment_count; i++)
		if (!find(&w->snapshot, &w->segments[i].slot_id))
			unknown[count++] = &w->segments[i];
	if (count)
		qsort(unknown, count, sizeof(struct rebuild_segment *), compare_sessions);
	for (size_t i = 0; i < count; i++)
		if (!find(&w->snapshot, &unknown[i]->slot_id))
			add(w, unknown[i]);
	mem_free(unknown);
}

void rebuild_slot_learn(struct rebuild_work *w)
{
	add_new(w);
	for (size_t i = 0; i < w->segment_count; i++) {
		struct rebuild_segment *s = &w->segments[i];
		struct snapshot_slot *slot = find(&w->snapshot, &s->slot_id);

		s->slot = (uint32_t)(slot - w->snapshot.slots);
		if (s->number > slot->last_number)
			slot->last_number = s->number;
	}
}

static uint32_t free_number(const struct snapshot *s)
{
	uint32_t number = RETIRED_FIRST;

	for (size_t i = 0; i < s->slot_count; i++)
		if (s->slots[i].number >= number)
			number = s->slots[i].number + 1;
	return number;
}

int rebuild_slot_finish(struct rebuild_work *w, struct err *e)
{
	struct snapshot *s = &w->snapshot;

	for (size_t i = 0; i < w->segment_count; i++) {
		const struct rebuild_segment *segment = &w->segments[i];
		struct snapshot_slot *slot = &s->slots[segment->slot];

		if (segment->fates[RUN_CHOSEN] && segment->number > slot->newest_committed)
			slot->newest_committed = segment->number;
	}
	for (size_t i = 0; i < s->slot_count; i++) {
		s->slots[i].last_number += NUMBERS_JUMP;
		s->slots[i].session = w->session + 1 + i; /* never the same for two */
		if (w->r->logs_lost && s->slots[i].number < RETIRED_FIRST)
			s->slots[i].number = free_number(s);
		if (s->slots[i].number > SLOT_NUMBER_MAX)
			return err_set(e, ERR_TOO_LARGE, "there are more than %d slots", SLOT_NUMBER_MAX - RETIRED_FIRST);
	}
	s->incarnation = w->incarnation + (1 << 20);
	s->session = w->session + NUMBERS_JUMP + s->slot_count;
	s->commit_sequence += NUMBERS_JUMP;
	s->version += NUMBERS_JUMP;
	s->producer_id = s->producer_id ? s->producer_id + PRODUCERS_JUMP : 0;
	w->r->incarnation = s->incarnation;
	return 0;
}
