# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshbase.a
libsh_libshbase_a_SOURCES = \
	libsh/base/buf.c libsh/base/buf.h \
	libsh/base/bytes.c libsh/base/bytes.h \
	libsh/base/clock.c libsh/base/clock.h \
	libsh/base/crash.c libsh/base/crash.h \
	libsh/base/crc32c.c libsh/base/crc32c.h \
	libsh/base/disk.c libsh/base/disk.h \
	libsh/base/err.c libsh/base/err.h \
	libsh/base/fd.c libsh/base/fd.h \
	libsh/base/list.h \
	libsh/base/log.c libsh/base/log.h \
	libsh/base/map.c libsh/base/map.h \
	libsh/base/mem.c libsh/base/mem.h \
	libsh/base/plant.h \
	libsh/base/text.c libsh/base/text.h \
	libsh/base/uuid.c libsh/base/uuid.h
