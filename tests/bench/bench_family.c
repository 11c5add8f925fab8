/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-family: what shell is too slow for.
 *
 *	start [-c] [-k] SHD DATA TOPIC [ARG...]
 *		milliseconds from exec of shd to the first acknowledgement at level wal; -c: the topic is made
 *first, in that time; -k: killed at the end, all of it, with SIGKILL agent SHD DATA TOPIC [ARG...]
 *		milliseconds from the kill -9 of the agent to the next acknowledgement
 *	load PORT-FILE TOPIC PARTITIONS REQUESTS
 *		one batch of 10 records a request, over 16 connections
 *	read FILE...
 *		milliseconds to read the files with O_DIRECT
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/mem.h"
#include "libsh/format/batch.h"
#include "tests/bench/bench.h"
#include "tests/helper/mini_http.h"

enum { CONNECTIONS = 16, BATCH_RECORDS = 10, CALL_TIMEOUT_MS = 60000, RETRY_US = 100, READ_BYTES = 4 << 20 };

static const char text_type[] = "Content-Type: text/plain\r\n",
		  batch_type[] = "Content-Type: application/vnd.streamhouse.batch\r\n";

/* ---- a family of our own ---- */

struct family {
	pid_t pid;
	int64_t started_ns;
	char *port_file, *records;
	struct mini_http http;
};

static void launch(struct family *f, char **argv)
{
	const char *data = argv[1], *topic = argv[2];
	char *listen[] = {argv[0], "-D", argv[1], "-O", "http.listen=127.0.0.1:0", "-O", "log.level=error"};
	size_t fixed = sizeof(listen) / sizeof(*listen), more = 0;
	char **arguments;

	while (argv[3 + more])
		more++;
	arguments = mem_array(fixed + more + 1, sizeof(*arguments));
	memcpy(arguments, listen, sizeof(listen));
	memcpy(arguments + fixed, argv + 3, (more + 1) * sizeof(*arguments));
	f->port_file = mem_printf("%s/run/http.port", data);
	f->records = mem_printf("/api/v1/topics/%s/records", topic);
	unlink(f->port_file); /* of the run before */
	mini_http_init(&f->http, f->port_file, CALL_TIMEOUT_MS);
	f->started_ns = bench_now_ns();
	f->pid = fork();
	if (f->pid < 0)
		bench_die("fork");
	if (f->pid == 0) {
		execv(arguments[0], arguments);
		bench_die(arguments[0]);
	}
	mem_free(arguments);
}

/* Until it is answered 2xx; a role that is not there yet may make it 503. */
static void insist(struct family *f, const char *path, const char *type, const char *body)
{
	for (;;) {
		int status = mini_http_call(&f->http, "POST", path, type, body, strlen(body));

		if (status >= 200 && status < 300)
			return;
		if (status > 0 && status != 503 && status != 429) {
			fprintf(stderr, "bench: %s was answered %d: %s\n", path, status, f->http.body);
			kill(f->pid, SIGKILL);
			exit(1);
		}
		if (waitpid(f->pid, NULL, WNOHANG) == f->pid) {
			fprintf(stderr, "bench: shd ended\n");
			exit(1);
		}
		usleep(RETRY_US);
	}
}

static void acknowledged(struct family *f)
{
	insist(f, f->records, text_type, "a record\n");
}

static void make_topic(struct family *f, const char *name)
{
	char *body = mem_printf("{\"name\":\"%s\",\"partitions\":1}", name);

	insist(f, "/api/v1/topics", "Content-Type: application/json\r\n", body);
	mem_free(body);
}

/* A child of the supervisor, by the name of its program; or 0. */
static pid_t find_child(pid_t parent, const char *name)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	pid_t found = 0;

	while (proc && !found && (d = readdir(proc))) {
		char path[300], comm[64] = "", state;
		int of = 0;
		FILE *stat;

		snprintf(path, sizeof(path), "/proc/%s/stat", d->d_name);
		if (d->d_name[0] < '0' || d->d_name[0] > '9' || !(stat = fopen(path, "re")))
			continue;
		if (fscanf(stat, "%*d (%63[^)]) %c %d", comm, &state, &of) == 3 && of == parent &&
			(!name || !strcmp(comm, name)) && state != 'Z')
			found = (pid_t)atoi(d->d_name);
		fclose(stat);
	}
	if (proc)
		closedir(proc);
	return found;
}

static void end(struct family *f, bool killed)
{
	pid_t children[16];
	int count = 0;

	if (killed) {
		kill(f->pid, SIGSTOP); /* so that it starts none anew */
		while (count < 16 && (children[count] = find_child(f->pid, NULL))) {
			kill(children[count++], SIGKILL);
			while (find_child(f->pid, NULL) == children[count - 1])
				usleep(RETRY_US);
		}
	}
	kill(f->pid, killed ? SIGKILL : SIGTERM);
	waitpid(f->pid, NULL, 0);
	mini_http_release(&f->http);
	mem_free(f->port_file);
	mem_free(f->records);
}

static int run_start(int argc, char **argv)
{
	bool create = false, killed = false;
	struct family f;
	int option;

	while ((option = getopt(argc, argv, "+ck")) != -1) {
		create |= option == 'c';
		killed |= option == 'k';
	}
	launch(&f, argv + optind);
	if (create)
		make_topic(&f, argv[optind + 2]);
	acknowledged(&f);
	printf("%.1f\n", (double)(bench_now_ns() - f.started_ns) / 1e6);
	end(&f, killed);
	return 0;
}

static int run_agent(char **argv)
{
	struct family f;
	int64_t from;
	pid_t agent;

	launch(&f, argv);
	acknowledged(&f);
	agent = find_child(f.pid, "shd-agent");
	from = bench_now_ns();
	if (!agent || kill(agent, SIGKILL))
		bench_die("the agent");
	mini_http_close(&f.http);
	acknowledged(&f);
	printf("%.1f\n", (double)(bench_now_ns() - from) / 1e6);
	end(&f, false);
	return 0;
}

/* ---- load ---- */

struct load {
	const char *port_file, *topic;
	uint64_t partitions, requests, next;
	struct buf batch;
};

static void *send_batches(void *ctx)
{
	struct load *l = ctx;
	struct mini_http h;
	char path[512];
	uint64_t i;

	mini_http_init(&h, l->port_file, CALL_TIMEOUT_MS);
	while ((i = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED)) < l->requests) {
		int status;

		snprintf(path, sizeof(path), "/api/v1/topics/%s/records?partition=%llu", l->topic,
			(unsigned long long)(i % l->partitions));
		status = mini_http_call(&h, "POST", path, batch_type, l->batch.data, l->batch.len);
		if (status < 200 || status > 299) {
			fprintf(stderr, "bench: %s was answered %d: %s\n", path, status,
				status > 0 ? h.body : "");
			exit(1);
		}
	}
	mini_http_release(&h);
	return NULL;
}

static void make_batch(struct buf *out)
{
	struct batch_writer w;
	char value[100];

	memset(value, 'v', sizeof(value));
	buf_init(out, BATCH_MAX_BYTES);
	batch_writer_init(&w, CODEC_NONE, BATCH_MAX_BYTES);
	for (int i = 0; i < BATCH_RECORDS; i++) {
		struct record r = {
			.timestamp = 1700000000000, .value = {(const uint8_t *)value, sizeof(value)}};

		if (batch_writer_add(&w, &r, NULL))
			abort();
	}
	if (batch_writer_finish(&w, out, NULL))
		abort();
	batch_writer_release(&w);
}

static int run_load(char **argv)
{
	struct load l = {.port_file = argv[0],
		.topic = argv[1],
		.partitions = bench_number(argv[2]),
		.requests = bench_number(argv[3])};
	pthread_t threads[CONNECTIONS];

	make_batch(&l.batch);
	for (int i = 0; i < CONNECTIONS; i++)
		if (pthread_create(&threads[i], NULL, send_batches, &l))
			bench_die("a thread");
	for (int i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);
	buf_release(&l.batch);
	return 0;
}

static int run_read(char **argv)
{
	int64_t from = bench_now_ns();
	void *p;

	if (posix_memalign(&p, 4096, READ_BYTES))
		bench_die("memory");
	for (; *argv; argv++) {
		int fd = open(*argv, O_RDONLY | O_DIRECT | O_CLOEXEC);
		ssize_t n;

		if (fd < 0)
			bench_die(*argv);
		while ((n = read(fd, p, READ_BYTES)) > 0)
			;
		if (n < 0)
			bench_die(*argv);
		close(fd);
	}
	free(p);
	printf("%.1f\n", (double)(bench_now_ns() - from) / 1e6);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(what, "start") && argc >= 5)
		return run_start(argc - 1, argv + 1);
	if (!strcmp(what, "agent") && argc >= 5)
		return run_agent(argv + 2);
	if (!strcmp(what, "load") && argc == 6)
		return run_load(argv + 2);
	if (!strcmp(what, "read") && argc >= 3)
		return run_read(argv + 2);
	fprintf(stderr, "usage: bench-family start|agent|load|read ...\n");
	return 2;
}
