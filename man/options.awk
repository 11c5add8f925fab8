# SPDX-License-Identifier: Apache-2.0
# Copies a man page; a line "@OPTIONS@" or "@OPTIONS subcommand@" becomes the options that `program` prints of its own table.
/^@OPTIONS( [a-z]+)?@$/ {
	sub(/^@OPTIONS ?/, "")
	sub(/@$/, "")
	fflush()
	if (system(program " --list-options=mdoc " $0) != 0)
		exit 1
	next
}
{ print }
