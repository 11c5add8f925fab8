/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a URL and settings to a driver of S3. Opening asks nothing of the network, so that a process starts,
 * and serves what it has, while the service is away; prepare() does, and says what is wrong.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsh/base/mem.h"
#include "libsh/store/object_s3.h"

#define LOWER_DIGITS "abcdefghijklmnopqrstuvwxyz0123456789"
#define LETTERS_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZ" LOWER_DIGITS

enum { BUCKET_MAX = 255 };

void object_s3_free(struct object_store *store)
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

/* BUCKET/PREFIX */
static int parse_place(struct object_s3 *s, const char *place, struct err *e)
{
	size_t n = strcspn(place, "/"), prefix;

	if (n < 3 || n > BUCKET_MAX || strspn(place, LETTERS_DIGITS ".-_") < n)
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
	/* A host name has small letters, and a certificate's * is for one label. */
	if (!strcmp(addressing, "auto"))
		s->path_style = *endpoint || strspn(s->bucket, LOWER_DIGITS "-") < strlen(s->bucket);
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

/* What becomes a part of header lines. */
static bool is_word(const char *text)
{
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			return false;
	return true;
}

static int take_encryption(struct object_s3 *s, const struct settings *set, struct err *e)
{
	const char *sse = settings_string(set, "s3.sse"), *key = settings_string(set, "s3.sse_kms_key");

	if (*key && strcmp(sse, "aws:kms") != 0) {
		err_set(e, ERR_INVALID_ARGUMENT, "s3.sse_kms_key names a key, but s3.sse is %s", sse);
		return err_hint(e, "set s3.sse=aws:kms");
	}
	if (!is_word(key))
		return err_set(e, ERR_INVALID_ARGUMENT, "s3.sse_kms_key holds a blank, or what is not ASCII");
	s->sse = mem_strdup(strcmp(sse, "none") ? sse : "");
	s->sse_kms_key = mem_strdup(key);
	return 0;
}

static int take_region(struct object_s3 *s, const struct settings *set, struct err *e)
{
	const char *region = region_or_default(settings_string(set, "s3.region"));

	if (strspn(region, LETTERS_DIGITS "-_.") < strlen(region))
		return err_set(e, ERR_INVALID_ARGUMENT, "%.64s is no name of a region", region);
	s->region = mem_strdup(region);
	return 0;
}

static int check_ca_file(const struct object_s3 *s, struct err *e)
{
	if (s->ca_file && access(s->ca_file, R_OK) < 0)
		return err_sys(e, ERR_INVALID_ARGUMENT, "s3.ca_file %s cannot be read", s->ca_file);
	return 0;
}

static void take_settings(struct object_s3 *s, const struct settings *set)
{
	const char *ca_file = settings_string(set, "s3.ca_file"),
		   *conditional = settings_string(set, "s3.conditional");

	s->ca_file = *ca_file ? mem_strdup(ca_file) : NULL;
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

	s->base.driver = &object_s3_driver;
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->probing, NULL);
	take_settings(s, set);
	if (parse_place(s, place, e) < 0 || take_region(s, set, e) < 0 || take_encryption(s, set, e) < 0 ||
		check_ca_file(s, e) < 0 ||
		parse_endpoint(
			s, settings_string(set, "s3.endpoint"), settings_string(set, "s3.addressing"), e) < 0)
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
	object_s3_free(&s->base);
	return -1;
}
