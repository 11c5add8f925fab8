# SPDX-License-Identifier: Apache-2.0
# A reader who sees foo_bar() knows that it lives in foo.c, or in one of the files that share its name's first word.
#
# Rule: what dir/foo_more.c exports starts with foo_, or with dir_ where a folder is one family. The table below names the files that export other families,
# because one header describes a family that several files implement.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

command -v nm >/dev/null || skip_all 'no nm'

families() { # file without .c: prefixes, separated by |, that it may export besides its own
	case $1 in
	daemon/messages) echo 'msg_|role_name' ;;
	daemon/peer) echo 'role_answer' ;;
	libsh/base/bytes) echo 'varint_|varlong_' ;;
	libsh/base/log) echo 'fatal' ;;
	libsh/base/mem) echo 'arena_' ;;
	libsh/format/batch_reader | libsh/format/batch_writer) echo 'record_' ;;
	libsh/format/compress) echo 'codec_|block_' ;;
	daemon/agent/log/log) echo 'durability_' ;;
	daemon/agent/log/topics) echo 'partition_' ;;
	daemon/agent/log/waits) echo 'unsynced_' ;;
	daemon/store/fill) echo 'cache_' ;;
	*) echo ;;
	esac
}

cd "$top_builddir" || exit 1
: >"$TMP/wrong"
count=0
for object in $(find libsh daemon cmd -name '*.o' ! -name '*_fuzz*' 2>/dev/null | sort); do
	file=${object%.o}
	name=${file##*/}
	name=${name##*-}
	file=${file%/*}/$name
	word=${name%%_*}
	word=${word%s}
	folder=${file%/*}
	folder=${folder##*/}
	also=$(families "$file")
	count=$((count + 1))
	nm -g --defined-only "$object" 2>/dev/null |
		awk -v file="$file" -v allowed="^(main\$|_|(${word}s?|$folder)(_|\$)${also:+|$also})" \
			'NF == 3 && $3 !~ allowed && $3 !~ /^(asan|ubsan|llvm)/ { print file ".c exports " $3 }' >>"$TMP/wrong"
done
ok 'there are objects to look at' test "$count" -gt 0
is "$(sort -u "$TMP/wrong")" '' 'each file exports names that lead to it'
done_testing
