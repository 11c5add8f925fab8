/* SPDX-License-Identifier: Apache-2.0 */
/* The last hour by minute, in memory: what /api/v1/metrics/throughput, latency and errors show. It needs
 * no timer. */
#ifndef SH_AGENT_HTTP_SERIES_H
#define SH_AGENT_HTTP_SERIES_H

#include <stdint.h>

enum { SERIES_MINUTES = 60, SERIES_LATENCY_STEPS = 96 };
struct series_minute {
	int64_t minute;              /* since 1970; 0: empty */
	uint64_t records, bytes;     /* appended */
	uint64_t requests, errors;   /* answers; errors are 5xx and 429 */
	uint64_t latency_count, latency_sum_us;
	/* of appends, from the request's head to the ack; four steps an octave */
	uint32_t latency[SERIES_LATENCY_STEPS];
};
struct series {
	struct series_minute minutes[SERIES_MINUTES];
};

/* the current minute, emptied if it was an old one */
struct series_minute *series_now(struct series *s, int64_t real_ms);
/* NULL when nothing was counted */
const struct series_minute *series_at(const struct series *s, int64_t minute);
void series_latency(struct series_minute *m, int64_t ns);
/* upper end of the step it falls in */
double series_percentile_ms(const struct series_minute *m, double fraction);

#endif
