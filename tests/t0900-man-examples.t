# SPDX-License-Identifier: Apache-2.0
# The examples of every man page work: lines that begin with "$ " are run in order against a fresh shd.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

# The commands in the literal blocks of EXAMPLES, with the escapes of mdoc undone.
examples() {
	awk '/^\.Sh / { inside = ($2 == "EXAMPLES") }
		/^\.Bd -literal/ { literal = 1 }
		/^\.Ed/ { literal = 0 }
		inside && literal && /^\$ / { print substr($0, 3) }' "$1" |
		sed -e 's/\\-/-/g' -e 's/\\&//g' -e 's/\\e/\\/g'
}

for file in "$top_builddir"/man/*.[1-8] "$top_srcdir"/man/*.[1-8]; do
	[ -e "$file" ] || continue
	page=$(basename "$file")
	examples "$file" >"$TMP/examples"
	[ -s "$TMP/examples" ] || continue
	[ ! -e "$TMP/done.$page" ] || continue # built inside the source tree: seen already
	: >"$TMP/done.$page"
	DATA=$TMP/data.$page
	start_shd
	mkdir "$TMP/work.$page"
	while IFS= read -r line <&3; do
		# Pages speak of a data directory as a user would; here it is this one.
		# (echo of some shells expands backslashes in titles)
		ok "$page: $(printf '%s' "$line" | sed 's/\\/\\\\/g')" timeout 60 sh -c "cd '$TMP/work.$page' && $line"
	done 3<"$TMP/examples"
	stop_shd
done
done_testing
