/* SPDX-License-Identifier: Apache-2.0 */
/* Test Anything Protocol for unit tests in C: ok(), is_int(), is_str(), then done_testing(). */
#ifndef SH_TESTS_TAP_H
#define SH_TESTS_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int tap_count, tap_failed;

static bool __attribute__((format(printf, 2, 3), unused)) ok(bool good, const char *fmt, ...)
{
	va_list ap;

	tap_count++;
	tap_failed += !good;
	printf("%sok %d - ", good ? "" : "not ", tap_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
	return good;
}

static bool __attribute__((unused)) is_int(long long got, long long want, const char *title)
{
	bool good = ok(got == want, "%s", title);

	if (!good)
		printf("# got %lld, want %lld\n", got, want);
	return good;
}

static bool __attribute__((unused)) is_str(const char *got, const char *want, const char *title)
{
	bool good = ok(got && want && !strcmp(got, want), "%s", title);

	if (!good)
		printf("# got \"%s\", want \"%s\"\n", got ? got : "(null)", want ? want : "(null)");
	return good;
}

static int __attribute__((unused)) done_testing(void)
{
	printf("1..%d\n", tap_count);
	return tap_failed ? 1 : 0;
}

#endif
