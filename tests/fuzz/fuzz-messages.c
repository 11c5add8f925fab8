/* SPDX-License-Identifier: Apache-2.0 */
/* First byte: which message; the rest its body. What can be read is written and read again: the same bytes. */
#include <stdlib.h>
#include <string.h>

#include "daemon/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union any_body {
#define B(name, FIELDS) struct msg_##name name;
	MESSAGE_BODIES(B)
#undef B
};

static const struct pack_field *const bodies[] = {
#define B(name, FIELDS) msg_##name##_fields,
	MESSAGE_BODIES(B)
#undef B
};

static void rows(struct bytes all, const struct pack_field *fields, struct arena *a)
{
	union any_body row;
	struct err e = ERR_INIT;
	size_t pos = 0;

	while (pack_row_next(all, &pos, fields, &row, a, &e) == 1)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena a = ARENA_INIT;
	struct buf first = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20);
	struct err e = ERR_INIT;
	const struct pack_field *fields;
	union any_body body;

	if (!size || size > 1 << 19)
		return 0;
	fields = bodies[data[0] % array_count(bodies)];
	rows((struct bytes){data + 1, size - 1}, fields, &a);
	if (!pack_read(fields, &body, data + 1, size - 1, &a, &e)) {
		if (pack_write(&first, fields, &body) || pack_read(fields, &body, first.data, first.len, &a, &e) ||
			pack_write(&second, fields, &body))
			abort();
		if (first.len != second.len || (first.len && memcmp(first.data, second.data, first.len)))
			abort();
	}
	buf_release(&first);
	buf_release(&second);
	arena_release(&a);
	return 0;
}
