/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/bytes.h"

static uint32_t zigzag32(int32_t value)
{
	return ((uint32_t)value << 1) ^ (uint32_t)-(value < 0);
}

static uint64_t zigzag64(int64_t value)
{
	return ((uint64_t)value << 1) ^ (uint64_t)-(int64_t)(value < 0);
}

/* Seven bits a byte, least significant first. Bits past the type's width make the number too long. */
static size_t unsigned_get(const uint8_t *p, const uint8_t *end, unsigned width, uint64_t *value)
{
	uint64_t v = 0;
	unsigned shift = 0;

	for (const uint8_t *at = p; at < end && shift < width; at++, shift += 7) {
		uint64_t bits = *at & 0x7f;

		if (shift + 7 > width && bits >> (width - shift))
			return 0;
		v |= bits << shift;
		if (*at < 0x80) {
			*value = v;
			return (size_t)(at - p) + 1;
		}
	}
	return 0;
}

static size_t unsigned_put(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

static size_t unsigned_size(uint64_t v)
{
	return (size_t)(63 - __builtin_clzll(v | 1)) / 7 + 1;
}

size_t varint_get(const uint8_t *p, const uint8_t *end, int32_t *value)
{
	uint64_t v;
	size_t n = unsigned_get(p, end, 32, &v);

	if (n)
		*value = (int32_t)((uint32_t)v >> 1 ^ (0u - ((uint32_t)v & 1)));
	return n;
}

size_t varlong_get(const uint8_t *p, const uint8_t *end, int64_t *value)
{
	uint64_t v;
	size_t n = unsigned_get(p, end, 64, &v);

	if (n)
		*value = (int64_t)(v >> 1 ^ (0u - (v & 1)));
	return n;
}

size_t varint_put(uint8_t *p, int32_t value)
{
	return unsigned_put(p, zigzag32(value));
}

size_t varlong_put(uint8_t *p, int64_t value)
{
	return unsigned_put(p, zigzag64(value));
}

size_t varint_size(int32_t value)
{
	return unsigned_size(zigzag32(value));
}

size_t varlong_size(int64_t value)
{
	return unsigned_size(zigzag64(value));
}
