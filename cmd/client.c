/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/base/text.h"

#define DEFAULT_SERVER "http://127.0.0.1:8080"
enum { CONFIG_LINE_BYTES = 4096 };

/* What the configuration says about one context. */
struct context {
	char name[128];
	char server[1024], key[1024];
	bool found;
};

static char *config_path(void)
{
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (base && *base)
		return mem_printf("%s/streamctl/config", base);
	return home && *home ? mem_printf("%s/.config/streamctl/config", home) : NULL;
}

static int copy_value(char *to, size_t room, const char *value, const char *path, int line, struct err *e)
{
	if (strlen(value) >= room)
		return err_set(e, ERR_USAGE, "%s:%d: the value is too long", path, line);
	memcpy(to, value, strlen(value) + 1);
	return 0;
}

/* One line. `inside` says whether the section we are in is the context asked for. */
static int read_line(
	struct context *c, char *text, bool *top, bool *inside, const char *path, int line, struct err *e)
{
	char *value, *end;

	text = text_trim(text);
	if (!*text || *text == '#')
		return 0;
	if (*text == '[') {
		end = strchr(text, ']');
		if (!end || end[1])
			return err_set(e, ERR_USAGE, "%s:%d: expected [NAME]", path, line);
		*end = '\0';
		*top = false;
		*inside = *c->name && !strcmp(text_trim(text + 1), c->name);
		c->found |= *inside;
		return 0;
	}
	value = strchr(text, '=');
	if (!value)
		return err_set(e, ERR_USAGE, "%s:%d: expected name = value", path, line);
	*value++ = '\0';
	text = text_trim(text);
	value = text_trim(value);
	if (*top && !strcmp(text, "current"))
		return *c->name ? 0 : copy_value(c->name, sizeof(c->name), value, path, line, e);
	if (!*top && !strcmp(text, "server"))
		return *inside ? copy_value(c->server, sizeof(c->server), value, path, line, e) : 0;
	if (!*top && !strcmp(text, "key"))
		return *inside ? copy_value(c->key, sizeof(c->key), value, path, line, e) : 0;
	return err_set(e, ERR_USAGE, "%s:%d: unknown setting \"%s\"", path, line, text);
}

/* Without a name in *c, the file's `current` is taken, if it has one. */
static int read_config(struct context *c, const char *path, struct err *e)
{
	char text[CONFIG_LINE_BYTES];
	bool top = true, inside = false;
	int line = 0, result = 0;
	FILE *in = fopen(path, "re");

	if (!in && errno == ENOENT)
		return 0;
	if (!in)
		return err_sys(e, ERR_IO, "cannot read %s", path);
	while (!result && fgets(text, sizeof(text), in))
		result = read_line(c, text, &top, &inside, path, ++line, e);
	fclose(in);
	return result;
}

static int find_context(struct context *c, const char *name, struct err *e)
{
	char *path = config_path();
	int result = -1;

	if (name && strlen(name) >= sizeof(c->name)) {
		err_set(e, ERR_USAGE, "the context's name is too long");
		goto out;
	}
	if (name)
		memcpy(c->name, name, strlen(name) + 1);
	if (path && read_config(c, path, e))
		goto out;
	if (*c->name && (!c->found || !*c->server)) {
		err_set(e, ERR_USAGE, "%s has no server for the context \"%s\"",
			path ? path : "the configuration", c->name);
		err_hint(e, "add a section [%s] with a line server = URL", c->name);
		goto out;
	}
	result = 0;
out:
	mem_free(path);
	return result;
}

/* HOST:PORT alone is taken for http://HOST:PORT. */
static struct api *open_at(const char *server, const char *key, int64_t timeout_ms, struct err *e)
{
	char *url = strstr(server, "://") ? mem_strdup(server) : mem_printf("http://%s", server);
	struct api *api = api_new(url, key, timeout_ms, e);

	mem_free(url);
	return api;
}

struct api *client_open(const struct command_globals *g, struct err *e)
{
	struct context c = {.found = false};

	if (g->server)
		return open_at(g->server, NULL, g->timeout_ms, e);
	if (find_context(&c, g->context, e))
		return NULL;
	return open_at(*c.server ? c.server : DEFAULT_SERVER, *c.key ? c.key : NULL, g->timeout_ms, e);
}
