# SPDX-License-Identifier: Apache-2.0
# Test Anything Protocol, and a daemon of one's own, for shell tests. A test starts with
#
#	. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
#
# and ends with done_testing. It runs under `make check` and by hand (`sh tests/t0100-x.t`, then against ./build/normal
# or $top_builddir). It gets a directory of its own in $TMP, which is removed at the end, and nothing it started outlives it.
#
#	ok TITLE COMMAND...              passes when the command does; its output becomes comments when it fails
#	fails STATUS TITLE COMMAND...    passes when the command exits with that status
#	is GOT WANT TITLE                two strings
#	like GOT REGEX TITLE             an extended regular expression found in the string
#	same FILE FILE TITLE             byte for byte
#	skip TITLE WHY, skip_all WHY, diag TEXT, done_testing
#	wait_for CONDITION SECONDS       a shell expression, tried until it holds or the deadline passes (then 1)
#
#	start_shd [ARG...]               shd on $DATA (default $TMP/data), a free port; returns when it serves. Sets SHD_PID, PORT,
#	                                 URL, STREAMCTL_SERVER. Its log goes to $SHD_LOG. Without success the test bails out
#	stop_shd                         SIGTERM; returns the exit status of shd (124: it hung and was killed)
#	kill_shd                         kill -9 of the whole family at once
#	shd_pid ROLE                     pid of a role (agent, store, meta, janitor)
#	api METHOD PATH [CURL-ARG...]    body to stdout, status to $TMP/status; api_status prints it
#	$STREAMCTL, $SHD                 the programs under test

set -u
LC_ALL=C.UTF-8
export LC_ALL

top_srcdir=$(cd "${top_srcdir:-$(dirname "$0")/..}" && pwd) || exit 1
if [ -z "${top_builddir:-}" ]; then
	if [ -x ./daemon/shd ]; then top_builddir=.; else top_builddir=$top_srcdir/build/normal; fi
fi
top_builddir=$(cd "$top_builddir" && pwd) || {
	echo "Bail out! nothing built: run sh tests/run.sh, or set top_builddir"
	exit 1
}
export top_srcdir top_builddir

SHD=${SHD:-$top_builddir/daemon/shd}
STREAMCTL=${STREAMCTL:-$top_builddir/cmd/streamctl}
PATH=$top_builddir/cmd:$top_builddir/daemon:$top_builddir/tests/helper:$PATH
export PATH SHD STREAMCTL

TMP=$(mktemp -d "${TMPDIR:-/tmp}/sh-test.XXXXXX") || exit 1
TMP=$(cd "$TMP" && pwd -P)
DATA=$TMP/data
SHD_LOG=$TMP/shd.log
SHD_PID=
export TMP DATA

# A setting or an address of the user must not change what is tested.
for name in $(env | sed -n 's/^\(SHD_[A-Z0-9_]*\)=.*/\1/p'); do
	case $name in SHD_LOG | SHD_PID) ;; *) unset "$name" ;; esac
done
unset STREAMCTL_SERVER STREAMCTL_CONTEXT name
XDG_DATA_HOME=$TMP/xdg-data XDG_CONFIG_HOME=$TMP/xdg-config
export XDG_DATA_HOME XDG_CONFIG_HOME

# Reports of the sanitizers, also of children nobody waits for, are collected and fail the test at its end.
ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}log_path=$TMP/sanitizer:abort_on_error=0:detect_leaks=1"
UBSAN_OPTIONS="${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}print_stacktrace=1"
export ASAN_OPTIONS UBSAN_OPTIONS

tap_count=0 tap_failed=0 tap_done= tap_ending=

tap_result() { # good(0/1) title
	tap_count=$((tap_count + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $tap_count - $2"
	else
		tap_failed=$((tap_failed + 1))
		echo "not ok $tap_count - $2"
		# A program that a sanitizer ended dies again at the next try: waiting for each of the rest helps nobody.
		if [ -z "$tap_ending" ] && ls "$TMP"/sanitizer.* >/dev/null 2>&1; then done_testing; fi
	fi
	return "$1"
}

diag() {
	printf '%s\n' "$*" | sed 's/^/# /'
}

diag_file() { # file [lines]: its end, as comments
	[ -s "$1" ] && tail -n "${2:-40}" "$1" | sed 's/^/#   /'
	return 0
}

ok() {
	tap_title=$1
	shift
	if "$@" >"$TMP/ok.out" 2>&1; then
		tap_result 0 "$tap_title"
	else
		tap_status=$?
		tap_result 1 "$tap_title"
		diag "exit status $tap_status of: $*"
		diag_file "$TMP/ok.out"
		return 1
	fi
}

fails() {
	tap_want=$1 tap_title=$2
	shift 2
	"$@" >"$TMP/ok.out" 2>&1
	tap_status=$?
	if [ "$tap_status" -eq "$tap_want" ]; then
		tap_result 0 "$tap_title"
	else
		tap_result 1 "$tap_title"
		diag "exit status $tap_status, want $tap_want, of: $*"
		diag_file "$TMP/ok.out"
		return 1
	fi
}

is() {
	if [ "$1" = "$2" ]; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "got:  $1"
		diag "want: $2"
		return 1
	fi
}

like() {
	if printf '%s\n' "$1" | grep -Eq -e "$2"; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "got:  $1"
		diag "want: /$2/"
		return 1
	fi
}

same() {
	if tap_out=$(cmp "$1" "$2" 2>&1); then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "$tap_out"
		return 1
	fi
}

skip() {
	tap_count=$((tap_count + 1))
	echo "ok $tap_count - $1 # SKIP $2"
}

skip_all() {
	echo "1..0 # SKIP $*"
	tap_done=1
	exit 0
}

bail() {
	diag "$*"
	diag_file "$SHD_LOG"
	tap_result 1 "$*"
	done_testing
}

done_testing() {
	tap_ending=1
	[ -z "$SHD_PID" ] || stop_shd || diag "shd exited with status $?"
	for tap_report in "$TMP"/sanitizer.*; do
		[ -e "$tap_report" ] || continue
		tap_result 1 "no report of a sanitizer"
		diag_file "$tap_report" 60
		break
	done
	echo "1..$tap_count"
	tap_done=1
	[ "$tap_failed" -eq 0 ]
	exit
}

tap_at_exit() {
	tap_status=$?
	trap - EXIT HUP INT TERM
	[ -z "$SHD_PID" ] || kill_shd
	if [ -z "$tap_done" ]; then
		diag_file "$SHD_LOG"
		echo "Bail out! the test ended (status $tap_status) before done_testing"
		tap_status=1
	fi
	if [ -n "${KEEP_TMP:-}" ]; then
		diag "kept: $TMP"
	else
		rm -rf "$TMP"
	fi
	exit "$tap_status"
}
trap tap_at_exit EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

wait_for() {
	tap_deadline=$(($(date +%s) + ${2:-30}))
	until eval "$1"; do
		[ "$(date +%s)" -lt "$tap_deadline" ] || return 1
		sleep 0.05
	done
}

alive() { # pid: exists and is not a zombie
	tap_stat=$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) && [ "$tap_stat" != Z ] && [ -n "$tap_stat" ]
}

children() { # pid
	grep -l "^PPid:[[:space:]]*$1\$" /proc/[0-9]*/status 2>/dev/null | sed 's|/proc/\([0-9]*\)/status|\1|'
}

shd_pid() { # role [which]: pid of that role program
	for tap_pid in $(children "$SHD_PID"); do
		case $(readlink "/proc/$tap_pid/exe" 2>/dev/null) in
		*/shd-"$1" | */shd-"$1 (deleted)") echo "$tap_pid" ;;
		esac
	done | sed -n "${2:-1}p"
}

# Starts without waiting; for tests of starting itself.
launch_shd() {
	mkdir -p "$DATA"
	rm -f "$DATA/run/ready" "$DATA/run/http.port"
	"$SHD" -D "$DATA" -O http.listen=127.0.0.1:0 -O kafka.listen=127.0.0.1:0 "$@" >>"$SHD_LOG" 2>&1 </dev/null &
	SHD_PID=$!
}

start_shd() {
	launch_shd "$@"
	await_shd
}

await_shd() { # after launch_shd
	wait_for '[ -e "$DATA/run/ready" ] || ! alive "$SHD_PID"' 60
	if [ ! -e "$DATA/run/ready" ] || ! alive "$SHD_PID"; then
		bail "shd did not start"
	fi
	PORT=$(cat "$DATA/run/http.port")
	PORT=${PORT##*:}
	URL=http://127.0.0.1:$PORT
	STREAMCTL_SERVER=$URL
	export PORT URL STREAMCTL_SERVER SHD_PID
}

stop_shd() {
	tap_pid=$SHD_PID
	kill -TERM "$tap_pid" 2>/dev/null
	if ! wait_for '! alive "$tap_pid"' 60; then
		diag "shd (pid $tap_pid) did not stop within 60 s of SIGTERM"
		kill_shd
		return 124
	fi
	SHD_PID=
	wait "$tap_pid"
}

kill_shd() {
	tap_pids="$SHD_PID $(children "$SHD_PID")"
	# shellcheck disable=SC2086 # a list
	kill -KILL $tap_pids 2>/dev/null
	# The shell's own "Killed" message goes nowhere.
	{ wait "$SHD_PID"; } 2>/dev/null
	for tap_pid in $tap_pids; do
		wait_for '! alive "$tap_pid"' 10 || diag "pid $tap_pid survived SIGKILL"
	done
	SHD_PID=
	return 0
}

api() {
	tap_method=$1 tap_path=$2
	shift 2
	curl -sS --max-time 60 -X "$tap_method" -o "$TMP/body" -w '%{http_code}' "$@" "$URL$tap_path" >"$TMP/status" || echo 000 >"$TMP/status"
	cat "$TMP/body" 2>/dev/null
}

api_status() {
	cat "$TMP/status"
}
