/* SPDX-License-Identifier: Apache-2.0 */
/* What meta and store say of themselves, asked for at once, answered together. */
#ifndef SH_AGENT_HTTP_PEER_STATUS_H
#define SH_AGENT_HTTP_PEER_STATUS_H

#include "daemon/agent/http/server.h"

struct peer_status {
	bool meta_known, store_known;    /* it answered */
	struct msg_meta_status meta;
	struct msg_store_status store;
	/* private */
	struct http_request *r;
	struct peer_call_handle *meta_call, *store_call;
	void (*answer)(struct http_request *r, const struct peer_status *p);
};
/* Takes r->state and r->release; answer() is called once, perhaps from inside. */
void peer_status_ask(struct http_request *r, void (*answer)(struct http_request *r,
	const struct peer_status *p));

#endif
