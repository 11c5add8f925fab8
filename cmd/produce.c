/* SPDX-License-Identifier: Apache-2.0 */
/*
 * streamctl produce: reads records (produce_input.c), gathers them in a batch per partition, and hands full
 * ones, or those that have waited for the linger time, to the sender's thread (produce_sender.c).
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/client.h"
#include "cmd/interrupt.h"
#include "cmd/produce_input.h"
#include "cmd/produce_sender.h"
#include "libsh/base/clock.h"
#include "libsh/base/text.h"
#include "libsh/format/murmur2.h"

enum {
	DEFAULT_BATCH_BYTES = 1 << 20,
	DEFAULT_LINGER_MS = 5,
	DEFAULT_MESSAGE_MAX_BYTES = 1048588, /* max.message.bytes, when the server does not tell */
	OPEN_BYTES_MAX = 64 << 20,           /* in batches of all partitions that are not sent yet */
	PROGRESS_AFTER_MS = 2000,
	PROGRESS_EVERY_MS = 500,
	SENDER_BUSY_MS = 10,                 /* look again whether it is idle */
};

struct values {
	const char *key, *key_delimiter, *format, *compress, *rate, *resume_id;
	struct option_list headers;
	int64_t partition, batch_bytes, linger_ms;
	int durability; /* -1: the topic's */
	bool nul, empty_is_null, dry_run, acks;
};
#define AT(member) offsetof(struct values, member)
static const struct option options[] = {
	{.type = OPTION_STRING,
		.letter = 'k',
		.name = "key",
		.argument = "KEY",
		.offset = AT(key),
		.text = "Give KEY to records that bring no key of their own"},
	{.type = OPTION_STRING,
		.letter = 'K',
		.name = "key-delimiter",
		.argument = "D",
		.offset = AT(key_delimiter),
		.text = "Take what stands before the first D of a line as the key",
		.more = "\\t means a tab. A line without D has no key."},
	{.type = OPTION_INT,
		.letter = 'p',
		.name = "partition",
		.argument = "P",
		.offset = AT(partition),
		.min = 0,
		.max = INT32_MAX,
		.text = "Send everything to partition P",
		.more = "Otherwise a record with a key goes where Kafka's own clients would send it, and "
			"records without one to one partition after the other, a batch at a time."},
	{.type = OPTION_LIST,
		.letter = 'H',
		.name = "header",
		.argument = "NAME=VALUE",
		.offset = AT(headers),
		.text = "Add a header to every record",
		.more = "May be given several times."},
	{.type = OPTION_STRING,
		.letter = 'f',
		.name = "format",
		.argument = "FORMAT",
		.offset = AT(format),
		.complete = "ndjson",
		.text = "Read records as JSON lines (ndjson) or by a format string",
		.more = "See FORMATS in streamctl(1). With ndjson the partition of each line is honoured "
			"unless "
			"-p is given, and its offset is ignored. A format string that cannot be read back is "
			"refused."},
	{.type = OPTION_FLAG,
		.letter = '0',
		.name = "null",
		.offset = AT(nul),
		.text = "Records end with a NUL character instead of a newline"},
	{.type = OPTION_FLAG,
		.letter = 'Z',
		.name = "empty-is-null",
		.offset = AT(empty_is_null),
		.text = "Send null for an empty key or value"},
	{.type = OPTION_STRING,
		.letter = 'z',
		.name = "compress",
		.argument = "CODEC",
		.offset = AT(compress),
		.complete = "none|lz4|zstd|snappy|gzip",
		.text = "Compress batches with lz4, zstd, snappy or gzip",
		.more = "The default is none."},
	{.type = OPTION_CHOICE,
		.name = "durability",
		.argument = "LEVEL",
		.offset = AT(durability),
		.choices = "none|wal|object",
		.text = "Wait until records are safe at LEVEL: none, wal or object",
		.more = "The default is the level of the topic. See streamhouse(7)."},
	{.type = OPTION_SIZE,
		.name = "batch-bytes",
		.argument = "SIZE",
		.offset = AT(batch_bytes),
		.min = 1,
		.max = 1 << 30,
		.text = "Send requests of about SIZE bytes",
		.more = "The default is 1M."},
	{.type = OPTION_DURATION,
		.name = "linger",
		.argument = "TIME",
		.offset = AT(linger_ms),
		.text = "Send a batch that is not full after TIME",
		.more = "The default is 5ms."},
	{.type = OPTION_STRING,
		.name = "rate",
		.argument = "N[/s]",
		.offset = AT(rate),
		.text = "Send at most N records a second"},
	{.type = OPTION_FLAG,
		.name = "dry-run",
		.offset = AT(dry_run),
		.text = "Read and check everything, say what would be sent, and send nothing"},
	{.type = OPTION_FLAG,
		.name = "acks",
		.offset = AT(acks),
		.text = "Print a line for every acknowledged request",
		.more = "Its fields are partition, first and last offset, number of records, and the "
			"durability "
			"reached, separated by tabs; with -o json or ndjson it is an object."},
	{.type = OPTION_STRING,
		.name = "resume-id",
		.argument = "ID",
		.offset = AT(resume_id),
		.text = "Continue under ID without duplicates after an unknown outcome",
		.more = "This version's server cannot do that yet: the option is refused with exit "
			"status 12."},
	{.type = OPTION_END},
};

static void defaults(void *values)
{
	struct values *v = values;

	v->partition = -1;
	v->durability = -1;
	v->batch_bytes = DEFAULT_BATCH_BYTES;
	v->linger_ms = DEFAULT_LINGER_MS;
}

/* The batch of one partition that is being filled, and finished ones that go with it in one request. */
struct open_batch {
	struct batch_writer writer;
	struct buf finished;
	int64_t finished_records;
	bool dirty; /* listed in produce.dirty */
};

struct produce {
	struct command_run *run;
	const struct values *values;
	struct produce_input input;
	struct produce_sender *sender; /* NULL: dry run */
	int32_t partition_count;
	struct open_batch **open;      /* per partition; NULL until used */
	int32_t *dirty, dirty_count;   /* partitions that hold records */
	size_t batch_max, message_max; /* when a batch is full; what the topic takes */
	enum codec codec;
	struct buf headers;            /* of -H, encoded */
	int32_t header_count;
	struct bytes key;              /* of -k */
	int32_t sticky;                /* where records without a key go now */
	int64_t now_ms;                /* real clock, for records without a timestamp */
	int64_t oldest_ms; /* monotonic clock: when the first unsent record came; 0: there is none */
	int64_t wake_ms;               /* do not wait for input beyond this; -1: as long as it takes */
	int64_t open_bytes, records, sent_records;
	int file;                      /* which one is read, counted from 1 */
	int64_t records_before_file;
	int64_t started_ms, progress_ms, rate;
	bool progress_shown;
};

/* ---- batches ---- */

static struct open_batch *open_batch(struct produce *p, int32_t partition)
{
	struct open_batch *b = p->open[partition];

	if (!b) {
		b = p->open[partition] = mem_zalloc(sizeof(*b));
		batch_writer_init(&b->writer, p->codec, BATCH_MAX_RAW_BYTES);
		buf_init(&b->finished, (size_t)p->values->batch_bytes + 2 * (size_t)BATCH_MAX_BYTES);
	}
	if (!b->dirty) {
		b->dirty = true;
		p->dirty[p->dirty_count++] = partition;
	}
	return b;
}

/* Close the batch that is being filled. */
static int finish_batch(struct produce *p, struct open_batch *b, struct err *e)
{
	size_t before = b->finished.len, size;
	int32_t records = b->writer.count;

	if (!records)
		return 0;
	p->open_bytes -= (int64_t)b->writer.records.len;
	if (batch_writer_finish(&b->writer, &b->finished, e))
		return -1;
	size = b->finished.len - before;
	if (size > p->message_max) {
		err_set(e, ERR_TOO_LARGE,
			"a batch of %d record%s and %zu bytes is above max.message.bytes of the topic, %zu",
			records, text_plural(records, "", "s"), size, p->message_max);
		if (size <= BATCH_MAX_BYTES)
			err_hint(e, "streamctl topic alter %s -C max.message.bytes=%zu%s", p->run->argv[0], size,
				p->codec == CODEC_NONE ? ", or compress with -z zstd" : "");
		buf_truncate(&b->finished, before);
		return -1;
	}
	b->finished_records += records;
	return 0;
}

/* Send what a partition has gathered. -1 with e->code ERR_NONE: the sender has failed and knows why. */
static int send_partition(struct produce *p, int32_t partition, struct err *e)
{
	struct open_batch *b = p->open[partition];
	struct produce_request q = {.partition = partition};

	if (finish_batch(p, b, e))
		return -1;
	if (!b->finished_records)
		return 0;
	q.records = b->finished_records;
	q.batches = b->finished;
	b->finished_records = 0;
	p->sent_records += q.records;
	if (!p->sender) {
		buf_reset(&b->finished);
		return 0;
	}
	buf_init(&b->finished, b->finished.max);
	return produce_sender_submit(p->sender, &q);
}

static int send_all(struct produce *p, struct err *e)
{
	for (int32_t i = 0; i < p->dirty_count; i++) {
		p->open[p->dirty[i]]->dirty = false;
		if (send_partition(p, p->dirty[i], e))
			return -1;
	}
	p->dirty_count = 0;
	return 0;
}

static int32_t next_sticky(const struct produce *p)
{
	return (p->sticky + 1) % p->partition_count;
}

static int choose_partition(const struct produce *p, const struct ndjson_record *r, struct err *e)
{
	int64_t asked = p->values->partition >= 0 ? p->values->partition : r->partition;

	if (asked >= p->partition_count)
		return err_set(e, ERR_PARTITION_NOT_FOUND, "there is no partition %lld; the topic has %d",
			(long long)asked, p->partition_count);
	if (asked >= 0)
		return (int)asked;
	if (p->partition_count == 1)
		return 0;
	return r->record.key.data
		       ? murmur2_partition(r->record.key.data, r->record.key.len, p->partition_count)
		       : p->sticky;
}

/* The headers of -H behind those of the record. */
static void add_headers(struct produce *p, struct record *r)
{
	uint8_t *all;

	if (!r->header_count) {
		r->headers = (struct bytes){(uint8_t *)p->headers.data, p->headers.len};
	} else {
		all = arena_alloc(&p->input.arena, r->headers.len + p->headers.len);
		memcpy(all, r->headers.data, r->headers.len);
		memcpy(all + r->headers.len, p->headers.data, p->headers.len);
		r->headers = (struct bytes){all, r->headers.len + p->headers.len};
	}
	r->header_count += p->header_count;
}

static int add_record(struct produce *p, struct ndjson_record *r, struct err *e)
{
	int32_t partition;
	struct open_batch *b;
	size_t before, size = r->record.key.len + r->record.value.len;

	if (!r->record.key.data)
		r->record.key = p->key;
	if (!r->has_timestamp)
		r->record.timestamp = p->now_ms;
	if (p->header_count)
		add_headers(p, &r->record);
	partition = choose_partition(p, r, e);
	if (partition < 0)
		return -1;
	b = open_batch(p, partition);
	/* It would not fit: what is there goes first. */
	if (b->writer.count &&
		batch_writer_size(&b->writer) + size + r->record.headers.len + 32 > p->batch_max) {
		if (finish_batch(p, b, e))
			return -1;
		if (b->finished.len + p->batch_max / 2 > (size_t)p->values->batch_bytes) {
			if (send_partition(p, partition, e))
				return -1;
			if (partition == p->sticky && !r->record.key.data && r->partition < 0 &&
				p->values->partition < 0) {
				p->sticky = next_sticky(p);
				b = open_batch(p, p->sticky);
			}
		}
	}
	before = b->writer.records.len;
	if (batch_writer_add(&b->writer, &r->record, e))
		return -1;
	if (!p->oldest_ms) {
		p->oldest_ms = clock_mono_ms();
		p->wake_ms = p->oldest_ms + p->values->linger_ms;
	}
	p->open_bytes += (int64_t)(b->writer.records.len - before);
	p->records++;
	/* A record larger than a batch goes alone, and if it is too large for the topic, the error comes
	 * while it is at hand. */
	if (b->writer.count == 1 && batch_writer_size(&b->writer) > p->batch_max && finish_batch(p, b, e))
		return -1;
	if (p->open_bytes > OPEN_BYTES_MAX)
		return send_all(p, e);
	return 0;
}

/* ---- the loop ---- */

static void show_progress(struct produce *p, int64_t now_ms)
{
	struct produce_totals t = {.records = p->sent_records};
	char size[32];
	double seconds = (double)(now_ms - p->started_ms) / 1000;

	if (!command_shows_progress(p->run) || p->values->acks || now_ms < p->progress_ms)
		return;
	p->progress_ms = now_ms + PROGRESS_EVERY_MS;
	if (p->sender)
		produce_sender_totals(p->sender, &t);
	fprintf(stderr, "\r%lld %s acknowledged, %s read, %.0f records/s \x1b[K", (long long)t.records,
		text_plural(t.records, "record", "records"), text_format_size(p->input.bytes, size), (double)t.records / seconds);
	p->progress_shown = true;
}

static void end_progress(struct produce *p)
{
	if (p->progress_shown)
		fputs("\r\x1b[K", stderr);
	p->progress_shown = false;
}

/* After a read and while the input is slow: the clock, the linger time, the state of the sender. */
static int look_around(struct produce *p, struct err *e)
{
	int64_t now = clock_mono_ms();

	p->now_ms = clock_real_ms();
	show_progress(p, now);
	if (p->sender && produce_sender_failed(p->sender))
		return -1;
	if (!p->oldest_ms || now - p->oldest_ms < p->values->linger_ms)
		return 0;
	/* While a request is on its way, more gathers for the next one. */
	if (p->sender && !produce_sender_idle(p->sender)) {
		p->wake_ms = now + SENDER_BUSY_MS;
		return 0;
	}
	p->oldest_ms = 0;
	p->wake_ms = -1;
	p->sticky = next_sticky(p);
	return send_all(p, e);
}

/* With --rate: wait until the record may be sent. */
static int keep_rate(struct produce *p, struct err *e)
{
	int64_t due = p->started_ms + p->records * 1000 / p->rate;

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
	if (p->file == p->input.next_file)
		return;
	p->file = p->input.next_file;
	p->records_before_file = p->records;
}

static int read_and_send(struct produce *p, struct err *e)
{
	int64_t reads = 0;

	p->wake_ms = -1;
	for (;;) {
		struct ndjson_record r;
		enum produce_input_result got = produce_input_next(&p->input, p->wake_ms, &r, e);
		char where[300];

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
		if (got == INPUT_RECORD) {
			if (p->rate && keep_rate(p, e))
				return -1;
			if (add_record(p, &r, e)) {
				if (e->code != ERR_NONE)
					err_prefix(e, "%s",
						produce_input_where(&p->input, where, sizeof(where)));
				return -1;
			}
		}
	}
}

/* ---- start and end ---- */

static void print_ack(void *ctx, const struct produce_request *q, const struct api_ack *ack)
{
	struct produce *p = ctx;
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

static int parse_rate(const char *text, int64_t *rate, struct err *e)
{
	char number[32];
	size_t len = strlen(text);

	if (len > 2 && !strcmp(text + len - 2, "/s"))
		len -= 2;
	snprintf(number, sizeof(number), "%.*s", (int)len, text);
	if (text_parse_int(number, 1, 1000000000, "--rate", rate, e)) {
		if (e)
			e->code = ERR_USAGE;
		return -1;
	}
	return 0;
}

static int encode_headers(struct produce *p, struct err *e)
{
	const struct option_list *list = &p->values->headers;

	buf_init(&p->headers, 1 << 20);
	for (int i = 0; i < list->count; i++) {
		const char *item = list->items[i], *equals = strchr(item, '=');

		if (!equals)
			return err_set(e, ERR_USAGE, "-H %s: expected NAME=VALUE", item);
		if (record_headers_add(&p->headers,
			    (struct bytes){(const uint8_t *)item, (size_t)(equals - item)},
			    (struct bytes){(const uint8_t *)equals + 1, strlen(equals + 1)}))
			return err_set(
				e, ERR_USAGE, "the headers of -H are larger than %zu bytes", p->headers.max);
	}
	p->header_count = list->count;
	return 0;
}

/* The delimiter when the format is "%kDELIMITER%v\n", which -K does without stumbling over a second one. */
static const char *split_instead(const char *format, char delimiter[16])
{
	size_t len;

	if (strncmp(format, "%k", 2))
		return NULL;
	len = strcspn(format + 2, "%'");
	if (!len || len > 15 || strncmp(format + 2 + len, "%v", 2))
		return NULL;
	snprintf(delimiter, 16, "%.*s", (int)len, format + 2);
	format += 2 + len + 2;
	return (!*format || !strcmp(format, "\\n") || !strcmp(format, "\n")) &&
			       (!strchr(delimiter, '\\') || !strcmp(delimiter, "\\t")) ?
		       delimiter :
		       NULL;
}

static int parse_values(struct produce *p, struct produce_input_rules *rules, struct format_string **format,
	char delimiter[16], struct err *e)
{
	const struct values *v = p->values;

	if (v->resume_id) {
		err_set(e, ERR_NOT_BUILT,
			"--resume-id needs a server that keeps producer ids, which this version does not");
		return err_hint(e, "without it, a rerun after exit status 9 may send records twice");
	}
	*rules = (struct produce_input_rules){.files = p->run->argv + 1, .file_count = p->run->argc - 1,
		.end = v->nul ? '\0' : '\n', .empty_is_null = v->empty_is_null};
	if (v->key_delimiter && (v->format || !*v->key_delimiter))
		return err_set(e, ERR_USAGE,
			v->format ? "-K is for lines, not for -f" : "-K needs a delimiter that is not empty");
	rules->key_delimiter = v->key_delimiter && !strcmp(v->key_delimiter, "\\t") ? "\t" : v->key_delimiter;
	rules->ndjson = v->format && !strcmp(v->format, "ndjson");
	if (v->format && !rules->ndjson) {
		char *text = mem_printf("%s%s", v->format, v->nul ? "\\0" : "");

		*format = format_string_parse(text, e);
		mem_free(text);
		rules->split_instead = split_instead(v->format, delimiter);
		if (!*format || format_string_check_invertible(*format, e))
			return -1;
		rules->format = *format;
	}
	if (v->compress && codec_parse(v->compress, &p->codec, e)) {
		e->code = ERR_USAGE;
		return err_prefix(e, "-z");
	}
	if (v->rate && parse_rate(v->rate, &p->rate, e))
		return -1;
	if (v->key)
		p->key = (struct bytes){(const uint8_t *)v->key, strlen(v->key)};
	return encode_headers(p, e);
}

static int look_up_topic(struct produce *p, struct api *api, struct err *e)
{
	struct arena m = ARENA_INIT;
	struct api_topic topic;
	const char *limit;
	int64_t bytes = DEFAULT_MESSAGE_MAX_BYTES;

	if (api_topic(api, p->run->argv[0], &m, &topic, e)) {
		if (e->code == ERR_TOPIC_NOT_FOUND && !e->hint[0])
			err_hint(e, "streamctl topic create %s", p->run->argv[0]);
		arena_release(&m);
		return -1;
	}
	limit = api_topic_setting(&topic, "max.message.bytes");
	if (limit)
		text_parse_int(limit, 1, BATCH_MAX_BYTES, "max.message.bytes", &bytes, NULL);
	p->message_max = (size_t)bytes;
	p->batch_max = bytes < p->values->batch_bytes ? (size_t)bytes : (size_t)p->values->batch_bytes;
	p->partition_count = topic.partition_count;
	p->open = mem_array((size_t)p->partition_count, sizeof(struct open_batch *));
	memset(p->open, 0, (size_t)p->partition_count * sizeof(struct open_batch *));
	p->dirty = mem_array((size_t)p->partition_count, sizeof(*p->dirty));
	p->sticky = (int32_t)(clock_mono_ns() / 1000 % p->partition_count);
	arena_release(&m);
	if (p->values->partition >= p->partition_count)
		return err_set(e, ERR_PARTITION_NOT_FOUND, "there is no partition %lld; topic \"%s\" has %d",
			(long long)p->values->partition, p->run->argv[0], p->partition_count);
	return 0;
}

static void produce_release(struct produce *p)
{
	for (int32_t i = 0; p->open && i < p->partition_count; i++) {
		if (!p->open[i])
			continue;
		batch_writer_release(&p->open[i]->writer);
		buf_release(&p->open[i]->finished);
		mem_free(p->open[i]);
	}
	mem_free(p->open);
	mem_free(p->dirty);
	buf_release(&p->headers);
	produce_input_release(&p->input);
}

static void summarize(const struct produce *p, const struct produce_totals *t)
{
	double seconds = (double)(clock_mono_ms() - p->started_ms) / 1000;
	char size[32];

	if (!p->sender && !p->run->globals->quiet)
		fprintf(stderr, "would send %lld %s, %s\n", (long long)p->sent_records,
			text_plural(p->sent_records, "record", "records"), text_format_size(p->input.bytes, size));
	else if (p->run->globals->verbose || command_shows_progress(p->run))
		fprintf(stderr,
			"%lld %s acknowledged%s%s in %.2f s, %s in %lld %s, %lld sent again\n",
			(long long)t->records, text_plural(t->records, "record", "records"),
			t->durability[0] ? " at level " : "", t->durability, seconds,
			text_format_size(t->bytes, size), (long long)t->requests,
			text_plural(t->requests, "request", "requests"), (long long)t->retries);
}

/* How much is acknowledged. With several files also of which, as long as everything that was read is. */
static void print_acknowledged(const struct produce *p, const struct produce_totals *t)
{
	int before = p->file - 1, behind = p->input.rules.file_count - p->file;

	fprintf(stderr, "%lld %s acknowledged", (long long)t->records, text_plural(t->records, "record", "records"));
	if (t->unknown)
		fprintf(stderr, ", %lld may or may not be stored", (long long)t->unknown);
	else if (p->input.rules.file_count > 1 && before >= 0 && t->records == p->sent_records &&
		 t->records >= p->records_before_file) {
		fprintf(stderr, ": %lld of %s", (long long)(t->records - p->records_before_file),
			produce_input_file(&p->input));
		if (before)
			fprintf(stderr, ", all of the %d %s before it", before, text_plural(before, "file", "files"));
		if (behind)
			fprintf(stderr, "; %d %s not read", behind, text_plural(behind, "file was", "files were"));
	}
}

/* Everything has ended; e is what ended it, if anything did. */
static int report(struct produce *p, const struct err *e, const struct produce_totals *t)
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
	fprintf(stderr, "; record %lld of %s is the last one sent\n", (long long)p->input.records,
		produce_input_file(&p->input));
	return EXIT_PARTIAL;
}

static int produce_all(struct produce *p, struct api *api)
{
	static const char *const levels[] = {"none", "wal", "object"};
	const char *durability = p->values->durability < 0 ? NULL : levels[p->values->durability];
	struct produce_totals t = {.records = 0};
	struct err e = ERR_INIT, sent = ERR_INIT, last = ERR_INIT;

	p->started_ms = clock_mono_ms();
	p->progress_ms = p->started_ms + PROGRESS_AFTER_MS;
	p->now_ms = clock_real_ms();
	if (!p->values->dry_run) {
		p->sender = produce_sender_new(api, p->run->argv[0], durability, p->run->globals->timeout_ms,
			p->values->acks ? print_ack : NULL, p, &e);
		if (!p->sender)
			return command_fail(p->run, &e);
	} else {
		api_free(api);
	}
	read_and_send(p, &e);
	/* also after bad input: what was read before it is sent */
	if (send_all(p, &last) && !e.code)
		e = last;
	/* the sender's own failure says more than what followed from it */
	if (p->sender && produce_sender_finish(p->sender, &t, &sent))
		e = sent;
	return report(p, &e, &t);
}

static int run(struct command_run *r)
{
	struct produce p = {.run = r, .values = r->values};
	struct produce_input_rules rules;
	struct format_string *format = NULL;
	char delimiter[16];
	struct err e = ERR_INIT;
	struct api *api = NULL;
	int status;

	if (parse_values(&p, &rules, &format, delimiter, &e) || !(api = client_open(r->globals, &e)) ||
		look_up_topic(&p, api, &e)) {
		status = command_fail(r, &e);
		api_free(api);
	} else {
		interrupt_catch();
		produce_input_init(&p.input, &rules);
		status = produce_all(&p, api);
	}
	produce_release(&p);
	format_string_free(format);
	return status;
}

static const struct command produce_command = {.name = "produce", .summary = "Send records to a topic",
	.operands = "TOPIC [FILE...]", .complete = "topic file", .min_operands = 1, .max_operands = -1,
	.options = options,
	.values_size = sizeof(struct values), .defaults = defaults, .run = run};

int main(int argc, char **argv)
{
	return command_main(&produce_command, argc, argv);
}
