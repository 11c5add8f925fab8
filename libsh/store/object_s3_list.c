/* SPDX-License-Identifier: Apache-2.0 */
/* Listing, page by page: objects, and uploads that never ended. */
#include <string.h>
#include "libsh/base/mem.h"
#include "libsh/store/object_s3.h"
#include "libsh/store/object_s3_page.h"

enum { PAGES_MAX = 1 << 20, UPLOAD_PAGES_MAX = 100 };

static int get_page(
	struct object_s3 *s, struct object_s3_call *call, struct object_s3_answer *a, struct err *e)
{
	call->method = "GET";
	call->repeatable = true;
	/* Escaped, since a key of somebody else may hold what XML cannot. */
	object_s3_call_query(call, "encoding-type", "url");
	return object_s3_do(s, call, a, e);
}

static int list_page(struct object_s3 *s, const char *prefix, const char *token, struct object_s3_page *page,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct object_s3_call call = {.query = {{"list-type", "2"}, {"prefix", prefix}}, .query_count = 2};
	struct object_s3_answer a;
	int result;

	if (token)
		object_s3_call_query(&call, "continuation-token", token);
	result = get_page(s, &call, &a, e);
	if (result == 0)
		result = object_s3_page_objects(
			a.body.data ? a.body.data : "", a.body.len, s->prefix, page, each, ctx, e);
	object_s3_answer_release(&a);
	return result;
}

int object_s3_list(struct object_store *store, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct object_s3_page *page = mem_zalloc(sizeof(*page));
	char *full = mem_printf("%s%s", s->prefix, prefix), *token = NULL, *milestone = NULL;
	int result = 0;

	for (unsigned pages = 1; result == 0; pages++) {
		result = list_page(s, full, token, page, each, ctx, e);
		if (result || !page->truncated)
			break;
		if (!page->next[0] || pages == PAGES_MAX || (milestone && !strcmp(milestone, page->next)))
			result = err_set(e, ERR_CORRUPT, "the listing of %s does not end", s->bucket);
		mem_free(token);
		token = mem_strdup(page->next);
		/* At each power of two: a circle of any length comes by such a place again. */
		if (!(pages & (pages - 1))) {
			mem_free(milestone);
			milestone = mem_strdup(token);
		}
	}
	mem_free(milestone);
	mem_free(token);
	mem_free(full);
	mem_free(page);
	return result;
}

/* ---- uploads ---- */

struct sweep {
	struct object_s3 *s;
	const char *folder;    /* below our prefix */
	int64_t older_than_ms; /* younger ones are of a process that is at it */
	struct err *e;
};

static int upload_found(void *ctx, const struct object_s3_upload_info *u)
{
	struct sweep *w = ctx;
	char key[S3_KEY_MAX + 1];

	if (strncmp(u->name, w->folder, strlen(w->folder)) != 0 || u->begun_ms >= w->older_than_ms)
		return 0;
	if (object_s3_key(w->s, u->name, key, w->e) < 0)
		return -1;
	return object_s3_abort_upload(w->s, key, u->id, w->e);
}

static int sweep_page(struct sweep *w, const char *prefix, const char *key, const char *upload,
	struct object_s3_page *page, struct err *e)
{
	struct object_s3_call call = {.query = {{"uploads", ""}, {"prefix", prefix}}, .query_count = 2};
	struct object_s3_answer a;
	int result;

	if (*key) {
		object_s3_call_query(&call, "key-marker", key);
		object_s3_call_query(&call, "upload-id-marker", upload);
	}
	result = get_page(w->s, &call, &a, e);
	if (result == 0)
		result = object_s3_page_uploads(
			a.body.data ? a.body.data : "", a.body.len, w->s->prefix, page, upload_found, w, e);
	object_s3_answer_release(&a);
	return result;
}

static int sweep_folder(struct sweep *w, struct err *e)
{
	struct object_s3_page *page = mem_zalloc(sizeof(*page));
	char *prefix = mem_printf("%s%s", w->s->prefix, w->folder);
	char *key = mem_strdup(""), *upload = mem_strdup("");
	int result = 0;

	for (int pages = 0; result == 0 && pages < UPLOAD_PAGES_MAX; pages++) {
		result = sweep_page(w, prefix, key, upload, page, e);
		if (result || !page->truncated || !page->next[0])
			break;
		mem_free(key);
		mem_free(upload);
		key = mem_strdup(page->next);
		upload = mem_strdup(page->next_upload);
	}
	mem_free(prefix);
	mem_free(key);
	mem_free(upload);
	mem_free(page);
	return result;
}

int object_s3_remove_uploads(struct object_s3 *s, int64_t older_than_ms, struct err *e)
{
	static const char *const folders[] = {"segments/", "meta/"};
	struct sweep w = {.s = s, .older_than_ms = older_than_ms, .e = e};

	for (size_t i = 0; i < array_count(folders); i++) {
		w.folder = folders[i];
		if (sweep_folder(&w, e) < 0)
			return -1;
	}
	return 0;
}
