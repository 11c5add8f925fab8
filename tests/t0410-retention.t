# SPDX-License-Identifier: Apache-2.0
# Retention and deletion under a whole shd: log starts rise, counts fall, objects go; a topic made again under the name of a
# deleted one has nothing of it; readers of what is being removed get the record or the right error; meta, janitor and store
# are killed in the middle.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

start() {
	start_shd -O segment.max_age=100ms -O object.grace=1s -O janitor.interval=200ms "$@"
}
produce() { # topic first last
	seq "$2" "$3" | sed 's/$/ padding padding padding padding padding padding/' | "$STREAMCTL" produce "$1" -p 0 -q
}
topic() { # topic jq-path
	api GET "/api/v1/topics/$1" >"$TMP/topic.json"
	jq -r "$2" "$TMP/topic.json"
}
records() { # topic from: values, one a line; status in $TMP/status
	api GET "/api/v1/topics/$1/partitions/0/records?offset=$2&end=now" -H 'Accept: application/x-ndjson'
}
objects() {
	find "$DATA/objects/segments" -name '*.seg' 2>/dev/null | wc -l
}
flushed() { # topic count: that many records are in segments
	flushed_topic=$1 flushed_count=$2
	wait_for '[ "$("$STREAMCTL" cat "$DATA/objects" -t $flushed_topic -f "%o\n" 2>/dev/null | sort -un | wc -l)" -ge $flushed_count ]' 30
}

start
# ---- by size ----
"$STREAMCTL" topic create sized -p 1 -q
for i in 1 2 3 4 5 6; do
	produce sized "${i}01" "${i}99"
	wait_for '[ "$(objects)" -ge '$i' ]' 20
done
is "$(topic sized .message_count)" 594 'all is there'
before=$(topic sized .size_bytes)
"$STREAMCTL" topic alter sized -C retention.bytes=$((before / 2)) -q
ok 'a smaller limit takes the oldest segments' wait_for '[ "$(topic sized .message_count)" -lt 594 ]' 20
after=$(topic sized .size_bytes)
[ "$after" -ge $((before / 2)) ] && [ "$after" -lt "$before" ]
tap_result $? "the topic's size went down, not below the limit ($before to $after)"
first=$(records sized earliest | head -n 1 | jq .offset)
is "$((first + $(topic sized .message_count)))" 594 'the earliest record follows those that went'
records sized 0 >"$TMP/body416"
is "$(api_status)" 416 'an offset below the log start is out of range'
is "$(records sized earliest | jq -r .value | tail -n 1 | cut -d ' ' -f 1)" 699 'the newest is still there'
ok 'objects of which nothing is left are removed' wait_for '[ "$(objects)" -le 4 ]' 20
ok 'what remains is whole' "$STREAMCTL" check "$DATA" --read-data

# ---- by age ----
"$STREAMCTL" topic create aged -p 1 -C retention.ms=2000 -q
produce aged 1 50
is "$(topic aged .message_count)" 50 'records of a topic with an age limit'
ok 'they go when they are old' wait_for '[ "$(topic aged .message_count)" = 0 ]' 30
is "$(topic aged .size_bytes)" 0 'with their bytes'
is "$(records aged earliest | wc -l)" 0 'nothing is read from the earliest on'
produce aged 51 60
is "$(records aged earliest | head -n 1 | jq .offset)" 50 'offsets go on'
is "$(records sized earliest | wc -l)" "$(topic sized .message_count)" 'other topics keep theirs'

# ---- readers in the middle, roles killed in the middle ----
"$STREAMCTL" topic create busy -p 1 -C retention.ms=1500 -q
: >"$TMP/answers"
reader() {
	offset=0
	reads=0
	while [ ! -e "$TMP/stop" ]; do
		reads=$((reads + 1))
		curl -sS --max-time 30 -o "$TMP/chunk" -w '%{http_code}\n' -H 'Accept: application/x-ndjson' \
			"$URL/api/v1/topics/busy/partitions/0/records?offset=$offset&end=now&limit=20" >"$TMP/code" 2>/dev/null || continue
		code=$(cat "$TMP/code")
		echo "$code $offset" >>"$TMP/answers"
		if [ "$code" = 200 ]; then
			jq -r 'select(.offset != null) | "\(.offset) \(.value)"' "$TMP/chunk" >>"$TMP/read" 2>>"$TMP/read.err"
			last=$(jq -r 'select(.offset != null) | .offset' "$TMP/chunk" 2>/dev/null | tail -n 1)
			[ -n "$last" ] && offset=$((last + 1))
			[ $((reads % 4)) -ne 0 ] || offset=$((offset > 150 ? offset - 150 : 0)) # back to where things go
			grep -h '"error"' "$TMP/chunk" >>"$TMP/read.errors"
		elif [ "$code" = 416 ]; then
			offset=$(curl -sS --max-time 30 -H 'Accept: application/x-ndjson' \
				"$URL/api/v1/topics/busy/partitions/0/records?offset=earliest&limit=1&end=now" | jq -r .offset | head -n 1)
			[ -n "$offset" ] && [ "$offset" != null ] || offset=0
		fi
	done
}
reader &
reader_pid=$!
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	produce busy "${i}01" "${i}60"
	case $i in
	3 | 9) kill -KILL "$(shd_pid meta)" ;;
	5 | 10) kill -KILL "$(shd_pid janitor)" ;;
	7 | 11) kill -KILL "$(shd_pid store)" ;;
	esac
	sleep 0.3
done
ok 'all of it expires although roles are killed' wait_for '[ "$(topic busy .message_count)" = 0 ]' 60
: >"$TMP/stop"
wait "$reader_pid"
is "$(cut -d ' ' -f 1 "$TMP/answers" | sort -u | grep -cv -e 200 -e 416 -e 503 -e 504 -e 429)" 0 \
	'a reader gets records, "out of range" or "try again", nothing else'
is "$(grep -c -i corrupt "$TMP/read.errors" 2>/dev/null || :)" 0 'nobody speaks of damage'
is "$(awk '{ v = int($1 / 60) + 1; want = v * 100 + $1 % 60 + 1; if ($2 != want) print }' "$TMP/read" | wc -l)" 0 \
	'what was read is what was written at that offset'
diag "$(sort "$TMP/answers" | cut -d ' ' -f 1 | uniq -c | tr '\n' ' ')"

# ---- deleting and making again ----
"$STREAMCTL" topic create again -p 1 -q
produce again 1 100
flushed again 100
produce again 101 110 # in the tail
old=$(topic again '.id // ""')
"$STREAMCTL" topic delete again --yes -q
"$STREAMCTL" topic create again -p 2 -q
is "$(topic again .message_count)" 0 'a topic made again under the name is empty'
[ -z "$old" ] || [ "$old" != "$(topic again .id)" ]
tap_result $? 'it is another one'
produce again 1 3
is "$(records again earliest | jq -r '"\(.offset) \(.value)"' | cut -d ' ' -f 1,2 | tr '\n' ' ')" '0 1 1 2 2 3 ' 'its offsets begin at 0'
kill_shd
start
is "$(records again earliest | jq -r '"\(.offset) \(.value)"' | cut -d ' ' -f 1,2 | tr '\n' ' ')" '0 1 1 2 2 3 ' \
	'after kill -9 of all nothing of the old one is back'
ok 'objects of the old one are removed' wait_for \
	'[ "$("$STREAMCTL" cat "$DATA/objects" -t again -f "%v\n" 2>/dev/null | cut -d " " -f 1 | sort -u | wc -l)" -le 3 ]' 30
stop_shd
ok 'the whole is clean' "$STREAMCTL" check "$DATA" --read-data
is "$(grep -Ec ' (agent|store|meta|janitor)\[[0-9]+\]: .*(corrupt|internal)' "$SHD_LOG")" 0 'nobody logged damage'
done_testing
