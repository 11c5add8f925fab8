# SPDX-License-Identifier: Apache-2.0
# Recovery of a log far larger than the memory that there is: 300 MB (gigabytes with SH_TEST_LONG) that no segment holds, an index of
# the tail that is smaller than it has batches, and an address space into which less than half of it would fit. It comes back, all of it reads
# back, and the agent needs little more than before.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

case "${ASAN_OPTIONS-}$(nm "$SHD" 2>/dev/null | grep -m 1 __asan_init)" in
*__asan_init*) skip_all 'the address space of sanitizers knows no limits' ;;
esac
RULES=$TMP/rules
megabytes=${SH_TEST_LONG:+3000}
megabytes=${megabytes:-300}

start() {
	start_shd -O "object.url=fault:$RULES:file://$TMP/objects" -O segment.max_age=1h -O wal.max_bytes=8G \
		-O cache.max_bytes=64M "$@"
}
peak_kib() { # NAME of the line in the status of the agent
	sed -n "s/^$1:[[:space:]]*\\([0-9]*\\) kB/\\1/p" "/proc/$(shd_pid agent)/status"
}
produce() { # level: 4000 records of 1 KB
	curl -s --max-time 120 -o /dev/null -w '%{http_code}' -H 'Content-Type: application/x-ndjson' --data-binary "@$TMP/batches" \
		"$URL/api/v1/topics/t/records?durability=$1"
}

echo 'put unavailable' >"$RULES"
start
api POST /api/v1/topics -H 'Content-Type: application/json' -d '{"name":"t","partitions":4}' >/dev/null
awk 'BEGIN { for (i = 0; i < 4000; i++) printf "{\"key\":\"k%d\",\"value\":\"%0960d\"}\n", i, i }' >"$TMP/batches"
idle=$(peak_kib VmRSS) room=$(peak_kib VmPeak)
sent=0
while [ $((sent / 1000)) -lt "$megabytes" ]; do
	[ "$(produce wal)" = 200 ] || break
	sent=$((sent + 4000))
done
ok "$sent records are taken while no segment can be put" test $((sent / 1000)) -ge "$megabytes"
kill_shd
ok 'they are in the log' test "$(ls "$DATA"/slots/0/wal/*.wal | wc -l)" -ge $((megabytes / 70))
diag "idle: $idle KiB resident, $room KiB of addresses"

: >"$RULES"
limit=$((room + 96 * 1024))
before=$(ulimit -S -v)
ok "a limit of $limit KiB" ulimit -S -v "$limit"
start -O wal.index_max_bytes=64K
ulimit -S -v "$before"
tap_result 0 'it recovers'
diag "recovered: $(peak_kib VmHWM) KiB resident at most, $(peak_kib VmPeak) KiB of addresses"
ok 'with at most 64 MiB more than idle' test "$(peak_kib VmHWM)" -le $((idle + 64 * 1024))
ok 'everything can be read' eval '"$STREAMCTL" consume t --from earliest --exit -q -f "%p %o %k\n" >"$TMP/read"'
is "$(awk '$2 != next_of[$1]++ { wrong++ } END { print NR, wrong + 0 }' "$TMP/read")" "$sent 0" \
	'as many records as were acknowledged, without a gap'
is "$(awk -v want=$((sent / 4000)) '{ n[$3]++ } END { for (k in n) right += n[k] == want; print right }' "$TMP/read")" 4000 \
	'each of them once'
is "$(produce object)" 200 'it goes on'
stop_shd
ok 'streamctl check finds no damage' "$STREAMCTL" check "$DATA" --objects "file://$TMP/objects" --read-data
done_testing
