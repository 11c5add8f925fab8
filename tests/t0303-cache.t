# SPDX-License-Identifier: Apache-2.0
# The cache under a whole shd: whatever becomes of its files, or of its disk, costs a fetch and nothing else; it keeps its limit, and
# what was used last.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

shim=$top_builddir/tests/helper/faultfs.so
[ -e "$shim" ] || skip_all 'tests/helper/faultfs.so is not built (make check builds it)'
FAULTFS_CONTROL=$TMP/faults
export FAULTFS_CONTROL
: >"$FAULTFS_CONTROL"
faults() {
	printf '%s\n' "$@" >"$TMP/faults.new"
	mv "$TMP/faults.new" "$FAULTFS_CONTROL"
}
start() {
	LD_PRELOAD=$shim
	export LD_PRELOAD
	start_shd -O segment.max_age=10m "$@"
	unset LD_PRELOAD
}
status() { api GET /api/v1/status | jq -r ".store.$1"; }
# read TOPIC: all of it is there; sets fetched, the reads of the object store that it took. The agent keeps descriptors of what it
# has read, so it starts anew.
read_all() {
	before=$(status gets)
	kill -KILL "$(shd_pid agent)"
	wait_for 'api GET /ready >/dev/null; [ "$(api_status)" = 200 ]' 30
	read_again "$1"
}
read_again() {
	before=${before:-$(status gets)}
	"$STREAMCTL" consume "$1" --from earliest --exit -q >"$TMP/out" 2>"$TMP/err" || diag_file "$TMP/err"
	fetched=$(($(status gets) - before)) before=
	cmp "$TMP/in-$1" "$TMP/out"
}
cached() { find "$DATA/cache" -type f ! -path "$DATA/cache/tmp/*"; }
damage() {
	cached | while read -r file; do printf 'damage' | dd of="$file" bs=1 seek="$1" conv=notrunc 2>/dev/null; done
}

start
for t in a b c; do
	head -c 750000 /dev/urandom | base64 -w 999 >"$TMP/in-$t"
	"$STREAMCTL" topic create $t -p 1 -q
	ok "records of $t" sh -c "\"$STREAMCTL\" produce $t -q --durability object <\"$TMP/in-$t\""
done
for t in a b c; do ok "$t is read" read_again $t; done
is "$fetched $(status gets)" '0 0' 'fresh segments are read out of the cache'
is "$(status cache_hit_percent)" 100 'the status says so'
like "$("$STREAMCTL" status)" 'cache hit percent +100' 'the command, too'

damage 300000
ok 'damage under a running shd' read_all a
is "$fetched" 1 'costs a fetch'
ok 'again' read_all a
is "$fetched" 0 'nothing more'
cached | while read -r file; do truncate -s 1000 "$file"; done
ok 'files cut short' read_all b
is "$fetched" 1 'cost a fetch'
cached | while read -r file; do rm "$file"; done
ok 'deleted files' read_all c
is "$fetched" 1 'cost a fetch'
rm -rf "$DATA/cache"
ok 'without its directory' read_all a
is "$fetched" 1 'the same'
ok 'nor does it hinder' read_all b
ok 'stop' stop_shd
start
read_again c
is "$?" 0 'a cache that begins anew'
damage 200000
ok 'stop' stop_shd
start
ok 'damage while nobody looked' read_again c
is "$fetched" 1 'costs a fetch'
like "$(cat "$SHD_LOG")" 'a cached file of object .* is damaged and will be fetched again' 'and is told'
cached | while read -r file; do truncate -s 5000 "$file"; done
ok 'stop' stop_shd
start
ok 'a file that was cut short while nobody looked' read_again c
is "$fetched" 1 'is fetched again'

faults 'write ENOSPC */cache/*' 'allocate ENOSPC */cache/*'
ok 'with a full disk under the cache' read_all a
is "$fetched" 1 'reading costs a fetch'
ok 'and again' read_all a
is "$fetched" 0 'but not for each piece of what is read: memory keeps some'
head -c 1000 "$TMP/in-a" >"$TMP/in-d"
"$STREAMCTL" topic create d -p 1 -q
ok 'segments are built' sh -c "\"$STREAMCTL\" produce d -q --durability object <\"$TMP/in-d\""
ok 'and read' read_all d
faults ''
ok 'when there is room' read_all a
ok 'the cache' read_all a
is "$fetched" 0 'works as before'
ok 'stop' stop_shd

# Room for two of the three.
rm -rf "$DATA/cache"
start -O cache.max_bytes=2500k
for t in a b a c; do read_all $t; done
ok 'it keeps its limit' test "$(du -sk "$DATA/cache" | cut -f1)" -le 3000
ok 'what was used before the last' read_all a
is "$fetched" 0 'is kept'
ok 'what was used least' read_all b
is "$fetched" 1 'went first'
ok 'no read is lost in the counts' test "$(curl -s "$URL/metrics" | sed -n 's/^[a-z]*_*cache_misses_total //p')" -ge 4
ok 'stop' stop_shd
done_testing
