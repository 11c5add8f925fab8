/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands before a store that is far away. A bucket of tokens per kind of operation keeps us below the rates
 * at which services begin to throttle. A circuit breaker keeps calls from piling up behind a service that is
 * away: after a few failures in a row calls fail at once, for a pause; then one is let through, and what
 * comes of it decides.
 */
#include <pthread.h>
#include <time.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "libsh/store/object.h"

enum guard_op { OP_PUT, OP_GET, OP_COUNT }; /* as services count: what writes, and what reads */
enum { FAILURES_MAX = 3, PAUSE_FIRST_MS = 500, PAUSE_MAX_MS = 5000, TOKEN_WAIT_MAX_MS = 5000 };

struct bucket {
	int64_t rate;	 /* tokens a second; 0: no limit */
	int64_t next_us; /* when the next one is there; up to a second's worth may be behind us */
};
struct guard_store {
	struct object_store base, *inner;
	pthread_mutex_t lock; /* for what follows */
	struct bucket buckets[OP_COUNT];
	int failures; /* in a row; the last of them */
	struct err last;
	bool trying;  /* one call was let through, and is under way */
	int64_t pause_ms, closed_until_ms;
};

static struct guard_store *guard_of(struct object_store *s)
{
	return container_of(s, struct guard_store, base);
}

/* Microseconds to wait for the token that was taken. */
static int64_t take_token(struct bucket *b)
{
	int64_t now = clock_mono_ns() / 1000, wait;

	if (!b->rate)
		return 0;
	if (b->next_us < now - 1000000)
		b->next_us = now - 1000000;
	wait = b->next_us - now;
	if (wait <= TOKEN_WAIT_MAX_MS * 1000)
		b->next_us += 1000000 / b->rate;
	return wait > 0 ? wait : 0;
}

/* Whether the call may go on: 0 or -1. It must be followed by guard_end(). */
static int guard_begin(struct guard_store *g, enum guard_op op, struct err *e)
{
	int64_t now = clock_mono_ms(), wait_us = 0, left_ms;
	struct err last;
	bool try;
	int failures;

	pthread_mutex_lock(&g->lock);
	failures = g->failures;
	last = g->last;
	left_ms = g->closed_until_ms - now;
	try = failures >= FAILURES_MAX && left_ms <= 0 && !g->trying;
	if (failures < FAILURES_MAX || try) {
		wait_us = take_token(&g->buckets[op]);
		/* Only who goes on ends the trial. */
		if (try && wait_us <= TOKEN_WAIT_MAX_MS * 1000)
			g->trying = true;
		failures = 0;
	}
	pthread_mutex_unlock(&g->lock);
	if (failures >= FAILURES_MAX)
		return err_set(e, ERR_UNAVAILABLE, "the object store failed %d times in a row and is %s; the last time: %s",
			failures, left_ms > 0 ? "given a pause" : "being tried", last.text);
	if (wait_us > TOKEN_WAIT_MAX_MS * 1000)
		return err_set(e, ERR_BACK_PRESSURE,
			"more requests to the object store than its limits allow are waiting");
	if (wait_us) {
		struct timespec t = {wait_us / 1000000, wait_us % 1000000 * 1000};

		nanosleep(&t, NULL);
	}
	return 0;
}

static int guard_end(struct guard_store *g, int result, const struct err *failed, struct err *e)
{
	bool away = result < 0 && (failed->code == ERR_UNAVAILABLE || failed->code == ERR_OUTCOME_UNKNOWN);
	struct uuid random = uuid_random();
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&g->lock);
	g->trying = false;
	if (away)
		g->last = *failed;
	if (!away) {
		g->failures = 0;
		g->pause_ms = PAUSE_FIRST_MS;
	} else if (++g->failures >= FAILURES_MAX && g->closed_until_ms <= now) {
		/* Once, whatever number of calls was under way and fails now. */
		g->closed_until_ms = now + g->pause_ms / 2 +
				     (random.b[0] << 8 | random.b[1]) % (g->pause_ms / 2 + 1);
		g->pause_ms = 2 * g->pause_ms < PAUSE_MAX_MS ? 2 * g->pause_ms : PAUSE_MAX_MS;
	}
	pthread_mutex_unlock(&g->lock);
	if (result < 0 && e)
		*e = *failed;
	return result;
}

static int guard_put(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e)
{
	struct guard_store *g = guard_of(s);
	struct err failed = ERR_INIT;

	if (guard_begin(g, OP_PUT, e) < 0)
		return -1;
	return guard_end(g, g->inner->driver->put(g->inner, name, fd, bytes, &failed), &failed, e);
}

static int guard_get(
	struct object_store *s, const char *name, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct guard_store *g = guard_of(s);
	struct err failed = ERR_INIT;

	if (guard_begin(g, OP_GET, e) < 0)
		return -1;
	return guard_end(g, g->inner->driver->get(g->inner, name, offset, p, n, &failed), &failed, e);
}

static int guard_size(struct object_store *s, const char *name, uint64_t *bytes, struct err *e)
{
	struct guard_store *g = guard_of(s);
	struct err failed = ERR_INIT;

	if (guard_begin(g, OP_GET, e) < 0)
		return -1;
	return guard_end(g, g->inner->driver->size(g->inner, name, bytes, &failed), &failed, e);
}

static int guard_remove(struct object_store *s, const char *name, struct err *e)
{
	struct guard_store *g = guard_of(s);
	struct err failed = ERR_INIT;

	if (guard_begin(g, OP_PUT, e) < 0)
		return -1;
	return guard_end(g, g->inner->driver->remove(g->inner, name, &failed), &failed, e);
}

static int guard_list(struct object_store *s, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct guard_store *g = guard_of(s);
	struct err failed = ERR_INIT;

	if (guard_begin(g, OP_GET, e) < 0)
		return -1;
	/* What each() returns may be no failure of the store. */
	return guard_end(g, g->inner->driver->list(g->inner, prefix, each, ctx, &failed), &failed, e);
}

static int guard_prepare(struct object_store *s, struct err *e)
{
	struct guard_store *g = guard_of(s);
	struct err failed = ERR_INIT;

	if (guard_begin(g, OP_PUT, e) < 0)
		return -1;
	return guard_end(g, object_store_prepare(g->inner, &failed), &failed, e);
}

static void guard_state(struct object_store *s, struct object_store_state *state)
{
	struct guard_store *g = guard_of(s);
	int64_t left_ms;

	*state = object_store_state(g->inner);
	pthread_mutex_lock(&g->lock);
	state->failures = (uint64_t)g->failures;
	state->paused = g->failures >= FAILURES_MAX;
	left_ms = g->closed_until_ms - clock_mono_ms();
	state->pause_left_ms = state->paused && left_ms > 0 ? left_ms : 0;
	pthread_mutex_unlock(&g->lock);
}

static void guard_free(struct object_store *s)
{
	struct guard_store *g = guard_of(s);

	object_store_free(g->inner);
	pthread_mutex_destroy(&g->lock);
	mem_free(g);
}

static const struct object_driver guard_driver = {
	.scheme = "guard",
	.put = guard_put,
	.get = guard_get,
	.size = guard_size,
	.remove = guard_remove,
	.list = guard_list,
	.prepare = guard_prepare,
	.state = guard_state,
	.free = guard_free,
};

struct object_store *object_guard_new(
	struct object_store *inner, int64_t puts_per_second, int64_t gets_per_second)
{
	struct guard_store *g = mem_zalloc(sizeof(*g));

	g->base.driver = &guard_driver;
	g->inner = inner;
	g->buckets[OP_PUT].rate = puts_per_second;
	g->buckets[OP_GET].rate = gets_per_second;
	g->pause_ms = PAUSE_FIRST_MS;
	pthread_mutex_init(&g->lock, NULL);
	return &g->base;
}
