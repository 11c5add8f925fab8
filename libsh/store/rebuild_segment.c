/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The footers of all segments. One that is damaged, or is not the one that its name says, is told and kept aside; one that the store
 * does not hand out ends the rebuild.
 */
#include <string.h>
#include "libsh/base/crc32c.h"
#include "libsh/base/disk.h"
#include "libsh/store/offline.h"
#include "libsh/store/rebuild_private.h"

const char *rebuild_segment_name(struct arena *a, const struct rebuild_segment *s)
{
	return meta_object_name(a, &s->object, s->incarnation);
}

/* ---- runs, outside of memory ---- */

static int spill(struct rebuild_work *w, struct rebuild_segment *s, const struct segment_file *f, struct err *e)
{
	struct segment_run *runs = mem_array(f->run_count + 1, sizeof(*runs));
	struct buf b = BUF_INIT(REBUILD_RUNS_BYTES_MAX);
	int result = -1;

	for (size_t i = 0; i < f->run_count; i++)
		runs[i] = f->runs[i].run;
	if (segment_runs_encode(&b, runs, f->run_count) < 0 || b.overflow)
		err_set(e, ERR_TOO_LARGE, "its %zu runs have more than %d bytes", f->run_count, REBUILD_RUNS_BYTES_MAX);
	else
		result = disk_pwrite(w->spill_fd, b.data, b.len, (int64_t)w->spill_end, e);
	s->spilled_at = w->spill_end;
	s->spilled_bytes = (uint32_t)b.len;
	w->spill_end += b.len;
	buf_release(&b);
	mem_free(runs);
	return result;
}

int rebuild_segment_runs(struct rebuild_work *w, const struct rebuild_segment *s, struct arena *a, struct segment_run **runs,
	struct err *e)
{
	uint8_t *p = mem_alloc(s->spilled_bytes + 1);
	size_t count;
	int result = disk_pread(w->spill_fd, p, s->spilled_bytes, (int64_t)s->spilled_at, e);

	if (result == 0)
		result = segment_runs_decode(p, s->spilled_bytes, a, runs, &count, e);
	if (result == 0 && count != s->run_count)
		result = err_set(e, ERR_INTERNAL, "the file of runs beside %s holds something else", w->r->path);
	mem_free(p);
	return result;
}

/* ---- one segment ---- */

static int add_runs(struct rebuild_work *w, struct rebuild_segment *s, const struct segment_file *f, struct err *e)
{
	s->first_run = w->run_count;
	s->run_count = (uint32_t)f->run_count;
	if (w->run_count + f->run_count > REBUILD_RUNS_MAX)
		return err_set(e, ERR_TOO_LARGE, "the store holds more than %d runs", REBUILD_RUNS_MAX);
	if (w->run_count + f->run_count > w->run_room) {
		w->run_room = w->run_room + w->run_room / 2 + f->run_count + 256;
		w->runs = mem_realloc_array(w->runs, w->run_room, sizeof(*w->runs));
	}
	for (uint32_t i = 0; i < f->run_count; i++) {
		const struct segment_run *r = &f->runs[i].run;
		struct rebuild_run *run = &w->runs[w->run_count];

		*run = (struct rebuild_run){.partition = r->partition,
			.segment = (uint32_t)w->segment_count,
			.index = i,
			.first_epoch = r->first_epoch,
			.last_epoch = r->last_epoch,
			.previous_end = r->previous_end,
			.first_offset = r->first_offset,
			.end_offset = r->end_offset};
		if (rebuild_topic_learn(w, s, &f->runs[i], &run->topic, e) < 0)
			return -1;
		w->run_count++;
		if (r->last_epoch > w->session)
			w->session = r->last_epoch;
	}
	return 0;
}

static struct rebuild_segment *add_segment(struct rebuild_work *w)
{
	if (w->segment_count == w->segment_room) {
		w->segment_room = w->segment_room + w->segment_room / 2 + 256;
		w->segments = mem_realloc_array(w->segments, w->segment_room, sizeof(*w->segments));
	}
	return &w->segments[w->segment_count];
}

/* The checksum in the metadata is of the whole object: the trailer's goes on from that of all before it. */
static int object_crc(const struct segment_input *in, const struct segment_file *f, uint32_t *crc, struct err *e)
{
	uint8_t trailer[SEGMENT_TRAILER_BYTES];

	if (in->read(in->ctx, in->bytes - sizeof(trailer), trailer, sizeof(trailer), e) < 0)
		return -1;
	*crc = crc32c(f->trailer.object_crc, trailer, sizeof(trailer));
	return 0;
}

static int take(struct rebuild_work *w, const struct object_info *o, const struct segment_input *in, const struct segment_file *f,
	struct err *e)
{
	struct rebuild_segment *s = add_segment(w);
	struct arena a = ARENA_INIT;
	bool same;

	*s = (struct rebuild_segment){.object = f->info.object,
		.slot_id = f->info.slot,
		.incarnation = f->info.incarnation,
		.bytes = o->bytes,
		.session = f->info.session,
		.number = f->info.number,
		.first_lsn = f->info.first_lsn};
	same = !strcmp(rebuild_segment_name(&a, s), o->name);
	arena_release(&a);
	if (!same)
		return err_set(e, ERR_CORRUPT, "it holds the segment of another name");
	if (w->segment_count == REBUILD_SEGMENTS_MAX)
		return err_set(e, ERR_TOO_LARGE, "the store holds more than %d segments", REBUILD_SEGMENTS_MAX);
	if (object_crc(in, f, &s->crc, e) < 0 || spill(w, s, f, e) < 0 || add_runs(w, s, f, e) < 0)
		return -1;
	w->segment_count++;
	if (f->info.session > w->session)
		w->session = f->info.session;
	return 0;
}

static int read_segment(struct rebuild_work *w, const struct object_info *o, struct err *e)
{
	struct offline_object object;
	struct segment_file f;
	int result;

	offline_object_init(&object, w->r->store, o->name, o->bytes);
	if (segment_file_open(&f, &object.input, e) < 0)
		return -1;
	result = take(w, o, &object.input, &f, e);
	segment_file_release(&f);
	return result;
}

/* ---- all of them ---- */

struct listing {
	struct rebuild_work *w;
	struct err *e;
};

static int on_object(void *ctx, const struct object_info *o)
{
	struct listing *l = ctx;
	struct rebuild_work *w = l->w;
	struct err why = ERR_INIT;
	uint64_t incarnation;

	if (!meta_object_name_parse(o->name, &incarnation))
		return 0;
	w->r->segments++;
	if (incarnation > w->incarnation && incarnation < REBUILD_INCARNATION_MAX)
		w->incarnation = incarnation;
	if (read_segment(w, o, &why) == 0)
		return 0;
	if (why.code != ERR_CORRUPT && why.code != ERR_NOT_FOUND && why.code != ERR_NOT_BUILT) {
		/* The store does not answer: that says nothing of what it holds. */
		err_set(l->e, why.code, "%s: %s", o->name, why.text);
		return err_hint(l->e, "try again; an object that is damaged for good can be moved out of the store");
	}
	w->r->unreadable++;
	rebuild_note(w, true, o->name, "%s; it is left out", why.text);
	rebuild_keep(w, o->name, "it could not be read");
	return 0;
}

int rebuild_segment_read_all(struct rebuild_work *w, struct err *e)
{
	struct listing l = {w, e};

	return w->r->store->driver->list(w->r->store, "segments/", on_object, &l, e);
}
