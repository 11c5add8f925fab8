/* SPDX-License-Identifier: Apache-2.0 */
/* shd-agent: owns a share of the partitions and their clients. One event loop; the log on one side, protocols on the other. */
#include <stdlib.h>

#include "daemon/agent/http/http.h"
#include "daemon/agent/log/log.h"
#include "daemon/role.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"

struct agent {
	struct role_self *self;
	struct log *log;
	struct http_server *http;
};
static struct agent agent; /* the process is this agent */

static void agent_ensure(struct role_self *self)
{
	if (agent.self)
		return;
	agent.self = self;
	agent.log = log_new(self);
	agent.http = http_server_new(self, agent.log);
}

static void agent_serving(void *ctx)
{
	struct role_self *self = ctx;

	http_server_serving(agent.http, true);
	role_ready(self);
}

static void agent_listen(struct role_self *self, const char *protocol, const char *address, int fd)
{
	(void)protocol; /* HTTP is the only one so far */
	agent_ensure(self);
	http_server_listen(agent.http, fd, address);
}

static void agent_start(struct role_self *self)
{
	agent_ensure(self);
	log_start(agent.log, agent_serving, self);
}

static void agent_request(struct role_self *self, struct role_request *r)
{
	agent_ensure(self);
	log_request(agent.log, r);
}

static void agent_reload(struct role_self *self)
{
	agent_ensure(self);
	log_reload(agent.log);
	http_server_reload(agent.http);
}

static void agent_log_drained(void *ctx)
{
	role_drained(ctx);
}

static void agent_http_drained(void *ctx)
{
	log_drain(agent.log, agent_log_drained, ctx);
}

static void agent_drain(struct role_self *self)
{
	agent_ensure(self);
	http_server_drain(agent.http, agent_http_drained, self);
}

int main(int argc, char **argv)
{
	static const struct role_program program = {.role = ROLE_AGENT, .start = agent_start, .listen = agent_listen,
		.request = agent_request, .reload = agent_reload, .drain = agent_drain};

	return role_main(&program, argc, argv);
}
