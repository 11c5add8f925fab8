/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world: time, chance, faults, lives of the agent. A seed is some seconds of trouble, then a calm in which everything must be
 * read back. The same seed gives the same run; the hash over all that happened says so.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libsh/base/disk.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"
#include "tests/sim/sim.h"
#include "tests/sim/threads.h"

enum { CALM_MS = 120000, RING = 4096 };
static const char *const fault_names[FAULT_COUNT] = {"kill", "power", "sync", "write", "space", "read", "peers", "store", "pause", "clock",
	"drain", "retention"};

struct sim sim;
static int64_t calm_at_ns, weather_at_ns;

/* ---- chance and history ---- */

uint64_t sim_random(void) /* splitmix64 */
{
	uint64_t z = sim.random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

uint64_t sim_below(uint64_t n)
{
	return n ? sim_random() % n : 0;
}

bool sim_percent(unsigned percent)
{
	return sim_below(100) < percent;
}

bool sim_fault(enum fault f, unsigned per_mille)
{
	bool hit = sim_below(1000) < per_mille; /* drawn in any case: a run without a class is like the one with it, as long as can be */

	return hit && !sim.calm && sim.faults & 1u << f;
}

static void trace_add(uint64_t v)
{
	sim.trace = (sim.trace ^ v) * 0x100000001b3ULL;
	sim.trace ^= sim.trace >> 29;
}

void sim_event(const char *what, int64_t a, int64_t b)
{
	sim.events++;
	for (const char *at = what; *at; at++)
		trace_add((uint8_t)*at);
	trace_add((uint64_t)sim.now_ns);
	trace_add((uint64_t)a);
	trace_add((uint64_t)b);
	if (sim.verbose)
		printf("# %8lld.%03lld ms  life %-3llu %-18s %lld %lld\n", (long long)(sim.now_ns / MS), (long long)(sim.now_ns / 1000 % 1000),
			(unsigned long long)sim.node.life, what, (long long)a, (long long)b);
}

void sim_anomaly(const char *fmt, ...)
{
	va_list ap;

	if (sim.anomaly[0])
		return;
	va_start(ap, fmt);
	vsnprintf(sim.anomaly, sizeof(sim.anomaly), fmt, ap);
	va_end(ap);
	sim_event("anomaly", 0, 0);
}

struct uuid sim_uuid(void)
{
	struct uuid u;
	uint64_t a = sim_random(), b = sim_random();

	memcpy(u.b, &a, 8);
	memcpy(u.b + 8, &b, 8);
	return u;
}

/* ---- log.h: said in the trace only ---- */

static void __attribute__((format(printf, 2, 0))) say(const char *level, const char *fmt, va_list ap)
{
	if (!sim.verbose)
		return;
	printf("# %8lld.%03lld ms  %s: ", (long long)(sim.now_ns / MS), (long long)(sim.now_ns / 1000 % 1000), level);
	vprintf(fmt, ap);
	putchar('\n');
}

#define SAY(name, level)                        \
	void name(const char *fmt, ...)         \
	{                                       \
		va_list ap;                     \
		va_start(ap, fmt);              \
		say(level, fmt, ap);            \
		va_end(ap);                     \
	}
SAY(log_debug, "debug")
SAY(log_info, "info")
SAY(log_warn, "warning")
SAY(log_error, "error")

static void __attribute__((format(printf, 1, 0))) die(const char *fmt, va_list ap)
{
	static char text[400];

	vsnprintf(text, sizeof(text), fmt, ap);
	sim.node.died = text;
	if (!fiber_inside()) {
		fprintf(stderr, "the simulator itself: %s\n", text);
		abort();
	}
	if (sim.verbose)
		printf("# died: %s\n", text);
	sim_event("died", (int64_t)sim.node.life, 0);
	sim.node.end_at_ns = sim.now_ns;
	sim.node.by_power = false;
	fiber_die();
}

void fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	die(fmt, ap);
	abort();
}

void fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	die(fmt, ap);
	abort();
}

void fatal_err(const struct err *e, const char *fmt, ...)
{
	va_list ap;

	(void)e;
	va_start(ap, fmt);
	die(fmt, ap);
	abort();
}

/* ---- lives ---- */

static void on_serving(void *ctx)
{
	struct node *n = ctx;

	n->serving = true;
	sim_event("serving", (int64_t)n->life, n->log->state);
	clients_start(n);
}

static void on_drained(void *ctx)
{
	struct node *n = ctx;

	sim_event("drained", (int64_t)n->life, 0);
	n->drained = true;
	n->end_at_ns = sim.now_ns;
	fiber_die();
}

static void life_main(void *ctx)
{
	struct node *n = ctx;

	n->self.loop = loop_new(NULL);
	n->self.settings = settings_new();
	settings_set(n->self.settings, "session.ttl", "1s", "sim", NULL);
	settings_set(n->self.settings, "segment.max_age", "150ms", "sim", NULL);
	settings_set(n->self.settings, "segment.max_bytes", "64k", "sim", NULL);
	settings_set(n->self.settings, "object.flush_interval", "20ms", "sim", NULL);
	n->log = log_new(&n->self);
	log_start(n->log, on_serving, n);
	loop_run(n->self.loop);
}

static void life_start(struct node *n)
{
	n->life++;
	n->up = true;
	n->serving = n->drained = n->failed = false;
	n->died = NULL;
	n->end_at_ns = INT64_MAX;
	n->paused_until_ns = 0;
	n->steps_left = 0;
	n->by_power = false;
	n->self.role = ROLE_AGENT;
	n->self.data_dir = "/d";
	n->self.count = 1;
	if (!sim.calm && sim.faults & (1u << FAULT_KILL | 1u << FAULT_POWER)) {
		n->by_power = sim_percent(50) ? sim.faults & 1u << FAULT_POWER : !(sim.faults & 1u << FAULT_KILL);
		n->steps_left = 1 + (int64_t)sim_below(sim_percent(30) ? 60 : 3000);
	}
	sim_event("life", (int64_t)n->life, n->steps_left);
	fiber_start(life_main, n);
}

static void operator_tidies(void)
{
	static const char mark[] = "/d/slots/0/wal/FAILED";

	if (!disk_exists(mark) || !(sim.calm || sim_percent(40)))
		return;
	sim_event("operator", 0, 0);
	disk_unlink(mark, NULL);
	disk_sync_dir("/d/slots/0/wal", NULL);
}

static void life_end(struct node *n)
{
	sim_event("end", (int64_t)n->life, n->by_power);
	fiber_end_all();
	peers_end_life();
	disk_close_all();
	memory_end_life();
	if (n->by_power)
		disk_power_loss();
	n->up = false;
	n->self.loop = NULL;
	n->start_at_ns = sim.now_ns + (int64_t)sim_below(40 * MS);
	disk_space(false);
	operator_tidies();
}

/* ---- trouble ---- */

static void weather(struct node *n)
{
	weather_at_ns = sim.now_ns + (int64_t)sim_below(60 * MS);
	if (sim_fault(FAULT_PAUSE, 30) && n->up)
		n->paused_until_ns = sim.now_ns + (int64_t)sim_below(2500 * MS);
	if (sim_fault(FAULT_CLOCK, 50))
		sim.real_shift_ms += (int64_t)sim_below(20000) - 10000;
	if (sim_fault(FAULT_SPACE, 100))
		disk_space(sim_percent(30));
	if (sim_fault(FAULT_RETENTION, 500))
		meta_retain();
	if (sim_fault(FAULT_KILL, 10) && n->up) {
		n->by_power = false;
		n->end_at_ns = sim.now_ns;
	}
}

static void drain(void *ctx)
{
	log_drain(sim.node.log, on_drained, ctx);
}

static void maybe_drain(struct node *n)
{
	static struct timer t;

	if (!n->serving || !n->self.loop || n->log->state == LOG_DRAINING || !sim_fault(FAULT_DRAIN, 1))
		return;
	memset(&t, 0, sizeof(t));
	memory_owner(true);
	loop_timer_set(n->self.loop, &t, 0, drain, n);
	memory_owner(false);
	loop_post(n->self.loop);
}

static void become_calm(struct node *n)
{
	sim_event("calm", 0, 0);
	calm_at_ns = INT64_MAX;
	weather_at_ns = INT64_MAX;
	sim.calm = true;
	n->paused_until_ns = 0;
	if (n->up)
		life_end(n);
	else
		operator_tidies();
	disk_space(false);
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Everything that can happen now, or the clock moves on to when something can. */
static void world_step(void)
{
	struct node *n = &sim.node;
	int64_t next = least(calm_at_ns, weather_at_ns);

	if (sim.now_ns >= calm_at_ns)
		become_calm(n);
	if (sim.now_ns >= weather_at_ns)
		weather(n);
	if (n->up && sim.now_ns >= n->end_at_ns)
		life_end(n);
	if (!n->up && sim.now_ns >= n->start_at_ns)
		life_start(n);
	if (n->up)
		maybe_drain(n);
	if (peers_run(&next) || fiber_run_one(&next))
		return;
	next = least(next, n->up ? n->end_at_ns : n->start_at_ns);
	next = least(next, least(calm_at_ns, weather_at_ns));
	if (next == INT64_MAX) {
		sim_anomaly("nothing will ever happen again");
		return;
	}
	if (next > sim.now_ns)
		sim.now_ns = next;
}

static void run_seed(uint64_t seed, unsigned faults, bool verbose)
{
	int64_t give_up_ns;

	memset(&sim, 0, sizeof(sim));
	sim.seed = sim.random = seed;
	sim.random *= 0x2545f4914f6cdd1dULL;
	sim.trace = 0xcbf29ce484222325ULL ^ seed;
	sim.faults = faults;
	sim.verbose = verbose;
	sim.now_ns = 1000 * MS;
	disk_reset();
	peers_reset();
	meta_reset();
	clients_reset();
	calm_at_ns = sim.now_ns + (int64_t)(200 + sim_below(1500)) * MS;
	weather_at_ns = sim.now_ns;
	give_up_ns = calm_at_ns + CALM_MS * MS;
	while (!sim.anomaly[0] && !clients_checked()) {
		world_step();
		if (sim.now_ns > give_up_ns)
			sim_anomaly("not all could be read back in the calm%s%s", sim.node.died ? ": " : "", sim.node.died ? sim.node.died : "");
	}
	fiber_end_all();
	peers_end_life();
	disk_close_all();
	memory_end_life();
}

/* ---- a seed that failed ---- */

/* Leave out classes of faults as long as it still fails. */
static unsigned shrink(uint64_t seed, unsigned faults)
{
	for (unsigned f = 0; f < FAULT_COUNT; f++) {
		if (!(faults & 1u << f))
			continue;
		run_seed(seed, faults & ~(1u << f), false);
		if (sim.anomaly[0])
			faults &= ~(1u << f);
	}
	return faults;
}

static void report(uint64_t seed, unsigned faults)
{
	printf("seed %llu: %s\n", (unsigned long long)seed, sim.anomaly);
	faults = shrink(seed, faults);
	printf("# with these faults only:");
	for (unsigned f = 0; f < FAULT_COUNT; f++)
		if (faults & 1u << f)
			printf(" %s", fault_names[f]);
	printf("\n# again, with all that happens: --seed %llu --faults %x --trace\n", (unsigned long long)seed, faults);
	run_seed(seed, faults, false);
	printf("# %s, after %llu events, life %llu\n", sim.anomaly, (unsigned long long)sim.events, (unsigned long long)sim.node.life);
}

/* ---- main ---- */

int __real_clock_gettime(clockid_t which, struct timespec *ts);

static double wall_seconds(void)
{
	struct timespec ts;

	__real_clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int list_plants(void)
{
#define P(name, text) printf("%-28s %s\n", #name, text);
	PLANT_LIST(P)
#undef P
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t from = 1, count = 100, seeds = 0, anomalies = 0, trace = 0;
	double limit = 0, start = wall_seconds(), took;
	unsigned faults = (1u << FAULT_COUNT) - 1;
	bool verbose = false, tap = false;

	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : "";

		if (!strcmp(argv[i], "--plants"))
			return list_plants();
		else if (!strcmp(argv[i], "--trace"))
			verbose = true;
		else if (!strcmp(argv[i], "--tap"))
			tap = true;
		else if (!strcmp(argv[i], "--seeds"))
			count = strtoull(value, NULL, 10), i++;
		else if (!strcmp(argv[i], "--from"))
			from = strtoull(value, NULL, 10), i++;
		else if (!strcmp(argv[i], "--seed"))
			from = strtoull(value, NULL, 10), count = 1, i++;
		else if (!strcmp(argv[i], "--faults"))
			faults = (unsigned)strtoul(value, NULL, 16), i++;
		else if (!strcmp(argv[i], "--for"))
			limit = strtod(value, NULL), i++;
		else
			return fprintf(stderr, "usage: sim [--seeds N] [--from S] [--for SECONDS] [--seed S] [--faults HEX] [--trace] [--plants]\n"), 2;
	}
	for (; seeds < count && !anomalies && (limit <= 0 || wall_seconds() - start < limit); seeds++) {
		run_seed(from + seeds, faults, verbose);
		trace = (trace ^ sim.trace) * 0x100000001b3ULL;
		if (sim.anomaly[0]) {
			anomalies++;
			report(from + seeds, faults);
		}
	}
	took = wall_seconds() - start;
	if (tap)
		printf("%sok 1 - %llu seeds from %llu without an anomaly\n1..1\n", anomalies ? "not " : "", (unsigned long long)seeds,
			(unsigned long long)from);
	printf("%s%.1f seeds per second\n", tap ? "# " : "", (double)seeds / (took > 0 ? took : 1));
	printf("%s%llu seeds, %llu anomalies, trace %016llx\n", tap ? "# " : "", (unsigned long long)seeds, (unsigned long long)anomalies,
		(unsigned long long)trace);
	return anomalies ? 1 : 0;
}
