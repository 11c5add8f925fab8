/* SPDX-License-Identifier: Apache-2.0 */
/*
 * daemon/agent/log/log.h in memory, for tests and the fuzzer of what stands on it, and the peers of an
 * agent that has none. Bytes above FAKE_LOG_KEEP_BYTES of a partition fall off its front.
 */
#ifndef SH_TESTS_FAKE_LOG_H
#define SH_TESTS_FAKE_LOG_H

#include "daemon/agent/log/log.h"

enum { FAKE_LOG_KEEP_BYTES = 64 << 20 };

struct fake_log_rules {
	int64_t ack_ms;          /* level wal is reached after so long; 0: at the end of the turn; -1: never */
	uint64_t refuse_every;   /* every n-th append hears ERR_BACK_PRESSURE; 0: none */
	uint64_t fail_at;        /* the n-th append from now fails for good; 0: none */
	bool check;              /* verify the CRC of batches */
};
struct log *fake_log_new(struct loop *loop);
void fake_log_free(struct log *l);
struct fake_log_rules *fake_log_rules(struct log *l);

#endif
