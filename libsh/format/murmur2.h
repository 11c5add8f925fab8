/* SPDX-License-Identifier: Apache-2.0 */
/* The partition that Kafka's own clients choose for a key: org.apache.kafka.common.utils.Utils.murmur2, seed 0x9747b28c. */
#ifndef SH_FORMAT_MURMUR2_H
#define SH_FORMAT_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *key, size_t n);
/* (murmur2(key) & 0x7fffffff) % partitions */
int32_t murmur2_partition(const void *key, size_t n, int32_t partitions);

#endif
