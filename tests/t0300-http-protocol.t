#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# HTTP/1.1 as a protocol: framing, limits, deadlines, order; against the agent's server on a log in memory.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

RAW=$top_builddir/tests/helper/raw-http

serve() { # rules and options of http-server
	mkfifo "$TMP/stdin.$$" 2>/dev/null
	"$top_builddir/tests/helper/http-server" "$@" <"$TMP/stdin.$$" >"$TMP/port" 2>"$TMP/server.log" &
	SERVER=$!
	exec 9>"$TMP/stdin.$$" # it ends when this is closed
	wait_for '[ -s "$TMP/port" ]' 20 || { diag_file "$TMP/server.log"; echo "Bail out! http-server did not start"; exit 1; }
	PORT=$(cat "$TMP/port")
	URL=http://127.0.0.1:$PORT
	api POST /api/v1/topics -d '{"name":"t","partitions":2}' >/dev/null
}
unserve() {
	exec 9>&-
	wait "$SERVER"
}
raw() { # options of raw-http; input as printf's format in $bytes
	# shellcheck disable=SC2059 # that is the point
	printf "$bytes" | "$RAW" "$@" "$PORT" >"$TMP/out" 2>"$TMP/err"
	raw_status=$?
	tr -d '\r' <"$TMP/out" >"$TMP/text"
}
statuses() { # of all answers in the order they came
	grep -a '^HTTP/1.1 ' "$TMP/text" | cut -d ' ' -f 2 | tr '\n' ' ' | sed 's/ $//'
}
H='Host: a\r\n'

serve -O http.header_timeout=700ms -O http.body_timeout=700ms -O http.idle_timeout=900ms

# ---- order and reuse ----
bytes="GET /live HTTP/1.1\r\n$H\r\nGET /nope HTTP/1.1\r\n$H\r\nGET /health HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
raw
is "$(statuses)" "200 404 200" "pipelined requests are answered in order"
raw -s 1
is "$(statuses)" "200 404 200" "also when they come byte by byte"

bytes="POST /api/v1/produce HTTP/1.1\r\n${H}Content-Length: 25\r\n\r\n{\"topic\":\"t\",\"value\":\"1\"} GET /x HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
raw
is "$(statuses)" "200 400" "a body ends where its length says: what follows is the next request, and this one is not well-formed"

bytes=$(awk 'BEGIN { for (i = 0; i < 200; i++) printf "GET /live HTTP/1.1\\r\\nHost: a\\r\\n%s\\r\\n", i == 199 ? "Connection: close\\r\\n" : "" }')
raw
is "$(grep -ac '^HTTP/1.1 200' "$TMP/text")" 200 "two hundred at once: more than the queue takes"

bytes="GET /live HTTP/1.0\r\n\r\n"
raw
is "$(statuses)" 200 "HTTP/1.0 is answered and closed"
bytes="GET /live HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /live HTTP/1.0\r\n\r\n"
raw
is "$(statuses)" "200 200" "HTTP/1.0 with keep-alive"
like "$(cat "$TMP/text")" '^Connection: keep-alive' "and is told so"

bytes="HEAD /live HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
raw
is "$(sed '1,/^$/d' "$TMP/text" | wc -c)" 0 "HEAD has no body"
like "$(cat "$TMP/text")" '^Content-Length: 16' "but its length"

bytes="\r\nGET http://somewhere/live?x HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
raw
is "$(statuses)" 200 "an empty line before a request, and the absolute form of a target"

# ---- bodies ----
bytes="POST /api/v1/topics/t/records?partition=0 HTTP/1.1\r\n${H}Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\na\n\r\n3;x=y\r\nb\nc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\n"
raw
like "$(cat "$TMP/text")" '"records":3' "a chunked body: lines may be cut by chunks, trailers are passed over"
raw -s 1
like "$(cat "$TMP/text")" '"records":3' "byte by byte, too"

bytes="POST /api/v1/topics/t/records HTTP/1.1\r\n${H}Content-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
{ printf "$bytes"; sleep 0.3; printf 'x\n'; } >"$TMP/expect" # raw-http reads all input first; -d spreads it
"$RAW" -s "$(($(wc -c <"$TMP/expect") - 2))" -d 200 "$PORT" <"$TMP/expect" | tr -d '\r' >"$TMP/text"
is "$(statuses)" "100 200" "Expect: 100-continue is answered before the body"
bytes="POST /api/v1/topics/none/records HTTP/1.1\r\n${H}Content-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
raw
is "$(statuses)" 404 "or refused at once, and the connection closed"

# ---- what must be refused ----
refused() { # status title
	raw
	is "$(statuses)" "$1" "$2"
}
bytes="GET /live HTTP/1.1\r\n${H}A: $(head -c 20000 /dev/zero | tr '\0' a)\r\n\r\n"
refused 431 "a head that is too large"
bytes="GET /live HTTP/1.1\r\n$H$(awk 'BEGIN { for (i = 0; i < 101; i++) printf "A: b\\r\\n" }')\r\n"
refused 431 "too many fields"
bytes="POST /api/v1/topics HTTP/1.1\r\n${H}Content-Length: 2000000\r\n\r\n{"
refused 413 "a body that is too large, before it was sent"
{ printf 'POST /api/v1/topics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n200000\r\n'; head -c 2097152 /dev/zero; printf '\r\n0\r\n\r\n'; } >"$TMP/big"
"$RAW" "$PORT" <"$TMP/big" | tr -d '\r' >"$TMP/text"
is "$(statuses)" 413 "a chunked one, while it is sent; the answer is not lost to a reset"
bytes="POST /api/v1/produce HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /live HTTP/1.1\r\n$H\r\n"
refused 400 "smuggling: Content-Length with Transfer-Encoding, and nothing behind it is read"
bytes="POST /api/v1/produce HTTP/1.1\r\n${H}Content-Length: 5\r\nContent-Length: 6\r\n\r\nGET /live HTTP/1.1\r\n$H\r\n"
refused 400 "smuggling: two lengths"
bytes="POST /live HTTP/1.1\r\n${H}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /live HTTP/1.1\r\n$H\r\n"
refused 501 "smuggling: another transfer coding"
bytes="GET /live HTTP/1.1\nHost: a\n\nGET /live HTTP/1.1\r\n$H\r\n"
refused 400 "smuggling: bare line feeds"
bytes="GET /live HTTP/1.1\r\n${H}A: b\r\n\tc\r\n\r\n"
refused 400 "a folded field"
bytes="GET /live HTTP/1.1\r\n${H}Bad Name: b\r\n\r\n"
refused 400 "a space in a field's name"
bytes="GET /live HTTP/1.1\r\n\r\n"
refused 400 "no Host"
bytes="POST /api/v1/produce HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\nzz\r\n"
refused 400 "a chunk without size"
bytes='\026\003\001\002'
refused 400 "TLS on a plain port"
like "$(sed '1,/^$/d' "$TMP/text")" '^\{"error":\{"code":"invalid_argument","message":".*' "the error is in the body, as JSON"
bytes="GET /api/v1/topics/%%zz HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
refused 400 "a bad percent escape"
bytes="DELETE /live HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
refused 405 "a method the path does not take"
like "$(cat "$TMP/text")" '^Allow: GET, HEAD$' "Allow names those it takes"
bytes="PUT /api/v1/topics/t/records HTTP/1.1\r\n${H}Content-Length: 3\r\n\r\nabcGET /live HTTP/1.1\r\n${H}Connection: close\r\n\r\n"
refused "405 200" "after a refused request with a small body the connection goes on"

# ---- slow and half-open clients ----
bytes="GET /live HT"
raw
is "$(statuses)" 408 "a head that does not end"
is "$raw_status" 0 "and the connection is closed"
bytes="GET /live HTTP/1.1\r\n${H}$(awk 'BEGIN { for (i = 0; i < 40; i++) printf "A: b\\r\\n" }')"
raw -s 6 -d 50
is "$(statuses)" 408 "a head that trickles in: the deadline is for all of it"
bytes="POST /api/v1/topics/t/records HTTP/1.1\r\n${H}Content-Type: text/plain\r\nContent-Length: 100\r\n\r\none\ntwo\n"
raw
is "$(statuses)" 408 "a body that does not go on"
like "$(cat "$TMP/text")" '"records":2' "the answer says how many records were taken"
raw -c
is "$(statuses)" 400 "a body whose client closed its side"
like "$(cat "$TMP/text")" '"records":2' "says so, too"
bytes="GET /live HTTP/1.1\r\n$H\r\n"
raw
is "$raw_status $(statuses)" "0 200" "an idle connection is closed"
bytes=""
raw
is "$raw_status $(wc -c <"$TMP/out")" "0 0" "one that never says anything, without a word"
bytes="GET /live HTTP/1.1\r\n$H\r\n"
raw -c
is "$(statuses)" 200 "a client that closes its side after the request gets its answer"

bytes="GET /api/v1/topics/t/partitions/0/records?offset=latest&wait_ms=300 HTTP/1.1\r\n$H\r\nGET /li"
raw
is "$raw_status $(statuses)" "0 200 408" "a head that began while a long poll was under way has a deadline, too"

head -c 3000000 /dev/zero | tr '\0' x | fold -w 1000 >"$TMP/lines"
for i in 1 2 3 4 5 6; do
	curl -sS -H 'Content-Type: text/plain' --data-binary "@$TMP/lines" "$URL/api/v1/topics/t/records?partition=1" >/dev/null
done
bytes="GET /api/v1/topics/t/partitions/1/records?end=now HTTP/1.1\r\n$H\r\n"
raw -r 1000
wait_for 'curl -s "$URL/metrics" | grep -q "^streamhouse_http_connections_stalled_total 1"' 20
ok "a client that does not read its answer is cut" test $? -eq 0
unserve
ok "the server ends without complaint" test $? -eq 0

# ---- a body that waits for the log, not for its client ----
post_in_two() { # path of a request before it or "", options of raw-http; the last byte comes by itself
	first=$1
	shift
	bytes="${first}POST /api/v1/topics/t/records?partition=0 HTTP/1.1\r\n${H}Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\n1\n2\n"
	raw -s "$(($(printf "$bytes" | wc -c) - 1))" "$@"
}
serve refuse_every=2
post_in_two '' -c
is "$(statuses)" 200 "a client that closes its side after the body, while the log refuses its last line"
like "$(cat "$TMP/text")" '"records":2,' "has all of it taken"
unserve
serve refuse_every=3 ack_ms=50
post_in_two "POST /api/v1/topics/t/records?partition=1 HTTP/1.1\r\n${H}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\na\n" -d 40
is "$(statuses)" "200 200" "an answer to a request before it does not end the waiting"
is "$(api GET '/api/v1/topics/t/partitions/0/records' | grep -o '"value":"[^}]*' | tr '\n' ' ')" '"value":"1" "value":"2" ' "nor change a line"
unserve

# ---- many slow readers ----
serve output_max=2000000
for i in 1 2 3 4 5 6; do
	curl -sS -H 'Content-Type: text/plain' --data-binary "@$TMP/lines" "$URL/api/v1/topics/t/records?partition=1" >/dev/null
done
want=$(curl -sS "$URL/api/v1/topics/t/partitions/1/records?end=now" -H 'Accept: application/x-ndjson' | cksum)
memory() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$SERVER/status"; }
before=$(memory)
printf 'GET /api/v1/topics/t/partitions/1/records?end=now HTTP/1.1\r\nHost: a\r\n\r\n' >"$TMP/ask"
readers=
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32; do
	"$RAW" -r 1000 -t 20000 "$PORT" <"$TMP/ask" >/dev/null &
	readers="$readers $!"
done
wait_for 'curl -s "$URL/metrics" | grep -q "^streamhouse_http_connections 33"' 10
is "$(curl -sS "$URL/api/v1/topics/t/partitions/1/records?end=now" -H 'Accept: application/x-ndjson' | cksum)" "$want" "beside those who do not read another reads all"
if [ "$(sed -n 's/^VmSize:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$SERVER/status")" -gt 1000000000 ]; then
	skip "and their memory is limited" "AddressSanitizer keeps what is freed"
else
	ok "and their memory is limited" test $(($(memory) - before)) -lt 20000
fi
diag "$(($(memory) - before)) KiB for 32 of them"
# shellcheck disable=SC2086 # a list
kill $readers
unserve

# ---- limits of connections, starting ----
serve -O http.max_connections=16 starting=1
is "$(api GET /live)" '{"status":"ok"}' "alive while the log starts"
api GET /ready >/dev/null
is "$(api_status)" 503 "but not ready"
api GET /api/v1/topics >/dev/null
is "$(api_status)" 503 "everything else waits for it"
printf 'GET /live HTTP/1.1\r\n' >"$TMP/hold" # never finished
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
	"$RAW" -t 20000 "$PORT" <"$TMP/hold" >/dev/null &
	holders="${holders:-} $!"
done
wait_for '[ "$(curl -s -o /dev/null -w "%{http_code}" "$URL/live")" = 503 ]' 10
ok "above http.max_connections the answer is 503" test $? -eq 0
# shellcheck disable=SC2086 # a list
kill $holders
unserve

done_testing
