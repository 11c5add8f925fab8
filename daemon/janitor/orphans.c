/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at what lies in the object store.
 *
 * First, before anything is removed and before a snapshot is taken: at the names of snapshots. One that neither our metadata nor one
 * that it was made from can have given says that ours is an older copy, was begun anew, or is not the one of this store. The metadata then
 * notes that, and refuses to name anything that may be deleted, and to give a snapshot.
 *
 * Then, now and then, a pass over all: orphans. Such a thing is left when a store process that was thought dead puts a segment
 * after its row was given up and removed. One goes when the metadata remembers having given it up, when it is older than the
 * grace period by its own time, and when it was met by a pass at least so long ago by the boot clock (kept in memory: a restart
 * begins anew). Removing begins after all of the pass, and not at all if anything could not be listed or asked. Segments of which
 * the metadata knows nothing are somebody's, or all that is left of something: they are counted, and left alone.
 */
#include <string.h>
#include "daemon/janitor/janitor.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/log.h"
#include "libsh/base/text.h"

enum {
	SEEN_MAX = 100000,   /* names remembered; more wait for a later pass */
	REMOVALS_MAX = 10000, /* of one pass */
	REFUSED_MAX = 20,    /* by a store that may be away */
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
	size_t removal_count, removed, refused;
	uint64_t known, strange, told; /* in this pass; in the last warning */
	bool looked, failing, whole;
} errand;

static void list_next(void);
static void looked(void);
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
	if (errand.removed > errand.refused)
		log_info("removed %zu %s that had been given up", errand.removed - errand.refused,
			text_plural((int64_t)(errand.removed - errand.refused), "segment", "segments"));
	arena_release(&errand.page);
	arena_release(&errand.arena);
	loop_timer_set(errand.self->loop, &errand.timer,
		settings_number(errand.self->settings, errand.looked ? "janitor.orphan_interval" : "janitor.interval"), pass_begin,
		NULL);
}

static void pass_fail(const char *doing, const struct err *e)
{
	void *value;
	size_t it = 0;

	if (errand.looked || !errand.failing)
		log_warn("looking at what is in the object store: %s: %s; %s", doing, e->text,
			errand.looked ? "nothing more is removed" : "nothing is removed before that is done");
	errand.failing = true;
	while (map_next(&errand.seen, &it, NULL, NULL, &value)) /* not all were met: nothing is forgotten */
		((struct seen *)value)->pass = errand.pass;
	if (!errand.looked)
		snapshots_unreachable(errand.self);
	pass_end();
}

bool orphans_looked(void)
{
	return errand.looked;
}

/* ---- how they stand ---- */

static void note_given_up(const char *name)
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
		err_set(&bad, ERR_CONFLICT, "%.200s is from another metadata: this one went back in time, was begun anew where "
			"there were data, or is not the one of this store: see streamhouse-recovery(7)", m->ahead);
		e = &bad;
	}
	while (!e && (more = pack_row_next(m->given_up, &at, msg_name_row_fields, &row, &errand.page, &bad)) == 1)
		note_given_up(row.name);
	if (more < 0)
		e = &bad;
	if (e) {
		/* What is ahead was looked at: the metadata knows, and says no to what it must. */
		if (errand.prefix == 1 && !errand.looked && e->code == ERR_CONFLICT)
			looked();
		pass_fail("asking the metadata", e);
		return;
	}
	errand.known += m->known;
	errand.strange += m->strange;
	if (errand.whole)
		remove_next();
	else
		ask_next();
}

/* The next names of the listing that are old enough; snapshots are shown whatever their age. */
static void ask_next(void)
{
	struct buf names = BUF_INIT(CHAN_MAX_BYTES / 4);
	struct msg_objects_unknown body = {.whole = false};
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
	const struct msg_object_listed *m = reply;
	struct err bad = ERR_INIT;

	(void)ctx;
	errand.call = NULL;
	if (!e && m->more) {
		err_set(&bad, ERR_TOO_LARGE, "there are more than %llu objects at once", (unsigned long long)m->count);
		e = &bad;
	}
	if (!e && janitor_read_listed(reply, message, &errand.page, &errand.rows, &bad) < 0)
		e = &bad;
	if (e) {
		pass_fail("listing", e);
		return;
	}
	errand.at = 0;
	ask_next();
}

/* All prefixes were listed, and nothing is ahead. */
static void tell_whole(void)
{
	/* A store without anything that we know may be a disk that is not mounted: that says nothing. */
	struct msg_objects_unknown body = {.whole = errand.known > 0};

	errand.whole = true;
	if (errand.strange && errand.strange != errand.told)
		log_warn("%llu %s in the object store of which the metadata knows nothing: left alone; streamctl check lists what it "
			"does not refer to", (unsigned long long)errand.strange,
			text_plural((int64_t)errand.strange, "segment is", "segments are"));
	errand.told = errand.strange;
	errand.call = peer_call(
		errand.self, ROLE_META, 0, MSG_OBJECTS_UNKNOWN, &body, NULL, 0, CALL_TIMEOUT_MS, judged, NULL);
}

static void looked(void)
{
	errand.looked = true;
	snapshots_start(errand.self);
}

static void list_next(void)
{
	struct msg_object_list body;
	char prefix[32] = "meta/";

	arena_release(&errand.page);
	if (errand.prefix == 1 && !errand.looked) {
		looked();
		pass_end();
		return;
	}
	if (errand.prefix == PREFIXES) {
		if (errand.removal_count)
			crash_point("orphans.found");
		tell_whole();
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
	const char *name = errand.removals[errand.removed];
	struct seen *s;

	(void)ctx;
	(void)reply;
	(void)message;
	errand.call = NULL;
	if (e && err_can_retry(e->code) && errand.refused >= REFUSED_MAX) { /* the store is away or busy */
		pass_fail("removing", e);
		return;
	}
	errand.removed++;
	if (e) {
		if (errand.refused++ == 0)
			log_warn("removing %.200s: %s; trying again later", name, e->text);
	} else {
		s = map_del(&errand.seen, name, strlen(name));
		mem_free(s);
	}
	crash_point("orphans.removed");
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
	if (errand.call)
		return;
	errand.pass++;
	errand.prefix = 0;
	errand.whole = false;
	errand.known = errand.strange = 0;
	errand.grace_ms = settings_number(errand.self->settings, "object.grace");
	errand.removal_count = errand.removed = errand.refused = 0;
	errand.removals = arena_alloc(&errand.arena, REMOVALS_MAX * sizeof(*errand.removals));
	list_next();
}

void orphans_start(struct role_self *self)
{
	errand.self = self;
	pass_begin(NULL);
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
