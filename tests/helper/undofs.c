/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A power cut for tests, to be preloaded (LD_PRELOAD): remembers what each write replaced until the
 * file is synced, so that after a kill -9 the writes that no sync covered can be taken back with
 * undo-writes.
 *
 * UNDOFS_SYNC_DELAY_MS makes each sync of such a file slower, so that a kill finds one under way
 * more often than not. Files whose path matches the glob UNDOFS_PATTERN are watched; UNDOFS_DIR
 * holds one journal per file, named after its path with '/' as '%'. A journal is a sequence of:
 * offset i64, length i64, then what was there (zeros behind the file's end).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static char *pattern, *directory;
static long sync_delay_ms;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void __attribute__((constructor)) find_real_calls(void)
{
	real_pwrite = dlsym(RTLD_NEXT, "pwrite");
	real_fsync = dlsym(RTLD_NEXT, "fsync");
	real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
	/* Copies: a process that sets its title writes over its environment. */
	pattern = getenv("UNDOFS_PATTERN") ? strdup(getenv("UNDOFS_PATTERN")) : NULL;
	directory = getenv("UNDOFS_DIR") ? strdup(getenv("UNDOFS_DIR")) : NULL;
	if (getenv("UNDOFS_SYNC_DELAY_MS"))
		sync_delay_ms = atol(getenv("UNDOFS_SYNC_DELAY_MS"));
}

/* Where the journal of fd's file is; false when nobody watches it. */
static bool journal_path(int fd, char out[PATH_MAX])
{
	char link[64], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = pattern && directory ? readlink(link, path, sizeof(path) - 1) : -1;
	if (n <= 0)
		return false;
	path[n] = '\0';
	if (fnmatch(pattern, path, 0))
		return false;
	for (char *c = path; *c; c++)
		if (*c == '/')
			*c = '%';
	return snprintf(out, PATH_MAX, "%s/%s", directory, path) < PATH_MAX;
}

/* The file may be open for writing only, or with O_DIRECT: read it through a descriptor of its own.
 */
static void read_old(int fd, char *out, size_t n, off_t offset)
{
	char link[64];
	int own;
	ssize_t got;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	own = open(link, O_RDONLY | O_CLOEXEC);
	while (own >= 0 && n && (got = pread(own, out, n, offset)) > 0) {
		out += got;
		offset += got;
		n -= (size_t)got;
	}
	if (own >= 0)
		close(own);
}

static void remember(int fd, size_t n, off_t offset)
{
	char path[PATH_MAX], *record;
	int64_t head[2] = {offset, (int64_t)n};
	int journal;

	if (!journal_path(fd, path) || !(record = calloc(1, sizeof(head) + n)))
		return;
	memcpy(record, head, sizeof(head));
	read_old(fd, record + sizeof(head), n, offset);
	journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (journal < 0 || write(journal, record, sizeof(head) + n) != (ssize_t)(sizeof(head) + n))
		abort();
	close(journal);
	free(record);
}

static void forget(int fd)
{
	char path[PATH_MAX];

	if (journal_path(fd, path))
		unlink(path);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
	ssize_t result;

	pthread_mutex_lock(&lock);
	remember(fd, n, offset);
	result = real_pwrite(fd, p, n, offset);
	pthread_mutex_unlock(&lock);
	return result;
}

#undef pwrite64
ssize_t pwrite64(int fd, const void *p, size_t n, off_t offset)
{
	return pwrite(fd, p, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	/* A short write is allowed, so the first piece will do. */
	return count ? pwrite(fd, iov->iov_base, iov->iov_len, offset) : 0;
}

#undef pwritev64
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off_t offset)
{
	return pwritev(fd, iov, count, offset);
}

/* Writes that other threads make during a sync may be covered or not: they keep waiting for the
 * lock. */
static int sync_with(int fd, int (*real)(int))
{
	char path[PATH_MAX];
	int result;

	if (sync_delay_ms && journal_path(fd, path))
		nanosleep(&(struct timespec){.tv_nsec = sync_delay_ms % 1000 * 1000000}, NULL);
	pthread_mutex_lock(&lock);
	result = real(fd);
	if (!result)
		forget(fd);
	pthread_mutex_unlock(&lock);
	return result;
}

int fsync(int fd)
{
	return sync_with(fd, real_fsync);
}

int fdatasync(int fd)
{
	return sync_with(fd, real_fdatasync);
}
