#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The HTTP interface of a real shd, field by field: what clients and SDKs send and read, the records resources, and all of
# it again while data is in the tail, in segments, after a restart, and while the store or meta process is away.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

command -v jq >/dev/null && command -v curl >/dev/null || skip_all "jq or curl is missing: run sh tests/deps.sh"

NDJSON=application/x-ndjson
BATCH=application/vnd.streamhouse.batch

json() { # title jq-condition; the document in $TMP/body
	if jq -e "$2" "$TMP/body" >"$TMP/jq.out" 2>&1; then
		tap_result 0 "$1"
	else
		tap_result 1 "$1"
		diag "not true: $2"
		diag "status $(api_status) and: $(head -c 1000 "$TMP/body")"
	fi
}
get() { # path curl-arg...
	tap_get=$1
	shift
	api GET "$tap_get" "$@" >/dev/null
}
status() { # status title method path curl-arg...
	tap_want=$1 tap_title=$2
	shift 2
	api "$@" >/dev/null
	is "$(api_status)" "$tap_want" "$tap_title" || diag "$(head -c 600 "$TMP/body")"
}
error() { # status code title method path curl-arg...: the error object with all its members
	tap_want=$1 tap_code=$2 tap_title=$3
	shift 3
	api "$@" >/dev/null
	if [ "$(api_status)" = "$tap_want" ] && jq -e --arg c "$tap_code" '.error.code == $c and (.error.message | length > 0)' \
		"$TMP/body" >/dev/null 2>&1; then
		tap_result 0 "$tap_title"
	else
		tap_result 1 "$tap_title"
		diag "want $tap_want $tap_code, got $(api_status): $(head -c 600 "$TMP/body")"
	fi
}

start_shd -O segment.max_age=1h

# ---- who is there ----
get /health
json "health" '. == {status: "ok"}'
status 200 "live" GET /live
status 200 "ready" GET /ready
get /api/v1/whoami -H 'Authorization: Bearer KEY' -H 'X-Organization-Id: anyone'
json "whoami" '.organization_id == "default" and has("key_id") and (.permissions | type == "array") and (.scopes | type == "array")'
get /api/v1/topics
json "no topics yet" '. == []'

# ---- topics ----
api POST /api/v1/topics -d '{"name":"t","partitions":3,"replication_factor":2,"retention_ms":86400000,"config":{"max.message.bytes":"100000"}}' >/dev/null
is "$(api_status)" 201 "a topic, with partitions"
topic_fields='(.partition_count == 3 and .partitions == 3 and .replication_factor == 2 and .retention_ms == 86400000
	and (.config | type == "object") and .config["max.message.bytes"] != null
	and (.created_at | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$")) and .message_count == 0 and .size_bytes == 0)'
json "all its fields" ".name == \"t\" and $topic_fields"
get /api/v1/topics/t
json "the same when read" ".name == \"t\" and $topic_fields"
status 201 "a topic, with partition_count" POST /api/v1/topics -d '{"name":"w","partition_count":1}'
status 201 "a topic with a level of its own" POST /api/v1/topics -d '{"name":"o","partitions":1,"config":{"durability":"object"}}'
status 201 "and one of none" POST /api/v1/topics -d '{"name":"n","partitions":1,"config":{"durability":"none"}}'
error 409 already_exists "not twice" POST /api/v1/topics -d '{"name":"t"}'
for bad in '{"name":"x","partitions":0}' '{"name":"x","partition_count":0}' '{"name":""}' '{"partitions":1}' '{"name":"a/b"}' \
	'{"name":"a b"}' '{"name":"."}' '{"name":".."}' '{"name":"a\u0000b"}' '{"name":7}' '{"name":"x","partitions":-1}' \
	'{"name":"x","partitions":1e3}' '{"name":"x","partitions":99999999999999999999}' '{"name":"x","retention_ms":"soon"}' \
	'{"name":"x","config":{"no.such":"1"}}' '[1]' 'nonsense' ''; do
	status 400 "no topic from: $bad" POST /api/v1/topics -d "$bad"
done
status 400 "nor with a name of 300 letters" POST /api/v1/topics -d "{\"name\":\"$(printf '%0300d' 0)\"}"
get /api/v1/topics
json "the list is an array of topics" 'map(.name) == ["n", "o", "t", "w"]'
api PATCH /api/v1/topics/w -d '{"retention_ms":123456}' >/dev/null
json "altering" '.retention_ms == 123456 and .partition_count == 1'
error 404 topic_not_found "altering what is not there" PATCH /api/v1/topics/no -d '{"retention_ms":1}'
get /api/v1/topics/t/partitions
json "partitions" 'length == 3 and (.[2] | .partition_id == 2 and .topic == "t" and (.leader_agent_id | type == "string")
	and .high_watermark == 0 and .low_watermark == 0)'
status 201 "one to delete" POST /api/v1/topics -d '{"name":"d"}'
api DELETE /api/v1/topics/d -D "$TMP/head" >"$TMP/deleted"
is "$(api_status) $(wc -c <"$TMP/body")" "204 0" "deleted, without a body"
error 404 topic_not_found "twice" DELETE /api/v1/topics/d
error 404 topic_not_found "and it is gone" GET /api/v1/topics/d
error 404 topic_not_found "a name with a NUL or slash is only unknown" GET /api/v1/topics/a%2fb
error 400 invalid_argument "a NUL cannot be in a path" GET /api/v1/topics/a%00b

# ---- produce ----
api POST /api/v1/produce -d '{"topic":"t","key":"k1","value":"v1","partition":0,"headers":{"h":"1"}}' >/dev/null
is "$(api_status)" 200 "produce"
json "its fields" '.offset == 0 and .partition == 0 and (.timestamp > 1600000000000) and .durability == "wal"'
api POST /api/v1/produce -d '{"topic":"t","value":{"a":[1, 2]},"partition":0}' >/dev/null
json "a value that is an object" '.offset == 1'
api POST /api/v1/produce -d '{"topic":"t","value":42,"partition":0}' >/dev/null
json "a value that is a number" '.offset == 2'
for level in '"ack_mode":0 wal' '"ack_mode":"buffered" wal' '"ack_mode":1 object' '"ack_mode":"durable" object' '"ack_mode":2 none' \
	'"ack_mode":"none" none' '"durability":"none" none' '"durability":"wal" wal' '"durability":"object" object'; do
	api POST /api/v1/produce -d "{\"topic\":\"w\",\"value\":\"x\",${level% *}}" >/dev/null
	json "produce with ${level% *}" ".durability == \"${level##* }\""
done
for level in none wal object; do
	api POST /api/v1/produce -d "{\"topic\":\"o\",\"value\":\"x\",\"durability\":\"$level\"}" >/dev/null
	json "a topic of level object raises $level" '.durability == "object"'
done
api POST /api/v1/produce -d '{"topic":"n","value":"x"}' >/dev/null
json "a topic of level none answers none" '.durability == "none"'
api POST /api/v1/produce -d '{"topic":"n","value":"x","durability":"object"}' >/dev/null
json "unless the request asks for more" '.durability == "object"'
error 404 topic_not_found "unknown topic" POST /api/v1/produce -d '{"topic":"no","value":"x"}'
error 404 topic_not_found "a topic with a NUL in its name is unknown" POST /api/v1/produce -d '{"topic":"t\u0000","value":"x"}'
error 400 invalid_argument "unknown partition" POST /api/v1/produce -d '{"topic":"t","value":"x","partition":3}'
error 400 invalid_argument "a partition below zero" POST /api/v1/produce -d '{"topic":"t","value":"x","partition":-1}'
error 400 invalid_argument "a partition that is no int" POST /api/v1/produce -d '{"topic":"t","value":"x","partition":4294967296}'
error 400 invalid_argument "an ack_mode there is not" POST /api/v1/produce -d '{"topic":"t","value":"x","ack_mode":3}'
error 400 invalid_argument "not JSON" POST /api/v1/produce -d '{"topic":"t",'
error 400 invalid_argument "an empty body" POST /api/v1/produce -d ''
error 400 invalid_argument "a surrogate alone" POST /api/v1/produce -d '{"topic":"t","value":"\ud800"}'
head -c 200000 /dev/zero | tr '\0' y | sed 's/.*/{"topic":"t","value":"&"}/' >"$TMP/large"
status 413 "a record above the topic's limit" POST /api/v1/produce --data-binary "@$TMP/large"
api POST /api/v1/produce/batch -d '{"topic":"t","partition":1,"ack_mode":"buffered","records":[{"value":"a"},{"key":"k","value":"b","partition":0,"headers":{"x":"y"},"timestamp":1700000000000}]}' >/dev/null
json "produce/batch" '.count == 2 and (.results | length == 2) and .results[0].partition == 1 and .results[0].offset == 0
	and (.results[0].timestamp > 1600000000000) and .results[1] == {partition: 0, offset: 3, timestamp: 1700000000000}'
api POST /api/v1/produce/batch -d '{"topic":"t","records":[]}' >/dev/null
json "an empty batch" '.count == 0 and .results == []'
error 400 invalid_argument "a batch without records" POST /api/v1/produce/batch -d '{"topic":"t"}'
error 404 topic_not_found "a batch for a topic there is not" POST /api/v1/produce/batch -d '{"topic":"no","records":[{"value":"a"}]}'
for level in 'timestamp":-9223372036854775808' 'timestamp":9223372036854775807'; do
	api POST /api/v1/produce -d "{\"topic\":\"w\",\"value\":\"x\",\"$level}" >/dev/null
	like "$(api_status)" '^(200|400)$' "a timestamp at the end of all numbers: $level"
done
status 200 "which did not end the agent" GET /ready

awk 'BEGIN { printf "{\"topic\":\"w\",\"value\":\"x\",\"headers\":{\"0\":\"\""; for (i = 1; i < 60000; i++) printf ",\"%d\":\"\"", i; print "}}" }' >"$TMP/large"
api POST /api/v1/produce --data-binary "@$TMP/large" >/dev/null
json "a record with 60000 headers" '.offset > 0'
get "/api/v1/consume?topic=w&partition=0&offset=$(jq .offset "$TMP/body")" --max-time 15
json "is read in no time" '.records[0].headers | length == 60000'

# ---- binary data for the records resources ----
status 201 "a topic of records" POST /api/v1/topics -d '{"name":"r","partitions":2}'
cat >"$TMP/records" <<'END'
{"timestamp":1700000000000,"key":"k","value":"v","headers":[["h","1"],["h","2"],["n",null]]}
{"timestamp":1700000001000}
{"timestamp":1700000002000,"key":"","value":""}
{"timestamp":1700000003000,"key_base64":"//4=","value_base64":"gAB/","headers":[["b",{"base64":"/w=="}]]}
{"timestamp":1700000004000,"key":"\u0000\n","value":"line\nline é \"\\"}
{"timestamp":1700000005000,"value":"last"}
END
api POST '/api/v1/topics/r/records?partition=0' -H "Content-Type: $NDJSON" --data-binary "@$TMP/records" >/dev/null
json "NDJSON is taken" '.records == 6 and .durability == "wal" and .partitions == [{partition: 0, records: 6, first_offset: 0, last_offset: 5}]'
for level in none wal object; do
	printf 'x\n' >"$TMP/line"
	api POST "/api/v1/topics/r/records?partition=1&durability=$level" -H 'Content-Type: text/plain' --data-binary "@$TMP/line" >/dev/null
	json "text at level $level" ".records == 1 and .durability == \"$level\""
done
error 415 unsupported_media_type "another content type" POST /api/v1/topics/r/records -H 'Content-Type: image/png' -d x
error 400 invalid_argument "a level there is not" POST '/api/v1/topics/r/records?durability=stone' -H 'Content-Type: text/plain' -d x
error 404 topic_not_found "records for a topic there is not" POST /api/v1/topics/no/records -H 'Content-Type: text/plain' -d x
R=/api/v1/topics/r/partitions/0/records
for query in offset=%zz offset=% 'offset=%1' 'offset=%00' 'max_records=%zz' 'end=%zz' 'timestamp=%g0' 'wait_ms=%2' 'junk=%zz' 'offset=' \
	offset=x offset=1.5 offset=99999999999999999999 offset=-99999999999999999999 'offset=+1' max_records=-1 max_bytes=0 wait_ms=-1 \
	end=soon timestamp=yesterday 'max_records=18446744073709551616' 'offset=1&timestamp=1'; do
	error 400 invalid_argument "no records for ?$query" GET "$R?$query"
done
error 400 invalid_argument "a bad escape where one posts" POST '/api/v1/topics/r/records?partition=%zz' -H 'Content-Type: text/plain' -d x
error 400 invalid_argument "and where one consumes" GET '/api/v1/consume?topic=r&partition=0&offset=%zz'
error 400 invalid_argument "and where one lists" GET '/api/v1/topics?limit=%zz'

# ---- what is not built, what is not there ----
for path in /api/v1/consumer-groups /api/v1/consumer-groups/g /api/v1/consumer-groups/g/lag /api/v1/organizations /api/v1/organizations/1/api-keys \
	/api/v1/organizations/1/quota /api/v1/organizations/1/usage /api/v1/api-keys/1 /api/v1/pipelines /api/v1/pipeline-targets \
	/api/v1/connectors /ws/metrics /ws/topics/t /ws/consumers/1; do
	error 501 not_built "not built: GET $path" GET $path
done
for path in /api/v1/consumer-groups/commit /api/v1/consumer-groups/g/reset /api/v1/consumer-groups/g/seek /api/v1/sql /api/v1/transforms/validate \
	/api/v1/connectors/c/pause /api/v1/connectors/c/resume /api/v1/connectors/c/restart; do
	error 501 not_built "not built: POST $path" POST $path -d '{}'
done
for path in /subjects /subjects/s/versions /subjects/s/versions/latest /schemas/ids/1 /schemas/schemas/ids/1 /schemas/types /schemas/subjects /config /config/s \
	/compatibility/subjects/s/versions/1; do
	get "$path"
	json "not built, with Confluent's fields: $path" '(.error_code | type == "number") and (.message | type == "string")'
	is "$(api_status)" 501 "501: $path"
done
get /nothing/here
is "$(api_status)" 404 "a path there is not"
json "and an error with a hint" '.error.code == "not_found" and (.error.hint | length > 0)'
for try in 'DELETE /api/v1/topics GET,HEAD,POST' 'PUT /api/v1/topics/t GET,HEAD,PATCH,DELETE' 'GET /api/v1/produce POST' \
	'POST /health GET,HEAD' 'OPTIONS /api/v1/consume GET,HEAD' 'GET /api/v1/topics/t/records POST'; do
	# shellcheck disable=SC2086 # three words
	set -- $try
	status 405 "$1 $2" "$1" "$2" -D "$TMP/head"
	is "$(tr -d '\r ' <"$TMP/head" | sed -n 's/^Allow://p')" "$3" "its Allow"
done

# ---- reading, wherever the data is ----
sed 's/^{/{"partition":0,"offset":@,/' "$TMP/records" | awk '{ sub("@", NR - 1); print }' >"$TMP/want.ndjson"
reads() { # where
	where=$1
	api GET "$R?end=now" -H "Accept: $NDJSON" >"$TMP/got"
	same "$TMP/want.ndjson" "$TMP/got" "$where: NDJSON, every byte"
	get "$R?offset=0"
	json "$where: JSON" '(.records | length == 6) and .next_offset == 6 and .high_watermark == 6 and .log_start == 0
		and .records[0].headers == [["h","1"],["h","2"],["n",null]] and .records[3].key_base64 == "//4="
		and (.records[1] | has("key") or has("value") | not) and .records[2].key == ""'
	curl -sS -o "$TMP/batches" -D "$TMP/head" "$URL$R?end=now" -H "Accept: $BATCH"
	like "$(cat "$TMP/head")" '^Content-Type: application/vnd.streamhouse.batch' "$where: batches"
	curl -sS --max-time 3 -N "$URL$R?offset=4&max_records=2" -H 'Accept: text/event-stream' >"$TMP/events"
	is "$(grep -c '^id: [45]$' "$TMP/events")$(grep -c '^data: {' "$TMP/events")" 22 "$where: events"
	for try in 'earliest 0' '0 0' '3 3' '-2 4' '-100 0' '-0 none' 'latest none' '5 5' '6 none'; do
		is "$(api GET "$R?offset=${try% *}" -H "Accept: $NDJSON" | jq -r .offset | head -n 1)" "$(echo "${try#* }" | sed 's/none//')" "$where: offset=${try% *}"
	done
	for try in '0 0' '1700000000000 0' '1700000000001 1' '1700000004000 4' '2023-11-14T22:13:22Z 2' '1800000000000 none'; do
		is "$(api GET "$R?timestamp=${try% *}" -H "Accept: $NDJSON" | jq -r .offset | head -n 1)" "$(echo "${try#* }" | sed 's/none//')" "$where: timestamp=${try% *}"
	done
	is "$(api GET "$R?offset=1&end=4" -H "Accept: $NDJSON" | jq .offset | tr '\n' ' ')" "1 2 3 " "$where: end=N"
	is "$(api GET "$R?offset=4&end=2" -H "Accept: $NDJSON" | wc -c)" 0 "$where: an end before the beginning"
	is "$(api GET "$R?offset=1&max_records=2" -H "Accept: $NDJSON" | wc -l)" 2 "$where: max_records"
	is "$(api GET "$R?max_bytes=1" -H "Accept: $NDJSON" | wc -l)" 1 "$where: max_bytes gives one at least"
	for try in 7 1000000 9223372036854775807; do
		error 416 offset_out_of_range "$where: offset=$try" GET "$R?offset=$try"
		json "$where: with the range" '.log_start == 0 and .high_watermark == 6 and (.error.hint | length > 0)'
	done
	error 404 topic_not_found "$where: records of a topic there is not" GET /api/v1/topics/no/partitions/0/records
	error 404 partition_not_found "$where: of a partition there is not" GET /api/v1/topics/r/partitions/2/records
	error 400 invalid_argument "$where: of a partition that is no number" GET /api/v1/topics/r/partitions/x/records
	for query in max_records=2 maxRecords=2; do
		get "/api/v1/consume?topic=t&partition=0&offset=0&$query"
		json "$where: consume with $query" '(.records | length == 2) and .next_offset == 2 and .nextOffset == 2 and .high_watermark == 4
			and .highWatermark == 4 and .records[0] == {partition: 0, offset: 0, timestamp: .records[0].timestamp, key: "k1", value: "v1", headers: {h: "1"}}
			and .records[1].value == "{\"a\":[1, 2]}" and .records[1].key == null and .records[1].headers == {}'
	done
	get '/api/v1/consume?topic=r&partition=0&offset=0'
	json "$where: headers as an object, the last wins" '.records[0].headers == {h: "2", n: null}'
	get '/api/v1/consume?topic=t&partition=0&offset=4'
	json "$where: consume at the high watermark" '.records == [] and .next_offset == 4'
	get '/api/v1/consume?topic=t&partition=0&offset=400'
	json "$where: consume beyond the end" '.records == [] and .next_offset == 4'
	get '/api/v1/consume?topic=t&partition=0&offset=-7'
	json "$where: consume below the log" '.records == [] and .next_offset == 0'
	error 400 invalid_argument "$where: consume without topic" GET '/api/v1/consume?partition=0&offset=0'
	error 400 invalid_argument "$where: consume without partition" GET '/api/v1/consume?topic=t&offset=0'
	error 404 topic_not_found "$where: consume an unknown topic" GET '/api/v1/consume?topic=no&partition=0&offset=0'
	error 404 partition_not_found "$where: consume an unknown partition" GET '/api/v1/consume?topic=t&partition=9&offset=0'
	get '/api/v1/topics/t/messages?partition=0&offset=1&limit=2'
	json "$where: messages" 'map(.offset) == [1, 2] and .[1].value == "42"'
	get '/api/v1/topics/t/messages?partition=0&limit=3&order=desc'
	json "$where: messages, newest first" 'map(.offset) == [3, 2, 1] and .[0].headers == {x: "y"}'
	get '/api/v1/topics/t/messages'
	json "$where: messages of all partitions" 'length == 5'
	get /api/v1/topics/t
	json "$where: what a topic counts" '.message_count == 5 and .size_bytes > 0'
}
reads tail

# ---- the rest of what is expected ----
get /api/v1/metrics
json "metrics" '.topics_count == 5 and .agents_count == 1 and .partitions_count == 8 and .total_messages > 20'
get '/api/v1/metrics/throughput?time_range=1h'
json "throughput" '.[0] | has("timestamp") and has("messages_per_second") and has("messagesPerSecond") and has("bytes_per_second") and has("bytesPerSecond")'
get '/api/v1/metrics/latency?time_range=15m'
json "latency" '.[0] | has("timestamp") and has("p50") and has("p95") and has("p99") and has("avg")'
get '/api/v1/metrics/errors?time_range=24h'
json "errors" '.[0] | has("timestamp") and has("error_rate") and has("errorRate") and has("error_count") and has("errorCount")'
status 400 "a time range that is none" GET '/api/v1/metrics/errors?time_range=long'
get /api/v1/metrics/storage
json "storage" '(.total_size_bytes > 0) and .totalSizeBytes == .total_size_bytes and .segment_count == .segmentCount and (.storage_by_topic.t > 0)
	and .storageByTopic == .storage_by_topic and .cache_size == .cacheSize and .cache_hit_rate == .cacheHitRate and (.wal_size > 0) and .walSize == .wal_size'
get /api/v1/agents
json "agents" 'length == 1 and (.[0] | .agent_id == "agent-0" and (.address | test(":[0-9]+$")) and has("availability_zone") and has("agent_group")
	and (.last_heartbeat | test("Z$")) and (.started_at | test("Z$")) and .active_leases == 8)'
get /api/v1/agents/agent-0
json "an agent" '.agent_id == "agent-0" and .active_leases == 8'
get /api/v1/agents/agent-0/metrics
json "its metrics" '.agent_id == "agent-0" and .agentId == "agent-0" and .partition_count == 8 and .partitionCount == 8 and .uptime_ms >= 0 and (.uptimeMs >= .uptime_ms)'
error 404 not_found "an agent there is not" GET /api/v1/agents/agent-1
error 404 not_found "nor this" GET /api/v1/agents/x/metrics
get /api/v1/cluster
json "cluster" '(.agents | length == 1) and (.agents[0] | .agent_id == "agent-0" and (.address | test(":[0-9]+$")) and (.partitions | map(.topic) == ["n", "o", "r", "t", "w"])
	and (.partitions[3].partitions == [0, 1, 2]))'
get /metrics
like "$(cat "$TMP/body")" '^streamhouse_http_requests_total\{class="2xx"\} [0-9]+$' "Prometheus"
get /openapi.json
json "openapi.json" '(.openapi | startswith("3.")) and (.paths | length > 20)'
for path in /health /live /ready /metrics /api/v1/whoami /api/v1/topics '/api/v1/topics/{topic}' '/api/v1/topics/{topic}/partitions' \
	'/api/v1/topics/{topic}/messages' '/api/v1/topics/{topic}/records' '/api/v1/topics/{topic}/partitions/{partition}/records' /api/v1/produce \
	/api/v1/produce/batch /api/v1/consume /api/v1/metrics /api/v1/metrics/throughput /api/v1/metrics/latency /api/v1/metrics/errors \
	/api/v1/metrics/storage /api/v1/agents '/api/v1/agents/{id}' '/api/v1/agents/{id}/metrics' /api/v1/cluster /api/v1/status /openapi.json; do
	json "openapi.json has $path" ".paths[\"$path\"] | type == \"object\""
done
json "every operation has answers" '[.paths[] | to_entries[] | select(.key | IN("get", "post", "put", "patch", "delete")) | .value.responses | length > 0] | all'
json "no reference leads nowhere" '. as $doc | [.. | objects | .["$ref"]? // empty | ltrimstr("#/") | split("/")] | all(. as $p | $doc | getpath($p) != null)'

# ---- HTTP ----
curl -sS --http1.0 -D "$TMP/head" -o "$TMP/got" "$URL$R" -H "Accept: $NDJSON"
same "$TMP/want.ndjson" "$TMP/got" "HTTP/1.0"
is "$(grep -ci '^transfer-encoding' "$TMP/head")" 0 "without chunks"
curl -sS -I "$URL$R?offset=0" >"$TMP/head"
like "$(cat "$TMP/head")" '^X-High-Watermark: 6' "HEAD of records"
curl -sS -I "$URL/api/v1/topics/t" >"$TMP/head"
like "$(cat "$TMP/head")" '^Content-Length: [1-9]' "HEAD of a topic has its length"
status 201 "a topic for framing" POST /api/v1/topics -d '{"name":"f"}'
api POST /api/v1/topics/f/records -H "Content-Type: $NDJSON" -H 'Transfer-Encoding: chunked' -T - <"$TMP/records" >/dev/null
json "a chunked body" '.records == 6'
api POST /api/v1/topics/f/records -H "Content-Type: text/plain" -H 'Expect: 100-continue' --data-binary "@$TMP/records" -D "$TMP/head" >/dev/null
json "after 100 Continue" '.records == 6'
like "$(cat "$TMP/head")" '^HTTP/1.1 100' "which was said"
error 413 too_large "a body above http.max_body_bytes" POST /api/v1/produce -H 'Content-Length: 99999999999' -H 'Expect: 100-continue' -d x --max-time 10
printf 'GET /api/v1/topics/f/partitions/0/records?max_records=1 HTTP/1.1\r\nHost: a\r\nAccept: %s\r\nX: %s\r\n\r\nGET /live HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' \
	$NDJSON "$(printf '%01000d' 0)" | "$top_builddir/tests/helper/raw-http" "$PORT" >"$TMP/got"
is "$(grep -ac '^HTTP/1.1 200' "$TMP/got")" 2 "two requests in one packet"

# ---- in the middle of a body ----
printf '{"value":"1"}\n{"value":"2"}\n{"value"\n{"value":"4"}\n' >"$TMP/broken"
api POST '/api/v1/topics/f/records' -H "Content-Type: $NDJSON" --data-binary "@$TMP/broken" >/dev/null
json "a line that is broken: what was taken before it" '.error.code == "bad_data" and (.error.message | test("line 3")) and .records == 2
	and .partitions[0].records == 2 and .partitions[0].last_offset == .partitions[0].first_offset + 1'
is "$(api_status)" 400 "is a 400"
curl -sS -o "$TMP/batches" "$URL$R?end=now" -H "Accept: $BATCH"
{ cat "$TMP/batches"; head -c 100 "$TMP/batches"; } >"$TMP/broken"
api POST '/api/v1/topics/f/records?partition=0' -H "Content-Type: $BATCH" --data-binary "@$TMP/broken" >/dev/null
json "a batch that is cut: those before it" '.error.code == "corrupt_batch" and .records == 6'
api POST '/api/v1/topics/f/records?partition=0' -H "Content-Type: $BATCH" --data-binary "@$TMP/batches" >/dev/null
json "batches as they were read" 'has("error") | not'
json "all of them" '.records == 6'

# ---- waiting ----
end=$(api GET /api/v1/topics/f/partitions | jq '.[0].high_watermark')
F=/api/v1/topics/f/partitions/0/records
curl -sS "$URL$F?offset=$end&wait_ms=30000" >"$TMP/waited" &
waiter=$!
curl -sS -N "$URL$F?offset=latest" -H 'Accept: text/event-stream' >"$TMP/events" 2>/dev/null &
stream=$!
before=$(date +%s)
get "$F?offset=$end&wait_ms=300"
json "a long poll that ends empty" ".records == [] and .next_offset == $end"
api POST /api/v1/produce -d '{"topic":"f","value":"news"}' >/dev/null
wait "$waiter"
ok "a long poll ends with the first record" jq -e '.records[0].value == "news"' "$TMP/waited"
ok "at once" test $(($(date +%s) - before)) -lt 10
wait_for 'grep -q news "$TMP/events"' 10
is "$(grep -c "^id: $end\$" "$TMP/events")" 1 "and is an event"
kill "$stream" 2>/dev/null
get "$F?offset=$((end + 1))&wait_ms=0"
json "without wait_ms nothing waits" '.records == []'

# ---- in segments ----
ok "the tail becomes a segment" stop_shd
start_shd -O segment.max_age=200ms
reads "after a restart"
wait_for 'api GET /api/v1/topics/t/partitions | jq -e "all(.flushed_end == .high_watermark)" >/dev/null &&
	api GET /api/v1/topics/r/partitions | jq -e "all(.flushed_end == .high_watermark)" >/dev/null' 30
ok "all is flushed" test $? -eq 0
get /api/v1/metrics/storage
json "there are segments" '.segment_count > 0'
reads segments

# ---- with the store or meta process killed again and again ----
awk 'BEGIN { for (i = 0; i < 20000; i++) printf "{\"value\":\"%d\"}\n", i }' >"$TMP/many"
status 201 "a topic of many" POST /api/v1/topics -d '{"name":"many","partitions":1}'
api POST /api/v1/topics/many/records -H "Content-Type: $NDJSON" --data-binary "@$TMP/many" >/dev/null
json "many records" '.records == 20000'
wait_for 'api GET /api/v1/topics/many/partitions | jq -e "all(.flushed_end == 20000)" >/dev/null' 30
seq 0 19999 >"$TMP/numbers"
for role in store meta; do
	for round in 1 2; do
		old=$(shd_pid $role)
		kill -KILL "$old"
		api GET '/api/v1/topics/many/partitions/0/records?end=now' -H "Accept: $NDJSON" | jq -r .value >"$TMP/got"
		same "$TMP/numbers" "$TMP/got" "all is read while $role is killed ($round)"
		api POST /api/v1/produce -d '{"topic":"w","value":"meanwhile"}' >/dev/null
		like "$(api_status)" '^(200|503)$' "writing goes on or says why not"
		wait_for '[ -n "$(shd_pid '$role')" ] && [ "$(shd_pid '$role')" != "$old" ]' 30
	done
done
wait_for 'api GET /ready >/dev/null; [ "$(api_status)" = 200 ]' 30
reads "after the kills"

# ---- the end ----
curl -sS "$URL$R?offset=6&wait_ms=60000" >"$TMP/waited" &
waiter=$!
curl -sS -N "$URL$R?offset=6" -H 'Accept: text/event-stream' >"$TMP/events" &
stream=$!
wait_for 'curl -s "$URL/metrics" | grep -q "^streamhouse_http_connections [3-9]"' 10
before=$(date +%s)
ok "SIGTERM ends shd, with a long poll and an event stream open" stop_shd
ok "soon" test $(($(date +%s) - before)) -lt 10
wait "$waiter"
ok "the long poll was answered" jq -e '.records == [] and .next_offset == 6' "$TMP/waited"
wait "$stream"
is $? 0 "the event stream was ended in order"

# ---- limits ----
cat >"$TMP/limits.conf" <<END
http.max_connections = 1000
END
(
	ulimit -n 400
	exec "$SHD" -f "$TMP/limits.conf" -D "$DATA" -O http.listen=127.0.0.1:0 -O kafka.listen=127.0.0.1:0 >>"$SHD_LOG" 2>&1 </dev/null
) &
SHD_PID=$!
rm -f "$DATA/run/ready"
wait_for '[ -e "$DATA/run/ready" ]' 30
PORT=$(sed 's/.*://' "$DATA/run/http.port")
URL=http://127.0.0.1:$PORT
like "$(cat "$SHD_LOG")" 'http.max_connections=1000: 80 it is' "clients cannot take the descriptors that the log needs"
echo 'http.max_connections = 16' >"$TMP/limits.conf"
kill -HUP "$SHD_PID"
wait_for 'grep -q "reloaded.*http.max_connections" "$SHD_LOG"' 10
printf 'GET /live HTTP/1.1\r\nHost: a\r\n\r\n' >"$TMP/hold"
holders=
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do
	"$top_builddir/tests/helper/raw-http" -t 20000 "$PORT" <"$TMP/hold" >/dev/null &
	holders="$holders $!"
done
wait_for 'get /live; [ "$(api_status)" = 503 ]' 15
ok "SIGHUP brings a new limit of connections; above it 503" test "$(api_status)" = 503
# shellcheck disable=SC2086 # a list
kill $holders 2>/dev/null # the one that was refused is gone already
wait_for 'get /live; [ "$(api_status)" = 200 ]' 15
ok "until some are gone" stop_shd

done_testing
