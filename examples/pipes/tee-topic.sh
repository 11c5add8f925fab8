#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Passes standard input on and keeps a copy in a topic: make 2>&1 | tee-topic.sh builds
set -eu
[ $# -eq 1 ] || {
	echo "usage: tee-topic.sh TOPIC" >&2
	exit 2
}
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
mkfifo "$directory/pipe"
streamctl produce "$1" <"$directory/pipe" >&2 &
tee -p "$directory/pipe" # -p: what passes through goes on when the copy fails
wait $!
