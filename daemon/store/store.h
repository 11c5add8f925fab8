/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store role: the one process that touches the object store. Everything runs on the loop but what blocks:
 * building and putting segments (build.c), fetching for the cache and checking it (fetch.c), removing
 * (remove.c).
 */
#ifndef SH_STORE_ROLE_STORE_H
#define SH_STORE_ROLE_STORE_H

#include "daemon/role.h"
#include "daemon/store/cache.h"
#include "libsh/base/list.h"
#include "libsh/base/map.h"
#include "libsh/run/work.h"
#include "libsh/store/object.h"

enum {
	STORE_BUILDS = 4, /* at once; more wait */
	STORE_BUILDS_WAITING = 256,
	STORE_BUILD_MEMORY_BYTES = 32 << 20, /* each */
	STORE_IO_THREADS = 4,
	STORE_PART_BYTES = 4 << 20, /* of an object, aligned: fetched at once, and a thread's buffer */
	STORE_READ_MAX_BYTES = 128 << 20, /* one request */
	STORE_FETCHES = 128,		  /* under way or queued; more are refused */
	STORE_AHEAD_PARTS = 4,		  /* of a sequential reader */
	STORE_STREAMS = 64,		  /* sequential readers that are remembered */
	STORE_READS = 4096,
	STORE_REMOVES = 256,
	STORE_CHORES = 4,                       /* listings and puts of the janitor */
};

#define STORE_OBJECT_MAX_BYTES (UINT64_C(1) << 40)

struct store_counters {
	uint64_t cache_hits, cache_misses, puts, gets, removes, lists, errors, put_bytes, get_bytes;
};
struct store_stream { /* somebody reads an object from front to back */
	char object[OBJECT_NAME_MAX + 1];
	uint64_t part, used; /* where, and when last, by stream_clock */
	unsigned depth;	     /* parts fetched ahead */
};
struct store_role {
	const char *url; /* in full: with the path that a short one stands for */
	struct role_self *self;
	struct object_store *objects;
	struct cache *cache;
	struct work_pool *build_pool, *io_pool;
	struct store_counters counters;
	struct err last_error; /* that was counted, and when; 0: none */
	int64_t last_error_ms;
	bool failing; /* nothing has succeeded since */
	struct work prepare; /* at the start, and now and then */
	struct timer prepare_timer;
	struct err prepare_error;
	struct object_store_state said; /* what the log was told of it */
	bool draining;
	/* build.c */
	struct list builds_running, builds_waiting;
	unsigned running, waiting;
	/* fetch.c, read.c, remove.c: what is under way */
	struct map fetches; /* by what they fetch */
	struct store_stream streams[STORE_STREAMS];
	uint64_t stream_clock;
	unsigned reads, removes, chores;
};

/* Whether nothing is under way; when draining, ends the process then. Called whenever something ends. */
void store_idle_check(struct store_role *r);
/* Count a failure of the object store; ERR_NOT_FOUND and the like are answers, not failures. */
void store_count_error(struct store_role *r, const struct err *e);
/* Something succeeded. */
void store_count_success(struct store_role *r);
/* Log what was found out about the object store since the last time. */
void store_say(struct store_role *r);

/* SEGMENT_BUILD: answers the request, sooner or later. */
void build_request(struct store_role *r, struct role_request *q);
/* No more patience with a store that fails: what waits for another attempt ends now. */
void build_drain(struct store_role *r);

void read_request(struct store_role *r, struct role_request *q);   /* OBJECT_READ */
void remove_request(struct store_role *r, struct role_request *q); /* OBJECT_REMOVE */
void objects_list_request(struct store_role *r, struct role_request *q); /* OBJECT_LIST */
void objects_put_request(struct store_role *r, struct role_request *q);  /* OBJECT_PUT */

/*
 * Fetching: locate a stretch of an object in the cache, or bring it there; whoever wants the same bytes
 * shares one fetch. done() is called exactly once, maybe from inside fetch_locate(): with a read-only
 * descriptor (the callee's to close) that holds the stretch at `position`, or -1 and an error.
 */
struct fetch_waiter {
	struct list node;
	char object[OBJECT_NAME_MAX + 1];
	uint64_t object_bytes, offset, length;
	bool missed; /* counted as a miss already */
	void (*done)(struct fetch_waiter *w, int fd, uint64_t position, const struct err *e);
};
void fetch_locate(struct store_role *r, struct fetch_waiter *w);
/*
 * Bring the parts behind the one that holds `offset` into the cache, as far as `end` (at most object_bytes), side by side,
 * unless there is much to do already: one at first, up to STORE_AHEAD_PARTS for a reader that goes on.
 */
void fetch_ahead(struct store_role *r, const char *object, uint64_t object_bytes, uint64_t offset, uint64_t end);
bool fetch_may_guess(const struct store_role *r); /* is there room for what nobody asked for yet */

#endif
