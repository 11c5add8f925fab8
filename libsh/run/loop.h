/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Event loop on epoll(7): descriptors, timers, work at the end of a turn. One thread; only loop_wake() may be
 * called from others. Watches and timers are members of their owner's struct; freeing the owner means
 * removing them first. A callback may remove or free any watch, its own too.
 */
#ifndef SH_RUN_LOOP_H
#define SH_RUN_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/err.h"
#include "libsh/base/list.h"

struct loop;
struct loop *loop_new(struct err *e);
void loop_free(struct loop *l);
int loop_run(struct loop *l);  /* until loop_stop(); returns its argument */
void loop_stop(struct loop *l, int result);
int64_t loop_now_ns(const struct loop *l); /* monotonic, read once a turn */

struct watch {
	int fd;          /* -1 when not added */
	uint32_t events; /* EPOLLIN, EPOLLOUT, EPOLLET ... */
	void (*ready)(void *ctx, uint32_t events);
	void *ctx;
};
int loop_watch(struct loop *l, struct watch *w, int fd, uint32_t events, void (*ready)(void *, uint32_t),
	void *ctx, struct err *e);
int loop_watch_change(struct loop *l, struct watch *w, uint32_t events);
void loop_unwatch(struct loop *l, struct watch *w); /* does not close fd; harmless when not added */

struct timer {
	int64_t deadline_ns;
	uint32_t index; /* in the heap + 1; 0: not set */
	void (*fire)(void *ctx);
	void *ctx;
};
/* Again: moves it. */
void loop_timer_set(struct loop *l, struct timer *t, int64_t after_ms, void (*fire)(void *), void *ctx);
void loop_timer_cancel(struct loop *l, struct timer *t);

/* Runs once, after all events of this turn were handled and before the next wait. Queued again while queued:
 * no effect. */
struct turn_end {
	struct list node;
	void (*run)(void *ctx);
	void *ctx;
};
void loop_at_turn_end(struct loop *l, struct turn_end *t, void (*run)(void *), void *ctx);
void loop_turn_end_cancel(struct turn_end *t);

/* Calls fn on the loop's thread soon. From any thread; calls before it runs are merged. */
struct waker {
	struct watch watch;
	int fd; /* eventfd */
	void (*fn)(void *ctx);
	void *ctx;
};
int loop_waker_init(struct loop *l, struct waker *w, void (*fn)(void *), void *ctx, struct err *e);
void loop_wake(struct waker *w);
void loop_waker_release(struct loop *l, struct waker *w);

/* Signals as events (signalfd); blocks them in this process. */
struct signals {
	struct watch watch;
	void (*fn)(void *ctx, int signo);
	void *ctx;
};
int loop_signals(struct loop *l, struct signals *s, const int *signos, int count, void (*fn)(void *, int),
	void *ctx, struct err *e);

#endif
