/* SPDX-License-Identifier: Apache-2.0 */
/* POST /api/v1/produce and /api/v1/produce/batch: whole bodies in the shape that existing SDKs send. */
#include "daemon/agent/http/append.h"
#include "daemon/agent/http/handlers.h"

#include "libsh/base/clock.h"
#include "libsh/format/json_scan.h"
#include "libsh/format/json_write.h"
#include "libsh/format/ndjson.h"

enum { PRODUCE_RECORDS_MAX = 100000 }; /* of one produce/batch */

struct produce {
	struct append append;
	bool begun, single;
	struct ndjson_record *records;
	size_t count, taken;
	struct err failure;               /* in the middle of appending */
};
/* What stands beside the records. */
struct produce_envelope {
	struct bytes topic, records;
	const char *durability, *ack_mode;
	int64_t partition;                /* -1: not given */
};

static void produce_release(struct http_request *r)
{
	struct produce *p = r->state;

	if (p->begun)
		append_release(&p->append);
	mem_free(p->records);
}

/* A string, or a number as its text; NULL for null. */
static int scan_text(struct json_scan *s, struct arena *a, const char **out, struct err *e)
{
	struct bytes b;

	switch (json_scan_kind(s)) {
	case JSON_NULL:
		return json_scan_null(s, e);
	case JSON_STRING:
		if (json_scan_string(s, &b, e) < 0)
			return -1;
		break;
	case JSON_NUMBER:
		if (json_scan_skip(s, &b, e) < 0)
			return -1;
		break;
	default:
		return json_scan_error(s, e, "expected a string or a number");
	}
	*out = arena_strndup(a, (const char *)b.data, b.len);
	return 0;
}

static int envelope_member(struct json_scan *s, const struct bytes *name, struct arena *a,
	struct produce_envelope *env, struct err *e)
{
	if (JSON_IS(name, "topic"))
		return json_scan_string(s, &env->topic, e);
	if (JSON_IS(name, "records"))
		return json_scan_skip(s, &env->records, e);
	if (JSON_IS(name, "durability"))
		return scan_text(s, a, &env->durability, e);
	if (JSON_IS(name, "ack_mode"))
		return scan_text(s, a, &env->ack_mode, e);
	if (JSON_IS(name, "partition")) {
		if (json_scan_kind(s) == JSON_NULL)
			return json_scan_null(s, e);
		if (json_scan_int(s, &env->partition, e) < 0)
			return -1;
		return env->partition < 0 ? json_scan_error(s, e, "a partition is not negative") : 0;
	}
	return json_scan_skip(s, NULL, e);
}

static int envelope_read(struct http_request *r, struct produce_envelope *env, struct err *e)
{
	struct json_scan s;
	struct bytes name;
	int more;

	*env = (struct produce_envelope){.partition = -1};
	json_scan_init(&s, r->collected.data ? r->collected.data : "", r->collected.len, &r->arena);
	if (json_scan_open(&s, JSON_OBJECT, e) < 0)
		return -1;
	while ((more = json_scan_member(&s, &name, e)) > 0)
		if (envelope_member(&s, &name, &r->arena, env, e) < 0)
			return -1;
	if (more < 0 || json_scan_end(&s, e) < 0)
		return -1;
	if (!env->topic.data || !env->topic.len)
		return err_set(e, ERR_INVALID_ARGUMENT, "the body names no topic");
	if (!env->durability)
		env->durability = http_query(r, "durability");
	return 0;
}

/* The reading side says 404 for a partition that is not there, the writing side 400: SDKs rely on it. */
static void produce_answer_err(struct http_request *r, struct err *e, const char *members)
{
	if (e->code == ERR_PARTITION_NOT_FOUND || e->code == ERR_BAD_DATA)
		e->code = ERR_INVALID_ARGUMENT;
	http_answer_err_with(r, e, members);
}

static void write_result(struct buf *out, const struct ndjson_record *n)
{
	json_write_member_int(out, "partition", n->partition);
	json_write_member_int(out, "offset", n->record.offset);
	json_write_member_int(out, "timestamp", n->record.timestamp);
}

static void write_results(struct buf *out, const struct produce *p)
{
	json_write_member_uint(out, "count", p->taken);
	json_write_name(out, "results");
	json_write_open(out, '[');
	for (size_t i = 0; i < p->taken; i++) {
		json_write_open(out, '{');
		write_result(out, &p->records[i]);
		json_write_close(out, '}');
	}
	json_write_close(out, ']');
}

static void produce_done(struct append *a)
{
	struct http_request *r = a->r;
	struct produce *p = r->state;
	struct series_minute *minute = series_now(&r->server->series, clock_real_ms());
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);

	if (a->failure.code != ERR_NONE)
		p->failure = a->failure;
	if (p->failure.code != ERR_NONE) {
		if (!p->single) {
			buf_addc(&out, ',');
			write_results(&out, p);
		}
		produce_answer_err(r, &p->failure, out.data ? out.data : "");
		buf_release(&out);
		return;
	}
	series_latency(minute, clock_mono_ns() - r->begun_ns);
	json_write_open(&out, '{');
	if (p->single)
		write_result(&out, &p->records[0]);
	else
		write_results(&out, p);
	json_write_member_string(&out, "durability", durability_name(a->reached));
	json_write_close(&out, '}');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

/* All records are known to be well-formed; now they are appended, and what the log refuses ends it. */
static void produce_append(struct http_request *r, struct produce *p, struct topic *t)
{
	struct series_minute *minute = series_now(&r->server->series, clock_real_ms());

	for (; p->taken < p->count; p->taken++) {
		struct ndjson_record *n = &p->records[p->taken];

		if (!n->has_timestamp)
			n->record.timestamp = -1;
		if (append_record(&p->append, t, n->partition, &n->record, &n->partition, &p->failure) < 0) {
			if (!p->single)
				err_prefix(&p->failure, "record %zu of %zu, those before it were taken", p->taken, p->count);
			break;
		}
		minute->records++;
		minute->bytes += n->record.key.len + n->record.value.len;
	}
	buf_release(&r->collected);
	append_finish(&p->append);
}

/* All is checked before the first record is appended, so that a mistake, or a log that is full, takes nothing: a client may send all again. */
static int check_records(struct produce *p, const struct topic *t, int64_t partition, struct err *e)
{
	size_t total = 0, size;

	for (size_t i = 0; i < p->count; i++) {
		struct ndjson_record *n = &p->records[i];

		size = BATCH_HEADER_BYTES + record_max_size(&n->record);
		total += size;
		if (size > (size_t)t->config.max_message_bytes) {
			err_set(e, ERR_TOO_LARGE, "a record of up to %zu bytes is above the topic's max.message.bytes=%lld", size,
				(long long)t->config.max_message_bytes);
			return p->single ? -1 : err_prefix(e, "record %zu of %zu, none was taken", i, p->count);
		}
		if (n->partition < 0)
			n->partition = (int32_t)(partition > INT32_MAX ? INT32_MAX : partition);
		if (n->partition >= (int32_t)t->partition_count) {
			err_set(e, ERR_PARTITION_NOT_FOUND, "topic \"%s\" has no partition %d", t->name, n->partition);
			return err_hint(e, "it has partitions 0 to %u", t->partition_count - 1);
		}
	}
	return p->single ? 0 : log_may_append(p->append.log, total, e);
}

static int produce_begin(struct http_request *r, struct produce *p, const struct produce_envelope *env,
	struct err *e)
{
	enum durability asked;
	struct topic *t;

	if (append_durability(env->durability, env->ack_mode, &asked, e) < 0)
		return -1;
	p->begun = true;
	if (append_begin(&p->append, r, (const char *)env->topic.data, env->topic.len, asked, produce_done, e) < 0)
		return -1;
	if (!(t = append_topic(&p->append, e)) || check_records(p, t, env->partition, e) < 0)
		return -1;
	produce_append(r, p, t);
	return 0;
}

static struct produce *produce_new(struct http_request *r)
{
	struct produce *p = arena_alloc(&r->arena, sizeof(*p));

	r->state = p;
	r->release = produce_release;
	return p;
}

void handle_produce(struct http_request *r)
{
	struct produce *p = produce_new(r);
	struct produce_envelope env;
	struct err e = ERR_INIT;

	p->single = true;
	p->count = 1;
	p->records = mem_zalloc(sizeof(*p->records));
	if (envelope_read(r, &env, &e) < 0 ||
		ndjson_read(r->collected.data, r->collected.len, true, &r->arena, &p->records[0], &e) < 0 ||
		produce_begin(r, p, &env, &e) < 0)
		produce_answer_err(r, &e, "");
}

static int read_records(struct http_request *r, struct produce *p, struct bytes array, struct err *e)
{
	struct json_scan s;
	struct bytes raw;
	size_t room = 0;
	int more;

	if (!array.data)
		return err_set(e, ERR_INVALID_ARGUMENT, "the body has no \"records\"");
	json_scan_init(&s, (const char *)array.data, array.len, &r->arena);
	if (json_scan_open(&s, JSON_ARRAY, e) < 0)
		return -1;
	while ((more = json_scan_element(&s, e)) > 0) {
		if (p->count == PRODUCE_RECORDS_MAX) {
			err_set(e, ERR_TOO_LARGE, "more than %d records in one request", PRODUCE_RECORDS_MAX);
			return err_hint(e, "POST /api/v1/topics/{topic}/records takes any number");
		}
		if (p->count == room) {
			room = room ? room * 2 : 64;
			p->records = mem_realloc_array(p->records, room, sizeof(*p->records));
		}
		if (json_scan_skip(&s, &raw, e) < 0)
			return -1;
		if (ndjson_read((const char *)raw.data, raw.len, true, &r->arena, &p->records[p->count], e) < 0)
			return err_prefix(e, "record %zu", p->count);
		p->count++;
	}
	return more;
}

void handle_produce_batch(struct http_request *r)
{
	struct produce *p = produce_new(r);
	struct produce_envelope env;
	struct err e = ERR_INIT;

	if (envelope_read(r, &env, &e) < 0 || read_records(r, p, env.records, &e) < 0 || produce_begin(r, p,
		&env, &e) < 0)
		produce_answer_err(r, &e, "");
}
