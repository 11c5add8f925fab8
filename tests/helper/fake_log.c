/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/helper/fake_log.h"

#include <jansson.h>
#include <stdlib.h>
#include "libsh/base/clock.h"
#include "libsh/base/text.h"

struct fake_batch {
	struct list node;
	size_t len;
	int64_t first, last;
	char bytes[];
};
struct partition_private {
	struct list batches;
	struct batch_writer open;     /* records of this turn */
	int64_t open_first;
	size_t kept_bytes;
	struct list watches;          /* of struct log_watch */
};
struct log {
	struct loop *loop;
	struct topic **topics;        /* sorted by name */
	size_t count;
	struct list waits, changes;
	struct turn_end turn;
	struct timer timer;
	struct fake_log_rules rules;
	uint64_t appends, records, bytes;
};

/* ---- topics ---- */

const char *durability_name(enum durability d)
{
	static const char *const names[] = {"none", "wal", "object", "topic"};

	return names[d];
}

int durability_parse(const char *text, enum durability *d, struct err *e)
{
	for (int i = DURABILITY_NONE; i <= DURABILITY_OBJECT; i++) {
		if (strcmp(text, durability_name(i)) != 0)
			continue;
		*d = i;
		return 0;
	}
	return err_set(e, ERR_INVALID_ARGUMENT, "durability \"%.40s\" is not none, wal or object", text);
}

int topic_config_check(const char *config_json, bool altering, struct err *e)
{
	json_t *root = json_loads(config_json, 0, NULL), *value;
	const char *key;
	int result = 0;

	(void)altering;
	json_object_foreach(root, key, value)
		if (!strcmp(key, "no.such.key"))
			result = err_set(e, ERR_INVALID_ARGUMENT, "there is no topic key \"%s\"", key);
	json_decref(root);
	return result;
}

static void read_config(struct topic *t)
{
	json_t *root = json_loads(t->config_text, 0, NULL);
	const char *v;

	t->config = (struct topic_config){
		.durability = DURABILITY_WAL, .retention_ms = -1, .retention_bytes = -1, .max_message_bytes = 1048588,
	};
	if ((v = json_string_value(json_object_get(root, "durability"))))
		durability_parse(v, &t->config.durability, NULL);
	if ((v = json_string_value(json_object_get(root, "retention.ms"))))
		t->config.retention_ms = atoll(v);
	if ((v = json_string_value(json_object_get(root, "max.message.bytes"))))
		t->config.max_message_bytes = atoll(v);
	json_decref(root);
}

struct topic *log_topic(struct log *l, const char *name, size_t len)
{
	for (size_t i = 0; i < l->count; i++)
		if (strlen(l->topics[i]->name) == len && !memcmp(l->topics[i]->name, name, len))
			return l->topics[i];
	return NULL;
}

struct partition *log_partition(struct log *l, const char *topic, size_t len, int64_t partition,
	struct err *e)
{
	struct topic *t = log_topic(l, topic, len);

	if (!t) {
		err_set(e, ERR_TOPIC_NOT_FOUND, "there is no topic \"%.*s\"", (int)(len < 200 ? len : 200), topic);
		return NULL;
	}
	if (partition < 0 || partition >= t->partition_count) {
		err_set(e, ERR_PARTITION_NOT_FOUND, "topic \"%s\" has no partition %lld", t->name, (long long)partition);
		return NULL;
	}
	return t->partitions[partition];
}

size_t log_topic_count(struct log *l)
{
	return l->count;
}

struct topic *log_topic_after(struct log *l, const char *after)
{
	for (size_t i = 0; i < l->count; i++)
		if (!after || strcmp(l->topics[i]->name, after) > 0)
			return l->topics[i];
	return NULL;
}

int64_t partition_high_watermark(const struct partition *p)
{
	return p->topic->config.durability == DURABILITY_OBJECT ? p->flushed_end : p->synced_end;
}

void topic_totals(const struct topic *t, uint64_t *records, uint64_t *bytes)
{
	*records = *bytes = 0;
	for (uint32_t i = 0; i < t->partition_count; i++) {
		*records += t->partitions[i]->records;
		*bytes += t->partitions[i]->bytes;
	}
}

static void add_partitions(struct topic *t, uint32_t count)
{
	t->partitions = mem_realloc_array(t->partitions, count, sizeof(*t->partitions));
	for (; t->partition_count < count; t->partition_count++) {
		struct partition *p = mem_zalloc(sizeof(*p));

		p->topic = t;
		p->number = t->partition_count;
		p->epoch = 1;
		p->private_ = mem_zalloc(sizeof(*p->private_));
		list_init(&p->private_->batches);
		list_init(&p->private_->watches);
		batch_writer_init(&p->private_->open, CODEC_NONE, BATCH_MAX_BYTES);
		t->partitions[t->partition_count] = p;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct topic *const *)a)->name, (*(struct topic *const *)b)->name);
}

static int topic_create(struct log *l, const char *name, uint32_t partitions, uint32_t replicas,
	const char *config, struct err *e)
{
	struct topic *t;

	if (log_topic(l, name, strlen(name)))
		return err_set(e, ERR_EXISTS, "topic \"%s\" exists", name);
	t = mem_zalloc(sizeof(*t));
	t->id = uuid_random();
	t->name = mem_strdup(name);
	t->replication_factor = replicas;
	t->config_text = mem_strdup(config);
	t->created_ms = clock_real_ms();
	read_config(t);
	add_partitions(t, partitions);
	l->topics = mem_realloc_array(l->topics, l->count + 1, sizeof(*l->topics));
	l->topics[l->count++] = t;
	qsort(l->topics, l->count, sizeof(*l->topics), by_name);
	return 0;
}

static void topic_free(struct topic *t)
{
	for (uint32_t i = 0; i < t->partition_count; i++) {
		struct partition_private *pp = t->partitions[i]->private_;

		list_for_each_safe(it, &pp->batches)
			mem_free(list_entry(it, struct fake_batch, node));
		batch_writer_release(&pp->open);
		mem_free(pp);
		mem_free(t->partitions[i]);
	}
	mem_free(t->partitions);
	mem_free(t->name);
	mem_free(t->config_text);
	mem_free(t);
}

/* Changes are told a turn later, as the real ones are. */
struct fake_change {
	struct list node;
	struct err e;
	log_done_fn *done;
	void *ctx;
};
static void log_turn(void *ctx);

static void change_later(struct log *l, int result, const struct err *e, log_done_fn *done, void *ctx)
{
	struct fake_change *c = mem_zalloc(sizeof(*c));

	if (result < 0)
		c->e = *e;
	c->done = done;
	c->ctx = ctx;
	list_push(&l->changes, &c->node);
	loop_at_turn_end(l->loop, &l->turn, log_turn, l);
}

void log_topic_create(struct log *l, const char *name, uint32_t partitions, uint32_t replication_factor,
	const char *config_json,
	log_done_fn *done, void *ctx)
{
	struct err e = ERR_INIT;
	int result = topic_create(l, name, partitions, replication_factor, config_json, &e);

	change_later(l, result, &e, done, ctx);
}

void log_topic_alter(struct log *l, const char *name, uint32_t partitions, const char *config_json,
	log_done_fn *done, void *ctx)
{
	struct topic *t = log_topic(l, name, strlen(name));
	json_t *now, *changes;
	char *text;

	if (partitions > t->partition_count)
		add_partitions(t, partitions);
	now = json_loads(t->config_text, 0, NULL);
	changes = json_loads(config_json, 0, NULL);
	json_object_update(now, changes);
	text = json_dumps(now, JSON_COMPACT);
	mem_free(t->config_text);
	t->config_text = mem_strdup(text);
	free(text);
	json_decref(now);
	json_decref(changes);
	read_config(t);
	change_later(l, 0, NULL, done, ctx);
}

static void tell_watches(struct partition *p, const struct err *e);

void log_topic_delete(struct log *l, const char *name, log_done_fn *done, void *ctx)
{
	struct err gone = ERR_INIT;

	err_set(&gone, ERR_TOPIC_NOT_FOUND, "topic \"%s\" was deleted", name);
	for (size_t i = 0; i < l->count; i++) {
		struct topic *t = l->topics[i];

		if (strcmp(t->name, name) != 0)
			continue;
		memmove(l->topics + i, l->topics + i + 1, (l->count - i - 1) * sizeof(*l->topics));
		l->count--;
		list_for_each_safe(it, &l->waits) {
			struct log_wait *w = list_entry(it, struct log_wait, node);

			if (w->partition->topic != t)
				continue;
			list_remove(&w->node);
			w->done(w, DURABILITY_NONE, &gone);
		}
		for (uint32_t k = 0; k < t->partition_count; k++)
			tell_watches(t->partitions[k], &gone);
		topic_free(t);
		break;
	}
	change_later(l, 0, NULL, done, ctx);
}

void topic_ref(struct topic *t)
{
	t->refs++;
}

void topic_unref(struct topic *t)
{
	t->refs--;
}

/* ---- append ---- */

static int judge(struct log *l, struct err *e)
{
	l->appends++;
	if (l->rules.refuse_every && l->appends % l->rules.refuse_every == 0)
		return err_set(e, ERR_BACK_PRESSURE, "the write-ahead log is full");
	if (l->rules.fail_at && !--l->rules.fail_at)
		return err_set(e, ERR_WAL_FAILED, "a write to the write-ahead log failed");
	return 0;
}

int log_may_append(struct log *l, size_t n, struct err *e)
{
	(void)l;
	(void)n;
	(void)e;
	return 0;
}

int log_check_durability(struct log *l, struct partition *p, enum durability asked, struct err *e)
{
	(void)l;
	(void)p;
	(void)asked;
	(void)e;
	return 0;
}

static void add_batch(struct partition *p, const void *batch, size_t n, int64_t first, int64_t last)
{
	struct partition_private *pp = p->private_;
	struct fake_batch *b = mem_alloc(sizeof(*b) + n);

	b->len = n;
	b->first = first;
	b->last = last;
	memcpy(b->bytes, batch, n);
	batch_stamp(b->bytes, first, (int32_t)p->epoch);
	list_push(&pp->batches, &b->node);
	p->bytes += n;
	pp->kept_bytes += n;
	while (pp->kept_bytes > FAKE_LOG_KEEP_BYTES) {
		struct fake_batch *old = list_entry(list_pop(&pp->batches), struct fake_batch, node);

		pp->kept_bytes -= old->len;
		p->log_start = old->last + 1;
		mem_free(old);
	}
}

static void close_open(struct partition *p)
{
	struct partition_private *pp = p->private_;
	struct buf out = BUF_INIT(BATCH_MAX_BYTES * 2);
	int32_t count = pp->open.count;

	if (count && !batch_writer_finish(&pp->open, &out, NULL))
		add_batch(p, out.data, out.len, pp->open_first, pp->open_first + count - 1);
	buf_release(&out);
}

int log_append_checked(struct log *l, struct partition *p, struct batch_check *c, int64_t *base_offset,
	int64_t *last_offset, struct err *e)
{
	void *batch = c->batch;
	size_t n = c->n;
	struct batch_header h;

	if (judge(l, e) < 0 || batch_header_read(batch, n, &h, e) < 0 || (l->rules.check &&
		batch_check_crc(batch, n, e) < 0))
		return -1;
	if (h.last_offset_delta < 0 || batch_size(batch, n) != (int64_t)n ||
		h.record_count != h.last_offset_delta + 1)
		return err_set(e, ERR_CORRUPT_BATCH, "the batch's counts do not fit");
	if ((int64_t)n > p->topic->config.max_message_bytes)
		return err_set(e, ERR_TOO_LARGE, "the batch is larger than the topic allows");
	close_open(p);
	*base_offset = p->end;
	*last_offset = p->end + h.last_offset_delta;
	add_batch(p, batch, n, *base_offset, *last_offset);
	p->end = *last_offset + 1;
	p->records += h.record_count;
	l->records += h.record_count;
	l->bytes += n;
	loop_at_turn_end(l->loop, &l->turn, log_turn, l);
	return 0;
}

/* The fake checks when it appends. */
void log_check_begin(struct batch_check *c, const struct partition *p, void *batch, size_t n, size_t max_raw_bytes)
{
	(void)p;
	*c = (struct batch_check){.batch = batch, .n = n, .rules.max_raw_bytes = max_raw_bytes};
}

int log_check_run(struct batch_check *c, struct err *e)
{
	(void)c;
	(void)e;
	return 0;
}

void log_check_release(struct batch_check *c)
{
	(void)c;
}

int log_append_record(struct log *l, struct partition *p, const struct record *r, int64_t *offset,
	int64_t *timestamp, struct err *e)
{
	struct partition_private *pp = p->private_;
	struct record copy = *r;

	if (judge(l, e) < 0)
		return -1;
	if ((int64_t)record_max_size(r) > p->topic->config.max_message_bytes)
		return err_set(e, ERR_TOO_LARGE, "the record is larger than the topic allows");
	if (copy.timestamp < 0)
		copy.timestamp = clock_real_ms();
	if (batch_writer_size(&pp->open) > 256 << 10)
		close_open(p);
	if (!pp->open.count)
		pp->open_first = p->end;
	if (batch_writer_add(&pp->open, &copy, e) < 0)
		return -1;
	*offset = p->end++;
	*timestamp = copy.timestamp;
	p->records++;
	l->records++;
	l->bytes += record_max_size(r);
	loop_at_turn_end(l->loop, &l->turn, log_turn, l);
	return 0;
}

/* ---- waiting ---- */

void log_wait(struct log *l, struct log_wait *w, struct partition *p, int64_t end_offset,
	enum durability want,
	void (*done)(struct log_wait *, enum durability, const struct err *))
{
	w->partition = p;
	w->end_offset = end_offset;
	w->want = want == DURABILITY_TOPIC ||
		p->topic->config.durability == DURABILITY_OBJECT ? p->topic->config.durability : want;
	w->done = done;
	list_push(&l->waits, &w->node);
	loop_at_turn_end(l->loop, &l->turn, log_turn, l);
}

void log_wait_cancel(struct log_wait *w)
{
	list_remove(&w->node);
}

static void tell_watches(struct partition *p, const struct err *e)
{
	list_for_each_safe(it, &p->private_->watches) {
		struct log_watch *w = list_entry(it, struct log_watch, node);

		if (!e && w->offset >= partition_high_watermark(p))
			continue;
		list_remove(&w->node);
		w->ready(w, e);
	}
}

void log_watch(struct log *l, struct log_watch *w, struct partition *p, int64_t offset,
	void (*ready)(struct log_watch *, const struct err *))
{
	w->offset = offset;
	w->ready = ready;
	list_push(&p->private_->watches, &w->node);
	loop_at_turn_end(l->loop, &l->turn, log_turn, l);
}

void log_watch_cancel(struct log_watch *w)
{
	list_remove(&w->node);
}

/* Everything is as durable as can be. */
static void log_sync(void *ctx)
{
	struct log *l = ctx;

	for (size_t i = 0; i < l->count; i++) {
		for (uint32_t k = 0; k < l->topics[i]->partition_count; k++) {
			struct partition *p = l->topics[i]->partitions[k];

			close_open(p);
			p->synced_end = p->flushed_end = p->end;
		}
	}
	while (!list_empty(&l->waits)) {
		struct log_wait *w = list_entry(list_pop(&l->waits), struct log_wait, node);

		w->done(w, w->want, NULL);
	}
	for (size_t i = 0; i < l->count; i++)
		for (uint32_t k = 0; k < l->topics[i]->partition_count; k++)
			tell_watches(l->topics[i]->partitions[k], NULL);
}

static void log_turn(void *ctx)
{
	struct log *l = ctx;
	struct list *node;

	while ((node = list_pop(&l->changes))) {
		struct fake_change *c = list_entry(node, struct fake_change, node);

		c->done(c->ctx, c->e.code ? &c->e : NULL);
		mem_free(c);
	}
	if (l->rules.ack_ms < 0)
		return;
	if (!l->rules.ack_ms)
		log_sync(l);
	else if (!l->timer.index)
		loop_timer_set(l->loop, &l->timer, l->rules.ack_ms, log_sync, l);
}

/* ---- read ---- */

void log_fetch(struct log *l, struct log_fetch *f, struct partition *p)
{
	int64_t end = partition_high_watermark(p);
	struct err e = ERR_INIT;

	(void)l;
	f->high_watermark = end;
	f->next_offset = f->offset;
	if (f->offset < p->log_start || f->offset > end) {
		err_set(&e, ERR_OFFSET_OUT_OF_RANGE, "offset %lld is outside %lld to %lld", (long long)f->offset,
			(long long)p->log_start, (long long)end);
		f->done(f, &e);
		return;
	}
	list_for_each(it, &p->private_->batches) {
		struct fake_batch *b = list_entry(it, struct fake_batch, node);

		if (b->last < f->offset)
			continue;
		if (b->first >= f->limit || b->last >= end || (f->batches.len && f->batches.len + b->len > f->max_bytes))
			break;
		buf_add(&f->batches, b->bytes, b->len);
		f->next_offset = b->last + 1;
	}
	f->done(f, NULL);
}

void log_fetch_cancel(struct log_fetch *f)
{
	(void)f;
}

struct log_seek *log_seek(struct log *l, struct partition *p, int64_t timestamp_ms, log_seek_fn *done,
	void *ctx)
{
	(void)l;
	list_for_each(it, &p->private_->batches) {
		struct fake_batch *b = list_entry(it, struct fake_batch, node);
		struct batch_reader *reader = batch_reader_new(b->bytes, b->len, BATCH_MAX_RAW_BYTES, NULL);
		struct record r;

		while (reader && batch_reader_next(reader, &r, NULL) > 0) {
			if (r.timestamp < timestamp_ms)
				continue;
			batch_reader_free(reader);
			done(ctx, r.offset, r.timestamp, NULL);
			return NULL;
		}
		batch_reader_free(reader);
	}
	done(ctx, -1, -1, NULL);
	return NULL;
}

void log_seek_cancel(struct log_seek *s)
{
	(void)s;
}

/* ---- state and life ---- */

void log_get_status(struct log *l, struct log_status *s)
{
	*s = (struct log_status){
		.state = "serving", .serving = true, .session = 1, .lease_left_ms = 1000, .wal_bytes = l->bytes,
		.wal_max_bytes = INT64_MAX, .wal_files = 1, .appended_batches = l->appends, .appended_records = l->records,
		.appended_bytes = l->bytes,
	};
}

struct log *fake_log_new(struct loop *loop)
{
	struct log *l = mem_zalloc(sizeof(*l));

	l->loop = loop;
	l->rules.check = true;
	list_init(&l->waits);
	list_init(&l->changes);
	return l;
}

void fake_log_free(struct log *l)
{
	struct list *node;

	while ((node = list_pop(&l->changes))) {
		struct fake_change *c = list_entry(node, struct fake_change, node);

		c->done(c->ctx, NULL);
		mem_free(c);
	}
	loop_turn_end_cancel(&l->turn);
	loop_timer_cancel(l->loop, &l->timer);
	for (size_t i = 0; i < l->count; i++)
		topic_free(l->topics[i]);
	mem_free(l->topics);
	mem_free(l);
}

struct fake_log_rules *fake_log_rules(struct log *l)
{
	return &l->rules;
}

/* ---- peers: none ---- */

bool peer_connected(struct role_self *self, enum role peer, uint32_t index)
{
	(void)self;
	(void)peer;
	(void)index;
	return false;
}

struct peer_call_handle *peer_call(struct role_self *self, enum role peer, uint32_t index, int type,
	const void *body,
	const int *fds, int fd_count, uint32_t timeout_ms, peer_done_fn *done, void *ctx)
{
	(void)self, (void)peer, (void)index, (void)type, (void)body, (void)fds, (void)fd_count,
		(void)timeout_ms, (void)done, (void)ctx;
	abort(); /* nobody may call who was told that there is no peer */
}

void peer_cancel(struct peer_call_handle *h)
{
	(void)h;
}
