/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every role program shares: its life as a child of shd, and calls to its peers.
 *
 * A role's main() fills in a struct role_program and calls role_main(). That reads the channel on fd 3:
 * CONFIGURE, then WIRE for each peer (again whenever a peer was started anew), LISTEN, START. start() may
 * take its time; role_ready() answers START. DRAIN calls drain(), which ends in role_drained(). When the
 * supervisor's channel closes the process exits at once: no child outlives its supervisor.
 */
#ifndef SH_DAEMON_ROLE_H
#define SH_DAEMON_ROLE_H

#include "daemon/messages.h"
#include "libsh/run/chan.h"
#include "libsh/run/loop.h"
#include "libsh/run/settings.h"

struct role_self {
	enum role role;
	struct loop *loop;
	struct settings *settings;
	const char *data_dir;
	uint32_t index, count; /* which of how many of this role */
	char *family_problem;  /* of other processes, for people; NULL: none */
	struct arena arena;    /* lives as long as the process */
};
struct role_request { /* a peer's request, body already unpacked */
	enum role from;
	uint32_t from_index;
	int type;              /* enum message_type */
	const void *body;      /* struct msg_... of the type; valid during the callback */
	struct chan_message *message; /* descriptors */
	struct role_reply *reply;     /* answer through it, once, now or later */
};
struct role_program {
	enum role role;
	void (*start)(struct role_self *self);
	/* Takes fd; before start(). */
	void (*listen)(struct role_self *self, const char *protocol, const char *address, int fd);
	/* Peers' requests that come before role_ready() was called wait until then. */
	void (*request)(struct role_self *self, struct role_request *r);
	void (*reload)(struct role_self *self); /* self->settings hold the new values */
	void (*drain)(struct role_self *self);
	void (*peer_wired)(struct role_self *self, enum role peer, uint32_t index); /* may be NULL */
};
int role_main(const struct role_program *program, int argc, char **argv);
void role_ready(struct role_self *self);
/* What a URL of only a scheme stands for: the file `path` under the data directory. Lives as long as the
 * process. */
const char *role_full_url(struct role_self *self, const char *url, const char *scheme, const char *path);
void role_drained(struct role_self *self); /* does not return: exits 0 */

/* Answer a request: body is the reply struct of its type. The reply object is freed; after its peer went away
 * it is a no-op. */
void role_answer(struct role_reply *r, const void *body, const int *fds, int fd_count);
void role_answer_error(struct role_reply *r, const struct err *e);

/*
 * Call a peer. body is the struct of the type. If the peer is away, or goes away before it answered and the
 * message may be sent again, the call waits for the peer's next life until timeout_ms has passed (0: for
 * ever). done() is called exactly once, never from inside peer_call(). Errors of its own: ERR_UNAVAILABLE:
 * never sent; ERR_OUTCOME_UNKNOWN: sent, and no answer came, or the peer died and the message may not be sent
 * again; ERR_BACK_PRESSURE: too many calls wait. Any other error is the peer's answer. reply is the reply
 * struct, valid during done(), NULL on error. message carries the descriptors.
 */
typedef void peer_done_fn(void *ctx, const void *reply, struct chan_message *message, const struct err *e);
struct peer_call_handle;
struct peer_call_handle *peer_call(struct role_self *self, enum role peer, uint32_t index, int type,
	const void *body, const int *fds, int fd_count, uint32_t timeout_ms, peer_done_fn *done, void *ctx);
/* done() will not be called; whether the peer acts is unknown. Not after done() was called. */
void peer_cancel(struct peer_call_handle *h);
bool peer_connected(struct role_self *self, enum role peer, uint32_t index);

#endif
