/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, and whose file it is. A new database is made under another name and renamed when complete, so a
 * file with the right name is never half made: an empty one is damage. Changes to the tables are appended to
 * the list of migrations; what was released is never edited. Each runs in a transaction that also moves
 * user_version.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "libsh/base/bytes.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/store/meta_sqlite.h"

#define APPLICATION_ID 0x5368644d /* "ShdM", at byte 68 of the file, big-endian */

const struct meta_sqlite_migration meta_sqlite_schema_migrations[] = {
	{1,
		/* One row: the counters. live_* and commit_sequence are as of the last change that was not a
		   commit. */
		"CREATE TABLE state ("
		" one INTEGER PRIMARY KEY CHECK (one = 1),"
		" incarnation INTEGER NOT NULL,"
		" version INTEGER NOT NULL,"
		" session INTEGER NOT NULL,"
		" commit_sequence INTEGER NOT NULL,"
		" producer_id INTEGER NOT NULL,"
		" live_objects INTEGER NOT NULL,"
		" live_bytes INTEGER NOT NULL) STRICT;"
		/* A slot and its newest session; ended_ms is NULL while that is open. */
		"CREATE TABLE slot ("
		" slot INTEGER PRIMARY KEY,"
		" slot_id BLOB NOT NULL UNIQUE CHECK (length(slot_id) = 16),"
		" session INTEGER NOT NULL UNIQUE,"
		" address TEXT NOT NULL,"
		" ttl_ms INTEGER NOT NULL,"
		" opened_ms INTEGER NOT NULL,"
		" ended_ms INTEGER,"
		" last_number INTEGER NOT NULL,"
		" newest_committed INTEGER NOT NULL) STRICT;"
		/* Deleted topics stay, so that a late commit or an agent that was away learns of it. */
		"CREATE TABLE topic ("
		" number INTEGER PRIMARY KEY,"
		" id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),"
		" name TEXT NOT NULL,"
		" partitions INTEGER NOT NULL,"
		" replication_factor INTEGER NOT NULL,"
		" config TEXT NOT NULL,"
		" created_ms INTEGER NOT NULL,"
		" version INTEGER NOT NULL,"
		" state INTEGER NOT NULL CHECK (state IN (0, 1, 2))) STRICT;"
		"CREATE UNIQUE INDEX topic_name ON topic (name) WHERE state = 0;"
		"CREATE INDEX topic_version ON topic (version);"
		"CREATE INDEX topic_to_sweep ON topic (number) WHERE state = 1;"
		/* records, bytes: of runs in pages. base_end: where the partition begins when it has no run.
		 */
		"CREATE TABLE partition ("
		" topic INTEGER NOT NULL REFERENCES topic (number),"
		" partition INTEGER NOT NULL,"
		" slot INTEGER NOT NULL,"
		" epoch_floor INTEGER NOT NULL,"
		" log_start INTEGER NOT NULL,"
		" base_end INTEGER NOT NULL,"
		" records INTEGER NOT NULL,"
		" bytes INTEGER NOT NULL,"
		" version INTEGER NOT NULL,"
		" PRIMARY KEY (topic, partition)) STRICT, WITHOUT ROWID;"
		/* runs: while young. living: runs of living topics, once folded. changed_ms: of its state. */
		"CREATE TABLE object ("
		" number INTEGER PRIMARY KEY,"
		" name TEXT NOT NULL UNIQUE,"
		" state INTEGER NOT NULL CHECK (state IN (0, 1, 2)),"
		" slot INTEGER NOT NULL REFERENCES slot (slot),"
		" session INTEGER NOT NULL,"
		" slot_number INTEGER NOT NULL,"
		" bytes INTEGER NOT NULL,"
		" crc INTEGER NOT NULL,"
		" sequence INTEGER NOT NULL,"
		" living INTEGER NOT NULL CHECK (living >= 0),"
		" changed_ms INTEGER NOT NULL,"
		" runs BLOB) STRICT;"
		"CREATE INDEX object_pending ON object (slot) WHERE state = 0;"
		"CREATE INDEX object_dead ON object (changed_ms) WHERE state = 2;"
		"CREATE INDEX object_young ON object (sequence) WHERE runs IS NOT NULL;"
		/* Up to 64 runs of a partition. All pages of a fold have the same `fold` and follow each
		   other in `number`. */
		"CREATE TABLE page ("
		" number INTEGER PRIMARY KEY,"
		" fold INTEGER NOT NULL,"
		" topic INTEGER NOT NULL REFERENCES topic (number),"
		" partition INTEGER NOT NULL,"
		" end_offset INTEGER NOT NULL,"
		" max_timestamp INTEGER NOT NULL,"
		" runs BLOB NOT NULL) STRICT;"
		"CREATE UNIQUE INDEX page_end ON page (topic, partition, end_offset, max_timestamp);"},
	{2,
		"ALTER TABLE state ADD COLUMN snapshot INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE partition ADD COLUMN expired_records INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE partition ADD COLUMN expired_bytes INTEGER NOT NULL DEFAULT 0;"
		/* Real clock minus boot clock when retention last looked, during the boot named. */
		"CREATE TABLE clock ("
		" one INTEGER PRIMARY KEY CHECK (one = 1),"
		" boot_id TEXT NOT NULL,"
		" offset_ms INTEGER NOT NULL,"
		" hold_until_ms INTEGER NOT NULL) STRICT;"
		/* Objects that a rebuild could not read, or had no place for: never swept as orphans. */
		"CREATE TABLE kept ("
		" name TEXT PRIMARY KEY,"
		" why TEXT NOT NULL) STRICT, WITHOUT ROWID;"},
	{3,
		/* A name in the store that only a newer copy of this metadata can have given. */
		"ALTER TABLE state ADD COLUMN behind TEXT;"
		/* Segments that were begun, never committed, and removed: what a late put may bring back. */
		"CREATE TABLE given_up ("
		" name TEXT PRIMARY KEY,"
		" removed_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
		"CREATE INDEX given_up_removed ON given_up (removed_ms);"},
	{4,
		/* The lowest incarnation whose objects this metadata accounts for. */
		"ALTER TABLE state ADD COLUMN founded INTEGER NOT NULL DEFAULT 0;"
		"ALTER TABLE partition ADD COLUMN offset_floor INTEGER NOT NULL DEFAULT 0;"
		/* Offsets that a rebuild left out between the last run of a partition and the next. */
		"CREATE TABLE gap ("
		" topic INTEGER NOT NULL REFERENCES topic (number),"
		" partition INTEGER NOT NULL,"
		" from_offset INTEGER NOT NULL,"
		" end_offset INTEGER NOT NULL,"
		" why TEXT NOT NULL,"
		" PRIMARY KEY (topic, partition, from_offset)) STRICT, WITHOUT ROWID;"},
};
const int meta_sqlite_schema_migration_count = array_count(meta_sqlite_schema_migrations);

int meta_sqlite_schema_probe(const char *path, struct err *e)
{
	uint8_t header[100];
	struct stat st;
	int fd, result = -1;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, ERR_IO, "cannot open the metadata %s", path);
	if (fstat(fd, &st) < 0) {
		err_sys(e, ERR_IO, "cannot look at %s", path);
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		err_set(e, ERR_CONFLICT, "%s is not a file", path);
		goto out;
	}
	if (st.st_size < (off_t)sizeof(header)) {
		err_set(e, ERR_CORRUPT,
			"%s has only %lld bytes: it was cut off, or is not metadata of StreamHouse", path,
			(long long)st.st_size);
		err_hint(e, "restore it from a backup; a new database is made only where there is no file at "
			    "all");
		goto out;
	}
	if (disk_pread(fd, header, sizeof(header), 0, e) < 0)
		goto out;
	if (memcmp(header, "SQLite format 3", 16) != 0) {
		err_set(e, ERR_CORRUPT, "%s is not an SQLite database, or its first page is damaged", path);
		err_hint(e, "restore it from a backup, or correct meta.url");
		goto out;
	}
	if (get_be32(header + 68) != APPLICATION_ID) {
		err_set(e, ERR_CONFLICT, "%s is an SQLite database of another program", path);
		err_hint(e, "correct meta.url");
		goto out;
	}
	result = 1;
out:
	fd_close(&fd);
	return result;
}

static int exec(sqlite3 *db, const char *path, const char *sql, const char *doing, struct err *e)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 :
								      meta_sqlite_error(db, path, e, doing);
}

static int user_version(sqlite3 *db, const char *path, int *version, struct err *e)
{
	sqlite3_stmt *s = NULL;
	int result = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
		sqlite3_step(s) == SQLITE_ROW) {
		*version = sqlite3_column_int(s, 0);
		result = 0;
	} else {
		meta_sqlite_error(db, path, e, "reading its version");
	}
	sqlite3_finalize(s);
	return result;
}

static int migrate_one(sqlite3 *db, const char *path, const struct meta_sqlite_migration *step, struct err *e)
{
	char pragma[64];

	snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", step->version);
	if (exec(db, path, "BEGIN IMMEDIATE", "starting a migration", e) < 0)
		return -1;
	if (exec(db, path, step->sql, "changing tables", e) == 0 &&
		exec(db, path, pragma, "setting its version", e) == 0 &&
		exec(db, path, "COMMIT", "finishing a migration", e) == 0)
		return 0;
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return err_prefix(e, "migration to version %d", step->version);
}

int meta_sqlite_schema_migrate(sqlite3 *db, const char *path, bool read_only,
	const struct meta_sqlite_migration *list, int count, struct err *e)
{
	int version, newest = list[count - 1].version;

	if (user_version(db, path, &version, e) < 0)
		return -1;
	if (version > newest) {
		err_set(e, ERR_CONFLICT, "%s has version %d, this program knows versions up to %d", path,
			version, newest);
		return err_hint(e, "use the StreamHouse that wrote it, or a newer one");
	}
	if (read_only && version < newest) {
		err_set(e, ERR_CONFLICT, "%s has version %d, this program needs %d", path, version, newest);
		return err_hint(e, "start shd once: it brings the metadata to the new version");
	}
	for (int i = 0; i < count; i++)
		if (list[i].version > version && migrate_one(db, path, &list[i], e) < 0)
			return -1;
	return 0;
}

static int insert_state(sqlite3 *db, const char *path, struct err *e)
{
	struct uuid random = uuid_random();
	uint64_t noise = get_le32(random.b) & 0xfffff;
	unsigned long long incarnation = (unsigned long long)clock_real_ms() << 20 | noise;
	char sql[320];

	/*
	 * The incarnation grows with time, so that a database made later has a larger one, and ends in 20
	 * random bits. Producer ids start at those bits, high up: ids of two incarnations hardly ever meet.
	 */
	snprintf(sql, sizeof(sql),
		"INSERT INTO state (one, incarnation, version, session, commit_sequence, producer_id, "
		"live_objects, live_bytes, founded)"
		" VALUES (1, %llu, 0, 0, 0, %llu, 0, 0, %llu)",
		incarnation, (unsigned long long)noise << 42, incarnation);
	return exec(db, path, sql, "writing the first row", e);
}

static int remove_leftovers(const char *path, struct err *e)
{
	static const char *const endings[] = {"", "-journal", "-wal", "-shm"};
	int result = 0;

	for (size_t i = 0; i < array_count(endings) && result == 0; i++) {
		char *name = mem_printf("%s%s", path, endings[i]);

		result = disk_unlink(name, e);
		mem_free(name);
	}
	return result;
}

static int fill(const char *path, struct err *e)
{
	char pragma[64];
	sqlite3 *db = NULL;
	int result = -1;

	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
		    meta_sqlite_page_sum_vfs()) != SQLITE_OK ||
		meta_sqlite_page_sum_make_room(db) != SQLITE_OK) {
		meta_sqlite_error(db, path, e, "creating it");
		goto out;
	}
	snprintf(pragma, sizeof(pragma), "PRAGMA application_id = %d", APPLICATION_ID);
	if (exec(db, path, "PRAGMA synchronous = FULL", "creating it", e) == 0 &&
		exec(db, path, pragma, "creating it", e) == 0 &&
		meta_sqlite_schema_migrate(db, path, false, meta_sqlite_schema_migrations,
			meta_sqlite_schema_migration_count, e) == 0 &&
		insert_state(db, path, e) == 0 &&
		exec(db, path, "PRAGMA journal_mode = WAL", "creating it", e) == 0)
		result = 0;
out:
	if (sqlite3_close(db) != SQLITE_OK && result == 0)
		result = err_set(e, ERR_INTERNAL, "%s could not be closed", path);
	return result;
}

static int sync_file(const char *path, struct err *e)
{
	int fd = disk_open(path, O_RDWR, 0, e), result;

	if (fd < 0)
		return -1;
	result = disk_sync(fd, e);
	fd_close(&fd);
	return result;
}

int meta_sqlite_schema_create(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	char *dir = slash == path ? mem_strdup("/") :
		    slash         ? mem_strndup(path, slash - path) :
				    mem_strdup(".");
	char *fresh = mem_printf("%s.new", path), *wal = mem_printf("%s-wal", path);
	int result = -1;

	if (disk_exists(wal)) {
		err_set(e, ERR_CORRUPT, "%s is gone, but %s is there", path, wal);
		err_hint(e, "both belong together; restore them from a backup");
		goto out;
	}
	if (disk_make_dirs(dir, e) < 0 || remove_leftovers(fresh, e) < 0 || fill(fresh, e) < 0 ||
		sync_file(fresh, e) < 0)
		goto out;
	crash_point("meta.made");
	if (disk_rename(fresh, path, e) < 0)
		goto out;
	crash_point("meta.named");
	result = disk_sync_dir(dir, e);
out:
	mem_free(wal);
	mem_free(fresh);
	mem_free(dir);
	return result;
}
