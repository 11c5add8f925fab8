/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Offset by timestamp, exact to the record: meta names the first run that can hold it, fetches that pass over blocks and batches with
 * lower maximum timestamps find the batch, and its records are looked at one by one.
 */
#include "daemon/agent/log/log_private.h"
#include "libsh/base/plant.h"

enum { SEEK_BYTES = 1 << 20 };

struct log_seek {
	struct log *log;
	struct partition *partition;
	int64_t timestamp_ms;
	log_seek_fn *done;
	void *ctx;
	struct peer_call_handle *call;
	struct log_fetch fetch;
	bool fetching;
	struct timer again;
};

static void seek_fetch(void *seek);

static void seek_end(struct log_seek *s, int64_t offset, int64_t timestamp_ms, const struct err *e)
{
	log_seek_fn *done = s->done;
	void *ctx = s->ctx;
	struct err copy = ERR_INIT;

	if (e)
		copy = *e;
	buf_release(&s->fetch.batches);
	topic_unref(s->partition->topic);
	mem_free(s);
	done(ctx, offset, timestamp_ms, e ? &copy : NULL);
}

/* 1: found in this batch; 0: not here; -1: damage. */
static int seek_batch(struct log_seek *s, const void *batch, size_t n, int64_t *offset, int64_t *timestamp_ms, struct err *e)
{
	struct batch_reader *reader = batch_reader_new(batch, n, BATCH_MAX_RAW_BYTES, e);
	struct record r;
	int more = -1;

	if (!reader)
		return -1;
	while ((more = batch_reader_next(reader, &r, e)) > 0)
		if ((r.timestamp >= s->timestamp_ms || PLANTED(seek_to_batch)) && r.offset >= s->partition->log_start) {
			*offset = r.offset;
			*timestamp_ms = r.timestamp;
			break;
		}
	batch_reader_free(reader);
	return more;
}

static void seek_fetched(struct log_fetch *f, const struct err *fetch_error)
{
	struct log_seek *s = container_of(f, struct log_seek, fetch);
	struct err e = ERR_INIT;
	int64_t offset = -1, timestamp_ms = -1;
	int found = 0;

	s->fetching = false;
	if (fetch_error && fetch_error->code == ERR_OFFSET_OUT_OF_RANGE && f->offset < s->partition->log_start) {
		f->offset = s->partition->log_start; /* it expired under us */
		seek_fetch(s);
		return;
	}
	if (fetch_error) {
		seek_end(s, -1, -1, fetch_error);
		return;
	}
	for (size_t at = 0; at < f->batches.len && found == 0;) {
		int64_t n = batch_size(f->batches.data + at, f->batches.len - at);

		found = seek_batch(s, f->batches.data + at, (size_t)n, &offset, &timestamp_ms, &e);
		at += (size_t)n;
	}
	if (found != 0) {
		seek_end(s, offset, timestamp_ms, found < 0 ? &e : NULL);
	} else if (f->next_offset >= partition_high_watermark(s->partition) || f->next_offset == f->offset) {
		seek_end(s, -1, -1, NULL);
	} else {
		f->offset = f->next_offset;
		loop_timer_set(s->log->loop, &s->again, 0, seek_fetch, s); /* a long tail is read between other work */
	}
}

static void seek_fetch(void *seek)
{
	struct log_seek *s = seek;

	s->fetch.limit = INT64_MAX;
	s->fetch.max_bytes = SEEK_BYTES;
	s->fetch.skip_below_ms = s->timestamp_ms;
	s->fetch.done = seek_fetched;
	s->fetching = true;
	log_fetch(s->log, &s->fetch, s->partition);
}

static void seek_run_found(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_run_found *m = reply;
	struct log_seek *s = ctx;
	struct arena a = ARENA_INIT;
	struct segment_run *runs = NULL;
	struct err bad = ERR_INIT;
	size_t count = 0;

	(void)message;
	s->call = NULL;
	if (!e && m->found && segment_runs_decode(m->run.data, m->run.len, &a, &runs, &count, &bad) < 0)
		e = &bad;
	if (e) {
		seek_end(s, -1, -1, e);
	} else {
		s->fetch.offset = m->found && count ? runs[0].first_offset : s->partition->flushed_end;
		if (s->fetch.offset < s->partition->log_start)
			s->fetch.offset = s->partition->log_start;
		seek_fetch(s);
	}
	arena_release(&a);
}

struct log_seek *log_seek(struct log *l, struct partition *p, int64_t timestamp_ms, log_seek_fn *done, void *ctx)
{
	struct log_seek *s = mem_zalloc(sizeof(*s));
	struct msg_run_find m = {.topic = p->topic->id, .partition = p->number, .by_timestamp = 1, .value = timestamp_ms,
		.from_offset = p->log_start};

	s->log = l;
	s->partition = p;
	s->timestamp_ms = timestamp_ms;
	s->done = done;
	s->ctx = ctx;
	topic_ref(p->topic);
	s->call = peer_call(l->self, ROLE_META, 0, MSG_RUN_FIND, &m, NULL, 0, META_TIMEOUT_MS, seek_run_found, s);
	return s;
}

void log_seek_cancel(struct log_seek *s)
{
	if (!s)
		return;
	if (s->call)
		peer_cancel(s->call);
	if (s->fetching)
		log_fetch_cancel(&s->fetch);
	loop_timer_cancel(s->log->loop, &s->again);
	buf_release(&s->fetch.batches);
	topic_unref(s->partition->topic);
	mem_free(s);
}
