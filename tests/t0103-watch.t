# SPDX-License-Identifier: Apache-2.0
# The supervisor's watch over the family: processes that hang, channels that are lost, a log that nobody reads, signals at bad moments,
# a process that goes on ending. First with stand-ins that misbehave when told to, then with the real roles.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

ulimit -c 0
ROLES='agent store meta janitor'
mkdir "$TMP/libexec"
for role in $ROLES; do
	cp "$top_builddir/tests/helper/test-role" "$TMP/libexec/shd-$role"
done
SHD_LIBEXEC=$TMP/libexec
export SHD_LIBEXEC

logged() { # regex [at least so many times]
	[ "$(grep -Ec -e "$1" "$SHD_LOG")" -ge "${2:-1}" ]
}
pids() { # of all roles but one
	for pids_role in $ROLES; do
		[ "$pids_role" = "${1:-}" ] || shd_pid "$pids_role"
	done | tr '\n' ' '
}
running_again() {
	grep -c 'all processes are running again' "$SHD_LOG"
}

# ---- a process that hangs ----
start_shd -O watchdog.timeout=1s -O restart.max_pause=100ms
hang() { # role title: does what $hang says to it, waits for the next life
	hang_pid=$(shd_pid "$1") hang_others=$(pids "$1") hang_before=$(running_again)
	eval "$hang"
	ok "$1 $2 is killed and started again" wait_for '[ "$(running_again)" -gt "$hang_before" ] && ! alive "$hang_pid"' 60
	is "$(pids "$1")" "$hang_others" 'and no other'
}
before=$(pids)
for pid in $before; do kill -STOP "$pid"; done
ok 'processes that were stopped are killed' wait_for 'logged "was killed by signal 9" 4' 60
ok 'and started again' wait_for '[ "$(running_again)" -gt 0 ]' 60
ok 'the log says why' logged 'meta \(pid [0-9]*\) has not answered for 1[0-9]* ms \(watchdog.timeout\): killing it'
hang='echo spin >"$DATA/test-meta"; wait_for "logged \"meta .*has not answered\" 2" 60; rm "$DATA/test-meta"' hang meta 'in an endless loop'
ok 'with SIGABRT, so that it may leave a core' logged 'meta \(pid [0-9]*\) was killed by signal 6'

before=$(pids)
for pid in "$SHD_PID" $before; do kill -STOP "$pid"; done
sleep 2 # twice what the watch allows
for pid in "$SHD_PID" $before; do kill -CONT "$pid"; done
echo cut >"$DATA/test-agent"
ok 'a channel that is lost while both sides live is made anew' wait_for 'logged "channel between (agent 0 and the meta|meta and the agent) process was lost" &&
	logged "channel between (agent 0 and the store|store and the agent) process was lost"' 30
ok 'and calls go through it' wait_for 'logged "answered after the cut"' 30
rm "$DATA/test-agent"
is "$(pids)" "$before" 'for that, and for having been stopped all together (^Z), no process ends'
is "$(grep -c 'call failed' "$SHD_LOG")" 0 'no call that may be repeated has failed'
stop_shd
is $? 0 'it drains'

# ---- signals and deaths while it drains ----
start_shd -O restart.max_pause=100ms
echo stuck >"$DATA/test-agent"
kill -TERM "$SHD_PID"
wait_for 'logged "agent.*asked to drain" 2' 20
before=$(grep -c 'settings reloaded' "$SHD_LOG")
kill -HUP "$SHD_PID"
pid=$(shd_pid meta)
kill -KILL "$pid"
ok 'while agents drain, meta, which they need, is started again' \
	wait_for '[ -n "$(shd_pid meta)" ] && [ "$(shd_pid meta)" != "$pid" ]' 20
is "$(grep -c 'settings reloaded' "$SHD_LOG")" "$before" 'SIGHUP is not heard any more'
kill -KILL "$(shd_pid agent)"
wait_for '! alive "$SHD_PID"' 30
wait "$SHD_PID"
is $? 1 'an agent that dies while it drains is not: the rest drains, status 1'
SHD_PID=
rm "$DATA/test-agent"

# ---- a reload asked for before it can be heard ----
mkfifo "$TMP/conf"
launch_shd -f "$TMP/conf"
exec 9>"$TMP/conf" # it has opened it, too
echo 'log.level = debug' >"$TMP/conf.new"
mv "$TMP/conf.new" "$TMP/conf"
kill -HUP "$SHD_PID"
echo 'log.level = info' >&9
exec 9>&-
ok 'SIGHUP while it reads its configuration does not end it' wait_for '[ -e "$DATA/run/ready" ]' 30
ok 'and is heard later' wait_for 'logged "settings reloaded; changed: log.level"' 20
stop_shd
is $? 0 'and it ends as it should'
unset SHD_LIBEXEC

# ---- the real ones ----
put() { # level: 0 when acknowledged
	api POST /api/v1/produce -d "{\"topic\":\"t\",\"partition\":0,\"value\":\"v\",\"durability\":\"$1\"}" >/dev/null
	[ "$(api_status)" = 200 ] && produced=$((produced + 1))
}
produced=0
is_ready() {
	api GET /ready >/dev/null
	[ "$(api_status)" = "$1" ]
}
problems() {
	api GET /api/v1/status | sed -n 's/.*"problems":\[\([^]]*\)\].*/\1/p'
}
DATA=$TMP/real
for role in $ROLES; do
	rm "$TMP/libexec/shd-$role"
	cp "$top_builddir/daemon/$role/shd-$role" "$TMP/libexec/shd-$role"
done
export SHD_LIBEXEC="$TMP/libexec"
start_shd -O watchdog.timeout=1s -O restart.max_pause=400ms
api POST /api/v1/topics -d '{"name":"t","partitions":1}' >/dev/null
ok 'a record' put object
hang='kill -STOP "$hang_pid"' hang meta 'that was stopped'
ok 'and records are acknowledged again' wait_for 'put object' 30

# ---- one that goes on ending ----
cp "$TMP/libexec/shd-store" "$TMP/libexec/aside"
rm "$TMP/libexec/shd-store"
printf '#!/bin/sh\nexit 9\n' >"$TMP/libexec/shd-store"
chmod +x "$TMP/libexec/shd-store"
others=$(pids store)
kill -KILL "$(shd_pid store)"
ok 'a process that goes on ending is started after growing pauses' wait_for 'logged "starting store again after a pause of 100 ms" &&
	logged "starting store again after a pause of 200 ms" && logged "starting store again after a pause of 400 ms" 2' 30
ok 'status says so' wait_for 'problems | grep -q "the store process ended [0-9]* times in a row (exited with status 9)"' 10
ok 'not ready meanwhile' wait_for 'is_ready 503' 10
like "$(cat "$TMP/body")" 'the store process is away' 'which names it'
ok 'records are taken all the same' put wal
rm "$TMP/libexec/shd-store"
ok 'its program may be missing' wait_for 'logged "store: cannot run .*shd-store"' 10
mv "$TMP/libexec/aside" "$TMP/libexec/shd-store"
ok 'when it lives again it is ready' wait_for 'is_ready 200' 30
ok 'and status has forgotten' wait_for '[ -z "$(problems | grep "in a row")" ]' 30
is "$(pids store)" "$others" 'no other process has ended for it'

# ---- no descriptors left ----
if command -v prlimit >/dev/null; then
	agent=$(shd_pid agent)
	open=$(ls "/proc/$agent/fd" | wc -l)
	was=$(prlimit --pid "$agent" --nofile --noheadings --raw -o SOFT)
	prlimit --pid "$agent" --nofile=$((open + 3)):
	clients=
	for n in $(seq 12); do
		printf 'GET / HTTP/1.1\r\n' | raw-http "$PORT" -t 60000 >/dev/null 2>&1 &
		clients="$clients $!"
	done
	ok 'without descriptors connections wait, and the log says so' wait_for 'logged "cannot accept a connection"' 20
	ticks() { sed 's/.*) //' "/proc/$agent/stat" | awk '{ print $12 + $13 }'; }
	before=$(ticks)
	sleep 1
	ok 'it does not turn idly' test $(($(ticks) - before)) -lt 30
	kill $clients 2>/dev/null
	{ wait $clients; } 2>/dev/null
	prlimit --pid "$agent" --nofile="$was:"
	ok 'and takes connections when there are some again' wait_for 'put wal' 30
else
	skip 'without descriptors' 'there is no prlimit(1)'
fi

# ---- the supervisor is killed while a child is stopped ----
family=$(children "$SHD_PID")
kill -STOP "$(shd_pid agent)"
kill -KILL "$SHD_PID"
{ wait "$SHD_PID"; } 2>/dev/null
SHD_PID=
gone() {
	for gone_pid in $family; do
		alive "$gone_pid" && return 1
	done
	return 0
}
ok 'kill -9 of shd: its children end, also one that is stopped' wait_for gone 10

# ---- a log that nobody reads ----
mkfifo "$TMP/pipe"
exec 8<>"$TMP/pipe"
timeout 2 head -c 2000000 /dev/zero >&8
log=$SHD_LOG SHD_LOG=$TMP/pipe
port=$PORT
start_shd -O log.level=debug -O "http.listen=127.0.0.1:$port" 8<&-
SHD_LOG=$log
ok 'the next starts on the same port, though nobody reads its log' put object
api GET '/api/v1/consume?topic=t&partition=0&offset=0&max_records=100' >"$TMP/records"
is "$(grep -o '"value":"v"' "$TMP/records" | wc -l)" "$produced" 'all records are there'
kill -HUP "$SHD_PID"
ok 'and it serves on' put wal
cat <&8 >"$TMP/read" &
reader=$!
wait_for '[ -s "$TMP/read" ]' 20
kill -HUP "$SHD_PID"
ok 'who reads it later is told how much is missing' wait_for 'grep -aEq "shd.*[0-9]+ log lines were dropped here" "$TMP/read"' 20
stop_shd
is $? 0 'and it ends as it should'
kill "$reader"
{ wait "$reader"; } 2>/dev/null
exec 8<&-
done_testing
