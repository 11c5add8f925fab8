/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of shd-meta: it opens the database (making or migrating it), says ready, serves, and closes it
 * when drained. When it dies in the middle, the transaction of that turn is undone, and those who asked ask
 * again.
 */
#include "daemon/meta/meta.h"
#include "libsh/base/disk.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"

/* The program has one role; role.h hands its callbacks no pointer of ours. */
static struct meta_role role;

/* A file or directory that only a shd with metadata can have left: what an agent has seen of it, or segments. */
static char *earlier_data(const char *dir)
{
	char *slots = mem_printf("%s/slots", dir), *segments = mem_printf("%s/objects/segments", dir), *found = NULL, **names = NULL;
	size_t count = 0;

	if (!disk_list(slots, &names, &count, NULL))
		for (size_t i = 0; i < count && !found; i++) {
			char *seen = mem_printf("%s/%s/seen", slots, names[i]);

			if (disk_exists(seen))
				found = seen;
			else
				mem_free(seen);
		}
	disk_list_free(names, count);
	if (!found && disk_exists(segments))
		found = mem_strdup(segments);
	mem_free(segments);
	mem_free(slots);
	return found;
}

/* Metadata that is lost must not be begun anew: it would give out offsets and names a second time. */
static int check_not_lost(const struct role_self *self, const char *url, struct err *e)
{
	char *earlier = meta_is_there(url, self->data_dir) ? NULL : earlier_data(self->data_dir);
	int result = 0;

	if (earlier) {
		result = err_set(e, ERR_CORRUPT, "there is none, but there was: %s is of its time", earlier);
		err_hint(e, "restore it from a copy, or make it from the object store with streamctl check --rebuild; see streamhouse-recovery(7)");
	}
	mem_free(earlier);
	return result;
}

static void meta_start(struct role_self *self)
{
	const char *url = settings_string(self->settings, "meta.url");
	struct err e = ERR_INIT;

	role.self = self;
	snapshot_init(&role);
	role.url = role_full_url(self, url, "sqlite:", "meta/meta.db");
	if (check_not_lost(self, url, &e) < 0 || meta_open(url, self->data_dir, false, &role.meta, &e) < 0)
		fatal_err(&e, "cannot open the metadata %s", role.url);
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
