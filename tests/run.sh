#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what the tests need, builds in ./build/, runs everything. The last line says `N passed, M failed`.
#
#	sh tests/run.sh           the whole suite, smaller instances of what takes long
#	sh tests/run.sh --long    also the long ones: hundreds of crashes, minutes of fuzzing per parser
#
# Stages: normal (gcc, warnings are errors), sanitize (clang, address and undefined behaviour), fuzz (libFuzzer, bounded),
# quickstart, distcheck (the tarball builds, is checked, installs and uninstalls without a trace).
# Each writes build/logs/STAGE.log; results of single tests are in build/STAGE/tests/*.log.
set -u

top=$(cd "$(dirname "$0")/.." && pwd) || exit 1
long=
for argument; do
	case $argument in
	--long) long=1 ;;
	*)
		echo "usage: sh tests/run.sh [--long]" >&2
		exit 2
		;;
	esac
done
unset MAKEFLAGS MAKELEVEL MFLAGS CFLAGS LDFLAGS CPPFLAGS DESTDIR
export SH_TEST_LONG="$long"
fuzz_seconds=8 fuzz_seed=1 # the short run tries the same inputs every time, the long one (seed 0: by the clock) looks for new ones
[ -z "$long" ] || fuzz_seconds=300 fuzz_seed=0
jobs=$(nproc 2>/dev/null || echo 2)

passed=0 failed=0 skipped=0
build=$top/build logs=$top/build/logs
mkdir -p "$logs" || exit 1
exec </dev/null

count() { # results of a build's tests
	[ -d "$build/$1/tests" ] || return 0
	# shellcheck disable=SC2046 # three numbers
	set -- "$1" $(find "$build/$1/tests" -name '*.trs' -exec cat {} + | awk '
		/^:test-result: (PASS|XFAIL)/ { p++ } /^:test-result: (FAIL|XPASS|ERROR)/ { f++ } /^:test-result: SKIP/ { s++ }
		END { print p + 0, f + 0, s + 0 }')
	passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
	echo "   $1: $2 passed, $3 failed, $4 skipped"
	new_failures=$3
}

show_failures() { # what the failed tests of a build said
	find "$build/$1/tests" -name '*.trs' -exec grep -lE '^:test-result: (FAIL|XPASS|ERROR)' {} + 2>/dev/null |
		while read -r trs; do
			echo "--- ${trs%.trs}.log"
			awk '/^(not ok|Bail out|ERROR)/ { show = 1; print; next } /^(ok|PASS)/ { show = 0 } /^#/ && show' \
				"${trs%.trs}.log" | head -n 80
		done
}

stage() { # name command...: one stage; its output goes to a log
	stage_name=$1
	shift
	started=$(date +%s)
	echo "== $stage_name"
	if "$@" >"$logs/$stage_name.log" 2>&1; then
		echo "   done in $(($(date +%s) - started)) s"
	else
		echo "   FAILED after $(($(date +%s) - started)) s; the end of $logs/$stage_name.log:"
		tail -n "${tail_lines:-40}" "$logs/$stage_name.log" | sed 's/^/   | /'
		return 1
	fi
}

broken() { # a stage that produced no results counts as one failed test
	failed=$((failed + 1))
}

configure_in() { # directory argument...
	mkdir -p "$build/$1" && cd "$build/$1" || return 1
	shift
	# config.status reconfigures by itself when the sources changed; other arguments need another run.
	if [ ! -f config.status ] || [ "$(cat configured-with 2>/dev/null)" != "$source $*" ]; then
		rm -f configured-with
		"$source/configure" "$@" && echo "$source $*" >configured-with
	fi
}

build_in() {
	configure_in "$@" && make -C "$build/$1" -j"$jobs" && make -C "$build/$1" -j"$jobs" check TESTS=
}

check_in() {
	find "$build/$1/tests" -name '*.trs' -exec rm -f {} +
	make -C "$build/$1" -j"$jobs" -k check
}

suite() { # name argument...: build and check; failed tests are counted one by one
	tail_lines=60 stage "$1-build" build_in "$@" || {
		broken
		return
	}
	tail_lines=15 stage "$1-check" check_in "$1"
	suite_status=$?
	new_failures=0
	count "$1"
	if [ "$new_failures" -gt 0 ]; then
		show_failures "$1"
	elif [ "$suite_status" -ne 0 ]; then
		broken
	fi
}

prepare_source() {
	cd "$source" && autoreconf -i
}

copy_source() { # a tree that was configured in place cannot be built elsewhere: its copy can
	rm -rf "$build/source" && mkdir -p "$build/source" &&
		(cd "$top" && tar -cf - --exclude=./build --exclude=./.git .) | tar -xf - -C "$build/source" &&
		make -C "$build/source" distclean
}

fuzz_one() { # program
	name=${1##*/fuzz-}
	corpus=$build/fuzz/found/$name seeds=$source/tests/fuzz/corpus/$name
	mkdir -p "$corpus" "$build/fuzz/crashes" && cd "$build/fuzz" || return 1
	[ -d "$seeds" ] || seeds=
	"$1" -max_total_time="$fuzz_seconds" -seed="$fuzz_seed" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$build/fuzz/crashes/$name-" "$corpus" ${seeds:+"$seeds"}
}

fuzz() {
	tail_lines=60 stage fuzz-build build_in fuzz CC=clang --enable-fuzzers || {
		broken
		return
	}
	for fuzzer in "$build"/fuzz/tests/fuzz/fuzz-*; do
		[ -x "$fuzzer" ] && [ -f "$fuzzer" ] || continue
		case $fuzzer in *.*) continue ;; esac
		if stage "${fuzzer##*/}" fuzz_one "$fuzzer"; then
			passed=$((passed + 1))
		else
			broken
		fi
	done
}

quickstart() {
	sh "$source/examples/quickstart.sh" && tail -n 1 "$logs/quickstart.log" | grep -Eq '^[0-9]+ records, [0-9]+ bytes: identical$'
}

distcheck() { # the suite ran twice already: here the quick instances will do
	SH_TEST_QUICK=1 make -C "$build/normal" -j"$jobs" distcheck
}

one() { # a stage that is one test
	if stage "$@"; then
		passed=$((passed + 1))
	else
		broken
	fi
}

finish() {
	echo
	summary="$passed passed, $failed failed"
	[ "$skipped" -eq 0 ] || summary="$summary, $skipped skipped"
	echo "$summary"
	[ "$failed" -eq 0 ]
	exit
}

# A function, so that the shell has read all of it before a stage may change the file (a pull, an editor).
main() {
	echo "== dependencies"
	sh "$top/tests/deps.sh" || {
		broken
		finish
	}
	source=$top
	if [ -f "$top/config.status" ]; then
		source=$build/source
		stage source copy_source || {
			broken
			finish
		}
	fi
	stage autoreconf prepare_source || {
		broken
		finish
	}

	suite normal --enable-werror
	suite sanitize CC=clang --enable-werror --enable-sanitizers
	fuzz
	one quickstart quickstart
	one distcheck distcheck
	finish
}
main
