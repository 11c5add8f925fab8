# SPDX-License-Identifier: Apache-2.0
# The real shd-meta and shd-janitor under shd, with agent and store played by tests/helper/meta-load.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

mkdir "$TMP/libexec"
cp "$top_builddir/tests/helper/meta-load" "$TMP/libexec/shd-agent"
cp "$top_builddir/tests/helper/meta-load" "$TMP/libexec/shd-store"
ln -s "$top_builddir/daemon/meta/shd-meta" "$TMP/libexec/shd-meta"
ln -s "$top_builddir/daemon/janitor/shd-janitor" "$TMP/libexec/shd-janitor"
SHD_LIBEXEC=$TMP/libexec
export SHD_LIBEXEC

logged() { # regex [at least so many times]
	[ "$(grep -Ec -e "$1" "$SHD_LOG")" -ge "${2:-1}" ]
}

start_shd -O object.grace=1s -O janitor.interval=100ms
ok 'a session is opened' logged 'info meta\[.*slot 0 opened session 1$'
ok 'agents are told of a new topic' wait_for 'logged "agent.*told of the topic"' 20
for round in 1 2 3; do
	pid=$(shd_pid meta)
	kill -KILL "$pid"
	wait_for '! alive "$pid"' 10
	wait_for 'logged "all processes are running again" $round' 20 || diag "round $round did not heal"
done
ok 'commits go on while meta is killed again and again' wait_for 'logged "agent.*committed$"' 60
ok 'every run acknowledged is found, and no other' wait_for 'logged "agent.*verified$"' 60
ok 'the objects of a deleted topic are removed' wait_for 'logged "agent.*swept$"' 60
ok 'what could not be removed was tried again' logged 'janitor.*removal fails on purpose; trying again later' 3
is "$(grep -Ec ' (agent|store|meta)\[[0-9]+\]: .*(failed|error|corrupt)' "$SHD_LOG")" 0 'nobody else noticed'
stop_shd
is $? 0 'all end well'
ok 'meta leaves no WAL behind' test ! -e "$DATA/meta/meta.db-wal"
done_testing
