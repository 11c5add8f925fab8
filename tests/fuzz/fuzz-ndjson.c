/* SPDX-License-Identifier: Apache-2.0 */
/* Any line: no crash; and what is read can be written and read again with the same result. */
#include <assert.h>
#include "libsh/format/ndjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool same(struct bytes a, struct bytes b)
{
	return !a.data == !b.data && a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct arena a = ARENA_INIT;
	struct buf line = BUF_INIT(64 << 20);
	struct ndjson_record r, again;
	struct err e = ERR_INIT;

	if (n && !ndjson_read((const char *)data + 1, n - 1, data[0] & 1, &a, &r, &e)) {
		assert(!ndjson_write(&line, NULL, r.partition < 0 ? 0 : r.partition, &r.record, &e));
		assert(!ndjson_read(line.data, line.len, false, &a, &again, &e));
		assert(same(r.record.key, again.record.key) && same(r.record.value, again.record.value));
		assert(r.record.header_count == again.record.header_count &&
			same(r.record.headers, again.record.headers));
	}
	buf_release(&line);
	arena_release(&a);
	return 0;
}
