# SPDX-License-Identifier: Apache-2.0
# The whole data directory is thrown away, and what a real S3 service holds is enough: several topics, agents that were restarted,
# retention, deletion; read offline from the bucket as from a directory, and served again byte for byte.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/rgw.sh"

missing=$(rgw_missing)
[ -z "$missing" ] || skip_all "not installed:" $missing
start_rgw
store=s3://bucket/log
object-tool s3://bucket request PUT - >/dev/null || bail 'no bucket'

start() {
	start_shd -O object.url="$store" -O s3.endpoint="$S3_ENDPOINT" -O segment.max_age=150ms -O object.grace=1s \
		-O janitor.interval=200ms -O meta.snapshot_interval=200ms "$@"
}
produce() { # topic partition first last
	seq "$3" "$4" | sed "s/.*/{\"key\":\"k&\",\"value\":\"$1 &\"}/" | "$STREAMCTL" produce "$1" -p "$2" -f ndjson -q
}
digest() {
	for t in $("$STREAMCTL" topic list -o ndjson | jq -r .name | sort); do
		for p in $(seq 0 $(($(api GET "/api/v1/topics/$t" | jq .partition_count) - 1))); do
			api GET "/api/v1/topics/$t/partitions/$p/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' |
				jq -c --arg t "$t" --arg p "$p" '[$t, $p, .offset, .timestamp, .key, .value]'
		done
	done
}
in_store() { # topic count: at least so many records are in segments
	in_topic=$1 in_count=$2
	wait_for '[ "$("$STREAMCTL" cat "$store" -t $in_topic -f "%p-%o\n" 2>/dev/null | sort -u | wc -l)" -ge $in_count ]' 40
}

start
"$STREAMCTL" topic create orders -p 3 -C max.message.bytes=3000000 -q
"$STREAMCTL" topic create clicks -p 1 -q
"$STREAMCTL" topic create gone -p 1 -q
produce orders 0 1 100
produce orders 1 1 50
produce gone 0 1 30
produce clicks 0 1 200
for i in 1 2 3; do # an agent's life is a session; of the last one nothing is told to anybody
	kill -KILL "$(shd_pid agent)"
	produce orders 2 "${i}01" "${i}40"
	produce clicks 0 "${i}001" "${i}100"
done
ok 'all of it is in segments' in_store orders 270
ok 'of the other topic as well' in_store clicks 500
"$STREAMCTL" topic delete gone --yes -q
"$STREAMCTL" topic create again -p 1 -q
produce again 0 1 10
in_store again 10
"$STREAMCTL" topic delete again --yes -q
"$STREAMCTL" topic create again -p 2 -q
produce again 1 11 15
in_store again 5
"$STREAMCTL" topic alter clicks -C retention.bytes=3000 -q
ok 'a topic expires in part' wait_for '[ "$(api GET /api/v1/topics/clicks | jq .message_count)" -lt 500 ]' 30
sleep 1
digest >"$TMP/before"
is "$(grep -c '"orders"' "$TMP/before")" 270 'what is there'
stop_shd

# ---- offline: the bucket, and a directory with the same objects ----
mkdir -p "$TMP/copy"
for name in $(object-tool "$store" list | sed 's/ .*//'); do
	mkdir -p "$TMP/copy/$(dirname "$name")"
	object-tool "$store" get "$name" 0 "$(object-tool "$store" size "$name")" >"$TMP/copy/$name"
done
for what in 'cat -t orders' 'cat -t orders -o ndjson' 'cat -t clicks -p 0 --from 450' 'check' 'check --read-data' 'check -o json'; do
	# shellcheck disable=SC2086 # words
	"$STREAMCTL" ${what%% *} "$store" $(echo "$what " | cut -d ' ' -f 2-) >"$TMP/from-bucket" 2>&1
	status=$?
	# shellcheck disable=SC2086
	"$STREAMCTL" ${what%% *} "$TMP/copy" $(echo "$what " | cut -d ' ' -f 2-) >"$TMP/from-directory" 2>&1
	is "$status" "$?" "streamctl $what: the same status on the bucket as on a directory"
	same "$TMP/from-bucket" "$TMP/from-directory" 'and the same output'
done
ok 'the directory was checked with its metadata and the bucket' "$STREAMCTL" check "$DATA" --objects "$store" --read-data

# ---- all but the bucket is lost ----
object-tool "$store" list | sort >"$TMP/objects"
rm -rf "$DATA"
ok 'the bucket gives metadata' "$STREAMCTL" check --rebuild "$store" --to "$DATA/meta/meta.db" --lost-log
like "$(cat "$TMP/ok.out")" 'topics, configs and log starts are those of .* seconds? ago' 'with the age of its snapshot'
object-tool "$store" list | sort >"$TMP/objects-now"
same "$TMP/objects-now" "$TMP/objects" 'and is not changed'
"$STREAMCTL" check --rebuild "$store" --to "$TMP/again.db" -o json >"$TMP/report" 2>/dev/null
like "$(jq -r '.[] | select(.where | startswith("meta/")) | .finding' "$TMP/report" 2>/dev/null)" 'topics, configs and log starts' \
	'the same as JSON'
fails 5 'a database that is there is not overwritten' "$STREAMCTL" check --rebuild "$store" --to "$TMP/again.db"
start
digest >"$TMP/after"
same "$TMP/after" "$TMP/before" 'everything that was flushed reads the same'
is "$(api GET /api/v1/topics/orders | jq -r '.config["max.message.bytes"]')" 3000000 'configs are there'
api GET /api/v1/topics/gone >/dev/null
is "$(api_status)" 404 'a deleted topic is not back'
is "$(grep '"again"' "$TMP/after" | jq -c '.[5]' | head -n 1)" '"again 11"' 'of the one that was made again only the last'
for p in 0 1 2; do
	produce orders $p 9001 9005
done
digest | grep '"orders"' >"$TMP/more"
is "$(jq -s 'map(select(.[5] | startswith("orders 900")) | .[2]) | length, (map(. >= 1000000000) | all)' "$TMP/more" | tr '\n' ' ')" \
	'15 true ' 'new records come behind all that may have been given out'
is "$(wc -l <"$TMP/more")" 285 'none is lost'
ok 'they go to the bucket' in_store orders 285
stop_shd
ok 'all is whole' "$STREAMCTL" check "$DATA" --objects "$store" --read-data
stop_rgw
done_testing
