/* SPDX-License-Identifier: Apache-2.0 */
/* OBJECT_LIST and OBJECT_PUT: the janitor's look at what lies in the object store, and its snapshots of the metadata. */
#include <string.h>
#include "daemon/store/store.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

enum { LIST_MAX_BYTES = 64 << 20 };

struct chore {
	struct work work;
	struct store_role *role;
	struct role_reply *reply;
	char name[OBJECT_NAME_MAX + 1]; /* or prefix */
	int fd;                         /* put: what; list: the rows */
	uint64_t bytes, count;
	bool more;
	struct buf rows;
	int result;
	struct err error;
};

static void chore_free(struct chore *c)
{
	fd_close(&c->fd);
	buf_release(&c->rows);
	mem_free(c);
}

static void chore_start(
	struct store_role *r, struct chore *c, void (*run)(struct work *), void (*done)(struct work *))
{
	c->work.run = run;
	c->work.done = done;
	if (c->error.code == ERR_NONE) {
		if (r->draining)
			err_set(&c->error, ERR_UNAVAILABLE, "the store is stopping");
		else if (r->chores >= STORE_CHORES)
			err_set(&c->error, ERR_BACK_PRESSURE, "the store has %d such requests already", STORE_CHORES);
		else if (work_submit(r->io_pool, &c->work, &c->error) == 0) {
			r->chores++;
			return;
		}
	}
	role_answer_error(c->reply, &c->error);
	chore_free(c);
}

static struct chore *chore_new(struct store_role *r, struct role_request *q)
{
	struct chore *c = mem_zalloc(sizeof(*c));

	c->role = r;
	c->reply = q->reply;
	c->fd = -1;
	buf_init(&c->rows, LIST_MAX_BYTES);
	return c;
}

static void chore_end(struct chore *c)
{
	struct store_role *r = c->role;

	r->chores--;
	chore_free(c);
	store_idle_check(r);
}

/* ---- listing ---- */

static int list_one(void *ctx, const struct object_info *o)
{
	struct chore *c = ctx;
	struct msg_listed_row row = {.name = o->name, .bytes = o->bytes, .modified_ms = o->modified_ms};

	if (pack_row_write(&c->rows, msg_listed_row_fields, &row) < 0 || c->rows.overflow) {
		c->rows.overflow = false;
		c->more = true;
		return 1;
	}
	c->count++;
	return 0;
}

static void list_run(struct work *w)
{
	struct chore *c = container_of(w, struct chore, work);
	struct object_store *s = c->role->objects;

	c->result = s->driver->list(s, c->name, list_one, c, &c->error);
	if (c->result < 0)
		return;
	c->fd = fd_memory("objects", c->rows.data ? c->rows.data : "", c->rows.len, &c->error);
	c->result = c->fd < 0 ? -1 : 0;
}

static void list_done(struct work *w)
{
	struct chore *c = container_of(w, struct chore, work);
	struct msg_object_listed listed = {.count = c->count, .bytes = c->rows.len, .more = c->more};

	c->role->counters.lists++;
	if (c->result < 0) {
		store_count_error(c->role, &c->error);
		role_answer_error(c->reply, &c->error);
	} else {
		store_count_success(c->role);
		role_answer(c->reply, &listed, &c->fd, 1);
	}
	chore_end(c);
}

void objects_list_request(struct store_role *r, struct role_request *q)
{
	const struct msg_object_list *m = q->body;
	struct chore *c = chore_new(r, q);

	if (strlen(m->prefix) > OBJECT_NAME_MAX)
		err_set(&c->error, ERR_INVALID_ARGUMENT, "a prefix of %zu bytes", strlen(m->prefix));
	else
		strcpy(c->name, m->prefix);
	chore_start(r, c, list_run, list_done);
}

/* ---- putting ---- */

static void put_run(struct work *w)
{
	struct chore *c = container_of(w, struct chore, work);

	c->result = object_put_verified(c->role->objects, c->name, c->fd, c->bytes, &c->error);
}

static void put_done(struct work *w)
{
	struct chore *c = container_of(w, struct chore, work);

	if (c->result < 0) {
		store_count_error(c->role, &c->error);
		role_answer_error(c->reply, &c->error);
	} else {
		c->role->counters.puts++;
		c->role->counters.put_bytes += c->bytes;
		store_count_success(c->role);
		role_answer(c->reply, &(struct msg_empty){0}, NULL, 0);
	}
	chore_end(c);
}

void objects_put_request(struct store_role *r, struct role_request *q)
{
	const struct msg_object_put *m = q->body;
	struct chore *c = chore_new(r, q);

	if (q->message->fd_count < 1)
		err_set(&c->error, ERR_INVALID_ARGUMENT, "object %.200s comes without its bytes", m->name);
	else if (object_name_check(m->name, &c->error) == 0) {
		strcpy(c->name, m->name); /* its length was just checked */
		c->bytes = m->bytes;
		c->fd = q->message->fds[0];
		q->message->fds[0] = -1;
	}
	chore_start(r, c, put_run, put_done);
}
