/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/consume_stream.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "libsh/base/clock.h"

enum {
	BACKOFF_MIN_MS = 100,
	BACKOFF_MAX_MS = 2000,
	PENDING_MAX_BYTES = BATCH_MAX_BYTES + (4 << 20), /* a batch and what libcurl gives at once */
};

void consume_stream_init(struct consume_stream *s, struct api *api, const struct consume_rules *rules,
	const char *topic, int32_t partition)
{
	*s = (struct consume_stream){.api = api,
		.rules = rules,
		.topic = topic,
		.partition = partition,
		.end = -1,
		.backoff_ms = BACKOFF_MIN_MS,
		.alive_ms = clock_mono_ms()};
	buf_init(&s->pending, PENDING_MAX_BYTES);
}

void consume_stream_release(struct consume_stream *s)
{
	if (s->call)
		http_client_cancel(api_http(s->api), s->call);
	buf_release(&s->pending);
	arena_release(&s->arena);
}

/* 0: go on, 1: the stream or all of them are done, -1: s->failure is set */
static int take_record(struct consume_stream *s, const struct record *r)
{
	int result;

	if (r->offset < s->from || r->offset < s->next)
		return 0;
	if ((s->end >= 0 && r->offset >= s->end) || (s->has_end_time && r->timestamp >= s->end_time_ms)) {
		s->done = true;
		return 1;
	}
	result = s->rules->record(s->rules->ctx, s, r, &s->failure);
	if (result == CONSUME_TAKEN || result == CONSUME_LAST)
		s->next = r->offset + 1;
	s->enough = result == CONSUME_LAST || result == CONSUME_REFUSED;
	return result == CONSUME_REFUSED ? 1 : result;
}

static int take_batch(struct consume_stream *s, const void *data, size_t n)
{
	struct batch_header h;
	struct batch_reader *reader = NULL;
	struct record r;
	int result = -1, more;

	if (batch_header_read(data, n, &h, &s->failure) || batch_check_crc(data, n, &s->failure))
		goto out;
	if (h.attributes & BATCH_CONTROL) {
		result = 0;
		goto out;
	}
	reader = batch_reader_new(data, n, 0, &s->failure);
	if (!reader)
		goto out;
	result = 0;
	while (!result && (more = batch_reader_next(reader, &r, &s->failure)) != 0)
		result = more < 0 ? -1 : take_record(s, &r);
out:
	batch_reader_free(reader);
	if (result < 0 && s->failure.code == ERR_CORRUPT_BATCH)
		err_prefix(&s->failure, "%s/%d at offset %lld", s->topic, s->partition, (long long)s->next);
	if (!result && batch_last_offset(&h) >= s->next)
		s->next = batch_last_offset(&h) + 1;
	return result;
}

/* Whole batches from the front; returns bytes used, -1 when it is over. */
static ptrdiff_t take_batches(struct consume_stream *s, const char *p, size_t n)
{
	size_t used = 0;

	for (;;) {
		int64_t size = batch_size(p + used, n - used);

		if (size < 0 || size > BATCH_MAX_BYTES) {
			err_set(&s->failure, ERR_CORRUPT_BATCH,
				"%s/%d at offset %lld: what the server sent is no record batch", s->topic,
				s->partition, (long long)s->next);
			return -1;
		}
		if (!size || (size_t)size > n - used)
			return (ptrdiff_t)used;
		if (take_batch(s, p + used, (size_t)size))
			return -1;
		used += (size_t)size;
	}
}

static int on_data(void *ctx, const void *p, size_t n)
{
	struct consume_stream *s = ctx;
	ptrdiff_t used;

	s->alive_ms = clock_mono_ms();
	s->backoff_ms = BACKOFF_MIN_MS;
	if (s->pending.len) {
		if (buf_add(&s->pending, p, n))
			return -1;
		used = take_batches(s, s->pending.data, s->pending.len);
		if (used > 0)
			buf_consume(&s->pending, (size_t)used);
		return used < 0 ? -1 : 0;
	}
	used = take_batches(s, p, n);
	if (used < 0)
		return -1;
	return buf_add(&s->pending, (const char *)p + used, n - (size_t)used);
}

/* Where to go on when batches alone do not tell, as behind a gap. It comes in the head or as a trailer. */
static void on_field(void *ctx, const char *line, size_t n)
{
	static const char name[] = "x-next-offset:";
	struct consume_stream *s = ctx;
	char text[32];

	if (n <= sizeof(name) - 1 || n - (sizeof(name) - 1) >= sizeof(text) ||
		strncasecmp(line, name, sizeof(name) - 1))
		return;
	memcpy(text, line + sizeof(name) - 1, n - (sizeof(name) - 1));
	text[n - (sizeof(name) - 1)] = '\0';
	s->told_next = strtoll(text, NULL, 10);
}

static bool may_pass(const struct err *e)
{
	return e->code == ERR_UNAVAILABLE || e->code == ERR_CONNECT || e->code == ERR_REQUEST_TIMEOUT ||
	       e->code == ERR_NOT_OWNER || e->code == ERR_BACK_PRESSURE || e->code == ERR_FENCED;
}

static void on_done(void *ctx, struct http_call_answer *answer, const struct err *e)
{
	struct consume_stream *s = ctx;
	int64_t now = clock_mono_ms();

	s->call = NULL;
	buf_reset(&s->pending);
	s->rules->fetched(s->rules->ctx);
	if (e->code == ERR_NONE && !s->done && !s->enough && s->told_next > s->next)
		s->next = s->told_next;
	if (s->end >= 0 && s->next >= s->end)
		s->done = true;
	if (s->done || s->enough || s->failure.code != ERR_NONE)
		return;
	if (e->code == ERR_NONE) {
		s->alive_ms = now;
		s->backoff_ms = BACKOFF_MIN_MS;
		return;
	}
	if (e->code == ERR_OFFSET_OUT_OF_RANGE && !s->lost) {
		s->lost = true;
		return;
	}
	if (!may_pass(e) || now - s->alive_ms + s->backoff_ms > s->rules->timeout_ms) {
		s->failure = *e;
		return;
	}
	s->retry_ms = now + (answer->retry_after_ms > s->backoff_ms ? answer->retry_after_ms : s->backoff_ms);
	s->backoff_ms = s->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : s->backoff_ms * 2;
}

/* The offset is outside the log: go on where it begins, and say what is missing. */
static int find_start(struct consume_stream *s)
{
	struct arena m = ARENA_INIT;
	struct api_partition *partitions;
	size_t count;
	int result = api_partitions(s->api, s->topic, &m, &partitions, &count, &s->failure);

	for (size_t i = 0; !result && i < count; i++) {
		if (partitions[i].id != s->partition)
			continue;
		if (s->next < partitions[i].low_watermark) {
			s->rules->gap(s->rules->ctx, s, s->next, partitions[i].low_watermark);
			s->next = partitions[i].low_watermark;
			s->lost = false;
		} else if (s->next <= partitions[i].high_watermark) {
			s->lost = false;
		} else {
			result = err_set(&s->failure, ERR_OFFSET_OUT_OF_RANGE,
				"%s/%d has lost records: it ends at %lld now, before %lld", s->topic,
				s->partition, (long long)partitions[i].high_watermark, (long long)s->next);
		}
	}
	arena_release(&m);
	return result;
}

void consume_stream_start(struct consume_stream *s, int64_t now_ms)
{
	struct api_fetch fetch = {.topic = s->topic, .partition = s->partition, .end = s->end,
		.wait_ms = s->rules->wait_ms, .max_records = s->rules->max_records};
	struct http_call_request q = {.method = "GET",
		.accept = API_BATCH_TYPE,
		.data = on_data,
		.field = on_field,
		.ctx = s,
		.silence_ms = s->rules->wait_ms + s->rules->timeout_ms,
		.reads_only = true};

	if (s->call || s->done || s->failure.code != ERR_NONE || now_ms < s->retry_ms)
		return;
	if (s->end >= 0 && s->next >= s->end) {
		s->done = true;
		return;
	}
	if (s->lost && find_start(s))
		return;
	arena_release(&s->arena);
	fetch.offset = s->next;
	s->told_next = -1;
	q.path = api_fetch_path(&fetch, &s->arena);
	s->call = http_client_start(api_http(s->api), &q, on_done, s);
}
