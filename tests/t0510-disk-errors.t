# SPDX-License-Identifier: Apache-2.0
# A disk that fails: what could not be made durable is never called so, not now and not after a restart; a full disk is
# back-pressure and passes.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

shim=$top_builddir/tests/helper/faultfs.so
[ -e "$shim" ] || skip_all 'tests/helper/faultfs.so is not built (make check builds it)'
FAULTFS_CONTROL=$TMP/faults
export FAULTFS_CONTROL
: >"$FAULTFS_CONTROL"

# Replaced in one step, so that nobody reads half a rule.
faults() {
	printf '%s\n' "$@" >"$TMP/faults.new"
	mv "$TMP/faults.new" "$FAULTFS_CONTROL"
}
start_on_bad_disk() {
	LD_PRELOAD=$shim
	export LD_PRELOAD
	start_shd "$@"
	unset LD_PRELOAD
}
produce() { # topic value [durability]: status of one record
	api POST "/api/v1/topics/$1/records?partition=0&durability=${3:-wal}" -H 'Content-Type: text/plain' --data-binary "$2
" >/dev/null
	api_status
}
read_all() { # topic: values
	api GET "/api/v1/topics/$1/partitions/0/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' | jq -r .value
}
error_code() {
	jq -r .error.code <"$TMP/body" 2>/dev/null
}
create() {
	api POST /api/v1/topics -H 'Content-Type: application/json' -d "{\"name\":\"$1\",\"partitions\":1}" >/dev/null
}

# ---- a sync that fails ------------------------------------------------------------------------------------------------
start_on_bad_disk
create t
is "$(produce t one)" 200 'a record is taken while the disk works'
faults 'sync EIO */slots/*/wal/*.wal'
status=$(produce t two)
case $status in
503 | 504) ok "a failed sync is no success (status $status, $(error_code))" true ;;
*) is "$status" '503 or 504' 'a failed sync is no success' ;;
esac
is "$(produce t three)" 503 'then the log takes no more'
is "$(error_code)" wal_failed 'and says that its disk failed'
is "$(read_all t)" one 'what was durable can be read, what was not is not shown'
faults ''
is "$(produce t four)" 503 'a disk that recovers does not make it write again'
is "$(read_all t)" one 'reads go on'
ok 'the mark is there for the operator' test -e "$DATA/slots/0/wal/FAILED"
"$STREAMCTL" status >"$TMP/status.out" 2>&1
like "$(cat "$TMP/status.out")" 'FAILED|failed' 'streamctl status says so'

kill_shd
start_on_bad_disk
is "$(read_all t)" one 'after kill -9: the same, the record that failed to sync did not come back'
is "$(produce t five)" 503 'still read-only'
stop_shd
is "$?" 0 'it stops in order'
rm -f "$DATA/slots/0/wal/FAILED"
start_on_bad_disk
is "$(produce t six)" 200 'when the operator has removed the mark it takes records again'
values=$(read_all t)
# The record whose outcome was unknown may be there, once, if the disk had it after all; it was read back past the page cache
# and written anew. What was refused is not.
case $values in
"one
six" | "one
two
six") ok 'the record of unknown outcome is there once at most, the refused ones are not' true ;;
*) is "$values" 'one, perhaps two, six' 'the record of unknown outcome is there once at most, the refused ones are not' ;;
esac
stop_shd
is "$?" 0 'it stops in order again'

# ---- a write that fails --------------------------------------------------------------------------------------------------
DATA=$TMP/data2
start_on_bad_disk
create t
is "$(produce t one)" 200 'a record is taken on a new data directory'
faults 'write EIO */slots/*/wal/*.wal'
status=$(produce t two)
case $status in
503 | 504) ok "a failed write is no success (status $status)" true ;;
*) is "$status" '503 or 504' 'a failed write is no success' ;;
esac
faults ''
is "$(read_all t)" one 'what was durable can be read'
stop_shd

# ---- a full disk: no room for another WAL file, nor for objects -------------------------------------------------------------
DATA=$TMP/data3
start_on_bad_disk -O segment.max_age=1s
create t
create u
is "$(produce t one)" 200 'a record is taken while there is room'
faults 'write ENOSPC */objects/*' 'allocate ENOSPC */objects/*'
is "$(produce t two)" 200 'a full object store does not stop the log'
is "$(read_all t)" "one
two" 'and reads come from the tail'
faults ''
is "$(produce u three object)" 200 'when there is room again, objects are written'
is "$(produce t four object)" 200 'also those that had to wait'
is "$(read_all t)" "one
two
four" 'everything is there'
ok 'as objects' sh -c 'test -n "$(find "$1" -name "*.seg" -size +0)"' - "$DATA/objects"
stop_shd
is "$?" 0 'it stops in order after a full disk'

# ---- a sync that takes its time: only acks wait --------------------------------------------------------------------------
DATA=$TMP/data4
start_on_bad_disk
create t
is "$(produce t one)" 200 'a record is taken by a quick disk'
faults 'sync delay:3000 */slots/*/wal/*.wal'
produce t two >"$TMP/slow" &
slow=$!
wait_for '[ "$(api GET /metrics | wc -l)" -gt 0 ]' 5
took=$(curl -sS -o "$TMP/slow-read" -w '%{time_total}' "$URL/api/v1/topics/t/partitions/0/records?offset=0&end=now")
ok "a read during a hung sync takes $took s" awk "BEGIN { exit !($took < 1) }"
took=$(curl -sS -o "$TMP/slow-live" -w '%{time_total}' "$URL/live")
ok "/live during a hung sync takes $took s" awk "BEGIN { exit !($took < 1) }"
wait "$slow"
is "$(cat "$TMP/slow")" 200 'the ack comes when the sync has'
faults ''
stop_shd
is "$?" 0 'it stops in order after a slow disk'

# ---- the cache's disk -------------------------------------------------------------------------------------------------
DATA=$TMP/cache-fails
start_on_bad_disk
create t
faults 'write EIO */cache/*'
is "$(produce t one object)" 200 'with a cache that cannot be written segments are built in memory'
is "$(read_all t)" one 'and read'
faults ''
stop_shd
is "$?" 0 'it stops in order'
done_testing
