/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shd-store: the process that owns the object store and the cache. It opens both, says ready, answers
 * SEGMENT_BUILD and OBJECT_READ of agents and OBJECT_REMOVE of the janitor, and when drained finishes what
 * runs and refuses the rest.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include "daemon/store/store.h"
#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"

enum { PREPARE_AGAIN_MS = 24 * 3600 * 1000, PREPARE_SOON_MS = 15 * 60 * 1000 };

/* The program has one role; role.h hands its callbacks no pointer of ours. */
static struct store_role store;

void store_count_error(struct store_role *r, const struct err *e)
{
	if (e->code == ERR_NOT_FOUND || e->code == ERR_EXISTS)
		return;
	r->counters.errors++;
	r->last_error = *e;
	r->last_error_ms = clock_real_ms();
	r->failing = true;
	store_say(r);
}

void store_count_success(struct store_role *r)
{
	r->failing = false;
	store_say(r);
}

void store_idle_check(struct store_role *r)
{
	if (r->draining && !r->running && !r->waiting && !r->reads && !r->removes && !r->chores && !r->fetches.count)
		role_drained(r->self);
}

void store_say(struct store_role *r)
{
	struct object_store_state now = object_store_state(r->objects);
	int64_t seconds = now.clock_ahead_ms / 1000;

	if (now.looks_first && !r->said.looks_first)
		log_info("each put to %s looks first whether its name is taken: the store is not relied on to refuse it",
			r->url);
	if (now.clock_ahead_ms != r->said.clock_ahead_ms)
		log_warn("the clock of this machine is %lld s %s that of the object store, which goes for requests to it",
			(long long)(seconds < 0 ? -seconds : seconds), seconds < 0 ? "ahead of" : "behind");
	if (now.paused && !r->said.paused)
		log_warn("%s fails, and is given pauses: %s", r->url, r->last_error.text);
	else if (!now.paused && r->said.paused)
		log_info("%s answers again", r->url);
	r->said = now;
}

/* ---- starting ---- */

static void prepare_again(void *ctx);

static void prepare_run(struct work *w)
{
	(void)w;
	object_store_prepare(store.objects, &store.prepare_error);
}

/* A store that is away is no reason not to start: the log takes records, the cache is read. But whoever set
 * it up wants to know. */
static void prepare_done(struct work *w)
{
	const struct err *e = &store.prepare_error;
	bool failed = e->code != ERR_NONE;

	(void)w;
	if (failed)
		log_warn("the object store %s cannot be used now: %s%s%s", store.url, e->text,
			*e->hint ? "; " : "", e->hint);
	store_say(&store);
	loop_timer_set(store.self->loop, &store.prepare_timer, failed ? PREPARE_SOON_MS : PREPARE_AGAIN_MS,
		prepare_again, NULL);
}

static void prepare(void)
{
	struct err e = ERR_INIT;

	err_clear(&store.prepare_error);
	store.prepare = (struct work){.run = prepare_run, .done = prepare_done};
	if (work_submit(store.io_pool, &store.prepare, &e) < 0)
		loop_timer_set(store.self->loop, &store.prepare_timer, PREPARE_SOON_MS, prepare_again, NULL);
}

/* Uploads are abandoned by whoever dies or loses his connection, all through the years. */
static void prepare_again(void *ctx)
{
	(void)ctx;
	prepare();
}

static bool is_remote(const char *url)
{
	return strstr(url, "s3://") != NULL; /* also behind fault: */
}

/* Nobody else may read the store's keys, whatever else runs as this user. Core dumps would hold them too. */
static void hide_keys(const char *url)
{
	if (is_remote(url))
		prctl(PR_SET_DUMPABLE, 0);
}

static void store_start(struct role_self *self)
{
	const char *url = settings_string(self->settings, "object.url");
	int64_t cache_max = settings_number(self->settings, "cache.max_bytes");
	struct err e = ERR_INIT;
	char *cache_dir = arena_printf(&self->arena, "%s/cache", self->data_dir);

	store.self = self;
	store.url = role_full_url(self, url, "file:", "objects");
	list_init(&store.builds_running);
	list_init(&store.builds_waiting);
	hide_keys(url);
	if (object_store_open(url, self->data_dir, self->settings, &store.objects, &e) < 0)
		fatal_err(&e, "cannot open the object store %s", url);
	if (is_remote(url))
		store.objects =
			object_guard_new(store.objects, settings_number(self->settings, "s3.put_rate"),
				settings_number(self->settings, "s3.get_rate"));
	if (cache_open(cache_dir, (uint64_t)cache_max, &store.cache, &e) < 0)
		fatal_err(&e, "cannot open the cache");
	store.build_pool = work_pool_new(self->loop, STORE_BUILDS, STORE_BUILDS, &e);
	store.io_pool = work_pool_new(self->loop, STORE_IO_THREADS, STORE_FETCHES + STORE_REMOVES + STORE_CHORES, &e);
	if (!store.build_pool || !store.io_pool)
		fatalx("cannot start worker threads: %s", e.text);
	prepare();
	role_ready(self);
}

static void status_request(struct store_role *r, struct role_request *q)
{
	const struct store_counters *n = &r->counters;
	struct object_store_state objects = object_store_state(r->objects);
	struct msg_store_status status = {
		.url = r->url,
		.cache_bytes = cache_bytes(r->cache),
		.cache_max_bytes = (uint64_t)settings_number(r->self->settings, "cache.max_bytes"),
		.cache_hits = n->cache_hits,
		.cache_misses = n->cache_misses,
		.puts = n->puts,
		.gets = n->gets,
		.removes = n->removes,
		.lists = n->lists,
		.errors = n->errors,
		.put_bytes = n->put_bytes,
		.get_bytes = n->get_bytes,
		.last_error = r->last_error.text,
		.last_error_ms = r->last_error_ms,
		.failing = r->failing,
		.failures = objects.failures,
		.paused = objects.paused,
		.looks_first = objects.looks_first,
	};

	role_answer(q->reply, &status, NULL, 0);
}

static void store_request(struct role_self *self, struct role_request *q)
{
	struct err e = ERR_INIT;

	(void)self;
	switch (q->type) {
	case MSG_SEGMENT_BUILD:
		build_request(&store, q);
		break;
	case MSG_OBJECT_READ:
		read_request(&store, q);
		break;
	case MSG_OBJECT_REMOVE:
		remove_request(&store, q);
		break;
	case MSG_OBJECT_LIST:
		objects_list_request(&store, q);
		break;
	case MSG_OBJECT_PUT:
		objects_put_request(&store, q);
		break;
	case MSG_STORE_STATUS:
		status_request(&store, q);
		break;
	default:
		err_set(&e, ERR_INTERNAL, "the store does not take message %d", q->type);
		role_answer_error(q->reply, &e);
	}
}

static void store_reload(struct role_self *self)
{
	cache_set_max(store.cache, (uint64_t)settings_number(self->settings, "cache.max_bytes"));
}

static void store_drain(struct role_self *self)
{
	(void)self;
	store.draining = true;
	build_drain(&store);
	store_idle_check(&store);
}

static const struct role_program program = {
	.role = ROLE_STORE,
	.start = store_start,
	.request = store_request,
	.reload = store_reload,
	.drain = store_drain,
};

int main(int argc, char **argv)
{
	if (getenv("AWS_SECRET_ACCESS_KEY") || getenv("AWS_SESSION_TOKEN"))
		prctl(PR_SET_DUMPABLE, 0); /* before anybody can look: what we were started with is there already */
	return role_main(&program, argc, argv);
}
