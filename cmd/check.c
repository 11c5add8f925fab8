/* SPDX-License-Identifier: Apache-2.0 */
/* streamctl check: is what lies on disk and in the store whole? Findings on stdout; exit status 1 when there is damage. */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/check_data.h"
#include "cmd/check_rebuild.h"
#include "libsh/base/disk.h"
#include "libsh/base/fd.h"
#include "libsh/base/text.h"
#include "libsh/store/offline.h"

struct values {
	const char *read_data, *objects, *rebuild, *to;
	bool without_snapshot, lost_log;
};
#define AT(member) offsetof(struct values, member)
static const struct option options[] = {
	{.type = OPTION_STRING, .name = "read-data", .argument = "PERCENT", .offset = AT(read_data), .optional = true,
		.text = "Also read and check all data of the segments, or of PERCENT of them",
		.more = "Without it only the index of each segment is read. With =5% every twentieth segment is read whole, others each time."},
	{.type = OPTION_STRING, .name = "objects", .argument = "URL", .offset = AT(objects), .complete = "directory",
		.text = "The segments of the data directory lie at URL", .more = "For a server that runs with object.url set."},
	{.type = OPTION_STRING, .name = "rebuild", .argument = "STORE", .offset = AT(rebuild), .complete = "directory",
		.text = "Make new metadata from the object store STORE alone",
		.more = "STORE is a directory of objects or a URL; nothing in it is changed. The newest snapshot of the metadata that can be read "
			"there says what topics are, the segments say what they hold. The report says how old the snapshot is, what was "
			"taken, and what was left out and why. See streamhouse-recovery(7) for what to do with the result."},
	{.type = OPTION_STRING, .name = "to", .argument = "META", .offset = AT(to), .complete = "file",
		.text = "With --rebuild: the new database, which must not exist"},
	{.type = OPTION_FLAG, .name = "without-snapshot", .offset = AT(without_snapshot),
		.text = "With --rebuild: go on when no snapshot can be read",
		.more = "Configs of topics are lost then, and topics that were deleted may come back."},
	{.type = OPTION_FLAG, .name = "lost-log", .offset = AT(lost_log),
		.text = "With --rebuild: the write-ahead logs in slots/ are lost as well",
		.more = "Records that were in no segment yet are lost then. New logs are taken in place of the old ones, which are refused should "
			"they turn up; and since nobody knows which offsets the old ones gave out, each partition goes on 1,000,000,000 above "
			"its end. Without this option the metadata takes only the slots it knows, whose logs are recovered."},
	{.type = OPTION_END},
};

/* "", "5%" or "5" */
static int parse_sample(const char *text, struct check_sample *sample, struct err *e)
{
	char number[16];
	size_t n;

	*sample = (struct check_sample){0};
	if (!text)
		return 0;
	sample->percent = 100;
	n = strlen(text);
	if (n && text[n - 1] == '%')
		n--;
	if (*text && n < sizeof(number)) {
		memcpy(number, text, n);
		number[n] = '\0';
		if (text_parse_int(number, 1, 100, "--read-data", &sample->percent, e))
			return -1;
	} else if (*text) {
		return err_set(e, ERR_USAGE, "--read-data: \"%.40s\" is not a percentage", text);
	}
	sample->sum = uuid_random().b[0] % 100;
	return 0;
}

/* ---- one file ---- */

static int check_segment(struct check_report *r, const char *path, struct err *e)
{
	struct segment_input in;
	struct err damage = ERR_INIT;
	int64_t bytes;
	int fd = disk_open(path, O_RDONLY, 0, e);

	if (fd < 0)
		return -1;
	bytes = disk_size(fd, e);
	if (bytes >= 0) {
		offline_file_init(&in, &fd, (uint64_t)bytes);
		r->segments++;
		r->segments_read++;
		r->segment_bytes += bytes;
		if (segment_file_verify(&in, &damage))
			check_report_damage(r, path, "%s", damage.text);
	}
	fd_close(&fd);
	return bytes < 0 ? -1 : 0;
}

struct wal_check_context {
	struct check_report *report;
	const char *path;
};

static int on_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct wal_check_context *w = ctx;

	(void)batch;
	w->report->batches += entry->type == WAL_BATCH;
	return 0;
}

static int on_damage(void *ctx, uint64_t from, uint64_t to)
{
	struct wal_check_context *w = ctx;

	check_report_damage(w->report, w->path, "%llu bytes from LSN 0x%llx on are damaged: they had been synced",
		(unsigned long long)(to - from), (unsigned long long)from);
	return 0;
}

static int check_wal_file(struct check_report *r, const char *path, struct err *e)
{
	static const struct wal_scan_handlers handlers = {on_entry, on_damage};
	struct wal_check_context w = {r, path};
	struct wal_scan_result result;
	struct err damage = ERR_INIT;
	int fd = disk_open(path, O_RDONLY, 0, e);

	if (fd < 0)
		return -1;
	r->wal_files++;
	if (wal_scan(fd, UINT64_MAX, false, &handlers, &w, &result, &damage))
		check_report_damage(r, path, "%s", damage.text);
	fd_close(&fd);
	return 0;
}

/* ---- a directory of segments ---- */

static void on_unreadable(void *ctx, const char *object, const struct err *e)
{
	struct check_report *r = ctx;

	r->segments++;
	check_report_damage(r, object, "%s", e->text);
}

struct snapshot_check {
	struct check_report *report;
	struct object_store *store;
};

static int on_snapshot(void *ctx, const struct object_info *info)
{
	struct snapshot_check *c = ctx;
	uint64_t incarnation, number;

	if (snapshot_name_parse(info->name, &incarnation, &number))
		check_read_snapshot(c->report, c->store, info->name);
	return 0;
}

static int compare_objects(const void *a, const void *b)
{
	const struct offline_object_run *x = a, *y = b;

	return strcmp(x->object, y->object);
}

static int check_objects(struct check_report *r, const char *store, struct check_sample *sample, struct err *e)
{
	struct arena a = ARENA_INIT;
	struct object_store *s;
	struct offline_object_run *runs;
	size_t count;
	int rc;

	if (offline_objects_open(store, &s, e))
		return -1;
	rc = offline_objects_list(s, &a, &runs, &count, on_unreadable, r, e);
	if (rc == 0 && count)
		qsort(runs, count, sizeof(*runs), compare_objects);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (i && !strcmp(runs[i].object, runs[i - 1].object))
			continue;
		r->segments++;
		r->segment_bytes += (int64_t)runs[i].object_bytes;
		if (check_sample_next(sample))
			check_read_object(r, s, runs[i].object, runs[i].object_bytes);
	}
	if (rc == 0)
		rc = s->driver->list(s, "meta/", on_snapshot, &(struct snapshot_check){r, s}, e);
	if (rc == 0 && !r->segments)
		rc = offline_objects_none(store, e);
	object_store_free(s);
	arena_release(&a);
	return rc;
}

/* ---- */

static int check_store(struct check_report *r, const char *store, const struct values *v, struct check_sample *sample, struct err *e)
{
	enum offline_kind kind;

	if (offline_kind(store, &kind, e))
		return -1;
	switch (kind) {
	case OFFLINE_DATA:
		if (check_data(r, store, v->objects, sample, e))
			return -1;
		if (r->segments_missing && !v->objects)
			check_report_note(r, store, "segments were looked for in its objects; where shd has object.url set, name it: "
				"--objects URL");
		return 0;
	case OFFLINE_OBJECTS:
		return check_objects(r, store, sample, e);
	case OFFLINE_WAL:
		return check_wal_file(r, store, e);
	default:
		return check_segment(r, store, e);
	}
}

static int check_usage(const struct command_run *r, struct err *e)
{
	const struct values *v = r->values;

	if (v->rebuild ? v->to && !r->argc && !v->read_data && !v->objects : !v->to && !v->without_snapshot && !v->lost_log)
		return 0;
	err_set(e, ERR_USAGE, "--rebuild STORE goes with --to META, and with nothing else to check");
	return -1;
}

static int run(struct command_run *r)
{
	const struct values *v = r->values;
	struct check_report report;
	struct check_sample sample;
	struct err e = ERR_INIT;
	char *store;
	int rc;

	if (check_usage(r, &e) || parse_sample(v->read_data, &sample, &e))
		return command_fail(r, &e);
	check_report_init(&report, r);
	store = r->argc ? mem_strdup(r->argv[0]) : offline_default_store();
	if (v->rebuild)
		rc = check_rebuild(&report, v->rebuild, v->to, v->without_snapshot, v->lost_log, &e);
	else
		rc = check_store(&report, store, v, &sample, &e);
	if (rc && e.code == ERR_CORRUPT && !v->rebuild) { /* so damaged that nothing more can be said */
		check_report_damage(&report, store, "%s", e.text);
		rc = 0;
	}
	mem_free(store);
	if (rc)
		return command_fail(r, &e);
	return check_report_finish(&report);
}

static const struct command check_command = {
	.name = "check",
	.summary = "Check a data directory or a segment, without a server",
	.operands = "[STORE]",
	.complete = "file",
	.min_operands = 0,
	.max_operands = 1,
	.options = options,
	.values_size = sizeof(struct values),
	.run = run,
};

int main(int argc, char **argv)
{
	return command_main(&check_command, argc, argv);
}
