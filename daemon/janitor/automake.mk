# SPDX-License-Identifier: Apache-2.0
pkglibexec_PROGRAMS += daemon/janitor/shd-janitor
daemon_janitor_shd_janitor_SOURCES = \
	daemon/janitor/janitor.c daemon/janitor/janitor.h \
	daemon/janitor/orphans.c \
	daemon/janitor/snapshots.c
daemon_janitor_shd_janitor_LDADD = daemon/libshdaemon.a libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a
