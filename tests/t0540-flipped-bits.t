# SPDX-License-Identifier: Apache-2.0
# A bit is flipped while shd is down: in the log, in a segment, in a snapshot, in the metadata. Each time it is told where; what is
# not concerned reads as before; nothing that was not written is ever handed out; nothing crashes.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

start='-O segment.max_age=1h -O meta.snapshot_interval=1h -O janitor.interval=1h'
produce() { # topic partition first last
	seq "$3" "$4" | sed "s/^/$1-$2-/" | "$STREAMCTL" produce "$1" -p "$2" -q
}
flushed() { # topic count
	flushed_topic=$1 flushed_count=$2
	wait_for '[ "$("$STREAMCTL" cat "$DATA/objects" -t $flushed_topic 2>/dev/null | wc -l)" -ge $flushed_count ]' 30
}
flip() { # file position [bit]
	flip_byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059 # an octal escape
	printf "\\$(printf '%03o' $((flip_byte ^ (1 << ${3:-4}))))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
restore() {
	rm -rf "$DATA"
	cp -r "$TMP/good" "$DATA"
}
values() { # topic partition: what is served, to its end or to where it is refused
	curl -sS --max-time 30 "$URL/api/v1/topics/$1/partitions/$2/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' \
		2>/dev/null | jq -c 'select(.offset != null) | [.offset, .value]' 2>/dev/null
}
offline() { # topic partition
	"$STREAMCTL" cat "$DATA" -t "$1" -p "$2" -f '%o %v\n' 2>/dev/null
}
only_written() { # file TITLE: every line of it is one of what was written, with its offset
	sort "$1" >"$TMP/sorted"
	is "$(comm -23 "$TMP/sorted" "$TMP/want" | head -n 3)" '' "$2"
}
check() { # STORE... TITLE REGEX: damage, told so
	check_store=$1 check_title=$2 check_regex=$3
	"$STREAMCTL" check "$check_store" --read-data >"$TMP/check" 2>&1
	is "$?" 1 "check: $check_title" && like "$(grep '^damage' "$TMP/check")" "$check_regex" 'and where'
}

# ---- two topics: a segment each, and a tail of several batches each ----
start_shd -O segment.max_age=100ms -O meta.snapshot_interval=100ms
"$STREAMCTL" topic create a -p 1 -q
"$STREAMCTL" topic create b -p 1 -q
produce a 0 1 300
flushed a 300
produce b 0 1 300
flushed b 300
wait_for '[ "$(ls "$DATA/objects/meta" | wc -l)" -ge 2 ]' 20
stop_shd
# shellcheck disable=SC2086 # a list of options
start_shd $start
for i in 1 2 3; do
	produce a 0 "30$i" "30$i"
	produce b 0 "30$i" "30$i"
done
for t in a b; do
	values "$t" 0 >"$TMP/want-$t"
done
sort "$TMP/want-a" "$TMP/want-b" >"$TMP/want"
is "$(wc -l <"$TMP/want")" 606 'what is there'
kill_shd
rm -rf "$DATA/cache"
cp -r "$DATA" "$TMP/good"
seg_a=$(grep -l 'a-0-' -r "$DATA/objects/segments" | head -n 1)
seg_b=$(grep -l 'b-0-' -r "$DATA/objects/segments" | head -n 1)
ok 'each topic has a segment of its own' test -n "$seg_a" -a -n "$seg_b" -a "$seg_a" != "$seg_b"
seg_bytes=$(stat -c %s "$seg_a")

# Serve, and see what the two topics give.
serve() { # TITLE
	: >"$SHD_LOG"
	# shellcheck disable=SC2086
	start_shd $start
	values a 0 >"$TMP/got-a"
	values b 0 >"$TMP/got-b"
	same "$TMP/got-b" "$TMP/want-b" "$1: the other partition reads as before"
	only_written "$TMP/got-a" 'nothing else than what was written is handed out'
	api GET /live >/dev/null
	is "$(api_status)" 200 'and it lives'
}
refuses() { # TITLE REGEX
	: >"$SHD_LOG"
	# shellcheck disable=SC2086
	launch_shd $start
	ok "$1: shd does not start" wait_for '! alive "$SHD_PID"' 30
	SHD_PID=
	like "$(cat "$SHD_LOG")" "$2" 'and says why'
}

# ---- the log ----
wal=$(wal-list "$DATA"/slots/0/wal/*.wal | grep -v '^#' | awk '$5 > 0' | sort -n -k 3 | tail -n 6 | awk 'NR == 1 {print $1}')
first=$(wal-list "$wal" | grep -v '^#' | awk '$5 > 0 {print $2}' | head -n 1)
for at in 20 100; do # in the entry's header; in its batch
	flip "$wal" $((first + at))
	check "$DATA" "byte $at of an entry of the log" "$(basename "$wal").*are damaged: they had been synced"
	same "$(offline b 0 >"$TMP/got"; echo "$TMP/got")" "$(jq -r '"\(.[0]) \(.[1])"' "$TMP/want-b" >"$TMP/w"; echo "$TMP/w")" 'cat prints the other partition'
	serve "byte $at of an entry of the log"
	is "$(wc -l <"$TMP/got-a")" 300 'up to the damage it is read'
	like "$(cat "$SHD_LOG")" 'the WAL is damaged from LSN' 'the log of shd says where'
	api POST '/api/v1/topics/a/records?partition=0' -H 'Content-Type: text/plain' --data-binary 'x
' >"$TMP/refused"
	like "$(cat "$TMP/refused")" 'partition_damaged' 'that partition takes nothing more'
	kill_shd
	restore
done
flip "$wal" 8
check "$DATA" 'the header of a file of the log' 'have no readable header'
refuses 'the header of a file of the log' 'no readable header.*streamhouse-recovery'
restore

# ---- a segment ----
places="header:3 data:100 footer:$((seg_bytes - 200)) trailer:$((seg_bytes - 5))"
[ -z "${SH_TEST_LONG:-}" ] || places="$places data:$((seg_bytes / 3)) footer:$((seg_bytes - 100))"
for where in $places; do
	at=${where#*:}
	flip "$seg_a" "$at"
	check "$DATA" "${where%:*} of a segment (byte $at)" "$(basename "$seg_a")"
	check "$DATA/objects" 'the store alone says the same' "$(basename "$seg_a")"
	"$STREAMCTL" cat "$DATA" -t a -f '%o %v\n' 2>/dev/null | sed 's/\([0-9]*\) \(.*\)/[\1,"\2"]/' >"$TMP/got"
	only_written "$TMP/got" 'cat prints nothing else than what was written'
	serve "${where%:*} of a segment (byte $at)"
	if [ "$(wc -l <"$TMP/got-a")" != 303 ]; then
		like "$(values a 0; curl -sS --max-time 30 "$URL/api/v1/topics/a/partitions/0/records?offset=0&end=now" 2>&1; cat "$SHD_LOG")" \
			'damaged|checksum|transfer closed|segment' 'who reads it hears of the damage'
	fi
	kill_shd
	restore
done

# ---- a snapshot ----
for s in "$DATA"/objects/meta/*; do newest=$s; done
for at in 3 40 $(($(stat -c %s "$newest") - 2)); do
	flip "$newest" "$at"
	check "$DATA" "byte $at of a snapshot" "$(basename "$newest"): the snapshot is damaged"
	check "$DATA/objects" 'the store alone says the same' "$(basename "$newest"): the snapshot is damaged"
	"$STREAMCTL" check --rebuild "$DATA/objects" --to "$TMP/made.db" >"$TMP/out" 2>&1
	is $? 1 'a rebuild calls it damage'
	like "$(cat "$TMP/out")" "$(basename "$newest"): the snapshot is damaged.*an older snapshot is used" 'and uses the one before'
	rm -f "$TMP"/made.db*
	restore
done
flip "$newest" 40
serve 'a damaged snapshot'
same "$TMP/got-a" "$TMP/want-a" 'all is served'
kill_shd
restore

# ---- the metadata: every page ----
# The database was not closed: shd brings it to one file first.
# shellcheck disable=SC2086
start_shd $start
stop_shd
rm -rf "$DATA/cache" "$TMP/good"
cp -r "$DATA" "$TMP/good"
db=$DATA/meta/meta.db
page=$(od -An -tu1 -j 16 -N 2 "$db" | awk '{print $1 * 256 + $2}')
pages=$(($(stat -c %s "$db") / page))
missed=
for p in $(seq 0 $((pages - 1))); do
	flip "$db" $((p * page + page / 2 + p * 37 % 400)) $((p % 8))
	"$STREAMCTL" check "$DATA" >"$TMP/check" 2>&1
	[ $? -eq 1 ] && grep -q '^damage.*checksum' "$TMP/check" || missed="$missed $p"
	cp "$TMP/good/meta/meta.db" "$db"
done
is "$missed" '' "check: a bit in any of the $pages pages of the metadata"
# What is read at the start: the header of the file, the schema, and where topics, partitions and counters are.
flip "$db" 5
refuses 'the first bytes of the metadata' 'is not an SQLite database, or its first page is damaged'
cp "$TMP/good/meta/meta.db" "$db"
every=6
[ -z "${SH_TEST_LONG:-}" ] || every=1
served=0 refused=0 wrong=0 silent=0
for p in $(seq 0 $((pages - 1))); do
	[ $((p % every)) -eq 0 ] || continue
	flip "$db" $((p * page + 200)) 0
	: >"$SHD_LOG"
	# shellcheck disable=SC2086
	launch_shd $start
	wait_for '[ -e "$DATA/run/ready" ] || ! alive "$SHD_PID"' 30
	if alive "$SHD_PID"; then
		served=$((served + 1))
		URL=http://127.0.0.1:$(sed 's/.*://' "$DATA/run/http.port")
		for t in a b; do
			values "$t" 0 >"$TMP/got"
			sort "$TMP/got" | comm -23 - "$TMP/want" | grep -q . && wrong=$((wrong + 1))
			cmp -s "$TMP/got" "$TMP/want-$t" || grep -q checksum "$SHD_LOG" || silent=$((silent + 1))
		done
		kill_shd
	else
		refused=$((refused + 1))
		grep -q 'a page does not match its checksum.*streamhouse-recovery(7)' "$SHD_LOG" || silent=$((silent + 1))
		SHD_PID=
	fi
	restore
done
diag "a flipped bit in a page of the metadata: $refused did not start, $served served"
is "$wrong/$silent" 0/0 'a damaged page of the metadata is never served as if it was whole, nor passed over in silence'
[ "$refused" -gt 0 ]
tap_result $? 'a page that is needed at the start keeps shd from starting'
"$STREAMCTL" check "$DATA" --read-data >"$TMP/check" 2>&1
is $? 0 'and the copy that was not touched is sound'
done_testing
