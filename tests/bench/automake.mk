# SPDX-License-Identifier: Apache-2.0
# Programs that tests/bench/run measures with; tests/t0910-bench.t sees that they work.
BENCH_COMMON = tests/bench/bench.c tests/bench/bench.h
check_PROGRAMS += tests/bench/bench-wal
tests_bench_bench_wal_SOURCES = tests/bench/bench_wal.c $(BENCH_COMMON)
tests_bench_bench_wal_LDADD = daemon/agent/libshlog.a libsh/libshrun.a $(FORMAT_LIBS)
check_PROGRAMS += tests/bench/bench-segment
tests_bench_bench_segment_SOURCES = tests/bench/bench_segment.c $(BENCH_COMMON)
tests_bench_bench_segment_LDADD = $(STORE_LIBS)
check_PROGRAMS += tests/bench/bench-family
tests_bench_bench_family_SOURCES = tests/bench/bench_family.c $(BENCH_COMMON) \
	tests/helper/mini_http.c tests/helper/mini_http.h
tests_bench_bench_family_LDADD = $(FORMAT_LIBS)
EXTRA_DIST += tests/bench/run tests/bench/README.md
