/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/rebuild.h"

#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/rebuild_private.h"

void rebuild_note(struct rebuild_work *w, bool damage, const char *where, const char *fmt, ...)
{
	struct buf text = BUF_INIT(4096);
	va_list ap;

	va_start(ap, fmt);
	buf_vaddf(&text, fmt, ap);
	va_end(ap);
	w->r->note(w->r->ctx, damage, where, text.data ? text.data : "");
	buf_release(&text);
}

void rebuild_keep(struct rebuild_work *w, const char *name, const char *why)
{
	map_puts(&w->kept, name, arena_strdup(&w->arena, why));
}

/* A file without a name beside the new database: whatever ends us, nothing of it stays. */
static int open_spill(struct rebuild_work *w, struct err *e)
{
	char *name = mem_printf("%s.runs", w->r->path), *slash = strrchr(name, '/');
	int result = 0;

	if (slash && slash != name) {
		*slash = '\0';
		result = disk_make_dirs(name, e);
		*slash = '/';
	}
	if (result == 0) {
		w->spill_fd = disk_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, e);
		result = w->spill_fd < 0 ? -1 : disk_unlink(name, e);
	}
	mem_free(name);
	return result;
}

static int steps(struct rebuild_work *w, struct err *e)
{
	if (meta_restore_check_free(w->r->path, e) < 0 || rebuild_snapshot_find(w, e) < 0 ||
		rebuild_topic_take_snapshot(w, e) < 0 || open_spill(w, e) < 0 || rebuild_segment_read_all(w, e) < 0 ||
		rebuild_topic_settle(w, e) < 0)
		return -1;
	rebuild_slot_learn(w);
	rebuild_chain_choose_all(w);
	return rebuild_write_all(w, e);
}

int rebuild_run(struct rebuild *r, struct err *e)
{
	struct rebuild_work w = {.r = r, .spill_fd = -1};
	int result = steps(&w, e);

	map_release(&w.by_id);
	map_release(&w.kept);
	mem_free(w.topics);
	mem_free(w.segments);
	mem_free(w.runs);
	fd_close(&w.spill_fd);
	arena_release(&w.arena);
	return result < 0 ? -1 : 0;
}
