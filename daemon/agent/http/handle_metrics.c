/* SPDX-License-Identifier: Apache-2.0 */
/* Counters as JSON: totals, the last hour by minute, storage. */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/peer_status.h"

#include "libsh/base/clock.h"
#include "libsh/format/json_write.h"

void handle_metrics(struct http_request *r)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	uint64_t partitions = 0, messages = 0;

	for (struct topic *t = log_topic_after(r->server->log, NULL); t; t = log_topic_after(r->server->log,
		t->name)) {
		uint64_t records, bytes;

		topic_totals(t, &records, &bytes);
		messages += records;
		partitions += t->partition_count;
	}
	json_write_open(&out, '{');
	json_write_member_uint(&out, "topics_count", log_topic_count(r->server->log));
	json_write_member_uint(&out, "agents_count", r->server->self->count);
	json_write_member_uint(&out, "partitions_count", partitions);
	json_write_member_uint(&out, "total_messages", messages);
	json_write_close(&out, '}');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

/* ---- by minute ---- */

typedef void write_minute_fn(struct buf *out, const struct series_minute *m, double seconds);

static void write_twice(struct buf *out, const char *name, const char *other, double value)
{
	json_write_name(out, name);
	json_write_double(out, value);
	json_write_name(out, other);
	json_write_double(out, value);
}

static void write_throughput(struct buf *out, const struct series_minute *m, double seconds)
{
	write_twice(out, "messages_per_second", "messagesPerSecond", m->records / seconds);
	write_twice(out, "bytes_per_second", "bytesPerSecond", m->bytes / seconds);
}

static void write_latency(struct buf *out, const struct series_minute *m, double seconds)
{
	static const struct { const char *name; double fraction; } points[] = {{"p50", 0.5}, {"p95", 0.95},
		{"p99", 0.99}};

	(void)seconds;
	for (size_t i = 0; i < array_count(points); i++) {
		json_write_name(out, points[i].name);
		json_write_double(out, m->latency_count ? series_percentile_ms(m, points[i].fraction) : 0);
	}
	json_write_name(out, "avg");
	json_write_double(out, m->latency_count ? (double)m->latency_sum_us / m->latency_count / 1000 : 0);
}

static void write_errors(struct buf *out, const struct series_minute *m, double seconds)
{
	(void)seconds;
	write_twice(out, "error_rate", "errorRate", m->requests ? (double)m->errors / m->requests : 0);
	json_write_member_uint(out, "error_count", m->errors);
	json_write_member_uint(out, "errorCount", m->errors);
}

/* One entry a minute, oldest first, from the start of the agent on or for time_range, of which an hour is
 * known. */
static void answer_minutes(struct http_request *r, write_minute_fn *write)
{
	static const struct series_minute nothing;
	const char *range = http_query(r, "time_range");
	int64_t now = clock_real_ms(), range_ms = 3600000, first;
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	struct err e = ERR_INIT;
	char time[CLOCK_RFC3339_BYTES];

	if (range && clock_parse_duration(range, &range_ms, &e) < 0) {
		err_prefix(&e, "time_range");
		http_answer_err(r, &e);
		return;
	}
	if (range_ms > 3600000 || range_ms < 0)
		range_ms = 3600000;
	first = (now - range_ms) / 60000 + 1;
	if (first < r->server->started_ms / 60000)
		first = r->server->started_ms / 60000;
	json_write_open(&out, '[');
	for (int64_t minute = first; minute <= now / 60000; minute++) {
		const struct series_minute *m = series_at(&r->server->series, minute);
		double seconds = minute == now / 60000 ? (double)(now % 60000 + 1) / 1000 : 60;

		json_write_open(&out, '{');
		json_write_member_string(&out, "timestamp", clock_format_rfc3339(minute * 60000, time));
		write(&out, m ? m : &nothing, seconds < 1 ? 1 : seconds);
		json_write_close(&out, '}');
	}
	json_write_close(&out, ']');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

void handle_metrics_throughput(struct http_request *r)
{
	answer_minutes(r, write_throughput);
}

void handle_metrics_latency(struct http_request *r)
{
	answer_minutes(r, write_latency);
}

void handle_metrics_errors(struct http_request *r)
{
	answer_minutes(r, write_errors);
}

/* ---- storage ---- */

static void write_by_topic(struct buf *out, struct http_server *s, const char *name)
{
	json_write_name(out, name);
	json_write_open(out, '{');
	for (struct topic *t = log_topic_after(s->log, NULL); t; t = log_topic_after(s->log, t->name)) {
		uint64_t records, bytes;

		topic_totals(t, &records, &bytes);
		json_write_member_uint(out, t->name, bytes);
	}
	json_write_close(out, '}');
}

static void both_uint(struct buf *out, const char *name, const char *other, uint64_t value, bool known)
{
	for (int i = 0; i < 2; i++) {
		json_write_name(out, i ? other : name);
		if (known)
			json_write_uint(out, value);
		else
			json_write_null(out);
	}
}

static void answer_storage(struct http_request *r, const struct peer_status *p)
{
	uint64_t reads = p->store.cache_hits + p->store.cache_misses;
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	struct log_status log;

	log_get_status(r->server->log, &log);
	json_write_open(&out, '{');
	both_uint(&out, "total_size_bytes", "totalSizeBytes", p->meta.live_bytes + log.wal_bytes, p->meta_known);
	both_uint(&out, "segment_count", "segmentCount", p->meta.live_objects, p->meta_known);
	write_by_topic(&out, r->server, "storage_by_topic");
	write_by_topic(&out, r->server, "storageByTopic");
	both_uint(&out, "cache_size", "cacheSize", p->store.cache_bytes, p->store_known);
	write_twice(&out, "cache_hit_rate", "cacheHitRate", reads ? (double)p->store.cache_hits / reads : 0);
	both_uint(&out, "wal_size", "walSize", log.wal_bytes, true);
	json_write_close(&out, '}');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

void handle_metrics_storage(struct http_request *r)
{
	peer_status_ask(r, answer_storage);
}
