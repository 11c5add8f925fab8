# SPDX-License-Identifier: Apache-2.0
# A process dies at each crash point, the places between two durable effects that DESIGN.md lists: once alone, and is started again,
# and once held there until the whole family is killed with it. Each time the log takes records again; what was acknowledged
# reads back once, in order, unchanged; what was deleted stays deleted; nothing is left behind.
#
# SH_TEST_LONG: everything is read back after every single death.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/lib-crash.sh"
. "$top_srcdir/tests/lib-points.sh"

crash_seed 1 1 1
load='--writers 3 --partitions 4 --level mixed --pause-us 2000'
small='-O segment.max_age=150ms -O object.flush_interval=50ms -O object.grace=1s -O janitor.interval=100ms -O meta.snapshot_interval=200ms
	-O janitor.orphan_interval=200ms'
start() {
	# shellcheck disable=SC2086 # a list
	start_shd $small "$@"
}
launch() {
	# shellcheck disable=SC2086
	launch_shd $small "$@"
}

# ---- what goes on meanwhile: records by crash-load; topics that come, expire and go by this ---------------------------------
request() { # method path [curl-arg...]: status
	request_method=$1 request_path=$2
	shift 2
	curl -s --max-time 20 -o /dev/null -w '%{http_code}' -X "$request_method" "$@" \
		"http://127.0.0.1:$(sed 's/.*://' "$DATA/run/http.port" 2>/dev/null)$request_path" || :
}
create() { # topic [config]: status
	request POST /api/v1/topics -H 'Content-Type: application/json' -d "{\"name\":\"$1\",\"partitions\":1,\"config\":{${2:-}}}"
}
put() { # topic value: status
	request POST "/api/v1/topics/$1/records?partition=0&durability=object" -H 'Content-Type: text/plain' --data-binary "$2
"
}
churn() {
	n=0
	while [ ! -e "$TMP/churn-stop" ]; do
		n=$((n + 1))
		[ "$(create "gone-$n")" = 201 ] && put "gone-$n" "$n" >/dev/null
		case $(request DELETE "/api/v1/topics/gone-$n") in 20?) echo "gone-$n" >>"$TMP/deleted" ;; esac
		put short "$n" >/dev/null
		[ $((n % 8)) -ne 0 ] || [ "$(create "kept-$n")" != 201 ] || [ "$(put "kept-$n" "value $n")" != 200 ] || echo "$n" >>"$TMP/kept"
		sleep 0.05
	done
}
churn_pid=
churn_start() {
	[ "$(create short '"retention.ms":1')" = 201 ] || bail 'cannot create a topic'
	: >"$TMP/deleted"
	: >"$TMP/kept"
	rm -f "$TMP/churn-stop"
	churn &
	churn_pid=$!
}
churn_stop() {
	: >"$TMP/churn-stop"
	wait "$churn_pid"
	churn_pid=
}
end_churn() {
	[ -z "$churn_pid" ] || kill -KILL "$churn_pid" 2>/dev/null
	end_load
}
trap end_churn EXIT
churn_check() {
	"$STREAMCTL" topic list -o ndjson | jq -r .name | sort >"$TMP/there"
	sort "$TMP/deleted" | comm -12 - "$TMP/there" >"$TMP/back"
	[ ! -s "$TMP/back" ] || { echo "deleted, and there again:" && cat "$TMP/back" && return 1; }
	while read -r n; do
		[ "$(api GET "/api/v1/topics/kept-$n/partitions/0/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' |
			jq -r .value)" = "value $n" ] || { echo "kept-$n is not what was acknowledged" && return 1; }
	done <"$TMP/kept"
}

# ---- dying --------------------------------------------------------------------------------------------------------------------
done_so_far() { # records acknowledged, or topics deleted
	if [ -n "$load_pid" ]; then progress acked; else wc -l <"$TMP/deleted"; fi
}
goes_on() { # NAME and what died
	before=$(done_so_far)
	ok "$1" wait_for "[ \"\$(done_so_far)\" -gt ${before:-0} ] 2>/dev/null" 40 && passed "${1%%:*}"
}
alone() { # NAME: one role dies, under load, and comes back
	role=$(role_of "$1") was=$(shd_pid "$role")
	arm "$1"
	reached "$1" || { ok "$1 is reached" false; return; }
	wait_for '[ -n "$(shd_pid "$role")" ] && [ "$(shd_pid "$role")" != "$was" ]' 30 || { ok "$1 ends the $role process" false; return; }
	goes_on "$1: $role dies"
	each
}
together() { # NAME: under load
	arm "$1.stop"
	reached "$1.stop" || { ok "$1 is reached" false; return; }
	kill_shd
	start
	goes_on "$1: all die"
	each
}
starting() { # NAME: at a start the role dies, and again with all; at the next it dies alone, and then goes on
	kill_shd
	[ "$(role_of "$1")" = supervisor ] || arm "$1"
	arm "$1.stop"
	launch
	reached "$1" && reached "$1.stop" || { ok "$1 is reached" false; return; }
	kill_shd
	arm "$1"
	launch
	reached "$1" || { ok "$1 is reached again" false; return; }
	if [ "$(role_of "$1")" = supervisor ]; then
		kill_shd
		launch
	fi
	await_shd
	goes_on "$1: $(role_of "$1") dies while starting, with all, and alone"
	each
}
topics=0
each() {
	[ -n "${SH_TEST_LONG:-}" ] && [ -n "$load_pid" ] || return
	load_stop
	ok 'all of it reads back' load_check "$load_topic"
	topics=$((topics + 1))
	create_topic "load-$topics"
	load_start "load-$topics" $load
	wait_for 'acked_more_than 0' 30
}

names=$(source_points)
is "$(echo "$names" | uniq -d)" '' 'a crash point is in one place'
is "$names" "$(listed_points)" 'DESIGN.md lists the crash points of the sources'

# ---- the first start of all: each step on top of what the one before left ------------------------------------------------------
for name in datadir.locked datadir.versioned meta.made meta.named slot.locked slot.named session.opened session.noted \
	recover.all-read wal.file-allocated wal.file-synced wal.file-named; do
	arm "$name.stop"
	launch
	ok "$name: all die at the first start" reached "$name.stop" && passed "$name"
	kill_shd
done
start
create_topic points
churn_start
load_start points $load
ok 'then it serves' wait_for 'acked_more_than 100' 40

# ---- under load ------------------------------------------------------------------------------------------------------------------
for name in wal.written build.intended meta.changed wal.synced build.built meta.committed flush.asked put.copied flush.built put.named \
	flush.committed build.put; do
	alone "$name"
	together "$name"
done
load_stop
is "$load_status" 0 'no answer contradicted another'
ok 'all of it reads back' load_check "$load_topic"

# ---- while topics come and go, and nothing keeps their segments ------------------------------------------------------------------
for name in meta.changed snapshot.taken meta.committed retention.expired remove.unlinked garbage.listed snapshot.put garbage.removed \
	snapshot.told garbage.forgotten snapshot.pruned; do
	alone "$name"
	together "$name"
done
churn_stop
ok 'what was deleted is gone, what was made is there' churn_check
ok 'all of it reads back still' load_check points
diag "topics: $(wc -l <"$TMP/deleted") deleted, $(wc -l <"$TMP/kept") made"

# ---- while starting with something to recover ------------------------------------------------------------------------------------
create_topic starts
load_start starts $load
wait_for 'acked_more_than 100' 30
for name in datadir.locked datadir.versioned meta.checkpointed slot.locked slot.named session.opened session.noted recover.tidied \
	recover.file-read recover.all-read wal.spare-taken wal.file-synced wal.file-named wal.file-durable recover.opened \
	recover.clean-gone recycle.due recycle.done; do
	starting "$name"
done

# ---- while ending ----------------------------------------------------------------------------------------------------------------
for name in close.synced close.clean close.done; do
	arm "$name.stop"
	kill -TERM "$SHD_PID"
	reached "$name.stop" || { ok "$name is reached" false; continue; }
	kill_shd
	start
	goes_on "$name: all die while ending"
done
load_stop
is "$load_status" 0 'no answer contradicted another'
ok 'all of it reads back' load_check "$load_topic"
ok 'also what was written before' load_check points
ok 'also topics' churn_check
is "$(find "$DATA/slots" -path '*/quarantine/*' -type f | wc -l)" 0 'nothing is in quarantine'
stop_shd
ok 'streamctl check finds no damage' "$STREAMCTL" check "$DATA" --read-data

# ---- while the metadata are made anew from the store -----------------------------------------------------------------------------
rm -f "$DATA"/meta/meta.db* "$DATA"/slots/*/seen
for name in rebuild.begun rebuild.written rebuild.named; do
	arm "$name"
	fails 137 "$name: streamctl dies" "$STREAMCTL" check --rebuild "$DATA/objects" --to "$DATA/meta/meta.db"
	reached "$name" 1 && passed "$name"
done
start
ok 'all of it reads back' load_check starts
ok 'also what was written before' load_check points
ok 'also topics' churn_check
stop_shd
ok 'streamctl check finds no damage in the new metadata' "$STREAMCTL" check "$DATA" --read-data

# ---- while a file fills up: a spare is prepared when there is none, and the next file is begun ---------------------------------------
awk 'BEGIN { for (i = 0; i < 4000; i++) printf "%01000d\n", i }' >"$TMP/filler"
fill() { # until $1 is reached
	while [ -e "$STREAMHOUSE_CRASH_POINTS/$1" ]; do
		[ "$(request POST "/api/v1/topics/filler/records?partition=0&durability=wal" -H 'Content-Type: text/plain' \
			--data-binary "@$TMP/filler")" != 200 ] || echo 4000 >>"$TMP/filled"
	done &
	reached "$1" 60
	fill_status=$?
	wait $!
	return $fill_status
}
for name in wal.spare-begun wal.spare-made wal.file-left; do
	if [ "$name" != wal.file-left ]; then
		DATA=$TMP/$name
		start
		create_topic filler
		: >"$TMP/filled"
	fi
	create_topic "$name"
	load_start "$name" $load
	wait_for 'acked_more_than 0' 30
	arm "$name"
	if fill "$name"; then goes_on "$name: agent dies"; else ok "$name is reached" false; fi
	load_stop
	ok 'all of it reads back' load_check "$name"
	[ "$name" != wal.spare-begun ] || stop_shd
done
api GET /api/v1/topics/filler >"$TMP/filler.json"
ok 'and what filled the file' test "$(jq .message_count "$TMP/filler.json")" -ge $((4000 * $(wc -l <"$TMP/filled")))
kill_shd

# ---- single ones ------------------------------------------------------------------------------------------------------------------
read_all() { # topic partition: values on one line
	api GET "/api/v1/topics/$1/partitions/$2/records?offset=earliest&end=now" -H 'Accept: application/x-ndjson' |
		jq -r '.value // empty' | tr '\n' ' '
}
append() { # partition value [level]: status
	request POST "/api/v1/topics/t/records?partition=$1&durability=${3:-wal}" -H 'Content-Type: text/plain' --data-binary "$2
"
}

# An object under a name that was given up meanwhile.
DATA=$TMP/orphans
start
create_topic t
arm build.put.stop
append 0 a object >/dev/null &
reached build.put.stop
kill_shd
wait $!
orphan=$(find "$DATA/objects/segments" -name '*.seg')
mv "$orphan" "$TMP/orphan.seg"
: >"$SHD_LOG"
start
ok 'a segment without an answer is given up' wait_for 'grep -q "removed 1 dead object" "$SHD_LOG"' 30
for name in orphans.found orphans.removed; do
	arm "$name"
	cp -p "$TMP/orphan.seg" "$orphan"
	ok "$name: janitor dies" reached "$name" && passed "$name"
done
ok 'it goes' wait_for '[ ! -e "$orphan" ]' 30
is "$(read_all t 0)" 'a ' 'its record is in another segment'
kill_shd

# A sync that fails, of a log that dies before, or after, it has noted that.
export FAULTFS_CONTROL="$TMP/faults"
for name in wal.failed wal.failed-marked; do
	DATA=$TMP/$name
	: >"$FAULTFS_CONTROL"
	LD_PRELOAD=$top_builddir/tests/helper/faultfs.so
	export LD_PRELOAD
	start
	unset LD_PRELOAD
	create_topic t
	is "$(append 0 a)" 200 'a record is taken'
	arm "$name.stop"
	echo 'sync EIO */slots/*/wal/*.wal' >"$FAULTFS_CONTROL"
	append 0 b >"$TMP/answer" &
	ok "$name: all die" reached "$name.stop" && passed "$name"
	kill_shd
	wait $!
	is "$(cat "$TMP/answer")" 000 'nobody is told that it was written'
	start
	values=$(read_all t 0)
	if [ "$name" = wal.failed ]; then
		ok "what was acknowledged is there: $values" test "$values" = 'a ' -o "$values" = 'a b '
		is "$(append 0 c) $(read_all t 0)" "200 ${values}c " 'and records are taken'
	else
		is "$(append 0 c) $values" '503 a ' 'what was not synced is not shown, and nothing is taken'
	fi
	stop_shd
done

# Damage below what was synced.
DATA=$TMP/damaged
start_shd -O segment.max_age=1h
create_topic t
for value in a b c; do
	is "$(append 0 $value)$(append 1 $value)" 200200 'records are taken'
done
entries() {
	wal-list "$DATA"/slots/0/wal/*.wal | grep -v '^#' | sort -n -k 3
}
wait_for "entries | awk '\$6 == \"batch\" { last = \$3 } { if (\$7 > claim) claim = \$7 } END { exit !(claim > last) }'" 10
kill_shd
# shellcheck disable=SC2046 # words
set -- $(entries | awk '$6 == "batch" && $4 == 0' | sed -n 2p)
printf 'XXXXXXXX' | dd of="$1" bs=1 seek=$(($2 + 85)) conv=notrunc 2>/dev/null
arm quarantine.marked.stop
launch_shd -O segment.max_age=1h
ok 'quarantine.marked: all die' reached quarantine.marked.stop && passed quarantine.marked
kill_shd
arm quarantine.kept
arm quarantine.kept.stop
launch_shd -O segment.max_age=1h
ok 'quarantine.kept: agent dies' reached quarantine.kept
ok 'quarantine.kept: all die' reached quarantine.kept.stop && passed quarantine.kept
kill_shd
start_shd -O segment.max_age=1h
is "$(read_all t 0)$(read_all t 1)" 'a a b c ' 'what is before the damage is served, and other partitions'
is "$(append 0 d)$(append 1 d)" 503200 'the damaged one takes nothing'
like "$("$STREAMCTL" cat -f '%v ' "$DATA"/slots/0/quarantine/*.wal)" 'c' 'what came behind the damage is in quarantine'
stop_shd

is "$(passed_points)" "$(source_points | grep -v '^s3\.')" 'a process died at each crash point'
done_testing
