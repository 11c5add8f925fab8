/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cmd/produce_options.h"

#include <stdio.h>
#include <string.h>
#include "libsh/base/text.h"

enum {
	DEFAULT_BATCH_BYTES = 1 << 20,
	DEFAULT_LINGER_MS = 5,
};

#define AT(member) offsetof(struct produce_values, member)
const struct option produce_options_table[] = {
	{.type = OPTION_STRING, .letter = 'k', .name = "key", .argument = "KEY", .offset = AT(key),
		.text = "Give KEY to records that bring no key of their own"},
	{.type = OPTION_STRING, .letter = 'K', .name = "key-delimiter", .argument = "D",
		.offset = AT(key_delimiter),
		.text = "Take what stands before the first D of a line as the key",
		.more = "\\t means a tab. A line without D has no key."},
	{.type = OPTION_INT, .letter = 'p', .name = "partition", .argument = "P", .offset = AT(partition),
		.min = 0, .max = INT32_MAX,
		.text = "Send everything to partition P",
		.more = "Otherwise a record with a key goes where Kafka's own clients would send it, and "
			"records without one to one partition after the other, a batch at a time."},
	{.type = OPTION_LIST, .letter = 'H', .name = "header", .argument = "NAME=VALUE", .offset = AT(headers),
		.text = "Add a header to every record",
		.more = "May be given several times."},
	{.type = OPTION_STRING, .letter = 'f', .name = "format", .argument = "FORMAT", .offset = AT(format),
		.complete = "ndjson",
		.text = "Read records as JSON lines (ndjson) or by a format string",
		.more = "See FORMATS in streamctl(1). With ndjson the partition of each line is honoured "
			"unless -p is given, and its offset is ignored. A format string that cannot be "
			"read back is refused."},
	{.type = OPTION_FLAG, .letter = '0', .name = "null", .offset = AT(nul),
		.text = "Records end with a NUL character instead of a newline"},
	{.type = OPTION_FLAG, .letter = 'Z', .name = "empty-is-null", .offset = AT(empty_is_null),
		.text = "Send null for an empty key or value"},
	{.type = OPTION_STRING, .letter = 'z', .name = "compress", .argument = "CODEC", .offset = AT(compress),
		.complete = "none|lz4|zstd|snappy|gzip",
		.text = "Compress batches with lz4, zstd, snappy or gzip",
		.more = "The default is none."},
	{.type = OPTION_CHOICE, .name = "durability", .argument = "LEVEL", .offset = AT(durability),
		.choices = "none|wal|object",
		.text = "Wait until records are safe at LEVEL: none, wal or object",
		.more = "The default is the level of the topic. See streamhouse(7)."},
	{.type = OPTION_SIZE, .name = "batch-bytes", .argument = "SIZE", .offset = AT(batch_bytes),
		.min = 1, .max = 1 << 30,
		.text = "Send requests of about SIZE bytes",
		.more = "The default is 1M."},
	{.type = OPTION_DURATION, .name = "linger", .argument = "TIME", .offset = AT(linger_ms),
		.text = "Send a batch that is not full after TIME",
		.more = "The default is 5ms."},
	{.type = OPTION_STRING, .name = "rate", .argument = "N[/s]", .offset = AT(rate),
		.text = "Send at most N records a second"},
	{.type = OPTION_FLAG, .name = "dry-run", .offset = AT(dry_run),
		.text = "Read and check everything, say what would be sent, and send nothing"},
	{.type = OPTION_FLAG, .name = "acks", .offset = AT(acks),
		.text = "Print a line for every acknowledged request",
		.more = "Its fields are partition, first and last offset, number of records, and the "
			"durability reached, separated by tabs; with -o json or ndjson it is an object."},
	{.type = OPTION_STRING, .name = "resume-id", .argument = "ID", .offset = AT(resume_id),
		.text = "Continue under ID without duplicates after an unknown outcome",
		.more = "This version's server cannot do that yet: the option is refused with exit status "
			"12."},
	{.type = OPTION_END},
};

void produce_options_defaults(void *values)
{
	struct produce_values *v = values;

	v->partition = -1;
	v->durability = -1;
	v->batch_bytes = DEFAULT_BATCH_BYTES;
	v->linger_ms = DEFAULT_LINGER_MS;
}

static int parse_rate(const char *text, int64_t *rate, struct err *e)
{
	char number[32];
	size_t len = strlen(text);

	if (len > 2 && !strcmp(text + len - 2, "/s"))
		len -= 2;
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	if (text_parse_int(number, 1, 1000000000, "--rate", rate, e)) {
		if (e)
			e->code = ERR_USAGE;
		return -1;
	}
	return 0;
}

static int encode_headers(const struct produce_values *v, struct produce_plan *plan, struct err *e)
{
	const struct option_list *list = &v->headers;

	buf_init(&plan->headers, 1 << 20);
	for (int i = 0; i < list->count; i++) {
		const char *item = list->items[i], *equals = strchr(item, '=');

		if (!equals)
			return err_set(e, ERR_USAGE, "-H %s: expected NAME=VALUE", item);
		if (record_headers_add(&plan->headers,
			    (struct bytes){(const uint8_t *)item, (size_t)(equals - item)},
			    (struct bytes){(const uint8_t *)equals + 1, strlen(equals + 1)}))
			return err_set(
				e, ERR_USAGE, "the headers of -H are larger than %zu bytes", plan->headers.max);
	}
	plan->header_count = list->count;
	return 0;
}

/* The delimiter when the format is "%kDELIMITER%v\n", which -K does without stumbling over a second one. */
static const char *split_instead(const char *format, char delimiter[16])
{
	size_t len;

	if (strncmp(format, "%k", 2))
		return NULL;
	len = strcspn(format + 2, "%'");
	if (!len || len > 15 || strncmp(format + 2 + len, "%v", 2))
		return NULL;
	snprintf(delimiter, 16, "%.*s", (int)len, format + 2);
	format += 2 + len + 2;
	return (!*format || !strcmp(format, "\\n") || !strcmp(format, "\n")) &&
			       (!strchr(delimiter, '\\') || !strcmp(delimiter, "\\t")) ?
		       delimiter :
		       NULL;
}

/* Which files, and how they are read. */
static int plan_input(
	const struct produce_values *v, int argc, char **argv, struct produce_plan *plan, struct err *e)
{
	plan->rules = (struct produce_input_rules){.files = argv + 1, .file_count = argc - 1,
		.end = v->nul ? '\0' : '\n', .empty_is_null = v->empty_is_null};
	if (v->key_delimiter && (v->format || !*v->key_delimiter))
		return err_set(e, ERR_USAGE,
			v->format ? "-K is for lines, not for -f" : "-K needs a delimiter that is not empty");
	plan->rules.key_delimiter = v->key_delimiter && !strcmp(v->key_delimiter, "\\t") ? "\t" : v->key_delimiter;
	plan->rules.ndjson = v->format && !strcmp(v->format, "ndjson");
	if (v->format && !plan->rules.ndjson) {
		char *text = mem_printf("%s%s", v->format, v->nul ? "\\0" : "");

		plan->format = format_string_parse(text, e);
		mem_free(text);
		plan->rules.split_instead = split_instead(v->format, plan->delimiter);
		if (!plan->format || format_string_check_invertible(plan->format, e))
			return -1;
		plan->rules.format = plan->format;
	}
	return 0;
}

int produce_options_plan(
	const struct produce_values *v, int argc, char **argv, struct produce_plan *plan, struct err *e)
{
	if (v->resume_id) {
		err_set(e, ERR_NOT_BUILT,
			"--resume-id needs a server that keeps producer ids, which this version does not");
		return err_hint(e, "without it, a rerun after exit status 9 may send records twice");
	}
	if (plan_input(v, argc, argv, plan, e))
		return -1;
	if (v->compress && codec_parse(v->compress, &plan->codec, e)) {
		e->code = ERR_USAGE;
		return err_prefix(e, "-z");
	}
	if (v->rate && parse_rate(v->rate, &plan->rate, e))
		return -1;
	if (v->key)
		plan->key = (struct bytes){(const uint8_t *)v->key, strlen(v->key)};
	return encode_headers(v, plan, e);
}

void produce_options_release(struct produce_plan *plan)
{
	buf_release(&plan->headers);
	format_string_free(plan->format);
}
