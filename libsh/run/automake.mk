# SPDX-License-Identifier: Apache-2.0
noinst_LIBRARIES += libsh/libshrun.a
libsh_libshrun_a_SOURCES = \
	libsh/run/options.c libsh/run/options.h
