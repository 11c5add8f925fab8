/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SQLite driver of metadata: errors, statements, transactions, and the table of functions. A transaction
 * is on disk when commit() returns. A change that fails is undone by its savepoint; when a whole transaction
 * fails the handle is opened again, see meta_sqlite_open.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/meta_sqlite.h"

static const char *const statement_text[SQL_COUNT] = {
#define S(name, text) [SQL_##name] = text,
	META_SQLITE_STATEMENTS(S)
#undef S
};

static enum err_code error_code(int code)
{
	if (code == SQLITE_IOERR_DATA) /* a page does not match its checksum */
		return ERR_CORRUPT;
	switch (code & 0xff) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_ERROR: /* our statements are right, so the tables are not */
	case SQLITE_SCHEMA:
	case SQLITE_MISMATCH:
	case SQLITE_CONSTRAINT:
		return ERR_CORRUPT;
	case SQLITE_FULL:
		return ERR_NO_SPACE;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
	case SQLITE_PROTOCOL:
		return ERR_UNAVAILABLE;
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return ERR_FORBIDDEN;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return ERR_IO;
	}
	return ERR_INTERNAL;
}

int meta_sqlite_error(sqlite3 *db, const char *path, struct err *e, const char *doing)
{
	int code = db ? sqlite3_extended_errcode(db) : SQLITE_NOMEM;
	int number = db ? sqlite3_system_errno(db) : 0;

	err_set(e, error_code(code), "metadata %s: %s: %s%s%s", path, doing,
		!db ? "no handle" : code == SQLITE_IOERR_DATA ? "a page does not match its checksum" : sqlite3_errmsg(db), number ? ": " : "", number ? strerror(number) : "");
	if (error_code(code) == ERR_CORRUPT)
		err_hint(e, "stop shd and keep the file; \"The metadata is damaged\" in streamhouse-recovery(7) says how to go on");
	return -1;
}

/* ---- statements ---- */

static int bind_one(sqlite3_stmt *s, int index, char type, va_list *ap)
{
	const struct uuid *u;
	const struct buf *b;

	switch (type) {
	case 'i':
		return sqlite3_bind_int64(s, index, va_arg(*ap, int64_t));
	case 't':
		return sqlite3_bind_text(s, index, va_arg(*ap, const char *), -1, SQLITE_STATIC);
	case 'U':
		u = va_arg(*ap, const struct uuid *);
		return sqlite3_bind_blob(s, index, u->b, sizeof(u->b), SQLITE_STATIC);
	case 'd':
		b = va_arg(*ap, const struct buf *);
		return sqlite3_bind_blob64(s, index, b->data, b->len, SQLITE_STATIC);
	case 'n':
		return sqlite3_bind_null(s, index);
	}
	return SQLITE_MISUSE;
}

static sqlite3_stmt *bind_list(
	struct meta_sqlite *m, enum meta_sqlite_sql which, struct err *e, const char *types, va_list *ap)
{
	sqlite3_stmt **s = &m->statements[which];

	if (!m->db) {
		err_set(e, ERR_UNAVAILABLE, "metadata %s is not open after an earlier failure", m->path);
		return NULL;
	}
	if (!*s && sqlite3_prepare_v3(m->db, statement_text[which], -1, SQLITE_PREPARE_PERSISTENT, s, NULL) !=
			   SQLITE_OK) {
		meta_sqlite_error(m->db, m->path, e, "preparing a statement");
		return NULL;
	}
	for (int i = 0; types[i]; i++)
		if (bind_one(*s, i + 1, types[i], ap) != SQLITE_OK) {
			meta_sqlite_error(m->db, m->path, e, "filling in a statement");
			return NULL;
		}
	return *s;
}

sqlite3_stmt *meta_sqlite_bind(
	struct meta_sqlite *m, enum meta_sqlite_sql which, struct err *e, const char *types, ...)
{
	sqlite3_stmt *s;
	va_list ap;

	va_start(ap, types);
	s = bind_list(m, which, e, types, &ap);
	va_end(ap);
	return s;
}

int meta_sqlite_step(struct meta_sqlite *m, sqlite3_stmt *s, struct err *e)
{
	int code = sqlite3_step(s);

	if (code == SQLITE_ROW)
		return 1;
	if (code != SQLITE_DONE)
		meta_sqlite_error(m->db, m->path, e, "reading or writing");
	sqlite3_reset(s);
	return code == SQLITE_DONE ? 0 : -1;
}

int meta_sqlite_run(struct meta_sqlite *m, enum meta_sqlite_sql which, struct err *e, const char *types, ...)
{
	sqlite3_stmt *s;
	va_list ap;
	int more;

	va_start(ap, types);
	s = bind_list(m, which, e, types, &ap);
	va_end(ap);
	if (!s)
		return -1;
	while ((more = meta_sqlite_step(m, s, e)) == 1)
		;
	return more;
}

int meta_sqlite_column_uuid(struct meta_sqlite *m, sqlite3_stmt *s, int column, struct uuid *u, struct err *e)
{
	const void *p = sqlite3_column_blob(s, column);

	if (!p || sqlite3_column_bytes(s, column) != (int)sizeof(u->b))
		return err_set(e, ERR_CORRUPT, "metadata %s: an id does not have 16 bytes", m->path);
	memcpy(u->b, p, sizeof(u->b));
	return 0;
}

/* ---- transactions ---- */

static void reopen(struct meta_sqlite *m)
{
	meta_sqlite_open_close(m);
	meta_sqlite_open_database(m, NULL); /* when that fails, the next call tries again and says why */
}

static int transaction_begin(struct meta *base, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	if (m->read_only)
		return err_set(e, ERR_FORBIDDEN, "metadata %s is open for reading only", m->path);
	if (m->in_transaction)
		return err_set(e, ERR_INTERNAL, "a transaction is open already");
	if (meta_sqlite_open_again(m, e) < 0 || meta_sqlite_run(m, SQL_BEGIN, e, "") < 0)
		return -1;
	m->in_transaction = true;
	return 0;
}

static int write_state(struct meta_sqlite *m, struct err *e)
{
	const struct global_state *g = &m->state;

	if (!m->state_changed)
		return 0;
	return meta_sqlite_run(m, SQL_STATE_WRITE, e, "iiiiiii", (int64_t)g->version, (int64_t)g->session,
		(int64_t)g->commit_sequence, g->producer_id, (int64_t)g->live_objects,
		(int64_t)g->live_bytes, (int64_t)g->snapshot);
}

static void transaction_rollback(struct meta *base)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	if (m->in_transaction)
		reopen(m);
}

static int transaction_commit(struct meta *base, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	enum err_code code;

	if (!m->in_transaction)
		return err_set(e, ERR_INTERNAL, "there is no transaction to commit");
	if (m->lost || sqlite3_get_autocommit(m->db)) {
		err_set(e, ERR_UNAVAILABLE, "metadata %s: an earlier failure has undone this transaction",
			m->path);
		goto fail;
	}
	if (write_state(m, e) < 0)
		goto fail;
	if (meta_sqlite_run(m, SQL_COMMIT, e, "") < 0) {
		/* After a failed sync the transaction may still turn up when the file is opened again. */
		code = error_code(sqlite3_extended_errcode(m->db));
		if (e && code == ERR_IO)
			e->code = ERR_OUTCOME_UNKNOWN;
		goto fail;
	}
	m->in_transaction = m->state_changed = false;
	return 0;
fail:
	reopen(m);
	return -1;
}

int meta_sqlite_change_begin(struct meta_sqlite *m, struct err *e)
{
	if (m->read_only)
		return err_set(e, ERR_FORBIDDEN, "metadata %s is open for reading only", m->path);
	if (!m->in_transaction)
		return err_set(e, ERR_INTERNAL, "a change needs an open transaction");
	if (m->lost)
		return err_set(e, ERR_UNAVAILABLE,
			"metadata %s: an earlier failure has undone this transaction", m->path);
	if (meta_sqlite_run(m, SQL_SAVEPOINT, e, "") < 0) {
		m->lost = true;
		return -1;
	}
	m->saved = m->state;
	m->saved_changed = m->state_changed;
	return 0;
}

int meta_sqlite_change_end(struct meta_sqlite *m, int result, struct err *e)
{
	if (result >= 0) {
		if (meta_sqlite_run(m, SQL_RELEASE, e, "") == 0)
			return result;
		m->lost = true;
		return -1;
	}
	m->state = m->saved;
	m->state_changed = m->saved_changed;
	/* Some failures make SQLite undo the whole transaction. */
	if (sqlite3_get_autocommit(m->db) || meta_sqlite_run(m, SQL_ROLLBACK_TO, NULL, "") < 0 ||
		meta_sqlite_run(m, SQL_RELEASE, NULL, "") < 0)
		m->lost = true;
	return -1;
}

/* ---- small ones ---- */

static int producer_ids(struct meta *base, uint32_t count, int64_t *first, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	if (count < 1 || count > 1000000)
		return err_set(
			e, ERR_INVALID_ARGUMENT, "%u producer ids at once; 1 to 1000000 can be had", count);
	if (meta_sqlite_change_begin(m, e) < 0)
		return -1;
	if (m->state.producer_id > INT64_MAX - count)
		return meta_sqlite_change_end(m, err_set(e, ERR_INTERNAL, "producer ids are used up"), e);
	*first = m->state.producer_id;
	m->state.producer_id += count;
	m->state_changed = true;
	return meta_sqlite_change_end(m, 0, e);
}

static int count_rows(struct meta_sqlite *m, sqlite3_stmt *s, uint64_t *count, struct err *e)
{
	if (!s || meta_sqlite_step(m, s, e) < 0)
		return -1;
	*count = sqlite3_column_int64(s, 0);
	sqlite3_reset(s);
	return 0;
}

static int counts(struct meta *base, struct meta_counts *c, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	size_t it = 0;
	void *value;

	memset(c, 0, sizeof(*c));
	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	c->topics = m->known.by_id.count;
	c->partitions = m->known.partition_count;
	c->live_objects = m->state.live_objects;
	c->live_bytes = m->state.live_bytes;
	c->commit_sequence = m->state.commit_sequence;
	for (size_t i = 0; i < m->known.slot_count; i++)
		c->pending_objects += m->known.slots[i].pending;
	while (map_next(&m->known.by_id, &it, NULL, NULL, &value)) {
		const struct known_topic *t = value;

		for (uint32_t p = 0; p < t->partition_count; p++)
			c->records += t->partitions[p].records;
	}
	return meta_sqlite_read_end(
		m, count_rows(m, meta_sqlite_bind(m, SQL_DEAD_COUNT, e, ""), &c->dead_objects, e), e);
}

/* What the check of SQLite found, in a line; it tells a page that could not be read by the number of the error. */
static int verify_found(const struct meta_sqlite *m, const char *text, struct err *e)
{
	const char *at = strstr(text, "Page ");
	char unread[32];

	snprintf(unread, sizeof(unread), "error code=%d", SQLITE_IOERR_DATA);
	if (at && strstr(at, unread))
		return err_set(e, ERR_CORRUPT, "metadata %s: page %d does not match its checksum", m->path, atoi(at + strlen("Page ")));
	if (strncmp(text, "***", 3) == 0 && strchr(text, '\n'))
		text = strchr(text, '\n') + 1;
	return err_set(e, ERR_CORRUPT, "metadata %s: %.*s", m->path, (int)strcspn(text, "\n"), text);
}

/* All pages of all trees are read, and so their checksums compared. */
static int verify(struct meta *base, struct err *e)
{
	struct meta_sqlite *m = meta_sqlite_of(base);
	sqlite3_stmt *s;
	const char *text;
	int more, result = 0;

	if (meta_sqlite_read_begin(m, e) < 0)
		return -1;
	s = meta_sqlite_bind(m, SQL_VERIFY, e, "");
	more = s ? meta_sqlite_step(m, s, e) : -1;
	if (more == 1) {
		text = (const char *)sqlite3_column_text(s, 0);
		if (!text || strcmp(text, "ok") != 0)
			result = verify_found(m, text ? text : "it cannot be verified", e);
		sqlite3_reset(s);
	}
	return meta_sqlite_read_end(m, more < 0 ? -1 : result, e);
}

static void handle_free(struct meta *base)
{
	struct meta_sqlite *m = meta_sqlite_of(base);

	meta_sqlite_open_close(m);
	fd_close(&m->lock_fd);
	mem_free(m->path);
	mem_free(m);
}

static const struct meta_driver driver = {
	.scheme = "sqlite",
	.begin = transaction_begin,
	.commit = transaction_commit,
	.rollback = transaction_rollback,
	.topic_create = meta_sqlite_topic_create,
	.topic_alter = meta_sqlite_topic_alter,
	.topic_delete = meta_sqlite_topic_delete,
	.changes = meta_sqlite_topic_changes,
	.session_open = meta_sqlite_session_open,
	.session_renew = meta_sqlite_session_renew,
	.session_close = meta_sqlite_session_close,
	.intent = meta_sqlite_segment_intent,
	.segment_commit = meta_sqlite_segment_commit,
	.run_find = meta_sqlite_page_run_find,
	.retain = meta_sqlite_retain_step,
	.garbage = meta_sqlite_garbage_sweep,
	.garbage_done = meta_sqlite_garbage_done,
	.each_object = meta_sqlite_page_each_object,
	.snapshot = meta_sqlite_snapshot_take,
	.position = meta_sqlite_snapshot_position,
	.set_behind = meta_sqlite_snapshot_set_behind,
	.behind = meta_sqlite_snapshot_behind,
	.standing = meta_sqlite_snapshot_standing,
	.gap = meta_sqlite_snapshot_gap,
	.verify = verify,
	.producer_ids = producer_ids,
	.counts = counts,
	.free = handle_free,
};

/* SQLite only says that it cannot open the file, and a long path leaves no room in a message to say why. */
static int check_path(const char *path, struct err *e)
{
	size_t most = (size_t)sqlite3_vfs_find(NULL)->mxPathname - sizeof(".new-journal");

	if (strlen(path) <= most)
		return 0;
	err_set(e, ERR_USAGE, "metadata %.60s...: the path has %zu bytes, more than the %zu that SQLite takes", path,
		strlen(path), most);
	return err_hint(e, "use a shorter one: data.dir, or meta.url for the metadata alone");
}

/* One writer: it keeps much of the file in memory, which a second one would not know of. */
static int lock_for_writing(struct meta_sqlite *m, struct err *e)
{
	char *path = mem_printf("%s.lock", m->path);
	const char *slash = strrchr(path, '/');
	char *folder = slash ? mem_strndup(path, (size_t)(slash - path)) : NULL;

	if (!folder || !*folder || disk_make_dirs(folder, e) == 0)
		m->lock_fd = disk_lock(path, e);
	mem_free(folder);
	mem_free(path);
	if (m->lock_fd < 0)
		return err_hint(e, "another shd uses this metadata; one that was killed lets go within a moment");
	return 0;
}

int meta_sqlite_open(const char *path, bool read_only, struct meta **out, struct err *e)
{
	struct meta_sqlite *m;

	if (check_path(path, e) < 0)
		return -1;
	m = mem_zalloc(sizeof(*m));
	m->meta.driver = &driver;
	m->path = mem_strdup(path);
	m->read_only = read_only;
	m->lock_fd = -1;
	if ((!read_only && lock_for_writing(m, e) < 0) || meta_sqlite_open_database(m, e) < 0) {
		handle_free(&m->meta);
		return -1;
	}
	*out = &m->meta;
	return 0;
}
