# SPDX-License-Identifier: Apache-2.0
# OpenStack Swift as an S3 service of one's own, for tests of S3 (after tests/lib.sh): it answers 501 to If-None-Match.
#
#	swift_missing     what is not installed, a name a line
#	start_swift       returns when it serves; sets SWIFT_PID; exports SHD_S3_ENDPOINT and the keys. Without success the test bails out
#	stop_swift        ends it
SWIFT_DIR=$TMP/swift SWIFT_PID=
# Debian's, whatever other Python is there: its packages are for that one.
SWIFT_PYTHON=/usr/bin/python3

swift_missing() {
	"$SWIFT_PYTHON" -c 'import eventlet, swift.obj.mem_server, swift.common.middleware.s3api.s3api' 2>/dev/null || echo python3-swift
}

start_swift() {
	mkdir "$SWIFT_DIR"
	"$SWIFT_PYTHON" "$top_srcdir/tests/swift-server.py" "$SWIFT_DIR" "$SWIFT_DIR/port" >"$SWIFT_DIR/out" 2>&1 </dev/null &
	SWIFT_PID=$!
	wait_for '[ -s "$SWIFT_DIR/port" ] || ! alive "$SWIFT_PID"' 120
	if ! [ -s "$SWIFT_DIR/port" ]; then
		diag_file "$SWIFT_DIR/out"
		stop_swift
		bail 'Swift did not start'
	fi
	AWS_ACCESS_KEY_ID=test:tester AWS_SECRET_ACCESS_KEY=test-secret SHD_S3_ENDPOINT=http://127.0.0.1:$(cat "$SWIFT_DIR/port")
	export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY SHD_S3_ENDPOINT
	unset AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION http_proxy https_proxy
}

stop_swift() {
	[ -z "$SWIFT_PID" ] || {
		kill -KILL "$SWIFT_PID" 2>/dev/null
		{ wait "$SWIFT_PID"; } 2>/dev/null
	}
	SWIFT_PID=
}

# Whatever ends the test, nothing of this stays.
trap 'swift_status=$?; stop_swift; (exit $swift_status); tap_at_exit' EXIT
