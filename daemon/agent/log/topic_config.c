/* SPDX-License-Identifier: Apache-2.0 */
/* Topic keys: one table says what each may be. Names are Kafka's, plus `durability` and `schema.validation`. */
#include <errno.h>
#include <stdlib.h>
#include <jansson.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/text.h"

enum key_type { KEY_NUMBER, KEY_CHOICE };

static const struct config_key {
	const char *name;
	const char *default_value;
	enum key_type type;
	int64_t min, max;
	const char *choices;   /* "a|b" */
	const char *not_built; /* choices that are understood, but not served by this version */
} config_keys[] = {
	{"durability", "wal", KEY_CHOICE, 0, 0, "none|wal|object", ""},
	{"retention.ms", "-1", KEY_NUMBER, -1, INT64_MAX, NULL, NULL},
	{"retention.bytes", "-1", KEY_NUMBER, -1, INT64_MAX, NULL, NULL},
	{"max.message.bytes", "1048588", KEY_NUMBER, 1024, BATCH_MAX_BYTES, NULL, NULL},
	{"cleanup.policy", "delete", KEY_CHOICE, 0, 0, "delete|compact|compact,delete|delete,compact", "compact|compact,delete|delete,compact"},
	{"compression.type", "producer", KEY_CHOICE, 0, 0, "producer|uncompressed|none|gzip|snappy|lz4|zstd", ""},
	{"message.timestamp.type", "CreateTime", KEY_CHOICE, 0, 0, "CreateTime|LogAppendTime", ""},
	{"message.timestamp.before.max.ms", "9223372036854775807", KEY_NUMBER, 0, INT64_MAX, NULL, NULL},
	{"message.timestamp.after.max.ms", "9223372036854775807", KEY_NUMBER, 0, INT64_MAX, NULL, NULL},
	{"schema.validation", "none", KEY_CHOICE, 0, 0, "none|value|key|both", "value|key|both"},
	/* Of no effect here, but clients set them: segments and replicas are not theirs to choose. */
	{"min.insync.replicas", "1", KEY_NUMBER, 1, INT32_MAX, NULL, NULL},
	{"segment.bytes", "1073741824", KEY_NUMBER, 1, INT64_MAX, NULL, NULL},
	{"segment.ms", "604800000", KEY_NUMBER, 1, INT64_MAX, NULL, NULL},
	{"delete.retention.ms", "86400000", KEY_NUMBER, 0, INT64_MAX, NULL, NULL},
	{"file.delete.delay.ms", "60000", KEY_NUMBER, 0, INT64_MAX, NULL, NULL},
	{"flush.messages", "9223372036854775807", KEY_NUMBER, 1, INT64_MAX, NULL, NULL},
	{"flush.ms", "9223372036854775807", KEY_NUMBER, 0, INT64_MAX, NULL, NULL},
};

static const struct config_key *config_key_find(const char *name)
{
	for (size_t i = 0; i < array_count(config_keys); i++)
		if (!strcmp(config_keys[i].name, name))
			return &config_keys[i];
	return NULL;
}

static bool choice_among(const char *choices, const char *value)
{
	size_t n = strlen(value);

	for (const char *c = choices; c && *c; c = strchr(c, '|') ? strchr(c, '|') + 1 : NULL)
		if (!strncmp(c, value, n) && (c[n] == '|' || !c[n]))
			return true;
	return false;
}

/* A JSON value as the text that the tables hold. */
static const char *config_text(const json_t *v, char out[64])
{
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_integer(v))
		snprintf(out, 64, "%lld", (long long)json_integer_value(v));
	else if (json_is_boolean(v))
		snprintf(out, 64, "%s", json_is_true(v) ? "true" : "false");
	else
		return NULL;
	return out;
}

static int config_check_one(const char *name, const char *value, struct err *e)
{
	const struct config_key *key = config_key_find(name);
	int64_t number;

	if (!key) {
		err_set(e, ERR_INVALID_ARGUMENT, "unknown topic key \"%.100s\"", name);
		return err_hint(e, "TOPIC SETTINGS in streamctl-topic(1) has the usual ones; others have their names in Kafka");
	}
	if (!value)
		return err_set(e, ERR_INVALID_ARGUMENT, "topic key %s: the value must be a string, a number or a boolean", name);
	if (key->type == KEY_NUMBER)
		return text_parse_int(value, key->min, key->max, name, &number, e);
	if (!choice_among(key->choices, value))
		return err_set(e, ERR_INVALID_ARGUMENT, "topic key %s: \"%.100s\" is not one of %s", name, value, key->choices);
	if (choice_among(key->not_built, value))
		return err_set(e, ERR_NOT_BUILT, "topic key %s: \"%s\" is not built in this version", name, value);
	return 0;
}

int topic_config_check(const char *config_json, bool altering, struct err *e)
{
	json_error_t je;
	json_t *root = json_loads(config_json, JSON_REJECT_DUPLICATES, &je), *v;
	const char *name;
	char text[64];
	int result = 0;

	if (!json_is_object(root))
		result = err_set(e, ERR_INVALID_ARGUMENT, "config must be a JSON object: %.150s", root ? "it is another type" : je.text);
	else
		json_object_foreach(root, name, v) {
			if (altering && json_is_null(v))
				result = config_key_find(name) ? 0 : config_check_one(name, NULL, e);
			else
				result = config_check_one(name, config_text(v, text), e);
			if (result < 0)
				break;
		}
	json_decref(root);
	return result;
}

static const char *config_value(const json_t *root, const char *name, char text[64])
{
	const char *value = config_text(json_object_get(root, name), text);

	return value ? value : config_key_find(name)->default_value;
}

static int64_t config_number(const json_t *root, const char *name)
{
	char text[64];

	return strtoll(config_value(root, name, text), NULL, 10);
}

int topic_config_parse(const char *json, struct topic_config *c, struct err *e)
{
	int result = topic_config_check(json, false, e);
	json_t *root = result < 0 ? json_object() : json_loads(json, 0, NULL);
	char text[64];
	const char *codec = config_value(root, "compression.type", text);

	memset(c, 0, sizeof(*c));
	c->compression_fixed = strcmp(codec, "producer") != 0;
	if (c->compression_fixed && codec_parse(strcmp(codec, "uncompressed") ? codec : "none", &c->compression, NULL) < 0)
		c->compression_fixed = false;
	durability_parse(config_value(root, "durability", text), &c->durability, NULL);
	c->compact = strstr(config_value(root, "cleanup.policy", text), "compact") != NULL;
	c->log_append_time = !strcmp(config_value(root, "message.timestamp.type", text), "LogAppendTime");
	c->retention_ms = config_number(root, "retention.ms");
	c->retention_bytes = config_number(root, "retention.bytes");
	c->max_message_bytes = config_number(root, "max.message.bytes");
	c->timestamp_before_ms = config_number(root, "message.timestamp.before.max.ms");
	c->timestamp_after_ms = config_number(root, "message.timestamp.after.max.ms");
	json_decref(root);
	return result;
}
