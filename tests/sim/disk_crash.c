/* SPDX-License-Identifier: Apache-2.0 */
/* What can happen to a disk: its process or its power is gone, another machine gets a copy of it, a bit rots. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/disk_private.h"

void disk_close_all(const struct node *n)
{
	for (size_t i = 0; i < HANDLES; i++) {
		struct inode *inode = disk_handles[i].inode;

		if (!inode || disk_handles[i].node != n->number)
			continue;
		if (disk_handles[i].lock)
			inode->locked = false;
		disk_handles[i].inode = NULL;
		if (--inode->open == 0 && inode->anonymous)
			disk_inode_free(inode);
	}
}

static void page_after_power(struct page *p, unsigned kept_percent, bool torn)
{
	bool whole = sim_percent(kept_percent);

	for (size_t at = 0; p->dirty && at < PAGE; at += SECTOR)
		if (torn ? sim_percent(kept_percent) : whole)
			memcpy(p->disk + at, p->cache + at, SECTOR);
	p->dirty = false;
	memcpy(p->cache, p->disk, PAGE);
}

void disk_power_loss(const struct node *node)
{
	struct disk *d = &disk_of[node->number];
	static const unsigned kept[] = {0, 0, 50, 90, 100};
	unsigned percent = kept[sim_below(array_count(kept))];
	bool torn = sim_percent(30);
	size_t left = 0;

	for (struct inode *i = d->inodes; i; i = i->next) {
		for (size_t k = 0; k < PAGES; k++)
			if (i->pages[k])
				page_after_power(i->pages[k], percent, torn);
		if (!sim_percent(percent))
			i->size = i->disk_size;
		i->disk_size = i->size;
	}
	for (size_t i = 0; i < d->change_count; i++) { /* in each directory a prefix */
		const struct name *n = d->changes[i].name;
		bool cut = !sim_percent(percent);

		for (size_t k = 0; k < left && !cut; k++)
			cut = disk_name_in(d->changes[k].name, n->path, n->dir_len);
		if (cut)
			d->changes[left++] = d->changes[i];
		else
			disk_change_apply(&d->changes[i]);
	}
	d->change_count = 0;
	for (size_t i = 0; i < d->name_count; i++)
		d->names[i].cache = d->names[i].disk;
	sim_event("power", percent, torn);
}

/* In a WAL file that another one follows: of what stands there it is known that it was synced. */
bool disk_rot(const struct node *n)
{
	struct disk *d = &disk_of[n->number];
	const struct name *newest = NULL, *pick = NULL;
	struct page *p;
	size_t page, at;

	for (size_t i = 0; i < d->name_count; i++) {
		const struct name *name = &d->names[i];
		size_t len = strlen(name->path);

		if (!name->cache || name->cache != name->disk || !strstr(name->path, "/wal/") || strcmp(name->path + len - 4, ".wal"))
			continue;
		if (!newest || strcmp(name->path, newest->path) > 0)
			newest = name;
	}
	for (size_t i = 0; i < d->name_count && newest; i++) {
		const struct name *name = &d->names[i];

		if (name != newest && name->dir_len == newest->dir_len && name->cache && name->cache == name->disk && strstr(name->path, ".wal") &&
			sim_percent(50))
			pick = name;
	}
	if (!pick)
		return false;
	page = sim_below((uint64_t)(pick->cache->size / PAGE));
	at = sim_below(PAGE);
	p = pick->cache->pages[page];
	if (!p || p->dirty)
		return false;
	p->disk[at] ^= (uint8_t)(1 << at % 8);
	p->cache[at] = p->disk[at];
	sim_event("rot", (int64_t)page, (int64_t)at);
	return true;
}

/* The copy that another machine would find: what is in the cache of this one is there or not, as after a loss of power. */
void disk_copy(const struct node *from, struct node *to)
{
	struct disk *a = &disk_of[from->number], *b = &disk_of[to->number];

	disk_drop(to);
	for (struct inode *i = a->inodes; i; i = i->next) {
		if (i->anonymous)
			continue;
		i->copy = disk_inode_new(b);
		i->copy->size = i->size;
		i->copy->disk_size = i->disk_size;
		i->copy->allocated = i->allocated;
		for (size_t k = 0; k < PAGES; k++)
			if (i->pages[k]) {
				i->copy->pages[k] = malloc(sizeof(struct page));
				*i->copy->pages[k] = *i->pages[k];
			}
	}
	for (size_t i = 0; i < a->name_count; i++) {
		b->names[i] = a->names[i];
		b->names[i].cache = a->names[i].cache ? a->names[i].cache->copy : NULL;
		b->names[i].disk = a->names[i].disk ? a->names[i].disk->copy : NULL;
	}
	b->name_count = a->name_count;
	for (size_t i = 0; i < a->change_count; i++) {
		const struct change *c = &a->changes[i];

		b->changes[i].name = b->names + (c->name - a->names);
		b->changes[i].from = c->from ? b->names + (c->from - a->names) : NULL;
		b->changes[i].inode = c->inode ? c->inode->copy : NULL;
	}
	b->change_count = a->change_count;
	disk_power_loss(to);
}
