# SPDX-License-Identifier: Apache-2.0
# Fuzzers: fuzz-NAME.c has LLVMFuzzerTestOneInput(), corpus/NAME/ its seeds. With --enable-fuzzers they are
# libFuzzer programs (tests/fuzz/fuzz-NAME DIR); else replay.c runs them over their seeds in `make check`.
#
# A new one is three lines, as below; libraries above libsh/format go before $(FUZZ_LIBS).
FUZZ_TESTS =
if FUZZERS
FUZZ_MAIN = $(FUZZER_FLAGS)
else
check_LIBRARIES = tests/fuzz/libreplay.a
tests_fuzz_libreplay_a_SOURCES = tests/fuzz/replay.c
FUZZ_MAIN = tests/fuzz/libreplay.a
TESTS += $(FUZZ_TESTS)
endif
FUZZ_LIBS = $(FUZZ_MAIN) $(FORMAT_LIBS)
check_PROGRAMS += $(FUZZ_TESTS)
EXTRA_DIST += tests/fuzz/corpus

FUZZ_TESTS += tests/fuzz/fuzz-batch
tests_fuzz_fuzz_batch_SOURCES = tests/fuzz/fuzz-batch.c
tests_fuzz_fuzz_batch_LDADD = $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-compress
tests_fuzz_fuzz_compress_SOURCES = tests/fuzz/fuzz-compress.c
tests_fuzz_fuzz_compress_LDADD = $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-settings
tests_fuzz_fuzz_settings_SOURCES = tests/fuzz/fuzz-settings.c
tests_fuzz_fuzz_settings_LDADD = libsh/libshrun.a $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-messages
tests_fuzz_fuzz_messages_SOURCES = tests/fuzz/fuzz-messages.c
tests_fuzz_fuzz_messages_LDADD = daemon/libshdaemon.a libsh/libshrun.a $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-ndjson
tests_fuzz_fuzz_ndjson_SOURCES = tests/fuzz/fuzz-ndjson.c
tests_fuzz_fuzz_ndjson_LDADD = $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-format-string
tests_fuzz_fuzz_format_string_SOURCES = tests/fuzz/fuzz-format-string.c
tests_fuzz_fuzz_format_string_LDADD = $(FUZZ_LIBS)
FUZZ_TESTS += tests/fuzz/fuzz-http
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz-http.c tests/helper/fake_log.c tests/helper/fake_log.h
tests_fuzz_fuzz_http_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS)
tests_fuzz_fuzz_http_LDADD = daemon/agent/libshhttp.a daemon/libshdaemon.a libsh/libshrun.a $(FUZZ_LIBS) $(JANSSON_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-wal
tests_fuzz_fuzz_wal_SOURCES = tests/fuzz/fuzz-wal.c
tests_fuzz_fuzz_wal_LDADD = libsh/libshstore.a $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-segment
tests_fuzz_fuzz_segment_SOURCES = tests/fuzz/fuzz-segment.c
tests_fuzz_fuzz_segment_LDADD = libsh/libshstore.a $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-snapshot
tests_fuzz_fuzz_snapshot_SOURCES = tests/fuzz/fuzz-snapshot.c
tests_fuzz_fuzz_snapshot_LDADD = $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-xml
tests_fuzz_fuzz_xml_SOURCES = tests/fuzz/fuzz-xml.c
tests_fuzz_fuzz_xml_LDADD = libsh/libshstore.a $(FUZZ_LIBS) $(EXPAT_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-s3-keys
tests_fuzz_fuzz_s3_keys_SOURCES = tests/fuzz/fuzz-s3-keys.c
tests_fuzz_fuzz_s3_keys_LDADD = libsh/libshstore.a $(FUZZ_LIBS)

FUZZ_TESTS += tests/fuzz/fuzz-s3-page
tests_fuzz_fuzz_s3_page_SOURCES = tests/fuzz/fuzz-s3-page.c
tests_fuzz_fuzz_s3_page_LDADD = libsh/libshstore.a $(FUZZ_LIBS) $(EXPAT_LIBS)
