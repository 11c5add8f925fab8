/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which topics there are: those of the snapshot, and what segments say of later ones. Of one name one topic at most lives at a
 * time, and the snapshot knows every topic that was deleted before it. So a topic that is in segments only was made after the snapshot,
 * by the same metadata; when it has the name of one in the snapshot, that one was deleted in between, and of several the last is
 * the one. Segments of another metadata say nothing about ours: their topics are left out when the name is taken.
 */
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/store/rebuild_private.h"

static struct rebuild_topic *add_topic(struct rebuild_work *w, const struct uuid *id)
{
	if (w->topic_count == w->topic_room) {
		w->topic_room = w->topic_room ? 2 * w->topic_room : 64;
		w->topics = mem_realloc_array(w->topics, w->topic_room, sizeof(*w->topics));
	}
	map_put(&w->by_id, id->b, sizeof(id->b), (void *)(uintptr_t)(w->topic_count + 1));
	w->topics[w->topic_count] = (struct rebuild_topic){.t = {.id = *id}};
	return &w->topics[w->topic_count++];
}

int rebuild_topic_take_snapshot(struct rebuild_work *w, struct err *e)
{
	const struct snapshot *s = &w->snapshot;

	if (s->topic_count > REBUILD_TOPICS_MAX)
		return err_set(e, ERR_TOO_LARGE, "the snapshot holds more than %d topics", REBUILD_TOPICS_MAX);
	for (size_t i = 0; i < s->topic_count; i++) {
		struct rebuild_topic *t;

		if (map_get(&w->by_id, s->topics[i].id.b, sizeof(s->topics[i].id.b)))
			return err_set(e, ERR_CORRUPT, "the snapshot holds topic %s twice", s->topics[i].name);
		t = add_topic(w, &s->topics[i].id);
		t->t = s->topics[i];
		t->in_snapshot = true;
		t->partitions_known = t->t.partition_count;
	}
	return 0;
}

/* ---- while segments are read ---- */

static void learn_new(struct rebuild_work *w, struct rebuild_topic *t, const struct segment_run_detail *d)
{
	t->left_out = meta_topic_name_check(d->topic_name, NULL) < 0;
	t->t.name = t->left_out ? "?" : arena_strdup(&w->arena, d->topic_name);
	t->t.config = "{}";
	t->t.replication_factor = 1;
	t->t.created_ms = clock_real_ms();
}

static bool is_newer(const struct rebuild_segment *s, const struct rebuild_topic *t)
{
	if (s->incarnation != t->incarnation)
		return s->incarnation > t->incarnation;
	if (s->session != t->session)
		return s->session > t->session;
	return s->first_lsn > t->first_lsn;
}

int rebuild_topic_learn(struct rebuild_work *w, const struct rebuild_segment *s, const struct segment_run_detail *d, uint32_t *index,
	struct err *e)
{
	uintptr_t known = (uintptr_t)map_get(&w->by_id, d->run.topic.b, sizeof(d->run.topic.b));
	struct rebuild_topic *t;

	if (!known && w->topic_count == REBUILD_TOPICS_MAX)
		return err_set(e, ERR_TOO_LARGE, "the store holds segments of more than %d topics", REBUILD_TOPICS_MAX);
	if (!known) {
		t = add_topic(w, &d->run.topic);
		learn_new(w, t, d);
	} else {
		t = &w->topics[known - 1];
	}
	if (is_newer(s, t)) {
		t->incarnation = s->incarnation;
		t->session = s->session;
		t->first_lsn = s->first_lsn;
	}
	if (d->run.partition < META_PARTITIONS_MAX && d->run.partition >= t->partitions_seen)
		t->partitions_seen = d->run.partition + 1;
	*index = (uint32_t)(t - w->topics);
	return 0;
}

/* ---- afterwards ---- */

static int compare_age(const struct rebuild_topic *a, const struct rebuild_topic *b)
{
	if (a->incarnation != b->incarnation)
		return a->incarnation < b->incarnation ? -1 : 1;
	if (a->session != b->session)
		return a->session < b->session ? -1 : 1;
	return (a->first_lsn > b->first_lsn) - (a->first_lsn < b->first_lsn);
}

static void lose_name(struct rebuild_work *w, struct rebuild_topic *t)
{
	char id[UUID_TEXT_BYTES];

	t->left_out = true;
	rebuild_note(w, false, t->t.name, "segments hold another topic of that name, %s, which was made later: this one is left out, and kept",
		uuid_format(&t->t.id, id));
}

/* Of topics that segments alone know, the last of each name. */
static void settle_new(struct rebuild_work *w, struct map *names)
{
	for (size_t i = 0; i < w->topic_count; i++) {
		struct rebuild_topic *t = &w->topics[i], *other;

		if (t->in_snapshot || t->left_out)
			continue;
		other = map_gets(names, t->t.name);
		if (other && compare_age(other, t) > 0) {
			lose_name(w, t);
			continue;
		}
		if (other)
			lose_name(w, other);
		map_puts(names, t->t.name, t);
	}
}

static void settle_name(struct rebuild_work *w, struct rebuild_topic *old, struct rebuild_topic *new)
{
	char id[UUID_TEXT_BYTES];

	uuid_format(&new->t.id, id);
	if (new->incarnation == w->snapshot.incarnation) {
		old->t.deleted = true;
		old->t.partition_count = 0;
		rebuild_note(w, false, old->t.name, "it was deleted after the snapshot, and made again: it is topic %s now", id);
		return;
	}
	new->left_out = true;
	rebuild_note(w, true, old->t.name, "segments of another metadata hold a topic of that name, %s: it is left out, and kept", id);
}

/* Partitions that the snapshot does not know were added after it. */
static void widen(struct rebuild_work *w, struct rebuild_topic *t)
{
	uint32_t seen = t->partitions_seen;
	struct snapshot_partition *p;

	if (!t->in_snapshot)
		rebuild_note(w, false, t->t.name,
			"it is in no snapshot: it gets a config without settings, and the %u %s of which there are segments", seen,
			text_plural(seen, "partition", "partitions"));
	if (seen <= t->t.partition_count)
		return;
	p = arena_alloc(&w->arena, seen * sizeof(*p));
	if (t->t.partition_count)
		memcpy(p, t->t.partitions, t->t.partition_count * sizeof(*p));
	t->t.partitions = p;
	t->t.partition_count = seen;
}

static int widen_all(struct rebuild_work *w, struct err *e)
{
	uint64_t total = 0;

	for (size_t i = 0; i < w->topic_count; i++) {
		struct rebuild_topic *t = &w->topics[i];

		if (t->t.deleted || t->left_out)
			continue;
		total += t->partitions_seen > t->t.partition_count ? t->partitions_seen : t->t.partition_count;
		if (total > REBUILD_PARTITIONS_MAX)
			return err_set(e, ERR_TOO_LARGE, "the store holds segments of more than %d partitions", REBUILD_PARTITIONS_MAX);
		widen(w, t);
	}
	return 0;
}

int rebuild_topic_settle(struct rebuild_work *w, struct err *e)
{
	struct map names = MAP_INIT;

	settle_new(w, &names);
	for (size_t i = 0; i < w->topic_count; i++) {
		struct rebuild_topic *t = &w->topics[i], *other;

		if (t->in_snapshot && !t->t.deleted && (other = map_gets(&names, t->t.name)))
			settle_name(w, t, other);
	}
	map_release(&names);
	return widen_all(w, e);
}
