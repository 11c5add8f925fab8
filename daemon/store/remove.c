/* SPDX-License-Identifier: Apache-2.0 */
/* OBJECT_REMOVE: the janitor says that nothing refers to an object any more. */
#include <string.h>
#include "daemon/store/store.h"
#include "libsh/base/mem.h"

struct removal {
	struct work work;
	struct store_role *role;
	struct role_reply *reply;
	char object[OBJECT_NAME_MAX + 1];
	int result;
	struct err error;
};

static void removal_run(struct work *w)
{
	struct removal *rm = container_of(w, struct removal, work);
	struct object_store *s = rm->role->objects;

	rm->result = s->driver->remove(s, rm->object, &rm->error);
}

static void removal_done(struct work *w)
{
	struct removal *rm = container_of(w, struct removal, work);
	struct store_role *r = rm->role;

	cache_drop_range(r->cache, rm->object, 0, UINT64_MAX);
	if (rm->result < 0) {
		store_count_error(r, &rm->error);
		role_answer_error(rm->reply, &rm->error);
	} else {
		r->counters.removes++;
		store_count_success(r);
		role_answer(rm->reply, &(struct msg_empty){0}, NULL, 0);
	}
	r->removes--;
	mem_free(rm);
	store_idle_check(r);
}

void remove_request(struct store_role *r, struct role_request *q)
{
	const struct msg_object_remove *m = q->body;
	struct removal *rm = mem_zalloc(sizeof(*rm));

	rm->role = r;
	rm->reply = q->reply;
	rm->work.run = removal_run;
	rm->work.done = removal_done;
	if (r->draining)
		err_set(&rm->error, ERR_UNAVAILABLE, "the store is stopping");
	else if (r->removes >= STORE_REMOVES)
		err_set(&rm->error, ERR_BACK_PRESSURE, "%d objects are being removed", STORE_REMOVES);
	else if (object_name_check(m->name, &rm->error) == 0) {
		strcpy(rm->object, m->name); /* its length was just checked */
		if (work_submit(r->io_pool, &rm->work, &rm->error) == 0) {
			r->removes++;
			return;
		}
	}
	role_answer_error(q->reply, &rm->error);
	mem_free(rm);
}
