# SPDX-License-Identifier: Apache-2.0
# For tests that end a process at a crash point (libsh/base/crash.h), sourced after lib.sh.
#
#	arm NAME[.stop]                 the next process that comes there dies, or stops
#	reached NAME[.stop] [SECONDS]   waits until one has
#	source_points, listed_points    the names in the sources, and in the table of DESIGN.md, one a line, sorted
#	role_of NAME                    what the table says
#	passed NAME                     notes that a test has died there
#	passed_points                   all of them, sorted
STREAMHOUSE_CRASH_POINTS=$TMP/points
export STREAMHOUSE_CRASH_POINTS
mkdir "$STREAMHOUSE_CRASH_POINTS"
: >"$TMP/passed"

arm() {
	: >"$STREAMHOUSE_CRASH_POINTS/$1"
}
reached() {
	point_file=$STREAMHOUSE_CRASH_POINTS/$1
	wait_for '[ ! -e "$point_file" ]' "${2:-30}" && return
	rm -f "$point_file"
	return 1
}
source_points() {
	find "$top_srcdir/libsh" "$top_srcdir/daemon" "$top_srcdir/cmd" -name '*.c' -exec grep -ho 'crash_point("[^"]*")' {} + |
		cut -d '"' -f 2 | sort
}
listed_points() {
	sed -n 's/^| `\([a-z0-9]*\.[a-z-]*\)` |.*/\1/p' "$top_srcdir/DESIGN.md" | sort
}
role_of() {
	sed -n "s/^| \`$1\` | \\([a-z]*\\) |.*/\\1/p" "$top_srcdir/DESIGN.md"
}
passed() {
	echo "$1" >>"$TMP/passed"
}
passed_points() {
	sort -u "$TMP/passed"
}
