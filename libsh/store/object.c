/* SPDX-License-Identifier: Apache-2.0 */
/* What all object stores share: the rule for names, and the put that checks what it cannot know. */
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

void object_store_free(struct object_store *s)
{
	if (s)
		s->driver->free(s);
}

int object_store_prepare(struct object_store *s, struct err *e)
{
	return s->driver->prepare ? s->driver->prepare(s, e) : 0;
}

struct object_store_state object_store_state(struct object_store *s)
{
	struct object_store_state state = {0};

	if (s->driver->state)
		s->driver->state(s, &state);
	return state;
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
		if (put.code != ERR_OUTCOME_UNKNOWN && put.code != ERR_EXISTS) {
			if (e)
				*e = put;
			return -1;
		}
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
