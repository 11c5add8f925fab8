/* SPDX-License-Identifier: Apache-2.0 */
/* One log with the peers of fake_peers.h, driven step by step: for tests of the log. */
#ifndef SH_TESTS_LOG_DRIVER_H
#define SH_TESTS_LOG_DRIVER_H

#include "daemon/agent/log/log_private.h"
#include "tests/helper/fake_peers.h"

struct test_log {
	struct role_self *self;
	struct log *log;
	bool flag;
	struct err e;
	enum durability reached;
	int64_t offset, timestamp_ms;
	struct log_wait wait;
	struct log_fetch fetch;
	bool failed;
};
extern struct test_log t;

/* Run the loop until a callback set t.flag; false when the time was up. */
bool run(int64_t ms);
/* A log on this directory that serves; setting (or NULL) is changed before. */
void start(const char *dir, const char *setting, const char *value);
void start_without_store(const char *dir); /* it is down from the first moment: nothing recovered gets into a segment */
void stop(void);
void on_done(void *ctx, const struct err *e);
void on_wait(struct log_wait *w, enum durability reached, const struct err *e);
void on_fetch(struct log_fetch *f, const struct err *e);
void create(const char *name, uint32_t partitions, const char *config);
struct partition *part(const char *topic, int64_t partition);
/* A record with this value; its offset, or -1. */
int64_t append(struct partition *p, const char *value, int64_t timestamp);
/* DURABILITY_TOPIC: it failed, see t.e. */
enum durability wait_for(struct partition *p, int64_t end, enum durability want);
/* Values of all records from offset on, joined by commas; or the name of the error. */
const char *fetch(struct partition *p, int64_t offset);
int64_t seek(struct partition *p, int64_t timestamp_ms);

#endif
