/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world: time, the lives of the two agents, and what happens to them. A seed is some seconds of trouble, then a calm in which
 * everything must be read back.
 */
#include <stdlib.h>
#include <string.h>

#include "libsh/base/disk.h"
#include "tests/sim/sim.h"

enum { CALM_MS = 120000 };

static int64_t calm_at_ns, weather_at_ns, takeover_at_ns, back_until_ns;

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- lives ---- */

static void on_serving(void *ctx)
{
	struct node *n = ctx;

	n->serving = true;
	sim_event("serving", (int64_t)n->life, n->log->state);
	clients_start(n);
}

static void on_drained(void *ctx)
{
	struct node *n = ctx;

	sim_event("drained", (int64_t)n->life, 0);
	n->drained = true;
	n->end_at_ns = sim.now_ns;
	fiber_die();
}

static void life_main(void *ctx)
{
	struct node *n = ctx;

	n->self.loop = loop_new(NULL);
	n->self.settings = settings_new();
	settings_set(n->self.settings, "session.ttl", "1s", "sim", NULL);
	settings_set(n->self.settings, "segment.max_age", "150ms", "sim", NULL);
	settings_set(n->self.settings, "segment.max_bytes", "64k", "sim", NULL);
	settings_set(n->self.settings, "object.flush_interval", "20ms", "sim", NULL);
	settings_set(n->self.settings, "wal.sync", sim.wal_sync, "sim", NULL);
	n->log = log_new(&n->self);
	log_start(n->log, on_serving, n);
	loop_run(n->self.loop);
}

static void life_start(struct node *n)
{
	bool by_power = sim_percent(50);
	int64_t steps = 1 + (int64_t)sim_below(sim_percent(30) ? 60 : 3000);

	sim.node = n;
	n->life = ++sim.lives;
	n->up = true;
	n->serving = n->drained = n->failed = false;
	n->died = NULL;
	n->end_at_ns = INT64_MAX;
	n->paused_until_ns = 0;
	n->by_power = by_power;
	n->self.role = ROLE_AGENT;
	n->self.data_dir = "/d";
	n->self.count = 1;
	n->log = NULL;
	sim_event("life", n->number, steps);
	n->steps_left = sim_fault(by_power ? FAULT_POWER : FAULT_KILL, 950) ? steps : 0;
	fiber_start(life_main, n);
}

static void remove_durably(const char *dir, const char *name)
{
	char path[100];

	strcat(strcat(strcpy(path, dir), "/"), name);
	disk_unlink(path, NULL);
	disk_sync_dir(dir, NULL);
}

static void operator_tidies(struct node *n)
{
	sim.node = n;
	if (!disk_exists("/d/slots/0/wal/FAILED") || !(sim.calm || sim_percent(40)))
		return;
	sim_event("operator", 0, 0);
	remove_durably("/d/slots/0/wal", "FAILED");
}

static void life_end(struct node *n)
{
	sim.node = n;
	sim_event("end", (int64_t)n->life, n->by_power);
	fiber_end_life(n);
	peers_end_life(n);
	disk_close_all(n);
	memory_end_life(n);
	if (n->by_power)
		disk_power_loss(n);
	n->up = n->serving = false;
	n->self.loop = NULL;
	n->log = NULL;
	disk_space(n, false);
	if (n->ghost) { /* its disk is another's by now */
		n->ghost = false;
		disk_drop(n);
		return;
	}
	n->start_at_ns = sim.now_ns + (int64_t)sim_below(40 * MS);
	operator_tidies(n);
}

/* ---- the slot moves ---- */

/* From now on the owner is not heard, or stands still; when its lease is over the other machine gets its slot. */
static void takeover_begin(struct node *n)
{
	int64_t lease_ns = n->lease_until_ms * MS, until;

	takeover_at_ns = (lease_ns > sim.now_ns ? lease_ns : sim.now_ns) + MS + (int64_t)sim_below(sim_percent(50) ? 30 * MS : 300 * MS);
	until = takeover_at_ns + (int64_t)sim_below(400 * MS);
	if (sim_percent(50))
		n->cut_until_ns = until;
	else
		n->paused_until_ns = until - (int64_t)sim_below(sim_percent(30) ? 400 * MS : 1);
	if (calm_at_ns < until + 300 * MS)
		calm_at_ns = until + 300 * MS;
}

static void takeover(struct node *old)
{
	struct node *n = &sim.nodes[1 - old->number];

	sim.node = old;
	takeover_at_ns = INT64_MAX;
	if (old->lease_until_ms * MS >= sim.now_ns) { /* something got through */
		takeover_at_ns = old->lease_until_ms * MS + MS;
		return;
	}
	if (old->up && !old->serving)
		life_end(old);
	sim_event("takeover", old->up, old->paused_until_ns > sim.now_ns);
	meta_end_session();
	disk_copy(old, n);
	if (old->up)
		old->ghost = true;
	else
		disk_drop(old);
	old->steps_left = 0;
	sim.owner = sim.node = n;
	n->cut_until_ns = n->lease_until_ms = 0;
	n->start_at_ns = sim.now_ns + (int64_t)sim_below(20 * MS);
	operator_tidies(n);
}

/* ---- metadata that go back in time ---- */

static void metadata_back(struct node *n)
{
	sim_event("metadata back", 0, 0);
	sim.backs++;
	meta_go_back();
	back_until_ns = sim.now_ns + (int64_t)sim_below(500 * MS);
	if (calm_at_ns < back_until_ns + 300 * MS)
		calm_at_ns = back_until_ns + 300 * MS;
	if (n->up && sim_percent(50)) {
		n->by_power = false;
		n->end_at_ns = sim.now_ns;
	}
}

/* The agent refuses what is older than what it saw: the operator has the newest still, or builds the metadata anew. */
static void metadata_mended(struct node *n)
{
	back_until_ns = INT64_MAX;
	sim.node = n;
	if (!meta_is_back())
		return;
	if (sim_percent(60)) {
		sim_event("metadata put back", 0, 0);
		meta_put_back();
		return;
	}
	if (n->up)
		life_end(n);
	sim_event("metadata rebuilt", 0, 0);
	meta_rebuild();
	remove_durably("/d/slots/0", "seen");
}

/* ---- trouble ---- */

static void weather_of_metadata(struct node *n)
{
	if (sim_fault(FAULT_RETENTION, 500))
		meta_retain();
	if (sim_fault(FAULT_META_BACK, 40)) {
		/* Not while there is a ghost: its session would be the newest again. */
		if (back_until_ns == INT64_MAX && meta_can_go_back() && takeover_at_ns == INT64_MAX && !sim.nodes[1 - n->number].up)
			metadata_back(n);
		else if (!meta_is_back())
			meta_save();
	}
}

static void weather(struct node *n)
{
	sim.node = n;
	weather_at_ns = sim.now_ns + (int64_t)sim_below(60 * MS);
	if (sim_fault(FAULT_PAUSE, 30) && n->up && takeover_at_ns == INT64_MAX)
		n->paused_until_ns = sim.now_ns + (int64_t)sim_below(2500 * MS);
	if (sim_fault(FAULT_CLOCK, 50))
		sim.real_shift_ms += (int64_t)sim_below(20000) - 10000;
	if (sim_fault(FAULT_SPACE, 100))
		disk_space(n, sim_percent(30));
	weather_of_metadata(n);
	if (sim_fault(FAULT_ROT, 4) && !sim.rotten)
		sim.rotten = sim_percent(50) ? store_rot() : disk_rot(n);
	if (sim_fault(FAULT_KILL, 10) && n->up) {
		n->by_power = false;
		n->end_at_ns = sim.now_ns;
	}
	if (sim_fault(FAULT_TAKEOVER, 20) && n->serving && takeover_at_ns == INT64_MAX && !sim.nodes[1 - n->number].up &&
		!meta_is_back())
		takeover_begin(n);
}

static void drain(void *ctx)
{
	log_drain(sim.node->log, on_drained, ctx);
}

static void maybe_drain(struct node *n)
{
	if (!n->serving || !n->self.loop || n->log->state == LOG_DRAINING || !sim_fault(FAULT_DRAIN, 1))
		return;
	sim.node = n;
	memset(&n->drain_timer, 0, sizeof(n->drain_timer));
	memory_owner(n);
	loop_timer_set(n->self.loop, &n->drain_timer, 0, drain, n);
	memory_owner(NULL);
	loop_post(n->self.loop);
}

static void become_calm(void)
{
	struct node *n = sim.owner, *other = &sim.nodes[1 - n->number];

	sim.node = n;
	sim_event("calm", 0, 0);
	sim.calm = true;
	calm_at_ns = weather_at_ns = takeover_at_ns = INT64_MAX;
	for (int i = 0; i < NODES; i++)
		sim.nodes[i].paused_until_ns = sim.nodes[i].cut_until_ns = 0;
	if (other->up)
		life_end(other);
	if (n->up)
		life_end(n);
	else
		operator_tidies(n);
	metadata_mended(n);
	disk_space(n, false);
}

/* ---- time ---- */

static int64_t node_step(struct node *n)
{
	if (n->up && sim.now_ns >= n->end_at_ns)
		life_end(n);
	if (!n->up && n == sim.owner && sim.now_ns >= n->start_at_ns)
		life_start(n);
	if (n->up)
		maybe_drain(n);
	return n->up ? n->end_at_ns : n == sim.owner ? n->start_at_ns : INT64_MAX;
}

/* Everything that can happen now, or the clock moves on to when something can. */
static void world_step(void)
{
	int64_t next;

	if (sim.now_ns >= calm_at_ns)
		become_calm();
	if (sim.now_ns >= weather_at_ns)
		weather(sim.owner);
	if (sim.now_ns >= takeover_at_ns)
		takeover(sim.owner);
	if (sim.now_ns >= back_until_ns)
		metadata_mended(sim.owner);
	next = least(least(calm_at_ns, weather_at_ns), least(takeover_at_ns, back_until_ns));
	for (int i = 0; i < NODES; i++)
		next = least(next, node_step(&sim.nodes[i]));
	sim.node = sim.owner;
	if (peers_run(&next) || fiber_run_one(&next))
		return;
	if (next == INT64_MAX)
		sim_anomaly("nothing will ever happen again");
	else if (next > sim.now_ns)
		sim.now_ns = next;
}

static void world_begin(void)
{
	static const char *const syncs[] = {"always", "always", "always", "interval:10ms", "never"};

	for (int i = 0; i < NODES; i++) {
		sim.nodes[i].number = i;
		sim.nodes[i].start_at_ns = sim.now_ns;
		disk_drop(&sim.nodes[i]);
	}
	sim.node = sim.owner = &sim.nodes[0];
	peers_reset();
	meta_reset();
	clients_reset();
	calm_at_ns = sim.now_ns + (int64_t)(200 + sim_below(1500)) * MS;
	weather_at_ns = sim.now_ns;
	takeover_at_ns = back_until_ns = INT64_MAX;
	sim.wal_sync = syncs[sim_below(array_count(syncs))];
}

void world_run(void)
{
	const char *died = NULL;

	world_begin();
	while (!sim.anomaly[0] && !clients_checked()) {
		world_step();
		/* Damage that keeps the agent from starting is reported by that. */
		if (sim.rotten && sim.calm && sim.owner->died)
			break;
		if (sim.now_ns <= calm_at_ns && !sim.calm)
			continue;
		died = sim.owner->died ? sim.owner->died : died;
		if (!sim.calm_end_ns)
			sim.calm_end_ns = sim.now_ns + CALM_MS * MS;
		if (sim.now_ns > sim.calm_end_ns)
			sim_anomaly("not all could be read back in the calm%s%s", died ? ": " : "", died ? died : "");
	}
	for (int i = 0; i < NODES; i++) {
		fiber_end_life(&sim.nodes[i]);
		peers_end_life(&sim.nodes[i]);
		disk_close_all(&sim.nodes[i]);
		memory_end_life(&sim.nodes[i]);
	}
}
