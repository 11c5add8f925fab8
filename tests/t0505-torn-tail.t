# SPDX-License-Identifier: Apache-2.0
# What a loss of power leaves behind, made by hand while shd is down: a torn tail is cut off in silence, for nobody was told
# that it was there; damage below what was synced stops that partition, says why, and no other.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

shim=$top_builddir/tests/helper/faultfs.so
[ -e "$shim" ] || skip_all 'tests/helper/faultfs.so is not built (make check builds it)'
FAULTFS_CONTROL=$TMP/faults
export FAULTFS_CONTROL
: >"$FAULTFS_CONTROL"

start_on_bad_disk() {
	LD_PRELOAD=$shim
	export LD_PRELOAD
	start_shd -O segment.max_age=1h "$@"
	unset LD_PRELOAD
}
produce() { # partition value: status
	api POST "/api/v1/topics/t/records?partition=$1&durability=wal" -H 'Content-Type: text/plain' --data-binary "$2
" >/dev/null
	api_status
}
read_all() { # partition: values on one line
	api GET "/api/v1/topics/t/partitions/$1/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' |
		jq -r '.value // empty' | tr '\n' ' '
}
entries() { # of all WAL files, in order of LSN
	wal-list "$DATA"/slots/0/wal/*.wal | grep -v '^#' | sort -n -k 3
}
garble() { # file position count: random bytes there
	head -c "$3" /dev/urandom | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
synced() { # what the entries on disk claim as synced covers every batch
	entries | awk '$6 == "batch" { last = $3 } { if ($7 > claim) claim = $7 } END { exit !(claim > last) }'
}

# ---- a torn tail -----------------------------------------------------------------------------------------------------------
start_on_bad_disk
api POST /api/v1/topics -H 'Content-Type: application/json' -d '{"name":"t","partitions":3}' >/dev/null
for value in a b c; do
	for partition in 0 1; do produce "$partition" "$value" >"$TMP/status-$partition"; done
done
is "$(cat "$TMP/status-0" "$TMP/status-1")" 200200 'records are taken'
ok 'an idle log says on disk how far it is synced' wait_for synced 10

echo 'sync delay:60000 */slots/*/wal/*.wal' >"$FAULTFS_CONTROL"
before=$(entries | wc -l)
curl -sS -o /dev/null --max-time 50 -H 'Content-Type: text/plain' --data-binary 'd
' "$URL/api/v1/topics/t/records?partition=0&durability=wal" 2>/dev/null &
hanging=$!
ok 'a record is written, and its sync hangs' wait_for '[ "$(entries | wc -l)" -gt "$before" ]' 10
kill_shd
wait $hanging
: >"$FAULTFS_CONTROL"
set -- $(entries | tail -n 1)
is "$6" batch 'the tail ends in a batch that nobody was told about'
garble "$1" $(($2 + 100)) 16
ok 'streamctl check takes a torn tail for what it is' "$STREAMCTL" check "$DATA"
start_on_bad_disk
is "$(read_all 0)" 'a b c ' 'after the crash the acknowledged records are there, the torn one is not'
is "$(read_all 1)" 'a b c ' 'and those of the other partition'
is "$(produce 0 f)" 200 'the partition takes records again'
is "$(read_all 0)" 'a b c f ' 'at the next offset'

# ---- bytes after the tail that look like nothing ------------------------------------------------------------------------------
ok 'the log is synced' wait_for synced 10
kill_shd
last=$(ls "$DATA"/slots/0/wal/*.wal | tail -n 1)
end=$(wal-list "$last" | sed -n 's/^# end //p')
garble "$last" "$end" 5000
start_on_bad_disk
is "$(read_all 0)$(read_all 1)" 'a b c f a b c ' 'garbage after the last entry changes nothing'

# ---- damage ---------------------------------------------------------------------------------------------------------------
produce 0 g >/dev/null
produce 1 g >/dev/null
produce 0 h >/dev/null
produce 1 h >/dev/null
produce 2 a >/dev/null
ok 'the log is synced again' wait_for synced 10
kill_shd
set -- $(entries | awk '$6 == "batch" && $4 == 0' | tail -n 2 | head -n 1)
garble "$1" $(($2 + 85)) 8
fails 1 'streamctl check finds the damage' "$STREAMCTL" check "$DATA"
start_on_bad_disk
is "$(read_all 1)" 'a b c g h ' 'other partitions start, with what came before and after the damage'
is "$(read_all 2)" 'a ' 'also one whose first record came later'
is "$(produce 1 i)" 200 'and take records'
is "$(read_all 0)" 'a b c f ' 'the damaged one serves what is before the damage'
is "$(produce 0 i)" 503 'and takes nothing'
is "$(jq -r .error.code <"$TMP/body")" partition_damaged 'by its code'
like "$(jq -r .error.message <"$TMP/body")" 'offsets 4 to 4 are lost' 'with the offset where it ends'
api GET /api/v1/topics/t/partitions >"$TMP/partitions"
like "$(jq -r '.[0].damage' <"$TMP/partitions")" 'damaged' 'it is seen in the list of partitions'
is "$(jq -c '[.[1, 2].damage]' <"$TMP/partitions")" '[null,null]' 'and the others are well'
like "$(cat "$SHD_LOG")" '[Dd]amage' 'the log of shd says why'
ok 'what came behind the damage is in quarantine' sh -c 'test -n "$(ls "$1")"' - "$DATA/slots/0/quarantine"
kill_shd
start_on_bad_disk
is "$(read_all 0)" 'a b c f ' 'after another crash it serves the same'
is "$(produce 0 j)" 503 'and is not forgotten'
is "$(read_all 1)" 'a b c g h i ' 'and the others still serve'
stop_shd
is "$?" 0 'it stops in order'

# ---- damage that takes a partition's last record: no later entry tells that it was there ------------------------------------
DATA=$TMP/data2
start_on_bad_disk
api POST /api/v1/topics -H 'Content-Type: application/json' -d '{"name":"t","partitions":3}' >/dev/null
for partition in 2 0 0 1 1; do produce "$partition" a >/dev/null; done
ok 'the log is synced' wait_for synced 10
kill_shd
set -- $(entries | awk '$6 == "batch" && $4 == 0' | tail -n 1)
garble "$1" "$2" 128
start_on_bad_disk
is "$(produce 0 b)" 503 'a partition that may have lost its last record takes nothing'
is "$(jq -r .error.code <"$TMP/body")" partition_damaged 'and says why'
is "$(read_all 0)" 'a ' 'what is before it is served'
is "$(read_all 1)$(produce 1 b)" 'a a 200' 'one with records behind the damage has lost nothing'
stop_shd
is "$?" 0 'it stops in order'
done_testing
