/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that stand still until the world moves them, and loop.h on them. */
#include <string.h>
#include <time.h>

#include "libsh/base/clock.h"
#include "tests/sim/sim.h"

int __wrap_clock_gettime(clockid_t which, struct timespec *ts);

/* Linked with --wrap=clock_gettime: clock.c itself stays the real one. */
int __wrap_clock_gettime(clockid_t which, struct timespec *ts)
{
	int64_t ns = sim.now_ns;

	if (which == CLOCK_REALTIME)
		ns += (INT64_C(1700000000000) + sim.real_shift_ms) * MS;
	ts->tv_sec = ns / 1000000000;
	ts->tv_nsec = ns % 1000000000;
	return 0;
}

struct loop {
	struct timer **timers;
	size_t timer_count, timer_alloc;
	struct list turn_ends;
	struct waker *wakers[4];
	bool woken[4];
	bool posted;
};

struct loop *loop_new(struct err *e)
{
	struct loop *l = mem_zalloc(sizeof(*l));

	(void)e;
	list_init(&l->turn_ends);
	return l;
}

int64_t loop_now_ns(const struct loop *l)
{
	(void)l;
	return sim.now_ns;
}

void loop_timer_cancel(struct loop *l, struct timer *t)
{
	size_t at = t->index;

	if (!at--)
		return;
	t->index = 0;
	l->timers[at] = l->timers[--l->timer_count];
	if (at < l->timer_count)
		l->timers[at]->index = (uint32_t)at + 1;
}

void loop_timer_set(struct loop *l, struct timer *t, int64_t after_ms, void (*fire)(void *), void *ctx)
{
	loop_timer_cancel(l, t);
	t->deadline_ns = sim.now_ns + (after_ms <= 0 ? 1 : after_ms > INT64_MAX / MS / 2 ? INT64_MAX / 2 : after_ms * MS);
	t->fire = fire;
	t->ctx = ctx;
	if (l->timer_count == l->timer_alloc) {
		l->timer_alloc = l->timer_alloc ? l->timer_alloc * 2 : 32;
		l->timers = mem_realloc_array(l->timers, l->timer_alloc, sizeof(*l->timers));
	}
	l->timers[l->timer_count++] = t;
	t->index = (uint32_t)l->timer_count;
}

void loop_at_turn_end(struct loop *l, struct turn_end *t, void (*run)(void *), void *ctx)
{
	if (list_linked(&t->node))
		return;
	t->run = run;
	t->ctx = ctx;
	list_push(&l->turn_ends, &t->node);
}

void loop_turn_end_cancel(struct turn_end *t)
{
	list_remove(&t->node);
}

int loop_waker_init(struct loop *l, struct waker *w, void (*fn)(void *), void *ctx, struct err *e)
{
	(void)e;
	for (size_t i = 0; i < array_count(l->wakers); i++)
		if (!l->wakers[i]) {
			l->wakers[i] = w;
			w->fn = fn;
			w->ctx = ctx;
			w->fd = (int)i;
			return 0;
		}
	return -1;
}

void loop_wake(struct waker *w)
{
	struct loop *l = sim.node->self.loop;

	l->woken[w->fd] = true;
	loop_post(l);
}

void loop_waker_release(struct loop *l, struct waker *w)
{
	l->wakers[w->fd] = NULL;
}

void loop_post(struct loop *l)
{
	l->posted = true;
	fiber_wake(l);
}

static struct timer *timer_next(struct loop *l)
{
	struct timer *next = NULL;

	for (size_t i = 0; i < l->timer_count; i++)
		if (!next || l->timers[i]->deadline_ns < next->deadline_ns)
			next = l->timers[i];
	return next;
}

static void turn(struct loop *l)
{
	struct timer *t;
	struct list marker, *n;
	int64_t now = sim.now_ns;

	l->posted = false;
	for (size_t i = 0; i < array_count(l->wakers); i++)
		if (l->woken[i]) {
			l->woken[i] = false;
			l->wakers[i]->fn(l->wakers[i]->ctx);
		}
	peers_answer();
	while ((t = timer_next(l)) && t->deadline_ns <= now) {
		loop_timer_cancel(l, t);
		t->fire(t->ctx);
	}
	list_push(&l->turn_ends, &marker);
	while ((n = list_pop(&l->turn_ends)) != &marker) {
		struct turn_end *end = list_entry(n, struct turn_end, node);

		end->run(end->ctx);
	}
}

int loop_run(struct loop *l)
{
	for (;;) {
		struct timer *t;

		turn(l);
		t = timer_next(l);
		if (!l->posted && list_empty(&l->turn_ends))
			fiber_wait(l, t ? t->deadline_ns : INT64_MAX);
		else
			fiber_wait(NULL, sim.now_ns);
	}
}
