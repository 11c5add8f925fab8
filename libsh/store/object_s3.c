/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in a bucket of S3: s3://BUCKET/PREFIX. What is said of the whole is in object_s3.h; here is the
 * driver's table, with reading and removing.
 */
#include "libsh/store/object_s3.h"

#include <stdio.h>
#include <string.h>
#include "libsh/base/mem.h"

enum { RANGE_BYTES = 64 };

int object_s3_key(const struct object_s3 *s, const char *name, char out[S3_KEY_MAX + 1], struct err *e)
{
	if (object_name_check(name, e) < 0)
		return -1;
	/* The prefix was checked to leave room. */
	snprintf(out, S3_KEY_MAX + 1, "%s%s", s->prefix, name);
	return 0;
}

/* ---- reading ---- */

/* "bytes 0-99/1234" is what was asked for, or the object is shorter, or it is something else. */
static int check_range(
	const struct object_s3_answer *a, const char *name, uint64_t offset, size_t n, struct err *e)
{
	unsigned long long first, last;

	if (a->status == 200 && offset == 0 && a->content_length == (int64_t)n)
		return 0; /* the whole object: some services say it so */
	if (a->status != 206 || sscanf(a->content_range, "bytes %llu-%llu/", &first, &last) != 2 ||
		first != offset || last < first || last - first >= n)
		return err_set(e, ERR_IO, "the store answered %d, range \"%s\", for %zu bytes at %llu of %s",
			a->status, a->content_range, n, (unsigned long long)offset, name);
	if (last - first + 1 < n)
		return err_set(e, ERR_CORRUPT, "object %s ends at %llu, before byte %llu", name, last + 1,
			(unsigned long long)offset + n);
	return 0;
}

static int get_range(struct object_s3 *s, const char *key, uint64_t offset, void *p, size_t n,
	struct object_s3_answer *a, struct err *e)
{
	struct object_s3_call call = {
		.method = "GET", .key = key, .into = p, .into_bytes = n, .repeatable = true};
	char range[RANGE_BYTES];

	snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)offset,
		(unsigned long long)offset + n - 1);
	call.headers[call.header_count++] = (struct sigv4_pair){"range", range};
	return object_s3_do(s, &call, a, e);
}

static int s3_size(struct object_store *store, const char *name, uint64_t *bytes, struct err *e);

static int s3_get(
	struct object_store *store, const char *name, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	char key[S3_KEY_MAX + 1];
	struct object_s3_answer a;
	struct err failed = ERR_INIT;
	uint64_t bytes;
	int result;

	if (object_s3_key(s, name, key, e) < 0)
		return -1;
	if (!n) { /* there is no range of no bytes */
		if (s3_size(store, name, &bytes, e) < 0)
			return -1;
		return offset <= bytes ? 0
				       : err_set(e, ERR_CORRUPT, "object %s ends at %llu", name,
						 (unsigned long long)bytes);
	}
	if (offset > INT64_MAX - n)
		return err_set(e, ERR_CORRUPT, "no object has a byte %llu", (unsigned long long)offset);
	result = get_range(s, key, offset, p, n, &a, &failed);
	/* Fewer bytes than asked for may be all there are: what range was answered tells. */
	if (a.status / 100 == 2 && (result == 0 || *a.content_range))
		if (check_range(&a, name, offset, n, &failed) < 0)
			result = -1;
	object_s3_answer_release(&a);
	if (result < 0 && e)
		*e = failed;
	return result;
}

/* HEAD is answered with a number only; a GET is told what is wrong. */
static int ask_why(struct object_s3 *s, const char *key, struct err *e)
{
	struct object_s3_answer a;
	char byte;
	int result;

	err_clear(e);
	result = get_range(s, key, 0, &byte, 1, &a, e);
	object_s3_answer_release(&a);
	if (result == 0 || e->code == ERR_CORRUPT) /* or it has no first byte */
		err_set(e, ERR_UNAVAILABLE, "object %s was there just now, and was not before", key);
	return -1;
}

int object_s3_head(struct object_s3 *s, const char *key, uint64_t *bytes, struct err *e)
{
	struct object_s3_call call = {.method = "HEAD", .key = key, .repeatable = true};
	struct err failed = ERR_INIT;
	struct object_s3_answer a;
	int result = object_s3_do(s, &call, &a, &failed);

	if (result == 0 && a.content_length < 0)
		result = err_set(&failed, ERR_IO, "HEAD %s: the store gave no length", key);
	if (result == 0)
		*bytes = (uint64_t)a.content_length;
	else if (a.status == 400 || a.status == 401 || a.status == 403)
		ask_why(s, key, &failed);
	object_s3_answer_release(&a);
	if (result < 0 && e)
		*e = failed;
	return result;
}

static int s3_size(struct object_store *store, const char *name, uint64_t *bytes, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct err failed = ERR_INIT;
	char key[S3_KEY_MAX + 1];

	if (object_s3_key(s, name, key, e) < 0)
		return -1;
	if (object_s3_head(s, key, bytes, &failed) == 0)
		return 0;
	if (failed.code == ERR_NOT_FOUND) /* the same answer comes when there is no such bucket */
		ask_why(s, key, &failed);
	if (e)
		*e = failed;
	return -1;
}

static int s3_remove(struct object_store *store, const char *name, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct object_s3_call call = {.method = "DELETE", .repeatable = true};
	struct err failed = ERR_INIT;
	struct object_s3_answer a;
	char key[S3_KEY_MAX + 1];
	int result;

	if (object_s3_key(s, name, key, e) < 0)
		return -1;
	call.key = key;
	result = object_s3_do(s, &call, &a, &failed);
	object_s3_answer_release(&a);
	if (result == 0 || failed.code == ERR_NOT_FOUND)
		return 0;
	if (e)
		*e = failed;
	return -1;
}

/* ---- what is known without asking ---- */

static void s3_state(struct object_store *store, struct object_store_state *state)
{
	struct object_s3 *s = object_s3_of(store);

	pthread_mutex_lock(&s->lock);
	state->looks_first = s->conditional == S3_CONDITIONAL_OFF;
	state->clock_ahead_ms = s->clock_ahead_ms;
	pthread_mutex_unlock(&s->lock);
}

const struct object_driver object_s3_driver = {
	.scheme = "s3",
	.put = object_s3_put,
	.get = s3_get,
	.size = s3_size,
	.remove = s3_remove,
	.list = object_s3_list,
	.prepare = object_s3_prepare,
	.state = s3_state,
	.free = object_s3_free,
};
