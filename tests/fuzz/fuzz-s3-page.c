/* SPDX-License-Identifier: Apache-2.0 */
/* A page of a listing, of objects or of uploads, any bytes: names of ours with all that belongs to them, or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/store/object_s3_page.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int object(void *ctx, const struct object_info *o)
{
	size_t *count = ctx;

	if (object_name_check(o->name, NULL) < 0 || o->modified_ms <= 0 || o->bytes > INT64_MAX)
		abort();
	return ++*count > 100 ? 7 : 0;
}

static int upload(void *ctx, const struct object_s3_upload_info *u)
{
	size_t *count = ctx;

	if (object_name_check(u->name, NULL) < 0 || !*u->id || u->begun_ms <= 0)
		abort();
	return ++*count > 100 ? 7 : 0;
}

static void check(int result, size_t count, const struct object_s3_page *page, const struct err *e)
{
	if ((result < 0) != (e->code != ERR_NONE) || (result == 7) != (count > 100))
		abort();
	if (!memchr(page->next, 0, sizeof(page->next)) || !memchr(page->next_upload, 0, sizeof(page->next_upload)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const prefixes[] = {"", "p/", "a/long/prefix/"};
	struct object_s3_page page;

	for (size_t i = 0; i < 3; i++) {
		struct err e = ERR_INIT;
		size_t count = 0;
		int result = object_s3_page_objects(data, size, prefixes[i], &page, object, &count, &e);

		check(result, count, &page, &e);
		err_clear(&e);
		count = 0;
		result = object_s3_page_uploads(data, size, prefixes[i], &page, upload, &count, &e);
		check(result, count, &page, &e);
	}
	return 0;
}
