# SPDX-License-Identifier: Apache-2.0
# A data directory is lost, and all that is left is the object store: a shd that begins anew there changes nothing of it, the metadata is
# made from it, and what was flushed reads the same.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

bucket=$TMP/bucket
start() {
	start_shd -O "object.url=file://$bucket" -O object.grace=1s -O janitor.interval=200ms -O meta.snapshot_interval=200ms \
		-O janitor.orphan_interval=300ms -O segment.max_age=100ms "$@"
}
bytes() { # everything in the topic, with where it stands
	for p in 0 1; do
		api GET "/api/v1/topics/$1/partitions/$p/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' |
			jq -c --arg p "$p" '[$p, .offset, .timestamp, .key, .value]'
	done
}
flushed() { # topic count
	flushed_topic=$1 flushed_count=$2
	wait_for '[ "$("$STREAMCTL" cat "$bucket" -t $flushed_topic 2>/dev/null | wc -l)" -ge $flushed_count ]' 30
}
newest() {
	for s in "$bucket"/meta/*; do newest=$s; done
	basename "$newest"
}
names() {
	(cd "$bucket" && find segments meta -type f -exec md5sum {} + | sort)
}

start
"$STREAMCTL" topic create kept -p 2 -C max.message.bytes=2000000 -q
"$STREAMCTL" topic create gone -p 2 -q
seq 1 100 | "$STREAMCTL" produce kept -p 0 -q
seq 1 50 | "$STREAMCTL" produce kept -p 1 -q
seq 1 50 | "$STREAMCTL" produce gone -p 1 -q
ok 'records are in segments' flushed kept 150
flushed gone 50
"$STREAMCTL" topic delete gone --yes -q
bytes kept >"$TMP/before"
stop_shd
names >"$TMP/names"
before=$(newest)
slot_id=$(cat "$DATA/slots/0/id")
mv "$DATA" "$TMP/lost"

# ---- the disk is replaced, and shd started on it before anybody looks ----
start
"$STREAMCTL" topic create kept -p 2 -q
ok 'new metadata on a store of another are noticed' wait_for 'grep -q "from another metadata" "$SHD_LOG"' 30
seq 1 5 | "$STREAMCTL" produce kept -p 0 -q
flushed kept 155
sleep 3
names >"$TMP/names-now"
is "$(comm -23 "$TMP/names" "$TMP/names-now")" '' 'no segment and no snapshot of the other one is removed'
is "$(newest)" "$before" 'and no snapshot comes before its own'
stop_shd
rm -rf "$DATA"

# ---- made anew ----
fails 1 'the store gives metadata, and says that there are records of another' "$STREAMCTL" check --rebuild "$bucket" --to "$DATA/meta/meta.db"
like "$(cat "$TMP/ok.out")" 'damage: kept: segments of another metadata hold a topic of that name, .*: it is left out, and kept' 'with the topic'
is "$(grep -c '^damage' "$TMP/ok.out")" 1 'nothing else is wrong'
like "$(cat "$TMP/ok.out")" "$before: topics, configs and log starts" 'of the snapshot that was the last'
launch_shd -O "object.url=file://$bucket"
ok 'a new log does not take the place of the old one by itself' wait_for '! alive "$SHD_PID"' 30
SHD_PID=
like "$(cat "$SHD_LOG")" 'slot 0 has the id .* the metadata knows it as .*The data directory is lost' 'with a word what to do'
rm -rf "$DATA"
fails 1 'unless that is said to be lost' "$STREAMCTL" check --rebuild "$bucket" --to "$DATA/meta/meta.db" --lost-log
like "$(cat "$TMP/ok.out")" 'offsets go on 1000000000 above' 'which the report repeats'
is "$(ls "$DATA/meta")" meta.db 'nothing else is left beside it'
start
bytes kept >"$TMP/after"
same "$TMP/after" "$TMP/before" 'everything that was flushed reads the same'
is "$(api GET /api/v1/topics/kept | jq -r '.config["max.message.bytes"]')" 2000000 'its config is that of the snapshot'
api GET /api/v1/topics/gone >/dev/null
is "$(api_status)" 404 'the deleted topic is not back'
seq 101 103 | "$STREAMCTL" produce kept -p 0 -q
is "$(bytes kept | jq -c 'select(.[0] == "0" and .[1] > 99) | .[1]' | tr '\n' ' ')" '1000000100 1000000101 1000000102 ' \
	'new records come far above all that the old log may have given'
flushed kept 158
ok 'snapshots are stored again' wait_for '[ "$(newest)" != "$before" ]' 30
bytes kept >"$TMP/after"
stop_shd
ok 'the directory is sound' "$STREAMCTL" check "$DATA" --objects "file://$bucket" --read-data

# ---- the old log turns up ----
mv "$DATA/slots/0" "$TMP/slot"
cp -r "$TMP/lost/slots/0" "$DATA/slots/0"
rm -f "$DATA/slots/0/seen"
: >"$SHD_LOG"
launch_shd -O "object.url=file://$bucket"
ok 'the old log is refused' wait_for '! alive "$SHD_PID"' 30
SHD_PID=
like "$(cat "$SHD_LOG")" "slot 0 has the id $slot_id" 'by its id'
rm -rf "$DATA/slots/0"
mv "$TMP/slot" "$DATA/slots/0"

# ---- once more, with the log: segments of three metadata and two logs ----
rm -f "$DATA"/meta/meta.db* "$DATA"/slots/*/seen
fails 1 'a second time, with its log' "$STREAMCTL" check --rebuild "$bucket" --to "$DATA/meta/meta.db"
is "$(grep -c '^damage' "$TMP/ok.out")" 1 'nothing else is wrong'
start
bytes kept >"$TMP/again"
same "$TMP/again" "$TMP/after" 'everything reads the same'
done_testing
