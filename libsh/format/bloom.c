/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Bloom filter over the keys of a run, in cache-line blocks: one key touches one block of 512 bits.
 *
 *  0 kind u8 = 1, 1 probes u8 = 7, 2 reserved u16
 *  4 blocks u32
 *  8 blocks of 64 bytes; bit n of a block is bit n % 8 of its byte n / 8
 *
 * h = XXH64(key, seed 0). The key's block is ((h >> 32) * blocks) >> 32: a division for each key would cost more than all
 * the rest. Its bits there are the seven numbers of 9 bits, lowest first, of (h * 0x9e3779b97f4a7c15) mod 2^64.
 *
 * How many keys differ is known only afterwards. The filter is made for all of them; when they repeat it
 * stays thin, and is folded: blocks 2i and 2i + 1 are laid over each other as block i, where half as many blocks
 * would have had their keys.
 */
#include "libsh/format/segment.h"

enum {
	KIND_BLOCKED_XXH64 = 1,
	PROBES = 7,
	HEAD_BYTES = 8,
	BLOCK_BYTES = 64,
	BLOCK_BITS = 8 * BLOCK_BYTES,
	BITS_PER_KEY = 10,
	MAX_KEYS = 4 << 20, /* above it the filter is left out: it would take more than 5 MiB */
	FULL_PERCENT = 60,  /* fuller than that it says yes too often to be worth its room */
	WAITING = 16,       /* keys whose blocks are on their way from memory */
	FOLD_PERCENT = 29,  /* twice as full it is still half empty, where seven probes are at their best */
};

struct bloom_builder {
	uint8_t *blocks;
	uint32_t count;
	size_t keys;
	struct { uint64_t hash; uint32_t block; } waiting[WAITING];
};

#define PRIME1 0x9e3779b185ebca87ULL
#define PRIME2 0xc2b2ae3d27d4eb4fULL
#define PRIME3 0x165667b19e3779f9ULL
#define PRIME4 0x85ebca77c2b2ae63ULL
#define PRIME5 0x27d4eb2f165667c5ULL

static uint64_t rotate(uint64_t v, int bits)
{
	return v << bits | v >> (64 - bits);
}

static uint64_t xxh_round(uint64_t acc, uint64_t input)
{
	return rotate(acc + input * PRIME2, 31) * PRIME1;
}

static uint64_t xxh_stripes(const uint8_t **p, const uint8_t *end)
{
	uint64_t v[4] = {PRIME1 + PRIME2, PRIME2, 0, 0 - PRIME1};
	uint64_t h;

	for (; end - *p >= 32; *p += 32)
		for (int i = 0; i < 4; i++)
			v[i] = xxh_round(v[i], get_le64(*p + 8 * i));
	h = rotate(v[0], 1) + rotate(v[1], 7) + rotate(v[2], 12) + rotate(v[3], 18);
	for (int i = 0; i < 4; i++)
		h = (h ^ xxh_round(0, v[i])) * PRIME1 + PRIME4;
	return h;
}

/* XXH64 with seed 0, after the specification of xxHash by Yann Collet. */
static uint64_t xxh64(const void *key, size_t n)
{
	const uint8_t *p = key, *end = p + n;
	uint64_t h = n >= 32 ? xxh_stripes(&p, end) : PRIME5;

	h += n;
	for (; end - p >= 8; p += 8)
		h = rotate(h ^ xxh_round(0, get_le64(p)), 27) * PRIME1 + PRIME4;
	for (; end - p >= 4; p += 4)
		h = rotate(h ^ get_le32(p) * PRIME1, 23) * PRIME2 + PRIME3;
	for (; p < end; p++)
		h = rotate(h ^ *p * PRIME5, 11) * PRIME1;
	h = (h ^ h >> 33) * PRIME2;
	h = (h ^ h >> 29) * PRIME3;
	return h ^ h >> 32;
}

struct bloom_builder *bloom_builder_new(size_t max_keys)
{
	struct bloom_builder *b = mem_zalloc(sizeof(*b));
	uint32_t count, step = 1;

	if (!max_keys || max_keys > MAX_KEYS)
		return b;
	count = (uint32_t)((max_keys * BITS_PER_KEY + BLOCK_BITS - 1) / BLOCK_BITS);
	while (count / step >= 64) /* a multiple of a high power of two can be folded often */
		step *= 2;
	b->count = (count + step - 1) / step * step;
	b->blocks = mem_zalloc((size_t)b->count * BLOCK_BYTES);
	return b;
}

void bloom_builder_free(struct bloom_builder *b)
{
	if (!b)
		return;
	mem_free(b->blocks);
	mem_free(b);
}

static uint32_t block_of(uint64_t hash, uint32_t count)
{
	return (uint32_t)((hash >> 32) * count >> 32);
}

/* Eight bytes at a time: in little-endian order bit n of the block is bit n % 64 of word n / 64. */
static void set_bits(uint8_t *block, uint64_t hash)
{
	uint64_t bits = hash * 0x9e3779b97f4a7c15ULL;

#pragma GCC unroll 7
	for (int i = 0; i < PROBES; i++, bits >>= 9) {
		uint8_t *word = block + (bits >> 3 & 56);

		put_le64(word, get_le64(word) | 1ULL << (bits & 63));
	}
}

static void set_waiting(struct bloom_builder *b, size_t slot)
{
	set_bits(b->blocks + (size_t)b->waiting[slot].block * BLOCK_BYTES, b->waiting[slot].hash);
}

/* A key waits until WAITING others have come: then its block is there. */
void bloom_builder_add(struct bloom_builder *b, const void *key, size_t n)
{
	size_t slot = b->keys % WAITING;
	uint64_t hash;
	uint32_t block;

	if (!b->blocks)
		return;
	hash = xxh64(key, n);
	block = block_of(hash, b->count);
	__builtin_prefetch(b->blocks + (size_t)block * BLOCK_BYTES, 1);
	if (b->keys >= WAITING)
		set_waiting(b, slot);
	b->waiting[slot].hash = hash;
	b->waiting[slot].block = block;
	b->keys++;
}

static unsigned percent_set(const struct bloom_builder *b)
{
	size_t bytes = (size_t)b->count * BLOCK_BYTES;
	uint64_t set = 0;

	for (size_t i = 0; i < bytes; i += 8)
		set += (unsigned)__builtin_popcountll(get_le64(b->blocks + i));
	return (unsigned)(set * 100 / (bytes * 8));
}

static void fold(struct bloom_builder *b)
{
	b->count /= 2;
	for (size_t i = 0; i < b->count; i++) {
		uint8_t *to = b->blocks + i * BLOCK_BYTES;
		const uint8_t *from = b->blocks + 2 * i * BLOCK_BYTES;

		for (size_t k = 0; k < BLOCK_BYTES; k += 8)
			put_le64(to + k, get_le64(from + k) | get_le64(from + BLOCK_BYTES + k));
	}
}

/* Appends nothing when no key was added, or too many. */
int bloom_builder_finish(struct bloom_builder *b, struct buf *out)
{
	for (size_t i = 0; i < b->keys && i < WAITING; i++)
		set_waiting(b, i);
	if (!b->keys || percent_set(b) > FULL_PERCENT)
		return 0;
	while (b->count % 2 == 0 && percent_set(b) <= FOLD_PERCENT)
		fold(b);
	if (buf_reserve(out, HEAD_BYTES + (size_t)b->count * BLOCK_BYTES))
		return -1;
	buf_add_u8(out, KIND_BLOCKED_XXH64);
	buf_add_u8(out, PROBES);
	buf_add_le16(out, 0);
	buf_add_le32(out, b->count);
	return buf_add(out, b->blocks, (size_t)b->count * BLOCK_BYTES);
}

bool bloom_may_contain(struct bytes bloom, const void *key, size_t n)
{
	const uint8_t *block;
	uint64_t h, bits;
	uint32_t count;

	if (bloom.len < HEAD_BYTES || bloom.data[0] != KIND_BLOCKED_XXH64 || bloom.data[1] != PROBES)
		return true;
	count = get_le32(bloom.data + 4);
	if (!count || (bloom.len - HEAD_BYTES) / BLOCK_BYTES < count)
		return true;
	h = xxh64(key, n);
	block = bloom.data + HEAD_BYTES + (size_t)block_of(h, count) * BLOCK_BYTES;
	bits = h * 0x9e3779b97f4a7c15ULL;
	for (int i = 0; i < PROBES; i++, bits >>= 9)
		if (!(block[(bits & 511) >> 3] & 1 << (bits & 7)))
			return false;
	return true;
}
