/* SPDX-License-Identifier: Apache-2.0 */
/*
 * META_CHANGED: after a transaction that changed topics each agent is told the new version; it then renews
 * its session, which brings the rows. One notice to an agent is on its way at a time; what changed meanwhile
 * follows. A lost one does no harm, since agents renew regularly anyway.
 */
#include "daemon/meta/meta.h"

static void tell(struct notice *n);

static void told(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct notice *n = ctx;

	(void)reply;
	(void)message;
	n->on_its_way = false;
	if (!e)
		tell(n);
}

static void tell(struct notice *n)
{
	struct meta_role *r = n->role;
	struct msg_meta_changed body = {.version = r->version};

	if (n->on_its_way || n->told == r->version || !peer_connected(r->self, ROLE_AGENT, n->agent))
		return;
	n->on_its_way = true;
	n->told = r->version;
	peer_call(
		r->self, ROLE_AGENT, n->agent, MSG_META_CHANGED, &body, NULL, 0, NOTICE_TIMEOUT_MS, told, n);
}

void notice_wired(struct meta_role *r, uint32_t agent)
{
	if (agent >= AGENTS_MAX)
		return;
	r->notices[agent].role = r;
	r->notices[agent].agent = agent;
	r->notices[agent].wired = true;
	r->notices[agent].told = r->version; /* a new agent asks for everything */
}

static uint64_t current_version(struct meta_role *r)
{
	struct arena a = ARENA_INIT;
	struct meta_partition *partitions;
	struct meta_topic *topics;
	size_t topic_count, partition_count;
	uint64_t version = r->version;

	if (r->meta->driver->changes(r->meta, UINT64_MAX, &a, &topics, &topic_count, &partitions,
		    &partition_count, &version, NULL) < 0)
		version = r->version;
	arena_release(&a);
	return version;
}

void notice_changes(struct meta_role *r)
{
	uint64_t version = current_version(r);

	if (version == r->version)
		return;
	r->version = version;
	for (uint32_t i = 0; i < AGENTS_MAX; i++)
		if (r->notices[i].wired)
			tell(&r->notices[i]);
	snapshot_want(r);
}
