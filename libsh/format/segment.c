/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Header (64 bytes)                             Trailer (64 bytes, the last of the object)
 *  0 magic "SHSEG\r\n\0"                         0 footer position u64
 *  8 major u16, 10 minor u16                     8 footer bytes u64
 * 12 crc u32: CRC-32C of bytes 16..63           16 footer crc u32
 * 16 object id, 16 bytes                        20 object crc u32: of everything before the trailer
 * 32 created i64, ms since 1970                 24 run count u32
 * 40 reserved                                   28 major u16, 30 minor u16
 *                                               32 object bytes u64, trailer included
 * Section header (8 bytes)                      40 reserved
 *  0 type u16                                   52 crc u32: CRC-32C of bytes 0..51
 *  2 flags u16: bit 0 must be understood        56 magic "SHSEGEND"
 *  4 length u32 of the payload
 *
 * INFO payload (at least 96 bytes)              RUN payload (at least 144 bytes, then the arrays)
 *  0 object id, 16 bytes                         0 crc u32: CRC-32C of the section but for these 4 bytes
 * 16 slot id, 16 bytes                           4 fixed bytes u32 (144): where the arrays begin
 * 32 session u64                                 8 topic id, 16 bytes
 * 40 number u64                                 24 partition u32
 * 48 newest committed u64                       28 first epoch u32, 32 last epoch u32
 * 56 incarnation u64                            36 blocks u32
 * 64 WAL generation u64                         40 previous end i64
 * 72 first LSN u64, 80 end LSN u64              48 first offset i64, 56 end offset i64
 * 88 created i64                                64 smallest timestamp i64, 72 largest i64
 *                                               80 largest append time i64
 * Block row (48 bytes)                          88 records u64, 96 raw bytes u64
 *  0 position u64                              104 position u64, 112 stored bytes u64: of the blocks
 *  8 stored bytes u32, 12 raw bytes u32        120 position u64 of this section
 * 16 crc u32, 20 codec u8, 21 reserved         128 producers u32, 132 bloom bytes u32
 * 24 first offset i64, 32 end offset i64       136 topic name bytes u16
 * 40 largest timestamp i64                     138 block row bytes u16, 140 producer row bytes u16
 *                                              142 reserved u16
 * Producer row (112 bytes)                     then: topic name, block rows, producer rows, bloom filter
 *  0 producer id i64, 8 last used i64
 * 16 first offset of the open transaction i64, or -1
 * 24 epoch i16, 26 batches u8, 27 reserved
 * 32 five times: first sequence i32, last sequence i32, base offset i64
 *
 * Readers accept longer payloads, longer fixed parts and longer rows: later minor versions add at their ends.
 */
#include "libsh/format/segment.h"

#include "libsh/base/crc32c.h"
#include "libsh/format/batch.h"

enum {
	VERSION_MAJOR = 1,
	VERSION_MINOR = 0,
	INFO_BYTES = 96,
	RUN_FIXED_BYTES = 144,
	BLOCK_ROW_BYTES = 48,
	PRODUCER_ROW_BYTES = 112,
	MUST_UNDERSTAND = 1,
};
static const char header_magic[8] = "SHSEG\r\n";
static const char trailer_magic[8] = {'S', 'H', 'S', 'E', 'G', 'E', 'N', 'D'};

/* ---- header and trailer ---- */

static int check_version(const uint8_t *p, struct err *e)
{
	if (get_le16(p) == VERSION_MAJOR)
		return 0;
	err_set(e, ERR_NOT_BUILT, "the segment has format version %u.%u, this program reads %d.x", get_le16(p),
		get_le16(p + 2), VERSION_MAJOR);
	return err_hint(e, "use the version of StreamHouse that wrote it, or a newer one");
}

void segment_header_write(const struct segment_info *info, uint8_t out[SEGMENT_HEADER_BYTES])
{
	memset(out, 0, SEGMENT_HEADER_BYTES);
	memcpy(out, header_magic, sizeof(header_magic));
	put_le16(out + 8, VERSION_MAJOR);
	put_le16(out + 10, VERSION_MINOR);
	memcpy(out + 16, info->object.b, sizeof(info->object.b));
	put_le64(out + 32, (uint64_t)info->created_ms);
	put_le32(out + 12, crc32c(0, out + 16, SEGMENT_HEADER_BYTES - 16));
}

int segment_header_read(const uint8_t *p, struct uuid *object, struct err *e)
{
	if (memcmp(p, header_magic, sizeof(header_magic)))
		return err_set(e, ERR_CORRUPT, "not a segment: it does not begin with the magic of one");
	if (check_version(p + 8, e))
		return -1;
	if (get_le32(p + 12) != crc32c(0, p + 16, SEGMENT_HEADER_BYTES - 16))
		return err_set(e, ERR_CORRUPT, "the header of the segment does not match its checksum");
	memcpy(object->b, p + 16, sizeof(object->b));
	return 0;
}

void segment_trailer_write(const struct segment_trailer *t, uint8_t out[SEGMENT_TRAILER_BYTES])
{
	memset(out, 0, SEGMENT_TRAILER_BYTES);
	put_le64(out, t->footer_position);
	put_le64(out + 8, t->footer_bytes);
	put_le32(out + 16, t->footer_crc);
	put_le32(out + 20, t->object_crc);
	put_le32(out + 24, t->run_count);
	put_le16(out + 28, VERSION_MAJOR);
	put_le16(out + 30, VERSION_MINOR);
	put_le64(out + 32, t->footer_position + t->footer_bytes + SEGMENT_TRAILER_BYTES);
	put_le32(out + 52, crc32c(0, out, 52));
	memcpy(out + 56, trailer_magic, sizeof(trailer_magic));
}

int segment_trailer_read(const uint8_t *p, uint64_t object_bytes, struct segment_trailer *t, struct err *e)
{
	if (memcmp(p + 56, trailer_magic, sizeof(trailer_magic)))
		return err_set(e, ERR_CORRUPT, "the segment does not end with a trailer: it is cut short, or not a segment");
	if (get_le32(p + 52) != crc32c(0, p, 52))
		return err_set(e, ERR_CORRUPT, "the trailer of the segment does not match its checksum");
	if (check_version(p + 28, e))
		return -1;
	if (get_le64(p + 32) != object_bytes)
		return err_set(e, ERR_CORRUPT, "the segment was written with %llu bytes but has %llu",
			(unsigned long long)get_le64(p + 32), (unsigned long long)object_bytes);
	t->footer_position = get_le64(p);
	t->footer_bytes = get_le64(p + 8);
	t->footer_crc = get_le32(p + 16);
	t->object_crc = get_le32(p + 20);
	t->run_count = get_le32(p + 24);
	if (object_bytes < SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES || t->footer_position < SEGMENT_HEADER_BYTES ||
		t->footer_position > object_bytes - SEGMENT_TRAILER_BYTES ||
		t->footer_bytes != object_bytes - SEGMENT_TRAILER_BYTES - t->footer_position)
		return err_set(e, ERR_CORRUPT, "the trailer of the segment names a footer that does not lie in it");
	return 0;
}

/* ---- sections ---- */

/* Begin a section; its length is filled in by section_end(). Returns where it starts. */
static size_t section_begin(struct buf *footer, uint16_t type)
{
	size_t start = footer->len;

	buf_add_le16(footer, type);
	buf_add_le16(footer, MUST_UNDERSTAND);
	buf_add_le32(footer, 0);
	return start;
}

static int section_end(struct buf *footer, size_t start)
{
	size_t length = footer->len - start - SEGMENT_SECTION_BYTES;

	if (footer->overflow || length > UINT32_MAX)
		return -1;
	put_le32(footer->data + start + 4, (uint32_t)length);
	return 0;
}

int segment_section_next(const void *footer, size_t n, size_t *pos, uint16_t *type, struct bytes *payload, struct err *e)
{
	const uint8_t *p = footer;

	while (*pos < n) {
		size_t left = n - *pos;
		const uint8_t *section = p + *pos;

		if (left < SEGMENT_SECTION_BYTES || left - SEGMENT_SECTION_BYTES < get_le32(section + 4))
			return err_set(e, ERR_CORRUPT, "a section at byte %zu of the footer passes its end", *pos);
		*type = get_le16(section);
		payload->data = section + SEGMENT_SECTION_BYTES;
		payload->len = get_le32(section + 4);
		if (*type != SEGMENT_INFO && *type != SEGMENT_RUN && get_le16(section + 2) & MUST_UNDERSTAND) {
			err_set(e, ERR_NOT_BUILT, "the segment has a section of type %u, which must be understood to read it",
				*type);
			return err_hint(e, "use the version of StreamHouse that wrote it, or a newer one");
		}
		*pos += SEGMENT_SECTION_BYTES + payload->len;
		if (*type == SEGMENT_INFO || *type == SEGMENT_RUN)
			return 1;
	}
	return 0;
}

int segment_info_write(struct buf *footer, const struct segment_info *info)
{
	size_t start = section_begin(footer, SEGMENT_INFO);

	buf_add(footer, info->object.b, sizeof(info->object.b));
	buf_add(footer, info->slot.b, sizeof(info->slot.b));
	buf_add_le64(footer, info->session);
	buf_add_le64(footer, info->number);
	buf_add_le64(footer, info->newest_committed);
	buf_add_le64(footer, info->incarnation);
	buf_add_le64(footer, info->generation);
	buf_add_le64(footer, info->first_lsn);
	buf_add_le64(footer, info->end_lsn);
	buf_add_le64(footer, (uint64_t)info->created_ms);
	return section_end(footer, start);
}

int segment_info_read(struct bytes payload, struct segment_info *info, struct err *e)
{
	const uint8_t *p = payload.data;

	if (payload.len < INFO_BYTES)
		return err_set(e, ERR_CORRUPT, "the INFO section of the segment has %zu bytes, not %d", payload.len, INFO_BYTES);
	memcpy(info->object.b, p, sizeof(info->object.b));
	memcpy(info->slot.b, p + 16, sizeof(info->slot.b));
	info->session = get_le64(p + 32);
	info->number = get_le64(p + 40);
	info->newest_committed = get_le64(p + 48);
	info->incarnation = get_le64(p + 56);
	info->generation = get_le64(p + 64);
	info->first_lsn = get_le64(p + 72);
	info->end_lsn = get_le64(p + 80);
	info->created_ms = (int64_t)get_le64(p + 88);
	return 0;
}

/* ---- RUN: writing ---- */

static void write_block_row(struct buf *footer, const struct segment_block *b)
{
	buf_add_le64(footer, b->position);
	buf_add_le32(footer, b->stored_bytes);
	buf_add_le32(footer, b->raw_bytes);
	buf_add_le32(footer, b->crc);
	buf_add_le32(footer, (uint32_t)b->codec);
	buf_add_le64(footer, (uint64_t)b->first_offset);
	buf_add_le64(footer, (uint64_t)b->end_offset);
	buf_add_le64(footer, (uint64_t)b->max_timestamp);
}

static void write_producer_row(struct buf *footer, const struct segment_producer *p)
{
	buf_add_le64(footer, (uint64_t)p->producer_id);
	buf_add_le64(footer, (uint64_t)p->last_used_ms);
	buf_add_le64(footer, (uint64_t)p->open_transaction_first);
	buf_add_le16(footer, (uint16_t)p->epoch);
	buf_add_u8(footer, p->batch_count);
	buf_add_zeros(footer, 5);
	for (int i = 0; i < SEGMENT_PRODUCER_BATCHES; i++) {
		bool used = i < p->batch_count;

		buf_add_le32(footer, used ? (uint32_t)p->batches[i].first_sequence : 0);
		buf_add_le32(footer, used ? (uint32_t)p->batches[i].last_sequence : 0);
		buf_add_le64(footer, used ? (uint64_t)p->batches[i].base_offset : 0);
	}
}

static void write_run_fixed(struct buf *footer, const struct segment_run_detail *d, size_t name_bytes)
{
	const struct segment_run *r = &d->run;

	buf_add_le32(footer, 0); /* crc: segment_run_write() fills it in */
	buf_add_le32(footer, RUN_FIXED_BYTES);
	buf_add(footer, r->topic.b, sizeof(r->topic.b));
	buf_add_le32(footer, r->partition);
	buf_add_le32(footer, r->first_epoch);
	buf_add_le32(footer, r->last_epoch);
	buf_add_le32(footer, d->block_count);
	buf_add_le64(footer, (uint64_t)r->previous_end);
	buf_add_le64(footer, (uint64_t)r->first_offset);
	buf_add_le64(footer, (uint64_t)r->end_offset);
	buf_add_le64(footer, (uint64_t)r->min_timestamp);
	buf_add_le64(footer, (uint64_t)r->max_timestamp);
	buf_add_le64(footer, (uint64_t)r->max_append_ms);
	buf_add_le64(footer, r->records);
	buf_add_le64(footer, r->raw_bytes);
	buf_add_le64(footer, r->position);
	buf_add_le64(footer, r->stored_bytes);
	buf_add_le64(footer, r->section_position);
	buf_add_le32(footer, d->producer_count);
	buf_add_le32(footer, (uint32_t)d->bloom.len);
	buf_add_le16(footer, (uint16_t)name_bytes);
	buf_add_le16(footer, BLOCK_ROW_BYTES);
	buf_add_le16(footer, PRODUCER_ROW_BYTES);
	buf_add_le16(footer, 0);
}

/* The checksum of a RUN section: everything but the four bytes that hold it. */
static uint32_t run_crc(const uint8_t *section, size_t n)
{
	uint32_t crc = crc32c(0, section, SEGMENT_SECTION_BYTES);

	return crc32c(crc, section + SEGMENT_SECTION_BYTES + 4, n - SEGMENT_SECTION_BYTES - 4);
}

int segment_run_write(struct buf *footer, struct segment_run_detail *detail, uint64_t position)
{
	size_t start = section_begin(footer, SEGMENT_RUN);
	size_t name_bytes = strlen(detail->topic_name);
	uint8_t *section;

	detail->run.section_position = position;
	write_run_fixed(footer, detail, name_bytes);
	buf_add(footer, detail->topic_name, name_bytes);
	for (uint32_t i = 0; i < detail->block_count; i++)
		write_block_row(footer, &detail->blocks[i]);
	for (uint32_t i = 0; i < detail->producer_count; i++)
		write_producer_row(footer, &detail->producers[i]);
	if (detail->bloom.len)
		buf_add(footer, detail->bloom.data, detail->bloom.len);
	if (section_end(footer, start))
		return -1;
	section = (uint8_t *)footer->data + start;
	detail->run.section_bytes = (uint32_t)(footer->len - start);
	put_le32(section + SEGMENT_SECTION_BYTES, run_crc(section, footer->len - start));
	return 0;
}

/* ---- RUN: reading ---- */

struct run_layout { /* sizes of the variable parts, checked against the payload */
	size_t fixed, name_bytes, block_row, producer_row, bloom_bytes;
};

static int read_run_fixed(const uint8_t *p, size_t n, struct segment_run_detail *d, struct run_layout *l, struct err *e)
{
	struct segment_run *r = &d->run;
	uint64_t total;

	l->fixed = get_le32(p + 4);
	memcpy(r->topic.b, p + 8, sizeof(r->topic.b));
	r->partition = get_le32(p + 24);
	r->first_epoch = get_le32(p + 28);
	r->last_epoch = get_le32(p + 32);
	d->block_count = get_le32(p + 36);
	r->previous_end = (int64_t)get_le64(p + 40);
	r->first_offset = (int64_t)get_le64(p + 48);
	r->end_offset = (int64_t)get_le64(p + 56);
	r->min_timestamp = (int64_t)get_le64(p + 64);
	r->max_timestamp = (int64_t)get_le64(p + 72);
	r->max_append_ms = (int64_t)get_le64(p + 80);
	r->records = get_le64(p + 88);
	r->raw_bytes = get_le64(p + 96);
	r->position = get_le64(p + 104);
	r->stored_bytes = get_le64(p + 112);
	r->section_position = get_le64(p + 120);
	d->producer_count = get_le32(p + 128);
	l->bloom_bytes = get_le32(p + 132);
	l->name_bytes = get_le16(p + 136);
	l->block_row = get_le16(p + 138);
	l->producer_row = get_le16(p + 140);
	if (l->fixed < RUN_FIXED_BYTES || l->name_bytes > SEGMENT_TOPIC_NAME_MAX || l->block_row < BLOCK_ROW_BYTES ||
		l->producer_row < PRODUCER_ROW_BYTES)
		return err_set(e, ERR_CORRUPT, "a run's section in the segment has parts that are too short");
	total = (uint64_t)l->fixed + l->name_bytes + (uint64_t)d->block_count * l->block_row +
		(uint64_t)d->producer_count * l->producer_row + l->bloom_bytes;
	if (total > n)
		return err_set(e, ERR_CORRUPT, "a run's section in the segment claims more than its %zu bytes", n);
	return 0;
}

static void read_block_row(const uint8_t *p, struct segment_block *b)
{
	b->position = get_le64(p);
	b->stored_bytes = get_le32(p + 8);
	b->raw_bytes = get_le32(p + 12);
	b->crc = get_le32(p + 16);
	b->codec = (enum codec)p[20];
	b->first_offset = (int64_t)get_le64(p + 24);
	b->end_offset = (int64_t)get_le64(p + 32);
	b->max_timestamp = (int64_t)get_le64(p + 40);
}

/* Blocks follow each other without a hole, in the object and, but for gaps, in offsets; and none is larger than a batch may be. */
static int check_blocks(const struct segment_run_detail *d, struct err *e)
{
	const struct segment_run *r = &d->run;
	uint64_t position = r->position, raw = 0;
	int64_t offset = r->first_offset;

	if (r->first_offset < 0 || r->end_offset <= r->first_offset || r->previous_end > r->first_offset || !d->block_count)
		return err_set(e, ERR_CORRUPT, "a run in the segment holds no offsets");
	for (uint32_t i = 0; i < d->block_count; i++) {
		const struct segment_block *b = &d->blocks[i];
		bool known = b->codec == CODEC_NONE || b->codec == CODEC_LZ4 || b->codec == CODEC_ZSTD;

		if (b->position != position || !known || !b->stored_bytes || b->raw_bytes > BATCH_MAX_BYTES ||
			b->stored_bytes > b->raw_bytes || (b->codec == CODEC_NONE && b->stored_bytes != b->raw_bytes) ||
			b->first_offset < offset || b->end_offset <= b->first_offset)
			return err_set(e, ERR_CORRUPT, "block %u of a run in the segment has an impossible index row", i);
		position += b->stored_bytes;
		raw += b->raw_bytes;
		offset = b->end_offset;
	}
	if (position - r->position != r->stored_bytes || raw != r->raw_bytes || offset != r->end_offset ||
		d->blocks[0].first_offset != r->first_offset)
		return err_set(e, ERR_CORRUPT, "the blocks of a run in the segment do not add up to the run");
	return 0;
}

static int read_producer_row(const uint8_t *p, struct segment_producer *out, struct err *e)
{
	out->producer_id = (int64_t)get_le64(p);
	out->last_used_ms = (int64_t)get_le64(p + 8);
	out->open_transaction_first = (int64_t)get_le64(p + 16);
	out->epoch = (int16_t)get_le16(p + 24);
	out->batch_count = p[26];
	if (out->batch_count > SEGMENT_PRODUCER_BATCHES)
		return err_set(e, ERR_CORRUPT, "a producer's row in the segment claims %u batches", out->batch_count);
	for (int i = 0; i < SEGMENT_PRODUCER_BATCHES; i++) {
		out->batches[i].first_sequence = (int32_t)get_le32(p + 32 + 16 * i);
		out->batches[i].last_sequence = (int32_t)get_le32(p + 36 + 16 * i);
		out->batches[i].base_offset = (int64_t)get_le64(p + 40 + 16 * i);
	}
	return 0;
}

static int read_run_arrays(const uint8_t *p, const struct run_layout *l, struct arena *a, struct segment_run_detail *d,
	struct err *e)
{
	const uint8_t *pos = p + l->fixed;

	memcpy(d->topic_name, pos, l->name_bytes);
	d->topic_name[l->name_bytes] = '\0';
	pos += l->name_bytes;
	d->blocks = arena_alloc(a, (d->block_count + (size_t)1) * sizeof(*d->blocks));
	for (uint32_t i = 0; i < d->block_count; i++, pos += l->block_row)
		read_block_row(pos, &d->blocks[i]);
	d->producers = arena_alloc(a, (d->producer_count + (size_t)1) * sizeof(*d->producers));
	for (uint32_t i = 0; i < d->producer_count; i++, pos += l->producer_row)
		if (read_producer_row(pos, &d->producers[i], e))
			return -1;
	d->bloom.len = l->bloom_bytes;
	d->bloom.data = l->bloom_bytes ? arena_dup(a, pos, l->bloom_bytes) : NULL;
	return check_blocks(d, e);
}

int segment_run_read(const void *section, size_t n, struct arena *a, struct segment_run_detail *d, struct err *e)
{
	const uint8_t *p = section, *payload = p + SEGMENT_SECTION_BYTES;
	struct run_layout layout;

	memset(d, 0, sizeof(*d));
	if (n < SEGMENT_SECTION_BYTES + RUN_FIXED_BYTES || n > UINT32_MAX || get_le16(p) != SEGMENT_RUN ||
		get_le32(p + 4) != n - SEGMENT_SECTION_BYTES)
		return err_set(e, ERR_CORRUPT, "what should be a run's section in the segment is none");
	if (get_le32(payload) != run_crc(p, n))
		return err_set(e, ERR_CORRUPT, "a run's section in the segment does not match its checksum");
	if (read_run_fixed(payload, n - SEGMENT_SECTION_BYTES, d, &layout, e))
		return -1;
	d->run.section_bytes = (uint32_t)n;
	return read_run_arrays(payload, &layout, a, d, e);
}
