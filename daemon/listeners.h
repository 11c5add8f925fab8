/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets. The supervisor opens them and keeps them while roles come and go, so that no connection
 * is refused meanwhile. */
#ifndef SH_DAEMON_LISTENERS_H
#define SH_DAEMON_LISTENERS_H

#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/run/address.h"

enum { LISTENERS_MAX = 16 };

struct listener {
	int fd;
	const char *protocol;             /* "http" */
	char address[ADDRESS_TEXT_BYTES]; /* as bound: "127.0.0.1:8080" */
	uint16_t port;
};
struct listeners {
	struct listener items[LISTENERS_MAX];
	int count;
};
/* Adds a socket for each address of a list (settings' syntax). What was opened before an error stays open
 * until listeners_close(). */
int listeners_open(struct listeners *l, const char *protocol, const char *list, struct err *e);
void listeners_close(struct listeners *l);
/* Ports of a protocol, a line each. */
void listeners_ports(const struct listeners *l, const char *protocol, struct buf *out);
/* Addresses of a protocol, separated by commas. */
void listeners_addresses(const struct listeners *l, const char *protocol, struct buf *out);

#endif
