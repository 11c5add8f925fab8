/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

int64_t bench_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t bench_cpu_ns(void)
{
	return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void bench_add(struct bench_samples *s, double value)
{
	if (s->count < BENCH_ROUNDS_MAX)
		s->values[s->count++] = value;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_quantile(double *values, size_t n, double q)
{
	size_t at = (size_t)((double)n * q);

	if (!n)
		return 0;
	qsort(values, n, sizeof(*values), compare);
	return values[at < n ? at : n - 1];
}

double bench_median(const struct bench_samples *s)
{
	struct bench_samples copy = *s;

	return bench_quantile(copy.values, copy.count, 0.5);
}

void bench_at_least(const char *name, double figure, const char *unit, double factor, double peer)
{
	printf("%s %.4g %s %.2f >=%.3g*%.4g\n", name, figure, unit, figure / (factor * peer), factor, peer);
	fflush(stdout);
}

void bench_at_most(const char *name, double figure, const char *unit, double factor, double peer)
{
	printf("%s %.4g %s %.2f <=%.3g*%.4g\n", name, figure, unit, factor * peer / figure, factor, peer);
	fflush(stdout);
}

uint64_t bench_number(const char *text)
{
	char *end;
	uint64_t n = strtoull(text, &end, 10);

	if (!*text || *end || !n) {
		fprintf(stderr, "bench: '%s' is not a number above 0\n", text);
		exit(2);
	}
	return n;
}

void bench_die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}
