/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/window.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

enum { PAGE = 4096 }; /* alignment that O_DIRECT wants of offsets, lengths and memory */

static uint64_t align_down(uint64_t v)
{
	return v - v % PAGE;
}

static uint64_t align_up(uint64_t v)
{
	return align_down(v + PAGE - 1);
}

static void window_allocate(struct window *w, size_t capacity)
{
	mem_free(w->memory);
	w->memory = mem_alloc(capacity + PAGE);
	w->data = (uint8_t *)align_up((uintptr_t)w->memory);
	w->capacity = capacity;
	w->len = 0;
}

int window_open(struct window *w, int fd, bool direct, size_t read_bytes, struct err *e)
{
	int64_t size = disk_size(fd, e);
	char path[64];

	if (size < 0)
		return -1;
	memset(w, 0, sizeof(*w));
	w->fd = fd;
	w->direct_fd = -1;
	w->size = (uint64_t)size;
	w->read_bytes = align_up(read_bytes);
	if (direct) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		w->direct_fd = disk_open(path, O_RDONLY | O_DIRECT, 0, NULL);
	}
	window_allocate(w, w->read_bytes + PAGE);
	return 0;
}

void window_close(struct window *w)
{
	fd_close(&w->direct_fd);
	mem_free(w->memory);
	w->memory = NULL;
}

/* How much of what is held stands at `start` and behind: it is moved to the front and not read again. */
static size_t window_keep(struct window *w, uint64_t start)
{
	size_t kept;

	if (start < w->start || start >= w->start + w->len)
		return 0;
	kept = (size_t)(w->start + w->len - start);
	if (w->direct_fd >= 0 && kept % PAGE) /* the end of a file of odd size */
		return 0;
	memmove(w->data, w->data + (start - w->start), kept);
	return kept;
}

static int window_load(struct window *w, uint64_t position, size_t need, struct err *e)
{
	bool direct = w->direct_fd >= 0;
	size_t before = direct ? position % PAGE : 0, want = before + (need > w->read_bytes ? need : w->read_bytes), kept;
	uint64_t start = position - before;

	if (direct)
		want = align_up(want);
	if (want > w->capacity)
		window_allocate(w, want);
	kept = window_keep(w, start);
	w->start = start;
	w->len = 0;
	if (want > w->size - start) {
		want = (size_t)(w->size - start);
		direct = direct && want % PAGE == 0; /* only a file of odd size ends so */
	}
	if (disk_pread(direct ? w->direct_fd : w->fd, w->data + kept, want - kept, (int64_t)(start + kept), e))
		return -1;
	w->len = want;
	return 0;
}

const uint8_t *window_at(struct window *w, uint64_t position, size_t need, size_t *have, struct err *e)
{
	if (position >= w->size) {
		*have = 0;
		return w->data;
	}
	if (need > w->size - position)
		need = (size_t)(w->size - position);
	if (!window_holds(w, position, need) && window_load(w, position, need, e))
		return NULL;
	*have = w->len - (size_t)(position - w->start);
	return w->data + (position - w->start);
}
