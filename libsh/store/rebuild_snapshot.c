/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest snapshot that can be read. Which is the newest is told by its name, not by a clock: incarnations and numbers grow. One
 * that is damaged is told, and the one before it is taken; one that the store does not hand out ends the rebuild, since it may be whole.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/store/rebuild_private.h"

struct names {
	struct arena *arena;
	const char **list;
	size_t count, room;
};

static int add_name(void *ctx, const struct object_info *o)
{
	struct names *n = ctx;
	uint64_t incarnation, number;

	if (!snapshot_name_parse(o->name, &incarnation, &number))
		return 0;
	if (n->count == n->room) {
		n->room = n->room ? 2 * n->room : 16;
		n->list = mem_realloc_array(n->list, n->room, sizeof(*n->list));
	}
	n->list[n->count++] = arena_strdup(n->arena, o->name);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	return strcmp(*(const char *const *)b, *(const char *const *)a);
}

int rebuild_snapshot_read(struct object_store *s, const char *name, struct arena *a, struct snapshot *out, struct err *e)
{
	uint64_t bytes, incarnation, number;
	void *p;
	int result;

	if (s->driver->size(s, name, &bytes, e) < 0)
		return -1;
	if (bytes > SNAPSHOT_MAX_BYTES)
		return err_set(e, ERR_CORRUPT, "it has %llu bytes, more than any snapshot", (unsigned long long)bytes);
	p = mem_alloc(bytes + 1);
	result = s->driver->get(s, name, 0, p, bytes, e);
	if (result == 0)
		result = snapshot_read(p, bytes, a, out, e);
	mem_free(p);
	if (result == 0 && snapshot_name_parse(name, &incarnation, &number) &&
		(incarnation != out->incarnation || number != out->number))
		return err_set(e, ERR_CORRUPT, "it holds another snapshot, %016llx-%016llx", (unsigned long long)out->incarnation,
			(unsigned long long)out->number);
	return result;
}

static int take_newest(struct rebuild_work *w, const struct names *n, struct err *e)
{
	for (size_t i = 0; i < n->count && !w->r->snapshot_found; i++) {
		struct err why = ERR_INIT;

		if (rebuild_snapshot_read(w->r->store, n->list[i], &w->arena, &w->snapshot, &why) == 0) {
			w->r->snapshot_found = true;
			continue;
		}
		if (why.code != ERR_CORRUPT && why.code != ERR_NOT_FOUND)
			return err_set(e, why.code, "%s: %s", n->list[i], why.text);
		rebuild_note(w, true, n->list[i],
			"%s: an older snapshot is used; what was changed since is lost, and topics deleted since may come back", why.text);
	}
	return 0;
}

int rebuild_snapshot_find(struct rebuild_work *w, struct err *e)
{
	struct object_store *s = w->r->store;
	struct names n = {.arena = &w->arena};
	uint64_t incarnation, number;
	int result = s->driver->list(s, "meta/", add_name, &n, e);

	if (n.count)
		qsort(n.list, n.count, sizeof(*n.list), newest_first);
	for (size_t i = n.count; i-- > 0;)
		if (snapshot_name_parse(n.list[i], &incarnation, &number) && incarnation < REBUILD_INCARNATION_MAX)
			w->incarnation = incarnation;
	if (result == 0)
		result = take_newest(w, &n, e);
	mem_free(n.list);
	if (result == 0 && !w->r->snapshot_found && !w->r->without_snapshot) {
		err_set(e, ERR_NOT_FOUND, "there is no snapshot of the metadata in the store that can be read");
		return err_hint(e, "--without-snapshot takes what segments say: configs are lost, and deleted topics may come back");
	}
	if (!w->r->snapshot_found)
		memset(&w->snapshot, 0, sizeof(w->snapshot));
	w->r->snapshot_incarnation = w->snapshot.incarnation;
	w->r->snapshot_number = w->snapshot.number;
	w->r->snapshot_taken_ms = w->snapshot.taken_ms;
	w->session = w->snapshot.session;
	return result;
}
