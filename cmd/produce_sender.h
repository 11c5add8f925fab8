/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends requests from a thread of its own, one after the other in the order given, while the caller builds
 * the next ones. Nothing is sent after the first request that failed for good. What is refused for now (429,
 * 503: nothing was stored) is sent again after the pause the server asks for, with jitter, until the timeout
 * has passed.
 */
#ifndef SH_CMD_PRODUCE_SENDER_H
#define SH_CMD_PRODUCE_SENDER_H

#include "cmd/command.h"
#include "libsh/base/buf.h"
#include "libsh/run/api.h"

struct produce_request {
	struct buf batches;
	int32_t partition;
	int64_t records;
	struct produce_request *next;
};
enum { PRODUCE_QUEUE_MAX = 3 }; /* requests waiting to be sent; more of them only cost memory */

struct produce_totals {
	int64_t records, bytes, requests, retries; /* acknowledged, and how often it took another attempt */
	int64_t unknown;                           /* records of the request whose outcome is unknown */
	char durability[16];                       /* the lowest that was reached */
};

struct produce_sender;
/* acked() is called on the sender's thread. Takes the api. */
typedef void produce_acked_fn(void *ctx, const struct produce_request *q, const struct api_ack *ack);
struct produce_sender *produce_sender_new(struct api *api, const char *topic, const char *durability,
	int64_t timeout_ms, produce_acked_fn *acked, void *ctx, struct err *e);
/* Takes the batches out of q. Waits while the queue is full. -1: an earlier request failed, see finish. */
int produce_sender_submit(struct produce_sender *s, struct produce_request *q);
bool produce_sender_idle(struct produce_sender *s);   /* nothing queued nor on its way */
bool produce_sender_failed(struct produce_sender *s);
void produce_sender_totals(struct produce_sender *s, struct produce_totals *t);
/* Waits for everything, ends the thread, frees. -1: the error of the request that failed. */
int produce_sender_finish(struct produce_sender *s, struct produce_totals *t, struct err *e);

#endif
