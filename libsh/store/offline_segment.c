/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/store/offline.h"

#include "libsh/base/disk.h"

static int read_object(void *ctx, uint64_t offset, void *p, size_t n, struct err *e)
{
	struct offline_object *o = ctx;

	return o->store->driver->get(o->store, o->name, offset, p, n, e);
}

void offline_object_init(struct offline_object *o, struct object_store *store, const char *name, uint64_t bytes)
{
	o->store = store;
	o->name = name;
	o->input = (struct segment_input){read_object, o, bytes};
}

static int read_file(void *ctx, uint64_t offset, void *p, size_t n, struct err *e)
{
	const int *fd = ctx;

	return disk_pread(*fd, p, n, (int64_t)offset, e);
}

void offline_file_init(struct segment_input *in, const int *fd, uint64_t bytes)
{
	*in = (struct segment_input){read_file, (void *)(uintptr_t)fd, bytes};
}

static int each_batch(const struct buf *raw, int64_t from, int64_t to, offline_each each, void *ctx, struct err *e)
{
	struct batch_header h;
	size_t size;
	int rc;

	for (size_t at = 0; at < raw->len; at += size) {
		if (batch_header_read(raw->data + at, raw->len - at, &h, e))
			return -1;
		size = (size_t)h.batch_length + BATCH_LENGTH_OFFSET;
		if (size > raw->len - at)
			return err_set(e, ERR_CORRUPT, "a block of the segment ends inside a batch");
		if (batch_last_offset(&h) < from || h.base_offset >= to)
			continue;
		if (batch_check_crc(raw->data + at, size, e))
			return -1;
		rc = each(ctx, &h, raw->data + at, size);
		if (rc)
			return rc;
	}
	return 0;
}

int offline_run_batches(const struct segment_input *in, const struct segment_run_detail *d, int64_t from, int64_t to, offline_each each,
	void *ctx, struct err *e)
{
	struct buf raw = BUF_INIT(BATCH_MAX_BYTES);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < d->block_count; i++) {
		if (d->blocks[i].end_offset <= from || d->blocks[i].first_offset >= to)
			continue;
		rc = segment_block_read(in, &d->blocks[i], &raw, e);
		if (rc == 0)
			rc = each_batch(&raw, from, to, each, ctx, e);
	}
	buf_release(&raw);
	return rc;
}

int offline_run_detail(const struct segment_input *in, const struct segment_run *run, struct arena *a, struct segment_run_detail *d,
	struct err *e)
{
	uint8_t *section;
	int rc;

	if (run->section_bytes > in->bytes || run->section_position > in->bytes - run->section_bytes)
		return err_set(e, ERR_CORRUPT, "the metadata says that the run's section lies behind the end of the object");
	section = mem_alloc(run->section_bytes + 1);
	rc = in->read(in->ctx, run->section_position, section, run->section_bytes, e);
	if (rc == 0)
		rc = segment_run_read(section, run->section_bytes, a, d, e);
	mem_free(section);
	if (rc == 0 && (!uuid_equal(&d->run.topic, &run->topic) || d->run.partition != run->partition ||
		d->run.first_offset != run->first_offset || d->run.end_offset != run->end_offset))
		return err_set(e, ERR_CORRUPT, "the object holds another run than the metadata says");
	return rc;
}
