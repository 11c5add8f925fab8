# SPDX-License-Identifier: Apache-2.0
# Run by `make installcheck`: what was installed finds its parts without the build tree.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

PATH=$(dirname "$STREAMCTL"):$(dirname "$SHD"):/usr/local/bin:/usr/bin:/bin
unset top_builddir
cd / || exit 1
start_shd
ok 'streamctl makes a topic' "$STREAMCTL" topic create t
printf 'a\nb\n' >"$TMP/in"
ok 'produces' sh -c '"$1" produce t <"$2"' - "$STREAMCTL" "$TMP/in"
"$STREAMCTL" consume t --exit >"$TMP/out"
same "$TMP/in" "$TMP/out" 'and consumes'
stop_shd
is "$?" 0 'shd stops in order'
for page in "$MANDIR"/man*/*; do
	[ -e "$page" ] && pages="${pages:-} ${page##*/}"
done
like "${pages:-}" 'shd\.8.*|streamctl\.1.*' 'the manual is installed'
done_testing
