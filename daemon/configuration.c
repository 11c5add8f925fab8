/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/configuration.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libsh/base/disk.h"
#include "libsh/base/mem.h"

#define SYSTEM_FILE "/etc/streamhouse/shd.conf"

/* $XDG_..., or below $HOME, or NULL. */
static char *user_path(const char *variable, const char *below_home, const char *rest)
{
	const char *base = getenv(variable), *home = getenv("HOME");

	if (base && *base == '/')
		return mem_printf("%s/%s", base, rest);
	if (home && *home == '/')
		return mem_printf("%s/%s/%s", home, below_home, rest);
	return NULL;
}

static int load_file(struct settings *s, const char *file, struct err *e)
{
	char *user;
	int status = 0;

	if (file)
		return settings_load_file(s, file, e);
	user = user_path("XDG_CONFIG_HOME", ".config", "streamhouse/shd.conf");
	if (user && disk_exists(user))
		status = settings_load_file(s, user, e);
	else if (disk_exists(SYSTEM_FILE))
		status = settings_load_file(s, SYSTEM_FILE, e);
	mem_free(user);
	return status;
}

static int assign(struct settings *s, const char *assignment, struct err *e)
{
	const char *equals = strchr(assignment, '=');
	char *name;
	int status;

	if (!equals) {
		err_set(e, ERR_USAGE, "-O %.64s: expected name=value", assignment);
		return err_hint(e, "for example -O http.listen=127.0.0.1:8081");
	}
	name = mem_strndup(assignment, (size_t)(equals - assignment));
	status = settings_set(s, name, equals + 1, "-O", e);
	mem_free(name);
	return status;
}

static int set_data_dir(struct settings *s, const char *given, struct err *e)
{
	char *path;
	int status;

	if (given)
		return settings_set(s, "data.dir", *given ? given : ".", "-D", e);
	if (*settings_string(s, "data.dir"))
		return 0;
	path = user_path("XDG_DATA_HOME", ".local/share", "streamhouse");
	if (!path) {
		err_set(e, ERR_USAGE, "no data directory: neither XDG_DATA_HOME nor HOME is set");
		return err_hint(e, "name one with -D DIR");
	}
	status = settings_set(s, "data.dir", path, "default", e);
	mem_free(path);
	return status;
}

struct settings *configuration_load(const struct configuration *c, struct err *e)
{
	struct settings *s = settings_new();

	if (c->profile && settings_apply_profile(s, c->profile, e))
		goto fail;
	if (load_file(s, c->file, e) || settings_load_environment(s, environ, e))
		goto fail;
	for (int i = 0; i < c->assignment_count; i++)
		if (assign(s, c->assignments[i], e))
			goto fail;
	if (set_data_dir(s, c->data_dir, e) || settings_check(s, e))
		goto fail;
	return s;
fail:
	settings_free(s);
	return NULL;
}
