# SPDX-License-Identifier: Apache-2.0
EXTRA_DIST += \
	examples/quickstart.sh \
	examples/cron/streamhouse \
	examples/systemd/shd.service \
	examples/pipes/README.md \
	examples/pipes/copy-topic.sh \
	examples/pipes/count-by-key.sh \
	examples/pipes/follow-log.sh \
	examples/pipes/tee-topic.sh
