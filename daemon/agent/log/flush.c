/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the WAL to segments. A range of the WAL is cut, built by the store process, committed by the meta process; when all
 * ranges of a file are committed the file is recycled. Several ranges are built at once, commits go in order.
 *
 *   WAITING -> BUILDING -> BUILT -> COMMITTING -> gone
 *
 * Whatever fails on the way is tried again after a pause; the data stays in the WAL until the commit was answered.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"
#include "libsh/format/segment.h"
#include "libsh/store/meta.h"

enum { RETRY_FIRST_MS = 100, RETRY_LAST_MS = 10000, SLOW_MS = 5000 };

static void range_build(void *range);
static void range_commit_next(struct log *l);
static void range_commit_retry(void *log);
static void flush_timer_fired(void *log);

static void flush_touch(struct log *l, struct partition *p)
{
	if (!l->oldest_ns)
		l->oldest_ns = loop_now_ns(l->loop);
	if (p->private_->range_seen == l->range_number)
		return;
	p->private_->range_seen = l->range_number;
	if (l->touched_count == l->touched_size) {
		l->touched_size = l->touched_size ? l->touched_size * 2 : 16;
		l->touched = mem_realloc_array(l->touched, l->touched_size, sizeof(*l->touched));
	}
	l->touched[l->touched_count++] = p;
}

void flush_note(struct log *l, struct partition *p)
{
	bool first = !l->touched_count;

	flush_touch(l, p);
	if (first) /* sets the timer, since nothing else may come for a long time */
		flush_check(l);
}

static void range_free(struct range *r)
{
	loop_timer_cancel(r->log->loop, &r->retry);
	list_remove(&r->node);
	mem_free(r->partitions);
	mem_free(r->object);
	mem_free(r->runs);
	mem_free(r->verdicts);
	mem_free(r);
}

static void range_new(struct log *l, uint64_t first_lsn, uint64_t end_lsn, struct partition **partitions, size_t count)
{
	struct range *r = mem_zalloc(sizeof(*r));

	r->log = l;
	r->number = l->range_number - 1; /* flush_cut() has moved on */
	r->first_lsn = first_lsn;
	r->end_lsn = end_lsn;
	r->begun_ns = loop_now_ns(l->loop);
	r->partitions = partitions;
	r->partition_count = count;
	list_push(&l->ranges, &r->node);
	range_build(r);
}

/* Everything from range_start_lsn up to end_lsn becomes a range; both lie in one file. */
void flush_cut(struct log *l, uint64_t end_lsn)
{
	struct partition **touched = l->touched;
	size_t count = l->touched_count;
	uint64_t first = l->range_start_lsn;

	l->touched = NULL;
	l->touched_count = l->touched_size = 0;
	l->range_number++;
	l->range_start_lsn = end_lsn;
	l->oldest_ns = 0;
	for (size_t i = 0; i < count; i++) {
		const struct tail *t = &touched[i]->private_->tail;

		if (t->count && tail_at(t, t->count - 1)->lsn >= end_lsn)
			flush_touch(l, touched[i]); /* no flush_check(): this range is not made yet */
	}
	if (l->object_wanted_lsn <= end_lsn)
		l->object_wanted_lsn = 0;
	if (count)
		range_new(l, first, end_lsn, touched, count);
	else
		mem_free(touched);
}

void flush_wanted(struct log *l, struct partition *p)
{
	append_seal(l, p);
	if (l->object_wanted_lsn <= l->range_start_lsn)
		l->object_wanted_ns = loop_now_ns(l->loop);
	l->object_wanted_lsn = wal_end_lsn(l->wal);
	flush_check(l);
}

static size_t flush_under_way(const struct log *l)
{
	size_t count = 0;

	list_for_each(n, &l->ranges)
		count++;
	return count;
}

/* When the open range is due, in loop time; 0: now. */
static int64_t flush_due(const struct log *l, uint64_t pending)
{
	const struct settings *s = l->self->settings;
	uint64_t index_max = (uint64_t)settings_number(s, "wal.index_max_bytes");
	uint64_t wal_max = (uint64_t)settings_number(s, "wal.max_bytes");
	struct wal_numbers n;
	int64_t due = INT64_MAX, wanted;

	wal_get_numbers(l->wal, &n);
	if (pending >= (uint64_t)settings_number(s, "segment.max_bytes") || l->index_bytes > index_max / 2 ||
		(n.files + 1) * (uint64_t)WAL_FILE_BYTES > wal_max || l->state == LOG_FAILED)
		return 0;
	if (l->oldest_ns)
		due = l->oldest_ns + settings_number(s, "segment.max_age") * 1000000;
	if (l->object_wanted_lsn > l->range_start_lsn) {
		wanted = l->object_wanted_ns + settings_number(s, "object.flush_interval") * 1000000;
		if (pending >= (uint64_t)settings_number(s, "object.flush_bytes"))
			return 0;
		due = wanted < due ? wanted : due;
	}
	return due;
}

/* Leave behind a file that has no more to give: its last range goes out, the next begins in its successor. */
static bool flush_finish_file(struct log *l)
{
	const struct wal_file *f = wal_find(l->wal, l->range_start_lsn);
	const struct wal_file *next = f ? wal_next(l->wal, f) : NULL;

	if (f && l->range_start_lsn < f->base_lsn + WAL_HEADER_BYTES) /* the file before was full to its last byte */
		l->range_start_lsn = f->base_lsn + WAL_HEADER_BYTES;
	if (!next || wal_synced_lsn(l->wal) < f->end_lsn)
		return false;
	if (f->end_lsn > l->range_start_lsn) {
		if (flush_under_way(l) >= RANGES_MAX)
			return false;
		flush_cut(l, f->end_lsn);
	}
	l->range_start_lsn = next->base_lsn + WAL_HEADER_BYTES;
	return true;
}

void flush_check(struct log *l)
{
	uint64_t synced, end, pending;
	bool always;
	int64_t due, now = loop_now_ns(l->loop);

	if (l->state == LOG_STARTING || !l->range_start_lsn)
		return;
	flush_recycle(l); /* if it could not be done before */
	while (flush_finish_file(l))
		;
	synced = wal_synced_lsn(l->wal);
	end = wal_end_lsn(l->wal);
	if (end <= l->range_start_lsn || !l->touched_count)
		return;
	always = settings_wal_sync(l->self->settings, NULL) == WAL_SYNC_ALWAYS;
	pending = always ? synced : end; /* else a sync comes when it is due, or never */
	due = flush_due(l, pending > l->range_start_lsn ? pending - l->range_start_lsn : 0);
	if (due > now) {
		if (due != INT64_MAX)
			loop_timer_set(l->loop, &l->flush_timer, (due - now) / 1000000 + 1, flush_timer_fired, l);
		return;
	}
	if (synced < end && !always)
		wal_sync(l->wal);
	if (synced > l->range_start_lsn && wal_find(l->wal, l->range_start_lsn) == wal_find(l->wal, synced - 1) &&
		flush_under_way(l) < RANGES_MAX)
		flush_cut(l, synced);
}

static void flush_timer_fired(void *ctx)
{
	flush_check(ctx);
}

void flush_recycle(struct log *l)
{
	struct range *r = list_first(&l->ranges, struct range, node);
	uint64_t done = r && !PLANTED(recycle_before_commit) ? r->first_lsn : l->range_start_lsn;
	struct wal_file *f;

	while (l->state != LOG_STARTING && (f = wal_oldest(l->wal)) && wal_is_left(l->wal, f) && f->end_lsn <= done) {
		if (session_remember(l) < 0) /* tried again later */
			return;
		wal_recycle(l->wal, f);
	}
}

bool flush_idle(const struct log *l)
{
	return list_empty(&l->ranges);
}

void flush_release(struct log *l)
{
	while (!list_empty(&l->ranges))
		range_free(list_first(&l->ranges, struct range, node));
	mem_free(l->touched);
}

/* ---- what is wrong ---- */

int64_t flush_age_ms(const struct log *l)
{
	const struct range *r = list_first(&l->ranges, struct range, node);

	return r ? (loop_now_ns(l->loop) - r->begun_ns) / 1000000 : 0;
}

void flush_explain(const struct log *l, struct err *e)
{
	struct err full = *e;
	char since[CLOCK_RFC3339_BYTES];

	if (l->flush_error.code) {
		err_set(e, full.code, "%.120s; segments cannot be written since %s: %s", full.text,
			clock_format_rfc3339(l->flush_error_since_ms, since), l->flush_error.text);
		err_hint(e, "this has to be mended first, then writing goes on by itself; streamctl status says more");
	} else if (flush_age_ms(l) > SLOW_MS) {
		err_set(e, full.code, "%.120s; a segment has been on its way to the object store for %lld s", full.text,
			(long long)flush_age_ms(l) / 1000);
		err_hint(e, "streamctl status says whether the object store fails");
	}
}

/* ---- building ---- */

/* Counts and tells; returns the pause before the next try. */
static int64_t range_failed(struct range *r, const struct err *e, const char *what)
{
	int64_t pause = RETRY_FIRST_MS << (r->tries < 7 ? r->tries : 7);
	struct log *l = r->log;

	if (!l->flush_error.code)
		l->flush_error_since_ms = clock_real_ms();
	err_set(&l->flush_error, e->code, "%s failed: %.250s", what, e->text);
	r->tries++;
	if (r->tries <= 3 || r->tries % 10 == 0)
		log_warn("%s of WAL range 0x%llx-0x%llx failed (try %u): %s", what, (unsigned long long)r->first_lsn,
			(unsigned long long)r->end_lsn, r->tries, e->text);
	return pause < RETRY_LAST_MS ? pause : RETRY_LAST_MS;
}

static void range_again(struct range *r, const struct err *e, const char *what)
{
	mem_free(r->object);
	mem_free(r->runs);
	r->object = NULL;
	r->runs = NULL;
	r->refusals = 0;
	r->state = RANGE_WAITING;
	loop_timer_set(r->log->loop, &r->retry, range_failed(r, e, what), range_build, r);
}

static void range_commit_later(struct range *r, const struct err *e)
{
	r->refusals = 0;
	r->state = RANGE_BUILT;
	loop_timer_set(r->log->loop, &r->retry, range_failed(r, e, "committing the segment"), range_commit_retry, r->log);
}

static void range_built(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_segment_built *m = reply;
	struct range *r = ctx;

	(void)message;
	if (e) {
		range_again(r, e, "building a segment");
		return;
	}
	crash_point("flush.built");
	r->state = RANGE_BUILT;
	r->bytes = m->bytes;
	r->crc = m->crc;
	if (m->bytes) {
		r->object = mem_strdup(m->object);
		r->runs = mem_dup(m->runs.data, m->runs.len);
		r->runs_bytes = m->runs.len;
		r->log->numbers.segments_built++;
	}
	range_commit_next(r->log);
}

static int compare_partitions(const void *a, const void *b)
{
	const struct partition *x = *(struct partition *const *)a, *y = *(struct partition *const *)b;
	int order = uuid_compare(&x->topic->id, &y->topic->id);

	return order ? order : (x->number > y->number) - (x->number < y->number);
}

static void range_sources(struct range *r, struct buf *out)
{
	qsort(r->partitions, r->partition_count, sizeof(*r->partitions), compare_partitions);
	for (size_t i = 0; i < r->partition_count; i++) {
		const struct partition *p = r->partitions[i];
		struct msg_source_row row = {.topic = p->topic->id, .name = p->topic->name, .partition = p->number,
			.first_offset = p->flushed_end, .end_offset = p->damage ? p->end : INT64_MAX};

		/* A source left out would be a run left out, and its WAL recycled. */
		if (!p->topic->deleted && pack_row_write(out, msg_source_row_fields, &row) < 0)
			fatalx("the names of %zu partitions do not fit into a message", r->partition_count);
	}
}

static void range_build(void *ctx)
{
	struct range *r = ctx;
	struct log *l = r->log;
	const struct wal_file *f = wal_find(l->wal, r->first_lsn);
	struct buf sources = BUF_INIT(CHAN_MAX_BYTES / 2);
	struct err e = ERR_INIT;
	int fd = disk_open(f->path, O_RDONLY, 0, &e);

	if (fd < 0) {
		range_again(r, &e, "opening the file");
		return;
	}
	range_sources(r, &sources);
	struct msg_segment_build m = {.session = l->session, .slot = l->slot, .slot_id = l->slot_id, .generation = f->generation,
		.first_lsn = r->first_lsn, .end_lsn = r->end_lsn, .sources = {(uint8_t *)sources.data, sources.len}};

	r->state = RANGE_BUILDING;
	peer_call(l->self, ROLE_STORE, 0, MSG_SEGMENT_BUILD, &m, &fd, 1, BUILD_TIMEOUT_MS, range_built, r);
	fd_close(&fd);
	buf_release(&sources);
	crash_point("flush.asked");
}

/* ---- committing ---- */

/* -1: its batches are not all in quarantine yet, so their WAL file must stay. */
static int run_refused(struct log *l, struct range *r, struct partition *p, const struct segment_run *run, int verdict, struct err *why_not)
{
	struct err e = ERR_INIT;
	char *why = mem_printf("the metadata refused its offsets %lld to %lld (%s); its unflushed batches are in %s",
		(long long)run->first_offset, (long long)run->end_offset,
		verdict == META_REFUSED_GAP ? "they do not follow what is committed" : "another agent owns it", l->quarantine_dir);
	bool kept = quarantine_range(l, r, p, run->first_offset, why_not) == 0;

	quarantine_mark(l, p, why, p->end); /* nothing more is acknowledged that would be refused as well */
	kept = kept && quarantine_keep_mark(l, p, why_not) == 0;
	mem_free(why);
	if (!kept)
		return -1;
	l->numbers.commits_refused++;
	p->private_->refused = true; /* its WAL files will be recycled */
	tail_release(l, p);
	err_set(&e, ERR_OUTCOME_UNKNOWN, "partition %s-%u does not serve: %.300s", p->topic->name, p->number, p->damage);
	waits_fail(l, p, &e);
	return 0;
}

static int run_committed(struct log *l, struct range *r, const struct segment_run *run, uint8_t verdict, struct err *e)
{
	struct topic *t = topics_by_id(l, &run->topic);
	struct partition *p;

	if (!t || run->partition >= t->partition_count)
		return 0;
	p = t->partitions[run->partition];
	if (verdict == META_REFUSED_FENCED || verdict == META_REFUSED_GAP)
		return run_refused(l, r, p, run, verdict, e);
	if (verdict == META_REFUSED_DELETED)
		return 0;
	if (run->end_offset > p->flushed_end)
		p->flushed_end = run->end_offset;
	tail_drop_below(l, p, p->flushed_end);
	waits_advanced(l, p);
	return 0;
}

static void range_done(struct range *r)
{
	struct log *l = r->log;

	err_clear(&l->flush_error);
	range_free(r);
	flush_recycle(l);
	topics_free_gone(l);
	range_commit_next(l);
	recover_step(l);
	flush_check(l);
}

static void range_judged(struct range *r, struct bytes verdicts)
{
	struct arena a = ARENA_INIT;
	struct segment_run *runs;
	struct err e = ERR_INIT;
	size_t count = 0;

	if (segment_runs_decode(r->runs, r->runs_bytes, &a, &runs, &count, &e) < 0 || count != verdicts.len) {
		if (e.code == ERR_NONE)
			err_set(&e, ERR_INTERNAL, "%zu verdicts on %zu runs", verdicts.len, count);
		range_commit_later(r, &e);
	} else {
		bool kept = true;

		for (size_t i = 0; i < count; i++)
			kept = run_committed(r->log, r, &runs[i], verdicts.data[i], &e) == 0 && kept;
		if (kept)
			range_done(r);
		else /* what cannot be kept elsewhere stays in its WAL file; the same commit is judged the same */
			range_commit_later(r, &e);
	}
	arena_release(&a);
}

/*
 * We were the slot's newest session still after the refusal, and the metadata are not older than what we saw: else the renewal would have
 * ended us. The same commit again is judged the same, unless the metadata were replaced meanwhile; what is refused then as well is
 * really refused. A topic that was deleted is gone from our table by then, or its readers would look for it in WAL files that are recycled.
 */
static void range_refused(void *ctx, const struct err *e)
{
	struct range *r = ctx;

	if (e) {
		range_commit_later(r, e);
	} else if (++r->refusals < 2) {
		r->state = RANGE_BUILT;
		range_commit_next(r->log);
	} else {
		range_judged(r, (struct bytes){r->verdicts, r->verdict_count});
	}
}

static bool any_refused(struct bytes verdicts)
{
	for (size_t i = 0; i < verdicts.len; i++)
		if (verdicts.data[i] != META_ACCEPTED && verdicts.data[i] != META_ALREADY)
			return true;
	return false;
}

static void range_committed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_segment_committed *m = reply;
	struct range *r = ctx;
	struct log *l = r->log;

	(void)message;
	if (e && (e->code == ERR_CONFLICT || e->code == ERR_NOT_FOUND)) { /* given up by meta: it never was, and never will be */
		range_again(r, e, "committing the segment");
	} else if (e && PLANTED(commit_unknown_is_done) && e->code == ERR_OUTCOME_UNKNOWN) {
		range_done(r);
	} else if (e) { /* or an earlier try may have succeeded: the same again is judged the same, another name would be a gap */
		range_commit_later(r, e);
	} else {
		crash_point("flush.committed");
		session_saw_commit(l, m->commit_sequence);
		if (any_refused(m->verdicts) && l->closed && !PLANTED(closed_range_is_done)) {
			r->state = RANGE_BUILT; /* we gave the session up ourselves: its file stays, the next life commits */
		} else if (any_refused(m->verdicts) && !l->closed && !PLANTED(refusal_believed)) {
			mem_free(r->verdicts);
			r->verdicts = mem_dup(m->verdicts.data, m->verdicts.len);
			r->verdict_count = m->verdicts.len;
			session_sync(l, range_refused, r);
		} else {
			range_judged(r, m->verdicts);
		}
	}
}

static void range_commit_next(struct log *l)
{
	struct range *r = list_first(&l->ranges, struct range, node);

	if (PLANTED(commit_out_of_order))
		list_for_each(n, &l->ranges)
			r = list_entry(n, struct range, node)->state == RANGE_BUILT ? list_entry(n, struct range, node) : r;
	if (!r || r->state != RANGE_BUILT || l->closed) /* a commit after the session was closed would be refused */
		return;
	if (!r->bytes) {
		range_done(r);
		return;
	}
	struct msg_segment_commit m = {.session = l->session, .seen = l->commit_sequence, .object = r->object, .bytes = r->bytes, .crc = r->crc,
		.runs = {r->runs, r->runs_bytes}};

	r->state = RANGE_COMMITTING;
	peer_call(l->self, ROLE_META, 0, MSG_SEGMENT_COMMIT, &m, NULL, 0, META_TIMEOUT_MS, range_committed, r);
}

static void range_commit_retry(void *ctx)
{
	range_commit_next(ctx);
}
