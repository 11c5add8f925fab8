# SPDX-License-Identifier: Apache-2.0

check_PROGRAMS += tests/unit/test-loop
TESTS += tests/unit/test-loop
tests_unit_test_loop_SOURCES = tests/unit/test-loop.c tests/unit/tap.h
tests_unit_test_loop_LDADD = libsh/libshrun.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-chan
TESTS += tests/unit/test-chan
tests_unit_test_chan_SOURCES = tests/unit/test-chan.c tests/unit/tap.h
tests_unit_test_chan_LDADD = libsh/libshrun.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-pack
TESTS += tests/unit/test-pack
tests_unit_test_pack_SOURCES = tests/unit/test-pack.c tests/unit/tap.h
tests_unit_test_pack_LDADD = daemon/libshdaemon.a libsh/libshrun.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-settings
TESTS += tests/unit/test-settings
tests_unit_test_settings_SOURCES = tests/unit/test-settings.c tests/unit/tap.h
tests_unit_test_settings_LDADD = libsh/libshrun.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-object
TESTS += tests/unit/test-object
tests_unit_test_object_SOURCES = tests/unit/test-object.c tests/unit/tap.h
tests_unit_test_object_LDADD = libsh/libshstore.a $(S3_LIBS)

check_PROGRAMS += tests/unit/test-meta
TESTS += tests/unit/test-meta
tests_unit_test_meta_SOURCES = tests/unit/test-meta.c tests/unit/meta-fixture.h tests/unit/tap.h
tests_unit_test_meta_LDADD = libsh/libshstore.a libsh/libshformat.a libsh/libshbase.a $(SQLITE_LIBS) $(JANSSON_LIBS)

check_PROGRAMS += tests/unit/test-meta-pages
TESTS += tests/unit/test-meta-pages
tests_unit_test_meta_pages_SOURCES = tests/unit/test-meta-pages.c tests/unit/meta-fixture.h tests/unit/tap.h
tests_unit_test_meta_pages_LDADD = $(tests_unit_test_meta_LDADD)

check_PROGRAMS += tests/unit/test-meta-files
TESTS += tests/unit/test-meta-files
tests_unit_test_meta_files_SOURCES = tests/unit/test-meta-files.c tests/unit/meta-fixture.h tests/unit/tap.h
tests_unit_test_meta_files_LDADD = $(tests_unit_test_meta_LDADD)

check_PROGRAMS += tests/unit/test-log
TESTS += tests/unit/test-log
tests_unit_test_log_SOURCES = tests/unit/test-log.c tests/unit/tap.h tests/helper/fake_peers.c tests/helper/fake_peers.h \
	tests/helper/log_driver.c tests/helper/log_driver.h tests/helper/append_batch.h
tests_unit_test_log_LDADD = daemon/agent/libshlog.a daemon/libshdaemon.a libsh/libshstore.a libsh/libshrun.a libsh/libshformat.a \
	libsh/libshbase.a $(SQLITE_LIBS) $(JANSSON_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(SNAPPY_LIBS) $(ZLIB_LIBS)

check_PROGRAMS += tests/unit/test-log-edge
TESTS += tests/unit/test-log-edge
tests_unit_test_log_edge_SOURCES = tests/unit/test-log-edge.c tests/unit/tap.h tests/helper/fake_peers.c tests/helper/fake_peers.h \
	tests/helper/log_driver.c tests/helper/log_driver.h tests/helper/append_batch.h
tests_unit_test_log_edge_LDADD = daemon/agent/libshlog.a daemon/libshdaemon.a libsh/libshstore.a libsh/libshrun.a libsh/libshformat.a \
	libsh/libshbase.a $(SQLITE_LIBS) $(JANSSON_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(SNAPPY_LIBS) $(ZLIB_LIBS)

check_PROGRAMS += tests/unit/test-log-random
TESTS += tests/unit/test-log-random
tests_unit_test_log_random_SOURCES = tests/unit/test-log-random.c tests/unit/tap.h tests/helper/fake_peers.c tests/helper/fake_peers.h \
	tests/helper/log_driver.c tests/helper/log_driver.h tests/helper/append_batch.h
tests_unit_test_log_random_LDADD = daemon/agent/libshlog.a daemon/libshdaemon.a libsh/libshstore.a libsh/libshrun.a libsh/libshformat.a \
	libsh/libshbase.a $(SQLITE_LIBS) $(JANSSON_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(SNAPPY_LIBS) $(ZLIB_LIBS)

check_PROGRAMS += tests/unit/test-base
TESTS += tests/unit/test-base
tests_unit_test_base_SOURCES = tests/unit/test-base.c tests/unit/tap.h
tests_unit_test_base_LDADD = libsh/libshbase.a

check_PROGRAMS += tests/unit/test-text
TESTS += tests/unit/test-text
tests_unit_test_text_SOURCES = tests/unit/test-text.c tests/unit/tap.h
tests_unit_test_text_LDADD = libsh/libshbase.a

check_PROGRAMS += tests/unit/test-disk
TESTS += tests/unit/test-disk
tests_unit_test_disk_SOURCES = tests/unit/test-disk.c tests/unit/tap.h
tests_unit_test_disk_LDADD = libsh/libshbase.a
check_PROGRAMS += tests/unit/test-wal
TESTS += tests/unit/test-wal
tests_unit_test_wal_SOURCES = tests/unit/test-wal.c tests/unit/wal_fixture.h tests/unit/tap.h
tests_unit_test_wal_LDADD = $(STORE_LIBS)

check_PROGRAMS += tests/unit/test-segment
TESTS += tests/unit/test-segment
tests_unit_test_segment_SOURCES = tests/unit/test-segment.c tests/unit/tap.h
tests_unit_test_segment_LDADD = $(STORE_LIBS)

check_PROGRAMS += tests/unit/test-peer
TESTS += tests/unit/test-peer
tests_unit_test_peer_SOURCES = tests/unit/test-peer.c tests/unit/tap.h
tests_unit_test_peer_LDADD = daemon/libshdaemon.a libsh/libshrun.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-segment-build
TESTS += tests/unit/test-segment-build
tests_unit_test_segment_build_SOURCES = tests/unit/test-segment-build.c tests/unit/wal_fixture.h tests/unit/tap.h
tests_unit_test_segment_build_LDADD = $(STORE_LIBS)

check_PROGRAMS += tests/unit/test-compress
TESTS += tests/unit/test-compress
tests_unit_test_compress_SOURCES = tests/unit/test-compress.c tests/unit/tap.h
tests_unit_test_compress_LDADD = $(FORMAT_LIBS)

check_PROGRAMS += tests/unit/test-batch
TESTS += tests/unit/test-batch
tests_unit_test_batch_SOURCES = tests/unit/test-batch.c tests/unit/tap.h
tests_unit_test_batch_LDADD = $(FORMAT_LIBS)

check_PROGRAMS += tests/unit/test-validate
TESTS += tests/unit/test-validate
tests_unit_test_validate_SOURCES = tests/unit/test-validate.c tests/unit/tap.h
tests_unit_test_validate_LDADD = $(FORMAT_LIBS)

check_PROGRAMS += tests/unit/test-cache
TESTS += tests/unit/test-cache
tests_unit_test_cache_SOURCES = tests/unit/test-cache.c tests/unit/tap.h
tests_unit_test_cache_LDADD = daemon/store/libshstorerole.a libsh/libshstore.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-fetch
TESTS += tests/unit/test-fetch
tests_unit_test_fetch_SOURCES = tests/unit/test-fetch.c tests/unit/tap.h
tests_unit_test_fetch_LDADD = daemon/store/libshstorerole.a daemon/libshdaemon.a libsh/libshstore.a \
	libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-ndjson
TESTS += tests/unit/test-ndjson
tests_unit_test_ndjson_SOURCES = tests/unit/test-ndjson.c tests/unit/random_record.h tests/unit/tap.h
tests_unit_test_ndjson_LDADD = $(FORMAT_LIBS)

check_PROGRAMS += tests/unit/test-format-string
TESTS += tests/unit/test-format-string
tests_unit_test_format_string_SOURCES = tests/unit/test-format-string.c tests/unit/random_record.h tests/unit/tap.h
tests_unit_test_format_string_LDADD = $(FORMAT_LIBS)

check_PROGRAMS += tests/unit/test-options
TESTS += tests/unit/test-options
tests_unit_test_options_SOURCES = tests/unit/test-options.c tests/unit/tap.h
tests_unit_test_options_LDADD = libsh/libshrun.a libsh/libshbase.a
check_PROGRAMS += tests/unit/test-http-parser
TESTS += tests/unit/test-http-parser
tests_unit_test_http_parser_SOURCES = tests/unit/test-http-parser.c tests/unit/tap.h
tests_unit_test_http_parser_LDADD = daemon/agent/libshhttp.a libsh/libshbase.a

# The handlers that the table of routes names need a log.
check_PROGRAMS += tests/unit/test-http-routes
TESTS += tests/unit/test-http-routes
tests_unit_test_http_routes_SOURCES = tests/unit/test-http-routes.c tests/unit/tap.h tests/helper/fake_log.c tests/helper/fake_log.h
tests_unit_test_http_routes_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_unit_test_http_routes_LDADD = $(HTTP_TEST_LIBS)

check_PROGRAMS += tests/unit/test-sigv4
TESTS += tests/unit/test-sigv4
tests_unit_test_sigv4_SOURCES = tests/unit/test-sigv4.c tests/unit/tap.h
tests_unit_test_sigv4_LDADD = $(FORMAT_LIBS) $(CRYPTO_LIBS)

check_PROGRAMS += tests/unit/test-meta-retention
TESTS += tests/unit/test-meta-retention
tests_unit_test_meta_retention_SOURCES = tests/unit/test-meta-retention.c tests/unit/meta-fixture.h tests/unit/tap.h
tests_unit_test_meta_retention_LDADD = $(tests_unit_test_meta_LDADD)

check_PROGRAMS += tests/unit/test-meta-garbage
TESTS += tests/unit/test-meta-garbage
tests_unit_test_meta_garbage_SOURCES = tests/unit/test-meta-garbage.c tests/unit/meta-fixture.h tests/unit/tap.h
tests_unit_test_meta_garbage_LDADD = $(tests_unit_test_meta_LDADD)

check_PROGRAMS += tests/unit/test-rebuild
TESTS += tests/unit/test-rebuild
tests_unit_test_rebuild_SOURCES = tests/unit/test-rebuild.c tests/unit/tap.h
tests_unit_test_rebuild_LDADD = libsh/libshstore.a libsh/libshrun.a $(FORMAT_LIBS) $(SQLITE_LIBS) $(JANSSON_LIBS)
check_PROGRAMS += tests/unit/test-object-guard
TESTS += tests/unit/test-object-guard
tests_unit_test_object_guard_SOURCES = tests/unit/test-object-guard.c tests/unit/tap.h
tests_unit_test_object_guard_LDADD = libsh/libshstore.a libsh/libshbase.a

check_PROGRAMS += tests/unit/test-sim-meta
TESTS += tests/unit/test-sim-meta
tests_unit_test_sim_meta_SOURCES = tests/unit/test-sim-meta.c tests/unit/meta-fixture.h tests/unit/tap.h tests/sim/meta.c tests/sim/sim.h
tests_unit_test_sim_meta_LDADD = daemon/libshdaemon.a libsh/libshstore.a libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a \
	$(SQLITE_LIBS) $(JANSSON_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(SNAPPY_LIBS) $(ZLIB_LIBS)
