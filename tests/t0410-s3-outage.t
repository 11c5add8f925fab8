#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole family on a real S3 service: produce, flush, evict, consume; and what goes on while the service is away.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/rgw.sh"

missing=$(rgw_missing)
[ -z "$missing" ] || skip_all "not installed:" $missing
start_rgw
store=s3://bucket/logs
object-tool "$store" request PUT - >/dev/null

start() {
	start_shd -O "object.url=$store" -O segment.max_age=300ms -O s3.timeout=2s -O cache.max_bytes=1M "$@"
}
# produce TOPIC DURABILITY FILE: what goes in must say 200
produce() {
	api POST "/api/v1/topics/$1/records?partition=0&durability=$2" -H 'content-type: text/plain' --data-binary "@$3" >"$TMP/ack"
	[ "$(api_status)" = 200 ]
}
# consume TOPIC FROM: a value a line, until the end or an error, whose status is left in $TMP/status
consume() {
	at=$2
	while :; do
		api GET "/api/v1/topics/$1/partitions/0/records?offset=$at&end=now" -H 'accept: application/x-ndjson' \
			-D "$TMP/head" >"$TMP/page"
		[ "$(api_status)" = 200 ] && [ -s "$TMP/page" ] || break
		grep -v '"error"' "$TMP/page" | sed 's/.*"value":"\([^"]*\)".*/\1/'
		last=$(sed -n 's/.*"offset":\([0-9]*\).*/\1/p' "$TMP/page" | tail -n 1)
		[ -n "$last" ] || break
		at=$((last + 1))
	done
}
topic() {
	api POST /api/v1/topics -H 'content-type: application/json' -d "{\"name\":\"$1\",\"partitions\":1}" >/dev/null
}
segments() { object-tool "$store" list segments/ | wc -l; }
flushed() { # N: that many segments, and nothing is on its way
	[ "$(segments)" -ge "$1" ]
}

# Does not compress, so that segments outgrow a cache of 1 MiB.
for i in 1 2 3 4; do head -c 1500000 /dev/urandom | base64 -w 1000 >"$TMP/in$i"; done
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "line %d\n", i }' >"$TMP/lines"

start
ok 'shd serves with its segments in S3' test -e "$DATA/run/ready"
topic t
for i in 1 2 3 4; do
	ok "an ack at level object, $i" produce t object "$TMP/in$i"
done
ok 'the segments are in the bucket' flushed 4
consume t 0 >"$TMP/out"
cat "$TMP"/in? >"$TMP/want"
same "$TMP/want" "$TMP/out" 'what was written is read, most of it out of the bucket'
ok 'the cache keeps its limit' test "$(du -sk "$DATA/cache" | cut -f1)" -le 2500
ok 'no segment lies on local disk' sh -c '! find "$1" -name "*.seg" | grep -q .' - "$DATA"
api GET /api/v1/status >"$TMP/status.json"
like "$(cat "$TMP/status.json")" 's3://bucket/logs' 'the status says where data lies'

# ---- the keys ----
secret=$(printf %s "$AWS_SECRET_ACCESS_KEY" | od -An -v -tx1 | tr -d ' \n')
holds_secret() { memory-find "$1" "$secret"; }
if holds_secret "$(shd_pid store)"; then
	ok 'the store has the keys' true
	for role in agent meta janitor; do
		fails 1 "the memory of $role does not hold them" holds_secret "$(shd_pid "$role")"
	done
else
	skip 'the keys are in the store process only' 'we may not look into other processes'
fi
# Processes of one user may look into each other, unless they forbid it. Root may always, so this is tried as somebody else.
OTHER_PID=
as_other='setpriv --reuid=65534 --regid=65534 --clear-groups'
[ "$(id -u)" -eq 0 ] || as_other=
chmod 711 "$TMP" && mkdir "$TMP/other" && { [ -z "$as_other" ] || chown 65534:65534 "$TMP/other"; }
if $as_other test -x "$SHD" && $as_other test -w "$TMP/other"; then
	# No function here: $! is to be shd itself.
	$as_other "$SHD" -D "$TMP/other/data" -O http.listen=127.0.0.1:0 -O kafka.listen= -O "object.url=$store" \
		>"$TMP/other.log" 2>&1 </dev/null &
	OTHER_PID=$!
	trap 'rgw_status=$?; kill "$OTHER_PID" 2>/dev/null; stop_rgw; (exit $rgw_status); tap_at_exit' EXIT
	wait_for '[ -e "$TMP/other/data/run/ready" ] || ! alive "$OTHER_PID"' 30
fi
other_role() { # role: its pid
	for other_pid in $(children "$OTHER_PID"); do
		[ "$(cat "/proc/$other_pid/comm")" != "shd-$1" ] || echo "$other_pid"
	done
}
environ_of() { # pid: read as the user that it runs as
	$as_other cat "/proc/$1/environ" >/dev/null
}
if [ -n "$OTHER_PID" ] && alive "$OTHER_PID"; then
	ok 'one process may look into another of its user' environ_of "$(other_role agent)"
	fails 1 'but not into the store' environ_of "$(other_role store)"
	fails 1 'nor into the supervisor' environ_of "$OTHER_PID"
	fails 3 'nor into the memory of the store' $as_other memory-find "$(other_role store)" "$secret"
	kill "$OTHER_PID"
	wait "$OTHER_PID"
else
	skip 'the memory of the store cannot be read' 'shd cannot be run as another user here'
fi

# ---- offline ----
$STREAMCTL cat -f '%v\n' "$store" >"$TMP/out" 2>"$TMP/err"
is "$?" 0 'streamctl cat reads the bucket'
same "$TMP/want" "$TMP/out" 'and prints what was written'
ok 'streamctl check finds it whole' "$STREAMCTL" check "$store"
$STREAMCTL cat -f '%v\n' --objects "$store" "$DATA" >"$TMP/out" 2>"$TMP/err"
same "$TMP/want" "$TMP/out" 'so does cat of the data directory with its segments in the bucket'

# ---- away ----
kill -STOP "$RGW_PID"
topic u
ok 'while the service hangs, records are taken at level wal' produce u wal "$TMP/lines"
consume u 0 >"$TMP/out"
same "$TMP/lines" "$TMP/out" 'and read from the tail'
started=$(date +%s)
consume t 0 >"$TMP/out"
is "$(api_status)" 503 'what is not at hand answers 503'
like "$(tr -d '\r' <"$TMP/head")" '^[Rr]etry-[Aa]fter: [0-9]+$' 'with Retry-After'
ok 'and before long' test $(($(date +%s) - started)) -le 60
status() { api GET /api/v1/status | jq -r "$1"; }
ok 'the status says that it is left alone' wait_for '[ "$(status .store.paused)" = true ]' 20
ok 'after how many failures' test "$(status .store.failures_in_a_row)" -ge 3
like "$(status '.problems[]')" 'failed [0-9]+ times in a row and is asked only now and then' 'as a problem'
like "$(status .store.last_error)" 'the last time: the object store, [A-Z]+ ' 'the last error says what failed'
like "$(api GET /metrics)" 'streamhouse_object_paused 1' 'and so do the metrics'
kill -CONT "$RGW_PID"
ok 'when it goes on, what waited is flushed' wait_for 'flushed 5' 30
ok 'and it is not left alone any more' wait_for '[ "$(status .store.paused)" = false ]' 20
is "$(status '.problems | length')" 0 'nothing is a problem any more'
ok 'both are in the log' sh -c 'grep -q "fails, and is given pauses" "$1" && grep -q "answers again" "$1"' - "$SHD_LOG"
is "$(status .store.looks_before_put)" false 'it refuses names that are taken'
consume t 0 >"$TMP/out"
same "$TMP/want" "$TMP/out" 'and everything is read'

kill -KILL "$RGW_PID"
{ wait "$RGW_PID"; } 2>/dev/null
ok 'while the service is down, records are taken at level wal' produce u wal "$TMP/lines"
consume u 2000 >"$TMP/out"
same "$TMP/lines" "$TMP/out" 'what is at hand is read'
ok 'the store says why it cannot flush' wait_for 'grep -q "cannot be put yet" "$SHD_LOG"' 20
kill_shd
start
ok 'shd starts while the service is down' test -e "$DATA/run/ready"
ok 'and says so' wait_for 'grep -q "cannot be used now" "$SHD_LOG"' 20
ok 'records are taken' produce u wal "$TMP/lines"
restart_rgw
ok 'when it is back, what waited is flushed' wait_for 'flushed 6' 60
consume t 0 >"$TMP/out"
same "$TMP/want" "$TMP/out" 'nothing is lost'
cat "$TMP/lines" "$TMP/lines" "$TMP/lines" >"$TMP/want-u"
consume u 0 >"$TMP/out"
same "$TMP/want-u" "$TMP/out" 'of what came meanwhile neither'
ok 'an ack at level object' produce u object "$TMP/lines"
ok 'stop' stop_shd

# ---- without conditional create: produce, flush, evict, consume; outcomes that are not known, a name that is taken ----
: >"$TMP/faults"
store=fault:$TMP/faults:$store
start -O s3.conditional=off
ok 'without conditional create the log says so' wait_for 'grep -q "looks first whether its name is taken" "$SHD_LOG"' 20
is "$(status .store.looks_before_put)" true 'and the status'
ok 'an ack at level object' produce u object "$TMP/lines"
for rule in 'put outcome_unknown times=2' 'put not_done times=2' 'put unavailable times=1'; do
	echo "$rule" >"$TMP/faults"
	ok "and after a fault: $rule" produce u object "$TMP/lines"
	cat "$TMP/lines" >>"$TMP/want-u"
done
ok 'segments that outgrow the cache' produce t object "$TMP/in1"
cat "$TMP/in1" >>"$TMP/want"
cat "$TMP/lines" "$TMP/lines" >>"$TMP/want-u"
gets=$(status .store.gets)
consume t 0 >"$TMP/out"
same "$TMP/want" "$TMP/out" 'all is read'
ok 'most of it out of the bucket' test "$(status .store.gets)" -gt "$((gets + 2))"
consume u 0 >"$TMP/out"
same "$TMP/want-u" "$TMP/out" 'and what was put more than once is there once'
stop_shd
store=s3://bucket/logs
$STREAMCTL check "$store" >"$TMP/out" 2>&1
is "$?" 0 'the bucket is whole'
mkdir "$TMP/again" "$TMP/again/meta"
ok 'metadata are made anew from the bucket' "$STREAMCTL" check --rebuild "$store" --to "$TMP/again/meta/meta.db"
$STREAMCTL cat -t t -f '%v\n' --objects "$store" "$TMP/again" >"$TMP/out" 2>"$TMP/err"
same "$TMP/want" "$TMP/out" 'and lead to the same records'
done_testing
