# SPDX-License-Identifier: Apache-2.0
# A command: its program here, its line in command-list.def, its page in man/automake.mk.
bin_PROGRAMS += cmd/streamctl
cmd_streamctl_SOURCES = cmd/streamctl.c cmd/completion.c cmd/completion.h cmd/find.c cmd/find.h cmd/command-list.def
cmd_streamctl_LDADD = $(CMD_LIBS)

# What every command is made of.
noinst_LIBRARIES += cmd/libcmd.a
cmd_libcmd_a_SOURCES = \
	cmd/command.c cmd/command.h \
	cmd/output.c cmd/output.h
CMD_LIBS = cmd/libcmd.a libsh/libshrun.a libsh/libshbase.a
