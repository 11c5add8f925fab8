/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory that knows what was synced. A file is pages of two copies: what the cache shows and what is on disk. Names are kept
 * twice as well; a sync of the directory carries the changes over, in order. When the power fails each directory keeps a prefix of its
 * changes and each page, or each sector of it, that was not synced is there or not. A sync that fails marks pages clean that
 * never reached the disk: who reads without O_DIRECT sees them, until the power fails. Directories themselves are always there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "tests/sim/disk_private.h"
#include "tests/sim/threads.h"

#undef lseek

struct handle disk_handles[HANDLES];
struct disk disk_of[NODES];

static struct disk *disk_now(void)
{
	return &disk_of[sim.node->number];
}

/* ---- files and names ---- */

struct inode *disk_inode_new(struct disk *d)
{
	struct inode *i = calloc(1, sizeof(*i));

	if (!i)
		abort();
	i->disk = d;
	i->next = d->inodes;
	d->inodes = i;
	return i;
}

static void inode_drop_pages(struct inode *i)
{
	for (size_t k = 0; k < PAGES; k++) {
		free(i->pages[k]);
		i->pages[k] = NULL;
	}
}

void disk_inode_free(struct inode *i)
{
	struct inode **at = &i->disk->inodes;

	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
	inode_drop_pages(i);
	free(i);
}

/* Whoever had it is gone, with all descriptors. */
void disk_drop(const struct node *n)
{
	struct disk *d = &disk_of[n->number];

	while (d->inodes)
		disk_inode_free(d->inodes);
	d->name_count = d->change_count = 0;
	d->full = false;
}

void disk_space(const struct node *n, bool full)
{
	disk_of[n->number].full = full;
}

static struct name *name_find(const char *path, bool make)
{
	struct disk *d = disk_now();
	size_t len = strlen(path);
	struct name *n;

	for (size_t i = 0; i < d->name_count; i++)
		if (d->names[i].len == len && !memcmp(d->names[i].path, path, len))
			return &d->names[i];
	if (!make)
		return NULL;
	if (d->name_count == NAMES || len >= sizeof(n->path))
		abort();
	n = &d->names[d->name_count++];
	memset(n, 0, sizeof(*n));
	strcpy(n->path, path);
	n->len = len;
	n->dir_len = (size_t)(strrchr(path, '/') - path);
	return n;
}

static void change_add(struct name *n, struct name *from, struct inode *i)
{
	struct disk *d = disk_now();

	if (d->change_count == CHANGES)
		abort();
	d->changes[d->change_count++] = (struct change){n, from, i};
	n->cache = i;
	if (from)
		from->cache = NULL;
}

void disk_change_apply(const struct change *c)
{
	c->name->disk = c->inode;
	if (c->from)
		c->from->disk = NULL;
}

bool disk_name_in(const struct name *n, const char *dir, size_t len)
{
	return n->dir_len == len && !strncmp(n->path, dir, len);
}

/* ---- disk.h ---- */

static struct handle *handle_of(int fd)
{
	if (fd < FIRST_FD || fd >= FIRST_FD + HANDLES || !disk_handles[fd - FIRST_FD].inode)
		abort();
	return &disk_handles[fd - FIRST_FD];
}

static int handle_new(struct inode *i, bool direct)
{
	for (int k = 0; k < HANDLES; k++)
		if (!disk_handles[k].inode) {
			disk_handles[k] = (struct handle){i, sim.node->number, direct, false};
			i->open++;
			return FIRST_FD + k;
		}
	abort();
}

int disk_anonymous(void)
{
	struct inode *i = disk_inode_new(disk_now());

	i->anonymous = true;
	return handle_new(i, false);
}

int disk_open_again(int fd)
{
	return handle_new(handle_of(fd)->inode, false);
}

void fd_close(int *fd)
{
	if (*fd >= 0) {
		struct handle *h = handle_of(*fd);
		struct inode *i = h->inode;

		if (h->lock)
			i->locked = false;
		h->inode = NULL;
		if (--i->open == 0 && i->anonymous)
			disk_inode_free(i);
	}
	*fd = -1;
}

int fd_memory(const char *name, const void *p, size_t n, struct err *e)
{
	int fd = disk_anonymous();

	(void)name;
	return disk_pwrite(fd, p, n, 0, e) < 0 ? -1 : fd;
}

int disk_open(const char *path, int flags, int mode, struct err *e)
{
	struct name *n;

	(void)mode;
	if (!strncmp(path, "/proc/self/fd/", 14))
		return handle_new(handle_of(atoi(path + 14))->inode, flags & O_DIRECT);
	fiber_step();
	n = name_find(path, flags & O_CREAT);
	if (!n || (!n->cache && !(flags & O_CREAT)))
		return err_set(e, ERR_NOT_FOUND, "cannot open %s: it is not there", path);
	if (!n->cache) {
		if (disk_now()->full)
			return err_set(e, ERR_NO_SPACE, "cannot open %s: no space", path);
		change_add(n, NULL, disk_inode_new(disk_now()));
	}
	if (flags & O_TRUNC) {
		inode_drop_pages(n->cache);
		n->cache->size = n->cache->disk_size = n->cache->allocated = 0;
	}
	return handle_new(n->cache, flags & O_DIRECT);
}

int disk_pread(int fd, void *p, size_t n, int64_t offset, struct err *e)
{
	struct handle *h = handle_of(fd);
	struct inode *i = h->inode;
	uint8_t *to = p;

	if (!i->anonymous && fiber_inside() && sim_fault(FAULT_READ, 1)) {
		sim.node->failed = true;
		return err_set(e, ERR_IO, "cannot read at %lld: the simulator says so", (long long)offset);
	}
	if (offset + (int64_t)n > i->size)
		return err_set(e, ERR_CORRUPT, "the file ends at %lld", (long long)i->size);
	while (n) {
		size_t at = (size_t)(offset % PAGE), part = PAGE - at < n ? PAGE - at : n;
		const struct page *page = i->pages[offset / PAGE];

		if (!page)
			memset(to, 0, part);
		else
			memcpy(to, (h->direct && !page->dirty ? page->disk : page->cache) + at, part);
		to += part;
		offset += (int64_t)part;
		n -= part;
	}
	return 0;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return !p[0] && !memcmp(p, p + 1, n - 1);
}

static void write_bytes(struct inode *i, const uint8_t *from, size_t n, int64_t offset)
{
	while (n) {
		size_t at = (size_t)(offset % PAGE), part = PAGE - at < n ? PAGE - at : n;
		struct page **page = &i->pages[offset / PAGE];

		if (offset / PAGE >= PAGES)
			abort();
		if (!*page && !all_zero(from, part))
			*page = calloc(1, sizeof(**page));
		if (*page) {
			memcpy((*page)->cache + at, from, part);
			(*page)->dirty = true;
		}
		from += part;
		offset += (int64_t)part;
		n -= part;
		if (offset > i->size)
			i->size = offset;
	}
	i->allocated = i->allocated > i->size ? i->allocated : i->size;
}

int disk_pwritev(int fd, struct iovec *iov, int count, int64_t offset, struct err *e)
{
	for (int k = 0; k < count; k++) {
		if (disk_pwrite(fd, iov[k].iov_base, iov[k].iov_len, offset, e) < 0)
			return -1;
		offset += (int64_t)iov[k].iov_len;
	}
	return 0;
}

int disk_pwrite(int fd, const void *p, size_t n, int64_t offset, struct err *e)
{
	struct inode *i = handle_of(fd)->inode;
	size_t half = n;

	if (i->anonymous) {
		write_bytes(i, p, n, offset);
		return 0;
	}
	fiber_step();
	if (disk_now()->full && offset + (int64_t)n > i->allocated)
		return err_set(e, ERR_NO_SPACE, "cannot write at %lld: no space", (long long)offset);
	if (sim_fault(FAULT_WRITE, 1)) {
		write_bytes(i, p, sim_below(n + 1), offset);
		sim.node->failed = true;
		return err_set(e, ERR_IO, "cannot write at %lld: the simulator says so", (long long)offset);
	}
	if (sim_percent(10) && offset / SECTOR != (offset + (int64_t)n - 1) / SECTOR) { /* the life may end in the middle */
		half = sim_below(n + 1);
		write_bytes(i, p, half, offset);
		fiber_step();
		write_bytes(i, (const uint8_t *)p + half, n - half, offset + (int64_t)half);
		return 0;
	}
	write_bytes(i, p, n, offset);
	return 0;
}

static void sync_pages(struct inode *i, unsigned lost_percent)
{
	for (size_t k = 0; k < PAGES; k++) {
		struct page *p = i->pages[k];

		if (!p || !p->dirty)
			continue;
		if (!sim_percent(lost_percent))
			memcpy(p->disk, p->cache, PAGE);
		p->dirty = false;
	}
	if (!lost_percent)
		i->disk_size = i->size;
}

int disk_sync(int fd, struct err *e)
{
	struct inode *i = handle_of(fd)->inode;
	bool early = sim_percent(50);

	fiber_step();
	if (early)
		sync_pages(i, 0); /* what is written while the disk works is not in it */
	if (fiber_inside())
		fiber_wait(NULL, sim.now_ns + (int64_t)sim_below(sim_percent(5) ? 50 * MS : MS));
	if (sim_fault(FAULT_SYNC, 2)) {
		sync_pages(i, 70);
		sim.node->failed = true;
		return err_set(e, ERR_IO, "cannot sync: the simulator says so");
	}
	if (!early)
		sync_pages(i, 0);
	fiber_step();
	return 0;
}

int disk_allocate(int fd, int64_t bytes, struct err *e)
{
	struct inode *i = handle_of(fd)->inode;

	fiber_step();
	if (disk_now()->full)
		return err_set(e, ERR_NO_SPACE, "cannot allocate %lld bytes: no space", (long long)bytes);
	if (bytes > i->size)
		i->size = bytes;
	i->allocated = bytes;
	return 0;
}

int64_t disk_size(int fd, struct err *e)
{
	(void)e;
	return handle_of(fd)->inode->size;
}

int disk_rename(const char *from, const char *to, struct err *e)
{
	struct name *n = name_find(from, false);

	fiber_step();
	if (!n || !n->cache)
		return err_set(e, ERR_IO, "cannot rename %s to %s: it is not there", from, to);
	change_add(name_find(to, true), n, n->cache);
	return 0;
}

int disk_unlink(const char *path, struct err *e)
{
	struct name *n = name_find(path, false);

	(void)e;
	fiber_step();
	if (n && n->cache)
		change_add(n, NULL, NULL);
	return 0;
}

int disk_sync_dir(const char *path, struct err *e)
{
	struct disk *d = disk_now();
	size_t left = 0;

	fiber_step();
	if (sim_fault(FAULT_SYNC, 2)) {
		sim.node->failed = true;
		return err_set(e, ERR_IO, "cannot sync the directory %s: the simulator says so", path);
	}
	for (size_t i = 0; i < d->change_count; i++)
		if (disk_name_in(d->changes[i].name, path, strlen(path)))
			disk_change_apply(&d->changes[i]);
		else
			d->changes[left++] = d->changes[i];
	d->change_count = left;
	fiber_step();
	return 0;
}

int disk_make_dirs(const char *path, struct err *e)
{
	(void)path;
	(void)e;
	return 0;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int disk_list(const char *path, char ***list, size_t *count, struct err *e)
{
	(void)e;
	*list = mem_array(disk_now()->name_count + 1, sizeof(**list));
	*count = 0;
	for (size_t i = 0; i < disk_now()->name_count; i++) {
		const struct name *n = &disk_now()->names[i];

		if (n->cache && disk_name_in(n, path, strlen(path)))
			(*list)[(*count)++] = mem_strdup(n->path + n->dir_len + 1);
	}
	qsort(*list, *count, sizeof(**list), compare_texts);
	return 0;
}

void disk_list_free(char **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(list[i]);
	mem_free(list);
}

bool disk_exists(const char *path)
{
	const struct name *n = name_find(path, false);

	return n && n->cache;
}

int disk_read_file(const char *path, struct buf *b, struct err *e)
{
	int fd = disk_open(path, O_RDONLY, 0, e), rc = -1;
	int64_t n;

	if (fd < 0)
		return -1;
	n = disk_size(fd, e);
	if (n == 0 || (buf_reserve(b, (size_t)n) == 0 && disk_pread(fd, b->data + b->len, (size_t)n, 0, e) == 0)) {
		buf_grew(b, (size_t)n);
		rc = 0;
	}
	fd_close(&fd);
	return rc;
}

int disk_write_file(const char *path, const void *p, size_t n, int mode, struct err *e)
{
	char *temporary = mem_printf("%s.tmp", path), *parent = mem_strndup(path, (size_t)(strrchr(path, '/') - path));
	int fd = disk_open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode, e), rc = -1;

	if (fd >= 0 && disk_pwrite(fd, p, n, 0, e) == 0 && disk_sync(fd, e) == 0 && disk_rename(temporary, path, e) == 0)
		rc = disk_sync_dir(parent, e);
	fd_close(&fd);
	mem_free(temporary);
	mem_free(parent);
	return rc;
}

int disk_lock(const char *path, struct err *e)
{
	int fd = disk_open(path, O_RDWR | O_CREAT, 0600, e);

	if (fd < 0)
		return -1;
	if (handle_of(fd)->inode->locked) {
		fd_close(&fd);
		return err_set(e, ERR_CONFLICT, "%s is locked by another process", path);
	}
	handle_of(fd)->lock = handle_of(fd)->inode->locked = true;
	return fd;
}

off_t sim_lseek(int fd, off_t offset, int whence)
{
	const struct inode *i = handle_of(fd)->inode;
	size_t k = (size_t)offset / PAGE;

	(void)whence; /* SEEK_DATA: nothing else is asked for */
	if (offset < i->size && i->pages[k])
		return offset;
	while (++k < PAGES && (int64_t)k * PAGE < i->size)
		if (i->pages[k])
			return (off_t)k * PAGE;
	errno = ENXIO;
	return -1;
}
