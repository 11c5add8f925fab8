/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/crash.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsh/base/mem.h"

bool crash_possible = true;

/* Whoever removes the file has it: a second process that comes to the point goes on. */
static bool taken(const char *directory, const char *name, const char *ending)
{
	char *path = mem_printf("%s/%s%s", directory, name, ending);
	struct stat st;
	bool result = false;

	if (stat(path, &st) == 0)
		result = st.st_size ? truncate(path, st.st_size - 1) < 0 : unlink(path) == 0;
	mem_free(path);
	return result;
}

void crash_reached(const char *name)
{
	const char *directory = getenv(CRASH_POINTS_ENV);

	if (!directory || !*directory)
		__atomic_store_n(&crash_possible, false, __ATOMIC_RELAXED);
	else if (taken(directory, name, ""))
		raise(SIGKILL); /* to the thread, not the process: nothing behind the point may still run */
	else if (taken(directory, name, ".stop"))
		raise(SIGSTOP);
}
