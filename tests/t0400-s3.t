#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The S3 driver against a real service: the contract of object stores, and what only S3 has.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
. "$top_srcdir/tests/rgw.sh"

missing=$(rgw_missing)
[ -z "$missing" ] || skip_all "not installed:" $missing
start_rgw

store=s3://bucket/some/prefix
tool() { object-tool "$store" "$@"; }
code() { # what went wrong, by name
	"$@" 2>&1 | sed 's/:.*//'
}
head -c 100000 /dev/urandom >"$TMP/small"
head -c 23000001 /dev/urandom >"$TMP/large"
: >"$TMP/empty"

like "$(tool put a "$TMP/small")" 'unavailable: .*NoSuchBucket; create the bucket' 'a bucket that is not there is named, with what to do'
is "$(code tool get a 0 1)" unavailable 'nothing is "not found" in it'
is "$(code tool size a)" unavailable 'also when only the size is asked for'
ok 'a bucket' tool request PUT -
ok 'the store is looked at' tool prepare
is "$(object-tool s3://bucket list)" '' 'the probe leaves nothing'

ok 'put' tool put-once segments/1.seg "$TMP/small"
is "$(code tool put-once segments/1.seg "$TMP/small")" already_exists 'a name is given once'
ok 'the put that checks finds the same there' tool put segments/1.seg "$TMP/small"
is "$(code tool put segments/1.seg "$TMP/empty")" already_exists 'but not something else'
tool get segments/1.seg 0 100000 >"$TMP/out"
same "$TMP/small" "$TMP/out" 'it holds what was put'
tool get segments/1.seg 99990 10 >"$TMP/out"
tail -c 10 "$TMP/small" >"$TMP/want"
same "$TMP/want" "$TMP/out" 'its last bytes'
is "$(code tool get segments/1.seg 99991 10)" corrupt 'beyond its end'
is "$(code tool get segments/1.seg 100000 1)" corrupt 'and behind it'
is "$(code tool get segments/1.seg 18446744073709551615 1)" corrupt 'and far behind it'
is "$(tool size segments/1.seg)" 100000 'size'
ok 'no bytes' tool get segments/1.seg 100000 0
is "$(code tool get segments/2.seg 0 1)" not_found 'get of what is not there'
is "$(code tool size segments/2.seg)" not_found 'size of what is not there'
is "$(code tool size ../1.seg)" invalid_argument 'names are checked'
ok 'an object of no bytes' tool put-once empty "$TMP/empty"
is "$(tool size empty)" 0 'has none'
is "$(code tool get empty 0 1)" corrupt 'not one'
is "$(tool race raced "$TMP/small" 8)" '1 won, 7 came late' 'of eight that write one name at once one wins'

ok 'an object in parts' tool put-once big "$TMP/large"
tool get big 0 23000001 >"$TMP/out"
same "$TMP/large" "$TMP/out" 'holds what was put'
is "$(code tool put-once big "$TMP/large")" already_exists 'its name is given once'
is "$(object-tool s3://bucket request GET - uploads | grep -c '<Upload>')" 0 'nothing of it is left under way'

upload=$(tool request POST some/prefix/segments/left uploads | sed 's/.*<UploadId>\([^<]*\).*/\1/')
other=$(tool request POST elsewhere/left uploads | sed 's/.*<UploadId>\([^<]*\).*/\1/')
ok 'two uploads were begun' test -n "$upload" -a -n "$other"
ok 'young uploads are left alone' tool prepare
is "$(object-tool s3://bucket request GET - uploads | grep -o '<Upload>' | wc -l)" 2 'both are there'

object-tool s3://bucket put some/prefix2/x "$TMP/small"
object-tool s3://bucket request PUT 'some/prefix/a strange & <name>%41' >/dev/null
object-tool s3://bucket request PUT "some/prefix/$(printf 'control\001')" >/dev/null
is "$(tool list | sort | tr '\n' ' ')" 'big 23000001 empty 0 raced 100000 segments/1.seg 100000 ' 'the list has our names and no others'
is "$(tool list segments/)" 'segments/1.seg 100000' 'by prefix'
is "$(object-tool s3://bucket/other list)" '' 'nothing under another prefix'
object-tool s3://bucket/pages fill many/x "$TMP/empty" 130
for i in 44 45 46 47 48 49; do object-tool s3://bucket request PUT "pages/many/x-$i+ %41&" >/dev/null; done
is "$(object-tool s3://bucket/pages list many/ | sort | cksum)" "$(seq 0 129 | sed 's|.*|many/x-& 0|' | sort | cksum)" \
	'a list of several pages'

ok 'remove' tool remove segments/1.seg
is "$(code tool size segments/1.seg)" not_found 'it is gone'
ok 'removing what is not there' tool remove segments/1.seg

like "$(AWS_SECRET_ACCESS_KEY=wrong tool list)" 'unavailable: .*SignatureDoesNotMatch; the secret key is wrong' 'a wrong secret'
like "$(AWS_ACCESS_KEY_ID=nobody tool list)" 'unavailable: .*InvalidAccessKeyId' 'an unknown key'
is "$(AWS_SECRET_ACCESS_KEY=wrong code tool size raced)" unavailable 'is never "not found"'
mkdir "$TMP/home" "$TMP/home/.aws"
cat >"$TMP/home/.aws/credentials" <<-END
	# keys
	[default]
	aws_access_key_id = nobody
	aws_secret_access_key = wrong
	[work]
	aws_access_key_id=$AWS_ACCESS_KEY_ID
	  aws_secret_access_key = $AWS_SECRET_ACCESS_KEY
END
is "$(env -u AWS_ACCESS_KEY_ID HOME="$TMP/home" AWS_PROFILE=work object-tool $store size raced)" 100000 'keys from the shared file'
like "$(env -u AWS_ACCESS_KEY_ID HOME="$TMP/home" object-tool $store size raced)" unavailable 'of the profile that is asked for'
is "$(env -u AWS_ACCESS_KEY_ID HOME=/nonexistent AWS_SHARED_CREDENTIALS_FILE="$TMP/home/.aws/credentials" AWS_PROFILE=work \
	object-tool $store size raced)" 100000 'or from another file'
like "$(env -u AWS_ACCESS_KEY_ID HOME=/nonexistent AWS_EC2_METADATA_DISABLED=true object-tool $store size raced)" \
	'unavailable: no keys for S3.*set AWS_ACCESS_KEY_ID' 'no keys at all: what to do is said'

SHD_S3_CONDITIONAL=off
export SHD_S3_CONDITIONAL
ok 'without conditional create: put' tool put-once plain "$TMP/small"
is "$(code tool put-once plain "$TMP/small")" already_exists 'a name is given once'
ok 'in parts' tool put-once plain-big "$TMP/large"
is "$(code tool put-once plain-big "$TMP/large")" already_exists 'too'
tool race plain-raced "$TMP/small" 8 >"$TMP/out"
ok 'of eight that write one name at once some come late or all write the same' grep -q '^[1-8] won' "$TMP/out"
tool get plain-raced 0 100000 >"$TMP/out"
same "$TMP/small" "$TMP/out" 'and it is whole'
ok 'the put that checks finds its own' tool put plain-raced "$TMP/small"
is "$(code tool put plain-raced "$TMP/empty")" already_exists 'and what is not'
tool remove plain && tool remove plain-big && tool remove plain-raced
unset SHD_S3_CONDITIONAL

echo '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>' \
	>"$TMP/versioning"
object-tool s3://versions request PUT - >/dev/null
ok 'a bucket that keeps versions does not enforce conditions' object-tool s3://versions request PUT - versioning "<$TMP/versioning"
ok 'put' object-tool s3://versions put-once one "$TMP/small"
is "$(code object-tool s3://versions put-once one "$TMP/small")" already_exists 'but the probe finds that out'

yes 'what nobody else may read' | head -c 100000 >"$TMP/plain"
stored() { # NAME: what lies on the disks of the service
	rgw_raw "$(rgw_raw | grep "_some/prefix/$1\$")"
}
tool put-once open "$TMP/plain"
ok 'an object that the service does not encrypt' grep -q 'nobody else' "$(stored open)"
SHD_S3_SSE=aws:kms SHD_S3_SSE_KMS_KEY=test-kms object-tool $store put-once secret "$TMP/plain" >"$TMP/out" || diag_file "$TMP/out"
is "$(tool size secret)" 100000 'one that it does'
is "$(wc -c <"$(stored secret)")" 100000 'is on its disks'
fails 1 'and cannot be read there' grep -q 'nobody else' "$(stored secret)"
tool get secret 0 100000 >"$TMP/out"
same "$TMP/plain" "$TMP/out" 'but by us it can'
SHD_S3_SSE=aws:kms SHD_S3_SSE_KMS_KEY=test-kms object-tool $store put-once secret-big "$TMP/large" >/dev/null
tool get secret-big 1000000 5000000 >"$TMP/out"
tail -c +1000001 "$TMP/large" | head -c 5000000 >"$TMP/want"
same "$TMP/want" "$TMP/out" 'in parts as well'
like "$(SHD_S3_SSE=aws:kms SHD_S3_SSE_KMS_KEY=none-such tool put-once secret2 "$TMP/small")" '.' 'a key that the service does not have'
is "$(code tool size secret2)" not_found 'writes nothing'
SHD_S3_ADDRESSING=virtual SHD_S3_ENDPOINT=http://localhost:${S3_ENDPOINT##*:} object-tool $store list raced >"$TMP/out"
if grep -q 'resolve' "$TMP/out"; then
	skip 'the bucket in the host name' 'bucket.localhost has no address here'
else
	is "$(cat "$TMP/out")" 'raced 100000' 'the bucket in the host name'
fi

tls=https://127.0.0.1:$RGW_TLS_PORT
like "$(SHD_S3_ENDPOINT=$tls tool size raced)" 'unavailable: .*certificate.*; set s3.ca_file' 'TLS: a certificate that nobody vouches for is refused, with what to do'
is "$(SHD_S3_ENDPOINT=$tls SHD_S3_CA_FILE=$RGW_DIR/cert.pem object-tool $store size raced)" 100000 'one that s3.ca_file vouches for is taken'
like "$(SHD_S3_ENDPOINT=https://localhost:$RGW_TLS_PORT SHD_S3_CA_FILE=$RGW_DIR/cert.pem tool size raced)" 'unavailable: .*subject name' 'for its own name only'
ok 'an object goes over TLS' env SHD_S3_ENDPOINT="$tls" SHD_S3_CA_FILE="$RGW_DIR/cert.pem" object-tool $store put-once tls "$TMP/large"
tool get tls 0 23000001 >"$TMP/out"
same "$TMP/large" "$TMP/out" 'whole'
done_testing
