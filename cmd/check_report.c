/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "cmd/check_report.h"

#include <stdarg.h>
#include <string.h>

#include "libsh/base/mem.h"
#include "libsh/base/text.h"

static const struct output_column columns[] = {
	{.name = "severity", .type = OUTPUT_TEXT},
	{.name = "where", .type = OUTPUT_TEXT},
	{.name = "finding", .type = OUTPUT_TEXT},
};

void check_report_init(struct check_report *r, const struct command_run *run)
{
	*r = (struct check_report){.run = run};
	if (run->globals->output > OUTPUT_TABLE)
		r->output = output_new(run, columns, array_count(columns));
}

static void __attribute__((format(printf, 4, 0))) add(struct check_report *r, const char *severity, const char *where,
	const char *fmt, va_list ap)
{
	struct buf line = BUF_INIT(64 << 10);

	if (r->output) {
		buf_vaddf(&line, fmt, ap);
		output_text(r->output, severity);
		output_text(r->output, where);
		output_text(r->output, line.data ? line.data : "");
	} else {
		buf_addf(&line, "%s: %s: ", severity, where);
		buf_vaddf(&line, fmt, ap);
		buf_addc(&line, '\n');
		command_write(r->run, line.data, line.len);
	}
	buf_release(&line);
}

void check_report_damage(struct check_report *r, const char *where, const char *fmt, ...)
{
	va_list ap;

	r->damages++;
	va_start(ap, fmt);
	add(r, "damage", where, fmt, ap);
	va_end(ap);
}

void check_report_note(struct check_report *r, const char *where, const char *fmt, ...)
{
	va_list ap;

	r->notes++;
	if (r->run->globals->quiet)
		return;
	va_start(ap, fmt);
	add(r, "note", where, fmt, ap);
	va_end(ap);
}

static void summary(const struct check_report *r, struct buf *b)
{
	char size[32];

	buf_addf(b, "%lld partition%s, %lld segment%s (%s", (long long)r->partitions,
		text_plural(r->partitions, "", "s"), (long long)r->segments,
		text_plural(r->segments, "", "s"), text_format_size(r->segment_bytes, size));
	if (r->segments_read)
		buf_addf(b, ", data of %lld read", (long long)r->segments_read);
	buf_addf(b, "), %lld WAL file%s (%lld batch%s): ", (long long)r->wal_files,
		text_plural(r->wal_files, "", "s"), (long long)r->batches,
		text_plural(r->batches, "", "es"));
	if (r->damages)
		buf_addf(b, "%lld damage%s found", (long long)r->damages, text_plural(r->damages, "", "s"));
	else
		buf_adds(b, "no damage found");
}

int check_report_finish(struct check_report *r)
{
	struct buf b = BUF_INIT(4096);

	summary(r, &b);
	if (r->output) {
		output_finish(r->output, false);
		command_note(r->run, "%s", b.data);
	} else if (!r->run->globals->quiet) {
		buf_addc(&b, '\n');
		command_write(r->run, b.data, b.len);
	}
	buf_release(&b);
	return r->damages ? EXIT_CONDITION : EXIT_DONE;
}
