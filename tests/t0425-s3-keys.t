#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Where the keys of S3 come from, and how they are renewed, against a metadata service of an instance that answers by a script.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/s3-script.sh"

printf 'abcdefghij' >"$TMP/ten"
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
	"GET ${roles}role-1 200 body=$(keys three "$later")" 'PUT /bucket/* 503 times=1 body=<Error><Code>SlowDown</Code></Error>' 'PUT /bucket/* 200'
tool put-once x "$TMP/ten"
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
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 times=1 body=$(keys six "$soon")" \
	"GET ${roles}role-1 200 delay_ms=1500 body=$(keys seven "$later")" 'PUT /bucket/* 200'
tool race x "$TMP/ten" 4 >/dev/null
is "$(grep -o 'security-token: t-.*' "$LOG" | tr -d '\r' | tr '\n' ' ')" \
	'security-token: t-six security-token: t-six security-token: t-six security-token: t-seven ' 'while one renews a key the others go on with the old one'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 times=1 body=$(keys eight "$soon")" 'PUT /latest/* 500' \
	"GET ${roles}role-1 500" 'PUT /bucket/* 200'
ok 'a key that cannot be renewed' tool fill x "$TMP/ten" 3
is "$(requests '> x-amz-security-token: t-eight')" 3 'serves to its end'
is "$(requests 'PUT /latest')" 2 'and the instance is asked now and then only'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 body=$(keys nine 2020-01-01T00:00:00Z)" 'PUT /bucket/* 200'
ok 'a new key that our clock calls expired' tool fill x "$TMP/ten" 3
is "$(requests '> x-amz-security-token: t-nine')" 3 'is for the service to judge'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 body=$(keys 'ten\u000d\u000aX-Evil:' "$later")"
like "$(tool put-once x "$TMP/ten")" 'unavailable: no keys for S3: .*not ASCII' 'a key that would make header lines of its own'
rules 'PUT /latest/api/token 200 body=a:b'
like "$(tool put-once x "$TMP/ten")" 'unavailable: no keys for S3: .*strange token' 'a token that would'
rules "$token" "GET $roles 200 body=../../role"
like "$(tool put-once x "$TMP/ten")" 'unavailable: no keys for S3: .*strange role' 'and a role that leads elsewhere'
rules "$token" "GET $roles 200 body=role-1" "GET ${roles}role-1 200 body=$(keys eleven "$later")" 'PUT /bucket/* 200'
ok 'a proxy' env http_proxy=http://127.0.0.1:1 no_proxy=localhost SHD_S3_ENDPOINT="http://localhost:${server##*:}" object-tool $store put-once x "$TMP/ten"
is "$(requests '> x-amz-security-token: t-eleven')" 1 'is not asked for keys'
like "$(AWS_ACCESS_KEY_ID=a AWS_EC2_METADATA_DISABLED=true tool put-once x "$TMP/ten")" 'no keys for S3: the environment lacks AWS_SECRET_ACCESS_KEY; ' 'half a pair'
like "$(AWS_ACCESS_KEY_ID=a AWS_SECRET_ACCESS_KEY='s ' tool put-once x "$TMP/ten")" 'unavailable: the keys of S3 in the environment: .*holds a blank' \
	'a blank at the end of a key is told'
done_testing
