/* SPDX-License-Identifier: Apache-2.0 */
/* WAL: layout, and the scan that tells damage from a torn tail. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "libsh/base/disk.h"
#include "libsh/store/wal_file.h"
#include "libsh/store/window.h"
#include "tests/unit/tap.h"
#include "tests/unit/wal_fixture.h"

enum { BASE_FILE = 3, MAX_SEEN = 64 };
static const uint64_t base = (uint64_t)BASE_FILE * WAL_FILE_BYTES;

struct seen {
	int entries, damages, stop_at;
	uint64_t lsn[MAX_SEEN], from, to;
	uint64_t damaged;
};

static int on_entry(void *ctx, const struct wal_entry *entry, const void *batch)
{
	struct seen *s = ctx;

	if (s->entries < MAX_SEEN)
		s->lsn[s->entries] = entry->lsn;
	s->entries++;
	if ((batch != NULL) != (entry->length != 0))
		abort();
	return s->stop_at && s->entries == s->stop_at ? 77 : 0;
}

static int on_damage(void *ctx, uint64_t from, uint64_t to)
{
	struct seen *s = ctx;

	s->damages++;
	s->from = from;
	s->to = to;
	s->damaged += to - from;
	return 0;
}

static const struct wal_scan_handlers handlers = {on_entry, on_damage};

static int scan(const struct wal_fixture *w, uint64_t limit, struct seen *s, struct wal_scan_result *r)
{
	memset(s, 0, sizeof(*s));
	return wal_scan(w->fd, limit, false, &handlers, s, r, NULL);
}

static void flip(const struct wal_fixture *w, uint64_t position, uint8_t mask)
{
	uint8_t byte;

	if (pread(w->fd, &byte, 1, (off_t)position) != 1)
		abort();
	byte ^= mask;
	if (pwrite(w->fd, &byte, 1, (off_t)position) != 1)
		abort();
}

/* Save and restore a stretch, so that a test can tear it. */
static void peek(const struct wal_fixture *w, uint64_t position, uint8_t *p, size_t n)
{
	if (pread(w->fd, p, n, (off_t)position) != (ssize_t)n)
		abort();
}

static void poke(const struct wal_fixture *w, uint64_t position, const uint8_t *p, size_t n)
{
	if (pwrite(w->fd, p, n, (off_t)position) != (ssize_t)n)
		abort();
}

static void test_header(void)
{
	struct wal_file_header h = {.generation = 9, .base_lsn = base, .previous_end_lsn = 77, .session = 5,
		.slot = fixture_id(2), .created_ms = -3}, back;
	uint8_t p[WAL_HEADER_BYTES];
	struct err e = ERR_INIT;
	int missed = 0;

	wal_file_header_write(&h, p);
	ok(wal_file_header_read(p, &back, &e) == 0 && back.generation == 9 && back.base_lsn == base &&
		back.previous_end_lsn == 77 && back.session == 5 && uuid_equal(&back.slot, &h.slot) && back.created_ms == -3,
		"a file header reads back as written");
	for (int i = 0; i < 160 * 8; i++) {
		if (i / 8 == 10 || i / 8 == 11)
			continue; /* a newer minor version is readable */
		p[i / 8] ^= (uint8_t)(1 << i % 8);
		missed += wal_file_header_read(p, &back, &e) == 0;
		p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	is_int(missed, 0, "every flipped bit of a file header is noticed");
	p[8]++;
	wal_file_header_read(p, &back, &e);
	is_int(e.code, ERR_NOT_BUILT, "a newer major version is refused as such");
}

static void test_entry(void)
{
	struct wal_entry entry = {.generation = 4, .lsn = base + 8192, .synced_lsn = base + 4096, .topic = fixture_id(1),
		.partition = 2, .epoch = 3, .previous_end = 10, .append_ms = 99, .type = WAL_BATCH}, back;
	struct buf batch;
	uint8_t *p;
	size_t n, need = 0;
	int wrong = 0;

	fixture_batch(&batch, 10, 3, 4, 20, CODEC_NONE);
	entry.length = (uint32_t)batch.len;
	n = WAL_ENTRY_BYTES + batch.len;
	p = mem_zalloc(n);
	wal_entry_write(&entry, batch.data, p);
	memcpy(p + WAL_ENTRY_BYTES, batch.data, batch.len);
	ok(wal_entry_read(p, n, entry.lsn, 4, true, &back, &need) == WAL_VALID && back.partition == 2 && back.epoch == 3 &&
		back.previous_end == 10 && back.append_ms == 99 && back.length == entry.length && back.type == WAL_BATCH &&
		back.synced_lsn == base + 4096 && uuid_equal(&back.topic, &entry.topic), "an entry reads back as written");
	for (size_t i = 0; i < n; i++)
		wrong += wal_entry_read(p, i, entry.lsn, 4, true, &back, &need) != WAL_SHORT || need <= i || need > n;
	is_int(wrong, 0, "every prefix is short and says how much is needed");
	wrong = 0;
	for (size_t i = 0; i < n * 8; i++) {
		p[i / 8] ^= (uint8_t)(1 << i % 8);
		wrong += wal_entry_read(p, n, entry.lsn, 4, true, &back, &need) == WAL_VALID;
		p[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	is_int(wrong, 0, "every flipped bit of an entry is noticed");
	is_int(wal_entry_read(p, n, entry.lsn + 64, 4, true, &back, &need), WAL_INVALID, "an entry at another LSN is none");
	is_int(wal_entry_read(p, n, entry.lsn, 5, true, &back, &need), WAL_INVALID, "an entry of another generation is none");
	mem_free(p);
	buf_release(&batch);
}

/* Ten entries with a sync after each but the last three. Returns where each begins; [10] is the end. */
static void fill(struct wal_fixture *w, uint64_t at[11])
{
	fixture_open(w, 4, base);
	for (int i = 0; i < 10; i++) {
		at[i] = w->position;
		fixture_append(w, 1, 0, 10 * i, 10, 4, (size_t)(1 + 13 * i), CODEC_NONE);
		if (i < 7)
			w->synced = w->base + w->position;
	}
	at[10] = w->position;
}

static void test_clean(void)
{
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	uint64_t at[11];

	fill(&w, at);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.entries == 10 && s.damages == 0, "a clean file scans");
	ok(r.end_lsn == base + at[10] && r.synced_lsn == base + at[7] && r.entries == 10, "end and synced LSN are right");
	ok(scan(&w, base + at[5], &s, &r) == 0 && s.entries == 5 && r.end_lsn == base + at[5] &&
		r.synced_lsn == base + at[5], "nothing behind the limit is read");
	ok(scan(&w, base + WAL_HEADER_BYTES, &s, &r) == 0 && s.entries == 0, "a limit at the first entry leaves none");
	ok(scan(&w, base, &s, &r) == 0 && s.entries == 0 && s.damages == 0, "a limit at the base leaves none");
	memset(&s, 0, sizeof(s));
	s.stop_at = 4;
	is_int(wal_scan(w.fd, UINT64_MAX, false, &handlers, &s, &r, NULL), 77, "a handler can stop the scan");
	memset(&s, 0, sizeof(s));
	ok(wal_scan(w.fd, UINT64_MAX, true, &handlers, &s, &r, NULL) == 0 && s.entries == 10, "a direct scan sees the same");
	close(w.fd);
}

/* The last entries are not synced: whatever is missing of them is a torn tail. */
static void test_torn(void)
{
	static uint8_t saved[1 << 16], zeros[1 << 16];
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	uint64_t at[11];
	int wrong = 0, cuts = 0;
	size_t n;

	fill(&w, at);
	n = at[10] - at[7];
	peek(&w, at[7], saved, n);
	for (size_t cut = 0; cut < n; cut++, cuts++) {
		int want = 7;

		poke(&w, at[7] + cut, zeros, n - cut);
		for (int i = 7; i < 10; i++) {
			struct wal_entry entry;
			size_t need, have = at[i + 1] - at[i];

			/* complete but for the padding is complete */
			wal_entry_read(saved + (at[i] - at[7]), have, base + at[i], 4, false, &entry, &need);
			want += at[7] + cut >= at[i] + WAL_ENTRY_BYTES + entry.length;
		}
		if (scan(&w, UINT64_MAX, &s, &r) || s.damages || s.entries < want || r.end_lsn != base + at[s.entries])
			wrong++;
		if (s.entries > want && saved[cut]) /* more only if what was cut away was zero */
			wrong++;
		poke(&w, at[7], saved, n);
	}
	ok(wrong == 0 && cuts > 1000, "torn at each of %d bytes: no damage, every whole entry kept", cuts);
	wrong = 0;
	for (size_t i = 0; i < at[8] - at[7] - 64; i++) {
		flip(&w, at[7] + i, 0x10);
		wrong += scan(&w, UINT64_MAX, &s, &r) || s.damages || s.entries != 7;
		flip(&w, at[7] + i, 0x10);
	}
	is_int(wrong, 0, "a hole among entries that nobody claims as synced is the end, whatever is behind it");
	close(w.fd);
}

static void test_damage(void)
{
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	uint64_t at[11];
	struct wal_entry entry;
	uint8_t p[4096];
	size_t need;
	int wrong = 0;

	fill(&w, at);
	peek(&w, at[3], p, at[4] - at[3]);
	wal_entry_read(p, at[4] - at[3], base + at[3], 4, true, &entry, &need);
	for (size_t i = 0; i < (size_t)WAL_ENTRY_BYTES + entry.length; i++) {
		flip(&w, at[3] + i, (uint8_t)(1 << i % 8));
		if (scan(&w, UINT64_MAX, &s, &r) || s.damages != 1 || s.entries != 9 || s.from != base + at[3] ||
			s.to != base + at[4] || s.lsn[3] != base + at[4] || r.damaged_bytes != at[4] - at[3])
			wrong++;
		flip(&w, at[3] + i, (uint8_t)(1 << i % 8));
	}
	is_int(wrong, 0, "each flipped byte of a synced entry is reported as damage, and the rest is found");
	close(w.fd);
}

static void test_damage_at_border(void)
{
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	uint64_t at[11];

	fill(&w, at);
	flip(&w, at[6], 1);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.damages == 1 && s.entries == 9 && s.to == base + at[7],
		"the last synced entry: damage, known from the claims behind it");
	flip(&w, at[7], 1);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.damages == 1 && s.entries == 6 && s.from == base + at[6] &&
		s.to == base + at[7] && r.end_lsn == base + at[7], "damage that reaches over the border ends at the border");
	flip(&w, at[6], 1);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.damages == 0 && s.entries == 7, "the first entry that is not: the end");
	flip(&w, at[7], 1);
	flip(&w, at[2], 1);
	flip(&w, at[4], 1);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.damages == 2 && s.entries == 8, "two holes are told apart");
	ok(r.synced_lsn == base + at[7] && r.end_lsn == base + at[10], "end and synced LSN are right behind holes");
	flip(&w, at[2], 1);
	flip(&w, at[4], 1);
	flip(&w, at[8] + 10, 1);
	ok(scan(&w, base + at[10], &s, &r) == 0 && s.damages == 1 && s.from == base + at[8] && s.entries == 9,
		"below the limit all was synced: a hole there is damage");
	flip(&w, at[9] + 10, 1);
	ok(scan(&w, base + at[10], &s, &r) == 0 && s.damages == 1 && s.to == base + at[10] && r.end_lsn == base + at[10],
		"damage up to the limit is reported up to the limit");
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.damages == 0 && s.entries == 8, "without the limit it is a torn tail");
	close(w.fd);
}

/* Behind the end stands what the file held before it was recycled. */
static void test_stale(void)
{
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	uint64_t end, stale_end;

	fixture_open(&w, 4, base);
	for (int i = 0; i < 20; i++) {
		fixture_append(&w, 1, 0, i, 1, 4, 100, CODEC_NONE);
		w.synced = w.base + w.position;
	}
	stale_end = w.position;
	w.generation = 5;
	w.position = WAL_HEADER_BYTES;
	w.synced = w.base;
	{
		struct wal_file_header h = {.generation = 5, .base_lsn = base};
		uint8_t p[WAL_HEADER_BYTES];

		wal_file_header_write(&h, p);
		poke(&w, 0, p, sizeof(p));
	}
	for (int i = 0; i < 5; i++)
		fixture_append(&w, 1, 0, 100 + i, 1, 4, 100, CODEC_NONE);
	end = w.position;
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.entries == 5 && s.damages == 0 && r.end_lsn == base + end && end < stale_end,
		"entries of an older generation are not read, nor do their claims count");
	flip(&w, WAL_HEADER_BYTES + 30, 1);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.entries == 0 && s.damages == 0, "without a claim the first entry may be torn");
	fixture_sync_mark(&w);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.damages == 1 && s.entries == 5, "a sync mark is enough of a claim");
	close(w.fd);
}

static void test_large(void)
{
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	uint64_t last = 0;
	int n = 0;

	fixture_open(&w, 4, base);
	for (; w.position < 10 << 20; n++) {
		last = w.position;
		fixture_append(&w, 1, 0, 1000 * n, 900, 8, 1000, n % 2 ? CODEC_LZ4 : CODEC_NONE);
	}
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.entries == n && s.damages == 0, "entries larger than the window are read");
	memset(&s, 0, sizeof(s));
	ok(wal_scan(w.fd, UINT64_MAX, true, &handlers, &s, &r, NULL) == 0 && s.entries == n, "also directly");
	if (ftruncate(w.fd, (off_t)(last + 500)))
		abort();
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.entries == n - 1 && s.damages == 0, "a file cut short ends with its last whole entry");
	ok(scan(&w, base + w.position, &s, &r) == 0 && s.entries == n - 1 && s.damages == 1, "or is damaged, when it is known to be longer");
	if (ftruncate(w.fd, 100))
		abort();
	ok(scan(&w, UINT64_MAX, &s, &r) == -1, "a file shorter than its header is an error");
	close(w.fd);
}

static void test_must_understand(void)
{
	struct wal_scan_result r;
	struct wal_fixture w;
	struct seen s;
	struct err e = ERR_INIT;
	struct wal_entry entry = {.type = 0x0123, .length = 5};

	fixture_open(&w, 4, base);
	fixture_append(&w, 1, 0, 0, 1, 4, 10, CODEC_NONE);
	fixture_put(&w, &entry, "hello");
	fixture_append(&w, 1, 0, 1, 1, 4, 10, CODEC_NONE);
	ok(scan(&w, UINT64_MAX, &s, &r) == 0 && s.entries == 2 && r.entries == 3, "an unknown entry that may be is passed over");
	entry.type = 0x8123;
	fixture_put(&w, &entry, "hello");
	memset(&s, 0, sizeof(s));
	ok(wal_scan(w.fd, UINT64_MAX, false, &handlers, &s, &r, &e) == -1 && e.code == ERR_NOT_BUILT,
		"one that must be understood stops the scan");
	close(w.fd);
}

static void write_wal(const char *dir, const char *name, uint64_t file_base, uint64_t generation)
{
	struct wal_file_header h = {.generation = generation, .base_lsn = file_base};
	uint8_t p[WAL_HEADER_BYTES];
	char path[512];

	wal_file_header_write(&h, p);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (disk_write_file(path, p, sizeof(p), 0600, NULL))
		abort();
}

static void test_list(void)
{
	char dir[] = "/tmp/test-wal-XXXXXX", path[600];
	static const char *const names[] = {"0000000008000000.wal", "0000000004000000.wal", "000000000c000000.wal",
		"0000000010000000.wal", "0000000000000000.spare", "FAILED"};
	struct wal_file_name *files;
	size_t count, bad;

	if (!mkdtemp(dir))
		abort();
	write_wal(dir, names[0], 0x8000000, 2);
	write_wal(dir, names[1], 0x4000000, 1);
	write_wal(dir, names[4], 0, 1);
	write_wal(dir, names[3], 0x4000000, 9); /* header of another file */
	snprintf(path, sizeof(path), "%s/%s", dir, names[2]);
	disk_write_file(path, "short", 5, 0600, NULL);
	snprintf(path, sizeof(path), "%s/%s", dir, names[5]);
	disk_write_file(path, "1", 1, 0600, NULL);
	ok(wal_list(dir, &files, &count, &bad, NULL) == 0 && count == 2 && bad == 2 && files[0].header.generation == 1 &&
		files[1].header.generation == 2, "files are listed by base LSN, unreadable ones counted, others left out");
	wal_list_free(files, count);
	for (size_t i = 0; i < array_count(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	rmdir(dir);
}

/* Wherever it is moved to, and whatever it kept of where it was, a window shows what stands in the file. */
static void test_window(size_t file_bytes, bool direct, size_t read_bytes)
{
	char path[] = "sh-test-window.XXXXXX";
	uint8_t *bytes = mem_alloc(file_bytes);
	int fd = mkstemp(path), wrong = 0, failed = 0;
	struct window w;
	uint64_t position = 0;

	for (size_t i = 0; i < file_bytes; i++)
		bytes[i] = (uint8_t)(i * i >> 9 ^ i >> 2);
	if (fd < 0 || unlink(path) || disk_pwrite(fd, bytes, file_bytes, 0, NULL) || disk_sync(fd, NULL) ||
		window_open(&w, fd, direct, read_bytes, NULL))
		abort();
	for (unsigned i = 0; i < 2000; i++) {
		size_t need = (size_t)random() % (random() % 8 ? 3000 : 40000), have;
		const uint8_t *p = window_at(&w, position, need, &have, NULL);

		failed += !p;
		if (p)
			wrong += position > file_bytes ? have != 0 :
				have > file_bytes - position || (have < need && have != file_bytes - position) ||
					memcmp(p, bytes + position, have) != 0;
		/* mostly on, sometimes a little back, or anywhere, behind the end as well */
		if (random() % 16)
			position += need;
		else if (random() % 2)
			position -= position < 5000 ? position : (uint64_t)random() % 5000;
		else
			position = (uint64_t)random() % (file_bytes + 1000);
		if (position > file_bytes + 1000)
			position = 0;
	}
	ok(!failed && !wrong, "a window of %zu over %zu bytes%s: %d reads failed, %d showed something else", read_bytes,
		file_bytes, direct ? ", past the page cache" : "", failed, wrong);
	window_close(&w);
	close(fd);
	mem_free(bytes);
}

int main(void)
{
	test_header();
	test_entry();
	test_clean();
	test_torn();
	test_damage();
	test_damage_at_border();
	test_stale();
	test_large();
	test_must_understand();
	test_list();
	for (int direct = 0; direct < 2; direct++) {
		test_window(256 << 10, direct, 16 << 10);
		test_window((256 << 10) + 777, direct, 16 << 10);
		test_window((64 << 10) + 4096, direct, 141);
	}
	return done_testing();
}
