/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SNAPSHOT_TAKE from meta, OBJECT_PUT to the store, SNAPSHOT_STORED to meta. The newest few stay; older ones are removed now and
 * then, by listing. Those of another incarnation, or newer than the one just put, belong to another metadata and are left alone.
 */
#include <stdlib.h>
#include <string.h>
#include "daemon/janitor/janitor.h"
#include "libsh/base/crash.h"
#include "libsh/base/log.h"
#include "libsh/format/snapshot.h"

enum {
	SNAPSHOTS_KEPT = 3,
	TIDY_EVERY = 16, /* snapshots put */
};

static struct snapshots_errand {
	struct role_self *self;
	struct timer timer;
	struct peer_call_handle *call;
	bool busy, again, failing, draining;
	char name[SNAPSHOT_NAME_BYTES];
	unsigned puts;
	struct arena arena;
	const char **names; /* to remove */
	size_t count, next;
} errand;

static void take(void *ctx);
static void remove_next(void);

static void finish(void)
{
	errand.busy = false;
	arena_release(&errand.arena);
	errand.names = NULL;
	errand.count = errand.next = 0;
	if (errand.again && !errand.failing)
		take(NULL);
	else
		loop_timer_set(errand.self->loop, &errand.timer, settings_number(errand.self->settings, "meta.snapshot_interval"),
			take, NULL);
}

static void problem(const char *doing, const struct err *e)
{
	if (!errand.failing)
		log_warn("%s: %s; trying again later", doing, e->text);
	errand.failing = true;
}

/* ---- older ones ---- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)b, *(const char *const *)a);
}

static void older_listed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct msg_listed_row row;
	struct err bad = ERR_INIT;
	struct bytes rows;
	uint64_t incarnation, number, ours = 0, newest = 0;
	size_t at = 0, count = 0;
	const char **names;

	(void)ctx;
	errand.call = NULL;
	if (e || janitor_read_listed(reply, message, &errand.arena, &rows, &bad) < 0) {
		log_warn("listing snapshots: %s", e ? e->text : bad.text);
		finish();
		return;
	}
	snapshot_name_parse(errand.name, &ours, &newest);
	names = arena_alloc(&errand.arena, (rows.len / 16 + 1) * sizeof(*names)); /* a row has more bytes */
	while (pack_row_next(rows, &at, msg_listed_row_fields, &row, &errand.arena, &bad) == 1)
		if (snapshot_name_parse(row.name, &incarnation, &number) && incarnation == ours && number <= newest)
			names[count++] = row.name;
	if (count)
		qsort(names, count, sizeof(*names), compare_names);
	errand.names = names;
	errand.count = count;
	errand.next = SNAPSHOTS_KEPT;
	remove_next();
}

static void older_removed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	(void)ctx;
	(void)reply;
	(void)message;
	crash_point("snapshot.pruned");
	errand.call = NULL;
	if (e) {
		log_warn("removing an older snapshot: %s", e->text);
		finish();
	} else {
		remove_next();
	}
}

static void remove_next(void)
{
	struct msg_object_remove body;

	if (errand.next >= errand.count) {
		finish();
		return;
	}
	body.name = errand.names[errand.next++];
	errand.call = peer_call(
		errand.self, ROLE_STORE, 0, MSG_OBJECT_REMOVE, &body, NULL, 0, CALL_TIMEOUT_MS, older_removed, NULL);
}

/* ---- a new one ---- */

static void told(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct msg_object_list body = {.prefix = "meta/"};

	(void)ctx;
	(void)reply;
	(void)message;
	(void)e; /* meta then takes another one that is the same */
	crash_point("snapshot.told");
	errand.call = NULL;
	if (errand.failing || errand.puts++ % TIDY_EVERY)
		finish();
	else
		errand.call = peer_call(
			errand.self, ROLE_STORE, 0, MSG_OBJECT_LIST, &body, NULL, 0, LIST_TIMEOUT_MS, older_listed, NULL);
}

static void put(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct msg_snapshot_stored body = {
		.name = errand.name, .failed = e != NULL, .taken = e && e->code == ERR_EXISTS};

	(void)ctx;
	(void)reply;
	(void)message;
	if (e)
		problem("a snapshot of the metadata could not be stored", e);
	else
		errand.failing = false;
	crash_point("snapshot.put");
	errand.call =
		peer_call(errand.self, ROLE_META, 0, MSG_SNAPSHOT_STORED, &body, NULL, 0, CALL_TIMEOUT_MS, told, NULL);
}

static void taken(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_snapshot_taken *m = reply;
	struct msg_object_put body;

	(void)ctx;
	errand.call = NULL;
	if (e)
		problem("a snapshot of the metadata could not be taken", e);
	if (e || !*m->name || message->fd_count < 1 || strlen(m->name) >= sizeof(errand.name)) {
		finish();
		return;
	}
	crash_point("snapshot.taken");
	strcpy(errand.name, m->name);
	body = (struct msg_object_put){.name = errand.name, .bytes = m->bytes};
	errand.call = peer_call(errand.self, ROLE_STORE, 0, MSG_OBJECT_PUT, &body, message->fds, 1, CALL_TIMEOUT_MS, put, NULL);
}

static void unreachable_told(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	(void)ctx;
	(void)reply;
	(void)message;
	(void)e;
	errand.call = NULL;
	errand.busy = false;
	if (orphans_looked())
		take(NULL);
}

static void take(void *ctx)
{
	(void)ctx;
	if (errand.busy || errand.draining)
		return;
	errand.busy = true;
	errand.again = false;
	loop_timer_cancel(errand.self->loop, &errand.timer);
	errand.call = peer_call(
		errand.self, ROLE_META, 0, MSG_SNAPSHOT_TAKE, &(struct msg_empty){0}, NULL, 0, CALL_TIMEOUT_MS, taken, NULL);
}

/* It is told like one that could not be stored. */
void snapshots_unreachable(struct role_self *self)
{
	struct msg_snapshot_stored body = {.name = "", .failed = true};

	if (errand.busy || errand.draining)
		return;
	errand.busy = true;
	errand.failing = true;
	errand.self = self;
	errand.call = peer_call(self, ROLE_META, 0, MSG_SNAPSHOT_STORED, &body, NULL, 0, CALL_TIMEOUT_MS, unreachable_told, NULL);
}

void snapshots_wanted(void)
{
	if (!orphans_looked())
		return;
	errand.again = errand.busy;
	take(NULL);
}

void snapshots_start(struct role_self *self)
{
	errand.self = self;
	take(NULL);
}

void snapshots_drain(void)
{
	errand.draining = true;
	if (errand.self)
		loop_timer_cancel(errand.self->loop, &errand.timer);
	if (errand.call)
		peer_cancel(errand.call);
	arena_release(&errand.arena);
}
