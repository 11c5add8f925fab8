/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to S3, from struct to signature to verdict. Every body is signed with its SHA-256, also over
 * TLS, so that what was changed between our file and the service is refused there; that costs a second pass
 * over bytes that are in memory anyway.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "libsh/store/object_s3.h"

enum {
	ATTEMPTS = 5,
	PAUSE_FIRST_MS = 50,
	PAUSE_MAX_MS = 3000,
	SLOWEST_BYTES_PER_MS = 64, /* an object that comes slower than that is given up */
	HASH_CHUNK_BYTES = 128 << 10,
	FIELDS_MAX = 16,
	ALL_HEADERS = 16,
	SKEW_MIN_MS = 5 * 60 * 1000,
};

struct attempt {
	struct object_s3 *s;
	const struct object_s3_call *call;
	struct object_s3_answer *answer;
	uint64_t sent, received;
	bool too_much;
	struct err local; /* our file could not be read */
};

void object_s3_call_header(struct object_s3_call *call, const char *name, const char *value)
{
	call->headers[call->header_count++] = (struct sigv4_pair){name, value};
}

void object_s3_call_query(struct object_s3_call *call, const char *name, const char *value)
{
	call->query[call->query_count++] = (struct sigv4_pair){name, value};
}

void object_s3_call_encryption(const struct object_s3 *s, struct object_s3_call *call)
{
	if (!*s->sse)
		return;
	object_s3_call_header(call, "x-amz-server-side-encryption", s->sse);
	if (*s->sse_kms_key)
		object_s3_call_header(call, "x-amz-server-side-encryption-aws-kms-key-id", s->sse_kms_key);
}

int64_t object_s3_now_ms(struct object_s3 *s)
{
	int64_t ahead_ms;

	pthread_mutex_lock(&s->lock);
	ahead_ms = s->clock_ahead_ms;
	pthread_mutex_unlock(&s->lock);
	return clock_real_ms() + ahead_ms;
}

void object_s3_answer_release(struct object_s3_answer *a)
{
	buf_release(&a->body);
}

static void answer_init(struct object_s3_answer *a)
{
	memset(a, 0, sizeof(*a));
	a->content_length = a->retry_after_ms = -1;
	buf_init(&a->body, S3_BODY_MAX);
}

/* ---- connections ---- */

static struct http_client *client_get(struct object_s3 *s, struct err *e)
{
	struct http_client *c = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->idle_count)
		c = s->idle[--s->idle_count];
	pthread_mutex_unlock(&s->lock);
	if (c)
		return c;
	c = http_client_new(s->base_url, NULL, e);
	if (c && s->ca_file)
		http_client_set_ca_file(c, s->ca_file);
	return c;
}

static void client_put(struct object_s3 *s, struct http_client *c)
{
	pthread_mutex_lock(&s->lock);
	if (s->idle_count < S3_CLIENTS_MAX) {
		s->idle[s->idle_count++] = c;
		c = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	http_client_free(c);
}

/* ---- what the HTTP client calls ---- */

static ptrdiff_t on_read(void *ctx, void *p, size_t n)
{
	struct attempt *a = ctx;
	uint64_t left = a->call->body_bytes - a->sent;

	if (n > left)
		n = (size_t)left;
	if (n && disk_pread(a->call->fd, p, n, (int64_t)(a->call->fd_offset + a->sent), &a->local) < 0)
		return -1;
	a->sent += n;
	return (ptrdiff_t)n;
}

static int on_data(void *ctx, const void *p, size_t n)
{
	struct attempt *a = ctx;

	if (!a->call->into) {
		a->too_much = buf_add(&a->answer->body, p, n) < 0;
	} else if (n > a->call->into_bytes - a->received) {
		a->too_much = true;
	} else {
		memcpy((char *)a->call->into + a->received, p, n);
		a->received += n;
	}
	return a->too_much ? -1 : 0;
}

/* The field's value when the line is of that field, cut to fit. */
static bool field_value(const char *line, size_t n, const char *name, char *out, size_t out_bytes)
{
	size_t len = strlen(name);

	if (n <= len || strncasecmp(line, name, len) != 0 || line[len] != ':')
		return false;
	line += len + 1;
	n -= len + 1;
	while (n && (*line == ' ' || *line == '\t')) {
		line++;
		n--;
	}
	while (n && (line[n - 1] == '\r' || line[n - 1] == '\n' || line[n - 1] == ' '))
		n--;
	if (n >= out_bytes)
		n = out_bytes - 1;
	memcpy(out, line, n);
	out[n] = '\0';
	return true;
}

static void on_field(void *ctx, const char *line, size_t n)
{
	struct object_s3_answer *a = ((struct attempt *)ctx)->answer;
	char number[24];
	long long value;

	if (field_value(line, n, "etag", a->etag, sizeof(a->etag)) ||
		field_value(line, n, "content-range", a->content_range, sizeof(a->content_range)) ||
		field_value(line, n, "x-amz-bucket-region", a->region, sizeof(a->region)))
		return;
	if (field_value(line, n, "content-length", number, sizeof(number)) &&
		sscanf(number, "%lld", &value) == 1)
		a->content_length = value;
}

/* ---- one attempt ---- */

/* No answer, or not all of it. */
static enum object_s3_verdict judge_transport(
	struct attempt *at, const struct http_call_answer *answer, const struct err *why, struct err *e)
{
	const char *what = at->call->key ? at->call->key : at->s->bucket;

	if (at->local.code) {
		if (e)
			*e = at->local;
		return S3_REFUSED;
	}
	if (at->too_much) {
		err_set(e, ERR_IO, "%s %s: the store sent more than was asked for", at->call->method, what);
		return S3_REFUSED;
	}
	if (answer->untrusted) {
		err_set(e, ERR_UNAVAILABLE, "the object store, %s %s: %s", at->call->method, what, why->text);
		err_hint(e, "set s3.ca_file to the certificate of the authority that vouches for the store");
		return S3_REFUSED;
	}
	if (why->code == ERR_CONNECT || at->call->repeatable) {
		err_set(e, ERR_UNAVAILABLE, "the object store, %s %s: %s", at->call->method, what, why->text);
		return S3_AGAIN;
	}
	err_set(e, ERR_OUTCOME_UNKNOWN, "the object store, %s %s: %s", at->call->method, what, why->text);
	return S3_REFUSED;
}

/*
 * S3 refuses what was signed a quarter of an hour ago, or ahead. Our clock may be wrong, and records must go
 * somewhere: then we sign by the store's. HEAD is not told the reason. Whether that is new.
 */
static bool correct_clock(struct attempt *at, const struct http_call_answer *answer)
{
	const struct object_s3_answer *a = at->answer;
	int64_t ahead_ms = answer->date_ms - clock_real_ms(), change_ms;

	if (answer->date_ms < 0 ||
		(strcmp(a->code, "RequestTimeTooSkewed") && (*a->code || a->status != 403)))
		return false;
	pthread_mutex_lock(&at->s->lock);
	change_ms = ahead_ms - at->s->clock_ahead_ms;
	if (change_ms < -SKEW_MIN_MS || change_ms > SKEW_MIN_MS)
		at->s->clock_ahead_ms = ahead_ms;
	pthread_mutex_unlock(&at->s->lock);
	return change_ms < -SKEW_MIN_MS || change_ms > SKEW_MIN_MS;
}

static enum object_s3_verdict judge(
	struct attempt *at, const struct http_call_answer *answer, const struct err *why, struct err *e)
{
	struct object_s3_answer *a = at->answer;
	enum object_s3_verdict verdict;

	a->status = answer->status;
	a->retry_after_ms = answer->retry_after_ms;
	if (!answer->complete)
		return judge_transport(at, answer, why, e);
	if (a->status / 100 != 2) {
		object_s3_read_error(a, &answer->body);
		verdict = object_s3_judge(at->s, at->call, a, e);
		return correct_clock(at, answer) ? S3_AGAIN : verdict;
	}
	if (at->call->errors_late) {
		object_s3_read_error(a, &a->body);
		if (*a->code) {
			a->status = 500;
			return object_s3_judge(at->s, at->call, a, e);
		}
	}
	if (at->call->into && at->received != at->call->into_bytes) {
		err_set(e, ERR_UNAVAILABLE, "%s %s: %llu bytes came, not %zu", at->call->method,
			at->call->key, (unsigned long long)at->received, at->call->into_bytes);
		return S3_AGAIN;
	}
	return S3_DONE;
}

struct signed_request {
	struct buf path; /* with the query */
	struct sigv4_pair headers[ALL_HEADERS];
	size_t header_count;
	char *fields[FIELDS_MAX + 1];
	char time[SIGV4_TIME_BYTES];
};

static void add_header(struct signed_request *r, const char *name, const char *value)
{
	r->headers[r->header_count++] = (struct sigv4_pair){name, value};
}

static int sign(struct object_s3 *s, const struct object_s3_call *call, const struct object_s3_key *key,
	const char *payload_hash, struct signed_request *r, struct err *e)
{
	const char *k = call->key ? call->key : "";
	char *path = s->path_style ? mem_printf("/%s%s%s", s->bucket, call->key ? "/" : "", k)
				   : mem_printf("/%s", k);
	struct sigv4_request q = {.method = call->method,
		.path = path,
		.query = call->query,
		.query_count = call->query_count,
		.headers = r->headers,
		.payload_hash = payload_hash};
	struct sigv4_key sk = {key->access_key, key->secret_key, s->region, "s3", r->time};
	struct buf authorization = BUF_INIT(SIGV4_TEXT_MAX);
	int result;

	sigv4_time(object_s3_now_ms(s) / 1000, r->time);
	add_header(r, "host", s->host);
	add_header(r, "x-amz-date", r->time);
	add_header(r, "x-amz-content-sha256", payload_hash);
	if (*key->token)
		add_header(r, "x-amz-security-token", key->token);
	for (size_t i = 0; i < call->header_count; i++)
		add_header(r, call->headers[i].name, call->headers[i].value);
	q.header_count = r->header_count;
	result = sigv4_authorization(&authorization, &q, &sk, e);
	sigv4_path(&r->path, path, false);
	if (call->query_count) {
		buf_addc(&r->path, '?');
		sigv4_query(&r->path, call->query, call->query_count);
	}
	/* All but the host, which the HTTP client sends by itself. */
	for (size_t i = 1; i < r->header_count; i++)
		r->fields[i - 1] = mem_printf("%s: %s", r->headers[i].name, r->headers[i].value);
	if (result == 0)
		r->fields[r->header_count - 1] = mem_printf("Authorization: %s", authorization.data);
	r->fields[r->header_count] = mem_strdup("User-Agent: streamhouse");
	buf_release(&authorization);
	mem_free(path);
	return result;
}

static void signed_release(struct signed_request *r)
{
	for (int i = 0; i <= FIELDS_MAX; i++)
		mem_free_secret(r->fields[i]); /* one may be the session token */
	buf_release(&r->path);
}

static enum object_s3_verdict send_request(struct attempt *at, const struct signed_request *r, struct err *e)
{
	const struct object_s3_call *call = at->call;
	uint64_t most = call->into_bytes > call->body_bytes ? call->into_bytes : call->body_bytes;
	struct http_call_request q = {.method = call->method,
		.path = r->path.data,
		.accept = "*/*",
		.fields = (const char *const *)r->fields,
		.field = on_field,
		.data = on_data,
		.ctx = at,
		.timeout_ms = 2 * at->s->timeout_ms + (int64_t)(most / SLOWEST_BYTES_PER_MS),
		.silence_ms = at->s->timeout_ms,
		.reads_only = call->repeatable};
	struct http_client *client = client_get(at->s, e);
	struct http_call_answer answer = {0};
	struct err why = ERR_INIT;
	enum object_s3_verdict verdict;

	if (!client)
		return S3_REFUSED;
	if (call->has_body) {
		q.content_type = "application/octet-stream";
		q.body = call->body ? call->body : "";
		q.body_bytes = (size_t)call->body_bytes;
		if (!call->body && call->body_bytes)
			q.read_body = on_read;
	}
	http_client_do(client, &q, &answer, &why);
	client_put(at->s, client);
	verdict = judge(at, &answer, &why, e);
	buf_release(&answer.body);
	return verdict;
}

static enum object_s3_verdict attempt(struct object_s3 *s, const struct object_s3_call *call,
	const char *payload_hash, struct object_s3_answer *a, struct err *e)
{
	struct attempt at = {.s = s, .call = call, .answer = a, .local = ERR_INIT};
	struct signed_request r = {.path = BUF_INIT(SIGV4_TEXT_MAX)};
	struct object_s3_key key = {0};
	enum object_s3_verdict verdict = S3_REFUSED;

	answer_init(a);
	if (object_s3_credentials_get(s->credentials, &key, e) < 0)
		return verdict;
	if (sign(s, call, &key, payload_hash, &r, e) == 0)
		verdict = send_request(&at, &r, e);
	if (!strcmp(a->code, "ExpiredToken") || !strcmp(a->code, "InvalidToken") ||
		!strcmp(a->code, "InvalidAccessKeyId"))
		object_s3_credentials_refused(s->credentials, key.generation);
	object_s3_key_release(&key);
	signed_release(&r);
	return verdict;
}

/* ---- all attempts ---- */

static int hash_body(const struct object_s3_call *call, char out[SIGV4_HASH_BYTES], struct err *e)
{
	struct sigv4_hasher *h = sigv4_hasher_new();
	char *chunk = NULL;
	int result = 0;

	if (call->body)
		sigv4_hasher_add(h, call->body, (size_t)call->body_bytes);
	else if (call->body_bytes)
		chunk = mem_alloc(HASH_CHUNK_BYTES);
	for (uint64_t at = 0; chunk && at < call->body_bytes && result == 0;) {
		uint64_t left = call->body_bytes - at;
		size_t n = left < HASH_CHUNK_BYTES ? (size_t)left : HASH_CHUNK_BYTES;

		result = disk_pread(call->fd, chunk, n, (int64_t)(call->fd_offset + at), e);
		if (result == 0)
			sigv4_hasher_add(h, chunk, n);
		at += n;
	}
	sigv4_hasher_end(h, out);
	mem_free(chunk);
	return result;
}

/* Up to a doubling limit, so that many who failed together do not come back together. */
static int64_t pause_ms(int tries, int64_t retry_after_ms)
{
	struct uuid random = uuid_random();
	int64_t most = (int64_t)PAUSE_FIRST_MS << tries;

	if (most > PAUSE_MAX_MS)
		most = PAUSE_MAX_MS;
	most = 1 + (random.b[0] << 8 | random.b[1]) % most;
	return retry_after_ms > 0 ? retry_after_ms + most : most;
}

int object_s3_do(
	struct object_s3 *s, const struct object_s3_call *call, struct object_s3_answer *a, struct err *e)
{
	int64_t deadline = clock_mono_ms() + s->timeout_ms;
	char hash[SIGV4_HASH_BYTES];

	answer_init(a);
	if (hash_body(call, hash, e) < 0)
		return -1;
	for (int tries = 0;; tries++) {
		enum object_s3_verdict verdict = attempt(s, call, hash, a, e);
		struct timespec t;
		int64_t pause;

		if (verdict == S3_DONE) {
			err_clear(e);
			return 0;
		}
		pause = pause_ms(tries, a->retry_after_ms);
		if (verdict == S3_REFUSED || tries + 1 == ATTEMPTS || clock_mono_ms() + pause >= deadline)
			return -1;
		object_s3_answer_release(a);
		t = (struct timespec){pause / 1000, pause % 1000 * 1000000};
		nanosleep(&t, NULL);
	}
}
