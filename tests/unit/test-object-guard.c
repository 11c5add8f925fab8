/* SPDX-License-Identifier: Apache-2.0 */
/* The guard before an object store: a breaker that opens, tries and closes, and rates that are kept. */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/store/object.h"
#include "tests/unit/tap.h"

struct fake {
	struct object_store base;
	enum err_code fail; /* ERR_NONE: succeed */
	int calls; /* atomic */
	int delay_ms;
};
enum { CALLS_TOGETHER = 12 };

static int fake_size(struct object_store *s, const char *name, uint64_t *bytes, struct err *e)
{
	struct fake *f = container_of(s, struct fake, base);

	struct timespec delay = {0, f->delay_ms * 1000000L};

	__atomic_add_fetch(&f->calls, 1, __ATOMIC_RELAXED);
	nanosleep(&delay, NULL);
	*bytes = 1;
	return f->fail ? err_set(e, f->fail, "%s fails", name) : 0;
}

static int fake_remove(struct object_store *s, const char *name, struct err *e)
{
	uint64_t bytes;

	return fake_size(s, name, &bytes, e);
}

static void fake_free(struct object_store *s)
{
	(void)s;
}

static const struct object_driver fake_driver = {
	.scheme = "fake", .size = fake_size, .remove = fake_remove, .free = fake_free};

static enum err_code size_of(struct object_store *s)
{
	struct err e = ERR_INIT;
	uint64_t bytes;

	return s->driver->size(s, "x", &bytes, &e) == 0 ? ERR_NONE : e.code;
}

/* Ask until the store is asked again; false when the time is over. */
static bool asked_again(struct object_store *s, struct fake *f, int64_t within_ms)
{
	int64_t deadline = clock_mono_ms() + within_ms;
	int calls = f->calls;

	while (f->calls == calls && clock_mono_ms() < deadline) {
		struct timespec t = {0, 5000000};

		size_of(s);
		nanosleep(&t, NULL);
	}
	return f->calls == calls + 1;
}

static void test_breaker(void)
{
	struct fake f = {.base.driver = &fake_driver};
	struct object_store *s = object_guard_new(&f.base, 0, 0);

	is_int(size_of(s), ERR_NONE, "a call passes");
	f.fail = ERR_NOT_FOUND;
	for (int i = 0; i < 20; i++)
		size_of(s);
	is_int(f.calls, 21, "answers are no failures");
	f.fail = ERR_UNAVAILABLE;
	for (int i = 0; i < 20; i++)
		is_int(size_of(s), ERR_UNAVAILABLE, "a failure");
	is_int(f.calls, 24, "after three in a row the store is not asked any more");
	ok(asked_again(s, &f, 3000), "after a pause it is tried");
	is_int(size_of(s), ERR_UNAVAILABLE, "it still fails");
	is_int(f.calls, 25, "so it is left alone again");
	f.fail = ERR_NONE;
	ok(asked_again(s, &f, 3000), "and tried again");
	for (int i = 0; i < 10; i++)
		size_of(s);
	is_int(f.calls, 36, "then all is as before");
	object_store_free(s);
}

static void test_rate(void)
{
	struct fake f = {.base.driver = &fake_driver};
	struct object_store *s = object_guard_new(&f.base, 0, 100);
	int64_t start = clock_mono_ms();

	for (int i = 0; i < 90; i++)
		size_of(s);
	ok(clock_mono_ms() - start < 500, "a second's worth of calls passes at once");
	for (int i = 0; i < 60; i++)
		size_of(s);
	ok(clock_mono_ms() - start >= 400, "then they come at the rate");
	start = clock_mono_ms();
	for (int i = 0; i < 1000; i++)
		s->driver->remove(s, "x", NULL);
	ok(clock_mono_ms() - start < 1000, "other operations have their own");
	is_int(f.calls, 1150, "all of them came through");
	object_store_free(s);
}

static void *size_in_thread(void *ctx)
{
	return (void *)(intptr_t)size_of(ctx);
}

/* Calls that were under way together and fail together are one failure of the store. */
static void test_together(void)
{
	struct fake f = {.base.driver = &fake_driver, .fail = ERR_UNAVAILABLE, .delay_ms = 300};
	struct object_store *s = object_guard_new(&f.base, 0, 0);
	struct object_store_state state;
	pthread_t threads[CALLS_TOGETHER];

	state = object_store_state(s);
	ok(!state.paused && !state.failures, "at first nothing has failed");
	for (int i = 0; i < CALLS_TOGETHER; i++)
		if (pthread_create(&threads[i], NULL, size_in_thread, s))
			abort();
	for (int i = 0; i < CALLS_TOGETHER; i++)
		pthread_join(threads[i], NULL);
	state = object_store_state(s);
	ok(state.paused && state.failures == CALLS_TOGETHER, "then all that were under way have");
	/* Each doubling would have made the pause longer, up to 5 s. */
	ok(state.pause_left_ms <= 500, "the pause after them is the first one, not the twelfth");
	f.delay_ms = 0;
	f.fail = ERR_NONE;
	ok(asked_again(s, &f, 30000), "then one call is let through");
	state = object_store_state(s);
	ok(!state.paused && !state.failures, "and one success ends it");
	object_store_free(s);
}

int main(void)
{
	test_breaker();
	test_together();
	test_rate();
	return done_testing();
}
