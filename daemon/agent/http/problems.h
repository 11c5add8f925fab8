/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator should look at now, a sentence each: GET /api/v1/status, "problems". */
#ifndef SH_AGENT_HTTP_PROBLEMS_H
#define SH_AGENT_HTTP_PROBLEMS_H

#include "daemon/agent/http/peer_status.h"

enum { PROBLEMS_DAMAGED_MAX = 100 }; /* partitions that are listed */

/* A member with an array of strings; empty when all is well. */
void problems_write(struct buf *out, struct http_server *s, const struct log_status *log, const struct peer_status *p);
/* A member with an array of the partitions that do not serve, the first PROBLEMS_DAMAGED_MAX of them. */
void problems_write_damaged(struct buf *out, struct http_server *s);

#endif
