/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "libsh/base/mem.h"

static const struct {
	const char *name;
	int http_status, kafka_code, exit_status;
	bool can_retry;
} codes[ERR_COUNT] = {
#define X(name, wire, http, kafka, exit, retry) [ERR_##name] = {wire, http, kafka, exit, retry},
	ERR_LIST(X)
#undef X
};

/* Through a second buffer, since the arguments may point into e->text itself. */
static void __attribute__((format(printf, 2, 0))) format_text(struct err *e, const char *fmt, va_list ap)
{
	char text[sizeof(e->text)];

	vsnprintf(text, sizeof(text), fmt, ap);
	memcpy(e->text, text, sizeof(text));
}

static void append_text(struct err *e, const char *more)
{
	size_t len = strlen(e->text);

	snprintf(e->text + len, sizeof(e->text) - len, "%s", more);
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	format_text(e, fmt, ap);
	va_end(ap);
	e->code = code;
	e->hint[0] = '\0';
	return -1;
}

int err_sys(struct err *e, enum err_code code, const char *fmt, ...)
{
	int number = errno;
	bool full = number == ENOSPC || number == EDQUOT;
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	format_text(e, fmt, ap);
	va_end(ap);
	e->code = code == ERR_IO && full ? ERR_NO_SPACE : code;
	e->hint[0] = '\0';
	if (full)
		err_hint(e, "free some space on that file system");
	append_text(e, ": ");
	append_text(e, strerrordesc_np(number) ? strerrordesc_np(number) : "unknown error");
	errno = number;
	return -1;
}

int err_hint(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	va_start(ap, fmt);
	vsnprintf(e->hint, sizeof(e->hint), fmt, ap);
	va_end(ap);
	return -1;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->text)];
	va_list ap;

	if (!e)
		return -1;
	memcpy(old, e->text, sizeof(old));
	va_start(ap, fmt);
	format_text(e, fmt, ap);
	va_end(ap);
	append_text(e, ": ");
	append_text(e, old);
	return -1;
}

void err_clear(struct err *e)
{
	if (e)
		*e = (struct err)ERR_INIT;
}

const char *err_name(enum err_code code)
{
	return (unsigned)code < ERR_COUNT ? codes[code].name : codes[ERR_INTERNAL].name;
}

enum err_code err_from_name(const char *wire_name)
{
	for (size_t i = 0; i < array_count(codes); i++)
		if (wire_name && !strcmp(codes[i].name, wire_name))
			return (enum err_code)i;
	return ERR_INTERNAL;
}

int err_http_status(enum err_code code)
{
	return codes[(unsigned)code < ERR_COUNT ? code : ERR_INTERNAL].http_status;
}

int err_kafka_code(enum err_code code)
{
	return codes[(unsigned)code < ERR_COUNT ? code : ERR_INTERNAL].kafka_code;
}

int err_exit_status(enum err_code code)
{
	return codes[(unsigned)code < ERR_COUNT ? code : ERR_INTERNAL].exit_status;
}

bool err_can_retry(enum err_code code)
{
	return codes[(unsigned)code < ERR_COUNT ? code : ERR_INTERNAL].can_retry;
}
