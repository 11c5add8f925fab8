/* SPDX-License-Identifier: Apache-2.0 */
/* WAL files in memory for tests: batches with known content, appended as an agent would. */
#ifndef SH_TESTS_WAL_FIXTURE_H
#define SH_TESTS_WAL_FIXTURE_H

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "libsh/base/bytes.h"
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"
#include "libsh/format/wal.h"

struct wal_fixture {
	int fd;
	uint64_t generation, base, position; /* position: in the file, where the next entry goes */
	uint64_t synced;                     /* LSN that entries claim */
};

/* An id whose bytes are all n. */
static struct uuid __attribute__((unused)) fixture_id(uint8_t n)
{
	struct uuid u;

	memset(u.b, n, sizeof(u.b));
	return u;
}

static void __attribute__((unused)) fixture_open(struct wal_fixture *w, uint64_t generation, uint64_t base)
{
	struct wal_file_header h = {.generation = generation, .base_lsn = base, .previous_end_lsn = base, .session = 7,
		.slot = fixture_id(0x51), .created_ms = 1700000000000};
	uint8_t bytes[WAL_HEADER_BYTES];

	w->fd = memfd_create("wal", MFD_CLOEXEC);
	w->generation = generation;
	w->base = base;
	w->position = WAL_HEADER_BYTES;
	w->synced = base;
	wal_file_header_write(&h, bytes);
	if (ftruncate(w->fd, WAL_FILE_BYTES) || pwrite(w->fd, bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		abort();
}

/* Records numbered from first; every fourth key repeats, values are value_bytes long; key_bytes 0: null keys. */
static void __attribute__((unused)) fixture_batch(struct buf *out, int64_t first, int count, size_t key_bytes, size_t value_bytes,
	enum codec codec)
{
	struct batch_writer w;
	char key[256], value[4096];

	batch_writer_init(&w, codec, BATCH_MAX_BYTES);
	for (int i = 0; i < count; i++) {
		struct record r = {.timestamp = 1700000000000 + first + i};

		snprintf(key, sizeof(key), "%0*lld", (int)key_bytes, (long long)(first + i));
		for (size_t j = 0; j < value_bytes; j++)
			value[j] = (char)("abcdefghijklmnop{\":,"[(j * 7 + (size_t)i + (size_t)first) % 20]);
		if (key_bytes)
			r.key = (struct bytes){(const uint8_t *)key, key_bytes};
		r.value = (struct bytes){(const uint8_t *)value, value_bytes};
		if (batch_writer_add(&w, &r, NULL))
			abort();
	}
	buf_init(out, BATCH_MAX_BYTES);
	if (batch_writer_finish(&w, out, NULL))
		abort();
	batch_stamp(out->data, first, 3);
	batch_writer_release(&w);
}

static void __attribute__((unused)) fixture_put(struct wal_fixture *w, struct wal_entry *entry, const void *batch)
{
	uint8_t header[WAL_ENTRY_BYTES];

	entry->generation = w->generation;
	entry->lsn = w->base + w->position;
	entry->synced_lsn = w->synced;
	wal_entry_write(entry, batch, header);
	if (pwrite(w->fd, header, sizeof(header), (off_t)w->position) != (ssize_t)sizeof(header) ||
		(entry->length && pwrite(w->fd, batch, entry->length, (off_t)(w->position + WAL_ENTRY_BYTES)) !=
			(ssize_t)entry->length))
		abort();
	w->position += wal_entry_space(entry->length);
}

/* One batch of `count` records for (topic, partition), its first offset as given. */
static void __attribute__((unused)) fixture_append(struct wal_fixture *w, uint8_t topic, uint32_t partition, int64_t first,
	int count, size_t key_bytes, size_t value_bytes, enum codec codec)
{
	struct wal_entry entry = {.topic = fixture_id(topic), .partition = partition, .epoch = 3, .previous_end = first,
		.append_ms = 1700000000500 + first, .type = WAL_BATCH};
	struct buf batch;

	fixture_batch(&batch, first, count, key_bytes, value_bytes, codec);
	entry.length = (uint32_t)batch.len;
	fixture_put(w, &entry, batch.data);
	buf_release(&batch);
}

static void __attribute__((unused)) fixture_sync_mark(struct wal_fixture *w)
{
	struct wal_entry entry = {.type = WAL_SYNC_MARK};

	w->synced = w->base + w->position;
	fixture_put(w, &entry, NULL);
}

#endif
