/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Into the log. A batch is checked, gets its offset and epoch stamped and is staged in the WAL. Single records gather in an
 * open batch of their partition until the turn of the loop ends.
 */
#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/log.h"

enum { OPEN_BATCH_BYTES = 1 << 20, KEPT_BYTES = 16 << 10, MARK_AFTER_MS = 1000 };

int log_may_append(struct log *l, size_t n, struct err *e)
{
	if (l->state == LOG_STARTING)
		return err_set(e, ERR_UNAVAILABLE, "this agent is still starting");
	if (l->state == LOG_DRAINING)
		return err_set(e, ERR_UNAVAILABLE, "this agent is stopping");
	if (l->state == LOG_FAILED) {
		err_set(e, ERR_WAL_FAILED, "this agent takes no data: %s", l->problem);
		return err_hint(e, "see streamhouse-recovery(7)");
	}
	if (!session_lease_holds(l)) {
		err_set(e, ERR_FENCED, "this agent's lease ran out: the metadata cannot be reached");
		return err_hint(e, "it is renewed as soon as the meta process answers; try again");
	}
	if (wal_may_append(l->wal, n, e) < 0) {
		if (e && e->code == ERR_BACK_PRESSURE)
			flush_explain(l, e);
		flush_check(l);
		return -1;
	}
	if (l->index_bytes + 64 > (uint64_t)settings_number(l->self->settings, "wal.index_max_bytes")) {
		err_set(e, ERR_BACK_PRESSURE, "too many small batches wait for a segment (wal.index_max_bytes)");
		if (e)
			flush_explain(l, e);
		flush_check(l);
		return -1;
	}
	return 0;
}

static int append_check(struct log *l, struct partition *p, size_t n, struct err *e)
{
	if (p->topic->deleted)
		return err_set(e, ERR_TOPIC_NOT_FOUND, "topic \"%s\" was deleted", p->topic->name);
	if (p->damage) {
		err_set(e, ERR_PARTITION_DAMAGED, "partition %s-%u takes no data: %s", p->topic->name, p->number, p->damage);
		return err_hint(e, "see streamhouse-recovery(7)");
	}
	return log_may_append(l, n, e);
}

static void append_mark(void *ctx)
{
	struct log *l = ctx;
	struct wal_entry mark = {.type = WAL_SYNC_MARK};

	if (l->state != LOG_SERVING || wal_failed(l->wal) || wal_synced_lsn(l->wal) != wal_end_lsn(l->wal) ||
		l->marked_lsn == wal_end_lsn(l->wal))
		return;
	wal_append(l->wal, &mark, NULL);
	l->marked_lsn = wal_end_lsn(l->wal);
}

/* Stage one finished batch: from here on it has its offsets. */
static void append_entry(struct log *l, struct partition *p, const void *batch, size_t n, const struct batch_header *h)
{
	int64_t gap_start = p->private_->gap_start;
	struct wal_entry entry = {.topic = p->topic->id, .partition = p->number, .epoch = p->epoch, .length = (uint32_t)n,
		.previous_end = gap_start >= 0 ? gap_start : p->end, .append_ms = clock_real_ms(), .type = WAL_BATCH};
	uint64_t lsn = wal_append(l->wal, &entry, batch);

	p->private_->gap_start = -1;
	tail_add(l, p, lsn, p->end);
	p->end += h->last_offset_delta + 1;
	p->records += (uint64_t)h->record_count;
	p->bytes += n;
	unsynced_push(l, p, lsn + wal_entry_space((uint32_t)n), p->end);
	l->numbers.appended_batches++;
	l->numbers.appended_bytes += n;
	l->numbers.appended_records += (uint64_t)h->record_count;
	flush_note(l, p);
	loop_timer_set(l->loop, &l->mark_timer, MARK_AFTER_MS, append_mark, l);
}

/* The topic says how its batches are compressed, and this one is not so. */
static int check_recompress(struct batch_check *c, struct err *e)
{
	struct buf rewritten = BUF_INIT(BATCH_MAX_BYTES); /* stays empty: a writer leaves no gaps */
	struct batch_reader *reader = batch_reader_new(c->batch, c->n, BATCH_MAX_RAW_BYTES, e);
	struct batch_writer writer;
	struct record r;
	int more = -1;

	batch_writer_init(&writer, c->codec, BATCH_MAX_RAW_BYTES);
	writer.producer_id = c->header.producer_id;
	writer.producer_epoch = c->header.producer_epoch;
	writer.base_sequence = c->header.base_sequence;
	if (!reader)
		goto out;
	while ((more = batch_reader_next(reader, &r, e)) > 0)
		if (batch_writer_add(&writer, &r, e) < 0) {
			more = -1;
			break;
		}
	if (more == 0)
		more = batch_writer_finish(&writer, &c->recompressed, e);
	if (more == 0) /* LogAppendTime and the size limit hold for the new bytes, too */
		more = batch_validate(c->recompressed.data, c->recompressed.len, &c->rules, &c->header, &rewritten, e);
	if (more < 0)
		err_prefix(e, "compressed as the topic wants");
	c->batch = c->recompressed.data;
	c->n = c->recompressed.len;
out:
	buf_release(&rewritten);
	batch_reader_free(reader);
	batch_writer_release(&writer);
	return more;
}

void log_check_begin(struct batch_check *c, const struct partition *p, void *batch, size_t n, size_t max_raw_bytes)
{
	const struct topic_config *config = &p->topic->config;

	*c = (struct batch_check){.batch = batch, .n = n, .fixed = config->compression_fixed, .codec = config->compression};
	c->rules = (struct batch_rules){.max_bytes = (size_t)config->max_message_bytes, .max_raw_bytes = max_raw_bytes,
		.require_keys = config->compact, .log_append_time = config->log_append_time, .now_ms = clock_real_ms(),
		.max_before_ms = config->timestamp_before_ms, .max_after_ms = config->timestamp_after_ms};
	buf_init(&c->rewritten, BATCH_MAX_BYTES);
	buf_init(&c->recompressed, BATCH_MAX_RAW_BYTES);
}

int log_check_run(struct batch_check *c, struct err *e)
{
	if (batch_validate(c->batch, c->n, &c->rules, &c->header, &c->rewritten, e) < 0)
		return -1;
	if (c->rewritten.len) {
		c->batch = c->rewritten.data;
		c->n = c->rewritten.len;
	}
	return c->fixed && batch_codec(&c->header) != c->codec ? check_recompress(c, e) : 0;
}

void log_check_release(struct batch_check *c)
{
	buf_release(&c->rewritten);
	buf_release(&c->recompressed);
}

int log_append_checked(struct log *l, struct partition *p, struct batch_check *c, int64_t *base_offset, int64_t *last_offset, struct err *e)
{
	const struct batch_header *h = &c->header;

	if (append_check(l, p, c->n, e) < 0)
		return -1;
	append_seal(l, p);
	if (producers_check(l, p, h, base_offset, last_offset, e) != 0)
		return *last_offset >= 0 ? 0 : -1; /* a retry of what is there already, or an error */
	batch_stamp(c->batch, p->end, (int32_t)p->epoch);
	*base_offset = p->end;
	*last_offset = p->end + h->last_offset_delta;
	producers_note(l, p, h, p->end);
	append_entry(l, p, c->batch, c->n, h);
	return 0;
}

void append_discard(struct log *l, struct partition *p)
{
	struct partition_private *pp = p->private_;

	(void)l;
	list_remove(&pp->open_node);
	if (pp->open) {
		batch_writer_release(pp->open);
		mem_free(pp->open);
		pp->open = NULL;
	}
}

void append_seal(struct log *l, struct partition *p)
{
	struct batch_writer *w = p->private_->open;
	struct batch_header h;
	struct err e = ERR_INIT;

	list_remove(&p->private_->open_node);
	if (!w || !w->count)
		return;
	buf_reset(&l->scratch);
	/* Neither can fail: every record was checked against its limits when it was added. */
	if (batch_writer_finish(w, &l->scratch, &e) < 0 || batch_header_read(l->scratch.data, l->scratch.len, &h, &e) < 0)
		fatalx("a batch of checked records does not hold together: %s", e.text);
	batch_stamp(l->scratch.data, p->end, (int32_t)p->epoch);
	append_entry(l, p, l->scratch.data, l->scratch.len, &h);
	if (w->records.alloc > KEPT_BYTES) /* or thousands of partitions would each keep their largest buffer */
		append_discard(l, p);
}

void append_seal_all(void *ctx)
{
	struct log *l = ctx;

	while (!list_empty(&l->open_partitions)) {
		struct partition_private *pp = list_first(&l->open_partitions, struct partition_private, open_node);

		append_seal(l, pp->owner);
	}
}

static struct batch_writer *append_open(struct log *l, struct partition *p)
{
	struct partition_private *pp = p->private_;
	const struct topic_config *c = &p->topic->config;

	if (!pp->open) {
		pp->open = mem_zalloc(sizeof(*pp->open));
		batch_writer_init(pp->open, c->compression_fixed ? c->compression : CODEC_NONE, BATCH_MAX_BYTES);
	}
	if (!pp->open->count) /* a writer that was kept: the topic may say something else by now */
		pp->open->codec = c->compression_fixed ? c->compression : CODEC_NONE;
	if (!list_linked(&pp->open_node))
		list_push(&l->open_partitions, &pp->open_node);
	loop_at_turn_end(l->loop, &l->seal, append_seal_all, l);
	return pp->open;
}

/* later - earlier is above the limit; INT64_MAX is none. The difference of two timestamps may not fit. */
static bool is_further(int64_t later, int64_t earlier, int64_t limit)
{
	int64_t difference;

	if (__builtin_sub_overflow(later, earlier, &difference))
		return later > earlier && limit < INT64_MAX;
	return difference > limit;
}

static int append_check_record(const struct topic_config *c, const struct record *r, int64_t now_ms, struct err *e)
{
	size_t size = BATCH_HEADER_BYTES + record_max_size(r);

	if (size > (size_t)c->max_message_bytes)
		return err_set(e, ERR_TOO_LARGE, "a record of up to %zu bytes is above the topic's max.message.bytes=%lld", size,
			(long long)c->max_message_bytes);
	if (c->compact && !r->key.data)
		return err_set(e, ERR_INVALID_RECORD, "a compacted topic takes no record without a key");
	if (!c->log_append_time && (is_further(now_ms, r->timestamp, c->timestamp_before_ms) ||
		is_further(r->timestamp, now_ms, c->timestamp_after_ms)))
		return err_set(e, ERR_INVALID_TIMESTAMP, "timestamp %lld is further from the present than the topic allows",
			(long long)r->timestamp);
	return 0;
}

int log_append_record(struct log *l, struct partition *p, const struct record *record, int64_t *offset, int64_t *timestamp, struct err *e)
{
	const struct topic_config *c = &p->topic->config;
	int64_t now_ms = clock_real_ms();
	struct record r = *record;
	struct batch_writer *w = p->private_->open;
	size_t size = record_max_size(&r);

	if (r.timestamp == -1 || c->log_append_time)
		r.timestamp = now_ms;
	if (append_check_record(c, &r, now_ms, e) < 0)
		return -1;
	if (append_check(l, p, size + BATCH_HEADER_BYTES + (w && w->count ? batch_writer_size(w) : 0), e) < 0)
		return -1;
	if (w && w->count && batch_writer_size(w) + size > (size_t)(c->max_message_bytes < OPEN_BATCH_BYTES ? c->max_message_bytes : OPEN_BATCH_BYTES))
		append_seal(l, p);
	w = append_open(l, p);
	if (batch_writer_add(w, &r, e) < 0)
		return -1;
	*offset = p->end + w->count - 1;
	*timestamp = r.timestamp;
	return 0;
}

int log_check_durability(struct log *l, struct partition *p, enum durability asked, struct err *e)
{
	if (asked != DURABILITY_WAL || p->topic->config.durability == DURABILITY_OBJECT ||
		settings_wal_sync(l->self->settings, NULL) != WAL_SYNC_NEVER)
		return 0;
	err_set(e, ERR_INVALID_ARGUMENT, "durability \"wal\" cannot be had: shd runs with wal.sync=never");
	return err_hint(e, "ask for \"object\" or \"none\", or set wal.sync=always");
}
