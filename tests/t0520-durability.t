# SPDX-License-Identifier: Apache-2.0
# Levels of durability: the request says when it is answered, the topic what is visible, and every ack what was reached.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

create() { # name [config as JSON]
	api POST /api/v1/topics -H 'Content-Type: application/json' \
		-d "{\"name\":\"$1\",\"partitions\":1,\"config\":${2:-{\}}}" >/dev/null
	api_status
}
produce() { # topic value [durability]: the level that the ack names, or the status of a refusal
	api POST "/api/v1/topics/$1/records?partition=0${3:+&durability=$3}" -H 'Content-Type: text/plain' --data-binary "$2
" >"$TMP/answer"
	if [ "$(api_status)" = 200 ]; then jq -r .durability <"$TMP/answer"; else api_status; fi
}
read_all() { # topic: values
	api GET "/api/v1/topics/$1/partitions/0/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' | jq -r .value
}
visible() { # topic values
	wait_for "[ \"\$(read_all $1)\" = '$2' ]" 20 || diag "visible: $(read_all "$1")"
}
segments() {
	find "$DATA/objects" -name '*.seg' | wc -l
}

# ---- wal.sync=always -----------------------------------------------------------------------------------------------------
start_shd -O object.flush_interval=100ms -O segment.max_age=1h
is "$(create plain)" 201 'a topic with the defaults'
is "$(produce plain a)" wal 'the default level is wal'
is "$(read_all plain)" a 'and what it acknowledged is visible at once'
is "$(segments)" 0 'without an object'
is "$(produce plain b none)" none 'level none says none'
ok 'but becomes visible when it is on disk' visible plain 'a
b'
is "$(produce plain c object)" object 'level object says object'
is "$(read_all plain)" 'a
b
c' 'and is visible'
ok 'and an object is there' test "$(segments)" -ge 1
is "$(produce plain d more)" 400 'an unknown level is refused'

is "$(create safe '{"durability":"object"}')" 201 'a topic with durability=object'
is "$(produce safe a)" object 'raises the default'
is "$(produce safe b wal)" object 'raises wal'
is "$(read_all safe)" 'a
b' 'what it acknowledged is visible'
is "$(create bad '{"durability":"paper"}')" 400 'an unknown level is refused for a topic'

# A topic at level object shows nothing that is not in the object store, even when it is in the log.
api POST '/api/v1/topics/safe/records?partition=0&durability=none' -H 'Content-Type: text/plain' --data-binary 'c
' >/dev/null
ok 'a lower request becomes visible when it is committed' visible safe 'a
b
c'
kill_shd
start_shd -O object.flush_interval=100ms -O segment.max_age=1h
is "$(read_all safe)" 'a
b
c' 'after kill -9 it is all there'
is "$(read_all plain)" 'a
b
c' 'on the other topic as well'

# The other ways to produce say it too.
api POST /api/v1/produce -H 'Content-Type: application/json' -d '{"topic":"plain","value":"x"}' >"$TMP/answer"
is "$(jq -r .durability <"$TMP/answer")" wal '/api/v1/produce says wal'
api POST /api/v1/produce -H 'Content-Type: application/json' -d '{"topic":"plain","value":"x","ack_mode":"durable"}' >"$TMP/answer"
is "$(jq -r .durability <"$TMP/answer")" object 'ack_mode durable is level object'
api POST /api/v1/produce -H 'Content-Type: application/json' -d '{"topic":"plain","value":"x","ack_mode":2}' >"$TMP/answer"
is "$(jq -r .durability <"$TMP/answer")" none 'ack_mode 2 is level none'
stop_shd
is "$?" 0 'it stops in order'

# ---- wal.sync=interval ------------------------------------------------------------------------------------------------------
DATA=$TMP/interval
start_shd -O wal.sync=interval:300ms
create t >/dev/null
is "$(produce t a)" none 'with interval a request that names no level is answered none'
is "$(produce t b wal)" wal 'one that names wal waits for the next sync'
is "$(read_all t)" 'a
b' 'and then both are visible'
is "$(produce t c)" none 'another'
ok 'is visible after the interval' visible t 'a
b
c'
is "$(produce t d object)" object 'level object is as always'
like "$(cat "$SHD_LOG")" 'wal\.sync' 'shd says at start what that means'
stop_shd
is "$?" 0 'it stops in order'
start_shd -O wal.sync=interval:300ms
is "$(read_all t)" 'a
b
c
d' 'an orderly stop loses nothing'
stop_shd

# ---- wal.sync=never -----------------------------------------------------------------------------------------------------------
DATA=$TMP/never
start_shd -O wal.sync=never
create t >/dev/null
is "$(produce t a)" none 'with never a request that names no level is answered none'
status=$(produce t b wal)
case $status in
4?? | 5??) ok "one that names wal is refused (status $status)" true ;;
*) is "$status" 'a refusal' 'one that names wal is refused' ;;
esac
is "$(produce t c object)" object 'level object is as always'
is "$(read_all t)" 'a
c' 'and shows everything before it'
stop_shd
is "$?" 0 'it stops in order'
start_shd -O wal.sync=never
is "$(read_all t)" 'a
c' 'an orderly stop loses nothing either'
stop_shd

# ---- a lease that is over: the metadata do not answer, so another agent may have the slot --------------------------------------------
DATA=$TMP/lease
start_shd -O session.ttl=3s -O watchdog.timeout=60s -O segment.max_age=1h
create t >/dev/null
is "$(produce t a)" wal 'a record is acknowledged while the lease holds'
meta=$(shd_pid meta)
kill -STOP "$meta"
ok 'none is when it is over' wait_for '[ "$(produce t b)" = 503 ]' 20
is "$(produce t c)" 503 'and none after that'
read_all t >"$TMP/values" 2>/dev/null
is "$(api_status)" 503 'nor is the tail shown'
kill -CONT "$meta"
ok 'when they answer it goes on' wait_for '[ "$(produce t d)" = wal ]' 20
ok 'with what was acknowledged, and no record that was refused' wait_for \
	'read_all t | tr "\n" " " | tee "$TMP/values" | grep -Eq "^a (b )*d \$"' 20 || diag_file "$TMP/body"
done_testing
