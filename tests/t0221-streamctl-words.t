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

done_testing
