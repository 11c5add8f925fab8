/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum {
	LOG_LINE_BYTES = 4096, /* PIPE_BUF: a pipe takes all of a line or nothing */
	LOG_ESCAPE_BYTES = 8,
	LOG_PATIENCE_MS = 250, /* for a reader to make room, before lines are dropped */
};
enum output { OUTPUT_FILE, OUTPUT_PRIVATE, OUTPUT_SOCKET, OUTPUT_SHARED };

/* One per process, as stderr is. */
static struct {
	char program[32];
	enum log_format format;
	enum log_level level;
	enum output output;
	int fd;                /* where lines go */
	atomic_ulong dropped;  /* since the last that got through */
} self = {.program = "shd", .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

/*
 * O_NONBLOCK belongs to the open file, which is shared with whoever gave it to us; so a pipe or terminal is opened once more for us
 * alone. A socket cannot be, and need not.
 */
static void open_output(void)
{
	struct stat st;
	int fd;

	if (self.fd != STDERR_FILENO)
		close(self.fd);
	self.fd = STDERR_FILENO;
	self.output = OUTPUT_FILE;
	if (fstat(STDERR_FILENO, &st))
		return;
	if (S_ISSOCK(st.st_mode))
		self.output = OUTPUT_SOCKET;
	if (!S_ISFIFO(st.st_mode) && !isatty(STDERR_FILENO))
		return;
	fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	self.output = fd < 0 ? OUTPUT_SHARED : OUTPUT_PRIVATE;
	if (fd >= 0)
		self.fd = fd;
}

void log_init(const char *program, enum log_format format, enum log_level level)
{
	snprintf(self.program, sizeof(self.program), "%s", program);
	open_output();
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

static size_t make_line(char *line, enum log_level level, const char *message)
{
	char when[CLOCK_RFC3339_BYTES];
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
	return len;
}

/* 0: all of it was taken, or nobody will ever read it. -1: there is no room. */
static int put_line(const char *line, size_t len, int patience_ms)
{
	struct pollfd wait = {.fd = self.fd, .events = POLLOUT};

	/* Of another user: all that can be asked is whether there is room now. */
	if (self.output == OUTPUT_SHARED && poll(&wait, 1, patience_ms) == 0)
		return -1;
	while (len) {
		ssize_t n = self.output == OUTPUT_SOCKET ? send(self.fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL)
							 : write(self.fd, line, len);

		if (n > 0) {
			line += n;
			len -= (size_t)n;
		} else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (!patience_ms || poll(&wait, 1, patience_ms) <= 0)
				return -1;
			patience_ms = 0; /* once: what others fill again is no reason to wait for ever */
		} else if (n == 0 || errno != EINTR) {
			return 0;
		}
	}
	return 0;
}

static void write_line(enum log_level level, const char *message)
{
	unsigned long dropped = atomic_exchange(&self.dropped, 0);
	char line[LOG_LINE_BYTES], note[128];

	if (dropped) {
		snprintf(note, sizeof(note), "%lu log line%s dropped here: nobody read the log", dropped,
			dropped == 1 ? " was" : "s were");
		if (put_line(line, make_line(line, LOG_LEVEL_WARN, note), 0)) {
			atomic_fetch_add(&self.dropped, dropped + 1);
			return;
		}
	}
	if (put_line(line, make_line(line, level, message), dropped ? 0 : LOG_PATIENCE_MS))
		atomic_fetch_add(&self.dropped, 1);
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
