/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/find.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool in_directory(const char *directory, size_t len, const char *name, char *path, size_t path_bytes)
{
	struct stat st;
	int n;

	if (!len)
		return false;
	n = snprintf(path, path_bytes, "%.*s/streamctl-%s", (int)len, directory, name);
	return n > 0 && (size_t)n < path_bytes && !stat(path, &st) && S_ISREG(st.st_mode) &&
	       !access(path, X_OK);
}

static bool beside_this_program(const char *name, char *path, size_t path_bytes)
{
	char self[FIND_PATH_BYTES];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n <= 0)
		return false;
	self[n] = '\0';
	slash = strrchr(self, '/');
	return slash && in_directory(self, (size_t)(slash - self), name, path, path_bytes);
}

static bool on_path(const char *name, char *path, size_t path_bytes)
{
	const char *dirs = getenv("PATH");

	while (dirs && *dirs) {
		size_t len = strcspn(dirs, ":");

		if (in_directory(dirs, len, name, path, path_bytes))
			return true;
		dirs += len + (dirs[len] == ':');
	}
	return false;
}

bool find_command(const char *name, char *path, size_t path_bytes)
{
	const char *own = getenv("STREAMCTL_EXEC_PATH");

	if (!*name || *name == '-' || *name == '.' || strchr(name, '/'))
		return false;
	return (own && in_directory(own, strlen(own), name, path, path_bytes)) ||
	       beside_this_program(name, path, path_bytes) ||
	       in_directory(SH_LIBEXECDIR, strlen(SH_LIBEXECDIR), name, path, path_bytes) ||
	       on_path(name, path, path_bytes);
}
