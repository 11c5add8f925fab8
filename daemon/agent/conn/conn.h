/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: sockets with limited buffers and deadlines, shared by the protocols of an agent (HTTP,
 * Kafka). This layer knows no protocol: it hands input over as it arrives, takes output, and says when
 * there is room again.
 *
 * Input is read into a buffer that all connections of a set share and handed to input(), which says how
 * much of it it used; what is left (the front of a request that is not complete) is kept for the
 * connection, at most CONN_KEEP_BYTES. So an idle connection holds no buffer. conn_pause() stops reading,
 * conn_resume() goes on: that is the back-pressure a client feels.
 *
 * Output is queued without ever blocking and written at the end of the turn, all answers of a turn in one
 * writev(2). The queue has no hard cap: a protocol starts nothing large unless conn_room() says there is
 * room, and goes on in room(). When many clients read slowly at once the set is tight: each has room for
 * less, and conn_is_tight() asks protocols to give up what they can read again.
 *
 * A connection is freed at the end of the turn in which it ended, so whoever is further up the stack may
 * touch it until then.
 */
#ifndef SH_AGENT_CONN_H
#define SH_AGENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/list.h"
#include "libsh/run/loop.h"

enum {
	CONN_SCRATCH_BYTES = 320 << 10,   /* shared read buffer of a set */
	CONN_KEEP_BYTES = 256 << 10,      /* unused input kept for one connection, at most */
	CONN_OUTPUT_HIGH_BYTES = 1 << 20, /* no room above */
	CONN_OUTPUT_LOW_BYTES = 256 << 10,/* room() is called when output falls to this again */
	CONN_OUTPUT_TIGHT_BYTES = 64 << 10, /* no room above, while the set is tight */
	CONN_SET_OUTPUT_BYTES = 256 << 20,/* queued in all connections of a set; above, it is tight */
	CONN_LISTENERS_MAX = 8,
	/* connections above the limit that are being told so; more are closed at once */
	CONN_REFUSED_MAX = 64,
	/* how long input is thrown away after the last answer, so that it is not lost to a reset */
	CONN_LINGER_MS = 2000,
};

struct conn;
struct conn_set;
struct conn_handlers {
	void (*opened)(struct conn *c);  /* the protocol's part of the struct is zero */
	/* n bytes of input at p, which may be changed in place. Returns the number used. */
	size_t (*input)(struct conn *c, char *p, size_t n);
	void (*eof)(struct conn *c);     /* the client has sent its last byte; it may still read */
	void (*room)(struct conn *c);    /* output fell to the low mark after conn_room() had said 0 */
	void (*deadline)(struct conn *c);/* what conn_deadline() set has come */
	/* it ended: release what hangs on it; the conn itself is freed afterwards */
	void (*gone)(struct conn *c);
	/* instead of opened(), above the limit: may write a word of goodbye; nothing else is called for it */
	void (*refused)(struct conn *c);
};

struct conn {
	struct list node;                /* in the set */
	struct conn_set *set;
	int fd;
	struct watch watch;
	struct turn_end turn_end;
	struct timer timer;
	struct buf kept;                 /* input not used yet */
	struct list output;              /* of struct conn_piece */
	size_t output_bytes;
	int64_t deadline_ns, stall_ns;   /* 0: none */
	bool paused, resumed, at_eof, want_room, finishing, lingering, ended, announced;
};

struct conn_set {
	struct loop *loop;
	const struct conn_handlers *handlers;
	void *ctx;
	size_t conn_bytes;               /* size of the protocol's struct, whose first member is struct conn */
	uint32_t max_connections, count;
	size_t output_bytes, output_max; /* queued in all of them; CONN_SET_OUTPUT_BYTES */
	int64_t stall_ms;                /* a connection whose output does not move for so long is cut */
	struct list conns;
	char *scratch;
	struct conn_piece *spare;
	struct conn_listener { struct conn_set *set; struct watch watch; struct timer pause; int fd; } listeners[CONN_LISTENERS_MAX];
	int listener_count;
	uint64_t accepted, refused, stalled;
	int64_t warned_ns;               /* of descriptors that ran out */
};

void conn_set_init(struct conn_set *s, struct loop *l, const struct conn_handlers *h, void *ctx,
	size_t conn_bytes);
int conn_set_listen(struct conn_set *s, int fd, struct err *e); /* takes fd, also on -1 */
void conn_set_unlisten(struct conn_set *s);
void conn_set_release(struct conn_set *s); /* ends and frees every connection at once */
/* A connection on a connected stream socket, which it takes over. NULL with e set, fd closed, when it
 * cannot be watched. */
struct conn *conn_add(struct conn_set *s, int fd, struct err *e);

void conn_write(struct conn *c, const void *p, size_t n);
/* Queue the bytes of b without a copy where that pays; b is empty afterwards. */
void conn_write_buf(struct conn *c, struct buf *b);
/* Bytes that may still be queued; when it is 0, room() will be called. */
size_t conn_room(struct conn *c);
bool conn_is_tight(const struct conn *c);
void conn_pause(struct conn *c);
void conn_resume(struct conn *c); /* input() is called with what is kept, at the end of this turn */
void conn_deadline(struct conn *c, int64_t after_ms); /* 0: none. One a connection; cheap to move */
void conn_finish(struct conn *c); /* close once all output has left; input is thrown away */
void conn_end(struct conn *c);    /* close now */

#endif
