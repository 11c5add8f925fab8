# SPDX-License-Identifier: Apache-2.0
pkglibexec_PROGRAMS += daemon/meta/shd-meta
daemon_meta_shd_meta_SOURCES = \
	daemon/meta/handlers.c \
	daemon/meta/meta.c daemon/meta/meta.h \
	daemon/meta/notice.c \
	daemon/meta/snapshot.c \
	daemon/meta/turn.c
daemon_meta_shd_meta_LDADD = daemon/libshdaemon.a libsh/libshstore.a libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a \
	$(SQLITE_LIBS) $(JANSSON_LIBS)
