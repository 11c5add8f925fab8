/* SPDX-License-Identifier: Apache-2.0 */
/* What the programs of tests/bench share: clocks, medians, and the line that a figure is printed as. */
#ifndef SH_TESTS_BENCH_H
#define SH_TESTS_BENCH_H

#include <stddef.h>
#include <stdint.h>

enum { BENCH_ROUNDS_MAX = 64 };

struct bench_samples { /* of one figure, one a round */
	double values[BENCH_ROUNDS_MAX];
	size_t count;
};

int64_t bench_now_ns(void); /* monotonic */
int64_t bench_cpu_ns(void); /* of this thread */
void bench_add(struct bench_samples *s, double value);
double bench_median(const struct bench_samples *s);
/* The q-th part (0 to 1) of n values, which are sorted by this. */
double bench_quantile(double *values, size_t n, double q);

/*
 * One line: NAME figure unit ratio goal. The goal is `factor` times what a peer reached in the same run; the
 * ratio says how well it is met, 1.00 or more when it is. at_most: less is better.
 */
void bench_at_least(const char *name, double figure, const char *unit, double factor, double peer);
void bench_at_most(const char *name, double figure, const char *unit, double factor, double peer);
/* A number from the command line; ends the program when it is none. */
uint64_t bench_number(const char *text);
void bench_die(const char *what) __attribute__((noreturn)); /* with the text of errno */

#endif
