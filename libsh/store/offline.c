/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/offline.h"

#include <stdlib.h>
#include <string.h>

/* ---- what the metadata says ---- */

static int compare_names(const void *a, const void *b)
{
	const struct offline_partition *x = a, *y = b;
	int c = strcmp(x->topic->name, y->topic->name);

	return c ? c : x->partition < y->partition ? -1 : x->partition > y->partition;
}

static int compare_ids(const struct uuid *topic, uint32_t partition, const struct offline_partition *p)
{
	int c = uuid_compare(topic, &p->topic->id);

	return c ? c : partition < p->partition ? -1 : partition > p->partition;
}

static int compare_pointers(const void *a, const void *b)
{
	const struct offline_partition *const *x = a, *const *y = b;

	return compare_ids(&(*x)->topic->id, (*x)->partition, *y);
}

static int compare_topics(const void *a, const void *b)
{
	const struct meta_topic *x = a, *y = b;

	return uuid_compare(&x->id, &y->id);
}

struct loaded {
	struct meta_topic *topics;
	struct meta_partition *partitions;
	size_t topic_count, partition_count;
};

static int load(struct meta *m, struct arena *a, struct loaded *l, struct err *e)
{
	uint64_t version;

	if (m->driver->changes(m, 0, a, &l->topics, &l->topic_count, &l->partitions, &l->partition_count, &version, e))
		return -1;
	if (l->topic_count)
		qsort(l->topics, l->topic_count, sizeof(*l->topics), compare_topics);
	return 0;
}

static const struct meta_topic *topic_of(const struct loaded *l, const struct uuid *id)
{
	struct meta_topic key = {.id = *id};
	const struct meta_topic *t = NULL;

	if (l->topic_count)
		t = bsearch(&key, l->topics, l->topic_count, sizeof(*l->topics), compare_topics);
	return t && !t->deleted ? t : NULL;
}

static int list_partitions(struct offline *o, struct err *e)
{
	struct loaded l = {0};

	if (load(o->meta, &o->arena, &l, e))
		return -1;
	o->partitions = arena_alloc(&o->arena, (l.partition_count + 1) * sizeof(*o->partitions));
	o->by_id = arena_alloc(&o->arena, (l.partition_count + 1) * sizeof(*o->by_id));
	for (size_t i = 0; i < l.partition_count; i++) {
		const struct meta_topic *t = topic_of(&l, &l.partitions[i].topic);

		if (!t)
			continue;
		o->partitions[o->partition_count++] = (struct offline_partition){.topic = t, .partition = l.partitions[i].partition,
			.log_start = l.partitions[i].log_start, .flushed_end = l.partitions[i].flushed_end};
	}
	if (!o->partition_count)
		return 0;
	qsort(o->partitions, o->partition_count, sizeof(*o->partitions), compare_names);
	for (size_t i = 0; i < o->partition_count; i++)
		o->by_id[i] = &o->partitions[i];
	qsort(o->by_id, o->partition_count, sizeof(struct offline_partition *), compare_pointers);
	return 0;
}

int offline_open(struct offline *o, const char *data_dir, const char *objects_url, struct err *e)
{
	memset(o, 0, sizeof(*o));
	o->data_dir = mem_strdup(data_dir);
	if (meta_open("sqlite:", data_dir, true, &o->meta, e) ||
		object_store_open(objects_url ? objects_url : "file:", data_dir, NULL, &o->objects, e) || list_partitions(o, e)) {
		offline_close(o);
		return -1;
	}
	return 0;
}

void offline_close(struct offline *o)
{
	object_store_free(o->objects);
	meta_free(o->meta);
	mem_free(o->data_dir);
	arena_release(&o->arena);
	memset(o, 0, sizeof(*o));
}

struct offline_partition *offline_find(const struct offline *o, const struct uuid *topic, uint32_t partition)
{
	size_t low = 0, high = o->partition_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int c = compare_ids(topic, partition, o->by_id[middle]);

		if (c == 0)
			return o->by_id[middle];
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

int offline_refresh(struct offline *o, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct loaded l = {0};
	struct meta *m;

	if (meta_open("sqlite:", o->data_dir, true, &m, e))
		return -1;
	if (load(m, &a, &l, e)) {
		meta_free(m);
		arena_release(&a);
		return -1;
	}
	meta_free(o->meta);
	o->meta = m;
	for (size_t i = 0; i < l.partition_count; i++) {
		struct offline_partition *p = offline_find(o, &l.partitions[i].topic, l.partitions[i].partition);

		if (!p)
			continue;
		p->log_start = l.partitions[i].log_start;
		p->flushed_end = l.partitions[i].flushed_end;
	}
	arena_release(&a);
	return 0;
}
