/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP API of shd as typed calls. Results live in the arena that is passed. Errors are those of
 * http_client.h. One struct api belongs to one thread.
 * What is refused for now, as while shd starts, is sent again until timeout_ms have passed; only api_produce()
 * leaves that to its caller, who knows which records were taken.
 */
#ifndef SH_RUN_API_H
#define SH_RUN_API_H

#include <stdbool.h>
#include "libsh/base/mem.h"
#include "libsh/run/http_client.h"

struct api;
struct api *api_new(const char *server, const char *token, int64_t timeout_ms, struct err *e);
void api_free(struct api *a);
struct http_client *api_http(struct api *a); /* for calls that stream */

/* The pauses between tries: growing, as long at least as the server asks for, and with jitter. */
struct api_retry {
	int64_t deadline_ms, backoff_ms;
	unsigned seed;
};
void api_retry_init(struct api_retry *r, int64_t timeout_ms);
/* The request was refused and changed nothing, so that it may be sent again. */
bool api_is_refused_for_now(const struct err *e);
/* Sleep until the next try. False, at once: it would come after the deadline. */
bool api_retry_wait(struct api_retry *r, int64_t retry_after_ms);

struct api_setting {
	const char *key, *value;
};
struct api_topic {
	const char *name, *created_at;
	int32_t partition_count;
	int64_t replication_factor, retention_ms, message_count, size_bytes;
	const struct api_setting *config;
	size_t config_count;
};
const char *api_topic_setting(const struct api_topic *t, const char *key); /* NULL when not there */
struct api_partition {
	int32_t id;
	int64_t low_watermark, high_watermark; /* first offset that can be read; the one after the last */
	const char *leader;                    /* or NULL */
};

int api_topics(struct api *a, struct arena *m, struct api_topic **topics, size_t *count, struct err *e);
int api_topic(struct api *a, const char *name, struct arena *m, struct api_topic *topic, struct err *e);
int api_topic_create(struct api *a, const char *name, int64_t partitions, const struct api_setting *config,
	size_t config_count, struct err *e);
/* partitions 0: unchanged. A NULL value takes a setting back to its default. */
int api_topic_alter(struct api *a, const char *name, int64_t partitions, const struct api_setting *config,
	size_t config_count, struct err *e);
int api_topic_delete(struct api *a, const char *name, struct err *e);
int api_partitions(struct api *a, const char *topic, struct arena *m, struct api_partition **partitions,
	size_t *count, struct err *e);
/* GET /api/v1/status: the JSON text, NUL-terminated, in the arena. */
int api_status(struct api *a, struct arena *m, const char **json, struct err *e);

struct api_ack {
	int64_t records;                   /* acknowledged; also on error, when the server says so */
	int64_t taken; /* the same, or on error more: those between may or may not be stored */
	int64_t first_offset, last_offset; /* -1 when not told */
	char durability[16];               /* reached */
	int64_t retry_after_ms;            /* on error; -1: not told */
};
/* Sends record batches, back to back, to one partition. durability NULL: the topic's. */
int api_produce(struct api *a, const char *topic, int32_t partition, const char *durability,
	const void *batches, size_t n, struct api_ack *ack, struct err *e);

struct api_fetch {
	const char *topic;
	int32_t partition;
	int64_t offset;
	int64_t end;         /* exclusive; -1: none */
	int64_t max_bytes;   /* 0: the server's own limit */
	int64_t max_records; /* 0: no limit */
	int64_t wait_ms;     /* wait so long for a first record */
};
/* The path of GET .../records for struct http_call_request; the answer's body is record batches. */
#define API_BATCH_TYPE "application/vnd.streamhouse.batch"
const char *api_fetch_path(const struct api_fetch *f, struct arena *m);
/* Offset of the first record at or after the time, or the high watermark when there is none. */
int api_seek(struct api *a, const char *topic, int32_t partition, int64_t timestamp_ms, int64_t *offset,
	struct err *e);

#endif
