/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash-load write ...: producers and a reader that go on through every crash of what they talk to,
 * until SIGTERM. crash-load check ...: reads everything back and compares.
 */
#include "tests/helper/crash_load.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what)
{
	fprintf(stderr, "crash-load: %s: %s\n", what, strerror(errno));
	exit(2);
}

void load_problem(struct load *l, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (atomic_fetch_add(&l->problems, 1) >= 50)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "PROBLEM: %s\n", text);
}

uint64_t hash_bytes(const void *p, size_t n)
{
	const unsigned char *s = p;
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ s[i]) * 1099511628211u;
	return hash;
}

size_t value_make(char out[MAX_VALUE], uint32_t writer, uint64_t sequence, uint32_t partition,
	uint64_t random)
{
	int n = snprintf(out, MAX_VALUE, "w%" PRIu32 " s%" PRIu64 " p%" PRIu32 " ", writer,
		sequence, partition);
	size_t payload = random % 16 ? random / 16 % 200 : random / 16 % 1500;

	for (size_t i = 0; i < payload; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		out[n++] = "abcdefghijklmnopqrstuvwxyz012345"[random >> 59];
	}
	return (size_t)(n + snprintf(out + n, MAX_VALUE - (size_t)n, " %016" PRIx64,
				    hash_bytes(out, (size_t)n)));
}

bool value_parse(const char *value, uint32_t *writer, uint64_t *sequence, uint32_t *partition)
{
	const char *last = strrchr(value, ' ');

	return last && strtoull(last + 1, NULL, 16) == hash_bytes(value, (size_t)(last - value)) &&
	       sscanf(value, "w%" SCNu32 " s%" SCNu64 " p%" SCNu32 " ", writer, sequence,
		       partition) == 3;
}

/* ---- history ---- */
static void *grow(void *items, uint64_t count, uint64_t *capacity, size_t size)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity ? *capacity * 2 : 4096;
	items = realloc(items, *capacity * size);
	if (!items)
		fail("memory");
	return items;
}

void sent_add(struct sent_list *l, uint32_t partition)
{
	l->items = grow(l->items, l->count, &l->capacity, sizeof(*l->items));
	l->items[l->count++] =
		(struct sent){.offset = -1, .partition = partition, .state = SENT_UNKNOWN};
}

void seen_add(struct seen_list *l, uint64_t hash)
{
	l->hashes = grow(l->hashes, l->count, &l->capacity, sizeof(*l->hashes));
	l->hashes[l->count++] = hash;
}

/* The file is read by the same program on the same machine: structs as they are. */
static void transfer(FILE *f, void *p, size_t size, size_t count, bool save)
{
	if ((save ? fwrite(p, size, count, f) : fread(p, size, count, f)) != count)
		fail("history file");
}

static void *transfer_list(FILE *f, void *items, uint64_t *count, size_t size, bool save)
{
	transfer(f, count, sizeof(*count), 1, save);
	if (!save && !(items = malloc(*count * size + 1)))
		fail("memory");
	if (*count)
		transfer(f, items, size, *count, save);
	return items;
}

static void transfer_history(struct history *h, const char *path, bool save)
{
	FILE *f = fopen(path, save ? "we" : "re");

	if (!f)
		fail(path);
	transfer(f, &h->writers, sizeof(h->writers), 1, save);
	transfer(f, &h->partitions, sizeof(h->partitions), 1, save);
	for (uint32_t i = 0; i < h->writers; i++)
		h->sent[i].items = transfer_list(
			f, h->sent[i].items, &h->sent[i].count, sizeof(struct sent), save);
	for (uint32_t i = 0; i < h->partitions; i++)
		h->seen[i].hashes = transfer_list(
			f, h->seen[i].hashes, &h->seen[i].count, sizeof(uint64_t), save);
	if (fclose(f))
		fail(path);
}

void history_save(const struct history *h, const char *path)
{
	struct history copy = *h;

	transfer_history(&copy, path, true);
}

void history_load(struct history *h, const char *path)
{
	transfer_history(h, path, false);
}

/* ---- reading lines ---- */
static void one_line(struct load *l, const char *line, size_t n, const char *where,
	void (*record)(void *, const struct read_record *), void *ctx)
{
	json_error_t error;
	json_t *tree = json_loadb(line, n, 0, &error), *value = json_object_get(tree, "value");
	struct read_record r = {
		.offset = json_integer_value(json_object_get(tree, "offset")),
		.partition = (uint32_t)json_integer_value(json_object_get(tree, "partition")),
		.value = json_string_value(value),
		.value_size = json_string_length(value),
	};

	if (r.value)
		record(ctx, &r);
	else
		load_problem(
			l, "%s: not a record of ours: %.*s", where, (int)(n < 200 ? n : 200), line);
	json_decref(tree);
}

void for_each_line(struct load *l, char *body, size_t n, const char *where,
	void (*record)(void *ctx, const struct read_record *r), void *ctx)
{
	char *end;

	for (; n && (end = memchr(body, '\n', n)); n -= (size_t)(end + 1 - body), body = end + 1)
		if (end > body)
			one_line(l, body, (size_t)(end - body), where, record, ctx);
	if (n)
		load_problem(l, "%s: the last line does not end: %.*s", where,
			(int)(n < 200 ? n : 200), body);
}

/* ---- main ---- */
static void usage(void)
{
	fputs("usage: crash-load write --port-file F --topic T --history F [--writers N] "
	      "[--partitions N] [--seed N]\n"
	      "                        [--level none|wal|object|topic|mixed] [--pause-us N] "
	      "[--progress F]\n"
	      "       crash-load check --port-file F --topic T --history F\n",
		stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"port-file", 1, 0, 'P'}, {"topic", 1, 0, 't'},
		{"history", 1, 0, 'h'}, {"writers", 1, 0, 'w'}, {"partitions", 1, 0, 'p'},
		{"seed", 1, 0, 's'}, {"level", 1, 0, 'l'}, {"pause-us", 1, 0, 'u'},
		{"progress", 1, 0, 'o'}, {0}};
	static struct load load = {.level = "mixed",
		.seed = 1,
		.pause_us = 1000,
		.history = {.writers = 4, .partitions = 4}};
	const char *history = NULL;

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		switch (c) {
		case 'P':
			load.port_file = optarg;
			break;
		case 't':
			load.topic = optarg;
			break;
		case 'h':
			history = optarg;
			break;
		case 'w':
			load.history.writers = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'p':
			load.history.partitions = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 's':
			load.seed = strtoull(optarg, NULL, 10);
			break;
		case 'l':
			load.level = optarg;
			break;
		case 'u':
			load.pause_us = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'o':
			load.progress = optarg;
			break;
		default:
			usage();
		}
	if (optind + 1 != argc || !load.port_file || !load.topic || !history ||
		load.history.writers > MAX_WRITERS || load.history.partitions > MAX_PARTITIONS ||
		!load.history.partitions)
		usage();
	if (!strcmp(argv[optind], "write")) {
		load_write(&load);
		history_save(&load.history, history);
	} else if (!strcmp(argv[optind], "check")) {
		history_load(&load.history, history);
		load_check(&load, 60);
	} else {
		usage();
	}
	return load.problems ? 1 : 0;
}
