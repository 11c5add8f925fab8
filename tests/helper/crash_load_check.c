/* SPDX-License-Identifier: Apache-2.0 */
/* Reads everything back and compares it with what the writers were told and the reader saw. */
#include "tests/helper/crash_load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "tests/helper/mini_http.h"

struct check {
	struct load *load;
	uint32_t partition;
	int64_t next;			     /* offset that must come */
	uint64_t next_sequence[MAX_WRITERS]; /* of each writer in this partition: at least this */
	uint8_t *found[MAX_WRITERS];	     /* by sequence number */
	uint64_t records, unacked;
};

static void check_record(void *ctx, const struct read_record *r)
{
	struct check *c = ctx;
	struct load *l = c->load;
	const struct history *h = &l->history;
	uint32_t writer, partition;
	uint64_t sequence;
	const struct sent *sent;
	char where[64];

	snprintf(where, sizeof(where), "partition %" PRIu32 " offset %" PRIi64, c->partition,
		r->offset);
	if (r->offset != c->next)
		load_problem(l, "%s: expected offset %" PRIi64, where, c->next);
	c->next = r->offset + 1;
	c->records++;
	if (r->offset >= 0 && (uint64_t)r->offset < h->seen[c->partition].count &&
		h->seen[c->partition].hashes[r->offset] != hash_bytes(r->value, r->value_size))
		load_problem(l, "%s: not what was read there before", where);
	if (!value_parse(r->value, &writer, &sequence, &partition) || writer >= h->writers ||
		sequence >= h->sent[writer].count) {
		load_problem(l, "%s: never sent: %.100s", where, r->value);
		return;
	}
	sent = &h->sent[writer].items[sequence];
	if (partition != c->partition || sent->partition != partition)
		load_problem(l,
			"%s: writer %" PRIu32 " sent record %" PRIu64 " to partition %" PRIu32,
			where, writer, sequence, sent->partition);
	if (c->found[writer][sequence]++)
		load_problem(l, "%s: record %" PRIu64 " of writer %" PRIu32 " is here twice", where,
			sequence, writer);
	else if (sequence < c->next_sequence[writer])
		load_problem(l, "%s: record %" PRIu64 " of writer %" PRIu32 " after a later one",
			where, sequence, writer);
	c->next_sequence[writer] = sequence + 1;
	if (sent->state == SENT_DURABLE && sent->offset >= 0 && sent->offset != r->offset)
		load_problem(l, "%s: was acknowledged with offset %" PRIi64, where, sent->offset);
	c->unacked += sent->state != SENT_DURABLE;
}

/* One answer's worth of records; false at the end or when it cannot be read. */
static bool check_page(struct check *c, struct mini_http *http, time_t deadline)
{
	struct load *l = c->load;
	int64_t before = c->next;
	char path[512], where[64];
	int status;

	snprintf(where, sizeof(where), "partition %" PRIu32, c->partition);
	snprintf(path, sizeof(path),
		"/api/v1/topics/%s/partitions/%" PRIu32 "/records?offset=%" PRIi64
		"&max_bytes=1048576&end=now",
		l->topic, c->partition, c->next);
	while ((status = mini_http_call(
			http, "GET", path, "Accept: application/x-ndjson\r\n", "", 0)) != 200) {
		if (time(NULL) > deadline) {
			load_problem(l, "%s: cannot be read, status %d: %.200s", where, status,
				status > 0 ? http->body : "");
			return false;
		}
		nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	}
	for_each_line(l, http->body, http->body_size, where, check_record, c);
	return c->next > before;
}

static void check_all_found(struct load *l, uint8_t **found, uint64_t *durable)
{
	for (uint32_t w = 0; w < l->history.writers; w++)
		for (uint64_t i = 0; i < l->history.sent[w].count; i++) {
			const struct sent *s = &l->history.sent[w].items[i];

			if (s->state != SENT_DURABLE)
				continue;
			++*durable;
			if (!found[w][i])
				load_problem(l,
					"LOST: record %" PRIu64 " of writer %" PRIu32
					", partition %" PRIu32 " offset %" PRIi64
					" was acknowledged",
					i, w, s->partition, s->offset);
		}
}

void load_check(struct load *l, int patience_s)
{
	static struct check c;
	struct mini_http http;
	uint64_t durable = 0;

	c.load = l;
	for (uint32_t w = 0; w < l->history.writers; w++)
		if (!(c.found[w] = calloc(l->history.sent[w].count + 1, 1)))
			exit(2);
	mini_http_init(&http, l->port_file, 30000);
	for (c.partition = 0; c.partition < l->history.partitions; c.partition++) {
		c.next = 0;
		memset(c.next_sequence, 0, sizeof(c.next_sequence));
		while (check_page(&c, &http, time(NULL) + patience_s))
			;
		if (c.next < (int64_t)l->history.seen[c.partition].count)
			load_problem(l,
				"partition %" PRIu32 ": ends at %" PRIi64 ", but %" PRIu64
				" records were read before",
				c.partition, c.next, l->history.seen[c.partition].count);
	}
	check_all_found(l, c.found, &durable);
	printf("records=%" PRIu64 " durable=%" PRIu64 " unacknowledged=%" PRIu64 " problems=%d\n",
		c.records, durable, c.unacked, l->problems);
	mini_http_release(&http);
	for (uint32_t w = 0; w < l->history.writers; w++) {
		free(c.found[w]);
		free(l->history.sent[w].items);
	}
	for (uint32_t p = 0; p < l->history.partitions; p++)
		free(l->history.seen[p].hashes);
}
