/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/object_s3_page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/store/object_xml.h"

enum { KEY_BYTES = 3 * 1024 + 1 };

struct parse {
	const char *root, *prefix;
	struct object_s3_page *page;
	/* the object or upload whose elements are coming */
	char key[KEY_BYTES], upload_id[OBJECT_S3_TOKEN_BYTES];
	uint64_t bytes;
	int64_t time_ms;
	bool have_bytes;
	bool whole; /* the element that holds all has ended */
	int (*object)(void *ctx, const struct object_info *o);
	int (*upload)(void *ctx, const struct object_s3_upload_info *u);
	void *ctx;
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

/* What of the key is below the prefix; NULL when it is not a name of ours. */
static const char *own_name(const struct parse *p)
{
	size_t n = strlen(p->prefix);

	if (strncmp(p->key, p->prefix, n) != 0 || object_name_check(p->key + n, NULL) < 0)
		return NULL;
	return p->key + n;
}

static void take_time(struct parse *p, const char *text)
{
	if (clock_parse_rfc3339(text, &p->time_ms, NULL) < 0)
		p->time_ms = 0;
}

static void take_size(struct parse *p, const char *text)
{
	char *end;

	p->bytes = strtoull(text, &end, 10);
	p->have_bytes = *text >= '0' && *text <= '9' && !*end && p->bytes <= INT64_MAX;
}

static int object_end(struct parse *p)
{
	const char *name = own_name(p);
	struct object_info info = {name, p->bytes, p->time_ms};

	if (!name)
		return 0;
	if (!p->have_bytes)
		return err_set(p->e, ERR_CORRUPT, "the listing has no size of %s", name);
	if (p->time_ms <= 0) /* to guess would make it old enough to be removed */
		return err_set(p->e, ERR_CORRUPT, "the listing does not say when %s was written", name);
	return p->object(p->ctx, &info);
}

static int upload_end(struct parse *p)
{
	struct object_s3_upload_info info = {own_name(p), p->upload_id, p->time_ms};

	return info.name && *info.id && info.begun_ms > 0 ? p->upload(p->ctx, &info) : 0;
}

/* What one element did not say is not taken from the one before. */
static int item_end(struct parse *p, int result)
{
	p->key[0] = p->upload_id[0] = '\0';
	p->have_bytes = false;
	p->time_ms = 0;
	return result;
}

static int object_element(struct parse *p, const char *name, const char *text)
{
	if (!strcmp(name, "Contents"))
		return item_end(p, object_end(p));
	if (!strcmp(name, "Contents/Key"))
		return decode_key(p->key, sizeof(p->key), text);
	if (!strcmp(name, "Contents/Size"))
		take_size(p, text);
	else if (!strcmp(name, "Contents/LastModified"))
		take_time(p, text);
	else if (!strcmp(name, "NextContinuationToken"))
		return copy_text(p->page->next, sizeof(p->page->next), text, p->e);
	return 0;
}

static int upload_element(struct parse *p, const char *name, const char *text)
{
	if (!strcmp(name, "Upload"))
		return item_end(p, upload_end(p));
	if (!strcmp(name, "Upload/Key"))
		return decode_key(p->key, sizeof(p->key), text);
	if (!strcmp(name, "Upload/UploadId"))
		return copy_text(p->upload_id, sizeof(p->upload_id), text, p->e);
	if (!strcmp(name, "NextKeyMarker"))
		return decode_key(p->page->next, sizeof(p->page->next), text);
	if (!strcmp(name, "NextUploadIdMarker"))
		return copy_text(p->page->next_upload, sizeof(p->page->next_upload), text, p->e);
	if (!strcmp(name, "Upload/Initiated"))
		take_time(p, text);
	return 0;
}

static int element(void *ctx, const char *path, const char *text)
{
	struct parse *p = ctx;
	size_t n = strlen(p->root);

	if (strncmp(path, p->root, n) != 0)
		return 0;
	if (!path[n])
		p->whole = true;
	if (path[n] != '/')
		return 0;
	if (!strcmp(path + n + 1, "IsTruncated"))
		p->page->truncated = !strcmp(text, "true");
	return p->object ? object_element(p, path + n + 1, text) : upload_element(p, path + n + 1, text);
}

static int parse_page(struct parse *p, const void *data, size_t n, struct err *e)
{
	int result;

	p->e = e;
	p->page->truncated = false;
	p->page->next[0] = p->page->next_upload[0] = '\0';
	item_end(p, 0);
	result = object_xml_parse(data, n, element, p, e);
	if (result == 0 && !p->whole) /* a page of a proxy is no empty listing */
		result = err_set(e, ERR_CORRUPT, "the store sent no %s, but something else", p->root);
	return result;
}

int object_s3_page_objects(const void *data, size_t n, const char *prefix, struct object_s3_page *page,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct parse p = {
		.root = "ListBucketResult", .prefix = prefix, .page = page, .object = each, .ctx = ctx};

	return parse_page(&p, data, n, e);
}

int object_s3_page_uploads(const void *data, size_t n, const char *prefix, struct object_s3_page *page,
	int (*each)(void *ctx, const struct object_s3_upload_info *u), void *ctx, struct err *e)
{
	struct parse p = {.root = "ListMultipartUploadsResult",
		.prefix = prefix,
		.page = page,
		.upload = each,
		.ctx = ctx};

	return parse_page(&p, data, n, e);
}
