# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshformat.a
libsh_libshformat_a_SOURCES = \
	libsh/format/bloom.c \
	libsh/format/format_string.c libsh/format/format_string.h \
	libsh/format/json_scan.c libsh/format/json_scan.h \
	libsh/format/ndjson.c libsh/format/ndjson.h \
	libsh/format/segment.c libsh/format/segment.h \
	libsh/format/segment_runs.c \
	libsh/format/wal.c libsh/format/wal.h
