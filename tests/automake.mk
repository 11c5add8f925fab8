# SPDX-License-Identifier: Apache-2.0
# *.t are TAP shell tests, unit/test-* TAP programs; both run under automake's TAP driver, in parallel.
TEST_EXTENSIONS = .t
T_LOG_COMPILER = sh
T_LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir;

# Shell tests: the file's number says the family; HACKING.md lists them.
SHELL_TESTS = \
	tests/t0210-command-list.t \
	tests/t0220-streamctl-records.t \
	tests/t0221-streamctl-words.t \
	tests/t0900-man-examples.t \
	tests/t0910-bench.t \
	tests/t0300-http-protocol.t \
	tests/t0301-http-records.t \
	tests/t0310-http-api.t \
	tests/t0200-meta.t \
	tests/t0410-retention.t \
	tests/t0411-deletion.t \
	tests/t0412-deletion-s3.t \
	tests/t0420-rebuild.t \
	tests/t0401-store.t \
	tests/t0421-lost-directory.t \
	tests/t0422-rebuild-s3.t \
	tests/t0302-read-ahead.t \
	tests/t0303-cache.t \
	tests/t0303-large-batches.t \
	tests/t0100-shd.t \
	tests/t0101-family.t \
	tests/t0102-surroundings.t \
	tests/t0103-watch.t \
	tests/t0010-layers.t \
	tests/t0011-exported-names.t \
	tests/t0012-design.t \
	tests/t0230-offline.t \
	tests/t0400-s3.t \
	tests/t0405-s3-swift.t \
	tests/t0410-s3-outage.t \
	tests/t0420-s3-script.t \
	tests/t0425-s3-keys.t \
	tests/t0500-crash.t \
	tests/t0501-power-loss.t \
	tests/t0502-crash-points.t \
	tests/t0503-crash-points-s3.t \
	tests/t0504-recovery-memory.t \
	tests/t0505-torn-tail.t \
	tests/t0506-deaths.t \
	tests/t0510-disk-errors.t \
	tests/t0511-full-disk.t \
	tests/t0520-durability.t \
	tests/t0530-problems.t \
	tests/t0540-flipped-bits.t \
	tests/t0600-sim.t
TESTS += $(SHELL_TESTS)
EXTRA_DIST += tests/lib.sh tests/lib-crash.sh tests/lib-points.sh tests/rgw.sh tests/s3-script.sh tests/swift.sh tests/swift-server.py tests/deletion.sh tests/deps.sh tests/run.sh tests/installed.sh .ci/run $(SHELL_TESTS)

# distcheck runs this from where it installed; in a staged directory the paths that were compiled in lead nowhere.
installcheck-local:
	@if test -z "$(DESTDIR)"; then $(AM_TESTS_ENVIRONMENT) \
		SHD='$(sbindir)/shd' STREAMCTL='$(bindir)/streamctl' MANDIR='$(mandir)' sh $(srcdir)/tests/installed.sh; fi

include tests/unit/automake.mk
include tests/fuzz/automake.mk
include tests/helper/automake.mk
include tests/bench/automake.mk
include tests/sim/automake.mk
