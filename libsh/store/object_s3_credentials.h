/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the keys of S3 come from. The first that has some, as in other tools:
 *   environment  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
 *   shared file  AWS_SHARED_CREDENTIALS_FILE or ~/.aws/credentials, profile AWS_PROFILE or "default"; read
 *                again when it changes
 *   instance     metadata service of the machine, version 2 (AWS_EC2_METADATA_SERVICE_ENDPOINT), past all
 *                proxies; not with AWS_EC2_METADATA_DISABLED=true
 * Keys of an instance are renewed some minutes before they expire, by one thread, while the others go on with
 * the old key; it serves to its end if that fails. A key that is new is used even if our clock says that it
 * has expired. Threads may share one.
 */
#ifndef SH_STORE_OBJECT_S3_CREDENTIALS_H
#define SH_STORE_OBJECT_S3_CREDENTIALS_H

#include "libsh/store/object_s3_keys.h"

struct object_s3_credentials;
struct object_s3_credentials *object_s3_credentials_new(void); /* looks at the environment now */
void object_s3_credentials_free(struct object_s3_credentials *c);
/* A copy of the key to use now. ERR_UNAVAILABLE when there is none: the error says where it was looked for.
 * May block for seconds. */
int object_s3_credentials_get(struct object_s3_credentials *c, struct object_s3_key *k, struct err *e);
/* The service does not take the key of that generation any more: the next get looks again. */
void object_s3_credentials_refused(struct object_s3_credentials *c, uint64_t generation);

#endif
