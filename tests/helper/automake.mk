# SPDX-License-Identifier: Apache-2.0
# Programs that shell tests drive.
check_PROGRAMS += tests/helper/crash-load
tests_helper_crash_load_SOURCES = \
	tests/helper/crash_load.c tests/helper/crash_load.h \
	tests/helper/crash_load_write.c tests/helper/crash_load_check.c \
	tests/helper/mini_http.c tests/helper/mini_http.h
tests_helper_crash_load_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_helper_crash_load_LDADD = $(JANSSON_LIBS)

# Preloaded into programs under test, so never instrumented themselves; two shared objects do not pay for libtool.
check_DATA = tests/helper/faultfs.so tests/helper/undofs.so
EXTRA_DIST += tests/helper/faultfs.c tests/helper/undofs.c
CLEANFILES += $(check_DATA)
BUILD_PRELOAD = $(CC) -std=gnu11 -D_GNU_SOURCE $(WARNING_CFLAGS) $(CFLAGS) -fPIC -shared
tests/helper/faultfs.so: tests/helper/faultfs.c
	@$(MKDIR_P) tests/helper
	$(AM_V_GEN)$(BUILD_PRELOAD) -o $@ $(top_srcdir)/tests/helper/faultfs.c -ldl
tests/helper/undofs.so: tests/helper/undofs.c
	@$(MKDIR_P) tests/helper
	$(AM_V_GEN)$(BUILD_PRELOAD) -o $@ $(top_srcdir)/tests/helper/undofs.c -ldl

check_PROGRAMS += tests/helper/undo-writes
tests_helper_undo_writes_SOURCES = tests/helper/undo_writes.c

check_PROGRAMS += tests/helper/wal-list
tests_helper_wal_list_SOURCES = tests/helper/wal_list.c
tests_helper_wal_list_LDADD = libsh/libshformat.a libsh/libshbase.a

# Stands in for the role programs when the supervisor is tested.
check_PROGRAMS += tests/helper/test-role
tests_helper_test_role_SOURCES = tests/helper/test_role.c
tests_helper_test_role_LDADD = daemon/libshdaemon.a libsh/libshrun.a libsh/libshbase.a

check_PROGRAMS += tests/helper/notify-sink
tests_helper_notify_sink_SOURCES = tests/helper/notify_sink.c

# Agent and store beside the real shd-meta and shd-janitor.
check_PROGRAMS += tests/helper/meta-load
tests_helper_meta_load_SOURCES = tests/helper/meta_load.c
tests_helper_meta_load_LDADD = daemon/libshdaemon.a libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a
# The agent's HTTP server on a log in memory, and a client that sends bytes as they are.
HTTP_TEST_LIBS = daemon/agent/libshhttp.a daemon/libshdaemon.a libsh/libshrun.a $(FORMAT_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/helper/http-server tests/helper/raw-http
tests_helper_http_server_SOURCES = tests/helper/http_server.c tests/helper/fake_log.c tests/helper/fake_log.h
tests_helper_http_server_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_helper_http_server_LDADD = $(HTTP_TEST_LIBS)
tests_helper_raw_http_SOURCES = tests/helper/raw_http.c
tests_helper_raw_http_LDADD =

# Any object store by its URL, for the tests of S3.
check_PROGRAMS += tests/helper/object-tool
tests_helper_object_tool_SOURCES = tests/helper/object_tool.c
tests_helper_object_tool_LDADD = libsh/libshstore.a $(S3_LIBS)
check_PROGRAMS += tests/helper/memory-find
tests_helper_memory_find_SOURCES = tests/helper/memory_find.c
check_PROGRAMS += tests/helper/s3-script
tests_helper_s3_script_SOURCES = tests/helper/s3_script.c
tests_helper_s3_script_LDADD = libsh/libshbase.a
