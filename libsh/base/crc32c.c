/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crc32 instruction has a latency of three cycles and a throughput of one, so long inputs are cut
 * into three neighbouring stripes whose CRCs run side by side. They are joined by advancing a CRC over
 * a stripe of zeros, which is linear and therefore a table look-up for each byte of the CRC.
 */
#include "libsh/base/crc32c.h"

#include <string.h>
#include "libsh/base/bytes.h"

#define POLYNOMIAL 0x82f63b78u /* reflected */

enum { LONG_STRIPE = 4096, SHORT_STRIPE = 256 };

static uint32_t slices[8][256];
static uint32_t skip_long[4][256], skip_short[4][256];
static uint32_t (*chosen)(uint32_t crc, const uint8_t *p, size_t n);

static uint32_t by_table(uint32_t crc, const uint8_t *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t low = crc ^ get_le32(p), high = get_le32(p + 4);

		crc = slices[7][low & 0xff] ^ slices[6][low >> 8 & 0xff] ^ slices[5][low >> 16 & 0xff] ^
			slices[4][low >> 24] ^ slices[3][high & 0xff] ^ slices[2][high >> 8 & 0xff] ^
			slices[1][high >> 16 & 0xff] ^ slices[0][high >> 24];
	}
	for (; n; n--, p++)
		crc = slices[0][(crc ^ *p) & 0xff] ^ crc >> 8;
	return crc;
}

#if defined(__x86_64__)
static inline uint32_t skip(uint32_t table[4][256], uint32_t crc)
{
	return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^ table[2][crc >> 16 & 0xff] ^
		table[3][crc >> 24];
}

/* As many groups of three stripes as fit. */
__attribute__((target("sse4.2"))) static uint32_t by_stripes(
	uint32_t crc, const uint8_t **p, size_t *n, size_t stripe, uint32_t table[4][256])
{
	while (*n >= 3 * stripe) {
		const uint8_t *at = *p, *end = at + stripe;
		uint64_t a = crc, b = 0, c = 0;

		for (; at < end; at += 8) {
			a = __builtin_ia32_crc32di(a, get_le64(at));
			b = __builtin_ia32_crc32di(b, get_le64(at + stripe));
			c = __builtin_ia32_crc32di(c, get_le64(at + 2 * stripe));
		}
		crc = skip(table, skip(table, (uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
		*p += 3 * stripe;
		*n -= 3 * stripe;
	}
	return crc;
}

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t wide;

	crc = by_stripes(crc, &p, &n, LONG_STRIPE, skip_long);
	crc = by_stripes(crc, &p, &n, SHORT_STRIPE, skip_short);
	for (wide = crc; n >= 8; n -= 8, p += 8)
		wide = __builtin_ia32_crc32di(wide, get_le64(p));
	for (crc = (uint32_t)wide; n; n--, p++)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

static void fill_skip(uint32_t table[4][256], size_t zeros)
{
	static const uint8_t nothing[SHORT_STRIPE];

	for (uint32_t i = 0; i < 256; i++)
		for (unsigned k = 0; k < 4; k++) {
			uint32_t crc = i << (8 * k);

			for (size_t done = 0; done < zeros; done += SHORT_STRIPE)
				crc = zeros == SHORT_STRIPE
					? by_table(crc, nothing, SHORT_STRIPE)
					: skip_short[0][crc & 0xff] ^ skip_short[1][crc >> 8 & 0xff] ^
						skip_short[2][crc >> 16 & 0xff] ^ skip_short[3][crc >> 24];
			table[k][i] = crc;
		}
}

/* Before main(), so that no call needs to ask whether the tables are there. About 50 microseconds. */
__attribute__((constructor)) static void fill_tables(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		slices[0][i] = crc;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			slices[k][i] = slices[0][slices[k - 1][i] & 0xff] ^ slices[k - 1][i] >> 8;
	chosen = by_table;
#if defined(__x86_64__)
	if (__builtin_cpu_supports("sse4.2")) {
		fill_skip(skip_short, SHORT_STRIPE);
		fill_skip(skip_long, LONG_STRIPE);
		chosen = by_instruction;
	}
#endif
}

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
	return ~chosen(~crc, p, n);
}

uint32_t crc32c_by_table(uint32_t crc, const void *p, size_t n)
{
	return ~by_table(~crc, p, n);
}
