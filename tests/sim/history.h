/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients were told, through all lives. Every record has a number of its own, from which its bytes follow. An offset is settled
 * once its record was acknowledged at level wal or object, or was read: from then on it must be read with these bytes, for ever, or
 * have expired, or its topic was deleted.
 */
#ifndef SH_SIM_HISTORY_H
#define SH_SIM_HISTORY_H

#include "tests/sim/sim.h"

enum {
	TOPICS = 2,
	PARTITIONS = 2,
	PARTS = TOPICS * PARTITIONS,
	OFFSETS = 30000,
	VALUES = 120000,
	VALUE_MAX = 9000,
};
struct topic_history { /* of a name */
	struct uuid id;            /* of the topic that has it now */
	bool known;
	unsigned generation;       /* how many had it before */
	unsigned deletes_asked;    /* since it came, or with an outcome that nobody knows */
};
struct history { /* of a partition */
	uint32_t settled[OFFSETS]; /* number of the record; 0: not settled */
	int64_t end;               /* above all that is settled */
	int64_t reader;            /* where the one that reads on is */
	bool complete;             /* in the calm: read to the end */
	bool reported;             /* that something in it is damaged */
};
struct value { /* a record */
	int64_t offset, timestamp;
	uint8_t part, producer;    /* producer: those of one keep their order */
	uint16_t generation;
	bool sent, settled;
};
extern struct history history[PARTS];
extern struct topic_history topic_history[TOPICS];
extern struct value values[VALUES];
extern const char *const history_names[TOPICS], *const history_configs[TOPICS];

void history_reset(void);
/* The first of so many new numbers; 0: there are no more. */
uint32_t history_numbers(unsigned count, int part, unsigned producer);
size_t history_write(uint32_t number, uint8_t *out); /* the record's bytes */
/* The table of topics says that this one has the name. False: it is an older one, of a ghost. */
bool history_topic(int i, const struct uuid *id);
void history_topic_missing(int i);
/* NULL: the log has none, or one of an older topic. */
struct partition *history_part(struct log *l, int i);
unsigned history_generation(int part);
/* The first `generation` counts: what was told of topics deleted since settles nothing. */
void history_settle(int part, unsigned generation, int64_t offset, uint32_t number, const char *how);
void history_given(int part, int64_t offset);        /* to a record that is new */
uint32_t history_check_record(int part, int64_t offset, struct bytes value); /* its number; 0: nobody sent it */
/* offset -1: there is none. `end` as it was when it was asked for. */
void history_check_seek(int part, int64_t timestamp, int64_t end, int64_t offset, int64_t log_start);
void history_damaged(int part, const char *what);     /* the log says so */

/* ---- producers.c ---- */
void producers_reset(void);
void producers_meet(struct log *l);                   /* it serves */
void producers_act(struct log *l);

#endif
