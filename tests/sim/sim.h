/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: the log's core of two agents, in many lives, in one process and one thread, with disks, clocks, loops,
 * peers and clients that all follow one seed. DESIGN.md says what is simulated and what is not.
 *
 *   fiber.c    who runs next: the agent's loop and its threads are fibers; crashes
 *   disk.c     disk.h in memory: what is in the cache, what is on disk, which names are
 *   clock.c    clocks and the loop
 *   memory.c   mem.h, with the memory of a life freed when it ends
 *   peers.c    peer_call(): delays, losses, doubles; the store
 *   meta.c     the metadata's contract, in memory
 *   clients.c, producers.c  who produces and consumes; history.c: what they were told, and whether it holds
 *   chance.c   draws, faults, the hash over all that happened
 *   world.c    time, lives, what happens to them
 *   sim.c      seeds, shrinking, main()
 */
#ifndef SH_SIM_H
#define SH_SIM_H

#include <setjmp.h>
#include "daemon/agent/log/log_private.h"
#include "libsh/base/err.h"

/* Classes of what happens to it. */
#define FAULT_LIST(F)                                                                                  \
	F(KILL, "kill") F(POWER, "power") F(SYNC, "sync") F(WRITE, "write") F(SPACE, "space")          \
	F(READ, "read") F(PEERS, "peers") F(STORE, "store") F(PAUSE, "pause") F(CLOCK, "clock")        \
	F(DRAIN, "drain") F(RETENTION, "retention") F(TAKEOVER, "takeover") F(META_BACK, "meta-back")  \
	F(DELETE, "delete") F(ROT, "rot")
#define F(name, text) FAULT_##name,
enum fault { FAULT_LIST(F) FAULT_COUNT };
#undef F
enum { NODES = 2 };
#define MS INT64_C(1000000)

/*
 * The machine of an agent. One of the two has the slot; when it was cut off or paused for longer than its lease lasts, the other gets
 * its disk as it would be found (its volume moved), and the session is over: from then on the first is a ghost.
 */
struct node {
	int number;
	bool ghost;
	bool ended;                  /* nothing of this life runs again */
	struct role_self self;
	struct log *log;
	struct clients *clients;
	struct timer drain_timer;
	bool up, serving, drained;
	const char *died;            /* why this life ended by itself */
	uint64_t life;
	int64_t start_at_ns, paused_until_ns, end_at_ns; /* end: of this life, by its power or a signal */
	int64_t cut_until_ns;        /* its peers hear nothing of it */
	int64_t lease_until_ms;      /* what the newest renewal that succeeded is worth, without any margin */
	int64_t steps_left;          /* until it crashes in the middle of what it does; 0: it does not */
	bool by_power;
	bool failed;                 /* a read, write or sync failed in this life */
};

enum { SKIP_MAX = 4096, READERS_MAX = 3 };
struct limits { /* a seed that failed is run again with less */
	unsigned faults;             /* bits of enum fault that may happen */
	uint32_t appends, readers;
	bool skip[SKIP_MAX];         /* faults, by their number, that do not happen */
};
enum { VERBOSE_NONE, VERBOSE_END /* lines are kept for sim_print_end() */, VERBOSE_ALL };

struct sim {
	uint64_t seed, random, trace;
	struct limits limits;
	uint32_t hits, appends;      /* faults that happened or were skipped; appends tried */
	bool calm;                   /* the end: no more faults, everything must come back */
	int64_t now_ns, real_shift_ms, calm_end_ns;
	const char *wal_sync;
	uint64_t lives;
	struct node nodes[NODES], *node; /* node: whose turn it is */
	struct node *owner;          /* of the slot */
	char anomaly[500];
	const char *anomaly_kind;    /* its format */
	int verbose;
	uint64_t events;
	bool rotten;                 /* something on disk or in the store was changed behind everybody's back */
	unsigned backs;              /* how often metadata went back */
	bool went_back;              /* and the older metadata were taken for good */
};
extern struct sim sim;

/* ---- chance and history ---- */
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);                 /* 0 to n-1 */
bool sim_percent(unsigned percent);
bool sim_fault(enum fault f, unsigned per_mille); /* whether it happens now */
/* One thing that happened: goes into the hash, and into the trace when it is printed. */
void sim_event(const char *what, int64_t a, int64_t b);
void sim_print_end(void);
void sim_anomaly(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- world.c ---- */
void world_run(void);                           /* one seed */

/* ---- fiber.c ---- */
void fiber_start(void (*run)(void *), void *arg);
/* Others may run; until then, at least. wait NULL: nobody but the clock wakes it. Returns whether it was woken. */
bool fiber_wait(const void *wait, int64_t until_ns);
void fiber_wake(const void *wait);
/* A step of the agent: others may come first, or it may be the last. */
void fiber_step(void);
void fiber_die(void) __attribute__((noreturn));
bool fiber_inside(void);                        /* called by a fiber, not by the world */
/* Run one that can; false: none can before the clock moves on. *next_ns: when one can at the latest. */
bool fiber_run_one(int64_t *next_ns);
void fiber_end_life(struct node *n);            /* the life is over */

/* ---- disk.c ---- */
void disk_drop(const struct node *n);           /* an empty one */
void disk_power_loss(const struct node *n);
void disk_close_all(const struct node *n);      /* the process is gone: descriptors and locks */
void disk_copy(const struct node *from, struct node *to);
int disk_anonymous(void);                       /* an empty file without a name */
int disk_open_again(int fd);                    /* a second descriptor, for another process */
bool disk_rot(const struct node *n);            /* a bit of what was synced; false: there is nothing for it */
void disk_space(const struct node *n, bool full);

/* ---- clock.c ---- */
void clock_reset(void);
void loop_post(struct loop *l);                 /* something came for it */

/* ---- memory.c ---- */
/* Whose life owns what is allocated from now on; NULL: the world. Returns who did before. */
struct node *memory_owner(struct node *n);
void memory_end_life(const struct node *n);

/* ---- peers.c, meta.c ---- */
void peers_reset(void);
void peers_end_life(const struct node *n);
bool peers_run(int64_t *next_ns);               /* what is due */
void peers_answer(void);                        /* on the agent's loop: answers that came */
void meta_reset(void);
void meta_end_session(void);                    /* whoever moves a slot does it first */
int meta_call(int type, const void *body, void *reply, struct arena *a, struct err *e);
int meta_intent(uint64_t session, const char *name, uint64_t *number, uint64_t *newest, struct err *e);
/* Older metadata come back: save, then go back, while the agent refuses them; then the newest again, or built anew from segments. */
void meta_save(void);
bool meta_can_go_back(void);
void meta_go_back(void);
bool meta_is_back(void);
void meta_accepted(uint64_t seen, uint64_t session); /* by an agent that has seen so much; nothing if it will refuse */
void meta_put_back(void);
void meta_rebuild(void);
void meta_retain(void);                         /* a random step of retention and garbage */
int64_t meta_log_start(const struct uuid *topic, uint32_t partition);
void peers_meta_restarts(void);                 /* what it was asked and has not answered stays open */
/* What the segment's footer says; false: it is not there. */
bool store_runs(const char *name, struct arena *a, struct segment_run **runs, size_t *count, uint64_t *bytes, uint32_t *crc);
struct uuid sim_uuid(void);
bool store_rot(void);
/* Removes what is dead from the store. */
void store_remove(const char *name);

/* ---- clients.c ---- */
void clients_reset(void);
void clients_start(struct node *n);             /* the log serves */
bool clients_checked(void);                     /* in the calm: everything was read back */

#endif
