# SPDX-License-Identifier: Apache-2.0
# Batches that are much larger once decompressed are checked on a thread: in order, with the connection waiting, and no other.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

start_shd
api POST /api/v1/topics -d '{"name":"t","partitions":1,"config":{"max.message.bytes":"33554432"}}' >/dev/null
api POST /api/v1/topics -d '{"name":"fixed","partitions":1,"config":{"max.message.bytes":"33554432","compression.type":"lz4"}}' >/dev/null
threads() {
	ls "/proc/$(shd_pid agent)/task" | wc -l
}
consume() { # topic: its values
	"$STREAMCTL" consume "$1" -p 0 --from 0 -e -f '%v\n'
}
lines() { # first last: many of about 100 bytes, which compress well
	seq "$1" "$2" | sed 's/$/ the quick brown fox jumps over the lazy dog and the quick brown fox jumps over the lazy dog/'
}
produce() { # topic option...
	produce_topic=$1
	shift
	"$STREAMCTL" produce "$produce_topic" -p 0 -q "$@"
}

lines 1 2000 | produce t -z zstd
before=$(threads)
: >"$TMP/want"
from=1
for codec in gzip snappy lz4 zstd; do
	lines "$from" $((from + 199999)) >"$TMP/some"
	ok "20 MB of records in large batches, $codec" produce t -z $codec --batch-bytes 8M <"$TMP/some"
	from=$((from + 200000))
done
is "$(threads)" "$((before + 1))" 'one thread checks them'
{ lines 1 2000; lines 1 800000; } >"$TMP/want"
consume t >"$TMP/got"
same "$TMP/got" "$TMP/want" 'all are there once, in order'

ok 'compressed anew, as the topic wants' produce fixed -z gzip --batch-bytes 8M <"$TMP/some"
consume fixed >"$TMP/got"
same "$TMP/got" "$TMP/some" 'they are there as well'
ok 'and plain ones' produce fixed --batch-bytes 8M <"$TMP/some"
is "$(consume fixed | wc -l)" 400000 'once'

# ---- one that is not good, between others ----
api GET '/api/v1/topics/t/partitions/0/records?offset=2000&max_bytes=30000000' -H 'Accept: application/vnd.streamhouse.batch' >"$TMP/batches"
size=$(wc -c <"$TMP/body")
ok 'batches as they were sent' test "$size" -gt 100000
first=$((0x$(od -An -tx1 -j8 -N4 "$TMP/body" | tr -d ' ') + 12))
cp "$TMP/body" "$TMP/bad"
printf X | dd of="$TMP/bad" bs=1 seek=$((first + 5000)) conv=notrunc 2>/dev/null
post() { # file
	api POST '/api/v1/topics/t/records?partition=0' -H 'Content-Type: application/vnd.streamhouse.batch' --data-binary "@$1"
}
like "$(post "$TMP/bad")" 'batch 2: .*CRC' 'a damaged one is named'
like "$(cat "$TMP/body")" '"records":[1-9]' 'with what was taken before it'
end=$(api GET /api/v1/topics/t/partitions | sed -n 's/.*"high_watermark":\([0-9]*\).*/\1/p')
ok 'which is there, and nothing else' test "$end" -gt 802000 -a "$end" -lt 1002000

# ---- a client that does not wait, and the end ----
for n in 1 2 3; do
	timeout 0.1 curl -sS -X POST -H 'Content-Type: application/vnd.streamhouse.batch' --data-binary "@$TMP/bad" \
		"$URL/api/v1/topics/t/records?partition=0" >/dev/null 2>&1
done
ok 'when clients go meanwhile nothing happens' produce t -z zstd --batch-bytes 8M <"$TMP/some"
stop_shd
is $? 0 'and shd ends as it should'
done_testing
