/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codecs of Kafka's record batches. Reading is streamed and capped; no size declared in the data is trusted.
 *
 * gzip: RFC 1952, several members. snappy: one raw block, or xerial framing (magic 82 53 4E 41 50 50 59 00,
 * two int32, then int32 length and block, repeated), which is what we write. lz4: one frame, format 1.6, with
 * independent blocks (64 KiB when we write; linked ones are ERR_UNSUPPORTED_CODEC, since Java clients cannot
 * read them). zstd: RFC 8878, several frames, content size optional.
 */
#ifndef SH_FORMAT_COMPRESS_H
#define SH_FORMAT_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/err.h"

/* Numbers as in the attributes of a record batch. */
enum codec { CODEC_NONE = 0, CODEC_GZIP = 1, CODEC_SNAPPY = 2, CODEC_LZ4 = 3, CODEC_ZSTD = 4 };

const char *codec_name(enum codec codec); /* "none", "gzip", ... */
int codec_parse(const char *name, enum codec *codec, struct err *e);

/* Append the compressed form of in[0..n) to out. level 0 means the codec's default. */
int compress_bytes(enum codec codec, int level, const void *in, size_t n, struct buf *out, struct err *e);

/* Pulls decompressed bytes from memory that stays valid while the decompressor lives. */
struct decompressor;
/* max_out: cap in bytes on all output together; passing it is ERR_TOO_LARGE. */
struct decompressor *decompressor_new(
	enum codec codec, const void *in, size_t n, size_t max_out, struct err *e);
/* Up to cap bytes; returns the number, 0 at the end, -1 on damage or above the cap. */
ptrdiff_t decompressor_read(struct decompressor *d, void *out, size_t cap, struct err *e);
void decompressor_free(struct decompressor *d);

/* Segment blocks: bare LZ4 block format or zstd, the size known from a checked index. raw_len must match. */
int block_compress(enum codec codec, const void *in, size_t n, struct buf *out, struct err *e);
int block_decompress(enum codec codec, const void *in, size_t n, void *out, size_t raw_len, struct err *e);

#endif
