/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking a batch on a thread. What a few hundred KiB hold once they are decompressed keeps a processor busy for up to a second, in
 * which the loop would answer nobody; so the loop checks what is small, and the rest comes here, one after the other.
 */
#ifndef SH_AGENT_HTTP_CHECKING_H
#define SH_AGENT_HTTP_CHECKING_H

#include "daemon/agent/http/server.h"

enum {
	CHECKING_LOOP_RAW_BYTES = (1 << 20) + (64 << 10), /* no more is decompressed on the loop: a few ms */
	CHECKING_MAX_QUEUED = 256,
};
/* Larger ones are not tried on the loop at all. */
size_t checking_loop_bytes(const struct partition *p, enum codec codec);

struct checking;
/* Takes a copy of the batch, counted with the bodies in memory until it is done and freed. done() is called from the loop, once, unless it was freed before. */
struct checking *checking_new(struct http_request *r, const struct partition *p, const void *batch, size_t n, void (*done)(void *ctx),
	void *ctx, struct err *e);
void checking_free(struct checking *c); /* also while it goes on */
bool checking_is_done(const struct checking *c);
/* When it is: the batch as it may be appended; NULL: what is wrong with it. Lives as long as c. */
struct batch_check *checking_result(struct checking *c, struct err *e);

#endif
