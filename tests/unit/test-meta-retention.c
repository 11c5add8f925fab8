/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention in the metadata: by age, by size, in pages and in young segments, compared to a model that keeps
 * all runs; what no run keeps dies; and what a clock that was set does.
 */
#include "tests/unit/meta-fixture.h"

enum { SEGMENTS = 700, PARTITIONS = 4, TOPICS = 3, HOUR_MS = 3600000 };

static const char *const configs[TOPICS] = {
	"{\"retention.ms\":\"100000\"}", "{\"retention.bytes\":9000}", "{\"retention.ms\":\"-1\"}"};

struct model {
	struct uuid topics[TOPICS];
	struct segment_run runs[TOPICS][PARTITIONS][SEGMENTS];
	size_t first[TOPICS][PARTITIONS], count[TOPICS][PARTITIONS];
};
static struct model model;
static unsigned seed = 7;

static unsigned pick(unsigned below)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 8) % below;
}

/* All steps of a round, at that time, long after boot. */
static struct meta_retain retain_at(struct fixture *f, int64_t now_ms, int *result)
{
	struct meta_retain r = {
		.clock = {.boot_id = "boot", .boot_ms = now_ms + 10 * HOUR_MS, .real_ms = now_ms, .hold_ms = HOUR_MS}};
	struct meta_retain sum = r;

	do {
		*result = DO(f, retain, &r);
		sum.runs += r.runs;
		sum.records += r.records;
		sum.clock.held = r.clock.held;
		sum.clock.jumped_ms = r.clock.jumped_ms ? r.clock.jumped_ms : sum.clock.jumped_ms;
	} while (*result == 1);
	return sum;
}

static int64_t run_time(const struct segment_run *r)
{
	return r->max_timestamp < r->max_append_ms ? r->max_timestamp : r->max_append_ms;
}

static uint64_t model_bytes(int t, int p)
{
	uint64_t bytes = 0;

	for (size_t i = model.first[t][p]; i < model.count[t][p]; i++)
		bytes += model.runs[t][p][i].raw_bytes;
	return bytes;
}

static uint64_t model_retain(int64_t now_ms)
{
	uint64_t gone = 0;

	for (int p = 0; p < PARTITIONS; p++) {
		for (; model.first[0][p] < model.count[0][p] &&
			now_ms - run_time(&model.runs[0][p][model.first[0][p]]) > 100000;
			gone++)
			model.first[0][p]++;
		for (; model.first[1][p] < model.count[1][p] &&
			model_bytes(1, p) - model.runs[1][p][model.first[1][p]].raw_bytes >= 9000;
			gone++)
			model.first[1][p]++;
	}
	return gone;
}

static int64_t end_of(int t, int p)
{
	return model.count[t][p] ? model.runs[t][p][model.count[t][p] - 1].end_offset : 0;
}

static bool commit_segment(struct fixture *f, uint64_t session, int64_t now_ms)
{
	struct segment_run runs[TOPICS * PARTITIONS];
	enum meta_verdict verdicts[TOPICS * PARTITIONS];
	uint64_t object = ++f->objects, sequence;
	size_t n = 0;
	int only = pick(3) ? -1 : (int)pick(TOPICS); /* a third of the segments hold one topic */

	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++) {
			if (pick(2) || (only >= 0 && only != t))
				continue;
			runs[n] = make_run(model.topics[t], p, session, end_of(t, p), end_of(t, p) + 1 + pick(20));
			runs[n].max_timestamp = now_ms - pick(3000);
			runs[n].max_append_ms = now_ms;
			model.runs[t][p][model.count[t][p]++] = runs[n++];
		}
	if (n == 0)
		return true;
	if (intend(f, session, object) < 0 || commit_runs(f, session, object, runs, n, verdicts, &sequence) < 0)
		return false;
	for (size_t i = 0; i < n; i++)
		if (verdicts[i] != META_ACCEPTED)
			return false;
	return true;
}

static bool same_partition(struct fixture *f, int t, int p)
{
	struct meta_partition row = partition_row(f, model.topics[t], p);
	size_t first = model.first[t][p], count = model.count[t][p];
	int64_t start = first ? model.runs[t][p][first - 1].end_offset : 0;

	if (row.log_start == start && row.flushed_end == end_of(t, p) &&
		row.records == (uint64_t)(end_of(t, p) - start) && row.bytes == model_bytes(t, p) &&
		row.expired_records == (uint64_t)start && row.expired_bytes == 100 * (uint64_t)start)
		return find(f, model.topics[t], p, false, 0, 0, NULL) == (first < count ? start : -1) &&
		       find(f, model.topics[t], p, true, 0, 0, NULL) == (first < count ? start : -1);
	printf("# topic %d partition %d: start %lld (want %lld) end %lld (%lld) records %llu bytes %llu (%llu)\n", t, p,
		(long long)row.log_start, (long long)start, (long long)row.flushed_end, (long long)end_of(t, p),
		(unsigned long long)row.records, (unsigned long long)row.bytes,
		(unsigned long long)model_bytes(t, p));
	return false;
}

static bool same_all(struct fixture *f)
{
	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++)
			if (!same_partition(f, t, p))
				return false;
	return true;
}

struct walk {
	uint64_t objects, bytes, runs;
};

static int walk_object(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count)
{
	struct walk *w = ctx;

	(void)runs;
	w->objects++;
	w->bytes += o->bytes;
	w->runs += count;
	return 0;
}

/* Live are exactly the objects that a wanted run is in. */
static bool same_objects(struct fixture *f)
{
	struct walk w = {0, 0, 0};
	struct meta_counts c;
	uint64_t runs = 0;

	for (int t = 0; t < TOPICS; t++)
		for (int p = 0; p < PARTITIONS; p++)
			runs += model.count[t][p] - model.first[t][p];
	return f->m->driver->each_object(f->m, walk_object, &w, &f->e) == 0 &&
	       f->m->driver->counts(f->m, &c, &f->e) == 0 && w.runs == runs && c.live_objects == w.objects &&
	       c.live_bytes == w.bytes;
}

static void test_model(void)
{
	bool committed = true, same = true, objects = true, counted = true;
	int64_t now_ms = 1700000000000;
	uint64_t gone = 0, session;
	struct fixture f;
	int result;

	fixture_init(&f);
	reopen(&f);
	session = open_session(&f, 0);
	for (int t = 0; t < TOPICS; t++) {
		char name[8] = {'t', (char)('0' + t), 0};
		struct meta_topic topic = {.name = name, .partitions = PARTITIONS, .config = configs[t]};

		DO(&f, topic_create, &topic);
		model.topics[t] = topic.id;
	}
	for (int i = 0; i < SEGMENTS; i++) {
		now_ms += pick(2000);
		committed = committed && commit_segment(&f, session, now_ms);
		if (pick(12) == 0) {
			uint64_t want = model_retain(now_ms);

			counted = counted && retain_at(&f, now_ms, &result).runs == want && result == 0;
			gone += want;
			same = same && same_all(&f);
			objects = objects && same_objects(&f);
		}
		if (pick(25) == 0)
			same = same && reopen(&f) == 0 && same_all(&f) && same_objects(&f);
	}
	now_ms += 10 * HOUR_MS;
	model_retain(now_ms);
	retain_at(&f, now_ms, &result);
	same = same && same_all(&f) && reopen(&f) == 0 && same_all(&f);
	ok(committed, "commits go on while runs expire");
	ok(counted && gone > 300, "each round takes the runs that the model takes (%llu)", (unsigned long long)gone);
	ok(same, "log starts, ends, totals and the first run are the model's, also after opening again");
	ok(objects && same_objects(&f), "objects live exactly as long as one of their runs");
	committed = true;
	for (int i = 0; i < 70; i++)
		committed = committed && commit_segment(&f, session, now_ms);
	ok(committed && same_all(&f) && reopen(&f) == 0 && same_all(&f),
		"a partition of which all expired goes on where it ended");
	fixture_release(&f);
}

/* ---- small things ---- */

struct small {
	struct fixture f;
	struct uuid topic;
	uint64_t session;
};

static void small_init(struct small *s, const char *config)
{
	struct meta_topic t = {.name = "t", .partitions = 1, .config = config};

	fixture_init(&s->f);
	reopen(&s->f);
	s->session = open_session(&s->f, 0);
	DO(&s->f, topic_create, &t);
	s->topic = t.id;
}

static int64_t log_start(struct small *s)
{
	return partition_row(&s->f, s->topic, 0).log_start;
}

static void test_clock(void)
{
	struct meta_retain r = {.clock = {.boot_id = "a", .boot_ms = 0, .real_ms = 1000000, .hold_ms = HOUR_MS}};
	struct small s;

	small_init(&s, "{\"retention.ms\":\"1000\"}");
	commit_one(&s.f, s.session, s.topic, 0, 0, 10);
	ok(DO(&s.f, retain, &r) == 0 && r.clock.held && log_start(&s) == 0, "after a boot nothing expires by age");
	r.clock.boot_ms += HOUR_MS;
	r.clock.real_ms += HOUR_MS;
	ok(DO(&s.f, retain, &r) == 0 && !r.clock.held && log_start(&s) == 10, "it does when the time has passed");
	commit_one(&s.f, s.session, s.topic, 0, 10, 20);
	r.clock.real_ms += 365LL * 24 * HOUR_MS;
	ok(DO(&s.f, retain, &r) == 0 && r.clock.held && r.clock.jumped_ms > 0 && log_start(&s) == 10,
		"a clock that was set forward by a year expires nothing");
	r.clock.boot_ms += HOUR_MS - 1000;
	r.clock.real_ms += HOUR_MS - 1000;
	reopen(&s.f);
	ok(DO(&s.f, retain, &r) == 0 && r.clock.held && !r.clock.jumped_ms && log_start(&s) == 10,
		"nor does it soon after, opened again");
	r.clock.boot_ms += 2000;
	r.clock.real_ms += 2000;
	ok(DO(&s.f, retain, &r) == 0 && !r.clock.held && log_start(&s) == 20, "an hour later it is believed");
	r.clock.boot_id = "b";
	r.clock.boot_ms = 5;
	ok(DO(&s.f, retain, &r) == 0 && r.clock.held, "another boot begins anew");
	fixture_release(&s.f);
}

static void test_rules(void)
{
	struct meta_retain none;
	struct meta_counts c;
	uint64_t version;
	struct small s;
	int result;

	small_init(&s, "{}");
	for (int i = 0; i < 3; i++)
		commit_one(&s.f, s.session, s.topic, 0, 10 * i, 10 * i + 10);
	version = partition_row(&s.f, s.topic, 0).version;
	none = retain_at(&s.f, 10LL * 365 * 24 * HOUR_MS, &result);
	ok(none.runs == 0 && log_start(&s) == 0 && partition_row(&s.f, s.topic, 0).version == version,
		"without a limit everything is kept");
	DO(&s.f, topic_alter, "t", 0, "{\"retention.bytes\":\"2000\"}");
	retain_at(&s.f, 0, &result);
	is_int(log_start(&s), 10, "a run goes when what stays is still retention.bytes");
	ok(partition_row(&s.f, s.topic, 0).version > version, "the partition's version says that it changed");
	DO(&s.f, topic_alter, "t", 0, "{\"retention.bytes\":\"1999\"}");
	ok(retain_at(&s.f, 0, &result).runs == 0, "not when it would be less");
	s.f.m->driver->counts(s.f.m, &c, &s.f.e);
	ok(c.live_objects == 2 && c.dead_objects == 1, "its object is dead at once");
	is_int(commit_one(&s.f, s.session, s.topic, 0, 30, 40), META_ACCEPTED, "commits follow");
	DO(&s.f, topic_alter, "t", 0, "{\"retention.bytes\":\"0\"}");
	retain_at(&s.f, 0, &result);
	ok(log_start(&s) == 40 && find(&s.f, s.topic, 0, false, 0, 0, NULL) == -1, "0 bytes keep nothing");
	DO(&s.f, topic_alter, "t", 0, "{\"retention.bytes\":null,\"retention.ms\":\"rubbish\"}");
	commit_one(&s.f, s.session, s.topic, 0, 40, 50);
	ok(retain_at(&s.f, 10LL * 365 * 24 * HOUR_MS, &result).runs == 0, "a limit that is no number is none");
	fixture_release(&s.f);
}

static bool commit_times(struct small *s, int64_t first, int64_t max_timestamp, int64_t max_append_ms)
{
	struct segment_run r = make_run(s->topic, 0, s->session, first, first + 10);
	enum meta_verdict v;
	uint64_t sequence;

	r.max_timestamp = max_timestamp;
	r.max_append_ms = max_append_ms;
	s->f.objects++;
	return intend(&s->f, s->session, s->f.objects) == 0 &&
	       commit_runs(&s->f, s->session, s->f.objects, &r, 1, &v, &sequence) == 0 && v == META_ACCEPTED;
}

/* Clients give what timestamps they like. */
static void test_times(void)
{
	const int64_t year_ms = 365LL * 24 * HOUR_MS, then_ms = 50 * year_ms;
	struct small s;
	int result;

	small_init(&s, "{\"retention.ms\":\"3600000\"}");
	commit_times(&s, 0, then_ms + 100 * year_ms, then_ms);
	commit_times(&s, 10, INT64_MAX, then_ms);
	commit_times(&s, 20, -1, then_ms);
	commit_times(&s, 30, INT64_MIN, then_ms);
	commit_times(&s, 40, then_ms, then_ms + 2 * HOUR_MS);
	commit_times(&s, 50, then_ms + 2 * HOUR_MS, 0);
	commit_times(&s, 60, -1, 0);
	commit_times(&s, 70, 0, then_ms);
	retain_at(&s.f, then_ms + HOUR_MS, &result);
	is_int(log_start(&s), 0, "a timestamp of the future does not make old, nor none, nor one that is no time");
	retain_at(&s.f, then_ms + HOUR_MS + 1, &result);
	is_int(log_start(&s), 50, "nor does it keep for ever: then the time of append counts");
	retain_at(&s.f, then_ms + 3 * HOUR_MS + 1, &result);
	is_int(log_start(&s), 60, "where that is not known the timestamp does");
	retain_at(&s.f, then_ms + 9 * year_ms, &result);
	is_int(log_start(&s), 60, "what has neither stays, and all behind it");
	ok(reopen(&s.f) == 0 && log_start(&s) == 60 && partition_row(&s.f, s.topic, 0).flushed_end == 80,
		"ends and log start are as before after a restart");
	retain_at(&s.f, 0, &result);
	is_int(log_start(&s), 60, "a clock that goes back brings nothing back");
	fixture_release(&s.f);
}

/* The answer to a commit was lost, and its run expired before it was asked for again. */
static void test_retry(void)
{
	struct segment_run r;
	enum meta_verdict v = META_REFUSED_GAP;
	struct small s;
	uint64_t sequence;
	int result;

	small_init(&s, "{\"retention.bytes\":\"0\"}");
	commit_one(&s.f, s.session, s.topic, 0, 0, 10);
	retain_at(&s.f, 0, &result);
	r = make_run(s.topic, 0, s.session, 0, 10);
	ok(commit_runs(&s.f, s.session, s.f.objects, &r, 1, &v, &sequence) == 0 && v == META_ALREADY,
		"a commit repeated after its run expired is no gap");
	fixture_release(&s.f);
}

/* More pages than one step looks at. */
static void test_steps(void)
{
	struct meta_topic t = {.name = "wide", .partitions = 1000, .config = "{\"retention.bytes\":\"0\"}"};
	struct segment_run *runs = calloc(1000, sizeof(*runs));
	enum meta_verdict *verdicts = calloc(1000, sizeof(*verdicts));
	struct meta_retain r = {.clock.boot_id = "x"};
	uint64_t sequence, total = 0;
	int more, steps = 0;
	struct fixture f;
	uint64_t session;

	fixture_init(&f);
	reopen(&f);
	session = open_session(&f, 0);
	DO(&f, topic_create, &t);
	for (int i = 0; i < 66; i++) { /* 65 fold those before */
		for (uint32_t p = 0; p < 1000; p++)
			runs[p] = make_run(t.id, p, session, i, i + 1);
		intend(&f, session, ++f.objects);
		commit_runs(&f, session, f.objects, runs, 1000, verdicts, &sequence);
	}
	do {
		more = DO(&f, retain, &r);
		total += r.runs;
		steps++;
	} while (more == 1);
	ok(more == 0 && steps > 3 && total == 66000, "a round of many pages takes several steps (%d), and takes all", steps);
	ok(reopen(&f) == 0 && partition_row(&f, t.id, 999).log_start == 66 &&
			partition_row(&f, t.id, 999).flushed_end == 66,
		"all is on disk");
	free(runs);
	free(verdicts);
	fixture_release(&f);
}

int main(void)
{
	test_model();
	test_clock();
	test_rules();
	test_times();
	test_retry();
	test_steps();
	return done_testing();
}
