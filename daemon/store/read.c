/* SPDX-License-Identifier: Apache-2.0 */
/* OBJECT_READ: a descriptor of a cached file that holds the bytes asked for. */
#include <string.h>
#include "daemon/store/store.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

struct read {
	struct store_role *role;
	struct role_reply *reply;
	uint64_t ahead_end;
	struct fetch_waiter waiter;
};

static int read_check(const struct store_role *r, const struct msg_object_read *m, struct err *e)
{
	if (r->draining)
		return err_set(e, ERR_UNAVAILABLE, "the store is stopping");
	if (r->reads >= STORE_READS)
		return err_set(e, ERR_BACK_PRESSURE, "%d reads of objects are waiting already", STORE_READS);
	if (m->flags & OBJECT_READ_GUESS && !fetch_may_guess(r))
		return err_set(e, ERR_BACK_PRESSURE, "no room for what nobody waits for");
	if (object_name_check(m->object, e) < 0)
		return -1;
	if (m->object_bytes > STORE_OBJECT_MAX_BYTES || m->length == 0 || m->length > STORE_READ_MAX_BYTES ||
		m->offset > m->object_bytes || m->length > m->object_bytes - m->offset)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"bytes %llu to +%llu of object %s of %llu bytes cannot be read at once",
			(unsigned long long)m->offset, (unsigned long long)m->length, m->object,
			(unsigned long long)m->object_bytes);
	return 0;
}

static void read_done(struct fetch_waiter *w, int fd, uint64_t position, const struct err *e)
{
	struct read *read = container_of(w, struct read, waiter);
	struct msg_object_data data = {.position = position};
	struct store_role *r = read->role;

	if (fd < 0) {
		role_answer_error(read->reply, e);
	} else {
		role_answer(read->reply, &data, &fd, 1);
		fd_close(&fd);
		if (read->ahead_end && !r->draining)
			fetch_ahead(r, w->object, w->object_bytes, w->offset + w->length - 1, read->ahead_end);
	}
	r->reads--;
	mem_free(read);
	store_idle_check(r);
}

void read_request(struct store_role *r, struct role_request *q)
{
	const struct msg_object_read *m = q->body;
	struct err e = ERR_INIT;
	struct read *read;

	if (read_check(r, m, &e) < 0) {
		role_answer_error(q->reply, &e);
		return;
	}
	if (m->flags & OBJECT_READ_ANEW)
		cache_drop_range(r->cache, m->object, m->offset, m->length);
	read = mem_zalloc(sizeof(*read));
	read->role = r;
	read->reply = q->reply;
	read->ahead_end = m->ahead_end < m->object_bytes ? m->ahead_end : m->object_bytes;
	strcpy(read->waiter.object, m->object); /* its length was checked with the name */
	read->waiter.object_bytes = m->object_bytes;
	read->waiter.offset = m->offset;
	read->waiter.length = m->length;
	read->waiter.done = read_done;
	r->reads++;
	fetch_locate(r, &read->waiter);
}
