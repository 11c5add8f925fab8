/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment out of a range of the WAL, in two passes.
 *
 * The first reads the headers of all entries and makes the index: one row a batch, chained per partition, so that
 * nothing needs sorting: in the WAL the offsets of a partition only grow, and the sources come sorted.
 * The second takes as many partitions at a time as fit into memory, walks the range from front to back,
 * puts their batches side by side, and hands them to the segment writer. A partition that is too large for that, or
 * whose batches are large enough to be read one by one, goes through a block at a time, which stays in the CPU's
 * cache from reading to compressing. So memory is bounded, and reading stays sequential where batches are small,
 * however many partitions the range mixes.
 *
 * The file may be recycled under us if its owner errs or dies: each entry's generation, LSN and checksums are
 * checked when its bytes are taken, and the file's generation once more at the end.
 */
#include "libsh/store/segment_file.h"

#include <stdlib.h>
#include <string.h>
#include "libsh/base/disk.h"
#include "libsh/format/batch.h"
#include "libsh/store/segment_writer.h"
#include "libsh/store/wal_file.h"
#include "libsh/store/window.h"

enum {
	WINDOW_BYTES = 256 << 10,
	HEAD_BYTES = WAL_ENTRY_BYTES + BATCH_HEADER_BYTES,
	SKIP_BYTES = 8 << 10,     /* behind batches larger than that the first pass reads only headers */
	DIRECT_BYTES = 8 << 10,   /* batches from this size on are read to their place without passing the window */
	OVERHEAD_BYTES = 2 << 20, /* window, output, index of blocks */
	LEAST_BYTES = 1 << 20,    /* for batches, whatever the caller's cap */
	LEAST_FILTER_BYTES = 256 << 10,
	CACHE_SLOTS = 4096,
};
#define NO_ROW UINT32_MAX

struct row { /* of the index: 28 bytes a batch, and at most an eighth more allocated */
	uint32_t position, length, source, epoch, next;
	uint32_t append_high, append_low; /* keeps the row at 28 bytes */
};

struct tally { /* of a source */
	uint32_t first_row, last_row;
	uint64_t bytes, batches, records;
	int64_t previous_end, end;
	uint64_t cursor; /* in the arena, while gathering */
};

struct builder {
	struct segment_build *b;
	uint64_t base;
	struct window window;
	struct row *rows;
	uint32_t row_count, row_alloc;
	struct tally *tallies;
	uint32_t *cache;      /* source + 1 by a hash of topic and partition */
	uint8_t *arena;       /* WAL_ENTRY_BYTES of room, then batches */
	size_t arena_bytes;
	struct segment_writer *writer;
};

static int corrupt(const struct builder *x, uint64_t position, const char *what, struct err *e)
{
	err_set(e, ERR_CORRUPT, "the WAL entry at LSN 0x%llx %s", (unsigned long long)(x->base + position), what);
	return err_hint(e, "`streamctl check` on the data directory says how far the damage goes");
}

/* ---- first pass: the index ---- */

static int compare_source(const struct uuid *topic, uint32_t partition, const struct segment_source *s)
{
	int c = uuid_compare(topic, &s->topic);

	return c ? c : partition < s->partition ? -1 : partition > s->partition;
}

static const struct segment_source *search_source(const struct segment_build *b, const struct wal_entry *entry)
{
	size_t low = 0, high = b->source_count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int c = compare_source(&entry->topic, entry->partition, &b->sources[middle]);

		if (c == 0)
			return &b->sources[middle];
		if (c < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static const struct segment_source *find_source(struct builder *x, const struct wal_entry *entry)
{
	uint64_t hash = (get_le64(entry->topic.b) ^ entry->partition) * 0x9e3779b97f4a7c15ULL;
	uint32_t *slot = &x->cache[hash >> 52];
	const struct segment_source *s;

	if (*slot) {
		s = &x->b->sources[*slot - 1];
		if (compare_source(&entry->topic, entry->partition, s) == 0)
			return s;
	}
	s = search_source(x->b, entry);
	if (s)
		*slot = (uint32_t)(s - x->b->sources) + 1;
	return s;
}

static void append_row(struct builder *x, struct tally *t, const struct wal_entry *entry, uint32_t source)
{
	struct row *row;

	if (x->row_count == x->row_alloc) {
		x->row_alloc += x->row_alloc / 8 + 1024;
		x->rows = mem_realloc_array(x->rows, x->row_alloc, sizeof(*x->rows));
	}
	row = &x->rows[x->row_count];
	row->position = (uint32_t)(entry->lsn - x->base);
	row->length = entry->length;
	row->source = source;
	row->epoch = entry->epoch;
	row->append_high = (uint32_t)((uint64_t)entry->append_ms >> 32);
	row->append_low = (uint32_t)entry->append_ms;
	row->next = NO_ROW;
	if (t->first_row == NO_ROW)
		t->first_row = x->row_count;
	else
		x->rows[t->last_row].next = x->row_count;
	t->last_row = x->row_count++;
}

static int index_batch(struct builder *x, const struct wal_entry *entry, const uint8_t *batch, struct err *e)
{
	const struct segment_source *s = find_source(x, entry);
	uint64_t position = entry->lsn - x->base;
	struct batch_header h;
	struct tally *t;
	int64_t end;

	if (!s)
		return 0;
	if (batch_header_read(batch, BATCH_HEADER_BYTES, &h, e))
		return corrupt(x, position, "holds what is no record batch", e);
	end = batch_last_offset(&h) + 1;
	if (end <= s->first_offset || h.base_offset >= s->end_offset)
		return 0;
	t = &x->tallies[s - x->b->sources];
	if (h.base_offset < entry->previous_end || end <= h.base_offset)
		return corrupt(x, position, "begins below the end of its partition", e);
	if (t->first_row == NO_ROW)
		t->previous_end = entry->previous_end;
	else if (t->end != entry->previous_end)
		return corrupt(x, position, "does not follow the one before it in its partition", e);
	t->end = end;
	t->bytes += entry->length;
	t->batches++;
	t->records += (uint64_t)h.record_count;
	append_row(x, t, entry, (uint32_t)(s - x->b->sources));
	return 0;
}

/* The header of the entry at position, and as much of the batch as its own header. */
static const uint8_t *read_head(struct builder *x, uint64_t position, struct wal_entry *entry, struct err *e)
{
	size_t need = HEAD_BYTES, have;
	const uint8_t *p = window_at(&x->window, position, need, &have, e);
	enum wal_check check;

	if (!p)
		return NULL;
	check = wal_entry_read(p, have, x->base + position, x->b->generation, false, entry, &need);
	if (check == WAL_VALID || (check == WAL_SHORT && have >= HEAD_BYTES))
		return p;
	corrupt(x, position, "is not what it should be", e);
	return NULL;
}

static int build_index(struct builder *x, struct err *e)
{
	uint64_t position = x->b->first_lsn - x->base, end = x->b->end_lsn - x->base;
	struct wal_entry entry;
	const uint8_t *p;

	while (position < end) {
		p = read_head(x, position, &entry, e);
		if (!p)
			return -1;
		if (wal_entry_space(entry.length) > end - position)
			return corrupt(x, position, "passes the end of the range", e);
		if (entry.type == WAL_BATCH && index_batch(x, &entry, p + WAL_ENTRY_BYTES, e))
			return -1;
		if (entry.type != WAL_BATCH && entry.type != WAL_SYNC_MARK && entry.type & 0x8000)
			return corrupt(x, position, "has a type that this program does not know", e);
		position += wal_entry_space(entry.length);
		x->window.read_bytes = entry.length > SKIP_BYTES ? HEAD_BYTES : WINDOW_BYTES;
	}
	x->window.read_bytes = WINDOW_BYTES;
	return 0;
}

/* ---- second pass: the batches ---- */

/* The bytes before `to` are put back: they belong to the batch before. */
static int take_large(struct builder *x, const struct row *row, uint8_t *to, struct err *e)
{
	size_t n = WAL_ENTRY_BYTES + (size_t)row->length, need;
	uint8_t saved[WAL_ENTRY_BYTES], *from = to - WAL_ENTRY_BYTES;
	struct wal_entry entry;
	enum wal_check check = WAL_INVALID;
	int rc;

	memcpy(saved, from, sizeof(saved));
	rc = disk_pread(x->b->wal_fd, from, n, row->position, e);
	if (rc == 0)
		check = wal_entry_read(from, n, x->base + row->position, x->b->generation, true, &entry, &need);
	memcpy(from, saved, sizeof(saved));
	if (rc)
		return -1;
	return check == WAL_VALID ? 0 : corrupt(x, row->position, "is damaged", e);
}

static int take(struct builder *x, const struct row *row, uint8_t *to, struct err *e)
{
	size_t n = WAL_ENTRY_BYTES + (size_t)row->length, have, need;
	struct wal_entry entry;
	const uint8_t *p;

	if (row->length >= DIRECT_BYTES)
		return take_large(x, row, to, e);
	p = window_at(&x->window, row->position, n, &have, e);
	if (!p)
		return -1;
	if (wal_entry_read(p, have, x->base + row->position, x->b->generation, true, &entry, &need) != WAL_VALID ||
		entry.length != row->length)
		return corrupt(x, row->position, "is damaged", e);
	memcpy(to, p + WAL_ENTRY_BYTES, row->length);
	return 0;
}

static void need_arena(struct builder *x, uint64_t bytes)
{
	if (x->arena && bytes <= x->arena_bytes)
		return;
	mem_free(x->arena);
	x->arena = mem_alloc(WAL_ENTRY_BYTES + (size_t)bytes);
	x->arena_bytes = (size_t)bytes;
}

static int add_batch(struct builder *x, const struct row *row, const uint8_t *data, struct err *e)
{
	struct segment_writer_batch batch = {
		.data = data,
		.length = row->length,
		.epoch = row->epoch,
		.append_ms = (int64_t)((uint64_t)row->append_high << 32 | row->append_low),
	};

	return segment_writer_add(x->writer, &batch, e);
}

static int begin_run(struct builder *x, size_t source, struct err *e)
{
	const struct segment_source *s = &x->b->sources[source];
	struct segment_writer_run run = {
		.topic = s->topic,
		.partition = s->partition,
		.topic_name = s->topic_name,
		.previous_end = x->tallies[source].previous_end,
		.max_records = x->tallies[source].records,
	};

	return segment_writer_begin(x->writer, &run, e);
}

/* One source whose batches lie in the arena from `at` on. */
static int write_run(struct builder *x, size_t source, const uint8_t *at, struct err *e)
{
	const struct tally *t = &x->tallies[source];

	if (begin_run(x, source, e))
		return -1;
	for (uint32_t i = t->first_row; i != NO_ROW; i = x->rows[i].next) {
		if (x->rows[i].next != NO_ROW) /* rows of a partition lie far apart */
			__builtin_prefetch(&x->rows[x->rows[i].next]);
		if (add_batch(x, &x->rows[i], at, e))
			return -1;
		at += x->rows[i].length;
	}
	return segment_writer_end(x->writer, e);
}

/* Sources [from, to) at once. */
static int write_group(struct builder *x, size_t from, size_t to, uint64_t bytes, struct err *e)
{
	uint8_t *arena;
	uint64_t cursor = 0;

	need_arena(x, bytes);
	arena = x->arena + WAL_ENTRY_BYTES;
	for (size_t i = from; i < to; i++) {
		x->tallies[i].cursor = cursor;
		cursor += x->tallies[i].bytes;
	}
	for (uint32_t i = 0; i < x->row_count; i++) {
		const struct row *row = &x->rows[i];

		if (row->source < from || row->source >= to)
			continue;
		if (take(x, row, arena + x->tallies[row->source].cursor, e))
			return -1;
		x->tallies[row->source].cursor += row->length;
	}
	for (size_t i = from; i < to; i++) {
		const struct tally *t = &x->tallies[i];

		if (t->first_row != NO_ROW && write_run(x, i, arena + t->cursor - t->bytes, e))
			return -1;
	}
	return 0;
}

/* One source, a block at a time. */
static int write_blocks(struct builder *x, size_t source, struct err *e)
{
	uint64_t used = 0;

	if (begin_run(x, source, e))
		return -1;
	for (uint32_t i = x->tallies[source].first_row; i != NO_ROW; i = x->rows[i].next) {
		const struct row *row = &x->rows[i];

		if (used && used + row->length > SEGMENT_BLOCK_BYTES) {
			if (segment_writer_flush(x->writer, e))
				return -1;
			used = 0;
		}
		need_arena(x, used || row->length < SEGMENT_BLOCK_BYTES ? SEGMENT_BLOCK_BYTES : row->length);
		if (take(x, row, x->arena + WAL_ENTRY_BYTES + used, e) ||
			add_batch(x, row, x->arena + WAL_ENTRY_BYTES + used, e))
			return -1;
		used += row->length;
	}
	return segment_writer_end(x->writer, e);
}

static bool goes_by_blocks(const struct tally *t, uint64_t budget)
{
	return t->bytes > budget || (t->batches && t->bytes / t->batches >= DIRECT_BYTES);
}

static int write_runs(struct builder *x, struct err *e)
{
	size_t n = x->b->source_count, to;
	uint64_t held = OVERHEAD_BYTES + x->b->memory_bytes / 8; /* an eighth for filters */
	uint64_t budget = x->b->memory_bytes > held + LEAST_BYTES ? x->b->memory_bytes - held : LEAST_BYTES;

	for (size_t from = 0; from < n; from = to) {
		uint64_t bytes = x->tallies[from].bytes;

		to = from + 1;
		if (goes_by_blocks(&x->tallies[from], budget)) {
			if (write_blocks(x, from, e))
				return -1;
			continue;
		}
		while (to < n && bytes + x->tallies[to].bytes <= budget && !goes_by_blocks(&x->tallies[to], budget))
			bytes += x->tallies[to++].bytes;
		if (write_group(x, from, to, bytes, e))
			return -1;
	}
	return 0;
}

/* ---- */

/* Before: it is the file that was meant. After: it was so all the time. */
static int check_generation(const struct segment_build *b, struct err *e)
{
	struct wal_file_header h;

	if (wal_file_header_load(b->wal_fd, &h, e))
		return -1;
	if (h.generation == b->generation && h.base_lsn == wal_file_base(b->first_lsn))
		return 0;
	return err_set(e, ERR_CORRUPT, "the WAL file of LSN 0x%llx was recycled: it has generation %llu, not %llu",
		(unsigned long long)b->first_lsn, (unsigned long long)h.generation, (unsigned long long)b->generation);
}

static int check_range(const struct segment_build *b, struct err *e)
{
	uint64_t base = wal_file_base(b->first_lsn);

	if (b->end_lsn < b->first_lsn || b->end_lsn - base > WAL_FILE_BYTES || b->first_lsn - base < WAL_HEADER_BYTES)
		return err_set(e, ERR_INVALID_ARGUMENT, "LSN 0x%llx to 0x%llx is no range of a WAL file",
			(unsigned long long)b->first_lsn, (unsigned long long)b->end_lsn);
	for (size_t i = 1; i < b->source_count; i++)
		if (compare_source(&b->sources[i - 1].topic, b->sources[i - 1].partition, &b->sources[i]) >= 0)
			return err_set(e, ERR_INVALID_ARGUMENT, "the sources of the segment are not sorted");
	return check_generation(b, e);
}

static int build(struct builder *x, struct err *e)
{
	struct segment_build *b = x->b;
	size_t filters = b->memory_bytes / 8 > LEAST_FILTER_BYTES ? b->memory_bytes / 8 : LEAST_FILTER_BYTES;

	if (build_index(x, e))
		return -1;
	if (x->row_count) {
		x->writer = segment_writer_new(b->out_fd, &b->info, filters);
		if (write_runs(x, e) ||
			segment_writer_finish(x->writer, &b->runs, &b->run_count, &b->bytes, &b->crc, e))
			return -1;
	}
	return check_generation(b, e);
}

int segment_build(struct segment_build *b, struct err *e)
{
	struct builder x = {.b = b, .base = wal_file_base(b->first_lsn), .window = {.direct_fd = -1}};
	int rc = -1;

	b->runs = NULL;
	b->run_count = 0;
	b->bytes = 0;
	b->crc = 0;
	if (check_range(b, e) || window_open(&x.window, b->wal_fd, false, WINDOW_BYTES, e))
		return -1;
	x.tallies = mem_array(b->source_count + 1, sizeof(*x.tallies));
	memset(x.tallies, 0, (b->source_count + 1) * sizeof(*x.tallies));
	for (size_t i = 0; i < b->source_count; i++)
		x.tallies[i].first_row = NO_ROW;
	x.cache = mem_zalloc(CACHE_SLOTS * sizeof(*x.cache));
	rc = build(&x, e);
	if (rc) {
		mem_free(b->runs);
		b->runs = NULL;
		b->run_count = 0;
		b->bytes = 0;
	}
	segment_writer_free(x.writer);
	window_close(&x.window);
	mem_free(x.arena);
	mem_free(x.cache);
	mem_free(x.tallies);
	mem_free(x.rows);
	return rc;
}
