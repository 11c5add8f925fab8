#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Benchmarks run, and print a line for each figure. What they measure here means nothing and is not looked at.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

cd "$TMP" || bail "no directory"
mkdir disk || bail "no directory"

run() { # GROUP FIGURE...
	group=$1
	shift
	sh "$top_srcdir/tests/bench/run" -q -q -b "$top_builddir" -d "$TMP/disk" "$group" >out 2>err </dev/null
	is "$?" 0 "$group runs, from a directory that is not the tree" || diag "$(cat out err)"
	is "$(cut -d ' ' -f 1 out | tr '\n' ' ')" "$* " "$group prints its figures"
	is "$(grep -Evc '^[a-z0-9-]+ [0-9.e+]+ [^ ]+ [0-9.]+ [<>]=[0-9.e+]+([*][0-9.e+]+)?$' out)" 0 \
		"each with unit, ratio and goal" || diag "$(cat out)"
	is "$(ls disk)" "" "$group leaves nothing behind"
}

run segment segment-build-no-keys segment-read-no-keys segment-build-keys segment-read-keys
run wal wal-ack-p50-1 wal-ack-p99-1 wal-appends-1 wal-ack-p50-64 wal-ack-p99-64 wal-appends-64 \
	wal-bandwidth wal-bandwidth-buffered
run pipe pipe-produce pipe-consume
run start start-existing start-after-kill start-new agent-restart
if [ -n "${SH_TEST_LONG:-}" ]; then
	run partitions partitions-1000-cpu
	run recovery recovery recovery-bandwidth
	run memory memory-idle memory-load
fi
fails 2 "a group that there is not is refused" sh "$top_srcdir/tests/bench/run" -b "$top_builddir" nonsense

done_testing
