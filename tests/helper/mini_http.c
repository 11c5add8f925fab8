/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/helper/mini_http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

void mini_http_init(struct mini_http *h, const char *port_file, int timeout_ms)
{
	*h = (struct mini_http){.port_file = port_file, .fd = -1, .timeout_ms = timeout_ms};
}

void mini_http_close(struct mini_http *h)
{
	if (h->fd >= 0)
		close(h->fd);
	h->fd = -1;
	h->size = 0;
}

void mini_http_release(struct mini_http *h)
{
	mini_http_close(h);
	free(h->data);
	h->data = NULL;
}

/* The file holds a port, or address:port. */
static int read_port(const char *path)
{
	char text[128] = "", *colon;
	FILE *f = fopen(path, "re");

	if (!f)
		return 0;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	colon = strrchr(text, ':');
	return atoi(colon ? colon + 1 : text);
}

static int open_connection(struct mini_http *h)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	struct timeval timeout = {
		.tv_sec = h->timeout_ms / 1000, .tv_usec = h->timeout_ms % 1000 * 1000};
	int port = read_port(h->port_file), one = 1;

	if (!port)
		return -1;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.sin_port = htons((uint16_t)port);
	h->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (h->fd < 0)
		return -1;
	setsockopt(h->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(h->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	setsockopt(h->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(h->fd, (struct sockaddr *)&address, sizeof(address))) {
		mini_http_close(h);
		return -1;
	}
	h->size = 0;
	return 0;
}

static int send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

/* At least one byte more. */
static int receive_more(struct mini_http *h)
{
	ssize_t got;

	if (h->capacity - h->size < 65536) {
		size_t capacity = h->capacity ? h->capacity * 2 : 131072;
		char *data = capacity > MINI_HTTP_MAX_BODY * 2u ? NULL : realloc(h->data, capacity);

		if (!data)
			return -1;
		h->data = data;
		h->capacity = capacity;
	}
	do
		got = recv(h->fd, h->data + h->size, h->capacity - h->size - 1, 0);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return -1;
	h->size += (size_t)got;
	h->data[h->size] = '\0';
	return 0;
}

static int need(struct mini_http *h, size_t size)
{
	while (h->size < size)
		if (receive_more(h))
			return -1;
	return 0;
}

/* Value of a header, or NULL. The header block at `data` ends in NUL. */
static const char *find_header(const char *data, const char *name)
{
	size_t n = strlen(name);

	for (const char *line = strstr(data, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (!strncasecmp(line, name, n) && line[n] == ':')
			return line + n + 1 + strspn(line + n + 1, " ");
	}
	return NULL;
}

/* Chunks from position `at` on are moved together there; h->body_size is their sum. */
static int receive_chunks(struct mini_http *h, size_t at)
{
	size_t out = at;

	for (;;) {
		char *end;
		size_t size, start;

		while (!h->data || h->size <= at ||
			!(end = memmem(h->data + at, h->size - at, "\r\n", 2)))
			if (receive_more(h))
				return -1;
		size = strtoul(h->data + at, NULL, 16);
		start = (size_t)(end - h->data) + 2;
		if (size > MINI_HTTP_MAX_BODY || need(h, start + size + 2))
			return -1;
		if (!size)
			break;
		memmove(h->data + out, h->data + start, size);
		out += size;
		at = start + size + 2;
	}
	h->body_size = out;
	return 0;
}

static int receive_answer(struct mini_http *h)
{
	char *end;
	const char *value;
	size_t body;
	int status;
	bool chunked, closes;

	do {
		while (!h->size || !(end = strstr(h->data, "\r\n\r\n")))
			if (receive_more(h))
				return -1;
		body = (size_t)(end - h->data) + 4;
		if (sscanf(h->data, "HTTP/1.1 %d", &status) != 1)
			return -1;
		if (status == 100) {
			h->size -= body;
			memmove(h->data, h->data + body, h->size);
			h->data[h->size] = '\0';
		}
	} while (status == 100);
	end[2] = '\0';
	value = find_header(h->data, "transfer-encoding");
	chunked = value && !strncasecmp(value, "chunked", 7);
	value = find_header(h->data, "connection");
	closes = value && !strncasecmp(value, "close", 5);
	h->retry_after = find_header(h->data, "retry-after") != NULL;
	value = find_header(h->data, "content-length");
	h->body_size = value ? strtoul(value, NULL, 10) : 0;
	if (h->body_size > MINI_HTTP_MAX_BODY)
		return -1;
	if (chunked) {
		if (receive_chunks(h, body))
			return -1;
		h->body_size -= body;
	} else if (need(h, body + h->body_size)) {
		return -1;
	}
	h->body = h->data + body;
	h->body[h->body_size] = '\0';
	if (closes) {
		close(h->fd);
		h->fd = -1;
	}
	return status;
}

int mini_http_call(struct mini_http *h, const char *method, const char *path, const char *headers,
	const void *body, size_t n)
{
	char head[2048];
	int length, status;

	if (h->fd < 0 && open_connection(h))
		return 0;
	length = snprintf(head, sizeof(head),
		"%s %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n", method, path,
		headers ? headers : "", n);
	if (length < 0 || (size_t)length >= sizeof(head))
		return 0;
	h->size = 0;
	h->body_size = 0;
	if (send_all(h->fd, head, (size_t)length) || send_all(h->fd, body, n)) {
		mini_http_close(h);
		return -1;
	}
	status = receive_answer(h);
	if (status < 0)
		mini_http_close(h);
	return status;
}
