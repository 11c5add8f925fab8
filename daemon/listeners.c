/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/listeners.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsh/base/fd.h"

enum { BACKLOG = 4096 };

static int open_socket(const struct addrinfo *ai, bool any)
{
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, v6only = !any;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only));
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) || listen(fd, BACKLOG))
		fd_close(&fd); /* keeps errno */
	return fd;
}

/* What was bound, with the port the kernel chose when 0 was asked for. */
static int describe(struct listener *l, bool any)
{
	struct sockaddr_storage bound;
	struct address a = {.host = ""};
	socklen_t size = sizeof(bound);
	char port[8];

	if (getsockname(l->fd, (struct sockaddr *)&bound, &size) ||
		getnameinfo((struct sockaddr *)&bound, size, a.host, sizeof(a.host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV))
		return -1;
	l->port = a.port = ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&bound)->sin6_port
							     : ((struct sockaddr_in *)&bound)->sin_port);
	if (any)
		a.host[0] = '\0';
	address_format(&a, l->address);
	return 0;
}

static void set_port(struct addrinfo *ai, uint16_t port)
{
	if (ai->ai_family == AF_INET6)
		((struct sockaddr_in6 *)ai->ai_addr)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)ai->ai_addr)->sin_port = htons(port);
}

static int cannot_listen(const char *protocol, const char *text, struct err *e)
{
	bool taken = errno == EADDRINUSE;

	err_sys(e, taken ? ERR_CONFLICT : ERR_UNAVAILABLE, "cannot listen on %s (%s.listen)", text, protocol);
	if (taken)
		return err_hint(e,
			"stop what listens there, or choose another port with -O %s.listen=HOST:PORT (0: any)",
			protocol);
	return -1;
}

/* A name may stand for several addresses (localhost): all are bound, to one port. */
static int open_all(struct listeners *l, const char *protocol, const struct address *a, struct addrinfo *list,
	struct err *e)
{
	char text[ADDRESS_TEXT_BYTES];
	uint16_t port = a->port;
	int opened = 0;

	for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		struct listener *new_ = &l->items[l->count];
		bool any = !*a->host;

		if (l->count == LISTENERS_MAX)
			return err_set(
				e, ERR_USAGE, "%s.listen: more than %d addresses", protocol, LISTENERS_MAX);
		set_port(ai, port);
		new_->fd = open_socket(ai, any);
		if (new_->fd < 0 && (opened || ai->ai_next) &&
			(errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL))
			continue; /* e.g. localhost is ::1, too, but this machine has no IPv6 */
		new_->protocol = protocol;
		if (new_->fd < 0 || describe(new_, any))
			return cannot_listen(protocol, address_format(a, text), e);
		port = new_->port;
		l->count++;
		opened++;
		if (any)
			break; /* [::] takes IPv4, too */
	}
	return opened ? 0 : cannot_listen(protocol, address_format(a, text), e);
}

static int open_one(struct listeners *l, const char *protocol, const struct address *a, struct err *e)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM},
			*list = NULL;
	char port[8];
	int status;

	snprintf(port, sizeof(port), "%u", a->port);
	if (!*a->host)
		hints.ai_family = access("/proc/net/if_inet6", F_OK) ? AF_INET : AF_INET6;
	status = getaddrinfo(*a->host ? a->host : NULL, port, &hints, &list);
	if (status)
		return err_set(e, ERR_USAGE, "%s.listen: '%s': %s", protocol, a->host, gai_strerror(status));
	status = open_all(l, protocol, a, list, e);
	freeaddrinfo(list);
	return status;
}

int listeners_open(struct listeners *l, const char *protocol, const char *list, struct err *e)
{
	struct address a;
	int status;

	while ((status = address_next(&list, &a, e)) > 0)
		if (open_one(l, protocol, &a, e))
			return -1;
	return status;
}

void listeners_close(struct listeners *l)
{
	for (int i = 0; i < l->count; i++)
		fd_close(&l->items[i].fd);
	l->count = 0;
}

void listeners_ports(const struct listeners *l, const char *protocol, struct buf *out)
{
	for (int i = 0; i < l->count; i++)
		if (!strcmp(l->items[i].protocol, protocol))
			buf_addf(out, "%u\n", l->items[i].port);
}

void listeners_addresses(const struct listeners *l, const char *protocol, struct buf *out)
{
	for (int i = 0; i < l->count; i++)
		if (!strcmp(l->items[i].protocol, protocol))
			buf_addf(out, "%s%s", out->len ? ", " : "", l->items[i].address);
}
