# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshrun.a
libsh_libshrun_a_SOURCES = \
	libsh/run/address.c libsh/run/address.h \
	libsh/run/api.c libsh/run/api.h \
	libsh/run/chan.c libsh/run/chan.h \
	libsh/run/http_client.c libsh/run/http_client.h \
	libsh/run/loop.c libsh/run/loop.h \
	libsh/run/options.c libsh/run/options.h \
	libsh/run/pack.c libsh/run/pack.h \
	libsh/run/proctitle.c libsh/run/proctitle.h \
	libsh/run/settings.c libsh/run/settings.def libsh/run/settings.h libsh/run/settings_source.c \
	libsh/run/spawn.c libsh/run/spawn.h \
	libsh/run/work.c libsh/run/work.h
