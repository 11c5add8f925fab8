/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/helper/log_driver.h"

struct test_log t;

static void on_flag(void *ctx)
{
	(void)ctx;
	t.flag = true;
}

void on_done(void *ctx, const struct err *e)
{
	(void)ctx;
	t.failed = e != NULL;
	if (e)
		t.e = *e;
	t.flag = true;
}

bool run(int64_t ms)
{
	bool good = fake_run_until(t.self, &t.flag, ms);

	t.flag = false;
	return good;
}

static void start_with(const char *dir, const char *setting, const char *value, bool store_down)
{
	memset(&t, 0, sizeof(t));
	t.self = fake_self(dir);
	fake_down(t.self, ROLE_STORE, store_down);
	settings_set(t.self->settings, "segment.max_age", "1h", "test", NULL);
	if (setting)
		settings_set(t.self->settings, setting, value, "test", NULL);
	t.log = log_new(t.self);
	log_start(t.log, on_flag, NULL);
	if (!run(10000)) {
		printf("Bail out! the log did not start\n");
		exit(1);
	}
}

void start(const char *dir, const char *setting, const char *value)
{
	start_with(dir, setting, value, false);
}

void start_without_store(const char *dir)
{
	start_with(dir, NULL, NULL, true);
}

void stop(void)
{
	log_free(t.log);
	buf_release(&t.fetch.batches);
	fake_free(t.self);
}

void create(const char *name, uint32_t partitions, const char *config)
{
	log_topic_create(t.log, name, partitions, 1, config, on_done, NULL);
	if (!run(5000) || t.failed)
		printf("# create: %s\n", t.e.text);
}

struct partition *part(const char *topic, int64_t partition)
{
	struct partition *p = log_partition(t.log, topic, strlen(topic), partition, &t.e);

	if (!p)
		printf("# %s\n", t.e.text);
	return p;
}

int64_t append(struct partition *p, const char *value, int64_t timestamp)
{
	struct record r = {.timestamp = timestamp, .value = {(const uint8_t *)value, strlen(value)}};
	int64_t offset = -1, ts;
	struct err e = ERR_INIT;

	if (log_append_record(t.log, p, &r, &offset, &ts, &e) < 0)
		printf("# append: %s\n", e.text);
	return offset;
}

void on_wait(struct log_wait *w, enum durability reached, const struct err *e)
{
	(void)w;
	t.reached = reached;
	on_done(NULL, e);
}

enum durability wait_for(struct partition *p, int64_t end, enum durability want)
{
	log_wait(t.log, &t.wait, p, end, want, on_wait);
	if (!run(10000)) {
		printf("# the wait timed out\n");
		log_wait_cancel(&t.wait);
		return DURABILITY_TOPIC;
	}
	if (t.failed)
		printf("# %s\n", t.e.text);
	return t.failed ? DURABILITY_TOPIC : t.reached;
}

void on_fetch(struct log_fetch *f, const struct err *e)
{
	(void)f;
	on_done(NULL, e);
}

/* Values of all records from offset on, joined by commas. */
const char *fetch(struct partition *p, int64_t offset)
{
	static char text[4096];
	struct batch_reader *reader;
	struct record r;

	text[0] = '\0';
	do {
		t.fetch.offset = offset;
		t.fetch.limit = INT64_MAX;
		t.fetch.max_bytes = 200;
		t.fetch.done = on_fetch;
		log_fetch(t.log, &t.fetch, p);
		if (!run(5000) || t.failed)
			return t.failed ? err_name(t.e.code) : "timeout";
		for (size_t at = 0; at < t.fetch.batches.len;) {
			size_t n = (size_t)batch_size(t.fetch.batches.data + at, t.fetch.batches.len - at);

			reader = batch_reader_new(t.fetch.batches.data + at, n, 1 << 20, NULL);
			while (batch_reader_next(reader, &r, NULL) > 0)
				if (r.offset >= offset)
					snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s", text[0] ? "," : "",
						(int)r.value.len, (const char *)r.value.data);
			batch_reader_free(reader);
			at += n;
		}
		if (t.fetch.next_offset == offset)
			break;
		offset = t.fetch.next_offset;
	} while (offset < t.fetch.high_watermark);
	return text;
}

static void on_seek(void *ctx, int64_t offset, int64_t timestamp_ms, const struct err *e)
{
	t.offset = offset;
	t.timestamp_ms = timestamp_ms;
	on_done(ctx, e);
}

int64_t seek(struct partition *p, int64_t timestamp_ms)
{
	log_seek(t.log, p, timestamp_ms, on_seek, NULL);
	if (!run(5000))
		printf("# the seek timed out\n");
	return t.offset;
}
