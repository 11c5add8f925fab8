/* SPDX-License-Identifier: Apache-2.0 */
/* From a URL to a driver. Apart from object.c so that what opens a directory by its path does not link
 * libcurl. */
#include <string.h>
#include <unistd.h>
#include "libsh/base/mem.h"
#include "libsh/store/object.h"

static int open_file_url(const char *rest, const char *data_dir, struct object_store **s, struct err *e)
{
	char *path;
	int result;

	if (!*rest)
		path = mem_printf("%s/objects", data_dir);
	else if (!strncmp(rest, "///", 3) && rest[3])
		path = mem_strdup(rest + 2);
	else {
		err_set(e, ERR_INVALID_ARGUMENT, "object.url \"file:%s\" names no directory", rest);
		return err_hint(e, "write file:///absolute/path, or file: for the directory \"objects\" in "
				   "the data directory");
	}
	result = object_dir_open(path, s, e);
	mem_free(path);
	return result;
}

static int open_fault_url(const char *rest, const char *data_dir, const struct settings *settings,
	struct object_store **s, struct err *e)
{
	const char *colon = strchr(rest, ':');
	struct object_store *inner = NULL;
	char *rules;
	int result;

	if (!colon || colon == rest || !strncmp(colon + 1, "fault:", 6))
		return err_set(
			e, ERR_INVALID_ARGUMENT, "object.url \"fault:%s\" is not fault:RULES_FILE:URL", rest);
	if (object_store_open(colon + 1, data_dir, settings, &inner, e) < 0)
		return -1;
	rules = mem_strndup(rest, (size_t)(colon - rest));
	result = object_fault_open(inner, rules, s, e);
	mem_free(rules);
	return result;
}

static int open_s3_url(
	const char *place, const struct settings *settings, struct object_store **s, struct err *e)
{
	struct settings *own = NULL;
	int result = -1;

	if (!settings)
		settings = own = settings_new();
	if (!own || settings_load_environment(own, environ, e) == 0)
		result = object_s3_open(place, settings, s, e);
	settings_free(own);
	return result;
}

int object_store_open(const char *url, const char *data_dir, const struct settings *settings,
	struct object_store **s, struct err *e)
{
	if (!strncmp(url, "file:", 5))
		return open_file_url(url + 5, data_dir, s, e);
	if (!strncmp(url, "s3://", 5))
		return open_s3_url(url + 5, settings, s, e);
	if (!strncmp(url, "fault:", 6))
		return open_fault_url(url + 6, data_dir, settings, s, e);
	err_set(e, ERR_NOT_BUILT,
		"object.url \"%s\" needs an object store that this program was built without", url);
	return err_hint(e, "use file:, file:///directory or s3://bucket/prefix");
}
