/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/v1/topics/{topic}/partitions/{partition}/records: a stretch of a partition as JSON, NDJSON,
 * record batches or an event stream.
 *
 * Without `end` the answer ends at the high watermark or after max_bytes; with it, at the end. A short
 * answer carries X-Next-Offset in its head; a long one is chunked and carries it as a trailer (JSON has it
 * in the body, batches imply it). Nothing is fetched while the client's socket is full.
 */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/reader.h"
#include "daemon/agent/http/server.h"

#include <stdio.h>
#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/format/json_write.h"
#include "libsh/format/ndjson.h"

enum {
	PIECE_BYTES = 64 << 10,          /* output is sent in pieces of about this */
	DEFAULT_MAX_BYTES = 16 << 20,    /* without end and max_bytes */
	HEARTBEAT_MS = 15000,            /* of event streams */
};
#define OUTPUT_MAX ((size_t)2 * BATCH_MAX_RAW_BYTES)

enum shape { SHAPE_JSON, SHAPE_NDJSON, SHAPE_BATCH, SHAPE_EVENTS };
static const struct { const char *type; enum shape shape; } shapes[] = {
	{"application/json", SHAPE_JSON}, {"application/x-ndjson", SHAPE_NDJSON}, {"application/ndjson",
		SHAPE_NDJSON},
	{"application/jsonl", SHAPE_NDJSON}, {"application/vnd.streamhouse.batch", SHAPE_BATCH},
	{"text/event-stream", SHAPE_EVENTS}, {"application/*", SHAPE_JSON}, {"*/*", SHAPE_JSON},
};
static const char *const content_types[] = {
	"application/json", "application/x-ndjson", "application/vnd.streamhouse.batch", "text/event-stream",
};

struct getting {
	struct http_request *r;
	struct reader reader;
	enum shape shape;
	const char *topic;
	int64_t partition;
	int64_t max_bytes, max_records, wait_ms;
	uint64_t bytes, records;         /* handed out */
	struct buf out;
	struct log_seek *seek;
	struct log_watch watch;
	struct timer timer;
	bool watching, pumping, waited;
};

static void getting_pump(struct getting *g);

static void getting_stop_waiting(struct getting *g)
{
	if (g->watching)
		log_watch_cancel(&g->watch);
	g->watching = false;
	loop_timer_cancel(g->r->server->self->loop, &g->timer);
}

static void getting_release(struct http_request *r)
{
	struct getting *g = r->state;

	getting_stop_waiting(g);
	if (g->seek)
		log_seek_cancel(g->seek);
	reader_release(&g->reader);
	buf_release(&g->out);
}

/* ---- output ---- */

static void getting_start(struct getting *g)
{
	if (g->r->streaming)
		return;
	if (g->shape != SHAPE_EVENTS && g->shape != SHAPE_JSON && g->r->head.minor == 1)
		http_answer_field(g->r, "Trailer", "X-Next-Offset");
	if (g->shape == SHAPE_EVENTS)
		http_answer_field(g->r, "Cache-Control", "no-store");
	http_answer_field(g->r, "X-High-Watermark", "%lld", (long long)g->reader.high_watermark);
	http_answer_field(g->r, "X-Log-Start", "%lld", (long long)g->reader.log_start);
	http_stream_start(g->r, 200, content_types[g->shape]);
}

static void getting_emit(struct getting *g)
{
	getting_start(g);
	http_stream_write(g->r, &g->out);
}

static int getting_add_record(struct getting *g, const struct record *rec, struct err *e)
{
	if (g->shape == SHAPE_EVENTS)
		buf_addf(&g->out, "id: %lld\ndata: ", (long long)rec->offset);
	else if (g->shape == SHAPE_JSON)
		buf_adds(&g->out, g->records ? ",\n" : "{\"records\":[\n");
	if (ndjson_write(&g->out, NULL, (int32_t)g->reader.partition, rec, e) < 0)
		return -1;
	if (g->shape != SHAPE_JSON)
		buf_adds(&g->out, g->shape == SHAPE_EVENTS ? "\n\n" : "\n");
	return 0;
}

static void count_out(struct getting *g, uint64_t records, uint64_t bytes)
{
	g->records += records;
	g->bytes += bytes;
	g->r->server->counters.records_out += records;
	g->r->server->counters.record_bytes_out += bytes;
}

static void getting_finish(struct getting *g)
{
	struct http_request *r = g->r;
	char trailer[64];

	getting_stop_waiting(g);
	if (g->shape == SHAPE_JSON) {
		buf_adds(&g->out, g->records ? "\n]" : "{\"records\":[]");
		json_write_member_int(&g->out, "next_offset", g->reader.offset);
		json_write_member_int(&g->out, "high_watermark", g->reader.high_watermark);
		json_write_member_int(&g->out, "log_start", g->reader.log_start);
		buf_adds(&g->out, "}\n");
	}
	if (r->streaming) {
		http_stream_write(r, &g->out);
		snprintf(trailer, sizeof(trailer), "X-Next-Offset: %lld", (long long)g->reader.offset);
		http_stream_end(r, g->shape == SHAPE_NDJSON || g->shape == SHAPE_BATCH ? trailer : NULL);
		return;
	}
	http_answer_field(r, "X-Next-Offset", "%lld", (long long)g->reader.offset);
	http_answer_field(r, "X-High-Watermark", "%lld", (long long)g->reader.high_watermark);
	http_answer_field(r, "X-Log-Start", "%lld", (long long)g->reader.log_start);
	http_answer_buf(r, 200, content_types[g->shape], &g->out);
}

static void getting_fail(struct getting *g, const struct err *e)
{
	getting_stop_waiting(g);
	buf_release(&g->out);
	http_answer_err(g->r, e);
}

/* ---- waiting for more ---- */

static void getting_watched(struct log_watch *w, const struct err *e)
{
	struct getting *g = container_of(w, struct getting, watch);

	g->watching = false;
	if (e)
		getting_fail(g, e);
	else
		getting_pump(g);
}

static void getting_timer(void *ctx)
{
	struct getting *g = ctx;

	if (g->shape != SHAPE_EVENTS) {
		getting_finish(g);
		return;
	}
	if (http_stream_room(g->r)) {
		buf_adds(&g->out, ":\n\n");
		getting_emit(g);
	}
	loop_timer_set(g->r->server->self->loop, &g->timer, HEARTBEAT_MS, getting_timer, g);
}

/* The high watermark was reached. Whether there is something to wait for. */
static bool getting_wait(struct getting *g)
{
	struct loop *loop = g->r->server->self->loop;
	struct partition *p;
	bool events = g->shape == SHAPE_EVENTS;

	if (g->reader.offset >= g->reader.limit || g->r->server->draining)
		return false;
	if (!events && (g->records || !g->wait_ms))
		return false;
	p = log_partition(g->r->server->log, g->topic, strlen(g->topic), g->partition, NULL);
	if (!p)
		return false;
	if (events)
		getting_emit(g);
	if (!g->timer.index)
		loop_timer_set(loop, &g->timer, events ? HEARTBEAT_MS : g->wait_ms, getting_timer, g);
	g->watching = true;
	log_watch(g->r->server->log, &g->watch, p, g->reader.offset, getting_watched);
	return true;
}

/* ---- the pump ---- */

static bool getting_is_full(const struct getting *g)
{
	return (int64_t)g->bytes >= g->max_bytes || (int64_t)g->records >= g->max_records;
}

static enum reader_step getting_next(struct getting *g, struct err *e)
{
	enum reader_step step;
	struct record rec;
	struct bytes batch;
	struct batch_header h;
	size_t before = g->out.len;

	if (g->shape != SHAPE_BATCH) {
		step = reader_next_record(&g->reader, &rec, e);
		if (step != READER_ITEM)
			return step;
		if (getting_add_record(g, &rec, e) < 0)
			return READER_ERROR;
		count_out(g, 1, g->out.len - before);
		return READER_ITEM;
	}
	step = reader_next_batch(&g->reader, &batch, e);
	if (step != READER_ITEM)
		return step;
	buf_add(&g->out, batch.data, batch.len);
	count_out(g, batch_header_read(batch.data, batch.len, &h, NULL) < 0 ? 0 : h.record_count, batch.len);
	return READER_ITEM;
}

/* true: go on. */
static bool getting_step(struct getting *g)
{
	struct err e = ERR_INIT;

	if (g->r->streaming && !http_stream_room(g->r)) {
		if (conn_is_tight(&g->r->conn->conn))
			reader_release(&g->reader); /* it will be fetched again when its turn has come */
		return false;
	}
	if (getting_is_full(g)) {
		getting_finish(g);
		return false;
	}
	switch (getting_next(g, &e)) {
	case READER_ITEM:
		if (g->out.len >= PIECE_BYTES)
			getting_emit(g);
		return true;
	case READER_WAIT:
		if (g->out.len && g->bytes)
			getting_emit(g);
		return false;
	case READER_END:
		if (g->out.len && g->shape == SHAPE_EVENTS)
			getting_emit(g);
		if (!getting_wait(g))
			getting_finish(g);
		return false;
	default:
		if (e.code == ERR_OFFSET_OUT_OF_RANGE && !g->r->streaming)
			err_hint(&e, "the log begins at %lld now", (long long)g->reader.log_start);
		getting_fail(g, &e);
		return false;
	}
}

static void getting_pump(struct getting *g)
{
	if (g->pumping || g->watching || g->r->answered)
		return;
	g->pumping = true;
	while (getting_step(g))
		;
	g->pumping = false;
}

static void getting_ready(struct reader *rd)
{
	getting_pump(container_of(rd, struct getting, reader));
}

static void getting_room(struct http_request *r)
{
	struct getting *g = r->state;

	if (!g->reader.fetching && !g->seek)
		getting_pump(g);
}

static void getting_drain(struct http_request *r)
{
	struct getting *g = r->state;

	if (g->watching)
		getting_finish(g);
}

/* ---- the beginning ---- */

static void answer_out_of_range(struct getting *g, int64_t offset, int64_t end)
{
	struct err e = ERR_INIT;
	char members[160];

	err_set(&e, ERR_OFFSET_OUT_OF_RANGE, "offset %lld of %s/%lld is outside %lld to %lld",
		(long long)offset, g->topic,
		(long long)g->partition, (long long)g->reader.log_start, (long long)end);
	err_hint(&e, "offset=earliest and offset=latest are always inside");
	snprintf(members, sizeof(members), ",\"log_start\":%lld,\"high_watermark\":%lld",
		(long long)g->reader.log_start,
		(long long)g->reader.high_watermark);
	http_answer_field(g->r, "X-High-Watermark", "%lld", (long long)g->reader.high_watermark);
	http_answer_field(g->r, "X-Log-Start", "%lld", (long long)g->reader.log_start);
	http_answer_err_with(g->r, &e, members);
}

static void getting_go(struct getting *g, int64_t offset)
{
	struct partition *p = log_partition(g->r->server->log, g->topic, strlen(g->topic), g->partition, NULL);
	int64_t end = p && p->end > g->reader.high_watermark ? p->end : g->reader.high_watermark;

	if (offset < g->reader.log_start || offset > end) {
		answer_out_of_range(g, offset, end);
		return;
	}
	g->reader.offset = offset;
	if (g->r->head.method != HTTP_HEAD) {
		getting_pump(g);
		return;
	}
	/* Nothing is read for nobody: a HEAD has no Content-Length and no X-Next-Offset. */
	getting_start(g);
	http_stream_end(g->r, NULL);
}

static void getting_sought(void *ctx, int64_t offset, int64_t timestamp_ms, const struct err *e)
{
	struct getting *g = ctx;

	(void)timestamp_ms;
	g->seek = NULL;
	if (e)
		getting_fail(g, e);
	else
		getting_go(g, offset < 0 ? g->reader.high_watermark : offset);
}

/* earliest, latest, a number, -N from the high watermark. */
static int parse_offset(const struct reader *rd, const char *text, int64_t *offset, struct err *e)
{
	if (!strcmp(text, "earliest")) {
		*offset = rd->log_start;
	} else if (!strcmp(text, "latest") || !strcmp(text, "now")) {
		*offset = rd->high_watermark;
	} else if (text_parse_int(text, -INT64_MAX, INT64_MAX, "offset", offset, e) < 0) {
		return err_hint(e, "an offset is a number, earliest, latest, or -N for the last N");
	} else if (*text == '-') {
		*offset = rd->high_watermark + *offset;
		if (*offset < rd->log_start)
			*offset = rd->log_start;
	}
	return 0;
}

static int parse_timestamp(const char *text, int64_t *ms, struct err *e)
{
	if (strchr(text, 'T') || (strlen(text) == 10 && text[4] == '-'))
		return clock_parse_rfc3339(text, ms, e);
	return text_parse_int(text, INT64_MIN, INT64_MAX, "timestamp", ms, e);
}

static int getting_shape(struct http_request *r, struct getting *g, struct err *e)
{
	struct bytes accept = http_field(r, HTTP_ACCEPT);
	const uint8_t *p = accept.data, *end = p ? p + accept.len : p;

	while (p < end) {
		const uint8_t *comma = memchr(p, ',', end - p), *stop = comma ? comma : end;

		while (p < stop && (*p == ' ' || *p == '\t'))
			p++;
		for (size_t i = 0; i < array_count(shapes); i++) {
			if (http_media_is((struct bytes){p, stop - p}, shapes[i].type)) {
				g->shape = shapes[i].shape;
				return 0;
			}
		}
		p = comma ? comma + 1 : end;
	}
	if (!accept.len)
		return 0;
	err_set(e, ERR_UNSUPPORTED_MEDIA, "records cannot be given as any type that Accept names");
	return err_hint(e,
		"application/json, application/x-ndjson, application/vnd.streamhouse.batch or text/event-stream");
}

static int getting_limits(struct http_request *r, struct getting *g, struct err *e)
{
	const char *end = http_query(r, "end");

	g->max_bytes = end || g->shape == SHAPE_EVENTS ? INT64_MAX : DEFAULT_MAX_BYTES;
	g->max_records = INT64_MAX;
	if (http_query_size(r, "max_bytes", 1, INT64_MAX, &g->max_bytes, e) < 0 ||
		http_query_int(r, "max_records", 0, INT64_MAX, &g->max_records, e) < 0 ||
		http_query_int(r, "wait_ms", 0, INT64_MAX, &g->wait_ms, e) < 0)
		return -1;
	if (g->wait_ms > HTTP_WAIT_MAX_MS)
		g->wait_ms = HTTP_WAIT_MAX_MS;
	if (g->max_bytes < READER_FETCH_BYTES)
		g->reader.fetch_bytes = g->max_bytes;
	if (end && parse_offset(&g->reader, end, &g->reader.limit, e) < 0)
		return err_prefix(e, "end");
	return 0;
}

/* Where to begin: an event stream that is taken up again, an offset, a time, or the earliest. */
static int getting_locate(struct http_request *r, struct getting *g, struct err *e)
{
	const char *offset_text = http_query(r, "offset"), *timestamp_text = http_query(r, "timestamp");
	struct bytes last = http_field(r, HTTP_LAST_EVENT_ID);
	int64_t offset = g->reader.log_start, timestamp;
	struct partition *p;

	if (offset_text && timestamp_text)
		return err_set(e, ERR_INVALID_ARGUMENT, "offset and timestamp cannot both be given");
	if (g->shape == SHAPE_EVENTS && last.len) {
		if (text_parse_int(arena_strndup(&r->arena, (const char *)last.data, last.len), 0, INT64_MAX - 1,
			"Last-Event-ID", &offset, e) < 0)
			return -1;
		offset++;
	} else if (timestamp_text) {
		if (parse_timestamp(timestamp_text, &timestamp, e) < 0 ||
			!(p = log_partition(r->server->log, g->topic, strlen(g->topic), g->partition, e)))
			return -1;
		g->seek = log_seek(r->server->log, p, timestamp, getting_sought, g);
		return 0;
	} else if (offset_text && parse_offset(&g->reader, offset_text, &offset, e) < 0) {
		return -1;
	}
	getting_go(g, offset);
	return 0;
}

void handle_records_get(struct http_request *r)
{
	struct getting *g = arena_alloc(&r->arena, sizeof(*g));
	struct err e = ERR_INIT;

	g->r = r;
	g->topic = r->params[0];
	buf_init(&g->out, OUTPUT_MAX);
	r->state = g;
	r->release = getting_release;
	r->room = getting_room;
	r->drain = getting_drain;
	if (text_parse_int(r->params[1], 0, INT32_MAX, "partition", &g->partition, &e) < 0 ||
		reader_begin(&g->reader, r->server->log, g->topic, g->partition, getting_ready, &e) < 0 ||
		getting_shape(r, g, &e) < 0 || getting_limits(r, g, &e) < 0) {
		http_answer_err(r, &e);
		return;
	}
	r->drops_on_eof = g->shape == SHAPE_EVENTS;
	if (getting_locate(r, g, &e) < 0)
		http_answer_err(r, &e);
}
