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

noinst_LIBRARIES += daemon/agent/libshhttp.a
daemon_agent_libshhttp_a_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
daemon_agent_libshhttp_a_SOURCES = \
	daemon/agent/conn/conn.c daemon/agent/conn/conn.h \
	daemon/agent/http/answer.c \
	daemon/agent/http/append.c daemon/agent/http/append.h \
	daemon/agent/http/checking.c daemon/agent/http/checking.h \
	daemon/agent/http/handle_agents.c \
	daemon/agent/http/handle_basic.c \
	daemon/agent/http/handle_consume.c \
	daemon/agent/http/handle_metrics.c \
	daemon/agent/http/handle_produce.c \
	daemon/agent/http/handle_records_get.c \
	daemon/agent/http/handle_records_post.c \
	daemon/agent/http/handle_status.c \
	daemon/agent/http/handle_topics.c \
	daemon/agent/http/handlers.h \
	daemon/agent/http/http.h \
	daemon/agent/http/parser.c daemon/agent/http/parser.h \
	daemon/agent/http/partition_choice.c \
	daemon/agent/http/peer_status.c daemon/agent/http/peer_status.h \
	daemon/agent/http/pipeline.c \
	daemon/agent/http/problems.c daemon/agent/http/problems.h \
	daemon/agent/http/reader.c daemon/agent/http/reader.h \
	daemon/agent/http/request.h \
	daemon/agent/http/router.c \
	daemon/agent/http/routes.c \
	daemon/agent/http/series.c daemon/agent/http/series.h \
	daemon/agent/http/server.c daemon/agent/http/server.h
nodist_daemon_agent_libshhttp_a_SOURCES = daemon/agent/http/openapi_json.h

# The description of the interface, as a C string.
BUILT_SOURCES += daemon/agent/http/openapi_json.h
CLEANFILES += daemon/agent/http/openapi_json.h
EXTRA_DIST += daemon/agent/http/openapi.json
daemon/agent/http/openapi_json.h: daemon/agent/http/openapi.json
	@$(MKDIR_P) daemon/agent/http
	$(AM_V_GEN){ echo 'static const char openapi_json[] ='; \
		sed 's/[\\"]/\\&/g; s/^/"/; s/$$/\\n"/' $(top_srcdir)/daemon/agent/http/openapi.json; echo ';'; } >$@.tmp && mv $@.tmp $@
# Needed before the first dependency is known, also when only a test is built.
$(daemon_agent_libshhttp_a_OBJECTS): daemon/agent/http/openapi_json.h

# Each library may need those behind it.
pkglibexec_PROGRAMS += daemon/agent/shd-agent
daemon_agent_shd_agent_SOURCES = daemon/agent/agent.c
daemon_agent_shd_agent_LDADD = daemon/agent/libshhttp.a daemon/agent/libshlog.a daemon/libshdaemon.a libsh/libshstore.a \
	libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a $(JANSSON_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(SNAPPY_LIBS) $(ZLIB_LIBS)
