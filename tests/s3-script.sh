# SPDX-License-Identifier: Apache-2.0
# An S3 service that answers by a script, for tests (after tests/lib.sh): tests/helper/s3-script, and object-tool set to speak to it.
#
#	rules LINE...     a new script; the log of requests starts afresh
#	requests REGEX    how many lines of the log begin so
#	tool ARG...       object-tool on $store
#	code COMMAND...   the name of the error that it prints
#	$server, $LOG, $script_pid
RULES=$TMP/rules LOG=$TMP/requests
rules() { # line...: a new script; the log starts afresh
	printf '%s\n' "$@" >"$RULES.new"
	mv "$RULES.new" "$RULES"
	: >"$LOG"
}
rules '# none'
s3-script "$RULES" "$TMP/port" "$LOG" &
script_pid=$!
trap 'script_status=$?; kill $script_pid 2>/dev/null; (exit $script_status); tap_at_exit' EXIT
wait_for '[ -s "$TMP/port" ]' 10 || bail 'the scripted server did not start'
server=http://127.0.0.1:$(cat "$TMP/port")

unset AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION http_proxy https_proxy
export AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret AWS_EC2_METADATA_DISABLED=true HOME=/nonexistent
export SHD_S3_ENDPOINT="$server" SHD_S3_TIMEOUT=2s SHD_S3_CONDITIONAL=on SHD_S3_MULTIPART_BYTES=5M
store=s3://bucket/p
tool() { object-tool "$store" "$@"; }
code() { "$@" 2>&1 | sed 's/:.*//'; }
requests() { grep -c "^$1" "$LOG"; }
