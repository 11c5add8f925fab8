/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "cmd/check_rebuild.h"

#include <string.h>

#include "libsh/base/clock.h"
#include "libsh/base/disk.h"
#include "libsh/base/text.h"
#include "libsh/store/offline.h"
#include "libsh/store/rebuild.h"

static void on_note(void *ctx, bool damage, const char *where, const char *text)
{
	struct check_report *r = ctx;

	if (damage)
		check_report_damage(r, where, "%s", text);
	else
		check_report_note(r, where, "%s", text);
}

static void say_snapshot(struct check_report *r, const struct rebuild *b)
{
	char taken[CLOCK_RFC3339_BYTES], name[SNAPSHOT_NAME_BYTES];
	int64_t age_s = (clock_real_ms() - b->snapshot_taken_ms) / 1000;

	if (!b->snapshot_found)
		check_report_damage(r, "snapshot", "there was none: configs of topics are lost, and deleted topics may have come back");
	else if (age_s < 0)
		check_report_note(r, snapshot_name(b->snapshot_incarnation, b->snapshot_number, name),
			"topics, configs and log starts are those of %s, which is to come by the clock of this machine",
			clock_format_rfc3339(b->snapshot_taken_ms, taken));
	else
		check_report_note(r, snapshot_name(b->snapshot_incarnation, b->snapshot_number, name),
			"topics, configs and log starts are those of %s, %lld %s ago", clock_format_rfc3339(b->snapshot_taken_ms, taken),
			(long long)age_s, text_plural(age_s, "second", "seconds"));
	if (b->logs_lost)
		check_report_note(r, "slots", "new logs are taken; what was in no segment yet is lost, and offsets go on %d above each end",
			REBUILD_OFFSETS_JUMP);
}

static void say_segments(struct check_report *r, const struct rebuild *b)
{
	char size[32];

	check_report_note(r, b->path, "made from %llu of %llu %s: %llu %s, %llu %s, %llu %s, %s",
		(unsigned long long)b->taken, (unsigned long long)b->segments,
		text_plural((int64_t)b->segments, "segment", "segments"), (unsigned long long)b->counts.topics,
		text_plural((int64_t)b->counts.topics, "topic", "topics"), (unsigned long long)b->counts.partitions,
		text_plural((int64_t)b->counts.partitions, "partition", "partitions"),
		(unsigned long long)b->counts.records, text_plural((int64_t)b->counts.records, "record", "records"),
		text_format_size((int64_t)b->counts.live_bytes, size));
	if (b->segments > b->taken)
		check_report_note(r, b->path,
			"left out: %llu of deleted topics, %llu expired, %llu that others hold as well, %llu with no place in their "
			"partitions, %llu not readable; the last two kinds are never swept",
			(unsigned long long)b->deleted, (unsigned long long)b->expired, (unsigned long long)b->doubled,
			(unsigned long long)b->kept, (unsigned long long)b->unreadable);
}

int check_rebuild(struct check_report *r, const char *store, const char *path, bool without_snapshot, bool lost_log, struct err *e)
{
	struct rebuild b = {.path = path, .without_snapshot = without_snapshot, .logs_lost = lost_log, .note = on_note, .ctx = r};
	int rc;

	/* Opening a directory that is not there would make it. */
	if (!strstr(store, "://") && !disk_exists(store))
		return err_set(e, ERR_NOT_FOUND, "%s does not exist", store);
	if (offline_objects_open(store, &b.store, e))
		return -1;
	rc = rebuild_run(&b, e);
	object_store_free(b.store);
	if (rc)
		return -1;
	say_snapshot(r, &b);
	say_segments(r, &b);
	r->partitions += (int64_t)b.counts.partitions;
	r->segments += (int64_t)b.segments;
	r->segment_bytes += (int64_t)b.counts.live_bytes;
	return 0;
}
