# SPDX-License-Identifier: Apache-2.0
# For tests of survival, sourced after lib.sh: random moments from a seed that can be given again, and a load (crash-load) that
# goes on through every crash and knows what must be there afterwards.
#
#	crash_seed ROUNDS LONG QUICK    sets seed and rounds, from SH_TEST_SEED and SH_TEST_ROUNDS when given, and prints them
#	random N; pause_ms N            $drawn is 0..N-1
#	create_topic NAME; load_start TOPIC ARG...; load_stop (sets load_status); load_check TOPIC
#	progress NAME; acked_more_than N

crash_seed() {
	seed=${SH_TEST_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
	if [ -n "${SH_TEST_ROUNDS:-}" ]; then
		rounds=$SH_TEST_ROUNDS
	elif [ -n "${SH_TEST_LONG:-}" ]; then
		rounds=$2
	elif [ -n "${SH_TEST_QUICK:-}" ]; then
		rounds=$3
	else
		rounds=$1
	fi
	state=$((seed % 2147483647 + 1))
	diag "SH_TEST_SEED=$seed SH_TEST_ROUNDS=$rounds"
}

random() { # the minimal standard generator
	state=$((state * 48271 % 2147483647))
	drawn=$((state % $1))
}
pause_ms() {
	sleep "$(awk "BEGIN { printf \"%.3f\", $1 / 1000 }")"
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
