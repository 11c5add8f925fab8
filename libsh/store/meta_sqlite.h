/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the SQLite driver: the handle, what it keeps in memory, and the calls between its files. Not for
 * users of meta.h.
 *
 *   meta_sqlite.c          errors, statements, transactions, the table of functions
 *   meta_sqlite_open.c     opening for writing and for reading only
 *   meta_sqlite_page_sum.c a checksum for every page of the file
 *   meta_sqlite_schema.c   tables, versions, creating a file, telling ours from others
 *   meta_sqlite_memory.c   what is kept in memory, read once at open
 *   meta_sqlite_topic.c    topics, partitions, changes
 *   meta_sqlite_session.c  slots and sessions
 *   meta_sqlite_segment.c  intents and commits
 *   meta_sqlite_page.c     young segments folded into pages of runs; finding runs
 *   meta_sqlite_retain.c   runs that are too old, or too many, leave their partitions
 *   meta_sqlite_snapshot.c what of it goes into the object store
 *   meta_sqlite_garbage.c  from live and pending to dead to gone
 *
 * A change writes the database first and memory last, so that a change that fails leaves memory alone. When a
 * whole transaction is lost the handle is opened again and memory read anew.
 */
#ifndef SH_STORE_META_SQLITE_H
#define SH_STORE_META_SQLITE_H

#include <sqlite3.h>
#include <sys/stat.h>
#include "libsh/base/buf.h"
#include "libsh/base/bytes.h"
#include "libsh/base/map.h"
#include "libsh/store/meta.h"

enum {
	YOUNG_MAX = 64,         /* segments that are not folded yet */
	YOUNG_RUNS_MAX = 65536, /* ... and their runs: bounds our memory, about 9 MB */
	PAGE_RUNS_MAX = 64,
	PARTITIONS_TOTAL_MAX = 100000,
	CONFIG_TOTAL_MAX = 64 << 20, /* bytes of configs of all topics */
	SLOTS_MAX = 1000,
	PENDING_MAX = 4096, /* intents of a slot that were not committed */
	SWEEP_PAGES = 256,  /* of a deleted topic, removed in one step */
	RETAIN_PAGES = 256, /* looked at in one step of retention */
	RUNS_BLOB_MAX = 32 << 20,
	ADDRESS_MAX = 255,
};
enum object_state { OBJECT_PENDING = 0, OBJECT_LIVE = 1, OBJECT_DEAD = 2 };
enum topic_state { TOPIC_LIVING = 0, TOPIC_DELETED = 1, TOPIC_SWEPT = 2 /* none of its pages is left */ };

/* Every statement, prepared when first used and kept. */
/* clang-format off */
#define META_SQLITE_STATEMENTS(S) \
	S(BEGIN, "BEGIN IMMEDIATE") \
	S(COMMIT, "COMMIT") \
	S(SAVEPOINT, "SAVEPOINT one_change") \
	S(RELEASE, "RELEASE one_change") \
	S(ROLLBACK_TO, "ROLLBACK TO one_change") \
	S(STATE_READ, "SELECT incarnation, version, session, commit_sequence, producer_id," \
		" live_objects, live_bytes, snapshot, founded FROM state") \
	S(STATE_WRITE, "UPDATE state SET version = ?1, session = ?2, commit_sequence = ?3," \
		" producer_id = ?4, live_objects = ?5, live_bytes = ?6, snapshot = ?7") \
	S(TOPICS, "SELECT number, id, name, partitions, version, config FROM topic WHERE" \
		" state = 0") \
	S(TOPIC_STATE, "SELECT state FROM topic WHERE id = ?1") \
	S(TOPICS_CHANGED, "SELECT id, name, partitions, replication_factor, config, created_ms," \
		" version, state FROM topic WHERE version > ?1 ORDER BY version") \
	S(TOPIC_INSERT, "INSERT INTO topic (id, name, partitions, replication_factor, config," \
		" created_ms, version, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0)") \
	S(TOPIC_CONFIG, "SELECT config FROM topic WHERE number = ?1") \
	S(TOPIC_UPDATE, "UPDATE topic SET partitions = ?2, config = ?3, version = ?4 WHERE number =" \
		" ?1") \
	S(TOPIC_DELETE, "UPDATE topic SET state = 1, config = '{}', version = ?2 WHERE number = ?1") \
	S(TOPIC_TO_SWEEP, "SELECT number FROM topic WHERE state = 1 ORDER BY number LIMIT 1") \
	S(TOPIC_SWEPT, "UPDATE topic SET state = 2 WHERE number = ?1") \
	S(PARTITIONS, "SELECT partition, slot, epoch_floor, log_start, base_end, records, bytes," \
		" version, expired_records, expired_bytes, offset_floor FROM partition WHERE topic = ?1 ORDER BY" \
		" partition") \
	S(PARTITION_INSERT, "INSERT INTO partition (topic, partition, slot, epoch_floor, log_start," \
		" base_end, records, bytes, version) VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, ?4)") \
	S(PARTITION_TOTALS, "UPDATE partition SET records = ?3, bytes = ?4 WHERE topic = ?1 AND" \
		" partition = ?2") \
	S(PARTITION_EXPIRES, "UPDATE partition SET log_start = ?3, base_end = max(base_end, ?4), records =" \
		" records - ?5, bytes = bytes - ?6, expired_records = ?7, expired_bytes = ?8," \
		" version = ?9 WHERE topic = ?1 AND partition = ?2") \
	S(PARTITION_BASE_END, "UPDATE partition SET base_end = max(base_end, ?3) WHERE topic = ?1 AND" \
		" partition = ?2") \
	S(PARTITIONS_DELETE, "DELETE FROM partition WHERE topic = ?1") \
	S(SLOTS, "SELECT slot, slot_id, session, opened_ms, ended_ms, last_number, newest_committed," \
		" ttl_ms FROM slot ORDER BY slot") \
	S(SLOT_INSERT, "INSERT INTO slot (slot, slot_id, session, address, ttl_ms, opened_ms," \
		" ended_ms, last_number, newest_committed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, 0," \
		" 0)") \
	S(SLOT_SESSION, "UPDATE slot SET session = ?2, address = ?3, ttl_ms = ?4, opened_ms = ?5," \
		" ended_ms = NULL WHERE slot = ?1") \
	S(SLOT_END, "UPDATE slot SET ended_ms = ?2 WHERE slot = ?1") \
	S(SLOT_NUMBERS, "UPDATE slot SET last_number = ?2, newest_committed = ?3 WHERE slot = ?1") \
	S(OBJECT_INSERT, "INSERT INTO object (name, state, slot, session, slot_number, bytes, crc," \
		" sequence, living, changed_ms, runs) VALUES (?1, 0, ?2, ?3, ?4, 0, 0, 0, 0, ?5," \
		" NULL)") \
	S(OBJECT_BY_NAME, "SELECT number, state, slot, slot_number, bytes, crc, sequence FROM object" \
		" WHERE name = ?1") \
	S(OBJECT_KNOWN, "SELECT 1 FROM object WHERE name = ?1 UNION ALL SELECT 1 FROM kept WHERE" \
		" name = ?1") \
	S(GIVEN_UP_KNOWN, "SELECT 1 FROM given_up WHERE name = ?1") \
	S(GIVEN_UP_ADD, "INSERT OR REPLACE INTO given_up (name, removed_ms) SELECT name, ?2 FROM object WHERE" \
		" name = ?1 AND state = 2 AND sequence = 0") \
	S(GIVEN_UP_NAME, "INSERT OR REPLACE INTO given_up (name, removed_ms) VALUES (?1, ?2)") \
	S(GIVEN_UP_FORGET, "DELETE FROM given_up WHERE name IN (SELECT name FROM given_up WHERE" \
		" removed_ms <= ?1 ORDER BY removed_ms LIMIT ?2)") \
	S(GIVEN_UP_IN_FUTURE, "UPDATE given_up SET removed_ms = ?1 WHERE removed_ms > ?1") \
	S(BEHIND_READ, "SELECT behind FROM state WHERE behind IS NOT NULL") \
	S(BEHIND_WRITE, "UPDATE state SET behind = ?1") \
	S(OBJECT_BY_NUMBER, "SELECT name, bytes, crc, sequence, state FROM object WHERE number = ?1") \
	S(OBJECT_COMMIT, "UPDATE object SET state = ?2, bytes = ?3, crc = ?4, sequence = ?5," \
		" changed_ms = ?6, runs = ?7 WHERE number = ?1 AND state = 0") \
	S(OBJECT_FOLDED, "UPDATE object SET living = ?2, runs = NULL WHERE number = ?1 AND state = 1") \
	S(OBJECT_DIES, "UPDATE object SET state = 2, living = 0, changed_ms = ?2, runs = NULL WHERE" \
		" number = ?1 AND state = 1") \
	S(OBJECT_LESS_LIVING, "UPDATE object SET living = living - ?2 WHERE number = ?1 AND state =" \
		" 1 RETURNING living, bytes") \
	S(OBJECTS_YOUNG, "SELECT number, name, slot, slot_number, bytes, crc, sequence, runs FROM" \
		" object WHERE runs IS NOT NULL ORDER BY sequence") \
	S(PENDING_COUNT, "SELECT count(*) FROM object WHERE state = 0 AND slot = ?1") \
	S(PENDING_GIVE_UP, "UPDATE object SET state = 2, changed_ms = ?3 WHERE state = 0 AND slot =" \
		" ?1 AND (session <= ?2 OR changed_ms <= ?4)") \
	S(DEAD_COUNT, "SELECT count(*) FROM object WHERE state = 2") \
	S(PENDING_IN_FUTURE, "UPDATE object SET changed_ms = ?1 WHERE state = 0 AND changed_ms > ?1") \
	S(DEAD_IN_FUTURE, "UPDATE object SET changed_ms = ?1 WHERE state = 2 AND changed_ms > ?1") \
	S(DEAD_LIST, "SELECT name FROM object WHERE state = 2 AND changed_ms <= ?1 AND name NOT IN" \
		" (SELECT name FROM kept) ORDER BY changed_ms, number LIMIT ?2 OFFSET ?3") \
	S(OBJECT_REMOVE, "DELETE FROM object WHERE name = ?1 AND state = 2") \
	S(PAGE_INSERT, "INSERT INTO page (fold, topic, partition, end_offset, max_timestamp, runs)" \
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6)") \
	S(PAGE_LAST_END, "SELECT end_offset FROM page WHERE topic = ?1 AND partition = ?2 ORDER BY" \
		" end_offset DESC LIMIT 1") \
	S(PAGE_FIND, "SELECT end_offset, runs FROM page WHERE topic = ?1 AND partition = ?2 AND" \
		" end_offset > ?3 AND max_timestamp >= ?4 ORDER BY end_offset LIMIT 1") \
	S(PAGES, "SELECT fold, topic, runs FROM page ORDER BY number") \
	S(PAGES_OF_TOPIC, "SELECT number, runs FROM page WHERE topic = ?1 LIMIT ?2") \
	S(PAGE_FIRST, "SELECT number, runs FROM page WHERE topic = ?1 AND partition = ?2 ORDER BY" \
		" end_offset LIMIT 1") \
	S(PAGE_CUT, "UPDATE page SET max_timestamp = ?2, runs = ?3 WHERE number = ?1") \
	S(PAGE_REMOVE, "DELETE FROM page WHERE number = ?1") \
	S(GAP_INSERT, "INSERT INTO gap (topic, partition, from_offset, end_offset, why) VALUES (?1, ?2, ?3, ?4, ?5)") \
	S(GAP_FIND, "SELECT why FROM gap WHERE topic = ?1 AND partition = ?2 AND from_offset <= ?3 AND end_offset >= ?4") \
	S(KEEP, "INSERT OR IGNORE INTO kept (name, why) VALUES (?1, ?2)") \
	S(VERIFY, "PRAGMA integrity_check(1)") \
	S(CLOCK_READ, "SELECT boot_id, offset_ms, hold_until_ms FROM clock") \
	S(CLOCK_WRITE, "INSERT OR REPLACE INTO clock (one, boot_id, offset_ms, hold_until_ms) VALUES" \
		" (1, ?1, ?2, ?3)")
/* clang-format on */

enum meta_sqlite_sql {
#define S(name, text) SQL_##name,
	META_SQLITE_STATEMENTS(S)
#undef S
		SQL_COUNT
};

struct known_partition {
	uint32_t slot, epoch_floor;
	int64_t log_start, flushed_end;
	uint64_t records, bytes, version;
	uint64_t expired_records, expired_bytes;
	int64_t offset_floor; /* struct meta_partition; never changes */
	int64_t oldest_ms; /* age of its first run counts from here; INT64_MIN: not looked at yet */
	uint64_t judged; /* number of the commit that last added to it: a commit holds one run of a partition
			  */
};
struct known_topic { /* a living one */
	struct uuid id;
	int64_t number;
	char *name;
	uint64_t version;
	size_t config_bytes;
	int64_t retention_ms, retention_bytes; /* -1: for ever */
	uint32_t partition_count;
	struct known_partition *partitions;
};
struct known_slot {
	uint32_t slot;
	struct uuid id;
	uint64_t session; /* newest */
	bool open;
	int64_t opened_ms, ended_ms, ttl_ms;
	uint64_t last_number, newest_committed; /* of its segments */
	uint64_t pending, given_up; /* intents not committed; those that a garbage step in work gives up */
};
struct young_segment { /* committed, its runs still in its own row */
	int64_t number;
	struct meta_object object;
	struct segment_run *runs; /* sorted by (topic, partition) */
	size_t count;
	struct arena arena;
};
struct known {
	struct map by_id, by_number, by_name; /* struct known_topic */
	struct known_slot *slots;             /* sorted by number */
	size_t slot_count;
	struct young_segment *young[YOUNG_MAX]; /* in order of commit */
	size_t young_count, young_runs;
	size_t partition_count, config_bytes;
};
struct global_state { /* the one row of table state */
	uint64_t incarnation, version, session, commit_sequence;
	int64_t producer_id;
	uint64_t live_objects, live_bytes;
	uint64_t snapshot; /* number of the last one taken */
	uint64_t founded;  /* struct meta_position; never changes */
};
struct meta_sqlite {
	struct meta meta;
	sqlite3 *db; /* NULL: lost, to be opened again */
	char *path;
	bool read_only;
	int lock_fd; /* PATH.lock, held while open for writing; -1: not */
	bool was_open; /* so the file must be there when it is opened again */
	bool quiet; /* read-only without shd: what we read must not change under us */
	struct stat quiet_stat;
	bool in_transaction;
	bool lost; /* the transaction is gone; only its end is awaited */
	struct global_state state, saved;
	bool state_changed, saved_changed; /* the row must be written at the end of the transaction */
	uint64_t judged;
	int64_t retain_topic; /* where the next step of retention begins */
	uint32_t retain_partition;
	struct known known;
	sqlite3_stmt *statements[SQL_COUNT];
};

static inline struct meta_sqlite *meta_sqlite_of(struct meta *m)
{
	return container_of(m, struct meta_sqlite, meta);
}

/* ---- meta_sqlite.c ---- */
int meta_sqlite_open(const char *path, bool read_only, struct meta **out, struct err *e);
/* Sets the error that SQLite reported: damage is ERR_CORRUPT, never absence. Returns -1. */
int meta_sqlite_error(sqlite3 *db, const char *path, struct err *e, const char *doing);
/* types: i int64_t, U const struct uuid *, t const char *, d const struct buf *, n NULL (no argument). NULL
 * on error. */
sqlite3_stmt *meta_sqlite_bind(
	struct meta_sqlite *m, enum meta_sqlite_sql which, struct err *e, const char *types, ...);
int meta_sqlite_step(
	struct meta_sqlite *m, sqlite3_stmt *s, struct err *e); /* 1: a row; 0: end; -1. Resets unless 1 */
int meta_sqlite_run(struct meta_sqlite *m, enum meta_sqlite_sql which, struct err *e, const char *types, ...);
int meta_sqlite_column_uuid(
	struct meta_sqlite *m, sqlite3_stmt *s, int column, struct uuid *u, struct err *e);
/* Around each change: a savepoint, and the state row as it was. */
int meta_sqlite_change_begin(struct meta_sqlite *m, struct err *e);
int meta_sqlite_change_end(struct meta_sqlite *m, int result, struct err *e);

/* ---- meta_sqlite_open.c ---- */
int meta_sqlite_open_database(struct meta_sqlite *m, struct err *e);
int meta_sqlite_open_again(struct meta_sqlite *m, struct err *e); /* unless it is open */
void meta_sqlite_open_close(struct meta_sqlite *m);
/* Around each read; end checks that a file read without locks has not changed. */
int meta_sqlite_read_begin(struct meta_sqlite *m, struct err *e);
int meta_sqlite_read_end(struct meta_sqlite *m, int result, struct err *e);

/* ---- meta_sqlite_page_sum.c ---- */
const char *meta_sqlite_page_sum_vfs(void);        /* for sqlite3_open_v2() */
int meta_sqlite_page_sum_make_room(sqlite3 *db);   /* of a new database, before anything is written to it; SQLITE_OK */

/* ---- meta_sqlite_schema.c ---- */
struct meta_sqlite_migration {
	int version;
	const char *sql;
};
extern const struct meta_sqlite_migration meta_sqlite_schema_migrations[];
extern const int meta_sqlite_schema_migration_count;
/* 1: there and ours; 0: absent; -1: anything else. Does not touch the file. */
int meta_sqlite_schema_probe(const char *path, struct err *e);
int meta_sqlite_schema_create(const char *path, struct err *e);
/* Brings the file to the last version of the list, a transaction each. read_only: must be there already. */
int meta_sqlite_schema_migrate(sqlite3 *db, const char *path, bool read_only,
	const struct meta_sqlite_migration *list, int count, struct err *e);

/* ---- meta_sqlite_memory.c ---- */
int meta_sqlite_memory_load(struct meta_sqlite *m, struct err *e);
void meta_sqlite_memory_release(struct meta_sqlite *m);
void meta_sqlite_memory_add_topic(struct meta_sqlite *m, struct known_topic *t);    /* takes it over */
void meta_sqlite_memory_remove_topic(struct meta_sqlite *m, struct known_topic *t); /* frees it */
struct known_topic *meta_sqlite_memory_topic(const struct meta_sqlite *m, const struct uuid *id);
/* The topic of a run that is wanted: not deleted, and the run not below the log start. Else NULL. */
struct known_topic *meta_sqlite_memory_wanted(const struct meta_sqlite *m, const struct segment_run *r);
struct known_slot *meta_sqlite_memory_slot(const struct meta_sqlite *m, uint32_t slot);
struct known_slot *meta_sqlite_memory_session(
	const struct meta_sqlite *m, uint64_t session); /* NULL unless open and the newest */
uint32_t meta_sqlite_memory_epoch(const struct meta_sqlite *m, const struct known_partition *p);
/* Copies all. push takes it over and moves the ends of its partitions; the caller has checked that its runs
 * continue them. */
struct young_segment *meta_sqlite_memory_new_young(
	int64_t number, const struct meta_object *o, const struct segment_run *runs, size_t count);
void meta_sqlite_memory_push_young(struct meta_sqlite *m, struct young_segment *y);
void meta_sqlite_memory_free_young(struct young_segment *y);
const struct segment_run *meta_sqlite_memory_young_run(
	const struct young_segment *y, const struct uuid *topic, uint32_t partition);

/* ---- meta_sqlite_topic.c ---- */
int meta_sqlite_topic_create(struct meta *base, struct meta_topic *t, struct err *e);
int meta_sqlite_topic_alter(
	struct meta *base, const char *name, uint32_t partitions, const char *config_changes, struct err *e);
int meta_sqlite_topic_delete(struct meta *base, const char *name, struct err *e);
int meta_sqlite_topic_changes(struct meta *base, uint64_t since, struct arena *a, struct meta_topic **topics,
	size_t *topic_count, struct meta_partition **partitions, size_t *partition_count, uint64_t *version,
	struct err *e);

/* ---- meta_sqlite_session.c ---- */
int meta_sqlite_session_open(struct meta *base, uint32_t slot, const struct uuid *slot_id,
	const char *address, int64_t ttl_ms, struct meta_session *out, struct err *e);
int meta_sqlite_session_renew(struct meta *base, uint64_t session, struct meta_session *out, struct err *e);
int meta_sqlite_session_close(struct meta *base, uint64_t session, struct err *e);

/* ---- meta_sqlite_segment.c ---- */
int meta_sqlite_segment_intent(struct meta *base, uint64_t session, const struct uuid *object,
	const char *name, uint64_t *number, uint64_t *newest_committed, struct err *e);
int meta_sqlite_segment_commit(struct meta *base, uint64_t session, const struct meta_object *o,
	const struct segment_run *runs, size_t count, enum meta_verdict *verdicts, uint64_t *sequence,
	struct err *e);

/* ---- meta_sqlite_page.c ---- */
/* Run indexes as stored: CRC-32C u32 of what follows; in pages u32 count and the object's number u64 of each
 * run; then segment_runs_encode(). objects NULL: a young segment's blob. */
int meta_sqlite_page_encode(
	struct buf *out, const int64_t *objects, const struct segment_run *runs, size_t count, struct err *e);
int meta_sqlite_page_decode(const struct meta_sqlite *m, const void *p, int n, struct arena *a,
	int64_t **objects, struct segment_run **runs, size_t *count, struct err *e);
int meta_sqlite_page_fold(
	struct meta_sqlite *m, struct err *e); /* all young segments, inside a transaction */
int meta_sqlite_page_fold_now(struct meta_sqlite *m, struct err *e); /* the same, few as they may be */
/* The first run with end > from_offset and max_timestamp >= timestamp. 1 found, 0 none. */
int meta_sqlite_page_search(struct meta_sqlite *m, const struct known_topic *t, uint32_t partition,
	int64_t from_offset, int64_t timestamp, struct arena *a, int64_t *object, struct segment_run *run,
	struct err *e);
int meta_sqlite_page_run_find(struct meta *base, const struct uuid *topic, uint32_t partition,
	bool by_timestamp, int64_t value, int64_t from_offset, struct arena *a, struct meta_object *o,
	struct segment_run *run, struct err *e);
int meta_sqlite_page_each_object(struct meta *base,
	int (*each)(void *ctx, const struct meta_object *o, const struct segment_run *runs, size_t count),
	void *ctx, struct err *e);

/* ---- meta_sqlite_retain.c ---- */
int meta_sqlite_retain_step(struct meta *base, struct meta_retain *r, struct err *e);
int meta_sqlite_retain_clock(struct meta_sqlite *m, struct meta_clock *c, struct err *e); /* fills in held and jumped_ms */

/* ---- meta_sqlite_snapshot.c ---- */
int meta_sqlite_snapshot_take(
	struct meta *base, const struct snapshot *since, struct arena *a, struct snapshot *s, struct err *e);
int meta_sqlite_snapshot_standing(struct meta *base, const char *name, enum meta_standing *standing, struct err *e);
int meta_sqlite_snapshot_set_behind(struct meta *base, const char *name, struct err *e);
int meta_sqlite_snapshot_behind(struct meta *base, struct arena *a, const char **name, struct err *e);
int meta_sqlite_snapshot_check(struct meta_sqlite *m, struct err *e); /* ERR_CONFLICT when it is behind */
int meta_sqlite_snapshot_position(struct meta *base, struct meta_position *p, struct err *e);
int meta_sqlite_snapshot_gap(struct meta *base, const struct uuid *topic, uint32_t partition, int64_t from, int64_t end,
	struct arena *a, const char **why, struct err *e);

/* ---- meta_sqlite_garbage.c ---- */
int meta_sqlite_garbage_sweep(struct meta *base, struct meta_garbage *g, struct arena *a, struct err *e);
int meta_sqlite_garbage_done(struct meta *base, const char *name, struct err *e);
/* A live object of which nothing is wanted any more. */
/* `runs` fewer runs of a folded object are wanted; the last one takes it along. */
int meta_sqlite_garbage_less_living(struct meta_sqlite *m, int64_t number, int64_t runs, struct err *e);
/* Young segments of which nothing is wanted. Changes memory: the last thing of a change. */
int meta_sqlite_garbage_bury_young(struct meta_sqlite *m, struct err *e);
/* The end of an expired run must outlive its young segment: the partition goes on from there. */
int meta_sqlite_garbage_keep_ends(struct meta_sqlite *m, const struct young_segment *y, struct err *e);
int meta_sqlite_garbage_dies(struct meta_sqlite *m, int64_t number, uint64_t bytes, struct err *e);

#endif
