/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/agent/http/append.h"

#include "libsh/base/clock.h"
#include "libsh/format/json_write.h"
#include "libsh/format/murmur2.h"

int append_durability(const char *durability, const char *ack_mode, enum durability *out, struct err *e)
{
	static const struct { const char *text; enum durability level; } modes[] = {
		{"0", DURABILITY_WAL}, {"buffered", DURABILITY_WAL}, {"1", DURABILITY_OBJECT}, {"durable",
			DURABILITY_OBJECT},
		{"2", DURABILITY_NONE}, {"none", DURABILITY_NONE},
	};

	*out = DURABILITY_TOPIC;
	if (durability)
		return durability_parse(durability, out, e);
	if (!ack_mode)
		return 0;
	for (size_t i = 0; i < array_count(modes); i++) {
		if (!strcmp(ack_mode, modes[i].text)) {
			*out = modes[i].level;
			return 0;
		}
	}
	err_set(e, ERR_INVALID_ARGUMENT, "ack_mode \"%.40s\" is not known", ack_mode);
	return err_hint(e, "it is 0 or \"buffered\", 1 or \"durable\", 2 or \"none\"");
}

int append_begin(struct append *a, struct http_request *r, const char *topic, size_t len,
	enum durability asked,
	void (*done)(struct append *a), struct err *e)
{
	struct topic *t = log_topic(r->server->log, topic, len);

	memset(a, 0, sizeof(*a));
	list_init(&a->parts);
	a->r = r;
	a->log = r->server->log;
	a->asked = asked;
	a->reached = DURABILITY_OBJECT;
	a->done = done;
	if (!t) {
		err_set(e, ERR_TOPIC_NOT_FOUND, "there is no topic \"%.*s\"", (int)(len < 200 ? len : 200), topic);
		return err_hint(e, "create it: POST /api/v1/topics");
	}
	a->topic = arena_strdup(&r->arena, t->name);
	a->topic_id = t->id;
	return log_may_append(a->log,
		r->head.content_length < HTTP_UNACKNOWLEDGED_MAX ? r->head.content_length : 0, e);
}

void append_release(struct append *a)
{
	int64_t unacknowledged = 0;

	if (!a->r)
		return;
	loop_timer_cancel(a->r->server->self->loop, &a->timer);
	list_for_each_safe(it, &a->parts) {
		struct append_part *part = list_entry(it, struct append_part, node);

		if (part->out)
			log_wait_cancel(&part->wait);
		unacknowledged += (int64_t)(part->taken.bytes - part->acknowledged.bytes);
		list_remove(&part->node);
	}
	map_release(&a->by_number);
	if (unacknowledged)
		http_unacknowledged(a->r, -unacknowledged);
	a->r = NULL;
}

/* Not another one of the same name, whose offsets would mean something else. */
static struct topic *topic_now(struct append *a, struct err *e)
{
	struct topic *t = log_topic(a->log, a->topic, strlen(a->topic));

	if (t && uuid_equal(&t->id, &a->topic_id))
		return t;
	err_set(e, ERR_TOPIC_NOT_FOUND, "the topic \"%s\" was deleted", a->topic);
	return NULL;
}

struct topic *append_topic(struct append *a, struct err *e)
{
	a->turn++;
	return topic_now(a, e);
}

static struct append_part *part_find(struct append *a, uint32_t number)
{
	struct append_part *part = a->last;

	if (part && part->number == number)
		return part;
	part = map_get(&a->by_number, &number, sizeof(number));
	if (!part) {
		part = arena_alloc(&a->r->arena, sizeof(*part));
		part->append = a;
		part->number = number;
		part->first_offset = part->last_offset = -1;
		map_put(&a->by_number, &number, sizeof(number), part);
		list_push(&a->parts, &part->node);
	}
	a->last = part;
	return part;
}

/* The part with its partition looked up in this turn. */
static struct append_part *part_open(struct append *a, int64_t number, struct err *e)
{
	struct partition *p = NULL;
	struct append_part *part;

	if (a->last && a->last->number == number && a->last->checked == a->turn)
		return a->last;
	if (!(p = log_partition(a->log, a->topic, strlen(a->topic), number, e)))
		return NULL;
	if (log_check_durability(a->log, p, a->asked, e) < 0)
		return NULL;
	part = part_find(a, p->number);
	part->partition = p;
	part->checked = a->turn;
	return part;
}

static void part_took(struct append *a, struct append_part *part, int64_t first, int64_t last,
	uint64_t records, uint64_t bytes)
{
	struct http_counters *count = &a->r->server->counters;

	if (part->first_offset < 0 || first < part->first_offset)
		part->first_offset = first;
	if (last > part->last_offset)
		part->last_offset = last;
	if (last + 1 > part->taken.end)
		part->taken.end = last + 1;
	part->taken.records += records;
	part->taken.bytes += bytes;
	a->records += records;
	count->records_in += records;
	count->record_bytes_in += bytes;
	http_unacknowledged(a->r, (int64_t)bytes);
}

static int64_t choose(struct append *a, struct topic *t, const struct record *r, size_t bytes)
{
	if (t->partition_count == 1)
		return 0;
	if (r->key.data)
		return murmur2_partition(r->key.data, r->key.len, (int32_t)t->partition_count);
	return partition_choice_next(a->r->server, t, bytes);
}

int append_record(struct append *a, struct topic *t, int64_t partition, struct record *r,
	int32_t *chosen, struct err *e)
{
	size_t bytes = record_max_size(r);
	int64_t number = partition >= 0 ? partition : choose(a, t, r, bytes), offset, timestamp;
	struct append_part *part = part_open(a, number, e);

	if (!part || log_append_record(a->log, part->partition, r, &offset, &timestamp, e) < 0)
		return -1;
	r->offset = offset;
	r->timestamp = timestamp;
	if (chosen)
		*chosen = (int32_t)number;
	part_took(a, part, offset, offset, 1, bytes);
	return 0;
}

const struct partition *append_partition(struct append *a, int64_t partition, struct err *e)
{
	struct append_part *part = part_open(a, partition, e);

	return part ? part->partition : NULL;
}

int append_checked(struct append *a, int64_t partition, struct batch_check *c, struct err *e)
{
	struct append_part *part = part_open(a, partition, e);
	int64_t first, last;

	if (!part || log_append_checked(a->log, part->partition, c, &first, &last, e) < 0)
		return -1;
	part_took(a, part, first, last, last - first + 1, c->n);
	return 0;
}

int append_batch(struct append *a, int64_t partition, void *batch, size_t n, size_t max_raw_bytes, struct err *e)
{
	struct append_part *part = part_open(a, partition, e);
	struct batch_check c;
	int result = -1;

	if (!part || log_may_append(a->log, n, e) < 0)
		return -1;
	log_check_begin(&c, part->partition, batch, n, max_raw_bytes);
	if (log_check_run(&c, e) == 0)
		result = append_checked(a, partition, &c, e);
	log_check_release(&c);
	return result;
}

/* ---- waiting ---- */

static void append_try_done(struct append *a)
{
	if (!a->finishing || a->waits || a->done_called)
		return;
	a->done_called = true;
	loop_timer_cancel(a->r->server->self->loop, &a->timer);
	a->done(a);
}

static void append_timed_out(void *ctx)
{
	struct append *a = ctx;

	err_set(&a->failure, ERR_OUTCOME_UNKNOWN, "no acknowledgement at the level asked for within %lld ms",
		(long long)a->r->server->timeouts.ack);
	err_hint(&a->failure, "what was not acknowledged may or may not be stored");
	list_for_each_safe(it, &a->parts) {
		struct append_part *part = list_entry(it, struct append_part, node);

		if (part->out)
			log_wait_cancel(&part->wait);
		part->out = false;
	}
	a->waits = 0;
	a->timed_out = true;
	if (a->progress && !a->finishing)
		a->progress(a);
	else
		append_try_done(a);
}

static void part_wait(struct append_part *part);

static void part_acknowledged(struct append_part *part, enum durability reached)
{
	struct append *a = part->append;

	part->acknowledged.records += part->waiting.records;
	part->acknowledged.bytes += part->waiting.bytes;
	part->acknowledged.end = part->waiting.end;
	a->acknowledged += part->waiting.records;
	if (reached < a->reached)
		a->reached = reached;
	http_unacknowledged(a->r, -(int64_t)part->waiting.bytes);
}

static void part_wait_done(struct log_wait *w, enum durability reached, const struct err *e)
{
	struct append_part *part = container_of(w, struct append_part, wait);
	struct append *a = part->append;

	part->out = false;
	a->waits--;
	if (!e) {
		part_acknowledged(part, reached);
		/* its partition may have gone since; then the next turn's look-up says so */
		if (part->taken.bytes > part->acknowledged.bytes && topic_now(a, NULL))
			part_wait(part);
	} else if (a->failure.code == ERR_NONE) {
		a->failure = *e;
	}
	if (a->waits)
		loop_timer_set(a->r->server->self->loop, &a->timer, a->r->server->timeouts.ack, append_timed_out, a);
	else
		loop_timer_cancel(a->r->server->self->loop, &a->timer);
	if (a->finishing)
		append_try_done(a);
	else if (a->progress)
		a->progress(a);
}

static void part_wait(struct append_part *part)
{
	struct append *a = part->append;
	struct err e = ERR_INIT;
	struct partition *p = topic_now(a, &e) ? log_partition(a->log, a->topic, strlen(a->topic), part->number,
		&e) : NULL;

	if (!p) {
		if (a->failure.code == ERR_NONE)
			a->failure = e;
		return;
	}
	part->waiting.records = part->taken.records - part->acknowledged.records;
	part->waiting.bytes = part->taken.bytes - part->acknowledged.bytes;
	part->waiting.end = part->taken.end;
	part->out = true;
	if (!a->waits++)
		loop_timer_set(a->r->server->self->loop, &a->timer, a->r->server->timeouts.ack, append_timed_out, a);
	log_wait(a->log, &part->wait, p, part->taken.end, a->asked, part_wait_done);
}

void append_wait(struct append *a)
{
	list_for_each(it, &a->parts) {
		struct append_part *part = list_entry(it, struct append_part, node);

		if (!part->out && part->taken.bytes > part->acknowledged.bytes)
			part_wait(part);
	}
}

void append_finish(struct append *a)
{
	if (!a->timed_out)
		append_wait(a);
	a->finishing = true;
	append_try_done(a);
}

/* ---- the account ---- */

static void describe_part(const struct append_part *part, struct buf *out)
{
	json_write_open(out, '{');
	json_write_member_uint(out, "partition", part->number);
	json_write_member_uint(out, "records", part->taken.records);
	if (part->taken.records) {
		json_write_member_int(out, "first_offset", part->first_offset);
		json_write_member_int(out, "last_offset", part->last_offset);
	}
	if (part->acknowledged.records != part->taken.records)
		json_write_member_uint(out, "acknowledged", part->acknowledged.records);
	json_write_close(out, '}');
}

void append_describe(const struct append *a, struct buf *out)
{
	json_write_member_uint(out, "records", a->records);
	if (a->acknowledged != a->records)
		json_write_member_uint(out, "acknowledged", a->acknowledged);
	json_write_member_string(out, "durability",
		durability_name(a->acknowledged ? a->reached : DURABILITY_NONE));
	json_write_name(out, "partitions");
	json_write_open(out, '[');
	list_for_each(it, &a->parts)
		describe_part(list_entry(it, struct append_part, node), out);
	json_write_close(out, ']');
}
