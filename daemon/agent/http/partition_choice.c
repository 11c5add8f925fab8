/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions for records without a key. All records of one turn of the loop go to the same partition, up
 * to a limit, so that they form one batch there; the next turn takes the next partition.
 */
#include "daemon/agent/http/append.h"

enum { CHOICE_BYTES = 64 << 10, CHOICE_SLACK = 64 /* entries of deleted topics that may be left */ };

struct sticky {
	uint32_t partition;
	size_t bytes;
	int64_t turn_ns;
};

void partition_choice_release(struct http_server *s)
{
	const void *key;
	size_t it = 0, len;
	void *value;

	while (map_next(&s->sticky, &it, &key, &len, &value))
		mem_free(value);
	map_release(&s->sticky);
	s->sticky = (struct map)MAP_INIT;
}

static struct sticky *sticky_of(struct http_server *s, const struct topic *t)
{
	struct sticky *k = map_get(&s->sticky, &t->id, sizeof(t->id));

	if (k)
		return k;
	if (s->sticky.count > log_topic_count(s->log) + CHOICE_SLACK)
		partition_choice_release(s);
	k = mem_zalloc(sizeof(*k));
	k->partition = t->partition_count - 1;
	map_put(&s->sticky, &t->id, sizeof(t->id), k);
	return k;
}

uint32_t partition_choice_next(struct http_server *s, const struct topic *t, size_t bytes)
{
	struct sticky *k = sticky_of(s, t);
	int64_t now = loop_now_ns(s->self->loop);

	if (now != k->turn_ns || k->bytes + bytes > CHOICE_BYTES) {
		k->turn_ns = now;
		k->bytes = 0;
		for (uint32_t i = 0; i < t->partition_count; i++) {
			k->partition = (k->partition + 1) % t->partition_count;
			/* one that is damaged or somewhere else is passed over while there is another */
			if (log_partition(s->log, t->name, strlen(t->name), k->partition, NULL))
				break;
		}
	}
	k->bytes += bytes;
	return k->partition % t->partition_count;
}
