/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in S3, or what speaks its language. For the files of the driver only:
 *   object_s3_open.c     from URL and settings to a driver
 *   object_s3.c          its table; reading, removing
 *   object_s3_request.c  one signed request, with its retries
 *   object_s3_judge.c    what the answer means
 *   object_s3_put.c      writing; whether the service keeps a name from being written twice
 *   object_s3_upload.c   writing in parts
 *   object_s3_list.c     listing, page by page; object_s3_page.c: what a page says
 *   object_s3_credentials.c  where the keys come from; object_s3_keys.c: the texts that hold them
 */
#ifndef SH_STORE_OBJECT_S3_H
#define SH_STORE_OBJECT_S3_H

#include <pthread.h>
#include "libsh/base/mem.h"
#include "libsh/format/sigv4.h"
#include "libsh/run/http_client.h"
#include "libsh/store/object.h"
#include "libsh/store/object_s3_credentials.h"

enum {
	S3_CLIENTS_MAX = 16,   /* idle, each with its connection */
	S3_KEY_MAX = 1024,     /* of S3 itself */
	S3_BODY_MAX = 8 << 20, /* of an answer that is not an object */
	S3_ETAG_BYTES = 136,
};
enum object_s3_conditional { S3_CONDITIONAL_UNKNOWN, S3_CONDITIONAL_ON, S3_CONDITIONAL_OFF };

struct object_s3 {
	struct object_store base;
	char *bucket, *prefix; /* "" or "a/b/" */
	char *base_url, *host, *region, *ca_file, *sse, *sse_kms_key;
	bool path_style;
	int64_t timeout_ms;
	uint64_t multipart_bytes;
	struct object_s3_credentials *credentials;
	pthread_mutex_t lock; /* for what follows */
	struct http_client *idle[S3_CLIENTS_MAX];
	int idle_count;
	int64_t clock_ahead_ms; /* the store's clock before ours, where that mattered */
	enum object_s3_conditional conditional;
	uint64_t probes;         /* attempts to find that out */
	pthread_mutex_t probing; /* held while it is tried; for what follows */
	struct err probe_error;  /* of the last attempt */
};
static inline struct object_s3 *object_s3_of(struct object_store *s)
{
	return container_of(s, struct object_s3, base);
}

extern const struct object_driver object_s3_driver;
void object_s3_free(struct object_store *s);

struct object_s3_call {
	const char *method;
	const char *key; /* in the bucket, with the prefix; NULL: the bucket itself */
	struct sigv4_pair query[8];
	size_t query_count;
	struct sigv4_pair headers[8]; /* besides those that every request has */
	size_t header_count;
	/* The body: n bytes at p, or of fd at an offset. */
	bool has_body;
	const void *body;
	int fd;
	uint64_t fd_offset, body_bytes;
	/* The answer's body goes here and must have this length; NULL: it is collected. */
	void *into;
	size_t into_bytes;
	bool errors_late; /* the status comes before the work is done: the body of a 200 may be an error */
	bool repeatable;  /* doing it twice is the same as once: no unknown outcomes, it is just done again */
};
struct object_s3_answer {
	int status;
	char code[64], message[192]; /* of S3's error */
	char etag[S3_ETAG_BYTES], content_range[80], region[40];
	int64_t content_length, retry_after_ms; /* -1: not given */
	struct buf body;
};
void object_s3_answer_release(struct object_s3_answer *a);
enum object_s3_verdict { S3_DONE, S3_AGAIN, S3_REFUSED };
/* Fills in code and message (and the region, when it is not known yet) from the body of an error. */
void object_s3_read_error(struct object_s3_answer *a, const struct buf *body);
/* Of an answer that is not 2xx; sets e. */
enum object_s3_verdict object_s3_judge(const struct object_s3 *s, const struct object_s3_call *call,
	const struct object_s3_answer *a, struct err *e);
/* The store's time, as far as we know. */
int64_t object_s3_now_ms(struct object_s3 *s);
/*
 * Signs and sends it, again after failures that pass, until the timeout is over; so a service that hangs
 * costs one timeout. 0 for an answer 2xx. -1: the errors of object.h; what S3 refuses for reasons of the
 * operator (keys, permissions, no bucket) is ERR_UNAVAILABLE with a hint. The answer is filled in both cases
 * and the caller's to release.
 */
int object_s3_do(
	struct object_s3 *s, const struct object_s3_call *call, struct object_s3_answer *a, struct err *e);

/* prefix + name, at most S3_KEY_MAX bytes. */
int object_s3_key(const struct object_s3 *s, const char *name, char out[S3_KEY_MAX + 1], struct err *e);
/* HEAD. ERR_NOT_FOUND may also mean that there is no bucket: S3 does not say. */
int object_s3_head(struct object_s3 *s, const char *key, uint64_t *bytes, struct err *e);

void object_s3_call_header(struct object_s3_call *call, const char *name, const char *value);
void object_s3_call_query(struct object_s3_call *call, const char *name, const char *value);
/* How the object is to be encrypted: for what begins to write one, and nothing else. */
void object_s3_call_encryption(const struct object_s3 *s, struct object_s3_call *call);

int object_s3_put(struct object_store *s, const char *name, int fd, uint64_t bytes, struct err *e);
/* Finds out whether the service keeps a name from being written twice; removes uploads that were abandoned a
 * day ago. */
int object_s3_prepare(struct object_store *s, struct err *e);
int object_s3_list(struct object_store *s, const char *prefix,
	int (*each)(void *ctx, const struct object_info *o), void *ctx, struct err *e);
/* Uploads of segments and snapshots that began before that. Of others under our prefix we know nothing. */
int object_s3_remove_uploads(struct object_s3 *s, int64_t older_than_ms, struct err *e);
/* An object in parts: a few are sent side by side, each read from the file as it goes. */
int object_s3_upload(
	struct object_s3 *s, const char *key, int fd, uint64_t bytes, bool conditional, struct err *e);
int object_s3_abort_upload(struct object_s3 *s, const char *key, const char *upload_id, struct err *e);

#endif
