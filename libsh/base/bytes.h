/* SPDX-License-Identifier: Apache-2.0 */
/* Integers to and from bytes: little-endian (le) for our formats, big-endian (be) for Kafka's. */
#ifndef SH_BASE_BYTES_H
#define SH_BASE_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BYTES_RW(name, bits, to, from)                            \
	static inline uint##bits##_t get_##name(const void *p)    \
	{                                                         \
		uint##bits##_t v;                                 \
		memcpy(&v, p, sizeof(v));                         \
		return from(v);                                   \
	}                                                         \
	static inline void put_##name(void *p, uint##bits##_t v)  \
	{                                                         \
		v = to(v);                                        \
		memcpy(p, &v, sizeof(v));                         \
	}
BYTES_RW(le16, 16, htole16, le16toh)
BYTES_RW(le32, 32, htole32, le32toh)
BYTES_RW(le64, 64, htole64, le64toh)
BYTES_RW(be16, 16, htobe16, be16toh)
BYTES_RW(be32, 32, htobe32, be32toh)
BYTES_RW(be64, 64, htobe64, be64toh)
#undef BYTES_RW

/* A borrowed run of bytes; data NULL means null, which is not the same as empty. */
struct bytes {
	const uint8_t *data;
	size_t len;
};

/*
 * Zig-zag variable-length integers of Kafka's record format (Protocol Buffers' sint32/sint64).
 * get: returns bytes used, 0 when the input ends or the number is too long. put: returns bytes
 * written, at most 5 and 10. size: bytes that put would write.
 */
size_t varint_get(const uint8_t *p, const uint8_t *end, int32_t *value);
size_t varlong_get(const uint8_t *p, const uint8_t *end, int64_t *value);
size_t varint_put(uint8_t *p, int32_t value);
size_t varlong_put(uint8_t *p, int64_t value);
size_t varint_size(int32_t value);
size_t varlong_size(int64_t value);

#endif
