/* SPDX-License-Identifier: Apache-2.0 */
/* One table: parsing, --help, mdoc and the lines for completions. */
#include "libsh/run/options.h"
#include "libsh/base/mem.h"
#include "tests/unit/tap.h"

struct values {
	bool flag, other;
	const char *text, *maybe;
	int64_t number, size, time;
	int level;
	struct option_list list;
};
#define AT(member) offsetof(struct values, member)
static const struct option table[] = {
	{.type = OPTION_FLAG, .letter = 'f', .name = "flag", .offset = AT(flag), .text = "Raise the flag"},
	{.type = OPTION_FLAG, .letter = '0', .name = "other", .offset = AT(other), .text = "The other"},
	{.type = OPTION_STRING, .letter = 't', .name = "text", .argument = "TEXT", .offset = AT(text),
		.complete = "topic",
		.text = "Take a text", .more = "One sentence. Another."},
	{.type = OPTION_STRING, .name = "maybe", .argument = "X", .offset = AT(maybe), .optional = true,
		.text = "Perhaps"},
	{.type = OPTION_INT, .letter = 'n', .name = "number", .argument = "N", .offset = AT(number),
		.min = -100, .max = 100,
		.text = "A number"},
	{.type = OPTION_SIZE, .name = "size", .argument = "SIZE", .offset = AT(size), .min = 1,
		.max = 1 << 20, .text = "A size"},
	{.type = OPTION_DURATION, .name = "time", .argument = "TIME", .offset = AT(time), .text = "A time"},
	{.type = OPTION_CHOICE, .name = "level", .argument = "L", .offset = AT(level),
		.choices = "low|mid|high",
		.text = "A level"},
	{.type = OPTION_LIST, .letter = 'l', .name = "list", .argument = "ITEM", .offset = AT(list),
		.text = "Items"},
	{.type = OPTION_END},
};

static struct values v;
static char *args[20];
static int count;
static struct err error;

/* The words of a command line, separated by spaces. */
static int parse(const char *line, bool stop)
{
	static char text[200];
	struct option_set set = {table, &v};
	int argc = 1;

	option_list_release(&v.list);
	memset(&v, 0, sizeof(v));
	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		args[argc++] = word;
	args[0] = text;
	err_clear(&error);
	return options_parse(&set, 1, argc, args, stop, &count, &error);
}

static void refuses(const char *line, const char *what)
{
	ok(parse(line, false) == -1 && error.code == ERR_USAGE && strstr(error.text, what), "refused: %s",
		line);
	if (!strstr(error.text, what))
		printf("# %s\n", error.text);
}

int main(void)
{
	struct buf out = BUF_INIT(1 << 16);

	is_int(parse("-f a --text=x b -n -5 --level mid", false), 0, "options and operands may be mixed");
	ok(v.flag && !v.other && v.number == -5 && v.level == 1, "values are stored");
	is_str(v.text, "x", "--text=x");
	ok(count == 2 && !strcmp(args[0], "a") && !strcmp(args[1], "b"), "operands come first, in order");
	is_int(parse("-f0ntest", false), -1, "letters run together; the rest is the argument");
	is_int(parse("-f0n7 --size 64k --time 5ms -l a -l b --list=c", false), 0, "sizes, times and lists");
	ok(v.flag && v.other && v.number == 7 && v.size == 65536 && v.time == 5 && v.list.count == 3,
		"... are stored");
	is_str(v.list.items[2], "c", "the list is in order");
	is_int(parse("--text -100 -- -f -", false), 0, "an argument may begin with a dash; -- ends options");
	ok(!v.flag && count == 2 && !strcmp(args[0], "-f") && !strcmp(args[1], "-"),
		"... and - is an operand");
	is_int(parse("-f cmd -n 5", true), 0, "a dispatcher stops at the first operand");
	ok(count == 3 && !strcmp(args[1], "-n"), "... and keeps the rest");
	parse("--maybe", false);
	is_str(v.maybe, "", "an optional argument may be absent");
	parse("--maybe=5% x", false);
	is_str(v.maybe, "5%", "... or given with =");
	refuses("--unknown", "--unknown");
	refuses("-x", "-x");
	refuses("--flag=1", "takes no value");
	refuses("--text", "needs its TEXT");
	refuses("-n", "needs its N");
	refuses("-n 101", "-n");
	refuses("-n 1x", "-n");
	refuses("--size 2M", "outside");
	refuses("--size x", "--size");
	refuses("--time x", "--time");
	refuses("--time 5", "'5' has no unit");
	is_str(error.hint, "5s are seconds, 5ms milliseconds", "... with what it could be");
	is_int(parse("--time 0", false), 0, "none at all needs no unit");
	refuses("--level top", "none of low|mid|high");

	options_help(table, &out);
	ok(strstr(out.data, "  -f, --flag                  Raise the flag\n"), "--help aligns");
	ok(strstr(out.data, "      --maybe[=X]             Perhaps\n"), "... and shows optional arguments");
	buf_reset(&out);
	options_mdoc(table, &out);
	ok(strstr(out.data, ".It Fl t , Fl \\-text Ar TEXT\nTake a text.\nOne sentence.\nAnother.\n"),
		"mdoc, a sentence a line");
	buf_reset(&out);
	options_tsv(table, &out);
	ok(strstr(out.data, "option\tt\ttext\tTEXT\ttopic\tTake a text\n"), "lines for completions");
	buf_release(&out);
	option_list_release(&v.list);
	return done_testing();
}
