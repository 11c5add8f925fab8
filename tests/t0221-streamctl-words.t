# SPDX-License-Identifier: Apache-2.0
# What commands do when things are not as meant: they try again, and errors say what was wrong and what to do.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
start_shd
cd "$TMP" || exit 1

said() { # TITLE REGEX: what the last ok or fails printed
	like "$(cat "$TMP/ok.out")" "$2" "$1"
}

refusals() {
	api GET /metrics | sed -n 's/.*class="5xx"} //p'
}

# ---- a server that is still starting ----
# Without the metadata an agent does not serve: the answer is 503 for as long as that process is held.
meta=$(shd_pid meta)
kill -STOP "$meta"
kill -KILL "$(shd_pid agent)"
ok "an agent that is starting refuses" wait_for 'api GET /api/v1/topics >/dev/null; [ "$(api_status)" = 503 ]' 30
fails 7 "the refusal is an error once the timeout has passed" streamctl --timeout 2s topic list
said "... with what the server says of it" "not serving yet"
before=$(refusals)
streamctl topic create retried >created 2>&1 &
creator=$!
seq 1 3 | streamctl produce early --timeout 20s >produced 2>&1 &
producer=$!
ok "both are refused at first" wait_for '[ "$(refusals)" -ge $((before + 2)) ]' 20
kill -CONT "$meta"
wait $creator
is "$?$(cat created)" 0 "a change that is refused for now is sent again"
wait $producer
is $? 4 "so is the first look-up of a topic, which gets its answer then"
ok "the topic is there" streamctl topic describe retried

# ---- input that is not as meant ----
streamctl topic create input
echo '{"valu":"a"}' >typo
fails 11 "a member that is mistyped is no record of null" streamctl produce input -f ndjson typo
said "... and is named" 'record 1: .*"valu" is no member'
echo '{"value":null,"key":null}' | streamctl produce input -f ndjson
ok "null for key and value comes back" sh -c 'streamctl consume input -e -o ndjson | streamctl produce input -f ndjson'
is "$(streamctl consume input -e -f '%K %V,')" "-1 -1,-1 -1," "... as null"
printf 'a b c\n' >spaces
fails 11 "a format that the data does not fit" streamctl produce input -f '%k %v\n' spaces
said "... with the option that does" "^  -K ' ' instead of -f"
ok "... which does" streamctl produce input -K ' ' spaces
is "$(streamctl consume input --from -1 -e -f '%k=%v')" "a=b c" "... at the first delimiter"
fails 11 "one that no option can take the place of" streamctl produce input -f '%v %k\n' spaces
said "... with the formats that do" "put its length .*before it, or use .json"
head -c 1500000 /dev/urandom | base64 -w 0 >large
fails 11 "a line above max.message.bytes" streamctl produce input large
said "... with the setting to raise" "^  streamctl topic alter input -C max.message.bytes=[0-9]+"
ok "... which helps" $(sed -n 's/^  \(streamctl topic alter [^,]*\),.*/\1/p' "$TMP/ok.out")
ok "... enough" streamctl produce input large

fails 2 "a setting that is not UTF-8 is refused, not left out" streamctl topic create broken -C "durability=$(printf '\377')"
fails 2 "... when a topic is altered, too" streamctl topic alter input -C "durability=$(printf '\377')"

streamctl topic create files
seq 1 3 >a
seq 1 2 >b
printf '{"value":"1"}\n{"value":"2"}\n{\n' >c
mkdir directory
fails 4 "a file that is missing" streamctl produce files a b missing a
said "... and what is sent" "^  5 records acknowledged: 0 of missing, all of the 2 files before it; 1 file was not read"
fails 10 "a directory" streamctl produce files a directory
said "... and what is sent" "^  3 records acknowledged: 0 of directory, all of the 1 file before it$"
fails 11 "bad input in a file" streamctl produce files -f ndjson c a
said "... and what is sent" "^  2 records acknowledged: 2 of c; 1 file was not read$"
head -n 1 c >one
fails 4 "one file" streamctl produce files -f ndjson one missing
said "one record is one" "^  1 record acknowledged: 0 of missing"
is "$(streamctl consume files -e | wc -l)" 11 "... which is what is there"

# ---- offsets that are not there ----
streamctl topic create -p 2 short
seq 1 5 | streamctl produce short -p 1
fails 4 "an offset beyond the end, with -e" streamctl consume short -p 1 -e --from 6
said "... with the valid range" "short/1: offset 6 is outside the valid range 0 to 5"
fails 4 "... of all partitions" streamctl consume short -e --from 6
said "... which it says" "the other partitions end before it"
is "$(streamctl consume short -e --from 4)" 5 "one that some partition has is no error"
is "$(streamctl consume short -p 1 -e --from 5)" "" "nor is the end"
streamctl consume short -p 1 --from 6 -n 1 >waited 2>note &
waiting=$!
ok "without -e it is waited for, which is said" \
	wait_for 'grep -q "short/1: offset 6 is beyond the valid range 0 to 5; waiting for it" note' 20
seq 6 7 | streamctl produce short -p 1
wait $waiting
is "$(cat waited)" 7 "... and read when it comes"

is "$(streamctl consume short -p 1 --from 6 -e -v 2>&1 >waited | sed 's/ in .*//')" "1 record" "one record is one"

# ---- ways to write things ----
ok "HOST:PORT is a server" streamctl -s "127.0.0.1:$PORT" topic list
fails 2 "another scheme is none" streamctl -s "ftp://127.0.0.1:$PORT" topic list
fails 2 "a time without a unit" streamctl --timeout 5 topic list
said "... could be two things" "^  5s are seconds, 5ms milliseconds"
fails 2 "a linger time as well" streamctl produce short --linger 5 a
like "$(streamctl topic list)" "^NAME +PARTITIONS +RECORDS +SIZE +DURABILITY" "headings say what other commands say"
like "$(streamctl topic list -o tsv)" "message_count	size_bytes" "... while scripts get the names of the API"
is "$(api GET /metrics | grep -c '[0-9]\.[0-9]*000000[0-9]$')" 0 "metrics have no digits that mean nothing"
api POST /api/v1/topics/short/records -H 'Content-Type: application/json' -d '{}' >answer
is "$(api_status)" 415 "JSON is no type of records"
like "$(cat answer)" "application/x-ndjson.*JSON goes to POST /api/v1/produce" "... and the hint says where it goes"

done_testing
