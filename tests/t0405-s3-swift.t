#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# S3 on a service without conditional create: OpenStack Swift. The driver, then produce, flush, evict, consume.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/swift.sh"

missing=$(swift_missing)
[ -z "$missing" ] || skip_all "not installed:" $missing
start_swift

store=s3://bucket/some/prefix
tool() { object-tool "$store" "$@"; }
code() { "$@" 2>&1 | sed 's/:.*//'; }
head -c 100000 /dev/urandom >"$TMP/small"
head -c 23000001 /dev/urandom >"$TMP/large"
: >"$TMP/empty"

is "$(code tool size a)" unavailable 'a bucket that is not there'
ok 'a bucket' tool request PUT -
is "$(SHD_S3_CONDITIONAL=on code tool put-once no "$TMP/small")" not_built 'the service does not know conditions'
ok 'the store is looked at' tool prepare
is "$(object-tool s3://bucket list)" '' 'the probe leaves nothing'
ok 'put' tool put-once segments/1.seg "$TMP/small"
is "$(code tool put-once segments/1.seg "$TMP/small")" already_exists 'a name is given once'
ok 'the put that checks finds the same there' tool put segments/1.seg "$TMP/small"
is "$(code tool put segments/1.seg "$TMP/empty")" already_exists 'but not something else'
tool get segments/1.seg 0 100000 >"$TMP/out"
same "$TMP/small" "$TMP/out" 'it holds what was put'
is "$(code tool get segments/1.seg 99991 10)" corrupt 'beyond its end'
is "$(code tool get segments/1.seg 100000 1)" corrupt 'and behind it'
is "$(tool size segments/1.seg)" 100000 'size'
is "$(code tool get segments/2.seg 0 1)" not_found 'get of what is not there'
is "$(code tool size segments/2.seg)" not_found 'size of what is not there'
ok 'an object of no bytes' tool put-once empty "$TMP/empty"
is "$(tool size empty)" 0 'has none'
ok 'an object in parts' tool put-once big "$TMP/large"
tool get big 0 23000001 >"$TMP/out"
same "$TMP/large" "$TMP/out" 'holds what was put'
is "$(code tool put-once big "$TMP/large")" already_exists 'its name is given once'
is "$(object-tool s3://bucket request GET - uploads | grep -c '<Upload>')" 0 'nothing of it is left under way'
tool race raced "$TMP/small" 4 >"$TMP/out"
ok 'of four that write one name at once at least one wins' grep -q '^[1-4] won' "$TMP/out"
tool get raced 0 100000 >"$TMP/out"
same "$TMP/small" "$TMP/out" 'and it is whole'
is "$(tool list | sort | tr '\n' ' ')" 'big 23000001 empty 0 raced 100000 segments/1.seg 100000 ' 'the list'
ok 'remove' tool remove segments/1.seg
is "$(code tool size segments/1.seg)" not_found 'it is gone'
ok 'removing what is not there' tool remove segments/1.seg
like "$(AWS_SECRET_ACCESS_KEY=wrong tool list)" 'unavailable: .*SignatureDoesNotMatch' 'a wrong secret'

# ---- the family ----
for i in 1 2 3; do head -c 1500000 /dev/urandom | base64 -w 1000 >"$TMP/in$i"; done
cat "$TMP"/in? >"$TMP/want"
store=s3://bucket/logs
: >"$TMP/faults"
start_shd -O "object.url=fault:$TMP/faults:$store" -O segment.max_age=300ms -O s3.timeout=5s -O cache.max_bytes=1M
ok 'the log says that each put looks first' wait_for 'grep -q "looks first whether its name is taken" "$SHD_LOG"' 30
is "$(api GET /api/v1/status | jq .store.looks_before_put)" true 'so does the status'
api POST /api/v1/topics -H 'content-type: application/json' -d '{"name":"t","partitions":1}' >/dev/null
for i in 1 2 3; do
	[ "$i" = 1 ] || echo 'put outcome_unknown times=1' >"$TMP/faults"
	[ "$i" = 3 ] && echo 'put not_done times=1' >"$TMP/faults"
	api POST '/api/v1/topics/t/records?partition=0&durability=object' -H 'content-type: text/plain' --data-binary "@$TMP/in$i" >"$TMP/ack"
	is "$(api_status)" 200 "an ack at level object, $i"
done
"$STREAMCTL" cat -f '%v\n' "$store" >"$TMP/out" 2>"$TMP/err"
same "$TMP/want" "$TMP/out" 'what was written is in the bucket'
"$STREAMCTL" consume -e t -f '%v\n' >"$TMP/out" 2>"$TMP/err"
same "$TMP/want" "$TMP/out" 'and is consumed'
ok 'most of it out of the bucket' test "$(api GET /api/v1/status | jq .store.gets)" -ge 2
ok 'stop' stop_shd
ok 'streamctl check finds the bucket whole' "$STREAMCTL" check "$store"
done_testing
