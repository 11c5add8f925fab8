/* SPDX-License-Identifier: Apache-2.0 */
/* The producers that a run touched, each with its last five batches; the least recently used go when there are too many. */
#ifndef SH_STORE_PRODUCER_SET_H
#define SH_STORE_PRODUCER_SET_H

#include "libsh/base/map.h"
#include "libsh/format/batch.h"
#include "libsh/format/segment.h"

enum { PRODUCER_SET_MAX = 1000 };
struct producer_set {
	struct segment_producer *rows;
	uint32_t count, alloc, last; /* last: the row found last, batches of a producer often come in a row */
	struct map by_id;            /* id to row + 1 */
};
void producer_set_note(struct producer_set *s, const struct batch_header *h, int64_t append_ms);
/* Sort the rows by id and copy them; the set is empty afterwards. */
struct segment_producer *producer_set_take(struct producer_set *s, struct arena *a, uint32_t *count);
void producer_set_release(struct producer_set *s);

#endif
