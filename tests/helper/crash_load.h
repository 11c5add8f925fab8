/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the crash test remembers: every record it ever sent, what it was told about it, and what it
 * has read.
 *
 * A writer sends each record once and never again, one request at a time, so that of its records in
 * one partition each may be there once at most and in order; those that were acknowledged at level
 * `wal` or `object` must be there, at the offset that was given. What the reader saw must still be
 * there, unchanged.
 */
#ifndef SH_TESTS_CRASH_LOAD_H
#define SH_TESTS_CRASH_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_WRITERS = 64, MAX_PARTITIONS = 256, MAX_VALUE = 2048 };

enum sent_state {
	SENT_UNKNOWN, /* no answer, or an error: may be there */
	SENT_LOOSE,   /* acknowledged at level none: may be there */
	SENT_DURABLE, /* acknowledged at level wal or object: must be there */
};
struct sent {
	int64_t offset; /* of SENT_DURABLE; -1: not told */
	uint32_t partition;
	uint32_t state;
};
struct sent_list { /* one writer's, by sequence number */
	struct sent *items;
	uint64_t count, capacity;
};
struct seen_list { /* one partition's, by offset: hash of the value */
	uint64_t *hashes;
	uint64_t count, capacity;
};
struct history {
	uint32_t writers, partitions;
	struct sent_list sent[MAX_WRITERS];
	struct seen_list seen[MAX_PARTITIONS];
};
void history_save(const struct history *h, const char *path); /* these two exit on failure */
void history_load(struct history *h, const char *path);
void sent_add(struct sent_list *l, uint32_t partition);
void seen_add(struct seen_list *l, uint64_t hash);

struct load {
	const char *port_file, *topic, *level, *progress;
	uint64_t seed;
	uint32_t pause_us; /* of each writer between requests */
	struct history history;
	atomic_bool stop;
	atomic_ulong acked, unknown, refused, read, gap_ms;
	atomic_int problems;
};
/* A contradiction: printed, counted, never fatal. */
void load_problem(struct load *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void load_write(struct load *l); /* until SIGTERM */
void load_check(struct load *l, int patience_s);

uint64_t hash_bytes(const void *p, size_t n); /* FNV-1a */
/* "w3 s17 p0 payload hash" */
size_t value_make(char out[MAX_VALUE], uint32_t writer, uint64_t sequence, uint32_t partition,
	uint64_t random);
bool value_parse(const char *value, uint32_t *writer, uint64_t *sequence, uint32_t *partition);

/* Calls record() for each line of an NDJSON answer; problems are reported with `where`. */
struct read_record {
	int64_t offset;
	uint32_t partition;
	const char *value;
	size_t value_size;
};
void for_each_line(struct load *l, char *body, size_t n, const char *where,
	void (*record)(void *ctx, const struct read_record *r), void *ctx);

#endif
