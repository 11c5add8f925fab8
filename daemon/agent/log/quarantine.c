/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nobody may serve is kept for the operator: entries whose place in their partition is not known, in files named after the
 * WAL file they come from and in its format, so that `streamctl cat` reads them; and a mark per damaged partition, which keeps it from
 * starting until the operator removes it.
 */
#include <fcntl.h>
#include <string.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/store/wal_file.h"

static char *quarantine_mark_path(struct log *l, const struct topic *t, uint32_t partition)
{
	return mem_printf("%s/%s-%u.damaged", l->quarantine_dir, t->name, partition);
}

/* The mark holds the topic's id, so that it does not hit a later topic of the same name. */
bool quarantine_is_marked(struct log *l, const struct topic *t, uint32_t partition, char **why)
{
	char *path = quarantine_mark_path(l, t, partition);
	struct buf text = BUF_INIT(4096);
	char id[UUID_TEXT_BYTES];
	struct err e = ERR_INIT;
	bool marked = false;
	char *line;

	if (disk_read_file(path, &text, &e) < 0) {
		marked = e.code != ERR_NOT_FOUND; /* unreadable is not absent */
		*why = marked ? mem_strdup(e.text) : NULL;
	} else if (text.len > 37 && !strncmp(text.data, uuid_format(&t->id, id), 36)) {
		line = strchr(text.data, '\n');
		*why = mem_strdup(line ? line + 1 : "damaged");
		(*why)[strcspn(*why, "\n")] = '\0';
		marked = true;
	}
	buf_release(&text);
	mem_free(path);
	return marked;
}

void quarantine_mark(struct log *l, struct partition *p, const char *why)
{
	char *path, *text;
	char id[UUID_TEXT_BYTES];
	struct err e = ERR_INIT;

	if (p->damage)
		return;
	path = quarantine_mark_path(l, p->topic, p->number);
	text = mem_printf("%s\n%s\n", uuid_format(&p->topic->id, id), why);
	log_error("partition %s-%u does not serve: %s", p->topic->name, p->number, why);
	if (disk_write_file(path, text, strlen(text), 0600, &e) < 0)
		log_error("%s", e.text);
	p->damage = p->private_->damage_text = mem_strdup(why);
	l->numbers.damaged_partitions++;
	append_discard(l, p);
	mem_free(path);
	mem_free(text);
}

/* One file per WAL file; an entry keeps its place, so writing it twice changes nothing. */
int quarantine_add(struct log *l, uint64_t file_base, const struct wal_entry *entry, const void *batch, struct err *e)
{
	char *path = mem_printf("%s/%016llx.wal", l->quarantine_dir, (unsigned long long)file_base);
	struct wal_file_header h = {.generation = entry->generation, .base_lsn = file_base, .session = l->session, .slot = l->slot_id,
		.created_ms = clock_real_ms()};
	uint8_t header[WAL_HEADER_BYTES], head[WAL_ENTRY_BYTES];
	int64_t at = (int64_t)(entry->lsn - file_base);
	int fd = disk_open(path, O_RDWR | O_CREAT, 0600, e);
	int result = -1;

	if (fd < 0)
		goto out;
	wal_file_header_write(&h, header);
	wal_entry_write(entry, batch, head);
	if (disk_pwrite(fd, header, sizeof(header), 0, e) < 0 || disk_pwrite(fd, head, sizeof(head), at, e) < 0 ||
		disk_pwrite(fd, batch, entry->length, at + WAL_ENTRY_BYTES, e) < 0 || disk_sync(fd, e) < 0 ||
		disk_sync_dir(l->quarantine_dir, e) < 0)
		goto out;
	l->numbers.quarantined_entries++;
	result = 0;
out:
	fd_close(&fd);
	mem_free(path);
	return result;
}

struct quarantine_pick {
	struct log *log;
	struct partition *partition;
	const struct range *range;
	int64_t from_offset;
	uint64_t file_base;
	struct err e;
};

static int quarantine_pick_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct quarantine_pick *q = ctx;
	struct batch_header h;

	if (entry->lsn < q->range->first_lsn || entry->type != WAL_BATCH || entry->partition != q->partition->number ||
		!uuid_equal(&entry->topic, &q->partition->topic->id))
		return 0;
	if (batch_header_read(batch, entry->length, &h, &q->e) < 0)
		return -1;
	return h.base_offset < q->from_offset ? 0 : quarantine_add(q->log, q->file_base, entry, batch, &q->e);
}

/* The entries of one partition in a range, from an offset on. */
int quarantine_range(struct log *l, const struct range *r, struct partition *p, int64_t from_offset, struct err *e)
{
	static const struct wal_scan_handlers handlers = {.entry = quarantine_pick_entry};
	const struct wal_file *f = wal_find(l->wal, r->first_lsn);
	struct quarantine_pick q = {l, p, r, from_offset, f->base_lsn, ERR_INIT};
	struct wal_scan_result result;
	int fd = disk_open(f->path, O_RDONLY, 0, e), scanned;

	if (fd < 0)
		return -1;
	scanned = wal_scan(fd, r->end_lsn, false, &handlers, &q, &result, e);
	fd_close(&fd);
	if (q.e.code != ERR_NONE && e)
		*e = q.e;
	return scanned;
}
