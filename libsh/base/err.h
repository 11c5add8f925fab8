/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: every fallible function returns 0 or -1 and takes a `struct err *` last.
 *
 * On -1 the struct says what went wrong (code and text) and, where that helps, what to do (hint);
 * nothing visible has changed. The caller owns the struct; passing NULL is allowed and drops the text.
 *
 * One list gives each code its wire name, HTTP status, Kafka error code, exit status of commands
 * (streamctl-exit(7)), and whether trying again may help. Kafka codes: org.apache.kafka.common.protocol.Errors.
 */
#ifndef SH_BASE_ERR_H
#define SH_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

/*    enum suffix          wire name               HTTP Kafka exit retry */
#define ERR_LIST(X)                                                         \
	X(NONE,                "none",                  200,   0,  0, false) \
	X(INVALID_ARGUMENT,    "invalid_argument",      400,  42,  2, false) \
	X(INVALID_RECORD,      "invalid_record",        400,  87, 11, false) \
	X(CORRUPT_BATCH,       "corrupt_batch",         400,   2, 11, false) \
	X(BAD_DATA,            "bad_data",              400,  42, 11, false) \
	X(INVALID_TIMESTAMP,   "invalid_timestamp",     400,  32, 11, false) \
	X(UNSUPPORTED_CODEC,   "unsupported_codec",     400,  76, 11, false) \
	X(OUT_OF_ORDER,        "out_of_order_sequence", 409,  45,  5, false) \
	X(PRODUCER_FENCED,     "producer_fenced",       409,  47,  5, false) \
	X(UNAUTHENTICATED,     "unauthenticated",       401,  58,  6, false) \
	X(FORBIDDEN,           "forbidden",             403,  29,  6, false) \
	X(NOT_FOUND,           "not_found",             404,  -1,  4, false) \
	X(TOPIC_NOT_FOUND,     "topic_not_found",       404,   3,  4, false) \
	X(PARTITION_NOT_FOUND, "partition_not_found",   404,   3,  4, false) \
	X(METHOD_NOT_ALLOWED,  "method_not_allowed",    405,  42,  2, false) \
	X(REQUEST_TIMEOUT,     "request_timeout",       408,   7,  7, true)  \
	X(EXISTS,              "already_exists",        409,  36,  5, false) \
	X(CONFLICT,            "conflict",              409,  -1,  5, false) \
	X(TOO_LARGE,           "too_large",             413,  10, 11, false) \
	X(UNSUPPORTED_MEDIA,   "unsupported_media_type", 415, 42,  2, false) \
	X(OFFSET_OUT_OF_RANGE, "offset_out_of_range",   416,   1,  4, false) \
	X(BACK_PRESSURE,       "back_pressure",         429,  -1,  8, true)  \
	X(HEADERS_TOO_LARGE,   "headers_too_large",     431,  42,  2, false) \
	X(INTERNAL,            "internal",              500,  -1, 10, false) \
	X(IO,                  "io_error",              500,  56, 10, false) \
	X(CORRUPT,             "corrupt",               500,   2, 10, false) \
	X(NO_SPACE,            "no_space",              503,  56, 10, true)  \
	X(NOT_BUILT,           "not_built",             501,  35, 12, false) \
	X(NOT_OWNER,           "not_owner",             503,   6,  7, true)  \
	X(FENCED,              "fenced",                503,  74,  7, true)  \
	X(PARTITION_DAMAGED,   "partition_damaged",     503,  56, 10, false) \
	X(WAL_FAILED,          "wal_failed",            503,  56, 10, false) \
	X(UNAVAILABLE,         "unavailable",           503,   5,  7, true)  \
	X(OUTCOME_UNKNOWN,     "outcome_unknown",       504,   7,  9, true)  \
	X(CONNECT,             "not_reachable",         503,  -1,  7, true)  \
	X(USAGE,               "usage",                 400,  42,  2, false) \
	X(PARTIAL,             "partial",               500,  -1,  3, false)

enum err_code {
#define X(name, wire, http, kafka, exit, retry) ERR_##name,
	ERR_LIST(X)
#undef X
	ERR_COUNT
};

struct err {
	enum err_code code;
	char text[320]; /* a sentence without a full stop, names what and where */
	char hint[200]; /* what to do about it, or empty */
};

#define ERR_INIT {ERR_NONE, "", ""}

/* Fill in *e (NULL allowed) and return -1, so that `return err_set(e, ...)` reads well. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same with ": strerror(errno)" added; ENOSPC and EDQUOT turn ERR_IO into ERR_NO_SPACE. */
int err_sys(struct err *e, enum err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Add the hint to an error that is already set; returns -1. */
int err_hint(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Put "what: " before the text; returns -1. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *e);

const char *err_name(enum err_code code);
/* The code of a wire name; ERR_INTERNAL when unknown. */
enum err_code err_from_name(const char *wire_name);
int err_http_status(enum err_code code);
int err_kafka_code(enum err_code code);
int err_exit_status(enum err_code code);
bool err_can_retry(enum err_code code);

#endif
