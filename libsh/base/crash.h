/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash points: the places between two durable effects, by name, at which a test can have a process die as of kill -9. DESIGN.md
 * ("Crash points") lists them with the reason why each is safe; tests/t0502-crash-points.t dies at each of them.
 *
 * CRASH_POINTS_ENV names a directory. A process that comes to the point X
 *
 *	dies,   if there is an empty file X, which it takes away first;
 *	stops,  if there is an empty file X.stop, which it takes away as well: the test can then kill others together with it.
 *
 * A file that is not empty becomes shorter by a byte, and the process goes on: so many passes are let by. Points are part of every
 * build, so that what is tested is what is shipped. Without the variable, which is asked for once, each costs a load and a branch,
 * and none lies on a path that every record takes.
 */
#ifndef SH_BASE_CRASH_H
#define SH_BASE_CRASH_H

#include <stdbool.h>

#define CRASH_POINTS_ENV "STREAMHOUSE_CRASH_POINTS"

extern bool crash_possible; /* false once it is known that the variable is not there */
void crash_reached(const char *name);

static inline void crash_point(const char *name)
{
	if (__builtin_expect(__atomic_load_n(&crash_possible, __ATOMIC_RELAXED), 0))
		crash_reached(name);
}

#endif
