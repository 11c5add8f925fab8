/* SPDX-License-Identifier: Apache-2.0 */
/* An agent and a meta process as two lives on one loop; the channel between them is cut and made anew. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/peer.h"
#include "libsh/base/fd.h"
#include "tests/unit/tap.h"

static struct role_life agent, meta;
static int requests;
static uint32_t request_timeout_ms;
static struct role_reply *kept;
static enum { ANSWER, REFUSE, KEEP, CUT } mode;

struct outcome {
	int calls;
	bool good;
	uint64_t topics;
	struct err e;
};
static int awaited;
static bool inside_call;

static void wire(void)
{
	struct err e = ERR_INIT;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		exit(1);
	peer_wire(&agent, ROLE_META, 0, fds[0], &e);
	peer_wire(&meta, ROLE_AGENT, 0, fds[1], &e);
}

/* Meta's end is dropped: what the agent sees when meta dies. */
static void cut(void)
{
	struct err e = ERR_INIT;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		exit(1);
	peer_wire(&meta, ROLE_AGENT, 0, fds[0], &e);
	close(fds[1]);
}

static void meta_request(struct role_self *self, struct role_request *r)
{
	struct msg_meta_status status = {.topics = 42, .url = "sqlite:"};
	struct err e = ERR_INIT;

	(void)self;
	requests++;
	request_timeout_ms = r->message->timeout_ms;
	switch (mode) {
	case ANSWER:
		role_answer(r->reply, &status, NULL, 0);
		break;
	case REFUSE:
		err_set(&e, ERR_UNAVAILABLE, "the database is busy");
		role_answer_error(r->reply, &e);
		break;
	case KEEP:
		kept = r->reply;
		break;
	case CUT:
		kept = r->reply;
		cut();
		mode = ANSWER;
		break;
	}
}

static void done(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct outcome *o = ctx;
	const struct msg_meta_status *status = reply;

	(void)message;
	o->calls += inside_call ? 100 : 1;
	o->good = reply;
	if (reply)
		o->topics = status->topics;
	if (e)
		o->e = *e;
	if (--awaited == 0)
		loop_stop(agent.self.loop, 0);
}

static struct peer_call_handle *call(int type, const void *body, uint32_t timeout_ms, struct outcome *o)
{
	struct peer_call_handle *h;

	memset(o, 0, sizeof(*o));
	awaited++;
	inside_call = true;
	h = peer_call(&agent.self, ROLE_META, 0, type, body, NULL, 0, timeout_ms, done, o);
	inside_call = false;
	return h;
}

static struct outcome call_and_wait(int type, const void *body, uint32_t timeout_ms)
{
	struct outcome o;

	call(type, body, timeout_ms, &o);
	loop_run(agent.self.loop);
	return o;
}

static void wire_timer(void *ctx)
{
	(void)ctx;
	wire();
}

static void test_away(void)
{
	struct timer t = {0};
	struct outcome o;

	ok(!peer_connected(&agent.self, ROLE_META, 0), "nobody is there yet");
	o = call_and_wait(MSG_META_STATUS, NULL, 20);
	ok(o.calls == 1 && o.e.code == ERR_UNAVAILABLE, "a call that could not be sent in time: unavailable");
	loop_timer_set(agent.self.loop, &t, 20, wire_timer, NULL);
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.good && o.topics == 42, "a call waits for its peer");
	ok(peer_connected(&agent.self, ROLE_META, 0), "which is there now");
}

static void test_answers(void)
{
	struct outcome o;

	mode = REFUSE;
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.calls == 1 && o.e.code == ERR_UNAVAILABLE && !strcmp(o.e.text, "the database is busy"),
		"the peer's own error is its answer, it is not tried again");
	mode = KEEP;
	o = call_and_wait(MSG_META_STATUS, NULL, 20);
	is_int(o.e.code, ERR_OUTCOME_UNKNOWN, "sent, and no answer in time: outcome unknown");
	role_answer(kept, &(struct msg_meta_status){0}, NULL, 0);
	mode = ANSWER;
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.calls == 1 && o.topics == 42, "the late answer is not taken for the next one's");
}

static void test_death(void)
{
	struct msg_topic_create create = {.name = "t", .partitions = 1, .config = "{}"};
	struct timer t = {0};
	struct outcome o;

	mode = CUT;
	requests = 0;
	loop_timer_set(agent.self.loop, &t, 20, wire_timer, NULL);
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.good && requests == 2, "a call that may be repeated is sent again to the peer's next life");
	role_answer(kept, &(struct msg_meta_status){0}, NULL, 0);
	ok(true, "an answer whose asker is gone goes nowhere");
	mode = CUT;
	requests = 0;
	o = call_and_wait(MSG_TOPIC_CREATE, &create, 5000);
	ok(o.calls == 1 && o.e.code == ERR_OUTCOME_UNKNOWN && requests == 1, "one that may not: outcome unknown, at once");
	role_answer_error(kept, &(struct err)ERR_INIT);
	mode = CUT;
	wire();
	o = call_and_wait(MSG_META_STATUS, NULL, 50);
	ok(o.calls == 1 && o.e.code == ERR_OUTCOME_UNKNOWN, "and no next life before the deadline: outcome unknown");
	role_answer_error(kept, &(struct err)ERR_INIT);
	wire();
}

static void test_limits(void)
{
	static struct outcome o[PEER_MAX_CALLS + 10];
	int refused = 0, good = 0, early = 0;

	mode = ANSWER;
	for (int i = 0; i < PEER_MAX_CALLS + 10; i++)
		call(MSG_META_STATUS, NULL, 20000, &o[i]);
	loop_run(agent.self.loop);
	for (int i = 0; i < PEER_MAX_CALLS + 10; i++) {
		refused += o[i].e.code == ERR_BACK_PRESSURE;
		good += o[i].good;
		early += o[i].calls != 1;
	}
	ok(refused == 10 && good == PEER_MAX_CALLS, "the number of calls has a limit (%d answered, %d refused)", good, refused);
	is_int(early, 0, "done() comes once, and never from inside of peer_call()");
}

static void test_cancel(void)
{
	struct peer_call_handle *h;
	struct outcome cancelled, o;

	mode = KEEP;
	h = call(MSG_META_STATUS, NULL, 5000, &cancelled);
	peer_cancel(h);
	mode = ANSWER;
	awaited--;
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.good && cancelled.calls == 0, "a cancelled call is not heard of any more");
	cut();
	h = call(MSG_META_STATUS, NULL, 5000, &cancelled);
	peer_cancel(h);
	awaited--;
	wire();
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.good && cancelled.calls == 0, "also one that waited for its peer");
}

static void not_ready_timer(void *ctx)
{
	(void)ctx;
	is_int(requests, 0, "requests wait until the role is ready");
	meta.ready = true;
	peer_accept(&meta);
}

static void test_not_ready(void)
{
	struct outcome o, impatient;
	struct timer t = {0};

	meta.ready = false;
	requests = 0;
	call(MSG_META_STATUS, NULL, 5, &impatient);
	loop_timer_set(agent.self.loop, &t, 30, not_ready_timer, NULL);
	o = call_and_wait(MSG_META_STATUS, NULL, 5000);
	ok(o.good && requests == 1, "then they are served");
	ok(request_timeout_ms <= 4970, "and hear how long their asker still waits (%u ms)", request_timeout_ms);
	is_int(impatient.e.code, ERR_OUTCOME_UNKNOWN, "one whose asker waits no more is not");
}

int main(void)
{
	static const struct role_program meta_program = {.role = ROLE_META, .request = meta_request};
	static const struct role_program agent_program = {.role = ROLE_AGENT};
	struct err e = ERR_INIT;
	struct loop *l = loop_new(&e);

	agent = (struct role_life){.self = {.role = ROLE_AGENT, .loop = l}, .program = &agent_program, .ready = true};
	meta = (struct role_life){.self = {.role = ROLE_META, .loop = l}, .program = &meta_program, .ready = true};
	list_init(&agent.peers);
	list_init(&meta.peers);
	test_away();
	test_answers();
	test_death();
	test_limits();
	test_cancel();
	test_not_ready();
	return done_testing();
}
