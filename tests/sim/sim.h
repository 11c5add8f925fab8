/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: the log's core of one agent, or of several lives of it, in one process and one thread, with a disk, clocks, a loop,
 * peers and clients that all follow one seed. DESIGN.md says what is simulated and what is not.
 *
 *   fiber.c    who runs next: the agent's loop and its threads are fibers; crashes
 *   disk.c     disk.h in memory: what is in the cache, what is on disk, which names are
 *   clock.c    clocks and the loop
 *   memory.c   mem.h, with the memory of a life freed when it ends
 *   peers.c    peer_call(): delays, losses, doubles; the store
 *   meta.c     the metadata's contract, in memory
 *   clients.c  who produces and consumes, and checks every history
 *   sim.c      seeds, faults, shrinking, main()
 */
#ifndef SH_SIM_H
#define SH_SIM_H

#include <setjmp.h>
#include "daemon/agent/log/log_private.h"
#include "libsh/base/err.h"

enum fault { /* classes, so that a failing seed can be shrunken to those it needs */
	FAULT_KILL, FAULT_POWER, FAULT_SYNC, FAULT_WRITE, FAULT_SPACE, FAULT_READ, FAULT_PEERS, FAULT_STORE, FAULT_PAUSE, FAULT_CLOCK, FAULT_DRAIN,
	FAULT_RETENTION, FAULT_COUNT
};
#define MS INT64_C(1000000)

struct node { /* the machine of an agent */
	struct role_self self;
	struct log *log;
	struct clients *clients;
	bool up, serving, drained;
	const char *died;            /* why this life ended by itself */
	uint64_t life;
	int64_t start_at_ns, paused_until_ns, end_at_ns; /* end: of this life, by its power or a signal */
	int64_t steps_left;          /* until it crashes in the middle of what it does; 0: it does not */
	bool by_power;
	bool failed;                 /* a write or sync failed in this life */
};

struct sim {
	uint64_t seed, random, trace;
	unsigned faults;             /* bits of enum fault that may happen */
	bool calm;                   /* the end: no more faults, everything must come back */
	int64_t now_ns, real_shift_ms;
	struct node node;
	char anomaly[500];
	bool verbose;
	uint64_t events;
};
extern struct sim sim;

/* ---- chance and history ---- */
uint64_t sim_random(void);
uint64_t sim_below(uint64_t n);                 /* 0 to n-1 */
bool sim_percent(unsigned percent);
bool sim_fault(enum fault f, unsigned per_mille); /* whether it happens now */
/* One thing that happened: goes into the hash, and into the trace when it is printed. */
void sim_event(const char *what, int64_t a, int64_t b);
void sim_anomaly(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

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
void fiber_end_all(void);                       /* the life is over */

/* ---- disk.c ---- */
void disk_reset(void);                          /* an empty one */
void disk_power_loss(void);
void disk_close_all(void);                      /* the process is gone: descriptors and locks */
int disk_anonymous(void);                       /* an empty file without a name */
int disk_open_again(int fd);                       /* a second descriptor, for another process */
void disk_space(bool full);

/* ---- clock.c ---- */
void clock_reset(void);
void loop_post(struct loop *l);                 /* something came for it */

/* ---- memory.c ---- */
void memory_owner(bool life);                   /* who owns what is allocated from now on */
bool memory_owned_by_life(void);
void memory_end_life(void);

/* ---- peers.c, meta.c ---- */
void peers_reset(void);
void peers_end_life(void);
extern int64_t peers_lease_until_ms;
bool peers_run(int64_t *next_ns);               /* what is due */
void peers_answer(void);                        /* on the agent's loop: answers that came */
void meta_reset(void);
int meta_call(int type, const void *body, void *reply, struct arena *a, struct err *e);
int meta_intent(uint64_t session, const char *name, uint64_t *number, uint64_t *newest, struct err *e);
void meta_retain(void);                         /* a random step of retention and garbage */
int64_t meta_log_start(const struct uuid *topic, uint32_t partition);
/* Removes what is dead from the store. */
void store_remove(const char *name);

/* ---- clients.c ---- */
void clients_reset(void);
void clients_start(struct node *n);             /* the log serves */
bool clients_checked(void);                     /* in the calm: everything was read back */

#endif
