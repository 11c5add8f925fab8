/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The family: one struct child for each role process, from its start through restarts to its end.
 *
 *	down -> starting -> running -> (draining) -> down
 *
 * A process is started with its channel on descriptor 3 and hears, in this order: CONFIGURE, WIRE for each
 * peer that is up, LISTEN, START. When one dies the kernel closes its channels at its peers; the next life
 * gets new ones, and so do they.
 */
#ifndef SH_DAEMON_CHILDREN_H
#define SH_DAEMON_CHILDREN_H

#include <stdbool.h>
#include "daemon/listeners.h"
#include "libsh/run/loop.h"
#include "libsh/run/settings.h"

struct children;
struct children_events { /* from the loop, never from inside the calls below */
	void (*ready)(void *ctx);             /* all have answered START; again after each restart */
	void (*hopeless)(void *ctx);          /* one keeps failing before all were ready for the first time */
	void (*gone)(void *ctx, bool clean);  /* after children_drain() or children_kill(): none is left */
};
struct children *children_new(struct loop *l, const char *data_dir, const struct listeners *listeners,
	int agents, const struct children_events *events, void *ctx);
void children_free(struct children *c);
/* What they are told, now and when they are started. Settings are borrowed until the next call. */
void children_configure(struct children *c, const struct settings *s);
int children_start(struct children *c, struct err *e);
void children_reap(struct children *c);  /* SIGCHLD came */
void children_drain(struct children *c); /* agents first, then who serves them */
void children_kill(struct children *c);

#endif
