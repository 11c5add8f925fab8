/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails on demand, to be preloaded (LD_PRELOAD) into a program under test.
 *
 * The file named by FAULTFS_CONTROL is read at every call, so a test switches faults on and off by
 *writing it. Each line is CALL ACTION PATTERN CALL: sync (fsync, fdatasync), write (write, pwrite,
 *pwritev), read (pread), allocate (fallocate, posix_fallocate), all; ACTION: EIO, ENOSPC, or delay:MS; PATTERN: a
 *glob of fnmatch(3) on the path of the descriptor ('*' matches '/' too). A failing sync really
 *leaves the data unsynced; a failing write writes nothing.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#undef pread64
#undef pwrite64
#undef pwritev64
#undef fallocate64

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_posix_fallocate)(int, off_t, off_t);

static void __attribute__((constructor)) find_real_calls(void)
{
	real_write = dlsym(RTLD_NEXT, "write");
	real_pwrite = dlsym(RTLD_NEXT, "pwrite");
	real_pwritev = dlsym(RTLD_NEXT, "pwritev");
	real_pread = dlsym(RTLD_NEXT, "pread");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
	real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	real_fallocate = dlsym(RTLD_NEXT, "fallocate");
	real_posix_fallocate = dlsym(RTLD_NEXT, "posix_fallocate");
}

static void delay(int ms)
{
	nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L}, NULL);
}

/* The error that a line asks for, 0 for none. */
static int apply_line(char *line, const char *call, const char *path)
{
	char *save = NULL, *which = strtok_r(line, " \n", &save),
	     *action = strtok_r(NULL, " \n", &save);
	char *pattern = strtok_r(NULL, " \n", &save);

	if (!pattern || (strcmp(which, "all") && strcmp(which, call)) || fnmatch(pattern, path, 0))
		return 0;
	if (!strncmp(action, "delay:", 6)) {
		delay(atoi(action + 6));
		return 0;
	}
	return !strcmp(action, "ENOSPC") ? ENOSPC : EIO;
}

/* 0, or the error to return. Plain system calls only: this runs inside any thread of any program.
 */
static int fault(const char *call, int fd)
{
	const char *control = getenv("FAULTFS_CONTROL");
	char text[1024], link[64], path[PATH_MAX];
	int error = 0, saved = errno, file = control ? open(control, O_RDONLY | O_CLOEXEC) : -1;
	ssize_t n = file >= 0 ? read(file, text, sizeof(text) - 1) : 0;

	if (file >= 0)
		close(file);
	if (n > 0) {
		char *save = NULL, *line;

		text[n] = '\0';
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, path, sizeof(path) - 1);
		path[n > 0 ? n : 0] = '\0';
		for (line = strtok_r(text, "\n", &save); line && !error;
			line = strtok_r(NULL, "\n", &save))
			error = apply_line(line, call, path);
	}
	errno = error ? error : saved;
	return error;
}

ssize_t write(int fd, const void *p, size_t n)
{
	return fault("write", fd) ? -1 : real_write(fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	return fault("write", fd) ? -1 : real_pwrite(fd, p, n, offset);
}

ssize_t pwrite64(int fd, const void *p, size_t n, off_t offset)
{
	return pwrite(fd, p, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	return fault("write", fd) ? -1 : real_pwritev(fd, iov, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t offset)
{
	return pwritev(fd, iov, count, offset);
}

ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
	return fault("read", fd) ? -1 : real_pread(fd, p, n, offset);
}

ssize_t pread64(int fd, void *p, size_t n, off_t offset)
{
	return pread(fd, p, n, offset);
}

int fsync(int fd)
{
	return fault("sync", fd) ? -1 : real_fsync(fd);
}

int fdatasync(int fd)
{
	return fault("sync", fd) ? -1 : real_fdatasync(fd);
}

int fallocate(int fd, int mode, off_t offset, off_t n)
{
	return fault("allocate", fd) ? -1 : real_fallocate(fd, mode, offset, n);
}

int fallocate64(int fd, int mode, off_t offset, off_t n)
{
	return fallocate(fd, mode, offset, n);
}

int posix_fallocate(int fd, off_t offset, off_t n)
{
	int error = fault("allocate", fd);

	return error ? error : real_posix_fallocate(fd, offset, n);
}

int posix_fallocate64(int fd, off_t offset, off_t n)
{
	return posix_fallocate(fd, offset, n);
}
