/* SPDX-License-Identifier: Apache-2.0 */
/* Every resource there is, and those that clients know and this version does not have. A test compares it
 * with openapi.json. */
#include "daemon/agent/http/handlers.h"

#define GET(pattern, handler, flags) {HTTP_GET, pattern, handler, HTTP_BODY_NONE, flags, NULL}
#define POST(pattern, handler, body, flags) {HTTP_POST, pattern, handler, body, flags, NULL}
#define NOT_BUILT(pattern, what, flags) {0, pattern, handle_not_built, HTTP_BODY_NONE, ROUTE_ALWAYS | (flags), what}

const struct http_route http_routes[] = {
	GET("/live", handle_health, ROUTE_ALWAYS),
	GET("/health", handle_health, ROUTE_ALWAYS),
	GET("/ready", handle_ready, ROUTE_ALWAYS),
	GET("/metrics", handle_prometheus, ROUTE_ALWAYS),
	GET("/openapi.json", handle_openapi, ROUTE_ALWAYS),

	POST("/api/v1/topics/{topic}/records", handle_records_post, HTTP_BODY_STREAM, ROUTE_APPENDS),
	GET("/api/v1/topics/{topic}/partitions/{partition}/records", handle_records_get, 0),
	POST("/api/v1/produce", handle_produce, HTTP_BODY_LARGE, ROUTE_APPENDS),
	POST("/api/v1/produce/batch", handle_produce_batch, HTTP_BODY_LARGE, ROUTE_APPENDS),
	GET("/api/v1/consume", handle_consume, 0),

	GET("/api/v1/topics", handle_topics_list, 0),
	POST("/api/v1/topics", handle_topics_create, HTTP_BODY_SMALL, 0),
	GET("/api/v1/topics/{topic}", handle_topic_get, 0),
	{HTTP_PATCH, "/api/v1/topics/{topic}", handle_topic_patch, HTTP_BODY_SMALL, 0, NULL},
	{HTTP_DELETE, "/api/v1/topics/{topic}", handle_topic_delete, HTTP_BODY_NONE, 0, NULL},
	GET("/api/v1/topics/{topic}/partitions", handle_partitions, 0),
	GET("/api/v1/topics/{topic}/messages", handle_messages, 0),

	GET("/api/v1/whoami", handle_whoami, ROUTE_ALWAYS),
	GET("/api/v1/status", handle_status, ROUTE_ALWAYS),
	GET("/api/v1/cluster", handle_cluster, 0),
	GET("/api/v1/agents", handle_agents, 0),
	GET("/api/v1/agents/{id}", handle_agent_get, 0),
	GET("/api/v1/agents/{id}/metrics", handle_agent_metrics, 0),
	GET("/api/v1/metrics", handle_metrics, 0),
	GET("/api/v1/metrics/throughput", handle_metrics_throughput, 0),
	GET("/api/v1/metrics/latency", handle_metrics_latency, 0),
	GET("/api/v1/metrics/errors", handle_metrics_errors, 0),
	GET("/api/v1/metrics/storage", handle_metrics_storage, 0),

	NOT_BUILT("/api/v1/consumer-groups/**", "consumer groups", 0),
	NOT_BUILT("/api/v1/sql", "SQL queries", 0),
	NOT_BUILT("/api/v1/organizations/**", "organizations", 0),
	NOT_BUILT("/api/v1/api-keys/**", "API keys", 0),
	NOT_BUILT("/api/v1/pipelines/**", "pipelines", 0),
	NOT_BUILT("/api/v1/pipeline-targets/**", "pipelines", 0),
	NOT_BUILT("/api/v1/transforms/**", "transforms", 0),
	NOT_BUILT("/api/v1/connectors/**", "connectors", 0),
	NOT_BUILT("/ws/**", "WebSocket streams", 0),
	NOT_BUILT("/schemas/**", "the schema registry", ROUTE_CONFLUENT),
	NOT_BUILT("/subjects/**", "the schema registry", ROUTE_CONFLUENT),
	NOT_BUILT("/config/**", "the schema registry", ROUTE_CONFLUENT),
	NOT_BUILT("/compatibility/**", "the schema registry", ROUTE_CONFLUENT),
	{0, NULL, NULL, HTTP_BODY_NONE, 0, NULL},
};
