/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/run/api.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "libsh/base/text.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000 };

struct api {
	struct http_client *http;
	int64_t timeout_ms;
};

struct api *api_new(const char *server, const char *token, int64_t timeout_ms, struct err *e)
{
	struct http_client *http = http_client_new(server, token, e);
	struct api *a;

	if (!http)
		return NULL;
	a = mem_zalloc(sizeof(*a));
	a->http = http;
	a->timeout_ms = timeout_ms;
	return a;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	http_client_free(a->http);
	mem_free(a);
}

struct http_client *api_http(struct api *a)
{
	return a->http;
}

const char *api_topic_setting(const struct api_topic *t, const char *key)
{
	for (size_t i = 0; i < t->config_count; i++)
		if (!strcmp(t->config[i].key, key))
			return t->config[i].value;
	return NULL;
}

/* ---- trying again ---- */

void api_retry_init(struct api_retry *r, int64_t timeout_ms)
{
	*r = (struct api_retry){.deadline_ms = clock_mono_ms() + timeout_ms,
		.backoff_ms = BACKOFF_MIN_MS,
		.seed = (unsigned)clock_mono_ns() ^ (unsigned)getpid()};
}

bool api_is_refused_for_now(const struct err *e)
{
	return e->code == ERR_UNAVAILABLE || e->code == ERR_BACK_PRESSURE || e->code == ERR_NOT_OWNER;
}

bool api_retry_wait(struct api_retry *r, int64_t retry_after_ms)
{
	int64_t pause_ms = retry_after_ms > r->backoff_ms ? retry_after_ms : r->backoff_ms;
	struct timespec t;

	pause_ms += rand_r(&r->seed) % (pause_ms / 2 + 1);
	if (clock_mono_ms() + pause_ms >= r->deadline_ms)
		return false;
	t = (struct timespec){pause_ms / 1000, pause_ms % 1000 * 1000000};
	nanosleep(&t, NULL);
	r->backoff_ms = r->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : r->backoff_ms * 2;
	return true;
}

/* ---- the frame of a call ---- */

/* The timeout holds for all tries together. */
static int send_until_taken(
	struct api *a, struct http_call_request *q, struct http_call_answer *answer, struct err *e)
{
	struct err own = ERR_INIT; /* the caller may not want the text */
	struct api_retry retry;

	api_retry_init(&retry, a->timeout_ms);
	q->timeout_ms = a->timeout_ms;
	while (http_client_do(a->http, q, answer, &own)) {
		if (!api_is_refused_for_now(&own) || !api_retry_wait(&retry, answer->retry_after_ms)) {
			if (e)
				*e = own;
			return -1;
		}
		buf_release(&answer->body);
		err_clear(&own);
		q->timeout_ms = retry.deadline_ms - clock_mono_ms();
		if (q->timeout_ms < 1)
			q->timeout_ms = 1; /* 0 would be without an end */
	}
	return 0;
}

static const char *topic_path(struct arena *m, const char *topic, const char *rest)
{
	struct buf path = BUF_INIT(4096);
	const char *copy;

	buf_adds(&path, "/api/v1/topics/");
	text_url_encode(&path, topic, strlen(topic));
	buf_adds(&path, rest);
	copy = arena_strdup(m, path.overflow ? "/api/v1/topics/-" : path.data);
	buf_release(&path);
	return copy;
}

/* Sends body (may be NULL) as JSON; *root is the answer's JSON, NULL when it has no body. */
static int call(
	struct api *a, const char *method, const char *path, json_t *body, json_t **root, struct err *e)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct http_call_request q = {.method = method,
		.path = path,
		.body = text,
		.body_bytes = text ? strlen(text) : 0,
		.content_type = text ? "application/json" : NULL,
		.reads_only = !strcmp(method, "GET")};
	struct http_call_answer answer;
	json_error_t why;
	int result = send_until_taken(a, &q, &answer, e);

	if (root)
		*root = NULL;
	if (!result && root) {
		*root = json_loadb(answer.body.data ? answer.body.data : "", answer.body.len, 0, &why);
		if (!*root) {
			result = err_set(e, ERR_INTERNAL, "%s%s does not answer in JSON: %s",
				http_client_url(a->http), path, why.text);
			err_hint(e, "is it a StreamHouse server?");
		}
	}
	buf_release(&answer.body);
	free(text);
	return result;
}

static int not_as_expected(struct api *a, const char *what, struct err *e)
{
	return err_set(e, ERR_INTERNAL, "the answer of %s is not %s as this version knows it",
		http_client_url(a->http), what);
}

static int64_t number(const json_t *object, const char *name, int64_t otherwise)
{
	const json_t *v = json_object_get(object, name);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

static const char *string(const json_t *object, const char *name, struct arena *m)
{
	const char *s = json_string_value(json_object_get(object, name));

	return s ? arena_strdup(m, s) : NULL;
}

/* ---- topics ---- */

static const char *value_text(const json_t *v, struct arena *m)
{
	char *dump;
	const char *copy;

	if (json_is_string(v))
		return arena_strdup(m, json_string_value(v));
	dump = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	copy = arena_strdup(m, dump ? dump : "");
	free(dump);
	return copy;
}

static int read_topic(struct api *a, json_t *root, struct arena *m, struct api_topic *t, struct err *e)
{
	json_t *config = json_object_get(root, "config"), *value;
	struct api_setting *settings;
	const char *key;

	*t = (struct api_topic){.name = string(root, "name", m), .created_at = string(root, "created_at", m),
		.partition_count = (int32_t)number(root, "partition_count", 0),
		.replication_factor = number(root, "replication_factor", 1),
		.retention_ms = number(root, "retention_ms", -1),
		.message_count = number(root, "message_count", -1),
		.size_bytes = number(root, "size_bytes", -1)};
	if (!t->name || t->partition_count < 1)
		return not_as_expected(a, "a topic", e);
	settings = arena_alloc(m, sizeof(*settings) * (json_object_size(config) + 1));
	json_object_foreach(config, key, value) settings[t->config_count++] =
		(struct api_setting){arena_strdup(m, key), value_text(value, m)};
	t->config = settings;
	return 0;
}

int api_topics(struct api *a, struct arena *m, struct api_topic **topics, size_t *count, struct err *e)
{
	json_t *root, *item;
	size_t i;
	int result = -1;

	if (call(a, "GET", "/api/v1/topics", NULL, &root, e))
		return -1;
	if (!json_is_array(root)) {
		not_as_expected(a, "a list of topics", e);
		goto out;
	}
	*count = json_array_size(root);
	*topics = arena_alloc(m, sizeof(**topics) * (*count + 1));
	json_array_foreach(root, i, item)
		if (read_topic(a, item, m, &(*topics)[i], e))
			goto out;
	result = 0;
out:
	json_decref(root);
	return result;
}

int api_topic(struct api *a, const char *name, struct arena *m, struct api_topic *topic, struct err *e)
{
	json_t *root;
	int result;

	if (call(a, "GET", topic_path(m, name, ""), NULL, &root, e))
		return -1;
	result = read_topic(a, root, m, topic, e);
	json_decref(root);
	return result;
}

/* NULL: a value is not UTF-8. */
static json_t *config_object(const struct api_setting *config, size_t count)
{
	json_t *object = json_object();

	for (size_t i = 0; i < count; i++)
		if (json_object_set_new(
			    object, config[i].key, config[i].value ? json_string(config[i].value) : json_null())) {
			json_decref(object);
			return NULL;
		}
	return object;
}

int api_topic_create(struct api *a, const char *name, int64_t partitions, const struct api_setting *config,
	size_t config_count, struct err *e)
{
	json_t *body = json_pack("{s:s, s:I, s:o}", "name", name, "partitions", (json_int_t)partitions,
		"config", config_object(config, config_count));
	int result;

	if (!body)
		return err_set(e, ERR_USAGE, "the name or a setting of the topic is not valid UTF-8");
	result = call(a, "POST", "/api/v1/topics", body, NULL, e);
	json_decref(body);
	return result;
}

int api_topic_alter(struct api *a, const char *name, int64_t partitions, const struct api_setting *config,
	size_t config_count, struct err *e)
{
	struct arena m = ARENA_INIT;
	json_t *body = json_object();
	int result;

	if (partitions)
		json_object_set_new(body, "partitions", json_integer(partitions));
	if (config_count && json_object_set_new(body, "config", config_object(config, config_count)))
		result = err_set(e, ERR_USAGE, "a setting of the topic is not valid UTF-8");
	else
		result = call(a, "PATCH", topic_path(&m, name, ""), body, NULL, e);
	json_decref(body);
	arena_release(&m);
	return result;
}

int api_topic_delete(struct api *a, const char *name, struct err *e)
{
	struct arena m = ARENA_INIT;
	int result = call(a, "DELETE", topic_path(&m, name, ""), NULL, NULL, e);

	arena_release(&m);
	return result;
}

int api_partitions(struct api *a, const char *topic, struct arena *m, struct api_partition **partitions,
	size_t *count, struct err *e)
{
	json_t *root, *item;
	size_t i;

	if (call(a, "GET", topic_path(m, topic, "/partitions"), NULL, &root, e))
		return -1;
	*count = json_array_size(root);
	*partitions = arena_alloc(m, sizeof(**partitions) * (*count + 1));
	json_array_foreach(root, i, item) {
		struct api_partition *p = &(*partitions)[i];
		const json_t *leader = json_object_get(item, "leader_agent_id");

		*p = (struct api_partition){(int32_t)number(item, "partition_id", -1),
			number(item, "low_watermark", -1), number(item, "high_watermark", -1),
			leader && !json_is_null(leader) ? value_text(leader, m) : NULL};
		if (p->id < 0 || p->low_watermark < 0 || p->high_watermark < p->low_watermark)
			*count = 0;
	}
	json_decref(root);
	return *count ? 0 : not_as_expected(a, "a list of partitions", e);
}

int api_status(struct api *a, struct arena *m, const char **json, struct err *e)
{
	struct http_call_request q = {.method = "GET", .path = "/api/v1/status", .reads_only = true};
	struct http_call_answer answer;
	int result = send_until_taken(a, &q, &answer, e);

	if (!result)
		*json = arena_strndup(m, answer.body.data ? answer.body.data : "", answer.body.len);
	buf_release(&answer.body);
	return result;
}

/* ---- records ---- */

static void read_ack(const struct http_call_answer *answer, int32_t partition, struct api_ack *ack)
{
	json_t *root = json_loadb(answer->body.data ? answer->body.data : "", answer->body.len, 0, NULL);
	const char *durability = json_string_value(json_object_get(root, "durability"));
	json_t *item;
	size_t i;

	ack->taken = number(root, "records", 0);
	ack->records = number(root, "acknowledged", ack->taken);
	json_array_foreach(json_object_get(root, "partitions"), i, item)
		if (number(item, "partition", -1) == partition) {
			ack->first_offset = number(item, "first_offset", -1);
			ack->last_offset = number(item, "last_offset", -1);
		}
	snprintf(ack->durability, sizeof(ack->durability), "%s", durability ? durability : "");
	json_decref(root);
}

int api_produce(struct api *a, const char *topic, int32_t partition, const char *durability,
	const void *batches, size_t n, struct api_ack *ack, struct err *e)
{
	struct arena m = ARENA_INIT;
	char *query = durability ? mem_printf("/records?partition=%d&durability=%s", partition, durability) :
				   mem_printf("/records?partition=%d", partition);
	struct http_call_request q = {.method = "POST",
		.path = topic_path(&m, topic, query),
		.content_type = API_BATCH_TYPE,
		.body = batches,
		.body_bytes = n,
		.timeout_ms = a->timeout_ms};
	struct http_call_answer answer;
	int result = http_client_do(a->http, &q, &answer, e);

	*ack = (struct api_ack){
		.first_offset = -1, .last_offset = -1, .retry_after_ms = answer.retry_after_ms};
	read_ack(&answer, partition, ack);
	buf_release(&answer.body);
	arena_release(&m);
	mem_free(query);
	return result;
}

const char *api_fetch_path(const struct api_fetch *f, struct arena *m)
{
	struct buf rest = BUF_INIT(512);
	const char *path;

	buf_addf(&rest, "/partitions/%d/records?offset=%lld", f->partition, (long long)f->offset);
	if (f->end >= 0)
		buf_addf(&rest, "&end=%lld", (long long)f->end);
	if (f->max_bytes)
		buf_addf(&rest, "&max_bytes=%lld", (long long)f->max_bytes);
	if (f->max_records)
		buf_addf(&rest, "&max_records=%lld", (long long)f->max_records);
	if (f->wait_ms)
		buf_addf(&rest, "&wait_ms=%lld", (long long)f->wait_ms);
	path = topic_path(m, f->topic, rest.data);
	buf_release(&rest);
	return path;
}

int api_seek(struct api *a, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
	struct err *e)
{
	struct arena m = ARENA_INIT;
	char *rest = mem_printf(
		"/partitions/%d/records?timestamp=%lld&max_records=1", partition, (long long)timestamp_ms);
	json_t *root;
	int result = call(a, "GET", topic_path(&m, topic, rest), NULL, &root, e);

	if (!result) {
		const json_t *first = json_array_get(json_object_get(root, "records"), 0);

		*offset = first ? number(first, "offset", -1) : number(root, "high_watermark", -1);
		if (*offset < 0)
			result = not_as_expected(a, "a record", e);
		json_decref(root);
	}
	mem_free(rest);
	arena_release(&m);
	return result;
}
