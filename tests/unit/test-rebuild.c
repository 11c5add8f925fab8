/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots as bytes, and metadata made anew from snapshots and footers: what is taken, what is left out, what is kept. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/rebuild.h"
#include "tests/unit/tap.h"

enum { LIVING = 1, DELETED = 2, LATER = 3, SLOT = 9 };
static const uint64_t incarnation = 0x1000;

static struct uuid an_id(uint8_t n)
{
	struct uuid u;

	memset(u.b, n, sizeof(u.b));
	return u;
}

/* ---- a store with segments that hold no bytes of data ---- */

struct fixture {
	char dir[64], path[128];
	struct object_store *store;
	struct rebuild r;
	struct err e;
	struct meta *m;
	int damages, notes;
	uint64_t segments;
	bool logs_lost, quiet;
};

static void put(struct fixture *f, const char *name, const void *p, size_t n)
{
	int fd = fd_memory("object", p, n, NULL);

	if (f->store->driver->put(f->store, name, fd, n, NULL) < 0)
		abort();
	fd_close(&fd);
}

struct stretch {
	uint8_t topic;
	uint32_t partition;
	int64_t previous_end, first, end;
	uint32_t epoch;
};

static uint32_t last_epoch; /* of the next run; 0: its first */

static const char *put_named(
	struct fixture *f, uint64_t number, const char *topic, const struct stretch *runs, size_t count)
{
	static struct arena names;
	struct segment_info info = {.object = an_id(0x40 + (uint8_t)f->segments++), .slot = an_id(SLOT), .session = 5, .number = number,
		.incarnation = incarnation, .first_lsn = 1000 * number, .end_lsn = 1000 * number + 900, .created_ms = 1700000000000};
	struct segment_trailer t = {.footer_position = SEGMENT_HEADER_BYTES + 10 * count, .run_count = (uint32_t)count};
	struct buf b = BUF_INIT(1 << 20), footer = BUF_INIT(1 << 20);
	const char *name = meta_object_name(&names, &info.object, incarnation);
	uint8_t fixed[SEGMENT_TRAILER_BYTES];

	segment_header_write(&info, fixed);
	buf_add(&b, fixed, SEGMENT_HEADER_BYTES);
	segment_info_write(&footer, &info);
	buf_add_zeros(&b, 10 * count); /* blocks that nobody reads */
	for (size_t i = 0; i < count; i++) {
		struct segment_run_detail d = {.run = {.topic = an_id(runs[i].topic), .partition = runs[i].partition,
			.first_epoch = runs[i].epoch, .last_epoch = last_epoch ? last_epoch : runs[i].epoch, .previous_end = runs[i].previous_end, .first_offset = runs[i].first, .end_offset = runs[i].end,
			.records = (uint64_t)(runs[i].end - runs[i].first), .raw_bytes = 10, .position = SEGMENT_HEADER_BYTES + 10 * i,
			.stored_bytes = 10}};
		struct segment_block block = {.position = SEGMENT_HEADER_BYTES + 10 * i, .stored_bytes = 10, .raw_bytes = 10,
			.first_offset = runs[i].first, .end_offset = runs[i].end};

		d.blocks = &block;
		d.block_count = 1;
		if (topic)
			snprintf(d.topic_name, sizeof(d.topic_name), "%s", topic);
		else
			snprintf(d.topic_name, sizeof(d.topic_name), "topic%d", runs[i].topic);
		segment_run_write(&footer, &d, t.footer_position + footer.len);
	}
	buf_add(&b, footer.data, footer.len);
	t.footer_bytes = footer.len;
	t.footer_crc = crc32c(0, footer.data, footer.len);
	t.object_crc = crc32c(0, b.data, b.len);
	segment_trailer_write(&t, fixed);
	buf_add(&b, fixed, SEGMENT_TRAILER_BYTES);
	put(f, name, b.data, b.len);
	buf_release(&b);
	buf_release(&footer);
	return name;
}

static const char *put_segment(struct fixture *f, uint64_t number, const struct stretch *runs, size_t count)
{
	return put_named(f, number, NULL, runs, count);
}

/* One topic with three partitions, one that was deleted; log start and flushed end of partition 0 are given. */
static void put_snapshot(struct fixture *f, uint64_t number, int64_t log_start, int64_t flushed_end)
{
	struct snapshot_partition partitions[3] = {
		{.log_start = log_start, .flushed_end = flushed_end, .epoch = 5, .expired_records = 7}, {.epoch = 5}, {.epoch = 5}};
	struct snapshot_topic topics[2] = {{.id = an_id(LIVING), .name = "topic1", .config = "{\"retention.ms\":\"5\"}",
		.partition_count = 3, .replication_factor = 2, .created_ms = 11, .partitions = partitions},
		{.id = an_id(DELETED), .name = "topic2", .config = "{}", .deleted = true}};
	struct snapshot_slot slot = {.id = an_id(SLOT), .number = 0, .session = 5, .last_number = 20};
	struct snapshot s = {.incarnation = incarnation, .number = number, .version = 4, .session = 6, .commit_sequence = 30,
		.taken_ms = 1700000000000, .producer_id = 12345, .slots = &slot, .slot_count = 1, .topics = topics, .topic_count = 2};
	struct buf b = BUF_INIT(SNAPSHOT_MAX_BYTES);
	char name[SNAPSHOT_NAME_BYTES];

	snapshot_write(&b, &s, NULL);
	put(f, snapshot_name(incarnation, number, name), b.data, b.len);
	buf_release(&b);
}

static void on_note(void *ctx, bool damage, const char *where, const char *text)
{
	struct fixture *f = ctx;

	*(damage ? &f->damages : &f->notes) += 1;
	if (!f->quiet)
		printf("# %s: %s\n", where, text);
}

static void fixture_init(struct fixture *f)
{
	char objects[80];

	memset(f, 0, sizeof(*f));
	strcpy(f->dir, "/tmp/test-rebuild-XXXXXX");
	if (!mkdtemp(f->dir))
		abort();
	snprintf(objects, sizeof(objects), "%s/objects", f->dir);
	snprintf(f->path, sizeof(f->path), "%s/meta/meta.db", f->dir);
	if (object_dir_open(objects, &f->store, NULL) < 0)
		abort();
}

static int rebuild(struct fixture *f)
{
	meta_free(f->m);
	f->m = NULL;
	f->damages = f->notes = 0;
	err_clear(&f->e);
	f->r = (struct rebuild){.store = f->store, .path = f->path, .note = on_note, .ctx = f, .without_snapshot = f->r.without_snapshot,
		.logs_lost = f->logs_lost};
	if (rebuild_run(&f->r, &f->e) < 0)
		return -1;
	return meta_open("sqlite:", f->dir, false, &f->m, &f->e);
}

static void lose_metadata(struct fixture *f)
{
	char lock[160];

	meta_free(f->m);
	f->m = NULL;
	snprintf(lock, sizeof(lock), "%s.lock", f->path);
	disk_unlink(f->path, NULL);
	disk_unlink(lock, NULL);
}

static void fixture_release(struct fixture *f)
{
	char command[128];

	meta_free(f->m);
	object_store_free(f->store);
	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	if (system(command))
		abort();
}

static struct meta_partition row(struct fixture *f, uint8_t topic, uint32_t partition)
{
	struct meta_partition found = {.flushed_end = -1}, *p;
	struct uuid id = an_id(topic);
	struct arena a = ARENA_INIT;
	struct meta_topic *t;
	size_t tn, pn;
	uint64_t version;

	if (f->m && f->m->driver->changes(f->m, 0, &a, &t, &tn, &p, &pn, &version, &f->e) == 0)
		for (size_t i = 0; i < pn; i++)
			if (uuid_equal(&p[i].topic, &id) && p[i].partition == partition)
				found = p[i];
	arena_release(&a);
	return found;
}

/* The object that holds the offset, "" when there is none; *run is its run. */
static const char *holder(struct fixture *f, int64_t offset, struct segment_run *run)
{
	static char name[OBJECT_NAME_MAX + 1];
	struct uuid id = an_id(LIVING);
	struct arena a = ARENA_INIT;
	struct meta_object o;

	name[0] = '\0';
	if (f->m->driver->run_find(f->m, &id, 0, false, offset, offset, &a, &o, run, &f->e) == 0)
		snprintf(name, sizeof(name), "%s", o.name);
	arena_release(&a);
	return name;
}

static bool known(struct fixture *f, const char *name)
{
	enum meta_standing standing;

	return f->m->driver->standing(f->m, name, &standing, &f->e) == 0 && standing == META_OBJECT_KNOWN;
}

static int open_session(struct fixture *f, const struct uuid *slot, struct meta_session *session)
{
	err_clear(&f->e);
	return f->m->driver->session_open(f->m, 0, slot, "", 1000, session, &f->e);
}

/* ---- tests ---- */

static void test_codec(void)
{
	struct snapshot_partition p = {.slot = 1, .epoch = 2, .log_start = 3, .flushed_end = 4, .expired_records = 5, .expired_bytes = 6,
		.offset_floor = 7};
	struct snapshot_topic t = {.id = an_id(1), .name = "n", .config = "{}", .partition_count = 1, .partitions = &p, .created_ms = 9};
	struct snapshot s = {.incarnation = 7, .number = 8, .topics = &t, .topic_count = 1, .producer_id = -1}, got;
	struct buf b = BUF_INIT(SNAPSHOT_MAX_BYTES);
	struct arena a = ARENA_INIT;
	uint64_t incarnation_read, number_read;
	char name[SNAPSHOT_NAME_BYTES];
	bool seen = true;

	snapshot_write(&b, &s, NULL);
	ok(snapshot_read(b.data, b.len, &a, &got, NULL) == 0 && got.incarnation == 7 && got.number == 8 && got.topic_count == 1 &&
			!strcmp(got.topics[0].name, "n") && !memcmp(got.topics[0].partitions, &p, sizeof(p)) && got.producer_id == -1,
		"a snapshot reads as it was written");
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= 0x10;
		seen = seen && snapshot_read(b.data, b.len, &a, &got, NULL) < 0;
		b.data[i] ^= 0x10;
		seen = seen && snapshot_read(b.data, i, &a, &got, NULL) < 0;
	}
	ok(seen, "any byte changed, and any length cut, is noticed");
	ok(snapshot_name_parse(snapshot_name(7, 8, name), &incarnation_read, &number_read) && incarnation_read == 7 && number_read == 8,
		"its name says whose it is");
	ok(!snapshot_name_parse("meta/7-8.snapshot", &number_read, &number_read), "other names are not taken for one");
	arena_release(&a);
	buf_release(&b);
}

static void test_chain(void)
{
	const struct stretch a = {LIVING, 0, 0, 0, 100, 5}, longer = {LIVING, 0, 0, 0, 120, 5}, both[2] = {{LIVING, 0, 120, 120, 200, 5},
		{LIVING, 1, 0, 0, 5, 5}}, gone = {DELETED, 0, 0, 0, 50, 5}, after = {LIVING, 0, 200, 205, 210, 5}, doubt = {LIVING, 0, 300, 300, 310, 5};
	const char *twice, *second, *deleted, *doubtful, *chosen;
	struct meta_session session = {0};
	struct uuid slot = an_id(SLOT);
	struct segment_run run;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 3, 0, 120);
	twice = put_segment(&f, 1, &a, 1);
	chosen = put_segment(&f, 2, &longer, 1);
	second = put_segment(&f, 3, both, 2);
	deleted = put_segment(&f, 4, &gone, 1);
	put_segment(&f, 5, &after, 1);
	doubtful = put_segment(&f, 6, &doubt, 1);
	ok(rebuild(&f) == 0, "metadata is made from snapshot and segments: %s", f.e.text);
	is_str(holder(&f, 50, &run), chosen, "of a segment that was built twice the one that leads on is taken");
	is_str(holder(&f, 150, &run), second, "what was committed after the snapshot is found");
	ok(*holder(&f, 202, &run) && run.first_offset == 205 && run.previous_end == 200, "a recorded gap stays one");
	ok(row(&f, LIVING, 0).flushed_end == 210 && row(&f, LIVING, 1).flushed_end == 5 && row(&f, LIVING, 2).flushed_end == 0,
		"partitions end where their chains end");
	ok(row(&f, LIVING, 0).expired_records == 7 && row(&f, LIVING, 0).records == 205, "counts are right");
	ok(f.r.taken == 3 && f.r.deleted == 1 && f.r.doubled == 1 && f.r.kept == 1 && f.damages == 0, "the report counts each kind");
	ok(known(&f, doubtful) && !known(&f, deleted) && !known(&f, twice), "what has no place is kept, what is not wanted may be swept");
	f.m->driver->begin(f.m, &f.e);
	ok(f.m->driver->session_open(f.m, 0, &slot, "", 1000, &session, &f.e) == 0 && session.session > 6 &&
			session.commit_sequence > 30 && session.incarnation > incarnation,
		"sessions, commits and the incarnation are past all that was seen");
	f.m->driver->commit(f.m, &f.e);
	ok(rebuild(&f) < 0 && f.e.code == ERR_EXISTS, "a second time the name is taken");
	fixture_release(&f);
}

static void test_missing(void)
{
	const struct stretch a = {LIVING, 0, 0, 0, 10, 5}, c = {LIVING, 0, 20, 20, 30, 5}, more = {LIVING, 0, 30, 30, 40, 5};
	struct segment_run run;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 50);
	put_segment(&f, 1, &a, 1);
	put_segment(&f, 3, &c, 1);
	put_segment(&f, 4, &more, 1);
	ok(rebuild(&f) == 0 && f.damages == 2, "a segment that is missing, and the last one, are damage");
	ok(*holder(&f, 10, &run) && run.first_offset == 20 && run.previous_end == 10, "the hole is a recorded gap");
	is_int(row(&f, LIVING, 0).flushed_end, 50, "offsets that were committed are not given again");
	fixture_release(&f);

	fixture_init(&f);
	put_snapshot(&f, 1, 10, 20);
	put_segment(&f, 1, &a, 1);
	put_segment(&f, 3, &c, 1);
	ok(rebuild(&f) == 0 && row(&f, LIVING, 0).log_start == 20 && row(&f, LIVING, 0).flushed_end == 30,
		"what expired after the snapshot moves the log start");
	is_int(f.r.expired, 1, "what lies below it is left out");
	fixture_release(&f);
}

/* Segments of a life that is over, which were never committed, must not be taken for what came after it. */
static void test_overtaken(void)
{
	const struct stretch first = {LIVING, 0, 0, 0, 100, 5}, old = {LIVING, 0, 100, 100, 180, 5}, older = {LIVING, 0, 150, 150, 190, 5},
		begin = {LIVING, 0, 100, 100, 150, 900}, tail = {LIVING, 0, 150, 150, 160, 900}, far = {LIVING, 0, 500, 500, 600, 5};
	const char *chosen, *late, *later;
	struct segment_run run;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 100);
	put_segment(&f, 1, &first, 1);
	late = put_segment(&f, 2, &old, 1);
	later = put_segment(&f, 3, &older, 1);
	put_segment(&f, 4, &far, 1);
	put_segment(&f, 1001, &begin, 1);
	chosen = put_segment(&f, 1002, &tail, 1);
	ok(rebuild(&f) == 0 && f.damages == 0, "leftovers of an earlier life beside what was written since: %s", f.e.text);
	is_str(holder(&f, 155, &run), chosen, "what was written by the later session is taken, though the other leads further");
	is_int(row(&f, LIVING, 0).flushed_end, 160, "and the partition ends with it");
	ok(known(&f, late) && known(&f, later), "the others are kept");
	fixture_release(&f);
}

/* That the log begins later, for what came first is lost, does not make what was put aside old. */
static void test_overtaken_first(void)
{
	const struct stretch first = {LIVING, 0, 5, 5, 10, 5}, second = {LIVING, 0, 5, 5, 30, 6}, third = {LIVING, 0, 20, 20, 40, 7};
	const char *aside, *later;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 40);
	aside = put_segment(&f, 1, &first, 1);
	later = put_segment(&f, 2, &second, 1);
	put_segment(&f, 3, &third, 1);
	ok(rebuild(&f) == 0 && row(&f, LIVING, 0).log_start == 20, "a chain whose beginning is lost: %s", f.e.text);
	ok(f.r.expired == 0 && f.r.kept == 2, "what was overtaken twice is kept, wherever the log begins by now");
	ok(known(&f, aside) && known(&f, later), "and is never swept");
	fixture_release(&f);
}

/* A run is "held by others as well" only if they hold all of it. */
static void test_covered(void)
{
	const struct stretch a = {LIVING, 0, 0, 0, 100, 5}, longer = {LIVING, 0, 0, 0, 120, 5}, inside = {LIVING, 0, 100, 100, 200, 5},
		c = {LIVING, 0, 200, 200, 300, 5}, again = {LIVING, 0, 0, 0, 110, 5};
	const char *inner, *twice;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 300);
	put_segment(&f, 1, &longer, 1);
	inner = put_segment(&f, 2, &inside, 1); /* its own predecessor is lost */
	twice = put_segment(&f, 3, &again, 1);
	put_segment(&f, 4, &c, 1);
	ok(rebuild(&f) == 0 && f.damages == 1, "a hole that another segment could fill in part is damage: %s", f.e.text);
	ok(known(&f, inner), "that segment is kept");
	ok(!known(&f, twice) && f.r.doubled == 1, "one that others hold wholly is not");
	put_segment(&f, 5, &a, 1);
	lose_metadata(&f);
	ok(rebuild(&f) == 0 && f.damages == 0 && row(&f, LIVING, 0).records == 300, "with its predecessor it has its place: %s", f.e.text);
	fixture_release(&f);
}

/* Deleted after the snapshot, and made again under the same name: no two topics of one name ever live. */
static void test_again(void)
{
	const struct stretch old = {LIVING, 0, 0, 0, 10, 5}, between = {LATER, 0, 0, 0, 20, 5}, newest = {LATER + 1, 0, 0, 0, 30, 5};
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 10);
	put_segment(&f, 1, &old, 1);
	put_named(&f, 3, "topic1", &newest, 1);
	put_named(&f, 2, "topic1", &between, 1);
	ok(rebuild(&f) == 0 && row(&f, LATER + 1, 0).flushed_end == 30, "of topics of one name the last is taken: %s", f.e.text);
	ok(row(&f, LIVING, 0).flushed_end == -1 && row(&f, LATER, 0).flushed_end == -1, "those before it do not come back");
	fixture_release(&f);
}

static void test_topics(void)
{
	const struct stretch later = {LATER, 2, 0, 0, 10, 5}, wide = {LIVING, 4, 0, 0, 10, 5};
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 0);
	put_segment(&f, 1, &later, 1);
	put_segment(&f, 2, &wide, 1);
	ok(rebuild(&f) == 0 && row(&f, LATER, 2).flushed_end == 10 && row(&f, LATER, 0).flushed_end == 0,
		"a topic made after the snapshot is found in segments");
	ok(row(&f, LIVING, 4).flushed_end == 10 && f.r.counts.partitions == 8, "so are partitions that were added");
	fixture_release(&f);
}

static void test_failures(void)
{
	const struct stretch a = {LIVING, 0, 0, 0, 10, 5};
	const char *name, *rules = "get unavailable after=1\n";
	char fault[160], cut[64];
	struct object_store *plain, *faulty = NULL;
	struct uuid id = an_id(0x77);
	struct arena arena = ARENA_INIT;
	struct fixture f;

	fixture_init(&f);
	ok(rebuild(&f) < 0 && f.e.code == ERR_NOT_FOUND && !disk_exists(f.path), "without a snapshot nothing is made");
	put_segment(&f, 1, &a, 1);
	put_snapshot(&f, 1, 0, 10);
	memset(cut, 'x', sizeof(cut));
	name = meta_object_name(&arena, &id, incarnation);
	put(&f, name, cut, sizeof(cut));
	put(&f, "meta/0000000000001000-0000000000000009.snapshot", cut, sizeof(cut));
	snprintf(fault, sizeof(fault), "%s/rules", f.dir);
	disk_write_file(fault, rules, strlen(rules), 0600, NULL);
	plain = f.store;
	object_fault_open(plain, fault, &faulty, NULL);
	f.store = faulty;
	ok(rebuild(&f) < 0 && f.e.code == ERR_UNAVAILABLE && !disk_exists(f.path), "a store that does not answer ends it: %s", f.e.text);
	disk_unlink(fault, NULL);
	ok(rebuild(&f) == 0 && f.damages == 2 && f.r.snapshot_number == 1, "a snapshot and a segment that are damaged are told: %s", f.e.text);
	ok(f.r.unreadable == 1 && known(&f, name), "a segment that could not be read is never swept");
	is_int(row(&f, LIVING, 0).flushed_end, 10, "the others are taken");
	arena_release(&arena);
	fixture_release(&f);

	fixture_init(&f);
	f.r.without_snapshot = true;
	put_segment(&f, 1, &a, 1);
	ok(rebuild(&f) == 0 && row(&f, LIVING, 0).flushed_end == 10, "when asked for, it goes without a snapshot: %s", f.e.text);
	fixture_release(&f);
}

/* A copy under another name is not what that name was given to. */
static void test_copies(void)
{
	const struct stretch a = {LIVING, 0, 0, 0, 10, 5};
	const char *name, *copy, *newest = "meta/0000000000001000-0000000000000009.snapshot";
	struct uuid id = an_id(0x78);
	struct arena arena = ARENA_INIT;
	uint8_t bytes[4096];
	uint64_t n = 0;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 10);
	name = put_segment(&f, 1, &a, 1);
	copy = meta_object_name(&arena, &id, incarnation);
	f.store->driver->size(f.store, name, &n, NULL);
	f.store->driver->get(f.store, name, 0, bytes, n, NULL);
	put(&f, copy, bytes, n);
	f.store->driver->size(f.store, "meta/0000000000001000-0000000000000001.snapshot", &n, NULL);
	f.store->driver->get(f.store, "meta/0000000000001000-0000000000000001.snapshot", 0, bytes, n, NULL);
	put(&f, newest, bytes, n);
	ok(rebuild(&f) == 0 && f.damages == 2 && f.r.snapshot_number == 1 && f.r.unreadable == 1, "copies under other names are told: %s",
		f.e.text);
	ok(known(&f, copy) && row(&f, LIVING, 0).records == 10, "and count for nothing, nor are they removed");
	arena_release(&arena);
	fixture_release(&f);
}

/* The logs are lost with their directories: others take their places, and no offset is given twice. */
static void test_lost_logs(void)
{
	const struct stretch a = {LIVING, 0, 0, 0, 10, 5};
	struct uuid old = an_id(SLOT), new = an_id(SLOT + 1);
	struct meta_session session;
	struct fixture f;

	fixture_init(&f);
	put_snapshot(&f, 1, 0, 10);
	put_segment(&f, 1, &a, 1);
	ok(rebuild(&f) == 0 && row(&f, LIVING, 0).offset_floor == 0, "with the log there: %s", f.e.text);
	f.m->driver->begin(f.m, NULL);
	ok(open_session(&f, &new, &session) < 0 && f.e.code == ERR_CONFLICT, "another directory is no slot of this metadata");
	ok(open_session(&f, &old, &session) == 0, "the one that was is: %s", f.e.text);
	f.m->driver->commit(f.m, NULL);
	lose_metadata(&f);
	f.logs_lost = true;
	ok(rebuild(&f) == 0 && row(&f, LIVING, 0).flushed_end == 10, "without: %s", f.e.text);
	ok(row(&f, LIVING, 0).offset_floor == 10 + REBUILD_OFFSETS_JUMP && row(&f, LIVING, 1).offset_floor == REBUILD_OFFSETS_JUMP,
		"offsets go on far above every end");
	f.m->driver->begin(f.m, NULL);
	ok(open_session(&f, &old, &session) < 0 && f.e.code == ERR_CONFLICT, "the old directory is refused");
	ok(open_session(&f, &new, &session) == 0 && row(&f, LIVING, 0).slot == 0 && row(&f, LIVING, 0).epoch == session.session,
		"a new one takes its place, and its partitions: %s", f.e.text);
	f.m->driver->commit(f.m, NULL);
	fixture_release(&f);
}

/*
 * Histories by chance: lives of one partition that append, build segments that are committed or not, die with their log or without it.
 * What was committed must come back as it was, whatever else lies in the store.
 */
enum { OFFSETS = 400, BUILT = 64, HISTORIES = 10 };

struct history {
	unsigned seed;
	int epochs[OFFSETS];           /* of the records as the log has them now */
	int built[BUILT][OFFSETS];     /* as each segment has them */
	char names[BUILT][OBJECT_NAME_MAX + 1];
	int count;
	int64_t end, committed;
	int epoch;
};

static unsigned pick(struct history *h, unsigned n)
{
	h->seed = h->seed * 1103515245u + 12345u;
	return (h->seed >> 16) % n;
}

static void build(struct history *h, struct fixture *f, bool commit)
{
	int64_t to = h->committed + 1 + (int64_t)pick(h, (unsigned)(h->end - h->committed));
	struct stretch run = {LIVING, 0, h->committed, h->committed, to, (uint32_t)h->epochs[h->committed]};

	memcpy(h->built[h->count], h->epochs, sizeof(h->epochs));
	last_epoch = (uint32_t)h->epochs[to - 1];
	snprintf(h->names[h->count], sizeof(h->names[0]), "%s", put_segment(f, (uint64_t)h->count + 1, &run, 1));
	last_epoch = 0;
	h->count++;
	if (commit)
		h->committed = to;
}

static void live(struct history *h, struct fixture *f)
{
	int64_t snapshot_at = 1 + (int64_t)pick(h, BUILT / 2);
	bool taken = false;

	while (h->count < BUILT / 2 && h->end < OFFSETS - 20) {
		unsigned what = pick(h, 10);

		if (what < 4)
			for (unsigned n = 1 + pick(h, 12); n > 0; n--)
				h->epochs[h->end++] = h->epoch;
		else if (what < 8 && h->end > h->committed)
			build(h, f, what < 6);
		else if (what == 8)
			h->epoch++; /* another life, with its log */
		else if (what == 9 && pick(h, 3) == 0) {
			h->end = h->committed; /* and one without */
			h->epoch += 1000;
		}
		if (!taken && h->count >= snapshot_at) {
			put_snapshot(f, 1, 0, h->committed);
			taken = true;
		}
	}
	if (!taken)
		put_snapshot(f, 1, 0, h->committed);
}

/* How many committed offsets come from another segment than one that has their record. */
static int count_wrong(struct history *h, struct fixture *f)
{
	struct segment_run run;
	int wrong = 0;

	for (int64_t offset = 0; offset < h->committed; offset++) {
		const char *name = holder(f, offset, &run);
		int i = 0;

		while (i < h->count && strcmp(h->names[i], name) != 0)
			i++;
		wrong += i == h->count || run.first_offset > offset || h->built[i][offset] != h->epochs[offset];
	}
	return wrong;
}

static void test_histories(void)
{
	static struct history h;
	int wrong = 0, damages = 0, failed = 0;
	struct fixture f;

	for (unsigned seed = 1; seed <= HISTORIES; seed++) {
		int before = wrong;

		memset(&h, 0, sizeof(h));
		h.seed = seed;
		h.epoch = 5;
		fixture_init(&f);
		f.quiet = true;
		live(&h, &f);
		failed += rebuild(&f) < 0;
		wrong += f.m ? count_wrong(&h, &f) : 0;
		damages += f.damages;
		if (wrong > before)
			printf("# seed %u\n", seed);
		fixture_release(&f);
	}
	ok(failed == 0 && wrong == 0, "of %d histories what was committed comes back: %d failed, %d offsets are wrong", HISTORIES, failed, wrong);
	is_int(damages, 0, "and nothing is called damage");
}

int main(void)
{
	test_codec();
	test_chain();
	test_missing();
	test_overtaken();
	test_overtaken_first();
	test_covered();
	test_again();
	test_topics();
	test_failures();
	test_copies();
	test_lost_logs();
	test_histories();
	return done_testing();
}
