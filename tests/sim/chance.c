/* SPDX-License-Identifier: Apache-2.0 */
/* Chance and what comes of it: draws, faults, the hash over all that happened and its lines; log.h, said in those lines only. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/base/log.h"
#include "tests/sim/sim.h"

enum { LINES = 60 };

#define F(name, text) text,
static const char *const fault_names[FAULT_COUNT] = {FAULT_LIST(F)};
#undef F

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

/* All lines, or the last few: of a run that was shrunken, the end tells most. */
static char lines[LINES][600];
static uint64_t line_count;

static void __attribute__((format(printf, 1, 2))) line_print(const char *fmt, ...)
{
	char *line = lines[line_count++ % LINES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(lines[0]), fmt, ap);
	va_end(ap);
	if (sim.verbose == VERBOSE_ALL)
		printf("# %6lld.%03lld %s\n", (long long)(sim.now_ns / MS), (long long)(sim.now_ns / 1000 % 1000), line);
	else
		snprintf(line + strlen(line), sizeof(lines[0]) - strlen(line), " at %lld.%03lld ms", (long long)(sim.now_ns / MS),
			(long long)(sim.now_ns / 1000 % 1000));
}

void sim_print_end(void)
{
	uint64_t from = line_count > LINES ? line_count - LINES : 0;

	if (from)
		printf("# ... %llu before\n", (unsigned long long)from);
	for (; from < line_count; from++)
		printf("# %s\n", lines[from % LINES]);
	line_count = 0;
}

static void trace_add(uint64_t v)
{
	sim.trace = (sim.trace ^ v) * 0x100000001b3ULL;
	sim.trace ^= sim.trace >> 29;
}

void sim_event(const char *what, int64_t a, int64_t b)
{
	static const char *last = "";

	sim.events++;
	for (const char *at = what; *at; at++)
		trace_add((uint8_t)*at);
	trace_add((uint64_t)sim.now_ns);
	trace_add((uint64_t)a);
	trace_add((uint64_t)b);
	if (sim.verbose == VERBOSE_ALL || (sim.verbose && strcmp(what, last)))
		line_print("%s %-3llu %-16s %lld %lld", sim.node->ghost ? "ghost" : "life ", (unsigned long long)sim.node->life, what, (long long)a,
			(long long)b);
	last = what;
}

void sim_anomaly(const char *fmt, ...)
{
	va_list ap;

	if (sim.anomaly[0])
		return;
	sim.anomaly_kind = fmt;
	va_start(ap, fmt);
	vsnprintf(sim.anomaly, sizeof(sim.anomaly), fmt, ap);
	va_end(ap);
	sim_event("anomaly", 0, 0);
}

bool sim_fault(enum fault f, unsigned per_mille)
{
	bool hit = sim_below(1000) < per_mille; /* drawn in any case: a run without a class is like the one with it, as long as can be */
	uint32_t number;

	if (!hit || sim.calm || !(sim.limits.faults & 1u << f))
		return false;
	number = sim.hits++;
	if (number < SKIP_MAX && sim.limits.skip[number])
		return false;
	sim_event(fault_names[f], number, per_mille);
	return true;
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
	char text[500];

	if (!sim.verbose)
		return;
	vsnprintf(text, sizeof(text), fmt, ap);
	line_print("%s: %s", level, text);
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

/* Agents end by themselves for what was done to them, and for nothing else. */
static bool has_cause(const char *death)
{
	if (strstr(death, "took this slot over"))
		return sim.node->ghost || sim.backs;
	if (strstr(death, "the metadata went back in time") || strstr(death, "the metadata is another one"))
		return sim.backs;
	return sim.node->failed || strstr(death, "no space") || sim.rotten;
}

static void __attribute__((format(printf, 2, 0))) die(const struct err *e, const char *fmt, va_list ap)
{
	static char text[800];

	vsnprintf(text, 400, fmt, ap);
	if (e)
		snprintf(text + strlen(text), 400, ": %s", e->text);
	sim.node->died = text;
	if (!fiber_inside()) {
		fprintf(stderr, "the simulator itself: %s\n", text);
		abort();
	}
	if (sim.verbose)
		line_print("died: %s", text);
	sim_event("died", (int64_t)sim.node->life, 0);
	if (!has_cause(text))
		sim_anomaly("the agent ends for no reason: %s", text);
	sim.node->end_at_ns = sim.now_ns;
	sim.node->by_power = false;
	fiber_die();
}

void fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	die(NULL, fmt, ap);
	abort();
}

void fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	die(NULL, fmt, ap);
	abort();
}

void fatal_err(const struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	die(e, fmt, ap);
	abort();
}
