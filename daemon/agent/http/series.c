/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/series.h"

#include <stddef.h>
#include <string.h>

struct series_minute *series_now(struct series *s, int64_t real_ms)
{
	int64_t minute = real_ms / 60000;
	struct series_minute *m = &s->minutes[minute % SERIES_MINUTES];

	if (m->minute != minute) {
		memset(m, 0, sizeof(*m));
		m->minute = minute;
	}
	return m;
}

const struct series_minute *series_at(const struct series *s, int64_t minute)
{
	const struct series_minute *m = &s->minutes[minute % SERIES_MINUTES];

	return m->minute == minute ? m : NULL;
}

/* Four linear steps an octave of microseconds; 96 of them reach 2^24, 16 seconds. The octave is the
 * highest bit, the step the two bits below it. */
static int latency_step(uint64_t us)
{
	int octave, step;

	if (us < 4)
		return (int)us;
	octave = 63 - __builtin_clzll(us);
	step = octave * 4 + (int)(us >> (octave - 2) & 3);
	return step < SERIES_LATENCY_STEPS ? step : SERIES_LATENCY_STEPS - 1;
}

static double step_end_us(int step)
{
	if (step < 4)
		return step + 1;
	return (double)(1ull << step / 4) * (5 + step % 4) / 4;
}

void series_latency(struct series_minute *m, int64_t ns)
{
	uint64_t us = ns > 0 ? (uint64_t)ns / 1000 : 0;

	m->latency[latency_step(us)]++;
	m->latency_count++;
	m->latency_sum_us += us;
}

double series_percentile_ms(const struct series_minute *m, double fraction)
{
	double wanted = fraction * (double)m->latency_count;
	uint64_t seen = 0;

	for (int i = 0; i < SERIES_LATENCY_STEPS; i++) {
		seen += m->latency[i];
		if (seen && (double)seen >= wanted)
			return step_end_us(i) / 1000;
	}
	return 0;
}
