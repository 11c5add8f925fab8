/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shd-meta: the process that holds the one handle on the metadata. One thread; the database is called
 * directly.
 *
 *   meta.c      its life: opens the database, hands requests to their handlers, closes when drained
 *   turn.c      all requests of one turn of the loop share a transaction; answers go out when it is on disk
 *   handlers.c  a function for each message
 *   snapshot.c  what goes into the object store, so that it can be made anew from there
 *   notice.c    tells agents that topics have changed
 */
#ifndef SH_DAEMON_META_META_H
#define SH_DAEMON_META_META_H

#include "daemon/role.h"
#include "libsh/base/list.h"
#include "libsh/store/meta.h"

enum {
	TURN_ANSWERS_MAX = 1024,   /* of one transaction */
	TURN_BYTES_MAX = 32 << 20, /* memory of their bodies */
	CHANGES_BYTES = 4 << 20, /* rows in one SESSION_RENEWED; one change may be larger, it is never cut */
	AGENTS_MAX = 64,
	NOTICE_TIMEOUT_MS = 10000,
};

struct meta_role;

struct turn_answer {
	int fd;     /* goes along with the answer; -1: none */
	bool holds; /* the answer waits for a snapshot */
	struct role_reply *reply;
	void *body;
	struct err *error; /* NULL: body is the answer */
};
struct turn {
	struct turn_end end;
	bool transaction;
	struct arena arena; /* what the answers point to */
	struct turn_answer answers[TURN_ANSWERS_MAX];
	size_t count;
	int answer_fd; /* a handler may put a descriptor here */
};
struct snapshots {
	struct snapshot stored, taken; /* their numbers only */
	bool have_stored, failing, asking, ask_again;
	uint64_t takes, taken_takes;
	struct list held;
};
struct notice {
	struct meta_role *role;
	uint32_t agent;
	bool wired, on_its_way;
	uint64_t told; /* version in the last notice */
};
struct renewal {
	uint64_t session;
	int64_t renewed_ms; /* boot clock */
};
struct meta_role {
	const char *url; /* in full: with the path that a short one stands for */
	struct role_self *self;
	struct meta *meta;
	struct turn turn;
	struct snapshots snapshots;
	uint64_t version; /* newest that was committed */
	struct notice notices[AGENTS_MAX];
	struct renewal renewals[AGENTS_MAX]; /* by slot */
};

/* ---- turn.c ---- */
void turn_request(struct meta_role *r, struct role_request *q);
void turn_finish(struct meta_role *r); /* commit and answer now */

/* ---- handlers.c ---- */
struct handler {
	/* Fills in *reply (zeroed, of the message's reply type); memory from r->turn.arena. */
	int (*run)(struct meta_role *r, const void *body, void *reply, struct err *e);
	size_t reply_bytes;
	bool changes; /* needs a transaction */
	bool holds;   /* answered when a snapshot is stored */
};
const struct handler *handlers_find(int type); /* NULL: not for us */

/* ---- notice.c ---- */
void notice_wired(struct meta_role *r, uint32_t agent);
void notice_changes(struct meta_role *r); /* after a transaction */

/* ---- snapshot.c ---- */
void snapshot_init(struct meta_role *r);
void snapshot_want(struct meta_role *r); /* tell the janitor that something worth one has changed */
void snapshot_hold(struct meta_role *r, struct role_reply *reply);
void snapshot_release_all(struct meta_role *r);
int snapshot_handle_take(struct meta_role *r, const void *body, void *reply, struct err *e);
int snapshot_handle_stored(struct meta_role *r, const void *body, void *reply, struct err *e);
int snapshot_handle_unknown(struct meta_role *r, const void *body, void *reply, struct err *e);

#endif
