/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topics and their partitions. Every change takes the next version; the topic's row and the partitions it
 * made carry it. A deleted topic keeps its row, without name or config; its name is free at once, its pages
 * go later, step by step.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/store/meta_sqlite.h"

/* Which slots the partitions [from, to) of t go to: those with the fewest of this topic, and among them of
 * all. */
static void spread(const struct meta_sqlite *m, struct known_topic *t, uint32_t from, uint32_t to)
{
	size_t slots = m->known.slot_count, it = 0;
	uint32_t *of_topic = mem_zalloc((slots + 1) * sizeof(*of_topic)),
		 *of_all = mem_zalloc((slots + 1) * sizeof(*of_all));
	struct known_slot *slot;
	void *value;

	while (map_next(&m->known.by_id, &it, NULL, NULL, &value)) {
		const struct known_topic *other = value;
		uint32_t count = other == t ? from : other->partition_count;

		for (uint32_t p = 0; p < count; p++)
			if ((slot = meta_sqlite_memory_slot(m, other->partitions[p].slot)) != NULL) {
				of_all[slot - m->known.slots]++;
				of_topic[slot - m->known.slots] += other == t;
			}
	}
	for (uint32_t p = from; p < to; p++) {
		size_t best = 0;

		for (size_t s = 1; s < slots; s++)
			if (of_topic[s] < of_topic[best] ||
				(of_topic[s] == of_topic[best] && of_all[s] < of_all[best]))
				best = s;
		t->partitions[p].slot = slots ? m->known.slots[best].slot : 0;
		of_topic[best]++;
		of_all[best]++;
	}
	mem_free(of_topic);
	mem_free(of_all);
}

static int insert_partitions(
	struct meta_sqlite *m, struct known_topic *t, uint32_t from, uint32_t to, struct err *e)
{
	for (uint32_t p = from; p < to; p++) {
		t->partitions[p].version = m->state.version;
		t->partitions[p].oldest_ms = INT64_MIN;
		if (meta_sqlite_run(m, SQL_PARTITION_INSERT, e, "iiii", t->number, (int64_t)p,
			    (int64_t)t->partitions[p].slot, (int64_t)m->state.version) < 0)
			return -1;
	}
	return 0;
}

static void next_version(struct meta_sqlite *m)
{
	m->state.version++;
	m->state_changed = true;
}

static int check_room(const struct meta_sqlite *m, uint32_t partitions, size_t config_bytes, struct err *e)
{
	if (m->known.partition_count + partitions > PARTITIONS_TOTAL_MAX) {
		err_set(e, ERR_TOO_LARGE,
			"with %u more partitions there would be %zu; the limit is %d for all topics together",
			partitions, m->known.partition_count + partitions, PARTITIONS_TOTAL_MAX);
		return err_hint(e, "use fewer partitions, or delete topics that are not needed");
	}
	if (m->known.config_bytes + config_bytes > CONFIG_TOTAL_MAX)
		return err_set(e, ERR_TOO_LARGE,
			"the configs of all topics together would have more than %d bytes", CONFIG_TOTAL_MAX);
	return 0;
}

static int check_new(
	const struct meta_sqlite *m, const struct meta_topic *t, const char *config, struct err *e)
{
	if (meta_topic_name_check(t->name, e) < 0 || meta_config_check(config, e) < 0)
		return -1;
	if (t->partitions < 1 || t->partitions > META_PARTITIONS_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT, "topic %s: %u partitions; 1 to %d are possible",
			t->name, t->partitions, META_PARTITIONS_MAX);
	if (map_gets(&m->known.by_name, t->name))
		return err_set(e, ERR_EXISTS, "topic %s exists already", t->name);
	return check_room(m, t->partitions, strlen(config), e);
}

int meta_sqlite_topic_create(struct meta *base, struct meta_topic *t, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	const char *config = t->config && *t->config ? t->config : "{}";
	struct known_topic *k;

	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	if (check_new(m, t, config, e) < 0)
		return meta_sqlite_change_end(m, -1, e);
	next_version(m);
	k = mem_zalloc(sizeof(*k));
	k->id = uuid_random();
	k->name = mem_strdup(t->name);
	k->version = m->state.version;
	k->config_bytes = strlen(config);
	meta_config_retention(config, &k->retention_ms, &k->retention_bytes);
	k->partition_count = t->partitions;
	k->partitions = mem_zalloc(k->partition_count * sizeof(*k->partitions));
	spread(m, k, 0, k->partition_count);
	t->created_ms = clock_real_ms();
	if (meta_sqlite_run(m, SQL_TOPIC_INSERT, e, "Utiitii", &k->id, t->name, (int64_t)t->partitions,
		    (int64_t)t->replication_factor, config, t->created_ms, (int64_t)m->state.version) < 0)
		goto fail;
	k->number = sqlite3_last_insert_rowid(m->db);
	if (insert_partitions(m, k, 0, k->partition_count, e) < 0)
		goto fail;
	t->id = k->id;
	t->version = k->version;
	t->deleted = false;
	meta_sqlite_memory_add_topic(m, k);
	return meta_sqlite_change_end(m, 0, e);
fail:
	mem_free(k->name);
	mem_free(k->partitions);
	mem_free(k);
	return meta_sqlite_change_end(m, -1, e);
}

/* Inside a change only: then memory is known to be loaded, and what it lacks is absent. */
static struct known_topic *find_name(const struct meta_sqlite *m, const char *name, struct err *e)
{
	struct known_topic *t = map_gets(&m->known.by_name, name);

	if (!t)
		err_set(e, ERR_TOPIC_NOT_FOUND, "there is no topic %.*s", META_TOPIC_NAME_MAX, name);
	return t;
}

/* The topic's config with the changes applied; mem_free(). */
static char *changed_config(
	struct meta_sqlite *m, const struct known_topic *t, const char *changes, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(m, SQL_TOPIC_CONFIG, e, "i", t->number);
	char *config = NULL;
	int more;

	if (!s || (more = meta_sqlite_step(m, s, e)) < 0)
		return NULL;
	if (more == 0) {
		err_set(e, ERR_CORRUPT, "metadata %s: the row of topic %s is gone", m->path, t->name);
		return NULL;
	}
	config = meta_config_merge(
		(const char *)sqlite3_column_text(s, 0), changes && *changes ? changes : "{}", e);
	sqlite3_reset(s);
	return config;
}

/* In the database first; memory follows when nothing can fail any more. */
static int alter(
	struct meta_sqlite *m, struct known_topic *t, uint32_t partitions, const char *config, struct err *e)
{
	struct known_topic wider = *t;
	size_t config_bytes = strlen(config);

	if (check_room(m, partitions - t->partition_count,
		    config_bytes > t->config_bytes ? config_bytes - t->config_bytes : 0, e) < 0)
		return -1;
	next_version(m);
	wider.partitions = mem_zalloc(partitions * sizeof(*wider.partitions));
	memcpy(wider.partitions, t->partitions, t->partition_count * sizeof(*wider.partitions));
	wider.partition_count = partitions;
	spread(m, &wider, t->partition_count, partitions);
	if (meta_sqlite_run(m, SQL_TOPIC_UPDATE, e, "iiti", t->number, (int64_t)partitions, config,
		    (int64_t)m->state.version) < 0 ||
		insert_partitions(m, &wider, t->partition_count, partitions, e) < 0) {
		mem_free(wider.partitions);
		return -1;
	}
	m->known.partition_count += partitions - t->partition_count;
	m->known.config_bytes += config_bytes - t->config_bytes;
	mem_free(t->partitions);
	*t = wider;
	t->config_bytes = config_bytes;
	meta_config_retention(config, &t->retention_ms, &t->retention_bytes);
	t->version = m->state.version;
	return 0;
}

static int check_wider(const struct known_topic *t, uint32_t partitions, struct err *e)
{
	if (partitions >= t->partition_count && partitions <= META_PARTITIONS_MAX)
		return 0;
	err_set(e, ERR_INVALID_ARGUMENT, "topic %s has %u partitions; it cannot have %u", t->name,
		t->partition_count, partitions);
	return err_hint(e, "partitions can only be added, up to %d", META_PARTITIONS_MAX);
}

int meta_sqlite_topic_alter(
	struct meta *base, const char *name, uint32_t partitions, const char *config_changes, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	struct known_topic *t;
	char *config = NULL;
	int result = -1;

	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	t = find_name(m, name, e);
	if (t && partitions == 0)
		partitions = t->partition_count;
	if (t && check_wider(t, partitions, e) == 0)
		config = changed_config(m, t, config_changes, e);
	if (config)
		result = alter(m, t, partitions, config, e);
	mem_free(config);
	return meta_sqlite_change_end(m, result, e);
}

int meta_sqlite_topic_delete(struct meta *base, const char *name, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	struct known_topic *t;

	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	t = find_name(m, name, e);
	if (!t)
		return meta_sqlite_change_end(m, -1, e);
	next_version(m);
	if (meta_sqlite_run(m, SQL_TOPIC_DELETE, e, "ii", t->number, (int64_t)m->state.version) < 0 ||
		meta_sqlite_run(m, SQL_PARTITIONS_DELETE, e, "i", t->number) < 0)
		return meta_sqlite_change_end(m, -1, e);
	meta_sqlite_memory_remove_topic(m, t);
	return meta_sqlite_change_end(m, 0, e);
}

/* ---- changes ---- */

struct growing {
	struct meta_topic *rows;
	size_t count, room;
};

static int read_topic_row(
	struct meta_sqlite *m, sqlite3_stmt *s, struct arena *a, struct growing *g, struct err *e)
{
	struct meta_topic *t;

	if (g->count == g->room) {
		g->room = g->room ? 2 * g->room : 16;
		g->rows = mem_realloc_array(g->rows, g->room, sizeof(*g->rows));
	}
	t = &g->rows[g->count];
	memset(t, 0, sizeof(*t));
	if (meta_sqlite_column_uuid(m, s, 0, &t->id, e) < 0)
		return -1;
	t->name = arena_strdup(a, (const char *)sqlite3_column_text(s, 1));
	t->partitions = sqlite3_column_int64(s, 2);
	t->replication_factor = sqlite3_column_int64(s, 3);
	t->config = arena_strdup(a, (const char *)sqlite3_column_text(s, 4));
	t->created_ms = sqlite3_column_int64(s, 5);
	t->version = sqlite3_column_int64(s, 6);
	t->deleted = sqlite3_column_int64(s, 7) != TOPIC_LIVING;
	g->count++;
	return 0;
}

static int changed_topics(struct meta_sqlite *m, uint64_t since, struct arena *a, struct meta_topic **topics,
	size_t *count, struct err *e)
{
	sqlite3_stmt *s = meta_sqlite_bind(
		m, SQL_TOPICS_CHANGED, e, "i", since > INT64_MAX ? INT64_MAX : (int64_t)since);
	struct growing g = {NULL, 0, 0};
	int more;

	if (!s)
		return -1;
	while ((more = meta_sqlite_step(m, s, e)) == 1)
		if (read_topic_row(m, s, a, &g, e) < 0) {
			sqlite3_reset(s);
			more = -1;
			break;
		}
	*topics = arena_dup(a, g.rows, g.count * sizeof(*g.rows));
	*count = g.count;
	mem_free(g.rows);
	return more;
}

static int compare_versions(const void *a, const void *b)
{
	const struct meta_partition *x = a, *y = b;
	int c = (x->version > y->version) - (x->version < y->version);

	if (c == 0)
		c = uuid_compare(&x->topic, &y->topic);
	return c ? c : (x->partition > y->partition) - (x->partition < y->partition);
}

static void fill_partition(
	const struct meta_sqlite *m, const struct known_topic *t, uint32_t number, struct meta_partition *out)
{
	const struct known_partition *p = &t->partitions[number];

	out->topic = t->id;
	out->partition = number;
	out->slot = p->slot;
	out->epoch = meta_sqlite_memory_epoch(m, p);
	out->log_start = p->log_start;
	out->flushed_end = p->flushed_end;
	out->records = p->records;
	out->bytes = p->bytes;
	out->expired_records = p->expired_records;
	out->expired_bytes = p->expired_bytes;
	out->offset_floor = p->offset_floor;
	out->version = p->version;
}

static void changed_partitions(const struct meta_sqlite *m, uint64_t since, struct arena *a,
	struct meta_partition **partitions, size_t *count)
{
	struct meta_partition *rows = mem_array(m->known.partition_count + 1, sizeof(*rows));
	size_t it = 0, n = 0;
	void *value;

	while (map_next(&m->known.by_id, &it, NULL, NULL, &value)) {
		const struct known_topic *t = value;

		for (uint32_t p = 0; p < t->partition_count; p++)
			if (t->partitions[p].version > since)
				fill_partition(m, t, p, &rows[n++]);
	}
	qsort(rows, n, sizeof(*rows), compare_versions);
	*partitions = arena_dup(a, rows, n * sizeof(*rows));
	*count = n;
	mem_free(rows);
}

int meta_sqlite_topic_changes(struct meta *base, uint64_t since, struct arena *a, struct meta_topic **topics,
	size_t *topic_count, struct meta_partition **partitions, size_t *partition_count, uint64_t *version,
	struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	*topics = NULL;
	*partitions = NULL;
	*topic_count = *partition_count = 0;
	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	*version = m->state.version;
	if (since >= m->state.version)
		return 0;
	if (meta_sqlite_read_end(m, changed_topics(m, since, a, topics, topic_count, e), e) < 0)
		return -1;
	changed_partitions(m, since, a, partitions, partition_count);
	return 0;
}
