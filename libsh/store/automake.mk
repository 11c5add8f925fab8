# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshstore.a
libsh_libshstore_a_SOURCES = \
	libsh/store/meta.c libsh/store/meta.h \
	libsh/store/meta_sqlite.c libsh/store/meta_sqlite.h \
	libsh/store/meta_sqlite_garbage.c \
	libsh/store/meta_sqlite_memory.c \
	libsh/store/meta_sqlite_open.c \
	libsh/store/meta_sqlite_page.c \
	libsh/store/meta_sqlite_schema.c \
	libsh/store/meta_sqlite_segment.c \
	libsh/store/meta_sqlite_session.c \
	libsh/store/meta_sqlite_topic.c \
	libsh/store/object.c libsh/store/object.h \
	libsh/store/object_dir.c \
	libsh/store/object_fault.c \
	libsh/store/offline.c libsh/store/offline.h \
	libsh/store/offline_objects.c \
	libsh/store/offline_segment.c \
	libsh/store/offline_wal.c \
	libsh/store/producer_set.c libsh/store/producer_set.h \
	libsh/store/segment_build.c libsh/store/segment_file.h \
	libsh/store/segment_file.c \
	libsh/store/segment_writer.c libsh/store/segment_writer.h \
	libsh/store/wal_file.c libsh/store/wal_file.h \
	libsh/store/window.c libsh/store/window.h

# What a program links to use this layer.
STORE_LIBS = libsh/libshstore.a $(FORMAT_LIBS)
