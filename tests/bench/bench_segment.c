/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-segment ROUNDS MIB: building a segment from a WAL file and reading its blocks, against LZ4 on the
 * same bytes and nothing else. All in memory, one thread, CPU time.
 */
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libsh/base/disk.h"
#include "libsh/store/segment_file.h"
#include "tests/bench/bench.h"
#include "tests/unit/wal_fixture.h"

enum { PARTITIONS = 4, BATCH_RECORDS = 100, BUILD_MEMORY = 32 << 20 /* as in the store */, MIB = 1 << 20 };

struct corpus {
	struct wal_fixture wal;
	struct buf plain; /* the batches, one behind the other */
};
struct figures {
	struct bench_samples build, compress, read, decompress;
};

static uint64_t random_state = 88172645463325252ULL;

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static size_t make_value(char *p, size_t n, int64_t number)
{
	static const char *const words[] = {
		"info", "warn", "debug", "login", "checkout", "search", "payment", "profile"};
	uint64_t r = random_next();

	return (size_t)snprintf(p, n,
		"{\"id\":%lld,\"user\":\"u%08llx\",\"level\":\"%s\",\"path\":\"/api/v1/%s/"
		"%u\",\"ms\":%u.%u,\"ok\":%s,\"trace\":\"%08x\"}",
		(long long)number, (unsigned long long)(r & 0xffffff), words[r >> 24 & 7], words[r >> 27 & 7],
		(unsigned)(r >> 30 & 0xfff), (unsigned)(r >> 42 & 0x1ff), (unsigned)(r >> 51 & 7),
		r >> 54 & 7 ? "true" : "false", (unsigned)random_next());
}

static void make_batch(struct buf *out, int64_t first, bool keys)
{
	struct batch_writer w;
	char key[32], value[512];

	batch_writer_init(&w, CODEC_NONE, BATCH_MAX_BYTES);
	for (int i = 0; i < BATCH_RECORDS; i++) {
		struct record r = {.timestamp = 1700000000000 + first + i};

		r.value = (struct bytes){(const uint8_t *)value, make_value(value, sizeof(value), first + i)};
		if (keys) {
			snprintf(key, sizeof(key), "user-%08llx",
				(unsigned long long)(random_next() & 0xffffff));
			r.key = (struct bytes){(const uint8_t *)key, strlen(key)};
		}
		if (batch_writer_add(&w, &r, NULL))
			abort();
	}
	buf_reset(out);
	if (batch_writer_finish(&w, out, NULL))
		abort();
	batch_stamp(out->data, first, 3);
	batch_writer_release(&w);
}

static void make_corpus(struct corpus *c, uint64_t bytes, bool keys)
{
	struct buf batch = BUF_INIT(BATCH_MAX_BYTES);

	fixture_open(&c->wal, 4, 5ULL * WAL_FILE_BYTES);
	buf_init(&c->plain, WAL_FILE_BYTES);
	for (int64_t i = 0; c->plain.len < bytes; i++) {
		int64_t first = i / PARTITIONS * BATCH_RECORDS;
		struct wal_entry entry = {.topic = fixture_id(1),
			.partition = (uint32_t)(i % PARTITIONS),
			.epoch = 3,
			.previous_end = first,
			.append_ms = 1700000000500,
			.type = WAL_BATCH};

		make_batch(&batch, first, keys);
		entry.length = (uint32_t)batch.len;
		if (c->wal.position + wal_entry_space(entry.length) > WAL_FILE_BYTES)
			break;
		fixture_put(&c->wal, &entry, batch.data);
		buf_add(&c->plain, batch.data, batch.len);
	}
	buf_release(&batch);
}

/* ---- ours ---- */

static void fail(const struct err *e)
{
	fprintf(stderr, "bench: %s\n", e->text);
	exit(1);
}

static double build(const struct corpus *c, int *fd, uint64_t *bytes)
{
	struct segment_source sources[PARTITIONS];
	struct segment_build b = {.wal_fd = c->wal.fd,
		.generation = c->wal.generation,
		.first_lsn = c->wal.base + WAL_HEADER_BYTES,
		.end_lsn = c->wal.base + c->wal.position,
		.sources = sources,
		.source_count = PARTITIONS,
		.info = {.object = fixture_id(0xaa), .number = 1},
		.out_fd = memfd_create("segment", MFD_CLOEXEC),
		.memory_bytes = BUILD_MEMORY};
	struct err e = ERR_INIT;
	int64_t from;

	for (uint32_t i = 0; i < PARTITIONS; i++)
		sources[i] = (struct segment_source){.topic = fixture_id(1),
			.partition = i,
			.topic_name = "bench",
			.end_offset = INT64_MAX};
	from = bench_cpu_ns();
	if (segment_build(&b, &e))
		fail(&e);
	from = bench_cpu_ns() - from;
	mem_free(b.runs);
	*fd = b.out_fd;
	*bytes = b.bytes;
	return (double)c->plain.len * 1e3 / (double)from;
}

static int read_object(void *ctx, uint64_t offset, void *p, size_t n, struct err *e)
{
	return disk_pread(*(int *)ctx, p, n, (int64_t)offset, e);
}

static double read_blocks(const struct corpus *c, int fd, uint64_t bytes)
{
	struct segment_input in = {read_object, &fd, bytes};
	struct buf raw = BUF_INIT(BATCH_MAX_BYTES);
	struct segment_file f;
	struct err e = ERR_INIT;
	uint64_t total = 0;
	int64_t from;

	if (segment_file_open(&f, &in, &e))
		fail(&e);
	from = bench_cpu_ns();
	for (size_t i = 0; i < f.run_count; i++)
		for (uint32_t k = 0; k < f.runs[i].block_count; k++) {
			if (segment_block_read(&in, &f.runs[i].blocks[k], &raw, &e))
				fail(&e);
			total += raw.len;
		}
	from = bench_cpu_ns() - from;
	segment_file_release(&f);
	buf_release(&raw);
	if (total != c->plain.len) {
		fprintf(stderr, "bench: %llu bytes read, not %zu\n", (unsigned long long)total, c->plain.len);
		exit(1);
	}
	return (double)total * 1e3 / (double)from;
}

/* ---- the peer ---- */

static void plain(const struct corpus *c, struct figures *f)
{
	size_t blocks = c->plain.len / SEGMENT_BLOCK_BYTES, n = blocks * SEGMENT_BLOCK_BYTES;
	int bound = LZ4_compressBound(SEGMENT_BLOCK_BYTES);
	char *packed = mem_array(blocks, (size_t)bound), *raw = mem_alloc(SEGMENT_BLOCK_BYTES);
	int *sizes = mem_array(blocks, sizeof(*sizes));
	int64_t from;

	memset(packed, 0, blocks * (size_t)bound); /* fresh pages are not what is measured */
	from = bench_cpu_ns();
	for (size_t i = 0; i < blocks; i++)
		sizes[i] = LZ4_compress_default(c->plain.data + i * SEGMENT_BLOCK_BYTES,
			packed + i * (size_t)bound, SEGMENT_BLOCK_BYTES, bound);
	bench_add(&f->compress, (double)n * 1e3 / (double)(bench_cpu_ns() - from));
	from = bench_cpu_ns();
	for (size_t i = 0; i < blocks; i++)
		if (LZ4_decompress_safe(packed + i * (size_t)bound, raw, sizes[i], SEGMENT_BLOCK_BYTES) !=
			SEGMENT_BLOCK_BYTES)
			abort();
	bench_add(&f->decompress, (double)n * 1e3 / (double)(bench_cpu_ns() - from));
	mem_free(packed);
	mem_free(raw);
	mem_free(sizes);
}

static void measure(const struct corpus *c, struct figures *f)
{
	uint64_t bytes;
	int fd;

	plain(c, f);
	bench_add(&f->build, build(c, &fd, &bytes));
	bench_add(&f->read, read_blocks(c, fd, bytes));
	close(fd);
}

static void report(const char *suffix, const struct figures *f)
{
	char name[64];

	snprintf(name, sizeof(name), "segment-build-%s", suffix);
	bench_at_least(name, bench_median(&f->build), "MB/s", 0.8, bench_median(&f->compress));
	snprintf(name, sizeof(name), "segment-read-%s", suffix);
	bench_at_least(name, bench_median(&f->read), "MB/s", 0.8, bench_median(&f->decompress));
}

int main(int argc, char **argv)
{
	struct figures with = {0}, without = {0};
	struct corpus keys, no_keys;
	uint64_t rounds, bytes;

	if (argc != 3) {
		fprintf(stderr, "usage: bench-segment ROUNDS MIB\n");
		return 2;
	}
	rounds = bench_number(argv[1]);
	bytes = bench_number(argv[2]) * MIB;
	make_corpus(&no_keys, bytes, false);
	make_corpus(&keys, bytes, true);
	for (uint64_t i = 0; i < rounds && i < BENCH_ROUNDS_MAX; i++) {
		measure(&no_keys, &without);
		measure(&keys, &with);
	}
	report("no-keys", &without);
	report("keys", &with);
	buf_release(&keys.plain);
	buf_release(&no_keys.plain);
	return 0;
}
