/* SPDX-License-Identifier: Apache-2.0 */
/* 128-bit ids. Random ones are RFC 9562 version 4. As text: 36 characters with hyphens. */
#ifndef SH_BASE_UUID_H
#define SH_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "libsh/base/err.h"

struct uuid {
	uint8_t b[16];
};
#define UUID_TEXT_BYTES 37

struct uuid uuid_random(void); /* getrandom(2) */
const char *uuid_format(const struct uuid *u, char out[UUID_TEXT_BYTES]);
int uuid_parse(const char *text, struct uuid *u, struct err *e);

static inline int uuid_compare(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return uuid_compare(a, b) == 0;
}

#endif
