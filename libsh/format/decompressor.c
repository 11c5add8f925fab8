/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decompressing as a stream. Every codec has a step that moves some input to some output; decompressor_read()
 * runs it until the caller's piece is full and watches over the cap.
 */
#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include "libsh/base/bytes.h"
#include "libsh/base/mem.h"
#include "libsh/format/compress.h"

enum {
	GZIP_WINDOW_BITS = 15 + 16,
	GZIP_FEED_MAX = 1 << 30, /* zlib counts its input in an unsigned int */
	XERIAL_HEADER_BYTES = 16,
	SNAPPY_RATIO_MAX = 22, /* no element makes more of its bytes than a copy: 64 out of 3 */
	LZ4_HEADER_BYTES_MIN = 7,
	LZ4_FLAG_INDEPENDENT = 0x20,
};
#define LZ4_MAGIC 0x184d2204u

struct decompressor {
	enum codec codec;
	const uint8_t *in;
	size_t n, pos;
	size_t max_out, total_out;
	bool ended;
	z_stream gzip;
	LZ4F_dctx *lz4;
	ZSTD_DCtx *zstd;
	struct {
		bool framed;
		char *data; /* the block decompressed last, of which pos bytes were taken */
		size_t len, pos, alloc;
	} snappy;
};

static int damaged(const struct decompressor *d, struct err *e, const char *why)
{
	return err_set(e, ERR_CORRUPT_BATCH, "%s data is damaged near byte %zu: %s", codec_name(d->codec),
		d->pos, why);
}

static int above_cap(const struct decompressor *d, struct err *e)
{
	return err_set(e, ERR_TOO_LARGE, "%zu bytes of %s data decompress to more than %zu bytes", d->n,
		codec_name(d->codec), d->max_out);
}

static ptrdiff_t step_none(struct decompressor *d, void *out, size_t cap)
{
	size_t left = d->n - d->pos, n = left < cap ? left : cap;

	if (n)
		memcpy(out, d->in + d->pos, n);
	d->pos += n;
	d->ended = d->pos == d->n;
	return (ptrdiff_t)n;
}

static ptrdiff_t step_gzip(struct decompressor *d, void *out, size_t cap, struct err *e)
{
	size_t feed = d->n - d->pos < GZIP_FEED_MAX ? d->n - d->pos : GZIP_FEED_MAX;
	int rc;

	d->gzip.next_in = (unsigned char *)d->in + d->pos;
	d->gzip.avail_in = (uInt)feed;
	d->gzip.next_out = out;
	d->gzip.avail_out = (uInt)cap;
	rc = inflate(&d->gzip, Z_NO_FLUSH);
	d->pos += feed - d->gzip.avail_in;
	if (rc == Z_STREAM_END) {
		d->ended = d->pos == d->n;
		inflateReset(&d->gzip); /* another member follows */
	} else if (rc == Z_BUF_ERROR) {
		return damaged(d, e, "it is cut off");
	} else if (rc != Z_OK) {
		return damaged(d, e, d->gzip.msg ? d->gzip.msg : "not gzip");
	}
	return (ptrdiff_t)(cap - d->gzip.avail_out);
}

/* Decompress one block into memory of its declared size, once that size is found possible. */
static int snappy_block(struct decompressor *d, size_t n, struct err *e)
{
	const char *block = (const char *)d->in + d->pos;
	size_t len;

	if (snappy_uncompressed_length(block, n, &len) != SNAPPY_OK || len / SNAPPY_RATIO_MAX > n)
		return damaged(d, e, "its declared length cannot be");
	if (len > d->max_out - d->total_out)
		return above_cap(d, e);
	if (len > d->snappy.alloc) {
		mem_free(d->snappy.data);
		d->snappy.data = mem_alloc(len);
		d->snappy.alloc = len;
	}
	d->snappy.len = d->snappy.pos = 0;
	if (len && snappy_uncompress(block, n, d->snappy.data, &len) != SNAPPY_OK)
		return damaged(d, e, "not snappy");
	d->snappy.len = len;
	d->pos += n;
	return 0;
}

static int next_snappy_block(struct decompressor *d, struct err *e)
{
	size_t left = d->n - d->pos, n = left;

	if (d->snappy.framed) {
		if (left < 4)
			return damaged(d, e, "it is cut off");
		n = get_be32(d->in + d->pos);
		d->pos += 4;
		if (!n || n > left - 4)
			return damaged(d, e, "the length of a block cannot be");
	}
	return snappy_block(d, n, e);
}

static ptrdiff_t step_snappy(struct decompressor *d, void *out, size_t cap, struct err *e)
{
	size_t left = d->snappy.len - d->snappy.pos;

	if (!left) {
		if (next_snappy_block(d, e) < 0)
			return -1;
		left = d->snappy.len;
	}
	if (left > cap)
		left = cap;
	if (left)
		memcpy(out, d->snappy.data + d->snappy.pos, left);
	d->snappy.pos += left;
	d->ended = d->pos == d->n && d->snappy.pos == d->snappy.len;
	return (ptrdiff_t)left;
}

static ptrdiff_t step_lz4(struct decompressor *d, void *out, size_t cap, struct err *e)
{
	size_t in_len = d->n - d->pos, out_len = cap;
	size_t rc = LZ4F_decompress(d->lz4, out, &out_len, d->in + d->pos, &in_len, NULL);

	if (LZ4F_isError(rc))
		return damaged(d, e, LZ4F_getErrorName(rc));
	d->pos += in_len;
	if (rc == 0) {
		d->ended = true;
		if (d->pos < d->n) /* Kafka's clients stop here; what they do not see must not be taken */
			return damaged(d, e, "more bytes follow the frame");
	} else if (!in_len && !out_len) {
		return damaged(d, e, "it is cut off");
	}
	return (ptrdiff_t)out_len;
}

static ptrdiff_t step_zstd(struct decompressor *d, void *out, size_t cap, struct err *e)
{
	ZSTD_inBuffer in = {d->in, d->n, d->pos};
	ZSTD_outBuffer to = {out, cap, 0};
	size_t rc = ZSTD_decompressStream(d->zstd, &to, &in);

	if (ZSTD_isError(rc))
		return damaged(d, e, ZSTD_getErrorName(rc));
	if (rc != 0 && in.pos == d->pos && !to.pos)
		return damaged(d, e, "it is cut off");
	d->pos = in.pos;
	d->ended = rc == 0 && d->pos == d->n;
	return (ptrdiff_t)to.pos;
}

static ptrdiff_t step(struct decompressor *d, void *out, size_t cap, struct err *e)
{
	switch (d->codec) {
	case CODEC_NONE:
		return step_none(d, out, cap);
	case CODEC_GZIP:
		return step_gzip(d, out, cap, e);
	case CODEC_SNAPPY:
		return step_snappy(d, out, cap, e);
	case CODEC_LZ4:
		return step_lz4(d, out, cap, e);
	case CODEC_ZSTD:
		return step_zstd(d, out, cap, e);
	}
	return -1;
}

ptrdiff_t decompressor_read(struct decompressor *d, void *out, size_t cap, struct err *e)
{
	size_t allowed = d->max_out - d->total_out, got = 0;

	if (cap > allowed)
		cap = allowed + 1; /* one more than allowed shows that there is more */
	if (cap > GZIP_FEED_MAX)
		cap = GZIP_FEED_MAX;
	while (got < cap && !d->ended) {
		ptrdiff_t n = step(d, (char *)out + got, cap - got, e);

		if (n < 0)
			return -1;
		got += (size_t)n;
	}
	if (got > allowed)
		return above_cap(d, e);
	d->total_out += got;
	return (ptrdiff_t)got;
}

static int start_lz4(struct decompressor *d, struct err *e)
{
	if (d->n < LZ4_HEADER_BYTES_MIN || get_le32(d->in) != LZ4_MAGIC)
		return damaged(d, e, "not an LZ4 frame");
	if (!(d->in[4] & LZ4_FLAG_INDEPENDENT)) {
		err_set(e, ERR_UNSUPPORTED_CODEC,
			"the LZ4 frame has linked blocks, which Kafka's Java clients cannot read");
		return err_hint(e, "let the producer write independent blocks");
	}
	if (LZ4F_isError(LZ4F_createDecompressionContext(&d->lz4, LZ4F_VERSION)))
		return err_set(e, ERR_INTERNAL, "cannot start the LZ4 decoder");
	return 0;
}

static int start(struct decompressor *d, struct err *e)
{
	static const uint8_t xerial[8] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};

	switch (d->codec) {
	case CODEC_NONE:
		d->ended = !d->n;
		return 0;
	case CODEC_GZIP:
		if (inflateInit2(&d->gzip, GZIP_WINDOW_BITS) != Z_OK)
			return err_set(e, ERR_INTERNAL, "cannot start the gzip decoder");
		return 0;
	case CODEC_SNAPPY:
		/* As the start of a raw block it would be nonsense: 10,626 bytes, the first copied from nowhere. */
		d->snappy.framed = d->n >= XERIAL_HEADER_BYTES && !memcmp(d->in, xerial, sizeof(xerial));
		if (d->snappy.framed)
			d->pos = XERIAL_HEADER_BYTES;
		d->ended = d->snappy.framed && d->pos == d->n;
		return 0;
	case CODEC_LZ4:
		return start_lz4(d, e);
	case CODEC_ZSTD:
		d->zstd = ZSTD_createDCtx();
		return d->zstd ? 0 : err_set(e, ERR_INTERNAL, "cannot start the zstd decoder");
	}
	return err_set(e, ERR_UNSUPPORTED_CODEC, "there is no compression codec %d", (int)d->codec);
}

struct decompressor *decompressor_new(
	enum codec codec, const void *in, size_t n, size_t max_out, struct err *e)
{
	struct decompressor *d = mem_zalloc(sizeof(*d));

	d->codec = codec;
	d->in = in;
	d->n = n;
	d->max_out = max_out;
	if (start(d, e) == 0)
		return d;
	decompressor_free(d);
	return NULL;
}

void decompressor_free(struct decompressor *d)
{
	if (!d)
		return;
	if (d->codec == CODEC_GZIP)
		inflateEnd(&d->gzip); /* harmless on a stream that was not started */
	LZ4F_freeDecompressionContext(d->lz4);
	ZSTD_freeDCtx(d->zstd);
	mem_free(d->snappy.data);
	mem_free(d);
}
