#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# StreamHouse from nothing to records and back, on a fresh Debian 12:
#
#	sh examples/quickstart.sh           in a temporary directory, on a free port; cleans up after itself
#	sh examples/quickstart.sh --keep    leaves shd running and says how to use and stop it
#
# Its last line is `N records, B bytes: identical`, and only then it exits 0.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
keep=
case ${1:-} in
'') ;;
--keep) keep=1 ;;
*)
	echo "usage: sh examples/quickstart.sh [--keep]" >&2
	exit 2
	;;
esac

say() { # what comes next; commands are shown as one would type them
	printf '\n== %s\n' "$*"
}
run() {
	printf '$ %s\n' "$*"
	"$@"
}

if ! [ -w "$top" ] || { [ -e "$top/build" ] && ! [ -w "$top/build" ]; }; then
	echo "quickstart: $(id -un) may not write to $top, where it builds: copy the directory, or clone it, to a place of your own" >&2
	exit 1
fi

# ---- build -------------------------------------------------------------------------------------------------------
say "Build"
sh "$top/tests/deps.sh" build
build=$top/build/normal
if [ -f "$top/config.status" ]; then
	build=$top # somebody configured in place: go on there
fi
mkdir -p "$build" "$top/build"
if ! (
	[ -x "$top/configure" ] || (cd "$top" && autoreconf -i) || exit 1
	cd "$build"
	[ -f config.status ] || "$top/configure" || exit 1
	make -j"$(nproc)"
) >"$top/build/quickstart.log" 2>&1; then
	tail -n 30 "$top/build/quickstart.log" >&2
	echo "quickstart: building failed; all of it is in $top/build/quickstart.log" >&2
	exit 1
fi
echo "in $build"
PATH=$build/cmd:$build/daemon:$PATH
export PATH

# ---- a daemon on its embedded defaults, except for where the data lies and the port -----------------------------------
dir=$(mktemp -d "${TMPDIR:-/tmp}/streamhouse-quickstart.XXXXXX")
pid=
clean_up() {
	status=$?
	trap - EXIT HUP INT TERM
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || :
	[ -z "$pid" ] || wait "$pid" || :
	rm -rf "$dir"
	exit "$status"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say "Start shd"
echo "\$ shd -D $dir/data -O http.listen=127.0.0.1:0 &"
shd -D "$dir/data" -O http.listen=127.0.0.1:0 -O kafka.listen=127.0.0.1:0 >"$dir/shd.log" 2>&1 </dev/null &
pid=$!
tries=0
until [ -e "$dir/data/run/ready" ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 600 ] || ! kill -0 "$pid" 2>/dev/null; then
		cat "$dir/shd.log" >&2
		echo "quickstart: shd did not start" >&2
		exit 1
	fi
	sleep 0.05
done
port=$(cat "$dir/data/run/http.port")
STREAMCTL_SERVER=http://127.0.0.1:$port
export STREAMCTL_SERVER
echo "pid $pid, $STREAMCTL_SERVER"

# ---- real input: each line of the package manager's log is a record, the package its key ----------------------------
say "Input"
if [ -s /var/log/dpkg.log ] && [ -r /var/log/dpkg.log ]; then
	source=/var/log/dpkg.log
	program='{ key = $3 == "status" ? $5 : $4; sub(/:.*/, "", key); print key "\t" $0 }'
elif [ -s /var/lib/dpkg/status ] && [ -r /var/lib/dpkg/status ]; then
	source=/var/lib/dpkg/status
	program='/^Package: / { key = $2 } { print key "\t" $0 }'
else
	echo "quickstart: neither /var/log/dpkg.log nor /var/lib/dpkg/status is here and readable: this needs Debian" >&2
	exit 1
fi
cp "$source" "$dir/original"
# Partitions keep the order of each key, not of all records; the number of the line, in a header, restores the file.
LC_ALL=C awk "$program" "$dir/original" |
	LC_ALL=C awk '{ printf "[[\"line\",\"%09d\"]]\t%s\n", NR, $0 }' >"$dir/input"
records=$(wc -l <"$dir/original" | tr -d ' ')
bytes=$(wc -c <"$dir/original" | tr -d ' ')
echo "$source: $records lines, $bytes bytes; keys are packages"

say "Create a topic, produce, consume"
format='%h\t%k\t%v\n'
run streamctl topic create packages --partitions 4
printf '%s\n' "\$ streamctl produce packages -f '$format' --durability object <input"
streamctl produce packages -f "$format" --durability object <"$dir/input"
printf '%s\n' "\$ streamctl consume packages -f '$format' --exit | sort | cut -f3- >output"
streamctl consume packages -f "$format" --exit | LC_ALL=C sort | cut -f3- >"$dir/output"

say "Status"
run streamctl status

say "Where the data lies: segments, each an object"
find "$dir/data/objects" -name '*.seg' -exec ls -l {} +

if [ -n "$keep" ]; then
	say "shd goes on"
	echo "use it:   export PATH=$build/cmd:\$PATH STREAMCTL_SERVER=$STREAMCTL_SERVER"
	echo "stop it:  kill $pid; rm -r $dir"
else
	say "Stop shd"
	echo "\$ kill $pid"
	kill "$pid"
	stopped=0
	wait "$pid" || stopped=$?
	pid=
	if [ "$stopped" -ne 0 ]; then
		cat "$dir/shd.log" >&2
		echo "quickstart: shd exited with status $stopped" >&2
		exit 1
	fi
	echo "exit status 0"
fi

echo
if ! cmp "$dir/original" "$dir/output"; then
	echo "quickstart: what came back differs" >&2
	exit 1
fi
if [ -n "$keep" ]; then
	trap - EXIT HUP INT TERM
fi
echo "$records records, $bytes bytes: identical"
