/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's right to its partitions: the slot's lock, a session at meta, its renewal, and the deadline that follows from it.
 * A renewal also brings what changed in the table of topics.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/plant.h"

struct sync_wait { /* somebody waits for a table as new as the moment of asking */
	struct list node;
	bool sent; /* the renewal under way was sent after it asked */
	log_done_fn *done;
	void *ctx;
};

static void session_renew(void *ctx);

/* The slot's name for itself: made once, durable before it is used. */
static int session_slot_id(struct log *l, struct err *e)
{
	char *path = mem_printf("%s/id", l->slot_dir);
	struct buf text = BUF_INIT(64);
	char name[UUID_TEXT_BYTES + 1];
	struct err missing = ERR_INIT;
	int result = disk_read_file(path, &text, &missing);

	if (result == 0) {
		buf_addc(&text, '\0'); /* even if it is empty */
		text.data[text.len > 36 ? 36 : text.len] = '\0';
		result = uuid_parse(text.data, &l->slot_id, e);
	} else if (missing.code == ERR_NOT_FOUND) {
		l->slot_id = uuid_random();
		uuid_format(&l->slot_id, name);
		strcat(name, "\n");
		result = disk_write_file(path, name, strlen(name), 0600, e);
	} else if (e) {
		*e = missing;
	}
	buf_release(&text);
	mem_free(path);
	return result;
}

int session_lock_slot(struct log *l, struct err *e)
{
	char *lock = mem_printf("%s/lock", l->slot_dir);
	int result = -1;

	if (disk_make_dirs(l->wal_dir, e) < 0 || disk_make_dirs(l->quarantine_dir, e) < 0)
		goto out;
	l->slot_lock = disk_lock(lock, e);
	if (l->slot_lock < 0)
		goto out;
	crash_point("slot.locked");
	result = session_slot_id(l, e);
	crash_point("slot.named");
out:
	mem_free(lock);
	return result;
}

bool session_lease_holds(const struct log *l)
{
	return l->session && clock_boot_ms() < l->lease_until_ms;
}

/* The deadline counts from when the request left, and keeps a margin for clocks that run at different speeds. */
static void session_extend(struct log *l)
{
	l->lease_until_ms = l->renew_sent_ms + l->ttl_ms - l->ttl_ms / 5;
}

/* What we saw of the metadata outlives us, so that a restored older copy is noticed. */
static void session_check_history(struct log *l, uint64_t incarnation, uint64_t sequence)
{
	struct err e = ERR_INIT;

	if (PLANTED(back_in_time_taken))
		sequence = l->commit_sequence;
	if (l->incarnation && incarnation != l->incarnation)
		err_set(&e, ERR_CORRUPT, "the metadata is another one than this data was written with (incarnation %" PRIx64
			", not %" PRIx64 ")", incarnation, l->incarnation);
	else if (sequence < l->commit_sequence)
		err_set(&e, ERR_CORRUPT, "the metadata went back in time (commit %" PRIu64 ", but %" PRIu64 " was seen)", sequence,
			l->commit_sequence);
	if (e.code) {
		err_hint(&e, "see streamhouse-recovery(7)");
		fatal_err(&e, "slot %u", l->slot);
	}
	l->incarnation = incarnation;
	if (sequence > l->commit_sequence) /* what we hear of flushed ends counts with it */
		l->commit_sequence = sequence;
}

static void session_load_history(struct log *l)
{
	char *path = mem_printf("%s/seen", l->slot_dir);
	struct buf text = BUF_INIT(256);
	struct err e = ERR_INIT;

	if (disk_read_file(path, &text, &e) < 0 ? e.code != ERR_NOT_FOUND :
			!text.len || sscanf(text.data, "%" SCNx64 " %" SCNu64 " %" SCNu64, &l->incarnation, &l->commit_sequence, &l->seen_session) < 2)
		fatalx("%s cannot be understood%s%s: see streamhouse-recovery(7)", path, e.text[0] ? ": " : "", e.text);
	buf_release(&text);
	mem_free(path);
}

/* A few bytes at the beginning of a file that is there: no block has to be found for them, and they lie in one sector. */
static int session_write_over(const char *path, const char *text, struct err *e)
{
	int fd = disk_open(path, O_WRONLY, 0, e), result = -1;

	if (fd >= 0 && disk_pwrite(fd, text, strlen(text), 0, e) == 0)
		result = disk_sync(fd, e);
	fd_close(&fd);
	return result;
}

static int session_save_history(struct log *l)
{
	char *path = mem_printf("%s/seen", l->slot_dir);
	char *text = mem_printf("%016" PRIx64 " %020" PRIu64 " %010" PRIu64 "\n", l->incarnation, l->commit_sequence, l->session); /* always as long */
	struct err e = ERR_INIT;
	int result = disk_write_file(path, text, strlen(text), 0600, &e);

	if (result < 0 && e.code == ERR_NO_SPACE)
		result = session_write_over(path, text, &e);
	if (result < 0)
		log_warn("%s", e.text);
	else
		l->saved_sequence = l->commit_sequence;
	mem_free(path);
	mem_free(text);
	return result;
}

int session_remember(struct log *l)
{
	if (l->saved_sequence >= l->commit_sequence || PLANTED(seen_forgotten))
		return 0;
	if (loop_now_ns(l->loop) < l->remember_again_ns)
		return -1;
	if (session_save_history(l) == 0)
		return 0;
	l->remember_again_ns = loop_now_ns(l->loop) + 1000000000;
	return -1;
}

void session_saw_commit(struct log *l, uint64_t sequence)
{
	if (sequence > l->commit_sequence)
		l->commit_sequence = sequence;
}

static void session_open_again(void *ctx)
{
	struct log *l = ctx;

	session_open(l, l->opened);
}

static void session_opened(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct log *l = ctx;
	const struct msg_session_opened *m = reply;

	(void)message;
	if (e && err_can_retry(e->code)) {
		log_warn("no session yet: %s", e->text);
		loop_timer_set(l->loop, &l->renew_timer, 200, session_open_again, l);
		return;
	}
	if (e)
		fatal_err(e, "no session for slot %u", l->slot);
	session_check_history(l, m->incarnation, m->commit_sequence);
	crash_point("session.opened");
	l->session = m->session;
	session_save_history(l);
	crash_point("session.noted");
	session_extend(l);
	session_sync(l, NULL, NULL);
}

void session_open(struct log *l, void (*opened)(struct log *l))
{
	struct msg_session_open m = {.slot = l->slot, .slot_id = l->slot_id, .address = settings_string(l->self->settings, "http.listen"),
		.ttl_ms = settings_number(l->self->settings, "session.ttl")};

	if (!l->opened)
		session_load_history(l);
	m.seen_incarnation = l->incarnation;
	m.seen_session = l->seen_session;
	m.seen_sequence = l->commit_sequence;
	l->opened = opened;
	l->ttl_ms = m.ttl_ms;
	l->renew_sent_ms = clock_boot_ms();
	peer_call(l->self, ROLE_META, 0, MSG_SESSION_OPEN, &m, NULL, 0, META_TIMEOUT_MS, session_opened, l);
}

/* Hand the result to those who asked before this renewal left. */
static void session_tell_syncs(struct log *l, const struct err *e)
{
	struct list told, *n;

	list_init(&told);
	list_for_each_safe(at, &l->syncs) {
		struct sync_wait *s = list_entry(at, struct sync_wait, node);

		if (!s->sent)
			continue;
		list_remove(&s->node);
		list_push(&told, &s->node);
	}
	while ((n = list_pop(&told))) {
		struct sync_wait *s = list_entry(n, struct sync_wait, node);

		if (s->done)
			s->done(s->ctx, e);
		mem_free(s);
	}
}

static void session_renewed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct log *l = ctx;
	const struct msg_session_renewed *m = reply;
	struct err bad = ERR_INIT;

	(void)message;
	l->renewing = false;
	if (l->closed)
		return;
	if (e && e->code == ERR_FENCED)
		fatalx("another agent took this slot over: %s", e->text);
	if (!e && topics_apply(l, m, &bad) < 0)
		e = &bad;
	if (e) {
		log_warn("the lease could not be renewed: %s", e->text);
		session_tell_syncs(l, e);
	} else {
		session_check_history(l, m->incarnation, m->commit_sequence);
		session_extend(l);
		l->meta_version = m->version;
		if (m->flags & SESSION_RENEWED_MORE) {
			session_renew(l);
			return;
		}
		session_tell_syncs(l, NULL);
		if (l->opened && l->state == LOG_STARTING) {
			void (*opened)(struct log *) = l->opened;

			l->opened = NULL;
			opened(l);
		}
	}
	loop_timer_set(l->loop, &l->renew_timer, e ? 200 : l->ttl_ms / 3, session_renew, l);
	if (l->renew_again)
		session_renew(l);
}

static void session_renew(void *ctx)
{
	struct log *l = ctx;
	struct msg_session_renew m = {.session = l->session, .version = l->meta_version};

	l->renew_again = l->renewing;
	if (l->renewing || l->closed || !l->session) /* session_opened() renews first of all */
		return;
	list_for_each(n, &l->syncs)
		list_entry(n, struct sync_wait, node)->sent = true;
	l->renewing = true;
	l->renew_sent_ms = clock_boot_ms();
	peer_call(l->self, ROLE_META, 0, MSG_SESSION_RENEW, &m, NULL, 0, (uint32_t)l->ttl_ms, session_renewed, l);
}

void session_sync(struct log *l, log_done_fn *done, void *ctx)
{
	struct sync_wait *s = mem_zalloc(sizeof(*s));

	s->done = done;
	s->ctx = ctx;
	list_push(&l->syncs, &s->node);
	session_renew(l);
}

static void session_closed(void *ctx, const void *reply, struct chan_message *message, const struct err *e)
{
	struct log *l = ctx;

	(void)reply;
	(void)message;
	if (e)
		log_warn("the session could not be closed: %s", e->text);
	crash_point("close.done");
	l->closed(l);
}

void session_close(struct log *l, void (*closed)(struct log *l))
{
	struct msg_session_close m = {.session = l->session};

	l->closed = closed;
	loop_timer_cancel(l->loop, &l->renew_timer);
	if (!l->session) {
		closed(l);
		return;
	}
	session_save_history(l);
	peer_call(l->self, ROLE_META, 0, MSG_SESSION_CLOSE, &m, NULL, 0, 1000, session_closed, l);
}
