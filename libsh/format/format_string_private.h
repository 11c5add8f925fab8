/* SPDX-License-Identifier: Apache-2.0 */
/* What format_string.c (parsing, writing) and format_string_read.c share. */
#ifndef SH_FORMAT_FORMAT_STRING_PRIVATE_H
#define SH_FORMAT_FORMAT_STRING_PRIVATE_H

#include "libsh/format/format_string.h"

enum {
	FORMAT_PARTS_MAX = 64,
	FORMAT_LITERAL_MAX = 4096,
};
enum modifier { RAW, HEX, BASE64, JSON, RFC3339 };

struct part {
	char variable; /* 0: literal */
	enum modifier modifier;
	char *literal;
	size_t len;
};
struct format_string {
	struct part parts[FORMAT_PARTS_MAX];
	int count;
	struct arena arena;
};

/* "%k{hex}", for errors; returns out. */
const char *format_string_part_name(const struct part *p, char out[32]);

#endif
