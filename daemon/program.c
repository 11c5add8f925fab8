/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/program.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "libsh/run/spawn.h"

/*
 * The program of a role: in $SHD_LIBEXEC, beside shd in a build tree (daemon/agent/shd-agent beside
 * daemon/shd), or where it was installed.
 */
static char *find_program(enum role role)
{
	const char *dir = getenv("SHD_LIBEXEC"), *name = role_name(role);
	char self[4096], *path;
	ssize_t n;

	if (dir && *dir)
		return mem_printf("%s/shd-%s", dir, name);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		self[n] = '\0';
		*strrchr(self, '/') = '\0';
		path = mem_printf("%s/%s/shd-%s", self, name, name);
		if (!access(path, X_OK))
			return path;
		mem_free(path);
	}
	return mem_printf("%s/shd-%s", SH_LIBEXECDIR, name);
}

/*
 * Our environment without what is not a role's business: keys of the object store are for the store, those of
 * a database for meta. Settings reach the roles that need them by CONFIGURE. The strings stay ours.
 */
static char **environment_for(enum role role)
{
	static const struct {
		const char *prefix;
		enum role role; /* the supervisor: nobody's */
	} secrets[] = {{"AWS_", ROLE_STORE}, {"PG", ROLE_META}, {"SHD_", ROLE_SUPERVISOR},
		{"STREAMCTL_", ROLE_SUPERVISOR}};
	size_t count = 0, kept = 0;
	char **result;

	while (environ[count])
		count++;
	result = mem_array(count + 1, sizeof(*result));
	for (size_t i = 0; i < count; i++) {
		bool keep = true;

		for (size_t j = 0; j < array_count(secrets); j++)
			keep = keep && (secrets[j].role == role || strncmp(environ[i], secrets[j].prefix,
									   strlen(secrets[j].prefix)) != 0);
		if (keep)
			result[kept++] = environ[i];
	}
	result[kept] = NULL;
	return result;
}

int program_start(enum role role, const char *title, int fd, pid_t *pid, struct err *e)
{
	char *path = find_program(role), *name = mem_printf("shd: %s", title);
	char *argv[] = {name, NULL}, **environment = environment_for(role);
	int status = spawn_child(path, argv, environment, fd, pid, e);

	mem_free(environment);
	mem_free(path);
	mem_free(name);
	return status;
}

char program_state(pid_t pid)
{
	char path[64], text[512], *name_end;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	fd_close(&fd);
	text[n > 0 ? n : 0] = '\0';
	name_end = strrchr(text, ')'); /* the name may hold anything, also this */
	return name_end && name_end[1] == ' ' && name_end[2] ? name_end[2] : '?';
}
