/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SEGMENT_BUILD: a range of a WAL file becomes an object.
 *
 *   waiting -> intent asked of meta -> built into a file of the cache -> put -> answered
 *
 * Building and putting happen in one piece of work, so that what is built never waits for a thread. When the
 * store fails in a way that may pass, the put (not the building) is tried again until the agent's patience
 * ends; the agent then asks anew, under another name. A request that ends in an error leaves at most a
 * pending row in the metadata and an object that nobody refers to, which the janitor removes.
 */
#include <string.h>
#include "daemon/store/store.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"
#include "libsh/store/segment_file.h"

enum {
	DEFAULT_TIMEOUT_MS = 60000,
	REPLY_MARGIN_MS = 200, /* an attempt that starts later than this before the end helps nobody */
	BACKOFF_FIRST_MS = 100,
	BACKOFF_MAX_MS = 5000,
	FILE_EXTRA_BYTES = 1 << 20, /* a segment may be larger than its range by that: headers, footer */
	USUAL_RATIO = 4,	    /* but most are smaller than it */
	SOURCES_MAX = 1 << 20,
	RUNS_MAX_BYTES = CHAN_MAX_BYTES - (64 << 10),
};

struct build {
	struct list node;
	struct work work;
	struct store_role *role;
	struct role_reply *reply;
	struct arena arena;
	int wal_fd;
	int64_t deadline_ms;
	char object[OBJECT_NAME_MAX + 1];
	struct segment_build segment;
	struct cache_fill fill;
	bool built, failed, put_failed, logged;
	unsigned attempts;
	struct timer retry;
	struct err error;
};

static void builds_next(struct store_role *r);

static void build_free(struct build *b)
{
	fd_close(&b->wal_fd);
	cache_fill_release(b->role->cache, &b->fill);
	mem_free(b->segment.runs);
	arena_release(&b->arena);
	mem_free(b);
}

/* The reply was sent. */
static void build_end(struct build *b)
{
	struct store_role *r = b->role;

	list_remove(&b->node);
	r->running--;
	build_free(b);
	builds_next(r);
	store_idle_check(r);
}

static void build_fail(struct build *b, const struct err *e)
{
	role_answer_error(b->reply, e);
	build_end(b);
}

static int64_t patience_ms(const struct build *b)
{
	return b->deadline_ms - clock_mono_ms();
}

/* ---- on a worker ---- */

static int build_file(struct build *b, struct err *e)
{
	b->segment.wal_fd = b->wal_fd;
	b->segment.out_fd = b->fill.fd;
	b->segment.memory_bytes = STORE_BUILD_MEMORY_BYTES;
	if (segment_build(&b->segment, e) < 0)
		return -1;
	if (b->segment.bytes && cache_fill_seal(&b->fill, b->segment.bytes, e) < 0)
		return -1;
	b->built = true;
	crash_point("build.built");
	return 0;
}

static void build_run(struct work *w)
{
	struct build *b = container_of(w, struct build, work);

	err_clear(&b->error);
	b->put_failed = false;
	b->failed = !b->built && build_file(b, &b->error) < 0;
	if (b->failed || !b->segment.bytes)
		return;
	b->attempts++;
	if (object_put_verified(b->role->objects, b->object, b->fill.fd, b->segment.bytes, &b->error) < 0)
		b->failed = b->put_failed = true;
	crash_point("build.put");
}

/* ---- on the loop ---- */

static void build_submit(struct build *b)
{
	if (work_submit(b->role->build_pool, &b->work, &b->error) < 0)
		build_fail(b, &b->error);
}

static void build_retry(void *ctx)
{
	build_submit(ctx);
}

/* Between half and all of a doubling pause, so that builds that failed together do not come back together. */
static int64_t backoff_ms(unsigned attempts)
{
	int64_t pause = BACKOFF_FIRST_MS;
	struct uuid random = uuid_random();

	for (unsigned i = 1; i < attempts && pause < BACKOFF_MAX_MS; i++)
		pause *= 2;
	if (pause > BACKOFF_MAX_MS)
		pause = BACKOFF_MAX_MS;
	return pause / 2 + (random.b[0] << 8 | random.b[1]) % (pause / 2 + 1);
}

static void put_failed(struct build *b)
{
	int64_t pause = backoff_ms(b->attempts);

	store_count_error(b->role, &b->error);
	if (b->error.code == ERR_NO_SPACE) /* it may be the disk that the cache is on */
		cache_evict(b->role->cache, b->segment.bytes);
	if (!err_can_retry(b->error.code) || b->role->draining || patience_ms(b) - pause < REPLY_MARGIN_MS) {
		build_fail(b, &b->error);
		return;
	}
	if (!b->logged)
		log_warn("a segment cannot be put yet, trying again for %lld s: %s",
			(long long)patience_ms(b) / 1000, b->error.text);
	b->logged = true;
	loop_timer_set(b->role->self->loop, &b->retry, pause, build_retry, b);
}

static uint64_t range_bytes(const struct build *b)
{
	return b->segment.end_lsn - b->segment.first_lsn + FILE_EXTRA_BYTES;
}

/*
 * A file to build into. The room that is made for it is what segments usually need, so that a small cache is
 * not emptied for what compression will not use; what it comes to is counted when it becomes an entry. Memory
 * is counted in full.
 */
static int fill_begin(struct build *b)
{
	struct cache *c = b->role->cache;

	if (cache_fill_begin(c, &b->fill, range_bytes(b) / USUAL_RATIO, &b->error) < 0)
		return -1;
	if (!b->fill.memory)
		return 0;
	cache_fill_release(c, &b->fill);
	return cache_fill_begin_memory(c, &b->fill, range_bytes(b), &b->error);
}

/*
 * The cache's disk is full: build again without what the cache holds, or in memory, or not at all. When it
 * fails in another way memory is left. It may have been the WAL's disk, too: then that fails as well.
 */
static void build_elsewhere(struct build *b)
{
	struct cache *c = b->role->cache;
	int result;

	cache_fill_release(c, &b->fill);
	mem_free(b->segment.runs);
	b->segment.runs = NULL;
	b->segment.run_count = 0;
	if (b->error.code == ERR_NO_SPACE && cache_evict(c, range_bytes(b)))
		result = fill_begin(b);
	else
		result = cache_fill_begin_memory(c, &b->fill, range_bytes(b), &b->error);
	if (result < 0)
		build_fail(b, &b->error);
	else
		build_submit(b);
}

static void build_answer(struct build *b)
{
	struct msg_segment_built built = {
		.object = b->object, .bytes = b->segment.bytes, .crc = b->segment.crc};
	struct buf runs = BUF_INIT(RUNS_MAX_BYTES);
	struct err e = ERR_INIT;

	if (segment_runs_encode(&runs, b->segment.runs, b->segment.run_count) < 0) {
		err_set(&e, ERR_TOO_LARGE, "segment %s has %zu runs, more than a message holds", b->object,
			b->segment.run_count);
		buf_release(&runs);
		build_fail(b, &e);
		return;
	}
	built.runs = (struct bytes){(const uint8_t *)runs.data, runs.len};
	if (built.bytes) {
		b->role->counters.puts++;
		b->role->counters.put_bytes += built.bytes;
		store_count_success(b->role);
		cache_fill_commit(b->role->cache, &b->fill, b->object, 0);
	}
	role_answer(b->reply, &built, NULL, 0);
	buf_release(&runs);
	build_end(b);
}

static void build_done(struct work *w)
{
	struct build *b = container_of(w, struct build, work);

	if (!b->failed)
		build_answer(b);
	else if (b->put_failed)
		put_failed(b);
	else if ((b->error.code == ERR_NO_SPACE || b->error.code == ERR_IO) && !b->fill.memory)
		build_elsewhere(b);
	else
		build_fail(b, &b->error);
}

static void intended(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_segment_intended *m = reply;
	struct segment_info *info;
	struct build *b = ctx;

	(void)message;
	if (!m) {
		build_fail(b, e);
		return;
	}
	if (object_name_check(m->object, &b->error) < 0) {
		build_fail(b, &b->error);
		return;
	}
	crash_point("build.intended");
	strcpy(b->object, m->object); /* its length was just checked */
	info = &b->segment.info;
	info->number = m->number;
	info->newest_committed = m->newest_committed;
	info->incarnation = m->incarnation;
	info->created_ms = clock_real_ms();
	if (fill_begin(b) < 0)
		build_fail(b, &b->error);
	else
		build_submit(b);
}

/* The intent is asked for only now that the build will run: names that wait would look abandoned. */
static void build_begin(struct build *b)
{
	struct msg_segment_intent intent;
	int64_t left = patience_ms(b);

	list_push(&b->role->builds_running, &b->node);
	b->role->running++;
	if (left < REPLY_MARGIN_MS) {
		err_set(&b->error, ERR_REQUEST_TIMEOUT, "%d other segments were being built", STORE_BUILDS);
		build_fail(b, &b->error);
		return;
	}
	b->segment.info.object = uuid_random();
	intent = (struct msg_segment_intent){b->segment.info.session, b->segment.info.object};
	peer_call(b->role->self, ROLE_META, 0, MSG_SEGMENT_INTENT, &intent, NULL, 0, (uint32_t)left, intended,
		b);
}

static void builds_next(struct store_role *r)
{
	while (r->running < STORE_BUILDS && r->waiting) {
		struct build *b = list_entry(list_pop(&r->builds_waiting), struct build, node);

		r->waiting--;
		build_begin(b);
	}
}

/* ---- the request ---- */

static int source_check(const struct segment_source *s, const struct segment_source *before, struct err *e)
{
	int order = before ? uuid_compare(&before->topic, &s->topic) : -1;
	size_t name = strlen(s->topic_name);

	if (order > 0 || (order == 0 && before->partition >= s->partition))
		return err_set(e, ERR_INVALID_ARGUMENT, "the sources of a segment are not sorted");
	if (!name || name > SEGMENT_TOPIC_NAME_MAX || s->first_offset < 0 || s->end_offset < s->first_offset)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"source \"%.249s\" partition %u of a segment is not valid", s->topic_name,
			s->partition);
	return 0;
}

static int sources_read(struct build *b, struct bytes rows, struct err *e)
{
	struct segment_source *sources = NULL;
	size_t count = 0, alloc = 0, pos = 0;
	struct msg_source_row row;
	int result;

	while ((result = pack_row_next(rows, &pos, msg_source_row_fields, &row, &b->arena, e)) > 0) {
		if (count == alloc) {
			alloc = alloc ? 2 * alloc : 64;
			sources = mem_realloc_array(sources, alloc, sizeof(*sources));
		}
		sources[count] = (struct segment_source){
			row.topic, row.partition, row.name, row.first_offset, row.end_offset};
		result = source_check(&sources[count], count ? &sources[count - 1] : NULL, e);
		if (result == 0 && ++count > SOURCES_MAX)
			result = err_set(
				e, ERR_TOO_LARGE, "a segment of more than %d partitions", SOURCES_MAX);
		if (result < 0)
			break;
	}
	if (result == 0 && count)
		b->segment.sources = arena_dup(&b->arena, sources, count * sizeof(*sources));
	b->segment.source_count = count;
	mem_free(sources);
	return result;
}

static int build_check(struct store_role *r, const struct role_request *q, struct err *e)
{
	const struct msg_segment_build *m = q->body;

	if (r->draining)
		return err_set(e, ERR_UNAVAILABLE, "the store is stopping");
	if (r->waiting >= STORE_BUILDS_WAITING)
		return err_set(
			e, ERR_BACK_PRESSURE, "%d segments are waiting to be built", STORE_BUILDS_WAITING);
	if (q->message->fd_count != 1 || q->message->fds[0] < 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "a segment needs one descriptor, of the WAL file");
	if (m->first_lsn >= m->end_lsn || wal_file_base(m->first_lsn) != wal_file_base(m->end_lsn - 1))
		return err_set(e, ERR_INVALID_ARGUMENT, "the range %llu to %llu does not lie in one WAL file",
			(unsigned long long)m->first_lsn, (unsigned long long)m->end_lsn);
	return 0;
}

void build_request(struct store_role *r, struct role_request *q)
{
	const struct msg_segment_build *m = q->body;
	uint32_t timeout_ms = q->message->timeout_ms ? q->message->timeout_ms : DEFAULT_TIMEOUT_MS;
	struct err e = ERR_INIT;
	struct build *b;

	if (build_check(r, q, &e) < 0) {
		role_answer_error(q->reply, &e);
		return;
	}
	b = mem_zalloc(sizeof(*b));
	b->role = r;
	b->reply = q->reply;
	b->fill.fd = b->fill.read_fd = -1;
	b->deadline_ms = clock_mono_ms() + timeout_ms;
	b->work.run = build_run;
	b->work.done = build_done;
	b->wal_fd = q->message->fds[0];
	q->message->fds[0] = -1;
	b->segment.generation = b->segment.info.generation = m->generation;
	b->segment.first_lsn = b->segment.info.first_lsn = m->first_lsn;
	b->segment.end_lsn = b->segment.info.end_lsn = m->end_lsn;
	b->segment.info.session = m->session;
	b->segment.info.slot = m->slot_id;
	if (sources_read(b, m->sources, &e) < 0) {
		role_answer_error(b->reply, &e);
		build_free(b);
		return;
	}
	list_push(&r->builds_waiting, &b->node);
	r->waiting++;
	builds_next(r);
}

void build_drain(struct store_role *r)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_UNAVAILABLE, "the store is stopping");
	while (r->waiting) {
		struct build *b = list_entry(list_pop(&r->builds_waiting), struct build, node);

		r->waiting--;
		role_answer_error(b->reply, &e);
		build_free(b);
	}
	list_for_each_safe(node, &r->builds_running)
	{
		struct build *b = list_entry(node, struct build, node);

		if (b->retry.index) {
			loop_timer_cancel(r->self->loop, &b->retry);
			build_fail(b, &e);
		}
	}
}
