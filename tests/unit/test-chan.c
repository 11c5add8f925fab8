/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of a channel in one process and one loop. The right end echoes what it is asked. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "libsh/run/chan.h"
#include "tests/unit/tap.h"

enum { ECHO = 1, REFUSE, IGNORE, FREE_SELF, LEND_LAST };

static struct loop *loop;
static struct chan *left, *right;
static int awaited, closed_count, requests;
static uint32_t kept_id;
static struct rlimit old_limit;

struct answer {
	bool came, good;
	int type, fd_count;
	struct err e;
	size_t len;
	uint8_t first, last;
};

static void replied(void *ctx, struct chan_message *m, const struct err *e)
{
	struct answer *a = ctx;

	a->came = true;
	a->good = m;
	if (m) {
		a->type = m->type;
		a->len = m->body.len;
		a->fd_count = m->fd_count;
		a->first = a->len ? m->body.data[0] : 0;
		a->last = a->len ? m->body.data[a->len - 1] : 0;
	}
	if (e)
		a->e = *e;
	if (--awaited == 0)
		loop_stop(loop, 0);
}

/* No descriptor can be opened any more, until the limit is put back. */
static void use_up_descriptors(void)
{
	struct rlimit limit = old_limit;
	int fd = dup(0);

	limit.rlim_cur = (rlim_t)fd; /* the lowest free one */
	close(fd);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void request(void *ctx, struct chan *c, struct chan_message *m)
{
	struct err e = ERR_INIT;

	(void)ctx;
	requests++;
	switch (m->type) {
	case ECHO:
		chan_reply(c, m->id, ECHO, m->body.data, m->body.len, m->fds, m->fd_count);
		break;
	case REFUSE:
		err_set(&e, ERR_FENCED, "no longer %d", 1);
		err_hint(&e, "ask somebody else");
		chan_reply_error(c, m->id, &e);
		break;
	case LEND_LAST:
		chan_reply(c, m->id, LEND_LAST, NULL, 0, (int[]){0}, 1);
		use_up_descriptors();
		break;
	case FREE_SELF:
		chan_free(c);
		right = NULL;
		break;
	default:
		kept_id = m->id;
	}
}

static void closed(void *ctx, struct chan *c)
{
	(void)ctx;
	closed_count++;
	chan_free(c);
	if (c == left)
		left = NULL;
	else
		right = NULL;
	loop_stop(loop, 0);
}

static const struct chan_handlers handlers = {request, closed};

static void setup(void)
{
	struct err e = ERR_INIT;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
		exit(1);
	left = chan_new(loop, fds[0], &handlers, NULL, &e);
	right = chan_new(loop, fds[1], &handlers, NULL, &e);
	awaited = closed_count = requests = 0;
}

static void teardown(void)
{
	chan_free(left);
	chan_free(right);
	left = right = NULL;
}

static struct answer ask(uint16_t type, const void *body, size_t n, const int *fds, int fd_count, uint32_t timeout_ms)
{
	struct answer a = {0};

	awaited++;
	if (chan_request(left, type, body, n, fds, fd_count, timeout_ms, replied, &a, &a.e)) {
		awaited--;
		return a;
	}
	if (a.came)
		a.good = false;
	loop_run(loop);
	return a;
}

static int open_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_echo(void)
{
	static const size_t sizes[] = {0, 1, CHAN_INLINE_BYTES, CHAN_INLINE_BYTES + 1, 5 << 20};
	uint8_t *big = malloc(5 << 20);

	memset(big, 'b', 5 << 20);
	big[0] = 'a';
	for (size_t i = 0; i < array_count(sizes); i++) {
		struct answer a = ask(ECHO, big, sizes[i], NULL, 0, 5000);

		ok(a.good && a.len == sizes[i] && (a.len < 2 || (a.first == 'a' && a.last == 'b')),
			"a body of %zu bytes comes back", sizes[i]);
	}
	free(big);
}

static void test_errors(void)
{
	struct answer a = ask(REFUSE, NULL, 0, NULL, 0, 5000);
	uint8_t byte = 0;

	ok(!a.good && a.e.code == ERR_FENCED, "an error answer has its code");
	is_str(a.e.text, "no longer 1", "its text");
	is_str(a.e.hint, "ask somebody else", "and its hint");
	a = ask(IGNORE, NULL, 0, NULL, 0, 20);
	ok(!a.good && a.e.code == ERR_REQUEST_TIMEOUT, "no answer in time is a timeout");
	chan_reply(right, kept_id, IGNORE, "late", 4, NULL, 0);
	a = ask(ECHO, "x", 1, NULL, 0, 5000);
	ok(a.good && a.first == 'x', "a late answer is dropped, not taken for the next one");
	a = ask(ECHO, &byte, (size_t)CHAN_MAX_BYTES + 1, NULL, 0, 5000);
	ok(!a.came && a.e.code == ERR_TOO_LARGE, "a body above the limit is refused at once");
}

static void test_fds(void)
{
	struct answer a;
	int fds[CHAN_MAX_FDS], before, bad = 9999;
	uint8_t *big = calloc(1, CHAN_INLINE_BYTES * 2);

	for (int i = 0; i < CHAN_MAX_FDS; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	before = open_fds();
	a = ask(ECHO, "x", 1, fds, CHAN_MAX_FDS, 5000);
	is_int(a.fd_count, CHAN_MAX_FDS, "descriptors travel");
	a = ask(ECHO, big, CHAN_INLINE_BYTES * 2, fds, CHAN_MAX_FDS, 5000);
	ok(a.good && a.fd_count == CHAN_MAX_FDS, "also beside a large body, which the caller does not see as one");
	is_int(open_fds(), before, "and none is left over");
	a = ask(ECHO, "x", 1, &bad, 1, 5000);
	ok(!a.came && a.e.code == ERR_INTERNAL, "one that is not open is refused");
	for (int i = 0; i < CHAN_MAX_FDS; i++)
		close(fds[i]);
	free(big);
}

static void test_pressure(void)
{
	static struct answer answers[CHAN_MAX_PENDING + 10];
	struct err e = ERR_INIT;
	int taken = 0, good = 0;

	setup();
	memset(answers, 0, sizeof(answers));
	for (int i = 0; i < CHAN_MAX_PENDING + 10; i++)
		taken += !chan_request(left, ECHO, "0123456789", 10, NULL, 0, 10000, replied, &answers[i], &e);
	is_int(taken, CHAN_MAX_PENDING, "as many requests wait as the limit says");
	is_int(e.code, ERR_BACK_PRESSURE, "the next one hears of back-pressure");
	awaited = taken;
	loop_run(loop);
	for (int i = 0; i < taken; i++)
		good += answers[i].good && answers[i].len == 10;
	is_int(good, taken, "all are answered once the socket takes them");
	teardown();
}

static void test_bytes_limit(void)
{
	static struct answer a[CHAN_MAX_PENDING];
	static uint8_t body[CHAN_INLINE_BYTES];
	struct err e = ERR_INIT;
	int taken = 0;

	setup();
	while (taken < CHAN_MAX_PENDING &&
		!chan_request(left, ECHO, body, sizeof(body), NULL, 0, 10000, replied, &a[taken], &e))
		taken++;
	ok(taken < CHAN_MAX_PENDING && e.code == ERR_BACK_PRESSURE, "queued bytes have a limit, too (%d requests)", taken);
	awaited = taken;
	loop_run(loop);
	is_int(awaited, 0, "they are all answered");
	teardown();
}

static void test_close(void)
{
	struct answer a;

	setup();
	a = ask(FREE_SELF, NULL, 0, NULL, 0, 5000);
	ok(a.came && !a.good && a.e.code == ERR_UNAVAILABLE, "when the other side goes away, who waits hears of it");
	if (!closed_count)
		loop_run(loop);
	is_int(closed_count, 1, "then closed() is called, and may free the channel");
	ok(!left && !right, "both ends are gone");
	setup();
	awaited = 2; /* so that the reply does not stop the loop */
	chan_request(left, IGNORE, NULL, 0, NULL, 0, 0, replied, &a, NULL);
	a.came = false;
	chan_free(left);
	ok(a.came && a.e.code == ERR_UNAVAILABLE, "freeing a channel fails what it waits for");
	left = NULL;
	loop_run(loop);
	is_int(closed_count, 1, "the other end notices");
	teardown();
}

/* Raw bytes into one end: the channel must close, and keep no descriptor. */
static void test_garbage(void)
{
	uint8_t frame[64];
	int survived = 0, before = open_fds();

	srand(2);
	for (int round = 0; round < 300; round++) {
		struct err e = ERR_INIT;
		size_t n = 1 + (size_t)rand() % sizeof(frame);
		int fds[2];

		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
			exit(1);
		left = chan_new(loop, fds[0], &handlers, NULL, &e);
		closed_count = 0;
		for (size_t i = 0; i < n; i++)
			frame[i] = (uint8_t)rand();
		if (round % 2 && n >= 20) { /* a good magic and flags, then nonsense */
			put_le16(frame, 0x4843);
			put_le16(frame + 4, (uint16_t)(rand() % 8));
			put_le16(frame + 6, 0);
			put_le32(frame + 16, rand() % 2 ? UINT32_MAX : (uint32_t)n + 1);
		}
		if (write(fds[1], frame, n) != (ssize_t)n)
			exit(1);
		loop_run(loop);
		survived += closed_count != 1;
		close(fds[1]);
	}
	is_int(survived, 0, "a damaged frame closes the channel");
	is_int(open_fds(), before, "and leaves no descriptor behind");
}

/* A process that is short of descriptors loses a message, not the channel: nobody would make it a new one. */
static void test_no_descriptors(void)
{
	static uint8_t large[2 * CHAN_INLINE_BYTES];
	struct answer a = {0}, b = {0}, c = {0}, d = {0};
	struct err e = ERR_INIT;
	int zero = 0;

	setup();
	getrlimit(RLIMIT_NOFILE, &old_limit);
	awaited = 2;
	chan_request(left, ECHO, "x", 1, &zero, 1, 0, replied, &a, &e);
	chan_request(left, ECHO, large, sizeof(large), NULL, 0, 0, replied, &b, &e);
	use_up_descriptors();
	loop_run(loop);
	setrlimit(RLIMIT_NOFILE, &old_limit);
	is_int(closed_count, 0, "a descriptor that could not be taken: the channel stays");
	is_int(a.e.code, ERR_UNAVAILABLE, "the request is answered: not now");
	is_int(b.e.code, ERR_UNAVAILABLE, "one with a large body as well");
	awaited = 1;
	if (left)
		chan_request(left, LEND_LAST, NULL, 0, NULL, 0, 0, replied, &c, &e);
	loop_run(loop);
	setrlimit(RLIMIT_NOFILE, &old_limit);
	is_int(c.e.code, ERR_OUTCOME_UNKNOWN, "an answer whose descriptor could not be taken: outcome unknown");
	awaited = 1;
	if (left)
		chan_request(left, ECHO, "x", 1, &zero, 1, 0, replied, &d, &e);
	loop_run(loop);
	ok(d.good && d.fd_count == 1, "afterwards all is well");
	teardown();
}

/* The kernel limits the descriptors of a user that are on their way; what waits for that goes later. */
static int send_too_many(void)
{
	enum { LIMIT = 64, MESSAGES = 80 };
	struct rlimit limit = {LIMIT, LIMIT};
	static struct answer answers[MESSAGES];
	int fds[CHAN_MAX_FDS] = {0}, good = 0;
	struct err e = ERR_INIT;

	if (setrlimit(RLIMIT_NOFILE, &limit) || (!geteuid() && setuid(65534)))
		return 1;
	for (int i = 0; i < MESSAGES; i++)
		if (!chan_request(left, ECHO, "x", 1, fds, 1, 0, replied, &answers[i], &e))
			awaited++;
	loop_run(loop);
	for (int i = 0; i < MESSAGES; i++)
		good += answers[i].good;
	return closed_count || good < MESSAGES;
}

static void test_many_in_flight(void)
{
	int status = -1;
	pid_t pid;

	setup();
	pid = fork();
	if (!pid)
		_exit(send_too_many());
	waitpid(pid, &status, 0);
	is_int(status, 0, "too many descriptors on their way: the channel stays, and they arrive");
	teardown();
}

int main(void)
{
	struct err e = ERR_INIT;

	loop = loop_new(&e);
	setup();
	test_echo();
	test_errors();
	test_fds();
	teardown();
	test_pressure();
	test_bytes_limit();
	test_close();
	test_garbage();
	test_no_descriptors();
	test_many_in_flight();
	loop_free(loop);
	return done_testing();
}
