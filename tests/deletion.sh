# SPDX-License-Identifier: Apache-2.0
# What is deleted, and what never is, judged by the store's own list; for tests/t0411-deletion.t and tests/t0412-deletion-s3.t, after
# tests/lib.sh. $STORE is the URL of the store; object-tool can use it.
RULES=$TMP/rules

rules() { # takes the place of what was there, at once
	printf '%s\n' "$@" >"$RULES.new"
	mv "$RULES.new" "$RULES"
}
start() {
	start_shd -O "object.url=fault:$RULES:$STORE" -O segment.max_age=100ms -O object.grace=1s -O janitor.interval=200ms \
		-O janitor.orphan_interval=300ms -O meta.snapshot_interval=200ms "$@"
}
metric() { curl -s --max-time 20 "$URL/metrics" | sed -n "s/^[a-z]*_*$1 //p"; }
names() { object-tool "$STORE" list "${1-segments/}" | cut -d ' ' -f 1 | sort; }
produce() { # topic first last: and all of it is in the store
	seq "$2" "$3" | sed 's/$/ padding padding padding padding padding padding padding/' | "$STREAMCTL" produce "$1" -p 0 -q --durability object
}
topic() { # topic jq-path
	api GET "/api/v1/topics/$1" | jq -r "$2"
}
values() { # topic: offset and first word of all its records
	api GET "/api/v1/topics/$1/partitions/0/records?offset=earliest&end=now&limit=10000" -H 'Accept: application/x-ndjson' |
		jq -r '"\(.offset) \(.value)"' | cut -d ' ' -f 1,2
}
offline() { # topic: the same, out of the store alone
	"$STREAMCTL" cat "$STORE" -t "$1" -f '%o %v\n' 2>/dev/null | cut -d ' ' -f 1,2 | sort -un
}
settled() { # what lies in the store is what the metadata wants, and $1 that nobody may touch
	wait_for '[ "$(metric objects_dead)" = 0 ] && [ "$(metric objects_pending)" = 0 ] &&
		[ "$(names | grep -c "\\.seg$")" = $(($(metric objects_live) + '"$1"')) ]' 40
}
stay() { # seconds: no name goes away meanwhile
	names >"$TMP/stay-before"
	sleep "$1"
	names >"$TMP/stay-after"
	[ -s "$TMP/stay-before" ] && [ -z "$(comm -23 "$TMP/stay-before" "$TMP/stay-after")" ]
}

# Retention by size and by age, a topic that is deleted and made again, and things of others beside it.
test_expiry() {
	echo something >"$TMP/foreign"
	for i in keep sized gone aged; do "$STREAMCTL" topic create $i -p 1 -q; done
	produce keep 1 200
	for i in 1 2 3 4; do produce sized "${i}01" "${i}99"; done
	produce gone 1 100
	produce gone 101 200
	values keep >"$TMP/keep"
	is "$(wc -l <"$TMP/keep")" 200 'all of the topic that stays is read'
	ours=$(names | sed -n '1s|.*/\([0-9a-f]*\)-.*|\1|p')
	strange=segments/11/$ours-11111111-1111-4111-8111-111111111111.seg
	for i in "$strange" segments/readme.txt "segments/22/$ours.seg" notes/x; do
		object-tool "$STORE" put-once "$i" "$TMP/foreign" || tap_result 1 "$i cannot be put"
	done

	size=$(topic sized .size_bytes)
	"$STREAMCTL" topic alter sized -C retention.bytes=$((size / 2)) -q
	"$STREAMCTL" topic alter aged -C retention.ms=500 -q
	produce aged 1 100
	"$STREAMCTL" topic delete gone --yes -q
	"$STREAMCTL" topic create gone -p 1 -q
	produce gone 1 3
	ok 'what a topic may not keep by its size goes' wait_for '[ "$(topic sized .message_count)" -lt 396 ]' 30
	ok 'what is too old goes' wait_for '[ "$(topic aged .message_count)" = 0 ]' 30
	ok 'the store holds what is wanted, and nothing else of ours' settled 2
	is "$(names '' | grep -c -e "^$strange$" -e '^segments/readme.txt$' -e "^segments/22/$ours.seg\$" -e '^notes/x$')" 4 \
		'what others put there is left alone'
	is "$(offline gone | tr '\n' ' ')" '0 1 1 2 2 3 ' 'nothing of the deleted topic is in the store, only the new one of that name'
	is "$(offline aged)" '' 'nor anything that expired'
	values sized >"$TMP/sized"
	first=$(head -n 1 "$TMP/sized" | cut -d ' ' -f 1)
	is "$(tail -n 1 "$TMP/sized") $(wc -l <"$TMP/sized")" "395 499 $((396 - first))" 'of the topic with a limit the newest are left, without a hole'
	offline sized >"$TMP/out"
	sort -n "$TMP/sized" >"$TMP/want"
	same "$TMP/want" "$TMP/out" 'the store alone says the same'
	api GET "/api/v1/topics/sized/partitions/0/records?offset=$((first - 1))&end=now" >/dev/null
	is "$(api_status)" 416 'an offset that went is out of range'
	"$STREAMCTL" consume sized -p 0 --from 0 --exit -q >"$TMP/out" 2>"$TMP/err"
	is "$(wc -l <"$TMP/out")" "$((396 - first))" 'a consumer that begins there gets what is left'
	ok 'stop' stop_shd
	rm -rf "$DATA/cache"
	start
	values keep >"$TMP/out"
	same "$TMP/keep" "$TMP/out" 'out of the store, the topic that stays reads as before'
	values sized >"$TMP/out"
	same "$TMP/sized" "$TMP/out" 'and what is left of the other'
}

# A topic is deleted while something is in the way. $1: title
doomed() {
	"$STREAMCTL" topic create doomed -p 1 -q
	produce doomed 1 50
	produce doomed 51 100
	"$STREAMCTL" topic delete doomed --yes -q
}

# Nobody who cannot be asked is taken for one who says no.
test_unreadable() {
	rules 'remove unavailable'
	doomed
	ok 'a store that refuses to delete is tried again' wait_for 'grep -q "removing an object: .*trying again later" "$SHD_LOG"' 20
	meta=$(shd_pid meta)
	kill -STOP "$meta"
	rules
	stay 1.5
	tap_result $? 'while the metadata does not answer nothing is deleted'
	kill -CONT "$meta"
	ok 'when it does, what is dead goes' settled 2
	is "$(offline doomed)" '' 'all of it'

	rules 'list unavailable'
	kill -KILL "$(shd_pid janitor)"
	wait_for '[ -n "$(shd_pid janitor)" ]' 20
	doomed
	stay 2
	tap_result $? 'a janitor that could not look at the store deletes nothing'
	rules
	ok 'when it can, what is dead goes' settled 2
}

# One object that the store does not let go holds up no other, whatever it says of it.
test_stuck() {
	rules 'remove io times=1'
	doomed
	ok 'what could not be removed is passed over, and goes later' settled 2
	rules "remove unavailable times=2"
	doomed
	ok 'also when the store seemed to be away' settled 2
	rules
}

# Removals that hang, and kill -9 of who removes, of who asked for it, and of who noted it.
test_killed() {
	rules 'remove delay delay_ms=700'
	for i in store janitor meta; do
		doomed
		wait_for '[ "$(metric objects_dead)" -gt 0 ]' 20
		sleep 1.2 # into the removal, most probably; nothing depends on it
		kill -KILL "$(shd_pid $i)"
	done
	rules
	ok 'after kill -9 in the middle of removals all is clean' settled 2
	is "$(offline doomed)" '' 'and gone'
	values keep >"$TMP/out"
	same "$TMP/keep" "$TMP/out" 'nothing else is'
}

# The store process hangs in a put until its row was given up and removed.
test_late() {
	"$STREAMCTL" topic create late -p 1 -q
	settled 2
	names >"$TMP/before"
	rules 'put delay delay_ms=7000 times=1'
	seq 1 20 | "$STREAMCTL" produce late -p 0 -q
	wait_for '[ "$(metric objects_pending)" -gt 0 ]' 20
	kill -KILL "$(shd_pid agent)"
	ok 'a segment that is put after it was given up is removed' wait_for 'grep -q "removed 1 segment that had been given up" "$SHD_LOG"' 40
	rules
	settled 2
	is "$(values late | wc -l)" 20 'its records are in another one'
}

# Another shd with metadata of its own and the very same store, as after metadata that were lost.
test_same_store() {
	ours_data=$DATA ours_pid=$SHD_PID ours_url=$URL
	DATA=$TMP/other SHD_PID=
	: >"$SHD_LOG"
	start
	"$STREAMCTL" topic create other -p 1 -q
	produce other 1 10
	ok 'metadata begun anew notice that the store is of others' wait_for 'grep -q "begun anew where there were data" "$SHD_LOG"' 30
	stay 2.5
	tap_result $? 'and delete none of them'
	ok 'nor the snapshots of the other metadata' test "$(names meta/ | grep -c "$ours")" -ge 3
	is "$(names meta/ | grep -vc "$ours")" 0 'and none of their own comes before those'
	wait_for 'names segments/ | grep -qv "/$ours"' 20
	ok 'stop' stop_shd
	: >"$SHD_LOG"
	DATA=$ours_data SHD_PID=$ours_pid URL=$ours_url STREAMCTL_SERVER=$ours_url
	ok 'to the older ones the store is from after them' wait_for 'grep -q "from another metadata" "$SHD_LOG"' 20
	theirs=$(names segments/ | grep -v "/$ours" | sed -n '1s|.*/\([0-9a-f]*\)-.*|\1|p')
	for i in $(names '' | grep "/$theirs-"); do object-tool "$STORE" remove "$i"; done
	ok 'until the operator takes that away' wait_for 'grep -q "deleting goes on" "$SHD_LOG"' 20
	doomed
	ok 'then what is dead goes' settled 2
}
