/* SPDX-License-Identifier: Apache-2.0 */
/* Records as JSON lines come back byte for byte; what is not one is refused with the column. */
#include "libsh/format/ndjson.h"
#include "tests/unit/random_record.h"
#include "tests/unit/tap.h"

#define BYTES(literal) ((struct bytes){(const uint8_t *)(literal), sizeof(literal) - 1})

static bool comes_back(struct random_source *source, const struct record *r)
{
	struct buf line = BUF_INIT(1 << 20);
	struct ndjson_record back;
	struct err e = ERR_INIT;
	bool same = false;

	if (!ndjson_write(&line, "topic", 7, r, &e) && !memchr(line.data, '\n', line.len) &&
		!ndjson_read(line.data, line.len, false, &source->arena, &back, &e))
		same = bytes_same(back.record.key, r->key) && bytes_same(back.record.value, r->value) &&
		       back.record.header_count == r->header_count &&
		       back.record.headers.len == r->headers.len &&
		       !memcmp(back.record.headers.data ? back.record.headers.data : (const uint8_t *)"",
			       r->headers.data ? r->headers.data : (const uint8_t *)"", r->headers.len) &&
		       back.record.offset == r->offset && back.record.timestamp == r->timestamp &&
		       back.partition == 7 && back.has_offset && back.has_timestamp &&
		       bytes_same(back.topic, BYTES("topic"));
	if (!same)
		printf("# %s\n# %s\n", line.data, e.text);
	buf_release(&line);
	return same;
}

static void test_round_trips(void)
{
	struct random_source source = {.seed = 1};
	int wrong = 0;

	for (int i = 0; i < 20000; i++) {
		struct record r = random_record(&source, i % 2 ? RANDOM_BINARY : RANDOM_TEXT);

		wrong += !comes_back(&source, &r);
		arena_release(&source.arena);
	}
	is_int(wrong, 0, "20,000 random records come back byte for byte");
}

static void test_shape(void)
{
	struct buf out = BUF_INIT(1 << 16), headers = BUF_INIT(1 << 16);
	struct record r = {.offset = 12, .timestamp = 1700000000000, .key = BYTES("k"), .value = BYTES("v")};
	struct err e = ERR_INIT;

	ndjson_write(&out, NULL, 0, &r, &e);
	is_str(out.data,
		"{\"partition\":0,\"offset\":12,\"timestamp\":1700000000000,\"key\":\"k\",\"value\":\"v\"}",
		"the shape of a plain record");
	record_headers_add(&headers, BYTES("h"), BYTES("\xff"));
	record_headers_add(&headers, BYTES("h"), (struct bytes){NULL, 0});
	r = (struct record){.timestamp = -1,
		.value = BYTES("\xff\x00"),
		.headers = {(uint8_t *)headers.data, headers.len},
		.header_count = 2};
	buf_reset(&out);
	ndjson_write(&out, "t", 1, &r, &e);
	is_str(out.data,
		"{\"topic\":\"t\",\"partition\":1,\"offset\":0,\"timestamp\":-1,\"value_base64\":\"/wA=\","
		"\"headers\":[[\"h\",{\"base64\":\"/w==\"}],[\"h\",null]]}",
		"null key, binary value, duplicate and null headers");
	out.max = 10;
	buf_reset(&out);
	is_int(ndjson_write(&out, NULL, 0, &r, &e), -1, "a record above the cap is an error");
	is_int(e.code, ERR_TOO_LARGE, "... namely too_large");
	ok(!out.len && !out.overflow, "... and nothing was added");
	buf_release(&out);
	buf_release(&headers);
}

static void reads(const char *line, bool loose, const char *value, const char *title)
{
	struct arena a = ARENA_INIT;
	struct ndjson_record r;
	struct err e = ERR_INIT;

	if (ndjson_read(line, strlen(line), loose, &a, &r, &e))
		ok(false, "%s: %s", title, e.text);
	else
		ok(value ? r.record.value.data && r.record.value.len == strlen(value) &&
					!memcmp(r.record.value.data, value, r.record.value.len)
			 : !r.record.value.data,
			"%s", title);
	arena_release(&a);
}

static void refuses(const char *line, size_t n, const char *what)
{
	struct arena a = ARENA_INIT;
	struct ndjson_record r;
	struct err e = ERR_INIT;
	int result = ndjson_read(line, n, true, &a, &r, &e);

	ok(result == -1 && e.code == ERR_BAD_DATA && strstr(e.text, what), "refused: %s", what);
	if (result == -1 && !strstr(e.text, what))
		printf("# %s\n", e.text);
	arena_release(&a);
}
#define REFUSES(literal, what) refuses((literal), sizeof(literal) - 1, (what))

static void test_reading(void)
{
	char deep[300];

	reads("{\"value\":\"a\\u00e4\\ud83d\\ude00\\n\"}", false, "a\xc3\xa4\xf0\x9f\x98\x80\n",
		"escapes and a surrogate pair");
	reads(" { \"x\" : [1, {\"y\":[]}, -1.5e3, true] , \"value\" : \"v\" } ", false, "v",
		"unknown members and white space");
	reads("{\"value\":null}", false, NULL, "null is null");
	reads("{}", false, NULL, "absent is null");
	reads("{\"partition\":0,\"offset\":7,\"timestamp\":1,\"topic\":\"t\"}", false, NULL,
		"so it is in what is written of a record of null");
	reads("{\"valu\":1,\"headers\":null}", false, NULL, "headers alone make a record");
	REFUSES("{\"valu\":\"a\"}", "\"valu\" is no member");
	REFUSES("{\"partition\":1,\"\":2}", "\"\" is no member");
	reads("{\"value\":\"\"}", false, "", "empty is not null");
	reads("{\"value\":{\"a\": 1}}", true, "{\"a\": 1}", "loose: an object is kept as its text");
	reads("{\"value\":12.50}", true, "12.50", "loose: so is a number");
	reads("{\"headers\":{\"a\":\"b\"},\"value\":\"v\"}", false, "v", "headers may be an object");
	REFUSES("", "too early");
	REFUSES("[]", "expected an object");
	REFUSES("{\"value\":\"a", "too early");
	REFUSES("{\"value\":\"\\ud800\"}", "surrogate");
	REFUSES("{\"value\":\"\\q\"}", "escape");
	REFUSES("{\"value\":\"\xff\"}", "UTF-8");
	REFUSES("{\"value\":\"a\tb\"}", "control character");
	REFUSES("{\"value\":\"a\"} x", "follows");
	REFUSES("{\"value\":\"a\",\"value_base64\":\"YQ==\"}", "twice");
	REFUSES("{\"value_base64\":\"Y\"}", "base64");
	REFUSES("{\"partition\":-1}", "out of range");
	REFUSES("{\"offset\":9223372036854775808}", "too large");
	REFUSES("{\"timestamp\":1.5}", "whole number");
	REFUSES("{\"headers\":[[\"a\"]]}", "[name, value]");
	REFUSES("{\"headers\":[[\"a\",\"b\",\"c\"]]}", "[name, value]");
	REFUSES("{\"headers\":[[null,\"b\"]]}", "expected a string");
	REFUSES("{\"value\":01}", "comma");
	memset(deep, '[', sizeof(deep));
	memcpy(deep, "{\"x\":", 5);
	refuses(deep, sizeof(deep), "nested too deeply");
}

int main(void)
{
	test_shape();
	test_reading();
	test_round_trips();
	return done_testing();
}
