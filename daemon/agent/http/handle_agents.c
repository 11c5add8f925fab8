/* SPDX-License-Identifier: Apache-2.0 */
/* Agents and which partitions they own. An agent is named after its slot. What only the other agents know
 * of themselves is null. */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/server.h"

#include <stdio.h>
#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/format/json_write.h"
#include "libsh/run/settings.h"

static const char *address_of(const struct http_server *s)
{
	const char *advertised = settings_string(s->self->settings, "http.advertised");

	return advertised && *advertised ? advertised : s->address;
}

static uint64_t leases_of(struct http_server *s, uint32_t slot)
{
	uint64_t count = 0;

	for (struct topic *t = log_topic_after(s->log, NULL); t; t = log_topic_after(s->log, t->name))
		for (uint32_t i = 0; i < t->partition_count; i++)
			count += t->partitions[i]->slot == slot;
	return count;
}

static void write_identity(struct buf *out, struct http_server *s, uint32_t slot)
{
	char name[24];

	snprintf(name, sizeof(name), "agent-%u", slot);
	json_write_member_string(out, "agent_id", name);
	json_write_member_string(out, "address", address_of(s));
}

static void write_agent(struct buf *out, struct http_server *s, uint32_t slot)
{
	char now[CLOCK_RFC3339_BYTES], started[CLOCK_RFC3339_BYTES];
	bool self = slot == s->self->index;

	json_write_open(out, '{');
	write_identity(out, s, slot);
	json_write_member_string(out, "availability_zone", settings_string(s->self->settings, "agent.zone"));
	json_write_member_string(out, "agent_group", settings_string(s->self->settings, "agent.group"));
	json_write_member_string(out, "last_heartbeat", self ? clock_format_rfc3339(clock_real_ms(), now) : NULL);
	json_write_member_string(out, "started_at", self ? clock_format_rfc3339(s->started_ms, started) : NULL);
	json_write_member_uint(out, "active_leases", leases_of(s, slot));
	json_write_close(out, '}');
}

void handle_agents(struct http_request *r)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);

	json_write_open(&out, '[');
	for (uint32_t slot = 0; slot < r->server->self->count; slot++)
		write_agent(&out, r->server, slot);
	json_write_close(&out, ']');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

static int find_agent(struct http_request *r, uint32_t *slot)
{
	struct err e = ERR_INIT;
	int64_t number;

	if (!strncmp(r->params[0], "agent-", 6) && !text_parse_int(r->params[0] + 6, 0, UINT32_MAX, "agent",
		&number, NULL) &&
		number < r->server->self->count) {
		*slot = (uint32_t)number;
		return 0;
	}
	err_set(&e, ERR_NOT_FOUND, "there is no agent \"%.100s\"", r->params[0]);
	http_answer_err(r, &e);
	return -1;
}

void handle_agent_get(struct http_request *r)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	uint32_t slot;

	if (find_agent(r, &slot) < 0)
		return;
	write_agent(&out, r->server, slot);
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

void handle_agent_metrics(struct http_request *r)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	uint32_t slot;
	char name[24];

	if (find_agent(r, &slot) < 0)
		return;
	snprintf(name, sizeof(name), "agent-%u", slot);
	json_write_open(&out, '{');
	json_write_member_string(&out, "agent_id", name);
	json_write_member_string(&out, "agentId", name);
	json_write_member_uint(&out, "partition_count", leases_of(r->server, slot));
	json_write_member_uint(&out, "partitionCount", leases_of(r->server, slot));
	for (int i = 0; i < 2; i++) {
		json_write_name(&out, i ? "uptimeMs" : "uptime_ms");
		if (slot == r->server->self->index)
			json_write_int(&out, http_server_uptime_ms(r->server));
		else
			json_write_null(&out);
	}
	json_write_close(&out, '}');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

/* ---- cluster ---- */

static void write_owned(struct buf *out, struct http_server *s, uint32_t slot)
{
	json_write_name(out, "partitions");
	json_write_open(out, '[');
	for (struct topic *t = log_topic_after(s->log, NULL); t; t = log_topic_after(s->log, t->name)) {
		bool any = false;

		for (uint32_t i = 0; i < t->partition_count; i++) {
			if (t->partitions[i]->slot != slot)
				continue;
			if (!any) {
				json_write_open(out, '{');
				json_write_member_string(out, "topic", t->name);
				json_write_name(out, "partitions");
				json_write_open(out, '[');
			}
			any = true;
			json_write_uint(out, i);
		}
		if (any)
			buf_adds(out, "]}");
	}
	json_write_close(out, ']');
}

void handle_cluster(struct http_request *r)
{
	struct http_server *s = r->server;
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);

	json_write_open(&out, '{');
	json_write_name(&out, "agents");
	json_write_open(&out, '[');
	for (uint32_t slot = 0; slot < s->self->count; slot++) {
		json_write_open(&out, '{');
		write_identity(&out, s, slot);
		json_write_member_bool(&out, "self", slot == s->self->index);
		write_owned(&out, s, slot);
		json_write_close(&out, '}');
	}
	buf_adds(&out, "]}");
	http_answer_buf(r, 200, HTTP_JSON, &out);
}
