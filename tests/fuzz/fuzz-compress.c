/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as compressed data, read in pieces of odd sizes under a cap; and compressed and read back.
 * Input: codec, size of the pieces, then the data.
 */
#include <stdlib.h>
#include <string.h>
#include "libsh/base/mem.h"
#include "libsh/format/compress.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { OUT_MAX = 1 << 18, BLOCK_MAX = 4096 };

static void must(bool good)
{
	if (!good)
		abort();
}

/* Appends to out; -1 on damage. */
static int read_all(enum codec codec, const void *in, size_t n, size_t piece, struct buf *out)
{
	struct decompressor *d = decompressor_new(codec, in, n, OUT_MAX, NULL);
	ptrdiff_t got = -1;

	while (d) {
		uint8_t *to = mem_alloc(piece);

		got = decompressor_read(d, to, piece, NULL);
		must(got <= (ptrdiff_t)piece);
		if (got > 0)
			must(buf_add(out, to, (size_t)got) == 0); /* the cap held */
		mem_free(to);
		if (got <= 0)
			break;
	}
	decompressor_free(d);
	return got < 0 ? -1 : 0;
}

static void there_and_back(enum codec codec, const uint8_t *data, size_t n, size_t piece)
{
	struct buf packed = BUF_INIT(2 * OUT_MAX), out = BUF_INIT(OUT_MAX);

	must(compress_bytes(codec, 0, data, n, &packed, NULL) == 0);
	if (n && n <= OUT_MAX) {
		must(read_all(codec, packed.data, packed.len, piece, &out) == 0);
		must(out.len == n && !memcmp(out.data, data, n));
	}
	buf_release(&packed);
	buf_release(&out);
}

static void blocks(const uint8_t *data, size_t n, size_t raw_len)
{
	static const enum codec codecs[] = {CODEC_NONE, CODEC_LZ4, CODEC_ZSTD};
	uint8_t *out = mem_alloc(BLOCK_MAX);

	for (size_t i = 0; i < array_count(codecs); i++)
		block_decompress(codecs[i], data, n, out, raw_len, NULL);
	mem_free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct buf out = BUF_INIT(OUT_MAX);
	enum codec codec;
	size_t piece;

	if (n < 2)
		return 0;
	codec = (enum codec)(data[0] % 5);
	piece = (size_t)data[1] * 7 + 1;
	read_all(codec, data + 2, n - 2, piece, &out);
	there_and_back(codec, data + 2, n - 2, piece);
	blocks(data + 2, n - 2, (size_t)data[1] * 16);
	buf_release(&out);
	return 0;
}
