/* SPDX-License-Identifier: Apache-2.0 */
/* What an invertible format string writes is read back byte for byte, in pieces of any size; others are
 * refused by name. */
#include "libsh/format/format_string.h"
#include "tests/unit/random_record.h"
#include "tests/unit/tap.h"

enum { RECORDS = 40 };

static bool same_record(const struct record *a, const struct record *b, const char *format)
{
	bool headers = !strstr(format, "%h") ||
		(a->header_count == b->header_count && a->headers.len == b->headers.len &&
			(!a->headers.len || !memcmp(a->headers.data, b->headers.data, a->headers.len)));

	return bytes_same(a->value, b->value) && (!strstr(format, "%k") || bytes_same(a->key, b->key)) &&
	       headers && (!strstr(format, "%T") || a->timestamp == b->timestamp) &&
	       (!strstr(format, "%o") || a->offset == b->offset);
}

/* Read all of text, showing the reader one more byte at a time (step 1) or all of it. */
static int read_all(const struct format_string *f, const struct buf *text, size_t step,
	const struct record *records, const char *format, struct err *e)
{
	struct arena a = ARENA_INIT;
	size_t at = 0, shown = 0;
	int n = 0;

	while (at < text->len) {
		struct ndjson_record r;
		ptrdiff_t used;

		shown = shown + step > text->len ? text->len : shown + step;
		used = format_string_read(f, text->data + at, shown - at, shown == text->len, &a, &r, e);
		if (used < 0 || (!used && shown == text->len))
			break;
		if (!used)
			continue;
		if (n == RECORDS || !same_record(&r.record, &records[n], format))
			break;
		at += (size_t)used;
		n++;
	}
	arena_release(&a);
	return at == text->len ? n : -1;
}

static void comes_back(const char *format, enum random_kind kind, bool nulls)
{
	struct random_source source = {.seed = 7};
	struct err e = ERR_INIT;
	struct format_string *f = format_string_parse(format, &e);
	int wrong = 0;

	if (!f || format_string_check_invertible(f, &e)) {
		ok(false, "%s: %s", format, e.text);
		return;
	}
	for (int round = 0; round < 60; round++) {
		struct record records[RECORDS];
		struct buf text = BUF_INIT(1 << 20);

		for (int i = 0; i < RECORDS; i++) {
			records[i] = random_record(&source, kind);
			if (!nulls && !records[i].key.data)
				records[i].key.data = (const uint8_t *)"";
			if (!nulls && !records[i].value.data)
				records[i].value.data = (const uint8_t *)"";
			format_string_write(f, &text, "my-topic", 3, &records[i], &e);
		}
		if (read_all(f, &text, text.len, records, format, &e) != RECORDS ||
			(round < 3 && read_all(f, &text, 1, records, format, &e) != RECORDS))
			wrong++;
		buf_release(&text);
		arena_release(&source.arena);
	}
	ok(!wrong, "\"%s\" gives back every byte", format);
	if (wrong)
		printf("# %d of 60 rounds wrong: %s\n", wrong, e.text);
	format_string_free(f);
}

static void refuses(const char *format, const char *part)
{
	struct err e = ERR_INIT;
	struct format_string *f = format_string_parse(format, &e);
	bool refused = !f || format_string_check_invertible(f, &e);

	ok(refused && e.code == ERR_USAGE && strstr(e.text, part), "\"%s\" is refused, naming %s", format,
		part);
	if (!refused || !strstr(e.text, part))
		printf("# %s\n", e.text);
	format_string_free(f);
}

static void misreads(const char *format, const char *text, const char *what)
{
	struct err e = ERR_INIT;
	struct arena a = ARENA_INIT;
	struct ndjson_record r;
	struct format_string *f = format_string_parse(format, &e);
	ptrdiff_t used = f ? format_string_read(f, text, strlen(text), true, &a, &r, &e) : 0;

	ok(used < 0 && e.code == ERR_BAD_DATA && strstr(e.text, what), "\"%s\": %s", format, what);
	if (used >= 0 || !strstr(e.text, what))
		printf("# used %td, %s\n", used, e.text);
	arena_release(&a);
	format_string_free(f);
}

static void writes(const char *format, const struct record *r, const char *want)
{
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT(1 << 16);
	struct format_string *f = format_string_parse(format, &e);

	if (f)
		format_string_write(f, &out, "t", 2, r, &e);
	is_str(out.data, want, format);
	buf_release(&out);
	format_string_free(f);
}

int main(void)
{
	struct record r = {.offset = 5,
		.timestamp = 1767268800123,
		.key = {(const uint8_t *)"k\n", 2},
		.value = {NULL, 0}};

	writes("%t/%p/%o %T%%\\t\\x41\\\\", &r, "t/2/5 1767268800123%\tA\\");
	writes("%T{rfc3339} %K %V %k{json} %v{json}", &r, "2026-01-01T12:00:00.123Z 2 -1 \"k\\n\" null");
	writes("%k{hex} %k{base64} %v{hex} %v{base64} %h", &r, "6b0a awo= - - []");

	comes_back("%K %V %k%v", RANDOM_BINARY, true);
	comes_back("%K:%k%V:%v", RANDOM_BINARY, true);
	comes_back("%t %p %o %T %h %K,%V,%k%v\\n", RANDOM_BINARY, true);
	comes_back("%k{hex} %v{base64}\\n", RANDOM_BINARY, true);
	comes_back("%k{json}%v{json}%h", RANDOM_BINARY, true);
	comes_back("%T{rfc3339}\\t%k{base64}\\t%v{json}\\n", RANDOM_BINARY, true);
	comes_back("<%v{hex}>%h%K %k", RANDOM_BINARY, true);
	comes_back("%k\\t%v\\n", RANDOM_PLAIN, false);
	comes_back("%k=>%v--\\0--", RANDOM_PLAIN, false);
	comes_back("%V\\n%v\\n", RANDOM_TEXT, true);
	comes_back("%v\\n", RANDOM_PLAIN, false);

	refuses("%k%v\\n", "part 1, %k");
	refuses("%v", "part 1, %v");
	refuses("%o%p %v\\n", "%o");
	refuses("%k{hex}%v{hex}\\n", "%k{hex}");
	refuses("%v{hex}", "%v{hex}");
	refuses("%T{rfc3339}Z%v\\n", "%T{rfc3339}");
	refuses("%v %v\\n", "second time");
	refuses("%K %v\\n", "%k is missing");
	refuses("%k\\n", "the value");
	refuses("%x", "%x");
	refuses("%v{rot13}", "%v has no modifier");
	refuses("%o{hex}", "%o has no modifier");
	refuses("\\q", "\\q");
	refuses("%", "unknown variable");

	misreads("%k\\t%v\\n", "a\tb\tc\n", "holds a delimiter");
	misreads("%k--%v\\n", "a---b\n", "holds a delimiter");
	misreads("%v\\r\\n", "cut off\r", "ends too early");
	misreads("%K %V %k%v", "3 1 ab", "ends too early");
	misreads("%K %k{json}\\t%v\\n", "5 \"ab\"\tv\n", "does not agree");
	misreads("%v{hex}\\n", "00g\n", "the text differs");
	misreads("%v{hex}\\n", "0\n", "malformed hex");
	misreads("%o %v\\n", "x v\n", "expected a number");
	misreads("%V:%v", "99999999999:x", "in range");
	return done_testing();
}
