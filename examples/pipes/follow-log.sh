#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Follows a growing file into a topic, a record a line, also when the file is rotated: follow-log.sh FILE TOPIC
set -eu
[ $# -eq 2 ] || {
	echo "usage: follow-log.sh FILE TOPIC" >&2
	exit 2
}
streamctl topic create "$2" --if-not-exists >&2
tail -n 0 -F "$1" | streamctl produce "$2" -k "$(hostname):$1"
