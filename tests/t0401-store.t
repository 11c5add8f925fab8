# SPDX-License-Identifier: Apache-2.0
# The store process under a store that fails: nothing acknowledged is lost, and what is read is what was written.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

RULES=$TMP/rules
rules() {
	printf '%s\n' "$@" >"$RULES.new"
	mv "$RULES.new" "$RULES"
}
start() {
	start_shd -O "object.url=fault:$RULES:file:" -O segment.max_age=300ms "$@"
}
# produce PARTITION DURABILITY: what goes in must say 200
produce() {
	api POST "/api/v1/topics/t/records?partition=$1&durability=$2" -H 'content-type: text/plain' \
		--data-binary "@$TMP/in" >"$TMP/ack"
	[ "$(api_status)" = 200 ]
}
# consume PARTITION: all of it, a value a line
consume() {
	at=0
	while :; do
		api GET "/api/v1/topics/t/partitions/$1/records?offset=$at&end=now" -H 'accept: application/x-ndjson' >"$TMP/page"
		[ "$(api_status)" = 200 ] && [ -s "$TMP/page" ] || break
		sed 's/.*"value":"\([^"]*\)".*/\1/' "$TMP/page"
		last=$(sed -n '$s/.*"offset":\([0-9]*\).*/\1/p' "$TMP/page")
		at=$((last + 1))
	done
}
segments() { find "$DATA/objects/segments" -type f 2>/dev/null | wc -l; }

awk 'BEGIN { for (i = 0; i < 20000; i++) printf "line %d %s\n", i, substr("abcdefghijklmnopqrstuvwxyz", 1, i % 26) }' >"$TMP/in"

rules 'put unavailable times=3'
start
api POST /api/v1/topics -H 'content-type: application/json' -d '{"name":"t","partitions":4}' >/dev/null
ok 'an ack at level object outlasts a store that is away' produce 0 object
ok 'which is said once, in the log' grep -q 'cannot be put yet' "$SHD_LOG"
rules 'put not_done times=1' 'put outcome_unknown times=1'
ok 'unknown outcomes are settled by reading back' produce 1 object
rules ''
ok 'a third' produce 2 object
is "$(find "$DATA/objects/.tmp" -type f | wc -l | tr -d ' ')" 0 'nothing is left in .tmp'
ok 'fresh segments are in the cache' test "$(find "$DATA/cache" -type f | wc -l)" -ge 3
ok 'stop' stop_shd

rules 'get io'
start
consume 0 >"$TMP/out"
same "$TMP/in" "$TMP/out" 'behind a restart they are read from the cache, not from the store'
ok 'stop' stop_shd

find "$DATA/cache" -type f | while read -r file; do
	printf 'damage' | dd of="$file" bs=1 seek=500 conv=notrunc 2>/dev/null
done
rules 'get flip times=1'
start
consume 0 >"$TMP/out"
same "$TMP/in" "$TMP/out" 'damage in the cache, and then a flipped bit from the store, cost a fetch each'
kill -9 "$(shd_pid store)"
consume 1 >"$TMP/out"
same "$TMP/in" "$TMP/out" 'reads go on when the store process is killed'
ok 'stop' stop_shd

rm -rf "$DATA/cache"
rules ''
start -O cache.max_bytes=1M
consume 2 >"$TMP/out"
same "$TMP/in" "$TMP/out" 'without its directory the cache starts again'
ok 'within its limit' test "$(du -sk "$DATA/cache" | cut -f1)" -le 2048
before=$(segments)
rules 'put unavailable'
ok 'with the store away records are taken at level wal' produce 3 wal
consume 3 >"$TMP/out"
same "$TMP/in" "$TMP/out" 'and read'
kill_shd
rules ''
start
consume 3 >"$TMP/out"
same "$TMP/in" "$TMP/out" 'also after kill -9'
ok 'when it is back they become a segment' wait_for '[ $(segments) -gt $before ]' 30
rules 'put no_space times=2'
ok 'a full store is waited for, too' produce 3 object
ok 'stop' stop_shd
done_testing
