/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/sigv4.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum { DIGEST_BYTES = 32, SEGMENTS_MAX = 256 };

/* ---- hashes ---- */

static void to_hex(const unsigned char *p, char out[SIGV4_HASH_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < DIGEST_BYTES; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * DIGEST_BYTES] = '\0';
}

struct sigv4_hasher *sigv4_hasher_new(void)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL))
		abort(); /* out of memory, or a library without SHA-256 */
	return (struct sigv4_hasher *)md;
}

void sigv4_hasher_add(struct sigv4_hasher *h, const void *p, size_t n)
{
	if (!EVP_DigestUpdate((EVP_MD_CTX *)h, p, n))
		abort();
}

void sigv4_hasher_end(struct sigv4_hasher *h, char out[SIGV4_HASH_BYTES])
{
	unsigned char digest[DIGEST_BYTES];

	if (!EVP_DigestFinal_ex((EVP_MD_CTX *)h, digest, NULL))
		abort();
	EVP_MD_CTX_free((EVP_MD_CTX *)h);
	to_hex(digest, out);
}

void sigv4_hash(const void *p, size_t n, char out[SIGV4_HASH_BYTES])
{
	struct sigv4_hasher *h = sigv4_hasher_new();

	sigv4_hasher_add(h, p, n);
	sigv4_hasher_end(h, out);
}

static void hmac(const void *key, size_t key_bytes, const char *text, unsigned char out[DIGEST_BYTES])
{
	unsigned length = DIGEST_BYTES;

	if (!HMAC(EVP_sha256(), key, (int)key_bytes, (const unsigned char *)text, strlen(text), out, &length))
		abort();
}

void sigv4_time(long long unix_seconds, char out[SIGV4_TIME_BYTES])
{
	time_t t = (time_t)unix_seconds;
	struct tm tm;

	gmtime_r(&t, &tm);
	if (!strftime(out, SIGV4_TIME_BYTES, "%Y%m%dT%H%M%SZ", &tm))
		memcpy(out, "00000000T000000Z", SIGV4_TIME_BYTES); /* a year of five digits */
}

/* ---- the canonical request ---- */

/* Without ".", ".." and empty parts; a slash at the end stays one. */
static int add_normalized(struct buf *out, const char *path)
{
	const char *starts[SEGMENTS_MAX];
	size_t lengths[SEGMENTS_MAX], count = 0, n = 0;

	for (const char *at = path; *at; at += n + (at[n] == '/')) {
		n = strcspn(at, "/");
		if (n == 0 || (n == 1 && at[0] == '.'))
			continue;
		if (n == 2 && !memcmp(at, "..", 2)) {
			count -= count > 0;
			continue;
		}
		if (count == SEGMENTS_MAX)
			return -1;
		starts[count] = at;
		lengths[count++] = n;
	}
	for (size_t i = 0; i < count; i++) {
		buf_addc(out, '/');
		text_url_encode(out, starts[i], lengths[i]);
	}
	n = strlen(path);
	if (!count || (n && path[n - 1] == '/'))
		buf_addc(out, '/');
	return out->overflow ? -1 : 0;
}

int sigv4_path(struct buf *out, const char *path, bool normalize)
{
	if (normalize)
		return add_normalized(out, path);
	if (*path != '/')
		buf_addc(out, '/');
	for (const char *at = path; *at;) {
		size_t n = strcspn(at, "/");

		text_url_encode(out, at, n);
		at += n;
		if (*at == '/')
			buf_addc(out, *at++);
	}
	return out->overflow ? -1 : 0;
}

struct encoded {
	struct buf name, value;
};

static int compare_encoded(const void *a, const void *b)
{
	const struct encoded *x = a, *y = b;
	int c = strcmp(x->name.data, y->name.data);

	return c ? c : strcmp(x->value.data, y->value.data);
}

int sigv4_query(struct buf *out, const struct sigv4_pair *query, size_t count)
{
	struct encoded pairs[SIGV4_PAIRS_MAX];

	if (count > SIGV4_PAIRS_MAX)
		return -1;
	for (size_t i = 0; i < count; i++) {
		buf_init(&pairs[i].name, SIGV4_TEXT_MAX);
		buf_init(&pairs[i].value, SIGV4_TEXT_MAX);
		buf_adds(&pairs[i].name, "");
		buf_adds(&pairs[i].value, "");
		if (text_url_encode(&pairs[i].name, query[i].name, strlen(query[i].name)) < 0 ||
			text_url_encode(&pairs[i].value, query[i].value, strlen(query[i].value)) < 0)
			out->overflow = true;
	}
	/* Sorted as they are escaped, not as they are. */
	if (count)
		qsort(pairs, count, sizeof(pairs[0]), compare_encoded);
	for (size_t i = 0; i < count; i++) {
		buf_addf(out, "%s%s=%s", i ? "&" : "", pairs[i].name.data, pairs[i].value.data);
		buf_release(&pairs[i].name);
		buf_release(&pairs[i].value);
	}
	return out->overflow ? -1 : 0;
}

struct header {
	char *name; /* in small letters */
	const char *value;
	size_t index;
};

static int compare_headers(const void *a, const void *b)
{
	const struct header *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : x->index < y->index ? -1 : 1;
}

static size_t headers_sort(const struct sigv4_request *q, struct header sorted[SIGV4_PAIRS_MAX])
{
	for (size_t i = 0; i < q->header_count; i++) {
		sorted[i] = (struct header){mem_strdup(q->headers[i].name), q->headers[i].value, i};
		for (char *c = sorted[i].name; *c; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c + 'a' - 'A');
	}
	if (q->header_count)
		qsort(sorted, q->header_count, sizeof(sorted[0]), compare_headers);
	return q->header_count;
}

static void headers_free(struct header *sorted, size_t count)
{
	for (size_t i = 0; i < count; i++)
		mem_free(sorted[i].name);
}

/* Blanks at the ends go, several in a row are one. */
static void add_trimmed(struct buf *out, const char *value)
{
	bool any = false, blank = false;

	for (; *value; value++) {
		if (*value == ' ' || *value == '\t') {
			blank = any;
			continue;
		}
		if (blank)
			buf_addc(out, ' ');
		buf_addc(out, *value);
		any = true;
		blank = false;
	}
}

static void add_signed_names(struct buf *out, const struct header *sorted, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!i || strcmp(sorted[i].name, sorted[i - 1].name))
			buf_addf(out, "%s%s", i ? ";" : "", sorted[i].name);
}

static int add_headers(struct buf *out, const struct sigv4_request *q)
{
	struct header sorted[SIGV4_PAIRS_MAX];
	size_t count;

	if (q->header_count > SIGV4_PAIRS_MAX)
		return -1;
	count = headers_sort(q, sorted);
	for (size_t i = 0; i < count; i++) {
		if (i && !strcmp(sorted[i].name, sorted[i - 1].name))
			buf_addc(out, ',');
		else
			buf_addf(out, "%s%s:", i ? "\n" : "", sorted[i].name);
		add_trimmed(out, sorted[i].value);
	}
	buf_adds(out, "\n\n");
	add_signed_names(out, sorted, count);
	headers_free(sorted, count);
	return 0;
}

int sigv4_canonical_request(struct buf *out, const struct sigv4_request *q)
{
	buf_addf(out, "%s\n", q->method);
	if (sigv4_path(out, q->path, q->normalize_path) < 0)
		return -1;
	buf_addc(out, '\n');
	if (sigv4_query(out, q->query, q->query_count) < 0)
		return -1;
	buf_addc(out, '\n');
	if (add_headers(out, q) < 0)
		return -1;
	buf_addf(out, "\n%s", q->payload_hash);
	return out->overflow ? -1 : 0;
}

/* ---- the signature ---- */

int sigv4_string_to_sign(struct buf *out, const struct sigv4_request *q, const struct sigv4_key *k)
{
	struct buf canonical = BUF_INIT(SIGV4_TEXT_MAX);
	char hash[SIGV4_HASH_BYTES];
	int result;

	buf_reserve(&canonical, SIGV4_TEXT_MAX / 2); /* so that growing leaves no copies behind */
	result = sigv4_canonical_request(&canonical, q);
	if (result == 0) {
		sigv4_hash(canonical.data, canonical.len, hash);
		result = buf_addf(out, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s", k->time, k->time,
			k->region, k->service, hash);
	}
	buf_release_secret(&canonical); /* a session token is signed, too */
	return result;
}

static void sign(const struct sigv4_key *k, const char *text, char out[SIGV4_HASH_BYTES])
{
	unsigned char key[DIGEST_BYTES], next[DIGEST_BYTES];
	char *secret = mem_printf("AWS4%s", k->secret_key), date[9];

	memcpy(date, k->time, 8);
	date[8] = '\0';
	hmac(secret, strlen(secret), date, key);
	hmac(key, sizeof(key), k->region, next);
	hmac(next, sizeof(next), k->service, key);
	hmac(key, sizeof(key), "aws4_request", next);
	hmac(next, sizeof(next), text, key);
	to_hex(key, out);
	explicit_bzero(next, sizeof(next));
	mem_free_secret(secret);
}

int sigv4_authorization(
	struct buf *out, const struct sigv4_request *q, const struct sigv4_key *k, struct err *e)
{
	struct header sorted[SIGV4_PAIRS_MAX];
	struct buf text = BUF_INIT(SIGV4_TEXT_MAX);
	char signature[SIGV4_HASH_BYTES];
	size_t count;

	if (strlen(k->time) != SIGV4_TIME_BYTES - 1 || sigv4_string_to_sign(&text, q, k) < 0) {
		buf_release(&text);
		return err_set(e, ERR_TOO_LARGE, "a request is too large to be signed");
	}
	sign(k, text.data, signature);
	buf_release(&text);
	buf_addf(out, "AWS4-HMAC-SHA256 Credential=%s/%.8s/%s/%s/aws4_request, SignedHeaders=", k->access_key,
		k->time, k->region, k->service);
	count = headers_sort(q, sorted);
	add_signed_names(out, sorted, count);
	headers_free(sorted, count);
	if (buf_addf(out, ", Signature=%s", signature) < 0 || out->overflow)
		return err_set(e, ERR_TOO_LARGE, "a request is too large to be signed");
	return 0;
}
