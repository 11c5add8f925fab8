/* SPDX-License-Identifier: Apache-2.0 */
/* A batch checked and appended at once. */
#ifndef SH_TESTS_APPEND_BATCH_H
#define SH_TESTS_APPEND_BATCH_H

#include "daemon/agent/log/log.h"

static inline int append_batch(struct log *l, struct partition *p, struct buf *batch, int64_t *first, int64_t *last, struct err *e)
{
	struct batch_check c;
	int result = -1;

	log_check_begin(&c, p, batch->data, batch->len, 0);
	if (log_check_run(&c, e) == 0)
		result = log_append_checked(l, p, &c, first, last, e);
	log_check_release(&c);
	return result;
}

#endif
