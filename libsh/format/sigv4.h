/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWS signature version 4, as S3 and what speaks its language want it: pure text in, text out. The source is
 * "Signature Version 4 signing process" in the AWS documentation; the test has the published vectors.
 *
 * Paths, names and values are given as they are, not escaped: what is signed is made here, and the same text
 * must be sent.
 */
#ifndef SH_FORMAT_SIGV4_H
#define SH_FORMAT_SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

enum { SIGV4_HASH_BYTES = 65, SIGV4_PAIRS_MAX = 32, SIGV4_TIME_BYTES = 17, SIGV4_TEXT_MAX = 64 << 10 };

struct sigv4_pair {
	const char *name, *value;
};
struct sigv4_request {
	const char *method, *path;
	bool normalize_path; /* as all services but S3 do: "/a/../b//c" is "/b/c" */
	const struct sigv4_pair *query;
	size_t query_count;
	const struct sigv4_pair *headers; /* all that are given are signed; "host" must be one of them */
	size_t header_count;
	const char *payload_hash; /* hex SHA-256 of the body, or "UNSIGNED-PAYLOAD" */
};
struct sigv4_key {
	const char *access_key, *secret_key, *region, *service;
	const char *time; /* "20130524T000000Z", the same as the header x-amz-date */
};

/* SHA-256 of a body, at once or in pieces, as hex digits. */
void sigv4_hash(const void *p, size_t n, char out[SIGV4_HASH_BYTES]);
struct sigv4_hasher;
struct sigv4_hasher *sigv4_hasher_new(void);
void sigv4_hasher_add(struct sigv4_hasher *h, const void *p, size_t n);
void sigv4_hasher_end(struct sigv4_hasher *h, char out[SIGV4_HASH_BYTES]); /* frees h */

void sigv4_time(long long unix_seconds, char out[SIGV4_TIME_BYTES]);
/* The escaped path and query, as to be sent; -1 when the buffer or SIGV4_PAIRS_MAX is too small. */
int sigv4_path(struct buf *out, const char *path, bool normalize);
int sigv4_query(struct buf *out, const struct sigv4_pair *query, size_t count);
/* The steps, for tests and for telling why a signature is not accepted. */
int sigv4_canonical_request(struct buf *out, const struct sigv4_request *q);
int sigv4_string_to_sign(struct buf *out, const struct sigv4_request *q, const struct sigv4_key *k);
/* The value of the Authorization header. */
int sigv4_authorization(
	struct buf *out, const struct sigv4_request *q, const struct sigv4_key *k, struct err *e);

#endif
