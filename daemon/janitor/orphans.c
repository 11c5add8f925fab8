/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orphans: segments in the object store of which the metadata has no row at all. Such a thing is left when a store process
 * that was thought dead puts an object after its row was given up and removed.
 *
 * A pass lists everything and asks meta, in batches, which names it does not know. An orphan goes when it is older than the
 * grace period by its own time, and when a pass before, at least as long ago by the boot clock, did not know it either; what
 * was seen is kept in memory, so a restart begins anew. Removing begins after all of the pass, and not at all if anything could
 * not be listed or asked, or if there is a name that only a newer metadata than ours can have given: ours is an older copy then, and
 * what it does not know may be all that is left of somebody's records.
 */
#include <string.h>
#include "daemon/janitor/janitor.h"
#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "libsh/base/text.h"

enum {
	SEEN_MAX = 100000,   /* unknown names remembered; more wait for a later pass */
	REMOVALS_MAX = 10000, /* of one pass */
	PREFIXES = 17,       /* snapshots, then segments by the first digit of their shard */
};

struct seen {
	int64_t first_ms; /* boot clock */
	uint64_t pass;    /* in which it was met last */
};
static struct orphans_errand {
	struct role_self *self;
	struct timer timer;
	struct peer_call_handle *call;
	struct map seen;
	uint64_t pass;
	int64_t grace_ms;
	unsigned prefix;
	struct arena arena; /* the pass: names to remove */
	struct arena page;  /* one listing */
	struct bytes rows;
	size_t at;
	struct bytes names; /* asked about, from page */
	const char **removals;
	size_t removal_count, removed;
} errand;

static void list_next(void);
static void ask_next(void);
static void remove_next(void);
static void pass_begin(void *ctx);

static void pass_end(void)
{
	const void *key;
	size_t it = 0, length;
	void *value;

	while (map_next(&errand.seen, &it, &key, &length, &value)) {
		struct seen *s = value;

		if (s->pass == errand.pass)
			continue;
		map_del(&errand.seen, key, length);
		mem_free(s);
	}
	if (errand.removed)
		log_info("removed %zu %s that the metadata does not know", errand.removed,
			text_plural((int64_t)errand.removed, "segment", "segments"));
	arena_release(&errand.page);
	arena_release(&errand.arena);
	loop_timer_set(errand.self->loop, &errand.timer, settings_number(errand.self->settings, "janitor.orphan_interval"),
		pass_begin, NULL);
}

static void pass_fail(const char *doing, const struct err *e)
{
	void *value;
	size_t it = 0;

	log_warn("looking for segments that the metadata does not know: %s: %s; nothing more is removed", doing, e->text);
	while (map_next(&errand.seen, &it, NULL, NULL, &value)) /* not all were met: nothing is forgotten */
		((struct seen *)value)->pass = errand.pass;
	pass_end();
}

/* ---- what meta does not know ---- */

static void note_unknown(const char *name)
{
	struct seen *s = map_gets(&errand.seen, name);
	int64_t now_ms = clock_boot_ms();

	if (!s) {
		if (errand.seen.count >= SEEN_MAX)
			return;
		s = mem_zalloc(sizeof(*s));
		s->first_ms = now_ms;
		map_puts(&errand.seen, name, s);
	}
	s->pass = errand.pass;
	if (now_ms - s->first_ms >= errand.grace_ms && errand.removal_count < REMOVALS_MAX)
		errand.removals[errand.removal_count++] = arena_strdup(&errand.arena, name);
}

static void judged(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	const struct msg_objects_judged *m = reply;
	struct msg_name_row row;
	struct err bad = ERR_INIT;
	size_t at = 0;
	int more = 0;

	(void)ctx;
	(void)message;
	errand.call = NULL;
	if (!e && *m->ahead) {
		err_set(&bad, ERR_CONFLICT, "%.200s is from a newer metadata than this: this one went back in time, or is not the "
			"one of this store: see streamhouse-recovery(7)", m->ahead);
		e = &bad;
	}
	while (!e && (more = pack_row_next(m->unknown, &at, msg_name_row_fields, &row, &errand.page, &bad)) == 1)
		note_unknown(row.name);
	if (more < 0)
		e = &bad;
	if (e)
		pass_fail("asking the metadata", e);
	else
		ask_next();
}

/* The next names of the listing that are old enough; snapshots are shown whatever their age. */
static void ask_next(void)
{
	struct buf names = BUF_INIT(CHAN_MAX_BYTES / 4);
	struct msg_objects_unknown body;
	struct msg_listed_row row;
	struct err bad = ERR_INIT;
	int64_t until_ms = clock_real_ms() - errand.grace_ms;
	size_t count = 0;
	int more = 0;

	while (count < NAMES_MAX &&
		(more = pack_row_next(errand.rows, &errand.at, msg_listed_row_fields, &row, &errand.page, &bad)) == 1) {
		struct msg_name_row name = {.name = row.name};

		if (row.modified_ms > until_ms && errand.prefix > 1)
			continue;
		pack_row_write(&names, msg_name_row_fields, &name);
		count++;
	}
	body.names = (struct bytes){(const uint8_t *)names.data, names.len};
	if (more < 0)
		pass_fail("reading the list", &bad);
	else if (count == 0)
		list_next();
	else
		errand.call = peer_call(
			errand.self, ROLE_META, 0, MSG_OBJECTS_UNKNOWN, &body, NULL, 0, CALL_TIMEOUT_MS, judged, NULL);
	buf_release(&names);
}

/* ---- listing ---- */

static void listed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct err bad = ERR_INIT;

	(void)ctx;
	errand.call = NULL;
	if (!e && janitor_read_listed(reply, message, &errand.page, &errand.rows, &bad) < 0)
		e = &bad;
	if (e) {
		pass_fail("listing", e);
		return;
	}
	errand.at = 0;
	ask_next();
}

static void list_next(void)
{
	struct msg_object_list body;
	char prefix[32] = "meta/";

	arena_release(&errand.page);
	if (errand.prefix == PREFIXES) {
		remove_next();
		return;
	}
	if (errand.prefix > 0)
		snprintf(prefix, sizeof(prefix), "segments/%x", errand.prefix - 1);
	errand.prefix++;
	body.prefix = prefix;
	errand.call =
		peer_call(errand.self, ROLE_STORE, 0, MSG_OBJECT_LIST, &body, NULL, 0, LIST_TIMEOUT_MS, listed, NULL);
}

/* ---- removing ---- */

static void removed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct seen *s;

	(void)ctx;
	(void)reply;
	(void)message;
	errand.call = NULL;
	if (e) {
		pass_fail("removing", e);
		return;
	}
	s = map_del(&errand.seen, errand.removals[errand.removed], strlen(errand.removals[errand.removed]));
	mem_free(s);
	errand.removed++;
	remove_next();
}

static void remove_next(void)
{
	struct msg_object_remove body;

	if (errand.removed == errand.removal_count) {
		pass_end();
		return;
	}
	body.name = errand.removals[errand.removed];
	errand.call =
		peer_call(errand.self, ROLE_STORE, 0, MSG_OBJECT_REMOVE, &body, NULL, 0, CALL_TIMEOUT_MS, removed, NULL);
}

static void pass_begin(void *ctx)
{
	(void)ctx;
	errand.pass++;
	errand.prefix = 0;
	errand.grace_ms = settings_number(errand.self->settings, "object.grace");
	errand.removal_count = errand.removed = 0;
	errand.removals = arena_alloc(&errand.arena, REMOVALS_MAX * sizeof(*errand.removals));
	list_next();
}

void orphans_start(struct role_self *self)
{
	errand.self = self;
	loop_timer_set(
		self->loop, &errand.timer, settings_number(self->settings, "janitor.orphan_interval"), pass_begin, NULL);
}

void orphans_drain(void)
{
	void *value;
	size_t it = 0;

	loop_timer_cancel(errand.self->loop, &errand.timer);
	if (errand.call)
		peer_cancel(errand.call);
	while (map_next(&errand.seen, &it, NULL, NULL, &value))
		mem_free(value);
	map_release(&errand.seen);
	arena_release(&errand.page);
	arena_release(&errand.arena);
}
