/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streamctl cat: prints records out of files. What is damaged is told on stderr and passed over; then the exit status is 3.
 *
 * Of a data directory the segments come first, partition by partition, then the tails of all partitions in the
 * order of the log. A batch may move from the WAL into a segment while we read: a hole before a batch of the tail sends us
 * back to the metadata.
 */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/command.h"
#include "cmd/consume_output.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/text.h"
#include "libsh/store/offline.h"

struct values {
	struct option_list topics;
	const char *format, *objects;
	int64_t partition, from, to, limit;
	bool nul;
};
#define AT(member) offsetof(struct values, member)
static const struct option options[] = {
	{.type = OPTION_LIST, .letter = 't', .name = "topic", .argument = "TOPIC", .offset = AT(topics), .complete = "topic",
		.text = "Print only records of TOPIC, which may be a pattern", .more = "May be given several times."},
	{.type = OPTION_INT, .letter = 'p', .name = "partition", .argument = "P", .offset = AT(partition), .min = 0, .max = INT32_MAX,
		.text = "Print only records of partition P"},
	{.type = OPTION_INT, .name = "from", .argument = "OFFSET", .offset = AT(from), .min = 0, .max = INT64_MAX,
		.text = "Begin at OFFSET of each partition"},
	{.type = OPTION_INT, .name = "to", .argument = "OFFSET", .offset = AT(to), .min = 0, .max = INT64_MAX,
		.text = "End before OFFSET of each partition"},
	{.type = OPTION_INT, .letter = 'n', .name = "limit", .argument = "N", .offset = AT(limit), .min = 0, .max = INT64_MAX,
		.text = "Stop after N records"},
	{.type = OPTION_STRING, .letter = 'f', .name = "format", .argument = "FORMAT", .offset = AT(format), .complete = "ndjson",
		.text = "Print records as JSON lines (ndjson) or by a format string", .more = "See FORMATS in streamctl(1)."},
	{.type = OPTION_FLAG, .letter = '0', .name = "null", .offset = AT(nul),
		.text = "End records with a NUL character instead of a newline"},
	{.type = OPTION_STRING, .name = "objects", .argument = "URL", .offset = AT(objects), .complete = "directory",
		.text = "The segments of the data directory lie at URL", .more = "For a server that runs with object.url set."},
	{.type = OPTION_END},
};

enum { LIMIT_REACHED = 1, FAILED = -1 };

struct cat {
	const struct command_run *run;
	const struct values *values;
	struct consume_output out;
	bool partial; /* something could not be read */
	struct err e; /* why a callback failed */
	/* whose batches are coming */
	const char *topic;
	uint32_t partition;
	int64_t cursor;
	struct offline offline;
};

static void note_damage(struct cat *c, const char *where, const struct err *e)
{
	struct err at = *e;

	err_prefix(&at, "%s", where);
	command_fail(c->run, &at);
	c->partial = true;
}

static bool wanted(const struct cat *c, const char *topic, uint32_t partition)
{
	const struct option_list *topics = &c->values->topics;

	if (c->values->partition >= 0 && partition != (uint32_t)c->values->partition)
		return false;
	for (int i = 0; i < topics->count; i++)
		if (text_glob(topics->items[i], topic))
			return true;
	return topics->count == 0;
}

/* ---- records ---- */

static int print_record(struct cat *c, const struct record *r)
{
	if (r->offset < c->cursor || r->offset >= c->values->to)
		return 0;
	if (c->out.records >= c->values->limit)
		return LIMIT_REACHED;
	if (consume_output_record(&c->out, c->topic, (int32_t)c->partition, r, &c->e) < 0)
		return FAILED;
	c->cursor = r->offset + 1;
	return 0;
}

static int print_batch(void *ctx, const struct batch_header *h, const void *batch, size_t n)
{
	struct cat *c = ctx;
	struct batch_reader *reader;
	struct record r;
	int rc = 0, more = 0;

	if (h->attributes & BATCH_CONTROL) {
		c->cursor = batch_last_offset(h) + 1;
		return 0;
	}
	reader = batch_reader_new(batch, n, 0, &c->e);
	if (!reader)
		return FAILED;
	while (rc == 0 && (more = batch_reader_next(reader, &r, &c->e)) == 1)
		rc = print_record(c, &r);
	batch_reader_free(reader);
	if (rc == 0 && more < 0)
		return FAILED;
	if (rc == 0 && batch_last_offset(h) >= c->cursor && batch_last_offset(h) < c->values->to)
		c->cursor = batch_last_offset(h) + 1;
	return rc;
}

static void turn_to(struct cat *c, const char *topic, uint32_t partition, int64_t cursor)
{
	c->topic = topic;
	c->partition = partition;
	c->cursor = cursor;
	err_clear(&c->e);
}

/* A run of the partition turned to. Damage is told and passed over; LIMIT_REACHED or 0. */
static int print_run(struct cat *c, const struct segment_input *in, const struct segment_run_detail *d, const char *where)
{
	struct err e = ERR_INIT;
	int rc = offline_run_batches(in, d, c->cursor, c->values->to, print_batch, c, &e);

	if (rc == LIMIT_REACHED)
		return rc;
	if (rc)
		note_damage(c, where, e.code != ERR_NONE ? &e : &c->e);
	if (c->cursor < d->run.end_offset)
		c->cursor = d->run.end_offset;
	return 0;
}

/* ---- one segment, one WAL file ---- */

static int cat_segment(struct cat *c, const char *path, struct err *e)
{
	struct segment_input in;
	struct segment_file f;
	int fd = disk_open(path, O_RDONLY, 0, e), rc = 0;

	if (fd < 0)
		return FAILED;
	offline_file_init(&in, &fd, (uint64_t)disk_size(fd, NULL));
	if (segment_file_open(&f, &in, e)) {
		fd_close(&fd);
		return err_prefix(e, "%s", path);
	}
	for (size_t i = 0; rc == 0 && i < f.run_count; i++) {
		const struct segment_run_detail *d = &f.runs[i];

		if (!wanted(c, d->topic_name, d->run.partition))
			continue;
		turn_to(c, d->topic_name, d->run.partition, c->values->from);
		rc = print_run(c, &in, d, path);
	}
	segment_file_release(&f);
	fd_close(&fd);
	return rc;
}

/* The WAL knows topics by id only. */
static int print_wal_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct cat *c = ctx;
	char id[UUID_TEXT_BYTES];
	struct batch_header h;

	if (entry->type != WAL_BATCH || !wanted(c, uuid_format(&entry->topic, id), entry->partition))
		return 0;
	if (batch_header_read(batch, entry->length, &h, &c->e))
		return FAILED;
	if (batch_last_offset(&h) < c->values->from || h.base_offset >= c->values->to)
		return 0;
	turn_to(c, id, entry->partition, c->values->from);
	return print_batch(c, &h, batch, entry->length);
}

/*
 * Every valid entry, whatever lies between: the whole file is taken as synced, so that a hole never ends
 * the scan. Files in quarantine consist of holes.
 */
static int cat_wal(struct cat *c, const char *path, struct err *e)
{
	static const struct wal_scan_handlers handlers = {.entry = print_wal_entry};
	struct wal_scan_result result;
	struct wal_file_header h;
	int fd = disk_open(path, O_RDONLY, 0, e), rc;

	if (fd < 0)
		return FAILED;
	rc = wal_file_header_load(fd, &h, e);
	if (rc == 0)
		rc = wal_scan(fd, h.base_lsn + WAL_FILE_BYTES - 1, false, &handlers, c, &result, e);
	if (rc < 0 && e->code == ERR_NONE)
		*e = c->e;
	if (rc < 0)
		err_prefix(e, "%s", path);
	fd_close(&fd);
	return rc;
}

/* ---- a directory of segments ---- */

static void unreadable_object(void *ctx, const char *object, const struct err *e)
{
	note_damage(ctx, object, e);
}

static int print_object_run(struct cat *c, struct object_store *s, const struct offline_object_run *r)
{
	struct segment_run_detail d;
	struct arena a = ARENA_INIT;
	struct offline_object o;
	struct err e = ERR_INIT;
	int rc = 0;

	offline_object_init(&o, s, r->object, r->object_bytes);
	if (offline_run_detail(&o.input, &r->run, &a, &d, &e))
		note_damage(c, r->object, &e);
	else
		rc = print_run(c, &o.input, &d, r->object);
	arena_release(&a);
	return rc;
}

static int cat_objects(struct cat *c, const char *store, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct object_store *s;
	struct offline_object_run *runs;
	size_t count;
	int rc = offline_objects_open(store, &s, e);

	if (rc)
		return rc;
	rc = offline_objects_list(s, &a, &runs, &count, unreadable_object, c, e);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		const struct offline_object_run *r = &runs[i];
		bool same = i && uuid_equal(&r[-1].run.topic, &r->run.topic) && r[-1].run.partition == r->run.partition;

		if (!wanted(c, r->topic_name, r->run.partition))
			continue;
		turn_to(c, r->topic_name, r->run.partition, same ? c->cursor : c->values->from);
		if (r->run.end_offset > c->cursor)
			rc = print_object_run(c, s, r);
	}
	if (rc == 0 && !count && !c->partial)
		rc = offline_objects_none(store, e);
	object_store_free(s);
	arena_release(&a);
	return rc;
}

/* ---- a data directory ---- */

/* What segments hold of the partition from its cursor on. */
static int print_committed(struct cat *c, struct offline_partition *p)
{
	struct meta *m = c->offline.meta;
	int rc = 0;

	turn_to(c, p->topic->name, p->partition, p->cursor);
	while (rc == 0 && c->cursor < c->values->to) {
		struct arena a = ARENA_INIT;
		struct meta_object o;
		struct offline_object_run r = {.topic_name = p->topic->name};
		struct err e = ERR_INIT;

		if (m->driver->run_find(m, &p->topic->id, p->partition, false, c->cursor, c->cursor, &a, &o, &r.run, &e)) {
			if (e.code != ERR_NOT_FOUND)
				note_damage(c, p->topic->name, &e);
			arena_release(&a);
			break;
		}
		r.object = o.name;
		r.object_bytes = o.bytes;
		rc = print_object_run(c, c->offline.objects, &r);
		if (c->cursor < r.run.end_offset)
			c->cursor = r.run.end_offset;
		arena_release(&a);
	}
	p->cursor = c->cursor;
	return rc;
}

/* Offsets before this batch are in neither: perhaps they moved to a segment since we looked. */
static int fill_hole(struct cat *c, struct offline_partition *p, int64_t base)
{
	struct err e = ERR_INIT;
	int rc;

	if (offline_refresh(&c->offline, &e)) {
		note_damage(c, c->offline.data_dir, &e);
		return 0;
	}
	rc = print_committed(c, p);
	if (rc || p->cursor >= base)
		return rc;
	err_set(&e, ERR_CORRUPT, "offsets %lld to %lld of partition %u are missing", (long long)p->cursor, (long long)base - 1,
		p->partition);
	note_damage(c, p->topic->name, &e);
	return 0;
}

static int print_tail(void *ctx, struct offline_partition *p, const struct wal_entry *entry, const void *batch)
{
	struct cat *c = ctx;
	struct batch_header h;
	int rc;

	if (!p || !wanted(c, p->topic->name, p->partition))
		return 0;
	if (batch_header_read(batch, entry->length, &h, &c->e))
		return FAILED;
	if (batch_last_offset(&h) < p->cursor || h.base_offset >= c->values->to)
		return 0;
	if (entry->previous_end > p->cursor) {
		rc = fill_hole(c, p, entry->previous_end);
		if (rc)
			return rc;
	}
	turn_to(c, p->topic->name, p->partition, p->cursor);
	rc = print_batch(c, &h, batch, entry->length);
	p->cursor = c->cursor;
	return rc;
}

static void damaged_wal(void *ctx, const char *path, uint64_t from, uint64_t to)
{
	struct err e = ERR_INIT;

	err_set(&e, ERR_CORRUPT, "damaged from LSN 0x%llx to 0x%llx", (unsigned long long)from, (unsigned long long)to);
	note_damage(ctx, path, &e);
}

static void unreadable_wal(void *ctx, const struct err *e)
{
	note_damage(ctx, "the write-ahead log", e);
}

static int cat_data(struct cat *c, const char *dir, struct err *e)
{
	static const struct offline_wal_handlers handlers = {print_tail, damaged_wal, unreadable_wal};
	struct offline_wal_totals totals;
	int rc = 0;

	if (offline_open(&c->offline, dir, c->values->objects, e))
		return FAILED;
	for (size_t i = 0; rc == 0 && i < c->offline.partition_count; i++) {
		struct offline_partition *p = &c->offline.partitions[i];

		p->cursor = c->values->from > p->log_start ? c->values->from : p->log_start;
		if (wanted(c, p->topic->name, p->partition))
			rc = print_committed(c, p);
	}
	if (rc == 0)
		rc = offline_wal(&c->offline, &handlers, c, &totals, e);
	if (rc < 0 && e->code == ERR_NONE)
		*e = c->e;
	offline_close(&c->offline);
	return rc;
}

/* ---- */

static int cat_store(struct cat *c, const char *store, struct err *e)
{
	enum offline_kind kind;

	if (offline_kind(store, &kind, e))
		return FAILED;
	switch (kind) {
	case OFFLINE_DATA:
		return cat_data(c, store, e);
	case OFFLINE_OBJECTS:
		return cat_objects(c, store, e);
	case OFFLINE_WAL:
		return cat_wal(c, store, e);
	default:
		return cat_segment(c, store, e);
	}
}

static void defaults(void *values)
{
	struct values *v = values;

	v->partition = -1;
	v->to = v->limit = INT64_MAX;
}

static int run(struct command_run *r)
{
	struct values *v = r->values;
	struct cat c = {.run = r, .values = v};
	struct err e = ERR_INIT;
	int rc;

	if (consume_output_init(&c.out, r, v->format, v->nul, NULL, NULL, &e))
		return command_fail(r, &e);
	c.out.named = v->topics.count != 1 || strpbrk(v->topics.items[0], "*?");
	rc = 0;
	for (int i = 0; rc == 0 && i < r->argc; i++)
		rc = cat_store(&c, r->argv[i], &e);
	consume_output_end(&c.out);
	consume_output_release(&c.out);
	option_list_release(&v->topics);
	if (rc == FAILED)
		return command_fail(r, &e);
	return c.partial ? EXIT_PARTIAL : EXIT_DONE;
}

static const struct command cat_command = {
	.name = "cat",
	.summary = "Print records out of a data directory or a segment, without a server",
	.operands = "STORE...",
	.complete = "file",
	.min_operands = 1,
	.max_operands = -1,
	.options = options,
	.values_size = sizeof(struct values),
	.defaults = defaults,
	.run = run,
};

int main(int argc, char **argv)
{
	return command_main(&cat_command, argc, argv);
}
