/* SPDX-License-Identifier: Apache-2.0 */
/* streamctl status: what GET /api/v1/status says, for people or as it is. */
#include "config.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/client.h"
#include "cmd/interrupt.h"
#include "libsh/base/text.h"

enum { WATCH_EVERY_MS = 2000, NAME_COLUMN = 26 };

struct values {
	bool watch, cost;
};
static const struct option options[] = {
	{.type = OPTION_FLAG, .letter = 'w', .name = "watch", .offset = offsetof(struct values, watch),
		.text = "Show it again every two seconds, until interrupted"},
	{.type = OPTION_FLAG, .name = "cost", .offset = offsetof(struct values, cost),
		.text = "Estimate what the object store costs",
		.more = "This version's server does not count requests by price: the option is "
			"refused with exit status 12."},
	{.type = OPTION_END},
};

static void add_duration(struct buf *b, long long seconds)
{
	if (seconds >= 86400)
		buf_addf(b, "%lldd %lldh", seconds / 86400, seconds % 86400 / 3600);
	else if (seconds >= 3600)
		buf_addf(b, "%lldh %lldm", seconds / 3600, seconds % 3600 / 60);
	else if (seconds >= 60)
		buf_addf(b, "%lldm %llds", seconds / 60, seconds % 60);
	else
		buf_addf(b, "%llds", seconds);
}

static void add_value(struct buf *b, const char *name, const json_t *value)
{
	char size[32];
	char *text;

	if (json_is_string(value)) {
		/* control characters cannot play with the terminal */
		for (const char *c = json_string_value(value); *c; c++)
			buf_addc(b, (unsigned char)*c < 32 || *c == 127 ? '?' : *c);
	} else if (json_is_integer(value) && text_ends_with(name, "bytes")) {
		buf_adds(b, text_format_size(json_integer_value(value), size));
	} else if (json_is_integer(value) && text_ends_with(name, "uptime_ms")) {
		add_duration(b, json_integer_value(value) / 1000);
	} else if (json_is_integer(value) && text_ends_with(name, "uptime_seconds")) {
		add_duration(b, json_integer_value(value));
	} else if (json_is_boolean(value)) {
		buf_adds(b, json_is_true(value) ? "yes" : "no");
	} else if (json_is_null(value)) {
		buf_addc(b, '-');
	} else {
		text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
		buf_adds(b, text ? text : "");
		free(text);
	}
}

/* "bytes" and "ms" in names are for programs: the value says its unit here. */
static void add_name(struct buf *b, const char *name, int depth)
{
	size_t len = strlen(name), start = b->len;

	if (text_ends_with(name, "_bytes"))
		len -= strlen("_bytes");
	else if (text_ends_with(name, "uptime_ms"))
		len -= strlen("_ms");
	buf_addf(b, "%*s", depth * 2, "");
	for (size_t i = 0; i < len; i++)
		buf_addc(b, name[i] == '_' ? ' ' : name[i]);
	if (b->len - start < NAME_COLUMN)
		buf_addf(b, "%*s", (int)(NAME_COLUMN - (b->len - start)), "");
	else
		buf_addc(b, ' ');
}

static void add_tree(struct buf *b, json_t *object, int depth)
{
	const char *name;
	json_t *value, *item;
	size_t i;

	json_object_foreach(object, name, value) {
		if (json_is_object(value)) {
			buf_addf(b, "%*s%s:\n", depth * 2, "", name);
			add_tree(b, value, depth + 1);
		} else if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
			json_array_foreach(value, i, item) {
				buf_addf(b, "%*s%s %zu:\n", depth * 2, "", name, i);
				add_tree(b, item, depth + 1);
			}
		} else {
			add_name(b, name, depth);
			add_value(b, name, value);
			buf_addc(b, '\n');
		}
	}
}

/* First of all, when there are any: what somebody should look at. */
static void add_problems(struct buf *b, const json_t *root)
{
	json_t *problems = json_object_get(root, "problems"), *item;
	size_t i;

	if (json_array_size(problems))
		buf_adds(b, "problems:\n");
	json_array_foreach(problems, i, item) {
		buf_adds(b, "  ");
		add_value(b, "", item);
		buf_addc(b, '\n');
	}
	if (json_array_size(problems))
		buf_addc(b, '\n');
}

/* For -o tsv: a line for each value, named by its path, in the units of the name. */
static void add_pairs(struct buf *b, const char *path, const json_t *value)
{
	const char *name;
	const json_t *item;
	size_t i;

	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, name, item) {
			char *inner = mem_printf("%s%s%s", path, *path ? "." : "", name);

			add_pairs(b, inner, item);
			mem_free(inner);
		}
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, item) {
			char *inner = mem_printf("%s.%zu", path, i);

			add_pairs(b, inner, item);
			mem_free(inner);
		}
	} else {
		buf_addf(b, "%s\t", path);
		add_value(b, "", value);
		buf_addc(b, '\n');
	}
}

static int show(const struct command_run *r, struct api *api, bool clear, struct err *e)
{
	struct arena m = ARENA_INIT;
	struct buf b = BUF_INIT(16 << 20);
	const char *text;
	json_t *root = NULL;
	int result = api_status(api, &m, &text, e), format = r->globals->output;

	if (!result && !(root = json_loads(text, 0, NULL)))
		result = err_set(e, ERR_INTERNAL, "the server's status is not JSON");
	if (!result && (format == OUTPUT_JSON || format == OUTPUT_NDJSON)) {
		char *dump = json_dumps(root, format == OUTPUT_JSON ? JSON_INDENT(2) : JSON_COMPACT);

		buf_addf(&b, "%s\n", dump);
		free(dump);
	} else if (!result && format == OUTPUT_TSV) {
		buf_adds(&b, "name\tvalue\n");
		add_pairs(&b, "", root);
	} else if (!result) {
		buf_adds(&b, clear ? "\x1b[H\x1b[2J" : "");
		add_problems(&b, root);
		json_object_del(root, "problems");
		add_tree(&b, root, 0);
	}
	command_write(r, b.data, b.len);
	json_decref(root);
	buf_release(&b);
	arena_release(&m);
	return result;
}

static int run(struct command_run *r)
{
	const struct values *v = r->values;
	struct err e = ERR_INIT;
	struct api *api = NULL;
	bool clear = v->watch && isatty(STDOUT_FILENO);
	int status = EXIT_DONE;

	if (v->cost)
		err_set(&e, ERR_NOT_BUILT, "--cost: the server does not count requests by price yet");
	else
		api = client_open(r->globals, &e);
	if (v->watch)
		interrupt_catch();
	if (!api || show(r, api, clear, &e))
		status = command_fail(r, &e);
	while (v->watch && !status && interrupt_poll(-1, WATCH_EVERY_MS) == 0)
		if (show(r, api, clear, &e))
			status = command_fail(r, &e);
	api_free(api);
	return status;
}

static const struct command status_command = {.name = "status",
	.summary = "Show how the server is and where its data lies",
	.options = options,
	.values_size = sizeof(struct values),
	.run = run};

int main(int argc, char **argv)
{
	return command_main(&status_command, argc, argv);
}
