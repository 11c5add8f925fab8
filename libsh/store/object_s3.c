/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in a bucket of S3: s3://BUCKET/PREFIX. Opening asks nothing of the network, so that a process
 * starts, and serves what it has, while the service is away; prepare() does, and says what is wrong.
 */
#include "libsh/store/object_s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/base/mem.h"

enum { BUCKET_MAX = 255, RANGE_BYTES = 64 };

int object_s3_key(const struct object_s3 *s, const char *name, char out[S3_KEY_MAX + 1], struct err *e)
{
	if (object_name_check(name, e) < 0)
		return -1;
	/* The prefix was checked to leave room. */
	snprintf(out, S3_KEY_MAX + 1, "%s%s", s->prefix, name);
	return 0;
}

/* ---- reading ---- */

/* "bytes 0-99/1234" is what was asked for, or the object is shorter, or it is something else. */
static int check_range(
	const struct object_s3_answer *a, const char *name, uint64_t offset, size_t n, struct err *e)
{
	unsigned long long first, last;

	if (a->status == 200 && offset == 0 && a->content_length == (int64_t)n)
		return 0; /* the whole object: some services say it so */
	if (a->status != 206 || sscanf(a->content_range, "bytes %llu-%llu/", &first, &last) != 2 ||
		first != offset || last < first || last - first >= n)
		return err_set(e, ERR_IO, "the store answered %d, range \"%s\", for %zu bytes at %llu of %s",
			a->status, a->content_range, n, (unsigned long long)offset, name);
	if (last - first + 1 < n)
		return err_set(e, ERR_CORRUPT, "object %s ends at %llu, before byte %llu", name, last + 1,
			(unsigned long long)offset + n);
	return 0;
}

static int get_range(struct object_s3 *s, const char *key, uint64_t offset, void *p, size_t n,
	struct object_s3_answer *a, struct err *e)
{
	struct object_s3_call call = {
		.method = "GET", .key = key, .into = p, .into_bytes = n, .repeatable = true};
	char range[RANGE_BYTES];

	snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)offset,
		(unsigned long long)offset + n - 1);
	call.headers[call.header_count++] = (struct sigv4_pair){"range", range};
	return object_s3_do(s, &call, a, e);
}

static int s3_size(struct object_store *store, const char *name, uint64_t *bytes, struct err *e);

static int s3_get(
	struct object_store *store, const char *name, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	char key[S3_KEY_MAX + 1];
	struct object_s3_answer a;
	struct err failed = ERR_INIT;
	uint64_t bytes;
	int result;

	if (object_s3_key(s, name, key, e) < 0)
		return -1;
	if (!n) { /* there is no range of no bytes */
		if (s3_size(store, name, &bytes, e) < 0)
			return -1;
		return offset <= bytes ? 0
				       : err_set(e, ERR_CORRUPT, "object %s ends at %llu", name,
						 (unsigned long long)bytes);
	}
	if (offset > INT64_MAX - n)
		return err_set(e, ERR_CORRUPT, "no object has a byte %llu", (unsigned long long)offset);
	result = get_range(s, key, offset, p, n, &a, &failed);
	/* Fewer bytes than asked for may be all there are: what range was answered tells. */
	if (a.status / 100 == 2 && (result == 0 || *a.content_range))
		if (check_range(&a, name, offset, n, &failed) < 0)
			result = -1;
	object_s3_answer_release(&a);
	if (result < 0 && e)
		*e = failed;
	return result;
}

int object_s3_head(struct object_s3 *s, const char *key, uint64_t *bytes, struct err *e)
{
	struct object_s3_call call = {.method = "HEAD", .key = key, .repeatable = true};
	struct object_s3_answer a;
	int result = object_s3_do(s, &call, &a, e);

	if (result == 0 && a.content_length < 0)
		result = err_set(e, ERR_IO, "HEAD %s: the store gave no length", key);
	if (result == 0)
		*bytes = (uint64_t)a.content_length;
	object_s3_answer_release(&a);
	return result;
}

static int s3_size(struct object_store *store, const char *name, uint64_t *bytes, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct err failed = ERR_INIT;
	struct object_s3_answer a;
	char key[S3_KEY_MAX + 1], byte;
	int result;

	if (object_s3_key(s, name, key, e) < 0)
		return -1;
	if (object_s3_head(s, key, bytes, &failed) == 0)
		return 0;
	if (failed.code == ERR_NOT_FOUND) {
		/* The same answer comes when there is no such bucket; a GET is told which it is. */
		err_clear(&failed);
		result = get_range(s, key, 0, &byte, 1, &a, &failed);
		if (result == 0)
			err_set(&failed, ERR_UNAVAILABLE, "object %s appeared just now", name);
		object_s3_answer_release(&a);
	}
	if (e)
		*e = failed;
	return -1;
}

static int s3_remove(struct object_store *store, const char *name, struct err *e)
{
	struct object_s3 *s = object_s3_of(store);
	struct object_s3_call call = {.method = "DELETE", .repeatable = true};
	struct err failed = ERR_INIT;
	struct object_s3_answer a;
	char key[S3_KEY_MAX + 1];
	int result;

	if (object_s3_key(s, name, key, e) < 0)
		return -1;
	call.key = key;
	result = object_s3_do(s, &call, &a, &failed);
	object_s3_answer_release(&a);
	if (result == 0 || failed.code == ERR_NOT_FOUND)
		return 0;
	if (e)
		*e = failed;
	return -1;
}

/* ---- opening ---- */

static void s3_free(struct object_store *store)
{
	struct object_s3 *s = object_s3_of(store);

	while (s->idle_count)
		http_client_free(s->idle[--s->idle_count]);
	object_s3_credentials_free(s->credentials);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->probing);
	mem_free(s->bucket);
	mem_free(s->prefix);
	mem_free(s->base_url);
	mem_free(s->host);
	mem_free(s->region);
	mem_free(s->ca_file);
	mem_free(s->sse);
	mem_free(s->sse_kms_key);
	mem_free(s);
}

static const struct object_driver s3_driver = {
	.scheme = "s3",
	.put = object_s3_put,
	.get = s3_get,
	.size = s3_size,
	.remove = s3_remove,
	.list = object_s3_list,
	.prepare = object_s3_prepare,
	.free = s3_free,
};

/* BUCKET/PREFIX */
static int parse_place(struct object_s3 *s, const char *place, struct err *e)
{
	size_t n = strcspn(place, "/"), prefix;

	if (n < 3 || n > BUCKET_MAX ||
		strspn(place, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") < n)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"s3://%.64s names no bucket: 3 to %d of A-Z a-z 0-9 . - _", place, BUCKET_MAX);
	s->bucket = mem_strndup(place, n);
	place += n + (place[n] == '/');
	prefix = strlen(place);
	while (prefix && place[prefix - 1] == '/')
		prefix--;
	s->prefix = mem_strndup(place, prefix);
	if (prefix && object_name_check(s->prefix, e) < 0)
		return err_prefix(e, "the prefix in s3://%s/%.64s", s->bucket, place);
	if (prefix) {
		mem_free(s->prefix);
		s->prefix = mem_printf("%.*s/", (int)prefix, place);
	}
	return 0;
}

static const char *region_or_default(const char *region)
{
	const char *names[] = {"AWS_REGION", "AWS_DEFAULT_REGION"};

	for (size_t i = 0; !*region && i < array_count(names); i++)
		region = getenv(names[i]) ? getenv(names[i]) : "";
	return *region ? region : "us-east-1";
}

/* Sets base_url and host from the endpoint, with the bucket in the host when it is to be there. */
static int parse_endpoint(struct object_s3 *s, const char *endpoint, const char *addressing, struct err *e)
{
	bool tls = !strncmp(endpoint, "https://", 8);
	const char *rest = endpoint + (tls ? 8 : 7), *port;
	size_t n;

	if (*endpoint && !tls && strncmp(endpoint, "http://", 7) != 0)
		return err_set(
			e, ERR_INVALID_ARGUMENT, "s3.endpoint %s is no http:// or https:// URL", endpoint);
	n = *endpoint ? strlen(rest) : 0;
	while (n && rest[n - 1] == '/')
		n--;
	if (*endpoint && (!n || strcspn(rest, "/?#@ ") < n))
		return err_set(
			e, ERR_INVALID_ARGUMENT, "s3.endpoint %s is not https://HOST[:PORT]", endpoint);
	if (!strcmp(addressing, "auto"))
		s->path_style =
			*endpoint || strchr(s->bucket, '.'); /* a certificate's * stands for one label */
	else
		s->path_style = !strcmp(addressing, "path");
	if (*endpoint)
		s->host = mem_printf(
			"%s%s%.*s", s->path_style ? "" : s->bucket, s->path_style ? "" : ".", (int)n, rest);
	else
		s->host = mem_printf("%s%ss3.%s.amazonaws.com%s", s->path_style ? "" : s->bucket,
			s->path_style ? "" : ".", s->region, strncmp(s->region, "cn-", 3) ? "" : ".cn");
	s->base_url = mem_printf("%s%s", *endpoint && !tls ? "http://" : "https://", s->host);
	/* The Host field leaves out a port that goes without saying, and so must the signature. */
	port = strrchr(s->host, ':');
	if (port && !strcmp(port, *endpoint && !tls ? ":80" : ":443"))
		s->host[port - s->host] = '\0';
	return 0;
}

static void take_settings(struct object_s3 *s, const struct settings *set)
{
	const char *ca_file = settings_string(set, "s3.ca_file"),
		   *conditional = settings_string(set, "s3.conditional");
	const char *sse = settings_string(set, "s3.sse");

	s->ca_file = *ca_file ? mem_strdup(ca_file) : NULL;
	s->region = mem_strdup(region_or_default(settings_string(set, "s3.region")));
	s->sse = mem_strdup(strcmp(sse, "none") ? sse : "");
	s->sse_kms_key = mem_strdup(settings_string(set, "s3.sse_kms_key"));
	s->timeout_ms = settings_number(set, "s3.timeout");
	s->multipart_bytes = (uint64_t)settings_number(set, "s3.multipart_bytes");
	if (!strcmp(conditional, "on"))
		s->conditional = S3_CONDITIONAL_ON;
	else if (!strcmp(conditional, "off"))
		s->conditional = S3_CONDITIONAL_OFF;
}

int object_s3_open(const char *place, const struct settings *set, struct object_store **store, struct err *e)
{
	struct object_s3 *s = mem_zalloc(sizeof(*s));
	struct http_client *first;

	s->base.driver = &s3_driver;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->probing, NULL);
	take_settings(s, set);
	if (parse_place(s, place, e) < 0 || parse_endpoint(s, settings_string(set, "s3.endpoint"),
						    settings_string(set, "s3.addressing"), e) < 0)
		goto fail;
	/* The first one, made before there are threads: libcurl's and OpenSSL's beginnings are not for
	 * several at once. */
	first = http_client_new(s->base_url, NULL, e);
	if (!first)
		goto fail;
	http_client_set_ca_file(first, s->ca_file);
	s->idle[s->idle_count++] = first;
	s->credentials = object_s3_credentials_new();
	*store = &s->base;
	return 0;
fail:
	s3_free(&s->base);
	return -1;
}
