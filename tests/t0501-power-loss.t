# SPDX-License-Identifier: Apache-2.0
# A power cut under load, again and again: the family is killed and every write to the log that no sync covered is taken back, or,
# every other time, some of them by chance, as a disk may have written any. What was acknowledged is there all the same: so no ack at
# level `wal` comes before the sync, and what a reader saw was on disk.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/lib-crash.sh"

shim=$top_builddir/tests/helper/undofs.so
[ -e "$shim" ] || skip_all 'tests/helper/undofs.so is not built (make check builds it)'
crash_seed 8 200 3

UNDOFS_DIR=$TMP/undo UNDOFS_PATTERN='*/slots/*/wal/*' UNDOFS_SYNC_DELAY_MS=15
export UNDOFS_DIR UNDOFS_PATTERN UNDOFS_SYNC_DELAY_MS
mkdir "$UNDOFS_DIR"
undone=0

start() {
	LD_PRELOAD=$shim
	export LD_PRELOAD
	start_shd -O segment.max_age=1s -O segment.max_bytes=1M -O object.flush_interval=50ms
	unset LD_PRELOAD
}
cut_power() {
	kill_shd
	random 1000000
	taken_back=$(undo-writes "$UNDOFS_DIR" "$drawn") || bail 'undo-writes failed'
	undone=$((undone + taken_back))
}

start
create_topic crash
load_start crash --writers 6 --partitions 4 --level mixed --pause-us 100
round=0 stuck=
while [ "$round" -lt "$rounds" ]; do
	round=$((round + 1))
	before=$(progress acked)
	if ! wait_for "acked_more_than ${before:-0}" 30; then
		stuck="nothing was acknowledged within 30 s of start $round"
		break
	fi
	random 500
	pause_ms "$drawn"
	cut_power
	start
done
is "$stuck" '' "it serves again after each of $rounds power cuts"
load_stop
is "$load_status" 0 'no answer contradicted another while it went on'
[ "$rounds" -lt 8 ] || ok "writes were taken back ($undone)" test "$undone" -gt 0
ok 'everything acknowledged is there once, in order, unchanged' load_check crash
diag_file "$TMP/ok.out"
is "$(find "$DATA/slots" -path '*/quarantine/*' -type f | wc -l)" 0 'nothing was taken for damage'
stop_shd
is "$?" 0 'it stops in order'
done_testing
