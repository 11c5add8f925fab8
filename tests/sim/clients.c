/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of the log, and the history of what they were told. Every record has a number of its own, from which its bytes follow. An offset
 * is settled once its record was acknowledged at level wal or object, or was read: from then on it must be read with these bytes, for
 * ever, or have expired.
 */
#include <stdio.h>
#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "tests/sim/sim.h"

enum {
	TOPICS = 2,
	PARTITIONS = 2,
	PARTS = TOPICS * PARTITIONS,
	OFFSETS = 30000,
	VALUES = 120000,
	VALUE_MAX = 9000,
	TICK_MS = 6,
};

static const struct { const char *name, *config; } topics[TOPICS] = {{"plain", "{}"}, {"object", "{\"durability\":\"object\"}"}};

struct history { /* of a partition, through all lives */
	uint32_t settled[OFFSETS]; /* number of the record; 0: not settled */
	int64_t end;               /* above all that is settled */
	int64_t reader;            /* where the one that reads on is */
	bool complete;             /* in the calm: read to the end */
};
static struct history history[PARTS];
static uint32_t next_value;
static uint8_t where[VALUES]; /* 1 + partition in which it was settled, or asked for: 128 + that */
static int64_t offset_of[VALUES];
static unsigned rounds;       /* in the calm: how often all was read back */

struct client_wait {
	struct log_wait wait;
	int part;
	int64_t first, end;
	uint32_t value;
};
struct reader {
	struct clients *clients;
	struct log_fetch fetch;
	int part;
	int64_t want; /* the next offset */
	bool on, busy;
};
struct clients {
	struct log *log;
	struct timer tick;
	struct reader readers[READERS_MAX];
	bool creating;
	int64_t calm_since_ns;
};

void clients_reset(void)
{
	for (int i = 0; i < PARTS; i++) {
		memset(history[i].settled, 0, (size_t)history[i].end * sizeof(history[i].settled[0]));
		history[i].end = history[i].reader = 0;
		history[i].complete = false;
	}
	memset(where, 0, next_value + 1);
	next_value = 1;
	rounds = 0;
}

bool clients_checked(void)
{
	return rounds >= 2;
}

static size_t value_write(uint32_t number, uint8_t *out)
{
	uint32_t hash = number * 2654435761u;
	size_t n = (size_t)snprintf((char *)out, 16, "%u:", number), want = hash >> 24 < 16 ? (hash >> 8) % (VALUE_MAX - 20) : (hash >> 8) % 200;

	for (; n < want; n++)
		out[n] = (uint8_t)(hash >> (n % 24) ^ n / 24);
	return n;
}

static struct partition *part_of(struct log *l, int i)
{
	const char *name = topics[i / PARTITIONS].name;

	return log_partition(l, name, strlen(name), i % PARTITIONS, NULL);
}

static void settle(int part, int64_t offset, uint32_t number, const char *how)
{
	struct history *h = &history[part];

	if (offset >= OFFSETS)
		return;
	if (h->settled[offset] && h->settled[offset] != number) {
		sim_anomaly("partition %d, offset %lld: %s record %u, but it was given to %u before", part, (long long)offset, how, number,
			h->settled[offset]);
		return;
	}
	if (!h->settled[offset] && where[number] & 64) {
		sim_anomaly("partition %d: record %u has offset %lld, but had %lld before", part, number, (long long)offset,
			(long long)offset_of[number]);
		return;
	}
	h->settled[offset] = number;
	where[number] |= 64;
	offset_of[number] = offset;
	if (offset > 0 && h->settled[offset - 1] && h->settled[offset - 1] > number)
		sim_anomaly("partition %d, offset %lld: record %u stands behind %u, which was sent later", part, (long long)offset, number,
			h->settled[offset - 1]);
	if (offset >= h->end)
		h->end = offset + 1;
}

/* ---- producers ---- */

static void on_wait(struct log_wait *w, enum durability reached, const struct err *e)
{
	struct client_wait *c = container_of(w, struct client_wait, wait);

	sim_event(e ? "unacknowledged" : "acknowledged", c->part, c->end);
	if (!e && reached == DURABILITY_WAL && clock_boot_ms() > sim.node->lease_until_ms)
		sim_anomaly("partition %d: offset %lld acknowledged at %lld, the lease ended at %lld", c->part, (long long)c->first,
			(long long)clock_boot_ms(), (long long)sim.node->lease_until_ms);
	if (!e && reached >= DURABILITY_WAL)
		for (int64_t at = c->first; at < c->end; at++)
			settle(c->part, at, c->value + (uint32_t)(at - c->first), "acknowledged");
	mem_free(c);
}

static int produce_records(struct log *l, struct partition *p, unsigned count, int64_t *first)
{
	uint8_t value[VALUE_MAX];
	int64_t offset, timestamp;
	unsigned taken = 0;

	for (; taken < count; taken++) {
		struct record r = {.timestamp = -1, .value = {value, 0}};

		r.value.len = value_write(next_value + taken, value);
		if (log_append_record(l, p, &r, &offset, &timestamp, NULL) < 0)
			break;
		if (!taken)
			*first = offset;
	}
	return (int)taken;
}

static int produce_batch(struct log *l, struct partition *p, unsigned count, int64_t *first)
{
	static struct buf batch = BUF_INIT(1 << 20);
	struct batch_writer w;
	uint8_t value[VALUE_MAX];
	int64_t last;
	int taken = 0;

	buf_release(&batch);
	batch_writer_init(&w, sim_percent(50) ? CODEC_LZ4 : CODEC_NONE, 1 << 20);
	for (unsigned i = 0; i < count; i++) {
		struct record r = {.timestamp = clock_real_ms(), .value = {value, 0}};

		r.value.len = value_write(next_value + i, value);
		batch_writer_add(&w, &r, NULL);
	}
	if (batch_writer_finish(&w, &batch, NULL) == 0 && log_append_batch(l, p, batch.data, batch.len, first, &last, NULL) == 0)
		taken = (int)count;
	batch_writer_release(&w);
	buf_release(&batch);
	return taken;
}

/* Nothing here damages a disk behind the log's back, so it has no reason to say that something is. */
static void check_damage(struct log *l)
{
	for (int i = 0; i < PARTS; i++) {
		const struct partition *p = part_of(l, i);

		if (p && p->damage)
			sim_anomaly("partition %d does not serve: %s", i, p->damage);
	}
}

static void produce(struct clients *c)
{
	int part = (int)sim_below(PARTS), taken;
	struct partition *p = part_of(c->log, part);
	unsigned count = 1 + (unsigned)sim_below(4);
	struct client_wait *w;
	int64_t first;

	if (!p || history[part].end > OFFSETS - 2000 || next_value > VALUES - 10 || sim.appends++ >= sim.limits.appends)
		return;
	taken = sim_percent(70) ? produce_records(c->log, p, count, &first) : produce_batch(c->log, p, count, &first);
	if (taken <= 0)
		return;
	for (int i = 0; i < taken; i++) {
		where[next_value + (uint32_t)i] = (uint8_t)(128 + part);
		if (first + i < OFFSETS && history[part].settled[first + i])
			sim_anomaly("partition %d: offset %lld is given again", part, (long long)first + i);
	}
	sim_event("append", part, first);
	w = mem_zalloc(sizeof(*w));
	w->part = part;
	w->first = first;
	w->end = first + taken;
	w->value = next_value;
	next_value += (uint32_t)taken;
	log_wait(c->log, &w->wait, p, w->end, sim_percent(70) ? DURABILITY_TOPIC : (enum durability)sim_below(3), on_wait);
}

/* ---- consumers ---- */

static void check_record(struct reader *r, const struct record *record)
{
	static uint8_t want[VALUE_MAX];
	uint32_t number = 0;

	if (record->offset < r->want)
		return;
	if (record->offset != r->want)
		sim_anomaly("partition %d: offset %lld was read where %lld is due", r->part, (long long)record->offset, (long long)r->want);
	for (size_t i = 0; i < record->value.len && i < 10 && record->value.data[i] >= '0' && record->value.data[i] <= '9'; i++)
		number = number * 10 + (uint32_t)(record->value.data[i] - '0');
	if (!number || number >= next_value || (where[number] & 63) != r->part || record->value.len != value_write(number, want) ||
		memcmp(want, record->value.data, record->value.len))
		sim_anomaly("partition %d, offset %lld: a record that nobody sent", r->part, (long long)record->offset);
	else
		settle(r->part, record->offset, number, "read");
	r->want = record->offset + 1;
}

static void check_batches(struct reader *r)
{
	const struct buf *b = &r->fetch.batches;
	struct record record;

	for (size_t at = 0; at < b->len && !sim.anomaly[0];) {
		size_t n = (size_t)batch_size(b->data + at, b->len - at);
		struct batch_reader *reader = batch_reader_new(b->data + at, n, 1 << 20, NULL);

		if (!reader || batch_check_crc(b->data + at, n, NULL) < 0)
			sim_anomaly("partition %d: a batch behind offset %lld is damaged", r->part, (long long)r->want);
		while (reader && batch_reader_next(reader, &record, NULL) > 0)
			check_record(r, &record);
		batch_reader_free(reader);
		at += n;
	}
}

static void read_failed(struct reader *r, struct partition *p, const struct err *e)
{
	int64_t start = meta_log_start(&p->topic->id, p->number);

	log_debug("partition %d, offset %lld: %s", r->part, (long long)r->fetch.offset, e->text);
	/* Older metadata that were taken lack commits; what they were about is committed anew from the WAL, but it takes a while. */
	if (e->code == ERR_OFFSET_OUT_OF_RANGE && sim.went_back && r->fetch.offset >= start && p->topic->config.durability == DURABILITY_OBJECT)
		return;
	/* Its object may be gone twice while it reads: what is dead stays for a shorter time here than a request can take. */
	if ((e->code == ERR_OFFSET_OUT_OF_RANGE || e->code == ERR_CORRUPT) && r->fetch.next_offset < start)
		r->want = start;
	else if (e->code == ERR_OFFSET_OUT_OF_RANGE || e->code == ERR_CORRUPT || e->code == ERR_CORRUPT_BATCH ||
		e->code == ERR_PARTITION_DAMAGED || e->code == ERR_INTERNAL)
		sim_anomaly("partition %d: reading at offset %lld: %s", r->part, (long long)r->fetch.offset, e->text);
}

static void on_read(struct log_fetch *f, const struct err *e)
{
	struct reader *r = container_of(f, struct reader, fetch);
	struct history *h = &history[r->part];

	r->busy = false;
	if (e)
		read_failed(r, f->partition, e);
	else
		check_batches(r);
	sim_event("read", r->part, e ? -(int64_t)e->code : r->want);
	if (!e && f->high_watermark < h->end && f->high_watermark < r->want && !sim.went_back)
		sim_anomaly("partition %d: the high watermark went back to %lld, below %lld", r->part, (long long)f->high_watermark,
			(long long)h->end);
	if (!e && r->want < f->next_offset) /* batches that hold nothing we want: expired meanwhile */
		r->want = f->next_offset;
	if (r->on)
		h->reader = r->want;
	if (r->on && !e && sim.calm && f->next_offset == f->offset && f->offset >= f->high_watermark) {
		if (f->offset < h->end && sim.went_back && f->partition->topic->config.durability == DURABILITY_OBJECT)
			goto out; /* the end comes back, or time runs out */
		if (f->offset < h->end)
			sim_anomaly("partition %d ends at %lld: what was settled up to %lld is lost", r->part, (long long)f->offset,
				(long long)h->end);
		h->complete = true;
	}
out:
	buf_release(&f->batches);
}

static void read_some(struct clients *c, struct reader *r)
{
	struct partition *p;
	struct history *h;

	r->part = (int)sim_below(PARTS);
	p = part_of(c->log, r->part);
	h = &history[r->part];
	if (!p || (sim.calm && h->complete))
		return;
	r->on = sim.calm || sim_percent(60);
	for (int i = 0; i < READERS_MAX; i++) /* one that reads on is enough */
		if (c->readers[i].busy && c->readers[i].on && c->readers[i].part == r->part && &c->readers[i] != r)
			return;
	r->want = r->on ? h->reader : (int64_t)sim_below((uint64_t)h->end + 1);
	r->fetch.offset = r->want;
	r->fetch.limit = INT64_MAX;
	r->fetch.max_bytes = 1 + (size_t)sim_below(sim.calm ? 200000 : 20000);
	r->fetch.done = on_read;
	r->busy = true;
	log_fetch(c->log, &r->fetch, p);
}

/* All read back once: once more, from the start, when flushes had their time. */
static void calm_round(struct clients *c)
{
	for (int i = 0; i < PARTS; i++)
		if (!history[i].complete)
			return;
	if (!c->calm_since_ns)
		c->calm_since_ns = sim.now_ns;
	if (rounds == 0 && sim.now_ns < c->calm_since_ns + 1000 * MS)
		return;
	rounds++;
	for (int i = 0; i < PARTS && rounds < 2; i++) {
		history[i].complete = false;
		history[i].reader = 0;
	}
}

static void on_created(void *ctx, const struct err *e)
{
	struct clients *c = ctx;

	(void)e;
	c->creating = false;
}

static void tick(void *ctx)
{
	struct clients *c = ctx;

	loop_timer_set(sim.node->self.loop, &c->tick, (int64_t)sim_below(TICK_MS) + (sim.calm ? 10 : 0), tick, c);
	for (int i = 0; i < TOPICS; i++)
		if (!log_topic(c->log, topics[i].name, strlen(topics[i].name))) {
			if (!c->creating) {
				c->creating = true;
				log_topic_create(c->log, topics[i].name, PARTITIONS, 1, topics[i].config, on_created, c);
			}
			return;
		}
	check_damage(c->log);
	if (!sim.calm)
		for (uint64_t n = sim_below(6); n; n--)
			produce(c);
	for (uint32_t i = 0; i < (sim.calm ? READERS_MAX : sim.limits.readers); i++)
		if (!c->readers[i].busy && (sim.calm || sim_percent(40)))
			read_some(c, &c->readers[i]);
	if (sim.calm)
		calm_round(c);
}

void clients_start(struct node *n)
{
	struct clients *c = n->clients = mem_zalloc(sizeof(*c));

	c->log = n->log;
	if (sim.calm)
		for (int i = 0; i < PARTS; i++) {
			history[i].complete = false;
			history[i].reader = 0;
		}
	tick(c);
}
