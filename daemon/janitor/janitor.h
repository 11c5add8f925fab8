/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside shd-janitor. Three errands, each with a timer and one call on its way at a time. The first look of orphans.c comes before
 * all that changes the store.
 *
 *   janitor.c    its life; the round: expire, and remove what is dead
 *   orphans.c    what lies in the store: is it from another metadata; segments that were put too late
 *   snapshots.c  the metadata's snapshots go into the object store
 */
#ifndef SH_DAEMON_JANITOR_JANITOR_H
#define SH_DAEMON_JANITOR_JANITOR_H

#include <stdio.h>
#include "daemon/role.h"
#include "libsh/base/map.h"

enum {
	NAMES_MAX = 1000, /* of one round, of one question */
	CALL_TIMEOUT_MS = 60000,
	LIST_TIMEOUT_MS = 600000,
};

void orphans_start(struct role_self *self);
void orphans_drain(void);
bool orphans_looked(void); /* at the store, since the start; else nothing may be removed */

void snapshots_start(struct role_self *self);
void snapshots_wanted(void);
void snapshots_unreachable(struct role_self *self); /* the store could not be looked at: whoever waits for one hears that */
void snapshots_drain(void);

/* The rows that OBJECT_LIST answered with, into memory from a. */
int janitor_read_listed(const struct msg_object_listed *m, struct chan_message *message, struct arena *a, struct bytes *rows,
	struct err *e);

#endif
