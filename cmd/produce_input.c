/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/produce_input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/interrupt.h"
#include "libsh/base/clock.h"
#include "libsh/base/fd.h"

enum {
	READ_BYTES = 1 << 20,
	RECORD_MAX_BYTES = 256 << 20, /* as text; the batch has its own, smaller limit */
};

/* Empty bytes need an address, as none means null. */
static const uint8_t nothing[1];

void produce_input_init(struct produce_input *in, const struct produce_input_rules *rules)
{
	*in = (struct produce_input){.rules = *rules, .fd = -1, .at_end = true};
	in->room = 2 * READ_BYTES;
	in->data = mem_alloc(in->room);
}

void produce_input_release(struct produce_input *in)
{
	if (in->fd > STDIN_FILENO)
		fd_close(&in->fd);
	mem_free(in->data);
	arena_release(&in->arena);
}

const char *produce_input_file(const struct produce_input *in)
{
	const char *name = in->rules.file_count && in->next_file ? in->rules.files[in->next_file - 1] : "-";

	return strcmp(name, "-") ? name : "stdin";
}

const char *produce_input_where(const struct produce_input *in, char *out, size_t room)
{
	snprintf(out, room, "%s, record %lld", produce_input_file(in), (long long)in->records);
	return out;
}

/* 1: a file is open; 0: there are no more; -1 */
static int open_next(struct produce_input *in, struct err *e)
{
	int count = in->rules.file_count ? in->rules.file_count : 1;
	const char *name;

	if (in->fd > STDIN_FILENO)
		fd_close(&in->fd);
	in->fd = -1;
	if (in->next_file == count)
		return 0;
	name = in->rules.file_count ? in->rules.files[in->next_file] : "-";
	in->next_file++;
	in->records = 0;
	in->fd = strcmp(name, "-") ? open(name, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (in->fd < 0) {
		err_sys(e, ERR_IO, "cannot read %s", name);
		if (errno == ENOENT && e)
			e->code = ERR_NOT_FOUND;
		return -1;
	}
	in->at_end = false;
	return 1;
}

static void make_room(struct produce_input *in)
{
	size_t left = in->len - in->start;

	if (in->start && in->room - in->len < READ_BYTES) {
		memmove(in->data, in->data + in->start, left);
		in->start = 0;
		in->len = left;
	}
	if (in->room - in->len < READ_BYTES) {
		in->room *= 2;
		in->data = mem_realloc(in->data, in->room);
	}
}

/* The record that is being read is at fault. */
static int blame(struct produce_input *in, struct err *e)
{
	char where[300];

	in->records++;
	return err_prefix(e, "%s", produce_input_where(in, where, sizeof(where)));
}

/* More bytes into the buffer. INPUT_RECORD: something changed (bytes, or the end of the file). */
static enum produce_input_result refill(struct produce_input *in, int64_t until_ms, struct err *e)
{
	int64_t wait_ms = -1;
	ssize_t got;
	int ready;

	if (in->len - in->start > RECORD_MAX_BYTES) {
		err_set(e, ERR_TOO_LARGE, "longer than %d MiB", RECORD_MAX_BYTES >> 20);
		blame(in, e);
		return INPUT_ERROR;
	}
	make_room(in);
	if (until_ms >= 0) {
		wait_ms = until_ms - clock_mono_ms();
		wait_ms = wait_ms > 0 ? wait_ms : 0;
	}
	ready = interrupt_poll(in->fd, wait_ms);
	if (ready < 0)
		return INPUT_END;
	if (!ready)
		return INPUT_IDLE;
	got = read(in->fd, in->data + in->len, in->room - in->len);
	if (got < 0 && (errno == EINTR || errno == EAGAIN))
		return INPUT_RECORD;
	if (got < 0) {
		err_sys(e, ERR_IO, "cannot read %s", produce_input_file(in));
		return INPUT_ERROR;
	}
	in->reads++;
	in->len += (size_t)got;
	in->at_end = !got;
	return INPUT_RECORD;
}

/* A line without its end; the last one of a file may have none. False: more bytes are needed. */
static bool take_line(struct produce_input *in, const char **line, size_t *n)
{
	size_t left = in->len - in->start;
	const char *start = in->data + in->start;
	const char *end = memchr(start + in->scanned, in->rules.end, left - in->scanned);

	if (!end && !(in->at_end && left)) {
		in->scanned = left;
		return false;
	}
	*line = start;
	*n = end ? (size_t)(end - start) : left;
	in->start += *n + (end != NULL);
	in->bytes += (int64_t)*n + (end != NULL);
	in->scanned = 0;
	return true;
}

static struct bytes bytes_of(const struct produce_input *in, const char *p, size_t n)
{
	if (n)
		return (struct bytes){(const uint8_t *)p, n};
	return (struct bytes){in->rules.empty_is_null ? NULL : nothing, 0};
}

static void split_line(const struct produce_input *in, const char *line, size_t n, struct ndjson_record *r)
{
	const char *delimiter = in->rules.key_delimiter, *found = NULL;

	*r = (struct ndjson_record){.partition = -1};
	if (delimiter)
		found = memmem(line, n, delimiter, strlen(delimiter));
	if (found) {
		r->record.key = bytes_of(in, line, (size_t)(found - line));
		n -= (size_t)(found - line) + strlen(delimiter);
		line = found + strlen(delimiter);
	}
	r->record.value = bytes_of(in, line, n);
}

/* Empty to null, where asked for. */
static void apply_null(const struct produce_input *in, struct record *r)
{
	if (!in->rules.empty_is_null)
		return;
	if (!r->key.len)
		r->key.data = NULL;
	if (!r->value.len)
		r->value.data = NULL;
}

/* A record from what is in the buffer: 1, 0: more bytes are needed, -1. */
static int take_record(struct produce_input *in, struct ndjson_record *r, struct err *e)
{
	const char *line;
	size_t n;

	if (in->arena.used)
		arena_release(&in->arena);
	if (in->rules.format) {
		ptrdiff_t used = format_string_read(in->rules.format, in->data + in->start,
			in->len - in->start, in->at_end, &in->arena, r, e);

		if (used < 0) {
			if (in->rules.split_instead)
				err_hint(e, "-K '%.20s' instead of -f splits each line at the first one",
					in->rules.split_instead);
			return blame(in, e);
		}
		in->start += (size_t)used;
		in->bytes += used;
		if (!used)
			return 0;
		apply_null(in, &r->record);
		return 1;
	}
	do {
		if (!take_line(in, &line, &n))
			return 0;
		/* JSON lines may have empty ones between them */
	} while (in->rules.ndjson && !n);
	if (!in->rules.ndjson) {
		split_line(in, line, n, r);
		return 1;
	}
	if (ndjson_read(line, n, true, &in->arena, r, e))
		return blame(in, e);
	apply_null(in, &r->record);
	return 1;
}

enum produce_input_result produce_input_next(
	struct produce_input *in, int64_t until_ms, struct ndjson_record *r, struct err *e)
{
	for (;;) {
		int got = in->start < in->len ? take_record(in, r, e) : 0;
		enum produce_input_result result;

		if (got > 0) {
			in->records++;
			return INPUT_RECORD;
		}
		if (got < 0)
			return INPUT_ERROR;
		if (in->at_end) {
			int more = open_next(in, e);

			if (more <= 0)
				return more ? INPUT_ERROR : INPUT_END;
			continue;
		}
		result = refill(in, until_ms, e);
		if (result != INPUT_RECORD)
			return result;
	}
}
