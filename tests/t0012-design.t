# SPDX-License-Identifier: Apache-2.0
# "The way of one record" in DESIGN.md names files and functions: all of them are there.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

cd "$top_srcdir" || exit 1

sed -n '/^## The way of one record/,/^## Processes/p' DESIGN.md | grep -o '`[^`]*`' | tr -d '`' | sort -u >"$TMP/names"
: >"$TMP/wrong"
count=0
while read -r name; do
	case $name in
	*.[ch])
		[ -n "$(find ./libsh ./daemon ./cmd -path "*/$name")" ] || echo "no file $name" >>"$TMP/wrong"
		count=$((count + 1))
		;;
	*[!a-z0-9_]*'()' | '()') ;;
	*'()')
		grep -rqE "^[a-z].*[ *]${name%'()'}\\(" libsh daemon cmd || echo "no function $name" >>"$TMP/wrong"
		count=$((count + 1))
		;;
	esac
done <"$TMP/names"
ok 'the way of a record names files and functions' test "$count" -gt 60
is "$(cat "$TMP/wrong")" '' 'and all of them are there'

grep -oE '`(t[0-9]{4}-[a-z0-9-]+\.t|test-[a-z0-9-]+\.c)`' DESIGN.md | tr -d '`' | sort -u >"$TMP/tests"
ok 'DESIGN.md names tests' test -s "$TMP/tests"
is "$(while read -r name; do [ -e "tests/$name" ] || [ -e "tests/unit/$name" ] || echo "$name"; done <"$TMP/tests")" '' 'each of them is there'
done_testing
