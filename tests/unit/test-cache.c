/* SPDX-License-Identifier: Apache-2.0 */
/* The store's cache: what it finds, what goes first, what survives a restart, and what a full disk does. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "daemon/store/cache.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "tests/unit/tap.h"

enum { ENTRY_BYTES = 10000, ENTRY_SPACE = 12288 /* with trailer, in blocks */ };
static char root[] = "/tmp/test-cache-XXXXXX";
static int files; /* in the last count */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int count_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)path, (void)st, (void)ftw;
	files += flag == FTW_F;
	return 0;
}

static int count_files(const char *dir)
{
	files = 0;
	nftw(dir, count_one, 16, FTW_PHYS);
	return files;
}

static char byte_at(const char *object, uint64_t position)
{
	return (char)(object[strlen(object) - 1] * 7 + position % 251);
}

static struct cache *open_cache(const char *dir, uint64_t max_bytes)
{
	struct cache *c = NULL;
	struct err e = ERR_INIT;

	if (cache_open(dir, max_bytes, &c, &e) < 0) {
		printf("Bail out! %s\n", e.text);
		exit(1);
	}
	return c;
}

static void fill_bytes(struct cache_fill *f, const char *object, uint64_t start, uint64_t length)
{
	char *p = mem_alloc(length);

	for (uint64_t i = 0; i < length; i++)
		p[i] = byte_at(object, start + i);
	if (disk_pwrite(f->fd, p, length, 0, NULL) < 0 || cache_fill_seal(f, length, NULL) < 0)
		abort();
	mem_free(p);
}

/* Make an entry; returns a descriptor of its file as lent out. */
static int add(struct cache *c, const char *object, uint64_t start, uint64_t length)
{
	struct cache_fill f;
	int fd;

	if (cache_fill_begin(c, &f, length, NULL) < 0)
		abort();
	fill_bytes(&f, object, start, length);
	cache_fill_commit(c, &f, object, start);
	fd = f.read_fd;
	f.read_fd = -1;
	cache_fill_release(c, &f);
	return fd;
}

static void put(struct cache *c, const char *object, uint64_t start, uint64_t length)
{
	close(add(c, object, start, length));
}

/* Whether fd has the object's bytes from `offset` on at position. */
static bool has(int fd, const char *object, uint64_t position, uint64_t offset, uint64_t length)
{
	char *p = mem_alloc(length);
	bool good = disk_pread(fd, p, length, (int64_t)position, NULL) == 0;

	for (uint64_t i = 0; good && i < length; i++)
		good = p[i] == byte_at(object, offset + i);
	mem_free(p);
	return good;
}

static bool find(struct cache *c, const char *object, uint64_t offset, uint64_t length)
{
	struct cache_hit hit;
	bool good;

	if (!cache_find(c, object, offset, length, &hit))
		return false;
	good = has(hit.fd, object, offset - hit.start, offset, length) &&
	       (fcntl(hit.fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
	close(hit.fd);
	return good;
}

static bool present(struct cache *c, const char *object)
{
	return cache_find(c, object, 0, 1, NULL);
}

static void check_lookup(void)
{
	char *dir = mem_printf("%s/lookup", root);
	struct cache *c = open_cache(dir, 1 << 20);

	ok(!find(c, "s/a", 0, 1), "an empty cache holds nothing");
	put(c, "s/a", 0, ENTRY_BYTES);
	put(c, "s/b", 4096, ENTRY_BYTES);
	put(c, "s/b", 100000, ENTRY_BYTES);
	ok(find(c, "s/a", 0, ENTRY_BYTES) && find(c, "s/a", 5000, 1) && find(c, "s/a", ENTRY_BYTES - 1, 1),
		"an entry answers for what lies in it");
	ok(!find(c, "s/a", ENTRY_BYTES - 1, 2) && !find(c, "s/a", ENTRY_BYTES, 1),
		"not for what lies behind");
	ok(!find(c, "s/b", 4095, 2) && find(c, "s/b", 4096, 2), "nor for what lies before");
	ok(find(c, "s/b", 100001, 10) && !find(c, "s/b", 50000, 10), "of several the right one");
	ok(!find(c, "s/c", 0, 1) && !find(c, "s", 0, 1), "other objects are not there");
	ok(!cache_find(c, "s/a", UINT64_MAX, 2, NULL) && !cache_find(c, "s/a", 2, UINT64_MAX, NULL),
		"numbers that overflow find nothing");
	is_int((long long)cache_bytes(c), 3 * ENTRY_SPACE, "the bytes are those on disk");
	put(c, "s/a", 0, ENTRY_BYTES);
	is_int((long long)cache_bytes(c), 3 * ENTRY_SPACE, "the same entry again replaces");
	cache_drop(c, "s/a", 0, ENTRY_BYTES + 1);
	ok(present(c, "s/a"), "drop names an entry exactly");
	cache_drop(c, "s/a", 0, ENTRY_BYTES);
	ok(!present(c, "s/a") && count_files(dir) == 2, "and removes its file");
	cache_drop_range(c, "s/b", 105000, 1);
	ok(!find(c, "s/b", 100000, 1) && find(c, "s/b", 4096, 1), "a range drops what it touches");
	put(c, "s/b", 0, 100);
	cache_drop_range(c, "s/b", 0, UINT64_MAX);
	ok(!present(c, "s/b") && count_files(dir) == 0 && cache_bytes(c) == 0, "or all of an object");
	put(c, "s/d", 0, 100);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	ok(!find(c, "s/d", 0, 1) && cache_bytes(c) == 0, "a file that somebody deleted is forgotten");
	cache_free(c);
	mem_free(dir);
}

static void check_order(void)
{
	char *dir = mem_printf("%s/order", root);
	struct cache *c = open_cache(dir, 4 * ENTRY_SPACE);
	struct cache_fill f;
	int lent;

	lent = add(c, "s/a", 0, ENTRY_BYTES);
	put(c, "s/b", 0, ENTRY_BYTES);
	put(c, "s/c", 0, ENTRY_BYTES);
	put(c, "s/d", 0, ENTRY_BYTES);
	ok(find(c, "s/a", 0, 10), "all four fit");
	put(c, "s/e", 0, ENTRY_BYTES);
	ok(!present(c, "s/b") && present(c, "s/a") && present(c, "s/c"),
		"the least recently used goes first");
	put(c, "s/f", 0, ENTRY_BYTES);
	put(c, "s/g", 0, ENTRY_BYTES);
	put(c, "s/h", 0, ENTRY_BYTES);
	ok(!present(c, "s/a"), "then the others");
	ok(has(lent, "s/a", 0, 0, ENTRY_BYTES), "a descriptor that was lent out outlives its entry");
	close(lent);
	is_int(count_files(dir), 4, "four files");
	ok(cache_bytes(c) <= 4 * ENTRY_SPACE, "within the limit");
	if (cache_fill_begin(c, &f, 2 * ENTRY_BYTES, NULL) < 0)
		abort();
	ok(cache_bytes(c) <= 4 * ENTRY_SPACE && present(c, "s/g") && !present(c, "s/e"),
		"a fill has its room made before");
	cache_fill_release(c, &f);
	is_int(count_files(dir), 2, "one that is given up leaves nothing");
	put(c, "s/x", 0, 100 * ENTRY_BYTES);
	ok(!present(c, "s/x") && cache_bytes(c) == 0, "what is larger than the cache is not kept");
	lent = add(c, "s/x", 0, 100 * ENTRY_BYTES);
	ok(has(lent, "s/x", 0, 0, 100 * ENTRY_BYTES), "but can be lent out");
	close(lent);
	cache_set_max(c, 10 * ENTRY_SPACE);
	for (int i = 0; i < 10; i++)
		put(c, "s/y", (uint64_t)i * ENTRY_BYTES, ENTRY_BYTES);
	is_int(count_files(dir), 10, "a larger limit holds more");
	cache_set_max(c, 3 * ENTRY_SPACE);
	ok(count_files(dir) == 3 && find(c, "s/y", 9 * ENTRY_BYTES, 1), "a smaller one evicts at once");
	cache_set_max(c, 0);
	is_int(count_files(dir), 0, "down to nothing");
	lent = add(c, "s/z", 0, ENTRY_BYTES);
	ok(has(lent, "s/z", 0, 0, ENTRY_BYTES) && count_files(dir) == 0, "a cache of no size still serves");
	close(lent);
	cache_free(c);
	mem_free(dir);
}

/* Change the only file in the cache: at position, or its length when position is -1. */
static off_t damage_at;
static int damage_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	int fd;
	char c;

	(void)ftw;
	if (flag != FTW_F)
		return 0;
	fd = open(path, O_RDWR);
	if (damage_at < 0) {
		if (ftruncate(fd, st->st_size - 1) < 0)
			abort();
	} else if (pread(fd, &c, 1, damage_at) == 1) {
		c ^= 1;
		if (pwrite(fd, &c, 1, damage_at) != 1)
			abort();
	}
	close(fd);
	return 0;
}

static void damage(const char *dir, off_t at)
{
	damage_at = at;
	nftw(dir, damage_one, 16, FTW_PHYS);
}

static void check_restart(void)
{
	static const off_t places[] = {
		0, ENTRY_BYTES - 1, ENTRY_BYTES + 8, ENTRY_BYTES + 16, ENTRY_BYTES + 20};
	char *dir = mem_printf("%s/restart", root), *stray = mem_printf("%s/restart/tmp/stray", root);
	struct cache *c = open_cache(dir, 1 << 20);
	struct cache_hit hit;

	put(c, "segments/3f/01-x.seg", 4 << 20, ENTRY_BYTES);
	ok(cache_find(c, "segments/3f/01-x.seg", 4 << 20, 1, &hit) && hit.checked,
		"what was just filled needs no check");
	close(hit.fd);
	cache_free(c);
	close(open(stray, O_CREAT | O_WRONLY, 0600));
	c = open_cache(dir, 1 << 20);
	is_int(count_files(dir), 1, "a restart removes what was being filled");
	ok(cache_find(c, "segments/3f/01-x.seg", (4 << 20) + 5, 9, &hit) && !hit.checked &&
			hit.start == 4 << 20 && hit.length == ENTRY_BYTES,
		"and keeps the rest, to be checked");
	ok(cache_check(hit.fd, hit.length, NULL) == 0, "which is good");
	close(hit.fd);
	cache_checked(c, "segments/3f/01-x.seg", 4 << 20, ENTRY_BYTES);
	ok(cache_find(c, "segments/3f/01-x.seg", 4 << 20, 1, &hit) && hit.checked, "once is enough");
	close(hit.fd);
	for (size_t i = 0; i < array_count(places); i++) {
		cache_free(c);
		damage(dir, places[i]);
		c = open_cache(dir, 1 << 20);
		ok(cache_find(c, "segments/3f/01-x.seg", 4 << 20, 1, &hit) &&
				cache_check(hit.fd, hit.length, NULL) < 0,
			"damage at byte %d is seen", (int)places[i]);
		close(hit.fd);
		damage(dir, places[i]); /* back */
	}
	cache_free(c);
	damage(dir, -1);
	c = open_cache(dir, 1 << 20);
	ok(!present(c, "segments/3f/01-x.seg") && count_files(dir) == 0,
		"a file of another length is removed");
	cache_free(c);
	mem_free(stray);
	mem_free(dir);
}

static void check_restart_order(void)
{
	char *dir = mem_printf("%s/reorder", root), *foreign = mem_printf("%s/reorder/00", root), *other,
	     *object;
	struct cache *c = open_cache(dir, 1 << 20);
	struct cache_hit hit;

	for (int i = 0; i < 6; i++) {
		char name[8] = {'s', '/', (char)('a' + i), '\0'};

		put(c, name, 0, ENTRY_BYTES);
		if (!cache_find(c, name, 0, 1, &hit))
			abort();
		futimens(hit.fd, (struct timespec[2]){{1000 + i, 0}, {1000 + i, 0}});
		close(hit.fd);
	}
	cache_free(c);
	mkdir(foreign, 0700);
	other = mem_printf("%s/note,1,zz", foreign);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	c = open_cache(dir, 3 * ENTRY_SPACE);
	ok(!present(c, "s/c") && present(c, "s/d") && present(c, "s/f"), "a smaller cache keeps the newest");
	ok(count_files(dir) == 4 && access(other, F_OK) == 0, "a file that is not ours is left alone");
	object = mem_alloc(201);
	memset(object, 'x', 200);
	object[200] = '\0';
	put(c, object, INT64_MAX - 100000, 100);
	cache_free(c);
	c = open_cache(dir, 3 * ENTRY_SPACE);
	ok(cache_find(c, object, INT64_MAX - 100000, 100, NULL),
		"the longest name and a large number survive, too");
	cache_free(c);
	mem_free(object);
	mem_free(other);
	mem_free(foreign);
	mem_free(dir);
}

static void check_memory(void)
{
	char *dir = mem_printf("%s/memory", root);
	struct cache *c = open_cache(dir, 1 << 20);
	struct cache_hit hit = {.fd = -1};
	struct cache_fill f, g;
	struct err e = ERR_INIT;
	int kept;

	ok(cache_fill_begin_memory(c, &f, ENTRY_BYTES, &e) == 0 && f.memory, "memory in the place of a file");
	fill_bytes(&f, "s/m", 0, ENTRY_BYTES);
	cache_fill_commit(c, &f, "s/m", 0);
	ok(has(f.read_fd, "s/m", 0, 0, ENTRY_BYTES) && (fcntl(f.read_fd, F_GETFL) & O_ACCMODE) == O_RDONLY,
		"can be lent out, read-only");
	ok(cache_find(c, "s/m", 0, ENTRY_BYTES, &hit) && hit.checked && has(hit.fd, "s/m", 0, 0, ENTRY_BYTES) && cache_in_memory(c),
		"and found again");
	fd_close(&hit.fd);
	is_int((long long)cache_bytes(c), 0, "it is no file");
	ok(cache_fill_begin_memory(c, &g, 192 << 20, &e) < 0 && e.code == ERR_NO_SPACE, "it has a limit");
	cache_fill_release(c, &f);
	ok(cache_fill_begin_memory(c, &g, 192 << 20, &e) == 0 && !present(c, "s/m"),
		"that counts what is in use, and for which what was kept goes");
	cache_fill_release(c, &g);
	for (int i = 0; i < 20; i++) {
		cache_fill_begin_memory(c, &f, 4 << 20, &e);
		fill_bytes(&f, "s/n", (uint64_t)i * (4 << 20), 4 << 20);
		cache_fill_commit(c, &f, "s/n", (uint64_t)i * (4 << 20));
		cache_fill_release(c, &f);
	}
	kept = 0;
	for (int i = 0; i < 20; i++)
		kept += cache_find(c, "s/n", (uint64_t)i * (4 << 20), 4 << 20, NULL);
	ok(kept == 12 && cache_find(c, "s/n", 19u * (4 << 20), 4 << 20, NULL), "48 MiB of it stay, the newest");
	ok(cache_fill_begin_memory(c, &g, 192 << 20, &e) == 0, "and go when they are in the way");
	cache_fill_release(c, &g);
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	ok(cache_fill_begin(c, &f, 100, &e) == 0 && f.memory, "without its directory it goes on in memory");
	cache_fill_release(c, &f);
	ok(!cache_evict(c, 1), "nothing to evict in an empty cache");
	cache_free(c);
	cache_free(NULL);
	mem_free(dir);
}

int main(void)
{
	if (!mkdtemp(root))
		return 1;
	atexit(clean_up);
	check_lookup();
	check_order();
	check_restart();
	check_restart_order();
	check_memory();
	return done_testing();
}
