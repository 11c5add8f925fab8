/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of segments that are being read: which object holds an offset (asked of meta), the run's block index (read from the object's
 * footer), and a descriptor lent by the store that holds some of its bytes. All of it is a cache of at most RUNS_MAX runs.
 */
#include <unistd.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/segment_file.h"

struct runs_opening {
	struct log *log;
	struct uuid topic;
	uint32_t partition;
	runs_open_fn *done;
	void *ctx;
	struct peer_call_handle *call;
	struct open_run *run; /* while its section is being read */
	struct segment_run summary;
	bool fresh;           /* the cached copy of the section was bad: read it anew */
	struct runs_ahead *ahead; /* nobody waits for it */
};
struct runs_ahead { /* a reader will come to `at` */
	struct list node;
	struct log *log;
	struct uuid topic;
	uint32_t partition;
	int64_t at, end;      /* the run's; end 0: not known yet */
	int depth;            /* so many runs from `at` on */
	struct runs_opening *opening;
	struct peer_call_handle *call;
};

static void opening_section(struct runs_opening *o);
static void ahead_free(struct runs_ahead *a);
static void ahead_found(struct runs_ahead *a, int64_t end);

struct open_run *runs_find(struct log *l, const struct partition *p, int64_t offset)
{
	for (struct list *n = l->runs.prev; n != &l->runs; n = n->prev) {
		struct open_run *r = list_entry(n, struct open_run, node);

		if (r->partition == p->number && uuid_equal(&r->topic, &p->topic->id) && offset >= r->detail.run.first_offset &&
			offset < r->detail.run.end_offset) {
			list_remove(&r->node);
			list_push(&l->runs, &r->node);
			return r;
		}
	}
	return NULL;
}

static void run_free(struct open_run *r)
{
	if (!r)
		return;
	if (r->log->block_run == r)
		r->log->block_run = NULL;
	fd_close(&r->fd);
	mem_free(r->object);
	arena_release(&r->arena);
	mem_free(r);
}

void runs_drop(struct open_run *r)
{
	list_remove(&r->node);
	r->log->run_count--;
	run_free(r);
}

void runs_forget(struct log *l, const struct topic *t)
{
	list_for_each_safe(n, &l->runs) {
		struct open_run *r = list_entry(n, struct open_run, node);

		if (uuid_equal(&r->topic, &t->id))
			runs_drop(r);
	}
	list_for_each_safe(n, &l->aheads) {
		struct runs_ahead *a = list_entry(n, struct runs_ahead, node);

		if (uuid_equal(&a->topic, &t->id))
			ahead_free(a);
	}
}

void runs_forget_below(struct log *l, const struct partition *p, int64_t offset)
{
	list_for_each_safe(n, &l->runs) {
		struct open_run *r = list_entry(n, struct open_run, node);

		if (r->partition == p->number && uuid_equal(&r->topic, &p->topic->id) && r->detail.run.end_offset <= offset)
			runs_drop(r);
	}
}

void runs_release(struct log *l)
{
	while (!list_empty(&l->aheads))
		ahead_free(list_first(&l->aheads, struct runs_ahead, node));
	while (!list_empty(&l->runs))
		runs_drop(list_first(&l->runs, struct open_run, node));
	buf_release(&l->block);
}

static void opening_done(struct runs_opening *o, struct open_run *r, const struct err *e)
{
	runs_open_fn *done = o->done;
	void *ctx = o->ctx;

	if (!r)
		run_free(o->run);
	mem_free(o);
	done(ctx, r, e);
}

static void opening_section_read(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_object_data *m = reply;
	struct runs_opening *o = ctx;
	struct open_run *r = o->run;
	size_t n = o->summary.section_bytes;
	struct err bad = ERR_INIT;
	uint8_t *section = NULL;

	o->call = NULL;
	if (e) {
		opening_done(o, NULL, e);
		return;
	}
	section = mem_alloc(n);
	if (message->fd_count < 1)
		err_set(&bad, ERR_INTERNAL, "the store sent no descriptor");
	else if (disk_pread(message->fds[0], section, n, (int64_t)m->position, &bad) == 0)
		segment_run_read(section, n, &r->arena, &r->detail, &bad);
	mem_free(section);
	if (bad.code == ERR_CORRUPT && !o->fresh) {
		o->fresh = true;
		opening_section(o);
	} else if (bad.code != ERR_NONE) {
		err_prefix(&bad, "%s", r->object);
		opening_done(o, NULL, &bad);
	} else {
		r->detail.run.previous_end = o->summary.previous_end; /* a rebuild may have recorded a gap there */
		if (o->log->run_count >= RUNS_MAX)
			runs_drop(list_first(&o->log->runs, struct open_run, node));
		list_push(&o->log->runs, &r->node);
		o->log->run_count++;
		opening_done(o, r, NULL);
	}
}

static void opening_section(struct runs_opening *o)
{
	struct msg_object_read m = {.object = o->run->object, .object_bytes = o->run->object_bytes,
		.offset = o->summary.section_position, .length = o->summary.section_bytes, .flags = (o->fresh ? OBJECT_READ_ANEW : 0) | (o->ahead ? OBJECT_READ_GUESS : 0)};

	o->call = peer_call(o->log->self, ROLE_STORE, 0, MSG_OBJECT_READ, &m, NULL, 0, READ_TIMEOUT_MS, opening_section_read, o);
}

static void opening_found(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_run_found *m = reply;
	struct runs_opening *o = ctx;
	struct arena a = ARENA_INIT;
	struct segment_run *runs = NULL;
	struct err bad = ERR_INIT;
	size_t count = 0;

	(void)message;
	o->call = NULL;
	if (!e && m->found && segment_runs_decode(m->run.data, m->run.len, &a, &runs, &count, &bad) < 0)
		e = &bad;
	if (e || !m->found || count < 1) {
		arena_release(&a);
		opening_done(o, NULL, e);
		return;
	}
	o->summary = runs[0];
	arena_release(&a);
	o->run = mem_zalloc(sizeof(*o->run));
	o->run->fd = -1;
	o->run->log = o->log;
	o->run->topic = o->topic;
	o->run->partition = o->partition;
	o->run->object = mem_strdup(m->object);
	o->run->object_bytes = m->object_bytes;
	opening_section(o);
	if (o->ahead)
		ahead_found(o->ahead, o->summary.end_offset);
}

struct runs_opening *runs_open(struct log *l, const struct partition *p, int64_t offset, runs_open_fn *done, void *ctx)
{
	struct runs_opening *o = mem_zalloc(sizeof(*o));
	struct msg_run_find m = {.topic = p->topic->id, .partition = p->number, .value = offset, .from_offset = offset};

	o->log = l;
	o->topic = p->topic->id;
	o->partition = p->number;
	o->done = done;
	o->ctx = ctx;
	o->call = peer_call(l->self, ROLE_META, 0, MSG_RUN_FIND, &m, NULL, 0, META_TIMEOUT_MS, opening_found, o);
	return o;
}

void runs_open_cancel(struct runs_opening *o)
{
	if (o->call)
		peer_cancel(o->call);
	run_free(o->run);
	mem_free(o);
}

/* ---- ahead of a reader ---- */

static void ahead_free(struct runs_ahead *a)
{
	if (a->opening)
		runs_open_cancel(a->opening);
	if (a->call)
		peer_cancel(a->call);
	list_remove(&a->node);
	a->log->ahead_count--;
	mem_free(a);
}

static void ahead_read(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct runs_ahead *a = ctx;

	(void)reply;
	(void)message; /* the descriptor goes with it; the bytes are in the store's cache now */
	(void)e;
	a->call = NULL;
	ahead_free(a);
}

/* Its index is here. A run that begins in another part of its object than the index lies in is fetched, too. */
static void ahead_opened(void *ctx, struct open_run *r, const struct err *e)
{
	struct runs_ahead *a = ctx;
	struct msg_object_read m;

	(void)e; /* costs nothing: the reader asks again */
	a->opening = NULL;
	if (!r || !r->detail.block_count) {
		ahead_free(a);
		return;
	}
	m = (struct msg_object_read){.object = r->object, .object_bytes = r->object_bytes,
		.offset = r->detail.blocks[0].position, .length = r->detail.blocks[0].stored_bytes, .flags = OBJECT_READ_GUESS};
	a->call = peer_call(a->log->self, ROLE_STORE, 0, MSG_OBJECT_READ, &m, NULL, 0, READ_TIMEOUT_MS, ahead_read, a);
}

static const struct runs_ahead *ahead_find(const struct log *l, const struct partition *p, int64_t at)
{
	list_for_each(n, &l->aheads) {
		const struct runs_ahead *a = list_entry(n, struct runs_ahead, node);

		if (a->at == at && a->partition == p->number && uuid_equal(&a->topic, &p->topic->id))
			return a;
	}
	return NULL;
}

/* At most `depth` runs from `at` on, without those that are open or on their way. */
static void ahead_start(struct log *l, const struct partition *p, int64_t at, int depth)
{
	const struct runs_ahead *other;
	const struct open_run *r;
	struct runs_ahead *a;

	for (; depth > 0 && at < p->flushed_end; depth--) {
		if ((r = runs_find(l, p, at)) != NULL)
			at = r->detail.run.end_offset;
		else if ((other = ahead_find(l, p, at)) != NULL && other->end)
			at = other->end;
		else
			break;
	}
	if (depth == 0 || at >= p->flushed_end || ahead_find(l, p, at) || l->ahead_count >= AHEADS_MAX)
		return;
	a = mem_zalloc(sizeof(*a));
	*a = (struct runs_ahead){.log = l, .topic = p->topic->id, .partition = p->number, .at = at, .depth = depth};
	list_push(&l->aheads, &a->node);
	l->ahead_count++;
	a->opening = runs_open(l, p, at, ahead_opened, a);
	a->opening->ahead = a;
}

/* Where the next run begins is known: it is not waited for the bytes of this one. */
static void ahead_found(struct runs_ahead *a, int64_t end)
{
	struct topic *t = topics_by_id(a->log, &a->topic);

	a->end = end;
	if (t && a->partition < t->partition_count)
		ahead_start(a->log, t->partitions[a->partition], end, a->depth - 1);
}

void runs_ahead(struct log *l, const struct partition *p, const struct open_run *r)
{
	int64_t first = r->detail.run.first_offset, end = r->detail.run.end_offset;

	if (l->state == LOG_SERVING) /* who came from the run before goes on, perhaps */
		ahead_start(l, p, end, first > 0 && runs_find(l, p, first - 1) ? RUNS_AHEAD : 1);
}

bool runs_has(const struct open_run *r, const struct segment_block *b)
{
	return r->fd >= 0 && b->position >= r->window_offset &&
		b->position + b->stored_bytes <= r->window_offset + r->window_bytes;
}

static int run_read(void *ctx, uint64_t offset, void *p, size_t n, struct err *e)
{
	const struct open_run *r = ctx;

	return disk_pread(r->fd, p, n, (int64_t)(r->window_position + offset - r->window_offset), e);
}

int runs_block(struct open_run *r, uint32_t i, struct err *e)
{
	struct segment_input in = {.read = run_read, .ctx = r, .bytes = r->object_bytes};
	struct log *l = r->log;

	if (l->block_run == r && l->block_index == i)
		return 0;
	l->block_run = NULL;
	if (segment_block_read(&in, &r->detail.blocks[i], &l->block, e) < 0)
		return err_prefix(e, "%s", r->object);
	l->block_run = r;
	l->block_index = i;
	return 0;
}
