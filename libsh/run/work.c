/* SPDX-License-Identifier: Apache-2.0 */
/* A queue under one lock, threads that take from it, and a list of finished work that the loop collects when
 * woken. */
#include "libsh/run/work.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "libsh/base/mem.h"

struct work_pool {
	struct loop *loop;
	struct waker waker;
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	struct list queued, finished; /* under lock */
	int queued_count, max_queued;
	bool stopping;
	bool *freed; /* set while done() callbacks run: one of them may free the pool */
	int thread_count;
	pthread_t threads[];
};

static void *thread_main(void *arg)
{
	struct work_pool *p = arg;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct list *node;

		while (!p->stopping && list_empty(&p->queued))
			pthread_cond_wait(&p->wanted, &p->lock);
		if (p->stopping)
			break;
		node = list_pop(&p->queued);
		p->queued_count--;
		pthread_mutex_unlock(&p->lock);
		list_entry(node, struct work, node)->run(list_entry(node, struct work, node));
		pthread_mutex_lock(&p->lock);
		list_push(&p->finished, node);
		loop_wake(&p->waker);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void collect(void *ctx)
{
	struct work_pool *p = ctx;
	bool freed = false;

	p->freed = &freed;
	while (!freed) {
		struct list *node;

		pthread_mutex_lock(&p->lock);
		node = list_pop(&p->finished);
		pthread_mutex_unlock(&p->lock);
		if (!node) {
			p->freed = NULL;
			break;
		}
		list_entry(node, struct work, node)->done(list_entry(node, struct work, node));
	}
}

/* Threads inherit the mask: signals are the loop's business. */
static int start_threads(struct work_pool *p, int threads, struct err *e)
{
	sigset_t all, before;
	int failed = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!failed && p->thread_count < threads) {
		failed = pthread_create(&p->threads[p->thread_count], NULL, thread_main, p);
		p->thread_count += !failed;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (failed)
		return err_set(e, ERR_INTERNAL, "cannot start a worker thread: %s", strerror(failed));
	return 0;
}

struct work_pool *work_pool_new(struct loop *l, int threads, int max_queued, struct err *e)
{
	struct work_pool *p = mem_zalloc(sizeof(*p) + (size_t)threads * sizeof(p->threads[0]));

	p->loop = l;
	p->max_queued = max_queued;
	list_init(&p->queued);
	list_init(&p->finished);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wanted, NULL);
	p->waker.fd = p->waker.watch.fd = -1;
	if (loop_waker_init(l, &p->waker, collect, p, e) || start_threads(p, threads, e)) {
		work_pool_free(p);
		return NULL;
	}
	return p;
}

int work_submit(struct work_pool *p, struct work *w, struct err *e)
{
	bool full;

	pthread_mutex_lock(&p->lock);
	full = p->queued_count >= p->max_queued;
	if (!full) {
		p->queued_count++;
		list_push(&p->queued, &w->node);
		pthread_cond_signal(&p->wanted);
	}
	pthread_mutex_unlock(&p->lock);
	if (full)
		return err_set(e, ERR_BACK_PRESSURE, "the queue for worker threads is full (%d waiting)",
			p->max_queued);
	return 0;
}

void work_pool_free(struct work_pool *p)
{
	if (!p)
		return;
	if (p->freed)
		*p->freed = true;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	for (int i = 0; i < p->thread_count; i++)
		pthread_join(p->threads[i], NULL);
	loop_waker_release(p->loop, &p->waker);
	pthread_cond_destroy(&p->wanted);
	pthread_mutex_destroy(&p->lock);
	mem_free(p);
}
