#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The records resources and the resources of SDKs: against the agent's server on a log in memory, which can be told to misbehave.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

serve() { # rules and options of http-server
	mkfifo "$TMP/stdin.$$" 2>/dev/null
	"$top_builddir/tests/helper/http-server" "$@" <"$TMP/stdin.$$" >"$TMP/port" 2>"$TMP/server.log" &
	SERVER=$!
	exec 9>"$TMP/stdin.$$" # it ends when this is closed
	wait_for '[ -s "$TMP/port" ]' 20 || { diag_file "$TMP/server.log"; echo "Bail out! http-server did not start"; exit 1; }
	PORT=$(cat "$TMP/port")
	URL=http://127.0.0.1:$PORT
	api POST /api/v1/topics -d '{"name":"t","partitions":3}' >/dev/null
}
unserve() {
	exec 9>&-
	wait "$SERVER"
}
post() { # type query; the body on stdin
	api POST "/api/v1/topics/t/records?$2" -H "Content-Type: $1" --data-binary @-
}
NDJSON=application/x-ndjson
BATCH=application/vnd.streamhouse.batch
R=/api/v1/topics/t/partitions/0/records

serve

# ---- topics ----
api POST /api/v1/topics -d '{"name":"u","partition_count":2,"replication_factor":3,"retention_ms":60000,"config":{"durability":"object"}}' >"$TMP/u"
is "$(api_status)" 201 "a topic is created"
like "$(cat "$TMP/u")" '"partition_count":2,"partitions":2,"replication_factor":3,"retention_ms":60000' "its fields come back"
api POST /api/v1/topics -d '{"name":"u"}' >/dev/null
is "$(api_status)" 409 "not twice"
for bad in '{"name":""}' '{}' '{"name":"z","partitions":0}' '{"name":"z","partitions":"x"}' '[]' '{' '{"name":"z","config":3}'; do
	api POST /api/v1/topics -d "$bad" >/dev/null
	is "$(api_status)" 400 "not $bad"
done
like "$(api PATCH /api/v1/topics/u -d '{"partitions":4,"retention_ms":5}')" '"partitions":4,.*"retention_ms":5,' "it can be altered"
like "$(api GET /api/v1/topics/u/partitions)" '"partition_id":3,"topic":"u","leader_agent_id":"agent-0","high_watermark":0,"low_watermark":0' "its partitions"
like "$(api GET '/api/v1/topics?after=t')" '^\[\{"name":"u"' "a page of topics"
api DELETE /api/v1/topics/u >/dev/null
is "$(api_status)" 204 "it can be deleted"
api GET /api/v1/topics/u >/dev/null
is "$(api_status)" 404 "and is gone"

# ---- produce, consume ----
like "$(api POST /api/v1/produce -d '{"topic":"t","key":"k","value":{"a": 1.10},"headers":{"h":"1"},"partition":null,"ack_mode":"durable"}')" \
	'^\{"partition":2,"offset":0,"timestamp":[0-9]+,"durability":"object"\}$' "a record, its partition by the key as Kafka does"
like "$(api GET '/api/v1/consume?topic=t&partition=2&offset=0')" '"key":"k","value":"\{\\"a\\": 1.10\}","headers":\{"h":"1"\}\}\],"next_offset":1,"nextOffset":1,"high_watermark":1,"highWatermark":1\}' \
	"a value that is not a string is kept as its text"
for mode in '"ack_mode":0:wal' '"ack_mode":"buffered":wal' '"ack_mode":1:object' '"ack_mode":2:none' '"ack_mode":"none":none' '"durability":"object":object'; do
	like "$(api POST /api/v1/produce -d "{\"topic\":\"t\",\"value\":\"x\",\"partition\":1,${mode%:*}}")" "\"durability\":\"${mode##*:}\"" "level: $mode"
done
api POST /api/v1/produce -d '{"topic":"no","value":"x"}' >/dev/null
is "$(api_status)" 404 "unknown topic: 404"
api POST /api/v1/produce -d '{"topic":"t","value":"x","partition":3}' >/dev/null
is "$(api_status)" 400 "unknown partition: 400"
head -c 1100000 /dev/zero | tr '\0' x | sed 's/.*/{"topic":"t","value":"&"}/' | api POST /api/v1/produce --data-binary @- >/dev/null
is "$(api_status)" 413 "a record above the topic's limit: 413"
like "$(api POST /api/v1/produce/batch -d '{"topic":"t","partition":1,"records":[{"value":"a"},{"value":"b","partition":0},{"value":null}]}')" \
	'"count":3,"results":\[\{"partition":1,"offset":6,.*"partition":0,"offset":0' "a batch, each record where it says"
like "$(api POST /api/v1/produce/batch -d '{"topic":"t","records":[{"value":"a"},{"value":7,"timestamp":"x"}]}')" 'record 1' "a mistake names the record"
is "$(api_status)" 400 "and nothing is taken"
like "$(api GET '/api/v1/consume?topic=t&partition=0&offset=-5')" '^\{"records":\[\],"next_offset":0' "consume below the log: the nearest offset"
like "$(api GET '/api/v1/consume?topic=t&partition=0&offset=50&maxRecords=3')" '^\{"records":\[\],"next_offset":1' "beyond its end, too"
api GET '/api/v1/consume?topic=t' >/dev/null
is "$(api_status)" 400 "consume without partition: 400"
api GET '/api/v1/consume?topic=t&partition=9&offset=0' >/dev/null
is "$(api_status)" 404 "consume of an unknown partition: 404"
like "$(api GET '/api/v1/topics/t/messages?partition=1&limit=2&order=desc')" '^\[\{"partition":1,"offset":7,.*"offset":6,' "messages, newest first"
like "$(api GET '/api/v1/topics/t/messages?partition=1&offset=2&limit=1')" '^\[\{"partition":1,"offset":2,' "messages from an offset"

# ---- records: posting ----
printf '{"value":"1"}\n\n{"value":"2","key":"k"}\n{"value_base64":"//4=","headers":[["a","1"],["a",null]],"timestamp":5}' | post $NDJSON 'partition=0' >"$TMP/a"
is "$(cat "$TMP/a")" '{"records":3,"durability":"wal","partitions":[{"partition":0,"records":3,"first_offset":1,"last_offset":3}]}' "NDJSON, the last line without newline"
printf 'a\n\nb' | post text/plain 'partition=0&durability=object' >"$TMP/a"
is "$(cat "$TMP/a")" '{"records":3,"durability":"object","partitions":[{"partition":0,"records":3,"first_offset":4,"last_offset":6}]}' "text: a record a line, empty ones too"
printf '{"value":"1"}\n{"value":}\n{"value":"3"}\n' | post $NDJSON 'partition=0' >"$TMP/a"
is "$(api_status)" 400 "a bad line"
like "$(cat "$TMP/a")" 'line 2.*,"records":1,"durability":"wal","partitions":\[\{"partition":0,"records":1,"first_offset":7,"last_offset":7\}\]\}' "says which, and how many were taken before it"
printf 'x' | post application/xml '' >/dev/null
is "$(api_status)" 415 "another content type"
printf 'x' | post text/plain 'partition=77' >/dev/null
is "$(api_status)" 404 "a partition that is not there"
printf 'x' | post text/plain 'durability=paper' >/dev/null
is "$(api_status)" 400 "a level that is not there"
head -c 1100000 /dev/zero | tr '\0' x | { printf 'short\n'; cat; } | post text/plain 'partition=0' >"$TMP/a"
is "$(api_status)" 413 "a line above the limit"
like "$(cat "$TMP/a")" '"records":1' "behind one that was taken"

# ---- records: reading ----
is "$(api GET "$R?offset=1&end=4" -H "Accept: $NDJSON" | sed 's/"timestamp":[0-9]*/T/')" '{"partition":0,"offset":1,T,"value":"1"}
{"partition":0,"offset":2,T,"key":"k","value":"2"}
{"partition":0,"offset":3,T,"value_base64":"//4=","headers":[["a","1"],["a",null]]}' "NDJSON keeps every byte"
like "$(api GET "$R?offset=-2")" '^\{"records":\[$' "JSON"
like "$(api GET "$R?offset=latest")" '^\{"records":\[\],"next_offset":9,"high_watermark":9,"log_start":0\}$' "at the end there is nothing"
api GET "$R?offset=10" >"$TMP/a"
is "$(api_status)" 416 "beyond it, 416"
like "$(cat "$TMP/a")" '"log_start":0,"high_watermark":9' "with the range"
is "$(api GET "$R?offset=earliest&max_records=2" -H "Accept: $NDJSON" | wc -l)" 2 "max_records"
is "$(api GET "$R?offset=earliest&end=now" -H "Accept: $NDJSON" | wc -l)" 9 "end=now"
like "$(api GET "$R?timestamp=0&max_records=1" -H "Accept: $NDJSON")" '"offset":0,' "from a time on"
like "$(api GET "$R?timestamp=2999-01-01T00:00:00Z")" '"records":\[\],"next_offset":9' "from a time that has not come"
api GET "$R?offset=1&timestamp=5" >/dev/null
is "$(api_status)" 400 "not from an offset and a time"
api GET "$R" -H 'Accept: image/png' >/dev/null
is "$(api_status)" 415 "a type that records cannot have"
api GET "$R?end=now" -H "Accept: $BATCH" -D "$TMP/head" >"$TMP/batches"
like "$(cat "$TMP/head")" '^X-High-Watermark: 9' "batches"
cp "$TMP/body" "$TMP/batches"
post $BATCH 'partition=2' <"$TMP/batches" >"$TMP/a"
is "$(cat "$TMP/a")" '{"records":9,"durability":"wal","partitions":[{"partition":2,"records":9,"first_offset":1,"last_offset":9}]}' "batches can be posted as they were read"
api GET "$R" -H "Accept: $NDJSON" | sed 's/"partition":0,"offset":[0-9]*//' >"$TMP/from"
api GET "/api/v1/topics/t/partitions/2/records?offset=1" -H "Accept: $NDJSON" | sed 's/"partition":2,"offset":[0-9]*//' >"$TMP/to"
same "$TMP/from" "$TMP/to" "and are the same records"
post $BATCH '' <"$TMP/batches" >/dev/null
is "$(api_status)" 400 "batches need a partition"
head -c 100 "$TMP/batches" | post $BATCH 'partition=2' >/dev/null
is "$(api_status)" 400 "a batch that is cut short"
{ cat "$TMP/batches"; head -c 61 /dev/zero; } | post $BATCH 'partition=2' >"$TMP/a"
like "$(cat "$TMP/a")" '"code":"corrupt_batch".*"records":9' "one that is not a batch, behind good ones"

# ---- waiting ----
curl -sS "$URL$R?offset=9&wait_ms=20000" -H "Accept: $NDJSON" >"$TMP/waited" &
waiter=$!
sleep 0.2
printf 'late' | post text/plain 'partition=0' >/dev/null
wait $waiter
like "$(cat "$TMP/waited")" '"offset":9,.*"late"' "a long poll ends with the first record"
before=$(date +%s)
like "$(api GET "$R?offset=10&wait_ms=1000")" '"records":\[\]' "or with its time"
ok "which it waits" test $(($(date +%s) - before)) -ge 1
curl -sS -N --max-time 20 "$URL$R?offset=9" -H 'Accept: text/event-stream' >"$TMP/events" 2>/dev/null &
stream=$!
wait_for 'grep -q "^id: 9$" "$TMP/events"' 10
printf 'later' | post text/plain 'partition=0' >/dev/null
wait_for 'grep -q "^data: .*later" "$TMP/events"' 10
ok "an event stream goes on" test $? -eq 0
kill $stream
like "$(curl -sS -N --max-time 1 "$URL$R" -H 'Accept: text/event-stream' -H 'Last-Event-ID: 9' 2>/dev/null)" '^id: 10$' "and can be taken up again"

# ---- much ----
awk 'BEGIN { for (i = 0; i < 300000; i++) printf "{\"key\":\"%d\",\"value\":\"%040d\"}\n", i, i }' >"$TMP/many"
api POST /api/v1/topics -d '{"name":"many","partitions":1}' >/dev/null
api POST /api/v1/topics/many/records -H "Content-Type: $NDJSON" -H 'Transfer-Encoding: chunked' -T - <"$TMP/many" >"$TMP/a"
like "$(cat "$TMP/a")" '"records":300000,' "three hundred thousand records in one request"
api GET '/api/v1/topics/many/partitions/0/records?end=now' -H "Accept: $NDJSON" | sed 's/"partition":0,"offset":[0-9]*,"timestamp":[0-9]*,//' >"$TMP/back"
same "$TMP/many" "$TMP/back" "and in one answer"
like "$(curl -sS --raw "$URL/api/v1/topics/many/partitions/0/records?end=now" -H "Accept: $NDJSON" | tail -c 40)" 'X-Next-Offset: 300000' "whose trailer says where to go on"
is "$(api GET '/api/v1/topics/many/partitions/0/records' -H "Accept: $NDJSON" --http1.0 | wc -l)" "$(api GET '/api/v1/topics/many/partitions/0/records' -H "Accept: $NDJSON" | wc -l)" "HTTP/1.0 gets the same, without chunks"

# ---- the rest ----
is "$(api GET /api/v1/whoami | cut -c 1-29)" '{"organization_id":"default",' "whoami"
like "$(api GET /api/v1/metrics)" '^\{"topics_count":2,"agents_count":1,"partitions_count":4,"total_messages":[0-9]+\}$' "metrics"
for what in throughput latency errors storage; do
	api GET "/api/v1/metrics/$what?time_range=1h" >/dev/null
	is "$(api_status)" 200 "metrics: $what"
done
like "$(api GET /api/v1/agents/agent-0)" '"active_leases":4' "agents"
like "$(api GET /api/v1/cluster)" '"partitions":\[\{"topic":"many","partitions":\[0\]\}' "cluster"
ok "Prometheus' metrics each have HELP and TYPE" sh -c 'curl -s "$0/metrics" | awk "/^# HELP/ { h[\$3] } /^# TYPE/ { t[\$3] } /^[^#]/ { split(\$1, n, \"{\"); if (!(n[1] in h) || !(n[1] in t)) exit 1 }"' "$URL"
for path in /api/v1/consumer-groups /api/v1/consumer-groups/g/lag /api/v1/sql /api/v1/organizations /api/v1/pipelines /api/v1/connectors/x/pause /ws/metrics /subjects /schemas/ids/1 /config; do
	api GET $path >/dev/null
	is "$(api_status)" 501 "not built: $path"
done
unserve
ok "the server ends without complaint" test $? -eq 0

# ---- a log that says no ----
serve refuse_every=3 ack_ms=5
awk 'BEGIN { for (i = 0; i < 50; i++) print i }' | post text/plain 'partition=0' >"$TMP/a"
like "$(cat "$TMP/a")" '"records":50,' "a log that refuses now and then: tried again"
api GET "$R" -H "Accept: $NDJSON" | sed 's/.*"value":"//; s/".*//' >"$TMP/back"
awk 'BEGIN { for (i = 0; i < 50; i++) print i }' >"$TMP/from"
same "$TMP/from" "$TMP/back" "each is there once, in order"
unserve
serve fail_at=11
awk 'BEGIN { for (i = 0; i < 50; i++) print i }' | post text/plain 'partition=0' >"$TMP/a"
is "$(api_status)" 503 "a log that fails in the middle"
like "$(cat "$TMP/a")" 'line 11: .*"records":10,"durability":"wal"' "ten were taken"
unserve
serve refuse_every=1
api POST /api/v1/produce -d '{"topic":"t","value":"x"}' -D "$TMP/head" >/dev/null
is "$(api_status)" 429 "a log that is full: 429"
like "$(cat "$TMP/head")" '^Retry-After: 1' "with Retry-After"
unserve

done_testing
