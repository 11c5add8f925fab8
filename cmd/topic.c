/* SPDX-License-Identifier: Apache-2.0 */
/* streamctl topic create, list, describe, alter, delete. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/client.h"
#include "cmd/output.h"
#include "libsh/base/text.h"

/* "key=value" of -C into settings; an empty value means the default where that is allowed. */
static int read_settings(const struct option_list *list, bool may_reset, struct arena *m,
	struct api_setting **out, struct err *e)
{
	*out = arena_alloc(m, sizeof(**out) * ((size_t)list->count + 1));
	for (int i = 0; i < list->count; i++) {
		const char *equals = strchr(list->items[i], '=');

		if (!equals || equals == list->items[i])
			return err_set(e, ERR_USAGE, "-C %s: expected key=value", list->items[i]);
		(*out)[i].key = arena_strndup(m, list->items[i], (size_t)(equals - list->items[i]));
		(*out)[i].value = may_reset && !equals[1] ? NULL : equals + 1;
	}
	return 0;
}

/* ---- create ---- */

struct create {
	int64_t partitions;
	struct option_list config;
	bool if_not_exists;
};
static const struct option create_options[] = {
	{.type = OPTION_INT, .letter = 'p', .name = "partitions", .argument = "N",
		.offset = offsetof(struct create, partitions),
		.min = 1, .max = 100000, .text = "Cut the topic into N partitions",
		.more = "The default is 1."},
	{.type = OPTION_LIST, .letter = 'C', .name = "config", .argument = "KEY=VALUE",
		.offset = offsetof(struct create, config),
		.text = "Set a setting of the topic, such as durability=object or retention.ms=86400000",
		.more = "May be given several times. The settings are listed under TOPIC SETTINGS."},
	{.type = OPTION_FLAG, .name = "if-not-exists", .offset = offsetof(struct create, if_not_exists),
		.text = "Succeed when the topic exists already"},
	{.type = OPTION_END},
};

static void create_defaults(void *values)
{
	((struct create *)values)->partitions = 1;
}

static int run_create(struct command_run *r)
{
	const struct create *v = r->values;
	struct arena m = ARENA_INIT;
	struct err e = ERR_INIT;
	struct api_setting *settings;
	struct api *api = NULL;
	int status = EXIT_DONE;

	if (read_settings(&v->config, false, &m, &settings, &e) || !(api = client_open(r->globals, &e)) ||
		api_topic_create(api, r->argv[0], v->partitions, settings, (size_t)v->config.count, &e)) {
		if (e.code == ERR_EXISTS && v->if_not_exists)
			command_note(r, "topic \"%s\" exists already", r->argv[0]);
		else
			status = command_fail(r, &e);
	}
	api_free(api);
	arena_release(&m);
	return status;
}

/* ---- list ---- */

static const struct output_column list_columns[] = {
	{.name = "name", .type = OUTPUT_TEXT},
	{.name = "partitions", .type = OUTPUT_NUMBER},
	{.name = "message_count", .type = OUTPUT_NUMBER, .heading = "records"},
	{.name = "size_bytes", .type = OUTPUT_BYTES, .heading = "size"},
	{.name = "durability", .type = OUTPUT_TEXT},
	{.name = "created_at", .type = OUTPUT_TEXT},
};

static int run_list(struct command_run *r)
{
	struct arena m = ARENA_INIT;
	struct err e = ERR_INIT;
	struct api_topic *topics;
	struct output *out;
	size_t count;
	struct api *api = client_open(r->globals, &e);
	int status = EXIT_DONE;

	if (!api || api_topics(api, &m, &topics, &count, &e)) {
		status = command_fail(r, &e);
		goto out;
	}
	out = output_new(r, list_columns, array_count(list_columns));
	for (size_t i = 0; i < count; i++) {
		const char *durability = api_topic_setting(&topics[i], "durability");

		if (r->argc && !text_glob(r->argv[0], topics[i].name))
			continue;
		output_text(out, topics[i].name);
		output_number(out, topics[i].partition_count);
		output_number(out, topics[i].message_count);
		output_number(out, topics[i].size_bytes);
		output_text(out, durability ? durability : "wal");
		output_text(out, topics[i].created_at);
	}
	output_finish(out, false);
out:
	api_free(api);
	arena_release(&m);
	return status;
}

/* ---- describe ---- */

static const struct output_column describe_columns[] = {
	{.name = "name", .type = OUTPUT_TEXT},
	{.name = "partition_count", .type = OUTPUT_NUMBER},
	{.name = "message_count", .type = OUTPUT_NUMBER, .heading = "records"},
	{.name = "size_bytes", .type = OUTPUT_BYTES, .heading = "size"},
	{.name = "created_at", .type = OUTPUT_TEXT},
};
static const struct output_column partition_columns[] = {
	{.name = "partition", .type = OUTPUT_NUMBER},
	{.name = "first_offset", .type = OUTPUT_NUMBER},
	{.name = "end_offset", .type = OUTPUT_NUMBER},
	{.name = "records", .type = OUTPUT_NUMBER},
	{.name = "leader", .type = OUTPUT_TEXT},
};

/* -o json, ndjson: one object with everything. */
static void describe_json(const struct command_run *r, const struct api_topic *t,
	const struct api_partition *partitions, size_t count)
{
	struct buf b = BUF_INIT(64 << 20);

	buf_adds(&b, "{\"name\":");
	text_json_string(&b, t->name, strlen(t->name));
	buf_addf(&b, ",\"partition_count\":%d,\"message_count\":%lld,\"size_bytes\":%lld,\"created_at\":",
		t->partition_count, (long long)t->message_count, (long long)t->size_bytes);
	text_json_string(&b, t->created_at ? t->created_at : "", t->created_at ? strlen(t->created_at) : 0);
	buf_adds(&b, ",\"config\":{");
	for (size_t i = 0; i < t->config_count; i++) {
		buf_adds(&b, i ? "," : "");
		text_json_string(&b, t->config[i].key, strlen(t->config[i].key));
		buf_addc(&b, ':');
		text_json_string(&b, t->config[i].value, strlen(t->config[i].value));
	}
	buf_adds(&b, "},\"partitions\":[");
	for (size_t i = 0; i < count; i++)
		buf_addf(&b, "%s{\"partition\":%d,\"first_offset\":%lld,\"end_offset\":%lld}", i ? "," : "",
			partitions[i].id, (long long)partitions[i].low_watermark,
			(long long)partitions[i].high_watermark);
	buf_adds(&b, "]}\n");
	command_write(r, b.data, b.len);
	buf_release(&b);
}

static void describe_table(const struct command_run *r, const struct api_topic *t,
	const struct api_partition *partitions, size_t count)
{
	struct output *out;
	struct buf b = BUF_INIT(1 << 20);

	if (r->globals->output != OUTPUT_TSV) {
		out = output_new(r, describe_columns, array_count(describe_columns));
		output_text(out, t->name);
		output_number(out, t->partition_count);
		output_number(out, t->message_count);
		output_number(out, t->size_bytes);
		output_text(out, t->created_at);
		output_finish(out, true);
		buf_addc(&b, '\n');
		for (size_t i = 0; i < t->config_count; i++)
			buf_addf(&b, "%s=%s\n", t->config[i].key, t->config[i].value);
		if (t->config_count)
			buf_addc(&b, '\n');
		command_write(r, b.data, b.len);
		buf_release(&b);
	}
	out = output_new(r, partition_columns, array_count(partition_columns));
	for (size_t i = 0; i < count; i++) {
		output_number(out, partitions[i].id);
		output_number(out, partitions[i].low_watermark);
		output_number(out, partitions[i].high_watermark);
		output_number(out, partitions[i].high_watermark - partitions[i].low_watermark);
		output_text(out, partitions[i].leader);
	}
	output_finish(out, false);
}

static int run_describe(struct command_run *r)
{
	struct arena m = ARENA_INIT;
	struct err e = ERR_INIT;
	struct api_topic topic;
	struct api_partition *partitions;
	size_t count;
	struct api *api = client_open(r->globals, &e);
	int status = EXIT_DONE;

	if (!api || api_topic(api, r->argv[0], &m, &topic, &e) ||
		api_partitions(api, r->argv[0], &m, &partitions, &count, &e))
		status = command_fail(r, &e);
	else if (r->globals->output == OUTPUT_JSON || r->globals->output == OUTPUT_NDJSON)
		describe_json(r, &topic, partitions, count);
	else
		describe_table(r, &topic, partitions, count);
	api_free(api);
	arena_release(&m);
	return status;
}

/* ---- alter ---- */

struct alter {
	int64_t partitions;
	struct option_list config;
};
static const struct option alter_options[] = {
	{.type = OPTION_INT, .letter = 'p', .name = "partitions", .argument = "N",
		.offset = offsetof(struct alter, partitions),
		.min = 1, .max = 100000, .text = "Raise the number of partitions to N",
		.more = "Records with a key may go to another partition than before."},
	{.type = OPTION_LIST, .letter = 'C', .name = "config", .argument = "KEY=VALUE",
		.offset = offsetof(struct alter, config),
		.text = "Set a setting of the topic; an empty VALUE takes it back to its default",
		.more = "May be given several times."},
	{.type = OPTION_END},
};

static int run_alter(struct command_run *r)
{
	const struct alter *v = r->values;
	struct arena m = ARENA_INIT;
	struct err e = ERR_INIT;
	struct api_setting *settings;
	struct api *api = NULL;
	int status = EXIT_DONE;

	if (!v->partitions && !v->config.count)
		err_set(&e, ERR_USAGE, "nothing to change: give --partitions or -C");
	if (e.code || read_settings(&v->config, true, &m, &settings, &e) ||
		!(api = client_open(r->globals, &e)) ||
		api_topic_alter(api, r->argv[0], v->partitions, settings, (size_t)v->config.count, &e))
		status = command_fail(r, &e);
	api_free(api);
	arena_release(&m);
	return status;
}

/* ---- delete ---- */

struct delete {
	bool yes;
};
static const struct option delete_options[] = {
	{.type = OPTION_FLAG, .letter = 'y', .name = "yes", .offset = offsetof(struct delete, yes),
		.text = "Do not ask", .more = "Needed when standard input is not a terminal."},
	{.type = OPTION_END},
};

static bool confirmed(const struct command_run *r)
{
	char answer[16];

	fprintf(stderr, "Delete %d %s (", r->argc, text_plural(r->argc, "topic", "topics"));
	for (int i = 0; i < r->argc; i++)
		fprintf(stderr, "%s%s", i ? ", " : "", r->argv[i]);
	fprintf(stderr, ") and all their records? [y/N] ");
	return fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int run_delete(struct command_run *r)
{
	const struct delete *v = r->values;
	struct err e = ERR_INIT;
	struct api *api;
	int status = EXIT_DONE, deleted = 0;

	if (!v->yes && !isatty(STDIN_FILENO)) {
		err_set(&e, ERR_USAGE, "nothing was deleted, as there is no terminal to ask on");
		err_hint(&e, "give --yes");
		return command_fail(r, &e);
	}
	if (!v->yes && !confirmed(r)) {
		command_note(r, "nothing was deleted");
		return EXIT_CONDITION;
	}
	api = client_open(r->globals, &e);
	if (!api)
		return command_fail(r, &e);
	for (int i = 0; i < r->argc; i++) {
		err_clear(&e);
		if (api_topic_delete(api, r->argv[i], &e))
			status = command_fail(r, &e);
		else
			deleted++;
	}
	api_free(api);
	return status && deleted ? EXIT_PARTIAL : status;
}

static const struct command topic_subcommands[] = {
	{.name = "create", .summary = "Create a topic", .operands = "NAME", .min_operands = 1,
		.max_operands = 1,
		.options = create_options, .values_size = sizeof(struct create), .defaults = create_defaults,
		.run = run_create},
	{.name = "list", .summary = "List the topics, or those that match a pattern", .operands = "[PATTERN]",
		.complete = "topic",
		.max_operands = 1, .run = run_list},
	{.name = "describe", .summary = "Show a topic with its settings and partitions", .operands = "NAME",
		.complete = "topic",
		.min_operands = 1, .max_operands = 1, .run = run_describe},
	{.name = "alter", .summary = "Change settings of a topic, or add partitions", .operands = "NAME",
		.complete = "topic",
		.min_operands = 1, .max_operands = 1, .options = alter_options,
		.values_size = sizeof(struct alter), .run = run_alter},
	{.name = "delete", .summary = "Delete topics with all their records", .operands = "NAME...",
		.complete = "topic",
		.min_operands = 1, .max_operands = -1, .options = delete_options,
		.values_size = sizeof(struct delete),
		.run = run_delete},
	{.name = NULL},
};
static const struct command topic_command = {.name = "topic",
	.summary = "Create, list, describe, alter and delete topics",
	.subcommands = topic_subcommands};

int main(int argc, char **argv)
{
	return command_main(&topic_command, argc, argv);
}
