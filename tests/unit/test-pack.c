/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/messages.h"
#include "libsh/run/pack.h"
#include "tests/unit/tap.h"

#define SAMPLE_FIELDS(F, S) F(S, U8, a) F(S, U16, b) F(S, U32, c) F(S, U64, d) F(S, I32, e) F(S, I64, f) \
	F(S, UUID, g) F(S, STR, h) F(S, BYTES, i) F(S, STR, added)
#define OLD_FIELDS(F, S) F(S, U8, a) F(S, U16, b) F(S, U32, c)
PACK_STRUCT(sample, SAMPLE_FIELDS)
PACK_TABLE(sample, SAMPLE_FIELDS)
PACK_STRUCT(old, OLD_FIELDS)
PACK_TABLE(old, OLD_FIELDS)

static struct sample sample(void)
{
	struct sample s = {1, 0xfffe, 0xfffffffd, UINT64_MAX - 1, -5, INT64_MIN, {{0}}, "text", {(const uint8_t *)"a\0b", 3},
		"new"};

	for (size_t i = 0; i < sizeof(s.g.b); i++)
		s.g.b[i] = (uint8_t)i;
	return s;
}

static void test_round_trip(void)
{
	struct sample s = sample(), r;
	struct buf b = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;

	is_int(pack_write(&b, sample_fields, &s), 0, "a struct is written");
	is_int(pack_read(sample_fields, &r, b.data, b.len, &a, &e), 0, "and read");
	ok(r.a == s.a && r.b == s.b && r.c == s.c && r.d == s.d && r.e == s.e && r.f == s.f, "numbers come back");
	ok(uuid_equal(&r.g, &s.g), "a UUID comes back");
	is_str(r.h, "text", "text comes back");
	ok(r.i.len == 3 && !memcmp(r.i.data, "a\0b", 3), "bytes come back");
	buf_release(&b);
	arena_release(&a);
}

static void test_versions(void)
{
	struct old o = {9, 8, 7};
	struct sample s = sample(), r;
	struct buf b = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;

	pack_write(&b, old_fields, &o);
	memset(&r, 0x55, sizeof(r));
	is_int(pack_read(sample_fields, &r, b.data, b.len, &a, &e), 0, "a shorter body is accepted");
	ok(r.a == 9 && r.c == 7 && r.d == 0 && r.i.len == 0 && !r.i.data, "what it lacks is zero");
	is_str(r.added, "", "and text is empty");
	buf_reset(&b);
	pack_write(&b, sample_fields, &s);
	is_int(pack_read(old_fields, &o, b.data, b.len, &a, &e), 0, "a longer body is accepted");
	is_int(o.c, 0xfffffffd, "its known part is read");
	buf_release(&b);
	arena_release(&a);
}

/* Every length and every flipped byte: an error or a value, never a read beyond the input (the sanitizers watch). */
static void test_damage(void)
{
	struct sample s = sample(), r;
	struct buf b = BUF_INIT(4096);
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	int cut_errors = 0;

	pack_write(&b, sample_fields, &s);
	for (size_t n = 0; n < b.len; n++) {
		uint8_t *copy = malloc(n ? n : 1);

		memcpy(copy, b.data, n);
		cut_errors += pack_read(sample_fields, &r, copy, n, &a, &e) != 0;
		free(copy);
	}
	is_int(cut_errors, (int)b.len - 10, "a body cut inside a field is refused, one cut between fields is an old one");
	for (size_t i = 0; i < b.len; i++) {
		b.data[i] ^= (char)0xff;
		pack_read(sample_fields, &r, b.data, b.len, &a, &e);
		b.data[i] ^= (char)0xff;
	}
	s.h = "xxxx";
	buf_reset(&b);
	pack_write(&b, sample_fields, &s);
	((char *)memmem(b.data, b.len, "xxxx", 4))[1] = 0;
	is_int(pack_read(sample_fields, &r, b.data, b.len, &a, &e), -1, "text with a NUL inside is refused");
	buf_release(&b);
	arena_release(&a);
}

static void test_rows(void)
{
	struct buf b = BUF_INIT(64);
	struct old o = {1, 2, 3}, r;
	struct arena a = ARENA_INIT;
	struct err e = ERR_INIT;
	size_t pos = 0, before;
	int rows = 0;

	while (!pack_row_write(&b, old_fields, &o))
		o.c++;
	before = b.len;
	is_int((long long)before, 55, "rows up to the cap, none of them half");
	while (pack_row_next((struct bytes){(uint8_t *)b.data, b.len}, &pos, old_fields, &r, &a, &e) == 1)
		rows += r.c == 3 + (uint32_t)rows;
	is_int(rows, 5, "rows come back in order");
	pos = 0;
	b.data[0] = 100;
	is_int(pack_row_next((struct bytes){(uint8_t *)b.data, b.len}, &pos, old_fields, &r, &a, &e), -1,
		"a row longer than what is there is damage");
	pos = b.len - 3;
	is_int(pack_row_next((struct bytes){(uint8_t *)b.data, b.len}, &pos, old_fields, &r, &a, &e), -1,
		"so is half a length");
	buf_release(&b);
	arena_release(&a);
}

static void test_messages(void)
{
	is_str(message_table[MSG_SEGMENT_COMMIT].name, "SEGMENT_COMMIT", "the table of messages is in order");
	ok(message_allowed(MSG_WIRE, ROLE_SUPERVISOR, ROLE_META), "the supervisor may wire any role");
	ok(!message_allowed(MSG_WIRE, ROLE_AGENT, ROLE_META), "an agent may not");
	ok(message_allowed(MSG_META_CHANGED, ROLE_META, ROLE_AGENT), "meta tells agents of changes");
	ok(!message_allowed(MSG_META_CHANGED, ROLE_META, ROLE_STORE), "but not the store");
	ok(!message_allowed(MESSAGE_NONE, ROLE_AGENT, ROLE_META) && !message_allowed(MESSAGE_COUNT, ROLE_AGENT, ROLE_META) &&
			!message_allowed(-3, ROLE_AGENT, ROLE_META), "numbers outside of the table are refused");
	is_str(role_name(ROLE_JANITOR), "janitor", "roles have names");
}

int main(void)
{
	test_round_trip();
	test_versions();
	test_damage();
	test_rows();
	test_messages();
	return done_testing();
}
