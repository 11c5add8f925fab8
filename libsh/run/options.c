/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/run/options.h"

#include <stdio.h>
#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 80 };

struct found {
	const struct option *option;
	char *target;
};

void option_list_release(struct option_list *l)
{
	mem_free(l->items);
	l->items = NULL;
	l->count = 0;
}

static int list_add(struct option_list *l, const char *item, const char *label, struct err *e)
{
	if (l->count >= OPTION_LIST_MAX)
		return err_set(e, ERR_USAGE, "%s is given more than %d times", label, OPTION_LIST_MAX);
	l->items = mem_realloc_array(l->items, (size_t)l->count + 1, sizeof(*l->items));
	l->items[l->count++] = item;
	return 0;
}

static int choose(const char *choices, const char *value, int *which, const char *label, struct err *e)
{
	size_t len = strlen(value);
	int n = 0;

	for (const char *c = choices; *c; n++) {
		size_t word = strcspn(c, "|");

		if (word == len && !memcmp(c, value, len)) {
			*which = n;
			return 0;
		}
		c += word + (c[word] == '|');
	}
	return err_set(e, ERR_USAGE, "%s: \"%s\" is none of %s", label, value, choices);
}

int option_parse_duration(const char *text, int64_t *ms, struct err *e)
{
	int64_t value;

	if (clock_parse_duration(text, &value, e))
		return -1;
	if (value && !text[strspn(text, "0123456789")]) {
		err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' has no unit", text);
		return err_hint(e, "%.20ss are seconds, %.20sms milliseconds", text, text);
	}
	*ms = value;
	return 0;
}

/* Store one option's value where its table says. value is NULL for flags and bare optional arguments. */
static int store(const struct found *f, const char *label, const char *value, struct err *e)
{
	const struct option *o = f->option;
	void *target = f->target + o->offset;
	int result = 0;

	switch (o->type) {
	case OPTION_FLAG:
		*(bool *)target = true;
		break;
	case OPTION_STRING:
		*(const char **)target = value ? value : "";
		break;
	case OPTION_INT:
		result = text_parse_int(value, o->min == o->max ? INT64_MIN : o->min,
			o->min == o->max ? INT64_MAX : o->max, label, target, e);
		break;
	case OPTION_SIZE:
		result = text_parse_size(value, target, e);
		if (!result && o->min != o->max &&
			(*(int64_t *)target < o->min || *(int64_t *)target > o->max))
			return err_set(e, ERR_USAGE, "%s: %s is outside %lld to %lld bytes", label, value,
				(long long)o->min, (long long)o->max);
		break;
	case OPTION_DURATION:
		result = option_parse_duration(value, target, e);
		break;
	case OPTION_CHOICE:
		return choose(o->choices, value, target, label, e);
	case OPTION_LIST:
		return list_add(target, value, label, e);
	case OPTION_END:
		break;
	}
	if (result) {
		if (e)
			e->code = ERR_USAGE;
		if (o->type != OPTION_INT) /* the number's error has the label already */
			err_prefix(e, "%s", label);
	}
	return result;
}

static bool find_letter(const struct option_set *sets, int set_count, char letter, struct found *f)
{
	for (int s = 0; s < set_count; s++)
		for (const struct option *o = sets[s].table; o && o->type != OPTION_END; o++)
			if (o->letter == letter) {
				*f = (struct found){o, sets[s].values};
				return true;
			}
	return false;
}

static bool find_name(
	const struct option_set *sets, int set_count, const char *name, size_t len, struct found *f)
{
	for (int s = 0; s < set_count; s++)
		for (const struct option *o = sets[s].table; o && o->type != OPTION_END; o++)
			if (o->name && strlen(o->name) == len && !memcmp(o->name, name, len)) {
				*f = (struct found){o, sets[s].values};
				return true;
			}
	return false;
}

/* argv[*i] is "--name" or "--name=value". */
static int parse_long(
	const struct option_set *sets, int set_count, int argc, char **argv, int *i, struct err *e)
{
	const char *word = argv[*i];
	size_t len = strcspn(word + 2, "=");
	const char *value = word[2 + len] == '=' ? word + 3 + len : NULL;
	char label[80];
	struct found f;

	if (!find_name(sets, set_count, word + 2, len, &f))
		return err_set(e, ERR_USAGE, "unknown option --%.*s", (int)(len > 60 ? 60 : len), word + 2);
	snprintf(label, sizeof(label), "--%s", f.option->name);
	if (f.option->type == OPTION_FLAG && value)
		return err_set(e, ERR_USAGE, "%s takes no value", label);
	if (f.option->type != OPTION_FLAG && !value && !f.option->optional) {
		if (*i + 1 >= argc)
			return err_set(e, ERR_USAGE, "%s needs its %s", label, f.option->argument);
		value = argv[++*i];
	}
	return store(&f, label, value, e);
}

/* argv[*i] is "-abc" or "-nVALUE". */
static int parse_short(
	const struct option_set *sets, int set_count, int argc, char **argv, int *i, struct err *e)
{
	for (const char *c = argv[*i] + 1; *c; c++) {
		char label[3] = {'-', *c, '\0'};
		const char *value = NULL;
		struct found f;

		if (!find_letter(sets, set_count, *c, &f))
			return err_set(e, ERR_USAGE, "unknown option %s", label);
		if (f.option->type != OPTION_FLAG && !f.option->optional) {
			if (c[1])
				value = c + 1;
			else if (*i + 1 < argc)
				value = argv[++*i];
			else
				return err_set(e, ERR_USAGE, "%s needs its %s", label, f.option->argument);
		}
		if (store(&f, label, value, e))
			return -1;
		if (value)
			break;
	}
	return 0;
}

int options_parse(const struct option_set *sets, int set_count, int argc, char **argv, bool stop_at_operand,
	int *operand_count, struct err *e)
{
	int kept = 0;

	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];
		bool rest = !strcmp(word, "--");

		if (rest || (stop_at_operand && (word[0] != '-' || !word[1]))) {
			for (i += rest; i < argc; i++)
				argv[kept++] = argv[i];
			break;
		}
		if (word[0] != '-' || !word[1]) {
			argv[kept++] = argv[i];
			continue;
		}
		if (word[1] == '-' ? parse_long(sets, set_count, argc, argv, &i, e) :
				     parse_short(sets, set_count, argc, argv, &i, e))
			return -1;
	}
	*operand_count = kept;
	return 0;
}

/* ---- the table as text ---- */

/* Add words from HELP_COLUMN on, wrapped and indented. */
static void add_wrapped(struct buf *out, const char *text)
{
	size_t column = HELP_COLUMN;

	while (*text) {
		size_t word = strcspn(text, " ");
		bool first = column == HELP_COLUMN;

		if (!first && column + 1 + word > HELP_WIDTH) {
			buf_addf(out, "\n%*s", HELP_COLUMN, "");
			column = HELP_COLUMN;
			first = true;
		}
		if (!first)
			buf_addc(out, ' ');
		buf_add(out, text, word);
		column += word + !first;
		text += word + (text[word] == ' ');
	}
	buf_addc(out, '\n');
}

void options_help(const struct option *table, struct buf *out)
{
	for (const struct option *o = table; o && o->type != OPTION_END; o++) {
		size_t start = out->len, used;

		buf_addf(out, o->letter ? "  -%c" : "    ", o->letter);
		if (o->name)
			buf_addf(out, "%s--%s", o->letter ? ", " : "  ", o->name);
		if (o->argument)
			buf_addf(out, o->optional ? "[=%s]" : " %s", o->argument);
		used = out->len - start;
		if (used + 2 > HELP_COLUMN)
			buf_addf(out, "\n%*s", HELP_COLUMN, "");
		else
			buf_addf(out, "%*s", (int)(HELP_COLUMN - used), "");
		add_wrapped(out, o->text);
	}
}

/* Plain text for mdoc: backslashes are escaped, and no line begins with a control character. */
static void add_mdoc_text(struct buf *out, const char *text)
{
	bool line_start = true;

	for (; *text; text++) {
		if (line_start && (*text == '.' || *text == '\''))
			buf_adds(out, "\\&");
		if (*text == '\\')
			buf_adds(out, "\\e");
		else if (*text == '-')
			buf_adds(out, "\\-");
		else
			buf_addc(out, *text);
		/* mdoc wants each sentence on a line of its own */
		if (*text == '.' && text[1] == ' ') {
			buf_addc(out, '\n');
			text++;
			line_start = true;
		} else {
			line_start = *text == '\n';
		}
	}
}

void options_mdoc(const struct option *table, struct buf *out)
{
	for (const struct option *o = table; o && o->type != OPTION_END; o++) {
		buf_adds(out, ".It");
		if (o->letter)
			buf_addf(out, " Fl %c%s", o->letter, o->name ? " ," : "");
		if (o->name)
			buf_addf(out, " Fl \\-%s", o->name);
		if (o->optional)
			buf_addf(out, " Ns Op = Ns Ar %s", o->argument);
		else if (o->argument)
			buf_addf(out, " Ar %s", o->argument);
		buf_addc(out, '\n');
		add_mdoc_text(out, o->text);
		buf_adds(out, ".\n");
		if (o->more) {
			add_mdoc_text(out, o->more);
			buf_addc(out, '\n');
		}
	}
}

void options_tsv(const struct option *table, struct buf *out)
{
	for (const struct option *o = table; o && o->type != OPTION_END; o++) {
		char letter[2] = {o->letter, '\0'};

		buf_addf(out, "option\t%s\t%s\t%s\t%s\t%s\n", letter, o->name ? o->name : "",
			o->argument ? o->argument : "",
			o->choices    ? o->choices
			: o->complete ? o->complete
				      : "",
			o->text);
	}
}
