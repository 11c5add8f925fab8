/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message of the family: who sends it to whom, what it carries, what answers it. This table is the communication diagram;
 * a process refuses a type that its row does not allow from that peer.
 *
 * Each request has exactly one reply of the type given (or an error). "again" says whether the sender may simply send it again after
 * the other side went away: its effect is the same once or twice.
 */
#ifndef SH_DAEMON_MESSAGES_H
#define SH_DAEMON_MESSAGES_H

#include <stdbool.h>
#include "libsh/run/pack.h"

enum role { ROLE_SUPERVISOR, ROLE_AGENT, ROLE_STORE, ROLE_META, ROLE_JANITOR, ROLE_COUNT };
const char *role_name(enum role r); /* "agent" */

/*       request          from        to       body            reply body        again */
#define MESSAGE_LIST(M)                                                                  \
	/* wiring and life */                                                            \
	M(CONFIGURE,       SUPERVISOR, ANY,     configure,       empty,            true)  \
	M(WIRE,            SUPERVISOR, ANY,     wire,            empty,            true)  \
	M(LISTEN,          SUPERVISOR, AGENT,   listen,          empty,            true)  \
	M(START,           SUPERVISOR, ANY,     empty,           empty,            true)  \
	M(DRAIN,           SUPERVISOR, ANY,     empty,           empty,            true)  \
	M(PING,            SUPERVISOR, ANY,     empty,           pong,             true)  \
	M(FAMILY,          SUPERVISOR, AGENT,   family,          empty,            true)  \
	/* leases and topics */                                                          \
	M(SESSION_OPEN,    AGENT,      META,    session_open,    session_opened,   true)  \
	M(SESSION_RENEW,   AGENT,      META,    session_renew,   session_renewed,  true)  \
	M(SESSION_CLOSE,   AGENT,      META,    session_close,   empty,            true)  \
	M(META_CHANGED,    META,       AGENT,   meta_changed,    empty,            true)  \
	M(TOPIC_CREATE,    AGENT,      META,    topic_create,    topic_created,    false) \
	M(TOPIC_ALTER,     AGENT,      META,    topic_alter,     empty,            true)  \
	M(TOPIC_DELETE,    AGENT,      META,    topic_delete,    empty,            false) \
	M(PRODUCER_IDS,    AGENT,      META,    producer_ids,    producer_ids_given, true) \
	M(META_STATUS,     AGENT,      META,    empty,           meta_status,      true)  \
	/* segments */                                                                   \
	M(SEGMENT_BUILD,   AGENT,      STORE,   segment_build,   segment_built,    true)  \
	M(SEGMENT_INTENT,  STORE,      META,    segment_intent,  segment_intended, true)  \
	M(SEGMENT_COMMIT,  AGENT,      META,    segment_commit,  segment_committed, true) \
	M(RUN_FIND,        AGENT,      META,    run_find,        run_found,        true)  \
	M(OBJECT_READ,     AGENT,      STORE,   object_read,     object_data,      true)  \
	M(STORE_STATUS,    AGENT,      STORE,   empty,           store_status,     true)  \
	/* garbage */                                                                    \
	M(RETAIN,          JANITOR,    META,    retain,          retained,         true)  \
	M(GARBAGE_LIST,    JANITOR,    META,    garbage_list,    garbage_names,    true)  \
	M(GARBAGE_DONE,    JANITOR,    META,    garbage_done,    empty,            true)  \
	M(OBJECT_REMOVE,   JANITOR,    STORE,   object_remove,   empty,            true)  \
	M(OBJECT_LIST,     JANITOR,    STORE,   object_list,     object_listed,    true)  \
	M(OBJECTS_UNKNOWN, JANITOR,    META,    objects_unknown, objects_judged,   true)  \
	/* snapshots of the metadata */                                                  \
	M(SNAPSHOT_WANTED, META,       JANITOR, empty,           empty,            true)  \
	M(SNAPSHOT_TAKE,   JANITOR,    META,    empty,           snapshot_taken,   true)  \
	M(OBJECT_PUT,      JANITOR,    STORE,   object_put,      empty,            true)  \
	M(SNAPSHOT_STORED, JANITOR,    META,    snapshot_stored, empty,            true)

enum message_type {
	MESSAGE_NONE,
#define M(name, from, to, body, reply, again) MSG_##name,
	MESSAGE_LIST(M)
#undef M
	MESSAGE_COUNT
};
struct message_info {
	const char *name;
	int from, to; /* enum role; to may be -1: any */
	bool again;
	const struct pack_field *body, *reply;
};
extern const struct message_info message_table[MESSAGE_COUNT];
bool message_allowed(int type, enum role from, enum role to);

/* ---- bodies ---- */
#define EMPTY_FIELDS(F, S) F(S, U8, unused)
/* Settings of the role as name=value lines. Sent first, and again when they were reloaded. */
#define CONFIGURE_FIELDS(F, S) F(S, BYTES, settings) F(S, STR, data_dir) F(S, U32, index) F(S, U32, count)
/* One descriptor: a channel to that peer. Replaces an older one. */
#define WIRE_FIELDS(F, S) F(S, U8, role) F(S, U32, index)
/* One descriptor: a listening socket. */
#define LISTEN_FIELDS(F, S) F(S, STR, protocol) F(S, STR, address)
/* lost: rows of wire, the peers to which there is no channel. */
#define PONG_FIELDS(F, S) F(S, BYTES, lost)
/* What is wrong with other processes of the family; empty: nothing. */
#define FAMILY_FIELDS(F, S) F(S, STR, problem)

/* seen_*: what the slot remembers of metadata with that incarnation; those that have less are an older copy and open nothing (ERR_CORRUPT). */
#define SESSION_OPEN_FIELDS(F, S) F(S, U32, slot) F(S, UUID, slot_id) F(S, STR, address) F(S, I64, ttl_ms) F(S, U64, seen_incarnation) \
	F(S, U64, seen_session) F(S, U64, seen_sequence)
#define SESSION_OPENED_FIELDS(F, S) F(S, U64, session) F(S, U64, incarnation) F(S, U64, commit_sequence)
#define SESSION_RENEW_FIELDS(F, S) F(S, U64, session) F(S, U64, version)
/* Rows changed above the version given. */
enum session_renewed_flags { SESSION_RENEWED_MORE = 1 /* ask again */ };
#define SESSION_RENEWED_FIELDS(F, S) F(S, U64, version) F(S, U32, flags) F(S, BYTES, topics) F(S, BYTES, partitions) \
	F(S, U64, incarnation) F(S, U64, commit_sequence)
#define TOPIC_ROW_FIELDS(F, S) F(S, UUID, id) F(S, STR, name) F(S, U32, partitions) F(S, U32, replication_factor) \
	F(S, STR, config) F(S, I64, created_ms) F(S, U8, deleted)
#define PARTITION_ROW_FIELDS(F, S) F(S, UUID, topic) F(S, U32, partition) F(S, U32, slot) F(S, U32, epoch) \
	F(S, I64, log_start) F(S, I64, flushed_end) F(S, U64, records) F(S, U64, bytes) \
	F(S, U64, expired_records) F(S, U64, expired_bytes) F(S, I64, offset_floor)
#define SESSION_CLOSE_FIELDS(F, S) F(S, U64, session)
#define META_CHANGED_FIELDS(F, S) F(S, U64, version)
#define TOPIC_CREATE_FIELDS(F, S) F(S, STR, name) F(S, U32, partitions) F(S, U32, replication_factor) F(S, STR, config)
#define TOPIC_CREATED_FIELDS(F, S) F(S, UUID, id)
/* partitions 0: leave; config: JSON object, a null value removes the key. */
#define TOPIC_ALTER_FIELDS(F, S) F(S, STR, name) F(S, U32, partitions) F(S, STR, config)
#define TOPIC_DELETE_FIELDS(F, S) F(S, STR, name)
#define PRODUCER_IDS_FIELDS(F, S) F(S, U32, count)
#define PRODUCER_IDS_GIVEN_FIELDS(F, S) F(S, I64, first)
/* behind: name of an object in the store that is from after this metadata; empty: it did not go back in time, as far as is known. */
#define META_STATUS_FIELDS(F, S) F(S, U64, topics) F(S, U64, partitions) F(S, U64, live_objects) F(S, U64, live_bytes) \
	F(S, U64, pending_objects) F(S, U64, dead_objects) F(S, U64, records) F(S, STR, url) F(S, STR, behind)

/* One descriptor: the WAL file, read-only. sources: rows of source_row, sorted by (topic, partition). */
#define SEGMENT_BUILD_FIELDS(F, S) F(S, U64, session) F(S, U32, slot) F(S, UUID, slot_id) F(S, U64, generation) \
	F(S, U64, first_lsn) F(S, U64, end_lsn) F(S, BYTES, sources)
#define SOURCE_ROW_FIELDS(F, S) F(S, UUID, topic) F(S, STR, name) F(S, U32, partition) F(S, I64, first_offset) F(S, I64, end_offset)
/* runs: segment_runs_encode(). bytes 0: nothing to write, no object. */
#define SEGMENT_BUILT_FIELDS(F, S) F(S, STR, object) F(S, U64, bytes) F(S, U32, crc) F(S, BYTES, runs)
#define SEGMENT_INTENT_FIELDS(F, S) F(S, U64, session) F(S, UUID, object)
#define SEGMENT_INTENDED_FIELDS(F, S) F(S, STR, object) F(S, U64, number) F(S, U64, newest_committed) F(S, U64, incarnation)
/* seen: the highest commit sequence that the agent ever saw; metadata that have less are an older copy and judge nothing (ERR_CORRUPT). */
#define SEGMENT_COMMIT_FIELDS(F, S) F(S, U64, session) F(S, U64, seen) F(S, STR, object) F(S, U64, bytes) F(S, U32, crc) F(S, BYTES, runs)
/* verdicts: one byte (enum meta_verdict) a run, in order. */
#define SEGMENT_COMMITTED_FIELDS(F, S) F(S, U64, commit_sequence) F(S, BYTES, verdicts)
#define RUN_FIND_FIELDS(F, S) F(S, UUID, topic) F(S, U32, partition) F(S, U8, by_timestamp) F(S, I64, value) F(S, I64, from_offset)
/* run: segment_runs_encode() of one; found 0: none. */
#define RUN_FOUND_FIELDS(F, S) F(S, U8, found) F(S, STR, object) F(S, U64, object_bytes) F(S, BYTES, run)
enum object_read_flags {
	OBJECT_READ_ANEW = 1,  /* the cached copy was bad: fetch it again */
	OBJECT_READ_GUESS = 2, /* nobody waits for it: refused when there is much to do, or little room */
};
/* ahead_end: as far as there the bytes behind will be wanted too; 0: that is not known. */
#define OBJECT_READ_FIELDS(F, S) F(S, STR, object) F(S, U64, object_bytes) F(S, U64, offset) F(S, U64, length) F(S, U32, flags) \
	F(S, U64, ahead_end)
/* One descriptor: a file holding the object's bytes [offset, offset+length) at `position`; it never changes. */
#define OBJECT_DATA_FIELDS(F, S) F(S, U64, position)
#define STORE_STATUS_FIELDS(F, S) F(S, STR, url) F(S, U64, cache_bytes) F(S, U64, cache_max_bytes) F(S, U64, cache_hits) F(S, U64, cache_misses) \
	F(S, U64, puts) F(S, U64, gets) F(S, U64, removes) F(S, U64, lists) F(S, U64, errors) F(S, U64, put_bytes) F(S, U64, get_bytes) \
	F(S, STR, last_error) F(S, I64, last_error_ms) F(S, U8, failing) F(S, U64, failures) F(S, U8, paused) F(S, U8, looks_first)
/* hold_ms: nothing expires by age this long after a boot or a step of the clock. more 1: there is more to do at once. */
#define RETAIN_FIELDS(F, S) F(S, I64, hold_ms)
#define RETAINED_FIELDS(F, S) F(S, U8, more) F(S, U64, runs) F(S, U64, records) F(S, U64, bytes)
#define GARBAGE_LIST_FIELDS(F, S) F(S, I64, grace_ms) F(S, U32, max) F(S, U32, skip)
/* more 1: there is more to do at once. */
#define GARBAGE_NAMES_FIELDS(F, S) F(S, BYTES, names) F(S, U8, more)
#define NAME_ROW_FIELDS(F, S) F(S, STR, name)
#define GARBAGE_DONE_FIELDS(F, S) F(S, STR, name)
#define OBJECT_REMOVE_FIELDS(F, S) F(S, STR, name)
#define OBJECT_LIST_FIELDS(F, S) F(S, STR, prefix)
/* One descriptor: `bytes` of rows of listed_row, as sealed memory. more 1: not all had room. */
#define OBJECT_LISTED_FIELDS(F, S) F(S, U64, count) F(S, U64, bytes) F(S, U8, more)
#define LISTED_ROW_FIELDS(F, S) F(S, STR, name) F(S, U64, bytes) F(S, I64, modified_ms)
/* names: rows of name_row. given_up: those that were begun here, never committed, and removed before. strange: how many other segments
 * the metadata knows nothing of. ahead: the first name that only a newer metadata than this can have given; not empty: the metadata is
 * behind from now on, nothing may be deleted. whole 1, without names: all of the store was asked about, some of it was known, and
 * nothing was ahead. */
#define OBJECTS_UNKNOWN_FIELDS(F, S) F(S, BYTES, names) F(S, U8, whole)
#define OBJECTS_JUDGED_FIELDS(F, S) F(S, BYTES, given_up) F(S, U32, known) F(S, U32, strange) F(S, STR, ahead)
/* One descriptor: `bytes` of it, the snapshot. name empty: nothing has changed, there is no descriptor. */
#define SNAPSHOT_TAKEN_FIELDS(F, S) F(S, STR, name) F(S, U64, bytes)
/* One descriptor. A name that holds these bytes already is success. */
#define OBJECT_PUT_FIELDS(F, S) F(S, STR, name) F(S, U64, bytes)
/* failed 1: it could not be stored; taken 1: because that name is taken, so another metadata gives names to this store. */
#define SNAPSHOT_STORED_FIELDS(F, S) F(S, STR, name) F(S, U8, failed) F(S, U8, taken)

#define MESSAGE_BODIES(B) B(empty, EMPTY_FIELDS) B(configure, CONFIGURE_FIELDS) B(wire, WIRE_FIELDS) B(listen, LISTEN_FIELDS) B(pong, PONG_FIELDS) B(family, FAMILY_FIELDS) \
	B(session_open, SESSION_OPEN_FIELDS) B(session_opened, SESSION_OPENED_FIELDS) B(session_renew, SESSION_RENEW_FIELDS) \
	B(session_renewed, SESSION_RENEWED_FIELDS) B(topic_row, TOPIC_ROW_FIELDS) B(partition_row, PARTITION_ROW_FIELDS) \
	B(session_close, SESSION_CLOSE_FIELDS) B(meta_changed, META_CHANGED_FIELDS) B(topic_create, TOPIC_CREATE_FIELDS) \
	B(topic_created, TOPIC_CREATED_FIELDS) B(topic_alter, TOPIC_ALTER_FIELDS) B(topic_delete, TOPIC_DELETE_FIELDS) \
	B(producer_ids, PRODUCER_IDS_FIELDS) B(producer_ids_given, PRODUCER_IDS_GIVEN_FIELDS) B(meta_status, META_STATUS_FIELDS) \
	B(segment_build, SEGMENT_BUILD_FIELDS) B(source_row, SOURCE_ROW_FIELDS) B(segment_built, SEGMENT_BUILT_FIELDS) \
	B(segment_intent, SEGMENT_INTENT_FIELDS) B(segment_intended, SEGMENT_INTENDED_FIELDS) B(segment_commit, SEGMENT_COMMIT_FIELDS) \
	B(segment_committed, SEGMENT_COMMITTED_FIELDS) B(run_find, RUN_FIND_FIELDS) B(run_found, RUN_FOUND_FIELDS) \
	B(object_read, OBJECT_READ_FIELDS) B(object_data, OBJECT_DATA_FIELDS) B(store_status, STORE_STATUS_FIELDS) \
	B(retain, RETAIN_FIELDS) B(retained, RETAINED_FIELDS) B(garbage_list, GARBAGE_LIST_FIELDS) B(garbage_names, GARBAGE_NAMES_FIELDS) B(name_row, NAME_ROW_FIELDS) \
	B(garbage_done, GARBAGE_DONE_FIELDS) B(object_remove, OBJECT_REMOVE_FIELDS) \
	B(object_list, OBJECT_LIST_FIELDS) B(object_listed, OBJECT_LISTED_FIELDS) B(listed_row, LISTED_ROW_FIELDS) \
	B(objects_unknown, OBJECTS_UNKNOWN_FIELDS) B(objects_judged, OBJECTS_JUDGED_FIELDS) B(snapshot_taken, SNAPSHOT_TAKEN_FIELDS) \
	B(object_put, OBJECT_PUT_FIELDS) B(snapshot_stored, SNAPSHOT_STORED_FIELDS)

/* struct msg_wire, msg_wire_fields[] and so on. */
#define B(name, FIELDS) PACK_STRUCT(msg_##name, FIELDS)
MESSAGE_BODIES(B)
#undef B

#endif
