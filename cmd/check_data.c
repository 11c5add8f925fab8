/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "cmd/check_data.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/base/map.h"
#include "libsh/base/text.h"
#include "libsh/store/offline.h"
#include "libsh/store/rebuild.h"

/* What an agent has seen of the metadata, noted before they are opened: beside a running shd they only get newer. */
struct seen {
	char *path;
	uint64_t incarnation, sequence;
	bool readable;
};
struct check {
	struct seen *seen;
	size_t seen_count;
	struct check_report *report;
	struct offline offline;
	struct arena arena;
	struct map names; /* of live objects, each with its struct meta_object */
	struct meta_object **objects;
	size_t object_count, object_alloc;
	struct err e; /* why a callback failed */
};

bool check_sample_next(struct check_sample *s)
{
	s->sum += s->percent;
	if (s->sum < 100)
		return false;
	s->sum -= 100;
	return true;
}

void check_read_object(struct check_report *r, struct object_store *s, const char *name, uint64_t bytes)
{
	struct offline_object o;
	struct err e = ERR_INIT;

	offline_object_init(&o, s, name, bytes);
	r->segments_read++;
	if (segment_file_verify(&o.input, &e))
		check_report_damage(r, name, "%s", e.text);
}

void check_read_snapshot(struct check_report *r, struct object_store *s, const char *name)
{
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	struct snapshot snapshot;

	if (rebuild_snapshot_read(s, name, &a, &snapshot, &e) && e.code != ERR_NOT_FOUND) /* beside shd it may be removed meanwhile */
		check_report_damage(r, name, "%s", e.text);
	arena_release(&a);
}

/* ---- objects ---- */

static const struct segment_run_detail *find_run(const struct segment_file *f, const struct segment_run *run)
{
	size_t low = 0, high = f->run_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		const struct segment_run *r = &f->runs[middle].run;
		int order = uuid_compare(&run->topic, &r->topic);

		if (order == 0 && run->partition == r->partition)
			return &f->runs[middle];
		if (order < 0 || (order == 0 && run->partition < r->partition))
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The object's own index against what the metadata says of it. */
static void compare_runs(struct check *c, const struct meta_object *o, const struct segment_file *f, const struct segment_run *runs,
	size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct segment_run_detail *d = find_run(f, &runs[i]);
		char id[UUID_TEXT_BYTES];

		if (!d || d->run.first_offset != runs[i].first_offset || d->run.end_offset != runs[i].end_offset ||
			d->run.section_position != runs[i].section_position || d->run.records != runs[i].records)
			check_report_damage(c->report, o->name, "the metadata says that it holds offsets %lld to %lld of topic %s, "
				"partition %u; it does not", (long long)runs[i].first_offset, (long long)runs[i].end_offset - 1,
				uuid_format(&runs[i].topic, id), runs[i].partition);
	}
}

/* The checksum in the metadata is of the whole object: the trailer's goes on from that of all before it. */
static int check_trailer(const struct segment_input *in, const struct segment_file *f, uint32_t crc, struct err *e)
{
	uint8_t trailer[SEGMENT_TRAILER_BYTES];

	if (in->read(in->ctx, in->bytes - SEGMENT_TRAILER_BYTES, trailer, sizeof(trailer), e))
		return -1;
	if (crc32c(f->trailer.object_crc, trailer, sizeof(trailer)) != crc)
		return err_set(e, ERR_CORRUPT, "its checksum is not the one in the metadata: it is another segment");
	return 0;
}

static void check_object(struct check *c, const struct meta_object *o, const struct segment_run *runs, size_t count)
{
	struct object_store *s = c->offline.objects;
	struct offline_object object;
	struct segment_file f;
	struct err e = ERR_INIT;
	uint64_t bytes;

	if (s->driver->size(s, o->name, &bytes, &e)) {
		c->report->segments_missing += e.code == ERR_NOT_FOUND;
		check_report_damage(c->report, o->name, "%s", e.code == ERR_NOT_FOUND ? "the object is missing" : e.text);
		return;
	}
	if (bytes != o->bytes) {
		check_report_damage(c->report, o->name, "the object has %llu bytes, not %llu", (unsigned long long)bytes,
			(unsigned long long)o->bytes);
		return;
	}
	offline_object_init(&object, s, o->name, bytes);
	if (segment_file_open(&f, &object.input, &e)) {
		check_report_damage(c->report, o->name, "%s", e.text);
		return;
	}
	if (check_trailer(&object.input, &f, o->crc, &e))
		check_report_damage(c->report, o->name, "%s", e.text);
	compare_runs(c, o, &f, runs, count);
	segment_file_release(&f);
}

static int on_object(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count)
{
	struct check *c = ctx;
	struct meta_object *copy = map_gets(&c->names, o->name);

	if (!copy) {
		copy = arena_dup(&c->arena, o, sizeof(*o));
		copy->name = arena_strdup(&c->arena, o->name);
		map_puts(&c->names, copy->name, copy);
		if (c->object_count == c->object_alloc) {
			c->object_alloc = c->object_alloc ? 2 * c->object_alloc : 256;
			c->objects = mem_realloc_array(c->objects, c->object_alloc, sizeof(struct meta_object *));
		}
		c->objects[c->object_count++] = copy;
		c->report->segments++;
		c->report->segment_bytes += (int64_t)o->bytes;
	}
	check_object(c, o, runs, count);
	return 0;
}

static int on_listed(void *ctx, const struct object_info *info)
{
	struct check *c = ctx;
	uint64_t incarnation, number;

	if (snapshot_name_parse(info->name, &incarnation, &number))
		check_read_snapshot(c->report, c->offline.objects, info->name);
	else if (!map_gets(&c->names, info->name))
		check_report_note(c->report, info->name, "%llu bytes that the metadata does not count as live: not committed yet, to be "
			"removed, or an orphan", (unsigned long long)info->bytes);
	return 0;
}

static int check_objects(struct check *c, struct check_sample *sample, struct err *e)
{
	struct meta *m = c->offline.meta;
	struct object_store *s = c->offline.objects;

	if (m->driver->each_object(m, on_object, c, e) || s->driver->list(s, "", on_listed, c, e))
		return -1;
	for (size_t i = 0; i < c->object_count; i++)
		if (check_sample_next(sample))
			check_read_object(c->report, s, c->objects[i]->name, c->objects[i]->bytes);
	return 0;
}

/* ---- offsets ---- */

static void missing(struct check *c, const struct offline_partition *p, int64_t from, int64_t to, const char *where)
{
	struct arena a = ARENA_INIT;
	const char *why;
	char name[300];

	snprintf(name, sizeof(name), "%s-%u", p->topic->name, p->partition);
	if (c->offline.meta->driver->gap(c->offline.meta, &p->topic->id, p->partition, from, to, &a, &why, NULL) == 1)
		check_report_note(c->report, name, "offsets %lld to %lld were left out when the metadata was made anew: %s",
			(long long)from, (long long)to - 1, why);
	else
		check_report_damage(c->report, name, "offsets %lld to %lld are missing%s", (long long)from, (long long)to - 1, where);
	arena_release(&a);
}

/* Each run follows the one before it, up to the flushed end. */
static int check_runs(struct check *c, struct offline_partition *p, struct err *e)
{
	struct meta *m = c->offline.meta;
	struct err none = ERR_INIT;

	c->report->partitions++;
	p->cursor = p->log_start;
	while (p->cursor < p->flushed_end) {
		struct arena a = ARENA_INIT;
		struct meta_object o;
		struct segment_run run;
		int rc = m->driver->run_find(m, &p->topic->id, p->partition, false, p->cursor, p->cursor, &a, &o, &run, &none);

		arena_release(&a);
		if (rc && none.code == ERR_NOT_FOUND)
			break;
		if (rc) {
			*e = none;
			return -1;
		}
		if (run.previous_end > p->cursor)
			missing(c, p, p->cursor, run.previous_end, " between segments");
		p->cursor = run.end_offset;
	}
	if (p->cursor < p->flushed_end)
		missing(c, p, p->cursor, p->flushed_end, ": no segment holds them");
	p->cursor = p->cursor > p->flushed_end ? p->cursor : p->flushed_end;
	return 0;
}

static int on_entry(void *ctx, struct offline_partition *p, const struct wal_entry *entry, const void *batch)
{
	struct check *c = ctx;
	struct batch_header h;
	char where[64];

	if (!p)
		return 0; /* of a deleted topic */
	snprintf(where, sizeof(where), "LSN 0x%llx", (unsigned long long)entry->lsn);
	if (batch_header_read(batch, entry->length, &h, &c->e))
		return -1;
	if (batch_last_offset(&h) < p->cursor)
		return 0;
	if (entry->previous_end > p->cursor) { /* they may be in a segment since we looked */
		if (offline_refresh(&c->offline, &c->e))
			return -1;
		p->cursor = p->cursor > p->flushed_end ? p->cursor : p->flushed_end;
		if (batch_last_offset(&h) < p->cursor)
			return 0;
	}
	if (entry->previous_end > p->cursor)
		missing(c, p, p->cursor, entry->previous_end, " in the WAL");
	else if (entry->previous_end < p->cursor || h.base_offset < p->cursor)
		check_report_damage(c->report, where, "a batch of %s-%u gives out offset %lld again", p->topic->name, p->partition,
			(long long)h.base_offset);
	p->cursor = batch_last_offset(&h) + 1;
	return 0;
}

static void on_damage(void *ctx, const char *path, uint64_t from, uint64_t to)
{
	struct check *c = ctx;

	check_report_damage(c->report, path, "%llu bytes from LSN 0x%llx on are damaged: they had been synced",
		(unsigned long long)(to - from), (unsigned long long)from);
}

static void on_unreadable(void *ctx, const struct err *e)
{
	struct check *c = ctx;

	check_report_damage(c->report, "WAL", "%s", e->text);
}

static int check_wal(struct check *c, struct err *e)
{
	static const struct offline_wal_handlers handlers = {on_entry, on_damage, on_unreadable};
	struct offline_wal_totals totals;

	if (offline_wal(&c->offline, &handlers, c, &totals, e)) {
		if (e->code == ERR_NONE)
			*e = c->e;
		return -1;
	}
	c->report->wal_files += (int64_t)totals.files;
	c->report->batches += (int64_t)totals.entries;
	return 0;
}

/* ---- marks that an agent left ---- */

/* A partition that does not start, with the reason in the mark's second line. */
static void report_mark(struct check *c, const char *path)
{
	struct buf text = BUF_INIT(4096);
	struct err e = ERR_INIT;
	char *why;

	if (disk_read_file(path, &text, &e)) {
		check_report_damage(c->report, path, "%s", e.text);
		return;
	}
	why = text.data ? strchr(text.data, '\n') : NULL;
	why = why ? why + 1 : "the partition does not serve";
	check_report_damage(c->report, path, "%.*s", (int)strcspn(why, "\n"), why);
	buf_release(&text);
}

static int check_quarantine(struct check *c, const char *slot, struct err *e)
{
	char *dir = mem_printf("%s/slots/%s/quarantine", c->offline.data_dir, slot), **names = NULL;
	size_t count = 0;
	int rc = disk_exists(dir) ? disk_list(dir, &names, &count, e) : 0;

	for (size_t i = 0; i < count; i++) {
		char *path = mem_printf("%s/%s", dir, names[i]);

		if (text_ends_with(names[i], ".damaged"))
			report_mark(c, path);
		else
			check_report_note(c->report, path, "batches that could not be committed are kept here");
		mem_free(path);
	}
	disk_list_free(names, count);
	mem_free(dir);
	return rc;
}

static int check_slots(struct check *c, struct err *e)
{
	char *dir = mem_printf("%s/slots", c->offline.data_dir), **names = NULL;
	size_t count = 0;
	int rc = disk_exists(dir) ? disk_list(dir, &names, &count, e) : 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		char *failed = mem_printf("%s/%s/wal/FAILED", dir, names[i]);

		rc = check_quarantine(c, names[i], e);
		if (disk_exists(failed))
			check_report_note(c->report, failed, "a write or sync failed here: what was durable then is served, nothing is taken");
		mem_free(failed);
	}
	disk_list_free(names, count);
	mem_free(dir);
	return rc;
}

/* ---- what the agents have seen of the metadata ---- */

static void read_seen(struct check *c, char *path)
{
	struct seen s = {.path = path};
	struct buf text = BUF_INIT(256);

	s.readable = !disk_read_file(path, &text, NULL) && text.len &&
		sscanf(text.data, "%" SCNx64 " %" SCNu64, &s.incarnation, &s.sequence) == 2;
	buf_release(&text);
	c->seen = mem_realloc_array(c->seen, c->seen_count + 1, sizeof(*c->seen));
	c->seen[c->seen_count++] = s;
}

static int note_seen(struct check *c, const char *data_dir, struct err *e)
{
	char *dir = mem_printf("%s/slots", data_dir), **names = NULL;
	size_t count = 0;
	int rc = disk_exists(dir) ? disk_list(dir, &names, &count, e) : 0;

	for (size_t i = 0; i < count; i++) {
		char *path = mem_printf("%s/%s/seen", dir, names[i]);

		if (disk_exists(path))
			read_seen(c, path);
		else
			mem_free(path);
	}
	disk_list_free(names, count);
	mem_free(dir);
	return rc;
}

static int check_seen(struct check *c, struct err *e)
{
	struct meta *m = c->offline.meta;
	struct meta_counts counts;
	struct meta_position position;

	if (m->driver->position(m, &position, e) || m->driver->counts(m, &counts, e))
		return -1;
	for (size_t i = 0; i < c->seen_count; i++) {
		const struct seen *s = &c->seen[i];

		if (!s->readable)
			check_report_damage(c->report, s->path, "this cannot be understood");
		else if (s->incarnation != position.incarnation)
			check_report_damage(c->report, s->path, "the metadata is another one than this slot's data was written with "
				"(incarnation %" PRIx64 ", not %" PRIx64 "); see streamhouse-recovery(7)", position.incarnation, s->incarnation);
		else if (s->sequence > counts.commit_sequence)
			check_report_damage(c->report, s->path, "the metadata went back in time (commit %" PRIu64 ", but %" PRIu64
				" was seen); see streamhouse-recovery(7)", counts.commit_sequence, s->sequence);
	}
	return 0;
}

/* ---- */

static int check_all(struct check *c, struct check_sample *sample, struct err *e)
{
	struct err damage = ERR_INIT;

	if (c->offline.meta->driver->verify(c->offline.meta, &damage)) {
		if (damage.code != ERR_CORRUPT)
			return err_set(e, damage.code, "%s", damage.text);
		check_report_damage(c->report, "meta", "%s", damage.text);
	}
	if (check_seen(c, e) || check_objects(c, sample, e))
		return -1;
	for (size_t i = 0; i < c->offline.partition_count; i++)
		if (check_runs(c, &c->offline.partitions[i], e))
			return -1;
	return check_wal(c, e) || check_slots(c, e) ? -1 : 0;
}

int check_data(struct check_report *r, const char *dir, const char *objects_url, struct check_sample *sample, struct err *e)
{
	struct check c = {.report = r, .names = MAP_INIT};
	int rc = note_seen(&c, dir, e);

	if (!rc)
		rc = offline_open(&c.offline, dir, objects_url, e);
	if (!rc) {
		rc = check_all(&c, sample, e);
		offline_close(&c.offline);
	}
	for (size_t i = 0; i < c.seen_count; i++)
		mem_free(c.seen[i].path);
	mem_free(c.seen);
	map_release(&c.names);
	mem_free(c.objects);
	arena_release(&c.arena);
	return rc;
}
