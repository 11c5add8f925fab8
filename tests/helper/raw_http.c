/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw-http PORT [-t MS] [-d MS] [-s BYTES] [-c] [-r BYTES]: sends standard input to 127.0.0.1:PORT as it
 * is and prints what comes back until the server closes.
 *
 * 	-t MS     give up after MS milliseconds (10000): exit 3
 * 	-d MS     pause MS milliseconds after every piece sent
 * 	-s BYTES  size of a piece (65536)
 * 	-c        close the sending side when all is sent
 * 	-r BYTES  read only so many bytes, then none for the rest of the time
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct exchange {
	int fd;
	long long deadline_ms, next_ms, pause_ms, read_left;
	size_t piece, len, sent;
	char *data;
	int half_close;
};

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static void read_input(struct exchange *x)
{
	size_t room = 0;
	ssize_t n;

	do {
		if (x->len == room)
			x->data = realloc(x->data, room = room ? room * 2 : 65536);
		if (!x->data)
			exit(2);
		n = read(STDIN_FILENO, x->data + x->len, room - x->len);
		if (n > 0)
			x->len += n;
	} while (n > 0);
}

static int connect_to(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		perror("raw-http: connect");
		exit(2);
	}
	return fd;
}

static void send_some(struct exchange *x)
{
	size_t n = x->len - x->sent < x->piece ? x->len - x->sent : x->piece;
	ssize_t got = send(x->fd, x->data + x->sent, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (got < 0 && errno != EAGAIN)
		x->sent = x->len; /* the server takes no more; its answer may still be there */
	if (got > 0)
		x->sent += got;
	x->next_ms = now_ms() + x->pause_ms;
	if (x->sent == x->len && x->half_close)
		shutdown(x->fd, SHUT_WR);
}

/* 0: the server closed. */
static int receive_some(struct exchange *x)
{
	char bytes[65536];
	size_t room = x->read_left < (long long)sizeof(bytes) ? (size_t)x->read_left : sizeof(bytes);
	ssize_t n = recv(x->fd, bytes, room, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN;
	x->read_left -= n;
	fwrite(bytes, 1, n, stdout);
	return n > 0;
}

static int run(struct exchange *x)
{
	for (;;) {
		long long now = now_ms(), wait = x->deadline_ms - now;
		struct pollfd p = {.fd = x->fd};

		if (wait <= 0)
			return 3;
		if (x->read_left > 0)
			p.events |= POLLIN;
		if (x->sent < x->len && now >= x->next_ms)
			p.events |= POLLOUT;
		else if (x->sent < x->len && x->next_ms - now < wait)
			wait = x->next_ms - now;
		poll(&p, 1, (int)wait);
		if (p.revents & POLLOUT)
			send_some(x);
		if (p.revents & (POLLIN | POLLHUP | POLLERR)) {
			if (x->read_left <= 0)
				return p.revents & (POLLHUP | POLLERR) ? 0 : 3;
			if (!receive_some(x))
				return 0;
		}
	}
}

int main(int argc, char **argv)
{
	struct exchange x = {.piece = 65536, .read_left = 1LL << 60};
	long long timeout_ms = 10000;
	int option, result;

	while ((option = getopt(argc, argv, "t:d:s:cr:")) != -1) {
		switch (option) {
		case 't': timeout_ms = atoll(optarg); break;
		case 'd': x.pause_ms = atoll(optarg); break;
		case 's': x.piece = (size_t)atoll(optarg); break;
		case 'c': x.half_close = 1; break;
		case 'r': x.read_left = atoll(optarg); break;
		default: return 2;
		}
	}
	if (optind + 1 != argc)
		return 2;
	read_input(&x);
	x.fd = connect_to(atoi(argv[optind]));
	if (!x.len && x.half_close)
		shutdown(x.fd, SHUT_WR);
	x.deadline_ms = now_ms() + timeout_ms;
	result = run(&x);
	fflush(stdout);
	close(x.fd);
	free(x.data);
	return result;
}
