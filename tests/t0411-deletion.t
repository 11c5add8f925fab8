#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Deleting in a store that is a directory: what goes, what stays, and what stops it.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/deletion.sh"
STORE=file://$TMP/objects

start
test_expiry
test_unreadable
test_stuck
[ -z "${SH_TEST_LONG:-}" ] || test_killed
test_late
test_same_store
values keep >"$TMP/out"
same "$TMP/keep" "$TMP/out" 'the first one reads what it did'
ok 'stop' stop_shd

# ---- metadata that are damaged, or an older copy ----
names >"$TMP/all"
newest=$(names meta/ | grep "$ours" | tail -n 1)
cp -r "$DATA" "$TMP/saved"
size=$(stat -c %s "$DATA/meta/meta.db")
dd if=/dev/urandom of="$DATA/meta/meta.db" bs=4096 seek=1 count=$((size / 4096 - 1)) conv=notrunc 2>"$TMP/dd"
launch_shd -O "object.url=$STORE" -O object.grace=1s -O janitor.interval=200ms -O janitor.orphan_interval=300ms
wait_for '! alive "$SHD_PID" || grep -q "malformed\|corrupt\|damaged" "$SHD_LOG"' 30
sleep 1.5
kill_shd
names >"$TMP/out"
same "$TMP/all" "$TMP/out" 'damaged metadata delete nothing'
rm -rf "$DATA"
cp -r "$TMP/saved" "$DATA"
start
"$STREAMCTL" topic create later -p 1 -q
produce later 1 100
produce keep 201 210
ok 'a snapshot is stored' wait_for '[ "$(names meta/ | grep "$ours" | tail -n 1)" != "$newest" ]' 20
ok 'stop' stop_shd
names >"$TMP/all"
mv "$DATA" "$TMP/newer"
cp -r "$TMP/saved" "$DATA"
rm -f "$DATA"/slots/0/seen # the operator says that this is as it should be
: >"$SHD_LOG"
launch_shd -O "object.url=$STORE" -O object.grace=1s -O janitor.interval=200ms -O janitor.orphan_interval=300ms \
	-O meta.snapshot_interval=200ms
ok 'an older copy of the metadata notices that it is one' wait_for 'grep -q "went back in time" "$SHD_LOG"' 30
sleep 3
kill_shd
names | comm -23 "$TMP/all" - >"$TMP/missing"
is "$(cat "$TMP/missing")" '' 'and deletes nothing, of what it knows or does not'
rm -rf "$DATA"
mv "$TMP/newer" "$DATA"
start
is "$(values later | wc -l) $(values keep | wc -l)" '100 210' 'the right metadata find all that they had'
ok 'stop' stop_shd
done_testing
