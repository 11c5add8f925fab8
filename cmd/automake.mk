# SPDX-License-Identifier: Apache-2.0
# A command: its program here, its line in command-list.def, its page in man/automake.mk.
bin_PROGRAMS += cmd/streamctl
cmd_streamctl_SOURCES = cmd/streamctl.c cmd/completion.c cmd/completion.h cmd/find.c cmd/find.h cmd/command-list.def
cmd_streamctl_LDADD = $(CMD_LIBS)

COMMANDS = cmd/streamctl-cat cmd/streamctl-check cmd/streamctl-consume cmd/streamctl-produce cmd/streamctl-status cmd/streamctl-topic
pkglibexec_PROGRAMS += $(COMMANDS)

cmd_streamctl_cat_SOURCES = cmd/cat.c cmd/consume_output.c cmd/consume_output.h cmd/interrupt.c cmd/interrupt.h
cmd_streamctl_cat_LDADD = $(CMD_OFFLINE_LIBS)
cmd_streamctl_check_SOURCES = cmd/check.c cmd/check_data.c cmd/check_data.h cmd/check_rebuild.c cmd/check_rebuild.h cmd/check_report.c cmd/check_report.h
cmd_streamctl_check_LDADD = $(CMD_OFFLINE_LIBS)
cmd_streamctl_consume_SOURCES = cmd/consume.c cmd/consume_output.c cmd/consume_output.h \
	cmd/consume_stream.c cmd/consume_stream.h cmd/interrupt.c cmd/interrupt.h
cmd_streamctl_consume_LDADD = $(CMD_CLIENT_LIBS)
cmd_streamctl_produce_SOURCES = cmd/produce.c cmd/produce_batches.c cmd/produce_batches.h \
	cmd/produce_input.c cmd/produce_input.h cmd/produce_options.c cmd/produce_options.h \
	cmd/produce_report.c cmd/produce_report.h cmd/produce_sender.c cmd/produce_sender.h cmd/interrupt.c cmd/interrupt.h
cmd_streamctl_produce_LDADD = $(CMD_CLIENT_LIBS)
cmd_streamctl_status_SOURCES = cmd/status.c cmd/interrupt.c cmd/interrupt.h
cmd_streamctl_status_LDADD = $(CMD_CLIENT_LIBS)
cmd_streamctl_topic_SOURCES = cmd/topic.c
cmd_streamctl_topic_LDADD = $(CMD_CLIENT_LIBS)

# What every command is made of; client.c brings in libcurl, for those that talk to a server.
noinst_LIBRARIES += cmd/libcmd.a
cmd_libcmd_a_SOURCES = \
	cmd/client.c cmd/client.h \
	cmd/command.c cmd/command.h \
	cmd/output.c cmd/output.h
CMD_LIBS = cmd/libcmd.a libsh/libshrun.a libsh/libshbase.a
CMD_CLIENT_LIBS = cmd/libcmd.a libsh/libshrun.a $(FORMAT_LIBS) $(CURL_LIBS) $(JANSSON_LIBS)
CMD_OFFLINE_LIBS = cmd/libcmd.a libsh/libshstore.a $(S3_LIBS) $(SQLITE_LIBS)
