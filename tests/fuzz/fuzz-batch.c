/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a record batch: checked, then read. What the check lets through must read without an
 * error, with the records the header promises, and must pass the check again unchanged.
 * Input: one byte of options, then the batch.
 */
#include <stdlib.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/mem.h"
#include "libsh/format/batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { MEND_FRAME = 1, NEED_KEYS = 2, APPEND_TIME = 4, LIMIT_TIME = 8, RAW_MAX = 1 << 20 };

static void must(bool good)
{
	if (!good)
		abort();
}

/* Give the batch the length, magic and CRC it needs to get past the first checks. */
static void mend_frame(uint8_t *p, size_t n)
{
	if (n < BATCH_HEADER_BYTES)
		return;
	put_be32(p + 8, (uint32_t)(n - BATCH_LENGTH_OFFSET));
	p[16] = 2;
	put_be32(p + 17, crc32c(0, p + 21, n - 21));
}

static int walk_headers(const struct record *r)
{
	struct record_header h;
	size_t pos = 0;
	int rc, count = 0;

	while ((rc = record_header_next(r, &pos, &h, NULL)) == 1)
		count++;
	return rc < 0 ? -1 : count;
}

/* Number of records, or -1 on damage. */
static int64_t read_all(const void *batch, size_t n, bool valid, int64_t *max_timestamp)
{
	struct batch_reader *b = batch_reader_new(batch, n, RAW_MAX, NULL);
	struct record r;
	int64_t count = 0;
	int rc;

	if (!b)
		return -1;
	*max_timestamp = -1;
	while ((rc = batch_reader_next(b, &r, NULL)) == 1) {
		must(walk_headers(&r) == r.header_count);
		must(!valid || r.offset == count);
		if (r.timestamp > *max_timestamp)
			*max_timestamp = r.timestamp;
		count++;
	}
	batch_reader_free(b);
	return rc < 0 ? -1 : count;
}

static void check_valid(uint8_t *batch, size_t n, const struct batch_header *h, struct batch_rules *rules)
{
	struct buf again = BUF_INIT(BATCH_MAX_BYTES);
	struct batch_header second;
	int64_t max_timestamp;

	must(batch_check_crc(batch, n, NULL) == 0);
	must(read_all(batch, n, true, &max_timestamp) == h->record_count);
	must(max_timestamp == h->max_timestamp || (max_timestamp < 0 && h->max_timestamp == -1));
	if (!rules->log_append_time) {
		must(batch_validate(batch, n, rules, &second, &again, NULL) == 0);
		must(!again.len && second.crc == h->crc);
	}
	buf_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t options = n ? data[0] : 0, *batch = mem_dup(n ? data + 1 : NULL, n ? n - 1 : 0);
	struct batch_rules rules = {
		.max_raw_bytes = RAW_MAX,
		.require_keys = options & NEED_KEYS,
		.log_append_time = options & APPEND_TIME,
		.now_ms = 1700000000000,
		.max_before_ms = options & LIMIT_TIME ? 3600000 : INT64_MAX,
		.max_after_ms = options & LIMIT_TIME ? 3600000 : INT64_MAX,
	};
	struct buf rewritten = BUF_INIT(BATCH_MAX_BYTES);
	struct batch_header h;
	int64_t unused;

	n -= n > 0;
	if (options & MEND_FRAME)
		mend_frame(batch, n);
	read_all(batch, n, false, &unused);
	if (batch_validate(batch, n, &rules, &h, &rewritten, NULL) == 0) {
		if (rewritten.len)
			check_valid((uint8_t *)rewritten.data, rewritten.len, &h, &rules);
		else
			check_valid(batch, n, &h, &rules);
	}
	buf_release(&rewritten);
	mem_free(batch);
	return 0;
}
