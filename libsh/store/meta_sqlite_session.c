/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots and sessions. A slot is bound to the id in its directory when it first opens a session. A new session
 * ends the one before it; its number comes from a counter that only grows, and is the epoch of all partitions
 * of the slot. Renewals are not written: one process holds the database, and it is the same that would take a
 * slot away.
 */
#include <string.h>
#include "libsh/base/clock.h"
#include "libsh/store/meta_sqlite.h"

enum { SLOT_NUMBER_MAX = 65535, TTL_MIN_MS = 100, TTL_MAX_MS = 24 * 3600 * 1000 };

static int check_binding(const struct meta_sqlite *m, uint32_t slot, const struct uuid *id, struct err *e)
{
	char want[UUID_TEXT_BYTES], got[UUID_TEXT_BYTES];

	uuid_format(id, got);
	for (size_t i = 0; i < m->known.slot_count; i++) {
		const struct known_slot *s = &m->known.slots[i];
		bool same = uuid_equal(&s->id, id);

		if (s->slot == slot && !same) {
			err_set(e, ERR_CONFLICT, "slot %u has the id %s, the metadata knows it as %s", slot,
				got, uuid_format(&s->id, want));
			return err_hint(e,
				"slots/%u is not the directory this metadata was used with: put the right one in its place, or "
				"see \"The data directory is lost\" in streamhouse-recovery(7)",
				slot);
		}
		if (s->slot != slot && same) {
			err_set(e, ERR_CONFLICT, "slot %u has the id %s, which belongs to slot %u", slot, got,
				s->slot);
			return err_hint(e,
				"slots/%u is a copy of slots/%u, or was given up for lost when the metadata was made anew: move it away",
				slot, s->slot);
		}
	}
	return 0;
}

static int check_age(const struct meta_sqlite *m, const struct meta_session *seen, struct err *e)
{
	bool ours = seen->incarnation == m->state.incarnation;

	if (ours && seen->commit_sequence > m->state.commit_sequence)
		err_set(e, ERR_CORRUPT, "the metadata went back in time (commit %llu, but %llu was seen)",
			(unsigned long long)m->state.commit_sequence, (unsigned long long)seen->commit_sequence);
	else if (ours && seen->session > m->state.session)
		err_set(e, ERR_CORRUPT, "the metadata went back in time (session %llu, but %llu was seen)",
			(unsigned long long)m->state.session, (unsigned long long)seen->session);
	else
		return 0;
	return err_hint(e, "see streamhouse-recovery(7)");
}

static int check_open(const struct meta_sqlite *m, uint32_t slot, const struct uuid *id, const char *address,
	int64_t ttl_ms, struct err *e)
{
	if (slot > SLOT_NUMBER_MAX)
		return err_set(
			e, ERR_INVALID_ARGUMENT, "slot %u: numbers go up to %d", slot, SLOT_NUMBER_MAX);
	if (strlen(address) > ADDRESS_MAX)
		return err_set(e, ERR_INVALID_ARGUMENT, "slot %u: the address has more than %d characters",
			slot, ADDRESS_MAX);
	if (ttl_ms < TTL_MIN_MS || ttl_ms > TTL_MAX_MS)
		return err_set(e, ERR_INVALID_ARGUMENT,
			"slot %u: a session of %lld ms; %d to %d are possible", slot, (long long)ttl_ms,
			TTL_MIN_MS, TTL_MAX_MS);
	if (check_binding(m, slot, id, e) < 0)
		return -1;
	if (!meta_sqlite_memory_slot(m, slot) && m->known.slot_count == SLOTS_MAX)
		return err_set(e, ERR_TOO_LARGE, "slot %u would be one more than the %d that are possible",
			slot, SLOTS_MAX);
	if (m->state.session >= UINT32_MAX)
		return err_set(e, ERR_INTERNAL, "session numbers are used up");
	return 0;
}

static struct known_slot *add_slot(struct known *k, uint32_t number, const struct uuid *id)
{
	size_t i = k->slot_count;

	k->slots = mem_realloc_array(k->slots, k->slot_count + 1, sizeof(*k->slots));
	for (; i > 0 && k->slots[i - 1].slot > number; i--)
		k->slots[i] = k->slots[i - 1];
	k->slot_count++;
	k->slots[i] = (struct known_slot){.slot = number, .id = *id};
	return &k->slots[i];
}

static void fill_session(const struct meta_sqlite *m, const struct known_slot *s, struct meta_session *out)
{
	*out = (struct meta_session){.session = s->session,
		.slot = s->slot,
		.incarnation = m->state.incarnation,
		.commit_sequence = m->state.commit_sequence,
		.ttl_ms = s->ttl_ms};
}

int meta_sqlite_session_open(struct meta *base, uint32_t slot, const struct uuid *slot_id,
	const char *address, int64_t ttl_ms, struct meta_session *out, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	int64_t now_ms = clock_real_ms();
	struct known_slot *s;
	int result;

	address = address ? address : "";
	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	if (check_open(m, slot, slot_id, address, ttl_ms, e) < 0 || check_age(m, out, e) < 0)
		return meta_sqlite_change_end(m, -1, e);
	m->state.session++;
	m->state_changed = true;
	s = meta_sqlite_memory_slot(m, slot);
	if (s)
		result = meta_sqlite_run(m, SQL_SLOT_SESSION, e, "iitii", (int64_t)slot,
			(int64_t)m->state.session, address, ttl_ms, now_ms);
	else
		result = meta_sqlite_run(m, SQL_SLOT_INSERT, e, "iUitii", (int64_t)slot, slot_id,
			(int64_t)m->state.session, address, ttl_ms, now_ms);
	if (result < 0)
		return meta_sqlite_change_end(m, -1, e);
	if (!s)
		s = add_slot(&m->known, slot, slot_id);
	s->session = m->state.session;
	s->open = true;
	s->opened_ms = now_ms;
	s->ttl_ms = ttl_ms;
	fill_session(m, s, out);
	return meta_sqlite_change_end(m, 0, e);
}

int meta_sqlite_session_renew(struct meta *base, uint64_t session, struct meta_session *out, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	const struct known_slot *s;

	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	s = meta_sqlite_memory_session(m, session);
	if (!s) {
		err_set(e, ERR_FENCED, "session %llu is over", (unsigned long long)session);
		return err_hint(e, "the agent must open a new session");
	}
	if (out)
		fill_session(m, s, out);
	return 0;
}

int meta_sqlite_session_close(struct meta *base, uint64_t session, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	int64_t now_ms = clock_real_ms();
	struct known_slot *s;

	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	s = meta_sqlite_memory_session(m, session);
	if (!s) /* over already */
		return meta_sqlite_change_end(m, 0, e);
	if (meta_sqlite_run(m, SQL_SLOT_END, e, "ii", (int64_t)s->slot, now_ms) < 0)
		return meta_sqlite_change_end(m, -1, e);
	s->open = false;
	s->ended_ms = now_ms;
	return meta_sqlite_change_end(m, 0, e);
}
