/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kafka record batch v2: the unit of the whole log. Source: org.apache.kafka.common.record.DefaultRecordBatch
 * and DefaultRecord; integers are big-endian, those inside records zig-zag varints.
 *
 *  0 baseOffset i64            17 crc u32 (CRC-32C of 21..end)   43 producerId i64
 *  8 batchLength i32           21 attributes i16                 51 producerEpoch i16
 * 12 partitionLeaderEpoch i32  23 lastOffsetDelta i32            53 baseSequence i32
 * 16 magic i8 = 2              27 baseTimestamp i64              57 recordCount i32
 *                              35 maxTimestamp i64               61 records
 *
 * A batch is a run of bytes; nothing here keeps a copy unless it says so.
 */
#ifndef SH_FORMAT_BATCH_H
#define SH_FORMAT_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/bytes.h"
#include "libsh/base/err.h"
#include "libsh/format/compress.h"

enum {
	BATCH_HEADER_BYTES = 61,
	BATCH_LENGTH_OFFSET = 12, /* batchLength counts the bytes after itself */
	BATCH_MAX_BYTES = 32 << 20, /* hard limit whatever a topic says; a WAL file must hold it */
	BATCH_MAX_RAW_BYTES = 256 << 20, /* hard cap on the decompressed records of one batch */
};
enum { /* attributes */
	BATCH_CODEC_MASK = 0x07,
	BATCH_LOG_APPEND_TIME = 0x08,
	BATCH_TRANSACTIONAL = 0x10,
	BATCH_CONTROL = 0x20,
	BATCH_DELETE_HORIZON = 0x40,
};

struct batch_header {
	int64_t base_offset;
	int32_t batch_length;
	int32_t leader_epoch;
	int8_t magic;
	uint32_t crc;
	int16_t attributes;
	int32_t last_offset_delta;
	int64_t base_timestamp; /* ms */
	int64_t max_timestamp;  /* ms */
	int64_t producer_id;    /* -1: none */
	int16_t producer_epoch;
	int32_t base_sequence;
	int32_t record_count;
};

/* Decode the header of a batch that starts at p, of which n bytes are there. ERR_CORRUPT_BATCH when n < 61,
 * or the length or magic cannot be; checks no CRC. */
int batch_header_read(const void *p, size_t n, struct batch_header *h, struct err *e);
/* Whole size in bytes of the batch at p (12 + batchLength) once n >= 12, 0 if n < 12, -1 if it cannot be. */
int64_t batch_size(const void *p, size_t n);
static inline int64_t batch_last_offset(const struct batch_header *h)
{
	return h->base_offset + h->last_offset_delta;
}
static inline enum codec batch_codec(const struct batch_header *h)
{
	return (enum codec)(h->attributes & BATCH_CODEC_MASK);
}
/* Sequence numbers wrap from 2^31-1 to 0. */
static inline int32_t batch_sequence_add(int32_t sequence, int32_t n)
{
	return (int32_t)(((uint32_t)sequence + (uint32_t)n) & INT32_MAX);
}
/* Of the last record of a batch that has a producer id. */
static inline int32_t batch_last_sequence(const struct batch_header *h)
{
	return batch_sequence_add(h->base_sequence, h->last_offset_delta);
}
/* Write base offset and leader epoch: fields that the CRC does not cover. */
void batch_stamp(void *batch, int64_t base_offset, int32_t leader_epoch);
/* 0 if the CRC fits bytes 21..end. */
int batch_check_crc(const void *batch, size_t n, struct err *e);

/* ---- checking what a producer sent (order of checks as Kafka's UnifiedLog and LogValidator) ---- */
struct batch_rules {
	size_t max_bytes;           /* max.message.bytes: cap on the whole batch */
	size_t max_raw_bytes;       /* cap on decompressed records; 0: BATCH_MAX_RAW_BYTES */
	bool require_keys;          /* compacted topic */
	bool log_append_time;       /* topic wants LogAppendTime */
	int64_t now_ms;             /* for the two limits below and LogAppendTime */
	int64_t max_before_ms, max_after_ms; /* message.timestamp.before/after.max.ms; INT64_MAX: no limit */
};
/*
 * Exactly one batch of n bytes. On 0, *h is the header as it now stands and batch is fit to be stored once
 * stamped. A wrong maxTimestamp, LogAppendTime, or gaps in the offset deltas are mended as Kafka does: in
 * place with a new CRC, or, where records had to be written anew, into *rewritten, which is emptied first
 * (then rewritten->len > 0 and that is the batch to store). On -1, e names the record at fault where there is one,
 * and batch is as it was. Damage under a wrong CRC or length is ERR_CORRUPT_BATCH, which producers send
 * again; damage under a right CRC was made so and is ERR_INVALID_RECORD. Records that decompress to more than
 * 16 MiB and 1024 times the batch are taken for a bomb: ERR_TOO_LARGE, as above max_raw_bytes.
 */
int batch_validate(void *batch, size_t n, const struct batch_rules *rules, struct batch_header *h,
	struct buf *rewritten, struct err *e);

/* ---- reading records ---- */
struct record {
	int64_t offset;
	int64_t timestamp;
	struct bytes key, value;    /* data NULL: null */
	struct bytes headers;       /* encoded; walk with record_header_next() */
	int32_t header_count;
};
struct record_header {
	struct bytes key;   /* never null */
	struct bytes value; /* data NULL: null */
};
/*
 * Streams the records of one batch with bounded memory: in place when it is not compressed, else through a
 * window of decompressed bytes that holds at least one record. batch must stay valid; its CRC is the caller's to check.
 * max_raw_bytes as in struct batch_rules. Gaps in the offsets, as compaction leaves them, are fine.
 */
struct batch_reader;
struct batch_reader *batch_reader_new(const void *batch, size_t n, size_t max_raw_bytes, struct err *e);
/* 1: *r filled, valid until the next call; 0: end (count and length matched the header); -1: damage. */
int batch_reader_next(struct batch_reader *b, struct record *r, struct err *e);
/* The same record's key only, at a third of the cost: what lies behind it is not looked at. */
int batch_reader_next_key(struct batch_reader *b, struct bytes *key, struct err *e);
void batch_reader_free(struct batch_reader *b);
/* Start with *pos = 0. 1, 0 at the end, -1 on damage. */
int record_header_next(const struct record *r, size_t *pos, struct record_header *h, struct err *e);

/* ---- writing ---- */
struct batch_writer {
	struct buf records;         /* encoded records, not compressed yet */
	int64_t base_timestamp, max_timestamp;
	int32_t count;
	enum codec codec;
	int level;                  /* 0: the codec's default */
	int64_t producer_id;        /* -1 unless set by the caller before finish */
	int16_t producer_epoch;
	int32_t base_sequence;
};
void batch_writer_init(struct batch_writer *w, enum codec codec, size_t max_raw_bytes);
void batch_writer_release(struct batch_writer *w);
/* offset of r is ignored: records are numbered from 0. Headers are taken in encoded form. ERR_TOO_LARGE: it does
 * not fit, and nothing was added. */
int batch_writer_add(struct batch_writer *w, const struct record *r, struct err *e);
/* Encoded size so far, header included, before compression. */
size_t batch_writer_size(const struct batch_writer *w);
/* Append one finished batch (base offset 0, leader epoch -1) to out and empty the writer. */
int batch_writer_finish(struct batch_writer *w, struct buf *out, struct err *e);
/* Append one header in encoded form, as record.headers wants it. value.data NULL: null. */
int record_headers_add(struct buf *headers, struct bytes key, struct bytes value);
/* Upper bound in bytes of r once encoded in a batch. */
size_t record_max_size(const struct record *r);

#endif
