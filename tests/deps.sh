#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing need on Debian 12. Does nothing, and needs no network, when all of it is there.
#
#	sh tests/deps.sh          everything
#	sh tests/deps.sh build    only what building needs
set -eu

build='autoconf automake make gcc libc6-dev pkg-config
	libjansson-dev liblz4-dev libzstd-dev libsnappy-dev zlib1g-dev libcurl4-openssl-dev libssl-dev libexpat1-dev
	libsqlite3-dev'
# clang and its run-time for the sanitizers and fuzzers; mandoc lints the manual; the shells try their completions;
# curl and jq speak to the API from outside; sqlite3 looks into the metadata; xz-utils packs for make distcheck;
# radosgw with ceph-mon and ceph-osd is an S3 service that is not ours, openssl makes its certificate; python3-swift is
# one without conditional create.
test='clang libclang-rt-14-dev mandoc curl jq sqlite3 bash-completion zsh fish xz-utils binutils
	radosgw ceph-mon ceph-osd openssl python3-swift'

case ${1:-all} in
all) wanted="$build $test" ;;
build) wanted=$build ;;
*)
	echo "usage: sh tests/deps.sh [build]" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: not a Debian system; these packages, or what they are called here, are needed:" $wanted >&2
	exit 0
fi

missing=
for package in $wanted; do
	case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || :) in
	*' installed') ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
	as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	as_root='sudo -n'
else
	echo "deps.sh: missing:$missing" >&2
	echo "deps.sh: run this as root: apt-get install -y --no-install-recommends$missing" >&2
	exit 1
fi

apt() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null >&2
}
echo "deps.sh: installing$missing" >&2
# Lists that are there may do; a fresh machine has none, and old ones name files that are gone.
apt install --no-install-recommends $missing 2>/dev/null || {
	apt update
	apt install --no-install-recommends $missing
}
