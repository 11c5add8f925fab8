/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/v1/consume and GET /api/v1/topics/{topic}/messages: records in the shape that existing SDKs
 * read, collected before they are answered, so both have a cap on bytes; who wants more goes on at
 * next_offset, or uses the records resource.
 */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/reader.h"
#include "daemon/agent/http/server.h"

#include <stdlib.h>
#include "libsh/base/map.h"
#include "libsh/base/text.h"
#include "libsh/format/json_write.h"

enum {
	ANSWER_BYTES = 4 << 20,          /* after which no further record is added */
	ANSWER_MAX = 512 << 20,          /* one record may be large */
	DEFAULT_RECORDS = 100,
	MESSAGES_MAX = 10000,            /* of one answer of /messages */
};

/* ---- a record ---- */

static void write_bytes(struct buf *out, const char *name, struct bytes b)
{
	json_write_name(out, name);
	if (!b.data || text_is_utf8(b.data, b.len)) {
		if (b.data)
			json_write_bytes(out, b.data, b.len);
		else
			json_write_null(out);
		return;
	}
	json_write_null(out);
	buf_addf(out, ",\"%s_base64\":\"", name);
	text_base64_encode(out, b.data, b.len);
	buf_addc(out, '"');
}

/* As an object: the last of a name wins, so each is written only where no later one has its name. A record
 * may have a hundred thousand of them, hence the map: name -> position behind the last that has it. */
static int last_headers(const struct record *rec, struct map *last, struct err *e)
{
	struct record_header h;
	size_t pos = 0;
	int got;

	while ((got = record_header_next(rec, &pos, &h, e)) > 0)
		map_put(last, h.key.data, h.key.len, (void *)(uintptr_t)pos);
	return got;
}

static int write_headers(struct buf *out, const struct record *rec, struct err *e)
{
	struct map last = MAP_INIT;
	struct record_header h;
	size_t pos = 0;
	int got = rec->header_count > 1 ? last_headers(rec, &last, e) : 0;

	json_write_name(out, "headers");
	json_write_open(out, '{');
	while (got >= 0 && (got = record_header_next(rec, &pos, &h, e)) > 0) {
		if (rec->header_count > 1 && map_get(&last, h.key.data, h.key.len) != (void *)(uintptr_t)pos)
			continue;
		json_write_bytes(out, h.key.data, h.key.len);
		buf_addc(out, ':');
		if (h.value.data)
			json_write_bytes(out, h.value.data, h.value.len);
		else
			json_write_null(out);
	}
	json_write_close(out, '}');
	map_release(&last);
	return got;
}

static int write_record(struct buf *out, uint32_t partition, const struct record *rec, struct err *e)
{
	json_write_open(out, '{');
	json_write_member_uint(out, "partition", partition);
	json_write_member_int(out, "offset", rec->offset);
	json_write_member_int(out, "timestamp", rec->timestamp);
	write_bytes(out, "key", rec->key);
	write_bytes(out, "value", rec->value);
	if (write_headers(out, rec, e) < 0)
		return -1;
	json_write_close(out, '}');
	return 0;
}

static void count_out(struct http_request *r, const struct record *rec)
{
	r->server->counters.records_out++;
	r->server->counters.record_bytes_out += rec->key.len + rec->value.len;
}

/* ---- consume ---- */

struct consuming {
	struct http_request *r;
	struct reader reader;
	struct buf out;
	int64_t records, max_records;
};

static void consuming_release(struct http_request *r)
{
	struct consuming *c = r->state;

	reader_release(&c->reader);
	buf_release(&c->out);
}

static void consuming_answer(struct consuming *c)
{
	json_write_close(&c->out, ']');
	json_write_member_int(&c->out, "next_offset", c->reader.offset);
	json_write_member_int(&c->out, "nextOffset", c->reader.offset);
	json_write_member_int(&c->out, "high_watermark", c->reader.high_watermark);
	json_write_member_int(&c->out, "highWatermark", c->reader.high_watermark);
	json_write_close(&c->out, '}');
	http_answer_buf(c->r, 200, HTTP_JSON, &c->out);
}

static void consuming_pump(struct reader *rd)
{
	struct consuming *c = container_of(rd, struct consuming, reader);
	struct err e = ERR_INIT;
	struct record rec;

	while (c->records < c->max_records && c->out.len < ANSWER_BYTES) {
		enum reader_step step = reader_next_record(rd, &rec, &e);

		if (step == READER_WAIT)
			return;
		if (step == READER_END)
			break;
		if (step == READER_ERROR || write_record(&c->out, rd->partition, &rec, &e) < 0) {
			http_answer_err(c->r, &e);
			return;
		}
		count_out(c->r, &rec);
		c->records++;
	}
	consuming_answer(c);
}

static int consuming_begin(struct http_request *r, struct consuming *c, struct err *e)
{
	const char *topic = http_query(r, "topic");
	int64_t partition = -1, offset = 0;
	int given;

	c->max_records = DEFAULT_RECORDS;
	if (!topic || !*topic)
		return err_set(e, ERR_INVALID_ARGUMENT, "the parameter \"topic\" is missing");
	given = http_query_int(r, "partition", 0, INT32_MAX, &partition, e);
	if (!given)
		return err_set(e, ERR_INVALID_ARGUMENT, "the parameter \"partition\" is missing");
	if (given < 0 || http_query_int(r, "offset", INT64_MIN, INT64_MAX, &offset, e) < 0 ||
		http_query_int(r, "max_records", 0, INT64_MAX, &c->max_records, e) < 0 ||
		http_query_int(r, "maxRecords", 0, INT64_MAX, &c->max_records, e) < 0 ||
		reader_begin(&c->reader, r->server->log, topic, partition, consuming_pump, e) < 0)
		return -1;
	if (offset < c->reader.log_start) {
		c->reader.offset = c->reader.log_start;
		c->max_records = 0; /* no records: the client learns that it skips some */
	} else {
		c->reader.offset = offset > c->reader.high_watermark ? c->reader.high_watermark : offset;
	}
	return 0;
}

void handle_consume(struct http_request *r)
{
	struct consuming *c = arena_alloc(&r->arena, sizeof(*c));
	struct err e = ERR_INIT;

	c->r = r;
	buf_init(&c->out, ANSWER_MAX);
	r->state = c;
	r->release = consuming_release;
	if (consuming_begin(r, c, &e) < 0) {
		http_answer_err(r, &e);
		return;
	}
	buf_adds(&c->out, "{\"records\":[");
	consuming_pump(&c->reader);
}

/* ---- messages ---- */

/* Records of one or all partitions are collected as JSON texts, then sorted. With order=desc a partition
 * is read in windows from its end backwards, because batches can only be read forward and gaps may make a
 * window hold fewer records than offsets. */
struct message {
	int64_t timestamp, offset;
	uint32_t partition;
	size_t at, len;                  /* of its text */
};
struct messages {
	struct http_request *r;
	struct reader reader;
	const char *topic;
	struct buf text;
	struct message *items;
	size_t count, room, partition_count; /* of this partition so far */
	int64_t limit, offset;           /* offset -1: not given */
	int64_t window_start;
	uint32_t partition, last_partition;
	bool newest_first;
};

static void messages_release(struct http_request *r)
{
	struct messages *m = r->state;

	reader_release(&m->reader);
	buf_release(&m->text);
	mem_free(m->items);
}

static int message_compare(const void *a, const void *b)
{
	const struct message *x = a, *y = b;

	if (x->partition == y->partition)
		return (x->offset > y->offset) - (x->offset < y->offset);
	if (x->timestamp != y->timestamp)
		return x->timestamp > y->timestamp ? 1 : -1;
	return x->partition > y->partition ? 1 : -1;
}

static void messages_answer(struct messages *m)
{
	struct buf out = BUF_INIT(ANSWER_MAX);
	size_t n = m->count < (size_t)m->limit ? m->count : (size_t)m->limit;

	if (m->count)
		qsort(m->items, m->count, sizeof(*m->items), message_compare);
	json_write_open(&out, '[');
	for (size_t i = 0; i < n; i++) {
		const struct message *item = &m->items[m->newest_first ? m->count - 1 - i : i];

		json_write_raw(&out, m->text.data + item->at, item->len);
	}
	json_write_close(&out, ']');
	http_answer_buf(m->r, 200, HTTP_JSON, &out);
}

static int messages_add(struct messages *m, const struct record *rec, struct err *e)
{
	size_t at = m->text.len;

	buf_addc(&m->text, ':'); /* so that no comma is written in front */
	if (write_record(&m->text, m->partition, rec, e) < 0)
		return -1;
	if (m->count == m->room) {
		m->room = m->room ? m->room * 2 : 128;
		m->items = mem_realloc_array(m->items, m->room, sizeof(*m->items));
	}
	m->items[m->count++] = (struct message){
		.timestamp = rec->timestamp, .offset = rec->offset, .partition = m->partition, .at = at + 1,
		.len = m->text.len - at - 1,
	};
	m->partition_count++;
	count_out(m->r, rec);
	return 0;
}

/* The stretch of offsets that ends before `end` and may hold what is still wanted. */
static void messages_window(struct messages *m, int64_t end)
{
	int64_t start = end - (m->limit - (int64_t)m->partition_count);

	if (start < m->reader.log_start)
		start = m->reader.log_start;
	m->window_start = m->reader.offset = start;
	m->reader.limit = end;
}

static void messages_ready(struct reader *rd);

static int messages_open(struct messages *m, struct err *e)
{
	int64_t at;

	reader_release(&m->reader);
	if (reader_begin(&m->reader, m->r->server->log, m->topic, m->partition, messages_ready, e) < 0)
		return -1;
	m->partition_count = 0;
	if (m->newest_first) {
		at = m->offset >= 0 && m->offset < m->reader.high_watermark ? m->offset + 1 : m->reader.high_watermark;
		messages_window(m, at < m->reader.log_start ? m->reader.log_start : at);
	} else {
		m->reader.offset = m->offset > m->reader.log_start ? m->offset : m->reader.log_start;
	}
	return 0;
}

/* What there is to read is read: the window before it, or the next partition. false: all done. */
static bool messages_next(struct messages *m, struct err *e)
{
	bool enough = (int64_t)m->partition_count >= m->limit || m->text.len >= ANSWER_BYTES;

	if (m->newest_first && !enough && m->window_start > m->reader.log_start) {
		reader_release(&m->reader);
		m->reader.records = NULL;
		messages_window(m, m->window_start);
		return true;
	}
	if (m->partition == m->last_partition || m->text.len >= ANSWER_BYTES)
		return false;
	m->partition++;
	return messages_open(m, e) == 0;
}

static void messages_ready(struct reader *rd)
{
	struct messages *m = container_of(rd, struct messages, reader);
	struct err e = ERR_INIT;
	struct record rec;

	for (;;) {
		enum reader_step step = READER_END;

		if ((int64_t)m->partition_count < m->limit && m->text.len < ANSWER_BYTES)
			step = reader_next_record(rd, &rec, &e);
		if (step == READER_WAIT)
			return;
		if (step == READER_ITEM && messages_add(m, &rec, &e) == 0)
			continue;
		if (step == READER_END && messages_next(m, &e))
			continue;
		break;
	}
	if (e.code != ERR_NONE)
		http_answer_err(m->r, &e);
	else
		messages_answer(m);
}

static int messages_begin(struct http_request *r, struct messages *m, struct err *e)
{
	struct topic *t = log_topic(r->server->log, m->topic, strlen(m->topic));
	const char *order = http_query(r, "order");
	int64_t partition = -1;

	m->limit = DEFAULT_RECORDS;
	m->offset = -1;
	if (!t)
		return err_set(e, ERR_TOPIC_NOT_FOUND, "there is no topic \"%.200s\"", m->topic);
	if (http_query_int(r, "partition", 0, INT32_MAX, &partition, e) < 0 ||
		http_query_int(r, "offset", 0, INT64_MAX, &m->offset, e) < 0 ||
		http_query_int(r, "limit", 0, INT64_MAX, &m->limit, e) < 0)
		return -1;
	if (m->limit > MESSAGES_MAX)
		m->limit = MESSAGES_MAX;
	if (order && strcmp(order, "asc") && strcmp(order, "desc"))
		return err_set(e, ERR_INVALID_ARGUMENT, "order is asc or desc");
	m->newest_first = order && !strcmp(order, "desc");
	m->partition = partition < 0 ? 0 : (uint32_t)partition;
	m->last_partition = partition < 0 ? t->partition_count - 1 : m->partition;
	return messages_open(m, e);
}

void handle_messages(struct http_request *r)
{
	struct messages *m = arena_alloc(&r->arena, sizeof(*m));
	struct err e = ERR_INIT;

	m->r = r;
	m->topic = r->params[0];
	buf_init(&m->text, ANSWER_MAX);
	r->state = m;
	r->release = messages_release;
	if (messages_begin(r, m, &e) < 0)
		http_answer_err(r, &e);
	else
		messages_ready(&m->reader);
}
