/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streamctl consume: finds the partitions, turns --from and --to into offsets, and then lets all streams
 * (consume_stream.c) run until each has come to its end, the limit is reached, or the user has seen enough.
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/client.h"
#include "cmd/consume_output.h"
#include "cmd/consume_stream.h"
#include "cmd/interrupt.h"
#include "libsh/base/clock.h"
#include "libsh/base/text.h"

enum {
	LONG_POLL_MS = 30000,
	SHORT_POLL_MS = 1000,   /* when there are more streams than may be active */
	ACTIVE_MAX = 128,       /* fetches under way at once */
	STREAMS_MAX = 100000,
	POSITIONS_SHOWN = 20,
	PROGRESS_AFTER_MS = 2000,
	PROGRESS_EVERY_MS = 500,
};

struct values {
	const char *from, *to, *partitions, *group, *commit, *format, *grep, *exec;
	int64_t limit;
	bool exit_at_end, nul;
};
#define AT(member) offsetof(struct values, member)
static const struct option options[] = {
	{.type = OPTION_STRING, .name = "from", .argument = "OFFSET", .offset = AT(from),
		.complete = "earliest|latest",
		.text = "Start at OFFSET: a number, earliest, latest, -N for the last N, or @TIME",
		.more = "See OFFSETS in streamctl(1). The default is earliest with -e, -n or --to, and "
			"latest otherwise."},
	{.type = OPTION_STRING, .name = "to", .argument = "OFFSET", .offset = AT(to), .complete = "latest",
		.text = "Stop before OFFSET",
		.more = "latest, and a time that has passed, imply -e."},
	{.type = OPTION_STRING, .letter = 'p', .name = "partition", .argument = "P[,P]",
		.offset = AT(partitions),
		.text = "Read only these partitions"},
	{.type = OPTION_INT, .letter = 'n', .name = "limit", .argument = "N", .offset = AT(limit),
		.min = 1, .max = INT64_MAX,
		.text = "Stop after N records"},
	{.type = OPTION_FLAG, .letter = 'e', .name = "exit", .offset = AT(exit_at_end),
		.text = "Stop at the end, as it is at the moment of starting"},
	{.type = OPTION_STRING, .letter = 'g', .name = "group", .argument = "GROUP", .offset = AT(group),
		.text = "Read as a member of a consumer group",
		.more = "This version's server has no groups yet: the option is refused with exit status "
			"12."},
	{.type = OPTION_STRING, .name = "commit", .argument = "WHEN", .offset = AT(commit),
		.complete = "auto|exit|none",
		.text = "Commit the group's offsets: auto, exit or none",
		.more = "Refused like -g."},
	{.type = OPTION_STRING, .letter = 'f', .name = "format", .argument = "FORMAT", .offset = AT(format),
		.complete = "ndjson",
		.text = "Print records by a format string, or as JSON lines (ndjson)",
		.more = "See FORMATS in streamctl(1)."},
	{.type = OPTION_FLAG, .letter = '0', .name = "null", .offset = AT(nul),
		.text = "End each record with a NUL character instead of a newline"},
	{.type = OPTION_STRING, .name = "grep", .argument = "REGEX", .offset = AT(grep),
		.text = "Print only records whose value matches REGEX",
		.more = "It is an extended regular expression."},
	{.type = OPTION_STRING, .name = "exec", .argument = "CMD", .offset = AT(exec),
		.text = "Run CMD for each record, with the value on its standard input",
		.more = "CMD is run by sh -c, once for each record, one after the other. With -f or -o "
			"its input is the record in that form. STREAMCTL_TOPIC, STREAMCTL_PARTITION, "
			"STREAMCTL_OFFSET, STREAMCTL_TIMESTAMP and STREAMCTL_KEY are in its environment. "
			"When CMD fails, reading ends with exit status 3, and the error names the record."},
	{.type = OPTION_END},
};

/* OFFSET of the command line. */
enum offset_kind { OFFSET_NONE, OFFSET_EARLIEST, OFFSET_LATEST, OFFSET_NUMBER, OFFSET_LAST, OFFSET_TIME };
struct offset {
	enum offset_kind kind;
	int64_t number; /* offset, how many of the last, or real time in ms */
};

struct consume {
	struct command_run *run;
	const struct values *values;
	struct api *api;
	struct arena arena;
	struct offset from, to;
	bool to_end;             /* stop at the end as it is now */
	struct consume_rules rules;
	struct consume_stream *streams;
	size_t stream_count, stream_room;
	const char **topics;
	size_t topic_count;
	struct consume_output output;
	int64_t started_ms, progress_ms;
	int64_t fetches;         /* that have ended */
	size_t beyond;           /* streams whose partition ends before --from */
	struct api_partition beyond_range; /* of the first of them */
	bool progress_shown;
};

/* ---- offsets ---- */

static int parse_time(const char *text, struct offset *o, struct err *e)
{
	int64_t value;

	o->kind = OFFSET_TIME;
	if (*text == '-') {
		if (clock_parse_duration(text + 1, &value, e))
			return -1;
		o->number = clock_real_ms() - value;
		return 0;
	}
	if (strlen(text) > 10 && !text[strspn(text, "0123456789")])
		return text_parse_int(text, 0, INT64_MAX, "the time", &o->number, e);
	return clock_parse_rfc3339(text, &o->number, e);
}

static int parse_offset(const char *text, const char *option, struct offset *o, struct err *e)
{
	int result = 0;

	if (!strcmp(text, "earliest")) {
		o->kind = OFFSET_EARLIEST;
	} else if (!strcmp(text, "latest")) {
		o->kind = OFFSET_LATEST;
	} else if (!strcmp(text, "group")) {
		err_set(e, ERR_NOT_BUILT, "%s group: the server has no consumer groups yet", option);
		return -1;
	} else if (*text == '@') {
		result = parse_time(text + 1, o, e);
	} else {
		o->kind = *text == '-' ? OFFSET_LAST : OFFSET_NUMBER;
		result = text_parse_int(
			*text == '-' ? text + 1 : text, 0, INT64_MAX, "the offset", &o->number, e);
	}
	if (!result)
		return 0;
	if (e)
		e->code = ERR_USAGE;
	err_prefix(e, "%s %s", option, text);
	return err_hint(e,
		"an OFFSET is earliest, latest, 123, -100, @2026-01-31T12:00:00Z, @-48h or @1700000000000");
}

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/*
 * --from is not there yet. Without an end it is waited for. With one that is now, it is an error if it holds for
 * all partitions (check_beyond()); one of several may well be shorter than the others.
 */
static void note_beyond(struct consume *c, const struct consume_stream *s, const struct api_partition *p)
{
	if (!c->beyond++)
		c->beyond_range = *p;
	if (!c->to_end)
		command_note(c->run, "%s/%d: offset %lld is beyond the valid range %lld to %lld; waiting for it",
			s->topic, s->partition, (long long)s->from, (long long)p->low_watermark,
			(long long)p->high_watermark);
}

static int check_beyond(const struct consume *c, struct err *e)
{
	const struct consume_stream *s = c->streams;

	if (!c->to_end || !c->beyond || c->beyond < c->stream_count)
		return 0;
	err_set(e, ERR_OFFSET_OUT_OF_RANGE, "%s/%d: offset %lld is outside the valid range %lld to %lld", s->topic,
		s->partition, (long long)s->from, (long long)c->beyond_range.low_watermark,
		(long long)c->beyond_range.high_watermark);
	return err_hint(e, c->stream_count > 1 ? "the other partitions end before it as well" :
						 "--from -10 reads the last ten records");
}

static int set_start(
	struct consume *c, struct consume_stream *s, const struct api_partition *p, struct err *e)
{
	switch (c->from.kind) {
	case OFFSET_EARLIEST:
		s->from = p->low_watermark;
		break;
	case OFFSET_LAST:
		s->from = clamp(p->high_watermark - c->from.number, p->low_watermark, p->high_watermark);
		break;
	case OFFSET_NUMBER:
		s->from = c->from.number;
		if (s->from < p->low_watermark)
			command_note(c->run, "%s/%d begins at offset %lld; there is nothing before it",
				s->topic, s->partition, (long long)p->low_watermark);
		if (s->from > p->high_watermark)
			note_beyond(c, s, p);
		break;
	case OFFSET_TIME:
		if (api_seek(c->api, s->topic, s->partition, c->from.number, &s->from, e))
			return -1;
		break;
	default:
		s->from = p->high_watermark;
	}
	/* A start beyond the end is waited for: reading begins at the end and skips what stands before. */
	s->next = clamp(s->from, p->low_watermark, p->high_watermark);
	return 0;
}

static void set_end(const struct consume *c, struct consume_stream *s, const struct api_partition *p)
{
	if (c->to_end)
		s->end = p->high_watermark;
	if (c->to.kind == OFFSET_NUMBER && (s->end < 0 || c->to.number < s->end))
		s->end = c->to.number;
	else if (c->to.kind == OFFSET_LAST)
		s->end = clamp(p->high_watermark - c->to.number, p->low_watermark, p->high_watermark);
	else if (c->to.kind == OFFSET_EARLIEST)
		s->end = p->low_watermark;
	s->has_end_time = c->to.kind == OFFSET_TIME;
	s->end_time_ms = c->to.number;
}

/* ---- which partitions ---- */

static bool is_pattern(const char *name)
{
	return strpbrk(name, "*?") != NULL;
}

static void add_topic(struct consume *c, const char *name)
{
	for (size_t i = 0; i < c->topic_count; i++)
		if (!strcmp(c->topics[i], name))
			return;
	c->topics = mem_realloc_array(c->topics, c->topic_count + 1, sizeof(*c->topics));
	c->topics[c->topic_count++] = name;
}

static int add_matching(struct consume *c, const char *pattern, struct err *e)
{
	struct api_topic *topics;
	size_t count, before = c->topic_count;

	if (api_topics(c->api, &c->arena, &topics, &count, e))
		return -1;
	for (size_t i = 0; i < count; i++)
		if (text_glob(pattern, topics[i].name))
			add_topic(c, topics[i].name);
	return c->topic_count > before ? 0
				       : err_set(e, ERR_TOPIC_NOT_FOUND, "no topic matches \"%s\"", pattern);
}

static int find_topics(struct consume *c, struct err *e)
{
	char *list = arena_strdup(&c->arena, c->run->argv[0]), *name;

	while ((name = strsep(&list, ",")))
		if (is_pattern(name)) {
			if (add_matching(c, name, e))
				return -1;
		} else if (*name) {
			add_topic(c, name);
		}
	return c->topic_count ? 0 : err_set(e, ERR_USAGE, "no topic is named");
}

/* Is the partition among those of -p? */
static bool is_chosen(const struct consume *c, int32_t id)
{
	const char *list = c->values->partitions;

	while (list && *list) {
		if (strtol(list, NULL, 10) == id)
			return true;
		list += strcspn(list, ",");
		list += *list == ',';
	}
	return !c->values->partitions;
}

/* Numbers only, below `count` (of partitions, when it is known). */
static int check_partition_list(const char *list, int64_t count, struct err *e)
{
	while (list && *list) {
		size_t len = strcspn(list, ",");
		char number[16];
		int64_t id;

		snprintf(number, sizeof(number), "%.*s", (int)(len < 15 ? len : 15), list);
		if (text_parse_int(number, 0, INT32_MAX, "-p", &id, e)) {
			if (e)
				e->code = ERR_USAGE;
			return -1;
		}
		if (id >= count)
			return err_set(e, ERR_PARTITION_NOT_FOUND,
				"there is no partition %lld; the topic has %lld", (long long)id,
				(long long)count);
		list += len + (list[len] == ',');
	}
	return 0;
}

static struct consume_stream *add_stream(struct consume *c, const char *topic, int32_t partition)
{
	if (c->stream_count == c->stream_room) {
		c->stream_room = c->stream_room ? 2 * c->stream_room : 16;
		c->streams = mem_realloc_array(c->streams, c->stream_room, sizeof(*c->streams));
	}
	consume_stream_init(&c->streams[c->stream_count], c->api, &c->rules, topic, partition);
	return &c->streams[c->stream_count++];
}

static int open_topic(struct consume *c, const char *topic, struct err *e)
{
	struct api_partition *partitions;
	size_t count;

	if (api_partitions(c->api, topic, &c->arena, &partitions, &count, e))
		return -1; /* names the topic */
	if (check_partition_list(c->values->partitions, (int64_t)count, e))
		return err_prefix(e, "topic \"%s\"", topic);
	for (size_t i = 0; i < count; i++) {
		struct consume_stream *s;

		if (!is_chosen(c, partitions[i].id))
			continue;
		if (c->stream_count == STREAMS_MAX)
			return err_set(e, ERR_USAGE, "more than %d partitions at once", STREAMS_MAX);
		s = add_stream(c, topic, partitions[i].id);
		if (set_start(c, s, &partitions[i], e))
			return -1;
		set_end(c, s, &partitions[i]);
	}
	return 0;
}

/* ---- the loop ---- */

static int on_record(void *ctx, struct consume_stream *s, const struct record *r, struct err *e)
{
	struct consume *c = ctx;
	int64_t limit = c->values->limit;

	if (limit && c->output.records >= limit)
		return CONSUME_REFUSED; /* by another partition of the same moment */
	if (consume_output_record(&c->output, s->topic, s->partition, r, e) < 0)
		return -1;
	if (c->values->exec && interrupt_requested())
		return CONSUME_LAST;
	return limit && c->output.records >= limit ? CONSUME_LAST : CONSUME_TAKEN;
}

static void on_gap(void *ctx, struct consume_stream *s, int64_t from, int64_t to)
{
	struct consume *c = ctx;

	command_note(c->run, "%s/%d: the records from %lld to %lld are deleted by now", s->topic,
		s->partition, (long long)from, (long long)to - 1);
}

static void on_fetched(void *ctx)
{
	((struct consume *)ctx)->fetches++;
}

static void show_progress(struct consume *c, int64_t now_ms)
{
	if (now_ms < c->progress_ms || !c->run->globals->verbose || !command_shows_progress(c->run))
		return;
	c->progress_ms = now_ms + PROGRESS_EVERY_MS;
	c->progress_shown = true;
	fprintf(stderr, "\r%lld %s, %.0f/s \x1b[K", (long long)c->output.records,
		text_plural(c->output.records, "record", "records"),
		(double)c->output.records * 1000 / (double)(now_ms - c->started_ms));
}

/* Starts what can be started. Returns how many streams are not done, or -1. *pause_ms: until one may be
 * started again. */
static int64_t start_streams(struct consume *c, size_t *first, int64_t *pause_ms, struct err *e)
{
	int64_t now = clock_mono_ms();
	size_t open = 0, active = 0;

	show_progress(c, now);
	*pause_ms = LONG_POLL_MS;
	for (size_t i = 0; i < c->stream_count; i++)
		active += c->streams[i].call != NULL;
	for (size_t n = 0; n < c->stream_count; n++) {
		struct consume_stream *s = &c->streams[(*first + n) % c->stream_count];

		if (active < ACTIVE_MAX && !s->call && !s->enough) {
			consume_stream_start(s, now);
			active += s->call != NULL;
			if (active == ACTIVE_MAX)
				*first = (*first + n + 1) % c->stream_count;
		}
		if (s->failure.code != ERR_NONE) {
			*e = s->failure;
			return -1;
		}
		if (s->enough)
			return 0;
		open += !s->done;
		if (!s->call && !s->done && s->retry_ms - now < *pause_ms && s->retry_ms > now)
			*pause_ms = s->retry_ms - now;
	}
	return (int64_t)open;
}

static int read_all(struct consume *c, struct err *e)
{
	size_t first = 0;
	int64_t open, pause_ms;

	while (!interrupt_requested() && (open = start_streams(c, &first, &pause_ms, e)) > 0) {
		int64_t records = c->output.records, fetches = c->fetches;

		http_client_wait(api_http(c->api), interrupt_fd(), NULL, 0);
		if (c->output.records != records || c->fetches != fetches)
			continue;
		/* Nothing more comes at once: what we have goes out before we sleep. */
		if (c->output.out.len)
			consume_output_flush(&c->output);
		http_client_wait(api_http(c->api), interrupt_fd(), NULL, pause_ms);
	}
	return e->code == ERR_NONE ? 0 : -1;
}

/* ---- start and end ---- */

static int parse_values(struct consume *c, struct err *e)
{
	const struct values *v = c->values;

	if (v->group || v->commit)
		return err_set(e, ERR_NOT_BUILT, "%s: the server has no consumer groups yet",
			v->group ? "-g" : "--commit");
	if ((v->from && parse_offset(v->from, "--from", &c->from, e)) ||
		(v->to && parse_offset(v->to, "--to", &c->to, e)))
		return -1;
	c->to_end = v->exit_at_end || c->to.kind == OFFSET_LATEST ||
		(c->to.kind == OFFSET_TIME && c->to.number <= clock_real_ms());
	if (!v->from)
		c->from.kind =
			c->to_end || v->limit || c->to.kind != OFFSET_NONE ? OFFSET_EARLIEST : OFFSET_LATEST;
	if (check_partition_list(v->partitions, INT64_MAX, e))
		return -1;
	return consume_output_init(&c->output, c->run, v->format, v->nul, v->grep, v->exec, e);
}

static int open_all(struct consume *c, struct err *e)
{
	c->api = client_open(c->run->globals, e);
	if (!c->api || find_topics(c, e))
		return -1;
	for (size_t i = 0; i < c->topic_count; i++)
		if (open_topic(c, c->topics[i], e))
			return -1;
	c->output.named = c->topic_count > 1;
	c->rules = (struct consume_rules){.record = on_record, .gap = on_gap, .fetched = on_fetched, .ctx = c,
		.wait_ms = c->stream_count > ACTIVE_MAX ? SHORT_POLL_MS : LONG_POLL_MS,
		.timeout_ms = c->run->globals->timeout_ms,
		.max_records = c->values->grep ? 0 : c->values->limit};
	return 0;
}

/* How far it came, after an interrupt. */
static void print_positions(const struct consume *c)
{
	if (c->run->globals->quiet)
		return;
	fprintf(stderr, "%s: interrupted after %lld %s\n", c->run->title, (long long)c->output.records,
		text_plural(c->output.records, "record", "records"));
	for (size_t i = 0; i < c->stream_count && i < POSITIONS_SHOWN; i++)
		fprintf(stderr, "  %s/%d: the next offset is %lld\n", c->streams[i].topic,
			c->streams[i].partition, (long long)c->streams[i].next);
	if (c->stream_count > POSITIONS_SHOWN)
		fprintf(stderr, "  and %zu more\n", c->stream_count - POSITIONS_SHOWN);
}

static void consume_release(struct consume *c)
{
	for (size_t i = 0; i < c->stream_count; i++)
		consume_stream_release(&c->streams[i]);
	mem_free(c->streams);
	mem_free(c->topics);
	api_free(c->api);
	consume_output_release(&c->output);
	arena_release(&c->arena);
}

static int run(struct command_run *r)
{
	struct consume c = {.run = r, .values = r->values};
	struct err e = ERR_INIT;
	int status = EXIT_DONE, result;

	if (parse_values(&c, &e) || open_all(&c, &e) || check_beyond(&c, &e)) {
		status = command_fail(r, &e);
		goto out;
	}
	interrupt_catch();
	c.started_ms = clock_mono_ms();
	c.progress_ms = c.started_ms + PROGRESS_AFTER_MS;
	result = read_all(&c, &e);
	consume_output_end(&c.output);
	if (c.progress_shown)
		fputs("\r\x1b[K", stderr);
	if (result) {
		status = command_fail(r, &e);
	} else if (interrupt_requested()) {
		print_positions(&c);
		/* Without an end to reach, an interrupt is the way to end it. */
		status = c.to_end || c.values->limit || c.to.kind != OFFSET_NONE ? EXIT_PARTIAL : EXIT_DONE;
	} else if (r->globals->verbose) {
		fprintf(stderr, "%lld %s in %.2f s\n", (long long)c.output.records,
			text_plural(c.output.records, "record", "records"),
			(double)(clock_mono_ms() - c.started_ms) / 1000);
	}
out:
	consume_release(&c);
	return status;
}

static const struct command consume_command = {.name = "consume", .summary = "Read records of topics",
	.operands = "TOPIC[,TOPIC|PATTERN]", .complete = "topic", .min_operands = 1, .max_operands = 1,
	.options = options,
	.values_size = sizeof(struct values), .run = run};

int main(int argc, char **argv)
{
	return command_main(&consume_command, argc, argv);
}
