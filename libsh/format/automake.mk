# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshformat.a
libsh_libshformat_a_SOURCES = \
	libsh/format/bloom.c \
	libsh/format/segment.c libsh/format/segment.h \
	libsh/format/segment_runs.c \
	libsh/format/wal.c libsh/format/wal.h
