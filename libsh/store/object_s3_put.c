/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing objects to S3, in one request; above s3.multipart_bytes object_s3_upload.c does it.
 *
 * A name is written once. Where the service enforces "If-None-Match: *" it does so; where it does not we look
 * first, which is enough, since names are random and given once by the metadata. Services differ, and a
 * versioned bucket may take the condition and not enforce it, so a probe decides: one name is written twice.
 */
#include <stdio.h>
#include "libsh/base/crash.h"
#include "libsh/base/uuid.h"
#include "libsh/store/object_s3.h"

enum { LEFTOVER_AGE_MS = 24 * 3600 * 1000 };

static int put_small(struct object_s3 *s, const char *key, int fd, const void *body, uint64_t bytes,
	bool conditional, struct err *e)
{
	struct object_s3_call call = {
		.method = "PUT", .key = key, .has_body = true, .body = body, .fd = fd, .body_bytes = bytes};
	struct object_s3_answer a;
	int result;

	object_s3_call_encryption(s, &call);
	if (conditional)
		object_s3_call_header(&call, "if-none-match", "*");
	result = object_s3_do(s, &call, &a, e);
	object_s3_answer_release(&a);
	return result;
}

static int remove_key(struct object_s3 *s, const char *key)
{
	struct object_s3_call call = {.method = "DELETE", .key = key, .repeatable = true};
	struct object_s3_answer a;
	int result = object_s3_do(s, &call, &a, NULL);

	object_s3_answer_release(&a);
	return result;
}

/* ---- the probe ---- */

/* Only a service that says that it does not know such conditions, or takes the second write, is without
 * them. */
static int probe(struct object_s3 *s, enum object_s3_conditional *found, struct err *e)
{
	struct uuid id = uuid_random();
	char text[UUID_TEXT_BYTES], key[S3_KEY_MAX + 1];
	struct err failed = ERR_INIT;
	int result = 0;

	snprintf(key, sizeof(key), "%s.probe/%s", s->prefix, uuid_format(&id, text));
	*found = S3_CONDITIONAL_OFF;
	if (put_small(s, key, -1, "probe", 5, true, &failed) == 0 &&
		put_small(s, key, -1, "probe", 5, true, &failed) < 0) {
		if (failed.code == ERR_EXISTS)
			*found = S3_CONDITIONAL_ON;
		else
			result = -1;
	} else if (failed.code != ERR_NONE && failed.code != ERR_NOT_BUILT) {
		result = -1;
	}
	crash_point("s3.probed");
	if (failed.code == ERR_NONE || failed.code == ERR_EXISTS || failed.code == ERR_OUTCOME_UNKNOWN)
		remove_key(s, key);
	if (result < 0 && e)
		*e = failed;
	return result;
}

/* Under `probing`: unless somebody else tried while we waited, and then his failure is ours. */
static int probe_unless_tried(
	struct object_s3 *s, uint64_t probes_seen, enum object_s3_conditional *mode, struct err *e)
{
	int result = 0;

	pthread_mutex_lock(&s->lock);
	*mode = s->conditional;
	pthread_mutex_unlock(&s->lock);
	if (*mode != S3_CONDITIONAL_UNKNOWN)
		return 0;
	if (s->probes == probes_seen) {
		err_clear(&s->probe_error);
		result = probe(s, mode, &s->probe_error);
	}
	pthread_mutex_lock(&s->lock);
	if (s->probes == probes_seen)
		s->probes++;
	if (s->probe_error.code == ERR_NONE)
		s->conditional = *mode;
	else
		result = -1;
	pthread_mutex_unlock(&s->lock);
	if (result < 0 && e)
		*e = s->probe_error;
	return result;
}

static int conditional(struct object_s3 *s, enum object_s3_conditional *mode, struct err *e)
{
	uint64_t probes;
	int result;

	pthread_mutex_lock(&s->lock);
	*mode = s->conditional;
	probes = s->probes;
	pthread_mutex_unlock(&s->lock);
	if (*mode != S3_CONDITIONAL_UNKNOWN)
		return 0;
	pthread_mutex_lock(&s->probing); /* others wait for the answer rather than probe as well */
	result = probe_unless_tried(s, probes, mode, e);
	pthread_mutex_unlock(&s->probing);
	return result;
}

int object_s3_prepare(struct object_store *store, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	enum object_s3_conditional mode;

	if (conditional(s, &mode, e) < 0)
		return -1;
	return object_s3_remove_uploads(s, object_s3_now_ms(s) - LEFTOVER_AGE_MS, e);
}

/* ---- putting ---- */

int object_s3_put(struct object_store *store, const char *name, int fd, uint64_t bytes, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	bool parts = bytes > s->multipart_bytes;
	struct err looked = ERR_INIT;
	enum object_s3_conditional mode;
	char key[S3_KEY_MAX + 1];
	uint64_t there;

	if (object_s3_key(s, name, key, e) < 0 || conditional(s, &mode, e) < 0)
		return -1;
	if (mode != S3_CONDITIONAL_ON || parts) {
		if (object_s3_head(s, key, &there, &looked) == 0)
			return err_set(e, ERR_EXISTS, "object %s exists", name);
		if (looked.code != ERR_NOT_FOUND) {
			if (e)
				*e = looked;
			return -1;
		}
	}
	if (parts)
		return object_s3_upload(s, key, fd, bytes, mode == S3_CONDITIONAL_ON, e);
	return put_small(s, key, fd, bytes ? NULL : "", bytes, mode == S3_CONDITIONAL_ON, e);
}
