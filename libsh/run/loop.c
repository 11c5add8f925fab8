/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn: wait, handle the events, fire due timers, run what was queued for the turn's end. Level-triggered
 * unless a watch asks for EPOLLET. Timers are a binary heap of pointers into their owners.
 */
#include "libsh/run/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

enum { EVENTS_A_TURN = 128, NS_PER_MS = 1000000 };

struct loop {
	int epoll_fd;
	int64_t now_ns;
	bool running, stopping;
	int result;
	struct timer **heap;
	size_t timer_count, timer_alloc;
	struct list turn_ends;
	struct epoll_event events[EVENTS_A_TURN];
	int event_next, event_count; /* those still to be handled in this turn */
};

struct loop *loop_new(struct err *e)
{
	struct loop *l = mem_zalloc(sizeof(*l));

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epoll_fd < 0) {
		err_sys(e, ERR_INTERNAL, "cannot make an event queue");
		mem_free(l);
		return NULL;
	}
	list_init(&l->turn_ends);
	l->now_ns = clock_mono_ns();
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->timer_count; i++)
		l->heap[i]->index = 0;
	while (list_pop(&l->turn_ends))
		;
	fd_close(&l->epoll_fd);
	mem_free(l->heap);
	mem_free(l);
}

int64_t loop_now_ns(const struct loop *l)
{
	return l->running ? l->now_ns : clock_mono_ns();
}

void loop_stop(struct loop *l, int result)
{
	l->stopping = true;
	l->result = result;
}

/* ---- descriptors ---- */

int loop_watch(struct loop *l, struct watch *w, int fd, uint32_t events, void (*ready)(void *, uint32_t),
	void *ctx, struct err *e)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	w->fd = -1;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev))
		return err_sys(e, ERR_INTERNAL, "cannot watch descriptor %d", fd);
	w->fd = fd;
	w->events = events;
	w->ready = ready;
	w->ctx = ctx;
	return 0;
}

int loop_watch_change(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};

	if (w->fd < 0)
		return -1;
	if (w->events == events)
		return 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev))
		return -1;
	w->events = events;
	return 0;
}

void loop_unwatch(struct loop *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	/* Its owner may be freed next: forget events that were fetched already. */
	for (int i = l->event_next; i < l->event_count; i++)
		if (l->events[i].data.ptr == w)
			l->events[i].data.ptr = NULL;
}

/* ---- timers ---- */

static void heap_put(struct loop *l, size_t at, struct timer *t)
{
	l->heap[at] = t;
	t->index = (uint32_t)at + 1;
}

static void heap_up(struct loop *l, size_t at)
{
	struct timer *t = l->heap[at];

	while (at > 0 && l->heap[(at - 1) / 2]->deadline_ns > t->deadline_ns) {
		heap_put(l, at, l->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	heap_put(l, at, t);
}

static void heap_down(struct loop *l, size_t at)
{
	struct timer *t = l->heap[at];

	for (;;) {
		size_t child = 2 * at + 1;

		if (child + 1 < l->timer_count &&
			l->heap[child + 1]->deadline_ns < l->heap[child]->deadline_ns)
			child++;
		if (child >= l->timer_count || l->heap[child]->deadline_ns >= t->deadline_ns)
			break;
		heap_put(l, at, l->heap[child]);
		at = child;
	}
	heap_put(l, at, t);
}

void loop_timer_cancel(struct loop *l, struct timer *t)
{
	size_t at = t->index;
	struct timer *last;

	if (!at--)
		return;
	t->index = 0;
	last = l->heap[--l->timer_count];
	if (last == t)
		return;
	heap_put(l, at, last);
	heap_up(l, at);
	heap_down(l, last->index - 1);
}

void loop_timer_set(struct loop *l, struct timer *t, int64_t after_ms, void (*fire)(void *), void *ctx)
{
	int64_t now_ns = loop_now_ns(l);

	loop_timer_cancel(l, t);
	/* At least a nanosecond on: a timer that sets itself again fires in the next turn, not for ever in
	 * this one. */
	if (after_ms <= 0)
		t->deadline_ns = now_ns + 1;
	else if (after_ms > (INT64_MAX - now_ns) / NS_PER_MS)
		t->deadline_ns = INT64_MAX;
	else
		t->deadline_ns = now_ns + after_ms * NS_PER_MS;
	t->fire = fire;
	t->ctx = ctx;
	if (l->timer_count == l->timer_alloc) {
		l->timer_alloc = l->timer_alloc ? 2 * l->timer_alloc : 64;
		l->heap = mem_realloc_array(l->heap, l->timer_alloc, sizeof(l->heap[0]));
	}
	l->heap[l->timer_count] = t;
	heap_up(l, l->timer_count++);
}

static void fire_timers(struct loop *l)
{
	while (l->timer_count && l->heap[0]->deadline_ns <= l->now_ns) {
		struct timer *t = l->heap[0];

		loop_timer_cancel(l, t);
		t->fire(t->ctx);
	}
}

/* ---- the end of a turn ---- */

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

/* What is queued meanwhile runs at the end of the next turn, which does not wait: events cannot starve. */
static void run_turn_ends(struct loop *l)
{
	struct list marker;
	struct list *node;

	list_push(&l->turn_ends, &marker);
	while ((node = list_pop(&l->turn_ends)) != &marker) {
		struct turn_end *t = list_entry(node, struct turn_end, node);

		t->run(t->ctx);
	}
}

/* ---- running ---- */

static int wait_ms(const struct loop *l)
{
	int64_t ns;

	if (!list_empty(&l->turn_ends))
		return 0;
	if (!l->timer_count)
		return -1;
	ns = l->heap[0]->deadline_ns - clock_mono_ns();
	if (ns <= 0)
		return 0;
	if (ns / NS_PER_MS >= INT_MAX)
		return INT_MAX;
	return (int)((ns + NS_PER_MS - 1) / NS_PER_MS); /* rounded up: rather late than turning idly */
}

static void turn(struct loop *l)
{
	l->event_next = 0;
	l->event_count = epoll_wait(l->epoll_fd, l->events, EVENTS_A_TURN, wait_ms(l));
	l->now_ns = clock_mono_ns();
	while (l->event_next < l->event_count) {
		struct epoll_event *ev = &l->events[l->event_next++];
		struct watch *w = ev->data.ptr;

		if (w)
			w->ready(w->ctx, ev->events);
	}
	l->event_next = l->event_count = 0;
	fire_timers(l);
	run_turn_ends(l);
}

int loop_run(struct loop *l)
{
	l->running = true;
	l->now_ns = clock_mono_ns();
	while (!l->stopping)
		turn(l);
	l->running = false;
	l->stopping = false;
	return l->result;
}

/* ---- wakers and signals ---- */

static void waker_ready(void *ctx, uint32_t events)
{
	struct waker *w = ctx;
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) == sizeof(count))
		w->fn(w->ctx);
}

int loop_waker_init(struct loop *l, struct waker *w, void (*fn)(void *), void *ctx, struct err *e)
{
	w->watch.fd = -1;
	w->fn = fn;
	w->ctx = ctx;
	w->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->fd < 0)
		return err_sys(e, ERR_INTERNAL, "cannot make an event descriptor");
	if (loop_watch(l, &w->watch, w->fd, EPOLLIN, waker_ready, w, e)) {
		fd_close(&w->fd);
		return -1;
	}
	return 0;
}

void loop_wake(struct waker *w)
{
	uint64_t one = 1;
	ssize_t n;

	do {
		n = write(w->fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR); /* EAGAIN: it is awake already */
}

void loop_waker_release(struct loop *l, struct waker *w)
{
	loop_unwatch(l, &w->watch);
	fd_close(&w->fd);
}

static void signals_ready(void *ctx, uint32_t events)
{
	struct signals *s = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(s->watch.fd, &info, sizeof(info)) == sizeof(info))
		s->fn(s->ctx, (int)info.ssi_signo);
}

int loop_signals(struct loop *l, struct signals *s, const int *signos, int count, void (*fn)(void *, int),
	void *ctx, struct err *e)
{
	sigset_t set;
	int fd;

	s->fn = fn;
	s->ctx = ctx;
	sigemptyset(&set);
	for (int i = 0; i < count; i++)
		sigaddset(&set, signos[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return err_sys(e, ERR_INTERNAL, "cannot block signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_sys(e, ERR_INTERNAL, "cannot make a signal descriptor");
	if (loop_watch(l, &s->watch, fd, EPOLLIN, signals_ready, s, e)) {
		fd_close(&fd);
		return -1;
	}
	return 0;
}
