# SPDX-License-Identifier: Apache-2.0
# kill -9 of the whole family at random moments under load, again and again; then of single roles. Everything that was
# acknowledged reads back exactly once, in order, at the offset that was given; what was read before is still there.
#
# SH_TEST_SEED repeats the moments and the records of a failure (as far as a scheduler allows); SH_TEST_ROUNDS sets how often.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

. "$top_srcdir/tests/lib-crash.sh"

crash_seed 12 300 4

# Small files of everything, so that a few seconds see many segments, recycled WAL files and folded rows.
start() {
	start_shd -O segment.max_age=1s -O segment.max_bytes=1M -O object.flush_interval=50ms
}

start
create_topic crash

# ---- the whole family -------------------------------------------------------------------------------------------------
load_start crash --writers 4 --partitions 4 --level mixed
round=0 stuck=
while [ "$round" -lt "$rounds" ]; do
	round=$((round + 1))
	before=$(progress acked)
	if ! wait_for "acked_more_than ${before:-0}" 30; then
		stuck="nothing was acknowledged within 30 s of start $round"
		break
	fi
	random 700
	pause_ms "$drawn"
	kill_shd
	# Sometimes killed again while it recovers.
	random 4
	if [ "$drawn" -eq 0 ]; then
		launch_shd -O segment.max_age=1s -O segment.max_bytes=1M
		random 120
		pause_ms "$drawn"
		kill_shd
	fi
	start
done
is "$stuck" '' "it serves again after each of $rounds kills"
before=$(progress acked)
wait_for "acked_more_than ${before:-0}" 30
load_stop
is "$load_status" 0 'no answer contradicted another while it went on'
ok 'after the kills everything acknowledged is there once, in order, unchanged' \
	load_check crash
diag_file "$TMP/ok.out"
is "$(find "$DATA/slots" -path '*/quarantine/*' -type f | wc -l)" 0 'nothing is in quarantine'

# The same from segments and WAL after an orderly stop, and by a look at the data directory without a daemon.
stop_shd
is "$?" 0 'it stops in order'
ok 'streamctl check finds no damage' "$STREAMCTL" check "$DATA" --read-data
start
ok 'after an orderly restart as well' \
	load_check crash

# ---- single roles --------------------------------------------------------------------------------------------------
# A killed role comes back by itself; clients see a pause, not a loss. Longer pauses of the throttle only follow a second death.
for role in store meta janitor agent; do
	create_topic "role-$role"
	load_start "role-$role" --writers 4 --partitions 4 --level mixed
	wait_for 'acked_more_than 200' 30 || diag 'the load does not get going'
	killed=$(shd_pid "$role")
	if ! ok "$role runs" test -n "$killed"; then
		load_stop
		continue
	fi
	kill -KILL "$killed"
	ok "$role is started again" wait_for '[ -n "$(shd_pid "$role")" ] && [ "$(shd_pid "$role")" != "$killed" ]' 20
	before=$(progress acked)
	ok "records are acknowledged after the death of $role" wait_for "acked_more_than $((${before:-0} + 400))" 30
	load_stop
	is "$load_status" 0 "no answer contradicted another around the death of $role"
	ok "the pause was short ($(progress gap_ms) ms)" test "$(progress gap_ms)" -lt 10000
	ok "nothing was lost by the death of $role" load_check "role-$role"
done
stop_shd
is "$?" 0 'it stops in order at the end'
done_testing
