#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Deleting in a bucket of a real S3 service.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/rgw.sh"
. "$top_srcdir/tests/deletion.sh"

missing=$(rgw_missing)
[ -z "$missing" ] || skip_all "not installed:" $missing
start_rgw
STORE=s3://bucket/some/log
object-tool "$STORE" request PUT - >/dev/null
echo x >"$TMP/neighbour"
for i in s3://bucket/some s3://bucket/some/log2; do object-tool $i put-once segments/00/neighbour "$TMP/neighbour"; done

start -O s3.timeout=5s
test_expiry
test_killed
[ -z "${SH_TEST_LONG:-}" ] || test_unreadable
ok 'stop' stop_shd
object-tool s3://bucket list | cut -d ' ' -f 1 | grep neighbour | sort >"$TMP/out"
is "$(tr '\n' ' ' <"$TMP/out")" 'some/log2/segments/00/neighbour some/segments/00/neighbour ' 'what lies under other prefixes is still there'
done_testing
