/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of metadata: a database in a temporary directory, and short ways to do the usual. */
#ifndef SH_TESTS_META_FIXTURE_H
#define SH_TESTS_META_FIXTURE_H

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include "libsh/base/disk.h"
#include "libsh/store/meta.h"
#include "tests/unit/tap.h"

struct fixture {
	char dir[64];
	struct meta *m;
	struct err e;
	struct uuid slot_id[4];
	uint64_t objects; /* names given out */
};

static void __attribute__((unused)) fixture_init(struct fixture *f)
{
	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/test-meta-XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
	for (int i = 0; i < 4; i++)
		f->slot_id[i] = uuid_random();
}

static void __attribute__((unused)) fixture_release(struct fixture *f)
{
	static const char *const names[] = {
		"meta/meta.db", "meta/meta.db-wal", "meta/meta.db-shm", "meta/meta.db.new", "meta", ""};
	char path[128];

	meta_free(f->m);
	f->m = NULL;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
}

static int __attribute__((unused)) reopen(struct fixture *f)
{
	meta_free(f->m);
	f->m = NULL;
	err_clear(&f->e);
	return meta_open("sqlite:", f->dir, false, &f->m, &f->e);
}

/* One change in a transaction of its own: DO(f, topic_delete, "name"). */
#define DO(f, what, ...) \
	do_end(f, (f)->m->driver->begin((f)->m, &(f)->e) < 0 ? \
			  -1 : \
			  (f)->m->driver->what((f)->m, __VA_ARGS__, &(f)->e))

static int __attribute__((unused)) do_end(struct fixture *f, int result)
{
	struct err e = f->e;

	if (f->m->driver->commit(f->m, &f->e) < 0)
		return -1;
	f->e = e;
	return result;
}

static struct uuid __attribute__((unused))
make_topic(struct fixture *f, const char *name, uint32_t partitions)
{
	struct meta_topic t = {
		.name = name, .partitions = partitions, .replication_factor = 1, .config = "{}"};

	if (DO(f, topic_create, &t) < 0)
		printf("# topic %s: %s\n", name, f->e.text);
	return t.id;
}

static uint64_t __attribute__((unused)) open_session(struct fixture *f, uint32_t slot)
{
	struct meta_session s = {.session = 0};

	if (DO(f, session_open, slot, &f->slot_id[slot], "127.0.0.1:1", 10000, &s) < 0)
		printf("# session of slot %u: %s\n", slot, f->e.text);
	return s.session;
}

static const char *__attribute__((unused)) object_name(uint64_t number)
{
	static char name[4][64];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(name[turn], sizeof(name[turn]), "segments/%06llu", (unsigned long long)number);
	return name[turn];
}

static int __attribute__((unused)) intend(struct fixture *f, uint64_t session, uint64_t object)
{
	struct uuid id = uuid_random();
	uint64_t number, newest;

	return DO(f, intent, session, &id, object_name(object), &number, &newest);
}

static struct segment_run __attribute__((unused))
make_run(struct uuid topic, uint32_t partition, uint64_t epoch, int64_t first, int64_t end)
{
	return (struct segment_run){.topic = topic,
		.partition = partition,
		.first_epoch = epoch,
		.last_epoch = epoch,
		.previous_end = first,
		.first_offset = first,
		.end_offset = end,
		.min_timestamp = first,
		.max_timestamp = end - 1,
		.max_append_ms = end,
		.records = end - first,
		.raw_bytes = 100 * (end - first),
		.position = 64,
		.stored_bytes = 10};
}

static int __attribute__((unused)) commit_runs(struct fixture *f, uint64_t session, uint64_t object,
	const struct segment_run *runs, size_t count, enum meta_verdict *verdicts, uint64_t *sequence)
{
	struct meta_object o = {.name = object_name(object), .bytes = 1000 + object, .crc = object};

	return DO(f, segment_commit, session, &o, runs, count, verdicts, sequence);
}

/* One run, with its intent before it: the verdict, or -1. */
static int __attribute__((unused)) commit_one(struct fixture *f, uint64_t session, struct uuid topic,
	uint32_t partition, int64_t first, int64_t end)
{
	struct segment_run r = make_run(topic, partition, session, first, end);
	enum meta_verdict v;
	uint64_t sequence;

	f->objects++;
	if (intend(f, session, f->objects) < 0 ||
		commit_runs(f, session, f->objects, &r, 1, &v, &sequence) < 0)
		return -1;
	return v;
}

static struct meta_partition __attribute__((unused))
partition_row(struct fixture *f, struct uuid topic, uint32_t partition)
{
	struct meta_partition found = {.flushed_end = -1}, *p;
	struct arena a = ARENA_INIT;
	struct meta_topic *t;
	size_t tn, pn;
	uint64_t version;

	if (f->m->driver->changes(f->m, 0, &a, &t, &tn, &p, &pn, &version, &f->e) == 0)
		for (size_t i = 0; i < pn; i++)
			if (uuid_equal(&p[i].topic, &topic) && p[i].partition == partition)
				found = p[i];
	arena_release(&a);
	return found;
}

/* Offset or timestamp to the first offset of the run found; -1: none; -2: another error. */
static int64_t __attribute__((unused)) find(struct fixture *f, struct uuid topic, uint32_t partition,
	bool by_timestamp, int64_t value, int64_t from, char *object)
{
	struct arena a = ARENA_INIT;
	struct segment_run r;
	struct meta_object o;
	int64_t result;

	if (f->m->driver->run_find(f->m, &topic, partition, by_timestamp, value, from, &a, &o, &r, &f->e) ==
		0) {
		result = r.first_offset;
		if (object)
			snprintf(object, 64, "%s", o.name);
	} else {
		result = f->e.code == ERR_NOT_FOUND ? -1 : -2;
	}
	arena_release(&a);
	return result;
}

#endif
