/* SPDX-License-Identifier: Apache-2.0 */
/*
 * undo-writes DIR SEED: takes back the writes that the journals of undofs.so in DIR hold, each
 * file's from the last to the first, and removes the journals. A power cut may keep any of them:
 * with an odd SEED each is taken back or not by chance, else all.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_RECORDS = 1 << 20 };

static uint64_t seed;

static int take_back_by_chance(void)
{
	if (!(seed & 1))
		return 1;
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (int)(seed >> 63);
}

static char *read_journal(const char *path, size_t *n)
{
	struct stat st;
	int fd = open(path, O_RDONLY);
	char *data = fd >= 0 && !fstat(fd, &st) ? malloc((size_t)st.st_size + 1) : NULL;

	if (!data || read(fd, data, (size_t)st.st_size) != st.st_size) {
		perror(path);
		exit(2);
	}
	*n = (size_t)st.st_size;
	close(fd);
	return data;
}

/* How many were taken back. */
static int undo(const char *file, const char *data, size_t n)
{
	static size_t records[MAX_RECORDS];
	size_t count = 0, at = 0;
	int undone = 0, fd = open(file, O_WRONLY);
	int64_t head[2];

	if (fd < 0)
		return 0; /* renamed or removed since */
	for (; at + sizeof(head) <= n && count < MAX_RECORDS;
		at += sizeof(head) + (size_t)head[1]) {
		memcpy(head, data + at, sizeof(head));
		if (head[1] < 0 || (size_t)head[1] > n - at - sizeof(head))
			break; /* killed while it remembered: that write never began */
		records[count++] = at;
	}
	while (count--) {
		memcpy(head, data + records[count], sizeof(head));
		if (!take_back_by_chance())
			continue;
		if (pwrite(fd, data + records[count] + sizeof(head), (size_t)head[1], head[0]) !=
			head[1]) {
			perror(file);
			exit(2);
		}
		undone++;
	}
	close(fd);
	return undone;
}

int main(int argc, char **argv)
{
	DIR *d = argc == 3 ? opendir(argv[1]) : NULL;
	struct dirent *entry;
	int undone = 0;

	if (!d) {
		fputs("usage: undo-writes DIR SEED\n", stderr);
		return 2;
	}
	seed = strtoull(argv[2], NULL, 10);
	while ((entry = readdir(d))) {
		char journal[PATH_MAX], file[PATH_MAX], *data;
		size_t n;

		if (entry->d_name[0] != '%')
			continue;
		snprintf(journal, sizeof(journal), "%s/%s", argv[1], entry->d_name);
		snprintf(file, sizeof(file), "%s", entry->d_name);
		for (char *c = file; *c; c++)
			if (*c == '%')
				*c = '/';
		data = read_journal(journal, &n);
		undone += undo(file, data, n);
		free(data);
		unlink(journal);
	}
	closedir(d);
	printf("%d\n", undone);
	return 0;
}
