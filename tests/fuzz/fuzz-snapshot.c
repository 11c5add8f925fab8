/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots of the metadata: any bytes, and bytes whose checksum is made right so that what lies behind it is reached. */
#include <stdint.h>
#include "libsh/base/bytes.h"
#include "libsh/base/crc32c.h"
#include "libsh/format/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_one(const uint8_t *p, size_t n)
{
	struct arena a = ARENA_INIT;
	struct snapshot s;
	struct buf out = BUF_INIT(SNAPSHOT_MAX_BYTES);

	if (snapshot_read(p, n, &a, &s, NULL) == 0)
		snapshot_write(&out, &s, NULL);
	buf_release(&out);
	arena_release(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *p = mem_dup(data, n);

	read_one(p, n);
	if (n >= 12) {
		put_le32(p + n - 4, crc32c(0, p, n - 12));
		read_one(p, n);
	}
	mem_free(p);
	return 0;
}
