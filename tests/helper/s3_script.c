/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that answers by a script, for what a real S3 service cannot be made to do.
 *
 *	s3-script RULES PORT_FILE LOG [MINUTES]
 *
 * It listens on a free port of loopback, writes the port to PORT_FILE, and serves each connection with a
 *thread until it is killed or the minutes are over. Each request becomes lines in LOG: "METHOD TARGET", ">
 *name: value" for each header, "= N" for the length of its body.
 *
 * RULES is read again for each request. A rule is a line
 *	METHOD GLOB STATUS [times=N] [after=N] [header=Name:value]... [delay_ms=N] [close|hang] [short=N]
 *[body=TEXT | file=PATH] and the first that matches the method (or *) and the target, and is not used up,
 *decides. In TEXT and values + is a blank. "close" ends the connection after the request was read, without an
 *answer; "hang" never answers; short=N sends N bytes of the body less than were announced. Uses of a rule are
 *counted by its line's text, so a script may be rewritten as the test goes on. No rule: 404 NoSuchKey.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "libsh/base/buf.h"
#include "libsh/base/disk.h"
#include "libsh/base/map.h"
#include "libsh/base/mem.h"
#include "libsh/base/text.h"

enum { HEAD_MAX = 64 << 10, BODY_MAX = 64 << 20, RULES_MAX_BYTES = 1 << 20, HANG_S = 600, LINE_FIELDS = 32 };

static const char *rules_path;
static FILE *log_file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for the log and the counts */
static struct map uses = MAP_INIT;			 /* of a rule, by its text */

struct rule {
	const char *method, *glob;
	int status;
	long times, after, delay_ms, cut;
	bool close, hang;
	const char *headers[LINE_FIELDS];
	int header_count;
	struct buf body;
};

static char *plus_to_blank(char *text)
{
	for (char *c = text; *c; c++)
		if (*c == '+')
			*c = ' ';
	return text;
}

static void parse_word(struct rule *r, char *word)
{
	char *value = strchr(word, '=');

	if (!strcmp(word, "close"))
		r->close = true;
	else if (!strcmp(word, "hang"))
		r->hang = true;
	if (!value)
		return;
	*value++ = '\0';
	if (!strcmp(word, "times"))
		r->times = atol(value);
	else if (!strcmp(word, "after"))
		r->after = atol(value);
	else if (!strcmp(word, "delay_ms"))
		r->delay_ms = atol(value);
	else if (!strcmp(word, "short"))
		r->cut = atol(value);
	else if (!strcmp(word, "header") && r->header_count < LINE_FIELDS)
		r->headers[r->header_count++] = plus_to_blank(value);
	else if (!strcmp(word, "body"))
		buf_adds(&r->body, plus_to_blank(value));
	else if (!strcmp(word, "file") && disk_read_file(value, &r->body, NULL) < 0)
		fprintf(stderr, "s3-script: cannot read %s\n", value);
}

static bool parse_rule(struct rule *r, char *line)
{
	char *save = NULL, *word;

	*r = (struct rule){.times = -1, .body = BUF_INIT(BODY_MAX)};
	r->method = strtok_r(line, " ", &save);
	r->glob = strtok_r(NULL, " ", &save);
	word = strtok_r(NULL, " ", &save);
	if (!r->method || *r->method == '#' || !r->glob || !word)
		return false;
	r->status = atoi(word);
	while ((word = strtok_r(NULL, " ", &save)) != NULL)
		parse_word(r, word);
	return true;
}

/* Counts a use; false when the rule is used up, or not begun. */
static bool use(const char *text, const struct rule *r)
{
	long used;

	pthread_mutex_lock(&lock);
	used = (long)(intptr_t)map_gets(&uses, text);
	map_puts(&uses, text, (void *)(intptr_t)(used + 1));
	pthread_mutex_unlock(&lock);
	return used >= r->after && (r->times < 0 || used < r->after + r->times);
}

/* The rule for a request; the text that it points into is the caller's to free. */
static bool find_rule(const char *method, const char *target, struct rule *r, char **memory)
{
	struct buf text = BUF_INIT(RULES_MAX_BYTES);
	bool found = false;

	*memory = NULL;
	if (disk_read_file(rules_path, &text, NULL) < 0 || !text.data)
		return false;
	*memory = buf_detach(&text, NULL);
	for (char *next, *line = *memory; line && !found; line = next) {
		char *whole;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		whole = mem_strdup(line);
		if (parse_rule(r, line)) {
			found = (!strcmp(r->method, "*") || !strcmp(r->method, method)) &&
				text_glob(r->glob, target) && use(whole, r);
			if (!found)
				buf_release(&r->body);
		}
		mem_free(whole);
	}
	return found;
}

static bool send_all(int fd, const void *p, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		p = (const char *)p + sent;
		n -= (size_t)sent;
	}
	return true;
}

static bool answer(int fd, const char *method, struct rule *r)
{
	struct timespec delay = {r->delay_ms / 1000, r->delay_ms % 1000 * 1000000}, hang = {HANG_S, 0};
	struct buf head = BUF_INIT(HEAD_MAX);
	bool length = true, alive, body = strcmp(method, "HEAD") && r->status != 204;

	if (r->delay_ms)
		nanosleep(&delay, NULL);
	if (r->hang)
		nanosleep(&hang, NULL);
	if (r->close || r->hang)
		return false;
	buf_addf(&head, "HTTP/1.1 %d Scripted\r\n", r->status);
	for (int i = 0; i < r->header_count; i++) {
		buf_addf(&head, "%s\r\n", r->headers[i]);
		length = length && strncasecmp(r->headers[i], "content-length:", 15) != 0;
	}
	if (length && r->status != 204)
		buf_addf(&head, "Content-Length: %zu\r\n", r->body.len);
	buf_adds(&head, "\r\n");
	alive = send_all(fd, head.data, head.len);
	if (alive && body)
		alive = send_all(
			fd, r->body.data, (long)r->body.len > r->cut ? r->body.len - (size_t)r->cut : 0);
	buf_release(&head);
	return alive && !r->cut;
}

static bool read_more(int fd, struct buf *in)
{
	ssize_t n;

	if (buf_reserve(in, 16384) < 0)
		return false;
	n = recv(fd, in->data + in->len, 16384, 0);
	if (n <= 0)
		return false;
	buf_grew(in, (size_t)n);
	return true;
}

/* Writes the head to the log; returns the length of the body. */
static size_t log_head(char *head, char **method, char **target)
{
	char *save = NULL, *line = strtok_r(head, "\r\n", &save), *space;
	size_t length = 0;

	*method = line;
	space = strchr(line, ' ');
	*target = space ? space + 1 : line;
	if (space)
		*space = '\0';
	(*target)[strcspn(*target, " ")] = '\0';
	pthread_mutex_lock(&lock);
	fprintf(log_file, "%s %s\n", *method, *target);
	while ((line = strtok_r(NULL, "\r\n", &save)) != NULL) {
		fprintf(log_file, "> %s\n", line);
		if (!strncasecmp(line, "content-length:", 15))
			length = strtoul(line + 15, NULL, 10);
	}
	fprintf(log_file, "= %zu\n", length);
	fflush(log_file);
	pthread_mutex_unlock(&lock);
	return length;
}

static bool serve_one(int fd, struct buf *in)
{
	struct rule r;
	char *end, *method, *target, *memory;
	size_t head, length;
	bool alive;

	while (!in->data || !(end = strstr(in->data, "\r\n\r\n")))
		if (!read_more(fd, in))
			return false;
	head = (size_t)(end - in->data) + 4;
	*end = '\0';
	length = log_head(in->data, &method, &target);
	method = mem_strdup(method);
	target = mem_strdup(target);
	while (in->len < head + length)
		if (!read_more(fd, in))
			break;
	if (!find_rule(method, target, &r, &memory)) {
		r = (struct rule){.status = 404, .body = BUF_INIT(BODY_MAX)};
		buf_adds(&r.body, "<Error><Code>NoSuchKey</Code></Error>");
	}
	alive = in->len >= head + length && answer(fd, method, &r);
	if (alive)
		buf_consume(in, head + length);
	buf_release(&r.body);
	mem_free(memory);
	mem_free(method);
	mem_free(target);
	return alive;
}

static void *serve(void *ctx)
{
	int fd = (int)(intptr_t)ctx;
	struct buf in = BUF_INIT(BODY_MAX + HEAD_MAX);

	while (serve_one(fd, &in))
		;
	close(fd);
	buf_release(&in);
	return NULL;
}

static int listen_somewhere(const char *port_file)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[16];
	int len;

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 || listen(fd, 64) < 0 ||
		getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		return -1;
	len = snprintf(text, sizeof(text), "%d\n", ntohs(a.sin_port));
	return disk_write_file(port_file, text, (size_t)len, 0600, NULL) < 0 ? -1 : fd;
}

int main(int argc, char **argv)
{
	int fd;

	if (argc < 4)
		return 2;
	rules_path = argv[1];
	log_file = fopen(argv[3], "ae");
	fd = listen_somewhere(argv[2]);
	if (!log_file || fd < 0)
		return 1;
	alarm((unsigned)(argc > 4 ? atoi(argv[4]) : 10) * 60); /* nobody may forget us */
	for (;;) {
		int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (client < 0)
			continue;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)client))
			close(client);
		else
			pthread_detach(thread);
	}
}
