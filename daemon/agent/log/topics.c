/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's table of topics and partitions: a copy of what meta has, kept current by session.c. */
#include <stdlib.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"

void topic_ref(struct topic *t)
{
	t->refs++;
}

void topic_unref(struct topic *t)
{
	t->refs--;
}

struct topic *topics_by_id(struct log *l, const struct uuid *id)
{
	return map_get(&l->topics_by_id, id, sizeof(*id));
}

struct topic *log_topic(struct log *l, const char *name, size_t len)
{
	return map_get(&l->topics_by_name, name, len);
}

size_t log_topic_count(struct log *l)
{
	return l->topic_count;
}

/* First position whose name is above `name`. */
static size_t topics_above(const struct log *l, const char *name)
{
	size_t low = 0, high = l->topic_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (strcmp(l->sorted[middle]->name, name) <= 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct topic *log_topic_after(struct log *l, const char *after)
{
	size_t i = after ? topics_above(l, after) : 0;

	return i < l->topic_count ? l->sorted[i] : NULL;
}

struct partition *log_partition(struct log *l, const char *topic, size_t len, int64_t partition, struct err *e)
{
	struct topic *t = log_topic(l, topic, len);
	struct partition *p;

	if (!t) {
		err_set(e, ERR_TOPIC_NOT_FOUND, "topic \"%.*s\" does not exist", (int)(len < SEGMENT_TOPIC_NAME_MAX ? len : SEGMENT_TOPIC_NAME_MAX), topic);
		err_hint(e, "streamctl topic create makes it");
		return NULL;
	}
	if (partition < 0 || partition >= t->partition_count) {
		err_set(e, ERR_PARTITION_NOT_FOUND, "topic \"%s\" has partitions 0 to %u, not %lld", t->name, t->partition_count - 1,
			(long long)partition);
		return NULL;
	}
	p = t->partitions[partition];
	if (p->slot != l->slot) {
		err_set(e, ERR_NOT_OWNER, "partition %s-%u is served by agent %u", t->name, p->number, p->slot);
		return NULL;
	}
	return p;
}

int64_t partition_high_watermark(const struct partition *p)
{
	if (p->topic->config.durability != DURABILITY_OBJECT)
		return PLANTED(watermark_ahead) ? p->end : p->synced_end;
	return p->flushed_end > p->private_->shown ? p->flushed_end : p->private_->shown;
}

void topic_totals(const struct topic *t, uint64_t *records, uint64_t *bytes)
{
	*records = *bytes = 0;
	for (uint32_t i = 0; i < t->partition_count; i++) {
		*records += t->partitions[i]->records;
		*bytes += t->partitions[i]->bytes;
	}
}

static struct partition *partition_new(struct topic *t, uint32_t number)
{
	struct partition *p = mem_zalloc(sizeof(*p));
	struct partition_private *pp = mem_zalloc(sizeof(*pp));

	p->topic = t;
	p->number = number;
	p->slot = UINT32_MAX;
	p->private_ = pp;
	pp->owner = p;
	pp->resume = pp->accepted = pp->gap_start = -1;
	list_init(&pp->open_node);
	list_init(&pp->waits);
	list_init(&pp->watches);
	list_init(&pp->fetches);
	list_init(&pp->touched_node);
	return p;
}

static void partition_free(struct log *l, struct partition *p)
{
	append_discard(l, p);
	producers_release(l, p);
	tail_release(l, p);
	list_remove(&p->private_->touched_node);
	mem_free(p->private_->damage_text);
	mem_free(p->private_);
	mem_free(p);
}

static void topic_free(struct log *l, struct topic *t)
{
	for (uint32_t i = 0; i < t->partition_count; i++)
		partition_free(l, t->partitions[i]);
	mem_free(t->partitions);
	mem_free(t->name);
	mem_free(t->config_text);
	mem_free(t);
}

/* Deleted topics are freed when no range, no unsynced entry and no request can know them any more. */
void topics_free_gone(struct log *l)
{
	const struct range *oldest = list_first(&l->ranges, struct range, node);
	uint64_t range = oldest ? oldest->number : l->range_number;
	uint64_t unsynced = l->unsynced.count ? l->unsynced.entries[l->unsynced.first].end_lsn : UINT64_MAX;

	list_for_each_safe(n, &l->gone) {
		struct gone_topic *g = list_entry(n, struct gone_topic, node);

		if (g->topic->refs > 0 || g->range_number >= range || g->end_lsn >= unsynced)
			continue;
		list_remove(&g->node);
		topic_free(l, g->topic);
		mem_free(g);
	}
}

static void topic_remove(struct log *l, struct topic *t)
{
	struct gone_topic *g = mem_zalloc(sizeof(*g));
	struct err e = ERR_INIT;
	size_t at = topics_above(l, t->name) - 1;
	bool touched = false;

	err_set(&e, ERR_TOPIC_NOT_FOUND, "topic \"%s\" was deleted", t->name);
	memmove(l->sorted + at, l->sorted + at + 1, (l->topic_count - at - 1) * sizeof(*l->sorted));
	l->topic_count--;
	map_del(&l->topics_by_name, t->name, strlen(t->name));
	map_del(&l->topics_by_id, &t->id, sizeof(t->id));
	t->deleted = true;
	runs_forget(l, t);
	topic_ref(t);
	for (uint32_t i = 0; i < t->partition_count; i++) {
		touched |= t->partitions[i]->private_->range_seen == l->range_number;
		append_discard(l, t->partitions[i]);
		fetch_fail(l, t->partitions[i], &e);
		waits_fail(l, t->partitions[i], &e);
		tail_release(l, t->partitions[i]);
	}
	topic_unref(t);
	g->topic = t;
	g->range_number = l->range_number - !touched; /* the open range, or the newest of those that were cut */
	g->end_lsn = l->wal ? wal_end_lsn(l->wal) : 0;
	list_push(&l->gone, &g->node);
}

static struct topic *topic_add(struct log *l, const struct msg_topic_row *row)
{
	struct topic *t = mem_zalloc(sizeof(*t));
	size_t at = topics_above(l, row->name);

	t->id = row->id;
	t->name = mem_strdup(row->name);
	t->created_ms = row->created_ms;
	l->sorted = mem_realloc_array(l->sorted, l->topic_count + 1, sizeof(*l->sorted));
	memmove(l->sorted + at + 1, l->sorted + at, (l->topic_count - at) * sizeof(*l->sorted));
	l->sorted[at] = t;
	l->topic_count++;
	map_put(&l->topics_by_name, t->name, strlen(t->name), t);
	map_put(&l->topics_by_id, &t->id, sizeof(t->id), t);
	return t;
}

/* What was shown at level wal stays in sight when the topic is raised to object: the high watermark never goes back. */
static void topic_apply_config(struct topic *t, const char *config)
{
	enum durability before = t->config.durability;
	struct err e = ERR_INIT;

	if (topic_config_parse(config, &t->config, &e) < 0)
		log_error("topic %s: a config that this version does not understand (%s): defaults are used", t->name, e.text);
	if (t->config.durability != DURABILITY_OBJECT || before == DURABILITY_OBJECT)
		return;
	for (uint32_t i = 0; i < t->partition_count; i++)
		t->partitions[i]->private_->shown = t->partitions[i]->synced_end;
}

static void topic_apply(struct log *l, const struct msg_topic_row *row)
{
	struct topic *t = topics_by_id(l, &row->id);

	if (row->deleted && PLANTED(deletion_missed))
		return;
	if (row->deleted) {
		if (l->state == LOG_STARTING)
			map_put(&l->deleted_ids, &row->id, sizeof(row->id), l);
		if (t)
			topic_remove(l, t);
		return;
	}
	if (!t) {
		struct topic *same_name = log_topic(l, row->name, strlen(row->name));

		if (same_name) /* deleted and made again between two syncs */
			topic_remove(l, same_name);
		t = topic_add(l, row);
	}
	t->replication_factor = row->replication_factor;
	mem_free(t->config_text);
	t->config_text = mem_strdup(row->config);
	topic_apply_config(t, row->config);
	if (row->partitions > t->partition_count) {
		t->partitions = mem_realloc_array(t->partitions, row->partitions, sizeof(*t->partitions));
		for (uint32_t i = t->partition_count; i < row->partitions; i++)
			t->partitions[i] = partition_new(t, i);
		t->partition_count = row->partitions;
	}
	for (uint32_t i = 0; i < t->partition_count; i++)
		waits_advanced(l, t->partitions[i]);
}

static void partition_apply(struct log *l, const struct msg_partition_row *row)
{
	struct topic *t = topics_by_id(l, &row->topic);
	struct partition *p;

	if (!t || row->partition >= t->partition_count)
		return;
	p = t->partitions[row->partition];
	if (p->slot != l->slot) { /* new to us: where it stands is what the metadata says; the WAL comes on top */
		p->flushed_end = p->synced_end = p->end = row->flushed_end;
		p->log_start = row->log_start;
		p->records = row->records;
		p->bytes = row->bytes;
		p->expired_records = row->expired_records;
		p->expired_bytes = row->expired_bytes;
		if (row->slot == l->slot)
			quarantine_load(l, p);
		if (row->offset_floor > p->flushed_end && row->offset_floor > p->private_->accepted)
			p->private_->accepted = row->offset_floor; /* a loss that the operator accepted when the metadata was made anew */
	}
	p->slot = row->slot;
	p->epoch = row->epoch;
	p->records -= row->expired_records - p->expired_records;
	p->bytes -= row->expired_bytes - p->expired_bytes;
	p->expired_records = row->expired_records;
	p->expired_bytes = row->expired_bytes;
	if (row->log_start > p->log_start) {
		p->log_start = row->log_start;
		runs_forget_below(l, p, p->log_start);
	}
}

int topics_apply(struct log *l, const struct msg_session_renewed *r, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct msg_topic_row topic;
	struct msg_partition_row partition;
	size_t at = 0;
	int more;

	while ((more = pack_row_next(r->topics, &at, msg_topic_row_fields, &topic, &a, e)) > 0)
		topic_apply(l, &topic);
	for (at = 0; more == 0 && (more = pack_row_next(r->partitions, &at, msg_partition_row_fields, &partition, &a, e)) > 0; more = 0)
		partition_apply(l, &partition);
	arena_release(&a);
	topics_free_gone(l);
	return more;
}

void topics_release(struct log *l)
{
	struct list *n;

	for (size_t i = 0; i < l->topic_count; i++)
		topic_free(l, l->sorted[i]);
	while ((n = list_pop(&l->gone))) {
		struct gone_topic *g = list_entry(n, struct gone_topic, node);

		topic_free(l, g->topic);
		mem_free(g);
	}
	mem_free(l->sorted);
	map_release(&l->topics_by_id);
	map_release(&l->deleted_ids);
	map_release(&l->topics_by_name);
}

/* ---- changes ---- */

struct topic_change {
	struct log *log;
	log_done_fn *done;
	void *ctx;
};

static void topic_change_done(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct topic_change *c = ctx;

	(void)reply;
	(void)message;
	if (e)
		c->done(c->ctx, e);
	else
		session_sync(c->log, c->done, c->ctx);
	mem_free(c);
}

static void topic_change(struct log *l, int type, const void *body, log_done_fn *done, void *ctx)
{
	struct topic_change *c = mem_zalloc(sizeof(*c));

	c->log = l;
	c->done = done;
	c->ctx = ctx;
	peer_call(l->self, ROLE_META, 0, type, body, NULL, 0, META_TIMEOUT_MS, topic_change_done, c);
}

void log_topic_create(struct log *l, const char *name, uint32_t partitions, uint32_t replication_factor, const char *config_json,
	log_done_fn *done, void *ctx)
{
	struct msg_topic_create m = {.name = name, .partitions = partitions, .replication_factor = replication_factor,
		.config = config_json};

	topic_change(l, MSG_TOPIC_CREATE, &m, done, ctx);
}

void log_topic_alter(struct log *l, const char *name, uint32_t partitions, const char *config_json, log_done_fn *done, void *ctx)
{
	struct msg_topic_alter m = {.name = name, .partitions = partitions, .config = config_json};

	topic_change(l, MSG_TOPIC_ALTER, &m, done, ctx);
}

void log_topic_delete(struct log *l, const char *name, log_done_fn *done, void *ctx)
{
	struct msg_topic_delete m = {.name = name};

	topic_change(l, MSG_TOPIC_DELETE, &m, done, ctx);
}
