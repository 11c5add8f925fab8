/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory-find PID TEXT: is the text anywhere in the memory of a process? Exit status 0: yes, 1: no, 3: we may
 * not look. TEXT is given as hex digits, so that it is not in our own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, TEXT_MAX = 256 };

static size_t unhex(const char *hex, unsigned char *out)
{
	size_t n = 0;
	unsigned value;

	for (; n < TEXT_MAX && sscanf(hex + 2 * n, "%2x", &value) == 1; n++)
		out[n] = (unsigned char)value;
	return n;
}

/* Chunks overlap, so that a text across their border is found. */
static int search(int fd, unsigned long from, unsigned long to, const unsigned char *text, size_t n)
{
	static unsigned char chunk[CHUNK];

	for (unsigned long at = from; at < to; at += CHUNK - TEXT_MAX) {
		size_t want = to - at < CHUNK ? to - at : CHUNK;
		ssize_t got = pread(fd, chunk, want, (off_t)at);

		if (got > 0 && memmem(chunk, (size_t)got, text, n))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned char text[TEXT_MAX];
	char path[64], line[512], mode[8];
	unsigned long from, to, seen = 0;
	size_t n;
	FILE *maps;
	int mem, found = 0;

	if (argc != 3 || !(n = unhex(argv[2], text)))
		return 2;
	snprintf(path, sizeof(path), "/proc/%d/mem", atoi(argv[1]));
	mem = open(path, O_RDONLY);
	snprintf(path, sizeof(path), "/proc/%d/maps", atoi(argv[1]));
	maps = fopen(path, "r");
	if (mem < 0 || !maps)
		return 3;
	while (!found && fgets(line, sizeof(line), maps)) {
		/* what can be written: the rest is programs and files; shadow memory of a sanitizer is huge
		 * and holds no text */
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' ||
			to - from > (1UL << 32))
			continue;
		found = search(mem, from, to, text, n);
		seen++;
	}
	return found ? 0 : seen ? 1 : 3;
}
