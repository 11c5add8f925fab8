/* SPDX-License-Identifier: Apache-2.0 */
/* Text and time: what is read from people and written for them. */
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"
#include "tests/unit/tap.h"

static void is_size(const char *text, int64_t want)
{
	struct err e = ERR_INIT;
	int64_t got = -1;

	text_parse_size(text, &got, &e);
	ok(got == want && (want >= 0 || e.code == ERR_INVALID_ARGUMENT), "size '%s'", text);
}

static void test_numbers(void)
{
	struct err e = ERR_INIT;
	char out[16];
	int64_t n = 0;
	bool yes = false;

	ok(text_parse_int("-12", -20, 20, "x", &n, &e) == 0 && n == -12, "a negative number");
	ok(text_parse_int("9223372036854775807", 0, INT64_MAX, "x", &n, &e) == 0 && n == INT64_MAX,
		"the largest");
	ok(text_parse_int("9223372036854775808", 0, INT64_MAX, "x", &n, &e) < 0, "one more is too large");
	ok(text_parse_int("21", -20, 20, "depth", &n, &e) < 0, "a number out of range");
	is_str(e.text, "depth: 21 is not from -20 to 20", "says what the range is");
	ok(text_parse_int("", 0, 9, "x", &n, &e) < 0 && text_parse_int(" 1", 0, 9, "x", &n, &e) < 0 &&
			text_parse_int("1x", 0, 9, "x", &n, &e) < 0 &&
			text_parse_int("+1", 0, 9, "x", &n, &e) < 0,
		"only digits are a number");
	is_size("0", 0);
	is_size("64k", 65536);
	is_size("16MB", 16 << 20);
	is_size("1GiB", 1 << 30);
	is_size("2t", INT64_C(2) << 40);
	is_size("8388608T", -1);
	is_size("-1", -1);
	is_size("12x", -1);
	is_size("k", -1);
	is_size("", -1);
	is_str(text_format_size(512, out), "512 B", "bytes");
	is_str(text_format_size(1536, out), "1.5 KiB", "kibibytes");
	is_str(text_format_size(INT64_MAX, out), "8.0 EiB", "a very large size fits");
	is_str(text_format_size(INT64_MIN, out), "-8.0 EiB", "a very small one, too");
	ok(text_parse_bool("Yes", &yes, &e) == 0 && yes && text_parse_bool("off", &yes, &e) == 0 && !yes &&
			text_parse_bool("maybe", &yes, &e) < 0,
		"truth");
}

static void test_utf8(void)
{
	static const struct {
		const char *text, *title;
		bool good;
	} cases[] = {
		{"", "nothing", true},
		{"plain ASCII, longer than eight bytes", "ASCII", true},
		{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 and more", "two, three and four bytes",
			true},
		{"\xf4\x8f\xbf\xbf", "U+10FFFF", true},
		{"\xf4\x90\x80\x80", "past U+10FFFF", false},
		{"\xc0\x80", "overlong NUL", false},
		{"\xe0\x9f\xbf", "overlong three bytes", false},
		{"\xf0\x8f\xbf\xbf", "overlong four bytes", false},
		{"\xed\xa0\x80", "a surrogate", false},
		{"\xed\x9f\xbf", "just below the surrogates", true},
		{"abcdefgh\xe2\x82", "cut off", false},
		{"\x80", "a lone continuation", false},
		{"\xff", "no UTF-8 byte", false},
	};

	for (size_t i = 0; i < array_count(cases); i++)
		ok(text_is_utf8(cases[i].text, strlen(cases[i].text)) == cases[i].good, "UTF-8: %s",
			cases[i].title);
	ok(text_is_utf8("\0", 1), "UTF-8: NUL is a character");
}

static bool base64_refused(const char *s)
{
	struct buf b = BUF_INIT(100);
	bool refused = text_base64_decode(&b, s, strlen(s)) < 0 && !b.len;

	buf_release(&b);
	return refused;
}

static void test_base64(void)
{
	static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"},
		{"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff", "+/8="}};
	struct buf b = BUF_INIT(100);

	for (size_t i = 0; i < array_count(pairs); i++) {
		const char *raw = pairs[i][0], *coded = pairs[i][1];
		bool good;

		buf_reset(&b);
		good = text_base64_encode(&b, raw, strlen(raw)) == 0 && b.len == strlen(coded) &&
		       !memcmp(b.data, coded, b.len);
		buf_reset(&b);
		good &= text_base64_decode(&b, coded, strlen(coded)) == 0 && b.len == strlen(raw) &&
			!memcmp(b.data, raw, b.len);
		ok(good, "base64 of '%s', both ways", raw);
	}
	ok(base64_refused("Zg") && base64_refused("Zg=") && base64_refused("Z==="),
		"base64: padding is needed");
	ok(base64_refused("Zh==") && base64_refused("Zm9="), "base64: bits left over must be zero");
	ok(base64_refused("Zg==Zg=="), "base64: padding only at the end");
	ok(base64_refused("Zm9 ") && base64_refused("Zm-_") && base64_refused("===="),
		"base64: its alphabet only");
	buf_release(&b);
}

static void test_codings(void)
{
	struct buf b = BUF_INIT(100);

	text_hex_encode(&b, "\x00\xffz", 3);
	is_str(b.data, "00ff7a", "hex");
	buf_reset(&b);
	ok(text_hex_decode(&b, "00fF7A", 6) == 0 && b.len == 3 && !memcmp(b.data, "\0\xffz", 3), "hex back");
	ok(text_hex_decode(&b, "0", 1) < 0 && text_hex_decode(&b, "0g", 2) < 0 && b.len == 3,
		"bad hex adds nothing");
	buf_reset(&b);
	text_url_encode(&b, "a b/\xc3\xbc~", 7);
	is_str(b.data, "a%20b%2F%C3%BC~", "URL encoding");
	buf_reset(&b);
	ok(text_url_decode(&b, "a%20b+c%2f", 10, false) == 0, "URL decoding");
	is_str(b.data, "a b+c/", "leaves a plus alone");
	buf_reset(&b);
	text_url_decode(&b, "a+b", 3, true);
	is_str(b.data, "a b", "unless it means a space");
	ok(text_url_decode(&b, "%2", 2, false) < 0 && text_url_decode(&b, "%zz", 3, false) < 0 && b.len == 3,
		"bad escapes add nothing");
	buf_reset(&b);
	text_json_string(&b, "a\"\\\n\x01\x7f\xc3\xbc", 8);
	is_str(b.data, "\"a\\\"\\\\\\n\\u0001\\u007f\xc3\xbc\"", "a JSON string");
	buf_release(&b);
	buf_init(&b, 5);
	buf_adds(&b, "ab");
	ok(text_json_string(&b, "xyz", 3) < 0 && b.len == 2, "a JSON string that does not fit adds nothing");
	buf_release(&b);
}

static void test_patterns(void)
{
	ok(text_glob("*", "") && text_glob("a*c", "abbc") && text_glob("a?c", "abc") &&
			text_glob("*a*b", "xaxab"),
		"patterns that match");
	ok(!text_glob("a", "") && !text_glob("a?", "a") && !text_glob("*b", "ba") && !text_glob("", "a"),
		"patterns that do not");
	ok(text_equal_nocase("Content", "cONTENT") && !text_equal_nocase("a", "ab"), "case does not matter");
	ok(text_ends_with("a.wal", ".wal") && text_ends_with(".wal", ".wal") && !text_ends_with("wal", ".wal"), "what a name ends with");
	ok(text_hex_value('0') == 0 && text_hex_value('f') == 15 && text_hex_value('A') == 10, "hex digits");
	ok(text_hex_value('g') < 0 && text_hex_value('\0') < 0 && text_hex_value(0x11) < 0 && text_hex_value('@') < 0, "and what is none");
}

static void is_time(const char *text, int64_t want)
{
	struct err e = ERR_INIT;
	int64_t got = INT64_MIN;

	clock_parse_rfc3339(text, &got, &e);
	ok(got == want, "time '%s'", text);
}

static void is_duration(const char *text, int64_t want)
{
	int64_t got = -1;

	clock_parse_duration(text, &got, NULL);
	ok(got == want, "duration '%s'", text);
}

static void test_times(void)
{
	char out[CLOCK_RFC3339_BYTES];
	bool same = true;

	is_time("1970-01-01", 0);
	is_time("2026-01-31T12:00:00.123Z", INT64_C(1769860800123));
	is_time("2026-01-31T13:30:00.1239+01:30", INT64_C(1769860800123));
	is_time("2026-01-31 12:00", INT64_C(1769860800000));
	is_time("1969-12-31T23:59:59.999Z", -1);
	is_time("2000-02-29", INT64_C(951782400000));
	is_time("1900-02-29", INT64_MIN);
	is_time("2026-13-01", INT64_MIN);
	is_time("2026-01-31T24:00:00Z", INT64_MIN);
	is_time("2026-01-31T12:00:00Zjunk", INT64_MIN);
	is_time("yesterday", INT64_MIN);
	is_str(clock_format_rfc3339(-1, out), "1969-12-31T23:59:59.999Z", "before the epoch");
	is_str(clock_format_rfc3339(INT64_C(253402300799999), out), "9999-12-31T23:59:59.999Z", "year 9999");
	is_str(clock_format_rfc3339(INT64_C(253402300800000), out), "253402300800000", "past it, the number");
	is_str(clock_format_rfc3339(INT64_MIN, out), "-9223372036854775808", "the smallest number fits");
	for (int64_t ms = INT64_C(-62167219200000); ms < INT64_C(253402300800000);
		ms += INT64_C(40000000007)) {
		int64_t back;

		same &= clock_parse_rfc3339(clock_format_rfc3339(ms, out), &back, NULL) == 0 && back == ms;
	}
	ok(same, "ten thousand years survive their text");
	is_duration("250", 250);
	is_duration("250ms", 250);
	is_duration("30s", 30000);
	is_duration("48h", 172800000);
	is_duration("7d", 604800000);
	is_duration("1.5s", -1);
	is_duration("-1s", -1);
	is_duration("", -1);
	is_duration("99999999999999999d", -1);
	ok(clock_mono_ms() <= clock_boot_ms() + 1 && clock_real_ms() > INT64_C(1600000000000),
		"the clocks run");
}

int main(void)
{
	test_numbers();
	test_utf8();
	test_base64();
	test_codings();
	test_patterns();
	test_times();
	return done_testing();
}
