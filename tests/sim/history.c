/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/history.h"

const char *const history_names[TOPICS] = {"plain", "object"};
const char *const history_configs[TOPICS] = {"{}", "{\"durability\":\"object\"}"};
struct history history[PARTS];
struct topic_history topic_history[TOPICS];
struct value values[VALUES];
static uint32_t next_value;

static void part_reset(struct history *h)
{
	memset(h->settled, 0, (size_t)h->end * sizeof(h->settled[0]));
	h->end = h->reader = 0;
	h->complete = h->reported = false;
}

void history_reset(void)
{
	for (int i = 0; i < PARTS; i++)
		part_reset(&history[i]);
	memset(topic_history, 0, sizeof(topic_history));
	memset(values, 0, (next_value + 1) * sizeof(values[0]));
	next_value = 1;
}

uint32_t history_numbers(unsigned count, int part, unsigned producer)
{
	uint32_t first = next_value;

	if (next_value + count > VALUES - 10)
		return 0;
	for (; next_value < first + count; next_value++)
		values[next_value] = (struct value){.part = (uint8_t)part, .producer = (uint8_t)producer, .sent = true,
			.generation = (uint16_t)topic_history[part / PARTITIONS].generation, .timestamp = INT64_MIN};
	return first;
}

size_t history_write(uint32_t number, uint8_t *out)
{
	uint32_t hash = number * 2654435761u;
	size_t head = (size_t)snprintf((char *)out, 16, "%u:", number), want = (hash >> 8) % (hash >> 24 < 16 ? VALUE_MAX - 20 : 200);
	uint64_t fill;

	for (size_t n = head; n < want; n += sizeof(fill)) { /* beyond the end as well: VALUE_MAX has room for it */
		fill = hash * UINT64_C(0x100000001) ^ n / 64;
		memcpy(out + n, &fill, sizeof(fill));
	}
	return want > head ? want : head;
}

bool history_topic(int i, const struct uuid *id)
{
	static struct uuid gone[100];
	static unsigned gone_count;
	struct topic_history *t = &topic_history[i];

	if (t->known && uuid_equal(&t->id, id))
		return true;
	if (sim.node->ghost)
		return false;
	if (!topic_history[0].known && !topic_history[1].known)
		gone_count = 0;
	for (unsigned k = 0; k < gone_count; k++)
		if (uuid_equal(&gone[k], id))
			sim_anomaly("topic %s is one that was deleted", history_names[i]);
	if (t->known && !t->deletes_asked)
		sim_anomaly("topic %s is another one, and nobody deleted it", history_names[i]);
	if (t->known && gone_count < 100)
		gone[gone_count++] = t->id;
	t->generation += t->known;
	t->deletes_asked -= t->known && t->deletes_asked > 0;
	t->known = true;
	t->id = *id;
	for (int k = 0; k < PARTITIONS; k++)
		part_reset(&history[i * PARTITIONS + k]);
	sim_event("topic", i, t->generation);
	return true;
}

struct partition *history_part(struct log *l, int i)
{
	struct topic *t = log_topic(l, history_names[i / PARTITIONS], strlen(history_names[i / PARTITIONS]));

	if (!t || !history_topic(i / PARTITIONS, &t->id))
		return NULL;
	return log_partition(l, t->name, strlen(t->name), i % PARTITIONS, NULL);
}

unsigned history_generation(int part)
{
	return topic_history[part / PARTITIONS].generation;
}

void history_topic_missing(int i)
{
	if (topic_history[i].known && !topic_history[i].deletes_asked && !sim.node->ghost)
		sim_anomaly("topic %s is gone, and nobody deleted it", history_names[i]);
}

/* Records of one producer are in the order in which it sent them. */
static void check_order(int part, int64_t offset, uint32_t number)
{
	const struct history *h = &history[part];

	for (int64_t at = offset - 1; at >= 0 && at > offset - 20; at--) {
		uint32_t before = h->settled[at];

		if (!before || values[before].producer != values[number].producer)
			continue;
		if (before > number)
			sim_anomaly("partition %d, offset %lld: record %u stands behind %u, which was sent later", part, (long long)offset, number,
				before);
		return;
	}
}

void history_settle(int part, unsigned generation, int64_t offset, uint32_t number, const char *how)
{
	struct history *h = &history[part];
	struct value *v = &values[number];

	if (offset >= OFFSETS || generation != topic_history[part / PARTITIONS].generation)
		return;
	if (h->settled[offset] && h->settled[offset] != number) {
		sim_anomaly("partition %d, offset %lld: %s record %u, but it was given to %u before", part, (long long)offset, how, number,
			h->settled[offset]);
		return;
	}
	if (!h->settled[offset] && v->settled) {
		sim_anomaly("partition %d: record %u has offset %lld, but had %lld before", part, number, (long long)offset, (long long)v->offset);
		return;
	}
	h->settled[offset] = number;
	v->settled = true;
	v->offset = offset;
	check_order(part, offset, number);
	if (offset >= h->end)
		h->end = offset + 1;
}

void history_given(int part, int64_t offset)
{
	if (offset < OFFSETS && history[part].settled[offset])
		sim_anomaly("partition %d: offset %lld is given again", part, (long long)offset);
}

uint32_t history_check_record(int part, int64_t offset, struct bytes value)
{
	static uint8_t want[VALUE_MAX];
	uint32_t number = 0;

	for (size_t i = 0; i < value.len && i < 10 && value.data[i] >= '0' && value.data[i] <= '9'; i++)
		number = number * 10 + (uint32_t)(value.data[i] - '0');
	if (number && number < next_value && values[number].sent && values[number].part == part &&
		values[number].generation == topic_history[part / PARTITIONS].generation && value.len == history_write(number, want) &&
		!memcmp(want, value.data, value.len))
		return number;
	sim_anomaly("partition %d, offset %lld: a record that nobody sent", part, (long long)offset);
	return 0;
}

void history_check_seek(int part, int64_t timestamp, int64_t end, int64_t offset, int64_t log_start)
{
	const struct history *h = &history[part];
	uint32_t number = offset >= 0 && offset < OFFSETS ? h->settled[offset] : 0;

	if (number && values[number].timestamp < timestamp)
		sim_anomaly("partition %d: a seek by time ended at offset %lld, whose record is older", part, (long long)offset);
	for (int64_t at = log_start; at < end && (offset < 0 || at < offset); at++)
		if (h->settled[at] && values[h->settled[at]].timestamp >= timestamp)
			sim_anomaly("partition %d: a seek by time passed over offset %lld, to %lld", part, (long long)at, (long long)offset);
}

/* Only what was damaged behind the log's back gives it a reason to say so. */
void history_damaged(int part, const char *what)
{
	if (!sim.rotten)
		sim_anomaly("partition %d does not serve: %s", part, what);
	history[part].reported = true;
}
