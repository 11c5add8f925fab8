/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any object store, for shell tests. Settings come from the environment, as offline commands take them.
 *
 *	object-tool URL put NAME FILE          object_put_verified()
 *	object-tool URL put-once NAME FILE     the driver's put
 *	object-tool URL get NAME OFFSET BYTES  to stdout
 *	object-tool URL size NAME
 *	object-tool URL remove NAME
 *	object-tool URL list [PREFIX]          names and sizes
 *	object-tool URL prepare
 *	object-tool URL request METHOD KEY|- [NAME=VALUE...] [Header:value...] [<FILE]   S3 only: signed, not
 *tried again; the answer to stdout object-tool URL bench FILE N           writes and reads N copies; MB/s
 *	object-tool URL fill NAME FILE N       N copies, NAME-0 and so on
 *	object-tool URL race NAME FILE N       N threads put at once; prints how many won
 *
 * A failure prints the code's name and the text, and exits with 1.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"
#include "libsh/store/object_s3.h"

enum { THREADS_MAX = 32, COUNT_MAX = 10000, GET_MAX = 256 << 20, BENCH_GET_BYTES = 4 << 20 };

static int fail(const struct err *e)
{
	printf("%s: %s%s%s\n", err_name(e->code), e->text, *e->hint ? "; " : "", e->hint);
	return 1;
}

static int open_file(const char *path, uint64_t *bytes)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		exit(2);
	}
	*bytes = (uint64_t)st.st_size;
	return fd;
}

static int put(struct object_store *s, const char *name, const char *path, bool verified, struct err *e)
{
	uint64_t bytes;
	int fd = open_file(path, &bytes), result;

	result =
		verified ? object_put_verified(s, name, fd, bytes, e) : s->driver->put(s, name, fd, bytes, e);
	close(fd);
	return result;
}

static int get(struct object_store *s, const char *name, const char *offset, const char *bytes, struct err *e)
{
	size_t n = strtoull(bytes, NULL, 10);
	char *p;
	int result;

	if (n > GET_MAX)
		return err_set(e, ERR_TOO_LARGE, "at most %d bytes", GET_MAX);
	p = mem_alloc(n + 1);
	result = s->driver->get(s, name, strtoull(offset, NULL, 10), p, n, e);
	if (result == 0)
		fwrite(p, 1, n, stdout);
	mem_free(p);
	return result;
}

static int print_object(void *ctx, const struct object_info *o)
{
	(void)ctx;
	printf("%s %llu%s\n", o->name, (unsigned long long)o->bytes,
		o->modified_ms > 0 ? "" : " without a time");
	return 0;
}

static int request(struct object_store *s, char **argv, struct err *e)
{
	struct object_s3_call call = {.method = argv[0], .key = strcmp(argv[1], "-") ? argv[1] : NULL};
	struct object_s3_answer a;
	int result;

	for (argv += 2; *argv; argv++) {
		char *at = *argv + strcspn(*argv, "=:");
		bool header = *at == ':';

		if (**argv == '<') {
			call.fd = open_file(*argv + 1, &call.body_bytes);
			call.has_body = true;
			continue;
		}
		if (*at)
			*at++ = '\0';
		if (header && call.header_count < array_count(call.headers))
			call.headers[call.header_count++] = (struct sigv4_pair){*argv, at};
		else if (call.query_count < array_count(call.query))
			call.query[call.query_count++] = (struct sigv4_pair){*argv, at};
	}
	if (!call.has_body && (!strcmp(call.method, "PUT") || !strcmp(call.method, "POST"))) {
		call.has_body = true;
		call.body = "";
	}
	result = object_s3_do(object_s3_of(s), &call, &a, e);
	if (a.body.len)
		fwrite(a.body.data, 1, a.body.len, stdout);
	object_s3_answer_release(&a);
	return result;
}

static int bench(struct object_store *s, const char *path, int count, struct err *e)
{
	uint64_t bytes, stored;
	int fd = open_file(path, &bytes), result = 0;
	int64_t start = clock_mono_ms(), put_ms, get_ms;
	char *p = mem_alloc(BENCH_GET_BYTES), name[64];

	for (int i = 0; i < count && result == 0; i++) {
		snprintf(name, sizeof(name), "bench/%d-%d", (int)getpid(), i);
		result = object_put_verified(s, name, fd, bytes, e);
	}
	put_ms = clock_mono_ms() - start + 1;
	start = clock_mono_ms();
	for (int i = 0; i < count && result == 0; i++) {
		snprintf(name, sizeof(name), "bench/%d-%d", (int)getpid(), i);
		for (uint64_t at = 0; at < bytes && result == 0; at += BENCH_GET_BYTES)
			result = s->driver->get(s, name, at, p,
				bytes - at < BENCH_GET_BYTES ? (size_t)(bytes - at) : BENCH_GET_BYTES, e);
	}
	get_ms = clock_mono_ms() - start + 1;
	start = clock_mono_ms();
	for (int i = 0; i < count && result == 0; i++) {
		snprintf(name, sizeof(name), "bench/%d-%d", (int)getpid(), i);
		result = s->driver->size(s, name, &stored, e);
		if (result == 0)
			result = s->driver->remove(s, name, e);
	}
	if (result == 0)
		printf("put %.1f MB/s, %.2f ms each; get %.1f MB/s; head and delete %.2f ms each\n",
			(double)bytes * count / 1000 / (double)put_ms, (double)put_ms / count,
			(double)bytes * count / 1000 / (double)get_ms,
			(double)(clock_mono_ms() - start) / count);
	mem_free(p);
	close(fd);
	return result;
}

static int fill(struct object_store *s, const char *name, const char *path, int count, struct err *e)
{
	char full[OBJECT_NAME_MAX + 1];
	int result = 0;

	for (int i = 0; i < count && result == 0; i++) {
		snprintf(full, sizeof(full), "%s-%d", name, i);
		result = put(s, full, path, false, e);
	}
	return result;
}

struct racer {
	pthread_t thread;
	struct object_store *store;
	const char *name, *path;
	int result;
	struct err error;
};

static void *race_one(void *ctx)
{
	struct racer *r = ctx;

	r->result = put(r->store, r->name, r->path, false, &r->error);
	return NULL;
}

static int race(struct object_store *s, const char *name, const char *path, int count)
{
	struct racer racers[THREADS_MAX];
	int won = 0, exists = 0;

	for (int i = 0; i < count; i++) {
		racers[i] = (struct racer){.store = s, .name = name, .path = path, .error = ERR_INIT};
		if (pthread_create(&racers[i].thread, NULL, race_one, &racers[i]))
			abort();
	}
	for (int i = 0; i < count; i++) {
		pthread_join(racers[i].thread, NULL);
		won += racers[i].result == 0;
		exists += racers[i].result < 0 && racers[i].error.code == ERR_EXISTS;
	}
	printf("%d won, %d came late\n", won, exists);
	return 0;
}

static int run(struct object_store *s, const char *what, int argc, char **argv, struct err *e)
{
	uint64_t bytes;
	int result = -1;

	if (!strcmp(what, "put") && argc == 2)
		return put(s, argv[0], argv[1], true, e);
	if (!strcmp(what, "put-once") && argc == 2)
		return put(s, argv[0], argv[1], false, e);
	if (!strcmp(what, "get") && argc == 3)
		return get(s, argv[0], argv[1], argv[2], e);
	if (!strcmp(what, "size") && argc == 1) {
		result = s->driver->size(s, argv[0], &bytes, e);
		if (result == 0)
			printf("%llu\n", (unsigned long long)bytes);
		return result;
	}
	if (!strcmp(what, "remove") && argc == 1)
		return s->driver->remove(s, argv[0], e);
	if (!strcmp(what, "list") && argc <= 1)
		return s->driver->list(s, argc ? argv[0] : "", print_object, NULL, e);
	if (!strcmp(what, "prepare") && !argc)
		return object_store_prepare(s, e);
	if (!strcmp(what, "request") && argc >= 2 && !strcmp(s->driver->scheme, "s3"))
		return request(s, argv, e);
	if (!strcmp(what, "bench") && argc == 2 && atoi(argv[1]) > 0 && atoi(argv[1]) <= COUNT_MAX)
		return bench(s, argv[0], atoi(argv[1]), e);
	if (!strcmp(what, "fill") && argc == 3 && atoi(argv[2]) > 0 && atoi(argv[2]) <= COUNT_MAX)
		return fill(s, argv[0], argv[1], atoi(argv[2]), e);
	if (!strcmp(what, "race") && argc == 3 && atoi(argv[2]) > 0 && atoi(argv[2]) <= THREADS_MAX)
		return race(s, argv[0], argv[1], atoi(argv[2]));
	return err_set(e, ERR_USAGE, "object-tool does not know %s so", what);
}

int main(int argc, char **argv)
{
	struct object_store *s = NULL;
	struct err e = ERR_INIT;
	int status = 0;

	if (argc < 3)
		return 2;
	if (object_store_open(argv[1], ".", NULL, &s, &e) < 0 || run(s, argv[2], argc - 3, argv + 3, &e) < 0)
		status = fail(&e);
	object_store_free(s);
	return status;
}
