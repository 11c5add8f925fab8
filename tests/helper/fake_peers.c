/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/meta.h"
#include "libsh/store/object.h"
#include "libsh/store/segment_file.h"
#include "tests/helper/fake_peers.h"

struct fake_fault {
	int type;
	enum err_code code;
	bool act;
};
struct fake {
	struct role_self self;
	struct meta *meta;
	struct object_store *store;
	bool down[ROLE_COUNT];
	struct fake_fault faults[4];
	int fault_count, verdict, verdict_times; /* verdict: forced on the next commits */
	struct list calls; /* under way */
};

struct peer_call_handle {
	struct list node;
	struct timer timer;
	struct fake *fake;
	enum role peer;
	int type;
	struct buf body;
	int fd;
	peer_done_fn *done;
	void *ctx;
};

static void die(const char *what, const struct err *e)
{
	printf("Bail out! %s: %s\n", what, e->text);
	exit(1);
}

struct role_self *fake_self(const char *data_dir)
{
	struct fake *f = mem_zalloc(sizeof(*f));
	struct err e = ERR_INIT;
	char *objects = mem_printf("%s/objects", data_dir), *meta = mem_printf("%s/meta", data_dir);

	list_init(&f->calls);
	f->self.role = ROLE_AGENT;
	f->self.data_dir = mem_strdup(data_dir);
	f->self.settings = settings_new();
	f->self.loop = loop_new(&e);
	f->self.count = 1;
	if (disk_make_dirs(objects, &e) < 0 || disk_make_dirs(meta, &e) < 0 || object_dir_open(objects, &f->store, &e) < 0 ||
		meta_open("sqlite:", data_dir, false, &f->meta, &e) < 0)
		die("fake peers", &e);
	mem_free(objects);
	mem_free(meta);
	return &f->self;
}

void fake_expire(struct role_self *self)
{
	struct fake *f = container_of(self, struct fake, self);
	struct meta_retain r = {.clock.boot_id = "test"};
	struct err e = ERR_INIT;

	if (f->meta->driver->begin(f->meta, &e) < 0 || f->meta->driver->retain(f->meta, &r, &e) < 0 ||
		f->meta->driver->commit(f->meta, &e) < 0)
		die("retention", &e);
}

static void call_free(struct peer_call_handle *c)
{
	list_remove(&c->node);
	loop_timer_cancel(c->fake->self.loop, &c->timer);
	fd_close(&c->fd);
	buf_release(&c->body);
	mem_free(c);
}

/* A log that was given up may have left calls that nobody waits for. */
void fake_free(struct role_self *self)
{
	struct fake *f = container_of(self, struct fake, self);

	while (!list_empty(&f->calls))
		call_free(list_entry(f->calls.next, struct peer_call_handle, node));
	meta_free(f->meta);
	object_store_free(f->store);
	settings_free(self->settings);
	loop_free(self->loop);
	mem_free((char *)self->data_dir);
	mem_free(f);
}

void fake_down(struct role_self *self, enum role peer, bool down)
{
	container_of(self, struct fake, self)->down[peer] = down;
}

void fake_fault(struct role_self *self, int type, enum err_code code, bool act)
{
	struct fake *f = container_of(self, struct fake, self);

	if (f->fault_count < (int)array_count(f->faults))
		f->faults[f->fault_count++] = (struct fake_fault){type, code, act};
}

void fake_verdict(struct role_self *self, int verdict, int times)
{
	struct fake *f = container_of(self, struct fake, self);

	f->verdict = verdict;
	f->verdict_times = times;
}

/* The fault for this call, taken out of the queue; code ERR_NONE: none. */
static struct fake_fault fault_take(struct fake *f, int type)
{
	struct fake_fault fault = {0};

	if (!f->fault_count || f->faults[0].type != type)
		return fault;
	fault = f->faults[0];
	memmove(&f->faults[0], &f->faults[1], sizeof(f->faults[0]) * (size_t)--f->fault_count);
	return fault;
}

/* ---- meta ---- */

static int fake_renew(struct fake *f, const struct msg_session_renew *m, struct msg_session_renewed *r, struct arena *a, struct err *e)
{
	static struct buf topics_rows = BUF_INIT(1 << 24), partition_rows = BUF_INIT(1 << 24);
	struct meta_topic *topics;
	struct meta_partition *partitions;
	struct meta_session session = {0};
	size_t nt, np;

	if (f->meta->driver->session_renew(f->meta, m->session, &session, e) < 0 ||
		f->meta->driver->changes(f->meta, m->version, a, &topics, &nt, &partitions, &np, &r->version, e) < 0)
		return -1;
	buf_reset(&topics_rows);
	buf_reset(&partition_rows);
	for (size_t i = 0; i < nt; i++) {
		struct msg_topic_row row = {topics[i].id, topics[i].name, topics[i].partitions, topics[i].replication_factor,
			topics[i].config, topics[i].created_ms, topics[i].deleted};

		pack_row_write(&topics_rows, msg_topic_row_fields, &row);
	}
	for (size_t i = 0; i < np; i++) {
		struct msg_partition_row row = {partitions[i].topic, partitions[i].partition, partitions[i].slot, partitions[i].epoch,
			partitions[i].log_start, partitions[i].flushed_end, partitions[i].records, partitions[i].bytes,
			partitions[i].expired_records, partitions[i].expired_bytes, partitions[i].offset_floor};

		pack_row_write(&partition_rows, msg_partition_row_fields, &row);
	}
	r->topics = (struct bytes){(uint8_t *)topics_rows.data, topics_rows.len};
	r->partitions = (struct bytes){(uint8_t *)partition_rows.data, partition_rows.len};
	r->incarnation = session.incarnation;
	r->commit_sequence = session.commit_sequence;
	return 0;
}

static int fake_commit(struct fake *f, const struct msg_segment_commit *m, struct msg_segment_committed *r, struct arena *a, struct err *e)
{
	struct meta_object o = {m->object, m->bytes, m->crc, 0};
	struct segment_run *runs;
	enum meta_verdict *verdicts;
	uint8_t *bytes;
	size_t n;

	if (segment_runs_decode(m->runs.data, m->runs.len, a, &runs, &n, e) < 0)
		return -1;
	verdicts = arena_alloc(a, n * sizeof(*verdicts) + 1);
	bytes = arena_alloc(a, n + 1);
	if (f->verdict_times > 0) {
		memset(bytes, f->verdict, n);
		f->verdict_times--;
		r->verdicts = (struct bytes){bytes, n};
		return 0;
	}
	if (f->meta->driver->segment_commit(f->meta, m->session, &o, runs, n, verdicts, &r->commit_sequence, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)verdicts[i];
	r->verdicts = (struct bytes){bytes, n};
	return 0;
}

static int fake_find(struct fake *f, const struct msg_run_find *m, struct msg_run_found *r, struct arena *a, struct err *e)
{
	static struct buf run_bytes = BUF_INIT(1 << 16);
	struct meta_object o;
	struct segment_run run;
	struct err missing = ERR_INIT;

	if (f->meta->driver->run_find(f->meta, &m->topic, m->partition, m->by_timestamp, m->value, m->from_offset, a, &o, &run,
		    &missing) < 0) {
		if (missing.code == ERR_NOT_FOUND)
			return 0;
		*e = missing;
		return -1;
	}
	buf_reset(&run_bytes);
	r->found = 1;
	r->object = arena_strdup(a, o.name);
	r->object_bytes = o.bytes;
	segment_runs_encode(&run_bytes, &run, 1);
	r->run = (struct bytes){(uint8_t *)run_bytes.data, run_bytes.len};
	return 0;
}

static int fake_meta(struct fake *f, int type, const void *body, void *reply, struct arena *a, struct err *e)
{
	const struct meta_driver *d = f->meta->driver;
	const struct msg_session_open *open = body;
	const struct msg_topic_create *create = body;
	struct msg_session_opened *opened = reply;
	struct meta_topic topic = {0};
	struct meta_session session = {0};

	switch (type) {
	case MSG_SESSION_OPEN:
		if (d->session_open(f->meta, open->slot, &open->slot_id, open->address, open->ttl_ms, &session, e) < 0)
			return -1;
		*opened = (struct msg_session_opened){session.session, session.incarnation, session.commit_sequence};
		return 0;
	case MSG_SESSION_RENEW:
		return fake_renew(f, body, reply, a, e);
	case MSG_SESSION_CLOSE:
		return d->session_close(f->meta, ((const struct msg_session_close *)body)->session, e);
	case MSG_TOPIC_CREATE:
		topic.name = create->name;
		topic.partitions = create->partitions;
		topic.config = create->config;
		return d->topic_create(f->meta, &topic, e);
	case MSG_TOPIC_ALTER:
		topic.partitions = ((const struct msg_topic_alter *)body)->partitions;
		topic.config = ((const struct msg_topic_alter *)body)->config;
		topic.name = ((const struct msg_topic_alter *)body)->name;
		return d->topic_alter(f->meta, topic.name, topic.partitions, topic.config, e);
	case MSG_TOPIC_DELETE:
		return d->topic_delete(f->meta, ((const struct msg_topic_delete *)body)->name, e);
	case MSG_SEGMENT_COMMIT:
		return fake_commit(f, body, reply, a, e);
	case MSG_RUN_FIND:
		return fake_find(f, body, reply, a, e);
	default:
		return err_set(e, ERR_NOT_BUILT, "fake meta: type %d", type);
	}
}

/* ---- store ---- */

static int fake_temporary(void)
{
	return memfd_create("segment", MFD_CLOEXEC);
}

static int fake_build(struct fake *f, const struct msg_segment_build *m, int wal_fd, struct msg_segment_built *r, struct arena *a, struct err *e)
{
	static struct buf runs = BUF_INIT(1 << 24);
	struct segment_build b = {.wal_fd = wal_fd, .generation = m->generation, .first_lsn = m->first_lsn, .end_lsn = m->end_lsn,
		.memory_bytes = 32 << 20, .out_fd = fake_temporary()};
	struct segment_source *sources = arena_alloc(a, (m->sources.len / 16 + 1) * sizeof(*sources));
	struct msg_source_row row;
	size_t at = 0, n = 0;
	int result = -1;

	while (pack_row_next(m->sources, &at, msg_source_row_fields, &row, a, e) > 0)
		sources[n++] = (struct segment_source){row.topic, row.partition, row.name, row.first_offset, row.end_offset};
	b.sources = sources;
	b.source_count = n;
	b.info.object = uuid_random();
	b.info.slot = m->slot_id;
	b.info.session = m->session;
	r->object = arena_printf(a, "segments/%016llx.seg", (unsigned long long)get_le64(b.info.object.b));
	if (f->meta->driver->begin(f->meta, e) < 0)
		goto out;
	if (f->meta->driver->intent(f->meta, m->session, &b.info.object, r->object, &b.info.number, &b.info.newest_committed, e) < 0) {
		f->meta->driver->rollback(f->meta);
		goto out;
	}
	if (f->meta->driver->commit(f->meta, e) < 0 || segment_build(&b, e) < 0)
		goto out;
	if (b.bytes && object_put_verified(f->store, r->object, b.out_fd, b.bytes, e) < 0)
		goto out;
	buf_reset(&runs);
	segment_runs_encode(&runs, b.runs, b.run_count);
	r->bytes = b.bytes;
	r->crc = b.crc;
	r->runs = (struct bytes){(uint8_t *)runs.data, runs.len};
	result = 0;
out:
	mem_free(b.runs);
	fd_close(&b.out_fd);
	return result;
}

static int fake_read(struct fake *f, const struct msg_object_read *m, int *fd, struct err *e)
{
	uint8_t *p = mem_alloc(m->length);
	int result = f->store->driver->get(f->store, m->object, m->offset, p, m->length, e);

	if (result == 0)
		*fd = fd_memory("object", p, m->length, e);
	mem_free(p);
	return result;
}

/* ---- calls ---- */

static int call_run(struct peer_call_handle *c, const void *body, void *reply, int *fd, struct arena *a, struct err *e)
{
	struct fake *f = c->fake;
	int result;

	if (f->down[c->peer])
		return err_set(e, ERR_UNAVAILABLE, "the fake %s is down", role_name(c->peer));
	if (c->type == MSG_SEGMENT_BUILD)
		return fake_build(f, body, c->fd, reply, a, e);
	if (c->type == MSG_OBJECT_READ)
		return fake_read(f, body, fd, e);
	if (f->meta->driver->begin(f->meta, e) < 0)
		return -1;
	result = fake_meta(f, c->type, body, reply, a, e);
	if (result < 0)
		f->meta->driver->rollback(f->meta);
	else
		result = f->meta->driver->commit(f->meta, e);
	return result;
}

static void call_fire(void *ctx)
{
	struct peer_call_handle *c = ctx;
	struct arena a = ARENA_INIT;
	struct chan_message message = {.fds = {-1, -1, -1, -1}};
	uint64_t body[64] = {0}, reply[64] = {0};
	struct fake_fault fault = {0};
	struct err e = ERR_INIT;
	int result = pack_read(message_table[c->type].body, body, c->body.data, c->body.len, &a, &e);

	if (result == 0)
		fault = fault_take(c->fake, c->type);
	if (result == 0 && (fault.code == ERR_NONE || fault.act))
		result = call_run(c, body, reply, &message.fds[0], &a, &e);
	if (fault.code != ERR_NONE)
		result = err_set(&e, fault.code, "a fault that the test wants");
	message.fd_count = message.fds[0] >= 0;
	c->done(c->ctx, result < 0 ? NULL : reply, &message, result < 0 ? &e : NULL);
	fd_close(&message.fds[0]);
	call_free(c);
	arena_release(&a);
}

struct peer_call_handle *peer_call(struct role_self *self, enum role peer, uint32_t index, int type, const void *body,
	const int *fds, int fd_count, uint32_t timeout_ms, peer_done_fn *done, void *ctx)
{
	struct peer_call_handle *c = mem_zalloc(sizeof(*c));

	(void)index;
	(void)timeout_ms;
	c->fake = container_of(self, struct fake, self);
	c->peer = peer;
	c->type = type;
	c->fd = fd_count ? fcntl(fds[0], F_DUPFD_CLOEXEC, 0) : -1;
	c->done = done;
	c->ctx = ctx;
	list_push(&c->fake->calls, &c->node);
	buf_init(&c->body, 1 << 24);
	pack_write(&c->body, message_table[type].body, body);
	loop_timer_set(self->loop, &c->timer, 0, call_fire, c);
	return c;
}

void peer_cancel(struct peer_call_handle *h)
{
	call_free(h);
}

bool peer_connected(struct role_self *self, enum role peer, uint32_t index)
{
	(void)index;
	return !container_of(self, struct fake, self)->down[peer];
}

void role_answer(struct role_reply *r, const void *body, const int *fds, int fd_count)
{
	(void)r;
	(void)body;
	(void)fds;
	(void)fd_count;
}

/* ---- running ---- */

struct run_until {
	struct loop *loop;
	struct timer poll;
	const bool *flag;
	int64_t deadline_ms;
};

static void run_poll(void *ctx)
{
	struct run_until *u = ctx;

	if (*u->flag || clock_mono_ms() > u->deadline_ms)
		loop_stop(u->loop, 0);
	else
		loop_timer_set(u->loop, &u->poll, 1, run_poll, u);
}

bool fake_run_until(struct role_self *self, const bool *flag, int64_t ms)
{
	struct run_until u = {.loop = self->loop, .flag = flag, .deadline_ms = clock_mono_ms() + ms};

	loop_timer_set(self->loop, &u.poll, 0, run_poll, &u);
	loop_run(self->loop);
	loop_timer_cancel(self->loop, &u.poll);
	return *flag;
}
