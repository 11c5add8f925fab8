# SPDX-License-Identifier: Apache-2.0
# Includes point down only: base <- format <- run <- store; commands and roles do not know each other.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

cd "$top_srcdir" || exit 1

# files PATTERN...: the sources that are in these places, one a line
sources() {
	find "$@" -name '*.[ch]' 2>/dev/null | sort
}

# only TITLE ALLOWED-REGEX FILE...: each include in quotes matches
only() {
	title=$1 allowed="^(config\\.h|$2)\$"
	shift 2
	grep -Hn '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' /dev/null "$@" |
		sed 's/^\([^:]*:[0-9]*\):[^"]*"\([^"]*\)".*/\2 \1/' |
		while read -r included where; do
			printf '%s\n' "$included" | grep -Eq "$allowed" || echo "$where includes $included"
		done >"$TMP/wrong"
	is "$(cat "$TMP/wrong")" '' "$title"
}

# door HEADER-REGEX WHERE-REGEX TITLE: these headers of other people are included nowhere else
door() {
	sources libsh daemon cmd | xargs grep -HEn "^[[:space:]]*#[[:space:]]*include[[:space:]]*<($1)>" /dev/null |
		grep -Ev "^($2)" >"$TMP/wrong"
	is "$(cat "$TMP/wrong")" '' "$3"
}

base='libsh/base/[a-z0-9_]+\.h'
format='libsh/(base|format)/[a-z0-9_]+\.h'
run='libsh/(base|format|run)/[a-z0-9_]+\.(h|def)'
store='libsh/(base|format|run|store)/[a-z0-9_]+\.(h|def)'

ok 'there are sources to look at' test -n "$(sources libsh daemon cmd)"
only 'libsh/base includes itself only' \
	"$base" $(sources libsh/base)
only 'libsh/format includes base and itself' \
	"$format" $(sources libsh/format)
only 'libsh/run includes base, format and itself' \
	"$run" $(sources libsh/run)
only 'libsh/store includes what is below it' \
	"$store" $(sources libsh/store)
only 'the supervisor knows no records, no stores and no roles' \
	'libsh/(base|run)/[a-z0-9_]+\.(h|def)|daemon/[a-z0-9_]+\.h' $(sources daemon -maxdepth 1)
for role in store meta janitor; do
	only "the $role role knows no other role" \
		"$store|daemon/[a-z0-9_]+\\.h|daemon/$role/[a-z0-9_]+\\.h" $(sources "daemon/$role")
done
only 'the agent role knows no other role' \
	"$store|daemon/[a-z0-9_]+\\.h|daemon/agent/([a-z]+/)?[a-z0-9_]+\\.h" $(sources daemon/agent -maxdepth 1)
only 'the log does not know the protocols' \
	"$store|daemon/[a-z0-9_]+\\.h|daemon/agent/log/[a-z0-9_]+\\.h" $(sources daemon/agent/log)
only 'the connection layer knows neither the log nor a protocol' \
	"$store|daemon/[a-z0-9_]+\\.h|daemon/agent/conn/[a-z0-9_]+\\.h" $(sources daemon/agent/conn)
only 'HTTP knows the log by log.h only' \
	"$store|daemon/[a-z0-9_]+\\.h|daemon/agent/(http|conn)/[a-z0-9_]+\\.h|daemon/agent/log/log\\.h" $(sources daemon/agent/http)
only 'commands do not know the daemon' \
	"$store|cmd/[a-z0-9_-]+\\.(h|def)" $(sources cmd)

door 'sqlite3\.h' 'libsh/store/' 'SQLite has one door: the metadata drivers'
door 'curl/.*' 'libsh/run/http_client\.c' 'libcurl has one door: the HTTP client'
door 'expat\.h' 'libsh/store/object_xml\.c' 'expat has one door: the reader of the XML of S3'
door 'openssl/.*' 'libsh/format/sigv4\.c|daemon/agent/conn/' 'OpenSSL has two doors: signatures, and the connection layer'
door 'lz4.*|zstd.*|zlib\.h|snappy.*' 'libsh/format/' 'codecs have one door: libsh/format'

# What a program links is what a bug in it can reach.
links() { # program: libraries it needs, one a line
	readelf -d "$1" 2>/dev/null | sed -n 's/.*(NEEDED).*\[\([^]]*\)\].*/\1/p'
}
links_none() { # program REGEX TITLE
	if [ -x "$top_builddir/$1" ] && command -v readelf >/dev/null; then
		is "$(links "$top_builddir/$1" | grep -E "$2")" '' "$3"
	else
		skip "$3" 'no program or no readelf'
	fi
}
links_none daemon/shd 'curl|sqlite|jansson|lz4|zstd|snappy|libz|ssl|crypto' 'the supervisor links the C library only'
links_none daemon/agent/shd-agent 'curl|sqlite' 'the agent links no libcurl and no SQLite'
links_none daemon/store/shd-store 'sqlite' 'the store links no SQLite'
links_none daemon/meta/shd-meta 'curl' 'meta links no libcurl'
links_none cmd/streamctl-produce 'sqlite' 'streamctl produce links no SQLite'
done_testing
