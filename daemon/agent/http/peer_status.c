/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/peer_status.h"

enum { ASK_MS = 1000 };

static void peer_status_release(struct http_request *r)
{
	struct peer_status *p = r->state;

	if (p->meta_call)
		peer_cancel(p->meta_call);
	if (p->store_call)
		peer_cancel(p->store_call);
}

static void peer_status_try_answer(struct peer_status *p)
{
	if (!p->meta_call && !p->store_call)
		p->answer(p->r, p);
}

static void meta_answered(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct peer_status *p = ctx;

	(void)message;
	p->meta_call = NULL;
	if (!e && reply) {
		p->meta = *(const struct msg_meta_status *)reply;
		p->meta.url = arena_strdup(&p->r->arena, p->meta.url ? p->meta.url : "");
		p->meta.behind = arena_strdup(&p->r->arena, p->meta.behind ? p->meta.behind : "");
		p->meta_known = true;
	}
	peer_status_try_answer(p);
}

static void store_answered(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct peer_status *p = ctx;

	(void)message;
	p->store_call = NULL;
	if (!e && reply) {
		p->store = *(const struct msg_store_status *)reply;
		p->store.url = arena_strdup(&p->r->arena, p->store.url ? p->store.url : "");
		p->store.last_error = arena_strdup(&p->r->arena, p->store.last_error ? p->store.last_error : "");
		p->store_known = true;
	}
	peer_status_try_answer(p);
}

void peer_status_ask(struct http_request *r, void (*answer)(struct http_request *r,
	const struct peer_status *p))
{
	struct peer_status *p = arena_alloc(&r->arena, sizeof(*p));
	struct role_self *self = r->server->self;
	struct msg_empty nothing = {0};

	p->r = r;
	p->answer = answer;
	r->state = p;
	r->release = peer_status_release;
	if (peer_connected(self, ROLE_META, 0))
		p->meta_call = peer_call(self, ROLE_META, 0, MSG_META_STATUS, &nothing, NULL, 0, ASK_MS, meta_answered, p);
	if (peer_connected(self, ROLE_STORE, 0))
		p->store_call = peer_call(self, ROLE_STORE, 0, MSG_STORE_STATUS, &nothing, NULL, 0, ASK_MS,
			store_answered, p);
	peer_status_try_answer(p);
}
