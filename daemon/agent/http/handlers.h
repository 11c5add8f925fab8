/* SPDX-License-Identifier: Apache-2.0 */
/* Every handler of the route table (routes.c), by the file that holds it. */
#ifndef SH_AGENT_HTTP_HANDLERS_H
#define SH_AGENT_HTTP_HANDLERS_H

#include "daemon/agent/http/request.h"

/* handle_basic.c */
void handle_health(struct http_request *r);
void handle_ready(struct http_request *r);
void handle_whoami(struct http_request *r);
void handle_openapi(struct http_request *r);
void handle_not_built(struct http_request *r);
/* handle_topics.c */
void handle_topics_list(struct http_request *r);
void handle_topics_create(struct http_request *r);
void handle_topic_get(struct http_request *r);
void handle_topic_patch(struct http_request *r);
void handle_topic_delete(struct http_request *r);
void handle_partitions(struct http_request *r);
/* handle_produce.c */
void handle_produce(struct http_request *r);
void handle_produce_batch(struct http_request *r);
/* handle_records_post.c, handle_records_get.c */
void handle_records_post(struct http_request *r);
void handle_records_get(struct http_request *r);
/* handle_consume.c */
void handle_consume(struct http_request *r);
void handle_messages(struct http_request *r);
/* handle_agents.c */
void handle_cluster(struct http_request *r);
void handle_agents(struct http_request *r);
void handle_agent_get(struct http_request *r);
void handle_agent_metrics(struct http_request *r);
/* handle_metrics.c */
void handle_prometheus(struct http_request *r);
void handle_metrics(struct http_request *r);
void handle_metrics_throughput(struct http_request *r);
void handle_metrics_latency(struct http_request *r);
void handle_metrics_errors(struct http_request *r);
void handle_metrics_storage(struct http_request *r);
/* handle_status.c */
void handle_status(struct http_request *r);

#endif
