# SPDX-License-Identifier: Apache-2.0
# The supervisor: command line, life cycle, restarts, reload. A stand-in plays the roles, so that they can be made to misbehave.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

ROLES='agent store meta janitor'
mkdir "$TMP/libexec" "$TMP/conf"
for role in $ROLES; do
	cp "$top_builddir/tests/helper/test-role" "$TMP/libexec/shd-$role"
done
SHD_LIBEXEC=$TMP/libexec
export SHD_LIBEXEC

logged() { # regex [at least so many times]
	[ "$(grep -Ec -e "$1" "$SHD_LOG")" -ge "${2:-1}" ]
}

check_conf() { # line... as a configuration file
	printf '%s\n' "$@" >"$TMP/conf/c"
	"$SHD" -t -f "$TMP/conf/c" >"$TMP/out" 2>&1
	echo "$? $(cat "$TMP/out")"
}

# ---- command line and configuration ----
like "$("$SHD" -V)" '^shd [0-9]' 'shd -V'
like "$("$SHD" --help)" '--config FILE' 'shd --help'
like "$("$SHD" -t -D /x | head -1)" '^data.dir = /x  # -D$' 'shd -t prints what results, with the origin'
fails 2 'an unknown option' "$SHD" --fast
fails 2 'an operand' "$SHD" start
like "$(check_conf 'log.level = debug')" '^0 .*' 'a good file'
like "$(cat "$TMP/out")" "log.level = debug  # $TMP/conf/c:1" 'its values are named with file and line'
like "$(check_conf '# x' 'wal.max_bytes = lots')" "^2 shd: $TMP/conf/c:2: wal.max_bytes: 'lots' is not a size" 'a bad value: file, line, reason'
like "$(check_conf '' '' 'http.lisen = :1')" "c:3: there is no setting 'http.lisen'" 'an unknown name'
like "$(check_conf 'object.url = s3://bucket')" '^0 .*' 'a bucket of S3'
like "$(check_conf 'meta.url = postgresql://u:secret@h/d')" '^2 .*c:1: meta.url: PostgreSQL is not built' 'PostgreSQL is refused clearly'
is "$(grep -c secret "$TMP/out")" 0 'without showing the password'
like "$(check_conf 'agents = 2')" '^2 .*c:1: agents: .*one agent' 'so is more than one agent'
fails 2 'a file that is not there' "$SHD" -t -f "$TMP/conf/none"
like "$(SHD_LOG_LEVEL=warn "$SHD" -t -O log.format=json | grep '^log')" 'warn  # environment' 'the environment'
like "$(SHD_LOG_LEVEL=warn "$SHD" -t -O log.level=error | grep '^log')" 'error  # -O' '-O wins over the environment'
mkdir -p "$XDG_CONFIG_HOME/streamhouse"
echo 'agent.zone = here' >"$XDG_CONFIG_HOME/streamhouse/shd.conf"
like "$("$SHD" -t | grep zone)" 'agent.zone = here  # .*/streamhouse/shd.conf:1' "the user's shd.conf is found"
rm "$XDG_CONFIG_HOME/streamhouse/shd.conf"
like "$("$SHD" -t --profile throughput | grep wal.sync)" 'interval:100ms  # profile throughput' 'a profile'
fails 2 'an unknown profile' "$SHD" -t --profile fast
fails 2 'a role program refuses to run by hand' "$TMP/libexec/shd-agent"

# ---- a life ----
: >"$TMP/conf/live"
"$top_builddir/tests/helper/notify-sink" "$TMP/notify" STOPPING=1 >"$TMP/notified" &
sink=$!
wait_for '[ -S "$TMP/notify" ]' 10
NOTIFY_SOCKET=$TMP/notify start_shd -f "$TMP/conf/live" 9<"$TMP/conf/live"
like "$(cat "$SHD_LOG")" "info shd\[[0-9]+\]: ready: http on 127.0.0.1:$PORT, data in $DATA\$" 'the log says that it is ready, and where'
is "$(cat "$DATA/run/shd.pid")" "$SHD_PID" 'run/shd.pid'
is "$(cat "$DATA/VERSION")" 'streamhouse 1' 'VERSION'
is "$(stat -c %a "$DATA/run" "$DATA/VERSION" | tr '\n' ' ')" '700 600 ' 'for us alone'
wait_for 'grep -q READY=1 "$TMP/notified"' 10
ok 'a service manager is told' grep -q READY=1 "$TMP/notified"
is "$(tr '\0' ' ' <"/proc/$(shd_pid agent)/cmdline" | sed 's/ *$//')" 'shd: agent 0' 'process title of the agent'
is "$(tr '\0' ' ' <"/proc/$(shd_pid meta)/cmdline" | sed 's/ *$//')" 'shd: meta' 'process title of meta'
is "$(for role in $ROLES; do ls -l "/proc/$(shd_pid $role)/fd"; done | grep -c 'shd.lock\|/dev/tty')" 0 'roles do not hold the lock'
is "$(ls -l "/proc/$SHD_PID/fd" | grep -c conf/live)" 0 'a descriptor that our parent left open is closed'

"$SHD" -D "$DATA" -O http.listen=127.0.0.1:0 >"$TMP/second" 2>&1
is $? 5 'a second shd on the same data ends with status 5'
like "$(cat "$TMP/second")" "$DATA is in use by another shd \(pid $SHD_PID\)" 'and names the first one'
ok 'which goes on' test -e "$DATA/run/ready"
"$SHD" -D "$TMP/other" -O "http.listen=127.0.0.1:$PORT" >"$TMP/second" 2>&1
is $? 5 'a port that is in use'
like "$(cat "$TMP/second")" "cannot listen on 127.0.0.1:$PORT" 'is named'
ok 'and no data directory is left half made' test ! -e "$TMP/other"

# ---- restarts ----
descriptors() {
	for tap_role in $ROLES; do
		ls "/proc/$(shd_pid $tap_role)/fd" | wc -l
	done
	ls "/proc/$SHD_PID/fd" | wc -l
}
zombies() {
	grep -l "^PPid:[[:space:]]*$SHD_PID\$" /proc/[0-9]*/status 2>/dev/null | while read -r file; do
		grep -q '^State:[[:space:]]*Z' "$file" 2>/dev/null && echo "$file"
	done
}
heal() { # kill each role; wait until all are new and the family is complete
	heal_again=$(grep -c 'all processes are running again' "$SHD_LOG")
	for heal_role in $ROLES; do
		heal_pid=$(shd_pid "$heal_role")
		kill -KILL "$heal_pid"
		wait_for '! alive "$heal_pid"' 10
	done
	for heal_role in $ROLES; do
		wait_for '[ -n "$(shd_pid $heal_role)" ]' 20 || return 1
	done
	wait_for 'logged "all processes are running again" $((heal_again + 1))' 20
}
before=$(descriptors)
for round in 1 2 3 4 5; do
	heal || diag "round $round did not heal"
done
ok 'each role is killed five times and started again' logged 'agent 0 .pid [0-9]+. was killed by signal 9' 5
wait_for '[ "$(descriptors)" = "$before" ]' 20
is "$(descriptors)" "$before" 'no descriptor leaks, in the family or in shd'
is "$(zombies)" '' 'no zombies'
is "$(grep -c 'call failed' "$SHD_LOG")" 0 'calls that may be repeated do not notice'
ok 'restarts are throttled' logged 'starting agent 0 again after a pause'

# ---- reload ----
printf '%s\n' 'segment.max_age = 7s' 'wal.max_bytes = 1G' >"$TMP/conf/live"
kill -HUP "$SHD_PID"
ok 'SIGHUP brings new values to the roles' wait_for 'logged "reloaded: segment.max_age=7s"' 20
ok 'what needs a restart is named' logged 'warn .*take effect at the next start: wal.max_bytes'
printf '%s\n' 'segment.max_age = 9s' 'nonsense' >"$TMP/conf/live"
kill -HUP "$SHD_PID"
ok 'a bad file is refused as a whole' wait_for 'logged "settings not reloaded.*conf/live:2: expected name = value"' 20
printf '%s\n' 'segment.max_age = 8s' 'log.format = json' >"$TMP/conf/live"
kill -HUP "$SHD_PID"
ok 'and the next good one is taken' wait_for 'logged "reloaded: segment.max_age=8s"' 20
is "$(grep -c 'segment.max_age=9s' "$SHD_LOG")" 0 'no part of the bad one was'
ok 'the log format changes with it' wait_for 'logged "^\{.time.*settings reloaded; changed: segment.max_age, log.format"' 20

# ---- the end ----
family=$(children "$SHD_PID")
stop_shd
is $? 0 'SIGTERM ends with status 0'
wait $sink
is "$(tail -1 "$TMP/notified")" 'STOPPING=1' 'the service manager is told'
ok 'run/ready is gone' test ! -e "$DATA/run/ready"
is "$(grep -o 'meta","pid":[0-9]*,"message":"asked\|agent","pid":[0-9]*,"message":"asked' "$SHD_LOG" | sed 's/".*//' | tr '\n' ' ')" \
	'agent meta ' 'agents drain first, meta last'
for pid in $family; do
	alive "$pid" && diag "pid $pid is still there"
done
ok 'nobody is left' sh -c 'for p in $1; do [ ! -e /proc/$p ] || exit 1; done' - "$family"

start_shd
family=$(children "$SHD_PID")
kill -KILL "$SHD_PID"
{ wait "$SHD_PID"; } 2>/dev/null
SHD_PID=
gone() {
	for gone_pid in $family; do
		alive "$gone_pid" && return 1
	done
	return 0
}
ok 'kill -9 of shd: its children end' wait_for gone 10
ok 'run/ready was left behind' test -e "$DATA/run/ready"
launch_shd
ok 'the next shd starts on it' wait_for '[ -e "$DATA/run/ready" ]' 30
echo stuck >"$DATA/test-agent"
kill -TERM "$SHD_PID"
wait_for 'logged "Terminated: draining" 2' 10
kill -TERM "$SHD_PID"
ok 'a second signal at the same time, as timeout(1) sends it, is the same wish' alive "$SHD_PID"
wait_for 'kill -TERM "$SHD_PID" 2>/dev/null; ! alive "$SHD_PID"' 20
wait "$SHD_PID"
is $? 1 'one that comes later does not wait; status 1'
SHD_PID=
start_shd -O drain.timeout=200ms
stop_shd
is $? 1 'what does not drain in time is killed; status 1'
ok 'and the log says so' logged 'not drained within drain.timeout=200ms'
rm "$DATA/test-agent"

echo exit >"$DATA/test-meta"
launch_shd
wait_for '! alive "$SHD_PID"' 30
wait "$SHD_PID"
is $? 1 'a role that cannot start at all ends shd with status 1'
SHD_PID=
ok 'which says so' logged 'giving up: a process'
is "$(grep -c 'meta .pid [0-9]*. exited with status 3' "$SHD_LOG")" 3 'after three times'
echo never >"$DATA/test-meta"
launch_shd
wait_for '! alive "$SHD_PID"' 30
wait "$SHD_PID"
is $? 1 'one that says it never will ends shd, too'
SHD_PID=
is "$(grep -c 'not with this configuration: it is wrong; mend it' "$SHD_LOG")" 1 'which has said so once'
rm "$DATA/test-meta"

echo deaf >"$DATA/test-meta"
launch_shd
wait_for 'logged "listening for http" 1 && [ -n "$(shd_pid agent)" ]' 20
ok 'not ready while one of them is not' test ! -e "$DATA/run/ready"
stop_shd
is $? 0 'SIGTERM before it was ready: status 0'
rm "$DATA/test-meta"

# ---- the data directory ----
echo 'streamhouse 99' >"$DATA/VERSION"
fails 12 'data of an unknown version are refused' "$SHD" -D "$DATA" -O http.listen=127.0.0.1:0
mkdir -p "$DATA/slots" # metadata alone may have been built anew
rm "$DATA/VERSION"
fails 10 'data without a version are refused' "$SHD" -D "$DATA" -O http.listen=127.0.0.1:0
ok 'and VERSION is not made up' test ! -e "$DATA/VERSION"
fails 10 'a directory that cannot be made' "$SHD" -D /proc/none -O http.listen=127.0.0.1:0
fails 10 'a file is no directory' "$SHD" -D "$TMP/conf/c" -O http.listen=127.0.0.1:0
fails 10 'nor is what would lie in it' "$SHD" -D "$TMP/conf/c/x" -O http.listen=127.0.0.1:0
mkdir -p "$TMP/home/lost+found"
touch "$TMP/home/letter.txt"
fails 10 'a directory with other things in it' "$SHD" -D "$TMP/home" -O http.listen=127.0.0.1:0
like "$(cat "$TMP/ok.out")" "home is not empty and no data directory of shd: it holds 'letter.txt'; name an empty" 'which is said'
is "$(ls "$TMP/home" | tr '\n' ' ')" 'letter.txt lost+found ' 'and nothing is put there'
rm "$TMP/home/letter.txt"
DATA=$TMP/home
start_shd
ok 'a file system of its own is taken' test -e "$DATA/VERSION"
kill_shd
echo 'streamhouse 99' >"$DATA/VERSION"
fails 12 'a start that fails' "$SHD" -D "$DATA" -O http.listen=127.0.0.1:0
ok 'takes away run/ready of a shd that was killed' test ! -e "$DATA/run/ready"
done_testing
