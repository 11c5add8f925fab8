/* SPDX-License-Identifier: Apache-2.0 */
/* The index of the cache: what is there, what goes first. How a file is made is fill.c, its layout cache.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/store/cache_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

enum { BLOCK_BYTES = 4096, LISTED_MAX = 4 * CACHE_MAX_ENTRIES, TOUCH_MS = 60000 };

struct cache_object {
	char *name;
	struct list entries;
};
struct cache_entry {
	struct list lru, of_object;
	struct cache_object *object;
	uint64_t start, length;
	int64_t touched_ms; /* modification time of the file: the order of use after a restart */
	bool checked;
	int memory_fd; /* in memory: its bytes; else -1 */
};

static uint64_t space_of(uint64_t length)
{
	return (length + CACHE_TRAILER_BYTES + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

static unsigned folder_of(const char *object)
{
	return crc32c(0, object, strlen(object)) & 0xff;
}

void cache_path(char path[CACHE_PATH_MAX], const char *object, uint64_t start, uint64_t length)
{
	snprintf(path, CACHE_PATH_MAX, "%02x/%s,%llx,%llx", folder_of(object), object,
		(unsigned long long)start, (unsigned long long)length);
	for (char *p = path + 3; *p; p++)
		if (*p == '/')
			*p = '+';
}

/* The reverse of cache_path() for a name found in a folder; false when it is not such a name. */
static bool path_parse(unsigned folder, const char *file, struct cache_found *f)
{
	const char *first = strchr(file, ','), *second = first ? strchr(first + 1, ',') : NULL;
	char path[CACHE_PATH_MAX];

	if (!second || first - file > OBJECT_NAME_MAX)
		return false;
	memcpy(f->object, file, (size_t)(first - file));
	f->object[first - file] = '\0';
	for (char *p = f->object; *p; p++)
		if (*p == '+')
			*p = '/';
	f->start = strtoull(first + 1, NULL, 16);
	f->length = strtoull(second + 1, NULL, 16);
	if (object_name_check(f->object, NULL) < 0 || f->length > INT64_MAX ||
		f->start > INT64_MAX - f->length)
		return false;
	cache_path(path, f->object, f->start, f->length); /* only what we would write ourselves */
	return folder_of(f->object) == folder && !strcmp(path + 3, file);
}

static void entry_forget(struct cache *c, struct cache_entry *entry)
{
	struct cache_object *o = entry->object;

	list_remove(&entry->lru);
	list_remove(&entry->of_object);
	if (entry->memory_fd >= 0) {
		fd_close(&entry->memory_fd);
		c->in_memory_bytes -= entry->length;
		c->memory -= entry->length;
	} else {
		c->bytes -= space_of(entry->length);
	}
	c->count--;
	if (list_empty(&o->entries)) {
		map_del(&c->objects, o->name, strlen(o->name));
		mem_free(o->name);
		mem_free(o);
	}
	mem_free(entry);
}

static void entry_remove(struct cache *c, struct cache_entry *entry)
{
	char path[CACHE_PATH_MAX];

	if (entry->memory_fd < 0) {
		cache_path(path, entry->object->name, entry->start, entry->length);
		unlinkat(c->dir_fd, path, 0);
	}
	entry_forget(c, entry);
}

static struct cache_entry *entry_find(struct cache *c, const char *object, uint64_t start, uint64_t length)
{
	struct cache_object *o = map_gets(&c->objects, object);

	if (!o)
		return NULL;
	list_for_each(node, &o->entries)
	{
		struct cache_entry *entry = list_entry(node, struct cache_entry, of_object);

		if (entry->start == start && entry->length == length)
			return entry;
	}
	return NULL;
}

static struct cache_entry *entry_new(struct cache *c, const char *object, uint64_t start, uint64_t length)
{
	struct cache_entry *entry = entry_find(c, object, start, length);
	struct cache_object *o;

	if (entry)
		entry_forget(c, entry); /* its file was replaced just now */
	o = map_gets(&c->objects, object);
	if (!o) {
		o = mem_zalloc(sizeof(*o));
		o->name = mem_strdup(object);
		list_init(&o->entries);
		map_puts(&c->objects, object, o);
	}
	entry = mem_zalloc(sizeof(*entry));
	*entry = (struct cache_entry){.object = o, .start = start, .length = length, .memory_fd = -1};
	list_push(&o->entries, &entry->of_object);
	c->count++;
	return entry;
}

/* The file is in place already. */
void cache_entry_add(
	struct cache *c, const char *object, uint64_t start, uint64_t length, int64_t now_ms, bool checked)
{
	struct cache_entry *entry = entry_new(c, object, start, length);

	entry->touched_ms = now_ms;
	entry->checked = checked;
	list_push(&c->lru, &entry->lru);
	c->bytes += space_of(length);
	cache_trim(c, 0);
}

void cache_entry_add_memory(struct cache *c, const char *object, uint64_t start, uint64_t length, int fd)
{
	struct cache_entry *entry = entry_new(c, object, start, length);

	entry->memory_fd = fd;
	entry->checked = true;
	list_push(&c->in_memory, &entry->lru);
	c->in_memory_bytes += length;
	c->memory += length;
}

void cache_trim_memory(struct cache *c, uint64_t bytes)
{
	while (c->in_memory_bytes > bytes)
		entry_forget(c, list_first(&c->in_memory, struct cache_entry, lru));
}

bool cache_in_memory(const struct cache *c)
{
	return !list_empty(&c->in_memory);
}

bool cache_evict(struct cache *c, uint64_t bytes)
{
	uint64_t freed = 0;

	while (freed < bytes || freed == 0) {
		struct cache_entry *oldest = list_first(&c->lru, struct cache_entry, lru);

		if (!oldest)
			return freed > 0;
		freed += space_of(oldest->length);
		entry_remove(c, oldest);
	}
	return true;
}

/* Down to the limits, with `extra` bytes to come. A cache smaller than that ends up empty, which is all it
 * can do. */
void cache_trim(struct cache *c, uint64_t extra)
{
	while (c->count > CACHE_MAX_ENTRIES || c->bytes + c->reserved + extra > c->max_bytes)
		if (!cache_evict(c, 1))
			break;
}

void cache_set_max(struct cache *c, uint64_t max_bytes)
{
	c->max_bytes = max_bytes;
	cache_trim(c, 0);
}

uint64_t cache_max(const struct cache *c)
{
	return c->max_bytes;
}

uint64_t cache_bytes(const struct cache *c)
{
	return c->bytes + c->reserved;
}

static bool covers(const struct cache_entry *entry, uint64_t offset, uint64_t length)
{
	return offset >= entry->start && length <= entry->length &&
	       offset - entry->start <= entry->length - length;
}

/* Open an entry's file, and remember that it was used. */
static int entry_open(struct cache *c, struct cache_entry *entry)
{
	int64_t now_ms = clock_real_ms();
	char path[CACHE_PATH_MAX];
	int fd;

	if (entry->memory_fd >= 0) {
		list_remove(&entry->lru);
		list_push(&c->in_memory, &entry->lru);
		return fcntl(entry->memory_fd, F_DUPFD_CLOEXEC, 0);
	}
	cache_path(path, entry->object->name, entry->start, entry->length);
	fd = openat(c->dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -1;
	if (now_ms - entry->touched_ms > TOUCH_MS || now_ms < entry->touched_ms) {
		entry->touched_ms = now_ms;
		futimens(fd, NULL);
	}
	list_remove(&entry->lru);
	list_push(&c->lru, &entry->lru);
	return fd;
}

bool cache_find(struct cache *c, const char *object, uint64_t offset, uint64_t length, struct cache_hit *hit)
{
	struct cache_object *o = map_gets(&c->objects, object);
	bool last = false;

	if (!o)
		return false;
	/* Removing an object's last entry frees the object, list head and all: look for the end before. */
	for (struct list *node = o->entries.next; !last && node != &o->entries;) {
		struct cache_entry *entry = list_entry(node, struct cache_entry, of_object);

		node = node->next;
		last = node == &o->entries;
		if (!covers(entry, offset, length))
			continue;
		if (!hit)
			return true;
		*hit = (struct cache_hit){entry_open(c, entry), entry->start, entry->length, entry->checked};
		if (hit->fd >= 0)
			return true;
		if (errno == EMFILE || errno == ENFILE)
			return false;	/* it is there, only not for us now */
		entry_remove(c, entry); /* somebody deleted the file */
	}
	return false;
}

void cache_checked(struct cache *c, const char *object, uint64_t start, uint64_t length)
{
	struct cache_entry *entry = entry_find(c, object, start, length);

	if (entry)
		entry->checked = true;
}

void cache_drop(struct cache *c, const char *object, uint64_t start, uint64_t length)
{
	struct cache_entry *entry = entry_find(c, object, start, length);

	if (entry)
		entry_remove(c, entry);
}

void cache_drop_range(struct cache *c, const char *object, uint64_t offset, uint64_t length)
{
	struct cache_object *o = map_gets(&c->objects, object);
	uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
	bool last = !o;

	for (struct list *node = o ? o->entries.next : NULL; !last;) {
		struct cache_entry *entry = list_entry(node, struct cache_entry, of_object);

		node = node->next;
		last = node == &o->entries;
		if (entry->start < end && entry->start + entry->length > offset)
			entry_remove(c, entry);
	}
}

/* ---- what an earlier process left ---- */

static int by_age(const void *a, const void *b)
{
	const struct cache_found *x = a, *y = b;

	return (x->modified_ms > y->modified_ms) - (x->modified_ms < y->modified_ms);
}

static void list_folder(struct cache *c, unsigned folder, struct cache_listing *l)
{
	char path[3 + 256];
	int fd;
	DIR *dir;
	struct dirent *d;

	snprintf(path, sizeof(path), "%02x", folder);
	fd = openat(c->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		fd_close(&fd);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		struct cache_found f;
		struct stat st;

		if (!path_parse(folder, d->d_name, &f) ||
			fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* not ours: left alone */
		if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != f.length + CACHE_TRAILER_BYTES ||
			l->count == LISTED_MAX) {
			unlinkat(fd, d->d_name, 0);
			continue;
		}
		f.modified_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
		if (l->count == l->alloc) {
			l->alloc = l->alloc ? 2 * l->alloc : 256;
			l->found = mem_realloc_array(l->found, l->alloc, sizeof(*l->found));
		}
		l->found[l->count++] = f;
	}
	closedir(dir);
}

static void list_all(struct cache *c)
{
	struct cache_listing l = {NULL, 0, 0};

	for (unsigned folder = 0; folder < 256; folder++)
		list_folder(c, folder, &l);
	if (l.count)
		qsort(l.found, l.count, sizeof(*l.found), by_age);
	for (size_t i = 0; i < l.count; i++)
		cache_entry_add(c, l.found[i].object, l.found[i].start, l.found[i].length,
			l.found[i].modified_ms, false);
	mem_free(l.found);
}

static void empty_temporaries(struct cache *c)
{
	int fd = openat(c->dir_fd, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	if (!dir) {
		fd_close(&fd);
		return;
	}
	while ((d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.')
			unlinkat(fd, d->d_name, 0);
	closedir(dir);
}

int cache_open(const char *dir, uint64_t max_bytes, struct cache **out, struct err *e)
{
	struct cache *c;
	int fd;

	if (disk_make_dirs(dir, e) < 0)
		return -1;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, ERR_IO, "cannot open the cache directory %s", dir);
	c = mem_zalloc(sizeof(*c));
	c->dir = mem_strdup(dir);
	c->dir_fd = fd;
	c->max_bytes = max_bytes;
	list_init(&c->lru);
	list_init(&c->in_memory);
	mkdirat(fd, "tmp", 0700);
	empty_temporaries(c);
	list_all(c);
	*out = c;
	return 0;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	cache_trim_memory(c, 0);
	while (!list_empty(&c->lru))
		entry_forget(c, list_first(&c->lru, struct cache_entry, lru));
	map_release(&c->objects);
	fd_close(&c->dir_fd);
	mem_free(c->dir);
	mem_free(c);
}
