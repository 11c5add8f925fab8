# SPDX-License-Identifier: Apache-2.0
# The crash points of S3: a store process dies between two requests, alone and with the whole family. What was acknowledged reads back,
# what its uploads leave is not seen, and goes.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/rgw.sh"
. "$top_srcdir/tests/lib-points.sh"

missing=$(rgw_missing)
[ -z "$missing" ] || skip_all "not installed:" $missing
start_rgw
store=s3://bucket/logs
object-tool "$store" request PUT - >/dev/null

start() {
	start_shd -O "object.url=$store" -O segment.max_age=1h -O object.grace=1s -O janitor.interval=100ms -O s3.multipart_bytes=5M
}
head -c 9000000 /dev/urandom | od -An -v -tx1 -w500 | tr -d ' ' | head -c 12000000 >"$TMP/lines"
echo >>"$TMP/lines"
: >"$TMP/want"
: >"$TMP/new"
read_to=0
produce() { # a segment of three parts
	curl -s --max-time 60 -o /dev/null -w '%{http_code}' -H 'Content-Type: text/plain' --data-binary "@$TMP/lines" \
		"$URL/api/v1/topics/t/records?partition=0&durability=$1"
}
consume() { # offset: sets at to the next one
	at=$1
	while :; do
		api GET "/api/v1/topics/t/partitions/0/records?offset=$at&end=now" -H 'Accept: application/x-ndjson' >"$TMP/page"
		[ "$(api_status)" = 200 ] && [ -s "$TMP/page" ] || break
		jq -r .value "$TMP/page"
		at=$(($(tail -n 1 "$TMP/page" | jq .offset) + 1))
	done
}

start
api POST /api/v1/topics -H 'Content-Type: application/json' \
	-d '{"name":"t","partitions":1,"config":{"compression.type":"uncompressed"}}' >/dev/null
for name in s3.probed s3.upload-begun s3.part-put s3.upload-complete; do
	[ "$name" = s3.probed ] || is "$(produce wal)" 200 'records are taken'
	[ "$name" = s3.probed ] || cat "$TMP/lines" >>"$TMP/new"
	was=$(shd_pid store)
	arm "$name"
	if [ "$name" = s3.probed ]; then # once in the life of a process
		kill_shd
		start
	else
		produce object >"$TMP/answer" &
		asked=$!
	fi
	ok "$name: store dies" reached "$name" && passed "$name"
	if [ "$name" != s3.probed ]; then
		ok 'it is started again' wait_for '[ -n "$(shd_pid store)" ] && [ "$(shd_pid store)" != "$was" ]' 30
		wait $asked
		is "$(cat "$TMP/answer")" 200 'and the segment is put'
		cat "$TMP/lines" >>"$TMP/new"
	fi
	arm "$name.stop"
	if [ "$name" = s3.probed ]; then
		kill_shd
		start
	else
		is "$(produce wal)" 200 'records are taken'
		cat "$TMP/lines" >>"$TMP/new"
		produce object >/dev/null & # without an answer: not sent again
		asked=$!
	fi
	ok "$name: all die" reached "$name.stop"
	kill_shd
	[ "$name" = s3.probed ] || wait $asked
	start
	if [ "$name" != s3.probed ]; then
		consume "$read_to" >"$TMP/got"
		read_to=$at
		head -c "$(wc -c <"$TMP/new")" "$TMP/got" | cmp -s - "$TMP/new"
		tap_result $? 'what was acknowledged reads back'
		tail -c "+$(($(wc -c <"$TMP/new") + 1))" "$TMP/got" >"$TMP/more"
		head -c "$(wc -c <"$TMP/more")" "$TMP/lines" | cmp -s - "$TMP/more"
		tap_result $? 'and of what was not, at most its first records'
		cat "$TMP/got" >>"$TMP/want"
		: >"$TMP/new"
	fi
done
is "$(produce object)" 200 'an ack at level object'
cat "$TMP/lines" >>"$TMP/want"
consume 0 >"$TMP/got"
same "$TMP/got" "$TMP/want" 'all of it reads back'
ok 'objects that nobody refers to are removed' wait_for \
	'! "$STREAMCTL" check "$DATA" --objects "$store" 2>&1 | grep -q "does not count as live"' 30
stop_shd
ok 'the bucket is whole' "$STREAMCTL" check "$store"
is "$(passed_points)" "$(source_points | grep '^s3\.')" 'the store died at each crash point of S3'
done_testing
