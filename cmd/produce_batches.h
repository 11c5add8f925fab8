/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on their way: which partition each goes to, and the batch of each partition that is being filled.
 * What is full is handed to the sender.
 */
#ifndef SH_CMD_PRODUCE_BATCHES_H
#define SH_CMD_PRODUCE_BATCHES_H

#include "cmd/produce_options.h"
#include "cmd/produce_sender.h"

struct open_batch;
struct produce_batches {
	/* set by the caller */
	const struct produce_values *values;
	const struct produce_plan *plan;
	const char *topic;
	struct produce_sender *sender; /* NULL: dry run */

	int32_t partition_count;
	struct open_batch **open;      /* per partition; NULL until used */
	int32_t *dirty, dirty_count;   /* partitions that hold records */
	size_t batch_max, message_max; /* when a batch is full; what the topic takes */
	int32_t sticky;                /* where records without a key go now */
	int64_t open_bytes, sent_records;
};

/* Asks for the topic. Release also after an error. */
int produce_batches_open(struct produce_batches *p, struct api *api, struct err *e);
void produce_batches_release(struct produce_batches *p);
/* now_ms: for a record without a timestamp. m: lives as long as the record.
 * -1 with e->code ERR_NONE, here and below: the sender has failed and knows why. */
int produce_batches_add(
	struct produce_batches *p, struct ndjson_record *r, int64_t now_ms, struct arena *m, struct err *e);
/* Send all that was gathered. */
int produce_batches_send(struct produce_batches *p, struct err *e);
/* From now on records without a key go to the next partition. */
void produce_batches_turn(struct produce_batches *p);

#endif
