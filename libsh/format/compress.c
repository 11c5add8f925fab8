/* SPDX-License-Identifier: Apache-2.0 */
/* Compressing, and the blocks of segments. Decompressing what a batch holds is in decompressor.c. */
#include "libsh/format/compress.h"

#include <limits.h>
#include <lz4.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "libsh/base/bytes.h"
#include "libsh/base/mem.h"

enum {
	GZIP_WINDOW_BITS = 15 + 16, /* 16: with a gzip header */
	GZIP_MEMORY_LEVEL = 8,
	XERIAL_HEADER_BYTES = 16,
	XERIAL_BLOCK_BYTES = 32 << 10, /* as snappy-java cuts them */
	ZSTD_BATCH_LEVEL = 3,          /* Kafka's default */
	ZSTD_BLOCK_LEVEL = 3,
	COMPRESS_INPUT_MAX = 1 << 30,  /* far above any batch or block; keeps the libraries' ints in range */
};

static const char *const names[] = {"none", "gzip", "snappy", "lz4", "zstd"};

const char *codec_name(enum codec codec)
{
	return (unsigned)codec < array_count(names) ? names[codec] : "unknown";
}

int codec_parse(const char *name, enum codec *codec, struct err *e)
{
	for (size_t i = 0; i < array_count(names); i++)
		if (!strcmp(name, names[i])) {
			*codec = (enum codec)i;
			return 0;
		}
	err_set(e, ERR_INVALID_ARGUMENT, "'%.64s' is not a compression codec", name);
	return err_hint(e, "use none, gzip, snappy, lz4 or zstd");
}

/*
 * Where a one-shot compressor writes: the end of the buffer if it can take the worst case, else memory
 * of its own, since the result may well fit where the worst case does not.
 */
struct target {
	char *data, *scratch;
	size_t cap;
};

static void target_open(struct target *t, struct buf *out, size_t cap)
{
	t->cap = cap;
	t->scratch = NULL;
	if (!out->overflow && out->len <= out->max && cap <= out->max - out->len &&
		buf_reserve(out, cap) == 0)
		t->data = out->data + out->len;
	else
		t->data = t->scratch = mem_alloc(cap);
}

/* failed: a message of the library, or NULL when n bytes were written. */
static int target_close(struct target *t, struct buf *out, size_t n, const char *failed, enum codec codec,
	struct err *e)
{
	int rc = 0;

	if (failed)
		rc = err_set(e, ERR_INTERNAL, "cannot compress with %s: %s", codec_name(codec), failed);
	else if (!t->scratch)
		buf_grew(out, n);
	else if (buf_add(out, t->scratch, n) < 0)
		rc = err_set(e, ERR_TOO_LARGE, "%zu bytes compressed with %s do not fit into %zu", n,
			codec_name(codec), out->max);
	if (failed && !t->scratch && out->data)
		out->data[out->len] = '\0';
	mem_free(t->scratch);
	return rc;
}

static int compress_gzip(int level, const void *in, size_t n, struct buf *out, struct err *e)
{
	z_stream z = {0};
	struct target t;
	int rc;

	rc = deflateInit2(&z, level ? level : Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW_BITS,
		GZIP_MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
	if (rc != Z_OK)
		return err_set(e, ERR_INVALID_ARGUMENT, "gzip has no level %d", level);
	target_open(&t, out, deflateBound(&z, n));
	z.next_in = (unsigned char *)in;
	z.avail_in = (uInt)n;
	z.next_out = (unsigned char *)t.data;
	z.avail_out = (uInt)t.cap;
	rc = deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return target_close(&t, out, t.cap - z.avail_out, rc == Z_STREAM_END ? NULL : "zlib failed",
		CODEC_GZIP, e);
}

/* In xerial framing, which every client reads: reading it back needs memory for one block only. */
static int compress_snappy(const void *in, size_t n, struct buf *out, struct err *e)
{
	static const uint8_t header[XERIAL_HEADER_BYTES] = {
		0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1};
	size_t block_cap = 4 + snappy_max_compressed_length(XERIAL_BLOCK_BYTES);
	size_t blocks = (n + XERIAL_BLOCK_BYTES - 1) / XERIAL_BLOCK_BYTES, used = sizeof(header);
	const char *failed = NULL;
	struct target t;

	target_open(&t, out, sizeof(header) + blocks * block_cap);
	memcpy(t.data, header, sizeof(header));
	for (size_t done = 0; done < n && !failed;) {
		size_t block = n - done < XERIAL_BLOCK_BYTES ? n - done : XERIAL_BLOCK_BYTES;
		size_t len = t.cap - used - 4;

		if (snappy_compress((const char *)in + done, block, t.data + used + 4, &len) != SNAPPY_OK)
			failed = "snappy failed";
		put_be32(t.data + used, (uint32_t)len);
		used += 4 + len;
		done += block;
	}
	return target_close(&t, out, used, failed, CODEC_SNAPPY, e);
}

/* Independent blocks: Kafka's Java client refuses linked ones. */
static int compress_lz4(int level, const void *in, size_t n, struct buf *out, struct err *e)
{
	LZ4F_preferences_t p = LZ4F_INIT_PREFERENCES;
	struct target t;
	size_t len;

	p.frameInfo.blockSizeID = LZ4F_max64KB;
	p.frameInfo.blockMode = LZ4F_blockIndependent;
	p.compressionLevel = level;
	target_open(&t, out, LZ4F_compressFrameBound(n, &p));
	len = LZ4F_compressFrame(t.data, t.cap, in, n, &p);
	return target_close(&t, out, len, LZ4F_isError(len) ? LZ4F_getErrorName(len) : NULL, CODEC_LZ4, e);
}

static int compress_zstd(int level, const void *in, size_t n, struct buf *out, struct err *e)
{
	struct target t;
	size_t len;

	target_open(&t, out, ZSTD_compressBound(n));
	len = ZSTD_compress(t.data, t.cap, in, n, level);
	return target_close(&t, out, len, ZSTD_isError(len) ? ZSTD_getErrorName(len) : NULL, CODEC_ZSTD, e);
}

static int too_large(enum codec codec, size_t n, struct err *e)
{
	return err_set(e, ERR_TOO_LARGE, "%zu bytes are too many to compress with %s at once", n,
		codec_name(codec));
}

static int copy_bytes(const void *in, size_t n, struct buf *out, struct err *e)
{
	if (buf_add(out, in, n) < 0)
		return err_set(e, ERR_TOO_LARGE, "%zu bytes do not fit into %zu", n, out->max);
	return 0;
}

int compress_bytes(enum codec codec, int level, const void *in, size_t n, struct buf *out, struct err *e)
{
	if (n > COMPRESS_INPUT_MAX)
		return too_large(codec, n, e);
	switch (codec) {
	case CODEC_NONE:
		return copy_bytes(in, n, out, e);
	case CODEC_GZIP:
		return compress_gzip(level, in, n, out, e);
	case CODEC_SNAPPY:
		return compress_snappy(in, n, out, e);
	case CODEC_LZ4:
		return compress_lz4(level, in, n, out, e);
	case CODEC_ZSTD:
		return compress_zstd(level ? level : ZSTD_BATCH_LEVEL, in, n, out, e);
	}
	return err_set(e, ERR_UNSUPPORTED_CODEC, "there is no compression codec %d", (int)codec);
}

static int block_compress_lz4(const void *in, size_t n, struct buf *out, struct err *e)
{
	struct target t;
	int len;

	target_open(&t, out, (size_t)LZ4_compressBound((int)n));
	len = LZ4_compress_default(in, t.data, (int)n, (int)t.cap);
	return target_close(&t, out, (size_t)len, len > 0 ? NULL : "LZ4 failed", CODEC_LZ4, e);
}

int block_compress(enum codec codec, const void *in, size_t n, struct buf *out, struct err *e)
{
	if (n > COMPRESS_INPUT_MAX)
		return too_large(codec, n, e);
	switch (codec) {
	case CODEC_NONE:
		return copy_bytes(in, n, out, e);
	case CODEC_LZ4:
		return block_compress_lz4(in, n, out, e);
	case CODEC_ZSTD:
		return compress_zstd(ZSTD_BLOCK_LEVEL, in, n, out, e);
	default:
		return err_set(e, ERR_UNSUPPORTED_CODEC, "blocks of segments are not compressed with %s",
			codec_name(codec));
	}
}

int block_decompress(enum codec codec, const void *in, size_t n, void *out, size_t raw_len, struct err *e)
{
	size_t got;

	if (n > INT_MAX || raw_len > INT_MAX)
		return err_set(e, ERR_CORRUPT, "a block of %zu bytes, %zu once decompressed, cannot be", n,
			raw_len);
	switch (codec) {
	case CODEC_NONE:
		got = n;
		if (n == raw_len && n)
			memcpy(out, in, n);
		break;
	case CODEC_LZ4:
		got = (size_t)(ptrdiff_t)LZ4_decompress_safe(in, out, (int)n, (int)raw_len);
		break;
	case CODEC_ZSTD:
		got = ZSTD_decompress(out, raw_len, in, n);
		break;
	default:
		return err_set(e, ERR_CORRUPT, "blocks of segments are not compressed with %s",
			codec_name(codec));
	}
	if (got != raw_len)
		return err_set(e, ERR_CORRUPT, "a block (%s) is damaged: not %zu bytes as declared",
			codec_name(codec), raw_len);
	return 0;
}
