/* SPDX-License-Identifier: Apache-2.0 */
/* Listing: objects page by page, and uploads that never ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"
#include "libsh/store/object_s3.h"
#include "libsh/store/object_xml.h"

enum { TOKEN_BYTES = 4096, PAGES_MAX = 1 << 20, UPLOAD_PAGES_MAX = 100 };

struct page {
	struct object_s3 *s;
	int (*each)(void *ctx, const struct object_info *o);
	void *ctx;
	/* the object or upload whose elements are coming */
	char key[S3_KEY_MAX * 3 + 1], upload_id[TOKEN_BYTES];
	uint64_t bytes;
	int64_t time_ms;
	bool have_bytes, truncated;
	char next[TOKEN_BYTES], next_upload[TOKEN_BYTES];
	int64_t older_than_ms; /* uploads */
	struct err *e;
};

static int copy_text(char *out, size_t out_bytes, const char *text, struct err *e)
{
	size_t n = strlen(text);

	if (n >= out_bytes)
		return err_set(e, ERR_CORRUPT, "a text of %zu bytes in a listing", n);
	memcpy(out, text, n + 1);
	return 0;
}

/* What of the key is below our prefix; NULL when it is not a name of ours. */
static const char *own_name(struct page *p)
{
	size_t n = strlen(p->s->prefix);

	if (strncmp(p->key, p->s->prefix, n) != 0 || object_name_check(p->key + n, NULL) < 0)
		return NULL;
	return p->key + n;
}

/* Services differ in what they escape. A key that cannot be decoded, or holds a NUL, is not ours and becomes
 * no name. */
static int decode_key(struct page *p, const char *text)
{
	struct buf key = BUF_INIT(sizeof(p->key) - 1);
	bool good = text_url_decode(&key, text, strlen(text), true) == 0 && key.len &&
		    !memchr(key.data, 0, key.len);

	snprintf(p->key, sizeof(p->key), "%s", good ? key.data : "");
	buf_release(&key);
	return 0;
}

static int object_end(struct page *p)
{
	const char *name = own_name(p);
	struct object_info info = {name, p->bytes, p->time_ms};
	bool whole = p->have_bytes;

	p->have_bytes = false;
	if (!name)
		return 0;
	if (!whole)
		return err_set(p->e, ERR_CORRUPT, "the listing has no size of %s", name);
	return p->each(p->ctx, &info);
}

static int object_element(void *ctx, const char *path, const char *text)
{
	struct page *p = ctx;
	const char *name = strchr(path, '/');

	if (strncmp(path, "ListBucketResult", 16) != 0 || !name)
		return 0;
	name++;
	if (!strcmp(name, "Contents/Key"))
		return decode_key(p, text);
	if (!strcmp(name, "Contents/Size")) {
		char *end;

		p->bytes = strtoull(text, &end, 10);
		p->have_bytes = *text >= '0' && *text <= '9' && !*end;
	} else if (!strcmp(name, "Contents/LastModified")) {
		p->time_ms = 0;
		clock_parse_rfc3339(text, &p->time_ms, NULL);
	} else if (!strcmp(name, "Contents")) {
		return object_end(p);
	} else if (!strcmp(name, "IsTruncated")) {
		p->truncated = !strcmp(text, "true");
	} else if (!strcmp(name, "NextContinuationToken")) {
		return copy_text(p->next, sizeof(p->next), text, p->e);
	}
	return 0;
}

static int get_page(struct object_s3 *s, struct object_s3_call *call, object_xml_element *element, void *ctx,
	struct err *e)
{
	struct object_s3_answer a;
	int result;

	call->method = "GET";
	call->repeatable = true;
	result = object_s3_do(s, call, &a, e);
	if (result == 0)
		result = object_xml_parse(a.body.data ? a.body.data : "", a.body.len, element, ctx, e);
	object_s3_answer_release(&a);
	return result;
}

int object_s3_list(struct object_store *store, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct page *p = mem_zalloc(sizeof(*p));
	char *full = mem_printf("%s%s", s->prefix, prefix), *token = NULL;
	int result = 0;

	p->s = s;
	p->each = each;
	p->ctx = ctx;
	p->e = e;
	for (int pages = 0; result == 0; pages++) {
		/* Escaped, since a key of somebody else may hold what XML cannot. */
		struct object_s3_call call = {
			.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", full}},
			.query_count = 3};

		if (token)
			call.query[call.query_count++] = (struct sigv4_pair){"continuation-token", token};
		p->truncated = false;
		p->next[0] = '\0';
		result = get_page(s, &call, object_element, p, e);
		if (result || !p->truncated)
			break;
		if (!p->next[0] || pages == PAGES_MAX || (token && !strcmp(token, p->next)))
			result = err_set(e, ERR_CORRUPT, "the listing of %s does not end", s->bucket);
		mem_free(token);
		token = mem_strdup(p->next);
	}
	mem_free(token);
	mem_free(full);
	mem_free(p);
	return result;
}

/* ---- uploads ---- */

static int upload_end(struct page *p)
{
	/* Somebody else's, or of another process that is at it. */
	if (!own_name(p) || !p->upload_id[0] || !p->time_ms || p->time_ms >= p->older_than_ms)
		return 0;
	return object_s3_abort_upload(p->s, p->key, p->upload_id, p->e);
}

static int upload_element(void *ctx, const char *path, const char *text)
{
	struct page *p = ctx;
	const char *name = strchr(path, '/');

	if (strncmp(path, "ListMultipartUploadsResult", 26) != 0 || !name)
		return 0;
	name++;
	if (!strcmp(name, "Upload/Key"))
		return copy_text(p->key, sizeof(p->key), text, p->e);
	if (!strcmp(name, "Upload/UploadId"))
		return copy_text(p->upload_id, sizeof(p->upload_id), text, p->e);
	if (!strcmp(name, "Upload/Initiated")) {
		p->time_ms = 0;
		clock_parse_rfc3339(text, &p->time_ms, NULL);
	} else if (!strcmp(name, "Upload")) {
		return upload_end(p);
	} else if (!strcmp(name, "IsTruncated")) {
		p->truncated = !strcmp(text, "true");
	} else if (!strcmp(name, "NextKeyMarker")) {
		return copy_text(p->next, sizeof(p->next), text, p->e);
	} else if (!strcmp(name, "NextUploadIdMarker")) {
		return copy_text(p->next_upload, sizeof(p->next_upload), text, p->e);
	}
	return 0;
}

int object_s3_remove_uploads(struct object_s3 *s, int64_t older_than_ms, struct err *e)
{
	struct page *p = mem_zalloc(sizeof(*p));
	char *key = mem_strdup(""), *upload = mem_strdup("");
	int result = 0;

	p->s = s;
	p->older_than_ms = older_than_ms;
	p->e = e;
	for (int pages = 0; result == 0 && pages < UPLOAD_PAGES_MAX; pages++) {
		struct object_s3_call call = {
			.query = {{"uploads", ""}, {"prefix", s->prefix}}, .query_count = 2};

		if (*key) {
			call.query[call.query_count++] = (struct sigv4_pair){"key-marker", key};
			call.query[call.query_count++] = (struct sigv4_pair){"upload-id-marker", upload};
		}
		p->truncated = false;
		p->next[0] = p->next_upload[0] = '\0';
		result = get_page(s, &call, upload_element, p, e);
		if (result || !p->truncated || !p->next[0])
			break;
		mem_free(key);
		mem_free(upload);
		key = mem_strdup(p->next);
		upload = mem_strdup(p->next_upload);
	}
	mem_free(key);
	mem_free(upload);
	mem_free(p);
	return result;
}
