/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, buffers, lists, maps, integers, checksums, ids and errors. */
#include <errno.h>
#include <stdlib.h>
#include "libsh/base/buf.h"
#include "libsh/base/bytes.h"
#include "libsh/base/crc32c.h"
#include "libsh/base/err.h"
#include "libsh/base/list.h"
#include "libsh/base/map.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"
#include "tests/unit/tap.h"

static void test_buf(void)
{
	struct buf b = BUF_INIT(10);
	size_t len;
	char *text;

	ok(buf_adds(&b, "hello") == 0 && b.len == 5 && b.data[5] == '\0', "a buffer is a C string");
	ok(buf_adds(&b, "world!") < 0 && b.overflow && b.len == 5, "nothing is added past the cap");
	ok(buf_addc(&b, 'x') < 0, "the overflow stays until the reset");
	buf_reset(&b);
	ok(buf_addf(&b, "%d-%s", 12345, "abcd") == 0 && b.len == 10, "a buffer fills up to its cap exactly");
	is_str(b.data, "12345-abcd", "buf_addf formats");
	ok(buf_add(&b, "", 0) == 0 && buf_reserve(&b, 0) == 0, "nothing more still fits");
	buf_consume(&b, 6);
	is_str(b.data, "abcd", "buf_consume drops the front");
	buf_truncate(&b, 2);
	is_str(b.data, "ab", "buf_truncate drops the end");
	text = buf_detach(&b, &len);
	ok(!strcmp(text, "ab") && len == 2 && !b.data && !b.len && b.max == 10,
		"buf_detach hands the memory over");
	mem_free(text);
	buf_add_u8(&b, 1);
	buf_add_le16(&b, 0x0302);
	buf_add_le32(&b, 0x07060504);
	ok(b.len == 7 && !memcmp(b.data, "\1\2\3\4\5\6\7", 7), "integers are little-endian");
	ok(!buf_add_zeros(&b, 4), "zeros obey the cap");
	buf_release(&b);
}

static void test_arena(void)
{
	struct arena a = ARENA_INIT;
	bool aligned = true;
	char *first = arena_strdup(&a, "first");

	for (size_t i = 1; i < 5000; i += 7) {
		uint8_t *p = arena_alloc(&a, i);

		aligned &= (uintptr_t)p % 16 == 0 && !p[0] && !p[i - 1];
		memset(p, 0xff, i);
	}
	ok(aligned, "arena memory is zeroed and aligned to 16");
	is_str(first, "first", "earlier pieces keep their bytes");
	is_str(arena_printf(&a, "%s-%d", "x", 7), "x-7", "arena_printf formats");
	is_str(arena_strndup(&a, "abcdef", 3), "abc", "arena_strndup cuts");
	arena_release(&a);
	ok(a.used == 0 && arena_alloc(&a, 1), "a released arena may be used again");
	arena_release(&a);
}

struct item {
	int number;
	struct list node;
};

static void test_list(void)
{
	struct list head;
	struct item items[3] = {{.number = 1}, {.number = 2}, {.number = 3}};
	int sum = 0;

	list_init(&head);
	ok(list_empty(&head) && !list_pop(&head), "an empty list has nothing to pop");
	for (int i = 0; i < 3; i++)
		list_push(&head, &items[i].node);
	list_for_each_safe(it, &head) if (list_entry(it, struct item, node)->number == 2) list_remove(it);
	list_for_each(it, &head) sum = sum * 10 + list_entry(it, struct item, node)->number;
	is_int(sum, 13, "a node can be removed while walking");
	ok(!list_linked(&items[1].node) && list_linked(&items[0].node), "a removed node is not linked");
	ok(list_first(&head, struct item, node) == &items[0], "list_first is the one pushed first");
}

static void test_map(void)
{
	static int values[2000];
	struct map m = MAP_INIT;
	size_t it = 0, seen = 0, len;
	const void *key;
	void *value;
	bool found = true;

	ok(!map_gets(&m, "x") && !map_del(&m, "x", 1), "an empty map has no keys");
	for (int i = 0; i < 2000; i++)
		map_put(&m, &i, sizeof(i), &values[i]);
	for (int i = 0; i < 2000; i++)
		found &= map_get(&m, &i, sizeof(i)) == &values[i];
	ok(found && m.count == 2000, "2000 keys are all found");
	ok(map_put(&m, &(int){7}, sizeof(int), &values[8]) == &values[7], "map_put returns the old value");
	while (map_next(&m, &it, &key, &len, &value)) {
		seen++;
		if (seen % 2)
			map_del(&m, key, len);
	}
	ok(seen == 2000 && m.count == 1000, "the visited entry may be deleted");
	for (int round = 0; round < 20000; round++) {
		map_put(&m, &(int){-1 - round}, sizeof(int), &values[0]);
		map_del(&m, &(int){-1 - round}, sizeof(int));
	}
	ok(m.size <= 8192, "deleted keys do not make it grow");
	ok(!map_put(&m, NULL, 0, &values[1]) && map_get(&m, "", 0) == &values[1], "the empty key is a key");
	map_release(&m);
	ok(!m.count && !map_gets(&m, "x"), "a released map is empty");
}

static void test_varints(void)
{
	static const struct {
		int64_t value;
		const char *bytes;
		size_t n;
	} known[] = {
		{0, "\0", 1},
		{-1, "\1", 1},
		{1, "\2", 1},
		{63, "\x7e", 1},
		{-64, "\x7f", 1},
		{64, "\x80\1", 2},
		{-65, "\x81\1", 2},
		{8191, "\xfe\x7f", 2},
		{8192, "\x80\x80\1", 3},
		{INT32_MAX, "\xfe\xff\xff\xff\xf", 5},
		{INT32_MIN, "\xff\xff\xff\xff\xf", 5},
		{INT64_MAX, "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1", 10},
		{INT64_MIN, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 10},
	};
	static const uint8_t too_wide[] = {0xff, 0xff, 0xff, 0xff, 0x1f};
	uint8_t out[10];
	int64_t wide;
	int32_t narrow;

	for (size_t i = 0; i < array_count(known); i++) {
		const uint8_t *p = (const uint8_t *)known[i].bytes;
		size_t n = known[i].n, used = varlong_put(out, known[i].value);
		bool good = used == n && !memcmp(out, p, n) && varlong_size(known[i].value) == n;

		good &= varlong_get(p, p + n, &wide) == n && wide == known[i].value;
		good &= !varlong_get(p, p + n - 1, &wide);
		if (n <= 5) {
			good &= varint_get(p, p + n, &narrow) == n && narrow == known[i].value;
			good &= varint_put(out, (int32_t)known[i].value) == n;
			good &= varint_size((int32_t)known[i].value) == n;
		} else {
			good &= !varint_get(p, p + n, &narrow);
		}
		ok(good, "%lld is %zu bytes of varint", (long long)known[i].value, n);
	}
	ok(!varint_get(too_wide, too_wide + sizeof(too_wide), &narrow), "33 bits are no varint");
}

static void test_crc32c(void)
{
	enum { SIZE = 70000 };
	uint8_t *p = mem_zalloc(SIZE), ones[32];
	bool same = true;
	uint32_t pieces = 0;

	memset(ones, 0xff, sizeof(ones));
	is_int(crc32c(0, "123456789", 9), 0xe3069283, "the check value of CRC-32C");
	is_int(crc32c(0, p, 32), 0x8a9136aa, "32 zeros, RFC 3720 B.4");
	is_int(crc32c(0, ones, 32), 0x62a8ab43, "32 ones, RFC 3720 B.4");
	is_int(crc32c(0, "", 0), 0, "no bytes");
	srand(1);
	for (size_t i = 0; i < SIZE; i++)
		p[i] = (uint8_t)(rand() >> 8);
	for (size_t n = 0; n < SIZE - 8; n += n / 5 + 1)
		same &= crc32c(7, p + n % 8, n) == crc32c_by_table(7, p + n % 8, n);
	ok(same, "instruction and table agree at all lengths and alignments");
	for (size_t at = 0; at < SIZE; at += 777)
		pieces = crc32c(pieces, p + at, SIZE - at < 777 ? SIZE - at : 777);
	is_int(pieces, crc32c(0, p, SIZE), "one call continues another");
	mem_free(p);
}

static void test_uuid(void)
{
	struct uuid a = uuid_random(), b = uuid_random(), c;
	char text[UUID_TEXT_BYTES];
	struct err e = ERR_INIT;

	ok(!uuid_equal(&a, &b), "two random ids differ");
	ok((a.b[6] & 0xf0) == 0x40 && (a.b[8] & 0xc0) == 0x80, "a random id is of version 4");
	uuid_format(&a, text);
	ok(strlen(text) == 36 && uuid_parse(text, &c, &e) == 0 && uuid_equal(&a, &c),
		"an id survives its text");
	ok(uuid_parse("01234567-89AB-cdef-0123-456789abcdef", &c, &e) == 0 && c.b[4] == 0x89,
		"either case is read");
	ok(uuid_parse("0123456789ab-cdef-0123-456789abcdef00", &c, &e) < 0, "misplaced hyphens are refused");
	ok(uuid_parse("01234567-89ab-cdef-0123-456789abcde", &c, &e) < 0, "a short id is refused");
	ok(uuid_parse("01234567-89ab-cdef-0123-456789abcdef0", &c, &e) < 0, "a long id is refused");
	ok(uuid_parse("", &c, &e) < 0 && e.code == ERR_INVALID_ARGUMENT, "no id is refused");
}

static void test_err(void)
{
	struct err e = ERR_INIT;
	bool known = true;

	ok(err_set(&e, ERR_NOT_FOUND, "no %s", "such") == -1 && e.code == ERR_NOT_FOUND,
		"err_set returns -1");
	err_hint(&e, "try %d", 2);
	err_prefix(&e, "topic %s", "t");
	is_str(e.text, "topic t: no such", "a prefix goes before the text");
	is_str(e.hint, "try 2", "and leaves the hint");
	err_set(&e, ERR_IO, "again: %s", e.text);
	is_str(e.text, "again: topic t: no such", "the text may be its own argument");
	errno = ENOSPC;
	err_sys(&e, ERR_IO, "cannot write %s", "x");
	ok(e.code == ERR_NO_SPACE && strstr(e.text, "cannot write x: No space"),
		"a full disk has its own code");
	errno = EIO;
	err_sys(&e, ERR_IO, "cannot write %s", "x");
	ok(e.code == ERR_IO && errno == EIO, "other failures keep theirs, and errno");
	ok(err_set(NULL, ERR_IO, "x") == -1 && err_hint(NULL, "x") == -1, "no struct, no text");
	for (int i = 0; i < ERR_COUNT; i++)
		known &= err_from_name(err_name((enum err_code)i)) == (enum err_code)i;
	ok(known, "every code is found by its wire name");
	is_int(err_from_name("nonsense"), ERR_INTERNAL, "an unknown name is internal");
	is_int(err_http_status(ERR_TOO_LARGE), 413, "HTTP status of too_large");
	is_int(err_kafka_code(ERR_INVALID_RECORD), 87, "Kafka code of invalid_record");
	ok(err_can_retry(ERR_BACK_PRESSURE) && !err_can_retry(ERR_INVALID_RECORD), "some may be tried again");
}

int main(void)
{
	test_buf();
	test_arena();
	test_list();
	test_map();
	test_varints();
	test_crc32c();
	test_uuid();
	test_err();
	return done_testing();
}
