/* SPDX-License-Identifier: Apache-2.0 */
/* Health, identity, the description of the interface, and the answer to what is not built. */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/openapi_json.h"
#include "daemon/agent/http/server.h"

#include "libsh/format/json_write.h"

static void answer_text(struct http_request *r, int status, const char *json)
{
	http_answer(r, status, HTTP_JSON, json, strlen(json));
}

void handle_health(struct http_request *r)
{
	answer_text(r, 200, "{\"status\":\"ok\"}\n");
}

void handle_ready(struct http_request *r)
{
	struct log_status status;
	struct err e = ERR_INIT;

	if (!r->server->serving || r->server->draining) {
		err_set(&e, ERR_UNAVAILABLE, r->server->draining ? "shutting down" : "the log is not serving yet");
		http_answer_err(r, &e);
		return;
	}
	for (enum role peer = ROLE_STORE; peer <= ROLE_META; peer++)
		if (!peer_connected(r->server->self, peer, 0)) {
			err_set(&e, ERR_UNAVAILABLE, "the %s process is away, and being started again", role_name(peer));
			http_answer_err(r, &e);
			return;
		}
	log_get_status(r->server->log, &status);
	if (status.serving) {
		answer_text(r, 200, "{\"status\":\"ready\"}\n");
		return;
	}
	err_set(&e, ERR_UNAVAILABLE, "the log is %s%s%s", status.state, status.problem ? ": " : "",
		status.problem ? status.problem : "");
	http_answer_err(r, &e);
}

void handle_whoami(struct http_request *r)
{
	answer_text(r, 200,
		"{\"organization_id\":\"default\",\"key_id\":null,\"permissions\":[\"read\",\"write\",\"admin\"],"
		"\"scopes\":[\"*\"]}\n");
}

void handle_openapi(struct http_request *r)
{
	http_answer(r, 200, HTTP_JSON, openapi_json, sizeof(openapi_json) - 1);
}

void handle_not_built(struct http_request *r)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_NOT_BUILT, "%s: not built in this version", r->route->missing);
	err_hint(&e, "GET /openapi.json lists what there is");
	http_answer_err(r, &e);
}
