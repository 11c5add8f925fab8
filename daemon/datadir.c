/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/datadir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"

#define VERSION_TEXT "streamhouse 1\n"

static const char *const run_files[] = {"ready", "http.port", "shd.pid"};

static char *inside(const struct datadir *d, const char *name)
{
	return mem_printf("%s/%s", d->path, name);
}

/* The lock file holds the pid of its holder, for this message only. */
static int in_use(const char *lock_path, const struct datadir *d, struct err *e)
{
	struct buf b = BUF_INIT(32);
	int pid = 0;

	if (!disk_read_file(lock_path, &b, NULL) && b.len)
		pid = atoi(b.data);
	buf_release(&b);
	if (pid > 0)
		err_set(e, ERR_CONFLICT, "%s is in use by another shd (pid %d)", d->path, pid);
	else
		err_set(e, ERR_CONFLICT, "%s is in use by another shd", d->path);
	return err_hint(e, "stop that one first, or choose another directory with -D");
}

static int take_lock(struct datadir *d, struct err *e)
{
	char *path = inside(d, "shd.lock");
	char pid[16];
	int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid()), status = 0;
	struct err why = ERR_INIT;

	d->lock_fd = disk_lock(path, &why);
	if (d->lock_fd < 0 && why.code == ERR_CONFLICT) {
		status = in_use(path, d, e);
	} else if (d->lock_fd < 0) {
		status = err_set(e, why.code, "%s", why.text);
	} else if (ftruncate(d->lock_fd, 0) || pwrite(d->lock_fd, pid, (size_t)n, 0) != n) {
		status = err_sys(e, ERR_IO, "cannot write %s", path);
	}
	mem_free(path);
	return status;
}

static bool has_data(const struct datadir *d)
{
	static const char *const names[] = {"slots", "objects"};
	bool found = false;

	for (size_t i = 0; i < array_count(names); i++) {
		char *path = inside(d, names[i]);

		found = found || disk_exists(path);
		mem_free(path);
	}
	return found;
}

static bool is_ours(const char *name)
{
	static const char *const names[] = {"shd.lock", "run", "VERSION.tmp", "cache", "meta", "lost+found"};

	for (size_t i = 0; i < array_count(names); i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

/* Without VERSION it must be empty, or a start that was cut short, or hold metadata that were made anew from an object store: a
 * mistyped path is not filled with data. The root of a file system has lost+found. */
static int check_stranger(const struct datadir *d, struct err *e)
{
	char **names = NULL;
	size_t count = 0;
	int status = 0;

	if (datadir_is_made(d->path) || has_data(d))
		return 0;
	if (disk_list(d->path, &names, &count, e))
		return -1;
	for (size_t i = 0; !status && i < count; i++)
		if (!is_ours(names[i])) {
			status = err_set(e, ERR_IO, "%s is not empty and no data directory of shd: it holds '%.64s'", d->path,
				names[i]);
			err_hint(e, "name an empty directory with -D, or one that is not there yet");
		}
	disk_list_free(names, count);
	return status;
}

static int check_version(struct datadir *d, struct err *e)
{
	char *path = inside(d, "VERSION");
	struct buf b = BUF_INIT(256);
	struct err why = ERR_INIT;
	int status = disk_read_file(path, &b, &why);

	if (status && why.code == ERR_NOT_FOUND && !has_data(d)) {
		status = disk_write_file(path, VERSION_TEXT, strlen(VERSION_TEXT), 0600, e);
	} else if (status && why.code == ERR_NOT_FOUND) {
		err_set(e, ERR_CORRUPT, "%s holds data, but its file VERSION is gone", d->path);
		err_hint(e, "if nothing else is missing, put it back: it holds the line '%.13s'",
			VERSION_TEXT);
	} else if (status) {
		err_set(e, why.code, "%s", why.text);
	} else if (!b.data || strcmp(b.data, VERSION_TEXT)) {
		status = err_set(e, ERR_NOT_BUILT, "%s says '%.*s'; this shd knows only '%.13s'", path,
			(int)strcspn(b.data ? b.data : "", "\n"), b.data ? b.data : "", VERSION_TEXT);
		err_hint(e, "use the shd that wrote it, or a newer one");
	}
	buf_release(&b);
	mem_free(path);
	return status;
}

static int prepare_run(struct datadir *d, struct err *e)
{
	char *path = inside(d, "run");
	int status = 0;

	if (mkdir(path, 0700) && !disk_exists(path))
		status = err_sys(e, ERR_IO, "cannot make %s", path);
	mem_free(path);
	return status;
}

/* What a shd left behind that was killed. */
static void withdraw_all(struct datadir *d)
{
	for (size_t i = 0; i < array_count(run_files); i++)
		datadir_withdraw(d, run_files[i]);
}

bool datadir_is_made(const char *path)
{
	char *version = mem_printf("%s/VERSION", path);
	bool made = disk_exists(version);

	mem_free(version);
	return made;
}

int datadir_open(struct datadir *d, const char *path, struct err *e)
{
	struct err why = ERR_INIT;
	char *absolute;

	if (disk_make_dirs(path, &why)) { /* ERR_EXISTS: as a file; that is no conflict with another shd */
		err_set(e, why.code == ERR_EXISTS ? ERR_IO : why.code, "%s", why.text);
		return err_hint(e, "name a directory with -D");
	}
	absolute = realpath(path, NULL);
	if (!absolute)
		return err_sys(e, ERR_IO, "cannot resolve %s", path);
	d->path = mem_strdup(absolute);
	free(absolute);
	if (!check_stranger(d, e) && !take_lock(d, e)) {
		withdraw_all(d); /* before anything that can take time or fail: we are not ready */
		crash_point("datadir.locked");
		if (!check_version(d, e) && !prepare_run(d, e)) {
			crash_point("datadir.versioned");
			return 0;
		}
	}
	fd_close(&d->lock_fd);
	datadir_release(d);
	return -1;
}

void datadir_release(struct datadir *d)
{
	if (d->lock_fd >= 0)
		withdraw_all(d);
	fd_close(&d->lock_fd); /* last: from here on the next shd may start */
	mem_free(d->path);
	d->path = NULL;
}

int datadir_publish(struct datadir *d, const char *name, const char *text, struct err *e)
{
	char *path = mem_printf("%s/run/%s", d->path, name), *temporary = mem_printf("%s.tmp", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), status = -1;

	if (fd < 0)
		err_sys(e, ERR_IO, "cannot make %s", temporary);
	else if (!fd_write_all(fd, text, strlen(text), e))
		status = rename(temporary, path) ? err_sys(e, ERR_IO, "cannot make %s", path) : 0;
	fd_close(&fd);
	mem_free(temporary);
	mem_free(path);
	return status;
}

void datadir_withdraw(struct datadir *d, const char *name)
{
	char *path = mem_printf("%s/run/%s", d->path, name);

	unlink(path);
	mem_free(path);
}
