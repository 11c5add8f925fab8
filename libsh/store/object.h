/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Object stores behind one contract. Calls block; callers run them on worker threads. A driver may be used from several threads
 * at once. Objects are written once and never changed; names are relative paths of [A-Za-z0-9._/-], no "..".
 *
 * Errors: ERR_NOT_FOUND only when the store said so; ERR_EXISTS from put when the name is taken; ERR_UNAVAILABLE when the
 * store could not be reached or answered that it cannot now (nothing happened); ERR_OUTCOME_UNKNOWN when a
 * change may or may not have happened: the caller reads back and compares; ERR_NO_SPACE; ERR_IO.
 */
#ifndef SH_STORE_OBJECT_H
#define SH_STORE_OBJECT_H

#include <stdbool.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"
#include "libsh/run/settings.h"

enum { OBJECT_NAME_MAX = 200 }; /* bytes */

struct object_info {
	const char *name;
	uint64_t bytes;
	int64_t modified_ms;
};
struct object_store;
/* What a driver knows without asking its store. */
struct object_store_state {
	bool paused;            /* it failed several times in a row: most calls fail at once, for a while */
	int64_t pause_left_ms;  /* until one call is let through */
	uint64_t failures;      /* in a row */
	bool looks_first;       /* it would let a name be written twice, so put looks whether it is taken */
	int64_t clock_ahead_ms; /* the store's clock before ours, where that had to be corrected; else 0 */
};
struct object_driver {
	const char *scheme; /* "file" */
	/* Durable once 0 is returned: all `bytes` of fd from its start under a name that was free. */
	int (*put)(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e);
	/* Exactly n bytes at offset into p; ERR_CORRUPT when the object ends before. */
	int (*get)(struct object_store *s, const char *name, uint64_t offset, void *p, size_t n, struct err *e);
	int (*size)(struct object_store *s, const char *name, uint64_t *bytes, struct err *e);
	int (*remove)(struct object_store *s, const char *name, struct err *e); /* absent is success */
	/* Every object whose name starts with prefix, in no order; each() returning non-zero stops and is returned. */
	int (*list)(struct object_store *s, const char *prefix, int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e);
	/* Looks whether the store can be used, and tidies what was left half done; NULL: there is nothing to look at. Blocks;
	 * a failure changes nothing, what it could not find out is found out with the first put. */
	int (*prepare)(struct object_store *s, struct err *e);
	void (*state)(struct object_store *s, struct object_store_state *state); /* NULL: nothing to say */
	void (*free)(struct object_store *s);
};
struct object_store {
	const struct object_driver *driver;
	/* driver's own fields follow */
};

/* "file:" (a directory `objects` under data_dir), "file:///dir", "s3://bucket/prefix". ERR_NOT_BUILT for a scheme without a driver. For
 * tests: "fault:RULES_FILE:URL", the store of that URL behind object_fault_open(); the rules file's path holds no colon.
 * settings: those that begin with "s3."; NULL: what the environment says of them (SHD_S3_ENDPOINT, ...), as for shd. */
int object_store_open(const char *url, const char *data_dir, const struct settings *settings, struct object_store **s, struct err *e);
int object_store_prepare(struct object_store *s, struct err *e);
struct object_store_state object_store_state(struct object_store *s);
void object_store_free(struct object_store *s); /* NULL allowed */
/* 1 to OBJECT_NAME_MAX bytes; no part between slashes is empty or starts with a dot. */
int object_name_check(const char *name, struct err *e);
/* put, and after ERR_OUTCOME_UNKNOWN or ERR_EXISTS read back and compare length and content with fd's: 0 when the same;
 * ERR_EXISTS when another object has the name. Tries again, a few times, when the read says that nothing was written. */
int object_put_verified(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e);

/* A directory, made when absent. Files appear under their name whole and synced; what is being written is in its `.tmp`,
 * where leftovers older than a day are removed when it is opened. */
int object_dir_open(const char *path, struct object_store **s, struct err *e);

/* place: "bucket/prefix". Keys come from where object_s3_credentials.h says. Nothing is asked of the network yet. */
int object_s3_open(const char *place, const struct settings *settings, struct object_store **s, struct err *e);

/* Before a store that is far away (which it takes over): at most so many requests a second (0: no limit; the
 * caller's thread waits, or hears ERR_BACK_PRESSURE when too many wait), and ERR_UNAVAILABLE at once while the
 * store is failing, but for one call now and then. */
struct object_store *object_guard_new(
	struct object_store *inner, int64_t puts_per_second, int64_t gets_per_second);

/* Wraps another store (takes it over) and fails on demand, for tests. Rules, one a line: "OP MODE [after=N] [times=N] [percent=P seed=S]
 * [delay_ms=N]", OP put|get|size|remove|list|*, MODE unavailable|io|no_space|outcome_unknown (does it, then says so)|not_done (says unknown, did nothing)
 * |short (get: truncated)|flip (get: one bit)|delay. `after` lets the first N calls pass, `times` ends the rule after N hits. The
 * first rule that hits decides; a delay goes on to the next. # starts a comment. Read again from rules_path when the file changes, with
 * fresh counts; no file means no rules; a line that cannot be read fails every call (ERR_INVALID_ARGUMENT). */
int object_fault_open(struct object_store *inner, const char *rules_path, struct object_store **s, struct err *e);

#endif
