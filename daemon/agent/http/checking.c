/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/checking.h"

#include <string.h>

#include "libsh/run/work.h"

enum {
	PLAIN_BYTES = 2 << 20,
	COMPRESSED_BYTES = 256 << 10, /* commonly a MiB, once decompressed */
	RECOMPRESSED_BYTES = 64 << 10,
};

struct checking {
	struct work work;
	struct http_server *server;
	size_t bytes;      /* of the copy, counted there */
	bool unwanted;     /* atomic: freed before its turn came */
	struct batch_check check;
	int status;
	struct err error;
	bool finished;
	void (*done)(void *ctx); /* NULL: nobody waits any more */
	void *ctx;
	uint8_t batch[];
};

size_t checking_loop_bytes(const struct partition *p, enum codec codec)
{
	if (p->topic->config.compression_fixed && p->topic->config.compression != codec)
		return RECOMPRESSED_BYTES;
	return codec == CODEC_NONE ? PLAIN_BYTES : COMPRESSED_BYTES;
}

/* One always may: requests whose bodies hold all there is would wait for each other. */
static int take_room(struct http_server *s, size_t n, struct err *e)
{
	size_t limit = http_body_limit(s);

	if (s->checking_bytes && s->body_bytes + n > limit)
		return err_set(e, ERR_BACK_PRESSURE, "%zu MiB of request bodies are in memory already", limit >> 20);
	s->body_bytes += n;
	s->checking_bytes += n;
	return 0;
}

static void release(struct checking *c)
{
	c->server->body_bytes -= c->bytes;
	c->server->checking_bytes -= c->bytes;
	log_check_release(&c->check);
	mem_free(c);
}

static void run(struct work *w)
{
	struct checking *c = container_of(w, struct checking, work);

	if (!__atomic_load_n(&c->unwanted, __ATOMIC_RELAXED))
		c->status = log_check_run(&c->check, &c->error);
}

static void finished(struct work *w)
{
	struct checking *c = container_of(w, struct checking, work);

	c->finished = true;
	if (c->done)
		c->done(c->ctx);
	else
		release(c);
}

struct checking *checking_new(struct http_request *r, const struct partition *p, const void *batch, size_t n, void (*done)(void *ctx),
	void *ctx, struct err *e)
{
	struct http_server *s = r->server;
	struct checking *c;

	if (!s->checks)
		s->checks = work_pool_new(s->self->loop, 1, CHECKING_MAX_QUEUED, e);
	if (!s->checks || take_room(s, n, e) < 0)
		return NULL;
	c = mem_alloc(sizeof(*c) + n);
	memset(c, 0, sizeof(*c));
	c->server = s;
	c->bytes = n;
	memcpy(c->batch, batch, n);
	log_check_begin(&c->check, p, c->batch, n, 0);
	c->work.run = run;
	c->work.done = finished;
	c->done = done;
	c->ctx = ctx;
	if (work_submit(s->checks, &c->work, e) == 0)
		return c;
	release(c);
	return NULL;
}

void checking_free(struct checking *c)
{
	if (c && c->finished) {
		release(c);
	} else if (c) {
		c->done = NULL;
		__atomic_store_n(&c->unwanted, true, __ATOMIC_RELAXED);
	}
}

bool checking_is_done(const struct checking *c)
{
	return c->finished;
}

struct batch_check *checking_result(struct checking *c, struct err *e)
{
	if (c->status == 0)
		return &c->check;
	if (e)
		*e = c->error;
	return NULL;
}
