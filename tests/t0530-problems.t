# SPDX-License-Identifier: Apache-2.0
# What goes wrong is seen: in the status, and by who produces.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

status() { # jq-path
	api GET /api/v1/status | jq -r "$1"
}
put() { # value [durability]
	api POST /api/v1/produce -d "{\"topic\":\"t\",\"partition\":0,\"value\":\"$1\",\"durability\":\"${2:-wal}\"}"
}

start_shd -O segment.max_age=100ms -O wal.max_bytes=256M
api POST /api/v1/topics -d '{"name":"t","partitions":1,"config":{"compression.type":"uncompressed"}}' >/dev/null
put one object >/dev/null
is "$(status '.problems | length')" 0 'no problems when all is well'
is "$(status '[.log.flush_error, .log.read_error, .store.last_error] | map(. == null) | all')" true 'and no errors are remembered'
is "$("$STREAMCTL" status | grep -c problem)" 1 'streamctl status has no section for them'

# ---- segments cannot be written ----
mv "$DATA/objects/segments" "$TMP/segments"
echo in the way >"$DATA/objects/segments"
put two >/dev/null
ok 'a segment that cannot be written is a problem' wait_for 'status ".problems[]" | grep -q "segments cannot be written since .*building a segment failed"' 20
like "$(status .log.flush_error_since)" '^20[0-9-]*T' 'with the time when it began'
ok 'the store says what went wrong last' wait_for 'status .store.last_error | grep -q segments' 20
is "$(status .store.last_error_at | cut -c 1-2)" 20 'and when'
"$STREAMCTL" status >"$TMP/status.out"
is $? 0 'streamctl status ends with 0'
is "$(head -n 1 "$TMP/status.out")" 'problems:' 'and begins with what is wrong'
like "$(sed -n 2p "$TMP/status.out")" '^  segments cannot be written' 'a line each'
api GET /health >/dev/null
is "$(api_status)" 200 '/health stays ok'
api GET /ready >/dev/null
is "$(api_status)" 200 'and /ready'
head -c 30000000 /dev/urandom | base64 -w 100000 >"$TMP/lines"
full() {
	api POST '/api/v1/topics/t/records?partition=0' -H 'Content-Type: text/plain' --data-binary "@$TMP/lines" >/dev/null
	[ "$(api_status)" = 429 ]
}
ok 'the log fills' wait_for full 60
like "$(jq -r .error.message "$TMP/body")" 'write-ahead log is full.*segments cannot be written since .*building a segment failed' 'and says why it does not get empty'
rm "$DATA/objects/segments"
mv "$TMP/segments" "$DATA/objects/segments"
ok 'when segments are written again that is over' wait_for '[ "$(status .log.flush_error)" = null ]' 30
ok 'and records are taken' wait_for 'put three object >/dev/null; [ "$(api_status)" = 200 ]' 60
stop_shd

# ---- the server stops while a body is half sent ----
start_shd
mkfifo "$TMP/body-fifo"
curl -sS -X POST -T - -H 'Content-Type: text/plain' -H 'Expect:' "$URL/api/v1/topics/t/records?partition=0" <"$TMP/body-fifo" >"$TMP/half" 2>&1 &
client=$!
exec 9>"$TMP/body-fifo"
printf 'x\ny\nhalf a li' >&9
wait_for '[ "$(status .log.appended_records)" -ge 2 ]' 10
stop_shd
is $? 0 'shd drains though a client has not sent all'
exec 9>&-
wait $client
is "$(jq -r '.error.code + ": " + .error.message' "$TMP/half")" 'unavailable: the server is stopping, and the body has not ended' 'who is answered'
is "$(jq -c '[.records, .acknowledged // .records, .partitions[0].last_offset - .partitions[0].first_offset]' "$TMP/half")" '[2,2,1]' 'with what was taken, and acknowledged'

# ---- a segment is missing ----
find "$DATA/objects/segments" -name '*.seg' | while read -r file; do mv "$file" "$file.away"; done
rm -rf "$DATA/cache"
start_shd
before=$(status .store.errors)
"$STREAMCTL" consume t -p 0 --from 0 -n 1 >"$TMP/out" 2>&1
is $? 10 'who reads a segment that is missing hears so'
like "$(cat "$TMP/out")" 'a segment that the metadata counts on is missing' 'with the reason'
ok 'an error of the store is counted' test "$(status .store.errors)" -gt "$before"
like "$(status '.problems[]')" 'a read failed at .*: t-0: a segment that the metadata counts on is missing' 'and it is a problem'
find "$DATA/objects/segments" -name '*.away' | while read -r file; do mv "$file" "${file%.away}"; done
is "$("$STREAMCTL" consume t -p 0 --from 0 -n 1)" one 'it is read when it is back'
stop_shd

# ---- a damaged partition ----
mkdir "$DATA/slots/0/quarantine/t-0.damaged" # a mark that cannot be read is one
start_shd
is "$(status '.log.damaged | length')" 1 'a damaged partition is listed'
like "$(status '.log.damaged[0] | "\(.topic) \(.partition) \(.why)"')" '^t 0 .*t-0.damaged' 'with the reason'
like "$(status '.problems[]')" '^partition t-0 does not serve: .*t-0.damaged' 'and is a problem'
done_testing
