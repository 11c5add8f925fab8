/* SPDX-License-Identifier: Apache-2.0 */
/* Who produces: many that send once, and for each partition one that tries again until it knows what became of its batch. */
#include <string.h>

#include "libsh/base/clock.h"
#include "tests/helper/append_batch.h"
#include "tests/sim/history.h"

struct client_wait {
	struct log_wait wait;
	int part;
	unsigned generation;
	int64_t first, end;
	uint32_t value;
	struct retrier *retrier;
};
/* An idempotent producer, which sends a batch until it knows what became of it. It outlives the agents. */
static struct retrier {
	int64_t id;
	int32_t sequence;     /* of the next batch */
	unsigned generation;
	uint32_t value;       /* of the batch under way; 0: none */
	unsigned count;
	int64_t at;           /* where it was appended last; -1: nowhere yet */
	uint64_t asked_life;  /* that has not answered yet; 0: none */
} retriers[PARTS];
static int64_t next_producer_id;

void producers_reset(void)
{
	memset(retriers, 0, sizeof(retriers));
	next_producer_id = 1;
}

static void retrier_told(struct retrier *r, const struct client_wait *c, bool good)
{
	if (r->asked_life == sim.node->life)
		r->asked_life = 0;
	if (!good || r->value != c->value || r->generation != c->generation)
		return;
	r->sequence += (int32_t)r->count;
	r->value = 0;
}

static void on_wait(struct log_wait *w, enum durability reached, const struct err *e)
{
	struct client_wait *c = container_of(w, struct client_wait, wait);

	sim_event(e ? "unacknowledged" : "acknowledged", c->part, c->end);
	if (!e && reached == DURABILITY_WAL && clock_boot_ms() > sim.node->lease_until_ms)
		sim_anomaly("partition %d: offset %lld acknowledged at %lld, the lease ended at %lld", c->part, (long long)c->first,
			(long long)clock_boot_ms(), (long long)sim.node->lease_until_ms);
	if (!e && reached >= DURABILITY_WAL)
		for (int64_t at = c->first; at < c->end; at++)
			history_settle(c->part, c->generation, at, c->value + (uint32_t)(at - c->first), "acknowledged");
	if (c->retrier)
		retrier_told(c->retrier, c, !e && reached >= DURABILITY_WAL);
	mem_free(c);
}

/* With wal.sync=never nobody can have level wal by name. */
static enum durability level(struct log *l, struct partition *p, bool must)
{
	enum durability d = must ? DURABILITY_WAL : sim_percent(70) ? DURABILITY_TOPIC : (enum durability)sim_below(3);

	if (d == DURABILITY_WAL && log_check_durability(l, p, d, NULL) < 0)
		return must ? DURABILITY_OBJECT : DURABILITY_NONE;
	return d;
}

static void wait_for(struct log *l, struct partition *p, int part, int64_t first, uint32_t value, unsigned count, struct retrier *r)
{
	struct client_wait *w = mem_zalloc(sizeof(*w));

	sim_event("append", part, first);
	w->part = part;
	w->generation = history_generation(part);
	w->first = first;
	w->end = first + count;
	w->value = value;
	w->retrier = r;
	log_wait(l, &w->wait, p, w->end, level(l, p, r != NULL), on_wait);
}

static unsigned produce_records(struct log *l, struct partition *p, uint32_t value, unsigned count, int64_t *first)
{
	uint8_t bytes[VALUE_MAX];
	int64_t offset, timestamp;
	unsigned taken = 0;

	for (; taken < count; taken++) {
		struct record r = {.timestamp = -1, .value = {bytes, 0}};

		r.value.len = history_write(value + taken, bytes);
		if (log_append_record(l, p, &r, &offset, &timestamp, NULL) < 0)
			break;
		values[value + taken].timestamp = timestamp;
		if (!taken)
			*first = offset;
	}
	return taken;
}

/* A retry has the same bytes. */
static int produce_batch(struct log *l, struct partition *p, uint32_t value, unsigned count, const struct retrier *r, int64_t *first,
	struct err *e)
{
	static struct buf batch = BUF_INIT(1 << 20);
	struct batch_writer w;
	uint8_t bytes[VALUE_MAX];
	int64_t last;
	int result = -1;

	buf_release(&batch);
	batch_writer_init(&w, value % 2 ? CODEC_LZ4 : CODEC_NONE, 1 << 20);
	if (r) {
		w.producer_id = r->id;
		w.base_sequence = r->sequence;
	}
	for (unsigned i = 0; i < count; i++) {
		struct value *v = &values[value + i];
		struct record record = {.value = {bytes, 0}};

		if (v->timestamp == INT64_MIN)
			v->timestamp = clock_real_ms() - (int64_t)sim_below(20); /* in no order */
		record.timestamp = v->timestamp;
		record.value.len = history_write(value + i, bytes);
		batch_writer_add(&w, &record, NULL);
	}
	if (batch_writer_finish(&w, &batch, NULL) == 0)
		result = append_batch(l, p, &batch, first, &last, e);
	batch_writer_release(&w);
	buf_release(&batch);
	return result;
}

static void produce(struct log *l)
{
	int part = (int)sim_below(PARTS);
	struct partition *p = history_part(l, part);
	unsigned count = 1 + (unsigned)sim_below(4), taken;
	int64_t first;
	uint32_t value;

	if (!p || history[part].end > OFFSETS - 2000 || sim.appends++ >= sim.limits.appends || !(value = history_numbers(count, part, 0)))
		return;
	taken = sim_percent(70) ? produce_records(l, p, value, count, &first) :
		produce_batch(l, p, value, count, NULL, &first, NULL) == 0 ? count : 0;
	for (unsigned i = 0; i < taken; i++)
		history_given(part, first + i);
	if (taken)
		wait_for(l, p, part, first, value, taken, NULL);
}

static void retry(struct log *l, int part)
{
	struct retrier *r = &retriers[part];
	struct partition *p = history_part(l, part);
	struct err e = ERR_INIT;
	int64_t first;

	if (!p || history[part].end > OFFSETS - 2000 || r->asked_life == sim.node->life)
		return;
	if (!r->id || r->generation != history_generation(part)) {
		*r = (struct retrier){.id = next_producer_id++, .generation = history_generation(part)};
		return;
	}
	if (!r->value) {
		if (sim.appends++ >= sim.limits.appends)
			return;
		r->count = 1 + (unsigned)sim_below(4);
		r->value = history_numbers(r->count, part, 1 + (unsigned)(r->id % 250));
		r->at = -1;
	}
	if (!r->value)
		return;
	if (produce_batch(l, p, r->value, r->count, r, &first, &e) == 0) {
		r->asked_life = sim.node->life;
		r->at = first;
		wait_for(l, p, part, first, r->value, r->count, r);
	} else if (e.code == ERR_OUT_OF_ORDER && !sim.node->ghost && !sim.rotten) {
		sim_anomaly("partition %d: a producer that left nothing out hears: %s", part, e.text);
	}
}

/* A log that starts learns of producers from its WAL: of what was in a segment by then it may know nothing. */
void producers_meet(struct log *l)
{
	for (int i = 0; i < PARTS; i++) {
		const struct partition *p = history_part(l, i);

		if (retriers[i].value && p && retriers[i].at >= 0 && p->flushed_end > retriers[i].at)
			retriers[i].id = 0;
	}
}

void producers_act(struct log *l)
{
	for (uint64_t n = sim_below(6); n; n--)
		produce(l);
	for (int i = 0; i < PARTS; i++)
		if (sim_percent(10))
			retry(l, i);
}
