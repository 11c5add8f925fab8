# SPDX-License-Identifier: Apache-2.0
# Every command of the list has its program, man page and completions, and mandoc has nothing to say about any page.
. "${top_srcdir:-$(dirname "$0")/..}/tests/lib.sh"

pages=$top_builddir/man
page() { # name.section: where it is
	if [ -e "$pages/$1" ]; then echo "$pages/$1"; else echo "$top_srcdir/man/$1"; fi
}

commands=$(sed -n 's/^COMMAND(\([a-z]*\),.*/\1/p' "$top_srcdir/cmd/command-list.def")
ok "the list has commands" test -n "$commands"
for command in $commands; do
	ok "$command has a program" test -x "$top_builddir/cmd/streamctl-$command"
	ok "$command has a man page" test -e "$(page "streamctl-$command.1")"
	ok "$command prints its help" "$STREAMCTL" "$command" --help
	ok "bash completes $command" grep -Eq "^	\"$command[ a-z]*\"\\) words=" "$top_builddir/completions/streamctl"
	ok "zsh completes $command" grep -q "^_streamctl_$command" "$top_builddir/completions/_streamctl"
	ok "fish completes $command" grep -q "__fish_seen_subcommand_from $command" "$top_builddir/completions/streamctl.fish"
	ok "streamctl(1) names it" grep -q "Xr streamctl-$command 1" "$(page streamctl.1)"
done

for shell in bash zsh fish; do
	file=$top_builddir/completions/streamctl
	[ $shell != zsh ] || file=$top_builddir/completions/_streamctl
	[ $shell != fish ] || file=$file.fish
	if command -v $shell >/dev/null; then
		ok "$shell can read its completions" $shell -n "$file"
	else
		skip "$shell can read its completions" "no $shell here"
	fi
done

if command -v bash >/dev/null; then
	complete() { # words...: what bash would offer
		bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _streamctl; echo "${COMPREPLY[*]}"' \
			"$top_builddir/completions/streamctl" "$@"
	}
	is "$(complete streamctl prod)" produce "bash completes a command"
	is "$(complete streamctl topic cr)" create "... a subcommand"
	is "$(complete streamctl -s URL produce --comp)" --compress "... an option, behind a global one"
	is "$(complete streamctl produce -z zs)" zstd "... an option's argument"
	start_shd
	"$STREAMCTL" topic create a-topic && "$STREAMCTL" topic create another
	is "$(complete streamctl consume a-t)" a-topic "... a live topic"
	is "$(complete streamctl topic delete ano)" another "... for subcommands, too"
	stop_shd
fi

if command -v mandoc >/dev/null; then
	for file in "$pages"/*.[1-8] "$top_srcdir"/man/*.[1-8]; do
		[ -e "$file" ] || continue
		is "$(mandoc -T lint -W warning "$file" 2>&1)" "" "mandoc has nothing to say about $(basename "$file")"
	done
else
	skip "mandoc has nothing to say" "no mandoc here"
fi
done_testing
