/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/mman.h>
#include <unistd.h>

void fd_close(int *fd)
{
	int number = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = number;
}

int fd_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -1 : fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

int fd_set_cloexec(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags < 0 ? -1 : fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
}

int fd_write_all(int fd, const void *p, size_t n, struct err *e)
{
	const char *at = p;

	while (n) {
		ssize_t done = write(fd, at, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return err_sys(e, ERR_IO, "cannot write to descriptor %d", fd);
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

int fd_memory(const char *name, const void *p, size_t n, struct err *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return err_sys(e, ERR_IO, "cannot make memory for %s", name);
	if (fd_write_all(fd, p, n, e) < 0)
		goto fail;
	if (lseek(fd, 0, SEEK_SET) < 0 ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0) {
		err_sys(e, ERR_IO, "cannot seal the memory for %s", name);
		goto fail;
	}
	return fd;
fail:
	fd_close(&fd);
	return -1;
}

int fd_fill_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= 2);
	fd_close(&fd);
	return fcntl(2, F_GETFD) < 0 ? -1 : 0;
}

void fd_close_from(int first)
{
	if (close_range((unsigned)first, UINT_MAX, 0) == 0)
		return;
	for (int fd = first, end = (int)sysconf(_SC_OPEN_MAX); fd < end; fd++)
		close(fd);
}
