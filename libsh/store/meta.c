/* SPDX-License-Identifier: Apache-2.0 */
/* Which driver a URL means, and the rules that hold for every driver: names of topics, their configs. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "libsh/store/meta.h"
#include "libsh/store/meta_sqlite.h"

/* NULL: the URL names no file. */
static char *file_of(const char *url, const char *data_dir)
{
	if (strcmp(url, "sqlite:") == 0)
		return mem_printf("%s/meta/meta.db", data_dir);
	return strncmp(url, "sqlite:///", 10) == 0 && url[10] ? mem_strdup(url + 9) : NULL;
}

bool meta_is_there(const char *url, const char *data_dir)
{
	char *path = file_of(url, data_dir);
	struct stat st;
	bool there = path && stat(path, &st) == 0 && st.st_size > 0; /* SQLite takes an empty file for a new one */

	mem_free(path);
	return there;
}

int meta_open(const char *url, const char *data_dir, bool read_only, struct meta **m, struct err *e)
{
	char *path = file_of(url, data_dir);
	int result;

	if (!path && strncmp(url, "sqlite:", 7) == 0) {
		err_set(e, ERR_INVALID_ARGUMENT, "meta.url \"%s\" has no absolute path", url);
		return err_hint(e, "write sqlite: or sqlite:///path/to/meta.db");
	}
	if (!path) {
		err_set(e, ERR_NOT_BUILT, "meta.url \"%s\": there is no driver for it", url);
		return err_hint(e, "write sqlite: or sqlite:///path/to/meta.db");
	}
	result = meta_sqlite_open(path, read_only, m, e);
	mem_free(path);
	return result;
}

void meta_free(struct meta *m)
{
	if (m)
		m->driver->free(m);
}

const char *meta_object_name(struct arena *a, const struct uuid *object, uint64_t incarnation)
{
	char text[UUID_TEXT_BYTES];

	return arena_printf(a, "segments/%02x/%016llx-%s.seg", object->b[15], (unsigned long long)incarnation,
		uuid_format(object, text));
}

bool meta_object_name_parse(const char *name, uint64_t *incarnation)
{
	unsigned long long number;
	struct arena a = ARENA_INIT;
	struct uuid object;
	char id[37];
	unsigned shard;
	bool good;

	if (sscanf(name, "segments/%2x/%16llx-%36[0-9a-f-].seg", &shard, &number, id) != 3 ||
		uuid_parse(id, &object, NULL) < 0)
		return false;
	good = strcmp(meta_object_name(&a, &object, number), name) == 0;
	arena_release(&a);
	*incarnation = number;
	return good;
}

int meta_topic_name_check(const char *name, struct err *e)
{
	size_t length = strlen(name), good;

	if (length == 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "the topic's name is empty");
	if (length > META_TOPIC_NAME_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"the topic's name has %zu characters; at most %d are allowed", length,
			META_TOPIC_NAME_MAX);
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" cannot be the name of a topic", name);
	good = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
	if (good != length) {
		err_set(e, ERR_INVALID_ARGUMENT,
			"the topic's name has a character at position %zu that is not allowed", good + 1);
		return err_hint(e, "use letters, digits, '.', '_' and '-'");
	}
	return 0;
}

static json_t *parse_object(const char *text, struct err *e)
{
	json_error_t error;
	json_t *object;

	if (strlen(text) > META_CONFIG_MAX) {
		err_set(e, ERR_TOO_LARGE, "the topic's config has more than %d bytes", META_CONFIG_MAX);
		return NULL;
	}
	object = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	if (json_is_object(object))
		return object;
	err_set(e, ERR_INVALID_ARGUMENT, "the topic's config is not a JSON object%s%s", object ? "" : ": ",
		object ? "" : error.text);
	json_decref(object);
	return NULL;
}

int meta_config_check(const char *config, struct err *e)
{
	json_t *object = parse_object(config, e);

	json_decref(object);
	return object ? 0 : -1;
}

static int64_t config_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);
	char *end = NULL;
	long long number;

	if (json_is_integer(value))
		return json_integer_value(value);
	if (!text)
		return -1;
	number = strtoll(text, &end, 10);
	return *text && !*end ? number : -1;
}

void meta_config_retention(const char *config, int64_t *ms, int64_t *bytes)
{
	json_t *object = json_loads(config, 0, NULL);

	*ms = config_number(object, "retention.ms");
	*bytes = config_number(object, "retention.bytes");
	json_decref(object);
}

char *meta_config_merge(const char *config, const char *changes, struct err *e)
{
	json_t *object = parse_object(config, e), *change = object ? parse_object(changes, e) : NULL, *value;
	char *text = NULL;
	const char *key;

	if (!change)
		goto out;
	json_object_foreach(change, key, value) {
		if (json_is_null(value))
			json_object_del(object, key);
		else
			json_object_set(object, key, value);
	}
	text = json_dumps(object, JSON_COMPACT);
	if (!text)
		err_set(e, ERR_INTERNAL, "the topic's config could not be written");
	else if (strlen(text) > META_CONFIG_MAX) {
		err_set(e, ERR_TOO_LARGE, "the topic's config would have more than %d bytes",
			META_CONFIG_MAX);
		mem_free(text);
		text = NULL;
	}
out:
	json_decref(change);
	json_decref(object);
	return text;
}
