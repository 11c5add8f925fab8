/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's model of metadata (tests/sim/meta.c) against the driver on SQLite: the same random requests to both, and each answer
 * is compared. What the simulator finds with the model is then true of the driver. Retention and garbage are not in it: there
 * the model chooses for itself what goes.
 */
#include <inttypes.h>
#include <string.h>

#include "daemon/messages.h"
#include "tests/sim/sim.h"
#include "tests/unit/meta-fixture.h"

enum { ROUNDS = 400, REQUESTS = 12, TOPICS = 12, NAMES = 3, PARTITIONS = 2, OBJECTS = 1500, RUNS = 4 };

struct object {
	char name[64];
	uint64_t bytes;
	uint32_t crc;
	struct segment_run runs[RUNS];
	size_t count;
};
static struct {
	struct fixture f;
	uint64_t session, sessions[64];
	size_t session_count, topic_count, object_count;
	struct { struct uuid id; char name[16]; } topics[TOPICS];
	struct object objects[OBJECTS];
	struct uuid next_id;
	uint64_t random, compared, failed;
	char what[200];
} t;
static uint64_t verdict_counts[5];

/* ---- what the model asks of the simulator ---- */

struct sim sim;

uint64_t sim_below(uint64_t n)
{
	uint64_t z = t.random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return n ? (z ^ z >> 31) % n : 0;
}

bool sim_percent(unsigned percent)
{
	return sim_below(100) < percent;
}

void sim_event(const char *what, int64_t a, int64_t b)
{
	(void)what;
	(void)a;
	(void)b;
}

void sim_anomaly(const char *fmt, ...)
{
	snprintf(t.what, sizeof(t.what), "%s", fmt);
	t.failed++;
}

struct uuid sim_uuid(void)
{
	return t.next_id;
}

void store_remove(const char *name)
{
	(void)name;
}

bool store_runs(const char *name, struct arena *a, struct segment_run **runs, size_t *count, uint64_t *bytes, uint32_t *crc)
{
	(void)name;
	(void)a;
	(void)runs;
	(void)count;
	(void)bytes;
	(void)crc;
	return false;
}

void peers_meta_restarts(void)
{
}

/* ---- comparing ---- */

static void same(bool equal, const char *what, int64_t driver, int64_t model)
{
	t.compared++;
	if (equal || t.failed++)
		return;
	snprintf(t.what, sizeof(t.what), "%s: the driver says %lld, the model %lld", what, (long long)driver, (long long)model);
}

static void same_number(const char *what, int64_t driver, int64_t model)
{
	same(driver == model, what, driver, model);
}

/* Both succeed or fail with the same code. */
static bool same_result(const char *what, int driver, const struct err *driver_error, int model, const struct err *model_error)
{
	same_number(what, driver < 0 ? (int64_t)driver_error->code : 0, model < 0 ? (int64_t)model_error->code : 0);
	return driver == 0 && model == 0;
}

#define DRIVER(what, ...) t.f.m->driver->what(t.f.m, __VA_ARGS__)

/* ---- requests ---- */

static uint64_t some_session(void)
{
	return sim_percent(90) || !t.session_count ? t.session : t.sessions[sim_below(t.session_count)];
}

static void do_open(void)
{
	struct msg_session_open m = {.slot_id = t.f.slot_id[0], .address = ""};
	struct msg_session_opened reply;
	struct meta_session s = {0};
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;

	if (same_result("open", DRIVER(session_open, 0, &t.f.slot_id[0], "", 10000, &s, &a), &a,
		    meta_call(MSG_SESSION_OPEN, &m, &reply, &arena, &b), &b)) {
		same_number("session", (int64_t)s.session, (int64_t)reply.session);
		same_number("sequence of the session", (int64_t)s.commit_sequence, (int64_t)reply.commit_sequence);
	}
	t.session = s.session;
	if (t.session_count < array_count(t.sessions))
		t.sessions[t.session_count++] = s.session;
}

static void do_close(void)
{
	struct msg_session_close m = {.session = some_session()};
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;

	same_result("close", DRIVER(session_close, m.session, &a), &a, meta_call(MSG_SESSION_CLOSE, &m, NULL, &arena, &b), &b);
}

static void do_create(void)
{
	char name[16];
	struct meta_topic topic = {.name = name, .partitions = PARTITIONS, .replication_factor = 1, .config = "{}"};
	struct msg_topic_create m = {.name = name, .partitions = PARTITIONS, .replication_factor = 1, .config = "{}"};
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;
	int made;

	if (t.topic_count == TOPICS)
		return;
	snprintf(name, sizeof(name), "t%u", (unsigned)sim_below(NAMES));
	made = DRIVER(topic_create, &topic, &a);
	t.next_id = topic.id;
	if (!same_result("create", made, &a, meta_call(MSG_TOPIC_CREATE, &m, NULL, &arena, &b), &b))
		return;
	t.topics[t.topic_count].id = topic.id;
	strcpy(t.topics[t.topic_count++].name, name);
}

static void do_delete(void)
{
	char name[16];
	struct msg_topic_delete m = {.name = name};
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;

	snprintf(name, sizeof(name), "t%u", (unsigned)sim_below(NAMES));
	same_result("delete", DRIVER(topic_delete, name, &a), &a, meta_call(MSG_TOPIC_DELETE, &m, NULL, &arena, &b), &b);
}

static void same_topics(struct bytes packed, const struct meta_topic *topics, size_t count)
{
	struct arena arena = ARENA_INIT;
	struct msg_topic_row row;
	size_t at = 0, rows = 0;

	while (pack_row_next(packed, &at, msg_topic_row_fields, &row, &arena, NULL) > 0) {
		const struct meta_topic *same_one = NULL;

		for (size_t i = 0; i < count; i++)
			same_one = uuid_equal(&topics[i].id, &row.id) ? &topics[i] : same_one;
		same(same_one != NULL, "a topic that only the model has", 0, 1);
		if (same_one)
			same_number("deleted", same_one->deleted, row.deleted);
		rows++;
	}
	same_number("changed topics", (int64_t)count, (int64_t)rows);
	arena_release(&arena);
}

static void same_partitions(struct bytes packed, const struct meta_partition *parts, size_t count)
{
	struct arena arena = ARENA_INIT;
	struct msg_partition_row row;
	size_t at = 0, rows = 0;

	while (pack_row_next(packed, &at, msg_partition_row_fields, &row, &arena, NULL) > 0) {
		for (size_t i = 0; i < count; i++) {
			const struct meta_partition *p = &parts[i];

			if (!uuid_equal(&p->topic, &row.topic) || p->partition != row.partition)
				continue;
			same_number("flushed end", p->flushed_end, row.flushed_end);
			same_number("log start", p->log_start, row.log_start);
			same_number("epoch", p->epoch, row.epoch);
			same_number("records", (int64_t)p->records, (int64_t)row.records);
			same_number("bytes", (int64_t)p->bytes, (int64_t)row.bytes);
		}
		rows++;
	}
	same_number("changed partitions", (int64_t)count, (int64_t)rows);
	arena_release(&arena);
}

static void do_renew(void)
{
	struct msg_session_renew m = {.session = some_session(), .version = sim_percent(50) ? 0 : sim_below(20)};
	struct msg_session_renewed reply = {0};
	struct meta_session s;
	struct meta_topic *topics;
	struct meta_partition *parts;
	size_t topic_count, part_count;
	uint64_t version;
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;

	if (same_result("renew", DRIVER(session_renew, m.session, &s, &a), &a, meta_call(MSG_SESSION_RENEW, &m, &reply, &arena, &b), &b) &&
		DRIVER(changes, m.version, &arena, &topics, &topic_count, &parts, &part_count, &version, &a) == 0) {
		same_number("sequence", (int64_t)s.commit_sequence, (int64_t)reply.commit_sequence);
		same_number("version", (int64_t)version, (int64_t)reply.version);
		same_topics(reply.topics, topics, topic_count);
		same_partitions(reply.partitions, parts, part_count);
	}
	arena_release(&arena);
}

static void do_intent(void)
{
	bool again = t.object_count && sim_percent(20);
	struct object *o = &t.objects[again ? sim_below(t.object_count) : t.object_count];
	uint64_t session = some_session(), number = 0, newest = 0, model_number = 0, model_newest = 0;
	struct uuid id = {{0}};
	struct err a = ERR_INIT, b = ERR_INIT;
	int driver, model;

	if (t.object_count == OBJECTS)
		return;
	if (!again) {
		memset(o, 0, sizeof(*o));
		snprintf(o->name, sizeof(o->name), "segments/%zu", t.object_count++);
	}
	driver = DRIVER(intent, session, &id, o->name, &number, &newest, &a);
	model = meta_intent(session, o->name, &model_number, &model_newest, &b);
	if (!same_result("intent", driver, &a, model, &b))
		return;
	same_number("number of the segment", (int64_t)number, (int64_t)model_number);
	same_number("newest committed", (int64_t)newest, (int64_t)model_newest);
}

/* What the driver has as the end of a partition, or nearly. */
static int64_t some_end(const struct uuid *topic, uint32_t partition)
{
	struct meta_topic *topics;
	struct meta_partition *parts;
	size_t topic_count, part_count;
	uint64_t version;
	struct arena arena = ARENA_INIT;
	int64_t end = 0;

	if (DRIVER(changes, 0, &arena, &topics, &topic_count, &parts, &part_count, &version, NULL) == 0)
		for (size_t i = 0; i < part_count; i++)
			if (uuid_equal(&parts[i].topic, topic) && parts[i].partition == partition)
				end = parts[i].flushed_end;
	arena_release(&arena);
	return sim_percent(85) ? end : end + (int64_t)sim_below(5);
}

static void make_runs(struct object *o)
{
	o->bytes = 1000 + sim_below(1000);
	o->crc = (uint32_t)sim_below(1000000);
	for (size_t i = 0; i < t.topic_count && o->count < RUNS; i++)
		for (uint32_t k = 0; k < PARTITIONS && o->count < RUNS; k++) {
			struct segment_run *r = &o->runs[o->count];

			if (!sim_percent(40))
				continue;
			*r = (struct segment_run){.topic = sim_percent(97) ? t.topics[i].id : uuid_random(), .partition = sim_percent(97) ? k : 7};
			r->previous_end = some_end(&r->topic, r->partition);
			r->first_offset = r->previous_end + (sim_percent(90) ? 0 : (int64_t)sim_below(5));
			r->end_offset = r->first_offset + 1 + (int64_t)sim_below(20);
			r->records = (uint64_t)(r->end_offset - r->first_offset);
			r->raw_bytes = 100 * r->records;
			r->max_timestamp = (int64_t)sim_below(1000);
			r->first_epoch = r->last_epoch = (uint32_t)(sim_percent(97) ? t.session : t.session + 1);
			r->section_bytes = 10;
			o->count++;
		}
}

/* Runs are in order of topic, as a segment has them. */
static int compare_runs(const void *a, const void *b)
{
	const struct segment_run *x = a, *y = b;
	int order = uuid_compare(&x->topic, &y->topic);

	return order ? order : (x->partition > y->partition) - (x->partition < y->partition);
}

static void do_commit(void)
{
	static struct buf runs = BUF_INIT(1 << 16);
	struct object *o = &t.objects[sim_percent(70) && t.object_count ? t.object_count - 1 : sim_below(t.object_count + 1)];
	enum meta_verdict verdicts[RUNS];
	struct msg_segment_committed reply = {0};
	struct meta_object object;
	uint64_t session = some_session(), sequence = 0;
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;
	int driver, model;

	if (o == &t.objects[t.object_count])
		strcpy(o->name, "segments/never");
	if (!o->bytes) {
		make_runs(o);
		qsort(o->runs, o->count, sizeof(o->runs[0]), compare_runs);
	}
	object = (struct meta_object){.name = o->name, .bytes = o->bytes + (sim_percent(3) ? 1 : 0), .crc = o->crc};
	buf_reset(&runs);
	segment_runs_encode(&runs, o->runs, o->count);
	struct msg_segment_commit m = {.session = session, .object = o->name, .bytes = object.bytes, .crc = o->crc,
		.runs = {(uint8_t *)runs.data, runs.len}};

	driver = DRIVER(segment_commit, session, &object, o->runs, o->count, verdicts, &sequence, &a);
	model = meta_call(MSG_SEGMENT_COMMIT, &m, &reply, &arena, &b);
	if (same_result("commit", driver, &a, model, &b)) {
		same_number("sequence of the commit", (int64_t)sequence, (int64_t)reply.commit_sequence);
		for (size_t i = 0; i < o->count; i++) {
			same_number("verdict", verdicts[i], reply.verdicts.data[i]);
			verdict_counts[verdicts[i]]++;
		}
	}
	if (o == &t.objects[t.object_count])
		memset(o, 0, sizeof(*o));
	arena_release(&arena);
}

static void do_find(void)
{
	struct msg_run_find m = {.partition = (uint32_t)sim_below(PARTITIONS), .by_timestamp = sim_percent(40), .value = (int64_t)sim_below(1000),
		.from_offset = (int64_t)sim_below(300)};
	struct msg_run_found reply = {0};
	struct meta_object o;
	struct segment_run run, *runs;
	struct err a = ERR_INIT, b = ERR_INIT;
	struct arena arena = ARENA_INIT;
	size_t count;
	int driver;

	if (!t.topic_count)
		return;
	m.topic = t.topics[sim_below(t.topic_count)].id;
	driver = DRIVER(run_find, &m.topic, m.partition, m.by_timestamp, m.value, m.from_offset, &arena, &o, &run, &a);
	if (driver < 0 && a.code == ERR_NOT_FOUND) { /* no failure in the message */
		driver = meta_call(MSG_RUN_FIND, &m, &reply, &arena, &b);
		same_number("found nothing", 0, driver < 0 ? (int64_t)b.code : reply.found);
		driver = -1;
	} else if (same_result("find", driver, &a, meta_call(MSG_RUN_FIND, &m, &reply, &arena, &b), &b)) {
		same_number("found", 1, reply.found);
	}
	if (driver == 0 && reply.found && segment_runs_decode(reply.run.data, reply.run.len, &arena, &runs, &count, &b) == 0) {
		same(!strcmp(o.name, reply.object), "object found", 0, 1);
		same_number("its size", (int64_t)o.bytes, (int64_t)reply.object_bytes);
		same_number("first offset found", run.first_offset, runs[0].first_offset);
		same_number("end found", run.end_offset, runs[0].end_offset);
	}
	arena_release(&arena);
}

/* ---- all of them ---- */

static void do_one(void)
{
	uint64_t which = sim_below(100);

	if (which < 2)
		do_open();
	else if (which < 3)
		do_close();
	else if (which < 5)
		do_create();
	else if (which < 6)
		do_delete();
	else if (which < 18)
		do_renew();
	else if (which < 45)
		do_intent();
	else if (which < 80)
		do_commit();
	else
		do_find();
}

int main(void)
{
	int round = 0;

	for (uint64_t seed = 1; seed <= 3; seed++) {
		memset(&t, 0, sizeof(t));
		t.random = seed;
		fixture_init(&t.f);
		meta_reset();
		if (reopen(&t.f) < 0)
			return fprintf(stderr, "%s\n", t.f.e.text), 1;
		for (round = 0; round < ROUNDS && !t.failed; round++) {
			t.f.m->driver->begin(t.f.m, &t.f.e);
			if (round == 0)
				do_open();
			for (int i = 0; i < REQUESTS && !t.failed; i++)
				do_one();
			t.f.m->driver->commit(t.f.m, &t.f.e);
			if (round % 100 == 99) /* what is kept in memory follows from the file */
				reopen(&t.f);
		}
		ok(!t.failed, "seed %d: after %d rounds and %" PRIu64 " comparisons driver and model say the same. %s", (int)seed, round,
			t.compared, t.what);
		fixture_release(&t.f);
	}
	ok(verdict_counts[META_ACCEPTED] > 100 && verdict_counts[META_ALREADY] && verdict_counts[META_REFUSED_DELETED] &&
			verdict_counts[META_REFUSED_FENCED] && verdict_counts[META_REFUSED_GAP],
		"every verdict was among their answers");
	return done_testing();
}
