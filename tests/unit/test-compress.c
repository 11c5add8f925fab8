/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs: there and back, what other programs write, caps, damage. */
#include <lz4frame.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include "libsh/base/bytes.h"
#include "libsh/base/mem.h"
#include "libsh/format/compress.h"
#include "tests/unit/tap.h"

enum { LARGE = 1 << 20, CAP = 16 << 20 };

static const enum codec all[] = {CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD};

/* Words in no order: bytes that shrink to less than a half, the same each time. */
static char *sample(size_t n)
{
	static const char *const words[] = {
		"segment ", "offset ", "record ", "lease ", "partition ", "epoch "};
	char *p = mem_alloc(n + 1);
	uint32_t state = 1;

	for (size_t i = 0; i < n;) {
		state = state * 1664525 + 1013904223;
		for (const char *word = words[(state >> 16) % array_count(words)]; *word && i < n; word++)
			p[i++] = *word;
	}
	p[n] = '\0';
	return p;
}

/* Decompress in pieces into out, whose cap is the cap. */
static int unpack(enum codec codec, const void *in, size_t n, size_t piece, struct buf *out, struct err *e)
{
	struct decompressor *d = decompressor_new(codec, in, n, out->max, e);
	char *to = mem_alloc(piece);
	ptrdiff_t got = -1;

	buf_reset(out);
	while (d && (got = decompressor_read(d, to, piece, e)) > 0)
		if (buf_add(out, to, (size_t)got) < 0)
			abort();
	decompressor_free(d);
	mem_free(to);
	return got < 0 ? -1 : 0;
}

static bool unpacks_to(enum codec codec, const struct buf *packed, const void *want, size_t n, size_t piece)
{
	struct buf out = BUF_INIT(CAP);
	struct err e = ERR_INIT;
	bool good = unpack(codec, packed->data, packed->len, piece, &out, &e) == 0 && out.len == n &&
		    (!n || !memcmp(out.data, want, n));

	if (!good)
		printf("# %zu of %zu bytes: %s\n", out.len, n, e.text);
	buf_release(&out);
	return good;
}

static void test_names(void)
{
	enum codec codec;
	bool known = true;
	struct err e = ERR_INIT;

	for (size_t i = 0; i < array_count(all); i++)
		known &= codec_parse(codec_name(all[i]), &codec, &e) == 0 && codec == all[i];
	ok(known, "codecs have names");
	ok(codec_parse("rar", &codec, &e) < 0 && e.code == ERR_INVALID_ARGUMENT && *e.hint,
		"others are refused");
}

static void test_there_and_back(enum codec codec)
{
	static const size_t sizes[] = {0, 1, 100, 32 << 10, (64 << 10) + 1, LARGE};
	static const size_t pieces[] = {1 << 20, 4099, 1};
	char *data = sample(LARGE);
	struct buf packed = BUF_INIT(CAP);
	struct err e = ERR_INIT;

	for (size_t i = 0; i < array_count(sizes); i++)
		for (size_t k = 0; k < array_count(pieces) - (sizes[i] > 1000); k++) {
			buf_reset(&packed);
			ok(compress_bytes(codec, 0, data, sizes[i], &packed, &e) == 0 &&
					unpacks_to(codec, &packed, data, sizes[i], pieces[k]),
				"%s: %zu bytes in pieces of %zu", codec_name(codec), sizes[i], pieces[k]);
		}
	ok(codec == CODEC_NONE || packed.len < LARGE * 3 / 4, "%s: text shrinks", codec_name(codec));
	buf_release(&packed);
	mem_free(data);
}

static void test_caps(enum codec codec)
{
	char *zeros = mem_zalloc(LARGE);
	struct buf packed = BUF_INIT(CAP), out = BUF_INIT(LARGE), tight;
	struct err e = ERR_INIT;
	size_t needed;

	compress_bytes(codec, 0, zeros, LARGE, &packed, &e);
	needed = packed.len;
	ok(unpack(codec, packed.data, needed, 5000, &out, &e) == 0 && out.len == LARGE,
		"%s: as many bytes as the cap are fine", codec_name(codec));
	out.max = LARGE - 1;
	ok(unpack(codec, packed.data, needed, 5000, &out, &e) < 0 && e.code == ERR_TOO_LARGE,
		"%s: one more is too large", codec_name(codec));
	buf_init(&tight, needed);
	ok(compress_bytes(codec, 0, zeros, LARGE, &tight, &e) == 0,
		"%s: a result as large as the buffer fits", codec_name(codec));
	buf_release(&tight);
	buf_init(&tight, needed - 1);
	ok(compress_bytes(codec, 0, zeros, LARGE, &tight, &e) < 0 && e.code == ERR_TOO_LARGE && !tight.len,
		"%s: a larger one is refused", codec_name(codec));
	buf_release(&tight);
	buf_release(&out);
	buf_release(&packed);
	mem_free(zeros);
}

/* Cut off or changed data gives an error or the start of the truth, unless it has no checksum to tell by. */
static void test_damage(enum codec codec)
{
	char *data = sample(3000);
	struct buf packed = BUF_INIT(CAP), out = BUF_INIT(CAP);
	bool cut_off = true;

	compress_bytes(codec, 0, data, 3000, &packed, NULL);
	for (size_t n = 0; n < packed.len; n++) {
		char *copy = mem_dup(packed.data, n); /* exactly n bytes, for the sanitizer */

		cut_off &= unpack(codec, copy, n, 1000, &out, NULL) < 0 || out.len < 3000;
		mem_free(copy);
	}
	ok(cut_off, "%s: cut off anywhere, it is never whole", codec_name(codec));
	for (size_t i = 0; i < packed.len; i++) {
		packed.data[i] ^= 0x55;
		unpack(codec, packed.data, packed.len, 1000, &out, NULL);
		packed.data[i] ^= 0x55;
	}
	ok(true, "%s: changed anywhere, it does no harm", codec_name(codec));
	buf_release(&packed);
	buf_release(&out);
	mem_free(data);
}

static void test_gzip(void)
{
	/* printf hello | gzip -n */
	static const char hello[] =
		"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
	struct buf b = BUF_INIT(1000), out = BUF_INIT(1000);

	buf_add(&b, hello, sizeof(hello) - 1);
	ok(unpacks_to(CODEC_GZIP, &b, "hello", 5, 3), "gzip: what gzip(1) writes");
	compress_bytes(CODEC_GZIP, 9, " and more", 9, &b, NULL);
	ok(unpacks_to(CODEC_GZIP, &b, "hello and more", 14, 4), "gzip: several members");
	buf_addc(&b, 'x');
	ok(unpack(CODEC_GZIP, b.data, b.len, 100, &out, NULL) < 0, "gzip: rubbish behind them is refused");
	b.len--;
	b.data[b.len - 1] ^= 1;
	ok(unpack(CODEC_GZIP, b.data, b.len, 100, &out, NULL) < 0, "gzip: the length is checked");
	buf_release(&b);
	buf_release(&out);
}

static void test_snappy(void)
{
	static const char framed[] =
		"\x82SNAPPY\0\0\0\0\1\0\0\0\1\0\0\0\x07\x05\x10hello\0\0\0\x05\x03\x08xyz";
	static const char huge[] = "\xff\xff\xff\xff\x0f\x10hello";
	struct buf b = BUF_INIT(1000), out = BUF_INIT(1000);
	struct err e = ERR_INIT;

	ok(unpack(CODEC_SNAPPY, "\x0a\x10hello", 7, 100, &out, &e) < 0,
		"snappy: a block shorter than declared");
	buf_add(&b, "\x05\x10hello", 7);
	ok(unpacks_to(CODEC_SNAPPY, &b, "hello", 5, 2), "snappy: a raw block");
	buf_reset(&b);
	buf_add(&b, framed, sizeof(framed) - 1);
	ok(unpacks_to(CODEC_SNAPPY, &b, "helloxyz", 8, 3), "snappy: xerial framing");
	put_be32(b.data + 16, 0x7fffffff);
	ok(unpack(CODEC_SNAPPY, b.data, b.len, 100, &out, &e) < 0 && e.code == ERR_CORRUPT_BATCH,
		"snappy: a frame longer than the data");
	out.max = SIZE_MAX;
	ok(unpack(CODEC_SNAPPY, huge, sizeof(huge) - 1, 100, &out, &e) < 0 && e.code == ERR_CORRUPT_BATCH,
		"snappy: a declared length that cannot be is not allocated");
	buf_release(&b);
	buf_release(&out);
}

static void lz4_frame(struct buf *b, const char *data, size_t n, LZ4F_blockMode_t mode)
{
	LZ4F_preferences_t p = LZ4F_INIT_PREFERENCES;

	p.frameInfo.blockMode = mode;
	p.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
	p.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
	p.frameInfo.contentSize = n;
	buf_reset(b);
	buf_reserve(b, LZ4F_compressFrameBound(n, &p));
	buf_grew(b, LZ4F_compressFrame(b->data + b->len, b->alloc - 1, data, n, &p));
}

static void test_lz4(void)
{
	char *data = sample(200000);
	struct buf b = BUF_INIT(CAP), out = BUF_INIT(CAP);
	struct err e = ERR_INIT;

	lz4_frame(&b, data, 200000, LZ4F_blockIndependent);
	ok(unpacks_to(CODEC_LZ4, &b, data, 200000, 7777), "lz4: checksums and content size are understood");
	buf_addc(&b, 'x');
	ok(unpack(CODEC_LZ4, b.data, b.len, 7777, &out, &e) < 0, "lz4: bytes behind the frame are refused");
	buf_truncate(&b, b.len - 1);
	b.data[b.len - 1] ^= 1;
	ok(unpack(CODEC_LZ4, b.data, b.len, 7777, &out, &e) < 0, "lz4: the content checksum is checked");
	lz4_frame(&b, data, 200000, LZ4F_blockLinked);
	ok(unpack(CODEC_LZ4, b.data, b.len, 7777, &out, &e) < 0 && e.code == ERR_UNSUPPORTED_CODEC,
		"lz4: linked blocks are refused, as Java clients could not read them");
	buf_reset(&b);
	compress_bytes(CODEC_LZ4, 0, data, 200000, &b, &e);
	ok(get_le32(b.data) == 0x184d2204 && (b.data[4] & 0x20) && (b.data[5] & 0x70) == 0x40,
		"lz4: written with independent blocks of 64 KiB");
	buf_release(&b);
	buf_release(&out);
	mem_free(data);
}

static void zstd_stream(struct buf *b, const char *data, size_t n)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	ZSTD_inBuffer in = {data, n, 0}, nothing = {NULL, 0, 0};
	ZSTD_outBuffer out;

	buf_reserve(b, ZSTD_compressBound(n) + 100);
	out = (ZSTD_outBuffer){b->data + b->len, ZSTD_compressBound(n) + 100, 0};
	ZSTD_compressStream2(c, &out, &in, ZSTD_e_flush);
	ZSTD_compressStream2(c, &out, &nothing, ZSTD_e_end);
	ZSTD_freeCCtx(c);
	buf_grew(b, out.pos);
}

static void test_zstd(void)
{
	char *data = sample(200000);
	struct buf b = BUF_INIT(CAP), out = BUF_INIT(CAP);

	zstd_stream(&b, data, 150000);
	ok(ZSTD_getFrameContentSize(b.data, b.len) == ZSTD_CONTENTSIZE_UNKNOWN &&
			unpacks_to(CODEC_ZSTD, &b, data, 150000, 7777),
		"zstd: a frame that does not say its size");
	zstd_stream(&b, data + 150000, 50000);
	ok(unpacks_to(CODEC_ZSTD, &b, data, 200000, 7777), "zstd: two frames");
	ok(unpack(CODEC_ZSTD, b.data, b.len - 1, 7777, &out, NULL) < 0, "zstd: the second one cut off");
	buf_release(&b);
	buf_release(&out);
	mem_free(data);
}

static void test_blocks(enum codec codec)
{
	char *data = sample(LARGE), *back = mem_alloc(LARGE + 1);
	struct buf b = BUF_INIT(CAP);
	struct err e = ERR_INIT;

	ok(block_compress(codec, data, LARGE, &b, &e) == 0 &&
			block_decompress(codec, b.data, b.len, back, LARGE, &e) == 0 &&
			!memcmp(back, data, LARGE),
		"block: %s there and back", codec_name(codec));
	ok(block_decompress(codec, b.data, b.len, back, LARGE + 1, &e) < 0 && e.code == ERR_CORRUPT,
		"block: %s of fewer bytes than declared", codec_name(codec));
	ok(block_decompress(codec, b.data, b.len, back, LARGE - 1, &e) < 0, "block: %s of more bytes",
		codec_name(codec));
	ok(block_decompress(codec, b.data, b.len - 1, back, LARGE, &e) < 0, "block: %s cut off",
		codec_name(codec));
	buf_release(&b);
	mem_free(data);
	mem_free(back);
}

int main(void)
{
	test_names();
	for (size_t i = 0; i < array_count(all); i++) {
		test_there_and_back(all[i]);
		test_caps(all[i]);
		test_damage(all[i]);
	}
	test_gzip();
	test_snappy();
	test_lz4();
	test_zstd();
	test_blocks(CODEC_NONE);
	test_blocks(CODEC_LZ4);
	test_blocks(CODEC_ZSTD);
	ok(block_compress(CODEC_GZIP, "", 0, &(struct buf)BUF_INIT(100), NULL) < 0, "block: gzip is refused");
	return done_testing();
}
