/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: a format, a NUL, then data. What is read by an invertible format and written again reads the same, or is
 * refused because it could be read in two ways; the text itself may differ, as numbers have several spellings.
 */
#include <assert.h>
#include "libsh/format/format_string.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool same(struct bytes a, struct bytes b)
{
	return !a.data == !b.data && a.len == b.len && (!a.len || !memcmp(a.data, b.data, a.len));
}

static void read_and_write(const struct format_string *f, const char *data, size_t n)
{
	struct arena a = ARENA_INIT;
	struct buf out = BUF_INIT(64 << 20);
	struct ndjson_record r, again;
	struct err e = ERR_INIT;
	ptrdiff_t used = format_string_read(f, data, n, true, &a, &r, &e);

	assert(used <= (ptrdiff_t)n);
	if (used > 0) {
		char *topic = mem_strndup(r.topic.len ? (const char *)r.topic.data : "", r.topic.len);

		assert(!format_string_write(
			f, &out, topic, r.partition < 0 ? 0 : r.partition, &r.record, &e));
		used = format_string_read(f, out.data, out.len, true, &a, &again, &e);
		if (used < 0) {
			assert(e.code == ERR_BAD_DATA && strstr(e.text, "ambiguous"));
		} else {
			assert(used == (ptrdiff_t)out.len);
			assert(same(r.record.key, again.record.key) && same(r.record.value, again.record.value));
			assert(r.record.header_count == again.record.header_count &&
				same(r.record.headers, again.record.headers));
		}
		mem_free(topic);
	}
	buf_release(&out);
	arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *end = memchr(data, 0, n);
	struct err e = ERR_INIT;
	struct format_string *f = end ? format_string_parse((const char *)data, &e) : NULL;

	if (f && !format_string_check_invertible(f, &e))
		read_and_write(f, (const char *)end + 1, n - (size_t)(end - data) - 1);
	format_string_free(f);
	return 0;
}
