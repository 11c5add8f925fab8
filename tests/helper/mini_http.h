/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest HTTP client that tests of survival can do with: one blocking connection, a deadline
 * per call, no retries. It shares no code with what it tests.
 */
#ifndef SH_TESTS_MINI_HTTP_H
#define SH_TESTS_MINI_HTTP_H

#include <stdbool.h>
#include <stddef.h>

enum { MINI_HTTP_MAX_BODY = 64 << 20 };

struct mini_http {
	const char
		*port_file; /* read anew for every connection: a restarted shd may be elsewhere */
	int fd;		    /* -1: not connected */
	int timeout_ms;	    /* of one wait for the socket */
	char *data;	    /* received and not used yet, then the body; ends in NUL */
	size_t size, capacity;
	char *body; /* of the last answer, inside data */
	size_t body_size;
	bool retry_after; /* the last answer had that field */
};

void mini_http_init(struct mini_http *h, const char *port_file, int timeout_ms);
void mini_http_release(struct mini_http *h);
void mini_http_close(struct mini_http *h);
/* Status of the answer; 0: no connection could be made, nothing was sent; -1: sent, and no whole
 * answer came. */
int mini_http_call(struct mini_http *h, const char *method, const char *path, const char *headers,
	const void *body, size_t n);

#endif
