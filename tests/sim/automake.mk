# SPDX-License-Identifier: Apache-2.0
# The simulator: the log's core, compiled once more with smaller files and its threads as fibers, on a simulated world. What it
# links from the libraries below is untouched by that.
SIM_CORE = \
	daemon/agent/log/append.c \
	daemon/agent/log/fetch.c \
	daemon/agent/log/flush.c \
	daemon/agent/log/log.c \
	daemon/agent/log/producers.c \
	daemon/agent/log/quarantine.c \
	daemon/agent/log/recover.c \
	daemon/agent/log/runs.c \
	daemon/agent/log/seek.c \
	daemon/agent/log/session.c \
	daemon/agent/log/tail.c \
	daemon/agent/log/topic_config.c \
	daemon/agent/log/topics.c \
	daemon/agent/log/waits.c \
	daemon/agent/log/wal.c \
	daemon/agent/log/wal_thread.c \
	libsh/format/wal.c \
	libsh/store/producer_set.c \
	libsh/store/segment_build.c \
	libsh/store/segment_file.c \
	libsh/store/segment_writer.c \
	libsh/store/wal_file.c \
	libsh/store/window.c
SIM_WORLD = \
	tests/sim/chance.c \
	tests/sim/clients.c tests/helper/append_batch.h \
	tests/sim/clock.c \
	tests/sim/disk.c tests/sim/disk_crash.c tests/sim/disk_private.h \
	tests/sim/fiber.c \
	tests/sim/history.c tests/sim/history.h \
	tests/sim/memory.c \
	tests/sim/meta.c \
	tests/sim/peers.c \
	tests/sim/producers.c \
	tests/sim/sim.c tests/sim/sim.h tests/sim/threads.h tests/sim/world.c
SIM_CPPFLAGS = $(AM_CPPFLAGS) $(JANSSON_CFLAGS) -DSH_WAL_FILE_BYTES=131072 -include $(top_srcdir)/tests/sim/threads.h
SIM_LIBS = daemon/libshdaemon.a libsh/libshrun.a libsh/libshformat.a libsh/libshbase.a \
	$(JANSSON_LIBS) $(LZ4_LIBS) $(ZSTD_LIBS) $(SNAPPY_LIBS) $(ZLIB_LIBS)

check_PROGRAMS += tests/sim/sim
tests_sim_sim_SOURCES = $(SIM_CORE) $(SIM_WORLD)
tests_sim_sim_CPPFLAGS = $(SIM_CPPFLAGS)
tests_sim_sim_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime
tests_sim_sim_LDADD = $(SIM_LIBS)

EXTRA_DIST += tests/sim/run tests/sim/regressions

# The same with all bugs of libsh/base/plant.h in it; --plant NAME switches one on.
check_PROGRAMS += tests/sim/sim-plant
tests_sim_sim_plant_SOURCES = $(tests_sim_sim_SOURCES)
tests_sim_sim_plant_CPPFLAGS = $(SIM_CPPFLAGS) -DSH_PLANTS
tests_sim_sim_plant_LDFLAGS = $(tests_sim_sim_LDFLAGS)
tests_sim_sim_plant_LDADD = $(SIM_LIBS)
