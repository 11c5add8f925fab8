/* SPDX-License-Identifier: Apache-2.0 */
/* GET /metrics in Prometheus' text format, and GET /api/v1/status: all that `streamctl status` prints. */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/problems.h"

#include "config.h"
#include <inttypes.h>
#include "libsh/base/clock.h"
#include "libsh/format/json_write.h"
#include "libsh/run/settings.h"

/* ---- Prometheus: text exposition format 0.0.4 ---- */

static void metric(struct buf *out, const char *name, const char *type, const char *help, double value)
{
	/* 15 digits: what is decimal stays so, 1.495 and not 1.4950000000000001 */
	buf_addf(out, "# HELP streamhouse_%s %s\n# TYPE streamhouse_%s %s\nstreamhouse_%s %.15g\n", name, help,
		name, type, name, value);
}

static void write_log_metrics(struct buf *out, const struct log_status *s)
{
	metric(out, "log_serving", "gauge", "1 while the log takes and gives records.", s->serving);
	metric(out, "wal_bytes", "gauge", "Bytes of the write-ahead log that are in use.", s->wal_bytes);
	metric(out, "wal_max_bytes", "gauge", "Limit of the write-ahead log.", s->wal_max_bytes);
	metric(out, "wal_files", "gauge", "Files of the write-ahead log.", s->wal_files);
	metric(out, "wal_syncs_total", "counter", "Times the write-ahead log was made durable.", s->syncs);
	metric(out, "wal_sync_seconds_total", "counter", "Time spent in that.", s->sync_ns_total / 1e9);
	metric(out, "tail_batches", "gauge", "Batches that are in no segment yet.", s->tail_batches);
	metric(out, "tail_index_bytes", "gauge", "Memory of their index.", s->tail_index_bytes);
	metric(out, "appended_batches_total", "counter", "Batches appended.", s->appended_batches);
	metric(out, "appended_records_total", "counter", "Records appended.", s->appended_records);
	metric(out, "appended_bytes_total", "counter", "Bytes of batches appended.", s->appended_bytes);
	metric(out, "fetches_total", "counter", "Reads of the log.", s->fetches);
	metric(out, "fetched_bytes_total", "counter", "Bytes of batches read.", s->fetched_bytes);
	metric(out, "read_errors_total", "counter", "Reads that found what should be there missing or damaged.",
		s->read_errors);
	metric(out, "segments_built_total", "counter", "Segments committed.", s->segments_built);
	metric(out, "commits_refused_total", "counter", "Runs of segments that the metadata refused.",
		s->commits_refused);
	metric(out, "quarantined_entries_total", "counter", "Entries put aside because they could not be committed.",
		s->quarantined_entries);
	metric(out, "damaged_partitions", "gauge",
		"Partitions that do not serve because their log is damaged.", s->damaged_partitions);
}

static void write_http_metrics(struct buf *out, const struct http_server *s)
{
	const struct http_counters *c = &s->counters;

	buf_adds(out, "# HELP streamhouse_http_requests_total Requests answered, by class of status.\n"
		"# TYPE streamhouse_http_requests_total counter\n");
	for (int i = 2; i < 6; i++)
		buf_addf(out, "streamhouse_http_requests_total{class=\"%dxx\"} %" PRIu64 "\n", i, c->status[i]);
	metric(out, "http_connections", "gauge", "Open connections.", s->set.count);
	metric(out, "http_connections_accepted_total", "counter", "Connections accepted.", s->set.accepted);
	metric(out, "http_connections_refused_total", "counter", "Connections refused at the limit.",
		s->set.refused);
	metric(out, "http_connections_stalled_total", "counter",
		"Connections cut because the client did not read.", s->set.stalled);
	metric(out, "http_request_body_bytes_total", "counter", "Bytes of request bodies.", c->in_bytes);
	metric(out, "http_response_body_bytes_total", "counter", "Bytes of response bodies.", c->out_bytes);
	metric(out, "http_records_in_total", "counter", "Records taken over HTTP.", c->records_in);
	metric(out, "http_records_out_total", "counter", "Records given over HTTP.", c->records_out);
}

static void write_peer_metrics(struct buf *out, const struct peer_status *p)
{
	metric(out, "meta_up", "gauge", "1 when the meta process answers.", p->meta_known);
	metric(out, "store_up", "gauge", "1 when the store process answers.", p->store_known);
	if (p->meta_known) {
		metric(out, "topics", "gauge", "Topics.", p->meta.topics);
		metric(out, "partitions", "gauge", "Partitions.", p->meta.partitions);
		metric(out, "objects_live", "gauge", "Segments in the object store.", p->meta.live_objects);
		metric(out, "objects_live_bytes", "gauge", "Their bytes.", p->meta.live_bytes);
		metric(out, "objects_pending", "gauge", "Segments announced and not committed.", p->meta.pending_objects);
		metric(out, "objects_dead", "gauge", "Segments to be deleted.", p->meta.dead_objects);
	}
	if (p->store_known) {
		metric(out, "cache_bytes", "gauge", "Bytes of the cache of segments.", p->store.cache_bytes);
		metric(out, "cache_max_bytes", "gauge", "Limit of the cache.", p->store.cache_max_bytes);
		metric(out, "cache_hits_total", "counter", "Reads that the cache served.", p->store.cache_hits);
		metric(out, "cache_misses_total", "counter", "Reads that it did not.", p->store.cache_misses);
		metric(out, "object_puts_total", "counter", "Objects written.", p->store.puts);
		metric(out, "object_gets_total", "counter", "Reads of the object store.", p->store.gets);
		metric(out, "object_removes_total", "counter", "Objects removed.", p->store.removes);
		metric(out, "object_lists_total", "counter", "Listings of the object store.", p->store.lists);
		metric(out, "object_errors_total", "counter", "Requests of the object store that failed.", p->store.errors);
		metric(out, "object_failures", "gauge", "Of the object store, in a row until now.", p->store.failures);
		metric(out, "object_paused", "gauge", "1 while the object store is left alone because it fails.",
			p->store.paused);
		metric(out, "object_put_bytes_total", "counter", "Bytes written.", p->store.put_bytes);
		metric(out, "object_get_bytes_total", "counter", "Bytes read.", p->store.get_bytes);
	}
}

static void answer_prometheus(struct http_request *r, const struct peer_status *p)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	struct log_status log;

	log_get_status(r->server->log, &log);
	metric(&out, "uptime_seconds", "gauge", "Time since the agent started.",
		(double)http_server_uptime_ms(r->server) / 1e3);
	write_log_metrics(&out, &log);
	write_http_metrics(&out, r->server);
	write_peer_metrics(&out, p);
	http_answer_buf(r, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

void handle_prometheus(struct http_request *r)
{
	peer_status_ask(r, answer_prometheus);
}

/* ---- status ---- */

static void write_time(struct buf *out, const char *name, int64_t real_ms) /* 0: never */
{
	char text[CLOCK_RFC3339_BYTES];

	json_write_member_string(out, name, real_ms ? clock_format_rfc3339(real_ms, text) : NULL);
}

static void write_log_status(struct buf *out, struct http_server *server, const struct log_status *s)
{
	json_write_name(out, "log");
	json_write_open(out, '{');
	json_write_member_string(out, "state", s->state);
	json_write_member_bool(out, "serving", s->serving);
	json_write_member_string(out, "problem", s->problem);
	json_write_member_uint(out, "slot", s->slot);
	json_write_member_uint(out, "session", s->session);
	json_write_member_int(out, "lease_left_ms", s->lease_left_ms);
	json_write_member_uint(out, "wal_bytes", s->wal_bytes);
	json_write_member_uint(out, "wal_max_bytes", s->wal_max_bytes);
	json_write_member_uint(out, "wal_files", s->wal_files);
	json_write_member_uint(out, "tail_batches", s->tail_batches);
	json_write_member_uint(out, "tail_index_bytes", s->tail_index_bytes);
	json_write_member_uint(out, "appended_records", s->appended_records);
	json_write_member_uint(out, "appended_bytes", s->appended_bytes);
	json_write_member_uint(out, "syncs", s->syncs);
	json_write_member_uint(out, "sync_mean_us", s->syncs ? s->sync_ns_total / s->syncs / 1000 : 0);
	json_write_member_uint(out, "fetches", s->fetches);
	json_write_member_uint(out, "fetched_bytes", s->fetched_bytes);
	json_write_member_uint(out, "segments_built", s->segments_built);
	json_write_member_uint(out, "commits_refused", s->commits_refused);
	json_write_member_uint(out, "quarantined_entries", s->quarantined_entries);
	json_write_member_uint(out, "damaged_partitions", s->damaged_partitions);
	problems_write_damaged(out, server);
	json_write_member_string(out, "flush_error", s->flush_error);
	write_time(out, "flush_error_since", s->flush_error ? s->flush_error_since_ms : 0);
	json_write_member_string(out, "read_error", s->read_error);
	write_time(out, "read_error_at", s->read_error_ms);
	json_write_close(out, '}');
}

static void write_paths(struct buf *out, const struct role_self *self, const struct log_status *log,
	const struct peer_status *p)
{
	char *wal = mem_printf("%s/slots/%u/wal", self->data_dir, log->slot);

	json_write_member_string(out, "data_dir", self->data_dir);
	json_write_member_string(out, "wal_dir", wal);
	mem_free(wal);
	json_write_member_string(out, "metadata_url", p->meta_known ? p->meta.url : NULL);
	json_write_member_string(out, "object_url", p->store_known ? p->store.url : NULL);
}

static void write_meta_status(struct buf *out, const struct peer_status *p)
{
	json_write_name(out, "metadata");
	if (!p->meta_known) {
		json_write_null(out);
		return;
	}
	json_write_open(out, '{');
	json_write_member_uint(out, "topics", p->meta.topics);
	json_write_member_uint(out, "partitions", p->meta.partitions);
	json_write_member_uint(out, "records", p->meta.records);
	json_write_member_uint(out, "live_objects", p->meta.live_objects);
	json_write_member_uint(out, "live_bytes", p->meta.live_bytes);
	json_write_member_uint(out, "pending_objects", p->meta.pending_objects);
	json_write_member_uint(out, "dead_objects", p->meta.dead_objects);
	json_write_close(out, '}');
}

/* What the agent found missing or damaged in an object counts as an error of the store, too. */
static void write_store_status(struct buf *out, const struct peer_status *p, const struct log_status *log)
{
	uint64_t reads;

	json_write_name(out, "store");
	if (!p->store_known) {
		json_write_null(out);
		return;
	}
	json_write_open(out, '{');
	json_write_member_uint(out, "cache_bytes", p->store.cache_bytes);
	json_write_member_uint(out, "cache_max_bytes", p->store.cache_max_bytes);
	json_write_member_uint(out, "cache_hits", p->store.cache_hits);
	json_write_member_uint(out, "cache_misses", p->store.cache_misses);
	reads = p->store.cache_hits + p->store.cache_misses;
	json_write_name(out, "cache_hit_percent");
	if (reads)
		json_write_uint(out, (100 * p->store.cache_hits + reads / 2) / reads);
	else
		json_write_null(out);
	json_write_member_uint(out, "puts", p->store.puts);
	json_write_member_uint(out, "gets", p->store.gets);
	json_write_member_uint(out, "removes", p->store.removes);
	json_write_member_uint(out, "lists", p->store.lists);
	json_write_member_uint(out, "errors", p->store.errors + log->read_errors);
	json_write_member_uint(out, "put_bytes", p->store.put_bytes);
	json_write_member_uint(out, "get_bytes", p->store.get_bytes);
	json_write_member_uint(out, "failures_in_a_row", p->store.failures);
	json_write_member_bool(out, "paused", p->store.paused);
	json_write_member_bool(out, "looks_before_put", p->store.looks_first);
	json_write_member_string(out, "last_error", p->store.last_error_ms ? p->store.last_error : NULL);
	write_time(out, "last_error_at", p->store.last_error_ms);
	json_write_close(out, '}');
}

static void write_http_status(struct buf *out, const struct http_server *s)
{
	json_write_name(out, "http");
	json_write_open(out, '{');
	json_write_member_string(out, "address", s->address);
	json_write_member_uint(out, "connections", s->set.count);
	json_write_member_uint(out, "requests", s->counters.requests);
	json_write_member_uint(out, "records_in", s->counters.records_in);
	json_write_member_uint(out, "records_out", s->counters.records_out);
	json_write_close(out, '}');
}

static void write_totals(struct buf *out, struct http_server *s)
{
	uint64_t partitions = 0, records = 0, bytes = 0, r, b;

	for (struct topic *t = log_topic_after(s->log, NULL); t; t = log_topic_after(s->log, t->name)) {
		topic_totals(t, &r, &b);
		partitions += t->partition_count;
		records += r;
		bytes += b;
	}
	json_write_member_uint(out, "topics", log_topic_count(s->log));
	json_write_member_uint(out, "partitions", partitions);
	json_write_member_uint(out, "records", records);
	json_write_member_uint(out, "bytes", bytes);
}

static void answer_status(struct http_request *r, const struct peer_status *p)
{
	struct http_server *s = r->server;
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	char started[CLOCK_RFC3339_BYTES];
	struct log_status log;

	log_get_status(s->log, &log);
	json_write_open(&out, '{');
	problems_write(&out, s, &log, p);
	json_write_member_string(&out, "version", PACKAGE_VERSION);
	json_write_member_string(&out, "started_at", clock_format_rfc3339(s->started_ms, started));
	json_write_member_int(&out, "uptime_ms", http_server_uptime_ms(s));
	json_write_member_uint(&out, "agents", s->self->count);
	write_paths(&out, s->self, &log, p);
	write_totals(&out, s);
	write_log_status(&out, s, &log);
	write_meta_status(&out, p);
	write_store_status(&out, p, &log);
	write_http_status(&out, s);
	json_write_close(&out, '}');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

void handle_status(struct http_request *r)
{
	peer_status_ask(r, answer_status);
}
