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
	bool have_bytes, truncated, whole; /* whole: the element that holds all has ended */
	char next[TOKEN_BYTES], next_upload[TOKEN_BYTES];
	const char *folder; /* uploads: where, below our prefix */
	int64_t older_than_ms;
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
static int decode_key(char *out, size_t out_bytes, const char *text)
{
	struct buf key = BUF_INIT(out_bytes - 1);
	bool good = text_url_decode(&key, text, strlen(text), true) == 0 && key.len &&
		    !memchr(key.data, 0, key.len);

	snprintf(out, out_bytes, "%s", good ? key.data : "");
	buf_release(&key);
	return 0;
}

/* What one element did not say is not taken from the one before. */
static void item_begin(struct page *p)
{
	p->key[0] = p->upload_id[0] = '\0';
	p->have_bytes = false;
	p->time_ms = 0;
}

static int object_end(struct page *p)
{
	const char *name = own_name(p);
	struct object_info info = {name, p->bytes, p->time_ms};
	int result = 0;

	if (name && !p->have_bytes)
		result = err_set(p->e, ERR_CORRUPT, "the listing has no size of %s", name);
	else if (name && p->time_ms <= 0) /* to guess would make it old enough to be removed */
		result = err_set(p->e, ERR_CORRUPT, "the listing does not say when %s was written", name);
	else if (name)
		result = p->each(p->ctx, &info);
	item_begin(p);
	return result;
}

static int object_element(void *ctx, const char *path, const char *text)
{
	struct page *p = ctx;
	const char *name = strchr(path, '/');

	if (!strcmp(path, "ListBucketResult"))
		p->whole = true;
	if (strncmp(path, "ListBucketResult/", 17) != 0)
		return 0;
	name++;
	if (!strcmp(name, "Contents/Key"))
		return decode_key(p->key, sizeof(p->key), text);
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

static int get_page(struct page *p, struct object_s3_call *call, object_xml_element *element, struct err *e)
{
	struct object_s3_answer a;
	int result;

	call->method = "GET";
	call->repeatable = true;
	p->truncated = p->whole = false;
	p->next[0] = p->next_upload[0] = '\0';
	item_begin(p);
	result = object_s3_do(p->s, call, &a, e);
	if (result == 0)
		result = object_xml_parse(a.body.data ? a.body.data : "", a.body.len, element, p, e);
	if (result == 0 && !p->whole) /* a page of a proxy is no empty listing */
		result = err_set(e, ERR_CORRUPT, "the store sent no listing of %s, but something else", p->s->bucket);
	object_s3_answer_release(&a);
	return result;
}

int object_s3_list(struct object_store *store, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct page *p = mem_zalloc(sizeof(*p));
	char *full = mem_printf("%s%s", s->prefix, prefix), *token = NULL, *milestone = NULL;
	int result = 0;

	p->s = s;
	p->each = each;
	p->ctx = ctx;
	p->e = e;
	for (unsigned pages = 1; result == 0; pages++) {
		/* Escaped, since a key of somebody else may hold what XML cannot. */
		struct object_s3_call call = {
			.query = {{"list-type", "2"}, {"encoding-type", "url"}, {"prefix", full}},
			.query_count = 3};

		if (token)
			call.query[call.query_count++] = (struct sigv4_pair){"continuation-token", token};
		result = get_page(p, &call, object_element, e);
		if (result || !p->truncated)
			break;
		if (!p->next[0] || pages == PAGES_MAX || (milestone && !strcmp(milestone, p->next)))
			result = err_set(e, ERR_CORRUPT, "the listing of %s does not end", s->bucket);
		mem_free(token);
		token = mem_strdup(p->next);
		if (!(pages & (pages - 1))) { /* a power of two: a circle of any length comes by such a place again */
			mem_free(milestone);
			milestone = mem_strdup(token);
		}
	}
	mem_free(milestone);
	mem_free(token);
	mem_free(full);
	mem_free(p);
	return result;
}

/* ---- uploads ---- */

static int upload_end(struct page *p)
{
	int result = 0;

	/* Not somebody else's, nor of another process that is at it. */
	if (own_name(p) && !strncmp(own_name(p), p->folder, strlen(p->folder)) && p->upload_id[0] && p->time_ms > 0 && p->time_ms < p->older_than_ms)
		result = object_s3_abort_upload(p->s, p->key, p->upload_id, p->e);
	item_begin(p);
	return result;
}

static int upload_element(void *ctx, const char *path, const char *text)
{
	struct page *p = ctx;
	const char *name = strchr(path, '/');

	if (!strcmp(path, "ListMultipartUploadsResult"))
		p->whole = true;
	if (strncmp(path, "ListMultipartUploadsResult/", 27) != 0)
		return 0;
	name++;
	if (!strcmp(name, "Upload/Key"))
		return decode_key(p->key, sizeof(p->key), text);
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
		return decode_key(p->next, sizeof(p->next), text);
	} else if (!strcmp(name, "NextUploadIdMarker")) {
		return copy_text(p->next_upload, sizeof(p->next_upload), text, p->e);
	}
	return 0;
}

static int remove_uploads_in(
	struct object_s3 *s, const char *folder, int64_t older_than_ms, struct err *e)
{
	struct page *p = mem_zalloc(sizeof(*p));
	char *full = mem_printf("%s%s", s->prefix, folder), *key = mem_strdup(""), *upload = mem_strdup("");
	int result = 0;

	p->s = s;
	p->folder = folder;
	p->older_than_ms = older_than_ms;
	p->e = e;
	for (int pages = 0; result == 0 && pages < UPLOAD_PAGES_MAX; pages++) {
		struct object_s3_call call = {
			.query = {{"uploads", ""}, {"encoding-type", "url"}, {"prefix", full}},
			.query_count = 3};

		if (*key) {
			call.query[call.query_count++] = (struct sigv4_pair){"key-marker", key};
			call.query[call.query_count++] = (struct sigv4_pair){"upload-id-marker", upload};
		}
		result = get_page(p, &call, upload_element, e);
		if (result || !p->truncated || !p->next[0])
			break;
		mem_free(key);
		mem_free(upload);
		key = mem_strdup(p->next);
		upload = mem_strdup(p->next_upload);
	}
	mem_free(full);
	mem_free(key);
	mem_free(upload);
	mem_free(p);
	return result;
}

int object_s3_remove_uploads(struct object_s3 *s, int64_t older_than_ms, struct err *e)
{
	static const char *const folders[] = {"segments/", "meta/"};

	for (size_t i = 0; i < array_count(folders); i++)
		if (remove_uploads_in(s, folders[i], older_than_ms, e) < 0)
			return -1;
	return 0;
}
