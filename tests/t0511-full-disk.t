# SPDX-License-Identifier: Apache-2.0
# The disk of the log is full, or cannot be read: producers and readers hear why, nothing is lost or taken for absent, and it goes on
# by itself when the disk does.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

shim=$top_builddir/tests/helper/faultfs.so
[ -e "$shim" ] || skip_all 'tests/helper/faultfs.so is not built (make check builds it)'
FAULTFS_CONTROL=$TMP/faults
export FAULTFS_CONTROL
: >"$FAULTFS_CONTROL"

faults() { # replaced in one step, so that nobody reads half a rule
	printf '%s\n' "$@" >"$TMP/faults.new"
	mv "$TMP/faults.new" "$FAULTFS_CONTROL"
}
launch() {
	LD_PRELOAD=$shim
	export LD_PRELOAD
	launch_shd -O segment.max_age=1h
	unset LD_PRELOAD
}
produce() { # value: status of one record
	api POST '/api/v1/topics/t/records?partition=0&durability=wal' -H 'Content-Type: text/plain' --data-binary "$1
" --max-time 2 2>/dev/null >"$TMP/answer"
	api_status
}
read_all() {
	api GET '/api/v1/topics/t/partitions/0/records?offset=earliest&end=now' -H 'Accept: application/x-ndjson' | jq -r .value | tr '\n' ' '
}
messages() { # of the topic that fills the log
	api GET /api/v1/topics/filler | jq .message_count
}

launch
await_shd
for topic in t filler; do
	api POST /api/v1/topics -H 'Content-Type: application/json' -d "{\"name\":\"$topic\",\"partitions\":1}" >/dev/null
done
is "$(produce one)" 200 'a record is taken while there is room'

# ---- no room for the next file ------------------------------------------------------------------------------------------------------
faults 'allocate ENOSPC */slots/*/wal/*' 'write ENOSPC */slots/*/wal/*.spare' 'write ENOSPC */slots/*/wal/*.new'
awk 'BEGIN { for (i = 0; i < 4000; i++) printf "%01000d\n", i }' >"$TMP/filler"
fill() { # one request after another, until one is refused
	while :; do
		curl -s -o "$TMP/fill.out" -w '%{http_code}\n' -H 'Content-Type: text/plain' --data-binary "@$TMP/filler" --max-time 60 \
			"$URL/api/v1/topics/filler/records?partition=0&durability=wal" >>"$TMP/filled"
		[ "$(tail -n 1 "$TMP/filled")" = 200 ] || return
	done
}
: >"$TMP/filled"
fill &
filler=$!
ok 'a producer is refused when the file is full' wait_for '[ "$(produce lost) $(jq -r .error.code <"$TMP/answer")" = "503 no_space" ]' 40
like "$(jq -r .error.message <"$TMP/answer")" 'no disk space for the next file of the write-ahead log in .*/wal' 'and told why'
like "$("$STREAMCTL" status 2>&1)" 'space' 'streamctl status says so'
like "$(read_all)" '^one ' 'what was acknowledged is read'
before=$(($(grep -c 200 "$TMP/filled") * 4000))
ok "and so is what filled the file ($before)" test "$(messages)" -ge "$before"
ok 'the log did not fail' test ! -e "$DATA/slots/0/wal/FAILED"
faults ''
ok 'when there is room it goes on by itself' wait_for '[ "$(produce two)" = 200 ]' 30
kill "$filler" 2>/dev/null
{ wait "$filler"; } 2>/dev/null
before=$(($(grep -c 200 "$TMP/filled") * 4000))
values=$(read_all)
ok 'everything acknowledged is there' test "$(messages)" -ge "$before"
like "$values" '^one (lost )*two $' 'in order, refused ones at most where their answer did not come'
kill_shd
launch
await_shd
is "$(read_all)" "$values" 'also after kill -9'

# ---- a log that cannot be read -----------------------------------------------------------------------------------------------------------
kill_shd
launch
await_shd
is "$(produce three)" 200 'a record, of which only the log knows'
offset=$(jq '.partitions[0].first_offset' "$TMP/answer")
faults 'read EIO */slots/*/wal/*.wal'
api GET "/api/v1/topics/t/partitions/0/records?offset=$offset&end=now" -H 'Accept: application/x-ndjson' >"$TMP/page"
like "$(api_status)" '^50[03]$' 'a read of what cannot be read is an error'
like "$(jq -r .error.message "$TMP/page")" 'cannot read .*/wal/' 'and says what'
is "$(produce four)" 200 'writing goes on'
kill_shd
ls "$DATA"/slots/0/wal/*.wal >"$TMP/files"
launch
ok 'a log that cannot be read is not begun anew: shd ends' wait_for '! alive "$SHD_PID"' 60
{ wait "$SHD_PID"; } 2>/dev/null
SHD_PID=
like "$(cat "$SHD_LOG")" 'wal have no readable header and may hold acknowledged records' 'and says why'
ls "$DATA"/slots/0/wal/*.wal | comm -13 - "$TMP/files" >"$TMP/missing"
is "$(cat "$TMP/missing")" '' 'no file of it is gone'
faults ''
launch
await_shd
is "$(read_all)" "${values}three four " 'when it can be read everything is there'
stop_shd
is "$?" 0 'it stops in order'
done_testing
