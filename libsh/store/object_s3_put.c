/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing objects to S3: in one request, or in parts above s3.multipart_bytes. A part is read from the file
 * as it is sent, so memory does not depend on the object's size.
 *
 * A name is written once. Where the service enforces "If-None-Match: *" it does so; where it does not we look
 * first, which is enough, since names are random and given once by the metadata. Services differ, and a
 * versioned bucket may take the condition and not enforce it, so a probe decides: one name is written twice.
 */
#include <stdio.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "libsh/store/object_s3.h"
#include "libsh/store/object_xml.h"

enum {
	LEFTOVER_AGE_MS = 24 * 3600 * 1000,
	COMPLETE_MAX_BYTES = 4 << 20,
	UPLOAD_ID_BYTES = 1024,
	PART_NUMBER_BYTES = 12
};

static void call_header(struct object_s3_call *call, const char *name, const char *value)
{
	call->headers[call->header_count++] = (struct sigv4_pair){name, value};
}

static void call_query(struct object_s3_call *call, const char *name, const char *value)
{
	call->query[call->query_count++] = (struct sigv4_pair){name, value};
}

static void add_encryption(const struct object_s3 *s, struct object_s3_call *call)
{
	if (!*s->sse)
		return;
	call_header(call, "x-amz-server-side-encryption", s->sse);
	if (*s->sse_kms_key)
		call_header(call, "x-amz-server-side-encryption-aws-kms-key-id", s->sse_kms_key);
}

static int put_small(struct object_s3 *s, const char *key, int fd, const void *body, uint64_t bytes,
	bool conditional, struct err *e)
{
	struct object_s3_call call = {
		.method = "PUT", .key = key, .has_body = true, .body = body, .fd = fd, .body_bytes = bytes};
	struct object_s3_answer a;
	int result;

	add_encryption(s, &call);
	if (conditional)
		call_header(&call, "if-none-match", "*");
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

static int probe(struct object_s3 *s, enum object_s3_conditional *found, struct err *e)
{
	struct uuid id = uuid_random();
	char text[UUID_TEXT_BYTES], key[S3_KEY_MAX + 1];
	struct err failed = ERR_INIT;
	int result = -1;

	snprintf(key, sizeof(key), "%s.probe/%s", s->prefix, uuid_format(&id, text));
	if (put_small(s, key, -1, "probe", 5, true, &failed) < 0) {
		if (failed.code == ERR_NOT_BUILT || failed.code == ERR_IO) {
			*found = S3_CONDITIONAL_OFF; /* it does not know such conditions; if more is wrong, a
							put will say so */
			return 0;
		}
		goto out;
	}
	if (put_small(s, key, -1, "probe", 5, true, &failed) == 0) {
		*found = S3_CONDITIONAL_OFF;
		result = 0;
	} else if (failed.code == ERR_EXISTS) {
		*found = S3_CONDITIONAL_ON;
		result = 0;
	}
	remove_key(s, key);
out:
	if (result < 0 && e)
		*e = failed;
	return result;
}

static int conditional(struct object_s3 *s, enum object_s3_conditional *mode, struct err *e)
{
	int result = 0;

	pthread_mutex_lock(&s->lock);
	*mode = s->conditional;
	pthread_mutex_unlock(&s->lock);
	if (*mode != S3_CONDITIONAL_UNKNOWN)
		return 0;
	pthread_mutex_lock(&s->probing); /* others wait for the answer rather than probe as well */
	pthread_mutex_lock(&s->lock);
	*mode = s->conditional;
	pthread_mutex_unlock(&s->lock);
	if (*mode == S3_CONDITIONAL_UNKNOWN)
		result = probe(s, mode, e);
	pthread_mutex_lock(&s->lock);
	if (result == 0)
		s->conditional = *mode;
	pthread_mutex_unlock(&s->lock);
	pthread_mutex_unlock(&s->probing);
	return result;
}

int object_s3_prepare(struct object_store *store, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	enum object_s3_conditional mode;

	if (conditional(s, &mode, e) < 0)
		return -1;
	return object_s3_remove_uploads(s, clock_real_ms() - LEFTOVER_AGE_MS, e);
}

/* ---- in parts ---- */

struct upload {
	struct object_s3 *s;
	const char *key;
	int fd;
	uint64_t bytes, part_bytes;
	char id[UPLOAD_ID_BYTES];
	struct buf parts; /* the XML that completes it */
	bool conditional, maybe_complete;
};

static int upload_begin(struct upload *u, struct err *e)
{
	struct object_s3_call call = {.method = "POST", .key = u->key, .has_body = true, .repeatable = true};
	struct object_s3_answer a;
	int result;

	call_query(&call, "uploads", "");
	add_encryption(u->s, &call);
	result = object_s3_do(u->s, &call, &a, e);
	if (result == 0)
		result = object_xml_find(a.body.data, a.body.len, "InitiateMultipartUploadResult/UploadId",
			u->id, sizeof(u->id), e);
	object_s3_answer_release(&a);
	return result;
}

static int upload_part(struct upload *u, unsigned number, uint64_t offset, uint64_t bytes, struct err *e)
{
	struct object_s3_call call = {.method = "PUT",
		.key = u->key,
		.has_body = true,
		.fd = u->fd,
		.fd_offset = offset,
		.body_bytes = bytes,
		.repeatable = true};
	char text[PART_NUMBER_BYTES];
	struct object_s3_answer a;
	int result;

	snprintf(text, sizeof(text), "%u", number);
	call_query(&call, "partNumber", text);
	call_query(&call, "uploadId", u->id);
	result = object_s3_do(u->s, &call, &a, e);
	if (result == 0 && !*a.etag)
		result = err_set(e, ERR_IO, "PUT %s: the store gave no ETag to part %u", u->key, number);
	if (result == 0) {
		buf_addf(&u->parts, "<Part><PartNumber>%u</PartNumber><ETag>", number);
		object_xml_escape(&u->parts, a.etag);
		buf_adds(&u->parts, "</ETag></Part>");
	}
	object_s3_answer_release(&a);
	return result;
}

static int root_name(void *ctx, const char *path, const char *text)
{
	struct object_s3_answer *a = ctx;

	if (!strcmp(path, "Error/Code"))
		snprintf(a->code, sizeof(a->code), "%s", text);
	if (!strcmp(path, "Error/Message"))
		snprintf(a->message, sizeof(a->message), "%s", text);
	if (!strncmp(path, "CompleteMultipartUploadResult", 29))
		a->etag[0] = '+';
	return 0;
}

static int upload_complete_once(struct upload *u, struct err *e)
{
	struct object_s3_call call = {.method = "POST",
		.key = u->key,
		.has_body = true,
		.body = u->parts.data,
		.body_bytes = u->parts.len};
	struct object_s3_answer a;
	int result;

	call_query(&call, "uploadId", u->id);
	if (u->conditional)
		call_header(&call, "if-none-match", "*");
	result = object_s3_do(u->s, &call, &a, e);
	if (result == 0) {
		/* The status is sent before the work is done; what came of it is in the body. */
		a.code[0] = a.etag[0] = '\0';
		if (object_xml_parse(a.body.data, a.body.len, root_name, &a, e) < 0 || a.code[0] ||
			!a.etag[0])
			result = err_set(e, ERR_OUTCOME_UNKNOWN, "completing %s: %s%s%s", u->key,
				a.code[0] ? a.code : "no result came", a.message[0] ? ": " : "", a.message);
	}
	object_s3_answer_release(&a);
	return result;
}

static int upload_complete(struct upload *u, struct err *e)
{
	struct err failed = ERR_INIT;
	int result;

	buf_adds(&u->parts, "</CompleteMultipartUpload>");
	if (u->parts.overflow)
		return err_set(e, ERR_TOO_LARGE, "%s has too many parts", u->key);
	result = upload_complete_once(u, &failed);
	if (result < 0 && failed.code == ERR_NOT_BUILT && u->conditional) {
		u->conditional = false; /* some know the condition for a plain PUT only */
		err_clear(&failed);
		result = upload_complete_once(u, &failed);
	}
	if (result == 0)
		return 0;
	/* An upload that is gone was completed, perhaps by an attempt of ours whose answer was lost. */
	u->maybe_complete = failed.code == ERR_OUTCOME_UNKNOWN || failed.code == ERR_NOT_FOUND;
	return err_set(e, u->maybe_complete ? ERR_OUTCOME_UNKNOWN : failed.code, "%s", failed.text);
}

int object_s3_abort_upload(struct object_s3 *s, const char *key, const char *upload_id, struct err *e)
{
	struct object_s3_call call = {.method = "DELETE", .key = key, .repeatable = true};
	struct object_s3_answer a;
	struct err failed = ERR_INIT;
	int result;

	call_query(&call, "uploadId", upload_id);
	result = object_s3_do(s, &call, &a, &failed);
	object_s3_answer_release(&a);
	if (result == 0 || failed.code == ERR_NOT_FOUND)
		return 0;
	if (e)
		*e = failed;
	return -1;
}

static int put_parts(
	struct object_s3 *s, const char *key, int fd, uint64_t bytes, bool condition, struct err *e)
{
	struct upload u = {.s = s,
		.key = key,
		.fd = fd,
		.bytes = bytes,
		.conditional = condition,
		.parts = BUF_INIT(COMPLETE_MAX_BYTES)};
	unsigned number = 0;
	int result;

	u.part_bytes = S3_PART_BYTES < s->multipart_bytes ? S3_PART_BYTES : s->multipart_bytes;
	while (u.part_bytes * S3_PARTS_MAX < bytes)
		u.part_bytes *= 2;
	if (upload_begin(&u, e) < 0)
		return -1;
	buf_adds(&u.parts, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	result = 0;
	for (uint64_t at = 0; at < bytes && result == 0; at += u.part_bytes)
		result = upload_part(
			&u, ++number, at, bytes - at < u.part_bytes ? bytes - at : u.part_bytes, e);
	if (result == 0)
		result = upload_complete(&u, e);
	/* When it may be complete, or just becoming it, it is left alone: the next start but one removes it
	 * if it is not. */
	if (result < 0 && !u.maybe_complete)
		object_s3_abort_upload(s, key, u.id, NULL);
	buf_release(&u.parts);
	return result;
}

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
		return put_parts(s, key, fd, bytes, mode == S3_CONDITIONAL_ON, e);
	return put_small(s, key, fd, bytes ? NULL : "", bytes, mode == S3_CONDITIONAL_ON, e);
}
