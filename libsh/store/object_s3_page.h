/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page of a listing of S3, of objects or of uploads that never ended: XML in, names out. Keys may be
 * escaped as in URLs (encoding-type=url); those that are not names of ours below the prefix are passed over.
 * What the page does not say is not guessed.
 */
#ifndef SH_STORE_OBJECT_S3_PAGE_H
#define SH_STORE_OBJECT_S3_PAGE_H

#include "libsh/store/object.h"

enum { OBJECT_S3_TOKEN_BYTES = 4096 };

struct object_s3_page {
	bool truncated; /* there is more, from these on */
	char next[OBJECT_S3_TOKEN_BYTES], next_upload[OBJECT_S3_TOKEN_BYTES];
};
/*
 * Calls each() for each object, with its name below prefix; non-zero ends it and is returned. ERR_CORRUPT: it
 * is not a listing, or an object of ours has no size or time.
 */
int object_s3_page_objects(const void *p, size_t n, const char *prefix, struct object_s3_page *page,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e);
/* The same for uploads. One that does not say since when is passed over. */
struct object_s3_upload_info {
	const char *name, *id;
	int64_t begun_ms;
};
int object_s3_page_uploads(const void *p, size_t n, const char *prefix, struct object_s3_page *page,
	int (*each)(void *ctx, const struct object_s3_upload_info *u), void *ctx, struct err *e);

#endif
