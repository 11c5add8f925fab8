/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /api/v1/topics/{topic}/records: records as they stream in, of any number, with bounded memory.
 *
 * Whole lines and batches are taken straight from the read buffer; only one that is cut by its end is
 * assembled in `partial`. When the log says "not now" the record stays where it is, the connection is read
 * no further, and it is tried again until a deadline. An error in the middle is answered once everything
 * taken before it is acknowledged, with the exact numbers.
 */
#include "daemon/agent/http/append.h"
#include "daemon/agent/http/checking.h"
#include "daemon/agent/http/handlers.h"

#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/format/json_write.h"
#include "libsh/format/ndjson.h"

enum {
	RETRY_MS = 20,                /* after the log said "not now" */
	RETRY_FOR_MS = 10000,
	DRAIN_MARGIN_MS = CONN_LINGER_MS + 1000, /* before connections are cut: for the answer to arrive */
	LINE_SLACK_BYTES = 4096,      /* of an NDJSON line, for what is not key, value or header */
	PARTIAL_KEPT_BYTES = 64 << 10, /* of its memory, for the next one */
	LINE_EXPANSION = 6,           /* \u0001: a byte of a record takes at most six in JSON */
};
enum shape { SHAPE_NDJSON, SHAPE_TEXT, SHAPE_BATCH };

struct posting {
	struct append append;
	bool begun, over;             /* over: nothing more is taken */
	enum shape shape;
	int64_t partition;            /* -1: not given */
	struct topic *topic;          /* of this turn */
	struct buf partial;           /* the front of a line or batch */
	struct checking *checking;    /* of the batch that is next, on a thread; NULL: none */
	bool body_ended;
	bool partial_whole;           /* complete, but the log did not take it yet */
	size_t item_max;              /* bytes of a line or batch */
	uint64_t lines;               /* or batches, for errors */
	struct arena arena;           /* of the lines of one turn */
	struct timer retry, drained;
	int64_t blocked_ns;           /* since when; 0: not blocked */
	struct err failure;
};

static void posting_release(struct http_request *r)
{
	struct posting *p = r->state;

	if (p->begun)
		append_release(&p->append);
	loop_timer_cancel(r->server->self->loop, &p->retry);
	loop_timer_cancel(r->server->self->loop, &p->drained);
	checking_free(p->checking);
	buf_release(&p->partial);
	arena_release(&p->arena);
}

/* ---- one item ---- */

static int take_line(struct posting *p, char *line, size_t n, struct err *e)
{
	struct ndjson_record record = {.partition = -1};
	int64_t partition = p->partition;

	if (p->shape == SHAPE_TEXT) {
		record.record.value = (struct bytes){(const uint8_t *)line, n};
	} else {
		if (ndjson_read(line, n, true, &p->arena, &record, e) < 0)
			return -1;
		if (partition < 0)
			partition = record.partition;
	}
	if (!record.has_timestamp)
		record.record.timestamp = -1;
	return append_record(&p->append, p->topic, partition, &record.record, NULL, e);
}

static bool is_blank(const char *line, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	return true;
}

static void batch_checked(void *ctx);

/* 0: what was checked is taken. -1: not now (ERR_BACK_PRESSURE), or it is not good. */
static int take_checked(struct http_request *r, struct err *e)
{
	struct posting *p = r->state;
	struct batch_check *c = checking_result(p->checking, e);
	int result = c ? append_checked(&p->append, p->partition, c, e) : -1;

	if (result < 0 && e->code == ERR_BACK_PRESSURE)
		return -1;
	checking_free(p->checking);
	p->checking = NULL;
	return result;
}

/* Also 1: a thread checks it; it is the next item again then. */
static int take_batch(struct http_request *r, char *item, size_t n, struct err *e)
{
	struct posting *p = r->state;
	const struct partition *partition;
	struct batch_header h;
	int result;

	if (p->checking)
		return checking_is_done(p->checking) ? take_checked(r, e) : 1;
	partition = append_partition(&p->append, p->partition, e);
	if (!partition || batch_header_read(item, n, &h, e) < 0)
		return -1;
	/* Batches may come as they were read; where they lay means nothing here, and no checksum covers it. */
	put_be64((uint8_t *)item, 0);
	if (n <= checking_loop_bytes(partition, batch_codec(&h))) {
		result = append_batch(&p->append, p->partition, item, n,
			batch_codec(&h) == CODEC_NONE ? 0 : CHECKING_LOOP_RAW_BYTES, e);
		if (result == 0 || e->code != ERR_TOO_LARGE || batch_codec(&h) == CODEC_NONE)
			return result;
		err_clear(e);
	}
	p->checking = checking_new(r, partition, item, n, batch_checked, r, e);
	return p->checking ? 1 : -1;
}

static int take_item(struct http_request *r, char *item, size_t n, struct err *e)
{
	struct posting *p = r->state;

	if (p->shape == SHAPE_BATCH)
		return take_batch(r, item, n, e);
	if (p->shape == SHAPE_NDJSON && is_blank(item, n))
		return 0;
	return take_line(p, item, n, e);
}

static void posting_retry(void *ctx);

/* 0: taken. 1: not now, to be tried again. -1: the request is over. */
static int posting_take(struct http_request *r, char *item, size_t n)
{
	struct posting *p = r->state;
	struct err e = ERR_INIT;
	int64_t now = loop_now_ns(r->server->self->loop);
	int taken = take_item(r, item, n, &e);

	if (taken == 0) {
		p->lines++;
		p->blocked_ns = 0;
		return 0;
	}
	if (taken == 1) {
		http_body_block(r);
		return 1;
	}
	if (e.code == ERR_BACK_PRESSURE && (!p->blocked_ns ||
		now - p->blocked_ns < RETRY_FOR_MS * INT64_C(1000000))) {
		if (!p->blocked_ns)
			p->blocked_ns = now;
		loop_timer_set(r->server->self->loop, &p->retry, RETRY_MS, posting_retry, r);
		http_body_block(r);
		return 1;
	}
	err_prefix(&e, "%s %llu", p->shape == SHAPE_BATCH ? "batch" : "line", (unsigned long long)p->lines + 1);
	p->failure = e;
	p->over = true;
	return -1;
}

/* ---- cutting the body into items ---- */

static int too_large(struct posting *p)
{
	p->over = true;
	err_set(&p->failure, ERR_TOO_LARGE, "%s %llu is larger than %zu bytes",
		p->shape == SHAPE_BATCH ? "batch" : "line",
		(unsigned long long)p->lines + 1, p->item_max);
	return err_hint(&p->failure, "the topic's max.message.bytes is the limit of a record");
}

/* Size of the item that starts at s, its newline included; 0: n bytes do not hold all of it; -1: it cannot
 * be taken. */
static int64_t item_size(struct posting *p, const char *s, size_t n, size_t searched)
{
	int64_t size;
	const char *newline;

	if (p->shape == SHAPE_BATCH) {
		size = batch_size(s, n);
		if (size < 0) {
			p->over = true;
			return err_set(&p->failure, ERR_CORRUPT_BATCH, "batch %llu: its length cannot be",
				(unsigned long long)p->lines + 1);
		}
		if (size > (int64_t)p->item_max)
			return too_large(p);
		return size && (size_t)size <= n ? size : 0;
	}
	newline = memchr(s + searched, '\n', n - searched);
	size = newline ? newline - s + 1 : 0;
	if ((size ? (size_t)size - 1 : n) > p->item_max)
		return too_large(p);
	return size;
}

static size_t item_content(const struct posting *p, size_t size) /* without the newline */
{
	return p->shape == SHAPE_BATCH ? size : size - 1;
}

/* A line may be as long as the topic's largest record, so those of all connections are counted together. */
static void add_partial(struct http_request *r, const char *s, size_t n)
{
	struct posting *p = r->state;

	if (http_body_reserve(r, n, &p->failure) < 0)
		p->over = true;
	else
		buf_add(&p->partial, s, n);
}

static void drop_partial(struct http_request *r)
{
	struct posting *p = r->state;

	http_body_unreserve(r);
	p->partial_whole = false;
	if (p->partial.alloc > PARTIAL_KEPT_BYTES)
		buf_release(&p->partial);
	else
		buf_reset(&p->partial);
}

/* Adds to the front that is there already until the item is whole. Returns bytes used. */
static size_t fill_partial(struct http_request *r, const char *s, size_t n)
{
	struct posting *p = r->state;
	size_t before = p->partial.len, want;
	const char *newline;
	int64_t size;

	if (p->shape == SHAPE_BATCH) {
		size = before < BATCH_LENGTH_OFFSET ? 0 : batch_size(p->partial.data, before);
		want = size > 0 ? (size_t)size - before : BATCH_LENGTH_OFFSET - before;
	} else {
		newline = memchr(s, '\n', n);
		want = newline ? (size_t)(newline - s) + 1 : n;
	}
	if (want > n)
		want = n;
	if (p->partial.len + want > p->item_max + 1) {
		too_large(p);
		return n;
	}
	add_partial(r, s, want);
	if (p->over)
		return n;
	size = item_size(p, p->partial.data, p->partial.len, before);
	p->partial_whole = size > 0;
	return want;
}

static int take_partial(struct http_request *r)
{
	struct posting *p = r->state;
	int result = posting_take(r, p->partial.data, item_content(p, p->partial.len));

	if (result == 1)
		return 1;
	drop_partial(r);
	return result;
}

/* Returns bytes used; stops where the log does not take more. */
static size_t take_items(struct http_request *r, char *s, size_t n)
{
	struct posting *p = r->state;
	size_t done = 0;

	while (done < n && !p->over) {
		int64_t size;

		if (p->partial.len) {
			if (!p->partial_whole)
				done += fill_partial(r, s + done, n - done);
			if (p->partial_whole && take_partial(r) == 1)
				return done;
			continue;
		}
		size = item_size(p, s + done, n - done, 0);
		if (size < 0)
			break;
		if (!size) {
			add_partial(r, s + done, n - done);
			return n;
		}
		if (posting_take(r, s + done, item_content(p, size)) == 1)
			return done;
		done += size;
	}
	return n;
}

/* ---- the request ---- */

static void posting_answer(struct append *a)
{
	struct http_request *r = a->r;
	struct posting *p = r->state;
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	struct series_minute *minute = series_now(&r->server->series, clock_real_ms());

	minute->records += a->records;
	list_for_each(it, &a->parts)
		minute->bytes += list_entry(it, struct append_part, node)->taken.bytes;
	if (p->failure.code == ERR_NONE)
		p->failure = a->failure;
	if (p->failure.code == ERR_NONE) {
		series_latency(minute, clock_mono_ns() - r->begun_ns);
		json_write_open(&out, '{');
		append_describe(a, &out);
		json_write_close(&out, '}');
		http_answer_buf(r, 200, HTTP_JSON, &out);
		return;
	}
	buf_addc(&out, ',');
	append_describe(a, &out);
	if (a->records && !p->failure.hint[0])
		err_hint(&p->failure, "%llu %s taken before this; send the rest again from there",
			(unsigned long long)a->records,
			text_plural((int64_t)a->records, "record was", "records were"));
	http_answer_err_with(r, &p->failure, out.data);
	buf_release(&out);
}

static void posting_end(struct http_request *r)
{
	struct posting *p = r->state;

	if (p->append.finishing)
		return;
	p->over = true;
	loop_timer_cancel(r->server->self->loop, &p->retry);
	loop_timer_cancel(r->server->self->loop, &p->drained);
	append_finish(&p->append);
}

/* The topic may have been deleted since the last turn. */
static bool posting_turn(struct posting *p)
{
	if (p->append.failure.code != ERR_NONE)
		p->over = true;
	if (p->over)
		return false;
	p->topic = append_topic(&p->append, &p->failure);
	p->over = !p->topic;
	return !p->over;
}

static size_t posting_body(struct http_request *r, char *s, size_t n)
{
	struct posting *p = r->state;
	size_t used = n;

	if (posting_turn(p))
		used = take_items(r, s, n);
	append_wait(&p->append);
	arena_release(&p->arena);
	if (p->over)
		posting_end(r);
	return p->over ? n : used;
}

static void posting_retry(void *ctx)
{
	struct http_request *r = ctx;
	struct posting *p = r->state;

	if (p->over)
		return;
	if (posting_turn(p) && p->partial_whole && take_partial(r) == 1)
		return;
	append_wait(&p->append);
	arena_release(&p->arena);
	if (p->over || p->body_ended)
		posting_end(r);
	http_body_resume(r);
}

static void batch_checked(void *ctx)
{
	posting_retry(ctx);
}

static void posting_body_end(struct http_request *r)
{
	struct posting *p = r->state;

	p->body_ended = true;
	if (p->partial.len && posting_turn(p)) {
		if (p->shape == SHAPE_BATCH && !p->partial_whole) {
			err_set(&p->failure, ERR_CORRUPT_BATCH, "batch %llu: the body ends after %zu bytes of it",
				(unsigned long long)p->lines + 1, p->partial.len);
		} else {
			if (!p->partial_whole)
				buf_addc(&p->partial, '\n');
			p->partial_whole = true;
			if (take_partial(r) == 1)
				return; /* posting_retry() comes here again */
		}
	}
	posting_end(r);
}

/* The rest of the body did not come in time: better an answer with what was taken than a connection that is cut. */
static void posting_drained(void *ctx)
{
	struct http_request *r = ctx;
	struct posting *p = r->state;

	if (p->append.finishing)
		return;
	if (p->failure.code == ERR_NONE)
		err_set(&p->failure, ERR_UNAVAILABLE, "the server is stopping, and the body has not ended");
	posting_end(r);
}

static void posting_drain(struct http_request *r)
{
	struct posting *p = r->state;
	int64_t wait_ms = r->server->timeouts.drain - DRAIN_MARGIN_MS;

	if (!p->append.finishing)
		loop_timer_set(r->server->self->loop, &p->drained, wait_ms > 0 ? wait_ms : 0, posting_drained, r);
}

static void posting_body_failed(struct http_request *r, const struct err *e)
{
	struct posting *p = r->state;

	if (p->failure.code == ERR_NONE)
		p->failure = *e;
	posting_end(r);
}

/* A wait is over: if it failed, nothing more is taken. */
static void posting_progress(struct append *a)
{
	struct posting *p = a->r->state;

	if (a->failure.code != ERR_NONE && !p->over)
		posting_end(a->r);
}

static int posting_shape(struct http_request *r, struct posting *p, struct err *e)
{
	struct bytes type = http_field(r, HTTP_CONTENT_TYPE);

	if (http_media_is(type, "application/x-ndjson") || http_media_is(type, "application/jsonl") ||
		http_media_is(type, "application/ndjson"))
		p->shape = SHAPE_NDJSON;
	else if (http_media_is(type, "text/plain"))
		p->shape = SHAPE_TEXT;
	else if (http_media_is(type, "application/vnd.streamhouse.batch"))
		p->shape = SHAPE_BATCH;
	else {
		err_set(e, ERR_UNSUPPORTED_MEDIA, "the Content-Type \"%.*s\" is not one for records",
			(int)(type.len < 100 ? type.len : 100), type.len ? (const char *)type.data : "");
		return err_hint(e, "application/x-ndjson, text/plain or application/vnd.streamhouse.batch; "
			"JSON goes to POST /api/v1/produce or /api/v1/produce/batch");
	}
	return 0;
}

static int posting_begin(struct http_request *r, struct posting *p, struct err *e)
{
	enum durability asked;
	const char *name = r->params[0];
	struct topic *t;

	p->partition = -1;
	if (posting_shape(r, p, e) < 0 || http_query_int(r, "partition", 0, INT32_MAX, &p->partition, e) < 0 ||
		append_durability(http_query(r, "durability"), NULL, &asked, e) < 0)
		return -1;
	if (p->shape == SHAPE_BATCH && p->partition < 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "record batches need ?partition=");
	p->begun = true;
	if (append_begin(&p->append, r, name, strlen(name), asked, posting_answer, e) < 0 ||
		!(t = append_topic(&p->append, e)))
		return -1;
	if (p->partition >= 0 && !log_partition(r->server->log, name, strlen(name), p->partition, e))
		return -1;
	p->item_max = t->config.max_message_bytes;
	if (p->item_max > BATCH_MAX_BYTES)
		p->item_max = BATCH_MAX_BYTES;
	if (p->shape == SHAPE_NDJSON)
		p->item_max = p->item_max * LINE_EXPANSION + LINE_SLACK_BYTES;
	buf_init(&p->partial, p->item_max + CONN_SCRATCH_BYTES);
	return 0;
}

void handle_records_post(struct http_request *r)
{
	struct posting *p = arena_alloc(&r->arena, sizeof(*p));
	struct err e = ERR_INIT;

	r->state = p;
	r->release = posting_release;
	if (posting_begin(r, p, &e) < 0) {
		http_answer_err(r, &e);
		return;
	}
	p->append.progress = posting_progress;
	r->body = posting_body;
	r->body_end = posting_body_end;
	r->body_failed = posting_body_failed;
	r->drain = posting_drain;
	if (r->framing.ended)
		posting_body_end(r);
}
