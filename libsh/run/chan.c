/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for their reply sit in a table of slots; an id is the slot's number and a generation, so
 * finding the one a reply belongs to is an index, and a reply that comes after its timeout finds a newer
 * generation and is dropped.
 *
 * A callback may free the channel: `held` keeps the struct until the outermost caller has left.
 */
#include "libsh/run/chan.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsh/base/buf.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

enum {
	FRAME_MAGIC = 0x4843, /* "CH" */
	FRAME_HEADER_BYTES = 20,
	FRAME_FDS = CHAN_MAX_FDS + 1, /* and the one that carries a large body */
	FLAG_REPLY = 1,
	FLAG_ERROR = 2,
	FLAG_IN_DESCRIPTOR = 4,
	FLAG_ALL = 7,
	MESSAGES_A_TURN = 64,
	ID_SLOT_BITS = 12,
	ERROR_BODY_MAX = 2048,
	SHORT_PAUSE_MS = 20, /* while the kernel has no memory, or takes no more descriptors */
};
enum sent { SENT, NO_ROOM, NOT_NOW, NEVER };
_Static_assert(CHAN_MAX_PENDING == 1 << ID_SLOT_BITS, "a slot's number fits its bits of an id");

struct header {
	uint16_t type, flags, fd_count;
	uint32_t id, timeout_ms, length;
};
struct frame { /* waits for room in the socket */
	struct list node;
	size_t len;
	int fds[FRAME_FDS];
	int fd_count;
	uint8_t bytes[];
};
struct pending { /* a request whose reply is awaited */
	struct chan *chan;
	uint32_t id;
	bool used;
	chan_reply_fn *fn;
	void *ctx;
	struct timer timer;
};
struct chan {
	struct loop *loop;
	struct watch watch;
	int fd;
	const struct chan_handlers *handlers;
	void *ctx;
	struct list out; /* of frame */
	struct timer send_again;
	size_t out_bytes;
	struct pending **slots; /* up to CHAN_MAX_PENDING, allocated one by one, reused */
	uint16_t *free_slots;
	int free_count, slot_count, slot_alloc;
	bool closed, freed;
	int held;
	uint8_t in[FRAME_HEADER_BYTES + CHAN_INLINE_BYTES];
};

static void ready(void *ctx, uint32_t events);

struct chan *chan_new(struct loop *l, int fd, const struct chan_handlers *h, void *ctx, struct err *e)
{
	struct chan *c = mem_zalloc(sizeof(*c));

	c->loop = l;
	c->fd = fd;
	c->handlers = h;
	c->ctx = ctx;
	list_init(&c->out);
	if (fd_set_nonblock(fd) || fd_set_cloexec(fd)) {
		err_sys(e, ERR_INTERNAL, "cannot set up the descriptor of a channel");
		goto fail;
	}
	if (loop_watch(l, &c->watch, fd, EPOLLIN, ready, c, e))
		goto fail;
	return c;
fail:
	fd_close(&c->fd);
	mem_free(c);
	return NULL;
}

static void close_fds(int *fds, int count)
{
	for (int i = 0; i < count; i++)
		fd_close(&fds[i]);
}

static void frame_free(struct frame *f)
{
	close_fds(f->fds, f->fd_count);
	mem_free(f);
}

static void release(struct chan *c)
{
	if (!c->freed || c->held)
		return;
	for (int i = 0; i < c->slot_count; i++)
		mem_free(c->slots[i]);
	mem_free(c->slots);
	mem_free(c->free_slots);
	mem_free(c);
}

/* ---- requests that wait ---- */

static struct pending *pending_add(struct chan *c)
{
	struct pending *p;

	if (c->free_count)
		return c->slots[c->free_slots[--c->free_count]];
	if (c->slot_count == CHAN_MAX_PENDING)
		return NULL;
	if (c->slot_count == c->slot_alloc) {
		c->slot_alloc = c->slot_alloc ? 2 * c->slot_alloc : 16;
		c->slots = mem_realloc_array(c->slots, (size_t)c->slot_alloc, sizeof(c->slots[0]));
		c->free_slots =
			mem_realloc_array(c->free_slots, (size_t)c->slot_alloc, sizeof(c->free_slots[0]));
	}
	p = mem_zalloc(sizeof(*p));
	p->chan = c;
	p->id = (uint32_t)c->slot_count;
	c->slots[c->slot_count++] = p;
	return p;
}

static void pending_remove(struct pending *p)
{
	struct chan *c = p->chan;

	loop_timer_cancel(c->loop, &p->timer);
	p->used = false;
	p->id += 1 << ID_SLOT_BITS; /* the next generation */
	c->free_slots[c->free_count++] = p->id & (CHAN_MAX_PENDING - 1);
}

static struct pending *pending_find(struct chan *c, uint32_t id)
{
	uint32_t slot = id & (CHAN_MAX_PENDING - 1);

	if ((int)slot >= c->slot_count || !c->slots[slot]->used || c->slots[slot]->id != id)
		return NULL;
	return c->slots[slot];
}

static void pending_finish(struct pending *p, struct chan_message *reply, const struct err *e)
{
	chan_reply_fn *fn = p->fn;
	void *ctx = p->ctx;

	pending_remove(p);
	fn(ctx, reply, e);
}

static void timed_out(void *ctx)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_REQUEST_TIMEOUT, "no answer in time");
	pending_finish(ctx, NULL, &e);
}

/* ---- the end ---- */

static void shut(struct chan *c, const char *why)
{
	struct err e = ERR_INIT;
	struct list *node;

	c->closed = true;
	loop_unwatch(c->loop, &c->watch);
	loop_timer_cancel(c->loop, &c->send_again);
	fd_close(&c->fd);
	while ((node = list_pop(&c->out)))
		frame_free(list_entry(node, struct frame, node));
	c->out_bytes = 0;
	err_set(&e, ERR_UNAVAILABLE, "%s", why);
	c->held++;
	for (int i = 0; i < c->slot_count; i++)
		if (c->slots[i]->used)
			pending_finish(c->slots[i], NULL, &e);
	c->held--;
}

/* The other side is gone, or said something that it must not. */
static void lost(struct chan *c, const char *why)
{
	if (c->closed)
		return;
	c->held++;
	shut(c, why);
	if (!c->freed)
		c->handlers->closed(c->ctx, c);
	c->held--;
}

void chan_free(struct chan *c)
{
	if (!c || c->freed)
		return;
	c->freed = true;
	c->held++;
	if (!c->closed)
		shut(c, "the channel was closed");
	c->held--;
	release(c);
}

bool chan_is_closed(const struct chan *c)
{
	return c->closed;
}

/* ---- sending ---- */

static enum sent transmit(struct chan *c, struct frame *f)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FRAME_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {f->bytes, f->len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (f->fd_count) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE((size_t)f->fd_count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN((size_t)f->fd_count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), f->fds, (size_t)f->fd_count * sizeof(int));
	}
	do {
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n >= 0)
		return SENT;
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return NO_ROOM;
	/* The last is for the descriptors of one user that are on their way, in all its sockets. */
	return errno == ENOBUFS || errno == ENOMEM || errno == ETOOMANYREFS ? NOT_NOW : NEVER;
}

static void flush(struct chan *c);

static void send_again(void *ctx)
{
	flush(ctx);
}

/* The first frame was not sent: what will make another attempt. */
static void wait_to_send(struct chan *c, enum sent why)
{
	loop_watch_change(c->loop, &c->watch, why == NO_ROOM ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (why == NOT_NOW)
		loop_timer_set(c->loop, &c->send_again, SHORT_PAUSE_MS, send_again, c);
	if (why == NEVER) /* reading will find the end and tell everyone who waits */
		shutdown(c->fd, SHUT_RDWR);
}

static void flush(struct chan *c)
{
	while (!list_empty(&c->out)) {
		struct frame *f = list_first(&c->out, struct frame, node);
		enum sent status = transmit(c, f);

		if (status != SENT) {
			wait_to_send(c, status);
			return;
		}
		list_remove(&f->node);
		c->out_bytes -= f->len;
		frame_free(f);
	}
	loop_watch_change(c->loop, &c->watch, EPOLLIN);
}

/* A frame with copies of the descriptors; a large body goes into one of its own. */
static struct frame *frame_new(
	const struct header *h, const void *body, const int *fds, int fd_count, struct err *e)
{
	bool large = h->length > CHAN_INLINE_BYTES;
	size_t inline_bytes = large ? 0 : h->length;
	struct frame *f;

	if (h->length > CHAN_MAX_BYTES || fd_count > CHAN_MAX_FDS) {
		err_set(e, ERR_TOO_LARGE,
			"a message of %u bytes and %d descriptors is above the limit of %d and %d", h->length,
			fd_count, CHAN_MAX_BYTES, CHAN_MAX_FDS);
		return NULL;
	}
	f = mem_zalloc(sizeof(*f) + FRAME_HEADER_BYTES + inline_bytes);
	f->len = FRAME_HEADER_BYTES + inline_bytes;
	for (; f->fd_count < fd_count; f->fd_count++) {
		f->fds[f->fd_count] = fcntl(fds[f->fd_count], F_DUPFD_CLOEXEC, 3);
		if (f->fds[f->fd_count] < 0) {
			err_sys(e, ERR_INTERNAL, "cannot pass descriptor %d on", fds[f->fd_count]);
			goto fail;
		}
	}
	if (large) {
		f->fds[f->fd_count] = fd_memory("streamhouse-message", body, h->length, e);
		if (f->fds[f->fd_count] < 0)
			goto fail;
		f->fd_count++;
	} else if (h->length) {
		memcpy(f->bytes + FRAME_HEADER_BYTES, body, h->length);
	}
	put_le16(f->bytes, FRAME_MAGIC);
	put_le16(f->bytes + 2, h->type);
	put_le16(f->bytes + 4, h->flags | (large ? FLAG_IN_DESCRIPTOR : 0));
	put_le16(f->bytes + 6, (uint16_t)f->fd_count);
	put_le32(f->bytes + 8, h->id);
	put_le32(f->bytes + 12, h->timeout_ms);
	put_le32(f->bytes + 16, h->length);
	return f;
fail:
	frame_free(f);
	return NULL;
}

static int submit(
	struct chan *c, const struct header *h, const void *body, const int *fds, int fd_count, struct err *e)
{
	struct frame *f = frame_new(h, body, fds, fd_count, e);
	bool first = list_empty(&c->out);
	enum sent status;

	if (!f)
		return -1;
	status = first ? transmit(c, f) : NO_ROOM;
	if (status == SENT) {
		frame_free(f);
		return 0;
	}
	list_push(&c->out, &f->node);
	c->out_bytes += f->len;
	if (first)
		wait_to_send(c, status);
	return 0;
}

int chan_request(struct chan *c, uint16_t type, const void *body, size_t len, const int *fds, int fd_count,
	uint32_t timeout_ms, chan_reply_fn *fn, void *ctx, struct err *e)
{
	struct header h = {.type = type, .timeout_ms = timeout_ms};
	struct pending *p;

	if (c->closed)
		return err_set(e, ERR_UNAVAILABLE, "the channel was closed");
	if (len > CHAN_MAX_BYTES)
		return err_set(e, ERR_TOO_LARGE, "a message of %zu bytes is above the limit of %d", len,
			CHAN_MAX_BYTES);
	p = c->out_bytes + len > CHAN_MAX_QUEUED && c->out_bytes ? NULL : pending_add(c);
	if (!p)
		return err_set(e, ERR_BACK_PRESSURE, "too many requests wait on this channel");
	p->used = true;
	p->fn = fn;
	p->ctx = ctx;
	h.id = p->id;
	h.length = (uint32_t)len;
	if (submit(c, &h, body, fds, fd_count, e)) {
		pending_remove(p);
		return -1;
	}
	if (timeout_ms)
		loop_timer_set(c->loop, &p->timer, timeout_ms, timed_out, p);
	return 0;
}

int chan_reply(struct chan *c, uint32_t id, uint16_t type, const void *body, size_t len, const int *fds,
	int fd_count)
{
	struct header h = {.type = type, .flags = FLAG_REPLY, .id = id, .length = (uint32_t)len};
	struct err e = ERR_INIT;

	if (c->closed)
		return 0; /* nobody waits any more */
	if (len > CHAN_MAX_BYTES)
		err_set(&e, ERR_TOO_LARGE, "an answer of %zu bytes is above the limit of %d", len,
			CHAN_MAX_BYTES);
	else if (!submit(c, &h, body, fds, fd_count, &e))
		return 0;
	chan_reply_error(c, id, &e);
	return -1;
}

/* The body of an error: its wire name, text and hint, each with a NUL. */
int chan_reply_error(struct chan *c, uint32_t id, const struct err *e)
{
	struct header h = {.flags = FLAG_REPLY | FLAG_ERROR, .id = id};
	struct buf b = BUF_INIT(ERROR_BODY_MAX);
	int status;

	if (c->closed)
		return 0;
	buf_add(&b, err_name(e->code), strlen(err_name(e->code)) + 1);
	buf_add(&b, e->text, strlen(e->text) + 1);
	buf_add(&b, e->hint, strlen(e->hint) + 1);
	h.length = (uint32_t)b.len;
	status = submit(c, &h, b.data, NULL, 0, NULL);
	buf_release(&b);
	return status;
}

/* ---- receiving ---- */

static void error_read(struct err *out, struct bytes body)
{
	const char *part[3] = {"", "", ""};
	const uint8_t *at = body.data, *end = at + body.len;

	for (int i = 0; i < 3 && at < end; i++) {
		const uint8_t *nul = memchr(at, 0, (size_t)(end - at));

		if (!nul)
			break;
		part[i] = (const char *)at;
		at = nul + 1;
	}
	err_set(out, err_from_name(part[0]), "%s", part[1]);
	if (part[2][0])
		err_hint(out, "%s", part[2]);
}

static void dispatch(struct chan *c, const struct header *h, struct chan_message *m)
{
	struct err e = ERR_INIT;
	struct pending *p;

	if (!(h->flags & FLAG_REPLY)) {
		c->handlers->request(c->ctx, c, m);
		return;
	}
	p = pending_find(c, h->id);
	if (!p)
		return; /* came after its timeout */
	if (!(h->flags & FLAG_ERROR)) {
		pending_finish(p, m, NULL);
		return;
	}
	error_read(&e, m->body);
	pending_finish(p, NULL, &e);
}

/* The body in memory that can neither change nor shrink under us, or NULL. */
static void *map_body(int fd, uint32_t length)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *p;

	if (seals < 0 || !(seals & F_SEAL_WRITE) || !(seals & F_SEAL_SHRINK))
		return NULL;
	if (fstat(fd, &st) || st.st_size < (off_t)length)
		return NULL;
	p = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static int deliver(struct chan *c, const struct header *h, int *fds, int fd_count)
{
	struct chan_message m = {.type = h->type, .id = h->id, .timeout_ms = h->timeout_ms};
	void *mapped = NULL;

	if (h->flags & FLAG_IN_DESCRIPTOR) {
		mapped = map_body(fds[fd_count - 1], h->length);
		fd_close(&fds[--fd_count]);
		if (!mapped)
			return -1;
	}
	m.body = (struct bytes){mapped ? mapped : c->in + FRAME_HEADER_BYTES, h->length};
	m.fd_count = fd_count;
	for (int i = 0; i < CHAN_MAX_FDS; i++) {
		m.fds[i] = i < fd_count ? fds[i] : -1;
		fds[i] = -1;
	}
	dispatch(c, h, &m);
	close_fds(m.fds, CHAN_MAX_FDS);
	if (mapped)
		munmap(mapped, h->length);
	return 0;
}

/* Everything in a frame is checked here, before any of it is used. */
static int header_read(struct header *h, const uint8_t *p, size_t n)
{
	bool large;

	if (n < FRAME_HEADER_BYTES || get_le16(p) != FRAME_MAGIC)
		return -1;
	h->type = get_le16(p + 2);
	h->flags = get_le16(p + 4);
	h->fd_count = get_le16(p + 6);
	h->id = get_le32(p + 8);
	h->timeout_ms = get_le32(p + 12);
	h->length = get_le32(p + 16);
	large = h->flags & FLAG_IN_DESCRIPTOR;
	if (h->flags & ~FLAG_ALL || h->length > CHAN_MAX_BYTES)
		return -1;
	if (large ? h->fd_count < 1 || h->fd_count > FRAME_FDS || !h->length : h->fd_count > CHAN_MAX_FDS)
		return -1;
	return n - FRAME_HEADER_BYTES == (large ? 0 : h->length) ? 0 : -1;
}

static int take_fds(struct msghdr *m, int fds[FRAME_FDS])
{
	int count = 0;

	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; CMSG_LEN((i + 1) * sizeof(int)) <= h->cmsg_len && count < FRAME_FDS; i++)
			memcpy(&fds[count++], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
	}
	return count;
}

/*
 * The kernel could not give us the message's descriptors, since we have too many already. The message is
 * lost; the channel must not be, for a channel between two processes that live is not made again.
 */
static int without_fds(struct chan *c, const struct header *h)
{
	struct pending *p = pending_find(c, h->id);
	struct err e = ERR_INIT;

	if (!(h->flags & FLAG_REPLY)) {
		err_set(&e, ERR_UNAVAILABLE, "the process that was asked has no descriptor left");
		return chan_reply_error(c, h->id, &e);
	}
	err_set(&e, ERR_OUTCOME_UNKNOWN, "an answer came, but no descriptor is left to take it");
	if (p)
		pending_finish(p, NULL, &e);
	return 0;
}

/* 1: a message was handled; 0: none is there. Loses the channel at its end. */
static int receive(struct chan *c)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FRAME_FDS * sizeof(int))];
	} control;
	struct iovec iov = {c->in, sizeof(c->in)};
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
	int fds[FRAME_FDS], fd_count, status;
	struct header h;
	ssize_t n;

	n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0 && errno == EINTR)
		return 1;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return 0;
	if (n <= 0) {
		lost(c, "the other process is gone");
		return 0;
	}
	for (int i = 0; i < FRAME_FDS; i++)
		fds[i] = -1;
	fd_count = take_fds(&m, fds);
	if (m.msg_flags & MSG_TRUNC || header_read(&h, c->in, (size_t)n))
		status = -1;
	else if (m.msg_flags & MSG_CTRUNC && fd_count < h.fd_count)
		status = without_fds(c, &h);
	else
		status = fd_count == h.fd_count ? deliver(c, &h, fds, fd_count) : -1;
	close_fds(fds, FRAME_FDS);
	if (status)
		lost(c, "the other process sent a damaged message");
	return !status;
}

static void ready(void *ctx, uint32_t events)
{
	struct chan *c = ctx;

	c->held++;
	if (events & EPOLLOUT)
		flush(c);
	for (int i = 0; i < MESSAGES_A_TURN && !c->closed; i++)
		if (!receive(c))
			break;
	c->held--;
	release(c);
}
