/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of meta.h, on the SQLite driver; what was done is looked at again after opening anew. */
#include <sqlite3.h>
#include "libsh/base/clock.h"
#include "tests/unit/meta-fixture.h"

static void test_names(void)
{
	char long_name[META_TOPIC_NAME_MAX + 2];
	struct err e = ERR_INIT;

	memset(long_name, 'a', sizeof(long_name));
	long_name[META_TOPIC_NAME_MAX + 1] = '\0';
	ok(meta_topic_name_check("orders.eu-1_X", &e) == 0,
		"a name may have letters, digits, '.', '_' and '-'");
	ok(meta_topic_name_check("", &e) < 0, "it is not empty");
	ok(meta_topic_name_check(".", &e) < 0 && meta_topic_name_check("..", &e) < 0, "nor . or ..");
	ok(meta_topic_name_check("a/b", &e) < 0 && meta_topic_name_check("a b", &e) < 0 &&
			meta_topic_name_check("\xc3\xa4", &e) < 0,
		"nor does it have other characters");
	ok(meta_topic_name_check(long_name, &e) < 0, "nor 250 of them");
	long_name[META_TOPIC_NAME_MAX] = '\0';
	ok(meta_topic_name_check(long_name, &e) == 0, "249 are fine");
}

static int create(struct fixture *f, const char *name, uint32_t partitions, const char *config)
{
	struct meta_topic t = {
		.name = name, .partitions = partitions, .replication_factor = 3, .config = config};

	err_clear(&f->e);
	return DO(f, topic_create, &t);
}

static void test_topics(void)
{
	struct arena a = ARENA_INIT;
	struct meta_partition *p = NULL;
	struct meta_topic *t = NULL;
	struct meta_counts c;
	uint64_t version = 0, before;
	size_t tn = 0, pn = 0;
	struct fixture f;

	fixture_init(&f);
	ok(reopen(&f) == 0, "a database is made where there is none");
	ok(create(&f, "a", 3, "{\"retention.ms\":\"1000\"}") == 0, "a topic is created");
	ok(create(&f, "a", 3, "{}") < 0 && f.e.code == ERR_EXISTS, "not twice");
	ok(create(&f, "A", 1, NULL) == 0, "names are case-sensitive");
	ok(create(&f, "a.b", 1, "{}") == 0 && create(&f, "a_b", 1, "{}") == 0, "a.b and a_b go together");
	ok(create(&f, "x/y", 1, "{}") < 0 && f.e.code == ERR_INVALID_ARGUMENT, "a bad name is refused");
	ok(create(&f, "b", 0, "{}") < 0 && create(&f, "b", META_PARTITIONS_MAX + 1, "{}") < 0,
		"0 and 100001 partitions are refused");
	ok(create(&f, "b", 1, "[1]") < 0 && create(&f, "b", 1, "{") < 0,
		"a config that is no JSON object is refused");
	ok(create(&f, "b", META_PARTITIONS_MAX, "{}") < 0 && f.e.code == ERR_TOO_LARGE,
		"all topics together have a limit, too");
	ok(reopen(&f) == 0 && f.m->driver->changes(f.m, 0, &a, &t, &tn, &p, &pn, &version, &f.e) == 0,
		"opened again");
	ok(tn == 4 && pn == 6, "all topics and partitions are there, those refused are not");
	ok(!strcmp(t[0].name, "a") && !strcmp(t[0].config, "{\"retention.ms\":\"1000\"}") &&
			t[0].replication_factor == 3 && t[0].created_ms > 0 && !strcmp(t[1].config, "{}"),
		"as they were created");
	before = version;
	ok(DO(&f, topic_alter, "a", 5, "{\"retention.ms\":null,\"x\":\"y\"}") == 0,
		"a topic gets partitions and another config");
	ok(DO(&f, topic_alter, "a", 4, "{}") < 0 && f.e.code == ERR_INVALID_ARGUMENT,
		"it cannot lose partitions");
	ok(DO(&f, topic_alter, "nope", 4, "{}") < 0 && f.e.code == ERR_TOPIC_NOT_FOUND,
		"a topic that is not there is not altered");
	ok(reopen(&f) == 0 && f.m->driver->changes(f.m, before, &a, &t, &tn, &p, &pn, &version, &f.e) == 0 &&
			tn == 1 && pn == 2 && p[0].partition == 3 && t[0].partitions == 5 &&
			!strcmp(t[0].config, "{\"x\":\"y\"}"),
		"changes shows just that");
	before = version;
	ok(DO(&f, topic_delete, "a") == 0 && DO(&f, topic_delete, "a") < 0 && f.e.code == ERR_TOPIC_NOT_FOUND,
		"a topic is deleted once");
	ok(create(&f, "a", 1, "{}") == 0, "its name is free at once");
	ok(reopen(&f) == 0 && f.m->driver->changes(f.m, before, &a, &t, &tn, &p, &pn, &version, &f.e) == 0 &&
			tn == 2 && t[0].deleted && !t[1].deleted && !uuid_equal(&t[0].id, &t[1].id) &&
			pn == 1,
		"changes shows the deleted one and the new one");
	ok(f.m->driver->changes(f.m, version, &a, &t, &tn, &p, &pn, &version, &f.e) == 0 && tn == 0 &&
			pn == 0,
		"and then nothing");
	ok(f.m->driver->counts(f.m, &c, &f.e) == 0 && c.topics == 4 && c.partitions == 4, "counts are right");
	arena_release(&a);
	fixture_release(&f);
}

static void test_spread(void)
{
	struct fixture f;
	struct uuid t;
	int per_slot[3] = {0};

	fixture_init(&f);
	reopen(&f);
	t = make_topic(&f, "early", 2);
	is_int(partition_row(&f, t, 1).slot, 0, "without slots partitions go to slot 0");
	for (uint32_t s = 0; s < 3; s++)
		open_session(&f, s);
	t = make_topic(&f, "t", 9);
	for (uint32_t p = 0; p < 9; p++)
		per_slot[partition_row(&f, t, p).slot]++;
	ok(per_slot[0] == 3 && per_slot[1] == 3 && per_slot[2] == 3, "9 partitions over 3 slots: 3 each");
	t = make_topic(&f, "u", 1);
	ok(partition_row(&f, t, 0).slot != 0, "one more goes to a slot with fewer");
	fixture_release(&f);
}

static void test_sessions(void)
{
	struct meta_session s = {0};
	uint64_t first, second, other;
	struct fixture f;
	struct uuid t;

	fixture_init(&f);
	reopen(&f);
	t = make_topic(&f, "t", 1);
	is_int(partition_row(&f, t, 0).epoch, 0, "before any session the epoch is 0");
	first = open_session(&f, 0);
	ok(f.m->driver->session_renew(f.m, first, NULL, &f.e) == 0, "a session is renewed");
	is_int(partition_row(&f, t, 0).epoch, first, "it is the epoch of the slot's partitions");
	second = open_session(&f, 0);
	other = open_session(&f, 1);
	ok(second > first && other > second, "numbers only grow");
	ok(f.m->driver->session_renew(f.m, first, NULL, &f.e) < 0 && f.e.code == ERR_FENCED,
		"the slot's older session is over");
	ok(f.m->driver->session_renew(f.m, other, NULL, &f.e) == 0, "that of another slot is not");
	ok(DO(&f, session_open, 0, &f.slot_id[3], "x", 10000, &s) < 0 && f.e.code == ERR_CONFLICT &&
			f.e.hint[0],
		"a slot with another id is refused");
	ok(DO(&f, session_open, 2, &f.slot_id[0], "x", 10000, &s) < 0 && f.e.code == ERR_CONFLICT,
		"a copied slot, too");
	ok(reopen(&f) == 0 && f.m->driver->session_renew(f.m, second, NULL, &f.e) == 0,
		"sessions outlive the process");
	ok(DO(&f, session_close, second) == 0 && f.m->driver->session_renew(f.m, second, NULL, &f.e) < 0,
		"a closed session is over");
	ok(DO(&f, session_close, second) == 0, "closing again does nothing");
	reopen(&f);
	ok(open_session(&f, 0) > other, "numbers grow across restarts");
	ok(DO(&f, session_open, 0, &f.slot_id[0], "x", 10000, &s) == 0 && s.incarnation > 0 &&
			s.commit_sequence == 0,
		"a session says which metadata this is");
	s.session++;
	ok(DO(&f, session_open, 0, &f.slot_id[0], "x", 10000, &s) < 0 && f.e.code == ERR_CORRUPT &&
			strstr(f.e.text, "went back in time"),
		"an agent that has seen a later session is told that this is an older copy");
	s.session--;
	s.commit_sequence++;
	ok(DO(&f, session_open, 0, &f.slot_id[0], "x", 10000, &s) < 0 && f.e.code == ERR_CORRUPT, "or a later commit");
	s.incarnation++;
	ok(DO(&f, session_open, 0, &f.slot_id[0], "x", 10000, &s) == 0, "of other metadata this says nothing");
	fixture_release(&f);
}

static void test_verdicts(void)
{
	struct segment_run r[5];
	enum meta_verdict v[5];
	struct uuid a, b, gone, never = uuid_random();
	uint64_t session, old, sequence, again, number, newest;
	struct uuid id = uuid_random();
	struct fixture f;

	fixture_init(&f);
	reopen(&f);
	open_session(&f, 1);
	old = open_session(&f, 0);
	session = open_session(&f, 0);
	a = make_topic(&f, "a", 2);
	b = make_topic(&f, "b", 2);
	gone = make_topic(&f, "gone", 1);
	DO(&f, topic_delete, "gone");
	ok(DO(&f, intent, old, &id, "x", &number, &newest) < 0 && f.e.code == ERR_FENCED,
		"a session that is over gets no name");
	ok(DO(&f, intent, session, &id, object_name(1), &number, &newest) == 0 && number == 1 && newest == 0,
		"an intent counts from 1");
	ok(DO(&f, intent, session, &id, object_name(1), &number, &newest) == 0 && number == 1,
		"the same again gets the same number");

	r[0] = make_run(a, partition_row(&f, a, 0).slot == 0 ? 0 : 1, session, 0, 10);
	r[1] = make_run(a, 1 - r[0].partition, session, 0, 10); /* on slot 1 */
	r[2] = make_run(b, partition_row(&f, b, 0).slot == 0 ? 0 : 1, session, 5, 10);
	r[3] = make_run(gone, 0, session, 0, 10);
	r[4] = make_run(never, 0, session, 0, 10);
	ok(commit_runs(&f, session, 1, r, 5, v, &sequence) == 0, "a commit is judged");
	is_int(v[0], META_ACCEPTED, "a run that continues its partition is accepted");
	is_int(v[1], META_REFUSED_FENCED, "one of another slot's partition is fenced");
	is_int(v[2], META_REFUSED_GAP, "one that leaves a gap is refused");
	is_int(v[3], META_REFUSED_DELETED, "one of a deleted topic is refused as such");
	is_int(v[4], META_REFUSED_FENCED, "one of a topic never seen is kept by its agent");
	is_int(partition_row(&f, a, r[0].partition).flushed_end, 10, "the end moved");
	ok(reopen(&f) == 0 && commit_runs(&f, session, 1, r, 5, v, &again) == 0 && v[0] == META_ALREADY &&
			v[1] == META_REFUSED_FENCED && v[2] == META_REFUSED_GAP &&
			v[3] == META_REFUSED_DELETED && again == sequence,
		"the same commit again, after a restart");
	is_int(partition_row(&f, a, r[0].partition).records, 10, "counts once");
	r[0].end_offset = 11;
	ok(commit_runs(&f, session, 1, r, 1, v, &again) == 0 && v[0] == META_REFUSED_GAP,
		"another run under that name is not taken");
	ok(commit_runs(&f, session, 2, r, 1, v, &again) < 0 && f.e.code == ERR_NOT_FOUND,
		"a name without intent is refused");

	r[0] = make_run(a, r[0].partition, session + 1, 10, 20);
	intend(&f, session, 3);
	ok(commit_runs(&f, session, 3, r, 1, v, &again) == 0 && v[0] == META_REFUSED_FENCED,
		"an epoch of the future is fenced");
	is_int(again, sequence + 1, "a commit of which nothing was accepted counts, too");
	r[0].last_epoch = r[0].first_epoch = session;
	ok(commit_runs(&f, session, 3, r, 1, v, &again) == 0 && v[0] != META_ACCEPTED &&
			again == sequence + 1,
		"its object is dead for good");
	intend(&f, session, 4);
	r[1] = r[0];
	ok(commit_runs(&f, session, 4, r, 2, v, &again) < 0 && f.e.code == ERR_INVALID_ARGUMENT,
		"two runs of one partition are a mistake");
	ok(commit_runs(&f, session, 4, r, 1, v, &again) == 0 && v[0] == META_ACCEPTED &&
			again == sequence + 2,
		"which changed nothing");
	ok(DO(&f, intent, session, &id, object_name(9), &number, &newest) == 0 && newest == 3,
		"the newest committed number is known");
	open_session(&f, 0);
	r[0] = make_run(a, r[0].partition, session, 20, 30);
	ok(commit_runs(&f, session, 9, r, 1, v, &again) == 0 && v[0] == META_REFUSED_FENCED,
		"an older session commits nothing");
	ok(reopen(&f) == 0 && commit_one(&f, session + 1, a, r[0].partition, 20, 30) < 0,
		"names are never given twice");
	f.objects = 20;
	is_int(commit_one(&f, session + 1, a, r[0].partition, 20, 30), META_ACCEPTED,
		"the newer one goes on where it ended");
	fixture_release(&f);
}

static void test_transactions(void)
{
	struct meta_topic t = {.name = "t", .partitions = 1}, u = {.name = "t", .partitions = 1},
			  w = {.name = "w", .partitions = 1};
	struct meta_counts c;
	struct fixture f;
	int64_t first, second;

	fixture_init(&f);
	reopen(&f);
	ok(f.m->driver->topic_create(f.m, &t, &f.e) < 0, "no change without a transaction");
	ok(f.m->driver->begin(f.m, &f.e) == 0 && f.m->driver->topic_create(f.m, &t, &f.e) == 0 &&
			f.m->driver->topic_create(f.m, &u, &f.e) < 0 &&
			f.m->driver->topic_create(f.m, &w, &f.e) == 0 && f.m->driver->commit(f.m, &f.e) == 0,
		"one that fails leaves the others of its transaction");
	ok(reopen(&f) == 0 && f.m->driver->counts(f.m, &c, &f.e) == 0 && c.topics == 2, "both are there");
	f.m->driver->begin(f.m, &f.e);
	f.m->driver->topic_delete(f.m, "w", &f.e);
	f.m->driver->rollback(f.m);
	ok(f.m->driver->counts(f.m, &c, &f.e) == 0 && c.topics == 2, "rolled back: memory, too");
	ok(DO(&f, producer_ids, 1000, &first) == 0 && reopen(&f) == 0 &&
			DO(&f, producer_ids, 1, &second) == 0 && second == first + 1000,
		"producer ids are given once");
	fixture_release(&f);
}

/* Long after a boot. */
static int collect(struct fixture *f, int64_t grace_ms, struct arena *a, const char ***names, size_t *n)
{
	struct meta_garbage g = {
		.clock = {.boot_id = "b", .boot_ms = clock_boot_ms(), .real_ms = clock_real_ms()}, .grace_ms = grace_ms, .max = 1000};
	int result = DO(f, garbage, &g, a);

	*names = g.names;
	*n = g.count;
	return result;
}

static void test_garbage(void)
{
	struct arena a = ARENA_INIT;
	const char **names;
	struct meta_counts c;
	struct segment_run r[2];
	enum meta_verdict v[2];
	uint64_t session, sequence;
	struct uuid t, u;
	struct fixture f;
	size_t n;
	int more;

	fixture_init(&f);
	reopen(&f);
	session = open_session(&f, 0);
	t = make_topic(&f, "t", 1);
	u = make_topic(&f, "u", 1);
	for (int i = 0; i < 100; i++) { /* objects of t alone, every tenth of both */
		r[0] = make_run(t, 0, session, i, i + 1);
		r[1] = make_run(u, 0, session, i / 10, i / 10 + 1);
		intend(&f, session, ++f.objects);
		commit_runs(&f, session, f.objects, r, i % 10 == 0 ? 2 : 1, v, &sequence);
	}
	intend(&f, session, 1000);
	ok(collect(&f, 0, &a, &names, &n) == 0 && n == 0, "nothing is dead at first");
	ok(DO(&f, garbage_done, object_name(1)) < 0 && f.e.code == ERR_CONFLICT,
		"what is live cannot be removed");
	DO(&f, topic_delete, "t");
	do {
		more = collect(&f, 0, &a, &names, &n);
	} while (more == 1);
	collect(&f, 0, &a, &names, &n);
	is_int(n, 90, "objects of a deleted topic alone are dead, folded and young ones");
	is_int(f.m->driver->counts(f.m, &c, &f.e) == 0 ? (long long)c.live_objects : -1, 10,
		"those with others' runs live");
	ok(reopen(&f) == 0 && f.m->driver->counts(f.m, &c, &f.e) == 0 && c.live_objects == 10 &&
			c.dead_objects == 90 && c.pending_objects == 1,
		"also after a restart");
	ok(collect(&f, 3600 * 1000, &a, &names, &n) == 0 && n == 0, "the grace period is kept");
	is_int(find(&f, u, 0, false, 0, 0, NULL), 0, "living runs are still found");
	DO(&f, topic_delete, "u");
	open_session(&f, 0);
	while (collect(&f, 0, &a, &names, &n) == 1)
		;
	collect(&f, 0, &a, &names, &n);
	is_int(n, 101, "then all are dead, the intent of a session that is over, too");
	for (size_t i = 0; i < n; i++)
		DO(&f, garbage_done, names[i]);
	ok(DO(&f, garbage_done, names[0]) == 0, "removing again does nothing");
	ok(reopen(&f) == 0 && collect(&f, 0, &a, &names, &n) == 0 && n == 0,
		"and then nothing is left");
	ok(f.m->driver->counts(f.m, &c, &f.e) == 0 && c.live_objects == 0 && c.live_bytes == 0 &&
			c.dead_objects == 0 && c.pending_objects == 0,
		"counts say so");
	arena_release(&a);
	fixture_release(&f);
}

/* As if all that is pending had been begun so long ago. */
static void age_pending(struct fixture *f, int64_t ms)
{
	char sql[128], path[128];
	sqlite3 *db = NULL;

	snprintf(path, sizeof(path), "%s/meta/meta.db", f->dir);
	snprintf(sql, sizeof(sql), "UPDATE object SET changed_ms = changed_ms - %lld WHERE state = 0", (long long)ms);
	if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		printf("# %s\n", sqlite3_errmsg(db));
	sqlite3_close(db);
}

/* All in one transaction, since each costs a sync: how many could be begun. */
static int intend_many(struct fixture *f, uint64_t session, int first, int count)
{
	struct uuid id = uuid_random();
	uint64_t number, newest;
	int begun = 0;

	f->m->driver->begin(f->m, &f->e);
	while (begun < count && f->m->driver->intent(f->m, session, &id, object_name(first + begun), &number, &newest,
					&f->e) == 0)
		begun++;
	return do_end(f, begun);
}

/* An object store that refuses for hours must not use up what one session may begin. */
static void test_abandoned(void)
{
	enum { MANY = 5000, HOUR_MS = 3600000 };
	struct arena a = ARENA_INIT;
	uint64_t session, sequence;
	struct segment_run r;
	enum meta_verdict v;
	struct fixture f;
	const char **names;
	int begun;
	size_t n;

	fixture_init(&f);
	reopen(&f);
	session = open_session(&f, 0);
	r = make_run(make_topic(&f, "t", 1), 0, session, 0, 10);
	begun = intend_many(&f, session, 1, MANY);
	ok(begun < MANY && f.e.code == ERR_BACK_PRESSURE, "a session can begin many segments (%d), not any number", begun);
	collect(&f, HOUR_MS, &a, &names, &n);
	ok(intend(&f, session, MANY + 1) < 0, "those begun just now are waited for");
	age_pending(&f, HOUR_MS);
	collect(&f, HOUR_MS, &a, &names, &n);
	is_int(n, 0, "those of an hour ago are given up, though the session goes on, and not removed before the grace period");
	is_int(intend_many(&f, session, MANY + 2, 10), 10, "so that it can begin others");
	ok(commit_runs(&f, session, 1, &r, 1, &v, &sequence) < 0 && f.e.code == ERR_CONFLICT, "what was given up cannot be committed");
	arena_release(&a);
	fixture_release(&f);
}

int main(void)
{
	test_names();
	test_topics();
	test_spread();
	test_sessions();
	test_verdicts();
	test_transactions();
	test_garbage();
	test_abandoned();
	return done_testing();
}
