/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal-list FILE...: the entries of WAL files, one a line, for tests that damage them:
 *	file position LSN partition length type synced-LSN
 * Invalid stretches are skipped; the last line of each file is "# end POSITION" of its last valid
 *entry's end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libsh/format/wal.h"

static unsigned char data[WAL_FILE_BYTES];

static int list(const char *path)
{
	struct wal_file_header header;
	struct err e = ERR_INIT;
	size_t n, position = WAL_HEADER_BYTES, end = position;
	FILE *f = fopen(path, "re");

	if (!f) {
		perror(path);
		return -1;
	}
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	if (n < WAL_HEADER_BYTES || wal_file_header_read(data, &header, &e)) {
		fprintf(stderr, "%s: %s\n", path, e.text);
		return -1;
	}
	while (position + WAL_ENTRY_BYTES <= n) {
		struct wal_entry entry;
		size_t need;

		if (wal_entry_read(data + position, n - position, header.base_lsn + position,
			    header.generation, true, &entry, &need) != WAL_VALID) {
			position += WAL_ALIGN;
			continue;
		}
		printf("%s %zu %" PRIu64 " %" PRIu32 " %" PRIu32 " %s %" PRIu64 "\n", path,
			position, entry.lsn, entry.partition, entry.length,
			entry.type == WAL_BATCH ? "batch" : "mark", entry.synced_lsn);
		position += wal_entry_space(entry.length);
		end = position;
	}
	printf("# end %zu\n", end);
	return 0;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= list(argv[i]);
	return failed ? 1 : 0;
}
