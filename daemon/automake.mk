# SPDX-License-Identifier: Apache-2.0
# What every role program links; each role's folder lists its own program.
noinst_LIBRARIES += daemon/libshdaemon.a
daemon_libshdaemon_a_SOURCES = \
	daemon/messages.c daemon/messages.h \
	daemon/peer.c daemon/peer.h \
	daemon/role.c daemon/role.h

include daemon/agent/automake.mk
include daemon/store/automake.mk
include daemon/meta/automake.mk
include daemon/janitor/automake.mk
