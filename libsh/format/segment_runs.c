/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run index of one segment, as the metadata and the messages between processes carry it.
 *
 *  0 version u16 = 1         Row (120 bytes)
 *  2 row bytes u16            0 topic id, 16 bytes         56 smallest timestamp i64
 *  4 rows u32                16 partition u32              64 largest timestamp i64
 *  8 rows                    20 first epoch u32            72 largest append time i64
 *                            24 last epoch u32             80 records u64
 *                            28 section bytes u32          88 raw bytes u64
 *                            32 previous end i64           96 position u64, 104 stored bytes u64
 *                            40 first offset i64          112 section position u64
 *                            48 end offset i64
 *
 * Readers accept longer rows.
 */
#include "libsh/format/segment.h"

enum { VERSION = 1, HEAD_BYTES = 8, ROW_BYTES = 120 };

static void write_row(struct buf *out, const struct segment_run *r)
{
	buf_add(out, r->topic.b, sizeof(r->topic.b));
	buf_add_le32(out, r->partition);
	buf_add_le32(out, r->first_epoch);
	buf_add_le32(out, r->last_epoch);
	buf_add_le32(out, r->section_bytes);
	buf_add_le64(out, (uint64_t)r->previous_end);
	buf_add_le64(out, (uint64_t)r->first_offset);
	buf_add_le64(out, (uint64_t)r->end_offset);
	buf_add_le64(out, (uint64_t)r->min_timestamp);
	buf_add_le64(out, (uint64_t)r->max_timestamp);
	buf_add_le64(out, (uint64_t)r->max_append_ms);
	buf_add_le64(out, r->records);
	buf_add_le64(out, r->raw_bytes);
	buf_add_le64(out, r->position);
	buf_add_le64(out, r->stored_bytes);
	buf_add_le64(out, r->section_position);
}

int segment_runs_encode(struct buf *out, const struct segment_run *runs, size_t count)
{
	if (count > UINT32_MAX || buf_reserve(out, HEAD_BYTES + count * ROW_BYTES))
		return -1;
	buf_add_le16(out, VERSION);
	buf_add_le16(out, ROW_BYTES);
	buf_add_le32(out, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		write_row(out, &runs[i]);
	return 0;
}

static void read_row(const uint8_t *p, struct segment_run *r)
{
	memcpy(r->topic.b, p, sizeof(r->topic.b));
	r->partition = get_le32(p + 16);
	r->first_epoch = get_le32(p + 20);
	r->last_epoch = get_le32(p + 24);
	r->section_bytes = get_le32(p + 28);
	r->previous_end = (int64_t)get_le64(p + 32);
	r->first_offset = (int64_t)get_le64(p + 40);
	r->end_offset = (int64_t)get_le64(p + 48);
	r->min_timestamp = (int64_t)get_le64(p + 56);
	r->max_timestamp = (int64_t)get_le64(p + 64);
	r->max_append_ms = (int64_t)get_le64(p + 72);
	r->records = get_le64(p + 80);
	r->raw_bytes = get_le64(p + 88);
	r->position = get_le64(p + 96);
	r->stored_bytes = get_le64(p + 104);
	r->section_position = get_le64(p + 112);
}

int segment_runs_decode(const void *p, size_t n, struct arena *a, struct segment_run **runs, size_t *count, struct err *e)
{
	const uint8_t *bytes = p;
	size_t row_bytes, rows;

	if (n < HEAD_BYTES)
		return err_set(e, ERR_CORRUPT, "a run index of %zu bytes is too short", n);
	if (get_le16(bytes) != VERSION)
		return err_set(e, ERR_NOT_BUILT, "a run index has version %u, this program reads %d", get_le16(bytes), VERSION);
	row_bytes = get_le16(bytes + 2);
	rows = get_le32(bytes + 4);
	if (row_bytes < ROW_BYTES || rows > (n - HEAD_BYTES) / row_bytes)
		return err_set(e, ERR_CORRUPT, "a run index claims %zu rows of %zu bytes but has %zu bytes", rows, row_bytes, n);
	*runs = arena_alloc(a, (rows + 1) * sizeof(**runs));
	*count = rows;
	for (size_t i = 0; i < rows; i++) {
		read_row(bytes + HEAD_BYTES + i * row_bytes, &(*runs)[i]);
		if ((*runs)[i].first_offset < 0 || (*runs)[i].end_offset <= (*runs)[i].first_offset)
			return err_set(e, ERR_CORRUPT, "row %zu of a run index holds no offsets", i);
	}
	return 0;
}
