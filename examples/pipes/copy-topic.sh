#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copies a topic into another, byte for byte: copy-topic.sh FROM TO. NDJSON carries keys, headers, timestamps, nulls and
# partitions; give the copy as many partitions as the original to keep the latter.
set -eu
[ $# -eq 2 ] || {
	echo "usage: copy-topic.sh FROM TO" >&2
	exit 2
}
streamctl consume "$1" --from earliest --exit -o ndjson | streamctl produce "$2" -f ndjson
