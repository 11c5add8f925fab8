/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads for what may block or takes long; results come back on the loop. The queue has a limit. */
#ifndef SH_RUN_WORK_H
#define SH_RUN_WORK_H

#include "libsh/run/loop.h"

struct work {
	struct list node;
	void (*run)(struct work *w);  /* on a thread: touches only what hangs on w */
	void (*done)(struct work *w); /* on the loop, after run; may free w */
};
struct work_pool;
struct work_pool *work_pool_new(struct loop *l, int threads, int max_queued, struct err *e);
int work_submit(struct work_pool *p, struct work *w, struct err *e); /* ERR_BACK_PRESSURE when full */
void work_pool_free(struct work_pool *p); /* waits for what runs; done() is not called any more */

#endif
