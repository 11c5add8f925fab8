/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-wal DIR ROUNDS APPENDS MIB: the agent's WAL, driven as its loop drives it, against what the disk
 * under DIR gives to a program that does nothing but write and sync. Both work on files that were written
 * before. Every round measures all of them, one after the other, so that a disk that changes its mind changes
 * it for all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/agent/log/wal.h"
#include "libsh/base/mem.h"
#include "tests/bench/bench.h"

enum {
	APPEND_BYTES = 4096,   /* one request, with the entry's header */
	MANY = 64,	       /* requests in flight */
	LARGE_BYTES = 1 << 20, /* one append when bandwidth is measured */
	LARGE_IN_FLIGHT = 24,  /* below WAL_STAGED_MAX */
	DISK_WRITE_BYTES = 8 << 20,
	MIB = 1 << 20,
};

struct latency {
	struct bench_samples p50, p99, rate;
};

/* ---- the peer: pwrite + fdatasync ---- */

static uint8_t *aligned_bytes(size_t n)
{
	void *p;

	if (posix_memalign(&p, 4096, n))
		bench_die("memory");
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(i * 2654435761U >> 13);
	return p;
}

static void prewrite(const char *path, const uint8_t *bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		bench_die(path);
	for (off_t at = 0; at < WAL_FILE_BYTES; at += DISK_WRITE_BYTES)
		if (pwrite(fd, bytes, DISK_WRITE_BYTES, at) != DISK_WRITE_BYTES)
			bench_die(path);
	if (fsync(fd))
		bench_die(path);
	close(fd);
}

/* `total` bytes in writes of n, each made durable. */
static void bare(
	const char *path, int flags, const uint8_t *bytes, size_t n, uint64_t total, double *latencies)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | flags);

	if (fd < 0)
		bench_die(path);
	for (uint64_t done = 0, i = 0; done < total; done += n, i++) {
		int64_t from = bench_now_ns();

		if (pwrite(fd, bytes, n, (off_t)(done % WAL_FILE_BYTES)) != (ssize_t)n || fdatasync(fd))
			bench_die(path);
		if (latencies)
			latencies[i] = (double)(bench_now_ns() - from) / 1e3;
	}
	close(fd);
}

/* ---- the WAL ---- */

struct driver {
	struct loop *loop;
	struct wal *wal;
	const uint8_t *batch;
	uint32_t length;
	uint64_t in_flight_max, wanted, sent, acknowledged;
	struct {
		uint64_t end;
		int64_t from;
	} ring[MANY];
	double *latencies; /* NULL: not wanted */
};

static void append_more(struct driver *d)
{
	struct err e = ERR_INIT;

	while (d->sent < d->wanted && d->sent - d->acknowledged < d->in_flight_max) {
		struct wal_entry entry = {
			.type = WAL_BATCH, .length = d->length, .previous_end = (int64_t)d->sent};
		uint64_t slot = d->sent % MANY;

		if (wal_may_append(d->wal, wal_entry_space(d->length), &e) < 0) {
			if (d->sent > d->acknowledged)
				return; /* what is in flight brings us here again */
			fprintf(stderr, "bench: %s\n", e.text);
			exit(1);
		}
		d->ring[slot].from = bench_now_ns();
		d->ring[slot].end = wal_append(d->wal, &entry, d->batch) + wal_entry_space(d->length);
		d->sent++;
	}
}

static void recycle(struct wal *w)
{
	while (wal_oldest(w) && wal_is_left(w, wal_oldest(w)) &&
		wal_synced_lsn(w) >= wal_next(w, wal_oldest(w))->base_lsn)
		wal_recycle(w, wal_oldest(w));
}

static void synced(void *ctx, uint64_t lsn)
{
	struct driver *d = ctx;
	int64_t now = bench_now_ns();

	while (d->acknowledged < d->sent && d->ring[d->acknowledged % MANY].end <= lsn) {
		if (d->latencies)
			d->latencies[d->acknowledged] =
				(double)(now - d->ring[d->acknowledged % MANY].from) / 1e3;
		d->acknowledged++;
	}
	recycle(d->wal);
	if (d->acknowledged == d->wanted)
		loop_stop(d->loop, 0);
	else
		append_more(d);
}

static void failed(void *ctx, const struct err *e)
{
	(void)ctx;
	fprintf(stderr, "bench: %s\n", e->text);
	exit(1);
}

static void drive(struct driver *d, uint64_t count, size_t space, uint64_t in_flight, double *latencies)
{
	d->length = (uint32_t)(space - WAL_ENTRY_BYTES);
	d->wanted = count;
	d->in_flight_max = in_flight;
	d->sent = d->acknowledged = 0;
	d->latencies = latencies;
	append_more(d);
	loop_run(d->loop);
}

static void open_wal(struct driver *d, const char *dir, const uint8_t *bytes)
{
	static const struct wal_events events = {synced, failed};
	struct wal_options options = {
		.dir = dir, .session = 1, .sync = WAL_SYNC_ALWAYS, .max_bytes = UINT64_C(16) << 30};
	struct err e = ERR_INIT;
	char *spare;

	if (mkdir(dir, 0700) && errno != EEXIST)
		bench_die(dir);
	d->loop = loop_new(&e);
	d->wal = d->loop ? wal_new(d->loop, &options, &events, d, &e) : NULL;
	for (int i = 0; d->wal && i < 2; i++) {
		spare = mem_printf("%s/bench-%d.spare", dir, i);
		prewrite(spare, bytes);
		wal_adopt_spare(d->wal, spare);
		mem_free(spare);
	}
	if (!d->wal || wal_begin(d->wal, WAL_FILE_BYTES, WAL_FILE_BYTES, NULL, 0, &e) < 0) {
		fprintf(stderr, "bench: %s\n", e.text);
		exit(1);
	}
	d->batch = bytes;
}

/* ---- rounds ---- */

static void note(struct latency *to, double *latencies, size_t n, double per_second)
{
	bench_add(&to->p50, bench_quantile(latencies, n, 0.5));
	bench_add(&to->p99, bench_quantile(latencies, n, 0.99));
	bench_add(&to->rate, per_second);
}

static void measure(struct driver *d, const char *peer, uint64_t appends, uint64_t in_flight,
	struct latency *ours, struct latency *theirs)
{
	double *latencies = mem_array(appends, sizeof(*latencies));
	int64_t from = bench_now_ns();
	uint64_t groups = appends / in_flight;

	bare(peer, 0, d->batch, APPEND_BYTES * in_flight, APPEND_BYTES * in_flight * groups, latencies);
	note(theirs, latencies, groups, (double)(groups * in_flight) * 1e9 / (double)(bench_now_ns() - from));
	from = bench_now_ns();
	drive(d, appends, APPEND_BYTES, in_flight, latencies);
	note(ours, latencies, appends, (double)appends * 1e9 / (double)(bench_now_ns() - from));
	mem_free(latencies);
}

static double disk_bandwidth(const char *peer, int flags, const uint8_t *bytes, uint64_t mib)
{
	int64_t from = bench_now_ns();

	bare(peer, flags, bytes, DISK_WRITE_BYTES, mib * MIB, NULL);
	return (double)(mib * MIB) * 1e3 / (double)(bench_now_ns() - from);
}

static double wal_bandwidth(struct driver *d, uint64_t mib)
{
	int64_t from = bench_now_ns();

	drive(d, mib, LARGE_BYTES, LARGE_IN_FLIGHT, NULL);
	return (double)(mib * MIB) * 1e3 / (double)(bench_now_ns() - from);
}

static void report(
	const char *suffix, const struct latency *ours, const struct latency *theirs, double p99_factor)
{
	char name[64];

	snprintf(name, sizeof(name), "wal-ack-p50-%s", suffix);
	bench_at_most(name, bench_median(&ours->p50), "us", p99_factor, bench_median(&theirs->p50));
	snprintf(name, sizeof(name), "wal-ack-p99-%s", suffix);
	bench_at_most(name, bench_median(&ours->p99), "us", p99_factor, bench_median(&theirs->p99));
	snprintf(name, sizeof(name), "wal-appends-%s", suffix);
	bench_at_least(name, bench_median(&ours->rate), "1/s", 1 / p99_factor, bench_median(&theirs->rate));
}

int main(int argc, char **argv)
{
	struct latency one = {0}, one_bare = {0}, many = {0}, many_bare = {0};
	struct bench_samples bandwidth = {0}, direct = {0}, buffered = {0};
	struct driver d = {0};
	uint64_t rounds, appends, mib;
	char *peer;
	uint8_t *bytes;

	if (argc != 5) {
		fprintf(stderr, "usage: bench-wal DIR ROUNDS APPENDS MIB\n");
		return 2;
	}
	rounds = bench_number(argv[2]);
	appends = bench_number(argv[3]);
	mib = (bench_number(argv[4]) + 7) / 8 * 8; /* whole writes of the peer */
	peer = mem_printf("%s/peer", argv[1]);
	bytes = aligned_bytes(DISK_WRITE_BYTES);
	open_wal(&d, argv[1], bytes);
	prewrite(peer, bytes);
	for (uint64_t i = 0; i < rounds && i < BENCH_ROUNDS_MAX; i++) {
		measure(&d, peer, appends, 1, &one, &one_bare);
		measure(&d, peer, appends * 8 / MANY * MANY, MANY, &many, &many_bare);
		bench_add(&direct, disk_bandwidth(peer, O_DIRECT, bytes, mib));
		bench_add(&buffered, disk_bandwidth(peer, 0, bytes, mib));
		bench_add(&bandwidth, wal_bandwidth(&d, mib));
	}
	report("1", &one, &one_bare, 2);
	report("64", &many, &many_bare, 3);
	bench_at_least("wal-bandwidth", bench_median(&bandwidth), "MB/s", 0.8, bench_median(&direct));
	bench_at_least(
		"wal-bandwidth-buffered", bench_median(&bandwidth), "MB/s", 0.8, bench_median(&buffered));
	wal_stop(d.wal);
	loop_free(d.loop);
	free(bytes);
	mem_free(peer);
	return 0;
}
