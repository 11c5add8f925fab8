# SPDX-License-Identifier: Apache-2.0
# kill -9 of the whole family at random moments under load, again and again; then of single roles. Everything that was
# acknowledged reads back exactly once, in order, at the offset that was given; what was read before is still there.
#
# SH_TEST_SEED repeats the moments and the records of a failure (as far as a scheduler allows); SH_TEST_ROUNDS sets how often.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

seed=${SH_TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
if [ -n "${SH_TEST_ROUNDS:-}" ]; then
	rounds=$SH_TEST_ROUNDS
elif [ -n "${SH_TEST_LONG:-}" ]; then
	rounds=300
elif [ -n "${SH_TEST_QUICK:-}" ]; then
	rounds=4
else
	rounds=12
fi
diag "SH_TEST_SEED=$seed SH_TEST_ROUNDS=$rounds"

state=$((seed % 2147483647 + 1))
random() { # N: sets $drawn to 0..N-1 (minimal standard generator)
	state=$((state * 48271 % 2147483647))
	drawn=$((state % $1))
}
pause_ms() {
	sleep "$(awk "BEGIN { printf \"%.3f\", $1 / 1000 }")"
}

# Small files of everything, so that a few seconds see many segments, recycled WAL files and folded rows.
start() {
	start_shd -O segment.max_age=1s -O segment.max_bytes=1M -O object.flush_interval=50ms
}
create_topic() {
	api POST /api/v1/topics -H 'Content-Type: application/json' -d "{\"name\":\"$1\",\"partitions\":4}" >"$TMP/create.out"
	[ "$(api_status)" = 201 ] || bail "cannot create topic $1: $(cat "$TMP/create.out")"
}
load_pid=
load_start() { # topic argument...: writers and a reader in the background
	load_topic=$1
	shift
	rm -f "$TMP/progress"
	crash-load write --port-file "$DATA/run/http.port" --topic "$load_topic" --history "$TMP/history-$load_topic" \
		--progress "$TMP/progress" --seed "$seed" "$@" 2>"$TMP/load.err" &
	load_pid=$!
}
load_stop() {
	kill -TERM "$load_pid" 2>/dev/null
	wait "$load_pid"
	load_status=$?
	load_pid=
	diag "$load_topic: $(cat "$TMP/progress" 2>/dev/null)"
	diag_file "$TMP/load.err"
}
load_check() { # topic
	crash-load check --port-file "$DATA/run/http.port" --topic "$1" --history "$TMP/history-$1"
}
progress() { # NAME: a number of the load's progress
	sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" "$TMP/progress" 2>/dev/null
}
acked_more_than() {
	[ "$(progress acked || echo 0)" -gt "$1" ] 2>/dev/null
}
end_load() { # leave no writer behind when the test itself ends early
	[ -z "$load_pid" ] || kill -KILL "$load_pid" 2>/dev/null
	tap_at_exit
}
trap end_load EXIT

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
