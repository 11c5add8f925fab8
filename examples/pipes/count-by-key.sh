#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Records per key, most frequent first: count-by-key.sh TOPIC
set -eu
[ $# -eq 1 ] || {
	echo "usage: count-by-key.sh TOPIC" >&2
	exit 2
}
streamctl consume "$1" --from earliest --exit -f '%k\n' | sort | uniq -c | sort -rn
