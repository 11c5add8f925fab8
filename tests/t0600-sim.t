#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The simulator of the log's core: as many seeds as fit into its time, the same run for the same seed, and bugs that it must find.
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

out=$("$sim" --seeds 3000 --from 1 --for 40 2>&1) && good=0 || good=1
ok "the first 3000 seeds, or as many as 40 seconds take: no anomaly" test "$good" -eq 0
echo "$out" | sed 's/^/# /'

"$sim" --plant ack_before_sync --seeds 1 2>/dev/null && status=0 || status=$?
ok "the simulator has no planted bugs in it" test "$status" -eq 2

# Planted bugs are found. A slow machine, or a build with sanitizers, leaves out the last of those that are not asked for by SH_TEST_LONG.
found() {
	"$sim-plant" --plant "$1" --seeds 10000 --no-shrink >"$TMP/plant.out" 2>&1 && status=0 || status=$?
	ok "planted bug $1 is found" test "$status" -eq 1
	tail -n 1 "$TMP/plant.out" | sed 's/^/# /'
}
if [ -n "${SH_TEST_LONG-}" ]; then
	for plant in $("$sim" --plants | cut -d ' ' -f 1); do found "$plant"; done
else
	end=$(($(date +%s) + 8))
	for plant in recycle_before_commit ack_before_sync tail_cut_at_claim no_directory_sync cache_trusted back_in_time_taken \
		wal_crc_not_checked lease_not_checked sync_tried_again old_session_commits; do
		[ "$(date +%s)" -lt "$end" ] || { echo "# no time for $plant"; continue; }
		found "$plant"
	done
fi

done_testing
