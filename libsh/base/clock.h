/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Intervals and deadlines use the monotonic clock, leases the boot clock (it runs on during suspend),
 * timestamps of records the real clock. All time the log's core sees comes through here and
 * disk.h, so that a simulator can link its own clock.
 */
#ifndef SH_BASE_CLOCK_H
#define SH_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include "libsh/base/err.h"

int64_t clock_mono_ns(void);
int64_t clock_mono_ms(void);
int64_t clock_boot_ms(void);
int64_t clock_real_ms(void); /* since 1970-01-01T00:00:00Z */

#define CLOCK_RFC3339_BYTES 32
/* "2026-01-31T12:00:00.123Z"; years 0000 to 9999, else the number itself. Returns out. */
const char *clock_format_rfc3339(int64_t real_ms, char out[CLOCK_RFC3339_BYTES]);
/* Accepts a date, or date and time with optional fraction and Z or +hh:mm (no zone means UTC). */
int clock_parse_rfc3339(const char *text, int64_t *real_ms, struct err *e);
/* "250ms", "30s", "5m", "48h", "7d"; a bare number is milliseconds. */
int clock_parse_duration(const char *text, int64_t *ms, struct err *e);

#endif
