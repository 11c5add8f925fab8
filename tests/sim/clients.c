/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the log: who consumes, seeks, makes and deletes topics; producers.c: who produces. What they are told goes into the history. */
#include <stdio.h>
#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/log.h"
#include "tests/sim/history.h"

enum { TICK_MS = 6 };

static unsigned rounds;       /* in the calm: how often all was read back */

struct reader {
	struct clients *clients;
	struct log_fetch fetch;
	int part;
	unsigned generation;
	int64_t want; /* the next offset */
	bool on, busy;
};
struct seek {
	bool busy;
	int part;
	unsigned generation, backs;
	int64_t timestamp, end;
};
struct clients {
	struct log *log;
	struct timer tick;
	struct reader readers[READERS_MAX];
	struct seek seek;
	bool creating;
	int64_t calm_since_ns;
};

void clients_reset(void)
{
	history_reset();
	producers_reset();
	rounds = 0;
}

bool clients_checked(void)
{
	return rounds >= 2;
}

/* ---- consumers ---- */

static void check_batches(struct reader *r)
{
	const struct buf *b = &r->fetch.batches;
	struct record record;

	for (size_t at = 0; at < b->len && !sim.anomaly[0];) {
		size_t n = (size_t)batch_size(b->data + at, b->len - at);
		struct batch_reader *reader = batch_reader_new(b->data + at, n, 1 << 20, NULL);

		if (!reader || batch_check_crc(b->data + at, n, NULL) < 0)
			sim_anomaly("partition %d: a batch behind offset %lld is damaged", r->part, (long long)r->want);
		while (reader && !sim.anomaly[0] && batch_reader_next(reader, &record, NULL) > 0) {
			uint32_t number;

			if (record.offset < r->want)
				continue;
			if (record.offset != r->want)
				sim_anomaly("partition %d: offset %lld was read where %lld is due", r->part, (long long)record.offset,
					(long long)r->want);
			number = history_check_record(r->part, record.offset, record.value);
			if (number)
				history_settle(r->part, r->generation, record.offset, number, "read");
			r->want = record.offset + 1;
		}
		batch_reader_free(reader);
		at += n;
	}
}

static bool is_damage(const struct err *e)
{
	return e->code == ERR_CORRUPT || e->code == ERR_CORRUPT_BATCH || e->code == ERR_PARTITION_DAMAGED;
}

static void read_failed(struct reader *r, struct partition *p, const struct err *e)
{
	int64_t start = meta_log_start(&p->topic->id, p->number);

	log_debug("partition %d, offset %lld: %s", r->part, (long long)r->fetch.offset, e->text);
	/* Older metadata that were taken lack commits; what they were about is committed anew from the WAL, but it takes a while. */
	if (e->code == ERR_OFFSET_OUT_OF_RANGE && sim.went_back && r->fetch.offset >= start && p->topic->config.durability == DURABILITY_OBJECT)
		return;
	/* Its object may be gone twice while it reads: what is dead stays for a shorter time here than a request can take. */
	if ((e->code == ERR_OFFSET_OUT_OF_RANGE || e->code == ERR_CORRUPT) && r->fetch.next_offset < start) {
		r->want = start;
	} else if (sim.rotten && is_damage(e)) {
		history[r->part].reported = true;
		history[r->part].complete |= r->on && sim.calm;
	} else if (is_damage(e) || e->code == ERR_OFFSET_OUT_OF_RANGE || e->code == ERR_INTERNAL) {
		if (e->code == ERR_OFFSET_OUT_OF_RANGE && history[r->part].reported)
			history[r->part].complete |= sim.calm;
		else
			sim_anomaly("partition %d: reading at offset %lld: %s", r->part, (long long)r->fetch.offset, e->text);
	}
}

static void check_end(struct reader *r)
{
	const struct log_fetch *f = &r->fetch;
	struct history *h = &history[r->part];

	if (f->high_watermark < h->end && f->high_watermark < r->want && !sim.went_back)
		sim_anomaly("partition %d: the high watermark went back to %lld, below %lld", r->part, (long long)f->high_watermark,
			(long long)h->end);
	if (!r->on || !sim.calm || f->next_offset != f->offset || f->offset < f->high_watermark)
		return;
	if (f->offset < h->end && sim.went_back && f->partition->topic->config.durability == DURABILITY_OBJECT)
		return; /* the end comes back, or time runs out */
	if (f->offset < h->end && !h->reported)
		sim_anomaly("partition %d ends at %lld: what was settled up to %lld is lost", r->part, (long long)f->offset,
			(long long)h->end);
	h->complete = true;
}

static void on_read(struct log_fetch *f, const struct err *e)
{
	struct reader *r = container_of(f, struct reader, fetch);

	r->busy = false;
	if (r->generation == history_generation(r->part)) {
		if (e)
			read_failed(r, f->partition, e);
		else
			check_batches(r);
		sim_event("read", r->part, e ? -(int64_t)e->code : r->want);
		if (!e)
			check_end(r);
		if (!e && r->want < f->next_offset) /* batches that hold nothing we want: expired meanwhile */
			r->want = f->next_offset;
		if (r->on)
			history[r->part].reader = r->want;
	}
	buf_release(&f->batches);
}

static void read_some(struct clients *c, struct reader *r)
{
	struct partition *p;
	struct history *h;

	r->part = (int)sim_below(PARTS);
	p = history_part(c->log, r->part);
	h = &history[r->part];
	if (!p || (sim.calm && h->complete))
		return;
	r->on = !sim.node->ghost && (sim.calm || sim_percent(60));
	for (int i = 0; i < READERS_MAX; i++) /* one that reads on is enough */
		if (c->readers[i].busy && c->readers[i].on && c->readers[i].part == r->part && &c->readers[i] != r)
			return;
	r->generation = history_generation(r->part);
	r->want = r->on ? h->reader : (int64_t)sim_below((uint64_t)h->end + 1);
	r->fetch.offset = r->want;
	r->fetch.limit = INT64_MAX;
	r->fetch.max_bytes = 1 + (size_t)sim_below(sim.calm ? 200000 : 20000);
	r->fetch.done = on_read;
	r->busy = true;
	log_fetch(c->log, &r->fetch, p);
}

static void on_sought(void *ctx, int64_t offset, int64_t timestamp, const struct err *e)
{
	struct clients *c = ctx;
	struct seek *s = &c->seek;
	const struct topic_history *t = &topic_history[s->part / PARTITIONS];
	bool short_end = sim.went_back && s->part / PARTITIONS == 1;

	s->busy = false;
	sim_event("sought", e ? -(int64_t)e->code : offset, timestamp);
	/* Older metadata know of fewer runs, until the agent notices. */
	if (s->generation != t->generation || t->deletes_asked || sim.node->ghost || s->backs != sim.backs || meta_is_back())
		return;
	if (e && is_damage(e)) {
		if (!sim.rotten && meta_log_start(&t->id, (uint32_t)(s->part % PARTITIONS)) == 0)
			sim_anomaly("partition %d: a seek by time: %s", s->part, e->text);
	} else if (!e && !history[s->part].reported && !(short_end && offset < 0)) {
		history_check_seek(s->part, s->timestamp, s->end, offset, meta_log_start(&t->id, (uint32_t)(s->part % PARTITIONS)));
	}
}

static void seek(struct clients *c)
{
	int part = (int)sim_below(PARTS);
	struct partition *p = history_part(c->log, part);
	struct seek *s = &c->seek;
	uint64_t back;
	uint32_t near;

	if (!p || s->busy || !history[part].end)
		return;
	back = sim_below((uint64_t)(sim_percent(50) && history[part].end > 20 ? 20 : history[part].end));
	near = history[part].settled[history[part].end - 1 - (int64_t)back];
	*s = (struct seek){.busy = true, .part = part, .generation = history_generation(part), .end = history[part].end, .backs = sim.backs};
	s->timestamp = (near && values[near].timestamp > INT64_MIN ? values[near].timestamp : clock_real_ms()) - (int64_t)sim_below(3);
	log_seek(c->log, p, s->timestamp, on_sought, c);
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

/* ---- topics ---- */

static void on_created(void *ctx, const struct err *e)
{
	struct clients *c = ctx;

	(void)e;
	c->creating = false;
}

static void on_deleted(void *ctx, const struct err *e)
{
	struct topic_history *t = ctx;

	sim_event("deleted", t - topic_history, e ? e->code : 0);
	if (e && e->code == ERR_TOPIC_NOT_FOUND && t->deletes_asked) /* nothing is left that could still arrive */
		t->deletes_asked--;
}

static bool all_topics(struct clients *c)
{
	for (int i = 0; i < TOPICS; i++) {
		const struct topic *t = log_topic(c->log, history_names[i], strlen(history_names[i]));

		if (t && history_topic(i, &t->id))
			continue;
		if (!t)
			history_topic_missing(i);
		if (!t && !c->creating && !sim.node->ghost) {
			c->creating = true;
			log_topic_create(c->log, history_names[i], PARTITIONS, 1, history_configs[i], on_created, c);
		}
		return false;
	}
	return true;
}

/* Nothing here damages a disk behind the log's back, but for rot. */
static void check_damage(struct log *l)
{
	for (int i = 0; i < PARTS; i++) {
		const struct partition *p = history_part(l, i);

		if (p && p->damage)
			history_damaged(i, p->damage);
	}
}

static void trouble(struct clients *c)
{
	producers_act(c->log);
	if (sim_percent(8))
		seek(c);
	if (sim_fault(FAULT_DELETE, 3) && !sim.node->ghost) {
		struct topic_history *t = &topic_history[sim_below(TOPICS)];

		t->deletes_asked++;
		log_topic_delete(c->log, history_names[t - topic_history], on_deleted, t);
	}
}

static void tick(void *ctx)
{
	struct clients *c = ctx;

	loop_timer_set(sim.node->self.loop, &c->tick, (int64_t)sim_below(TICK_MS) + (sim.calm ? 10 : 0), tick, c);
	if (!all_topics(c))
		return;
	check_damage(c->log);
	if (!sim.calm)
		trouble(c);
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
	producers_meet(n->log);
	if (sim.calm)
		for (int i = 0; i < PARTS; i++) {
			history[i].complete = false;
			history[i].reader = 0;
		}
	tick(c);
}
