/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object in parts: begun, its parts sent, and put together by a last request. Up to PARTS_AT_ONCE parts go
 * side by side, for one connection rarely fills the way to a service; each is read from the file as it is
 * sent, so memory depends neither on the object's size nor on the part's.
 *
 * Every step but the last can be done again. So can the last, in a way: an upload that is not there any more
 * was put together by an attempt of ours whose answer was lost, or given up by somebody, and the caller reads
 * back which it is.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "libsh/base/crash.h"
#include "libsh/base/mem.h"
#include "libsh/store/object_s3.h"
#include "libsh/store/object_xml.h"

enum {
	PART_BYTES = 8 << 20,
	PARTS_MAX = 10000, /* of S3 */
	PARTS_AT_ONCE = 4,
	COMPLETE_MAX_BYTES = 4 << 20,
	UPLOAD_ID_BYTES = 1024,
	PART_NUMBER_BYTES = 12,
};

struct upload {
	struct object_s3 *s;
	const char *key;
	int fd;
	uint64_t bytes, part_bytes;
	unsigned part_count;
	char id[UPLOAD_ID_BYTES];
	bool conditional, maybe_complete;
	char (*etags)[S3_ETAG_BYTES];
	pthread_mutex_t lock; /* for what follows */
	unsigned next_part;
	struct err error; /* of the first part that failed */
};

static int upload_begin(struct upload *u, struct err *e)
{
	struct object_s3_call call = {.method = "POST", .key = u->key, .has_body = true, .repeatable = true};
	struct object_s3_answer a;
	int result;

	object_s3_call_query(&call, "uploads", "");
	object_s3_call_encryption(u->s, &call);
	result = object_s3_do(u->s, &call, &a, e);
	if (result == 0)
		result = object_xml_find(a.body.data ? a.body.data : "", a.body.len,
			"InitiateMultipartUploadResult/UploadId", u->id, sizeof(u->id), e);
	object_s3_answer_release(&a);
	return result;
}

/* ---- the parts ---- */

static int upload_part(struct upload *u, unsigned part, struct err *e)
{
	uint64_t offset = part * u->part_bytes, left = u->bytes - offset;
	struct object_s3_call call = {.method = "PUT",
		.key = u->key,
		.has_body = true,
		.fd = u->fd,
		.fd_offset = offset,
		.body_bytes = left < u->part_bytes ? left : u->part_bytes,
		.repeatable = true};
	char number[PART_NUMBER_BYTES];
	struct object_s3_answer a;
	int result;

	snprintf(number, sizeof(number), "%u", part + 1);
	object_s3_call_query(&call, "partNumber", number);
	object_s3_call_query(&call, "uploadId", u->id);
	result = object_s3_do(u->s, &call, &a, e);
	if (result == 0 && !*a.etag)
		result = err_set(e, ERR_IO, "PUT %s: the store gave no ETag to part %s", u->key, number);
	if (result == 0)
		memcpy(u->etags[part], a.etag, sizeof(a.etag));
	object_s3_answer_release(&a);
	return result;
}

/* Part after part, until there are none left or one fails. */
static void *send_parts(void *ctx)
{
	struct upload *u = ctx;
	struct err failed = ERR_INIT;

	pthread_mutex_lock(&u->lock);
	while (u->error.code == ERR_NONE && u->next_part < u->part_count) {
		unsigned part = u->next_part++;
		int result;

		pthread_mutex_unlock(&u->lock);
		result = upload_part(u, part, &failed);
		crash_point("s3.part-put");
		pthread_mutex_lock(&u->lock);
		if (result < 0 && u->error.code == ERR_NONE)
			u->error = failed;
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* This thread and some more; if there cannot be more, it does it alone. Signals are not theirs to take. */
static int upload_parts(struct upload *u, struct err *e)
{
	pthread_t threads[PARTS_AT_ONCE - 1];
	unsigned count = 0;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (count < array_count(threads) && count + 1 < u->part_count &&
		!pthread_create(&threads[count], NULL, send_parts, u))
		count++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	send_parts(u);
	while (count)
		pthread_join(threads[--count], NULL);
	if (u->error.code == ERR_NONE)
		return 0;
	if (e)
		*e = u->error;
	return -1;
}

/* ---- the end ---- */

static int complete_body(const struct upload *u, struct buf *body, struct err *e)
{
	buf_adds(body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
	for (unsigned i = 0; i < u->part_count; i++) {
		buf_addf(body, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
		object_xml_escape(body, u->etags[i]);
		buf_adds(body, "</ETag></Part>");
	}
	if (buf_adds(body, "</CompleteMultipartUpload>") < 0 || body->overflow)
		return err_set(e, ERR_TOO_LARGE, "%s has too many parts", u->key);
	return 0;
}

static int see_result(void *ctx, const char *path, const char *text)
{
	(void)text;
	if (!strcmp(path, "CompleteMultipartUploadResult"))
		*(bool *)ctx = true;
	return 0;
}

static int complete_once(struct upload *u, const struct buf *body, struct err *e)
{
	struct object_s3_call call = {.method = "POST",
		.key = u->key,
		.has_body = true,
		.body = body->data,
		.body_bytes = body->len,
		.errors_late = true,
		.repeatable = true};
	struct object_s3_answer a;
	bool seen = false;
	int result;

	object_s3_call_query(&call, "uploadId", u->id);
	if (u->conditional)
		object_s3_call_header(&call, "if-none-match", "*");
	result = object_s3_do(u->s, &call, &a, e);
	if (result == 0) {
		object_xml_parse(a.body.data ? a.body.data : "", a.body.len, see_result, &seen, NULL);
		if (!seen)
			result = err_set(e, ERR_OUTCOME_UNKNOWN, "completing %s: no result came", u->key);
	} else if (e->code == ERR_NOT_FOUND ||
		   (e->code == ERR_UNAVAILABLE && (!a.status || a.status >= 500))) {
		e->code = ERR_OUTCOME_UNKNOWN; /* of one of the attempts at least */
	}
	object_s3_answer_release(&a);
	return result;
}

static int upload_complete(struct upload *u, struct err *e)
{
	struct buf body = BUF_INIT(COMPLETE_MAX_BYTES);
	struct err failed = ERR_INIT;
	int result = complete_body(u, &body, &failed);

	if (result == 0)
		result = complete_once(u, &body, &failed);
	if (result < 0 && failed.code == ERR_NOT_BUILT && u->conditional) {
		u->conditional = false; /* some know the condition for a plain PUT only */
		err_clear(&failed);
		result = complete_once(u, &body, &failed);
	}
	buf_release(&body);
	u->maybe_complete = result < 0 && failed.code == ERR_OUTCOME_UNKNOWN;
	if (result < 0 && e)
		*e = failed;
	return result;
}

int object_s3_abort_upload(struct object_s3 *s, const char *key, const char *upload_id, struct err *e)
{
	struct object_s3_call call = {.method = "DELETE", .key = key, .repeatable = true};
	struct object_s3_answer a;
	struct err failed = ERR_INIT;
	int result;

	object_s3_call_query(&call, "uploadId", upload_id);
	result = object_s3_do(s, &call, &a, &failed);
	object_s3_answer_release(&a);
	if (result == 0 || failed.code == ERR_NOT_FOUND)
		return 0;
	if (e)
		*e = failed;
	return -1;
}

int object_s3_upload(
	struct object_s3 *s, const char *key, int fd, uint64_t bytes, bool conditional, struct err *e)
{
	struct upload u = {.s = s,
		.key = key,
		.fd = fd,
		.bytes = bytes,
		.part_bytes = PART_BYTES < s->multipart_bytes ? PART_BYTES : s->multipart_bytes,
		.conditional = conditional,
		.lock = PTHREAD_MUTEX_INITIALIZER};
	int result;

	while (u.part_bytes * PARTS_MAX < bytes)
		u.part_bytes *= 2;
	u.part_count = (unsigned)((bytes + u.part_bytes - 1) / u.part_bytes);
	if (upload_begin(&u, e) < 0)
		return -1;
	crash_point("s3.upload-begun");
	u.etags = mem_zalloc(u.part_count * sizeof(*u.etags));
	result = upload_parts(&u, e);
	if (result == 0)
		result = upload_complete(&u, e);
	crash_point("s3.upload-complete");
	/* When it may be complete, or just becoming it, it is left alone: prepare() removes it later. */
	if (result < 0 && !u.maybe_complete)
		object_s3_abort_upload(s, key, u.id, NULL);
	mem_free(u.etags);
	return result;
}
