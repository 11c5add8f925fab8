#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# One sequential reader of a cold cache: each part is fetched once, and several at the same time.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

RULES=$TMP/rules
: >"$RULES"
metric() { curl -s "$URL/metrics" | sed -n "s/^[a-z]*_*$1 //p"; }
start() { start_shd -O "object.url=fault:$RULES:file:" -O segment.max_age=10m "$@"; }
fetched() { # by one reader of all of it: gets and milliseconds
	began=$(date +%s%N)
	$STREAMCTL consume t --from earliest --exit >"$TMP/out" 2>"$TMP/err" || cat "$TMP/err" >&2
	spent_ms=$((($(date +%s%N) - began) / 1000000))
	gets=$(metric object_gets_total)
}

# 44 MB in one object, which no compression makes less than 33 MB
head -c 33000000 /dev/urandom | base64 -w 999 >"$TMP/in"
start
$STREAMCTL topic create t --partitions 1 >/dev/null
ok 'records' sh -c "$STREAMCTL produce t <'$TMP/in'"
ok 'and one that brings them all to the store' sh -c "echo end >>'$TMP/in'; echo end | $STREAMCTL produce t --durability object"
ok 'stop' stop_shd

rm -rf "$DATA/cache"
echo 'get delay delay_ms=800' >"$RULES"
bytes=$(find "$DATA/objects/segments" -type f -exec cat {} + | wc -c)
objects=$(find "$DATA/objects/segments" -type f | wc -l)
parts=$(((bytes + 4194303) / 4194304))
start
fetched
note() { echo "# $objects objects, $parts parts, $gets GETs, $spent_ms ms, not $((gets * 800))"; }
note
same "$TMP/in" "$TMP/out" 'all of it'
ok 'in as many GETs as there are parts' test "$gets" -ge "$parts" -a "$gets" -le $((parts + objects))
# One after the other cannot take less than all the delays together, however slow or fast the machine is.
ok 'several at once' test "$spent_ms" -lt $((gets * 800))
ok 'stop' stop_shd

rm -rf "$DATA/cache"
: >"$RULES"
start -O cache.max_bytes=8M
fetched
note
same "$TMP/in" "$TMP/out" 'with a cache of two parts'
ok 'nothing is fetched twice because of a guess' test "$gets" -le $((parts + 2 * objects))
ok 'stop' stop_shd

# The same reader over many small objects: the next ones are fetched while it reads one.
rm -rf "$DATA"
: >"$RULES"
start
$STREAMCTL topic create t --partitions 1 >/dev/null
: >"$TMP/in"
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	head -c 300000 /dev/urandom | base64 -w 999 >"$TMP/part"
	cat "$TMP/part" >>"$TMP/in"
	$STREAMCTL produce t -q --durability object <"$TMP/part" || tap_result 1 "part $i"
done
ok 'stop' stop_shd
rm -rf "$DATA/cache"
echo 'get delay delay_ms=400' >"$RULES"
objects=$(find "$DATA/objects/segments" -type f | wc -l) parts=$objects
start
fetched
note
same "$TMP/in" "$TMP/out" 'all of it, out of many objects'
is "$gets" "$objects" 'each is fetched once'
ok 'several at once' test "$spent_ms" -lt $((gets * 400))
ok 'stop' stop_shd
done_testing
