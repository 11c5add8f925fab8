/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging to stderr, a line each: text ("2026-01-31T12:00:00.123Z info agent[123]: ...") or JSON
 * ({"time","level","program","pid","message"}). A line is one write(2) of at most 4 KiB, control characters
 * escaped, so lines of several processes do not mix. An error is logged where it is handled, once.
 *
 * Whoever reads a pipe, socket or terminal and stops doing so must not stop us: when nothing moves for a moment, lines are dropped,
 * and the next that gets through is preceded by one that says how many. A file takes every line.
 */
#ifndef SH_BASE_LOG_H
#define SH_BASE_LOG_H

#include "libsh/base/err.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

void log_init(const char *program, enum log_format format, enum log_level level);
void log_set(enum log_format format, enum log_level level);
int log_level_parse(const char *text, enum log_level *level); /* debug, info, warn, error; -1 otherwise */
void log_set_by_name(const char *format, const char *level); /* "text" or "json"; an unknown level is info */

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Log and exit with status 1: programs only, never from libsh. fatal() adds strerror(errno). */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
void fatalx(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Log that, ": ", the error and its hint. The exit status is FATAL_FOR_EVER when the error says that starting again would end the
 * same way (a wrong configuration, damage), so that whoever started us need not try; else 1. */
enum { FATAL_FOR_EVER = 78 };
void fatal_err(const struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), noreturn));

#endif
