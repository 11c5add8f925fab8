/* SPDX-License-Identifier: Apache-2.0 */
/* The writers and the reader of the crash test: see crash_load.h for what they rely on. */
#include "tests/helper/crash_load.h"

#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/helper/mini_http.h"

enum { MAX_RECORDS = 20, REQUEST_TIMEOUT_MS = 20000, RETRY_MS = 10, PROGRESS_MS = 50 };

struct worker {
	struct load *load;
	uint32_t number;
	pthread_t thread;
	uint64_t random;
};

static uint64_t next_random(uint64_t *state) /* splitmix64 */
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void pause_us(uint32_t us)
{
	nanosleep(
		&(struct timespec){.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L}, NULL);
}

/* ---- writing ---- */
static const char *choose_level(const struct load *l, uint64_t random)
{
	static const char *const mixed[] = {
		"wal", "wal", "wal", "wal", "wal", "topic", "none", "object"};

	return strcmp(l->level, "mixed") ? l->level : mixed[random % 8];
}

static size_t make_body(struct worker *w, char *body, size_t size, uint32_t partition, size_t count)
{
	struct sent_list *sent = &w->load->history.sent[w->number];
	char value[MAX_VALUE];
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t sequence = sent->count;

		sent_add(sent, partition);
		value_make(value, w->number, sequence, partition, next_random(&w->random));
		n += (size_t)snprintf(body + n, size - n,
			"{\"key\":\"w%" PRIu32 "\",\"value\":\"%s\"}\n", w->number, value);
	}
	return n;
}

/* What is wrong with an answer to a request for `count` records, or NULL. */
static const char *misfit(json_t *tree, json_t *row, uint32_t partition, size_t count)
{
	json_int_t first = json_integer_value(json_object_get(row, "first_offset"));
	json_int_t last = json_integer_value(json_object_get(row, "last_offset"));

	if (json_integer_value(json_object_get(tree, "records")) != (json_int_t)count)
		return "counts other records than were sent";
	if (!row || json_integer_value(json_object_get(row, "partition")) != (json_int_t)partition)
		return "names another partition";
	return first < 0 || last - first < (json_int_t)count - 1 ? "gives offsets that do not fit"
								 : NULL;
}

/* A 200: {"records", "durability", "partitions": [{"partition", "first_offset", "last_offset"}]}.
 */
static void note_ack(struct worker *w, const char *answer, const char *asked, uint32_t partition,
	uint64_t first, size_t count)
{
	struct load *l = w->load;
	json_t *tree = json_loads(answer, 0, NULL);
	json_t *row = json_array_get(json_object_get(tree, "partitions"), 0);
	const char *reached = json_string_value(json_object_get(tree, "durability"));
	const char *wrong = reached ? misfit(tree, row, partition, count) : "names no level";
	int64_t offset = json_integer_value(json_object_get(row, "first_offset"));
	/* A request that took several turns of the loop may have others' records among its own. */
	bool alone = json_integer_value(json_object_get(row, "last_offset")) ==
		     offset + (int64_t)count - 1;
	bool durable = reached && (!strcmp(reached, "wal") || !strcmp(reached, "object"));

	if (!wrong && ((!strcmp(asked, "wal") && !durable) ||
			      (!strcmp(asked, "object") && strcmp(reached, "object"))))
		wrong = "says less than what was asked for";
	if (wrong)
		load_problem(l,
			"an answer %s: %zu records for partition %" PRIu32 " at level %s: %.200s",
			wrong, count, partition, asked, answer);
	for (size_t i = 0; !wrong && i < count; i++) {
		struct sent *s = &l->history.sent[w->number].items[first + i];

		s->state = durable ? SENT_DURABLE : SENT_LOOSE;
		s->offset = alone ? offset + (int64_t)i : -1;
	}
	if (!wrong)
		l->acked += count;
	json_decref(tree);
}

/* One request; true when it was acknowledged. */
static bool write_once(struct worker *w, struct mini_http *http, char *body, size_t size)
{
	struct load *l = w->load;
	uint64_t random = next_random(&w->random), first = l->history.sent[w->number].count;
	uint32_t partition = (uint32_t)(random % l->history.partitions);
	size_t count = 1 + random / 4096 % MAX_RECORDS,
	       n = make_body(w, body, size, partition, count);
	const char *level = choose_level(l, random >> 40);
	bool named = strcmp(level, "topic") != 0;
	char path[512];
	int status;

	snprintf(path, sizeof(path), "/api/v1/topics/%s/records?partition=%" PRIu32 "%s%s",
		l->topic, partition, named ? "&durability=" : "", named ? level : "");
	status = mini_http_call(
		http, "POST", path, "Content-Type: application/x-ndjson\r\n", body, n);
	if (status == 200) {
		note_ack(w, http->body, level, partition, first, count);
		return true;
	}
	if (status == 503 && !http->retry_after)
		load_problem(l, "a 503 does not say when to try again: %.300s", http->body);
	if (status == 0 || status == 429 || status == 503) {
		l->refused += count;
		pause_us(RETRY_MS * 1000);
	} else {
		l->unknown += count;
		if (status > 0 && status != 504)
			load_problem(l, "status %d for a good request: %.300s", status, http->body);
	}
	return false;
}

static void *writer_main(void *ctx)
{
	struct worker *w = ctx;
	struct load *l = w->load;
	size_t size = MAX_RECORDS * (MAX_VALUE + 64);
	char *body = malloc(size);
	struct mini_http http;
	int64_t last_ack = now_ms();

	mini_http_init(&http, l->port_file, REQUEST_TIMEOUT_MS);
	while (body && !l->stop) {
		if (write_once(w, &http, body, size)) {
			unsigned long gap = (unsigned long)(now_ms() - last_ack), known = l->gap_ms;

			last_ack += (int64_t)gap;
			while (gap > known &&
				!atomic_compare_exchange_weak(&l->gap_ms, &known, gap))
				;
		}
		pause_us(l->pause_us);
	}
	mini_http_release(&http);
	free(body);
	return NULL;
}

/* ---- reading ---- */
struct reading {
	struct load *load;
	uint32_t partition;
};

static void note_read(void *ctx, const struct read_record *r)
{
	struct reading *reading = ctx;
	struct seen_list *seen = &reading->load->history.seen[reading->partition];

	if (r->partition != reading->partition || r->offset != (int64_t)seen->count) {
		load_problem(reading->load,
			"partition %" PRIu32 ": the reader wanted offset %" PRIu64
			" and got %" PRIi64,
			reading->partition, seen->count, r->offset);
		return;
	}
	seen_add(seen, hash_bytes(r->value, r->value_size));
	reading->load->read++;
}

static void *reader_main(void *ctx)
{
	struct worker *w = ctx;
	struct load *l = w->load;
	struct mini_http http;
	char path[512], where[64];

	mini_http_init(&http, l->port_file, REQUEST_TIMEOUT_MS);
	for (uint32_t p = 0; !l->stop; p = (p + 1) % l->history.partitions) {
		struct reading reading = {l, p};
		int status;

		snprintf(where, sizeof(where), "reading partition %" PRIu32, p);
		snprintf(path, sizeof(path),
			"/api/v1/topics/%s/partitions/%" PRIu32 "/records?offset=%" PRIu64
			"&max_bytes=262144",
			l->topic, p, l->history.seen[p].count);
		status = mini_http_call(
			&http, "GET", path, "Accept: application/x-ndjson\r\n", "", 0);
		if (status == 200)
			for_each_line(l, http.body, http.body_size, where, note_read, &reading);
		else if (status == 416)
			load_problem(l,
				"partition %" PRIu32 ": what was read before offset %" PRIu64
				" is gone: %.200s",
				p, l->history.seen[p].count, http.body);
		else if (status > 0 && status != 503 && status != 504)
			load_problem(l, "%s: status %d: %.200s", where, status, http.body);
		pause_us(status == 200 ? 5000 : RETRY_MS * 1000);
	}
	mini_http_release(&http);
	return NULL;
}

/* ---- all of them ---- */
static void write_progress(struct load *l)
{
	char path[512];
	FILE *f;

	if (!l->progress)
		return;
	snprintf(path, sizeof(path), "%s.new", l->progress);
	if (!(f = fopen(path, "we")))
		return;
	fprintf(f, "acked=%lu unknown=%lu refused=%lu read=%lu gap_ms=%lu problems=%d\n", l->acked,
		l->unknown, l->refused, l->read, l->gap_ms, l->problems);
	fclose(f);
	rename(path, l->progress);
}

void load_write(struct load *l)
{
	struct worker workers[MAX_WRITERS + 1];
	uint32_t count = l->history.writers + 1;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	for (uint32_t i = 0; i < count; i++) {
		workers[i] =
			(struct worker){.load = l, .number = i, .random = l->seed * 1000003 + i};
		if (pthread_create(&workers[i].thread, NULL,
			    i + 1 < count ? writer_main : reader_main, &workers[i])) {
			fputs("crash-load: cannot start a thread\n", stderr);
			exit(2);
		}
	}
	while (sigtimedwait(&signals, NULL, &(struct timespec){.tv_nsec = PROGRESS_MS * 1000000}) <
		0)
		write_progress(l);
	l->stop = true;
	for (uint32_t i = 0; i < count; i++)
		pthread_join(workers[i].thread, NULL);
	write_progress(l);
}
