/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 requests, RFC 9112: the head, then the framing of the body. Incremental and without allocation:
 * a head is parsed in place once it is complete, and the result points into it.
 *
 * Where the RFC lets a server choose, this one is strict, since what two parsers read differently is how
 * requests are smuggled: lines end in CR LF (a bare LF or CR is refused), no folded fields, no space
 * before the colon, no repeated Content-Length or Host, never Content-Length together with
 * Transfer-Encoding, no transfer coding but a single chunked.
 */
#ifndef SH_AGENT_HTTP_PARSER_H
#define SH_AGENT_HTTP_PARSER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/bytes.h"
#include "libsh/base/err.h"

enum {
	HTTP_HEAD_MAX = 16 << 10,      /* request line and fields together */
	HTTP_FIELDS_MAX = 100,
	HTTP_CHUNK_LINE_MAX = 256,     /* size and extensions of one chunk */
	HTTP_TRAILER_MAX = 8 << 10,
};

enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_PUT = 8, HTTP_PATCH = 16,
	HTTP_DELETE = 32, HTTP_OTHER = 64 };
/* The fields somebody here reads; all others are checked for form and forgotten. */
enum http_field {
	HTTP_ACCEPT, HTTP_CONNECTION, HTTP_CONTENT_ENCODING, HTTP_CONTENT_LENGTH, HTTP_CONTENT_TYPE,
		HTTP_EXPECT, HTTP_HOST,
	HTTP_LAST_EVENT_ID, HTTP_TRANSFER_ENCODING, HTTP_FIELD_COUNT
};
struct http_head {
	enum http_method method;
	int minor;                     /* HTTP/1.minor: 0 or 1 */
	struct bytes path, query;      /* still encoded; query without the '?' */
	struct bytes field[HTTP_FIELD_COUNT]; /* data NULL: absent */
	bool keep_alive, expect_continue, chunked;
	uint64_t content_length;       /* 0 when there is none */
};

/* Length of the head at p once n bytes hold all of it, 0 while they do not, -1 when it cannot become one.
 * *scanned says how far an earlier call with the same bytes got; start with 0. */
ptrdiff_t http_head_length(const char *p, size_t n, size_t *scanned, struct err *e);
/* A whole head of n bytes. ERR_INVALID_ARGUMENT (400), ERR_NOT_BUILT (501: a transfer coding),
 * ERR_HEADERS_TOO_LARGE. */
int http_head_parse(const char *p, size_t n, struct http_head *h, struct err *e);

struct http_body {
	uint64_t left;                 /* of the body, or of this chunk */
	bool chunked, ended;
	uint8_t state;                 /* of the chunk parser */
	uint16_t line, trailer;        /* bytes of the line, of all trailers */
};
enum http_body_step { HTTP_BODY_MORE, HTTP_BODY_DATA, HTTP_BODY_END, HTTP_BODY_BAD };
void http_body_init(struct http_body *b, const struct http_head *h);
/* Steps over framing at p; *used bytes of it. DATA: body bytes follow, b->left of them, of which the
 * caller takes what is there and says so with http_body_took(). */
enum http_body_step http_body_next(struct http_body *b, const char *p, size_t n, size_t *used, struct err *e);
void http_body_took(struct http_body *b, size_t n);

bool http_text_is(struct bytes b, const char *text); /* ASCII, either case; false for absent */

#endif
