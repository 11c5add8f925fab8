/* SPDX-License-Identifier: Apache-2.0 */
/* From a path to its route, and the query's parameters. */
#include "daemon/agent/http/server.h"

#include <string.h>
#include <strings.h>
#include "libsh/base/text.h"

/* Decode n bytes into the arena as a C string. NULL: a bad escape, or a NUL byte. */
static const char *decode(struct arena *a, const char *p, size_t n, bool plus_is_space)
{
	struct buf b = BUF_INIT(HTTP_HEAD_MAX);
	const char *result = NULL;

	if (!memchr(p, '%', n) && !(plus_is_space && memchr(p, '+', n)))
		return arena_strndup(a, p, n);
	if (!text_url_decode(&b, p, n, plus_is_space) && (!b.len || !memchr(b.data, 0, b.len)))
		result = arena_strndup(a, b.len ? b.data : "", b.len);
	buf_release(&b);
	return result;
}

/* ---- path ---- */

static int split_path(struct http_request *r, const char **segments, int *count, struct err *e)
{
	const char *p = (const char *)r->head.path.data, *end = p + r->head.path.len;

	*count = 0;
	while (p < end) {
		const char *slash;

		p++; /* the slash in front */
		slash = memchr(p, '/', end - p);
		if (!slash)
			slash = end;
		if (*count == HTTP_SEGMENTS_MAX)
			return err_set(e, ERR_NOT_FOUND, "there is nothing under a path of more than %d parts", HTTP_SEGMENTS_MAX);
		segments[*count] = decode(&r->arena, p, slash - p, false);
		if (!segments[(*count)++])
			return err_set(e, ERR_INVALID_ARGUMENT, "the path holds a bad percent escape");
		p = slash;
	}
	return 0;
}

static bool match(struct http_request *r, const char *pattern, const char *const *segments, int count)
{
	int i = 0, params = 0;

	while (*pattern == '/') {
		size_t n = strcspn(++pattern, "/");

		if (n == 2 && !memcmp(pattern, "**", 2))
			return true;
		if (i == count)
			return false;
		if (*pattern == '{') {
			if (!*segments[i])
				return false;
			r->params[params++] = segments[i];
		} else if (strlen(segments[i]) != n || memcmp(pattern, segments[i], n)) {
			return false;
		}
		i++;
		pattern += n;
	}
	return i == count;
}

static const char *const method_names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};

static int method_not_allowed(struct http_request *r, int allowed, struct err *e)
{
	char allow[64] = "";

	if (allowed & HTTP_GET)
		allowed |= HTTP_HEAD;
	for (size_t i = 0; i < array_count(method_names); i++) {
		if (!(allowed & 1 << i))
			continue;
		if (*allow)
			strcat(allow, ", ");
		strcat(allow, method_names[i]);
	}
	http_answer_field(r, "Allow", "%s", allow);
	err_set(e, ERR_METHOD_NOT_ALLOWED, "%s does not take this method", r->path);
	return err_hint(e, "it takes %s", allow);
}

int http_route_find(struct http_request *r, struct err *e)
{
	int method = r->head.method == HTTP_HEAD ? HTTP_GET : r->head.method, allowed = 0, count;
	const char *segments[HTTP_SEGMENTS_MAX];

	r->path = r->head.path.len ? arena_strndup(&r->arena, (const char *)r->head.path.data,
		r->head.path.len) : "/";
	if (split_path(r, segments, &count, e) < 0)
		return -1;
	for (const struct http_route *route = http_routes; route->pattern; route++) {
		if (!match(r, route->pattern, segments, count))
			continue;
		if (!route->method || route->method == method) {
			r->route = route;
			return 0;
		}
		allowed |= route->method;
	}
	if (allowed)
		return method_not_allowed(r, allowed, e);
	err_set(e, ERR_NOT_FOUND, "there is nothing at %.200s", r->path);
	return err_hint(e, "GET /openapi.json lists what there is");
}

/* ---- query ---- */

const char *http_query(struct http_request *r, const char *name)
{
	const char *p = (const char *)r->head.query.data, *end = p ? p + r->head.query.len : p;
	size_t n = strlen(name);

	while (p < end) {
		const char *next = memchr(p, '&', end - p), *stop = next ? next : end, *equals = memchr(p, '=', stop - p);
		const char *name_end = equals ? equals : stop;

		if ((size_t)(name_end - p) == n && !memcmp(p, name, n))
			return equals ? decode(&r->arena, equals + 1, stop - equals - 1, true) : "";
		p = next ? next + 1 : end;
	}
	return NULL;
}

/* Looked at once, with the head: a value that cannot be decoded must be an error, never an absent one. */
int http_query_check(struct http_request *r, struct err *e)
{
	const char *p = (const char *)r->head.query.data, *end = p ? p + r->head.query.len : p;

	while (p < end) {
		const char *next = memchr(p, '&', end - p), *stop = next ? next : end;

		if (!decode(&r->arena, p, stop - p, true)) {
			err_set(e, ERR_INVALID_ARGUMENT, "the query holds a bad percent escape: %.*s",
				(int)(stop - p < 100 ? stop - p : 100), p);
			return err_hint(e, "%% is followed by two hex digits, a %% itself is %%25; %%00 cannot be");
		}
		p = next ? next + 1 : end;
	}
	return 0;
}

int http_query_int(struct http_request *r, const char *name, int64_t min, int64_t max, int64_t *out,
	struct err *e)
{
	const char *text = http_query(r, name);

	if (!text)
		return 0;
	return text_parse_int(text, min, max, name, out, e) < 0 ? -1 : 1;
}

int http_query_size(struct http_request *r, const char *name, int64_t min, int64_t max, int64_t *out,
	struct err *e)
{
	const char *text = http_query(r, name);

	if (!text)
		return 0;
	if (text_parse_size(text, out, e) < 0)
		return err_prefix(e, "%s", name);
	if (*out < min || *out > max)
		return err_set(e, ERR_INVALID_ARGUMENT, "%s is not between %lld and %lld bytes", name, (long long)min,
			(long long)max);
	return 1;
}

struct bytes http_field(const struct http_request *r, enum http_field f)
{
	return r->head.field[f];
}

bool http_media_is(struct bytes value, const char *type)
{
	size_t n = 0;

	while (n < value.len && value.data[n] != ';' && value.data[n] != ' ' && value.data[n] != '\t')
		n++;
	return http_text_is((struct bytes){value.data, n}, type);
}
