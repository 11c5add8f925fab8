/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of shd-meta: it opens the database (making or migrating it), says ready, serves, and closes it
 * when drained. When it dies in the middle, the transaction of that turn is undone, and those who asked ask
 * again.
 */
#include "daemon/meta/meta.h"
#include "libsh/base/log.h"

/* The program has one role; role.h hands its callbacks no pointer of ours. */
static struct meta_role role;

static void meta_start(struct role_self *self)
{
	const char *url = settings_string(self->settings, "meta.url");
	struct err e = ERR_INIT;

	role.self = self;
	snapshot_init(&role);
	role.url = role_full_url(self, url, "sqlite:", "meta/meta.db");
	if (meta_open(url, self->data_dir, false, &role.meta, &e) < 0)
		fatal_err(&e, "cannot open the metadata %s", url);
	notice_changes(&role);
	role_ready(self);
}

static void meta_request(struct role_self *self, struct role_request *q)
{
	(void)self;
	turn_request(&role, q);
}

static void meta_drain(struct role_self *self)
{
	turn_finish(&role);
	snapshot_release_all(&role);
	meta_free(role.meta);
	role.meta = NULL;
	role_drained(self);
}

static void meta_peer_wired(struct role_self *self, enum role peer, uint32_t index)
{
	(void)self;
	if (peer == ROLE_AGENT)
		notice_wired(&role, index);
}

int main(int argc, char **argv)
{
	static const struct role_program program = {
		.role = ROLE_META,
		.start = meta_start,
		.request = meta_request,
		.drain = meta_drain,
		.peer_wired = meta_peer_wired,
	};

	return role_main(&program, argc, argv);
}
