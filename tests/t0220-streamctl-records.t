# SPDX-License-Identifier: Apache-2.0
# streamctl produce and consume give back every byte, choose partitions and offsets as they say, and end as they say.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"
start_shd
cd "$TMP" || exit 1

# ---- bytes ----
streamctl topic create lines
printf 'one\n\ntwo with spaces\nlast without end' >in
ok "lines are sent" streamctl produce lines in
printf 'one\n\ntwo with spaces\nlast without end\n' >want
streamctl consume lines -e >out
same out want "lines come back in order, the last one ended"

streamctl topic create -p 3 bytes
cat >records.ndjson <<'END'
{"partition":0,"timestamp":1700000000000,"key":"k","value":"v","headers":[["h","v"],["h",null],["b",{"base64":"/wA="}]]}
{"partition":0,"timestamp":1700000000001,"value":""}
{"partition":2,"timestamp":1700000000002,"key":""}
{"partition":1,"timestamp":1700000000003,"key_base64":"AP8K","value":"two\nlines\t\"quoted\" \\ \u0001"}
{"partition":1,"timestamp":-1,"value_base64":"/////w=="}
END
ok "JSON lines are sent to their partitions" streamctl produce bytes -f ndjson records.ndjson
streamctl consume bytes -e -o ndjson | sort >first
streamctl topic create -p 3 again
streamctl consume bytes -e -o ndjson | streamctl produce again -f ndjson
streamctl consume again -e -o ndjson | sort >second
same first second "consume -o ndjson | produce -f ndjson keeps every byte, partition and offset"
n=0
for format in '%p %K %V %T %h %k%v\n' '%p,%T,%h,%k{hex},%v{base64}\n' '%k{json}%v{json}%T %p %h' \
	'%t %o %p %T{rfc3339} %h %K:%k%V:%v'; do
	n=$((n + 1))
	streamctl topic create -p 3 "format$n"
	for p in 0 1 2; do
		streamctl consume bytes -p $p -e -f "$format" | streamctl produce "format$n" -f "$format"
	done
	streamctl consume "format$n" -e -o ndjson | sort >second
	same first second "so does format $n"
done
head -c 300000 /dev/urandom >blob
streamctl topic create nul
{ tr '\0' x <blob | tr '\n' '\0' && printf '\0'; } >in
ok "records that end with NUL" streamctl produce nul -0 in
streamctl consume nul -e -0 >out
same out in "... come back the same, whatever they hold"
for codec in none gzip snappy lz4 zstd; do
	streamctl topic create "z-$codec"
	seq 1 20000 >in
	streamctl produce "z-$codec" -z $codec in
	streamctl consume "z-$codec" -e >out
	same out in "compressed with $codec"
done

# ---- keys, partitions, headers ----
streamctl topic create -p 4 keys
printf 'a:1\nb:2\na:3\nnone\n' | streamctl produce keys -K :
is "$(streamctl consume keys -e -f '%k=%v %p\n' | sed -n 's/^a=\([13]\) .*/\1/p' | tr '\n' ' ')" "1 3 " "a key keeps its order"
# The partitions that Kafka's clients choose, of four: murmur2 of the keys.
is "$(streamctl consume keys -e -f '%k %p\n' | grep -v '^ ' | sort -u | tr '\n' ' ')" "a 0 b 0 " "keys go where Kafka would send them"
echo x | streamctl produce keys -p 3 -H a=1 -H b= -k key
is "$(streamctl consume keys -p 3 -e --from -1 -f '%k %v %h')" 'key x [["a","1"],["b",""]]' "-k, -p and -H"
echo '{"partition":1,"value":"y"}' | streamctl produce keys -f ndjson -p 2
is "$(streamctl consume keys -p 2 -e --from -1)" y "-p wins over the partition of a JSON line"
printf '\n' | streamctl produce keys -p 2 -Z
is "$(streamctl consume keys -p 2 -e --from -1 -f %V)" -1 "-Z sends null for empty"

# ---- offsets ----
seq 0 999 | streamctl produce format1 -p 0 --batch-bytes 300
streamctl topic create offsets
for i in 1 2 3; do seq $((i * 100)) $((i * 100 + 99)) | streamctl produce offsets; done
is "$(streamctl consume offsets -e | wc -l)" 300 "-e reads from the earliest to the end"
is "$(streamctl consume offsets --from 5 -n 2 | tr '\n' ' ')" "105 106 " "--from a number, -n"
is "$(streamctl consume offsets --from -3 -e | tr '\n' ' ')" "397 398 399 " "--from -3"
is "$(streamctl consume offsets --from 99 --to 101 | tr '\n' ' ')" "199 200 " "--to is exclusive"
is "$(streamctl consume offsets --from latest -e)" "" "latest is the end"
is "$(streamctl consume offsets --from @-1h -e | wc -l)" 300 "--from a time"
is "$(streamctl consume offsets --to @-1h | wc -l)" 0 "--to a time that has passed ends by itself"
echo '{"timestamp":4102444800000,"value":"future"}' | streamctl produce offsets -f ndjson
is "$(streamctl consume offsets --from @2099-01-01 -e)" future "a time is exact to the record"
is "$(streamctl consume 'off*,lines' -e | wc -l)" 305 "patterns and lists of topics"
is "$(streamctl consume offsets -e --grep '^10[0-4]$' | wc -l)" 5 "--grep"
is "$(streamctl consume offsets -n 2 --exec 'cat; echo " $STREAMCTL_OFFSET"' | tr '\n' ' ')" "100 0 101 1 " \
	"--exec runs for each record"
fails 3 "--exec that fails ends it" streamctl consume offsets -e --exec 'test $STREAMCTL_OFFSET -lt 2'

# ---- following ----
streamctl consume lines >follow &
follower=$!
wait_for 'echo ping | streamctl produce lines && grep -q ping follow' 20
ok "a follower sees new records" grep -q ping follow
kill -INT $follower
wait $follower
is $? 0 "an interrupt ends following with success"
mkfifo slow
streamctl produce lines --linger 5ms <slow &
producer=$!
exec 4>slow
echo "sent at once" >&4
ok "a single line is sent while the input stays open" wait_for 'streamctl consume lines -e | grep -q "sent at once"' 20
kill -INT $producer
wait $producer
is $? 3 "an interrupted produce says that the rest is missing"
exec 4>&-

# ---- statuses ----
fails 4 "no such topic" streamctl produce nothing </dev/null
fails 4 "no such topic to read" streamctl consume nothing -e
fails 4 "no such partition" streamctl consume lines -p 7 -e
fails 5 "a topic that exists" streamctl topic create lines
ok "... but --if-not-exists" streamctl topic create lines --if-not-exists
fails 2 "a format that cannot be read back" streamctl produce lines -f '%k%v' </dev/null
fails 2 "an unknown option" streamctl consume lines --nope
fails 2 "delete without a terminal" streamctl topic delete lines </dev/null
fails 7 "no server" streamctl -s http://127.0.0.1:1 topic list
fails 12 "groups" streamctl consume lines -g g
fails 12 "resuming" streamctl produce lines --resume-id x </dev/null
echo '{"value":"good"}' >mixed
echo '{"value":' >>mixed
fails 11 "bad input" streamctl produce lines -f ndjson mixed
is "$(streamctl consume lines --from -1 -e)" good "... what stood before it was sent"
head -c 3000000 /dev/zero | tr '\0' x >large
fails 11 "a record above max.message.bytes" streamctl produce lines large
ok "... which fits when compressed" streamctl produce lines -z zstd large
is "$(streamctl consume lines -e | head -n 1)" one "a reader that goes away"
before=$(streamctl consume lines -e | wc -l)
ok "--dry-run" streamctl produce lines --dry-run in
is "$(streamctl consume lines -e | wc -l)" "$before" "... sends nothing"
like "$(seq 1 3 | streamctl produce lines --acks)" '^0	[0-9]+	[0-9]+	3	wal$' "--acks prints what was reached"
like "$(echo x | streamctl produce lines --acks --durability object)" 'object$' "--durability object"

# ---- contexts and globals ----
mkdir -p "$XDG_CONFIG_HOME/streamctl"
printf '# servers\n[here]\nserver = %s\n' "$URL" >"$XDG_CONFIG_HOME/streamctl/config"
ok "-c takes the server from the configuration" env -u STREAMCTL_SERVER streamctl -c here topic describe lines
ok "... over the environment" env STREAMCTL_SERVER=http://127.0.0.1:1 streamctl topic list -c here
fails 2 "an unknown context" streamctl -c there topic list
printf 'current = here\n[here]\nserver = %s\n' "$URL" >"$XDG_CONFIG_HOME/streamctl/config"
ok "the current context is the default" env -u STREAMCTL_SERVER streamctl topic list
mkdir bin
printf '#!/bin/sh\necho "foo $* $STREAMCTL_OUTPUT"\n' >bin/streamctl-foo
chmod +x bin/streamctl-foo
is "$(PATH=$TMP/bin:$PATH streamctl -o json foo a b)" "foo a b json" "a program on PATH is a command; globals are in its environment"
fails 2 "an unknown command" streamctl bar
ok "help without a command" streamctl --help

# ---- the server goes away ----
streamctl topic create closed -q
fails 10 'a closed standard input is an error, not the next socket' timeout 20 sh -c 'streamctl produce closed <&-'
fails 10 'so is a closed standard output' timeout 20 sh -c 'streamctl topic list >&-'

kill_shd
fails 7 "produce with the server gone" streamctl --timeout 2s produce lines in
fails 7 "consume with the server gone" streamctl --timeout 2s consume lines -e

done_testing
