/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/consume_output.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/interrupt.h"
#include "libsh/base/fd.h"
#include "libsh/base/text.h"

enum {
	FLUSH_BYTES = 128 << 10,
	OUTPUT_MAX_BYTES = 1 << 30, /* one record in the widest form, beyond what waits to be flushed */
};

static const char TSV_FORMAT[] = "%t\\t%p\\t%o\\t%T\\t%k{json}\\t%v{json}\\n";

static int choose_shape(struct consume_output *o, const char *format, bool nul, struct err *e)
{
	int asked = o->run->globals->output;
	char *text;

	o->end = nul ? '\0' : '\n';
	if (format && !strcmp(format, "ndjson")) {
		o->shape = SHAPE_NDJSON;
		return 0;
	}
	if (!format && (asked == OUTPUT_NDJSON || asked == OUTPUT_JSON)) {
		o->shape = asked == OUTPUT_NDJSON ? SHAPE_NDJSON : SHAPE_JSON;
		return 0;
	}
	if (!format && asked == OUTPUT_TSV)
		format = TSV_FORMAT;
	if (!format)
		return 0;
	o->shape = SHAPE_FORMAT;
	text = mem_printf("%s%s", format, nul ? "\\0" : "");
	o->format = format_string_parse(text, e);
	mem_free(text);
	return o->format ? 0 : -1;
}

int consume_output_init(struct consume_output *o, const struct command_run *r, const char *format, bool nul,
	const char *grep, const char *exec, struct err *e)
{
	int bad;
	char why[128];

	*o = (struct consume_output){.run = r, .exec = exec};
	buf_init(&o->out, OUTPUT_MAX_BYTES);
	if (choose_shape(o, format, nul, e))
		return -1;
	if (!grep)
		return 0;
	bad = regcomp(&o->pattern, grep, REG_EXTENDED | REG_NOSUB);
	if (bad) {
		regerror(bad, &o->pattern, why, sizeof(why));
		return err_set(e, ERR_USAGE, "--grep: \"%.80s\" is no regular expression: %s", grep, why);
	}
	o->grep = true;
	return 0;
}

void consume_output_release(struct consume_output *o)
{
	buf_release(&o->out);
	format_string_free(o->format);
	if (o->grep)
		regfree(&o->pattern);
}

void consume_output_flush(struct consume_output *o)
{
	command_write(o->run, o->out.data, o->out.len);
	buf_reset(&o->out);
}

void consume_output_end(struct consume_output *o)
{
	if (o->shape == SHAPE_JSON && !o->exec)
		buf_adds(&o->out, o->records ? "\n]\n" : "[]\n");
	consume_output_flush(o);
}

/* The value is bytes, not a string: REG_STARTEND says where it ends. */
static bool matches(const struct consume_output *o, const struct record *r)
{
	regmatch_t range = {.rm_so = 0, .rm_eo = (regoff_t)r->value.len};

	return r->value.data && !regexec(&o->pattern, (const char *)r->value.data, 1, &range, REG_STARTEND);
}

static int add_text(
	struct consume_output *o, const char *topic, int32_t partition, const struct record *r, struct err *e)
{
	switch (o->shape) {
	case SHAPE_FORMAT:
		return format_string_write(o->format, &o->out, topic, partition, r, e);
	case SHAPE_JSON:
	case SHAPE_NDJSON:
		if (o->shape == SHAPE_JSON && !o->exec)
			buf_adds(&o->out, o->records ? ",\n" : "[\n");
		if (ndjson_write(&o->out, o->named ? topic : NULL, partition, r, e))
			return -1;
		if (o->shape == SHAPE_NDJSON)
			buf_addc(&o->out, o->end);
		return 0;
	default:
		if (buf_reserve(&o->out, r->value.len + 1))
			return err_set(e, ERR_TOO_LARGE, "a value of %zu bytes", r->value.len);
		if (r->value.len)
			memcpy(o->out.data + o->out.len, r->value.data, r->value.len);
		o->out.data[o->out.len + r->value.len] = o->end;
		buf_grew(&o->out, r->value.len + 1);
		return 0;
	}
}

/* ---- --exec ---- */

static void describe_in_environment(const char *topic, int32_t partition, const struct record *r)
{
	char number[32];

	setenv("STREAMCTL_TOPIC", topic, 1);
	snprintf(number, sizeof(number), "%d", partition);
	setenv("STREAMCTL_PARTITION", number, 1);
	snprintf(number, sizeof(number), "%lld", (long long)r->offset);
	setenv("STREAMCTL_OFFSET", number, 1);
	snprintf(number, sizeof(number), "%lld", (long long)r->timestamp);
	setenv("STREAMCTL_TIMESTAMP", number, 1);
	unsetenv("STREAMCTL_KEY");
	if (r->key.data && !memchr(r->key.data, '\0', r->key.len)) {
		char *key = mem_strndup((const char *)r->key.data, r->key.len);

		setenv("STREAMCTL_KEY", key, 1);
		mem_free(key);
	}
}

static int start_command(const struct consume_output *o, pid_t *pid, struct err *e)
{
	int ends[2];

	if (pipe(ends))
		return err_sys(e, ERR_IO, "cannot make a pipe");
	fd_set_cloexec(ends[1]);
	*pid = fork();
	if (!*pid) {
		dup2(ends[0], STDIN_FILENO);
		fd_close(&ends[0]);
		interrupt_release();
		signal(SIGPIPE, SIG_DFL);
		execl("/bin/sh", "sh", "-c", o->exec, (char *)NULL);
		_exit(127);
	}
	fd_close(&ends[0]);
	if (*pid > 0)
		return ends[1];
	fd_close(&ends[1]);
	return err_sys(e, ERR_IO, "cannot start the command of --exec");
}

static int run_command(
	struct consume_output *o, const char *topic, int32_t partition, const struct record *r, struct err *e)
{
	struct err ignored = ERR_INIT;
	int status, to;
	pid_t pid = -1;

	describe_in_environment(topic, partition, r);
	to = start_command(o, &pid, e);
	if (to < 0)
		return -1;
	/* A command need not read all of its input: what counts is its exit status. */
	if (o->shape == SHAPE_VALUES)
		fd_write_all(to, r->value.data, r->value.len, &ignored);
	else
		fd_write_all(to, o->out.data, o->out.len, &ignored);
	buf_reset(&o->out);
	fd_close(&to);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, ERR_IO, "cannot wait for the command of --exec");
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	err_set(e, ERR_PARTIAL, "the command of --exec ended with %s %d at offset %lld of %s/%d",
		WIFEXITED(status) ? "exit status" : "signal",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), (long long)r->offset, topic,
		partition);
	return err_hint(e, "%lld %s done before it; --from %lld goes on there", (long long)o->records,
		text_plural(o->records, "record was", "records were"), (long long)r->offset);
}

int consume_output_record(
	struct consume_output *o, const char *topic, int32_t partition, const struct record *r, struct err *e)
{
	if (o->grep && !matches(o, r))
		return 0;
	if (!o->exec || o->shape != SHAPE_VALUES)
		if (add_text(o, topic, partition, r, e))
			return -1;
	if (o->exec && run_command(o, topic, partition, r, e))
		return -1;
	o->records++;
	if (o->out.len >= FLUSH_BYTES)
		consume_output_flush(o);
	return 1;
}
