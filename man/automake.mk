# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += man/streamhouse-recovery.7
dist_man_MANS += man/streamhouse-segment.5 man/streamhouse-wal.5

dist_man_MANS += man/shd.8
# The settings' part comes from the one table of settings.
nodist_man_MANS += man/shd.conf.5
EXTRA_DIST += man/shd.conf.5.in
CLEANFILES += man/shd.conf.5
man/shd.conf.5: $(top_srcdir)/man/shd.conf.5.in libsh/run/settings.def libsh/run/settings_source.c daemon/shd$(EXEEXT)
	@$(MKDIR_P) man
	$(AM_V_GEN)daemon/shd --print-settings-mdoc >$@.settings && daemon/shd --print-profiles-mdoc >$@.profiles && \
		sed -e '/^@SETTINGS@$$/{r $@.settings' -e 'd;}' -e '/^@PROFILES@$$/{r $@.profiles' -e 'd;}' \
			$(top_srcdir)/man/shd.conf.5.in >$@.tmp && \
		rm -f $@.settings $@.profiles && mv $@.tmp $@
