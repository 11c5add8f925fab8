/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the cache being made: begun, sealed with a checksum, then an entry or dropped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/store/cache_private.h"
#include "libsh/base/bytes.h"
#include "libsh/base/clock.h"
#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"

enum {
	CHECK_BYTES = 1 << 20,
	MEMORY_MAX_BYTES = 192 << 20,
	MEMORY_KEPT_BYTES = 48 << 20, /* of it, as entries: what readers are at */
};
static const char trailer_magic[8] = {'S', 'H', 'C', 'A', 'C', 'H', 'E', '1'};

static void fill_init(struct cache_fill *f, uint64_t expected)
{
	*f = (struct cache_fill){.fd = -1, .read_fd = -1, .expected = expected};
}

static int begin_file(struct cache *c, struct cache_fill *f)
{
	struct uuid id = uuid_random();
	char text[UUID_TEXT_BYTES];

	snprintf(f->temporary, sizeof(f->temporary), "tmp/%s", uuid_format(&id, text));
	f->fd = openat(c->dir_fd, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (f->fd < 0 && errno == ENOENT && mkdirat(c->dir_fd, "tmp", 0700) == 0)
		f->fd = openat(c->dir_fd, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (f->fd >= 0)
		f->read_fd = openat(c->dir_fd, f->temporary, O_RDONLY | O_CLOEXEC);
	if (f->read_fd >= 0)
		return 0;
	if (f->fd >= 0)
		unlinkat(c->dir_fd, f->temporary, 0);
	fd_close(&f->fd);
	f->temporary[0] = '\0';
	return -1;
}

int cache_fill_begin_memory(struct cache *c, struct cache_fill *f, uint64_t expected, struct err *e)
{
	char path[32];

	fill_init(f, expected);
	if (expected <= MEMORY_MAX_BYTES && c->memory > MEMORY_MAX_BYTES - expected)
		cache_trim_memory(c, 0);
	if (expected > MEMORY_MAX_BYTES || c->memory > MEMORY_MAX_BYTES - expected)
		return err_set(e, ERR_NO_SPACE,
			"the disk of the cache %s is full, and %d MiB in memory are in use", c->dir,
			MEMORY_MAX_BYTES >> 20);
	f->fd = memfd_create("cache", MFD_CLOEXEC);
	if (f->fd < 0)
		return err_sys(e, ERR_IO, "cannot make memory for %llu bytes", (unsigned long long)expected);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	f->read_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (f->read_fd < 0) {
		err_sys(e, ERR_IO, "cannot open %s for reading", path);
		fd_close(&f->fd);
		return -1;
	}
	f->memory = true;
	c->memory += expected;
	return 0;
}

int cache_fill_begin(struct cache *c, struct cache_fill *f, uint64_t expected, struct err *e)
{
	fill_init(f, expected);
	cache_trim(c, expected);
	while (begin_file(c, f) < 0)
		if (errno != ENOSPC || !cache_evict(c, expected))
			return cache_fill_begin_memory(c, f, expected, e);
	c->reserved += expected;
	return 0;
}

int cache_fill_allocate(const struct cache_fill *f, uint64_t length, struct err *e)
{
	if (f->memory || fallocate(f->fd, 0, 0, (off_t)(length + CACHE_TRAILER_BYTES)) == 0 ||
		(errno != ENOSPC && errno != EDQUOT))
		return 0;
	return err_sys(e, ERR_IO, "no room for %llu bytes in the cache", (unsigned long long)length);
}

static int checksum(int fd, uint64_t length, uint32_t *crc, struct err *e)
{
	char *chunk = mem_alloc(CHECK_BYTES);
	int result = 0;

	*crc = 0;
	for (uint64_t at = 0; at < length && result == 0;) {
		size_t n = length - at < CHECK_BYTES ? (size_t)(length - at) : CHECK_BYTES;

		result = disk_pread(fd, chunk, n, (int64_t)at, e);
		if (result == 0)
			*crc = crc32c(*crc, chunk, n);
		at += n;
	}
	mem_free(chunk);
	return result;
}

int cache_fill_seal(struct cache_fill *f, uint64_t length, struct err *e)
{
	uint8_t trailer[CACHE_TRAILER_BYTES];
	uint32_t crc;

	if (checksum(f->fd, length, &crc, e) < 0)
		return -1;
	memcpy(trailer, trailer_magic, sizeof(trailer_magic));
	put_le64(trailer + 8, length);
	put_le32(trailer + 16, crc);
	put_le32(trailer + 20, crc32c(0, trailer, 20));
	if (disk_pwrite(f->fd, trailer, sizeof(trailer), (int64_t)length, e) < 0)
		return -1;
	f->length = length;
	f->sealed = true;
	return 0;
}

int cache_check(int fd, uint64_t length, struct err *e)
{
	uint8_t trailer[CACHE_TRAILER_BYTES];
	uint32_t crc;

	if (disk_pread(fd, trailer, sizeof(trailer), (int64_t)length, e) < 0 ||
		checksum(fd, length, &crc, e) < 0)
		return -1;
	if (memcmp(trailer, trailer_magic, sizeof(trailer_magic)) || get_le64(trailer + 8) != length ||
		get_le32(trailer + 20) != crc32c(0, trailer, 20) || get_le32(trailer + 16) != crc)
		return err_set(e, ERR_CORRUPT, "a cached file of %llu bytes is not what was written",
			(unsigned long long)length);
	return 0;
}

/*
 * Without files a reader would have its part fetched again for each piece of it that it asks for. So some parts stay,
 * counted on their own: the fill's share is given back when it is released.
 */
static void commit_memory(struct cache *c, const struct cache_fill *f, const char *object, uint64_t start)
{
	int fd;

	if (f->length > MEMORY_KEPT_BYTES / 4)
		return;
	cache_trim_memory(c, MEMORY_KEPT_BYTES - f->length);
	fd = fcntl(f->read_fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		cache_entry_add_memory(c, object, start, f->length, fd);
}

void cache_fill_commit(struct cache *c, struct cache_fill *f, const char *object, uint64_t start)
{
	char path[CACHE_PATH_MAX];

	if (f->memory && f->sealed)
		commit_memory(c, f, object, start);
	if (f->memory || !f->sealed || !f->temporary[0])
		return;
	cache_trim_memory(c, 0); /* the disk takes files again */
	cache_path(path, object, start, f->length);
	if (renameat(c->dir_fd, f->temporary, c->dir_fd, path) < 0) {
		path[2] = '\0';
		mkdirat(c->dir_fd, path, 0700);
		path[2] = '/';
		if (renameat(c->dir_fd, f->temporary, c->dir_fd, path) < 0)
			return;
	}
	f->temporary[0] = '\0';
	c->reserved -= f->expected;
	f->expected = 0;
	cache_entry_add(c, object, start, f->length, clock_real_ms(), true);
}

void cache_fill_release(struct cache *c, struct cache_fill *f)
{
	if (f->temporary[0])
		unlinkat(c->dir_fd, f->temporary, 0);
	if (f->memory)
		c->memory -= f->expected;
	else if (f->fd >= 0)
		c->reserved -= f->expected;
	fd_close(&f->fd);
	fd_close(&f->read_fd);
	fill_init(f, 0);
}
