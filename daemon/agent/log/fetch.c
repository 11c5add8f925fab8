/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading. What the tail's index knows comes from the WAL at once; everything older from segments: find the run, borrow the bytes
 * from the store, take blocks. Only what lies below the high watermark is ever looked at. The checksum of every batch from the
 * tail and of every block is compared: protocols that take records out of batches need not do it again.
 */
#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/plant.h"
#include "libsh/base/log.h"
#include "libsh/store/segment_file.h"

enum {
	WINDOW_BYTES = 256 << 10,       /* of the WAL, read at once */
	WINDOW_SPARSE_BYTES = 8 << 10,  /* when the partition's batches are far apart */
	BORROW_BYTES = 1 << 20,         /* of an object, asked of the store at once */
	SCAN_BYTES = 8 << 20,           /* looked at by one call that skips by timestamp */
};

struct fetch_state { /* of a fetch that waits for meta or store */
	struct list node; /* in its partition's fetches */
	struct log_fetch *fetch;
	struct runs_opening *opening;
	struct peer_call_handle *call;
	uint64_t borrow_offset, borrow_bytes; /* asked of the store */
	bool fresh, looked_again;
	struct fetch_look *look;
};
struct fetch_look { /* the table of topics is being asked for; the fetch may be cancelled meanwhile */
	struct log_fetch *fetch;
};

static void fetch_segment(struct log_fetch *f);
static int fetch_check(const struct log_fetch *f, struct err *e);
static bool fetch_look_again(struct log_fetch *f);
static void fetch_missing(struct log_fetch *f, const struct err *e);

static void fetch_end(struct log_fetch *f, const struct err *e)
{
	struct log *l = f->log;

	if (f->state) {
		if (f->state->look)
			f->state->look->fetch = NULL;
		list_remove(&f->state->node);
		mem_free(f->state);
		f->state = NULL;
	}
	if (e && e->code == ERR_CORRUPT) {
		l->numbers.read_errors++;
		l->read_error = *e;
		l->read_error_ms = clock_real_ms();
	}
	l->numbers.fetches++;
	l->numbers.fetched_bytes += f->batches.len;
	f->done(f, e);
}

static int64_t fetch_limit(const struct log_fetch *f)
{
	int64_t high = partition_high_watermark(f->partition);

	return f->limit < high ? f->limit : high;
}

/* Take one batch, or pass it over. False: the fetch is full. */
static bool fetch_take(struct log_fetch *f, const void *batch, size_t n, const struct batch_header *h)
{
	if (batch_last_offset(h) < f->offset || h->max_timestamp < f->skip_below_ms) {
		f->next_offset = batch_last_offset(h) + 1 > f->next_offset ? batch_last_offset(h) + 1 : f->next_offset;
		return true;
	}
	if (f->batches.len && f->batches.len + n > f->max_bytes)
		return false;
	if (buf_add(&f->batches, batch, n) < 0)
		return false;
	f->next_offset = batch_last_offset(h) + 1;
	return true;
}

/* ---- the tail ---- */

struct tail_window { /* bytes of the WAL at lsn */
	uint64_t lsn;
	size_t len;
};

static int window_load(struct log *l, struct tail_window *w, uint64_t lsn, size_t want, struct err *e)
{
	const struct wal_file *f = wal_find(l->wal, lsn);
	uint64_t end;

	if (!f || wal_file_fd(f) < 0)
		return err_set(e, ERR_INTERNAL, "no WAL file holds LSN 0x%llx", (unsigned long long)lsn);
	end = f->end_lsn;
	if (lsn + want > end)
		want = (size_t)(end - lsn);
	buf_reset(&l->window);
	if (buf_reserve(&l->window, want) < 0)
		return err_set(e, ERR_TOO_LARGE, "an entry of %zu bytes", want);
	w->lsn = lsn;
	w->len = want;
	return disk_pread(wal_file_fd(f), l->window.data, want, (int64_t)(lsn - f->base_lsn), e);
}

/* The entry at lsn, in the window or in a new one. */
static int window_entry(struct log *l, struct tail_window *w, uint64_t lsn, uint64_t next_lsn, const uint8_t **batch,
	struct wal_entry *entry, struct err *e)
{
	const struct wal_file *f = wal_find(l->wal, lsn);
	size_t want = next_lsn - lsn < WINDOW_BYTES / 4 ? WINDOW_BYTES : WINDOW_SPARSE_BYTES, need = 0;
	enum wal_check check = WAL_SHORT;

	if (!f)
		return err_set(e, ERR_INTERNAL, "no WAL file holds LSN 0x%llx", (unsigned long long)lsn);
	for (int tries = 0; check == WAL_SHORT && tries < 3; tries++) {
		if (lsn >= w->lsn && lsn < w->lsn + w->len)
			check = wal_entry_read(l->window.data + (lsn - w->lsn), w->len - (size_t)(lsn - w->lsn), lsn, f->generation,
				true, entry, &need);
		if (check == WAL_SHORT && window_load(l, w, lsn, need > want ? need : want, e) < 0)
			return -1;
	}
	if (check != WAL_VALID)
		return err_set(e, ERR_CORRUPT, "the WAL entry at LSN 0x%llx in %s is damaged", (unsigned long long)lsn, f->path);
	*batch = (const uint8_t *)l->window.data + (lsn - w->lsn) + WAL_ENTRY_BYTES;
	return 0;
}

static int fetch_tail(struct log_fetch *f, uint32_t i, struct err *e)
{
	const struct tail *t = &f->partition->private_->tail;
	struct tail_window window = {0, 0};
	int64_t limit = fetch_limit(f);
	size_t scanned = 0;

	for (; i < t->count && tail_at(t, i)->base_offset < limit && scanned < SCAN_BYTES; i++) {
		const struct tail_entry *at = tail_at(t, i);
		uint64_t next = i + 1 < t->count ? tail_at(t, i + 1)->lsn : UINT64_MAX;
		struct batch_header h;
		struct wal_entry entry;
		const uint8_t *batch = NULL;

		if (window_entry(f->log, &window, at->lsn, next, &batch, &entry, e) < 0 ||
			batch_header_read(batch, entry.length, &h, e) < 0)
			return -1;
		if (h.base_offset != at->base_offset)
			return err_set(e, ERR_CORRUPT, "the WAL holds offset %lld where %lld was written", (long long)h.base_offset,
				(long long)at->base_offset);
		scanned += entry.length;
		if (!fetch_take(f, batch, entry.length, &h))
			break;
	}
	return 0;
}

/* ---- segments ---- */

/* Batches of the block in log->block. False: the fetch is full. */
static bool fetch_take_block(struct log_fetch *f, int64_t limit, struct err *e)
{
	const struct buf *block = &f->log->block;
	size_t at = 0;

	while (at < block->len) {
		int64_t n = batch_size(block->data + at, block->len - at);
		struct batch_header h;

		if (n <= 0 || (size_t)n > block->len - at || batch_header_read(block->data + at, (size_t)n, &h, e) < 0) {
			err_set(e, ERR_CORRUPT, "a block of a segment does not hold whole batches");
			return false;
		}
		if (h.base_offset >= limit || !fetch_take(f, block->data + at, (size_t)n, &h))
			return false;
		at += (size_t)n;
	}
	return true;
}

/* First block that reaches beyond `offset` and has what we look for; block_count: none. */
static uint32_t fetch_block_of(const struct log_fetch *f, const struct segment_run_detail *d, int64_t offset)
{
	uint32_t low = 0, high = d->block_count;

	while (low < high) {
		uint32_t middle = (low + high) / 2;

		if (d->blocks[middle].end_offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	while (low < d->block_count && d->blocks[low].max_timestamp < f->skip_below_ms)
		low++;
	return low;
}

static void fetch_borrowed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_object_data *m = reply;
	struct log_fetch *f = ctx;
	struct fetch_state *s = f->state;
	struct open_run *r = runs_find(f->log, f->partition, f->next_offset);

	s->call = NULL;
	if (e && e->code == ERR_NOT_FOUND) {
		if (r)
			runs_drop(r);
		if (!fetch_look_again(f))
			fetch_missing(f, e);
		return;
	}
	if (e) {
		fetch_end(f, e);
		return;
	}
	if (r && message->fd_count > 0) {
		fd_close(&r->fd);
		r->fd = message->fds[0];
		message->fds[0] = -1;
		r->window_offset = s->borrow_offset;
		r->window_bytes = s->borrow_bytes;
		r->window_position = m->position;
	}
	fetch_segment(f);
}

static void fetch_borrow(struct log_fetch *f, struct open_run *r, uint32_t block)
{
	struct fetch_state *s = f->state;
	const struct segment_block *b = &r->detail.blocks[block];
	uint64_t run_end = r->detail.run.position + r->detail.run.stored_bytes;
	uint64_t n = b->stored_bytes > BORROW_BYTES ? b->stored_bytes : BORROW_BYTES;

	if (b->position + n > run_end)
		n = run_end - b->position;
	if (n < b->stored_bytes)
		n = b->stored_bytes;
	s->borrow_offset = b->position;
	s->borrow_bytes = n;
	struct msg_object_read m = {.object = r->object, .object_bytes = r->object_bytes, .offset = b->position, .length = n,
		.flags = s->fresh ? OBJECT_READ_ANEW : 0, .ahead_end = block == r->next_block ? run_end : 0};

	if (m.ahead_end && b->position + n >= run_end) /* the run's last bytes: then come those of the next ones */
		runs_ahead(f->log, f->partition, r);

	s->call = peer_call(f->log->self, ROLE_STORE, 0, MSG_OBJECT_READ, &m, NULL, 0, READ_TIMEOUT_MS, fetch_borrowed, f);
}

/* All blocks at hand, as far as the fetch wants them. */
static void fetch_blocks(struct log_fetch *f, struct open_run *r)
{
	int64_t limit = fetch_limit(f);
	struct err e = ERR_INIT;
	uint32_t i = fetch_block_of(f, &r->detail, f->next_offset);

	if (i == r->detail.block_count) { /* nothing of interest is left in this run */
		f->next_offset = r->detail.run.end_offset;
		fetch_end(f, NULL);
		return;
	}
	if (!runs_has(r, &r->detail.blocks[i]) && !(f->log->block_run == r && f->log->block_index == i)) {
		fetch_borrow(f, r, i);
		return;
	}
	for (; i < r->detail.block_count; i = fetch_block_of(f, &r->detail, r->detail.blocks[i].end_offset)) {
		if (!runs_has(r, &r->detail.blocks[i]) && !(f->log->block_run == r && f->log->block_index == i))
			break;
		if (runs_block(r, i, &e) < 0 || !fetch_take_block(f, limit, &e))
			break;
		r->next_block = i + 1;
		if (f->batches.len >= f->max_bytes)
			break;
	}
	if (e.code == ERR_CORRUPT && !f->state->fresh && !f->batches.len) { /* the cached copy, perhaps */
		f->state->fresh = true;
		fetch_borrow(f, r, fetch_block_of(f, &r->detail, f->next_offset));
		return;
	}
	fetch_end(f, e.code == ERR_NONE || f->batches.len ? NULL : &e);
}

static void fetch_looked(void *ctx, const struct err *e)
{
	struct fetch_look *look = ctx;
	struct log_fetch *f = look->fetch;
	struct err gone = ERR_INIT;

	mem_free(look);
	if (!f)
		return;
	f->state->look = NULL;
	if (e)
		fetch_end(f, e);
	else if (f->next_offset < f->partition->log_start)
		fetch_end(f, fetch_check(f, &gone) < 0 ? &gone : NULL);
	else
		fetch_segment(f);
}

/*
 * What should be there is not: an object is gone, or the metadata has no run of it. Retention may have taken it since we heard
 * of the table of topics: hear again, and look once more. Only what is missing then as well is damage.
 */
static bool fetch_look_again(struct log_fetch *f)
{
	struct fetch_state *s = f->state;

	if (s->looked_again)
		return false;
	s->looked_again = true;
	s->look = mem_zalloc(sizeof(*s->look));
	s->look->fetch = f;
	session_sync(f->log, fetch_looked, s->look);
	return true;
}

static void fetch_missing(struct log_fetch *f, const struct err *e)
{
	struct err damage = ERR_INIT;

	err_set(&damage, ERR_CORRUPT, "%s-%u: a segment that the metadata counts on is missing: %s", f->partition->topic->name,
		f->partition->number, e->text);
	fetch_end(f, &damage);
}

static void fetch_opened(void *ctx, struct open_run *r, const struct err *e)
{
	struct log_fetch *f = ctx;
	struct err missing = ERR_INIT;

	f->state->opening = NULL;
	if (e && e->code == ERR_NOT_FOUND) {
		if (!fetch_look_again(f))
			fetch_missing(f, e);
		return;
	}
	if (e) {
		fetch_end(f, e);
		return;
	}
	/* A gap that the run itself does not know of: what stood there may have expired. */
	if (r ? r->detail.run.previous_end > f->next_offset : f->next_offset < f->partition->flushed_end) {
		if (fetch_look_again(f))
			return;
		err_set(&missing, ERR_CORRUPT, "the metadata has none for offset %lld, below the flushed end %lld",
			(long long)f->next_offset, (long long)f->partition->flushed_end);
		fetch_missing(f, &missing);
		return;
	}
	if (!r) {
		fetch_end(f, NULL);
		return;
	}
	if (r->detail.run.first_offset > f->next_offset) /* a recorded gap */
		f->next_offset = r->detail.run.first_offset;
	if (f->next_offset >= fetch_limit(f))
		fetch_end(f, NULL);
	else
		fetch_blocks(f, r);
}

static void fetch_segment(struct log_fetch *f)
{
	struct open_run *r = runs_find(f->log, f->partition, f->next_offset);

	if (r)
		fetch_blocks(f, r);
	else
		f->state->opening = runs_open(f->log, f->partition, f->next_offset, fetch_opened, f);
}

/* ---- both ---- */

static int fetch_check(const struct log_fetch *f, struct err *e)
{
	const struct partition *p = f->partition;

	if (p->topic->deleted)
		return err_set(e, ERR_TOPIC_NOT_FOUND, "topic \"%s\" was deleted", p->topic->name);
	if (f->log->state == LOG_STARTING)
		return err_set(e, ERR_UNAVAILABLE, "this agent is still starting");
	/* Whoever has it by now may have gone on: "out of range" would have the consumer begin elsewhere. */
	if (f->offset > f->high_watermark && !session_lease_holds(f->log) && !PLANTED(stale_end_told))
		return err_set(e, ERR_FENCED, "this agent's lease ran out: %s-%u may have moved", p->topic->name, p->number);
	if (f->offset < p->log_start || f->offset > f->high_watermark) {
		err_set(e, ERR_OFFSET_OUT_OF_RANGE, "offset %lld of %s-%u is outside the valid range %lld to %lld", (long long)f->offset,
			p->topic->name, p->number, (long long)p->log_start, (long long)f->high_watermark);
		return err_hint(e, "\"earliest\" and \"latest\" are always valid");
	}
	return 0;
}

void log_fetch(struct log *l, struct log_fetch *f, struct partition *p)
{
	struct err e = ERR_INIT;
	int64_t at;

	f->log = l;
	f->partition = p;
	f->state = NULL;
	f->next_offset = f->offset;
	f->high_watermark = partition_high_watermark(p);
	f->batches.max = f->max_bytes + BATCH_MAX_BYTES;
	buf_reset(&f->batches);
	if (fetch_check(f, &e) < 0) {
		fetch_end(f, &e);
		return;
	}
	if (f->offset >= fetch_limit(f)) {
		fetch_end(f, NULL);
		return;
	}
	at = tail_find(&p->private_->tail, f->offset);
	if (at < 0 && p->private_->tail.count && f->offset >= p->flushed_end)
		at = 0; /* an accepted loss: the tail begins behind the gap */
	if (at >= 0) {
		if (!session_lease_holds(l) && !PLANTED(tail_without_lease))
			err_set(&e, ERR_FENCED, "this agent's lease ran out: %s-%u may have moved", p->topic->name, p->number);
		else
			fetch_tail(f, (uint32_t)at, &e);
		fetch_end(f, e.code == ERR_NONE || f->batches.len ? NULL : &e); /* what comes before damage is given first */
		return;
	}
	if (p->private_->refused && f->offset >= p->flushed_end) {
		err_set(&e, ERR_PARTITION_DAMAGED, "partition %s-%u does not serve: %s", p->topic->name, p->number, p->damage);
		err_hint(&e, "see streamhouse-recovery(7)");
		fetch_end(f, &e);
		return;
	}
	f->state = mem_zalloc(sizeof(*f->state));
	f->state->fetch = f;
	list_push(&p->private_->fetches, &f->state->node);
	fetch_segment(f);
}

void log_fetch_cancel(struct log_fetch *f)
{
	struct fetch_state *s = f->state;

	if (!s)
		return;
	if (s->call)
		peer_cancel(s->call);
	if (s->opening)
		runs_open_cancel(s->opening);
	if (s->look)
		s->look->fetch = NULL;
	list_remove(&s->node);
	mem_free(s);
	f->state = NULL;
}

/* The partition goes away under its readers. */
void fetch_fail(struct log *l, struct partition *p, const struct err *e)
{
	struct err copy = *e;

	(void)l;
	while (!list_empty(&p->private_->fetches)) {
		struct log_fetch *f = list_first(&p->private_->fetches, struct fetch_state, node)->fetch;

		log_fetch_cancel(f);
		f->done(f, &copy);
	}
}
