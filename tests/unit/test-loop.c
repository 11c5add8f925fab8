/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "libsh/run/loop.h"
#include "libsh/run/work.h"
#include "tests/unit/tap.h"

enum { TIMERS = 500 };

struct many {
	struct loop *loop;
	struct timer timers[TIMERS];
	int64_t last_ns;
	int fired, cancelled;
	bool in_order;
};

static struct many many;

static void many_fire(void *ctx)
{
	struct timer *t = ctx;
	size_t victim = (size_t)rand() % TIMERS;

	many.in_order &= t->deadline_ns >= many.last_ns && t->deadline_ns <= loop_now_ns(many.loop);
	many.last_ns = t->deadline_ns;
	many.fired++;
	if (many.timers[victim].index) {
		loop_timer_cancel(many.loop, &many.timers[victim]);
		many.cancelled++;
	}
	if (many.fired + many.cancelled == TIMERS)
		loop_stop(many.loop, 7);
}

static void test_timers(struct loop *l)
{
	many.loop = l;
	many.in_order = true;
	for (int i = 0; i < TIMERS; i++)
		loop_timer_set(l, &many.timers[i], 1000, many_fire, &many.timers[i]);
	for (int i = 0; i < TIMERS; i++) /* moved */
		loop_timer_set(l, &many.timers[i], rand() % 40, many_fire, &many.timers[i]);
	is_int(loop_run(l), 7, "loop_run returns what loop_stop was given");
	ok(many.in_order, "timers fire in order of their deadlines and never early");
	ok(many.fired > 0 && many.cancelled > 0, "%d fired, %d cancelled from callbacks", many.fired, many.cancelled);
}

struct again {
	struct loop *loop;
	struct timer timer;
	struct turn_end end;
	int count, ends;
};

static void again_end(void *ctx)
{
	struct again *a = ctx;

	a->ends++;
	if (a->ends < 3)
		loop_at_turn_end(a->loop, &a->end, again_end, a);
}

static void again_fire(void *ctx)
{
	struct again *a = ctx;

	loop_at_turn_end(a->loop, &a->end, again_end, a);
	loop_at_turn_end(a->loop, &a->end, again_end, a);
	if (++a->count == 10)
		loop_stop(a->loop, 0);
	else
		loop_timer_set(a->loop, &a->timer, 0, again_fire, a);
}

static void test_again(struct loop *l)
{
	struct again a = {.loop = l};

	loop_timer_set(l, &a.timer, 0, again_fire, &a);
	loop_run(l);
	is_int(a.count, 10, "a timer may set itself again with no delay");
	ok(a.ends == 10, "queued twice, run once; queued by itself, run in a later turn (%d)", a.ends);
	loop_turn_end_cancel(&a.end);
}

/* Two watches are ready in one turn; whichever runs first removes and frees the other. */
struct pair {
	struct loop *loop;
	struct watch *watch[2];
	int calls;
};

static void pair_ready(void *ctx, uint32_t events)
{
	struct pair *p = ctx;

	(void)events;
	p->calls++;
	for (int i = 0; i < 2; i++) {
		loop_unwatch(p->loop, p->watch[i]);
		free(p->watch[i]);
	}
	loop_stop(p->loop, 0);
}

static void test_unwatch(struct loop *l)
{
	struct pair p = {.loop = l};
	int fds[2][2];

	for (int i = 0; i < 2; i++) {
		if (pipe(fds[i]) || write(fds[i][1], "x", 1) != 1)
			exit(1);
		p.watch[i] = malloc(sizeof(struct watch));
		loop_watch(l, p.watch[i], fds[i][0], EPOLLIN, pair_ready, &p, NULL);
	}
	loop_run(l);
	is_int(p.calls, 1, "a watch that was removed and freed in the same turn is not called");
	for (int i = 0; i < 4; i++)
		close(fds[i / 2][i % 2]);
}

static void signal_came(void *ctx, int signo)
{
	loop_stop(ctx, signo);
}

static void test_signals(struct loop *l)
{
	static struct signals s;
	struct err e = ERR_INIT;
	const int signos[] = {SIGUSR1, SIGUSR2};

	is_int(loop_signals(l, &s, signos, 2, signal_came, l, &e), 0, "signals become events");
	kill(getpid(), SIGUSR2);
	is_int(loop_run(l), SIGUSR2, "the signal's number arrives");
	loop_unwatch(l, &s.watch);
}

struct job {
	struct work work;
	struct loop *loop;
	int in, out;
	int *left;
};

static void job_run(struct work *w)
{
	struct job *j = container_of(w, struct job, work);

	j->out = j->in * j->in;
}

static void job_done(struct work *w)
{
	struct job *j = container_of(w, struct job, work);

	if (--*j->left == 0)
		loop_stop(j->loop, 0);
}

static void test_work(struct loop *l)
{
	struct err e = ERR_INIT;
	struct work_pool *p = work_pool_new(l, 3, 1000, &e);
	struct job jobs[200] = {0};
	int left = 200, wrong = 0;

	for (int i = 0; i < 200; i++) {
		jobs[i] = (struct job){.work = {.run = job_run, .done = job_done}, .loop = l, .in = i, .left = &left};
		work_submit(p, &jobs[i].work, &e);
	}
	loop_run(l);
	for (int i = 0; i < 200; i++)
		wrong += jobs[i].out != i * i;
	is_int(wrong, 0, "work runs on threads and comes back to the loop");
	work_pool_free(p);
}

static int gate[2];

static void gate_run(struct work *w)
{
	char c;

	(void)w;
	while (read(gate[0], &c, 1) < 0)
		;
}

static void test_work_limit(struct loop *l)
{
	struct err e = ERR_INIT;
	struct work_pool *p = work_pool_new(l, 1, 2, &e);
	struct work w[8];
	int accepted = 0;

	if (pipe(gate))
		exit(1);
	for (int i = 0; i < 8; i++) {
		w[i] = (struct work){.run = gate_run, .done = NULL};
		accepted += !work_submit(p, &w[i], &e);
	}
	ok(accepted == 2 || accepted == 3, "the queue has a limit: %d of 8 taken", accepted);
	is_int(e.code, ERR_BACK_PRESSURE, "above it: back-pressure");
	close(gate[1]);
	work_pool_free(p);
	ok(true, "freeing waits for what runs and drops what was queued");
	close(gate[0]);
}

int main(void)
{
	struct err e = ERR_INIT;
	struct loop *l = loop_new(&e);

	srand(1);
	test_timers(l);
	test_again(l);
	test_unwatch(l);
	test_signals(l);
	test_work(l);
	test_work_limit(l);
	loop_free(l);
	return done_testing();
}
