# SPDX-License-Identifier: Apache-2.0
# What every role program links; each role's folder lists its own program.
noinst_LIBRARIES += daemon/libshdaemon.a
daemon_libshdaemon_a_SOURCES = \
	daemon/messages.c daemon/messages.h \
	daemon/peer.c daemon/peer.h \
	daemon/role.c daemon/role.h

# The supervisor: libc only.
sbin_PROGRAMS += daemon/shd
daemon_shd_SOURCES = \
	daemon/children.c daemon/children.h \
	daemon/configuration.c daemon/configuration.h \
	daemon/datadir.c daemon/datadir.h \
	daemon/listeners.c daemon/listeners.h \
	daemon/notify.c daemon/notify.h \
	daemon/program.c daemon/program.h \
	daemon/shd.c \
	daemon/supervisor.c daemon/supervisor.h
daemon_shd_LDADD = daemon/libshdaemon.a libsh/libshrun.a libsh/libshbase.a

include daemon/agent/automake.mk
include daemon/store/automake.mk
include daemon/meta/automake.mk
include daemon/janitor/automake.mk
