/* SPDX-License-Identifier: Apache-2.0 */
/* Seeds: run, hashed, and shrunken when one fails. The same seed gives the same run; the hash over all that happened says so. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libsh/base/plant.h"
#include "tests/sim/sim.h"

enum { SHRINK_RUNS = 600 };

struct sim sim;
#ifdef SH_PLANTS
enum plant plant_chosen;
#endif

static void run_seed(uint64_t seed, const struct limits *l, int verbose)
{
	memset(&sim, 0, sizeof(sim));
	sim.node = sim.owner = &sim.nodes[0];
	sim.seed = seed;
	sim.random = seed * 0x2545f4914f6cdd1dULL;
	sim.trace = 0xcbf29ce484222325ULL ^ seed;
	sim.limits = *l;
	sim.verbose = verbose;
	sim.now_ns = 1000 * MS;
	world_run();
}

/* ---- a seed that failed ---- */

struct shrink {
	uint64_t seed;
	const char *kind;
	struct limits best;
	uint32_t hits;       /* faults in the best run */
	unsigned runs;
};

/* Whether it fails still, with that much less. */
static bool shrink_try(struct shrink *s, const struct limits *l)
{
	if (s->runs >= SHRINK_RUNS)
		return false;
	s->runs++;
	run_seed(s->seed, l, VERBOSE_NONE);
	if (!sim.anomaly[0] || sim.anomaly_kind != s->kind)
		return false;
	s->best = *l;
	s->hits = sim.hits;
	return true;
}

static void shrink_classes(struct shrink *s)
{
	for (unsigned f = 0; f < FAULT_COUNT; f++) {
		struct limits l = s->best;

		l.faults &= ~(1u << f);
		if (l.faults != s->best.faults)
			shrink_try(s, &l);
	}
}

/* Faults have numbers in the order in which they happen: leave out a half of them, a quarter, single ones. */
static void shrink_faults(struct shrink *s)
{
	for (uint32_t size = s->hits; size; size /= 2)
		for (uint32_t from = 0; from < s->hits && from < SKIP_MAX; from += size) {
			struct limits l = s->best;
			bool less = false;

			for (uint32_t i = from; i < from + size && i < SKIP_MAX; i++) {
				less |= !l.skip[i];
				l.skip[i] = true;
			}
			if (less)
				shrink_try(s, &l);
		}
}

/* The smallest number at offset `at` of the limits with which it fails. */
static void shrink_number(struct shrink *s, size_t at, uint32_t used)
{
	uint32_t low = 0, high = used;

	while (low < high) {
		uint32_t middle = (low + high) / 2;
		struct limits l = s->best;

		*(uint32_t *)((char *)&l + at) = middle;
		if (shrink_try(s, &l))
			high = middle;
		else
			low = middle + 1;
	}
}

static void report(uint64_t seed, const struct limits *limits, bool shrinks)
{
	struct shrink s = {.seed = seed, .kind = sim.anomaly_kind, .best = *limits, .hits = sim.hits};
	uint32_t left = 0;

	printf("seed %llu: %s\n", (unsigned long long)seed, sim.anomaly);
	if (!shrinks)
		return;
	shrink_classes(&s);
	shrink_number(&s, offsetof(struct limits, appends), sim.appends);
	shrink_number(&s, offsetof(struct limits, readers), limits->readers);
	shrink_faults(&s);
	shrink_classes(&s);
	run_seed(seed, &s.best, VERBOSE_END);
	for (uint32_t i = 0; i < sim.hits; i++)
		left += i >= SKIP_MAX || !s.best.skip[i];
	printf("# shrunken in %u runs: %s\n", s.runs, sim.anomaly);
	printf("# %u faults, %u appends, %llu lives, %llu events; wal.sync=%s; what is left:\n", left, sim.appends,
		(unsigned long long)sim.lives, (unsigned long long)sim.events, sim.wal_sync);
	sim_print_end();
	printf("# the seed as it was: --seed %llu --trace\n", (unsigned long long)seed);
}

/* ---- main ---- */

int __real_clock_gettime(clockid_t which, struct timespec *ts);

static double wall_seconds(void)
{
	struct timespec ts;

	__real_clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

#define P(name, text) {#name, text, PLANT_##name},
static const struct { const char *name, *text; enum plant plant; } plants[] = {PLANT_LIST(P)};
#undef P

static int list_plants(void)
{
	for (size_t i = 0; i < array_count(plants); i++)
		printf("%-28s %s\n", plants[i].name, plants[i].text);
	return 0;
}

static bool choose_plant(const char *name)
{
#ifdef SH_PLANTS
	for (size_t i = 0; i < array_count(plants); i++)
		if (!strcmp(plants[i].name, name)) {
			plant_chosen = plants[i].plant;
			return true;
		}
#endif
	fprintf(stderr, "sim: no plant is called %s in this build, see --plants\n", name);
	return false;
}

int main(int argc, char **argv)
{
	uint64_t from = 1, count = 100, seeds = 0, anomalies = 0, trace = 0;
	double limit = 0, start = wall_seconds(), took;
	struct limits limits = {.faults = (1u << FAULT_COUNT) - 1, .appends = UINT32_MAX, .readers = READERS_MAX};
	bool shrinks = true;
	int verbose = VERBOSE_NONE;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--plants"))
			return list_plants();
		else if (!strcmp(argv[i], "--plant")) {
			if (!choose_plant(value))
				return 2;
			i++;
		} else if (!strcmp(argv[i], "--trace"))
			verbose = VERBOSE_ALL;
		else if (!strcmp(argv[i], "--no-shrink"))
			shrinks = false;
		else if (!strcmp(argv[i], "--seeds"))
			count = strtoull(value, NULL, 10), i++;
		else if (!strcmp(argv[i], "--from"))
			from = strtoull(value, NULL, 10), i++;
		else if (!strcmp(argv[i], "--seed"))
			from = strtoull(value, NULL, 10), count = 1, i++;
		else if (!strcmp(argv[i], "--faults"))
			limits.faults = (unsigned)strtoul(value, NULL, 16), i++;
		else if (!strcmp(argv[i], "--for"))
			limit = strtod(value, NULL), i++;
		else
			return fprintf(stderr, "usage: sim [--seeds N] [--from S] [--for SECONDS] [--seed S] [--faults HEX] [--trace]\n"
					       "           [--no-shrink] [--plants] [--plant NAME]\n"), 2;
	}
	for (; seeds < count && !anomalies && (limit <= 0 || wall_seconds() - start < limit); seeds++) {
		run_seed(from + seeds, &limits, verbose);
		trace = (trace ^ sim.trace) * 0x100000001b3ULL;
		if (sim.anomaly[0]) {
			anomalies++;
			report(from + seeds, &limits, shrinks && !verbose);
		}
	}
	took = wall_seconds() - start;
	printf("%.1f seeds per second\n", (double)seeds / (took > 0 ? took : 1));
	printf("%llu seeds, %llu anomalies, trace %016llx\n", (unsigned long long)seeds, (unsigned long long)anomalies,
		(unsigned long long)trace);
	return anomalies ? 1 : 0;
}
