/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database made anew from what an object store holds, for rebuild.c. It is made under another name and gets its own when
 * it is complete. First the rows of slots, topics and partitions; then it is opened like any other, and objects are added
 * in order as young segments, folded when there are enough.
 */
#include <stdio.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/store/meta_sqlite.h"
#include "libsh/store/meta_restore.h"

struct meta_restore {
	char *path, *fresh;
	struct meta *meta;
	uint64_t sequence;
};

static int exec(struct meta_sqlite *m, const char *sql, struct err *e)
{
	if (sqlite3_exec(m->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return meta_sqlite_error(m->db, m->path, e, "filling it");
}

static int write_counters(struct meta_sqlite *m, const struct snapshot *s, struct err *e)
{
	char sql[256];

	snprintf(sql, sizeof(sql), "UPDATE state SET founded = 0, incarnation = max(incarnation, %llu)", (unsigned long long)s->incarnation);
	if (exec(m, sql, e) < 0)
		return -1;
	m->state.version = s->version;
	m->state.session = s->session;
	m->state.commit_sequence = s->commit_sequence;
	if (s->producer_id > 0)
		m->state.producer_id = s->producer_id;
	m->state_changed = true;
	return 0;
}

static int write_slots(struct meta_sqlite *m, const struct snapshot *s, struct err *e)
{
	int64_t now_ms = clock_real_ms();

	for (size_t i = 0; i < s->slot_count; i++) {
		const struct snapshot_slot *slot = &s->slots[i];

		if (meta_sqlite_run(m, SQL_SLOT_INSERT, e, "iUitii", (int64_t)slot->number, &slot->id, (int64_t)slot->session, "",
			    (int64_t)10000, now_ms) < 0 ||
			meta_sqlite_run(m, SQL_SLOT_NUMBERS, e, "iii", (int64_t)slot->number, (int64_t)slot->last_number,
				(int64_t)slot->newest_committed) < 0 ||
			meta_sqlite_run(m, SQL_SLOT_END, e, "ii", (int64_t)slot->number, now_ms) < 0)
			return -1;
	}
	return 0;
}

static int write_partition(
	struct meta_sqlite *m, int64_t topic, uint32_t number, const struct snapshot_partition *p, uint64_t version, struct err *e)
{
	char sql[160];

	if (meta_sqlite_run(m, SQL_PARTITION_INSERT, e, "iiii", topic, (int64_t)number, (int64_t)p->slot, (int64_t)version) < 0 ||
		meta_sqlite_run(m, SQL_PARTITION_EXPIRES, e, "iiiiiiiii", topic, (int64_t)number, p->log_start, p->flushed_end,
			(int64_t)0, (int64_t)0, (int64_t)p->expired_records, (int64_t)p->expired_bytes, (int64_t)version) < 0)
		return -1;
	snprintf(sql, sizeof(sql), "UPDATE partition SET epoch_floor = %u, offset_floor = %lld WHERE topic = %lld AND partition = %u",
		p->epoch, (long long)p->offset_floor, (long long)topic, number);
	return exec(m, sql, e);
}

static int write_topic(struct meta_sqlite *m, const struct snapshot_topic *t, uint64_t version, struct err *e)
{
	int64_t number;

	if (meta_sqlite_run(m, SQL_TOPIC_INSERT, e, "Utiitii", &t->id, t->name, (int64_t)t->partition_count,
		    (int64_t)t->replication_factor, t->config, t->created_ms, (int64_t)version) < 0)
		return -1;
	number = sqlite3_last_insert_rowid(m->db);
	if (t->deleted)
		return meta_sqlite_run(m, SQL_TOPIC_SWEPT, e, "i", number);
	for (uint32_t i = 0; i < t->partition_count; i++)
		if (write_partition(m, number, i, &t->partitions[i], version, e) < 0)
			return -1;
	return 0;
}

static int write_all(struct meta_sqlite *m, const struct snapshot *s, struct err *e)
{
	if (write_counters(m, s, e) < 0 || write_slots(m, s, e) < 0)
		return -1;
	/* Those deleted first: of one name, one at most may live. */
	for (int deleted = 1; deleted >= 0; deleted--)
		for (size_t i = 0; i < s->topic_count; i++)
			if (s->topics[i].deleted == (deleted == 1) && write_topic(m, &s->topics[i], s->version, e) < 0)
				return -1;
	return 0;
}

static int reopen(struct meta_restore *r, struct err *e)
{
	meta_free(r->meta);
	r->meta = NULL;
	return meta_sqlite_open(r->fresh, false, &r->meta, e);
}

int meta_restore_check_free(const char *path, struct err *e)
{
	static const char *const endings[] = {"", "-wal", "-shm"};

	for (size_t i = 0; i < array_count(endings); i++) {
		char *name = mem_printf("%s%s", path, endings[i]);
		bool there = disk_exists(name);

		if (there)
			err_set(e, ERR_EXISTS, "%s is there already: nothing was written", name);
		mem_free(name);
		if (there)
			return err_hint(e, "move the old database away, or name another path");
	}
	return 0;
}

static void remove_fresh(const char *fresh)
{
	static const char *const endings[] = {"", "-wal", "-shm", ".lock"};

	for (size_t i = 0; i < array_count(endings); i++) {
		char *name = mem_printf("%s%s", fresh, endings[i]);

		disk_unlink(name, NULL);
		mem_free(name);
	}
}

int meta_restore_begin(const char *path, const struct snapshot *s, struct meta_restore **out, struct err *e)
{
	struct meta_restore *r;
	struct meta_sqlite *m;

	if (meta_restore_check_free(path, e) < 0)
		return -1;
	r = mem_zalloc(sizeof(*r));
	r->path = mem_strdup(path);
	r->fresh = mem_printf("%s.rebuild", path);
	r->sequence = s->commit_sequence;
	remove_fresh(r->fresh);
	if (meta_sqlite_schema_create(r->fresh, e) < 0 || reopen(r, e) < 0 || r->meta->driver->begin(r->meta, e) < 0)
		goto fail;
	m = meta_sqlite_of(r->meta);
	if (write_all(m, s, e) < 0 || r->meta->driver->commit(r->meta, e) < 0 || reopen(r, e) < 0 ||
		r->meta->driver->begin(r->meta, e) < 0)
		goto fail;
	crash_point("rebuild.begun");
	*out = r;
	return 0;
fail:
	meta_restore_free(r);
	return -1;
}

/* A transaction a fold: bounded, and nothing is seen before the end anyway. */
static int fold_when_full(struct meta_restore *r, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(r->meta);

	if (m->known.young_count < YOUNG_MAX && m->known.young_runs < YOUNG_RUNS_MAX)
		return 0;
	if (meta_sqlite_page_fold(m, e) < 0 || r->meta->driver->commit(r->meta, e) < 0)
		return -1;
	return r->meta->driver->begin(r->meta, e);
}

int meta_restore_object(struct meta_restore *r, const struct meta_object *object, uint32_t slot, uint64_t number,
	const struct segment_run *runs, size_t count, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(r->meta);
	struct meta_object o = *object;
	struct buf blob = BUF_INIT(RUNS_BLOB_MAX);
	int64_t row;
	int result = -1;

	if (fold_when_full(r, e) < 0 || meta_sqlite_page_encode(&blob, NULL, runs, count, e) < 0)
		goto out;
	o.sequence = ++r->sequence;
	if (meta_sqlite_run(m, SQL_OBJECT_INSERT, e, "tiiii", o.name, (int64_t)slot, (int64_t)0, (int64_t)number,
		    clock_real_ms()) < 0)
		goto out;
	row = sqlite3_last_insert_rowid(m->db);
	if (meta_sqlite_run(m, SQL_OBJECT_COMMIT, e, "iiiiiid", row, (int64_t)OBJECT_LIVE, (int64_t)o.bytes, (int64_t)o.crc,
		    (int64_t)o.sequence, clock_real_ms(), &blob) < 0)
		goto out;
	m->state.commit_sequence = o.sequence;
	m->state.live_objects++;
	m->state.live_bytes += o.bytes;
	m->state_changed = true;
	meta_sqlite_memory_push_young(m, meta_sqlite_memory_new_young(row, &o, runs, count));
	result = 0;
out:
	buf_release(&blob);
	return result;
}

int meta_restore_keep(struct meta_restore *r, const char *name, const char *why, struct err *e)
{
	return meta_sqlite_run(meta_sqlite_of(r->meta), SQL_KEEP, e, "tt", name, why);
}

int meta_restore_give_up(struct meta_restore *r, const char *name, struct err *e)
{
	return meta_sqlite_run(meta_sqlite_of(r->meta), SQL_GIVEN_UP_NAME, e, "ti", name, clock_real_ms());
}

int meta_restore_end_at(struct meta_restore *r, const struct uuid *topic, uint32_t partition, int64_t reached, int64_t end,
	const char *why, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(r->meta);
	const struct known_topic *t = meta_sqlite_memory_topic(m, topic);

	/* Only of runs in pages does a partition's end not follow from where it begins. */
	if (m->known.young_count && meta_sqlite_page_fold_now(m, e) < 0)
		return -1;
	if (meta_sqlite_run(m, SQL_PARTITION_BASE_END, e, "iii", t->number, (int64_t)partition, end) < 0)
		return -1;
	return meta_sqlite_run(m, SQL_GAP_INSERT, e, "iiiit", t->number, (int64_t)partition, reached, end, why);
}

int meta_restore_finish(struct meta_restore *r, struct meta_counts *counts, struct err *e)
{
	char *slash, *dir;
	int result = -1;

	if (r->meta->driver->commit(r->meta, e) < 0 || reopen(r, e) < 0 || r->meta->driver->counts(r->meta, counts, e) < 0)
		return -1;
	meta_free(r->meta); /* closing it brings all of its WAL into the file */
	r->meta = NULL;
	dir = mem_strdup(r->path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	crash_point("rebuild.written");
	if (meta_restore_check_free(r->path, e) < 0 || disk_rename_new(r->fresh, r->path, e) < 0)
		goto out;
	crash_point("rebuild.named");
	result = disk_sync_dir(slash ? dir : ".", e);
out:
	mem_free(dir);
	return result;
}

void meta_restore_free(struct meta_restore *r)
{
	if (!r)
		return;
	meta_free(r->meta);
	remove_fresh(r->fresh);
	mem_free(r->fresh);
	mem_free(r->path);
	mem_free(r);
}
