/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/offline.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "libsh/base/disk.h"
#include "libsh/base/text.h"

static bool has_entry(const char *directory, const char *name)
{
	char *path = mem_printf("%s/%s", directory, name);
	bool there = disk_exists(path);

	mem_free(path);
	return there;
}

int offline_kind(const char *store, enum offline_kind *kind, struct err *e)
{
	struct stat st;

	*kind = OFFLINE_OBJECTS;
	if (!strncmp(store, "file://", 7) || !strncmp(store, "s3://", 5))
		return 0;
	if (strstr(store, "://"))
		return err_set(e, ERR_NOT_BUILT, "%s: only file:// and s3:// URLs can be read", store);
	if (stat(store, &st))
		return err_sys(e, ERR_NOT_FOUND, "%s", store);
	if (!S_ISDIR(st.st_mode)) {
		*kind = text_ends_with(store, ".wal") ? OFFLINE_WAL : OFFLINE_SEGMENT;
		return 0;
	}
	/* A store of segments has a folder meta as well: of snapshots. */
	if (has_entry(store, "meta/meta.db") || has_entry(store, "VERSION"))
		*kind = OFFLINE_DATA;
	return 0;
}

char *offline_default_store(void)
{
	const char *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (xdg && *xdg)
		return mem_printf("%s/streamhouse", xdg);
	return mem_printf("%s/.local/share/streamhouse", home ? home : "");
}

int offline_objects_open(const char *store, struct object_store **s, struct err *e)
{
	if (strstr(store, "://"))
		return object_store_open(store, "", NULL, s, e);
	return object_dir_open(store, s, e);
}

int offline_objects_none(const char *store, struct err *e)
{
	const char *directory = strncmp(store, "file://", 7) ? store : store + 7;

	/* The store of a young shd is empty too; it lies in a data directory, or the driver has made its folder. */
	if (has_entry(directory, "../VERSION") || has_entry(directory, ".tmp"))
		return 0;
	err_set(e, ERR_NOT_FOUND, "%s is no data directory of shd, and holds no segments", store);
	return err_hint(e, "name a data directory, the folder or URL of its objects, or a .seg or .wal file");
}

/* ---- listing ---- */

struct listing {
	struct object_store *store;
	struct arena *arena;
	struct offline_object_run *runs;
	size_t count, alloc;
	void (*unreadable)(void *ctx, const char *object, const struct err *e);
	void *ctx;
};

static void add_runs(struct listing *l, const struct object_info *info, const struct segment_file *f)
{
	const char *object = arena_strdup(l->arena, info->name);

	for (size_t i = 0; i < f->run_count; i++) {
		if (l->count == l->alloc) {
			l->alloc = l->alloc ? 2 * l->alloc : 64;
			l->runs = mem_realloc_array(l->runs, l->alloc, sizeof(*l->runs));
		}
		l->runs[l->count++] = (struct offline_object_run){.object = object, .object_bytes = info->bytes,
			.topic_name = arena_strdup(l->arena, f->runs[i].topic_name), .run = f->runs[i].run};
	}
}

static int list_object(void *ctx, const struct object_info *info)
{
	struct listing *l = ctx;
	struct offline_object o;
	struct segment_file f;
	struct err e = ERR_INIT;

	if (!text_ends_with(info->name, ".seg"))
		return 0;
	offline_object_init(&o, l->store, info->name, info->bytes);
	if (segment_file_open(&f, &o.input, &e)) {
		l->unreadable(l->ctx, info->name, &e);
		return 0;
	}
	add_runs(l, info, &f);
	segment_file_release(&f);
	return 0;
}

static int compare_runs(const void *a, const void *b)
{
	const struct offline_object_run *x = a, *y = b;
	int c = strcmp(x->topic_name, y->topic_name);

	if (!c)
		c = uuid_compare(&x->run.topic, &y->run.topic);
	if (!c && x->run.partition != y->run.partition)
		c = x->run.partition < y->run.partition ? -1 : 1;
	if (!c && x->run.first_offset != y->run.first_offset)
		c = x->run.first_offset < y->run.first_offset ? -1 : 1;
	return c;
}

int offline_objects_list(struct object_store *s, struct arena *a, struct offline_object_run **runs, size_t *count,
	void (*unreadable)(void *ctx, const char *object, const struct err *e), void *ctx, struct err *e)
{
	struct listing l = {.store = s, .arena = a, .unreadable = unreadable, .ctx = ctx};
	int rc = s->driver->list(s, "", list_object, &l, e);

	if (rc) {
		mem_free(l.runs);
		return rc;
	}
	if (l.count)
		qsort(l.runs, l.count, sizeof(*l.runs), compare_runs);
	*runs = l.count ? arena_dup(a, l.runs, l.count * sizeof(*l.runs)) : NULL;
	*count = l.count;
	mem_free(l.runs);
	return 0;
}
