/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/produce_sender.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/format/batch.h"

struct produce_sender {
	struct api *api;
	const char *topic, *durability;
	int64_t timeout_ms;
	produce_acked_fn *acked;
	void *ctx;
	pthread_t thread;

	pthread_mutex_t lock; /* of all below */
	pthread_cond_t changed;
	struct produce_request *first, **last;
	int queued;
	bool sending, finishing, failed;
	struct err failure;
	struct produce_totals totals;
};

static bool is_refused_for_now(const struct produce_sender *s, const struct err *e)
{
	/* At the very start a server that is not there is more likely a wrong address. */
	return api_is_refused_for_now(e) || (e->code == ERR_CONNECT && s->totals.records > 0);
}

/* Batches whose records were taken need not be sent again. A batch is taken as a whole. */
static size_t skip_taken(const struct buf *batches, size_t from, int64_t records)
{
	struct batch_header h;

	while (records > 0 && from < batches->len &&
		!batch_header_read(batches->data + from, batches->len - from, &h, NULL) &&
		h.record_count <= records) {
		records -= h.record_count;
		from += (size_t)h.batch_length + BATCH_LENGTH_OFFSET;
	}
	return from;
}

/* How low the levels of durability are: none, wal, object. */
static int rank(const char *durability)
{
	return !strcmp(durability, "none") ? 0 : !strcmp(durability, "wal") ? 1 : 2;
}

static void count_ack(struct produce_sender *s, const struct produce_request *q, const struct api_ack *ack,
	int64_t records, size_t bytes)
{
	if (s->acked)
		s->acked(s->ctx, q, ack);
	pthread_mutex_lock(&s->lock);
	s->totals.records += records;
	s->totals.bytes += (int64_t)bytes;
	s->totals.requests++;
	if (ack->durability[0] &&
		(!s->totals.durability[0] || rank(ack->durability) < rank(s->totals.durability)))
		memcpy(s->totals.durability, ack->durability, sizeof(ack->durability));
	pthread_mutex_unlock(&s->lock);
}

static void note(struct produce_sender *s, int64_t unknown, int64_t retries)
{
	pthread_mutex_lock(&s->lock);
	s->totals.unknown = unknown;
	s->totals.retries += retries;
	pthread_mutex_unlock(&s->lock);
}

static int send_request(struct produce_sender *s, const struct produce_request *q, struct err *e)
{
	int64_t left = q->records;
	struct api_retry retry;
	size_t from = 0;

	api_retry_init(&retry, s->timeout_ms);
	for (;;) {
		struct api_ack ack;
		int result = api_produce(s->api, s->topic, q->partition, s->durability,
			q->batches.data + from, q->batches.len - from, &ack, e);

		if (!result) {
			count_ack(s, q, &ack, left, q->batches.len - from);
			return 0;
		}
		if (ack.records > 0 && ack.records <= left) {
			size_t now = skip_taken(&q->batches, from, ack.records);

			count_ack(s, q, &ack, ack.records, now - from);
			left -= ack.records;
			from = now;
		}
		if (e->code == ERR_OUTCOME_UNKNOWN || ack.taken > ack.records) {
			note(s, ack.taken > ack.records ? ack.taken - ack.records : left, 0);
			return -1;
		}
		if (!is_refused_for_now(s, e) || !api_retry_wait(&retry, ack.retry_after_ms))
			return -1;
		note(s, 0, 1);
		err_clear(e);
	}
}

static void request_free(struct produce_request *q)
{
	buf_release(&q->batches);
	mem_free(q);
}

/* The next request, NULL at the end. */
static struct produce_request *next_request(struct produce_sender *s)
{
	struct produce_request *q;

	pthread_mutex_lock(&s->lock);
	s->sending = false;
	pthread_cond_broadcast(&s->changed);
	while (!s->first && !s->finishing)
		pthread_cond_wait(&s->changed, &s->lock);
	q = s->first;
	if (q) {
		s->first = q->next;
		if (!s->first)
			s->last = &s->first;
		s->queued--;
		s->sending = true;
	}
	pthread_mutex_unlock(&s->lock);
	return q;
}

static void *sender_main(void *arg)
{
	struct produce_sender *s = arg;
	struct produce_request *q;

	while ((q = next_request(s))) {
		struct err e = ERR_INIT;

		if (!s->failed && send_request(s, q, &e)) {
			pthread_mutex_lock(&s->lock);
			s->failed = true;
			s->failure = e;
			pthread_mutex_unlock(&s->lock);
		}
		request_free(q);
	}
	return NULL;
}

struct produce_sender *produce_sender_new(struct api *api, const char *topic, const char *durability,
	int64_t timeout_ms, produce_acked_fn *acked, void *ctx, struct err *e)
{
	struct produce_sender *s = mem_zalloc(sizeof(*s));

	s->api = api;
	s->topic = topic;
	s->durability = durability;
	s->timeout_ms = timeout_ms;
	s->acked = acked;
	s->ctx = ctx;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	errno = pthread_create(&s->thread, NULL, sender_main, s);
	if (!errno)
		return s;
	err_sys(e, ERR_INTERNAL, "cannot start a thread");
	api_free(api);
	mem_free(s);
	return NULL;
}

int produce_sender_submit(struct produce_sender *s, struct produce_request *q)
{
	struct produce_request *copy = mem_dup(q, sizeof(*q));
	int result;

	buf_init(&q->batches, q->batches.max);
	copy->next = NULL;
	pthread_mutex_lock(&s->lock);
	while (s->queued >= PRODUCE_QUEUE_MAX && !s->failed)
		pthread_cond_wait(&s->changed, &s->lock);
	result = s->failed ? -1 : 0;
	if (!result) {
		*s->last = copy;
		s->last = &copy->next;
		s->queued++;
		pthread_cond_broadcast(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	if (result)
		request_free(copy);
	return result;
}

bool produce_sender_idle(struct produce_sender *s)
{
	bool idle;

	pthread_mutex_lock(&s->lock);
	idle = !s->sending && !s->first;
	pthread_mutex_unlock(&s->lock);
	return idle;
}

bool produce_sender_failed(struct produce_sender *s)
{
	bool failed;

	pthread_mutex_lock(&s->lock);
	failed = s->failed;
	pthread_mutex_unlock(&s->lock);
	return failed;
}

void produce_sender_totals(struct produce_sender *s, struct produce_totals *t)
{
	pthread_mutex_lock(&s->lock);
	*t = s->totals;
	pthread_mutex_unlock(&s->lock);
}

int produce_sender_finish(struct produce_sender *s, struct produce_totals *t, struct err *e)
{
	int result = 0;

	pthread_mutex_lock(&s->lock);
	s->finishing = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	*t = s->totals;
	if (s->failed) {
		*e = s->failure;
		result = -1;
	}
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->changed);
	api_free(s->api);
	mem_free(s);
	return result;
}
