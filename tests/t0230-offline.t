# SPDX-License-Identifier: Apache-2.0
# streamctl cat and check: a data directory read with no daemon, beside a running one, and after damage.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

produce() { # partition value...
	partition=$1
	shift
	printf '%s\n' "$@" | "$STREAMCTL" produce t -p "$partition" -q
}
flush() { # what is in the WAL goes to segments: stopping does that, or waiting
	wait_for '[ "$("$STREAMCTL" cat "$DATA/objects" -f "%o\n" 2>/dev/null | wc -l)" -ge '"$1"' ]' 30
}
flip() { # file position: one byte becomes another
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	printf "\\$(printf '%03o' $(((byte + 1) % 256)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

fails 4 'a store that is not there is told as such' "$STREAMCTL" check "$TMP/nothing"
mkdir "$TMP/unrelated"
fails 4 'a directory with nothing of ours is not called sound' "$STREAMCTL" check "$TMP/unrelated"
fails 4 'nor read as empty' "$STREAMCTL" cat "$TMP/unrelated"
fails 2 'cat wants a store' "$STREAMCTL" cat

start_shd -O segment.max_age=200ms
"$STREAMCTL" topic create t -p 3 -q
produce 0 a b c
produce 1 d e
ok 'records become segments' flush 5
ok 'a directory beside a running shd is clean' "$STREAMCTL" check "$DATA"
stop_shd
start_shd -O segment.max_age=1h -O segment.max_bytes=64M
produce 0 f g
produce 2 h
is "$("$STREAMCTL" cat "$DATA" | sort | tr '\n' ' ')" 'a b c d e f g h ' 'cat prints segments and tail beside a running shd'
for partition in 0 1 2; do
	api GET "/api/v1/topics/t/partitions/$partition/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson'
done | sort >"$TMP/served"
kill_shd

"$STREAMCTL" cat "$DATA" -t t -o ndjson | sort >"$TMP/cat"
same "$TMP/cat" "$TMP/served" 'cat prints what the server served'
is "$("$STREAMCTL" cat "$DATA" -t t -f '%t/%p/%o=%v ' | tr ' ' '\n' | sort | tr '\n' ' ')" \
	't/0/0=a t/0/1=b t/0/2=c t/0/3=f t/0/4=g t/1/0=d t/1/1=e t/2/0=h ' 'also by a format string'
is "$("$STREAMCTL" cat "$DATA" -t t -p 0 --from 1 --to 4 | tr '\n' ' ')" 'b c f ' 'a partition and a range of offsets'
is "$("$STREAMCTL" cat "$DATA" -t 'x*')" '' 'a topic that is not there has no records'
is "$("$STREAMCTL" cat "$DATA" -n 2 | wc -l)" 2 'a limit'
is "$("$STREAMCTL" cat "$DATA/objects" | sort | tr '\n' ' ')" 'a b c d e ' 'a directory of segments'
is "$("$STREAMCTL" cat "file://$DATA/objects" | wc -l)" 5 'as a URL'
segment=$(find "$DATA/objects" -name '*.seg' | sort | head -n 1)
like "$("$STREAMCTL" cat "$segment" | tr '\n' ' ')" '^[a-e] ' 'one segment'
like "$(for wal in "$DATA"/slots/0/wal/*.wal; do "$STREAMCTL" cat "$wal"; done | sort | tr '\n' ' ')" 'f g h $' 'WAL files'
ok 'the whole is clean' "$STREAMCTL" check "$DATA" --read-data
like "$(cat "$TMP/ok.out")" '3 partitions.*no damage found' 'and check says what it looked at'
ok 'it is silent when asked to be' "$STREAMCTL" check -q "$DATA"
is "$(cat "$TMP/ok.out")" '' 'and prints nothing'
ok 'so is a sample' "$STREAMCTL" check --read-data=50% "$DATA"
ok 'so is each segment' "$STREAMCTL" check "$segment"
ok 'so is the directory of segments' "$STREAMCTL" check "file://$DATA/objects" --read-data
fails 2 'a sample that is none is refused' "$STREAMCTL" check --read-data=lots "$DATA"

# ---- damage ----
cp -r "$DATA" "$TMP/good"
restore() {
	rm -rf "$DATA"
	cp -r "$TMP/good" "$DATA"
}
flip "$segment" 70
ok 'without reading data, damage inside a block is not seen' "$STREAMCTL" check "$DATA"
fails 1 'with reading it is' "$STREAMCTL" check "$DATA" --read-data
like "$(cat "$TMP/ok.out")" "damage: .*$(basename "$segment").*checksum" 'and told with its place'
fails 1 'a damaged segment' "$STREAMCTL" check "$segment"
fails 3 'cat goes on behind damage' "$STREAMCTL" cat "$DATA"
is "$("$STREAMCTL" check "$DATA" --read-data -o ndjson 2>/dev/null | jq -r .severity | sort | uniq -c | tr -s ' ')" ' 1 damage' \
	'findings as JSON'
restore
truncate -s -1 "$segment"
fails 1 'a segment that is too short' "$STREAMCTL" check "$DATA"
restore
rm "$segment"
fails 1 'a segment that is missing' "$STREAMCTL" check "$DATA"
like "$(cat "$TMP/ok.out")" 'missing' 'is called so'
like "$(cat "$TMP/ok.out")" 'note: .*--objects URL' 'and where else they may lie is told'
restore
echo x >"$DATA/objects/stray.seg"
ok 'an orphan is no damage' "$STREAMCTL" check "$DATA"
like "$(cat "$TMP/ok.out")" 'note: stray.seg' 'but noted'
restore
wal=$(ls "$DATA"/slots/0/wal/*.wal | tail -n 1)
before=$("$STREAMCTL" cat "$DATA" | wc -l)
flip "$wal" 4136
case $("$STREAMCTL" check "$DATA"; echo $?) in
*damaged*1) tap_result 0 'damage in the WAL is found' ;;
*) [ "$("$STREAMCTL" cat "$DATA" 2>/dev/null | wc -l)" -lt "$before" ]
	tap_result $? 'the first entry of a log that nobody claims as synced may be torn' ;;
esac
restore
: >"$DATA/meta/meta.db"
"$STREAMCTL" check "$DATA" >"$TMP/ok.out" 2>&1
status=$?
[ "$status" -ne 0 ]
tap_result $? 'metadata that is gone is noticed'
done_testing
