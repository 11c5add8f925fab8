/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key of S3, and the two texts that hold one: the file that other tools share, and what the metadata service
 * of an instance answers. Both come from outside; what is taken from them becomes a part of header lines, so
 * it must be visible ASCII.
 */
#ifndef SH_STORE_OBJECT_S3_KEYS_H
#define SH_STORE_OBJECT_S3_KEYS_H

#include <stdint.h>
#include "libsh/base/bytes.h"
#include "libsh/base/err.h"

enum { OBJECT_S3_KEY_TEXT_MAX = 8192 }; /* bytes of each of its texts */

struct object_s3_key {
	char *access_key, *secret_key, *token; /* token "" when there is none */
	int64_t expires_ms;		       /* real clock; INT64_MAX: never */
	uint64_t generation;		       /* grows with each new key; its owner's business */
};
void object_s3_key_release(struct object_s3_key *k); /* overwrites it */
/* Copies the texts into k, which is overwritten unseen. ERR_BAD_DATA: one is empty, too long or not visible
 * ASCII. */
int object_s3_key_set(struct object_s3_key *k, struct bytes access_key, struct bytes secret_key,
	struct bytes token, int64_t expires_ms, struct err *e);

/* The key of that profile; text is taken apart. ERR_NOT_FOUND: it has none. */
int object_s3_key_from_file(struct object_s3_key *k, char *text, const char *profile, struct err *e);
/* {"AccessKeyId","SecretAccessKey","Token","Expiration",...}; ERR_BAD_DATA. Texts that were taken are
 * overwritten. */
int object_s3_key_from_instance(struct object_s3_key *k, char *json, size_t n, struct err *e);

#endif
