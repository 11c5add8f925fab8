/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nobody may serve is kept for the operator: entries whose place in their partition is not known, in files named after the
 * WAL file they come from and in its format, so that `streamctl cat` reads them; and a mark per damaged partition, TOPIC-P.damaged, which
 * keeps it from starting until the operator accepts the loss by renaming it to TOPIC-P.accepted. A mark is three lines: the topic's id, why, and
 * "resume N": an offset above all that may have been given.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/agent/log/log_private.h"
#include "libsh/base/clock.h"
#include "libsh/base/crash.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/log.h"
#include "libsh/store/wal_file.h"

static char *quarantine_path(struct log *l, const struct partition *p, const char *suffix)
{
	return mem_printf("%s/%s-%u.%s", l->quarantine_dir, p->topic->name, p->number, suffix);
}

/* The number in the line "resume N"; -1: none. */
static int64_t mark_resume(const char *text)
{
	const char *line = strstr(text, "\nresume ");

	return line ? strtoll(line + 8, NULL, 10) : -1;
}

/* Whether it is a mark as we write them, and of which topic. */
static bool mark_parse(const char *text, struct uuid *topic)
{
	char id[UUID_TEXT_BYTES];

	snprintf(id, sizeof(id), "%s", text);
	return strlen(text) >= UUID_TEXT_BYTES && text[UUID_TEXT_BYTES - 1] == '\n' && uuid_parse(id, topic, NULL) == 0 &&
		mark_resume(text) >= 0;
}

/*
 * A mark's text if it is about this very topic, and not one that had its name before; NULL: there is none. What cannot be read or
 * understood is not absent: then the text says so, and has no line "resume N".
 */
static char *mark_read(struct log *l, const struct partition *p, const char *suffix)
{
	char *path = quarantine_path(l, p, suffix), *found = NULL;
	struct buf text = BUF_INIT(4096);
	struct err e = ERR_INIT;
	struct uuid topic;

	if (disk_read_file(path, &text, &e) < 0)
		found = e.code == ERR_NOT_FOUND ? NULL : mem_printf("?\n%s\n", e.text);
	else if (!mark_parse(text.data ? text.data : "", &topic))
		found = mem_printf("?\nthe mark %s is not as it was written: see streamhouse-recovery(7)\n", path);
	else if (uuid_equal(&topic, &p->topic->id))
		found = mem_strdup(text.data);
	buf_release(&text);
	mem_free(path);
	return found;
}

void quarantine_load(struct log *l, struct partition *p)
{
	char *damaged = mark_read(l, p, "damaged"), *accepted = damaged ? NULL : mark_read(l, p, "accepted");

	if (accepted && mark_resume(accepted) < 0) { /* nobody knows where it could go on */
		damaged = accepted;
		accepted = NULL;
	}
	if (damaged) {
		const char *why = strchr(damaged, '\n') + 1;

		p->damage = p->private_->damage_text = mem_strndup(why, strcspn(why, "\n"));
		p->private_->resume = mark_resume(damaged);
		if (p->private_->resume < 0) /* what is there may have named more than this log shows: it is not written over */
			p->private_->resume = INT64_MAX;
		l->numbers.damaged_partitions++;
	}
	p->private_->accepted = accepted ? mark_resume(accepted) : -1;
	mem_free(damaged);
	mem_free(accepted);
}

static int mark_write(struct log *l, struct partition *p, struct err *e)
{
	char id[UUID_TEXT_BYTES], *path = quarantine_path(l, p, "damaged");
	char *text = mem_printf("%s\n%s\nresume %lld\n", uuid_format(&p->topic->id, id), p->damage, (long long)p->private_->resume);
	int result = disk_write_file(path, text, strlen(text), 0600, e);

	if (!result)
		p->private_->mark_due = false;
	mem_free(path);
	mem_free(text);
	return result;
}

void quarantine_mark(struct log *l, struct partition *p, const char *why, int64_t resume)
{
	struct err e = ERR_INIT;

	if (resume > p->private_->resume) {
		p->private_->resume = resume;
		p->private_->mark_due = true;
	}
	if (p->damage)
		return;
	p->private_->mark_due = true;
	log_error("partition %s-%u does not serve: %s", p->topic->name, p->number, why);
	p->damage = p->private_->damage_text = mem_strdup(why);
	l->numbers.damaged_partitions++;
	append_discard(l, p);
	if (mark_write(l, p, &e) < 0)
		log_error("%s", e.text);
	crash_point("quarantine.marked");
}

int quarantine_keep_mark(struct log *l, struct partition *p, struct err *e)
{
	return p->damage && p->private_->mark_due ? mark_write(l, p, e) : 0;
}

/*
 * The loss is accepted: the partition goes on behind every offset that may have been given, and its next entry names the end before, so
 * that the gap is on record in WAL and segment. Once that is committed the mark has done its work.
 */
static void quarantine_accept(struct log *l, struct partition *p)
{
	char *path;

	if (p->end >= p->private_->accepted) {
		path = quarantine_path(l, p, "accepted");
		if (p->flushed_end >= p->private_->accepted)
			disk_unlink(path, NULL);
		mem_free(path);
		return;
	}
	log_warn("partition %s-%u: the loss of what was from offset %lld on is accepted; it goes on at %lld", p->topic->name, p->number,
		(long long)p->end, (long long)p->private_->accepted);
	p->private_->gap_start = p->end;
	p->end = p->private_->accepted;
}

int quarantine_settle(struct log *l, struct err *e)
{
	for (size_t i = 0; i < l->topic_count; i++)
		for (uint32_t k = 0; k < l->sorted[i]->partition_count; k++) {
			struct partition *p = l->sorted[i]->partitions[k];

			if (quarantine_keep_mark(l, p, e) < 0)
				return -1;
			if (!p->damage && p->private_->accepted >= 0)
				quarantine_accept(l, p);
		}
	return 0;
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
	crash_point("quarantine.kept");
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
