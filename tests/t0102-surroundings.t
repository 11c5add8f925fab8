# SPDX-License-Identifier: Apache-2.0
# shd where things are not as usual: odd paths, standard descriptors that are closed, few descriptors, directories that fail.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

serves() { # records go in and come back
	api POST /api/v1/topics -d '{"name":"t","partitions":1}' >/dev/null
	api POST /api/v1/produce -d '{"topic":"t","partition":0,"value":"hello","durability":"object"}' >/dev/null
	[ "$(api_status)" = 200 ] || return 1
	api GET '/api/v1/consume?topic=t&partition=0&offset=0&max_records=1' | grep -q hello
}

# ---- where the data are ----
cd "$TMP" || bail 'no directory'
printf 'log.level = info\n' >"$TMP/conf"
DATA='with space, "quotes" %20 # and ?'
SHD_LOG=$TMP/odd.log
start_shd -f conf
ok 'a relative data directory with odd characters' serves
like "$(cat "$SHD_LOG")" 'data in /.*with space, "quotes" %20 # and \?$' 'its full path is in the log'
stop_shd
is $? 0 'and it drains'

DATA=$TMP/$(printf '%0200d/%0200d' 1 2)
start_shd
ok 'a path of more than four hundred characters' serves
stop_shd
"$SHD" -D "$TMP/$(printf '%0250d/%0250d/%0250d/%0250d' 1 2 3 4)" -O http.listen=127.0.0.1:0 >"$TMP/out" 2>&1
is $? 1 'one of more than a thousand is too much for SQLite'
like "$(cat "$TMP/out")" 'meta.*: the path has 1[0-9]* bytes, more than the [0-9]* that SQLite takes' 'which is said'

mkdir "$TMP/elsewhere"
ln -s elsewhere "$TMP/link"
DATA=$TMP/link
start_shd -O "object.url=file://$TMP/objects" -O "meta.url=sqlite://$TMP/meta/m.db" -f conf
ok 'a data directory behind a symbolic link' serves
"$SHD" -D "$TMP/elsewhere" -O http.listen=127.0.0.1:0 >"$TMP/second" 2>&1
is $? 5 'is the same directory as without it'

# ---- URLs in full, across a reload ----
urls() {
	api GET /api/v1/status | tr ',' '\n' | grep -o '"[a-z]*_url":"[^"]*"' | sort | tr '\n' ' '
}
want="\"metadata_url\":\"sqlite://$TMP/meta/m.db\" \"object_url\":\"file://$TMP/objects\" "
is "$(urls)" "$want" 'status names the URLs that were set'
for level in debug info debug info; do
	echo "log.level = $level # $(printf '%0999d' 0)" >"$TMP/conf"
	before=$(grep -c 'settings reloaded' "$SHD_LOG")
	kill -HUP "$SHD_PID"
	wait_for '[ "$(grep -c "settings reloaded" "$SHD_LOG")" -gt "$before" ]' 20
done
wait_for '[ "$(urls)" = "$want" ]' 5 # what an agent remembers may be a moment old
is "$(urls)" "$want" 'also after settings were read again'
stop_shd

# ---- standard descriptors ----
DATA=$TMP/closed
mkdir "$DATA"
"$SHD" -D "$DATA" -O http.listen=127.0.0.1:0 -O log.level=debug <&- >&- 2>&- &
SHD_PID=$!
wait_for '[ -e "$DATA/run/ready" ]' 30
ok 'shd starts with standard descriptors closed' test -e "$DATA/run/ready"
PORT=$(cat "$DATA/run/http.port") URL=http://127.0.0.1:$PORT
ok 'and serves' serves
is "$(cat "$DATA/shd.lock")" "$SHD_PID" 'log lines did not go into the lock file'
is "$(for pid in "$SHD_PID" $(children "$SHD_PID"); do
	for fd in 0 1 2; do readlink "/proc/$pid/fd/$fd"; done
done | sort -u)" /dev/null 'nothing of ours is where others write'
stop_shd

# ---- few descriptors ----
limited() { # ulimit-arg...: a shd under that limit
	printf '#!/bin/sh\nulimit %s\nexec "%s" "$@"\n' "$*" "$SHD" >"$TMP/limited$1"
	chmod +x "$TMP/limited$1"
	echo "$TMP/limited$1"
}
soft=$(limited -S -n 600) hard=$(limited -n 64)
SHD=$soft DATA=$TMP/soft
start_shd
is "$(awk '/open files/ { print $4 == $5 }' "/proc/$(shd_pid agent)/limits")" 1 'a soft limit is raised as far as it goes'
stop_shd
SHD=$hard DATA=$TMP/few SHD_LOG=$TMP/few.log
start_shd -O http.max_connections=1000 -O http.header_timeout=60s
ok 'with 64 descriptors shd serves' serves
like "$(cat "$SHD_LOG")" 'warn .*may open 64 descriptors only: fewer than http.max_connections=1000' 'and warns that they are few'
open_descriptors() {
	ls "/proc/$(shd_pid agent)/fd" | wc -l
}
clients= before=$(open_descriptors)
for n in $(seq 70); do
	printf 'GET / HTTP/1.1\r\n' | raw-http "$PORT" -t 60000 >/dev/null 2>&1 &
	clients="$clients $!"
done
ok 'clients get a share of what the agent can open' wait_for '[ "$(open_descriptors)" -ge $((before + 16)) ]' 20
ok 'and leave the rest to the log' test "$(open_descriptors)" -lt 60
for role in meta store; do
	pid=$(shd_pid $role)
	kill -KILL "$pid"
	wait_for '! alive "$pid" && [ -n "$(shd_pid $role)" ]' 20
done
kill $clients 2>/dev/null
{ wait $clients; } 2>/dev/null
ok 'when they are gone all is well, though meta and store were started anew meanwhile' wait_for serves 30
stop_shd
is $? 0 'and shd ends as it should'

# ---- a directory that cannot be written ----
if [ "$(id -u)" = 0 ]; then
	skip 'a data directory that cannot be written' 'root may write everywhere'
else
	mkdir "$TMP/fixed"
	chmod 500 "$TMP/fixed"
	"$SHD" -D "$TMP/fixed" -O http.listen=127.0.0.1:0 >"$TMP/out" 2>&1
	is $? 10 'a data directory that cannot be written'
fi
done_testing
