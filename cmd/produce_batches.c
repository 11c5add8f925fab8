/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cmd/produce_batches.h"

#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/format/murmur2.h"

enum {
	DEFAULT_MESSAGE_MAX_BYTES = 1048588, /* max.message.bytes, when the server does not tell */
	OPEN_BYTES_MAX = 64 << 20,           /* in batches of all partitions that are not sent yet */
};

/* The batch of one partition that is being filled, and finished ones that go with it in one request. */
struct open_batch {
	struct batch_writer writer;
	struct buf finished;
	int64_t finished_records;
	bool dirty; /* listed in produce_batches.dirty */
};

static struct open_batch *open_batch(struct produce_batches *p, int32_t partition)
{
	struct open_batch *b = p->open[partition];

	if (!b) {
		b = p->open[partition] = mem_zalloc(sizeof(*b));
		batch_writer_init(&b->writer, p->plan->codec, BATCH_MAX_RAW_BYTES);
		buf_init(&b->finished, (size_t)p->values->batch_bytes + 2 * (size_t)BATCH_MAX_BYTES);
	}
	if (!b->dirty) {
		b->dirty = true;
		p->dirty[p->dirty_count++] = partition;
	}
	return b;
}

/* Close the batch that is being filled. */
static int finish_batch(struct produce_batches *p, struct open_batch *b, struct err *e)
{
	size_t before = b->finished.len, size;
	int32_t records = b->writer.count;

	if (!records)
		return 0;
	p->open_bytes -= (int64_t)b->writer.records.len;
	if (batch_writer_finish(&b->writer, &b->finished, e))
		return -1;
	size = b->finished.len - before;
	if (size > p->message_max) {
		err_set(e, ERR_TOO_LARGE,
			"a batch of %d record%s and %zu bytes is above max.message.bytes of the topic, %zu",
			records, text_plural(records, "", "s"), size, p->message_max);
		if (size <= BATCH_MAX_BYTES)
			err_hint(e, "streamctl topic alter %s -C max.message.bytes=%zu%s", p->topic, size,
				p->plan->codec == CODEC_NONE ? ", or compress with -z zstd" : "");
		buf_truncate(&b->finished, before);
		return -1;
	}
	b->finished_records += records;
	return 0;
}

/* Send what a partition has gathered. -1 with e->code ERR_NONE: the sender has failed and knows why. */
static int send_partition(struct produce_batches *p, int32_t partition, struct err *e)
{
	struct open_batch *b = p->open[partition];
	struct produce_request q = {.partition = partition};

	if (finish_batch(p, b, e))
		return -1;
	if (!b->finished_records)
		return 0;
	q.records = b->finished_records;
	q.batches = b->finished;
	b->finished_records = 0;
	p->sent_records += q.records;
	if (!p->sender) {
		buf_reset(&b->finished);
		return 0;
	}
	buf_init(&b->finished, b->finished.max);
	return produce_sender_submit(p->sender, &q);
}

int produce_batches_send(struct produce_batches *p, struct err *e)
{
	for (int32_t i = 0; i < p->dirty_count; i++) {
		p->open[p->dirty[i]]->dirty = false;
		if (send_partition(p, p->dirty[i], e))
			return -1;
	}
	p->dirty_count = 0;
	return 0;
}

void produce_batches_turn(struct produce_batches *p)
{
	p->sticky = (p->sticky + 1) % p->partition_count;
}

static int choose_partition(const struct produce_batches *p, const struct ndjson_record *r, struct err *e)
{
	int64_t asked = p->values->partition >= 0 ? p->values->partition : r->partition;

	if (asked >= p->partition_count)
		return err_set(e, ERR_PARTITION_NOT_FOUND, "there is no partition %lld; the topic has %d",
			(long long)asked, p->partition_count);
	if (asked >= 0)
		return (int)asked;
	if (p->partition_count == 1)
		return 0;
	return r->record.key.data
		       ? murmur2_partition(r->record.key.data, r->record.key.len, p->partition_count)
		       : p->sticky;
}

/* The headers of -H behind those of the record. */
static void add_headers(const struct produce_batches *p, struct record *r, struct arena *m)
{
	uint8_t *all;

	if (!r->header_count) {
		r->headers = (struct bytes){(uint8_t *)p->plan->headers.data, p->plan->headers.len};
	} else {
		all = arena_alloc(m, r->headers.len + p->plan->headers.len);
		memcpy(all, r->headers.data, r->headers.len);
		memcpy(all + r->headers.len, p->plan->headers.data, p->plan->headers.len);
		r->headers = (struct bytes){all, r->headers.len + p->plan->headers.len};
	}
	r->header_count += p->plan->header_count;
}

/* What is there goes first: the record would not fit behind it. Returns the batch to fill next, which is of
 * another partition when it is ours to choose. */
static struct open_batch *make_room(
	struct produce_batches *p, int32_t partition, const struct ndjson_record *r, struct err *e)
{
	struct open_batch *b = p->open[partition];

	if (finish_batch(p, b, e))
		return NULL;
	if (b->finished.len + p->batch_max / 2 <= (size_t)p->values->batch_bytes)
		return b;
	if (send_partition(p, partition, e))
		return NULL;
	if (partition != p->sticky || r->record.key.data || r->partition >= 0 || p->values->partition >= 0)
		return b;
	produce_batches_turn(p);
	return open_batch(p, p->sticky);
}

int produce_batches_add(
	struct produce_batches *p, struct ndjson_record *r, int64_t now_ms, struct arena *m, struct err *e)
{
	struct open_batch *b;
	int32_t partition;
	size_t before, size = r->record.key.len + r->record.value.len;

	if (!r->record.key.data)
		r->record.key = p->plan->key;
	if (!r->has_timestamp)
		r->record.timestamp = now_ms;
	if (p->plan->header_count)
		add_headers(p, &r->record, m);
	partition = choose_partition(p, r, e);
	if (partition < 0)
		return -1;
	b = open_batch(p, partition);
	if (b->writer.count &&
		batch_writer_size(&b->writer) + size + r->record.headers.len + 32 > p->batch_max) {
		b = make_room(p, partition, r, e);
		if (!b)
			return -1;
	}
	before = b->writer.records.len;
	if (batch_writer_add(&b->writer, &r->record, e))
		return -1;
	p->open_bytes += (int64_t)(b->writer.records.len - before);
	/* A record larger than a batch goes alone, and if it is too large for the topic, the error comes
	 * while it is at hand. */
	if (b->writer.count == 1 && batch_writer_size(&b->writer) > p->batch_max && finish_batch(p, b, e))
		return -1;
	if (p->open_bytes > OPEN_BYTES_MAX)
		return produce_batches_send(p, e);
	return 0;
}

/* ---- start and end ---- */

int produce_batches_open(struct produce_batches *p, struct api *api, struct err *e)
{
	struct arena m = ARENA_INIT;
	struct api_topic topic;
	const char *limit;
	int64_t bytes = DEFAULT_MESSAGE_MAX_BYTES;

	if (api_topic(api, p->topic, &m, &topic, e)) {
		if (e->code == ERR_TOPIC_NOT_FOUND && !e->hint[0])
			err_hint(e, "streamctl topic create %s", p->topic);
		arena_release(&m);
		return -1;
	}
	limit = api_topic_setting(&topic, "max.message.bytes");
	if (limit)
		text_parse_int(limit, 1, BATCH_MAX_BYTES, "max.message.bytes", &bytes, NULL);
	p->message_max = (size_t)bytes;
	p->batch_max = bytes < p->values->batch_bytes ? (size_t)bytes : (size_t)p->values->batch_bytes;
	p->partition_count = topic.partition_count;
	p->open = mem_array((size_t)p->partition_count, sizeof(struct open_batch *));
	memset(p->open, 0, (size_t)p->partition_count * sizeof(struct open_batch *));
	p->dirty = mem_array((size_t)p->partition_count, sizeof(*p->dirty));
	p->sticky = (int32_t)(clock_mono_ns() / 1000 % p->partition_count);
	arena_release(&m);
	if (p->values->partition >= p->partition_count)
		return err_set(e, ERR_PARTITION_NOT_FOUND, "there is no partition %lld; topic \"%s\" has %d",
			(long long)p->values->partition, p->topic, p->partition_count);
	return 0;
}

void produce_batches_release(struct produce_batches *p)
{
	for (int32_t i = 0; p->open && i < p->partition_count; i++) {
		if (!p->open[i])
			continue;
		batch_writer_release(&p->open[i]->writer);
		buf_release(&p->open[i]->finished);
		mem_free(p->open[i]);
	}
	mem_free(p->open);
	mem_free(p->dirty);
}
