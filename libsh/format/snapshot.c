/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/snapshot.h"

#include <stdio.h>
#include <string.h>
#include "libsh/base/bytes.h"
#include "libsh/base/crc32c.h"

enum {
	HEADER_BYTES = 16,
	SECTION_BYTES = 8,
	MAJOR = 1,
	MUST_UNDERSTAND = 1,
	INFO_BYTES = 56,
	SLOT_BYTES = 48,
	TOPIC_BYTES = 48,
	ROW_BYTES = 48,
	ROW_LEAST_BYTES = 40, /* what the first version wrote */
};
enum { SECTION_INFO = 1, SECTION_SLOT = 2, SECTION_TOPIC = 3, SECTION_END = 4 };

static const char magic[8] = "ShdSnap";

/* ---- writing ---- */

static size_t section_begin(struct buf *b, uint16_t type)
{
	size_t start = b->len;

	buf_add_le16(b, type);
	buf_add_le16(b, MUST_UNDERSTAND);
	buf_add_le32(b, 0);
	return start;
}

static void section_end(struct buf *b, size_t start)
{
	if (!b->overflow)
		put_le32(b->data + start + 4, (uint32_t)(b->len - start - SECTION_BYTES));
}

static void write_info(struct buf *b, const struct snapshot *s)
{
	size_t start = section_begin(b, SECTION_INFO);

	buf_add_le64(b, s->incarnation);
	buf_add_le64(b, s->number);
	buf_add_le64(b, (uint64_t)s->taken_ms);
	buf_add_le64(b, s->version);
	buf_add_le64(b, s->session);
	buf_add_le64(b, s->commit_sequence);
	buf_add_le64(b, (uint64_t)s->producer_id);
	section_end(b, start);
}

static void write_slot(struct buf *b, const struct snapshot_slot *slot)
{
	size_t start = section_begin(b, SECTION_SLOT);

	buf_add(b, slot->id.b, sizeof(slot->id.b));
	buf_add_le32(b, slot->number);
	buf_add_le32(b, 0);
	buf_add_le64(b, slot->session);
	buf_add_le64(b, slot->last_number);
	buf_add_le64(b, slot->newest_committed);
	section_end(b, start);
}

static void write_partition(struct buf *b, const struct snapshot_partition *p)
{
	buf_add_le32(b, p->slot);
	buf_add_le32(b, p->epoch);
	buf_add_le64(b, (uint64_t)p->log_start);
	buf_add_le64(b, (uint64_t)p->flushed_end);
	buf_add_le64(b, p->expired_records);
	buf_add_le64(b, p->expired_bytes);
	buf_add_le64(b, (uint64_t)p->offset_floor);
}

static void write_topic(struct buf *b, const struct snapshot_topic *t)
{
	size_t start = section_begin(b, SECTION_TOPIC), name = strlen(t->name), config = strlen(t->config);

	buf_add(b, t->id.b, sizeof(t->id.b));
	buf_add_le32(b, t->deleted ? 0 : t->partition_count);
	buf_add_le32(b, t->replication_factor);
	buf_add_le64(b, (uint64_t)t->created_ms);
	buf_add_le32(b, t->deleted);
	buf_add_le32(b, (uint32_t)name);
	buf_add_le32(b, (uint32_t)config);
	buf_add_le32(b, ROW_BYTES);
	buf_add(b, t->name, name);
	buf_add(b, t->config, config);
	for (uint32_t i = 0; !t->deleted && i < t->partition_count; i++)
		write_partition(b, &t->partitions[i]);
	section_end(b, start);
}

int snapshot_write(struct buf *out, const struct snapshot *s, struct err *e)
{
	size_t start;
	uint32_t crc;

	buf_add(out, magic, sizeof(magic));
	buf_add_le16(out, MAJOR);
	buf_add_le16(out, 0);
	buf_add_le32(out, 0);
	write_info(out, s);
	for (size_t i = 0; i < s->slot_count; i++)
		write_slot(out, &s->slots[i]);
	for (size_t i = 0; i < s->topic_count; i++)
		write_topic(out, &s->topics[i]);
	crc = out->overflow ? 0 : crc32c(0, out->data, out->len);
	start = section_begin(out, SECTION_END);
	buf_add_le32(out, crc);
	section_end(out, start);
	if (out->overflow)
		return err_set(e, ERR_TOO_LARGE, "a snapshot of the metadata has more than %zu bytes", out->max);
	return 0;
}

/* ---- reading ---- */

struct reading {
	struct snapshot *s;
	struct arena *a;
	bool info;
	size_t slot, topic;
};

static int damaged(struct err *e, const char *what)
{
	return err_set(e, ERR_CORRUPT, "the snapshot is damaged: %s", what);
}

static int read_info(struct reading *r, const uint8_t *p, size_t n, struct err *e)
{
	struct snapshot *s = r->s;

	if (n < INFO_BYTES)
		return damaged(e, "its INFO section is too short");
	s->incarnation = get_le64(p);
	s->number = get_le64(p + 8);
	s->taken_ms = (int64_t)get_le64(p + 16);
	s->version = get_le64(p + 24);
	s->session = get_le64(p + 32);
	s->commit_sequence = get_le64(p + 40);
	s->producer_id = (int64_t)get_le64(p + 48);
	r->info = true;
	return 0;
}

static int read_slot(struct reading *r, const uint8_t *p, size_t n, struct err *e)
{
	struct snapshot_slot *slot = &r->s->slots[r->slot++];

	if (n < SLOT_BYTES)
		return damaged(e, "a SLOT section is too short");
	memcpy(slot->id.b, p, sizeof(slot->id.b));
	slot->number = get_le32(p + 16);
	slot->session = get_le64(p + 24);
	slot->last_number = get_le64(p + 32);
	slot->newest_committed = get_le64(p + 40);
	return 0;
}

static void read_partitions(struct snapshot_topic *t, const uint8_t *p, size_t row)
{
	for (uint32_t i = 0; i < t->partition_count; i++, p += row)
		t->partitions[i] = (struct snapshot_partition){.slot = get_le32(p),
			.epoch = get_le32(p + 4),
			.log_start = (int64_t)get_le64(p + 8),
			.flushed_end = (int64_t)get_le64(p + 16),
			.expired_records = get_le64(p + 24),
			.expired_bytes = get_le64(p + 32),
			.offset_floor = row < ROW_BYTES ? 0 : (int64_t)get_le64(p + 40)};
}

static int read_topic(struct reading *r, const uint8_t *p, size_t n, struct err *e)
{
	struct snapshot_topic *t = &r->s->topics[r->topic++];
	uint64_t name, config, row;

	if (n < TOPIC_BYTES)
		return damaged(e, "a TOPIC section is too short");
	memcpy(t->id.b, p, sizeof(t->id.b));
	t->partition_count = get_le32(p + 16);
	t->replication_factor = get_le32(p + 20);
	t->created_ms = (int64_t)get_le64(p + 24);
	t->deleted = get_le32(p + 32) & 1;
	name = get_le32(p + 36);
	config = get_le32(p + 40);
	row = get_le32(p + 44);
	p += TOPIC_BYTES;
	n -= TOPIC_BYTES;
	if (row < ROW_LEAST_BYTES || name + config > n || t->partition_count * row > n - name - config ||
		memchr(p, 0, (size_t)(name + config)))
		return damaged(e, "a TOPIC section does not hold what it says");
	t->name = arena_strndup(r->a, (const char *)p, (size_t)name);
	t->config = arena_strndup(r->a, (const char *)p + name, (size_t)config);
	t->partitions = arena_alloc(r->a, (t->partition_count + (size_t)1) * sizeof(*t->partitions));
	read_partitions(t, p + name + config, (size_t)row);
	return 0;
}

/* 1: a section; 0: the end; -1: damage. */
static int section_next(const uint8_t *p, size_t n, size_t *pos, uint16_t *type, size_t *length, struct err *e)
{
	if (*pos == n)
		return 0;
	if (n - *pos < SECTION_BYTES || n - *pos - SECTION_BYTES < get_le32(p + *pos + 4))
		return damaged(e, "a section passes its end");
	*type = get_le16(p + *pos);
	*length = get_le32(p + *pos + 4);
	if (*type == 0 || (*type > SECTION_END && get_le16(p + *pos + 2) & MUST_UNDERSTAND))
		return err_set(e, ERR_NOT_BUILT,
			"the snapshot has a section of type %u, which this version does not know", *type);
	*pos += SECTION_BYTES + *length;
	return 1;
}

static int check_ends(const uint8_t *p, size_t n, struct err *e)
{
	const uint8_t *end;

	if (n < HEADER_BYTES + SECTION_BYTES + 4 || memcmp(p, magic, sizeof(magic)) != 0)
		return damaged(e, "it does not begin like one");
	if (get_le16(p + 8) != MAJOR)
		return err_set(e, ERR_NOT_BUILT, "the snapshot has version %u, this program knows %d", get_le16(p + 8), MAJOR);
	end = p + n - SECTION_BYTES - 4;
	if (get_le16(end) != SECTION_END || get_le16(end + 2) != MUST_UNDERSTAND || get_le32(end + 4) != 4 || crc32c(0, p, (size_t)(end - p)) != get_le32(end + 8))
		return damaged(e, "it does not match its checksum");
	return 0;
}

int snapshot_read(const void *data, size_t n, struct arena *a, struct snapshot *s, struct err *e)
{
	struct reading r = {.s = s, .a = a};
	const uint8_t *p = data;
	size_t pos = HEADER_BYTES, length, slots = 0, topics = 0;
	uint16_t type;
	int more, result = 0;

	memset(s, 0, sizeof(*s));
	if (check_ends(p, n, e) < 0)
		return -1;
	while ((more = section_next(p, n, &pos, &type, &length, e)) == 1) {
		slots += type == SECTION_SLOT;
		topics += type == SECTION_TOPIC;
	}
	if (more < 0)
		return -1;
	s->slots = arena_alloc(a, (slots + 1) * sizeof(*s->slots));
	s->topics = arena_alloc(a, (topics + 1) * sizeof(*s->topics));
	for (pos = HEADER_BYTES; result == 0 && section_next(p, n, &pos, &type, &length, NULL) == 1;) {
		const uint8_t *payload = p + pos - length;

		if (type == SECTION_INFO)
			result = read_info(&r, payload, length, e);
		else if (type == SECTION_SLOT)
			result = read_slot(&r, payload, length, e);
		else if (type == SECTION_TOPIC)
			result = read_topic(&r, payload, length, e);
	}
	s->slot_count = r.slot;
	s->topic_count = r.topic;
	return result < 0 ? -1 : r.info ? 0 : damaged(e, "its INFO section is missing");
}

/* ---- names ---- */

const char *snapshot_name(uint64_t incarnation, uint64_t number, char out[SNAPSHOT_NAME_BYTES])
{
	snprintf(out, SNAPSHOT_NAME_BYTES, "meta/%016llx-%016llx.snapshot", (unsigned long long)incarnation,
		(unsigned long long)number);
	return out;
}

bool snapshot_name_parse(const char *name, uint64_t *incarnation, uint64_t *number)
{
	unsigned long long i, n;
	char again[SNAPSHOT_NAME_BYTES];

	if (sscanf(name, "meta/%16llx-%16llx.snapshot", &i, &n) != 2 || strcmp(snapshot_name(i, n, again), name) != 0)
		return false;
	*incarnation = i;
	*number = n;
	return true;
}
