/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as files in a directory tree. A file gets its name only when its bytes are on disk, and put()
 * returns only when the name is, with every folder that leads to it; so a reader sees a whole object or none,
 * also after a crash. A name that is taken is never replaced.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/map.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "libsh/store/object.h"

enum {
	COPY_BYTES = 256 << 10,
	COPY_RANGE_BYTES = 64 << 20, /* asked of the kernel at once */
	DURABLE_MAX = 4096,	     /* folders remembered */
	LEFTOVER_AGE_S = 24 * 3600,
	TEMPORARY_MAX = 64,
};
#define TEMPORARY_DIR ".tmp"

struct dir_store {
	struct object_store base;
	char *root;
	int root_fd;
	pthread_mutex_t lock; /* for durable */
	struct map durable;   /* folders whose own name this process has synced: seeing one is not enough, its
				 maker may have died */
};

static struct dir_store *dir_of(struct object_store *s)
{
	return container_of(s, struct dir_store, base);
}

/* Sync the folder that holds `name` (a path below the root). */
static int sync_parent(struct dir_store *d, const char *name, struct err *e)
{
	const char *slash = strrchr(name, '/');
	char *path = slash ? mem_strndup(name, (size_t)(slash - name)) : mem_strdup(".");
	int fd = openat(d->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result = -1;

	if (fd < 0)
		err_sys(e, ERR_IO, "cannot open the folder %s/%s", d->root, path);
	else if (fsync(fd) < 0)
		err_sys(e, ERR_IO, "cannot sync the folder %s/%s", d->root, path);
	else
		result = 0;
	fd_close(&fd);
	mem_free(path);
	return result;
}

static int folder_make(struct dir_store *d, const char *path, struct err *e)
{
	if (map_gets(&d->durable, path))
		return 0;
	if (mkdirat(d->root_fd, path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, ERR_IO, "cannot make the folder %s/%s", d->root, path);
	if (sync_parent(d, path, e) < 0)
		return -1;
	if (d->durable.count >= DURABLE_MAX)
		map_release(&d->durable);
	map_puts(&d->durable, path, d);
	return 0;
}

static int folders_make(struct dir_store *d, const char *name, struct err *e)
{
	char *path = mem_strdup(name);
	int result = 0;

	pthread_mutex_lock(&d->lock);
	for (char *slash = strchr(path, '/'); slash && result == 0; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		result = folder_make(d, path, e);
		*slash = '/';
	}
	pthread_mutex_unlock(&d->lock);
	mem_free(path);
	return result;
}

static int temporary_open(struct dir_store *d, char path[TEMPORARY_MAX], struct err *e)
{
	struct uuid id = uuid_random();
	char text[UUID_TEXT_BYTES];
	int fd;

	snprintf(path, TEMPORARY_MAX, TEMPORARY_DIR "/%s", uuid_format(&id, text));
	if (mkdirat(d->root_fd, TEMPORARY_DIR, 0700) < 0 && errno != EEXIST)
		return err_sys(e, ERR_IO, "cannot make the folder %s/" TEMPORARY_DIR, d->root);
	fd = openat(d->root_fd, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, ERR_IO, "cannot create %s/%s", d->root, path);
	return fd;
}

static int copy_plain(int from, int to, uint64_t at, uint64_t bytes, struct err *e)
{
	char *chunk = mem_alloc(COPY_BYTES);
	int result = 0;

	while (at < bytes && result == 0) {
		size_t n = bytes - at < COPY_BYTES ? (size_t)(bytes - at) : COPY_BYTES;

		if (disk_pread(from, chunk, n, (int64_t)at, e) < 0 ||
			disk_pwrite(to, chunk, n, (int64_t)at, e) < 0)
			result = -1;
		at += n;
	}
	mem_free(chunk);
	return result;
}

static int copy_all(int from, int to, uint64_t bytes, struct err *e)
{
	off_t in = 0, out = 0;

	while ((uint64_t)out < bytes) {
		uint64_t left = bytes - (uint64_t)out;
		ssize_t n = copy_file_range(
			from, &in, to, &out, left < COPY_RANGE_BYTES ? (size_t)left : COPY_RANGE_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
			return err_sys(e, ERR_IO, "cannot write the object");
		if (n <= 0) /* not between these files, or the source ends: the plain way works or says why */
			return copy_plain(from, to, (uint64_t)out, bytes, e);
	}
	return 0;
}

/* Give the temporary file its name, unless that is taken. */
static int place(struct dir_store *d, const char *temporary, const char *name, struct err *e)
{
	if (renameat2(d->root_fd, temporary, d->root_fd, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno == EINVAL ||
		errno == ENOSYS) { /* file systems that cannot: a link does not replace either */
		if (linkat(d->root_fd, temporary, d->root_fd, name, 0) == 0) {
			unlinkat(d->root_fd, temporary, 0);
			return 0;
		}
	}
	if (errno == EEXIST)
		return err_set(e, ERR_EXISTS, "object %s exists", name);
	return err_sys(e, ERR_IO, "cannot rename to %s/%s", d->root, name);
}

static int place_in_folder(struct dir_store *d, const char *temporary, const char *name, struct err *e)
{
	if (folders_make(d, name, e) < 0)
		return -1;
	if (place(d, temporary, name, e) == 0)
		return 0;
	if (errno != ENOENT)
		return -1;
	/* Somebody has removed an empty folder that we remember. */
	pthread_mutex_lock(&d->lock);
	map_release(&d->durable);
	pthread_mutex_unlock(&d->lock);
	err_clear(e);
	return folders_make(d, name, e) < 0 ? -1 : place(d, temporary, name, e);
}

static int dir_put(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e)
{
	struct dir_store *d = dir_of(s);
	char temporary[TEMPORARY_MAX];
	int out, result = -1;

	if (object_name_check(name, e) < 0)
		return -1;
	if (faccessat(d->root_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return err_set(e, ERR_EXISTS, "object %s exists", name);
	out = temporary_open(d, temporary, e);
	if (out < 0)
		return -1;
	if (copy_all(fd, out, bytes, e) < 0 || disk_sync(out, e) < 0) {
		err_prefix(e, "object %s", name);
		goto out;
	}
	crash_point("put.copied");
	if (place_in_folder(d, temporary, name, e) < 0)
		goto out;
	crash_point("put.named");
	temporary[0] = '\0';
	if (sync_parent(d, name, e) < 0) {
		/* A second sync would prove nothing, so the name must not stay for a later put to find. */
		unlinkat(d->root_fd, name, 0);
		goto out;
	}
	result = 0;
out:
	fd_close(&out);
	if (temporary[0])
		unlinkat(d->root_fd, temporary, 0);
	return result;
}

static int object_open(struct dir_store *d, const char *name, struct stat *st, struct err *e)
{
	int fd;

	if (object_name_check(name, e) < 0)
		return -1;
	fd = openat(d->root_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? err_set(e, ERR_NOT_FOUND, "object %s is not in %s", name, d->root)
				       : err_sys(e, ERR_IO, "cannot open %s/%s", d->root, name);
	if (fstat(fd, st) < 0)
		err_sys(e, ERR_IO, "cannot stat %s/%s", d->root, name);
	else if (!S_ISREG(st->st_mode))
		err_set(e, ERR_IO, "%s/%s is not a file", d->root, name);
	else
		return fd;
	fd_close(&fd);
	return -1;
}

static int dir_get(
	struct object_store *s, const char *name, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct dir_store *d = dir_of(s);
	struct stat st;
	int fd = object_open(d, name, &st, e), result = -1;

	if (fd < 0)
		return -1;
	if (offset > (uint64_t)st.st_size || n > (uint64_t)st.st_size - offset)
		err_set(e, ERR_CORRUPT, "object %s ends at %lld, before byte %llu", name,
			(long long)st.st_size, (unsigned long long)offset + n);
	else if (disk_pread(fd, p, n, (int64_t)offset, e) < 0)
		err_prefix(e, "object %s", name);
	else
		result = 0;
	fd_close(&fd);
	return result;
}

static int dir_size(struct object_store *s, const char *name, uint64_t *bytes, struct err *e)
{
	struct stat st;
	int fd = object_open(dir_of(s), name, &st, e);

	if (fd < 0)
		return -1;
	*bytes = (uint64_t)st.st_size;
	fd_close(&fd);
	return 0;
}

/* Sync the folder that held `name`; when it is gone itself, the one that held it. */
static int sync_nearest(struct dir_store *d, const char *name, struct err *e)
{
	char *path = mem_strdup(name), *slash;
	int result;

	while ((slash = strrchr(path, '/')) != NULL) {
		*slash = '\0';
		if (faccessat(d->root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT) {
			*slash = '/';
			break;
		}
	}
	result = sync_parent(d, path, e);
	mem_free(path);
	return result;
}

static int dir_remove(struct object_store *s, const char *name, struct err *e)
{
	struct dir_store *d = dir_of(s);

	if (object_name_check(name, e) < 0)
		return -1;
	if (unlinkat(d->root_fd, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, ERR_IO, "cannot remove %s/%s", d->root, name);
	crash_point("remove.unlinked");
	/* Absent is not enough: it may be so in memory only, after a sync that failed. */
	return sync_nearest(d, name, e);
}

struct dir_walk {
	struct dir_store *d;
	const char *prefix;
	size_t prefix_len;
	int (*each)(void *ctx, const struct object_info *o);
	void *ctx;
	struct err *e;
	char path[OBJECT_NAME_MAX + 2];
};

static int walk_folder(struct dir_walk *w, size_t len);

/* One name in the folder path[0..len). */
static int walk_entry(struct dir_walk *w, size_t len, const char *name)
{
	size_t n = strlen(name), common;
	struct object_info info;
	struct stat st;

	if (name[0] == '.' || len + n > OBJECT_NAME_MAX)
		return 0;
	memcpy(w->path + len, name, n + 1);
	common = len + n < w->prefix_len ? len + n : w->prefix_len;
	if (strncmp(w->path, w->prefix, common))
		return 0;
	if (fstatat(w->d->root_fd, w->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(w->e, ERR_IO, "cannot stat %s/%s", w->d->root, w->path);
	if (S_ISDIR(st.st_mode)) {
		memcpy(w->path + len + n, "/", 2);
		return walk_folder(w, len + n + 1);
	}
	if (!S_ISREG(st.st_mode) || len + n < w->prefix_len || object_name_check(w->path, NULL) < 0)
		return 0;
	info = (struct object_info){w->path, (uint64_t)st.st_size,
		(int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000};
	return w->each(w->ctx, &info);
}

/* Depth is bounded by the length of a name. */
static int walk_folder(struct dir_walk *w, size_t len)
{
	int fd = openat(w->d->root_fd, len ? w->path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int result = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(w->e, ERR_IO, "cannot open the folder %s/%s", w->d->root, w->path);
	dir = fdopendir(fd);
	if (!dir) {
		err_sys(w->e, ERR_IO, "cannot list %s/%s", w->d->root, w->path);
		fd_close(&fd);
		return -1;
	}
	for (;;) {
		errno = 0;
		entry = readdir(dir);
		if (!entry)
			break;
		result = walk_entry(w, len, entry->d_name);
		if (result)
			goto out;
	}
	w->path[len] = '\0';
	if (errno)
		result = err_sys(w->e, ERR_IO, "cannot list %s/%s", w->d->root, w->path);
out:
	closedir(dir);
	return result;
}

static int dir_list(struct object_store *s, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct dir_walk w = {.d = dir_of(s),
		.prefix = prefix,
		.prefix_len = strlen(prefix),
		.each = each,
		.ctx = ctx,
		.e = e};

	return walk_folder(&w, 0);
}

static void dir_free(struct object_store *s)
{
	struct dir_store *d = dir_of(s);

	fd_close(&d->root_fd);
	map_release(&d->durable);
	pthread_mutex_destroy(&d->lock);
	mem_free(d->root);
	mem_free(d);
}

static const struct object_driver dir_driver = {
	.scheme = "file",
	.put = dir_put,
	.get = dir_get,
	.size = dir_size,
	.remove = dir_remove,
	.list = dir_list,
	.free = dir_free,
};

/* Remove what puts left that never ended. By age: another process may be writing here now. Failing costs only
 * space. */
static void leftovers_remove(struct dir_store *d)
{
	char path[sizeof(TEMPORARY_DIR) + 1 + 256];
	int64_t oldest = clock_real_ms() / 1000 - LEFTOVER_AGE_S;
	int fd = openat(d->root_fd, TEMPORARY_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	struct stat st;

	if (!dir) {
		fd_close(&fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		snprintf(path, sizeof(path), TEMPORARY_DIR "/%s", entry->d_name);
		if (fstatat(d->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
			st.st_mtime < oldest)
			unlinkat(d->root_fd, path, 0);
	}
	closedir(dir);
}

int object_dir_open(const char *path, struct object_store **s, struct err *e)
{
	struct dir_store *d;
	int root, parent;

	if (disk_make_dirs(path, e) < 0)
		return -1;
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, ERR_IO, "cannot open the object directory %s", path);
	/* It may have been made by a process that died before it synced the name. Where we may not look, the
	 * operator made it. */
	parent = openat(root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent >= 0 && fsync(parent) < 0 && errno == EIO) {
		err_sys(e, ERR_IO, "cannot sync the folder that holds %s", path);
		fd_close(&parent);
		fd_close(&root);
		return -1;
	}
	fd_close(&parent);
	d = mem_zalloc(sizeof(*d));
	d->base.driver = &dir_driver;
	d->root = mem_strdup(path);
	d->root_fd = root;
	pthread_mutex_init(&d->lock, NULL);
	leftovers_remove(d);
	*s = &d->base;
	return 0;
}
