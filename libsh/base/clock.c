/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/clock.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "libsh/base/mem.h"

#define DAY_MS INT64_C(86400000)

static int64_t now_ns(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts); /* cannot fail for the clocks named below */
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_mono_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
	return now_ns(CLOCK_MONOTONIC) / 1000000;
}

int64_t clock_boot_ms(void)
{
	return now_ns(CLOCK_BOOTTIME) / 1000000;
}

int64_t clock_real_ms(void)
{
	return now_ns(CLOCK_REALTIME) / 1000000;
}

/* Days since 1970-01-01, Gregorian calendar; years start in March so that leap days come last. */
static int64_t days_from_date(int64_t year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t year_of_era = y - era * 400;
	int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

	return era * 146097 + day_of_era - 719468;
}

static void date_from_days(int64_t days, int *year, int *month, int *day)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t shifted = (5 * doy + 2) / 153;

	*day = (int)(doy - (153 * shifted + 2) / 5 + 1);
	*month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
	*year = (int)(yoe + era * 400 + (*month <= 2));
}

const char *clock_format_rfc3339(int64_t real_ms, char out[CLOCK_RFC3339_BYTES])
{
	int64_t first = days_from_date(0, 1, 1) * DAY_MS, end = days_from_date(10000, 1, 1) * DAY_MS;
	int64_t days, ms;
	int year, month, day;

	if (real_ms < first || real_ms >= end) {
		snprintf(out, CLOCK_RFC3339_BYTES, "%" PRId64, real_ms);
		return out;
	}
	days = real_ms / DAY_MS - (real_ms % DAY_MS < 0);
	ms = real_ms - days * DAY_MS;
	date_from_days(days, &year, &month, &day);
	snprintf(out, CLOCK_RFC3339_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year % 10000, month % 100,
		day % 100, (int)(ms / 3600000) % 100, (int)(ms / 60000 % 60), (int)(ms / 1000 % 60),
		(int)(ms % 1000));
	return out;
}

/* Exactly `digits` digits at *text, moved past them; -1 when they are not there. */
static int take_number(const char **text, int digits)
{
	int value = 0;

	for (int i = 0; i < digits; i++, (*text)++) {
		if (!isdigit((unsigned char)**text))
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

static bool take_char(const char **text, const char *set)
{
	if (!**text || !strchr(set, **text))
		return false;
	(*text)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return month == 2 && leap ? 29 : days[month - 1];
}

/* ".123456": at most milliseconds are kept. */
static int take_fraction(const char **text)
{
	int ms = 0, scale = 100;

	if (!take_char(text, ".,"))
		return 0;
	if (!isdigit((unsigned char)**text))
		return -1;
	for (; isdigit((unsigned char)**text); (*text)++, scale /= 10)
		ms += (**text - '0') * scale;
	return ms;
}

/* "Z", "+hh:mm", "-hh:mm" or nothing. */
static int take_zone(const char **text, int *minutes)
{
	int sign = **text == '-' ? -1 : 1, hour, minute;

	*minutes = 0;
	if (!**text || take_char(text, "Zz"))
		return 0;
	if (!take_char(text, "+-"))
		return -1;
	hour = take_number(text, 2);
	take_char(text, ":");
	minute = take_number(text, 2);
	if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
		return -1;
	*minutes = sign * (hour * 60 + minute);
	return 0;
}

static int take_time(const char **text, int64_t *ms)
{
	int hour = take_number(text, 2), minute, second = 0, fraction, zone;

	if (hour < 0 || hour > 23 || !take_char(text, ":"))
		return -1;
	minute = take_number(text, 2);
	if (minute < 0 || minute > 59)
		return -1;
	if (take_char(text, ":")) {
		second = take_number(text, 2);
		if (second < 0 || second > 60) /* 60: a leap second, counted as the next minute's first */
			return -1;
	}
	fraction = take_fraction(text);
	if (fraction < 0 || take_zone(text, &zone) < 0)
		return -1;
	*ms = ((hour * 60 + minute - zone) * 60 + second) * INT64_C(1000) + fraction;
	return 0;
}

int clock_parse_rfc3339(const char *text, int64_t *real_ms, struct err *e)
{
	const char *at = text;
	int64_t ms = 0;
	int year = take_number(&at, 4), month, day;

	if (year < 0 || !take_char(&at, "-"))
		goto bad;
	month = take_number(&at, 2);
	if (month < 1 || month > 12 || !take_char(&at, "-"))
		goto bad;
	day = take_number(&at, 2);
	if (day < 1 || day > days_in_month(year, month))
		goto bad;
	if (take_char(&at, "Tt ") && take_time(&at, &ms) < 0)
		goto bad;
	if (*at)
		goto bad;
	*real_ms = days_from_date(year, month, day) * DAY_MS + ms;
	return 0;
bad:
	err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' is not a date or time", text);
	return err_hint(e, "write it as 2026-01-31 or 2026-01-31T12:00:00Z");
}

int clock_parse_duration(const char *text, int64_t *ms, struct err *e)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {
		{"", 1},       {"ms", 1},     {"s", 1000},       {"m", 60000},
		{"h", 3600000}, {"d", DAY_MS}, {"w", 7 * DAY_MS},
	};
	const char *at = text;
	int64_t value = 0;

	if (!isdigit((unsigned char)*at))
		goto bad;
	for (; isdigit((unsigned char)*at); at++)
		if (__builtin_mul_overflow(value, 10, &value) ||
			__builtin_add_overflow(value, *at - '0', &value))
			goto bad;
	for (size_t i = 0; i < array_count(units); i++)
		if (!strcmp(at, units[i].name)) {
			if (__builtin_mul_overflow(value, units[i].ms, &value))
				goto bad;
			*ms = value;
			return 0;
		}
bad:
	err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' is not a duration", text);
	return err_hint(e, "write it as 250ms, 30s, 5m, 48h or 7d");
}
