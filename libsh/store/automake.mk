# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshstore.a
libsh_libshstore_a_SOURCES = \
	libsh/store/object.c libsh/store/object.h \
	libsh/store/object_dir.c \
	libsh/store/object_fault.c \
	libsh/store/wal_file.c libsh/store/wal_file.h \
	libsh/store/window.c libsh/store/window.h
