/* SPDX-License-Identifier: Apache-2.0 */
/* The database as a file: whose it is, versions, readers beside the writer, damage, kill -9 in the middle of
 * commits. */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "libsh/store/meta_sqlite.h"
#include "tests/unit/meta-fixture.h"

static char *path_of(const struct fixture *f, const char *ending)
{
	static char path[4][128];
	static int turn;

	turn = (turn + 1) % 4;
	snprintf(path[turn], sizeof(path[turn]), "%s/meta/meta.db%s", f->dir, ending);
	return path[turn];
}

static bool file_there(const struct fixture *f, const char *ending)
{
	return access(path_of(f, ending), F_OK) == 0;
}

static struct buf content(const struct fixture *f, const char *ending)
{
	struct buf b = BUF_INIT(64 << 20);

	disk_read_file(path_of(f, ending), &b, NULL);
	return b;
}

static bool same_content(const struct fixture *f, const char *ending, const struct buf *before)
{
	struct buf now = content(f, ending);
	bool same = now.len == before->len && (now.len == 0 || memcmp(now.data, before->data, now.len) == 0);

	buf_release(&now);
	return same;
}

static void put_content(const struct fixture *f, const char *ending, const void *p, size_t n)
{
	struct err e = ERR_INIT;

	if (disk_write_file(path_of(f, ending), p, n, 0600, &e) < 0)
		printf("# %s\n", e.text);
}

static void make_meta_dir(const struct fixture *f)
{
	char dir[128];

	snprintf(dir, sizeof(dir), "%s/meta", f->dir);
	mkdir(dir, 0700);
}

static int sql(const struct fixture *f, const char *text)
{
	sqlite3 *db = NULL;
	int code = sqlite3_open_v2(path_of(f, ""), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, meta_sqlite_page_sum_vfs());

	if (code == SQLITE_OK)
		code = sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_close(db);
	return code;
}

static bool refused_untouched(struct fixture *f, enum err_code code)
{
	struct buf before = content(f, "");
	bool good = reopen(f) < 0 && f->e.code == code && f->e.hint[0] && same_content(f, "", &before) &&
		    !file_there(f, "-wal") && !file_there(f, "-shm") && !file_there(f, ".new");

	if (!good)
		printf("# %s\n", f->e.text);
	buf_release(&before);
	return good;
}

static void test_refused(void)
{
	struct fixture f;
	char text[4096];

	fixture_init(&f);
	make_meta_dir(&f);
	memset(text, 'x', sizeof(text));
	put_content(&f, "", text, sizeof(text));
	ok(refused_untouched(&f, ERR_CORRUPT), "a file that is no database is refused and untouched");
	put_content(&f, "", "", 0);
	ok(refused_untouched(&f, ERR_CORRUPT), "an empty one, too: ours is never empty");
	unlink(path_of(&f, ""));
	sql(&f, "CREATE TABLE t (x)");
	ok(refused_untouched(&f, ERR_CONFLICT), "another program's database, too");
	unlink(path_of(&f, ""));
	reopen(&f);
	meta_free(f.m);
	f.m = NULL;
	sql(&f, "PRAGMA user_version = 99");
	ok(reopen(&f) < 0 && f.e.code == ERR_CONFLICT && strstr(f.e.text, "99") && f.e.hint[0],
		"a newer version is refused, with both numbers");
	unlink(path_of(&f, ""));
	put_content(&f, "-wal", text, sizeof(text));
	ok(reopen(&f) < 0 && f.e.code == ERR_CORRUPT && !file_there(&f, ""),
		"a WAL without its database is no empty database");
	unlink(path_of(&f, "-wal"));
	ok(meta_open("sqlite:relative", f.dir, false, &f.m, &f.e) < 0 && f.e.code == ERR_INVALID_ARGUMENT,
		"a relative path is refused");
	ok(meta_open("postgresql://x", f.dir, false, &f.m, &f.e) < 0 && f.e.code == ERR_NOT_BUILT,
		"so is a driver that is not there");
	fixture_release(&f);
}

static int version_of(sqlite3 *db)
{
	sqlite3_stmt *s = NULL;
	int version = -1;

	if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &s, NULL) == SQLITE_OK &&
		sqlite3_step(s) == SQLITE_ROW)
		version = sqlite3_column_int(s, 0);
	sqlite3_finalize(s);
	return version;
}

/* The byte that says whether pages have checksums is in such a page itself. */
static void test_room_byte(void)
{
	struct fixture f;
	struct buf good;
	int taken = 0;

	fixture_init(&f);
	make_meta_dir(&f);
	reopen(&f);
	meta_free(f.m);
	f.m = NULL;
	good = content(&f, "");
	for (int bit = 0; bit < 8; bit++) {
		good.data[20] ^= (char)(1 << bit);
		put_content(&f, "", good.data, good.len);
		good.data[20] ^= (char)(1 << bit);
		taken += reopen(&f) == 0;
		meta_free(f.m);
		f.m = NULL;
	}
	is_int(taken, 0, "a flipped bit does not switch the checksums of pages off");
	put_content(&f, "", good.data, good.len);
	ok(reopen(&f) == 0, "flipped back, it opens: %s", f.e.text);
	buf_release(&good);
	fixture_release(&f);
}

static void test_migrations(void)
{
	static const struct meta_sqlite_migration list[] = {{1, "CREATE TABLE a (x)"},
		{2, "CREATE TABLE b (x)"}, {3, "CREATE TABLE c (x); CREATE TABLE b (x)"}};
	struct fixture f;
	sqlite3 *db;

	fixture_init(&f);
	make_meta_dir(&f);
	sqlite3_open(path_of(&f, ""), &db);
	ok(meta_sqlite_schema_migrate(db, "db", false, list, 1, &f.e) == 0 && version_of(db) == 1,
		"an empty file gets version 1");
	ok(meta_sqlite_schema_migrate(db, "db", true, list, 2, &f.e) < 0 && version_of(db) == 1,
		"a reader does not migrate");
	ok(meta_sqlite_schema_migrate(db, "db", false, list, 2, &f.e) == 0 && version_of(db) == 2,
		"only what is new is done");
	ok(meta_sqlite_schema_migrate(db, "db", false, list, 3, &f.e) < 0 && version_of(db) == 2,
		"one that fails leaves the version");
	ok(sqlite3_exec(db, "SELECT * FROM c", NULL, NULL, NULL) != SQLITE_OK, "and nothing of it");
	ok(meta_sqlite_schema_migrate(db, "db", false, list, 1, &f.e) < 0 && f.e.code == ERR_CONFLICT,
		"older code refuses a newer file");
	sqlite3_close(db);
	fixture_release(&f);
}

/* ---- readers ---- */

static struct meta *open_reader(struct fixture *f)
{
	struct meta *r = NULL;

	err_clear(&f->e);
	return meta_open("sqlite:", f->dir, true, &r, &f->e) < 0 ? NULL : r;
}

static long long topics_seen(struct fixture *f)
{
	struct meta *r = open_reader(f);
	struct meta_counts c = {0};
	long long count = -1;

	if (r && r->driver->counts(r, &c, &f->e) == 0)
		count = c.topics;
	if (count < 0)
		printf("# %s\n", f->e.text);
	meta_free(r);
	return count;
}

static void test_readers(void)
{
	struct buf database, wal;
	struct meta *r;
	struct fixture f;
	struct meta_counts c;
	pid_t child;

	fixture_init(&f);
	ok(!open_reader(&f) && f.e.code == ERR_NOT_FOUND && !file_there(&f, ""),
		"a reader makes no database");
	reopen(&f);
	make_topic(&f, "a", 3);
	is_int(topics_seen(&f), 1, "a reader sees what is committed while the writer is there");
	r = open_reader(&f);
	ok(r && r->driver->begin(r, &f.e) < 0 && f.e.code == ERR_FORBIDDEN, "it can change nothing");
	make_topic(&f, "b", 3);
	ok(r && r->driver->counts(r, &c, &f.e) == 0 && c.topics == 1, "it stays with its snapshot");
	meta_free(r);
	is_int(topics_seen(&f), 2, "the next one sees more");
	meta_free(f.m);
	f.m = NULL;
	ok(!file_there(&f, "-wal"), "a writer that ends well leaves no WAL");
	database = content(&f, "");
	is_int(topics_seen(&f), 2, "a reader needs none");
	ok(!file_there(&f, "-wal") && !file_there(&f, "-shm") && same_content(&f, "", &database),
		"and makes none");
	r = open_reader(&f);
	reopen(&f);
	make_topic(&f, "c", 3);
	ok(r && r->driver->counts(r, &c, &f.e) < 0 && f.e.code == ERR_UNAVAILABLE,
		"it notices when a writer starts under it");
	meta_free(r);
	meta_free(f.m);
	f.m = NULL;
	buf_release(&database);

	child = fork();
	if (child == 0) {
		reopen(&f);
		make_topic(&f, "d", 3);
		raise(SIGKILL);
	}
	waitpid(child, NULL, 0);
	ok(file_there(&f, "-wal"), "a killed writer leaves its WAL");
	database = content(&f, "");
	wal = content(&f, "-wal");
	is_int(topics_seen(&f), 4, "a reader sees what is in it");
	ok(same_content(&f, "", &database) && same_content(&f, "-wal", &wal), "and changes nothing");
	unlink(path_of(&f, "-shm"));
	ok(!open_reader(&f) && f.e.code == ERR_UNAVAILABLE && f.e.hint[0],
		"a WAL that cannot be read is not passed over");
	ok(reopen(&f) == 0 && f.m->driver->counts(f.m, &c, &f.e) == 0 && c.topics == 4,
		"the next writer recovers it");
	buf_release(&database);
	buf_release(&wal);
	fixture_release(&f);
}

/* ---- damage ---- */

enum { RUNS = 150, PAGE_BYTES = 4096 };

/* 0: all as it was; 1: damage was named; -1: something is missing or wrong and nobody says so. */
static int look_at_all(struct fixture *f, struct uuid topic)
{
	int result = 0;

	if (reopen(f) < 0)
		return f->e.code == ERR_CORRUPT ? 1 : -1;
	if (partition_row(f, topic, 0).flushed_end != RUNS)
		return f->e.code == ERR_CORRUPT ? 1 : -1;
	for (int i = 0; i < RUNS; i++) {
		int64_t found = find(f, topic, 0, false, i, 0, NULL);

		if (found != i && f->e.code != ERR_CORRUPT)
			return -1;
		result |= found != i;
	}
	return result;
}

static void overwrite(struct fixture *f, const struct buf *good, size_t page, int how)
{
	struct buf bad = BUF_INIT(64 << 20);

	meta_free(f->m);
	f->m = NULL;
	unlink(path_of(f, "-wal"));
	unlink(path_of(f, "-shm"));
	buf_add(&bad, good->data, good->len);
	for (size_t i = 0; i < PAGE_BYTES; i++)
		bad.data[page * PAGE_BYTES + i] = how == 0 ? 0 : how == 1 ? 0xff : (char)(i * 7 + page);
	put_content(f, "", bad.data, bad.len);
	buf_release(&bad);
}

static void test_damage(void)
{
	int named = 0, silent = 0;
	struct fixture f;
	struct buf good;
	struct uuid t;
	uint64_t session;

	fixture_init(&f);
	reopen(&f);
	session = open_session(&f, 0);
	t = make_topic(&f, "t", 1);
	for (int i = 0; i < RUNS; i++)
		commit_one(&f, session, t, 0, i, i + 1);
	is_int(look_at_all(&f, t), 0, "a good database");
	meta_free(f.m);
	f.m = NULL;
	good = content(&f, "");
	for (size_t page = 0; page < good.len / PAGE_BYTES; page++)
		for (int how = 0; how < 3; how++) {
			int found;

			overwrite(&f, &good, page, how);
			found = look_at_all(&f, t);
			named += found == 1;
			silent += found < 0;
			if (found < 0)
				printf("# page %zu, way %d: %s\n", page, how, f.e.text);
		}
	ok(named > 0, "a page that is overwritten is called corrupt");
	is_int(silent, 0, "and never taken for absence");
	buf_release(&good);
	fixture_release(&f);
}

/* ---- kill -9 ---- */

static void commit_forever(struct fixture *f, struct uuid topic, uint64_t object, int64_t end, int acks)
{
	uint64_t session;

	if (reopen(f) < 0)
		_exit(1);
	session = open_session(f, 0);
	for (;; end++) {
		f->objects = object++;
		if (commit_one(f, session, topic, 0, end, end + 1) != META_ACCEPTED)
			_exit(2);
		if (write(acks, &(int64_t){end + 1}, sizeof(int64_t)) != sizeof(int64_t))
			_exit(3);
	}
}

/* Lets a child commit until `count` were acknowledged, kills it, returns the last acknowledged end. */
static int64_t kill_after(struct fixture *f, struct uuid topic, uint64_t object, int64_t end, int count)
{
	int64_t acked = end, next;
	int acks[2], status = 0;
	pid_t child;

	if (pipe(acks) < 0)
		return -1;
	child = fork();
	if (child == 0) {
		close(acks[0]);
		commit_forever(f, topic, object, end, acks[1]);
	}
	close(acks[1]);
	for (int i = 0; i < count && read(acks[0], &next, sizeof(next)) == sizeof(next); i++)
		acked = next;
	kill(child, SIGKILL);
	while (read(acks[0], &next, sizeof(next)) == sizeof(next))
		acked = next;
	close(acks[0]);
	waitpid(child, &status, 0);
	return WIFSIGNALED(status) ? acked : -1;
}

static void test_kill(void)
{
	int64_t end = 0, acked;
	struct meta_counts c;
	bool good = true;
	struct fixture f;
	struct uuid t;

	fixture_init(&f);
	reopen(&f);
	t = make_topic(&f, "t", 1);
	for (int round = 0; round < 12 && good; round++) {
		meta_free(f.m);
		f.m = NULL;
		acked = kill_after(&f, t, 1000000 * (round + 1), end, 1 + 29 * round % 97);
		good = reopen(&f) == 0;
		end = good ? partition_row(&f, t, 0).flushed_end : -1;
		/* one more may be on disk whose answer was not heard */
		good = good && acked >= 0 && (end == acked || end == acked + 1) &&
		       find(&f, t, 0, false, end - 1, 0, NULL) == end - 1;
		if (!good)
			printf("# round %d: acknowledged %lld, found %lld: %s\n", round, (long long)acked,
				(long long)end, f.e.text);
	}
	ok(good, "killed in the middle of commits, again and again: ends are as acknowledged");
	ok(f.m && f.m->driver->counts(f.m, &c, &f.e) == 0 && c.live_objects == (uint64_t)end &&
			c.records == (uint64_t)end,
		"counts are right");
	fixture_release(&f);
}

/* ---- a full disk ---- */

/* Commits until one fails because no file may grow beyond `bytes`; counts those that did not. */
static int commit_until_full(
	struct fixture *f, uint64_t session, struct uuid topic, rlim_t bytes, int64_t *end)
{
	struct rlimit before, limit;
	int commits = 0;

	getrlimit(RLIMIT_FSIZE, &before);
	limit = (struct rlimit){bytes, before.rlim_max};
	setrlimit(RLIMIT_FSIZE, &limit);
	for (; commits < 2000 && commit_one(f, session, topic, 0, *end, *end + 1) == META_ACCEPTED; commits++)
		++*end;
	setrlimit(RLIMIT_FSIZE, &before);
	return commits;
}

static void test_full(void)
{
	int64_t end = 0, seen;
	uint64_t session;
	struct fixture f;
	struct uuid t;
	int commits;

	fixture_init(&f);
	signal(SIGXFSZ, SIG_IGN);
	reopen(&f);
	session = open_session(&f, 0);
	t = make_topic(&f, "t", 1);
	commits = commit_until_full(&f, session, t, 256 << 10, &end);
	ok(commits > 0 && commits < 2000 && f.e.code != ERR_NONE && f.e.code != ERR_CORRUPT,
		"a commit that cannot be written fails: %s", f.e.text);
	seen = partition_row(&f, t, 0).flushed_end;
	is_int(seen, end, "what was acknowledged is there, what failed is not");
	is_int(commit_one(&f, session, t, 0, end, end + 1), META_ACCEPTED,
		"and it goes on when there is room again");
	ok(reopen(&f) == 0 && partition_row(&f, t, 0).flushed_end == end + 1, "opened again: the same");
	unlink(path_of(&f, ""));
	f.m->driver->begin(f.m, &f.e);
	f.m->driver->rollback(f.m);
	ok(f.m->driver->begin(f.m, &f.e) < 0 && f.e.code == ERR_CORRUPT && !file_there(&f, ""),
		"a file that vanishes in use is not replaced by an empty one");
	fixture_release(&f);
}

int main(void)
{
	test_full();
	test_refused();
	test_room_byte();
	test_migrations();
	test_readers();
	test_damage();
	test_kill();
	return done_testing();
}
