/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing the database.
 *
 * The writer uses WAL mode with synchronous=FULL. At every open the WAL is checkpointed: after a crash or a
 * failed sync the kernel may show bytes that never reached the disk, and the checkpoint writes and syncs what
 * was found before anything is built on it. When a commit fails the handle is closed and opened again for the
 * same reason.
 *
 * Read-only handles hold one snapshot. While a WAL is there they share it with shd (or read it alone after a
 * crash) and write nothing, not even the shared index. Without a WAL the file alone is complete; it is read
 * without locks, and every call checks afterwards that nobody has touched it.
 */
#include <errno.h>
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/store/meta_sqlite.h"

enum { BUSY_MS = 5000, CHECKPOINT_BUSY_MS = 100 };

static void finalize_all(struct meta_sqlite *m)
{
	for (int i = 0; i < SQL_COUNT; i++) {
		sqlite3_finalize(m->statements[i]);
		m->statements[i] = NULL;
	}
}

void meta_sqlite_open_close(struct meta_sqlite *m)
{
	finalize_all(m);
	sqlite3_close(m->db);
	m->db = NULL;
	m->in_transaction = m->lost = m->state_changed = false;
	meta_sqlite_memory_release(m);
}

/* The path as an SQLite URI: everything but plain letters is escaped. */
static char *path_uri(const char *path, const char *parameters)
{
	struct buf b = BUF_INIT(64 << 10);

	buf_adds(&b, "file:");
	for (const char *p = path; *p; p++) {
		if (*p == '?' || *p == '#' || *p == '%')
			buf_addf(&b, "%%%02x", *p);
		else
			buf_addc(&b, *p);
	}
	buf_addf(&b, "?%s", parameters);
	return buf_detach(&b, NULL);
}

static bool file_there(const char *path, const char *ending, off_t *size)
{
	char *name = mem_printf("%s%s", path, ending);
	struct stat st;
	bool there = stat(name, &st) == 0;

	*size = there ? st.st_size : 0;
	mem_free(name);
	return there;
}

static int open_read_only(struct meta_sqlite *m, struct err *e)
{
	off_t wal_bytes, shm_bytes;
	bool wal = file_there(m->path, "-wal", &wal_bytes), shm = file_there(m->path, "-shm", &shm_bytes);
	char *uri;
	int code;

	if (wal_bytes > 0 && !shm) {
		err_set(e, ERR_UNAVAILABLE, "%s-wal holds changes, but %s-shm is missing", m->path, m->path);
		return err_hint(e, "start shd once, it recovers them; or open a copy of both files with it");
	}
	m->quiet = !wal || !shm;
	if (stat(m->path, &m->quiet_stat) < 0)
		return err_sys(e, ERR_IO, "cannot look at %s", m->path);
	uri = path_uri(m->path, m->quiet ? "mode=ro&immutable=1" : "mode=ro&readonly_shm=1");
	code = sqlite3_open_v2(
		uri, &m->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI, meta_sqlite_page_sum_vfs());
	mem_free(uri);
	return code == SQLITE_OK ? 0 : meta_sqlite_error(m->db, m->path, e, "opening it");
}

static int pragmas(struct meta_sqlite *m, const char *sql, struct err *e)
{
	if (sqlite3_exec(m->db, sql, NULL, NULL, NULL) == SQLITE_OK)
		return 0;
	return meta_sqlite_error(m->db, m->path, e, "preparing it");
}

/* SQLITE_BUSY: an offline reader keeps the WAL from being emptied, but not from being copied and synced. */
static int checkpoint(struct meta_sqlite *m, struct err *e)
{
	int code;

	sqlite3_busy_timeout(m->db, CHECKPOINT_BUSY_MS);
	code = sqlite3_wal_checkpoint_v2(m->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	sqlite3_busy_timeout(m->db, BUSY_MS);
	crash_point("meta.checkpointed");
	if (code == SQLITE_OK || (code & 0xff) == SQLITE_BUSY)
		return 0;
	return meta_sqlite_error(m->db, m->path, e, "checkpoint");
}

static int open_read_write(struct meta_sqlite *m, struct err *e)
{
	if (sqlite3_open_v2(m->path, &m->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, meta_sqlite_page_sum_vfs()) != SQLITE_OK)
		return meta_sqlite_error(m->db, m->path, e, "opening it");
	sqlite3_busy_timeout(m->db, BUSY_MS);
	if (pragmas(m, "PRAGMA synchronous = FULL; PRAGMA journal_mode = WAL", e) < 0 ||
		meta_sqlite_schema_migrate(m->db, m->path, false, meta_sqlite_schema_migrations,
			meta_sqlite_schema_migration_count, e) < 0 ||
		pragmas(m, "PRAGMA foreign_keys = ON; PRAGMA journal_size_limit = 67108864", e) < 0)
		return -1;
	return checkpoint(m, e);
}

int meta_sqlite_open_database(struct meta_sqlite *m, struct err *e)
{
	int there = meta_sqlite_schema_probe(m->path, e);

	if (there < 0)
		return -1;
	if (there == 0 && m->read_only) {
		err_set(e, ERR_NOT_FOUND, "there is no metadata at %s", m->path);
		return err_hint(e, "name the data directory of a shd that has run");
	}
	if (there == 0 && m->was_open) {
		err_set(e, ERR_CORRUPT, "the metadata %s has vanished", m->path);
		return err_hint(e, "put it back; a new database is not made in place of one that was in use");
	}
	if (there == 0 && meta_sqlite_schema_create(m->path, e) < 0)
		return -1;
	if ((m->read_only ? open_read_only(m, e) : open_read_write(m, e)) < 0 ||
		pragmas(m, "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON", e) < 0 ||
		pragmas(m, "PRAGMA temp_store = MEMORY", e) < 0)
		goto fail;
	if (m->read_only &&
		(pragmas(m, "BEGIN", e) < 0 ||
			meta_sqlite_schema_migrate(m->db, m->path, true, meta_sqlite_schema_migrations,
				meta_sqlite_schema_migration_count, e) < 0))
		goto fail;
	if (meta_sqlite_read_end(m, meta_sqlite_memory_load(m, e), e) < 0)
		goto fail;
	m->was_open = true;
	return 0;
fail:
	meta_sqlite_open_close(m);
	return -1;
}

int meta_sqlite_open_again(struct meta_sqlite *m, struct err *e)
{
	return m->db ? 0 : meta_sqlite_open_database(m, e);
}

int meta_sqlite_read_begin(struct meta_sqlite *m, struct err *e)
{
	return meta_sqlite_open_again(m, e);
}

int meta_sqlite_read_end(struct meta_sqlite *m, int result, struct err *e)
{
	struct stat now;
	off_t bytes;

	if (!m->quiet)
		return result;
	if (stat(m->path, &now) == 0 && now.st_ino == m->quiet_stat.st_ino &&
		now.st_size == m->quiet_stat.st_size && now.st_mtim.tv_sec == m->quiet_stat.st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == m->quiet_stat.st_mtim.tv_nsec &&
		!(file_there(m->path, "-wal", &bytes) && bytes > 0))
		return result;
	err_set(e, ERR_UNAVAILABLE, "shd has opened %s while it was read", m->path);
	return err_hint(e, "try again");
}
