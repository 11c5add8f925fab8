/* SPDX-License-Identifier: Apache-2.0 */
/* Files, descriptors and log lines, in a temporary directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/base/mem.h"
#include "tests/unit/tap.h"

static char *top;

static const char *path(const char *name)
{
	static char *last;

	mem_free(last);
	last = mem_printf("%s/%s", top, name);
	return last;
}

static void test_transfers(void)
{
	int fd = disk_open(path("data"), O_RDWR | O_CREAT, 0600, NULL);
	struct iovec iov[] = {{"", 0}, {"abc", 3}, {"", 0}, {"defg", 4}};
	struct err e = ERR_INIT;
	char back[16] = "";

	ok(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC), "descriptors are close-on-exec");
	ok(disk_pwritev(fd, iov, 4, 2, &e) == 0 && disk_sync(fd, &e) == 0, "pieces are written");
	ok(disk_size(fd, &e) == 9 && disk_pread(fd, back, 7, 2, &e) == 0, "and read back");
	is_str(back, "abcdefg", "in order");
	ok(disk_pread(fd, back, 8, 2, &e) < 0 && e.code == ERR_CORRUPT, "a file that ends early is damage");
	ok(strstr(e.text, "/data") != NULL, "and the error names the file");
	ok(disk_allocate(fd, 100000, &e) == 0 && disk_size(fd, &e) == 100000, "space is allocated");
	fd_close(&fd);
	is_int(fd, -1, "fd_close forgets the descriptor");
	fd = disk_open("/dev/full", O_WRONLY, 0, NULL);
	ok(fd_write_all(fd, "x", 1, &e) < 0 && e.code == ERR_NO_SPACE, "a full disk has its own code");
	fd_close(&fd);
	ok(disk_open(path("absent"), O_RDONLY, 0, &e) < 0 && e.code == ERR_NOT_FOUND, "absent is not found");
}

static void test_names(void)
{
	struct err e = ERR_INIT;
	char **names = NULL, *from;
	size_t count = 0;
	struct stat st;

	ok(disk_make_dirs(path("a/b//c/"), &e) == 0 && disk_exists(path("a/b/c")),
		"directories with their parents");
	ok(disk_make_dirs(path("a/b/c"), &e) == 0, "existing ones are fine");
	ok(stat(path("a"), &st) == 0 && (st.st_mode & 0777) == 0700, "they are private");
	disk_write_file(path("a/file"), "1", 1, 0644, &e);
	ok(disk_make_dirs(path("a/file/x"), &e) < 0, "a file is not a directory");
	from = mem_strdup(path("a/file"));
	ok(disk_rename(from, path("a/b/z"), &e) == 0 && !disk_exists(from), "a file is renamed");
	mem_free(from);
	disk_write_file(path("a/b/d"), "", 0, 0644, &e);
	ok(disk_list(path("a/b"), &names, &count, &e) == 0 && count == 3, "a directory is listed");
	ok(count == 3 && !strcmp(names[0], "c") && !strcmp(names[1], "d") && !strcmp(names[2], "z"),
		"sorted");
	disk_list_free(names, count);
	ok(disk_list(path("nowhere"), &names, &count, &e) < 0 && e.code == ERR_NOT_FOUND,
		"an absent one is not");
	ok(disk_unlink(path("a/b/z"), &e) == 0 && disk_unlink(path("a/b/z"), &e) == 0,
		"removing twice is fine");
}

static void test_whole_files(void)
{
	struct buf b = BUF_INIT(10);
	struct err e = ERR_INIT;

	ok(disk_write_file(path("whole"), "0123456789", 10, 0600, &e) == 0, "a file is written");
	ok(disk_write_file(path("whole"), "9876543210", 10, 0600, &e) == 0, "and replaced");
	ok(disk_read_file(path("whole"), &b, &e) == 0, "one as large as the cap is read");
	is_str(b.data, "9876543210", "with its new content");
	ok(!disk_exists(path("whole.tmp")), "nothing else is left");
	buf_reset(&b);
	disk_write_file(path("whole"), "0123456789a", 11, 0600, &e);
	ok(disk_read_file(path("whole"), &b, &e) < 0 && e.code == ERR_TOO_LARGE && !b.len,
		"a larger one is refused");
	ok(disk_read_file(path("absent"), &b, &e) < 0 && e.code == ERR_NOT_FOUND,
		"an absent one is not found");
	buf_release(&b);
}

static void test_lock(void)
{
	struct err e = ERR_INIT;
	int first = disk_lock(path("lock"), &e), second, third;

	ok(first >= 0, "a lock is taken");
	second = disk_lock(path("lock"), &e);
	ok(second < 0 && e.code == ERR_CONFLICT, "once only");
	fd_close(&first);
	third = disk_lock(path("lock"), &e);
	ok(third >= 0, "and again when it is free");
	fd_close(&third);
}

static void test_memory(void)
{
	struct err e = ERR_INIT;
	int fd = fd_memory("test", "bulk", 4, &e);
	char back[5] = "";

	ok(fd >= 0 && read(fd, back, sizeof(back)) == 4 && !strcmp(back, "bulk"),
		"memory is read from the start");
	ok(write(fd, "x", 1) < 0 && errno == EPERM, "and sealed");
	fd_close(&fd);
}

/* What one log call writes to stderr. */
static const char *logged(enum log_format format, const char *message)
{
	static char line[8192];
	int pipes[2], saved = dup(STDERR_FILENO);
	ssize_t n;

	if (pipe(pipes) < 0)
		return "";
	dup2(pipes[1], STDERR_FILENO);
	log_init("test", format, LOG_LEVEL_INFO);
	log_debug("not this");
	log_info("%s", message);
	dup2(saved, STDERR_FILENO);
	n = read(pipes[0], line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	close(pipes[0]);
	close(pipes[1]);
	close(saved);
	return line;
}

static void test_log(void)
{
	char *large = mem_alloc(10001);
	const char *line;
	enum log_level level;

	line = logged(LOG_FORMAT_TEXT, "a\nb\x1b[0m\xc2\x9b gr\xc3\xbcn");
	ok(strstr(line, " info test[") && strstr(line, "]: a\\nb\\x1b[0m\\u009b gr\xc3\xbcn\n"),
		"controls are escaped");
	line = logged(LOG_FORMAT_TEXT, "bad \xff\xc3");
	ok(strstr(line, "]: bad \\xff\\xc3\n") != NULL, "what is not UTF-8 is escaped");
	line = logged(LOG_FORMAT_JSON, "say \"\\\x01\"");
	ok(*line == '{' && strstr(line, "\"message\":\"say \\\"\\\\\\u0001\\\"\"}\n"), "a JSON line");
	memset(large, '\x01', 10000);
	large[10000] = '\0';
	line = logged(LOG_FORMAT_JSON, large);
	ok(strlen(line) <= 4096 && !strcmp(line + strlen(line) - 3, "\"}\n"),
		"a long line is cut and still whole");
	ok(log_level_parse("warn", &level) == 0 && level == LOG_LEVEL_WARN &&
			log_level_parse("x", &level) < 0,
		"levels have names");
	mem_free(large);
}

/* A pipe, or a socket, that is full and that nobody reads: lines are dropped, and counted in the first that finds room. */
static void test_log_unread(bool socket)
{
	static char text[1 << 20];
	int ends[2], saved = dup(STDERR_FILENO);
	const char *note;
	size_t got = 0;
	ssize_t n;

	if ((socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends)) < 0)
		exit(1);
	fd_set_nonblock(ends[0]);
	dup2(ends[1], STDERR_FILENO);
	log_init("test", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	for (int i = 0; i < 20000; i++) /* more than either holds; would never end if it waited */
		log_info("line %d", i);
	ok(!(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK), "the %s is as it was for others", socket ? "socket" : "pipe");
	while ((n = read(ends[0], text + got, sizeof(text) - 1 - got)) > 0)
		got += (size_t)n;
	ok(got && text[got - 1] == '\n' && !strstr(text, "line 19999\n"), "lines are dropped, whole ones");
	log_info("the reader is back");
	n = read(ends[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	note = strstr(text, " log lines were dropped here");
	ok(note && strstr(note, "the reader is back\n"), "their number is told when there is room again");
	log_info("and again");
	n = read(ends[0], text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	ok(!strstr(text, "dropped") && strstr(text, "and again\n"), "once");
	dup2(saved, STDERR_FILENO);
	log_init("test", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	close(ends[0]);
	close(ends[1]);
	close(saved);
}

int main(void)
{
	char template[] = "/tmp/test-disk-XXXXXX", *remove;

	top = mkdtemp(template);
	if (!top)
		return 1;
	test_transfers();
	test_names();
	test_whole_files();
	test_lock();
	test_memory();
	test_log();
	test_log_unread(false);
	test_log_unread(true);
	path("");
	remove = mem_printf("rm -rf '%s'", top);
	ok(system(remove) == 0, "the directory is removed");
	mem_free(remove);
	return done_testing();
}
