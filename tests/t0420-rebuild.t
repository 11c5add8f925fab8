# SPDX-License-Identifier: Apache-2.0
# Snapshots, orphans and rebuilding: the metadata is lost and made again from the object store alone; everything reads the same,
# nothing that was deleted or expired comes back, the log that was not flushed is recovered, and nothing in the store is touched.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

start() {
	start_shd -O object.grace=1s -O janitor.interval=200ms -O meta.snapshot_interval=200ms -O janitor.orphan_interval=300ms "$@"
}
flushing='-O segment.max_age=100ms'
produce() { # topic partition first last
	seq "$3" "$4" | "$STREAMCTL" produce "$1" -p "$2" -q
}
digest() { # everything that can be read, with where it stands
	for t in $("$STREAMCTL" topic list -o ndjson | jq -r .name | sort); do
		n=$(api GET "/api/v1/topics/$t" | jq .partition_count)
		p=0
		while [ "$p" -lt "$n" ]; do
			api GET "/api/v1/topics/$t/partitions/$p/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' |
				jq -c --arg t "$t" --arg p "$p" '[$t, $p, .offset, .timestamp, .key, .value]'
			p=$((p + 1))
		done
	done
}
topic() { # topic jq-path
	api GET "/api/v1/topics/$1" >"$TMP/topic.json"
	jq -r "$2" "$TMP/topic.json"
}
names() {
	(cd "$DATA/objects" && find . -type f ! -path './.tmp/*' -exec md5sum {} + | sort)
}
snapshots() {
	ls "$DATA/objects/meta" 2>/dev/null | wc -l
}
flushed() { # topic count
	flushed_topic=$1 flushed_count=$2
	wait_for '[ "$("$STREAMCTL" cat "$DATA/objects" -t $flushed_topic -f "%p-%o\n" 2>/dev/null | sort -u | wc -l)" -ge $flushed_count ]' 30
}

# shellcheck disable=SC2086 # a list of options
start $flushing
"$STREAMCTL" topic create keep -p 3 -C max.message.bytes=2000000 -q
"$STREAMCTL" topic create gone -p 1 -q
"$STREAMCTL" topic create sized -p 1 -q
"$STREAMCTL" topic create idle -p 2 -q
for i in 1 2 3 4 5; do
	for p in 0 1 2; do
		produce keep $p "${i}${p}01" "${i}${p}40"
	done
	produce gone 0 "${i}01" "${i}20"
	produce sized 0 "${i}01" "${i}90"
	sleep 0.15
done
flushed keep 600
flushed sized 450
ok 'snapshots are in the store' wait_for '[ "$(snapshots)" -ge 1 ]' 20
"$STREAMCTL" topic delete gone --yes -q
"$STREAMCTL" topic alter sized -C retention.bytes=1500 -q
ok 'a topic expires in part' wait_for '[ "$(topic sized .message_count)" -lt 450 ]' 20
"$STREAMCTL" topic create again -p 1 -q
produce again 0 1 10
"$STREAMCTL" topic delete again --yes -q
"$STREAMCTL" topic create again -p 1 -q
produce again 0 11 15
flushed again 5
kill -KILL "$(shd_pid janitor)"
sleep 0.3
kill -KILL "$(shd_pid meta)"
# A segment of nobody: nobody can say that it is not needed.
segment=$(find "$DATA/objects/segments" -name '*.seg' | head -n 1)
incarnation=$(basename "$segment" | cut -c 1-16)
mkdir -p "$DATA/objects/segments/11" "$DATA/objects/segments/22"
orphan=$DATA/objects/segments/11/$incarnation-11111111-1111-4111-8111-111111111111.seg
echo x >"$orphan"
echo x >"$DATA/objects/segments/22/readme.txt"
ok 'a segment that the metadata does not know is noticed' wait_for 'grep -q "1 segment is in the object store of which" "$SHD_LOG"' 30
# Something of a newer metadata: nothing is deleted then.
newer=$DATA/objects/segments/22/ffffffffffffffff-22222222-2222-4222-8222-222222222222.seg
echo x >"$newer"
ok 'a name of a newer metadata is noticed' wait_for 'grep -q "from another metadata" "$SHD_LOG"' 20
"$STREAMCTL" topic create short -p 1 -q
produce short 0 1 10
flushed short 10
"$STREAMCTL" topic delete short --yes -q
: >"$SHD_LOG"
kill -KILL "$(shd_pid janitor)"
kill -KILL "$(shd_pid meta)"
ok 'and remembered' wait_for 'grep -q "asking for dead objects: this metadata went back in time" "$SHD_LOG"' 20
ok 'the status says so' wait_for 'api GET /api/v1/status | jq -r ".problems[]" | grep -q "the metadata went back in time"' 20
is "$("$STREAMCTL" cat "$DATA/objects" -t short -f '%o\n' 2>/dev/null | sort -un | wc -l)" 10 'nothing is deleted'
rm "$newer"
ok 'until it is gone' wait_for '[ "$("$STREAMCTL" cat "$DATA/objects" -t short -f "%o\n" 2>/dev/null | wc -l)" = 0 ]' 30
ok 'what nobody knows is still there' test -e "$orphan" -a -e "$DATA/objects/segments/22/readme.txt"
rm "$orphan" "$DATA/objects/segments/22/readme.txt"
ok 'at most a few snapshots stay' wait_for '[ "$(snapshots)" -le 20 ]' 10
stop_shd

# ---- with a tail that is in no segment ----
start -O segment.max_age=1h
produce keep 1 9001 9010
digest >"$TMP/before"
config=$(topic keep '.config["max.message.bytes"]')
wait_for '[ "$(find "$DATA/objects/meta" -newer "$TMP/topic.json" | wc -l)" -ge 0 ]' 1
kill_shd
names >"$TMP/names-before"
cp -r "$DATA" "$TMP/saved"

rm -f "$DATA"/meta/meta.db*
refused() { # regex: shd does not start, and says why once
	: >"$SHD_LOG"
	launch_shd
	wait_for '! alive "$SHD_PID"' 30 && SHD_PID= && [ "$(grep -cE "$1" "$SHD_LOG")" = 1 ]
}
ok 'lost metadata are not begun anew' refused 'cannot open the metadata sqlite:.*meta/meta.db: there is none, but there was: .*/slots/0/seen'
ok 'and no database is made' test ! -e "$DATA/meta/meta.db"
mv "$DATA/slots/0/seen" "$TMP/seen"
ok 'neither beside segments alone' refused 'there was: .*/objects/segments'
mv "$TMP/seen" "$DATA/slots/0/seen"
fails 2 'a rebuild says where to' "$STREAMCTL" check --rebuild "$DATA/objects"
fails 4 'a store that is not there is no store' "$STREAMCTL" check --rebuild "$TMP/nothing" --to "$TMP/x.db"
ok 'the store alone gives new metadata' "$STREAMCTL" check --rebuild "$DATA/objects" --to "$DATA/meta/meta.db"
diag_file "$TMP/ok.out" 20
like "$(cat "$TMP/ok.out")" 'seconds? ago' 'the report says how old the snapshot is'
like "$(cat "$TMP/ok.out")" 'made from [0-9]+ of [0-9]+ segments: 4 topics' 'and what was made from what'
names >"$TMP/names-after"
same "$TMP/names-after" "$TMP/names-before" 'nothing in the store was touched'
fails 5 'a database that is there is not overwritten' "$STREAMCTL" check --rebuild "$DATA/objects" --to "$DATA/meta/meta.db"
fails 1 'streamctl check sees that they are not those of the agent' "$STREAMCTL" check "$DATA"
like "$(cat "$TMP/ok.out")" 'slots/0/seen: the metadata is another one' 'and says so'
ok 'an agent does not take other metadata by itself' refused 'metadata is another one'
rm "$DATA"/slots/*/seen
ok 'the result fits the store' "$STREAMCTL" check "$DATA" --read-data
start -O segment.max_age=1h
digest >"$TMP/after"
same "$TMP/after" "$TMP/before" 'everything reads as before, the tail included'
is "$(topic keep '.config["max.message.bytes"]')" "$config" 'configs are those of the snapshot'
is "$(api GET /api/v1/topics/gone >/dev/null; api_status)" 404 'a deleted topic is not back'
produce keep 1 9011 9012
is "$(digest | grep -c '"keep"')" "$(($(grep -c '"keep"' "$TMP/before") + 2))" 'it goes on'
stop_shd
# shellcheck disable=SC2086
start $flushing
flushed keep 612
sleep 2.5
digest >"$TMP/later"
stop_shd
ok 'and is whole after flushing and sweeping' "$STREAMCTL" check "$DATA" --read-data
cp "$DATA/slots/0/seen" "$TMP/seen"
echo "$(cut -d ' ' -f 1 "$TMP/seen") 999999999999" >"$DATA/slots/0/seen"
fails 1 'metadata older than what was seen are damage' "$STREAMCTL" check "$DATA"
like "$(cat "$TMP/ok.out")" 'slots/0/seen: the metadata went back in time' 'which is said'
cp "$TMP/seen" "$DATA/slots/0/seen"

# ---- once more, from the store that has segments of two metadata ----
rm "$DATA"/meta/meta.db* "$DATA"/slots/*/seen
ok 'a rebuilt one is lost as well' "$STREAMCTL" check --rebuild "$DATA/objects" --to "$DATA/meta/meta.db"
# shellcheck disable=SC2086
start $flushing
digest >"$TMP/again"
same "$TMP/again" "$TMP/later" 'everything reads as before'
kill_shd

# ---- damage in the store ----
rm -rf "$DATA"
cp -r "$TMP/saved" "$DATA"
rm -f "$DATA"/meta/meta.db* "$DATA"/slots/*/seen
for s in "$DATA"/objects/meta/*; do newest=$s; done
printf X | dd of="$newest" bs=1 seek=40 conv=notrunc 2>/dev/null
"$STREAMCTL" check --rebuild "$DATA/objects" --to "$TMP/older.db" >"$TMP/older.out" 2>&1
is $? 1 'a damaged snapshot is damage'
like "$(cat "$TMP/older.out")" 'an older snapshot is used' 'an older one is used'
rm -r "$DATA/objects/meta"
fails 4 'without any snapshot nothing is made' "$STREAMCTL" check --rebuild "$DATA/objects" --to "$TMP/none.db"
[ ! -e "$TMP/none.db" ]
tap_result $? 'not even in part'
"$STREAMCTL" check --rebuild "$DATA/objects" --to "$TMP/none.db" --without-snapshot >"$TMP/none.out" 2>&1
is $? 1 'unless it is asked for, and then it is called damage'
like "$(cat "$TMP/none.out")" 'deleted topics may have come back' 'with what that means'
done_testing
