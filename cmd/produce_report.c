/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "cmd/produce_report.h"

#include <stdio.h>
#include "cmd/interrupt.h"
#include "libsh/base/clock.h"
#include "libsh/base/text.h"

enum { PROGRESS_AFTER_MS = 2000, PROGRESS_EVERY_MS = 500 };

void produce_report_start(struct produce_report *p)
{
	p->started_ms = clock_mono_ms();
	p->progress_ms = p->started_ms + PROGRESS_AFTER_MS;
}

void produce_report_progress(struct produce_report *p, int64_t now_ms)
{
	struct produce_totals t = {.records = p->batches->sent_records};
	char size[32];
	double seconds = (double)(now_ms - p->started_ms) / 1000;

	if (!command_shows_progress(p->run) || p->batches->values->acks || now_ms < p->progress_ms)
		return;
	p->progress_ms = now_ms + PROGRESS_EVERY_MS;
	if (p->batches->sender)
		produce_sender_totals(p->batches->sender, &t);
	fprintf(stderr, "\r%lld %s acknowledged, %s read, %.0f records/s \x1b[K", (long long)t.records,
		text_plural(t.records, "record", "records"), text_format_size(p->input->bytes, size),
		(double)t.records / seconds);
	p->progress_shown = true;
}

static void end_progress(struct produce_report *p)
{
	if (p->progress_shown)
		fputs("\r\x1b[K", stderr);
	p->progress_shown = false;
}

void produce_report_ack(void *ctx, const struct produce_request *q, const struct api_ack *ack)
{
	struct produce_report *p = ctx;
	int format = p->run->globals->output;
	char line[200];
	int n;

	if (format == OUTPUT_JSON || format == OUTPUT_NDJSON)
		n = snprintf(line, sizeof(line),
			"{\"partition\":%d,\"first_offset\":%lld,\"last_offset\":%lld,\"records\":%lld,"
			"\"durability\":\"%s\"}\n",
			q->partition, (long long)ack->first_offset, (long long)ack->last_offset,
			(long long)ack->records, ack->durability);
	else
		n = snprintf(line, sizeof(line), "%d\t%lld\t%lld\t%lld\t%s\n", q->partition,
			(long long)ack->first_offset, (long long)ack->last_offset, (long long)ack->records,
			ack->durability);
	command_write(p->run, line, (size_t)n);
}

static void summarize(const struct produce_report *p, const struct produce_totals *t)
{
	double seconds = (double)(clock_mono_ms() - p->started_ms) / 1000;
	char size[32];

	if (!p->batches->sender && !p->run->globals->quiet)
		fprintf(stderr, "would send %lld %s, %s\n", (long long)p->batches->sent_records,
			text_plural(p->batches->sent_records, "record", "records"), text_format_size(p->input->bytes, size));
	else if (p->run->globals->verbose || command_shows_progress(p->run))
		fprintf(stderr,
			"%lld %s acknowledged%s%s in %.2f s, %s in %lld %s, %lld sent again\n",
			(long long)t->records, text_plural(t->records, "record", "records"),
			t->durability[0] ? " at level " : "", t->durability, seconds,
			text_format_size(t->bytes, size), (long long)t->requests,
			text_plural(t->requests, "request", "requests"), (long long)t->retries);
}

/* How much is acknowledged. With several files also of which, as long as everything that was read is. */
static void print_acknowledged(const struct produce_report *p, const struct produce_totals *t)
{
	int before = p->file - 1, behind = p->input->rules.file_count - p->file;

	fprintf(stderr, "%lld %s acknowledged", (long long)t->records, text_plural(t->records, "record", "records"));
	if (t->unknown)
		fprintf(stderr, ", %lld may or may not be stored", (long long)t->unknown);
	else if (p->input->rules.file_count > 1 && before >= 0 && t->records == p->batches->sent_records &&
		 t->records >= p->records_before_file) {
		fprintf(stderr, ": %lld of %s", (long long)(t->records - p->records_before_file),
			produce_input_file(p->input));
		if (before)
			fprintf(stderr, ", all of the %d %s before it", before, text_plural(before, "file", "files"));
		if (behind)
			fprintf(stderr, "; %d %s not read", behind, text_plural(behind, "file was", "files were"));
	}
}

/* Everything has ended; e is what ended it, if anything did. */
int produce_report_end(struct produce_report *p, const struct err *e, const struct produce_totals *t)
{
	end_progress(p);
	if (!e->code && !interrupt_requested()) {
		summarize(p, t);
		return EXIT_DONE;
	}
	if (e->code) {
		int status = command_fail(p->run, e);

		fputs("  ", stderr);
		print_acknowledged(p, t);
		fputc('\n', stderr);
		return status;
	}
	fprintf(stderr, "%s: interrupted: ", p->run->title);
	print_acknowledged(p, t);
	fprintf(stderr, "; record %lld of %s is the last one sent\n", (long long)p->input->records,
		produce_input_file(p->input));
	return EXIT_PARTIAL;
}
