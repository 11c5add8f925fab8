/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fibers: the agent's loop and the threads of its log. Exactly one runs at a time, until it waits; which one is next is drawn from
 * the seed. Each touch of the disk is a step, at which another may go first and at which the life may end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "tests/sim/sim.h"
#include "tests/sim/threads.h"

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum { FIBERS = 3 * NODES, STACK_BYTES = 1 << 20 };

struct fiber {
	ucontext_t context;
	char *stack;
	void (*run)(void *);
	void *arg;
	struct node *node;
	bool used, woken;
	const void *wait;
	int64_t until_ns; /* it can run from here on, whatever happens */
	void *fake_stack;
};

static struct fiber fibers[FIBERS], *current;
static ucontext_t world;

#ifdef WITH_ASAN
static const void *world_stack;
static size_t world_stack_bytes;
#endif

static void to_fiber(struct fiber *f)
{
	current = f;
	sim.node = f->node;
	memory_owner(f->node);
#ifdef WITH_ASAN
	void *fake = NULL;

	__sanitizer_start_switch_fiber(&fake, f->stack, STACK_BYTES);
	swapcontext(&world, &f->context);
	__sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
	swapcontext(&world, &f->context);
#endif
	memory_owner(NULL);
	current = NULL;
}

static void to_world(struct fiber *f)
{
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(&f->fake_stack, world_stack, world_stack_bytes);
	swapcontext(&f->context, &world);
	__sanitizer_finish_switch_fiber(f->fake_stack, &world_stack, &world_stack_bytes);
#else
	swapcontext(&f->context, &world);
#endif
}

static void fiber_main(void)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(NULL, &world_stack, &world_stack_bytes);
#endif
	current->run(current->arg);
	current->used = false;
	to_world(current);
	abort();
}

void fiber_start(void (*run)(void *), void *arg)
{
	struct fiber *f = NULL;

	for (size_t i = 0; i < FIBERS && !f; i++)
		f = fibers[i].used ? NULL : &fibers[i];
	if (!f)
		abort();
	if (!f->stack)
		f->stack = malloc(STACK_BYTES);
#ifdef WITH_ASAN
	__asan_unpoison_memory_region(f->stack, STACK_BYTES);
#endif
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK_BYTES;
	f->context.uc_link = NULL;
	makecontext(&f->context, fiber_main, 0);
	f->node = sim.node;
	f->run = run;
	f->arg = arg;
	f->used = true;
	f->wait = NULL;
	f->until_ns = 0;
}

bool fiber_wait(const void *wait, int64_t until_ns)
{
	struct fiber *f = current;

	f->wait = wait;
	f->until_ns = until_ns;
	f->woken = false;
	to_world(f);
	f->wait = NULL;
	return f->woken;
}

void fiber_wake(const void *wait)
{
	for (size_t i = 0; i < FIBERS; i++)
		if (fibers[i].used && fibers[i].wait == wait) {
			fibers[i].woken = true;
			fibers[i].wait = NULL;
			fibers[i].until_ns = 0;
		}
}

bool fiber_inside(void)
{
	return current != NULL;
}

void fiber_die(void)
{
	current->node->ended = true;
	to_world(current);
	abort();
}

void fiber_step(void)
{
	struct node *n = sim.node;

	if (!current)
		return;
	if (n->steps_left > 0 && --n->steps_left == 0) {
		sim_event("crash", (int64_t)n->life, n->by_power);
		n->end_at_ns = sim.now_ns;
		fiber_die();
	}
	if (sim_percent(30))
		fiber_wait(NULL, sim.now_ns + (sim_percent(20) ? (int64_t)sim_below(2 * MS) : 0));
}

bool fiber_run_one(int64_t *next_ns)
{
	struct fiber *can[FIBERS];
	size_t count = 0;
	int64_t now = sim.now_ns;

	for (size_t i = 0; i < FIBERS; i++) {
		const struct node *n = fibers[i].node;
		int64_t at;

		if (!fibers[i].used || n->ended)
			continue;
		at = fibers[i].until_ns > n->paused_until_ns ? fibers[i].until_ns : n->paused_until_ns;
		if (at <= now)
			can[count++] = &fibers[i];
		else if (at < *next_ns)
			*next_ns = at;
	}
	if (!count)
		return false;
	to_fiber(can[sim_below(count)]);
	return true;
}

void fiber_end_life(struct node *n)
{
	for (size_t i = 0; i < FIBERS; i++)
		if (fibers[i].node == n)
			fibers[i].used = false;
	n->ended = false;
}

/* ---- the threads of the log ---- */

struct thread {
	void *(*run)(void *);
	void *arg;
};

static void thread_main(void *arg)
{
	struct thread *t = arg;

	t->run(t->arg);
}

int sim_thread_create(pthread_t *t, void *(*run)(void *), void *arg)
{
	struct thread *thread = mem_zalloc(sizeof(*thread));

	thread->run = run;
	thread->arg = arg;
	*t = 0;
	fiber_start(thread_main, thread);
	return 0;
}

void sim_thread_join(pthread_t t)
{
	(void)t;
	abort(); /* lives end all at once here */
}

void sim_mutex_lock(pthread_mutex_t *m)
{
	int *locked = (int *)m;

	while (*locked && current)
		fiber_wait(m, INT64_MAX);
	*locked = 1;
}

void sim_mutex_unlock(pthread_mutex_t *m)
{
	*(int *)m = 0;
	fiber_wake(m);
}

int sim_cond_wait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
	bool woken;

	sim_mutex_unlock(m);
	woken = fiber_wait(c, until ? (int64_t)until->tv_sec * 1000000000 + until->tv_nsec : INT64_MAX);
	sim_mutex_lock(m);
	return woken ? 0 : ETIMEDOUT;
}

void sim_cond_signal(pthread_cond_t *c)
{
	fiber_wake(c);
}

int sim_nanosleep(const struct timespec *pause)
{
	fiber_wait(NULL, sim.now_ns + (int64_t)pause->tv_sec * 1000000000 + pause->tv_nsec);
	return 0;
}
