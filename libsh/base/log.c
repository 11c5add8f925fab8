/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum { LOG_LINE_BYTES = 4096, LOG_ESCAPE_BYTES = 8 };

/* One per process, as stderr is. */
static struct {
	char program[32];
	enum log_format format;
	enum log_level level;
} self = {"shd", LOG_FORMAT_TEXT, LOG_LEVEL_INFO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_init(const char *program, enum log_format format, enum log_level level)
{
	snprintf(self.program, sizeof(self.program), "%s", program);
	log_set(format, level);
}

void log_set(enum log_format format, enum log_level level)
{
	self.format = format;
	self.level = level;
}

int log_level_parse(const char *text, enum log_level *level)
{
	for (size_t i = 0; i < array_count(level_names); i++)
		if (!strcmp(text, level_names[i])) {
			*level = (enum log_level)i;
			return 0;
		}
	return -1;
}

void log_set_by_name(const char *format, const char *level)
{
	enum log_level parsed = LOG_LEVEL_INFO;

	log_level_parse(level, &parsed);
	log_set(strcmp(format, "json") ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON, parsed);
}

static bool is_control(const unsigned char *p)
{
	/* C0, DEL, and C1, which is C2 80 to C2 9F in UTF-8 */
	return *p < 0x20 || *p == 0x7f || (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0);
}

/* Bytes written for one byte of the message: itself or an escape. */
static size_t write_char(char *out, const unsigned char *p, bool utf8)
{
	bool json = self.format == LOG_FORMAT_JSON;

	if (*p == '\n' || *p == '\t')
		return (size_t)sprintf(out, *p == '\n' ? "\\n" : "\\t");
	if (json && (*p == '"' || *p == '\\'))
		return (size_t)sprintf(out, "\\%c", *p);
	if (is_control(p) || (*p >= 0x80 && !utf8))
		return (size_t)sprintf(out,
			json && *p < 0x80 ? "\\u%04x" : json ? "\\\\x%02x" : "\\x%02x", *p);
	*out = (char)*p;
	return 1;
}

/* Appends to a line of LOG_LINE_BYTES as much of the message as leaves room for its end. */
static size_t write_message(char *line, size_t len, const char *message)
{
	bool utf8 = text_is_utf8(message, strlen(message));

	for (const unsigned char *p = (const unsigned char *)message; *p; p++) {
		bool inside = utf8 && (*p & 0xc0) == 0x80;

		if (!inside && len + 2 * LOG_ESCAPE_BYTES > LOG_LINE_BYTES)
			break; /* only between characters */
		if (utf8 && is_control(p) && *p == 0xc2) {
			len += (size_t)sprintf(line + len, "\\u00%02x", p[1]);
			p++;
			continue;
		}
		len += write_char(line + len, p, utf8);
	}
	return len;
}

static void write_line(enum log_level level, const char *message)
{
	char line[LOG_LINE_BYTES], when[CLOCK_RFC3339_BYTES];
	size_t len;

	clock_format_rfc3339(clock_real_ms(), when);
	if (self.format == LOG_FORMAT_JSON)
		len = (size_t)sprintf(line,
			"{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"%s\",\"pid\":%d,"
			"\"message\":\"",
			when, level_names[level], self.program, (int)getpid());
	else
		len = (size_t)sprintf(line, "%s %s %s[%d]: ", when, level_names[level], self.program,
			(int)getpid());
	len = write_message(line, len, message);
	if (self.format == LOG_FORMAT_JSON)
		len += (size_t)sprintf(line + len, "\"}");
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
}

__attribute__((format(printf, 2, 0))) static void log_message(
	enum log_level level, const char *fmt, va_list ap)
{
	char message[LOG_LINE_BYTES];
	int number = errno;

	if (level < self.level)
		return;
	vsnprintf(message, sizeof(message), fmt, ap);
	write_line(level, message);
	errno = number;
}

#define LOG_FUNCTION(name, level)            \
	void name(const char *fmt, ...)      \
	{                                    \
		va_list ap;                  \
                                             \
		va_start(ap, fmt);           \
		log_message(level, fmt, ap); \
		va_end(ap);                  \
	}
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION(log_error, LOG_LEVEL_ERROR)
#undef LOG_FUNCTION

void fatal(const char *fmt, ...)
{
	char message[LOG_LINE_BYTES];
	int number = errno;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	errno = number;
	log_error("%s: %s", message, strerrordesc_np(number) ? strerrordesc_np(number) : "unknown error");
	exit(1);
}

void fatalx(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_message(LOG_LEVEL_ERROR, fmt, ap);
	va_end(ap);
	exit(1);
}

static int fatal_status(enum err_code code)
{
	switch (code) {
	case ERR_INVALID_ARGUMENT:
	case ERR_USAGE:
	case ERR_TOO_LARGE:
	case ERR_NOT_BUILT:
	case ERR_CORRUPT:
		return FATAL_FOR_EVER;
	default: /* a conflict too: whoever holds the lock may be about to end */
		return 1;
	}
}

void fatal_err(const struct err *e, const char *fmt, ...)
{
	char message[LOG_LINE_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	log_error("%s: %s%s%s", message, e->text, *e->hint ? "; " : "", e->hint);
	exit(fatal_status(e->code));
}
