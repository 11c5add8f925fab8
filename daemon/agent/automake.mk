# SPDX-License-Identifier: Apache-2.0
# shd-agent: the log and the protocols are libraries of their own, so that tests can drive each alone.
noinst_LIBRARIES += daemon/agent/libshlog.a
daemon_agent_libshlog_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
daemon_agent_libshlog_a_SOURCES = \
	daemon/agent/log/append.c \
	daemon/agent/log/fetch.c \
	daemon/agent/log/flush.c \
	daemon/agent/log/log.c daemon/agent/log/log.h \
	daemon/agent/log/log_private.h \
	daemon/agent/log/producers.c \
	daemon/agent/log/quarantine.c \
	daemon/agent/log/recover.c \
	daemon/agent/log/runs.c \
	daemon/agent/log/seek.c \
	daemon/agent/log/session.c \
	daemon/agent/log/tail.c \
	daemon/agent/log/topic_config.c \
	daemon/agent/log/topics.c \
	daemon/agent/log/waits.c \
	daemon/agent/log/wal.c daemon/agent/log/wal.h \
	daemon/agent/log/wal_private.h \
	daemon/agent/log/wal_thread.c
