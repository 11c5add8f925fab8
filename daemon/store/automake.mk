# SPDX-License-Identifier: Apache-2.0
# All but main(), so that tests link it; the program follows.
noinst_LIBRARIES += daemon/store/libshstorerole.a
daemon_store_libshstorerole_a_SOURCES = \
	daemon/store/build.c \
	daemon/store/cache.c daemon/store/cache.h daemon/store/cache_private.h \
	daemon/store/fetch.c \
	daemon/store/fill.c \
	daemon/store/objects.c \
	daemon/store/read.c \
	daemon/store/remove.c \
	daemon/store/store.h

pkglibexec_PROGRAMS += daemon/store/shd-store
daemon_store_shd_store_SOURCES = daemon/store/store.c
daemon_store_shd_store_LDADD = daemon/store/libshstorerole.a daemon/libshdaemon.a libsh/libshstore.a \
	$(S3_LIBS)
