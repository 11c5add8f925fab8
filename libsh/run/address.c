/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/run/address.h"

#include <stdio.h>
#include <string.h>

#include "libsh/base/text.h"

static int parse(const char *text, size_t len, struct address *out, struct err *e)
{
	char copy[ADDRESS_TEXT_BYTES];
	char *host = copy, *port;
	size_t host_len;
	int64_t number;

	if (len >= sizeof(copy))
		return err_set(e, ERR_INVALID_ARGUMENT, "an address of %zu characters is too long", len);
	memcpy(copy, text, len);
	copy[len] = '\0';
	port = strrchr(copy, ':');
	if (!port)
		goto bad;
	*port++ = '\0';
	host_len = strlen(host);
	if (host[0] == '[') {
		if (host[host_len - 1] != ']' || host_len < 3)
			goto bad;
		host[host_len - 1] = '\0';
		host++;
	} else if (strchr(host, ':')) {
		err_set(e, ERR_INVALID_ARGUMENT, "'%.*s': an IPv6 address needs brackets", (int)len, text);
		return err_hint(e, "write it as [::1]:8080");
	}
	if (!strcmp(host, "*"))
		host = "";
	if (strlen(host) > ADDRESS_HOST_MAX || strpbrk(host, " \t[]/@") || !*port || strspn(port, "0123456789") != strlen(port) ||
		text_parse_int(port, 0, 65535, "port", &number, NULL))
		goto bad;
	memcpy(out->host, host, strlen(host) + 1);
	out->port = (uint16_t)number;
	return 0;
bad:
	err_set(e, ERR_INVALID_ARGUMENT, "'%.*s' is not an address", (int)len, text);
	return err_hint(e, "write it as 127.0.0.1:8080 or [::1]:8080; the port is 0 to 65535");
}

int address_next(const char **at, struct address *out, struct err *e)
{
	const char *start = *at + strspn(*at, ", \t");
	size_t len = strcspn(start, ",");

	*at = start + len;
	while (len && strchr(" \t", start[len - 1]))
		len--;
	if (!len)
		return 0;
	return parse(start, len, out, e) ? -1 : 1;
}

const char *address_format(const struct address *a, char out[ADDRESS_TEXT_BYTES])
{
	bool v6 = strchr(a->host, ':');

	snprintf(out, ADDRESS_TEXT_BYTES, "%s%s%s:%u", v6 ? "[" : "", *a->host ? a->host : "*", v6 ? "]" : "", a->port);
	return out;
}
