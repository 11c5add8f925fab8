/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be deleted, and when: grace periods whatever the clock does, names that cannot be removed, segments that were given up and
 * put all the same, and metadata that went back in time.
 */
#include "libsh/base/clock.h"
#include "tests/unit/meta-fixture.h"

enum { HOUR_MS = 3600000, MANY = 2500 };
#define DAY_MS (INT64_C(24) * HOUR_MS)

/* A moment, as far as its ages go: how long after this test began, by the boot clock and by the real one. */
struct moment {
	int64_t boot_ms, real_ms;
};
struct listed {
	struct arena arena;
	const char **names;
	size_t count;
	bool held;
	int result;
};

static struct listed list(struct fixture *f, struct moment at, int64_t grace_ms, size_t skip)
{
	static int64_t real_ms;
	struct listed l = {.arena = ARENA_INIT};
	struct meta_garbage g = {.grace_ms = grace_ms, .max = 1000, .skip = skip};

	real_ms = real_ms ? real_ms : clock_real_ms();
	g.clock = (struct meta_clock){
		.boot_id = "boot", .boot_ms = DAY_MS + at.boot_ms, .real_ms = real_ms + at.real_ms, .hold_ms = grace_ms};
	l.result = DO(f, garbage, &g, &l.arena);
	l.names = g.names;
	l.count = g.count;
	l.held = g.clock.held;
	return l;
}

static size_t count(struct fixture *f, struct moment at, int64_t grace_ms)
{
	struct listed l = list(f, at, grace_ms, 0);
	size_t n = l.result < 0 ? 99999 : l.count;

	arena_release(&l.arena);
	return n;
}

/* So many objects of a topic that is gone. */
static struct uuid begin(struct fixture *f, uint64_t *session, int objects)
{
	struct uuid t;

	fixture_init(f);
	reopen(f);
	*session = open_session(f, 0);
	t = make_topic(f, "t", 1);
	for (int i = 0; i < objects; i++)
		commit_one(f, *session, t, 0, i, i + 1);
	return t;
}

static enum meta_standing standing(struct fixture *f, uint64_t object)
{
	enum meta_standing s = 99;

	f->m->driver->standing(f->m, object_name(object), &s, &f->e);
	return s;
}

static void test_clocks(void)
{
	struct fixture f;
	uint64_t session;

	begin(&f, &session, 1);
	count(&f, (struct moment){0, 0}, HOUR_MS);
	DO(&f, topic_delete, "t");
	is_int(count(&f, (struct moment){60000, 60000}, HOUR_MS), 0, "what is dead now stays for the grace period");
	is_int(count(&f, (struct moment){120000, 120000 + 9 * DAY_MS}, HOUR_MS), 0, "also when the clock is set forward by days");
	is_int(count(&f, (struct moment){HOUR_MS, HOUR_MS + 9 * DAY_MS}, HOUR_MS), 0, "and soon after");
	is_int(count(&f, (struct moment){2 * HOUR_MS, 2 * HOUR_MS + 9 * DAY_MS}, HOUR_MS), 1, "then it is listed");
	fixture_release(&f);

	begin(&f, &session, 1);
	DO(&f, topic_delete, "t");
	count(&f, (struct moment){0, 0}, HOUR_MS);
	is_int(count(&f, (struct moment){60000, -9 * DAY_MS}, HOUR_MS), 0, "a clock that is set back");
	is_int(count(&f, (struct moment){3 * HOUR_MS, 3 * HOUR_MS - 9 * DAY_MS}, HOUR_MS), 1, "does not put it off for days");
	fixture_release(&f);
}

/* Those in front cannot be removed: what follows comes all the same, in parts of a bounded size. */
static void test_pages(void)
{
	struct fixture f;
	struct listed l;
	uint64_t session;
	size_t skip = 0, seen = 0;
	char first[64] = "", name[64] = "";

	begin(&f, &session, 0);
	f.m->driver->begin(f.m, &f.e);
	for (uint64_t i = 0; i < MANY; i++) {
		struct uuid id = uuid_random();
		uint64_t number, newest;

		f.m->driver->intent(f.m, session, &id, object_name(i), &number, &newest, &f.e);
	}
	f.m->driver->commit(f.m, &f.e);
	DO(&f, session_close, session);
	count(&f, (struct moment){0, 60000}, 0); /* they are given up */
	do {
		l = list(&f, (struct moment){0, 120000}, 0, skip);
		if (l.count)
			snprintf(name, sizeof(name), "%s", l.names[0]);
		if (skip == 0)
			snprintf(first, sizeof(first), "%s", name);
		seen += l.count;
		skip += l.count;
		arena_release(&l.arena);
	} while (l.count == 1000);
	is_int(seen, MANY, "all that is dead is seen in parts, though none of it can be removed");
	ok(strcmp(first, name) != 0, "each part begins with another");
	fixture_release(&f);
}

static void test_given_up(void)
{
	struct fixture f;
	uint64_t session;

	begin(&f, &session, 1); /* object 1 */
	intend(&f, session, 2);
	ok(standing(&f, 1) == META_OBJECT_KNOWN && standing(&f, 2) == META_OBJECT_KNOWN, "live and pending objects are known");
	ok(standing(&f, 3) == META_OBJECT_STRANGE, "a name that was never given is strange, not an orphan");
	session = open_session(&f, 0);
	count(&f, (struct moment){0, 60000}, 0);
	is_int(count(&f, (struct moment){0, 60000}, 0), 1, "an intent whose session is over is given up");
	is_int(standing(&f, 2), META_OBJECT_KNOWN, "as long as it has a row it is known");
	DO(&f, garbage_done, object_name(2));
	is_int(standing(&f, 2), META_OBJECT_GIVEN_UP, "then it is remembered: what is put under that name late may go");
	DO(&f, topic_delete, "t");
	count(&f, (struct moment){0, 60000}, 0);
	is_int(count(&f, (struct moment){0, 60000}, 0), 1, "one that was committed");
	DO(&f, garbage_done, object_name(1));
	is_int(standing(&f, 1), META_OBJECT_STRANGE, "was put before it died, and cannot come late");
	ok(reopen(&f) == 0 && standing(&f, 2) == META_OBJECT_GIVEN_UP, "it is remembered after a restart");
	count(&f, (struct moment){29 * DAY_MS, 29 * DAY_MS}, 0);
	is_int(standing(&f, 2), META_OBJECT_GIVEN_UP, "for weeks");
	count(&f, (struct moment){31 * DAY_MS, 31 * DAY_MS}, 0);
	is_int(standing(&f, 2), META_OBJECT_STRANGE, "not for ever");
	fixture_release(&f);
}

static void test_behind(void)
{
	struct snapshot taken;
	struct arena a = ARENA_INIT;
	const char *name;
	struct fixture f;
	uint64_t session;

	begin(&f, &session, 1);
	DO(&f, topic_delete, "t");
	count(&f, (struct moment){0, 60000}, 0);
	is_int(count(&f, (struct moment){0, 60000}, 0), 1, "something is dead");
	ok(f.m->driver->behind(f.m, &a, &name, &f.e) == 0 && !name, "the metadata is not behind");
	DO(&f, set_behind, "meta/later");
	ok(reopen(&f) == 0 && f.m->driver->behind(f.m, &a, &name, &f.e) == 0 && name && !strcmp(name, "meta/later"),
		"when it is, that is remembered");
	is_int(count(&f, (struct moment){0, 60000}, 0), 99999, "nothing may be deleted then");
	ok(f.e.code == ERR_CONFLICT && strstr(f.e.text, "meta/later"), "and why is said");
	ok(DO(&f, snapshot, NULL, &a, &taken) < 0 && f.e.code == ERR_CONFLICT, "no snapshot takes the place of a newer one");
	DO(&f, set_behind, NULL);
	is_int(count(&f, (struct moment){0, 60000}, 0), 1, "until it is over");
	arena_release(&a);
	fixture_release(&f);
}

int main(void)
{
	test_clocks();
	test_pages();
	test_given_up();
	test_behind();
	return done_testing();
}
