/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/problems.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "libsh/base/clock.h"
#include "libsh/format/json_write.h"

enum {
	TEXT_BYTES = 1024,
	FLUSH_SLOW_MS = 30000,       /* a segment on its way for longer is not what one expects */
	STORE_FRESH_MS = 10 * 60000, /* an error of the store that is older was got over */
	READ_FRESH_MS = 60 * 60000,
};

static void add(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct buf *out, const char *fmt, ...)
{
	char text[TEXT_BYTES];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_write_string(out, text);
}

static bool is_fresh(int64_t when_ms, int64_t age_ms)
{
	return when_ms && clock_real_ms() - when_ms < age_ms;
}

static void add_log(struct buf *out, const struct log_status *log)
{
	char when[CLOCK_RFC3339_BYTES];

	if (log->problem)
		add(out, "%s", log->problem);
	else if (!log->serving)
		add(out, "the log does not serve: it is %s", log->state);
	if (log->wal_no_space)
		add(out, "there is no disk space for the next file of the write-ahead log");
	if (log->flush_error)
		add(out, "segments cannot be written since %s: %s", clock_format_rfc3339(log->flush_error_since_ms, when),
			log->flush_error);
	else if (log->flush_age_ms > FLUSH_SLOW_MS)
		add(out, "a segment has been on its way to the object store for %" PRId64 " s", log->flush_age_ms / 1000);
	if (is_fresh(log->read_error_ms, READ_FRESH_MS))
		add(out, "a read failed at %s: %s", clock_format_rfc3339(log->read_error_ms, when), log->read_error);
}

static void add_peers(struct buf *out, const struct role_self *self, const struct peer_status *p)
{
	char when[CLOCK_RFC3339_BYTES];

	if (self->family_problem)
		add(out, "%s", self->family_problem);
	if (!p->meta_known)
		add(out, "the process that owns the metadata does not answer");
	else if (p->meta.behind && *p->meta.behind)
		add(out, "the metadata went back in time, or another shd uses this object store: %s there is from after it; nothing is "
			"deleted and no snapshot is taken, see streamhouse-recovery(7)", p->meta.behind);
	if (!p->store_known)
		add(out, "the process that owns the object store does not answer");
	else if (p->store.failing && is_fresh(p->store.last_error_ms, STORE_FRESH_MS))
		add(out, "the object store failed at %s: %s", clock_format_rfc3339(p->store.last_error_ms, when),
			p->store.last_error);
	if (p->store_known && p->store.paused)
		add(out, "the object store failed %" PRIu64 " times in a row and is asked only now and then", p->store.failures);
}

/* The first partitions that do not serve; each is told to `one`. Returns how many there are. */
static uint64_t each_damaged(struct http_server *s, struct buf *out, void (*one)(struct buf *out, const struct partition *p))
{
	uint64_t count = 0;

	for (struct topic *t = log_topic_after(s->log, NULL); t; t = log_topic_after(s->log, t->name))
		for (uint32_t i = 0; i < t->partition_count; i++)
			if (t->partitions[i]->damage && count++ < PROBLEMS_DAMAGED_MAX)
				one(out, t->partitions[i]);
	return count;
}

static void add_damaged(struct buf *out, const struct partition *p)
{
	add(out, "partition %s-%u does not serve: %s", p->topic->name, p->number, p->damage);
}

static void write_damaged(struct buf *out, const struct partition *p)
{
	json_write_open(out, '{');
	json_write_member_string(out, "topic", p->topic->name);
	json_write_member_uint(out, "partition", p->number);
	json_write_member_string(out, "why", p->damage);
	json_write_close(out, '}');
}

void problems_write(struct buf *out, struct http_server *s, const struct log_status *log, const struct peer_status *p)
{
	uint64_t damaged;

	json_write_name(out, "problems");
	json_write_open(out, '[');
	add_log(out, log);
	add_peers(out, s->self, p);
	damaged = each_damaged(s, out, add_damaged);
	if (damaged > PROBLEMS_DAMAGED_MAX)
		add(out, "%" PRIu64 " more partitions do not serve", damaged - PROBLEMS_DAMAGED_MAX);
	json_write_close(out, ']');
}

void problems_write_damaged(struct buf *out, struct http_server *s)
{
	json_write_name(out, "damaged");
	json_write_open(out, '[');
	each_damaged(s, out, write_damaged);
	json_write_close(out, ']');
}
