/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text: "host:port", "[::1]:port", "*:port" or ":port" (all of the machine's), several separated by commas. */
#ifndef SH_RUN_ADDRESS_H
#define SH_RUN_ADDRESS_H

#include <stdint.h>
#include "libsh/base/err.h"

enum { ADDRESS_HOST_MAX = 255, ADDRESS_TEXT_BYTES = ADDRESS_HOST_MAX + 10 };

struct address {
	char host[ADDRESS_HOST_MAX + 1]; /* without brackets; empty: any */
	uint16_t port;
};
/* The next of a list: 1, 0 at its end, -1. *at moves on. */
int address_next(const char **at, struct address *out, struct err *e);
/* host:port, IPv6 in brackets. Returns out. */
const char *address_format(const struct address *a, char out[ADDRESS_TEXT_BYTES]);

#endif
