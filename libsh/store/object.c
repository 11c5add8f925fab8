/* SPDX-License-Identifier: Apache-2.0 */
/* What all object stores share: URLs, the rule for names, and the put that checks what it cannot know. */
#include <string.h>
#include "libsh/base/disk.h"
#include "libsh/base/mem.h"
#include "libsh/store/object.h"

enum { COMPARE_BYTES = 1 << 20, PUT_ATTEMPTS = 3 };

static bool name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
	       c == '_' || c == '-';
}

int object_name_check(const char *name, struct err *e)
{
	size_t len = strnlen(name, OBJECT_NAME_MAX + 1);

	if (len == 0 || len > OBJECT_NAME_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT, "an object name has 1 to %d bytes, not %s",
			OBJECT_NAME_MAX, len ? "more" : "none");
	for (size_t i = 0; i < len; i++) {
		bool starts = i == 0 || name[i - 1] == '/';

		/* A part that starts with a dot is "..", or hides where list() does not look. */
		if (starts && (name[i] == '/' || name[i] == '.'))
			return err_set(e, ERR_INVALID_ARGUMENT,
				"a part of the object name at byte %zu is empty or starts with a dot", i);
		if (name[i] != '/' && !name_char(name[i]))
			return err_set(e, ERR_INVALID_ARGUMENT,
				"byte %zu (0x%02x) of an object name is not one of A-Z a-z 0-9 . _ - /", i,
				(unsigned char)name[i]);
	}
	if (name[len - 1] == '/')
		return err_set(e, ERR_INVALID_ARGUMENT, "the object name \"%s\" ends with a slash", name);
	return 0;
}

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

static int open_fault_url(const char *rest, const char *data_dir, struct object_store **s, struct err *e)
{
	const char *colon = strchr(rest, ':');
	struct object_store *inner = NULL;
	char *rules;
	int result;

	if (!colon || colon == rest || !strncmp(colon + 1, "fault:", 6))
		return err_set(
			e, ERR_INVALID_ARGUMENT, "object.url \"fault:%s\" is not fault:RULES_FILE:URL", rest);
	if (object_store_open(colon + 1, data_dir, &inner, e) < 0)
		return -1;
	rules = mem_strndup(rest, (size_t)(colon - rest));
	result = object_fault_open(inner, rules, s, e);
	mem_free(rules);
	return result;
}

int object_store_open(const char *url, const char *data_dir, struct object_store **s, struct err *e)
{
	if (!strncmp(url, "file:", 5))
		return open_file_url(url + 5, data_dir, s, e);
	if (!strncmp(url, "fault:", 6))
		return open_fault_url(url + 6, data_dir, s, e);
	err_set(e, ERR_NOT_BUILT,
		"object.url \"%s\" needs an object store that this program was built without", url);
	return err_hint(e, "use file: or file:///directory");
}

void object_store_free(struct object_store *s)
{
	if (s)
		s->driver->free(s);
}

/* 1: the object holds what fd holds; 0: it does not; -1: it could not be read. */
static int same_content(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e)
{
	char *ours = NULL, *theirs = NULL;
	uint64_t stored, at;
	int result = -1;

	if (s->driver->size(s, name, &stored, e) < 0)
		return -1;
	if (stored != bytes)
		return 0;
	ours = mem_alloc(COMPARE_BYTES);
	theirs = mem_alloc(COMPARE_BYTES);
	for (at = 0; at < bytes;) {
		size_t n = bytes - at < COMPARE_BYTES ? (size_t)(bytes - at) : COMPARE_BYTES;

		if (disk_pread(fd, ours, n, (int64_t)at, e) < 0 ||
			s->driver->get(s, name, at, theirs, n, e) < 0)
			goto out;
		if (memcmp(ours, theirs, n)) {
			result = 0;
			goto out;
		}
		at += n;
	}
	result = 1;
out:
	mem_free(ours);
	mem_free(theirs);
	return result;
}

int object_put_verified(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e)
{
	struct err put = ERR_INIT, check = ERR_INIT;

	/* Putting again is safe: same name, same bytes; an earlier attempt that is still on its way does no
	 * harm. */
	for (int attempt = 0; attempt < PUT_ATTEMPTS; attempt++) {
		int same;

		err_clear(&put);
		if (s->driver->put(s, name, fd, bytes, &put) == 0)
			return 0;
		if (put.code != ERR_OUTCOME_UNKNOWN && put.code != ERR_EXISTS)
			return err_set(e, put.code, "%s", put.text);
		err_clear(&check);
		same = same_content(s, name, fd, bytes, &check);
		if (same > 0)
			return 0;
		if (same == 0)
			return err_set(e, ERR_EXISTS, "object %s exists with other content", name);
		if (check.code != ERR_NOT_FOUND)
			return err_set(e, ERR_OUTCOME_UNKNOWN,
				"object %s may or may not have been written: %s", name, check.text);
	}
	return err_set(e, ERR_OUTCOME_UNKNOWN, "object %s is not there after %d attempts: %s", name,
		PUT_ATTEMPTS, put.text);
}
