#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The S3 driver against a service that fails in ways a real one cannot be asked to: lost answers, wrong ranges, throttling, odd XML; and the
# metadata service of an instance.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

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
requests() { grep -c "^$1" "$LOG"; } # REGEX: how many such lines are in the log
printf 'abcdefghij' >"$TMP/ten"
head -c 12000000 /dev/zero >"$TMP/parts"

# ---- answers that pass ----
rules 'PUT */x 503 times=2 header=Retry-After:1 body=<Error><Code>SlowDown</Code></Error>' 'PUT */x 200 header=ETag:"e"'
SHD_S3_TIMEOUT=10s
started=$(date +%s)
ok 'SlowDown is waited out' tool put-once x "$TMP/ten"
ok 'for as long as Retry-After says' test $(($(date +%s) - started)) -ge 2
is "$(requests 'PUT ')" 3 'with three requests'
rules 'PUT */x 503 header=Retry-After:600 body=<Error><Code>SlowDown</Code></Error>'
is "$(code tool put-once x "$TMP/ten")" unavailable 'one that is too long is not waited for'
is "$(requests 'PUT ')" 1 'nor is it asked again'
SHD_S3_TIMEOUT=2s
rules 'GET */x 500 times=2' 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/ten"
is "$(tool get x 0 10)" abcdefghij 'a read is tried again after 500'
rules 'GET */x 206 times=1 short=3 header=Content-Range:bytes+0-9/10 file='"$TMP/ten" 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/ten"
is "$(tool get x 0 10)" abcdefghij 'and when the connection ends in the middle of the body'
rules 'GET */x 206 close times=1' 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/ten"
is "$(tool get x 0 10)" abcdefghij 'or before it'
rules 'GET */x 206 hang'
started=$(date +%s)
is "$(code tool get x 0 10)" unavailable 'a service that hangs is unavailable'
ok 'soon' test $(($(date +%s) - started)) -le 8
rules 'DELETE */x 503 times=1' 'DELETE */x 204'
ok 'a removal is tried again' tool remove x

# ---- outcomes that are not known ----
rules 'PUT */x 500'
is "$(code tool put-once x "$TMP/ten")" outcome_unknown 'a write that ends in 500 may have happened'
is "$(requests 'PUT ')" 1 'the driver does not guess'
rules 'PUT */x 200 close'
is "$(code tool put-once x "$TMP/ten")" outcome_unknown 'so may one without an answer'
rules 'PUT */x 200 hang'
is "$(code tool put-once x "$TMP/ten")" outcome_unknown 'or one whose answer does not come'
rules 'PUT */x 200 close' 'HEAD */x 200 header=Content-Length:10' 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/ten"
ok 'the put that checks reads it back' tool put x "$TMP/ten"
is "$(requests 'PUT ')" 1 'and finds it'
printf 'abcdefghiX' >"$TMP/other"
rules 'PUT */x 200 close' 'HEAD */x 200 header=Content-Length:10' 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/other"
is "$(code tool put x "$TMP/ten")" already_exists 'or something else'
rules 'PUT */x 200 close times=1' 'PUT */x 200'
ok 'what was not written is written again' tool put x "$TMP/ten"
is "$(requests 'PUT ')" 2 'once'
rules 'PUT */x 200 close' 'HEAD */x 500'
is "$(code tool put x "$TMP/ten")" outcome_unknown 'what cannot be looked at stays unknown'
rules 'PUT */x 409 times=1 body=<Error><Code>ConditionalRequestConflict</Code></Error>' \
	'PUT */x 412 body=<Error><Code>PreconditionFailed</Code></Error>'
is "$(code tool put-once x "$TMP/ten")" already_exists 'a race for a name is run again, and lost'

# ---- wrong answers ----
rules 'GET */x 206 header=Content-Range:bytes+5-14/100 file='"$TMP/ten"
is "$(code tool get x 0 10)" io_error 'another range than was asked for'
rules 'GET */x 206 file='"$TMP/ten"
is "$(code tool get x 0 10)" io_error 'a range that is not named'
rules 'GET */x 200 file='"$TMP/parts"
is "$(code tool get x 5 10)" io_error 'the whole object instead of a range'
rules 'GET */x 200 file='"$TMP/ten"
is "$(tool get x 0 10)" abcdefghij 'which is taken where it is the range'
is "$(code tool get x 1 10)" io_error 'and not where it is not'
rules 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/parts"
is "$(code tool get x 0 10)" io_error 'more bytes than were asked for'
rules 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/ten"
is "$(code tool get x 0 20)" corrupt 'an object that ends before'
rules 'GET * 404' 'HEAD * 404'
is "$(code tool get x 0 10)" unavailable 'a 404 that is not of S3 does not mean that the object is not there'
is "$(code tool size x)" unavailable 'for its size neither'
rules 'HEAD * 404' 'GET * 404 body=<Error><Code>NoSuchBucket</Code></Error>'
is "$(code tool size x)" unavailable 'nor does a bucket that is not there'
rules 'GET * 404 body=<html>not+xml'
is "$(code tool get x 0 10)" unavailable 'a page of a proxy'
rules 'GET * 301 header=x-amz-bucket-region:eu-west-7'
like "$(tool get x 0 10)" 'unavailable: .*; set s3.region=eu-west-7' 'the wrong region: the right one is named'
rules 'GET * 403 body=<Error><Code>QuotaExceeded</Code></Error>'
is "$(code tool get x 0 10)" no_space 'a quota'

# ---- listings ----
item() { echo "<Contents><Key>$1</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><Size>$2</Size></Contents>"; }
rules "GET /bucket?* 200 body=<ListBucketResult>$(item p/a 1)$(item p%2Fb%2Fc 2)$(item p/%00x 3)$(item q/a 4)$(item p/../e 5)</ListBucketResult>"
is "$(tool list | tr '\n' ' ')" 'a 1 b/c 2 ' 'a listing: names of ours, however they are escaped'
rules 'GET /bucket?*token=t%2F1%3D* 200 body=<ListBucketResult>'"$(item p/b 2)"'</ListBucketResult>' \
	'GET /bucket?* 200 body=<ListBucketResult><IsTruncated>true</IsTruncated>'"$(item p/a 1)"'<NextContinuationToken>t/1=</NextContinuationToken></ListBucketResult>'
is "$(tool list | tr '\n' ' ')" 'a 1 b 2 ' 'page by page'
rules 'GET /bucket?* 200 body=<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>'
like "$(tool list)" 'corrupt: the listing of bucket does not end' 'one that does not end'
rules 'GET /bucket?* 200 body=<ListBucketResult><Contents><Key>p/a</Key></Contents></ListBucketResult>'
is "$(code tool list)" corrupt 'an object without a size'
rules 'GET /bucket?* 200 body=<ListBucketResult><Contents>'
is "$(code tool list)" corrupt 'half a listing'
rules 'GET /bucket?* 200 body=<!DOCTYPE+x+[<!ENTITY+a+"b">]><ListBucketResult>&a;</ListBucketResult>'
like "$(tool list)" 'corrupt: .*document type' 'a document type'

# ---- parts ----
begun='POST /bucket/p/x?uploads= 200 body=<InitiateMultipartUploadResult><UploadId>id/+1</UploadId></InitiateMultipartUploadResult>'
part='PUT /bucket/p/x?partNumber=* 200 header=ETag:"e"'
rules "$begun" "$part" 'POST * 200 body=<CompleteMultipartUploadResult/>'
ok 'an object in parts' tool put-once x "$TMP/parts"
is "$(requests 'PUT ')" 3 'of the size that is set'
is "$(requests 'DELETE ')" 0 'nothing is to be given up'
rules "$begun" 'PUT /bucket/p/x?partNumber=2* 500 times=1' "$part" 'POST * 200 body=<CompleteMultipartUploadResult/>'
ok 'a part that fails is sent again' tool put-once x "$TMP/parts"
is "$(requests 'PUT ')" 4 'alone'
rules "$begun" 'PUT /bucket/p/x?partNumber=2* 403 body=<Error><Code>AccessDenied</Code></Error>' "$part" 'DELETE * 204'
is "$(code tool put-once x "$TMP/parts")" unavailable 'when a part is refused'
is "$(requests 'DELETE /bucket/p/x.uploadId=id%2F%201')" 1 'the upload is given up'
rules "$begun" "$part" 'POST * 200 body=<Error><Code>InternalError</Code></Error>'
is "$(code tool put-once x "$TMP/parts")" outcome_unknown 'an error behind a status of 200'
is "$(requests 'DELETE ')" 0 'what may be complete is not given up'
rules "$begun" "$part" 'POST * 200 close' 'HEAD */x 404 times=1' 'HEAD */x 200 header=Content-Length:12000000'
like "$(tool put x "$TMP/parts")" 'outcome_unknown' 'a lost answer to the last request is read back'
rules "$begun" "$part" 'POST * 501 times=1' 'POST * 200 body=<CompleteMultipartUploadResult/>'
ok 'a service that knows the condition for one kind of write only' tool put-once x "$TMP/parts"
upload() { echo "<Upload><Key>$1</Key><UploadId>$2</UploadId><Initiated>$3</Initiated></Upload>"; }
now=$(date -u +%Y-%m-%dT%H:%M:%S.000Z)
rules "GET /bucket?*uploads=* 200 body=<ListMultipartUploadsResult>$(upload p/old 1 2020-01-01T00:00:00.000Z)$(upload p/new 2 "$now")$(upload q/old 3 2020-01-01T00:00:00.000Z)</ListMultipartUploadsResult>" \
	'DELETE * 204'
ok 'leftovers are looked for' tool prepare
is "$(grep '^DELETE' "$LOG")" 'DELETE /bucket/p/old?uploadId=1' 'what is old and ours is removed'

# ---- what is sent ----
rules 'PUT * 200'
AWS_SESSION_TOKEN=session SHD_S3_SSE=aws:kms SHD_S3_SSE_KMS_KEY=arn:key tool put-once x "$TMP/ten"
is "$(requests '> x-amz-content-sha256: 72399361da6a7754fec986dca5b7cbaf1c810a28ded4abaf56b2106d06cb78b0$')" 1 'the hash of the body'
is "$(requests '> x-amz-security-token: session')" 1 'the session token'
is "$(requests '> x-amz-server-side-encryption: aws:kms')" 1 'the wish for encryption'
is "$(requests '> x-amz-server-side-encryption-aws-kms-key-id: arn:key')" 1 'and its key'
is "$(requests '> if-none-match: \*')" 1 'the condition'
like "$(cat "$LOG")" 'SignedHeaders=host;if-none-match;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-server-side-encryption;' 'all of it is signed'
is "$(grep -ci '^> expect' "$LOG")" 0 'nothing is expected'
SHD_S3_SSE=AES256 tool put-once x "$TMP/ten"
is "$(requests '> x-amz-server-side-encryption: AES256')" 1 'the other kind of encryption'

# ---- the probe ----
export SHD_S3_CONDITIONAL=auto
rules 'PUT */.probe/* 200 times=1' 'PUT */.probe/* 412' 'DELETE * 204' 'PUT */x 200'
ok 'a service that keeps the condition' tool put-once x "$TMP/ten"
is "$(requests 'HEAD ')" 0 'is trusted'
is "$(requests 'DELETE /bucket/p/.probe/')" 1 'the probe is removed'
rules 'PUT */.probe/* 200' 'DELETE * 204' 'PUT */x 200'
ok 'one that takes it and does not keep it' tool put-once x "$TMP/ten"
is "$(requests 'HEAD /bucket/p/x')" 1 'is looked at before'
rules 'PUT */.probe/* 501' 'PUT */x 200'
ok 'one that does not know it' tool put-once x "$TMP/ten"
is "$(sed -n '/^PUT .*\/x/,$p' "$LOG" | grep -c if-none-match)" 0 'is not asked for it'
rules 'PUT */.probe/* 403 body=<Error><Code>AccessDenied</Code></Error>' 'PUT */x 200'
is "$(code tool put-once x "$TMP/ten")" unavailable 'one that refuses us'
export SHD_S3_CONDITIONAL=on

# ---- keys of an instance ----
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_EC2_METADATA_DISABLED
export AWS_EC2_METADATA_SERVICE_ENDPOINT="$server"
roles=/latest/meta-data/iam/security-credentials/
keys() { printf '{"Code":"Success","AccessKeyId":"%s","SecretAccessKey":"s","Token":"t-%s","Expiration":"%s"}' "$1" "$1" "$2"; }
later=$(date -u -d '+6 hours' +%Y-%m-%dT%H:%M:%SZ) soon=$(date -u -d '+2 minutes' +%Y-%m-%dT%H:%M:%SZ)
token='PUT /latest/api/token 200 body=token-1'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 body=$(keys one "$later")" 'PUT /bucket/* 200' 'HEAD * 404'
ok 'keys from the metadata of the instance' tool fill x "$TMP/ten" 3
is "$(requests "GET ${roles}role-1")" 1 'are asked for once'
is "$(requests '> X-aws-ec2-metadata-token: token-1')" 2 'with a token'
is "$(requests '> X-aws-ec2-metadata-token-ttl-seconds: 21600')" 1 'that was asked for first'
is "$(requests '> x-amz-security-token: t-one')" 3 'and used'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 times=1 body=$(keys two "$soon")" \
	"GET ${roles}role-1 200 body=$(keys three "$later")" 'PUT /bucket/* 503 times=1 delay_ms=11000 body=<Error><Code>SlowDown</Code></Error>' 'PUT /bucket/* 200'
SHD_S3_TIMEOUT=20s tool put-once x "$TMP/ten"
is "$(grep -o 'security-token: t-.*' "$LOG" | tr -d '\r' | tr '\n' ' ')" 'security-token: t-two security-token: t-three ' \
	'a key that ends soon is renewed'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 times=1 body=$(keys four "$later")" \
	"GET ${roles}role-1 200 body=$(keys five "$later")" 'PUT /bucket/* 400 times=1 body=<Error><Code>ExpiredToken</Code></Error>' 'PUT /bucket/* 200'
ok 'a key that the service calls expired' tool put-once x "$TMP/ten"
is "$(requests '> x-amz-security-token: t-five')" 1 'is renewed'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 body={}"
like "$(tool put-once x "$TMP/ten")" 'unavailable: no keys for S3: .*no usable keys' 'an instance without keys'
rules 'PUT /latest/* 403'
like "$(tool put-once x "$TMP/ten")" 'unavailable: no keys for S3: .*answered 403' 'one that refuses'
is "$(requests 'PUT /bucket')" 0 'nothing is sent without a key'

export AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret
kill "$script_pid"
wait "$script_pid" 2>/dev/null
is "$(code tool put-once x "$TMP/ten")" unavailable 'nobody there: nothing happened'
is "$(code object-tool s3://b list)" invalid_argument 'a bucket has a name'
like "$(SHD_S3_ENDPOINT=localhost tool list)" 'invalid_argument: s3.endpoint localhost is no http' 'an endpoint is a URL'
like "$(SHD_S3_ENDPOINT=http://h/x tool list)" 'invalid_argument: .*HOST' 'without a path'
done_testing
