/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

enum { READ_STEP_BYTES = 64 << 10 };

struct fd_name {
	char text[256];
};

/* What the descriptor is called, for an error; keeps errno. */
static const char *name_of(int fd, struct fd_name *name)
{
	int number = errno;
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name->text, sizeof(name->text) - 1);
	if (n < 0)
		snprintf(name->text, sizeof(name->text), "descriptor %d", fd);
	else
		name->text[n] = '\0';
	errno = number;
	return name->text;
}

int disk_open(const char *path, int flags, int mode, struct err *e)
{
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC, mode);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : errno == EEXIST ? ERR_EXISTS : ERR_IO,
			"cannot open %s", path);
	return fd;
}

int disk_pread(int fd, void *p, size_t n, int64_t offset, struct err *e)
{
	struct fd_name name;
	char *at = p;

	while (n) {
		ssize_t done = pread(fd, at, n, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_sys(e, ERR_IO, "cannot read %s at %lld", name_of(fd, &name),
				(long long)offset);
		if (!done)
			return err_set(e, ERR_CORRUPT, "%s ends at %lld, %zu bytes too early",
				name_of(fd, &name), (long long)offset, n);
		at += done;
		n -= (size_t)done;
		offset += done;
	}
	return 0;
}

int disk_pwrite(int fd, const void *p, size_t n, int64_t offset, struct err *e)
{
	struct iovec iov = {(void *)p, n};

	return disk_pwritev(fd, &iov, 1, offset, e);
}

/* Take the first n bytes out of the vector. */
static void iov_advance(struct iovec **iov, int *count, size_t n)
{
	while (*count && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + n;
		(*iov)->iov_len -= n;
	}
}

int disk_pwritev(int fd, struct iovec *iov, int count, int64_t offset, struct err *e)
{
	struct fd_name name;

	iov_advance(&iov, &count, 0); /* empty ones in front */
	while (count) {
		ssize_t done = pwritev(fd, iov, count < IOV_MAX ? count : IOV_MAX, offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done == 0)
			errno = EIO; /* a file that takes nothing and says so politely would loop for ever */
		if (done <= 0)
			return err_sys(e, ERR_IO, "cannot write %s at %lld", name_of(fd, &name),
				(long long)offset);
		offset += done;
		iov_advance(&iov, &count, (size_t)done);
	}
	return 0;
}

int disk_sync(int fd, struct err *e)
{
	struct fd_name name;

	while (fdatasync(fd) < 0)
		if (errno != EINTR)
			return err_sys(e, ERR_IO, "cannot sync %s", name_of(fd, &name));
	return 0;
}

static int write_zeros(int fd, int64_t from, int64_t to, struct err *e)
{
	static const char zeros[READ_STEP_BYTES];

	while (from < to) {
		size_t n = to - from < (int64_t)sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);

		if (disk_pwrite(fd, zeros, n, from, e) < 0)
			return -1;
		from += (int64_t)n;
	}
	return 0;
}

int disk_allocate(int fd, int64_t bytes, struct err *e)
{
	struct fd_name name;
	int64_t size;

	for (;;) {
		if (fallocate(fd, 0, 0, bytes) == 0)
			return 0;
		if (errno == EOPNOTSUPP)
			break;
		if (errno != EINTR)
			return err_sys(e, ERR_IO, "cannot allocate %lld bytes for %s", (long long)bytes,
				name_of(fd, &name));
	}
	size = disk_size(fd, e);
	return size < 0 ? -1 : write_zeros(fd, size, bytes, e);
}

int64_t disk_size(int fd, struct err *e)
{
	struct fd_name name;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, ERR_IO, "cannot stat %s", name_of(fd, &name));
	return st.st_size;
}

int disk_rename(const char *from, const char *to, struct err *e)
{
	if (rename(from, to) < 0)
		return err_sys(e, ERR_IO, "cannot rename %s to %s", from, to);
	return 0;
}

int disk_rename_new(const char *from, const char *to, struct err *e)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	/* File systems that cannot: a link does not replace either. */
	if ((errno == EINVAL || errno == ENOSYS) && link(from, to) == 0)
		return disk_unlink(from, e);
	if (errno == EEXIST)
		return err_set(e, ERR_EXISTS, "%s is there already", to);
	return err_sys(e, ERR_IO, "cannot rename %s to %s", from, to);
}

int disk_unlink(const char *path, struct err *e)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, ERR_IO, "cannot remove %s", path);
	return 0;
}

int disk_sync_dir(const char *path, struct err *e)
{
	int fd = disk_open(path, O_RDONLY | O_DIRECTORY, 0, e), rc = 0;

	if (fd < 0)
		return -1;
	while (fsync(fd) < 0)
		if (errno != EINTR) {
			rc = err_sys(e, ERR_IO, "cannot sync the directory %s", path);
			break;
		}
	fd_close(&fd);
	return rc;
}

/* The directory part of a path, "." when there is none; the caller frees it. */
static char *parent_of(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	while (len && path[len - 1] != '/')
		len--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len ? mem_strndup(path, len) : mem_strdup(".");
}

/*
 * One directory whose parent exists. The parent is synced also when the directory was there: whoever
 * made it may have died before the sync. But those above ours may be closed to us, and those are not
 * ours to make durable.
 */
static int make_dir(const char *path, struct err *e)
{
	bool made = mkdir(path, 0700) == 0;
	char *parent;
	struct stat st;
	int rc;

	if (!made && errno != EEXIST)
		return err_sys(e, ERR_IO, "cannot make the directory %s", path);
	if (!made && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
		return err_set(e, ERR_EXISTS, "%s exists and is not a directory", path);
	parent = parent_of(path);
	rc = made || access(parent, R_OK | W_OK) == 0 ? disk_sync_dir(parent, e) : 0;
	mem_free(parent);
	return rc;
}

int disk_make_dirs(const char *path, struct err *e)
{
	char *prefix = mem_strdup(path);
	size_t len = strlen(path), at = 0;
	int rc = 0;

	while (rc == 0 && at < len) {
		while (path[at] == '/')
			at++;
		while (at < len && path[at] != '/')
			at++;
		prefix[at] = '\0';
		if (strspn(prefix, "/") != at)
			rc = make_dir(prefix, e);
		prefix[at] = path[at];
	}
	mem_free(prefix);
	return rc;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int disk_list(const char *path, char ***names, size_t *count, struct err *e)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	char **list = NULL;
	size_t n = 0, alloc = 0;

	if (!dir)
		return err_sys(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "cannot list %s", path);
	while (errno = 0, (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (n == alloc) {
			alloc = alloc ? alloc * 2 : 16;
			list = mem_realloc_array(list, alloc, sizeof(*list));
		}
		list[n++] = mem_strdup(entry->d_name);
	}
	if (errno) {
		err_sys(e, ERR_IO, "cannot list %s", path);
		closedir(dir);
		disk_list_free(list, n);
		return -1;
	}
	closedir(dir);
	if (n)
		qsort(list, n, sizeof(*list), compare_names);
	*names = list;
	*count = n;
	return 0;
}

void disk_list_free(char **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(names[i]);
	mem_free(names);
}

bool disk_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

int disk_read_file(const char *path, struct buf *b, struct err *e)
{
	int fd = disk_open(path, O_RDONLY, 0, e), rc = -1;
	size_t before = b->len;
	char more;

	if (fd < 0)
		return -1;
	for (;;) {
		size_t room = b->max - b->len < READ_STEP_BYTES ? b->max - b->len : READ_STEP_BYTES;
		ssize_t n;

		if (room && buf_reserve(b, room) < 0)
			break;
		n = room ? read(fd, b->data + b->len, room) : read(fd, &more, 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_sys(e, ERR_IO, "cannot read %s", path);
			goto out;
		}
		if (!n) {
			rc = 0;
			goto out;
		}
		if (!room)
			break;
		buf_grew(b, (size_t)n);
	}
	err_set(e, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, b->max - before);
out:
	if (rc < 0)
		buf_truncate(b, before);
	fd_close(&fd);
	return rc;
}

int disk_write_file(const char *path, const void *p, size_t n, int mode, struct err *e)
{
	char *temporary = mem_printf("%s.tmp", path), *parent = parent_of(path);
	int fd = disk_open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode, e), rc = -1;

	if (fd < 0)
		goto out;
	if (disk_pwrite(fd, p, n, 0, e) < 0 || disk_sync(fd, e) < 0 || disk_rename(temporary, path, e) < 0) {
		disk_unlink(temporary, NULL);
		goto out;
	}
	rc = disk_sync_dir(parent, e);
out:
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
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EINTR)
			continue;
		if (errno == EWOULDBLOCK)
			err_set(e, ERR_CONFLICT, "%s is locked by another process", path);
		else
			err_sys(e, ERR_IO, "cannot lock %s", path);
		fd_close(&fd);
		return -1;
	}
	return fd;
}
