/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an agent's log:
 *
 *   STARTING  lock the slot, open a session, learn topics and leases, recover the WAL
 *   SERVING   appends and reads
 *   DRAINING  no new appends; what is staged is synced, the session is closed
 *   FAILED    a write or sync failed, now or in an earlier life: what is durable is served, nothing is taken
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"

static const char *const durability_names[] = {"none", "wal", "object"};

const char *durability_name(enum durability d)
{
	return d <= DURABILITY_OBJECT ? durability_names[d] : "topic";
}

int durability_parse(const char *text, enum durability *d, struct err *e)
{
	for (size_t i = 0; i < array_count(durability_names); i++)
		if (!strcmp(text, durability_names[i])) {
			*d = (enum durability)i;
			return 0;
		}
	return err_set(e, ERR_INVALID_ARGUMENT, "durability \"%.50s\" is not one of none, wal, object", text);
}

void log_problem(struct log *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->problem, sizeof(l->problem), fmt, ap);
	va_end(ap);
	l->problem[strcspn(l->problem, "\n")] = '\0';
	log_error("%s", l->problem);
}

struct log *log_new(struct role_self *self)
{
	struct log *l = mem_zalloc(sizeof(*l));

	l->self = self;
	l->loop = self->loop;
	l->slot = self->index;
	l->slot_dir = mem_printf("%s/slots/%u", self->data_dir, l->slot);
	l->wal_dir = mem_printf("%s/wal", l->slot_dir);
	l->quarantine_dir = mem_printf("%s/quarantine", l->slot_dir);
	l->slot_lock = -1;
	l->range_number = 1;
	buf_init(&l->scratch, BATCH_MAX_RAW_BYTES);
	buf_init(&l->block, CHAN_MAX_BYTES);
	buf_init(&l->window, BATCH_MAX_BYTES + WAL_HEADER_BYTES);
	list_init(&l->syncs);
	list_init(&l->gone);
	list_init(&l->open_partitions);
	list_init(&l->advanced);
	list_init(&l->ready_waits);
	list_init(&l->vain_watches);
	list_init(&l->ranges);
	list_init(&l->runs);
	list_init(&l->aheads);
	list_init(&l->producers);
	return l;
}

static void log_wal_synced(void *ctx, uint64_t lsn)
{
	struct log *l = ctx;

	waits_synced(l, lsn);
	flush_check(l);
	if (l->state == LOG_DRAINING && lsn >= wal_end_lsn(l->wal)) {
		if (l->drain_step) {
			crash_point("close.synced");
			recover_write_clean(l);
			crash_point("close.clean");
			session_close(l, l->drain_step);
		}
		l->drain_step = NULL;
	}
}

void log_wal_failed(void *ctx, const struct err *e)
{
	struct log *l = ctx;

	l->state = LOG_FAILED;
	log_problem(l, "the write-ahead log failed and takes no more data: %s", e->text);
	while (!list_empty(&l->open_partitions))
		append_discard(l, list_first(&l->open_partitions, struct partition_private, open_node)->owner);
	waits_fail_unsynced(l, e);
	flush_check(l);
	if (l->drain_step)
		session_close(l, l->drain_step);
	l->drain_step = NULL;
}

static void log_recovered(struct log *l)
{
	if (l->problem[0])
		log_warn("serving read-only: %s", l->problem);
	l->serving(l->serving_ctx);
}

static void log_session_opened(struct log *l)
{
	static const struct wal_events events = {log_wal_synced, log_wal_failed};
	struct wal_options o = {.dir = l->wal_dir, .slot = l->slot_id, .session = l->session,
		.max_bytes = (uint64_t)settings_number(l->self->settings, "wal.max_bytes")};
	struct err e = ERR_INIT;

	o.sync = settings_wal_sync(l->self->settings, &o.interval_ms);
	if (o.sync != WAL_SYNC_ALWAYS)
		log_warn("wal.sync=%s: acks below level object say \"none\", and records acknowledged so can be lost with the machine",
			settings_string(l->self->settings, "wal.sync"));
	l->wal = wal_new(l->loop, &o, &events, l, &e);
	if (!l->wal)
		fatalx("%s", e.text);
	recover_start(l, log_recovered);
}

void log_start(struct log *l, void (*serving)(void *ctx), void *ctx)
{
	struct err e = ERR_INIT;

	l->serving = serving;
	l->serving_ctx = ctx;
	if (session_lock_slot(l, &e) < 0)
		fatal_err(&e, "slot %u", l->slot);
	session_open(l, log_session_opened);
}

static void log_drained(struct log *l)
{
	l->drained(l->drained_ctx);
}

void log_drain(struct log *l, void (*drained)(void *ctx), void *ctx)
{
	struct wal_entry mark = {.type = WAL_SYNC_MARK};

	l->drained = drained;
	l->drained_ctx = ctx;
	if (l->state != LOG_SERVING) {
		session_close(l, log_drained);
		return;
	}
	append_seal_all(l);
	l->state = LOG_DRAINING;
	l->drain_step = log_drained;
	wal_append(l->wal, &mark, NULL);
	wal_sync(l->wal);
}

void log_reload(struct log *l)
{
	flush_check(l); /* ages and sizes may be other ones now */
}

void log_request(struct log *l, struct role_request *r)
{
	static const struct msg_empty empty;

	if (r->type == MSG_META_CHANGED && l->session)
		session_sync(l, NULL, NULL);
	role_answer(r->reply, &empty, NULL, 0);
}

void log_get_status(struct log *l, struct log_status *s)
{
	static const char *const names[] = {"starting", "serving", "draining", "failed"};
	struct wal_numbers n = {0};

	*s = l->numbers;
	if (l->wal)
		wal_get_numbers(l->wal, &n);
	s->state = l->state == LOG_SERVING && !session_lease_holds(l) ? "fenced" : names[l->state];
	s->serving = l->state == LOG_SERVING && session_lease_holds(l);
	s->slot = l->slot;
	s->session = l->session;
	s->lease_left_ms = l->lease_until_ms - clock_boot_ms();
	s->wal_bytes = n.bytes;
	s->wal_files = n.files;
	s->wal_max_bytes = (uint64_t)settings_number(l->self->settings, "wal.max_bytes");
	s->syncs = n.syncs;
	s->sync_ns_total = n.sync_ns;
	s->tail_index_bytes = l->index_bytes;
	s->problem = l->problem[0] ? l->problem : NULL;
	s->wal_no_space = n.no_space;
	s->flush_error = l->flush_error.code ? l->flush_error.text : NULL;
	s->flush_error_since_ms = l->flush_error_since_ms;
	s->flush_age_ms = flush_age_ms(l);
	s->read_error = l->read_error.code ? l->read_error.text : NULL;
	s->read_error_ms = l->read_error_ms;
}

void log_free(struct log *l)
{
	if (!l)
		return;
	loop_timer_cancel(l->loop, &l->renew_timer);
	loop_timer_cancel(l->loop, &l->mark_timer);
	loop_timer_cancel(l->loop, &l->flush_timer);
	loop_turn_end_cancel(&l->seal);
	loop_turn_end_cancel(&l->deliver);
	wal_stop(l->wal);
	recover_release(l);
	flush_release(l);
	runs_release(l);
	topics_release(l);
	buf_release(&l->scratch);
	buf_release(&l->window);
	mem_free(l->unsynced.entries);
	fd_close(&l->slot_lock);
	mem_free(l->slot_dir);
	mem_free(l->wal_dir);
	mem_free(l->quarantine_dir);
	mem_free(l);
}
