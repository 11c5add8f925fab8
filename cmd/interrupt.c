/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/interrupt.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* Signals belong to the process, so this state does, too. */
static struct {
	int fd;
	bool requested;
	sigset_t signals;
} interrupt = {.fd = -1};

void interrupt_catch(void)
{
	sigemptyset(&interrupt.signals);
	sigaddset(&interrupt.signals, SIGINT);
	sigaddset(&interrupt.signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &interrupt.signals, NULL);
	interrupt.fd = signalfd(-1, &interrupt.signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

bool interrupt_requested(void)
{
	struct signalfd_siginfo info;

	if (!interrupt.requested && interrupt.fd >= 0 && read(interrupt.fd, &info, sizeof(info)) > 0) {
		interrupt.requested = true;
		sigprocmask(SIG_UNBLOCK, &interrupt.signals, NULL);
	}
	return interrupt.requested;
}

int interrupt_fd(void)
{
	return interrupt.fd;
}

int interrupt_poll(int fd, int64_t timeout_ms)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = interrupt.fd, .events = POLLIN}};
	int ready = -1;

	if (!interrupt_requested())
		do
			ready = poll(fds, 2,
				timeout_ms < 0         ? -1
				: timeout_ms > INT_MAX ? INT_MAX
						       : (int)timeout_ms);
		while (ready < 0 && errno == EINTR);
	if (interrupt_requested())
		return -1;
	return ready > 0 && fds[0].revents ? 1 : 0;
}

void interrupt_release(void)
{
	sigprocmask(SIG_UNBLOCK, &interrupt.signals, NULL);
}
