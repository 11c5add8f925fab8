/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streamctl produce: reads records (produce_input.c), gathers them in a batch per partition
 * (produce_batches.c), and has full ones, or those that have waited for the linger time, sent by a thread
 * (produce_sender.c).
 */
#include "config.h"

#include "cmd/client.h"
#include "cmd/interrupt.h"
#include "cmd/produce_batches.h"
#include "cmd/produce_report.h"
#include "libsh/base/clock.h"

enum { SENDER_BUSY_MS = 10 }; /* look again whether it is idle */

struct produce {
	struct command_run *run;
	const struct produce_values *values;
	struct produce_plan plan;
	struct produce_input input;
	struct produce_batches batches;
	struct produce_report report;
	int64_t now_ms;    /* real clock, for records without a timestamp */
	int64_t oldest_ms; /* monotonic clock: when the first unsent record came; 0: there is none */
	int64_t wake_ms;   /* do not wait for input beyond this; -1: as long as it takes */
	int64_t records;
};

/* After a read and while the input is slow: the clock, the linger time, the state of the sender. */
static int look_around(struct produce *p, struct err *e)
{
	int64_t now = clock_mono_ms();

	p->now_ms = clock_real_ms();
	produce_report_progress(&p->report, now);
	if (p->batches.sender && produce_sender_failed(p->batches.sender))
		return -1;
	if (!p->oldest_ms || now - p->oldest_ms < p->values->linger_ms)
		return 0;
	/* While a request is on its way, more gathers for the next one. */
	if (p->batches.sender && !produce_sender_idle(p->batches.sender)) {
		p->wake_ms = now + SENDER_BUSY_MS;
		return 0;
	}
	p->oldest_ms = 0;
	p->wake_ms = -1;
	produce_batches_turn(&p->batches);
	return produce_batches_send(&p->batches, e);
}

/* With --rate: wait until the record may be sent. */
static int keep_rate(struct produce *p, struct err *e)
{
	int64_t due = p->report.started_ms + p->records * 1000 / p->plan.rate;

	while (!interrupt_requested()) {
		int64_t now = clock_mono_ms(), wait = due - now;

		if (look_around(p, e))
			return -1;
		if (wait <= 0)
			return 0;
		if (p->oldest_ms && wait > p->values->linger_ms)
			wait = p->values->linger_ms + 1;
		interrupt_poll(-1, wait);
	}
	return 0;
}

static void note_file(struct produce *p)
{
	if (p->report.file == p->input.next_file)
		return;
	p->report.file = p->input.next_file;
	p->report.records_before_file = p->records;
}

static int add_record(struct produce *p, struct ndjson_record *r, struct err *e)
{
	char where[300];

	if (produce_batches_add(&p->batches, r, p->now_ms, &p->input.arena, e)) {
		if (e->code != ERR_NONE)
			err_prefix(e, "%s", produce_input_where(&p->input, where, sizeof(where)));
		return -1;
	}
	if (!p->oldest_ms) {
		p->oldest_ms = clock_mono_ms();
		p->wake_ms = p->oldest_ms + p->values->linger_ms;
	}
	p->records++;
	return 0;
}

static int read_and_send(struct produce *p, struct err *e)
{
	int64_t reads = 0;

	p->wake_ms = -1;
	for (;;) {
		struct ndjson_record r;
		enum produce_input_result got = produce_input_next(&p->input, p->wake_ms, &r, e);

		note_file(p);
		if (got == INPUT_ERROR)
			return -1;
		if (got == INPUT_END)
			return 0;
		if (got == INPUT_IDLE || p->input.reads != reads) {
			reads = p->input.reads;
			if (look_around(p, e))
				return -1;
		}
		if (got == INPUT_RECORD && ((p->plan.rate && keep_rate(p, e)) || add_record(p, &r, e)))
			return -1;
	}
}

/* ---- start and end ---- */

static int produce_all(struct produce *p, struct api *api)
{
	static const char *const levels[] = {"none", "wal", "object"};
	const char *durability = p->values->durability < 0 ? NULL : levels[p->values->durability];
	struct produce_totals t = {.records = 0};
	struct err e = ERR_INIT, sent = ERR_INIT, last = ERR_INIT;

	produce_report_start(&p->report);
	p->now_ms = clock_real_ms();
	if (!p->values->dry_run) {
		p->batches.sender = produce_sender_new(api, p->run->argv[0], durability, p->run->globals->timeout_ms,
			p->values->acks ? produce_report_ack : NULL, &p->report, &e);
		if (!p->batches.sender)
			return command_fail(p->run, &e);
	} else {
		api_free(api);
	}
	read_and_send(p, &e);
	/* also after bad input: what was read before it is sent */
	if (produce_batches_send(&p->batches, &last) && !e.code)
		e = last;
	/* the sender's own failure says more than what followed from it */
	if (p->batches.sender && produce_sender_finish(p->batches.sender, &t, &sent))
		e = sent;
	return produce_report_end(&p->report, &e, &t);
}

static int run(struct command_run *r)
{
	struct produce p = {.run = r, .values = r->values};
	struct err e = ERR_INIT;
	struct api *api = NULL;
	int status;

	p.batches = (struct produce_batches){.values = p.values, .plan = &p.plan, .topic = r->argv[0]};
	p.report = (struct produce_report){.run = r, .batches = &p.batches, .input = &p.input};
	if (produce_options_plan(p.values, r->argc, r->argv, &p.plan, &e) || !(api = client_open(r->globals, &e)) ||
		produce_batches_open(&p.batches, api, &e)) {
		status = command_fail(r, &e);
		api_free(api);
	} else {
		interrupt_catch();
		produce_input_init(&p.input, &p.plan.rules);
		status = produce_all(&p, api);
	}
	produce_batches_release(&p.batches);
	produce_input_release(&p.input);
	produce_options_release(&p.plan);
	return status;
}

static const struct command produce_command = {.name = "produce", .summary = "Send records to a topic",
	.operands = "TOPIC [FILE...]", .complete = "topic file", .min_operands = 1, .max_operands = -1,
	.options = produce_options_table,
	.values_size = sizeof(struct produce_values), .defaults = produce_options_defaults, .run = run};

int main(int argc, char **argv)
{
	return command_main(&produce_command, argc, argv);
}
