# SPDX-License-Identifier: Apache-2.0
# The real roles under the supervisor: killed one by one, again and again, the family heals; nothing leaks, nothing is lost.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

ROLES='agent store meta janitor'
start_shd
api POST /api/v1/topics -d '{"name":"t","partitions":1}' >/dev/null
is "$(api_status)" 201 'a topic'

descriptors() {
	for role in $ROLES; do
		echo "$role $(ls "/proc/$(shd_pid $role)/fd" | wc -l)"
	done
	echo "shd $(ls "/proc/$SHD_PID/fd" | wc -l)"
}
produced=0
produce() { # may be refused while a role is away; never lost once acknowledged
	api POST /api/v1/produce -d "{\"topic\":\"t\",\"partition\":0,\"value\":\"v$produced\"}" >/dev/null
	[ "$(api_status)" = 200 ] && produced=$((produced + 1))
}
heal() { # role
	heal_pid=$(shd_pid "$1")
	heal_before=$(grep -c 'all processes are running again' "$SHD_LOG")
	kill -KILL "$heal_pid"
	wait_for '! alive "$heal_pid"' 10
	wait_for '[ "$(grep -c "all processes are running again" "$SHD_LOG")" -gt "$heal_before" ]' 30
}

ok 'produce' produce || bail 'not even one record'
# One life of each goes by before counting: the first recovery opens what a first start does not have.
for role in $ROLES; do
	heal $role || bail "$role did not come back"
done
wait_for produce 20
before=$(descriptors)
for round in 1 2 3 4 5; do
	for role in store meta janitor agent; do
		heal $role || bail "round $round: $role did not come back"
		wait_for produce 20 || bail "round $round: no produce after $role was killed"
	done
done
is "$(grep -c 'was killed by signal 9' "$SHD_LOG")" 24 'each role was killed six times'
is "$produced" 22 'after each time records were taken again'
wait_for '[ "$(descriptors)" = "$before" ]' 20
is "$(descriptors)" "$before" 'no descriptor leaks'
is "$(for pid in $(children "$SHD_PID"); do alive "$pid" || echo "$pid"; done)" '' 'no zombies'
is "$(children "$SHD_PID" | wc -l)" 4 'one process for each role'

api GET '/api/v1/consume?topic=t&partition=0&offset=0&max_records=100' >"$TMP/records"
is "$(grep -o '"value":"v[0-9]*"' "$TMP/records" | sort -u | wc -l)" "$produced" 'every acknowledged record reads back'

printf 'log.level = debug\n' >"$TMP/conf"
kill -HUP "$SHD_PID"
ok 'SIGHUP' wait_for 'grep -q "settings reloaded" "$SHD_LOG"' 20
wait_for produce 20
is "$produced" 23 'and it serves as before'
stop_shd
is $? 0 'SIGTERM drains, status 0'
start_shd
produce
is "$produced" 24 'it starts again on the same data'
done_testing
