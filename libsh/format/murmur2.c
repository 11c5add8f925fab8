/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/format/murmur2.h"

#include "libsh/base/bytes.h"

#define MURMUR2_SEED 0x9747b28cu
#define MURMUR2_FACTOR 0x5bd1e995u

uint32_t murmur2(const void *key, size_t n)
{
	const uint8_t *p = key;
	uint32_t h = MURMUR2_SEED ^ (uint32_t)n;

	for (; n >= 4; n -= 4, p += 4) {
		uint32_t k = get_le32(p) * MURMUR2_FACTOR;

		k = (k ^ k >> 24) * MURMUR2_FACTOR;
		h = h * MURMUR2_FACTOR ^ k;
	}
	if (n) {
		for (size_t i = 0; i < n; i++)
			h ^= (uint32_t)p[i] << (8 * i);
		h *= MURMUR2_FACTOR;
	}
	h = (h ^ h >> 13) * MURMUR2_FACTOR;
	return h ^ h >> 15;
}

int32_t murmur2_partition(const void *key, size_t n, int32_t partitions)
{
	return (int32_t)(murmur2(key, n) & 0x7fffffff) % partitions;
}
