#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The simulator of the log's core: as many seeds as fit into its time, and the same run for the same seed.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

sim=$top_builddir/tests/sim/sim
# Address sanitizer says at its start that it does not know of fibers, but it is told of each switch. What it finds ends the program.
ASAN_OPTIONS=$(printf '%s' "$ASAN_OPTIONS" | sed 's/log_path=[^:]*/log_path=stderr/')
export ASAN_OPTIONS

# Seeds that found something once.
while read -r seed what; do
	case $seed in ''|'#'*) continue ;; esac
	out=$("$sim" --seed "$seed" 2>&1) && good=0 || good=1
	ok "seed $seed, which found: $what" test "$good" -eq 0
	[ "$good" -eq 0 ] || echo "$out" | sed 's/^/# /'
done <"$top_srcdir/tests/sim/regressions"

first=$("$sim" --seeds 20 --from 100 | tail -n 1)
again=$("$sim" --seeds 20 --from 100 | tail -n 1)
ok "the same seeds give the same hash over all that happened" test "$first" = "$again"
other=$("$sim" --seeds 20 --from 101 | tail -n 1)
ok "other seeds give another one" test "$first" != "$other"

out=$("$sim" --seeds 3000 --from 1 --for 20 2>&1) && good=0 || good=1
ok "the first 3000 seeds, or as many as 20 seconds take: no anomaly" test "$good" -eq 0
echo "$out" | sed 's/^/# /'

done_testing
