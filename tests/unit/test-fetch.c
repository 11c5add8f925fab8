/* SPDX-License-Identifier: Apache-2.0 */
/* Bringing parts of objects into the cache: who shares a fetch, what is asked of the store, what happens when
 * things fail. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include "daemon/store/store.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/mem.h"
#include "tests/unit/tap.h"

enum { PART = STORE_PART_BYTES, OBJECT_BYTES = 2 * PART + PART / 2, MEGA = 1 << 20 };

static char root[] = "/tmp/test-fetch-XXXXXX";
static struct store_role role;
static struct loop *loop;
static int awaited;
static bool waiting;

/* This stands before the C library's: a disk that is full, which memory is not. */
static bool disk_full;

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
	struct stat st;

	if (disk_full && fstat(fd, &st) == 0 && st.st_nlink > 0) {
		errno = ENOSPC;
		return -1;
	}
	return syscall(SYS_pwritev, fd, iov, (long)count, (long)offset, 0L);
}

/* What the role's main file does. */
void store_idle_check(struct store_role *r)
{
	(void)r;
}

void store_count_error(struct store_role *r, const struct err *e)
{
	(void)e;
	r->counters.errors++;
}

void store_count_success(struct store_role *r)
{
	(void)r;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static void clean_up(void)
{
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char byte_at(uint64_t position)
{
	return (char)(position * 13 + position / 509);
}

static void put_object(const char *name)
{
	char *p = mem_alloc(OBJECT_BYTES);
	int fd;

	for (uint64_t i = 0; i < OBJECT_BYTES; i++)
		p[i] = byte_at(i);
	fd = fd_memory("object", p, OBJECT_BYTES, NULL);
	if (fd < 0 || role.objects->driver->put(role.objects, name, fd, OBJECT_BYTES, NULL) < 0)
		abort();
	close(fd);
	mem_free(p);
}

static void set_rules(const char *text)
{
	char *path = mem_printf("%s/rules", root), *other = mem_printf("%s/rules.new", root);
	FILE *f = fopen(other, "w");

	fputs(text, f);
	fclose(f);
	rename(other, path);
	mem_free(path);
	mem_free(other);
}

struct want {
	struct fetch_waiter waiter;
	bool done, good;
	struct err e;
};

static void wanted(struct fetch_waiter *w, int fd, uint64_t position, const struct err *e)
{
	struct want *want = container_of(w, struct want, waiter);
	char *p = mem_alloc(w->length);

	want->done = true;
	if (fd < 0)
		want->e = *e;
	else
		want->good = disk_pread(fd, p, w->length, (int64_t)position, NULL) == 0 &&
			     (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
	for (uint64_t i = 0; want->good && i < w->length; i++)
		want->good = p[i] == byte_at(w->offset + i);
	fd_close(&fd);
	mem_free(p);
	if (--awaited == 0 && waiting)
		loop_stop(loop, 0);
}

static void ask(struct want *w, const char *object, uint64_t offset, uint64_t length)
{
	*w = (struct want){
		.waiter = {.object_bytes = OBJECT_BYTES, .offset = offset, .length = length, .done = wanted}};
	snprintf(w->waiter.object, sizeof(w->waiter.object), "%s", object);
	awaited++;
	fetch_locate(&role, &w->waiter);
}

static void too_long(void *ctx)
{
	(void)ctx;
	printf("Bail out! nothing happened for 20 s\n");
	exit(1);
}

static void wait_all(void)
{
	struct timer t = {0};

	loop_timer_set(loop, &t, 20000, too_long, NULL);
	waiting = awaited > 0;
	if (waiting)
		loop_run(loop);
	waiting = false;
	loop_timer_cancel(loop, &t);
}

static void idle_look(void *ctx)
{
	if (!role.fetches.count)
		loop_stop(loop, 0);
	else
		loop_timer_set(loop, ctx, 2, idle_look, ctx);
}

static void wait_idle(void) /* for fetches that nobody waits for */
{
	struct timer t = {0}, limit = {0};

	loop_timer_set(loop, &limit, 20000, too_long, NULL);
	loop_timer_set(loop, &t, 0, idle_look, &t);
	loop_run(loop);
	loop_timer_cancel(loop, &limit);
}

static bool get(const char *object, uint64_t offset, uint64_t length, struct err *e)
{
	struct want w;

	ask(&w, object, offset, length);
	wait_all();
	if (e)
		*e = w.e;
	return w.good;
}

static void open_cache(const char *name, uint64_t max_bytes)
{
	char *dir = mem_printf("%s/%s", root, name);

	wait_idle();
	cache_free(role.cache);
	if (cache_open(dir, max_bytes, &role.cache, NULL) < 0)
		abort();
	memset(&role.counters, 0, sizeof(role.counters));
	mem_free(dir);
}

static void check_parts(void)
{
	struct want w[40];
	int good = 0;

	open_cache("parts", 64 * MEGA);
	for (int i = 0; i < 40; i++)
		ask(&w[i], "s/one", (uint64_t)i * 1000, 500);
	wait_all();
	for (int i = 0; i < 40; i++)
		good += w[i].good;
	is_int(good, 40, "forty want the same part, and get it");
	is_int((long long)role.counters.gets, 1, "from one request to the store");
	is_int((long long)role.counters.cache_misses, 40, "all missed");
	ok(get("s/one", PART - 1, 1, NULL) && role.counters.gets == 1 && role.counters.cache_hits == 1,
		"the rest of the part is there then");
	ok(get("s/one", 2 * PART, PART / 2, NULL) && role.counters.gets == 2, "the last part is shorter");
	ok(get("s/one", PART - 5, 10, NULL) && role.counters.gets == 3,
		"across two parts only what is missing is fetched");
	ok(get("s/one", 2 * PART - 5, 10, NULL) && role.counters.gets == 3, "nothing when both are there");
	ok(get("s/one", 2 * PART - 5, 10, NULL) && role.counters.cache_misses == 43, "and the copy is kept");
	ok(get("s/one", 100, PART + 1, NULL), "what is longer than a part is fetched as it is");
	is_int((long long)role.counters.get_bytes, OBJECT_BYTES + PART + 1, "the bytes are counted");
}

static void check_ahead(void)
{
	open_cache("ahead", 64 * MEGA);
	fetch_ahead(&role, "s/one", OBJECT_BYTES, 100, OBJECT_BYTES);
	fetch_ahead(&role, "s/one", OBJECT_BYTES, 200, OBJECT_BYTES);
	wait_idle();
	ok(role.counters.gets == 1 && cache_find(role.cache, "s/one", PART, PART, NULL),
		"the next part comes once");
	fetch_ahead(&role, "s/one", OBJECT_BYTES, 100, OBJECT_BYTES);
	fetch_ahead(&role, "s/one", OBJECT_BYTES, OBJECT_BYTES - 1, OBJECT_BYTES);
	wait_idle();
	is_int((long long)role.counters.gets, 1, "not again, and not past the end");
}

static void check_small(void)
{
	struct want w[3];

	open_cache("small", 2 * MEGA); /* less than a part */
	ask(&w[0], "s/one", 0, 100);
	ask(&w[1], "s/one", PART - 50, 100);
	ask(&w[2], "s/one", PART, PART);
	wait_all();
	ok(w[0].good && w[1].good && w[2].good, "a cache smaller than a part serves all");
	ok(cache_bytes(role.cache) <= 2 * MEGA, "and stays within its limit");
}

static void check_failures(void)
{
	struct err e = ERR_INIT;

	open_cache("failures", 64 * MEGA);
	set_rules("get unavailable times=1\n");
	ok(!get("s/one", 0, 10, &e) && e.code == ERR_UNAVAILABLE && role.counters.errors == 1,
		"the store's error is handed on");
	ok(get("s/one", 0, 10, NULL), "and forgotten: the next one asks again");
	set_rules("get io times=1\n");
	ok(!get("s/one", PART - 5, 10, &e) && e.code == ERR_IO, "half of a stretch is no stretch");
	ok(!get("s/two", 0, 10, &e) && e.code == ERR_NOT_FOUND, "what is not there is not found");
	ok(cache_bytes(role.cache) > 0, "good parts stay");
	set_rules("");
}

static int flip_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char c;
	int fd;

	(void)st, (void)ftw;
	if (flag == FTW_F) {
		fd = open(path, O_RDWR);
		if (pread(fd, &c, 1, 7) == 1) {
			c ^= 1;
			if (pwrite(fd, &c, 1, 7) != 1)
				abort();
		}
		close(fd);
	}
	return 0;
}

static void check_restart(void)
{
	char *dir = mem_printf("%s/restart", root);
	struct want w[3];

	open_cache("restart", 64 * MEGA);
	ok(get("s/one", 0, 10, NULL), "a part before a restart");
	open_cache("restart", 64 * MEGA);
	ask(&w[0], "s/one", 0, 100);
	ask(&w[1], "s/one", 1000, 100);
	ask(&w[2], "s/one", PART - 10, 20);
	wait_all();
	ok(w[0].good && w[1].good && w[2].good && role.counters.gets == 1 && role.counters.cache_hits == 2,
		"serves behind it, checked once");
	open_cache("restart", 64 * MEGA);
	nftw(dir, flip_one, 16, FTW_PHYS);
	ok(get("s/one", 0, 10, NULL) && role.counters.gets == 1,
		"a damaged one costs a fetch and nothing else");
	mem_free(dir);
}

static void check_full(void)
{
	uint64_t gets;

	open_cache("full", 64 * MEGA);
	ok(get("s/one", 2 * PART, 10, NULL), "something to give up");
	disk_full = true;
	ok(get("s/one", 0, 10, NULL) && get("s/one", PART - 5, 10, NULL),
		"with a full disk it serves from memory");
	is_int((long long)cache_bytes(role.cache), 0, "having given up what it had");
	gets = role.counters.gets;
	ok(get("s/one", 100, 10, NULL) && get("s/one", PART - 10, 10, NULL) && role.counters.gets == gets, "without another fetch of the same part");
	fetch_ahead(&role, "s/one", OBJECT_BYTES, 100, OBJECT_BYTES);
	ok(role.fetches.count == 0 && !fetch_may_guess(&role), "and without guesses");
	disk_full = false;
	ok(get("s/one", 2 * PART, 10, NULL) && cache_bytes(role.cache) > 0 && !cache_in_memory(role.cache),
		"and from files again later");
}

static void check_limit(void)
{
	struct want *w = mem_array(STORE_FETCHES + 10, sizeof(*w));
	int good = 0, refused = 0;

	open_cache("limit", 64 * MEGA);
	for (int i = 0; i < STORE_FETCHES + 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "none/%d", i);
		ask(&w[i], name, 0, 10);
	}
	wait_all();
	for (int i = 0; i < STORE_FETCHES + 10; i++) {
		good += w[i].e.code == ERR_NOT_FOUND;
		refused += w[i].e.code == ERR_BACK_PRESSURE;
	}
	ok(good == STORE_FETCHES && refused == 10, "more fetches than the limit are refused");
	mem_free(w);
}

int main(void)
{
	struct object_store *inner = NULL;
	char *dir, *rules;

	if (!mkdtemp(root))
		return 1;
	atexit(clean_up);
	dir = mem_printf("%s/objects", root);
	rules = mem_printf("%s/rules", root);
	loop = loop_new(NULL);
	role.io_pool = work_pool_new(loop, STORE_IO_THREADS, STORE_FETCHES, NULL);
	if (!role.io_pool || object_dir_open(dir, &inner, NULL) < 0 ||
		object_fault_open(inner, rules, &role.objects, NULL) < 0)
		return 1;
	put_object("s/one");
	check_parts();
	check_ahead();
	check_small();
	check_failures();
	check_restart();
	check_full();
	check_limit();
	wait_idle();
	work_pool_free(role.io_pool);
	cache_free(role.cache);
	object_store_free(role.objects);
	map_release(&role.fetches);
	loop_free(loop);
	mem_free(dir);
	mem_free(rules);
	return done_testing();
}
