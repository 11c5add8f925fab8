/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/uuid.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include "libsh/base/text.h"

static bool hyphen_before(size_t byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

struct uuid uuid_random(void)
{
	struct uuid u;

	/* Short requests are never cut; an id that is not random may not be unique, so nothing else will do. */
	while (getrandom(u.b, sizeof(u.b), 0) != (ssize_t)sizeof(u.b))
		if (errno != EINTR)
			abort();
	u.b[6] = (uint8_t)((u.b[6] & 0x0f) | 0x40);
	u.b[8] = (uint8_t)((u.b[8] & 0x3f) | 0x80);
	return u;
}

const char *uuid_format(const struct uuid *u, char out[UUID_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *at = out;

	for (size_t i = 0; i < sizeof(u->b); i++) {
		if (hyphen_before(i))
			*at++ = '-';
		*at++ = digits[u->b[i] >> 4];
		*at++ = digits[u->b[i] & 15];
	}
	*at = '\0';
	return out;
}

int uuid_parse(const char *text, struct uuid *u, struct err *e)
{
	const char *at = text;
	struct uuid parsed;

	for (size_t i = 0; i < sizeof(parsed.b); i++) {
		int high, low;

		if (hyphen_before(i) && *at++ != '-')
			goto bad;
		high = text_hex_value(*at);
		low = high < 0 ? -1 : text_hex_value(at[1]);
		if (low < 0)
			goto bad;
		parsed.b[i] = (uint8_t)(high << 4 | low);
		at += 2;
	}
	if (*at)
		goto bad;
	*u = parsed;
	return 0;
bad:
	return err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' is not a UUID", text);
}
