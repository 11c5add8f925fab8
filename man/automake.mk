# SPDX-License-Identifier: Apache-2.0
dist_man_MANS += man/streamhouse-recovery.7
dist_man_MANS += man/streamhouse-segment.5 man/streamhouse-snapshot.5 man/streamhouse-wal.5

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

# The options' part of a command's page comes from the option table of the command.
dist_man_MANS += man/streamctl-exit.7 man/streamhouse.7
COMMAND_PAGES = man/streamctl.1 man/streamctl-cat.1 man/streamctl-check.1 man/streamctl-consume.1 man/streamctl-produce.1 man/streamctl-status.1 man/streamctl-topic.1
nodist_man_MANS += $(COMMAND_PAGES)
CLEANFILES += $(COMMAND_PAGES)
EXTRA_DIST += man/options.awk $(COMMAND_PAGES:=.in)
FILL_PAGE = $(AM_V_GEN)$(MKDIR_P) man && fill() { \
		$(AWK) -v program=$$1 -f $(top_srcdir)/man/options.awk $(top_srcdir)/$@.in >$@.tmp && mv $@.tmp $@; } && fill
man/streamctl.1: man/streamctl.1.in man/options.awk cmd/streamctl-topic$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-topic$(EXEEXT)
man/streamctl-cat.1: man/streamctl-cat.1.in man/options.awk cmd/streamctl-cat$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-cat$(EXEEXT)
man/streamctl-check.1: man/streamctl-check.1.in man/options.awk cmd/streamctl-check$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-check$(EXEEXT)
man/streamctl-consume.1: man/streamctl-consume.1.in man/options.awk cmd/streamctl-consume$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-consume$(EXEEXT)
man/streamctl-produce.1: man/streamctl-produce.1.in man/options.awk cmd/streamctl-produce$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-produce$(EXEEXT)
man/streamctl-status.1: man/streamctl-status.1.in man/options.awk cmd/streamctl-status$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-status$(EXEEXT)
man/streamctl-topic.1: man/streamctl-topic.1.in man/options.awk cmd/streamctl-topic$(EXEEXT)
	$(FILL_PAGE) cmd/streamctl-topic$(EXEEXT)
