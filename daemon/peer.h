/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of role.h: what role.c (life under the supervisor) and peer.c (calls between roles) share. */
#ifndef SH_DAEMON_PEER_H
#define SH_DAEMON_PEER_H

#include "daemon/role.h"
#include "libsh/base/list.h"

enum {
	PEER_MAX_INDEX = 64,           /* processes of one role */
	PEER_MAX_CALLS = 4096,         /* to one peer, waiting or on their way */
	PEER_MAX_CALL_BYTES = 64 << 20, /* bodies kept for those calls */
};

struct role_life {
	struct role_self self;
	const struct role_program *program;
	struct chan *supervisor;
	uint32_t start_id, drain_id; /* to answer */
	bool configured, started, ready, draining;
	struct list peers;
};

static inline struct role_life *role_life(struct role_self *self)
{
	return container_of(self, struct role_life, self);
}

/* Takes fd, also on error; an older channel to that peer is dropped. */
int peer_wire(struct role_life *life, enum role role, uint32_t index, int fd, struct err *e);
/* Adds a row of WIRE for each peer to which there is no channel. */
void peer_list_lost(struct role_life *life, struct buf *rows);
/* The role is ready: hand on the requests that came in before. */
void peer_accept(struct role_life *life);

#endif
