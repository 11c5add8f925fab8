/* SPDX-License-Identifier: Apache-2.0 */
/* The log with its meta and store in one process: append, wait, fetch, flush, seek, crash, recover, damage. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsh/base/disk.h"
#include "tests/helper/log_driver.h"
#include "tests/unit/tap.h"

static void test_life(void)
{
	struct partition *p, *q;

	create("a", 2, "{}");
	create("o", 1, "{\"durability\":\"object\"}");
	p = part("a", 0);
	q = part("o", 0);
	is_int(append(p, "one", 1000), 0, "the first record gets offset 0");
	is_int(append(p, "two", 3000), 1, "the second gets 1");
	is_int(wait_for(p, 2, DURABILITY_TOPIC), DURABILITY_WAL, "the default level is wal");
	is_str(fetch(p, 0), "one,two", "the tail reads back");
	append(p, "three", 2000);
	is_int(wait_for(p, 3, DURABILITY_NONE), DURABILITY_NONE, "level none is answered as such");
	wait_for(p, 3, DURABILITY_WAL);
	is_int(seek(p, 1500), 1, "seek in the tail");
	is_int(wait_for(p, 3, DURABILITY_OBJECT), DURABILITY_OBJECT, "level object on a wal topic");
	is_int(p->flushed_end, 3, "all of it is in a segment");
	is_int(p->private_->tail.count, 0, "nothing is left in the tail");
	is_str(fetch(p, 1), "two,three", "the segment reads back");
	append(p, "four", 4000);
	wait_for(p, 4, DURABILITY_WAL);
	is_str(fetch(p, 0), "one,two,three,four", "segment and tail join");
	is_int(seek(p, 2500), 1, "seek in a segment is exact to the record");
	is_int(seek(p, 3500), 3, "seek across into the tail");
	is_int(seek(p, 9000), -1, "seek behind the end");
	append(q, "x", 1);
	is_int(partition_high_watermark(q), 0, "an object topic shows nothing before the commit");
	is_int(wait_for(q, 1, DURABILITY_WAL), DURABILITY_OBJECT, "an object topic raises lower levels");
	is_str(fetch(q, 0), "x", "and shows it then");
	is_str(fetch(p, 99), "offset_out_of_range", "beyond the end");
}

static void test_store_down(void)
{
	struct partition *p = part("a", 1);

	fake_down(t.self, ROLE_STORE, true);
	append(p, "kept", 1);
	is_int(wait_for(p, 1, DURABILITY_WAL), DURABILITY_WAL, "level wal goes on without the store");
	is_str(fetch(p, 0), "kept", "and the tail is read");
	log_wait(t.log, &t.wait, p, 1, DURABILITY_OBJECT, on_wait);
	ok(!fake_run_until(t.self, &t.flag, 600), "level object waits");
	fake_down(t.self, ROLE_STORE, false);
	ok(run(15000) && !t.failed && t.reached == DURABILITY_OBJECT, "until the store is back");
}

/* What one process wrote and closed, the next reads. */
static void test_restart(const char *dir)
{
	start(dir, NULL, NULL);
	is_str(fetch(part("a", 0), 0), "one,two,three,four", "after a restart all is there");
	is_str(fetch(part("o", 0), 0), "x", "in every topic");
	stop();
}

/* A process that appends, tells what was acknowledged, and dies. */
static void test_crash(const char *dir)
{
	struct partition *p;
	int status;
	pid_t child;

	for (int round = 0; round < 3; round++) {
		fflush(stdout);
		child = fork();
		if (!child) {
			start(dir, NULL, NULL);
			p = part("a", 1);
			append(p, round == 0 ? "r0" : round == 1 ? "r1" : "r2", 10 + round);
			wait_for(p, p->end + 1, DURABILITY_WAL);
			_exit(t.reached >= DURABILITY_WAL ? 7 : 8);
		}
		waitpid(child, &status, 0);
		ok(WIFEXITED(status) && WEXITSTATUS(status) == 7, "round %d acknowledged, then died", round);
	}
	start(dir, NULL, NULL);
	is_str(fetch(part("a", 1), 0), "kept,r0,r1,r2", "what died processes acknowledged is there, once, in order");
	is_str(fetch(part("a", 0), 0), "one,two,three,four", "so is everything else");
	stop();
}

/* Damage one byte of the entry that holds the value: in the value, or in its header, two 64-byte steps before. */
static void flip(const char *dir, const char *value, bool header)
{
	char command[512];

	snprintf(command, sizeof(command),
		"for f in %s/slots/0/wal/*.wal; do o=$(LC_ALL=C grep -aobF '%s' $f | head -n 1 | cut -d: -f1); "
		"[ -z \"$o\" ] || { [ %d = 0 ] || o=$(((o / 64 - 2) * 64 + 9)); "
		"printf X | dd of=$f bs=1 seek=$o conv=notrunc 2>/dev/null; }; done",
		dir, value, header);
	if (system(command) != 0)
		printf("# flip failed\n");
}

static void test_damage(const char *dir, bool header)
{
	const char *name = header ? "h" : "d";
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		start(dir, NULL, NULL);
		fake_down(t.self, ROLE_STORE, true);
		create(name, 2, "{}");
		for (int i = 0; i < 6; i++) {
			char value[32];

			snprintf(value, sizeof(value), "damage-%d", i);
			append(part(name, i % 2), value, i + 1);
			wait_for(part(name, i % 2), i / 2 + 1, DURABILITY_WAL);
		}
		_exit(0);
	}
	waitpid(child, &status, 0);
	flip(dir, "damage-2", header); /* second of partition 0 */
	start(dir, NULL, NULL);
	is_str(fetch(part(name, 1), 0), "damage-1,damage-3,damage-5", "a partition without damage goes on");
	ok(part(name, 0)->damage != NULL, "the damaged one says why: %s", part(name, 0)->damage ? part(name, 0)->damage : "");
	is_str(fetch(part(name, 0), 0), "damage-0", "and serves what came before");
	is_int(append(part(name, 0), "no", 1), -1, "but takes nothing");
	is_int(append(part(name, 1), "yes", 1), 3, "the other does");
	wait_for(part(name, 1), 4, DURABILITY_OBJECT);
	stop();
	start(dir, NULL, NULL);
	ok(part(name, 0)->damage != NULL, "damage is remembered when the WAL is gone");
	is_str(fetch(part(name, 0), 0), "damage-0", "and what came before it is in a segment");
	is_str(fetch(part(name, 1), 0), "damage-1,damage-3,damage-5,yes", "the other goes on");
	stop();
}

/* The damage hits the last batch of its partition: nothing follows that would show the gap. */
static void test_damage_at_end(const char *dir, bool header)
{
	const char *name = header ? "eh" : "ev";
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		start(dir, NULL, NULL);
		fake_down(t.self, ROLE_STORE, true);
		create(name, 2, "{}");
		append(part(name, 0), header ? "last-h" : "last-v", 1);
		wait_for(part(name, 0), part(name, 0)->end + 1, DURABILITY_WAL);
		append(part(name, 1), "other", 1);
		wait_for(part(name, 1), part(name, 1)->end + 1, DURABILITY_WAL);
		_exit(0);
	}
	waitpid(child, &status, 0);
	flip(dir, header ? "last-h" : "last-v", header);
	start(dir, NULL, NULL);
	ok(part(name, 0)->damage != NULL, "a lost last batch is noticed (%s)", header ? "header" : "value");
	is_int(append(part(name, 0), "again", 1), -1, "and its offset is not given again");
	ok(!part(name, 1)->damage, "the other partition goes on");
	ok(!part("a", 0)->damage, "and those that were not in the damaged bytes");
	stop();
}

/* The operator accepts the loss in partition d-0: it goes on, and no offset is given twice. */
static void test_accept(const char *dir)
{
	char *damaged = mem_printf("%s/slots/0/quarantine/d-0.damaged", dir);
	char *accepted = mem_printf("%s/slots/0/quarantine/d-0.accepted", dir);
	struct err e = ERR_INIT;
	int status;
	pid_t child;

	is_int(disk_rename(damaged, accepted, &e), 0, "the mark is renamed");
	fflush(stdout);
	child = fork();
	if (!child) {
		start(dir, NULL, NULL);
		append(part("d", 0), "next", 9);
		_exit(wait_for(part("d", 0), part("d", 0)->end + 1, DURABILITY_WAL) == DURABILITY_WAL ? 0 : 1);
	}
	waitpid(child, &status, 0);
	is_int(status, 0, "the partition takes records again, and the process dies");
	start(dir, NULL, NULL);
	ok(!part("d", 0)->damage, "after another start it still does");
	is_str(fetch(part("d", 0), 0), "damage-0,next", "what was kept and what is new, across the gap");
	is_int(append(part("d", 0), "last", 10), 4, "offsets that may have been given before are not given again");
	is_int(wait_for(part("d", 0), 5, DURABILITY_OBJECT), DURABILITY_OBJECT, "the gap goes into a segment");
	is_str(fetch(part("d", 0), 0), "damage-0,next,last", "and is read across there");
	stop();
	start(dir, NULL, NULL);
	ok(!disk_exists(accepted), "the mark goes when the gap is committed");
	is_str(fetch(part("d", 0), 1), "next,last", "a reader inside the gap goes on behind it");
	stop();
	mem_free(damaged);
	mem_free(accepted);
}

int main(void)
{
	char dir[] = "/tmp/test-log-XXXXXX";
	char *command;

	if (!mkdtemp(dir))
		return 1;
	start(dir, NULL, NULL);
	test_life();
	test_store_down();
	stop();
	test_restart(dir);
	test_crash(dir);
	test_damage(dir, false);
	test_damage(dir, true);
	test_damage_at_end(dir, false);
	test_damage_at_end(dir, true);
	test_accept(dir);
	command = mem_printf("rm -rf %s", dir);
	if (system(command) != 0)
		printf("# %s is left behind\n", dir);
	mem_free(command);
	return done_testing();
}
