/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/conn/conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"

enum {
	PIECE_SMALL_BYTES = 16 << 10,  /* below, bytes are copied to the last piece */
	PIECE_MAX_BYTES = INT32_MAX,   /* conn_room() is the limit that counts */
	WRITE_PIECES = 16,             /* in one writev(2) */
	ACCEPT_PER_TURN = 64,
	ACCEPT_PAUSE_MS = 250,         /* out of descriptors */
	WARN_EVERY_MS = 10000,
	LISTEN_BACKLOG = 1024,
};

struct conn_piece {
	struct list node;
	struct buf buf;
	size_t sent;
};

/* ---- one connection: its end ---- */

static void piece_free(struct conn_set *s, struct conn_piece *p)
{
	list_remove(&p->node);
	if (!s->spare && p->buf.alloc <= PIECE_SMALL_BYTES) {
		buf_reset(&p->buf);
		s->spare = p;
		return;
	}
	buf_release(&p->buf);
	mem_free(p);
}

static void output_changed(struct conn *c, ptrdiff_t bytes)
{
	c->output_bytes += bytes;
	c->set->output_bytes += bytes;
}

static void conn_free(struct conn *c)
{
	struct conn_set *s = c->set;

	loop_turn_end_cancel(&c->turn_end);
	loop_timer_cancel(s->loop, &c->timer);
	loop_unwatch(s->loop, &c->watch);
	if (!c->announced) {
		c->announced = true;
		s->handlers->gone(c);
	}
	loop_turn_end_cancel(&c->turn_end); /* gone() may have written */
	fd_close(&c->fd);
	list_for_each_safe(it, &c->output)
		piece_free(s, list_entry(it, struct conn_piece, node));
	s->output_bytes -= c->output_bytes;
	buf_release(&c->kept);
	list_remove(&c->node);
	s->count--;
	mem_free(c);
}

static void conn_turn_end(void *ctx);

static void conn_schedule(struct conn *c)
{
	loop_at_turn_end(c->set->loop, &c->turn_end, conn_turn_end, c);
}

void conn_end(struct conn *c)
{
	if (c->ended)
		return;
	c->ended = true;
	loop_unwatch(c->set->loop, &c->watch);
	conn_schedule(c);
}

/* ---- deadlines ---- */

static void conn_timer_fired(void *ctx);

/* The timer is only moved when it would come too late; one that comes too early sets itself again. */
static void conn_timer_update(struct conn *c)
{
	int64_t now = loop_now_ns(c->set->loop), next = c->deadline_ns;

	if (c->stall_ns && (!next || c->stall_ns < next))
		next = c->stall_ns;
	if (!next)
		return;
	if (c->timer.index && c->timer.deadline_ns <= next)
		return;
	loop_timer_set(c->set->loop, &c->timer, next > now ? (next - now + 999999) / 1000000 : 0,
		conn_timer_fired, c);
}

static void conn_timer_fired(void *ctx)
{
	struct conn *c = ctx;
	int64_t now = loop_now_ns(c->set->loop);

	if (c->ended)
		return;
	if (c->stall_ns && now >= c->stall_ns) {
		c->set->stalled++;
		conn_end(c);
		return;
	}
	if (c->deadline_ns && now >= c->deadline_ns) {
		c->deadline_ns = 0;
		if (c->lingering) {
			conn_end(c);
			return;
		}
		c->set->handlers->deadline(c);
	}
	if (!c->ended)
		conn_timer_update(c);
}

void conn_deadline(struct conn *c, int64_t after_ms)
{
	if (c->lingering)
		return;
	c->deadline_ns = after_ms ? loop_now_ns(c->set->loop) + after_ms * 1000000 : 0;
	conn_timer_update(c);
}

/* ---- output ---- */

static void conn_set_events(struct conn *c)
{
	uint32_t events = 0;

	if (c->ended)
		return;
	if (!c->at_eof && (!c->paused || c->lingering))
		events |= EPOLLIN;
	if (c->output_bytes)
		events |= EPOLLOUT;
	if (events != c->watch.events)
		loop_watch_change(c->set->loop, &c->watch, events);
}

static struct conn_piece *piece_new(struct conn *c)
{
	struct conn_piece *p = c->set->spare;

	c->set->spare = NULL;
	if (!p) {
		p = mem_zalloc(sizeof(*p));
		buf_init(&p->buf, PIECE_MAX_BYTES);
	}
	p->sent = 0;
	list_push(&c->output, &p->node);
	return p;
}

void conn_write(struct conn *c, const void *data, size_t n)
{
	struct conn_piece *p = list_empty(&c->output) ? NULL : list_entry(c->output.prev, struct conn_piece, node);

	if (c->ended || !n)
		return;
	if (!p || p->buf.len + n > PIECE_SMALL_BYTES)
		p = piece_new(c);
	if (buf_add(&p->buf, data, n) < 0) {
		conn_end(c);
		return;
	}
	output_changed(c, (ptrdiff_t)n);
	conn_schedule(c);
}

void conn_write_buf(struct conn *c, struct buf *b)
{
	struct conn_piece *p;

	if (b->len < PIECE_SMALL_BYTES / 2 || c->ended) {
		conn_write(c, b->data, b->len);
		buf_release(b);
		return;
	}
	p = piece_new(c);
	buf_release(&p->buf);
	p->buf = *b;
	*b = (struct buf)BUF_INIT(p->buf.max);
	output_changed(c, (ptrdiff_t)p->buf.len);
	conn_schedule(c);
}

bool conn_is_tight(const struct conn *c)
{
	return c->set->output_bytes > c->set->output_max;
}

size_t conn_room(struct conn *c)
{
	size_t high = conn_is_tight(c) ? CONN_OUTPUT_TIGHT_BYTES : CONN_OUTPUT_HIGH_BYTES;

	if (c->output_bytes < high && !c->ended)
		return high - c->output_bytes;
	c->want_room = true;
	return 0;
}

static void output_sent(struct conn *c, size_t n)
{
	output_changed(c, -(ptrdiff_t)n);
	c->stall_ns = 0;
	list_for_each_safe(it, &c->output) {
		struct conn_piece *p = list_entry(it, struct conn_piece, node);
		size_t left = p->buf.len - p->sent;

		if (n < left) {
			p->sent += n;
			return;
		}
		n -= left;
		piece_free(c->set, p);
	}
}

/* One writev(2). 1: all asked for was taken; 0: the socket is full; -1: the connection is over. */
static int conn_write_once(struct conn *c)
{
	struct iovec iov[WRITE_PIECES];
	size_t asked = 0;
	int count = 0;
	ssize_t n;

	list_for_each(it, &c->output) {
		struct conn_piece *p = list_entry(it, struct conn_piece, node);

		if (count == WRITE_PIECES)
			break;
		iov[count].iov_base = p->buf.data + p->sent;
		iov[count].iov_len = p->buf.len - p->sent;
		asked += iov[count++].iov_len;
	}
	/* sendmsg, not writev: a client that is gone must not raise SIGPIPE, whatever the process does
	 * about signals */
	n = sendmsg(c->fd, &(struct msghdr){.msg_iov = iov, .msg_iovlen = count}, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	output_sent(c, n);
	return (size_t)n == asked;
}

static void conn_linger(struct conn *c)
{
	c->lingering = true;
	shutdown(c->fd, SHUT_WR);
	if (c->at_eof) {
		conn_end(c);
		return;
	}
	c->deadline_ns = loop_now_ns(c->set->loop) + (int64_t)CONN_LINGER_MS * 1000000;
	conn_timer_update(c);
}

static void conn_flush(struct conn *c)
{
	int result = 1;

	while (c->output_bytes && result == 1)
		result = conn_write_once(c);
	if (result < 0) {
		conn_end(c);
		return;
	}
	if (c->output_bytes && !c->stall_ns && c->set->stall_ms) {
		c->stall_ns = loop_now_ns(c->set->loop) + c->set->stall_ms * 1000000;
		conn_timer_update(c);
	}
	if (!c->output_bytes && c->finishing && !c->lingering)
		conn_linger(c);
	conn_set_events(c);
}

/* ---- input ---- */

/* Hand over what is kept and what was just read behind it, n bytes in the scratch buffer; keep what is
 * left. */
static void conn_hand_over(struct conn *c, size_t n)
{
	struct conn_set *s = c->set;
	size_t used = 0;

	buf_reset(&c->kept);
	if (!c->finishing && n)
		used = s->handlers->input(c, s->scratch, n);
	if (c->ended || c->finishing || used >= n) {
		if (c->kept.alloc)
			buf_release(&c->kept);
		return;
	}
	if (n - used > CONN_KEEP_BYTES && !c->paused) {
		log_error("a connection was cut: its protocol neither used nor refused %zu bytes of input", n - used);
		conn_end(c);
		return;
	}
	buf_add(&c->kept, s->scratch + used, n - used);
}

static void conn_go_on(struct conn *c)
{
	size_t n = c->kept.len;

	c->resumed = false;
	if (n) {
		memcpy(c->set->scratch, c->kept.data, n);
		conn_hand_over(c, n);
	}
	if (c->at_eof && !c->paused && !c->ended && !c->finishing)
		c->set->handlers->eof(c);
}

static void conn_read(struct conn *c)
{
	struct conn_set *s = c->set;
	size_t kept = c->finishing ? 0 : c->kept.len;
	ssize_t n;

	if (kept >= CONN_KEEP_BYTES) {
		conn_go_on(c);
		return;
	}
	if (kept)
		memcpy(s->scratch, c->kept.data, kept);
	n = recv(c->fd, s->scratch + kept, CONN_SCRATCH_BYTES - kept, MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			conn_end(c);
		return;
	}
	if (n > 0) {
		conn_hand_over(c, kept + n);
		return;
	}
	c->at_eof = true;
	if (c->lingering)
		conn_end(c);
	else if (!c->paused && !c->finishing)
		s->handlers->eof(c);
	conn_set_events(c);
}

static void conn_ready(void *ctx, uint32_t events)
{
	struct conn *c = ctx;

	if (events & (EPOLLERR | EPOLLHUP)) {
		conn_end(c);
		return;
	}
	if (events & EPOLLOUT)
		conn_schedule(c);
	if (!(events & EPOLLIN))
		return;
	if (c->paused && !c->lingering)
		conn_set_events(c); /* only now, because most pauses end before more input comes */
	else
		conn_read(c);
}

void conn_pause(struct conn *c)
{
	c->paused = true;
	c->resumed = false;
}

void conn_resume(struct conn *c)
{
	if (!c->paused || c->ended)
		return;
	c->paused = false;
	c->resumed = true;
	conn_schedule(c);
}

static void conn_turn_end(void *ctx)
{
	struct conn *c = ctx;

	if (!c->ended && c->resumed)
		conn_go_on(c);
	if (!c->ended)
		conn_flush(c);
	if (!c->ended && c->want_room && c->output_bytes <= CONN_OUTPUT_LOW_BYTES) {
		c->want_room = false;
		c->set->handlers->room(c);
	}
	if (c->ended)
		conn_free(c);
}

void conn_finish(struct conn *c)
{
	c->finishing = true;
	conn_schedule(c);
}

/* ---- the set ---- */

void conn_set_init(struct conn_set *s, struct loop *l, const struct conn_handlers *h, void *ctx,
	size_t conn_bytes)
{
	*s = (struct conn_set){
		.loop = l, .handlers = h, .ctx = ctx, .conn_bytes = conn_bytes, .max_connections = 1024,
		.stall_ms = 30000, .output_max = CONN_SET_OUTPUT_BYTES, .scratch = mem_alloc(CONN_SCRATCH_BYTES),
	};
	list_init(&s->conns);
}

static struct conn *conn_new(struct conn_set *s, int fd, struct err *e)
{
	struct conn *c = mem_zalloc(s->conn_bytes);

	c->set = s;
	c->fd = fd;
	c->watch.fd = -1;
	list_init(&c->output);
	buf_init(&c->kept, CONN_SCRATCH_BYTES);
	if (loop_watch(s->loop, &c->watch, fd, EPOLLIN, conn_ready, c, e) < 0) {
		fd_close(&fd);
		mem_free(c);
		return NULL;
	}
	list_push(&s->conns, &c->node);
	s->count++;
	return c;
}

struct conn *conn_add(struct conn_set *s, int fd, struct err *e)
{
	struct conn *c = conn_new(s, fd, e);

	if (c)
		s->handlers->opened(c);
	return c;
}

static void accept_ready(void *ctx, uint32_t events);

static void accept_start(void *ctx)
{
	struct conn_listener *l = ctx;
	struct err e = ERR_INIT;

	if (loop_watch(l->set->loop, &l->watch, l->fd, EPOLLIN | EPOLLEXCLUSIVE, accept_ready, l, &e) < 0)
		log_error("cannot accept connections: %s", e.text);
}

static void accept_failed(struct conn_listener *l)
{
	struct conn_set *s = l->set;
	int64_t now = loop_now_ns(s->loop);

	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	if (!s->warned_ns || now - s->warned_ns > WARN_EVERY_MS * INT64_C(1000000)) {
		log_warn("cannot accept a connection: %m; tried again every %d ms", ACCEPT_PAUSE_MS);
		s->warned_ns = now;
	}
	loop_unwatch(s->loop, &l->watch);
	loop_timer_set(s->loop, &l->pause, ACCEPT_PAUSE_MS, accept_start, l);
}

static void accept_one(struct conn_set *s, int fd)
{
	bool refused = s->count >= s->max_connections;
	struct conn *c;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (!refused) {
		s->accepted++;
		conn_add(s, fd, NULL);
		return;
	}
	s->refused++;
	if (s->count >= s->max_connections + CONN_REFUSED_MAX) {
		fd_close(&fd);
	} else if ((c = conn_new(s, fd, NULL))) {
		c->announced = true; /* never opened, so never gone */
		s->handlers->refused(c);
		conn_finish(c);
	}
}

static void accept_ready(void *ctx, uint32_t events)
{
	struct conn_listener *l = ctx;

	(void)events;
	for (int i = 0; i < ACCEPT_PER_TURN; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0) {
			accept_failed(l);
			return;
		}
		accept_one(l->set, fd);
	}
}

int conn_set_listen(struct conn_set *s, int fd, struct err *e)
{
	struct conn_listener *l = &s->listeners[s->listener_count];

	if (s->listener_count == CONN_LISTENERS_MAX) {
		fd_close(&fd);
		return err_set(e, ERR_INVALID_ARGUMENT, "more than %d addresses to listen on", CONN_LISTENERS_MAX);
	}
	if (fd_set_nonblock(fd) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
		err_sys(e, ERR_IO, "cannot listen");
		fd_close(&fd);
		return -1;
	}
	*l = (struct conn_listener){.set = s, .fd = fd, .watch = {.fd = -1}};
	s->listener_count++;
	accept_start(l);
	return 0;
}

void conn_set_unlisten(struct conn_set *s)
{
	while (s->listener_count) {
		struct conn_listener *l = &s->listeners[--s->listener_count];

		loop_timer_cancel(s->loop, &l->pause);
		loop_unwatch(s->loop, &l->watch);
		fd_close(&l->fd);
	}
}

void conn_set_release(struct conn_set *s)
{
	conn_set_unlisten(s);
	list_for_each_safe(it, &s->conns) {
		struct conn *c = list_entry(it, struct conn, node);

		c->ended = true;
		conn_free(c);
	}
	if (s->spare)
		buf_release(&s->spare->buf);
	mem_free(s->spare);
	mem_free(s->scratch);
	s->scratch = NULL;
	s->spare = NULL;
}
