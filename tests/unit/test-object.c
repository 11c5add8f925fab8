/* SPDX-License-Identifier: Apache-2.0 */
/* The contract of object stores, asked of the directory and of the directory behind the fault driver; then
 * each driver's own. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsh/base/buf.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "libsh/store/object.h"
#include "tests/unit/tap.h"

/* These stand before the C library's, so that a disk can be full, or a file system old. */
static int copy_errno, rename_errno, fsync_errno, fdatasync_errno;

ssize_t copy_file_range(int from, off_t *in, int to, off_t *out, size_t n, unsigned flags)
{
	char chunk[8192];
	ssize_t got;

	(void)flags;
	if (copy_errno) {
		errno = copy_errno;
		return -1;
	}
	got = pread(from, chunk, n < sizeof(chunk) ? n : sizeof(chunk), *in); /* short, as it may be */
	if (got > 0)
		got = pwrite(to, chunk, (size_t)got, *out);
	if (got > 0) {
		*in += got;
		*out += got;
	}
	return got;
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	struct stat st;

	(void)flags;
	if (rename_errno) {
		errno = rename_errno;
		return -1;
	}
	if (fstatat(to_dir, to, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		errno = EEXIST;
		return -1;
	}
	return linkat(from_dir, from, to_dir, to, 0) < 0 ? -1 : unlinkat(from_dir, from, 0);
}

int fsync(int fd)
{
	(void)fd;
	errno = fsync_errno;
	return fsync_errno ? -1 : 0;
}

int fdatasync(int fd)
{
	(void)fd;
	errno = fdatasync_errno;
	return fdatasync_errno ? -1 : 0;
}

static char root[] = "/tmp/test-object-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A file of n bytes that depend on seed; unlinked already. */
static int source(size_t n, unsigned seed)
{
	char *path = mem_printf("%s/source-XXXXXX", root), *p = mem_alloc(n + 1);
	int fd = mkstemp(path);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)(i * 31 + i / 251 + seed);
	unlink(path);
	if (fd_write_all(fd, p, n, NULL) < 0)
		abort();
	mem_free(path);
	mem_free(p);
	return fd;
}

static int put(struct object_store *s, const char *name, size_t n, unsigned seed, struct err *e)
{
	int fd = source(n, seed), result = s->driver->put(s, name, fd, n, e);

	close(fd);
	return result;
}

static bool holds(struct object_store *s, const char *name, size_t n, unsigned seed)
{
	char *want = mem_alloc(n + 1), *got = mem_alloc(n + 1);
	int fd = source(n, seed);
	uint64_t bytes;
	bool good;

	good = pread(fd, want, n, 0) == (ssize_t)n && s->driver->size(s, name, &bytes, NULL) == 0 &&
	       bytes == n && s->driver->get(s, name, 0, got, n, NULL) == 0 && !memcmp(want, got, n);
	close(fd);
	mem_free(want);
	mem_free(got);
	return good;
}

struct names {
	struct buf text;
	int count, stop_at;
};

static int note(void *ctx, const struct object_info *o)
{
	struct names *n = ctx;

	buf_addf(&n->text, "%s:%llu ", o->name, (unsigned long long)o->bytes);
	return ++n->count == n->stop_at ? 7 : 0;
}

static int count_objects(struct object_store *s, const char *prefix)
{
	struct names n = {BUF_INIT(1 << 20), 0, 0};
	int result = s->driver->list(s, prefix, note, &n, NULL);

	buf_release(&n.text);
	return result < 0 ? result : n.count;
}

static void check_names(void)
{
	static const char *const good[] = {"a", "segments/3f/01-ab_C.seg", "a.b", "a/b/c", "x..y"};
	static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/../b",
		".tmp/x", "a/.b", "a b", "a\nb", "a\\b", "a%2fb", "\xc3\xa4", "a+b", "a,b"};
	char name[OBJECT_NAME_MAX + 2];

	for (size_t i = 0; i < array_count(good); i++)
		ok(object_name_check(good[i], NULL) == 0, "\"%s\" is a name", good[i]);
	for (size_t i = 0; i < array_count(bad); i++)
		ok(object_name_check(bad[i], NULL) < 0, "bad name %zu is refused", i);
	memset(name, 'a', sizeof(name));
	name[OBJECT_NAME_MAX] = '\0';
	ok(object_name_check(name, NULL) == 0, "the longest name is taken");
	name[OBJECT_NAME_MAX] = 'a';
	name[OBJECT_NAME_MAX + 1] = '\0';
	ok(object_name_check(name, NULL) < 0, "a longer one is refused");
}

/* What every driver must do. */
static void check_contract(struct object_store *s, const char *what)
{
	struct names n = {BUF_INIT(1 << 20), 0, 2};
	struct err e = ERR_INIT;
	uint64_t bytes;
	char p[16];

	ok(put(s, "a/b/one", 5 << 20, 1, &e) == 0 && holds(s, "a/b/one", 5 << 20, 1), "%s: put and get 5 MiB",
		what);
	ok(put(s, "a/b/empty", 0, 1, &e) == 0 && holds(s, "a/b/empty", 0, 1), "%s: an empty object", what);
	ok(put(s, "a/b/one", 100, 2, &e) < 0 && e.code == ERR_EXISTS && holds(s, "a/b/one", 5 << 20, 1),
		"%s: put does not replace", what);
	ok(put(s, "a/c", 100, 3, &e) == 0 && put(s, "ab", 100, 4, &e) == 0, "%s: other names", what);
	ok(s->driver->get(s, "a/c", 90, p, 10, &e) == 0, "%s: the last bytes", what);
	ok(s->driver->get(s, "a/c", 91, p, 10, &e) < 0 && e.code == ERR_CORRUPT,
		"%s: past the end is an error", what);
	ok(s->driver->get(s, "a/c", UINT64_MAX, p, 10, &e) < 0 && e.code == ERR_CORRUPT,
		"%s: far past it, too", what);
	ok(s->driver->get(s, "a/none", 0, p, 1, &e) < 0 && e.code == ERR_NOT_FOUND, "%s: get of what is not",
		what);
	ok(s->driver->size(s, "no/ne", &bytes, &e) < 0 && e.code == ERR_NOT_FOUND, "%s: size of what is not",
		what);
	ok(s->driver->size(s, "a/b", &bytes, &e) < 0 && e.code != ERR_NOT_FOUND,
		"%s: what cannot be read is not said to be absent", what);
	ok(put(s, "../out", 1, 1, &e) < 0 && e.code == ERR_INVALID_ARGUMENT, "%s: no name leads outside",
		what);
	ok(s->driver->get(s, "../../etc/passwd", 0, p, 1, &e) < 0 && e.code == ERR_INVALID_ARGUMENT &&
			s->driver->remove(s, "a/../ab", &e) < 0 && e.code == ERR_INVALID_ARGUMENT,
		"%s: for get and remove neither", what);
	is_int(count_objects(s, ""), 4, "list finds all");
	is_int(count_objects(s, "a/"), 3, "list by folder");
	is_int(count_objects(s, "a"), 4, "list by a prefix that is no folder");
	is_int(count_objects(s, "a/b/o"), 1, "list by a prefix inside a folder");
	is_int(count_objects(s, "zz/"), 0, "list of nothing");
	is_int(s->driver->list(s, "", note, &n, &e), 7, "what each() returns ends the list");
	is_int(n.count, 2, "at once");
	ok(s->driver->remove(s, "a/b/one", &e) == 0 && s->driver->remove(s, "a/b/one", &e) == 0 &&
			s->driver->size(s, "a/b/one", &bytes, &e) < 0 && e.code == ERR_NOT_FOUND,
		"%s: remove, and again", what);
	ok(put(s, "a/b/one", 10, 5, &e) == 0 && holds(s, "a/b/one", 10, 5), "%s: the name is free again",
		what);
	buf_release(&n.text);
}

struct race {
	struct object_store *s;
	pthread_t thread;
	unsigned seed;
	int placed, taken, other;
};

static void *race_main(void *arg)
{
	struct race *r = arg;
	char name[32];

	for (int i = 0; i < 20; i++) {
		struct err e = ERR_INIT;

		snprintf(name, sizeof(name), "race/%02d/x", i);
		if (put(r->s, name, 100000, r->seed, &e) == 0)
			r->placed++;
		else if (e.code == ERR_EXISTS)
			r->taken++;
		else
			r->other++;
	}
	return NULL;
}

static void check_race(struct object_store *s)
{
	struct race r[4];
	int placed = 0, taken = 0, whole = 0;
	char name[32];

	memset(r, 0, sizeof(r));
	for (unsigned i = 0; i < 4; i++) {
		r[i].s = s;
		r[i].seed = i;
		pthread_create(&r[i].thread, NULL, race_main, &r[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(r[i].thread, NULL);
		placed += r[i].placed;
		taken += r[i].taken;
	}
	is_int(placed, 20, "of four that put a name, one does");
	is_int(taken, 60, "and three hear that it exists");
	for (int i = 0; i < 20; i++)
		for (unsigned seed = 0; seed < 4; seed++) {
			snprintf(name, sizeof(name), "race/%02d/x", i);
			whole += holds(s, name, 100000, seed);
		}
	is_int(whole, 20, "no object is a mixture");
}

static int whole_check(void *ctx, const struct object_info *o)
{
	unsigned *bad = ctx;

	*bad += o->bytes != 300000;
	return 0;
}

/* Kill a process that puts, at some point of its third object or later; everything that has a name must be
 * whole. */
static void check_kill(struct object_store *s)
{
	unsigned bad = 0;
	int told[2];

	for (int round = 0; round < 5; round++) {
		pid_t pid;
		char c;

		if (pipe(told) < 0)
			abort();
		pid = fork();
		if (pid == 0) {
			for (int i = 0;; i++) {
				char name[32];

				snprintf(name, sizeof(name), "kill/%d/%d", round, i);
				put(s, name, 300000, 1, NULL);
				if (write(told[1], "x", 1) != 1)
					_exit(1);
			}
		}
		close(told[1]);
		for (int i = 0; i < 3; i++)
			if (read(told[0], &c, 1) != 1)
				break;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		close(told[0]);
	}
	ok(s->driver->list(s, "kill/", whole_check, &bad, NULL) == 0 && bad == 0 &&
			count_objects(s, "kill/") >= 15,
		"a killed put leaves a whole object or none");
}

static int leftovers(const char *dir)
{
	struct object_store *s = NULL;
	char path[512];
	int count = 0;

	snprintf(path, sizeof(path), "%s/.tmp", dir);
	if (object_dir_open(path, &s, NULL) == 0) /* files whose names are uuids are objects there */
		count = count_objects(s, "");
	object_store_free(s);
	return count;
}

static void check_failures(struct object_store *s, const char *dir)
{
	struct err e = ERR_INIT;
	uint64_t bytes;
	int fd;

	copy_errno = ENOSPC;
	ok(put(s, "fail/full", 1000, 1, &e) < 0 && e.code == ERR_NO_SPACE, "a full disk is no space");
	copy_errno = EIO;
	ok(put(s, "fail/eio", 1000, 1, &e) < 0 && e.code == ERR_IO, "a broken one an I/O error");
	copy_errno = EXDEV;
	ok(put(s, "fail/xdev", 3 << 20, 1, &e) == 0 && holds(s, "fail/xdev", 3 << 20, 1),
		"where copy_file_range() cannot, it is copied by hand");
	copy_errno = 0;
	fdatasync_errno = EIO;
	ok(put(s, "fail/sync", 1000, 1, &e) < 0 && e.code == ERR_IO, "a failed sync of the file is an error");
	fdatasync_errno = 0;
	fsync_errno = EIO;
	ok(put(s, "fail/name", 1000, 1, &e) < 0 && e.code == ERR_IO,
		"a failed sync of the folder is an error");
	ok(put(s, "fail/deep/er", 1000, 1, &e) < 0 && e.code == ERR_IO, "also of a new folder");
	fsync_errno = 0;
	ok(s->driver->size(s, "fail/name", &bytes, &e) < 0 && e.code == ERR_NOT_FOUND,
		"and the name is not left behind");
	ok(put(s, "fail/deep/er", 1000, 1, &e) == 0, "later it works");
	rename_errno = EINVAL;
	ok(put(s, "fail/link", 1000, 1, &e) == 0 && holds(s, "fail/link", 1000, 1),
		"without renameat2() it links");
	ok(put(s, "fail/link", 1000, 2, &e) < 0 && e.code == ERR_EXISTS, "which does not replace");
	rename_errno = 0;
	fd = source(100, 1);
	ok(s->driver->put(s, "fail/short", fd, 101, &e) < 0 && e.code == ERR_CORRUPT,
		"a source that ends early is an error");
	close(fd);
	ok(s->driver->size(s, "fail/short", &bytes, &e) < 0 && e.code == ERR_NOT_FOUND,
		"and makes no object");
	fsync_errno = EIO;
	ok(s->driver->remove(s, "fail/link", &e) < 0 && e.code == ERR_IO, "removing is not done before its sync");
	ok(s->driver->remove(s, "fail/link", &e) < 0 && e.code == ERR_IO, "also when the name is absent by then");
	fsync_errno = 0;
	ok(s->driver->remove(s, "fail/link", &e) == 0, "a sync that works makes it so");
	ok(s->driver->remove(s, "no/such/folder/at/all", &e) == 0, "what never was is absent");
	is_int(leftovers(dir), 0, "no failure leaves a temporary file");
}

/* Somebody tidies up below us. */
static void check_folder_gone(struct object_store *s, const char *dir)
{
	char path[PATH_MAX];
	struct err e = ERR_INIT;

	ok(put(s, "tidy/a/1", 10, 1, &e) == 0 && s->driver->remove(s, "tidy/a/1", &e) == 0, "a folder is emptied");
	snprintf(path, sizeof(path), "%s/tidy/a", dir);
	ok(rmdir(path) == 0, "and removed");
	ok(put(s, "tidy/a/2", 10, 2, &e) == 0, "a put makes it again");

	ok(holds(s, "tidy/a/2", 10, 2), "and the object is there");
}

static void check_leftovers(const char *dir)
{
	struct timespec old[2] = {{time(NULL) - 2 * 86400, 0}, {time(NULL) - 2 * 86400, 0}};
	struct object_store *s = NULL;
	char path[512];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/.tmp/%s", dir, i ? "new" : "old");
		close(open(path, O_CREAT | O_WRONLY, 0600));
		if (i == 0)
			utimensat(AT_FDCWD, path, old, 0);
	}
	is_int(leftovers(dir), 2, "two leftovers");
	ok(object_dir_open(dir, &s, NULL) == 0, "open again");
	is_int(leftovers(dir), 1, "the one older than a day is removed");
	unlink(path);
	object_store_free(s);
}

static void set_rules(const char *path, const char *text)
{
	char *other = mem_printf("%s.new", path);
	FILE *f = fopen(other, "w");

	fputs(text, f);
	fclose(f);
	rename(other, path);
	mem_free(other);
}

static int put_verified(struct object_store *s, const char *name, size_t n, unsigned seed, struct err *e)
{
	int fd = source(n, seed), result = object_put_verified(s, name, fd, n, e);

	close(fd);
	return result;
}

static void check_verified(struct object_store *s, const char *rules)
{
	struct err e = ERR_INIT;

	set_rules(rules, "put outcome_unknown times=1\n");
	ok(put_verified(s, "v/1", 3 << 20, 1, &e) == 0 && holds(s, "v/1", 3 << 20, 1),
		"unknown, and it was done: success");
	set_rules(rules, "put not_done times=1\nput outcome_unknown times=1\n");
	ok(put_verified(s, "v/2", 1000, 1, &e) == 0 && holds(s, "v/2", 1000, 1),
		"unknown, and it was not: done again");
	set_rules(rules, "put not_done\n");
	ok(put_verified(s, "v/3", 1000, 1, &e) < 0 && e.code == ERR_OUTCOME_UNKNOWN,
		"never done: unknown in the end");
	set_rules(rules, "put outcome_unknown times=1\nsize unavailable\n");
	ok(put_verified(s, "v/4", 1000, 1, &e) < 0 && e.code == ERR_OUTCOME_UNKNOWN,
		"no reading back: unknown");
	set_rules(rules, "put unavailable times=1\n");
	ok(put_verified(s, "v/5", 1000, 1, &e) < 0 && e.code == ERR_UNAVAILABLE, "unavailable is handed on");
	set_rules(rules, "get flip times=1\n");
	ok(put_verified(s, "v/1", 3 << 20, 1, &e) < 0 && e.code == ERR_EXISTS, "a flipped bit is seen");
	set_rules(rules, "");
	ok(put_verified(s, "v/1", 3 << 20, 1, &e) == 0, "the same content again is success");
	ok(put_verified(s, "v/1", 3 << 20, 2, &e) < 0 && e.code == ERR_EXISTS, "other content is not");
	ok(put_verified(s, "v/1", 100, 1, &e) < 0 && e.code == ERR_EXISTS, "nor is another length");
	ok(holds(s, "v/1", 3 << 20, 1), "and the first stays");
}

static void check_rules(struct object_store *s, const char *rules)
{
	static const struct {
		const char *rule;
		enum err_code code;
	} modes[] = {{"get unavailable", ERR_UNAVAILABLE}, {"* io", ERR_IO}, {"get no_space", ERR_NO_SPACE},
		{"get not_done", ERR_OUTCOME_UNKNOWN}, {"get outcome_unknown", ERR_OUTCOME_UNKNOWN},
		{"get short", ERR_CORRUPT}, {"put io", ERR_NONE}, {"get delay delay_ms=1", ERR_NONE},
		{"get bad", ERR_INVALID_ARGUMENT}, {"fetch io", ERR_INVALID_ARGUMENT},
		{"get io often", ERR_INVALID_ARGUMENT}, {"put flip", ERR_INVALID_ARGUMENT},
		{"get io after=x", ERR_INVALID_ARGUMENT}, {"# get io", ERR_NONE}};
	int hits[2] = {0, 0}, pattern[2] = {0, 0};
	struct err e = ERR_INIT;
	uint64_t bytes;
	char p[4], q[4];

	put(s, "r/1", 100, 1, NULL);
	for (size_t i = 0; i < array_count(modes); i++) {
		err_clear(&e);
		set_rules(rules, modes[i].rule);
		s->driver->get(s, "r/1", 0, p, 4, &e);
		is_int(e.code, modes[i].code, modes[i].rule);
	}
	set_rules(rules, "size io after=2 times=1\n");
	for (int i = 0; i < 5; i++)
		hits[0] |= (s->driver->size(s, "r/1", &bytes, NULL) < 0) << i;
	is_int(hits[0], 1 << 2, "after=2 times=1 hits the third call only");
	hits[0] = 0;
	for (int round = 0; round < 2; round++) {
		set_rules(rules, round ? "size io percent=30 seed=5\n#\n" : "size io percent=30 seed=5\n");
		for (int i = 0; i < 30; i++) {
			bool hit = s->driver->size(s, "r/1", &bytes, NULL) < 0;

			hits[round] += hit;
			pattern[round] |= hit << i;
		}
	}
	ok(hits[0] > 2 && hits[0] < 20 && pattern[0] == pattern[1],
		"percent with a seed is the same each time");
	set_rules(rules, "");
	s->driver->get(s, "r/1", 0, p, 4, NULL);
	set_rules(rules, "get flip");
	ok(s->driver->get(s, "r/1", 0, q, 4, NULL) == 0 && memcmp(p, q, 4), "flip");
	unlink(rules);
	ok(s->driver->get(s, "r/1", 0, q, 4, NULL) == 0 && !memcmp(p, q, 4), "no file, no rules");
}

static void check_urls(void)
{
	struct object_store *s = NULL;
	struct err e = ERR_INIT;
	char url[512], path[512];
	struct stat st;

	ok(object_store_open("file:", root, NULL, &s, &e) == 0, "file: is a directory in the data directory");
	object_store_free(s);
	snprintf(path, sizeof(path), "%s/objects", root);
	ok(stat(path, &st) == 0 && S_ISDIR(st.st_mode), "which is made");
	snprintf(url, sizeof(url), "file://%s/else/where", root);
	ok(object_store_open(url, "/nonexistent", NULL, &s, &e) == 0 && put(s, "x", 1, 1, NULL) == 0,
		"file:///dir");
	object_store_free(s);
	snprintf(url, sizeof(url), "fault:%s/rules2:file:", root);
	ok(object_store_open(url, root, NULL, &s, &e) == 0 && !strcmp(s->driver->scheme, "fault"),
		"fault:RULES:file:");
	object_store_free(s);
	ok(object_store_open("ftp://bucket", root, NULL, &s, &e) < 0 && e.code == ERR_NOT_BUILT && *e.hint,
		"no driver for ftp:");
	ok(object_store_open("file://host/dir", root, NULL, &s, &e) < 0 && e.code == ERR_INVALID_ARGUMENT,
		"no hosts");
	ok(object_store_open("file:dir", root, NULL, &s, &e) < 0 && e.code == ERR_INVALID_ARGUMENT,
		"no relative paths");
	ok(object_store_open("fault:x", root, NULL, &s, &e) < 0 && e.code == ERR_INVALID_ARGUMENT,
		"fault: with one part");
	ok(object_store_open("fault:x:fault:y:file:", root, NULL, &s, &e) < 0, "fault: inside fault:");
	snprintf(url, sizeof(url), "file://%s/objects/../rules", root);
	set_rules(strstr(url, root), "not a rule\n");
	snprintf(url, sizeof(url), "fault:%s/rules:file:", root);
	ok(object_store_open(url, root, NULL, &s, &e) < 0 && strstr(e.text, "rules:1"),
		"broken rules are named at open");
	object_store_free(NULL);
}

int main(void)
{
	struct object_store *s = NULL, *inner = NULL;
	char dir[256], rules[256];

	if (!mkdtemp(root))
		return 1;
	atexit(clean_up);
	check_names();
	snprintf(dir, sizeof(dir), "%s/plain", root);
	if (object_dir_open(dir, &s, NULL) < 0)
		return 1;
	check_contract(s, "directory");
	check_race(s);
	check_kill(s);
	leftovers(dir);
	check_folder_gone(s, dir);
	object_store_free(s);
	snprintf(dir, sizeof(dir), "%s/failing", root);
	if (object_dir_open(dir, &s, NULL) < 0)
		return 1;
	check_failures(s, dir);
	check_leftovers(dir);
	object_store_free(s);
	snprintf(dir, sizeof(dir), "%s/wrapped", root);
	snprintf(rules, sizeof(rules), "%s/wrapped.rules", root);
	if (object_dir_open(dir, &inner, NULL) < 0 || object_fault_open(inner, rules, &s, NULL) < 0)
		return 1;
	check_contract(s, "fault");
	check_verified(s, rules);
	check_rules(s, rules);
	object_store_free(s);
	check_urls();
	return done_testing();
}
