/* SPDX-License-Identifier: Apache-2.0 */
/* Young segments, folding and pages: 200 segments of up to 50 partitions, every answer compared to a model
 * that keeps all runs. */
#include "tests/unit/meta-fixture.h"

enum { SEGMENTS = 200, TOPICS = 5, PARTITIONS = 10, LOOKUPS = 3000 };

struct model_run {
	uint64_t object;
	struct segment_run run;
};
struct model {
	struct uuid topics[TOPICS];
	struct model_run runs[TOPICS][PARTITIONS][SEGMENTS];
	size_t count[TOPICS][PARTITIONS];
	size_t objects;
};
static struct model model;
static unsigned seed = 1;

static unsigned pick(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

static int64_t end_of(int t, int p)
{
	return model.count[t][p] ? model.runs[t][p][model.count[t][p] - 1].run.end_offset : 0;
}

/* A segment with a run of about half of the partitions; timestamps go up and down. */
static size_t make_segment(uint64_t session, struct segment_run *runs)
{
	size_t n = 0;

	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++) {
			int64_t first = end_of(t, p);

			if (pick(2))
				continue;
			runs[n] = make_run(model.topics[t], p, session, first, first + 1 + pick(20));
			runs[n].max_timestamp = 1000 * model.objects + pick(20000);
			runs[n].position = pick(1 << 20);
			n++;
		}
	return n;
}

static bool commit_segment(struct fixture *f, uint64_t session)
{
	struct segment_run runs[TOPICS * PARTITIONS];
	enum meta_verdict verdicts[TOPICS * PARTITIONS];
	uint64_t object = ++f->objects, sequence;
	size_t n = make_segment(session, runs);
	bool good = intend(f, session, object) == 0 &&
		    commit_runs(f, session, object, runs, n, verdicts, &sequence) == 0 && sequence == object;

	model.objects++;
	for (size_t i = 0; i < n; i++)
		for (int t = 0; t < TOPICS; t++)
			if (uuid_equal(&runs[i].topic, &model.topics[t])) {
				uint32_t p = runs[i].partition;

				good = good && verdicts[i] == META_ACCEPTED;
				model.runs[t][p][model.count[t][p]++] = (struct model_run){object, runs[i]};
			}
	return good;
}

static const struct model_run *model_find(int t, int p, bool by_timestamp, int64_t value, int64_t from)
{
	for (size_t i = 0; i < model.count[t][p]; i++) {
		const struct segment_run *r = &model.runs[t][p][i].run;

		if (by_timestamp ? r->max_timestamp >= value && r->end_offset > from : r->end_offset > value)
			return &model.runs[t][p][i];
	}
	return NULL;
}

static bool same_answer(struct fixture *f)
{
	int t = pick(TOPICS), p = pick(PARTITIONS);
	bool by_timestamp = pick(2);
	int64_t value = by_timestamp ? pick(1000 * (model.objects + 20)) : pick(end_of(t, p) + 10);
	int64_t from = by_timestamp ? pick(end_of(t, p) + 1) : 0;
	const struct model_run *want = model_find(t, p, by_timestamp, value, from);
	struct arena a = ARENA_INIT;
	struct segment_run run;
	struct meta_object o;
	bool good;

	if (f->m->driver->run_find(
		    f->m, &model.topics[t], p, by_timestamp, value, from, &a, &o, &run, &f->e) == 0)
		good = want && !strcmp(o.name, object_name(want->object)) && o.bytes == 1000 + want->object &&
		       run.first_offset == want->run.first_offset && run.end_offset == want->run.end_offset &&
		       run.position == want->run.position;
	else
		good = !want && f->e.code == ERR_NOT_FOUND;
	if (!good)
		printf("# topic %d partition %d %s %lld from %lld: %s\n", t, p,
			by_timestamp ? "timestamp" : "offset", (long long)value, (long long)from, f->e.text);
	arena_release(&a);
	return good;
}

static bool same_ends(struct fixture *f)
{
	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++) {
			struct meta_partition row = partition_row(f, model.topics[t], p);

			if (row.flushed_end != end_of(t, p) || row.records != (uint64_t)end_of(t, p) ||
				row.bytes != 100 * (uint64_t)end_of(t, p))
				return false;
		}
	return true;
}

struct walk {
	uint64_t last_sequence;
	size_t objects, runs;
	bool good;
};

static int walk_object(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count)
{
	struct walk *w = ctx;

	w->good = w->good && o->sequence > w->last_sequence && !strcmp(o->name, object_name(o->sequence)) &&
		  count > 0 && runs[0].end_offset > runs[0].first_offset;
	w->last_sequence = o->sequence;
	w->objects++;
	w->runs += count;
	return 0;
}

static void test_walk(struct fixture *f)
{
	struct walk w = {.good = true};
	size_t runs = 0;

	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++)
			runs += model.count[t][p];
	is_int(f->m->driver->each_object(f->m, walk_object, &w, &f->e), 0, "all objects are walked");
	ok(w.good && w.objects == SEGMENTS, "each once, in order of commit");
	is_int(w.runs, runs, "with all their runs");
}

/* The first segment was folded long ago. */
static void test_retry(struct fixture *f, uint64_t session)
{
	struct segment_run runs[TOPICS * PARTITIONS];
	enum meta_verdict verdicts[TOPICS * PARTITIONS];
	bool good = true;
	uint64_t sequence;
	size_t n = 0;

	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++)
			if (model.runs[t][p][0].object == 1)
				runs[n++] = model.runs[t][p][0].run;
	good = commit_runs(f, session, 1, runs, n, verdicts, &sequence) == 0 && n > 0 && sequence == 1;
	for (size_t i = 0; i < n; i++)
		good = good && verdicts[i] == META_ALREADY;
	ok(good, "a commit repeated after folding: all of it is there already");
}

int main(void)
{
	bool committed = true, ends = true, answers = true;
	uint64_t session;
	struct fixture f;

	fixture_init(&f);
	reopen(&f);
	session = open_session(&f, 0);
	for (int t = 0; t < TOPICS; t++) {
		char name[16];

		snprintf(name, sizeof(name), "topic%d", t);
		model.topics[t] = make_topic(&f, name, PARTITIONS);
	}
	for (int i = 0; i < SEGMENTS; i++) {
		committed = committed && commit_segment(&f, session);
		if (i % 37 == 0 || i == 63 || i == 64 || i == 65)
			ends = ends && same_ends(&f) && reopen(&f) == 0 && same_ends(&f);
		for (int l = 0; l < 5; l++)
			answers = answers && same_answer(&f);
	}
	ok(committed, "200 segments are committed, every run accepted");
	ok(ends, "ends and totals are right before and after opening again");
	for (int l = 0; l < LOOKUPS; l++)
		answers = answers && same_answer(&f);
	ok(reopen(&f) == 0, "opened again: %s", f.e.text);
	for (int l = 0; l < LOOKUPS; l++)
		answers = answers && same_answer(&f);
	ok(answers, "every lookup by offset and by timestamp gives the model's run");
	test_walk(&f);
	test_retry(&f, session);
	fixture_release(&f);
	return done_testing();
}
