/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP side of an agent: listens, parses, routes, answers. Everything it knows of the log it asks of
 * log.h. */
#ifndef SH_AGENT_HTTP_H
#define SH_AGENT_HTTP_H

#include "daemon/agent/log/log.h"
#include "daemon/role.h"

struct http_server;
struct http_server *http_server_new(struct role_self *self, struct log *log);
/* takes fd; serves /live and /health at once */
void http_server_listen(struct http_server *s, int fd, const char *address);
/* /ready and the rest answer from now on, else 503 */
void http_server_serving(struct http_server *s, bool serving);
/* No new connections or requests; done() when the last answer has left or the drain deadline passed. */
void http_server_drain(struct http_server *s, void (*done)(void *ctx), void *ctx);
void http_server_reload(struct http_server *s);
void http_server_free(struct http_server *s); /* cuts all connections; for tests */

#endif
