/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random work on one data directory, life after life, against a model. Each life is a child that does random things and dies in the
 * middle of them; it tells its parent, in shared memory, what was asked for and what was acknowledged. Then every partition must hold:
 * all that was acknowledged, each value once, in the order of the asking, and nothing that was never asked for.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/clock.h"
#include "tests/helper/append_batch.h"
#include "tests/helper/log_driver.h"
#include "tests/unit/tap.h"

enum { PARTITIONS = 3, LIVES = 14, STEPS = 60, VALUES = 4096, WAITS = 64 };

struct model_partition { /* offset -> number of the value, as far as any life learned it */
	int64_t acked_end;           /* everything below was acknowledged, or read */
	int32_t at[VALUES];          /* value number at each offset; of the newest life that wrote there */
	int64_t end;                 /* of what was asked for */
};
struct model {
	int32_t next_value;
	bool exists;                 /* the topic that comes and goes */
	struct uuid id;              /* of that topic, when it was made last */
	int32_t incarnation;         /* how often it was made */
	struct model_partition parts[PARTITIONS + 1]; /* the last is of that topic */
	char problem[500];
};
static struct model *m;

struct random_wait {
	struct log_wait wait;
	int part;
	int32_t incarnation;
	bool busy;
};
static struct random_wait waits[WAITS];
static unsigned seed;

static unsigned random_below(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static struct partition *model_part(int i)
{
	return i < PARTITIONS ? part(i == 0 ? "object" : "plain", i == 0 ? 0 : i - 1) : part("fleeting", 0);
}

static void model_problem(const char *what, int i, int64_t a, int64_t b)
{
	if (!m->problem[0])
		snprintf(m->problem, sizeof(m->problem), "%s: partition %d, %lld, %lld", what, i, (long long)a, (long long)b);
}

static void on_random_wait(struct log_wait *w, enum durability reached, const struct err *e)
{
	struct random_wait *r = container_of(w, struct random_wait, wait);

	r->busy = false;
	if (e || reached < DURABILITY_WAL || (r->part == PARTITIONS && (!m->exists || r->incarnation != m->incarnation)))
		return;
	if (w->end_offset > m->parts[r->part].acked_end)
		m->parts[r->part].acked_end = w->end_offset;
}

static void model_took(int i, int64_t offset, int32_t value)
{
	struct model_partition *p = &m->parts[i];

	if (offset < p->acked_end)
		model_problem("an acknowledged offset was given again", i, offset, p->acked_end);
	if (offset >= VALUES)
		return;
	p->at[offset] = value;
	p->end = offset + 1;
}

static void random_batch(int i, struct partition *p)
{
	struct batch_writer w;
	struct buf batch = BUF_INIT(1 << 20);
	unsigned n = 1 + random_below(4);
	int32_t first_value = m->next_value;
	int64_t first, last;
	char value[32];

	batch_writer_init(&w, random_below(2) ? CODEC_LZ4 : CODEC_NONE, 1 << 20);
	for (unsigned k = 0; k < n; k++) {
		struct record r = {.timestamp = 1, .value = {(uint8_t *)value, 0}};

		r.value.len = (size_t)snprintf(value, sizeof(value), "%d", m->next_value++);
		batch_writer_add(&w, &r, NULL);
	}
	if (batch_writer_finish(&w, &batch, NULL) == 0 &&
		append_batch(t.log, p, &batch, &first, &last, &t.e) == 0)
		for (unsigned k = 0; k < n; k++)
			model_took(i, first + k, first_value + (int32_t)k);
	batch_writer_release(&w);
	buf_release(&batch);
}

static void random_record(int i, struct partition *p)
{
	char value[32];
	struct record r = {.timestamp = 1, .value = {(uint8_t *)value, 0}};
	int32_t number = m->next_value++;
	int64_t offset, timestamp;

	r.value.len = (size_t)snprintf(value, sizeof(value), "%d", number);
	if (log_append_record(t.log, p, &r, &offset, &timestamp, &t.e) == 0)
		model_took(i, offset, number);
}

static void random_append(void)
{
	int i = (int)random_below(PARTITIONS + m->exists);
	struct partition *p = model_part(i);

	if (!p || m->parts[i].end > VALUES - 8)
		return;
	for (unsigned n = 1 + random_below(5); n; n--)
		if (random_below(3))
			random_record(i, p);
		else
			random_batch(i, p);
	for (int k = 0; k < WAITS; k++)
		if (!waits[k].busy) {
			waits[k] = (struct random_wait){.part = i, .incarnation = m->incarnation, .busy = true};
			log_wait(t.log, &waits[k].wait, p, m->parts[i].end, (enum durability)random_below(4), on_random_wait);
			if (!random_below(10)) {
				log_wait_cancel(&waits[k].wait);
				waits[k].busy = false;
			}
			return;
		}
}

/* One batch of a fetch against the model; returns the offset behind it. */
static int64_t check_batch(int i, const void *batch, size_t n, int64_t from)
{
	struct batch_reader *reader = batch_reader_new(batch, n, 1 << 20, &t.e);
	struct record r;
	char want[32];

	while (reader && batch_reader_next(reader, &r, &t.e) > 0) {
		if (r.offset < from)
			continue;
		snprintf(want, sizeof(want), "%d", m->parts[i].at[r.offset]);
		if (r.offset != from || r.value.len != strlen(want) || memcmp(r.value.data, want, r.value.len))
			model_problem("read another value or offset than was written", i, r.offset, from);
		from = r.offset + 1;
	}
	if (!reader)
		model_problem(t.e.text, i, from, 0);
	batch_reader_free(reader);
	return from;
}

/* Read everything from offset on; whatever was seen must stay for ever. */
static void check_reads(int i, struct partition *p, int64_t offset, bool patient)
{
	for (;;) {
		int64_t from = offset;

		t.fetch.offset = offset;
		t.fetch.limit = INT64_MAX;
		t.fetch.max_bytes = 1 + random_below(2000);
		t.fetch.done = on_fetch;
		log_fetch(t.log, &t.fetch, p);
		if (!run(5000)) {
			model_problem("a fetch never ended", i, offset, 0);
			return;
		}
		if (t.failed) {
			if (patient || (t.e.code != ERR_UNAVAILABLE && t.e.code != ERR_TOPIC_NOT_FOUND))
				model_problem(t.e.text, i, offset, 0);
			return;
		}
		for (size_t at = 0; at < t.fetch.batches.len;) {
			size_t n = (size_t)batch_size(t.fetch.batches.data + at, t.fetch.batches.len - at);

			from = check_batch(i, t.fetch.batches.data + at, n, from);
			at += n;
		}
		if (t.fetch.next_offset == offset)
			break;
		offset = t.fetch.next_offset;
		if (offset > m->parts[i].acked_end)
			m->parts[i].acked_end = offset;
	}
	if (patient && offset < m->parts[i].acked_end)
		model_problem("what was acknowledged is not there", i, offset, m->parts[i].acked_end);
}

static void random_read(void)
{
	int i = (int)random_below(PARTITIONS + m->exists);
	struct partition *p = model_part(i);

	if (p && partition_high_watermark(p) > 0)
		check_reads(i, p, random_below((unsigned)partition_high_watermark(p)), false);
}

/* Make or delete the topic. Who dies meanwhile cannot know: the next life looks. */
static void random_topic(void)
{
	struct topic *topic;

	if (m->exists) {
		m->exists = false;
		log_topic_delete(t.log, "fleeting", on_done, NULL);
	} else {
		log_topic_create(t.log, "fleeting", 1, 1, "{}", on_done, NULL);
	}
	run(5000);
	topic = log_topic(t.log, "fleeting", 8);
	m->exists = topic != NULL;
	if (topic && !uuid_equal(&topic->id, &m->id)) { /* else it could not be deleted, meta being away */
		m->id = topic->id;
		m->incarnation++;
		memset(&m->parts[PARTITIONS], 0, sizeof(m->parts[0]));
	}
}

static void boot(const char *dir)
{
	start(dir, NULL, NULL);
	settings_set(t.self->settings, "object.flush_interval", "20ms", "test", NULL);
	settings_set(t.self->settings, "segment.max_age", "1s", "test", NULL);
	if (!log_topic(t.log, "object", 6)) {
		create("object", 1, "{\"durability\":\"object\"}");
		create("plain", 2, "{}");
	}
	if (m->exists && !log_topic(t.log, "fleeting", 8))
		model_problem("a topic is gone", PARTITIONS, 0, 0);
	if (!m->exists && log_topic(t.log, "fleeting", 8)) {
		log_topic_delete(t.log, "fleeting", on_done, NULL);
		run(5000);
	}
}

/* Ends it all: a life is left by _exit() at a random step, or here, with all in order. */
static void live(const char *dir, int life)
{
	unsigned steps = life == LIVES - 1 ? STEPS : random_below(STEPS);

	boot(dir);
	for (int i = 0; i < PARTITIONS + m->exists; i++)
		check_reads(i, model_part(i), 0, true);
	for (unsigned k = 0; k < steps && !m->problem[0]; k++) {
		unsigned what = random_below(20);

		if (what < 10)
			random_append();
		else if (what < 13)
			random_read();
		else if (what < 14)
			random_topic();
		else if (what < 16)
			fake_down(t.self, random_below(2) ? ROLE_STORE : ROLE_META, random_below(3) == 0);
		else
			fake_run_until(t.self, &t.flag, random_below(8));
		if (what == 13 || what == 12) { /* topics change only while meta is there */
			fake_down(t.self, ROLE_META, false);
			fake_down(t.self, ROLE_STORE, false);
		}
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned first = argc > 1 ? (unsigned)atoi(argv[1]) : 1, last = argc > 2 ? (unsigned)atoi(argv[2]) : first + 1;
	char *command;

	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned s = first; s <= last; s++) {
		char dir[] = "/tmp/test-log-random-XXXXXX";
		int status = 0;

		if (!mkdtemp(dir))
			return 1;
		memset(m, 0, sizeof(*m));
		for (int life = 0; life < LIVES && !m->problem[0] && status == 0; life++) {
			pid_t child;

			fflush(stdout);
			seed = s * 1000 + (unsigned)life;
			child = fork();
			if (!child)
				live(dir, life);
			waitpid(child, &status, 0);
		}
		ok(!m->problem[0] && status == 0, "seed %u: %d values in %d lives: %s", s, m->next_value, LIVES, m->problem);
		if (status)
			printf("# a life ended with status %x\n", status);
		command = mem_printf("rm -rf %s", dir);
		if (system(command) != 0)
			printf("# %s is left behind\n", dir);
		mem_free(command);
	}
	return done_testing();
}
