#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The S3 driver against a service that fails in ways a real one cannot be asked to: lost answers, wrong ranges, throttling, odd XML.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

. "$top_srcdir/tests/s3-script.sh"

printf 'abcdefghij' >"$TMP/ten"
head -c 12000000 /dev/zero >"$TMP/parts"
head -c 1048576 /dev/zero >"$TMP/first"

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
rules 'DELETE */x 503 times=1' 'DELETE */x 408 times=1' 'DELETE */x 204'
ok 'a removal is tried again' tool remove x

too_skewed='body=<Error><Code>RequestTimeTooSkewed</Code></Error>'
rules "PUT */x 403 times=1 header=Date:Wed,+21+Oct+2015+07:28:00+GMT $too_skewed" 'PUT */x 200'
ok 'a service with another time' tool put-once x "$TMP/ten"
is "$(grep -c '^> x-amz-date: 20151021T072[89]' "$LOG")" 1 'is asked again at its own'
rules 'HEAD */x 403 times=1 header=Date:Wed,+21+Oct+2015+07:28:00+GMT' 'HEAD */x 200 header=Content-Length:10'
is "$(tool size x)" 10 'also when it does not say why it refuses'
rules "PUT */x 403 header=Date:Wed,+21+Oct+2015+07:28:00+GMT $too_skewed"
like "$(tool put-once x "$TMP/ten")" 'unavailable: .*; correct the clock' 'one that is not content with that'
is "$(requests 'PUT ')" 2 'is not asked for ever'

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
rules 'GET * 301 header=x-amz-bucket-region:eu-west-7 body=<Error><Code>PermanentRedirect</Code></Error>'
like "$(tool get x 0 10)" 'unavailable: .*PermanentRedirect; set s3.region=eu-west-7' 'also when it is put in words'
rules 'GET * 400 body=<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-8</Region></Error>'
like "$(tool get x 0 10)" 'unavailable: .*; set s3.region=eu-west-8' 'or in the body'
rules 'HEAD * 403' 'GET * 403 body=<Error><Code>SignatureDoesNotMatch</Code></Error>'
like "$(tool size x)" 'unavailable: .*SignatureDoesNotMatch; the secret key' 'what HEAD is not told, a GET is'
rules 'GET /bucket?* 404'
is "$(code tool list)" unavailable 'a listing that is not found is not empty'
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
circle() { # FROM TO: a page that leads on
	echo "GET /bucket?*token=$1&* 200 body=<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>$2</NextContinuationToken></ListBucketResult>"
}
rules "$(circle a b)" "$(circle b c)" "$(circle c a)" \
	'GET /bucket?* 200 body=<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken></ListBucketResult>'
like "$(tool list)" 'corrupt: the listing of bucket does not end' 'one that goes in a circle'
rules 'GET /bucket?* 200 body=<html><body>Sign+in,+please</body></html>'
is "$(code tool list)" corrupt 'a page of a proxy is no empty listing'
rules "GET /bucket?* 200 body=<ListBucketResult>$(item p/a 1)<Contents><Key>p/b</Key><Size>1</Size></Contents></ListBucketResult>"
like "$(tool list)" 'corrupt: .*when b was written' 'an object without a time does not get that of another'
rules "GET /bucket?* 200 body=<ListBucketResult>$(item p/a 1)<Contents><Size>1</Size></Contents></ListBucketResult>"
is "$(tool list | tr '\n' ' ')" 'a 1 ' 'nor one without a name its name'
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
rules "$begun" 'PUT /bucket/p/x?partNumber=1* 503 times=1 header=Retry-After:1' "$part" 'POST * 200 body=<CompleteMultipartUploadResult/>'
SHD_S3_TIMEOUT=10s
ok 'while a part waits for another try' tool put-once x "$TMP/parts"
SHD_S3_TIMEOUT=2s
is "$(grep -o '^PUT .*partNumber=.' "$LOG" | tail -n 1 | tail -c 2)" 1 'the others go on'
rules "$begun" 'PUT /bucket/p/x?partNumber=1* 200 times=1 header=ETag:"e"' 'PUT /bucket/p/x?partNumber=* 200 close times=2' "$part" \
	'POST * 200 body=<CompleteMultipartUploadResult/>'
ok 'a connection that ends after a part is sent' tool put-once x "$TMP/parts"
is "$(requests 'PUT ')" 5 'costs that part alone'
rules "$begun" 'PUT * 404 body=<Error><Code>NoSuchUpload</Code></Error>' 'DELETE * 404 body=<Error><Code>NoSuchUpload</Code></Error>'
is "$(code tool put x "$TMP/parts")" unavailable 'an upload that somebody gave up may be begun again'
rules "$begun" 'PUT /bucket/p/x?partNumber=2* 403 body=<Error><Code>AccessDenied</Code></Error>' "$part" 'DELETE * 204'
is "$(code tool put-once x "$TMP/parts")" unavailable 'when a part is refused'
is "$(requests 'DELETE /bucket/p/x.uploadId=id%2F%201')" 1 'the upload is given up'
rules "$begun" "$part" 'POST * 200 times=1 body=<Error><Code>InternalError</Code></Error>' 'POST * 200 body=++<CompleteMultipartUploadResult/>'
ok 'an error behind a status of 200 may pass' tool put-once x "$TMP/parts"
is "$(requests 'PUT ')" 3 'and the parts need not be sent again'
rules "$begun" "$part" 'POST * 200 body=<Error><Code>PreconditionFailed</Code></Error>' 'DELETE * 204'
is "$(code tool put-once x "$TMP/parts")" already_exists 'it may be an answer, too'
rules "$begun" "$part" 'POST * 200 body=<Error><Code>InternalError</Code></Error>'
is "$(code tool put-once x "$TMP/parts")" outcome_unknown 'or last'
is "$(requests 'DELETE ')" 0 'what may be complete is not given up'
rules "$begun" "$part" 'POST * 200 close' 'HEAD */x 404 times=1' 'HEAD */x 200 header=Content-Length:12000000'
like "$(tool put x "$TMP/parts")" 'outcome_unknown' 'a lost answer to the last request is read back'
rules "$begun" "$part" 'POST * 200 close times=1' 'POST * 404 body=<Error><Code>NoSuchUpload</Code></Error>' 'HEAD */x 404 times=1' \
	'HEAD */x 200 header=Content-Length:12000000' 'GET */x 206 header=Content-Range:bytes+0-1048575/12000000 file='"$TMP/first" \
	'GET */x 500'
is "$(code tool put x "$TMP/parts")" outcome_unknown 'so is what was put together by a request whose answer was lost'
is "$(requests 'GET /bucket/p/x')" 2 'byte by byte'
rules "$begun" "$part" 'POST * 501 times=1' 'POST * 200 body=<CompleteMultipartUploadResult/>'
ok 'a service that knows the condition for one kind of write only' tool put-once x "$TMP/parts"
upload() { echo "<Upload><Key>$1</Key><UploadId>$2</UploadId><Initiated>$3</Initiated></Upload>"; }
now=$(date -u +%Y-%m-%dT%H:%M:%S.000Z)
rules "GET /bucket?*uploads=* 200 body=<ListMultipartUploadsResult>$(upload p/segments/old 1 2020-01-01T00:00:00.000Z)$(upload p/segments/new 2 "$now")$(
	upload q/segments/old 3 2020-01-01T00:00:00.000Z)$(upload p/other/old 4 2020-01-01T00:00:00.000Z)<Upload><Key>p/segments/odd</Key><UploadId>5</UploadId></Upload></ListMultipartUploadsResult>" \
	'DELETE * 204'
ok 'leftovers are looked for' tool prepare
is "$(grep '^DELETE' "$LOG")" 'DELETE /bucket/p/segments/old?uploadId=1' 'what is old and ours is removed'
is "$(requests 'GET .*prefix=p%2Fmeta%2F')" 1 'of snapshots, too'

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
sent_with() { # HEADER: the requests that had it
	awk -v header="> $1:" '/^[A-Z]/ { request = $1 " " $2 } index($0, header) == 1 { print request }' "$LOG" | sed 's/=.*//' | tr '\n' ' '
}
rules "$begun" "$part" 'POST * 200 body=<CompleteMultipartUploadResult/>' 'GET */x 206 header=Content-Range:bytes+0-9/10 file='"$TMP/ten" 'DELETE * 204'
SHD_S3_SSE=aws:kms SHD_S3_SSE_KMS_KEY=arn:key sh -c 'object-tool "$1" put-once x "$2" && object-tool "$1" get x 0 10 && object-tool "$1" remove x' - \
	"$store" "$TMP/parts" >/dev/null
is "$(sent_with x-amz-server-side-encryption)" 'POST /bucket/p/x?uploads ' 'an upload says it at its beginning, reads and removals never'
is "$(sent_with x-amz-server-side-encryption-aws-kms-key-id)" 'POST /bucket/p/x?uploads ' 'with the key'
is "$(requests 'GET ')$(requests 'DELETE ')" 11 'and there were some'

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
rules 'PUT */.probe/* 400 body=<Error><Code>BadDigest</Code></Error>' 'PUT */x 200'
is "$(code tool put-once x "$TMP/ten")" io_error 'bytes that are changed on their way say nothing about conditions'
is "$(requests 'PUT /bucket/p/x')" 0 'so nothing is written without one'
rules 'PUT */.probe/* 500 delay_ms=1500' 'DELETE * 204' 'PUT */x 200'
is "$(tool race x "$TMP/ten" 4)" '0 won, 0 came late' 'of several who wait for one that cannot tell'
is "$(requests 'PUT /bucket/p/.probe')" 1 'one tries'
rules 'PUT */.probe/* 403 body=<Error><Code>AccessDenied</Code></Error>' 'PUT */x 200'
is "$(code tool put-once x "$TMP/ten")" unavailable 'one that refuses us'
export SHD_S3_CONDITIONAL=on

# ---- what is set ----
kill "$script_pid"
wait "$script_pid" 2>/dev/null
is "$(code tool put-once x "$TMP/ten")" unavailable 'nobody there: nothing happened'
is "$(code object-tool s3://b list)" invalid_argument 'a bucket has a name'
like "$(SHD_S3_ENDPOINT=localhost tool list)" 'invalid_argument: s3.endpoint localhost is no http' 'an endpoint is a URL'
like "$(SHD_S3_ENDPOINT=http://h/x tool list)" 'invalid_argument: .*HOST' 'without a path'
like "$(SHD_S3_SSE_KMS_KEY=key tool list)" 'invalid_argument: .*; set s3.sse=aws:kms' 'a key wants its kind of encryption'
like "$(SHD_S3_SSE=AES256 SHD_S3_SSE_KMS_KEY=key tool list)" 'invalid_argument: .*s3.sse is AES256' 'and no other'
like "$(SHD_S3_SSE=aws:kms SHD_S3_SSE_KMS_KEY='a b' tool list)" 'invalid_argument: s3.sse_kms_key' 'it is a word'
like "$(SHD_S3_CA_FILE=$TMP/none tool list)" 'invalid_argument: s3.ca_file .*No such file' 'certificates that are not there'
like "$(SHD_S3_REGION=a/b tool list)" 'invalid_argument: a/b is no name of a region' 'a region is a word'
done_testing
