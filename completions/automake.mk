# SPDX-License-Identifier: Apache-2.0
# Made from the option tables of the commands.
bashcompletiondir = $(datadir)/bash-completion/completions
zshcompletiondir = $(datadir)/zsh/site-functions
fishcompletiondir = $(datadir)/fish/vendor_completions.d
nodist_bashcompletion_DATA = completions/streamctl
nodist_zshcompletion_DATA = completions/_streamctl
nodist_fishcompletion_DATA = completions/streamctl.fish
COMPLETIONS = $(nodist_bashcompletion_DATA) $(nodist_zshcompletion_DATA) $(nodist_fishcompletion_DATA)
CLEANFILES += $(COMPLETIONS)

# All commands first: each is asked for its options.
completions/streamctl: $(bin_PROGRAMS) $(pkglibexec_PROGRAMS)
	$(AM_V_GEN)$(MKDIR_P) completions && cmd/streamctl --generate-completion bash >$@.tmp && mv $@.tmp $@
completions/_streamctl: $(bin_PROGRAMS) $(pkglibexec_PROGRAMS)
	$(AM_V_GEN)$(MKDIR_P) completions && cmd/streamctl --generate-completion zsh >$@.tmp && mv $@.tmp $@
completions/streamctl.fish: $(bin_PROGRAMS) $(pkglibexec_PROGRAMS)
	$(AM_V_GEN)$(MKDIR_P) completions && cmd/streamctl --generate-completion fish >$@.tmp && mv $@.tmp $@
