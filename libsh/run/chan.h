/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A channel between two processes of the family: a SOCK_SEQPACKET socket carrying small typed messages, each
 * a request with exactly one reply (of its reply type, or an error). Bodies above CHAN_INLINE_BYTES travel as
 * sealed memory in a descriptor, unseen by the caller. What the types mean is daemon/messages.h.
 *
 * Frame, little-endian: magic u16, type u16, flags u16 (1 reply, 2 error, 4 body in descriptor), descriptors
 * u16, id u32, timeout_ms u32, length u32; then the body. The peer is our own process, but lengths are
 * checked all the same.
 */
#ifndef SH_RUN_CHAN_H
#define SH_RUN_CHAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/bytes.h"
#include "libsh/run/loop.h"

enum {
	CHAN_INLINE_BYTES = 32 << 10,
	CHAN_MAX_BYTES = 64 << 20,
	CHAN_MAX_FDS = 4,
	CHAN_MAX_PENDING = 4096,      /* requests that wait for their reply */
	CHAN_MAX_QUEUED = 16 << 20,   /* bytes of requests that the socket did not take yet */
};

struct chan;
struct chan_message {
	uint16_t type;
	uint32_t id;              /* to reply to */
	uint32_t timeout_ms;      /* what the sender still waits */
	struct bytes body;        /* valid during the callback */
	int fds[CHAN_MAX_FDS];	  /* the receiver's: it keeps those it sets to -1, the rest is closed */
	int fd_count;
};
struct chan_handlers {
	/* A request came in: call chan_reply() or chan_reply_error() with its id once, now or later. */
	void (*request)(void *ctx, struct chan *c, struct chan_message *m);
	/* The other side is gone. Replies still awaited have failed already. The callee may chan_free(). */
	void (*closed)(void *ctx, struct chan *c);
};
/* Takes fd over. */
struct chan *chan_new(struct loop *l, int fd, const struct chan_handlers *h, void *ctx, struct err *e);
void chan_free(struct chan *c); /* awaited replies fail with ERR_UNAVAILABLE */
/* The other side is gone, or the channel is being freed: tells a lost channel from an error that the peer
 * answered. */
bool chan_is_closed(const struct chan *c);

/*
 * reply is NULL when it failed. e is set: the peer's error; ERR_UNAVAILABLE when it went away, or had no
 * descriptor left to take the request; ERR_OUTCOME_UNKNOWN when we had none left to take the answer;
 * ERR_REQUEST_TIMEOUT.
 */
typedef void chan_reply_fn(void *ctx, struct chan_message *reply, const struct err *e);
/*
 * Send a request. timeout_ms 0: wait for ever. fn is never called from inside. Descriptors are duplicated
 * into the message; the caller keeps its own. -1: fn is not called; queue full (ERR_BACK_PRESSURE), body too
 * large, no descriptors left.
 */
int chan_request(struct chan *c, uint16_t type, const void *body, size_t len, const int *fds, int fd_count,
	uint32_t timeout_ms, chan_reply_fn *fn, void *ctx, struct err *e);
int chan_reply(struct chan *c, uint32_t id, uint16_t type, const void *body, size_t len, const int *fds,
	int fd_count);
int chan_reply_error(struct chan *c, uint32_t id, const struct err *e);

#endif
