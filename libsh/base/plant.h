/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bugs that the simulator must find: `tests/sim/run --plant NAME` compiles the log's core with -DSH_PLANTS, which has all of them, and
 * switches one on. In every other build PLANTED() is false at compile time, and nothing of them is left.
 */
#ifndef SH_BASE_PLANT_H
#define SH_BASE_PLANT_H

#define PLANT_LIST(P)                                                                                      \
	P(ack_before_sync, "the synced LSN moves when bytes are written, not when they are synced")        \
	P(watermark_ahead, "readers see what is appended but not synced")                                  \
	P(lease_not_checked, "an ack does not ask whether the lease still holds")                          \
	P(cache_trusted, "recovery reads the page cache and believes that what it finds is on disk")       \
	P(rewrite_not_synced, "what recovery writes again is not synced before it is shown")               \
	P(recycle_before_commit, "WAL files are recycled as soon as their segment is built")               \
	P(no_directory_sync, "a new WAL file's name is not made durable")                                  \
	P(spare_name_not_synced, "a recycled file gets a new header before its old name is durably gone")  \
	P(sync_tried_again, "after a failed sync the writer syncs once more and goes on")                  \
	P(tail_cut_at_claim, "recovery ends the log where its last entry claims that it was synced")        \
	P(rewritten_noted_late, "a range may be cut while partitions written again are still being noted")  \
	P(closed_range_is_done, "a range refused because the session was closed is taken for committed")    \
	P(claim_too_high, "entries claim as synced what is only staged")                                   \
	P(commit_out_of_order, "any range that is built is committed, not the oldest first")               \
	P(commit_unknown_is_done, "a commit whose answer is lost is taken for done")                       \
	P(next_file_too_early, "the next WAL file is written before the one before is synced")             \
	P(old_session_commits, "a commit does not ask whether its session is over")                        \
	P(tail_without_lease, "the tail is read without asking whether the lease still holds")             \
	P(stale_end_told, "an agent whose lease is over calls an offset that it does not know out of range") \
	P(refusal_believed, "a refused commit is acted on without asking whether the session is over")     \
	P(back_in_time_taken, "metadata older than what was seen are taken")                               \
	P(back_in_time_judged, "older metadata judge commits of an agent that has seen newer ones")         \
	P(seek_to_batch, "a seek by time ends at the first record of a batch, not at the first that is late enough") \
	P(none_called_wal, "an answer at level none says wal")                                             \
	P(wal_crc_not_checked, "entries of the WAL are read without a look at their checksum")             \
	P(producer_left_behind, "a batch that is in a segment is not written again for its producer's sake") \
	P(producers_forgotten, "recovery does not learn which batches of idempotent producers are there")  \
	P(deletion_missed, "the agent does not take note that a topic was deleted")                        \
	P(seen_forgotten, "WAL files are recycled before it is on disk which commit was seen")

#define P(name, text) PLANT_##name,
enum plant { PLANT_none, PLANT_LIST(P) };
#undef P

#ifdef SH_PLANTS
extern enum plant plant_chosen;
#define PLANTED(name) (plant_chosen == PLANT_##name)
#else
#define PLANTED(name) 0
#endif

#endif
