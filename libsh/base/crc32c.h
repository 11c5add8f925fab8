/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), as in RFC 3720 and Kafka: SSE4.2 where the CPU has it, else a table. */
#ifndef SH_BASE_CRC32C_H
#define SH_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Start with crc = 0; the result of one call continues in the next. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
/* The same without the CPU's instruction, for tests to compare with. */
uint32_t crc32c_by_table(uint32_t crc, const void *p, size_t n);

#endif
