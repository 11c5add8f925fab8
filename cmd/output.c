/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/output.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "libsh/base/buf.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum { OUTPUT_MAX_BYTES = 256 << 20 };

struct cell {
	const char *text; /* NULL: null */
	int64_t number;
};

struct output {
	const struct command_run *run;
	const struct output_column *columns;
	int column_count;
	struct cell *cells;
	size_t cell_count, cell_room;
	struct arena arena;
};

struct output *output_new(const struct command_run *r, const struct output_column *columns, int count)
{
	struct output *o = mem_zalloc(sizeof(*o));

	assert(count <= OUTPUT_COLUMNS_MAX);
	o->run = r;
	o->columns = columns;
	o->column_count = count;
	return o;
}

static void add_cell(struct output *o, struct cell cell)
{
	if (o->cell_count == o->cell_room) {
		o->cell_room = o->cell_room ? o->cell_room * 2 : 64;
		o->cells = mem_realloc_array(o->cells, o->cell_room, sizeof(*o->cells));
	}
	o->cells[o->cell_count++] = cell;
}

void output_text(struct output *o, const char *text)
{
	add_cell(o, (struct cell){text ? arena_strdup(&o->arena, text) : NULL, 0});
}

void output_number(struct output *o, int64_t number)
{
	const struct output_column *c = &o->columns[o->cell_count % (size_t)o->column_count];
	char size[32];
	bool table = o->run->globals->output < 0 || o->run->globals->output == OUTPUT_TABLE;

	add_cell(o, (struct cell){c->type == OUTPUT_BYTES && table ?
		arena_strdup(&o->arena, text_format_size(number, size)) :
		arena_printf(&o->arena, "%lld", (long long)number), number});
}

static void add_heading(struct buf *b, const char *name)
{
	for (; *name; name++)
		buf_addc(b, *name == '_' ? ' ' : (char)toupper((unsigned char)*name));
}

/* Text for people: control characters cannot play with the terminal. */
static void add_safe(struct buf *b, const char *text)
{
	for (; *text; text++)
		buf_addc(b, (unsigned char)*text < 32 || *text == 127 ? '?' : *text);
}

static const char *heading_of(const struct output_column *c)
{
	return c->heading ? c->heading : c->name;
}

static const char *cell_text(const struct cell *c)
{
	return c->text ? c->text : "-";
}

static void add_padded(struct buf *b, const char *text, int width, bool right, bool last)
{
	int pad = width - (int)strlen(text);

	if (right)
		buf_addf(b, "%*s", pad > 0 ? pad : 0, "");
	add_safe(b, text);
	if (!right && !last)
		buf_addf(b, "%*s", pad > 0 ? pad : 0, "");
	buf_adds(b, last ? "\n" : "  ");
}

static void add_table(const struct output *o, struct buf *b)
{
	int width[OUTPUT_COLUMNS_MAX], n = o->run->globals->quiet ? 1 : o->column_count;

	for (int c = 0; c < n; c++) {
		width[c] = o->run->globals->quiet ? 0 : (int)strlen(heading_of(&o->columns[c]));
		for (size_t i = (size_t)c; i < o->cell_count; i += (size_t)o->column_count)
			if ((int)strlen(cell_text(&o->cells[i])) > width[c])
				width[c] = (int)strlen(cell_text(&o->cells[i]));
	}
	for (int c = 0; c < n && !o->run->globals->quiet; c++) {
		struct buf heading = BUF_INIT(256);

		add_heading(&heading, heading_of(&o->columns[c]));
		add_padded(b, heading.data, width[c], o->columns[c].type != OUTPUT_TEXT, c == n - 1);
		buf_release(&heading);
	}
	for (size_t row = 0; row < o->cell_count; row += (size_t)o->column_count)
		for (int c = 0; c < n; c++)
			add_padded(b, cell_text(&o->cells[row + (size_t)c]), width[c],
				o->columns[c].type != OUTPUT_TEXT && n > 1, c == n - 1);
}

/* "name   value" a line. */
static void add_list(const struct output *o, struct buf *b)
{
	int width = 0;

	for (int c = 0; c < o->column_count; c++)
		if ((int)strlen(heading_of(&o->columns[c])) > width)
			width = (int)strlen(heading_of(&o->columns[c]));
	for (size_t i = 0; i < o->cell_count; i++) {
		struct buf name = BUF_INIT(256);

		buf_adds(&name, heading_of(&o->columns[i % (size_t)o->column_count]));
		for (size_t k = 0; k < name.len; k++)
			if (name.data[k] == '_')
				name.data[k] = ' ';
		buf_addf(b, "%-*s  ", width, name.data);
		add_safe(b, cell_text(&o->cells[i]));
		buf_addc(b, '\n');
		buf_release(&name);
	}
}

static void add_object(const struct output *o, const struct cell *row, struct buf *b)
{
	for (int c = 0; c < o->column_count; c++) {
		buf_addf(b, "%s\"%s\":", c ? "," : "{", o->columns[c].name);
		if (!row[c].text)
			buf_adds(b, "null");
		else if (o->columns[c].type == OUTPUT_TEXT)
			text_json_string(b, row[c].text, strlen(row[c].text));
		else
			buf_adds(b, row[c].text);
	}
	buf_addc(b, '}');
}

static void add_json(const struct output *o, struct buf *b, bool lines, bool single)
{
	if (!lines && !single)
		buf_addc(b, '[');
	for (size_t i = 0; i < o->cell_count; i += (size_t)o->column_count) {
		if (i && !lines)
			buf_adds(b, ",\n ");
		add_object(o, o->cells + i, b);
		if (lines)
			buf_addc(b, '\n');
	}
	if (!lines)
		buf_adds(b, single ? "\n" : "]\n");
}

/* Tabs and line ends inside a value become spaces, so that columns stay columns. */
static void add_tsv(const struct output *o, struct buf *b)
{
	for (int c = 0; c < o->column_count; c++)
		buf_addf(b, "%s%s", o->columns[c].name, c == o->column_count - 1 ? "\n" : "\t");
	for (size_t i = 0; i < o->cell_count; i++) {
		for (const char *t = o->cells[i].text; t && *t; t++)
			buf_addc(b, *t == '\t' || *t == '\n' ? ' ' : *t);
		buf_addc(b, (i + 1) % (size_t)o->column_count ? '\t' : '\n');
	}
}

void output_finish(struct output *o, bool single)
{
	struct buf b = BUF_INIT(OUTPUT_MAX_BYTES);
	int format = o->run->globals->output;

	if (format == OUTPUT_JSON || format == OUTPUT_NDJSON)
		add_json(o, &b, format == OUTPUT_NDJSON, single);
	else if (format == OUTPUT_TSV)
		add_tsv(o, &b);
	else if (single)
		add_list(o, &b);
	else
		add_table(o, &b);
	command_write(o->run, b.data, b.len);
	buf_release(&b);
	arena_release(&o->arena);
	mem_free(o->cells);
	mem_free(o);
}
