# SPDX-License-Identifier: Apache-2.0
# *.t are TAP shell tests, unit/test-* TAP programs; both run under automake's TAP driver, in parallel.
TEST_EXTENSIONS = .t
T_LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
include tests/unit/automake.mk
include tests/fuzz/automake.mk
include tests/helper/automake.mk
