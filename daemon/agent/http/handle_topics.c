/* SPDX-License-Identifier: Apache-2.0 */
/* Topics and their partitions. */
#include "daemon/agent/http/handlers.h"
#include "daemon/agent/http/server.h"

#include <jansson.h>
#include "libsh/base/clock.h"
#include "libsh/format/json_write.h"
#include "libsh/store/meta.h"

/* ---- output ---- */

static void write_topic(struct buf *out, const struct topic *t)
{
	char created[CLOCK_RFC3339_BYTES];
	uint64_t records, bytes;

	topic_totals(t, &records, &bytes);
	json_write_open(out, '{');
	json_write_member_string(out, "name", t->name);
	json_write_member_uint(out, "partition_count", t->partition_count);
	json_write_member_uint(out, "partitions", t->partition_count);
	json_write_member_uint(out, "replication_factor", t->replication_factor);
	json_write_member_int(out, "retention_ms", t->config.retention_ms);
	json_write_name(out, "config");
	json_write_raw(out, t->config_text && *t->config_text ? t->config_text : "{}",
		t->config_text && *t->config_text ? strlen(t->config_text) : 2);
	json_write_member_string(out, "durability", durability_name(t->config.durability));
	json_write_member_string(out, "created_at", clock_format_rfc3339(t->created_ms, created));
	json_write_member_uint(out, "message_count", records);
	json_write_member_uint(out, "size_bytes", bytes);
	json_write_close(out, '}');
}

static struct topic *find_topic(struct http_request *r)
{
	struct topic *t = log_topic(r->server->log, r->params[0], strlen(r->params[0]));
	struct err e = ERR_INIT;

	if (!t) {
		err_set(&e, ERR_TOPIC_NOT_FOUND, "there is no topic \"%.200s\"", r->params[0]);
		http_answer_err(r, &e);
	}
	return t;
}

static void answer_topic(struct http_request *r, int status, const struct topic *t)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);

	write_topic(&out, t);
	http_answer_buf(r, status, HTTP_JSON, &out);
}

void handle_topic_get(struct http_request *r)
{
	struct topic *t = find_topic(r);

	if (t)
		answer_topic(r, 200, t);
}

/* All of them, in order of name; ?after=NAME&limit=N for a page. */
void handle_topics_list(struct http_request *r)
{
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	const char *after = http_query(r, "after");
	int64_t limit = INT64_MAX;
	struct err e = ERR_INIT;

	if (http_query_int(r, "limit", 0, INT64_MAX, &limit, &e) < 0) {
		http_answer_err(r, &e);
		return;
	}
	json_write_open(&out, '[');
	for (struct topic *t; limit-- > 0 && (t = log_topic_after(r->server->log, after)); after = t->name)
		write_topic(&out, t);
	json_write_close(&out, ']');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

void handle_partitions(struct http_request *r)
{
	struct topic *t = find_topic(r);
	struct buf out = BUF_INIT(HTTP_ANSWER_MAX);
	char agent[24];

	if (!t)
		return;
	json_write_open(&out, '[');
	for (uint32_t i = 0; i < t->partition_count; i++) {
		const struct partition *p = t->partitions[i];

		json_write_open(&out, '{');
		json_write_member_uint(&out, "partition_id", p->number);
		json_write_member_string(&out, "topic", t->name);
		snprintf(agent, sizeof(agent), "agent-%u", p->slot);
		json_write_member_string(&out, "leader_agent_id", agent);
		json_write_member_int(&out, "high_watermark", partition_high_watermark(p));
		json_write_member_int(&out, "low_watermark", p->log_start);
		json_write_member_uint(&out, "epoch", p->epoch);
		json_write_member_int(&out, "flushed_end", p->flushed_end);
		json_write_member_int(&out, "synced_end", p->synced_end);
		json_write_member_uint(&out, "message_count", p->records);
		json_write_member_uint(&out, "size_bytes", p->bytes);
		if (p->damage)
			json_write_member_string(&out, "damage", p->damage);
		json_write_close(&out, '}');
	}
	json_write_close(&out, ']');
	http_answer_buf(r, 200, HTTP_JSON, &out);
}

/* ---- changes: they end when the log says so, which cannot be called off, so what waits outlives the
 * request ---- */

struct change {
	struct http_request *r;          /* NULL: the client is gone */
	char *name;
	int status;                      /* of success */
};

static void change_release(struct http_request *r)
{
	struct change *c = r->state;

	if (c)
		c->r = NULL;
}

static void change_done(void *ctx, const struct err *e)
{
	struct change *c = ctx;
	struct http_request *r = c->r;
	struct topic *t;
	struct err gone = ERR_INIT;

	if (r) {
		r->state = NULL;
		t = log_topic(r->server->log, c->name, strlen(c->name));
		if (e) {
			http_answer_err(r, e);
		} else if (c->status == 204) {
			http_answer(r, 204, NULL, NULL, 0);
		} else if (t) {
			answer_topic(r, c->status, t);
		} else {
			err_set(&gone, ERR_TOPIC_NOT_FOUND, "the topic \"%s\" was deleted meanwhile", c->name);
			http_answer_err(r, &gone);
		}
	}
	mem_free(c->name);
	mem_free(c);
}

static struct change *change_new(struct http_request *r, const char *name, int status)
{
	struct change *c = mem_zalloc(sizeof(*c));

	c->r = r;
	c->name = mem_strdup(name);
	c->status = status;
	r->state = c;
	r->release = change_release;
	return c;
}

/* ---- input ---- */

static json_t *read_object(struct http_request *r, struct err *e)
{
	json_error_t error;
	json_t *root = json_loadb(r->collected.data ? r->collected.data : "", r->collected.len,
		JSON_REJECT_DUPLICATES, &error);

	if (!root) {
		err_set(e, ERR_INVALID_ARGUMENT, "the body is not JSON: line %d: %s", error.line, error.text);
		return NULL;
	}
	if (!json_is_object(root)) {
		err_set(e, ERR_INVALID_ARGUMENT, "the body is not a JSON object");
		json_decref(root);
		return NULL;
	}
	return root;
}

/* A whole number under one of two names. Absent or null: *out stays. */
static int read_number(const json_t *root, const char *name, const char *other, int64_t min,
	int64_t max, int64_t *out, struct err *e)
{
	const json_t *v = json_object_get(root, name);

	if ((!v || json_is_null(v)) && other)
		v = json_object_get(root, other);
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < min || json_integer_value(v) > max)
		return err_set(e, ERR_INVALID_ARGUMENT, "\"%s\" is not a whole number from %lld to %lld", name,
			(long long)min,
			(long long)max);
	*out = json_integer_value(v);
	return 0;
}

static int add_config(json_t *into, const char *key, const json_t *value, bool altering, struct err *e)
{
	char text[32];

	if (json_is_string(value)) {
		json_object_set(into, key, (json_t *)value);
	} else if (json_is_boolean(value)) {
		json_object_set_new(into, key, json_string(json_is_true(value) ? "true" : "false"));
	} else if (json_is_integer(value)) {
		snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(value));
		json_object_set_new(into, key, json_string(text));
	} else if (json_is_null(value) && altering) {
		json_object_set_new(into, key, json_null());
	} else if (!json_is_null(value)) {
		return err_set(e, ERR_INVALID_ARGUMENT,
			"config: the value of \"%.100s\" is not a text, a whole number or a boolean", key);
	}
	return 0;
}

/* config and retention_ms together as the JSON text that the log takes, in the arena. */
static const char *read_config(struct http_request *r, const json_t *root, bool altering, struct err *e)
{
	json_t *config = json_object(), *given = json_object_get(root, "config"), *value;
	json_t *retention = json_object_get(root, "retention_ms");
	const char *key, *result = NULL;
	char *text = NULL;

	if (given && !json_is_null(given) && !json_is_object(given)) {
		err_set(e, ERR_INVALID_ARGUMENT, "\"config\" is not an object");
		goto out;
	}
	json_object_foreach(given, key, value) {
		if (add_config(config, key, value, altering, e) < 0)
			goto out;
	}
	if (retention && add_config(config, "retention.ms", retention, altering, e) < 0)
		goto out;
	text = json_dumps(config, JSON_COMPACT);
	if (!topic_config_check(text, altering, e))
		result = arena_strdup(&r->arena, text);
out:
	free(text);
	json_decref(config);
	return result;
}

void handle_topics_create(struct http_request *r)
{
	int64_t partitions = 1, replicas = 1;
	struct err e = ERR_INIT;
	json_t *root = read_object(r, &e);
	const char *name = root ? json_string_value(json_object_get(root, "name")) : NULL, *config;

	if (!root)
		goto refuse;
	if (!name || !*name) {
		err_set(&e, ERR_INVALID_ARGUMENT, "\"name\" is missing or empty");
		goto refuse;
	}
	if (read_number(root, "partitions", "partition_count", 1, META_PARTITIONS_MAX, &partitions, &e) < 0 ||
		read_number(root, "replication_factor", NULL, 1, INT16_MAX, &replicas, &e) < 0 ||
		!(config = read_config(r, root, false, &e)))
		goto refuse;
	log_topic_create(r->server->log, name, (uint32_t)partitions, (uint32_t)replicas, config, change_done,
		change_new(r, name, 201));
	json_decref(root);
	return;
refuse:
	json_decref(root);
	http_answer_err(r, &e);
}

void handle_topic_patch(struct http_request *r)
{
	int64_t partitions = 0;
	struct err e = ERR_INIT;
	json_t *root;
	const char *config = NULL;

	if (!find_topic(r))
		return;
	root = read_object(r, &e);
	if (!root || read_number(root, "partitions", "partition_count", 1, META_PARTITIONS_MAX, &partitions, &e) < 0 ||
		!(config = read_config(r, root, true, &e)))
		http_answer_err(r, &e);
	else
		log_topic_alter(r->server->log, r->params[0], (uint32_t)partitions, config, change_done,
			change_new(r, r->params[0], 200));
	json_decref(root);
}

void handle_topic_delete(struct http_request *r)
{
	if (find_topic(r))
		log_topic_delete(r->server->log, r->params[0], change_done, change_new(r, r->params[0], 204));
}
