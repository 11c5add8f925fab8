/* SPDX-License-Identifier: Apache-2.0 */
/* What disk.c, the disk at work, and disk_crash.c, what can happen to it, share. */
#ifndef SH_SIM_DISK_PRIVATE_H
#define SH_SIM_DISK_PRIVATE_H

#include "tests/sim/sim.h"

enum {
	PAGE = 4096,
	SECTOR = 512,
	PAGES = (WAL_FILE_BYTES + (2 << 20)) / PAGE,
	HANDLES = 2048,
	NAMES = 512,
	CHANGES = 4096,
	FIRST_FD = 1 << 20,
};

struct page {
	uint8_t cache[PAGE], disk[PAGE];
	bool dirty;
};
struct disk;
struct inode {
	struct inode *next;
	struct disk *disk;
	struct inode *copy; /* while a disk is copied */
	struct page *pages[PAGES];
	int64_t size, disk_size, allocated;
	bool anonymous, locked;
	int open;
};
struct name {
	char path[120];
	size_t len, dir_len;
	struct inode *cache, *disk;
};
struct change { /* of the name; with `from` a rename */
	struct name *name, *from;
	struct inode *inode;
};

struct disk { /* of a node */
	struct inode *inodes;
	struct name names[NAMES];
	size_t name_count, change_count;
	struct change changes[CHANGES];
	bool full;
};
struct handle {
	struct inode *inode;
	int node;
	bool direct, lock;
};
extern struct handle disk_handles[HANDLES];
extern struct disk disk_of[NODES];

struct inode *disk_inode_new(struct disk *d);
void disk_inode_free(struct inode *i);
void disk_change_apply(const struct change *c);
bool disk_name_in(const struct name *n, const char *dir, size_t len); /* is it in this directory? */

#endif
