/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/run/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/fd.h"

enum { CHILD_FD = 3, FAILURE_FD = 4, OUT_OF_THE_WAY = 10, EXIT_NO_EXEC = 127 };

static void reset_signals(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL); /* fails for KILL and STOP, as it should */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int arrange_descriptors(int fd, int failure)
{
	int null = open("/dev/null", O_RDWR);

	/* First above all the numbers that are about to be taken. */
	fd = fcntl(fd, F_DUPFD, OUT_OF_THE_WAY);
	failure = fcntl(failure, F_DUPFD, OUT_OF_THE_WAY);
	if (null < 0 || fd < 0 || failure < 0)
		return -1;
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(fd, CHILD_FD) < 0 ||
		dup3(failure, FAILURE_FD, O_CLOEXEC) < 0)
		return -1;
	fd_close_from(FAILURE_FD + 1);
	return 0;
}

/* Between fork and exec: only what is safe there. */
static void __attribute__((noreturn))
child(const char *path, char *const argv[], char *const environment[], int fd, int failure, pid_t parent)
{
	int32_t why;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_NO_EXEC); /* it died before the line above */
	reset_signals();
	if (!arrange_descriptors(fd, failure)) {
		execve(path, argv, environment);
		failure = FAILURE_FD;
	}
	why = errno;
	if (write(failure, &why, sizeof(why)) < 0)
		_exit(EXIT_NO_EXEC);
	_exit(EXIT_NO_EXEC);
}

int spawn_child(
	const char *path, char *const argv[], char *const environment[], int fd, pid_t *pid, struct err *e)
{
	pid_t parent = getpid();
	int failure[2];
	int32_t why = 0;
	ssize_t n;

	if (pipe2(failure, O_CLOEXEC))
		return err_sys(e, ERR_INTERNAL, "cannot make a pipe");
	*pid = fork();
	if (*pid == 0)
		child(path, argv, environment ? environment : environ, fd, failure[1], parent);
	if (*pid < 0)
		err_sys(e, ERR_INTERNAL, "cannot start a process");
	fd_close(&failure[1]);
	do {
		/* Ends when exec closes the other side. */
		n = *pid < 0 ? 0 : read(failure[0], &why, sizeof(why));
	} while (n < 0 && errno == EINTR);
	fd_close(&failure[0]);
	if (*pid < 0)
		return -1;
	if (n != sizeof(why))
		return 0;
	waitpid(*pid, NULL, 0);
	errno = why;
	return err_sys(e, why == ENOENT ? ERR_NOT_FOUND : ERR_INTERNAL, "cannot run %s", path);
}
