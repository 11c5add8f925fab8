# SPDX-License-Identifier: Apache-2.0
# Roles killed one after the other at random moments, ready or not, while clients write and read: each is back, no other process ends
# for it, clients see short pauses and 503s that say when to come again, nothing leaks, nothing acknowledged is lost.
#
# SH_TEST_SEED repeats the moments (as far as a scheduler allows); SH_TEST_ROUNDS sets the number of deaths; SH_TEST_LONG: a thousand.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

. "$top_srcdir/tests/lib-crash.sh"

crash_seed 60 1000 24

ROLES='store meta janitor agent'
ulimit -c 0
# A SIGSEGV that somebody sends is not a finding; nor is memory that is kept from use after it was freed.
ASAN_OPTIONS=$ASAN_OPTIONS:handle_segv=0:quarantine_size_mb=0:thread_local_quarantine_size_kb=0
UBSAN_OPTIONS=$UBSAN_OPTIONS:handle_segv=0
start_shd -O segment.max_age=1s -O segment.max_bytes=1M -O object.flush_interval=50ms -O restart.max_pause=100ms

running() { # role: its pid, or nothing
	running_list=$(cat "/proc/$SHD_PID/task/$SHD_PID/children" 2>/dev/null) || running_list=$(children "$SHD_PID")
	for running_pid in $running_list; do
		case $(readlink "/proc/$running_pid/exe" 2>/dev/null) in */shd-"$1") echo "$running_pid" ;; esac
	done
}
others() { # role: the supervisor and the other roles
	echo "$SHD_PID"
	for others_role in $ROLES; do
		[ "$others_role" = "$1" ] || running "$others_role"
	done
}
descriptors() { # role: of the others, those of the agent without its clients
	for pid in $(others "$1"); do
		ls -l "/proc/$pid/fd" 2>/dev/null | grep -v -e 'total ' -e "\.wal\$" -e '/cache/' -e '/objects/' |
			grep -c -v -F -f "$TMP/clients" | sed "s/^/$pid: /"
	done
}
client_sockets() { # inodes of connections to our port, which come and go
	hex=$(printf ':%04X' "$PORT")
	awk -v port="$hex" '$2 ~ port "$" && $4 != "0A" { print "socket:[" $10 "]" }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
	echo 'socket:[none]'
}
grown() { # before after: who has more than a few more; what is under way comes and goes with the load
	printf '%s\n' "$1" "$2" | awk -F ': ' '$1 in had { if ($2 > had[$1] + 5) print $1 ": " had[$1] " -> " $2; next } { had[$1] = $2 }'
}
memory() { # role: KiB of memory without a file behind it; whether pages of programs are shared depends on who runs
	for pid in $(others "$1"); do
		awk '/^Anonymous:/ { print $2 }' "/proc/$pid/smaps_rollup"
	done | tr '\n' ' '
}
answers() { # clients are acknowledged again
	answers_before=$(progress acked)
	wait_for "acked_more_than $((${answers_before:-0} + 50))" 60
}
all_run() {
	for all_role in $ROLES; do [ -n "$(running $all_role)" ] || return 1; done
}
die() { # role: 0 when it is back
	killed=$(running "$1")
	random 3
	[ "$drawn" -eq 0 ] && signal=SEGV || signal=KILL
	kill -$signal "$killed" || return 1
	tries=0
	while back=$(running "$1") && [ -z "$back" ] || [ "$back" = "$killed" ]; do
		[ "$((tries += 1))" -lt 3000 ] || return 1
		sleep 0.01
	done
	deaths=$((deaths + 1))
	random 4
	[ "$drawn" -eq 0 ] && return 0 # in the middle of its start, or of its recovery
	random 150
	pause_ms "$drawn"
}

create_topic deaths
load_start deaths --writers 4 --partitions 4 --level mixed
ok 'the load gets going' answers
deaths=0
for role in $ROLES; do
	# What the first life does once, and a buffer that grows once, is no leak.
	for warm in 1 2 3; do die $role; done
	answers || diag "nothing was acknowledged before $role was killed again and again"
	wait_for all_run 30
	survivors=$(others $role) memory_before=$(memory $role) failed=
	client_sockets >"$TMP/clients" && before=$(descriptors $role)
	round=0
	while [ "$round" -lt $((rounds / 4)) ]; do
		round=$((round + 1))
		die $role || { failed="death $round of $role: it is not back"; break; }
		[ $((round % 25)) -ne 0 ] || answers || { failed="nothing was acknowledged within 60 s after death $round of $role"; break; }
	done
	is "$failed" '' "$role was back after each of $((rounds / 4)) deaths"
	ok "records are acknowledged after the last death of $role" answers
	is "$(others $role)" "$survivors" "nobody else ended for $role"
	wait_for 'client_sockets >"$TMP/clients"; [ -z "$(grown "$before" "$(descriptors $role)")" ]' 30
	is "$(grown "$before" "$(descriptors $role)")" '' 'no descriptor leaks among the others'
	memory_after=$(memory $role)
	diag "anonymous KiB of supervisor and others: $memory_before-> $memory_after"
	# The supervisor holds next to nothing, so what it loses would be seen; caches and indexes of roles breathe with the load.
	is "$(echo "$memory_before $memory_after" | awk -v roles=3 '{ n = NF / 2; bad = 0
		for (i = 1; i <= n; i++) if ($(n + i) - $i > (i == 1 ? 128 : 16384)) bad++
		print bad }')" 0 'no memory leaks among the others'
	is "$(for pid in $(children "$SHD_PID"); do alive "$pid" || echo "$pid"; done)" '' 'no zombies'
done
load_stop
is "$load_status" 0 "no answer contradicted another in $deaths deaths, and each 503 said when to come again"
ok "the longest pause of a client was short ($(progress gap_ms) ms)" test "$(progress gap_ms)" -lt 20000
ok 'everything acknowledged is there once, in order, unchanged' load_check deaths
stop_shd
is $? 0 'it stops in order'
done_testing
