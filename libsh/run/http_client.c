/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/run/http_client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "libsh/base/list.h"
#include "libsh/base/mem.h"

enum {
	IDLE_CALLS_MAX = 8, /* finished handles kept for reuse */
	CONNECT_TIMEOUT_MS = 5000,
	IDLE_CONNECTION_S =
		20, /* less than any server waits, so that we do not write into a connection it is closing */
	BUFFER_BYTES = 256 << 10,
	ERROR_BODY_MAX = 64 << 10,
	RETRY_AFTER_MAX_MS = 3600 * 1000,
	DATE_BYTES = 64,
};

struct http_call {
	struct list node; /* in client->active or client->idle */
	struct http_client *client;
	CURL *easy;
	struct http_call_request request;
	struct http_call_answer answer;
	http_call_done_fn *done;
	void *done_ctx;
	struct curl_slist *fields;
	char curl_error[CURL_ERROR_SIZE];
	size_t body_sent;   /* bytes handed to libcurl */
	bool ended_by_caller; /* data() or read_body() said so */
	bool overflow;
};

struct http_client {
	CURLM *multi;
	char *base_url;
	char *token;
	char *ca_file;
	bool direct;
	struct list active, idle;
	int idle_count;
};

struct http_client *http_client_new(const char *base_url, const char *token, struct err *e)
{
	struct http_client *c;
	size_t len = strlen(base_url);

	if (strncmp(base_url, "http://", 7) && strncmp(base_url, "https://", 8)) {
		err_set(e, ERR_USAGE, "the server \"%s\" is no http:// or https:// URL", base_url);
		err_hint(e, "write it as http://HOST:PORT");
		return NULL;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT)) {
		err_set(e, ERR_INTERNAL, "libcurl does not start");
		return NULL;
	}
	while (len && base_url[len - 1] == '/')
		len--;
	c = mem_zalloc(sizeof(*c));
	list_init(&c->active);
	list_init(&c->idle);
	c->base_url = mem_strndup(base_url, len);
	c->token = token ? mem_strdup(token) : NULL;
	c->multi = curl_multi_init();
	return c;
}

const char *http_client_url(const struct http_client *c)
{
	return c->base_url;
}

void http_client_set_ca_file(struct http_client *c, const char *path)
{
	mem_free(c->ca_file);
	c->ca_file = path ? mem_strdup(path) : NULL;
}

void http_client_set_direct(struct http_client *c)
{
	c->direct = true;
}

/* They may hold a token. */
static void fields_free(struct http_call *call)
{
	for (struct curl_slist *field = call->fields; field; field = field->next)
		explicit_bzero(field->data, strlen(field->data));
	curl_slist_free_all(call->fields);
	call->fields = NULL;
}

static void call_free(struct http_call *call)
{
	curl_easy_cleanup(call->easy);
	fields_free(call);
	buf_release(&call->answer.body);
	mem_free(call);
}

void http_client_free(struct http_client *c)
{
	if (!c)
		return;
	while (!list_empty(&c->active))
		http_client_cancel(c, list_first(&c->active, struct http_call, node));
	list_for_each_safe(it, &c->idle)
		call_free(list_entry(it, struct http_call, node));
	curl_multi_cleanup(c->multi);
	mem_free(c->base_url);
	mem_free(c->token);
	mem_free(c->ca_file);
	mem_free(c);
}

/* ---- what libcurl calls ---- */

static int64_t parse_date(const char *text, size_t n)
{
	char date[DATE_BYTES];
	time_t seconds;

	if (n >= sizeof(date))
		return -1;
	memcpy(date, text, n);
	date[n] = '\0';
	seconds = curl_getdate(date, NULL);
	return seconds < 0 ? -1 : (int64_t)seconds * 1000;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	size_t len = size * n;
	int status;
	long long seconds;

	if (call->request.field)
		call->request.field(call->request.ctx, line, len);
	if (len > 9 && !memcmp(line, "HTTP/", 5) && sscanf(line, "HTTP/%*s %d", &status) == 1) {
		call->answer.status = status; /* of several (100 Continue) the last one counts */
	} else if (len > 5 && !strncasecmp(line, "date:", 5)) {
		call->answer.date_ms = parse_date(line + 5, len - 5);
	} else if (len > 12 && !strncasecmp(line, "retry-after:", 12) &&
		   sscanf(line + 12, "%lld", &seconds) == 1) {
		if (seconds >= 0)
			call->answer.retry_after_ms =
				seconds * 1000 > RETRY_AFTER_MAX_MS || seconds > RETRY_AFTER_MAX_MS
					? RETRY_AFTER_MAX_MS
					: seconds * 1000;
	}
	return len;
}

static size_t on_data(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	size_t len = size * n;

	if (call->request.data && call->answer.status / 100 == 2) {
		if (call->request.data(call->request.ctx, p, len)) {
			call->ended_by_caller = true;
			return 0;
		}
		return len;
	}
	if (call->answer.status >= 400 && call->answer.body.len + len > ERROR_BODY_MAX)
		return len; /* enough of it is there to name the error */
	if (buf_add(&call->answer.body, p, len)) {
		call->overflow = true;
		return 0;
	}
	return len;
}

static size_t on_read(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	size_t room = size * n, left;

	if (call->request.read_body) {
		ptrdiff_t got = call->request.read_body(call->request.ctx, p, room);

		if (got < 0) {
			call->ended_by_caller = true;
			return CURL_READFUNC_ABORT;
		}
		call->body_sent += (size_t)got;
		return (size_t)got;
	}
	left = call->request.body_bytes - call->body_sent;
	if (left > room)
		left = room;
	memcpy(p, (const char *)call->request.body + call->body_sent, left);
	call->body_sent += left;
	return left;
}

/* libcurl would rewind the body to send a request again on a new connection. It may have arrived: refuse. What
 * read_body() gave cannot be had again. */
static int on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct http_call *call = ctx;

	if (call->request.reads_only && !call->request.read_body && origin == SEEK_SET) {
		call->body_sent = (size_t)offset;
		return CURL_SEEKFUNC_OK;
	}
	return call->body_sent ? CURL_SEEKFUNC_FAIL : CURL_SEEKFUNC_OK;
}

/* ---- starting ---- */

static void add_field(struct http_call *call, const char *name, const char *value)
{
	char *line = mem_printf("%s: %s", name, value);

	call->fields = curl_slist_append(call->fields, line);
	mem_free(line);
}

static void set_body(struct http_call *call)
{
	const struct http_call_request *q = &call->request;
	CURL *easy = call->easy;

	if (!q->content_type) {
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
		if (!strcmp(q->method, "HEAD"))
			curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
		/* without a body there is no rewind to refuse, so it gets a connection of its own */
		curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, q->reads_only ? 0L : 1L);
		return;
	}
	add_field(call, "Content-Type", q->content_type);
	add_field(call, "Expect", "");
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	if (strcmp(q->method, "POST"))
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, q->method);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(easy, CURLOPT_READDATA, call);
	curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_seek);
	curl_easy_setopt(easy, CURLOPT_SEEKDATA, call);
	if (q->read_body && !q->body_bytes)
		add_field(call, "Transfer-Encoding", "chunked");
	else
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)q->body_bytes);
}

static void set_options(struct http_call *call)
{
	const struct http_call_request *q = &call->request;
	CURL *easy = call->easy;
	char *url = mem_printf("%s%s", call->client->base_url, q->path);

	curl_easy_reset(easy);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	mem_free(url);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L); /* as it was signed */
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->curl_error);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (call->client->direct)
		curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)IDLE_CONNECTION_S);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)BUFFER_BYTES);
	curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "streamctl");
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)q->timeout_ms);
	if (q->silence_ms) {
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
		curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((q->silence_ms + 999) / 1000));
	}
	if (call->client->ca_file)
		curl_easy_setopt(easy, CURLOPT_CAINFO, call->client->ca_file);
	for (const char *const *field = q->fields; field && *field; field++)
		call->fields = curl_slist_append(call->fields, *field);
	add_field(call, "Accept", q->accept ? q->accept : "application/json");
	if (call->client->token) {
		char *bearer = mem_printf("Bearer %s", call->client->token);

		add_field(call, "Authorization", bearer);
		mem_free(bearer);
	}
	set_body(call);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->fields);
}

struct http_call *http_client_start(
	struct http_client *c, const struct http_call_request *q, http_call_done_fn *done, void *ctx)
{
	struct http_call *call = list_first(&c->idle, struct http_call, node);

	if (call) {
		list_remove(&call->node);
		c->idle_count--;
	} else {
		call = mem_zalloc(sizeof(*call));
		call->client = c;
		call->easy = curl_easy_init();
		buf_init(&call->answer.body, HTTP_CLIENT_BODY_MAX);
		list_init(&call->node);
	}
	call->request = *q;
	call->done = done;
	call->done_ctx = ctx;
	call->answer.status = 0;
	call->answer.complete = false;
	call->answer.retry_after_ms = call->answer.date_ms = -1;
	call->answer.untrusted = false;
	buf_reset(&call->answer.body);
	call->curl_error[0] = '\0';
	call->body_sent = 0;
	call->ended_by_caller = call->overflow = false;
	set_options(call);
	list_push(&c->active, &call->node);
	curl_multi_add_handle(c->multi, call->easy);
	return call;
}

/* Off the list of active calls, and kept for the next one or freed. */
static void call_retire(struct http_client *c, struct http_call *call)
{
	curl_multi_remove_handle(c->multi, call->easy);
	list_remove(&call->node);
	curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, NULL);
	fields_free(call);
	if (c->idle_count >= IDLE_CALLS_MAX) {
		call_free(call);
		return;
	}
	list_push(&c->idle, &call->node);
	c->idle_count++;
}

void http_client_cancel(struct http_client *c, struct http_call *call)
{
	if (call)
		call_retire(c, call);
}

/* ---- ending ---- */

static enum err_code code_of_status(int status)
{
	switch (status) {
	case 401:
		return ERR_UNAUTHENTICATED;
	case 403:
		return ERR_FORBIDDEN;
	case 404:
		return ERR_NOT_FOUND;
	case 405:
		return ERR_METHOD_NOT_ALLOWED;
	case 408:
		return ERR_REQUEST_TIMEOUT;
	case 409:
		return ERR_CONFLICT;
	case 413:
		return ERR_TOO_LARGE;
	case 415:
		return ERR_UNSUPPORTED_MEDIA;
	case 416:
		return ERR_OFFSET_OUT_OF_RANGE;
	case 429:
		return ERR_BACK_PRESSURE;
	case 501:
		return ERR_NOT_BUILT;
	case 502:
	case 503:
		return ERR_UNAVAILABLE;
	case 504:
		return ERR_OUTCOME_UNKNOWN;
	default:
		return status < 500 ? ERR_INVALID_ARGUMENT : ERR_INTERNAL;
	}
}

/* The server said no: in its own words where it has some. */
static void error_of_answer(const struct http_call *call, struct err *e)
{
	const struct http_call_answer *a = &call->answer;
	json_t *root = json_loadb(a->body.data ? a->body.data : "", a->body.len, 0, NULL),
	       *error = json_object_get(root, "error");
	const char *name = json_string_value(json_object_get(error, "code"));
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *hint = json_string_value(json_object_get(error, "hint"));
	enum err_code code = name ? err_from_name(name) : code_of_status(a->status);

	if (name && code == ERR_INTERNAL && strcmp(name, err_name(ERR_INTERNAL)))
		code = code_of_status(a->status);
	if (!name && a->status == 502 && !call->request.reads_only)
		code = ERR_OUTCOME_UNKNOWN; /* of a proxy, which may have passed the request on */
	if (message)
		err_set(e, code, "%s", message);
	else
		err_set(e, code, "%s %s: the server answered with status %d", call->request.method,
			call->request.path, a->status);
	if (hint)
		err_hint(e, "%s", hint);
	json_decref(root);
}

static void error_of_transport(const struct http_call *call, CURLcode result, struct err *e)
{
	const char *url = call->client->base_url;
	const char *why = call->curl_error[0] ? call->curl_error : curl_easy_strerror(result);
	bool timed_out = result == CURLE_OPERATION_TIMEDOUT;
	long connected = 0;

	if (result == CURLE_SEND_FAIL_REWIND) /* on_seek() refused to send it again */
		why = "the connection was closed";
	curl_easy_getinfo(
		call->easy, CURLINFO_REQUEST_SIZE, &connected); /* bytes of request heads that left */
	if (call->overflow) {
		err_set(e, ERR_TOO_LARGE, "the answer to %s is larger than %d MiB", call->request.path,
			HTTP_CLIENT_BODY_MAX >> 20);
	} else if (call->ended_by_caller) {
		err_set(e, ERR_PARTIAL, "%s was ended before its end", call->request.path);
	} else if (!connected && !call->body_sent && !call->answer.status) {
		err_set(e, ERR_CONNECT, "the server %s cannot be reached: %s", url, why);
		err_hint(e, "is shd running? -s or STREAMCTL_SERVER says where");
	} else if (!call->request.reads_only) {
		err_set(e, ERR_OUTCOME_UNKNOWN, "%s %s was sent to %s, but no full answer came: %s",
			call->request.method, call->request.path, url, why);
		err_hint(e, "it may have been done or not");
	} else {
		err_set(e, timed_out ? ERR_REQUEST_TIMEOUT : ERR_UNAVAILABLE,
			"no full answer to %s from %s: %s", call->request.path, url, why);
	}
}

static void finish(struct http_client *c, struct http_call *call, CURLcode result)
{
	struct err e = ERR_INIT;

	call->answer.complete = result == CURLE_OK;
	call->answer.untrusted = result == CURLE_PEER_FAILED_VERIFICATION;
	if (result != CURLE_OK)
		error_of_transport(call, result, &e);
	else if (call->answer.status >= 400)
		error_of_answer(call, &e);
	/* Out of the multi handle first: done() may start a call that wants this connection. */
	curl_multi_remove_handle(c->multi, call->easy);
	list_remove(&call->node);
	call->done(call->done_ctx, &call->answer, &e);
	call_retire(c, call);
}

static bool finish_all(struct http_client *c)
{
	CURLMsg *m;
	int left;
	bool any = false;

	while ((m = curl_multi_info_read(c->multi, &left))) {
		struct http_call *call;
		CURLcode result = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
		finish(c, call, result);
		any = true;
	}
	return any;
}

bool http_client_wait(struct http_client *c, int fd, bool *readable, int64_t timeout_ms)
{
	struct curl_waitfd extra = {.fd = fd, .events = CURL_WAIT_POLLIN};
	int running, events;

	if (readable)
		*readable = false;
	curl_multi_perform(c->multi, &running);
	if (finish_all(c))
		return !list_empty(&c->active);
	if (list_empty(&c->active) && fd < 0)
		return false;
	curl_multi_poll(c->multi, fd >= 0 ? &extra : NULL, fd >= 0, (int)timeout_ms, &events);
	if (fd >= 0 && extra.revents && readable)
		*readable = true;
	curl_multi_perform(c->multi, &running);
	finish_all(c);
	return !list_empty(&c->active);
}

struct waiting {
	struct http_call_answer *answer;
	struct err *e;
	struct err own; /* the caller may not want the text */
	bool done;
};

static void on_done(void *ctx, struct http_call_answer *answer, const struct err *e)
{
	struct waiting *w = ctx;

	*w->answer = *answer;
	buf_init(&answer->body, HTTP_CLIENT_BODY_MAX); /* it is the caller's now */
	w->own = *e;
	w->done = true;
}

int http_client_do(struct http_client *c, const struct http_call_request *q, struct http_call_answer *answer,
	struct err *e)
{
	struct waiting w = {.answer = answer};

	http_client_start(c, q, on_done, &w);
	while (!w.done)
		http_client_wait(c, -1, NULL, 1000);
	if (w.own.code == ERR_NONE)
		return 0;
	if (e)
		*e = w.own;
	return -1;
}
