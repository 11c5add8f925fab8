# SPDX-License-Identifier: Apache-2.0
# *.t are TAP shell tests, unit/test-* TAP programs; both run under automake's TAP driver, in parallel.
TEST_EXTENSIONS = .t
T_LOG_COMPILER = sh
T_LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir;

# Shell tests: the file's number says the family (00 structure, 01-04 features, 05 survival).
SHELL_TESTS = \
	tests/t0010-layers.t
TESTS += $(SHELL_TESTS)
EXTRA_DIST += tests/lib.sh $(SHELL_TESTS)

include tests/unit/automake.mk
include tests/fuzz/automake.mk
include tests/helper/automake.mk
