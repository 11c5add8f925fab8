/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer of S3 means: which of our errors it is, whether asking again may help, and what whoever runs
 * this can do. Codes are those of "Error responses" in the documentation of S3, and what other services say
 * instead. What we do not know is taken for the operator's to mend below 500, for a failure that may pass
 * above.
 */
#include <string.h>
#include "libsh/base/mem.h"
#include "libsh/store/object_s3.h"
#include "libsh/store/object_xml.h"

static const struct {
	const char *code;
	enum err_code err;
	bool again;
	const char *hint;
} known_codes[] = {
	{"NoSuchKey", ERR_NOT_FOUND, false, NULL},
	{"NoSuchUpload", ERR_NOT_FOUND, false, NULL},
	{"PreconditionFailed", ERR_EXISTS, false, NULL},
	{"InvalidRange", ERR_CORRUPT, false, NULL},
	{"SlowDown", ERR_UNAVAILABLE, true, NULL},
	{"Throttling", ERR_UNAVAILABLE, true, NULL},
	{"ThrottlingException", ERR_UNAVAILABLE, true, NULL},
	{"RequestLimitExceeded", ERR_UNAVAILABLE, true, NULL},
	{"TooManyRequests", ERR_UNAVAILABLE, true, NULL},
	{"RequestTimeout", ERR_UNAVAILABLE, true, NULL},
	{"IncompleteBody", ERR_UNAVAILABLE, true, NULL},
	{"ConditionalRequestConflict", ERR_UNAVAILABLE, true, NULL},
	{"OperationAborted", ERR_UNAVAILABLE, true, NULL},
	{"BadDigest", ERR_IO, true, "bytes were changed on their way to the store"},
	{"XAmzContentSHA256Mismatch", ERR_IO, true, "bytes were changed on their way to the store"},
	{"QuotaExceeded", ERR_NO_SPACE, false, "raise the quota of the bucket or its owner"},
	{"XMinioStorageFull", ERR_NO_SPACE, false, NULL},
	{"NotImplemented", ERR_NOT_BUILT, false, NULL},
	{"NoSuchBucket", ERR_UNAVAILABLE, false, "create the bucket, or correct object.url"},
	{"InvalidBucketName", ERR_UNAVAILABLE, false, "correct object.url"},
	{"AccessDenied", ERR_UNAVAILABLE, false,
		"shd(8) says what the key must be allowed to do, under \"Keys of S3\""},
	{"InvalidAccessKeyId", ERR_UNAVAILABLE, false, "the store does not know the access key"},
	{"SignatureDoesNotMatch", ERR_UNAVAILABLE, false,
		"the secret key is wrong, or s3.region or s3.endpoint is"},
	{"RequestTimeTooSkewed", ERR_UNAVAILABLE, false, "correct the clock of this machine"},
	{"AuthorizationHeaderMalformed", ERR_UNAVAILABLE, false, "set s3.region to the bucket's region"},
	{"PermanentRedirect", ERR_UNAVAILABLE, false, "set s3.region and s3.endpoint to the bucket's"},
	{"TemporaryRedirect", ERR_UNAVAILABLE, false, "set s3.region and s3.endpoint to the bucket's"},
	{"ExpiredToken", ERR_UNAVAILABLE, true, "the key has expired"},
	{"InvalidToken", ERR_UNAVAILABLE, true, "the session token is not valid"},
};

/* When there is no code that we know: HEAD has no body, proxies have their own. */
static enum err_code code_of_status(const struct object_s3_call *call, int status)
{
	if (status == 404 && !strcmp(call->method, "HEAD"))
		return ERR_NOT_FOUND;
	if (status == 412)
		return ERR_EXISTS;
	if (status == 416)
		return ERR_CORRUPT;
	if (status == 501)
		return ERR_NOT_BUILT;
	if (status == 507)
		return ERR_NO_SPACE;
	return status < 500 || call->repeatable ? ERR_UNAVAILABLE : ERR_OUTCOME_UNKNOWN;
}

/* Where the bucket is, if that is what is wrong. */
static bool hint_region(const struct object_s3 *s, const struct object_s3_answer *a, struct err *e)
{
	if (!*a->region || !strcmp(a->region, s->region) || (a->status / 100 != 3 && a->status != 400))
		return false;
	err_hint(e, "set s3.region=%s", a->region);
	return true;
}

enum object_s3_verdict object_s3_judge(const struct object_s3 *s, const struct object_s3_call *call,
	const struct object_s3_answer *a, struct err *e)
{
	enum err_code code = code_of_status(call, a->status);
	bool again = a->status == 408 || a->status == 429 || (a->status >= 500 && code == ERR_UNAVAILABLE);
	const char *hint = NULL;

	for (size_t i = 0; i < array_count(known_codes); i++)
		if (!strcmp(known_codes[i].code, a->code)) {
			code = known_codes[i].err;
			again = known_codes[i].again;
			hint = known_codes[i].hint;
		}
	/* What is written, or listed, cannot be missing. */
	if (code == ERR_NOT_FOUND && (!strcmp(call->method, "PUT") || !call->key))
		code = ERR_UNAVAILABLE;
	err_set(e, code, "%s %s: the store answered %d%s%s%s%s", call->method,
		call->key ? call->key : s->bucket, a->status, a->code[0] ? " " : "", a->code,
		a->message[0] ? ": " : "", a->message);
	if (!hint_region(s, a, e) && hint)
		err_hint(e, "%s", hint);
	return again ? S3_AGAIN : S3_REFUSED;
}

void object_s3_read_error(struct object_s3_answer *a, const struct buf *body)
{
	char region[sizeof(a->region)];

	if (!body->len)
		return;
	if (object_xml_find(body->data, body->len, "Error/Code", a->code, sizeof(a->code), NULL) < 0)
		a->code[0] = '\0';
	if (object_xml_find(body->data, body->len, "Error/Message", a->message, sizeof(a->message), NULL) < 0)
		a->message[0] = '\0';
	if (!*a->region &&
		object_xml_find(body->data, body->len, "Error/Region", region, sizeof(region), NULL) == 0)
		memcpy(a->region, region, sizeof(region));
}
