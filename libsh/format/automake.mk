# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshformat.a
libsh_libshformat_a_CPPFLAGS = $(AM_CPPFLAGS) $(CRYPTO_CFLAGS) $(LZ4_CFLAGS) $(ZSTD_CFLAGS) $(ZLIB_CFLAGS)
libsh_libshformat_a_SOURCES = \
	libsh/format/batch.c \
	libsh/format/batch.h \
	libsh/format/batch_reader.c \
	libsh/format/batch_validate.c \
	libsh/format/batch_writer.c \
	libsh/format/bloom.c \
	libsh/format/compress.c \
	libsh/format/compress.h \
	libsh/format/decompressor.c \
	libsh/format/format_string.c \
	libsh/format/format_string.h \
	libsh/format/format_string_private.h \
	libsh/format/format_string_read.c \
	libsh/format/json_scan.c \
	libsh/format/json_scan.h \
	libsh/format/json_write.c \
	libsh/format/json_write.h \
	libsh/format/murmur2.c \
	libsh/format/murmur2.h \
	libsh/format/ndjson.c \
	libsh/format/ndjson.h \
	libsh/format/record_stream.c \
	libsh/format/record_stream.h \
	libsh/format/segment.c \
	libsh/format/segment.h \
	libsh/format/segment_runs.c \
	libsh/format/sigv4.c \
	libsh/format/sigv4.h \
	libsh/format/snapshot.c \
	libsh/format/snapshot.h \
	libsh/format/wal.c \
	libsh/format/wal.h

# What a program links to use this layer.
FORMAT_LIBS = libsh/libshformat.a libsh/libshbase.a \
	$(LZ4_LIBS) $(ZSTD_LIBS) $(ZLIB_LIBS) $(SNAPPY_LIBS)
