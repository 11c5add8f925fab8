/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel hands out the memory between argv[0] and the end of the last environment string as the command line. There is one such area in a
 * process, hence the static variables.
 */
#include "libsh/run/proctitle.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libsh/base/mem.h"

static char *area;
static size_t area_bytes;
static char **moved_environment; /* stays reachable for leak checkers */

static size_t contiguous_end(char **strings, char **end)
{
	size_t count = 0;

	for (; strings[count]; count++)
		if (strings[count] == *end)
			*end = strings[count] + strlen(strings[count]) + 1;
	return count;
}

void proctitle_init(int argc, char **argv)
{
	size_t count;
	char *end;

	if (area || argc < 1)
		return;
	end = argv[0];
	contiguous_end(argv, &end);
	count = contiguous_end(environ, &end);
	moved_environment = mem_array(count + 1, sizeof(char *));
	for (size_t i = 0; i < count; i++)
		moved_environment[i] = mem_strdup(environ[i]);
	moved_environment[count] = NULL;
	environ = moved_environment;
	area = argv[0];
	area_bytes = (size_t)(end - argv[0]);
}

void proctitle_set(const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!area)
		return;
	va_start(ap, fmt);
	n = vsnprintf(area, area_bytes, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < area_bytes)
		memset(area + n, 0, area_bytes - (size_t)n);
}
