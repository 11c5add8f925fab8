/* SPDX-License-Identifier: Apache-2.0 */
#include "libsh/base/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include "libsh/base/bytes.h"
#include "libsh/base/clock.h"
#include "libsh/base/mem.h"

enum { MAP_SIZE_MIN = 16 };

struct map_slot {
	void *key; /* NULL: empty */
	size_t len;
	void *value; /* NULL with a key: deleted, probing goes on behind it */
	uint64_t hash;
};

static char deleted_key;
static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
		seed[0] = (uint64_t)clock_mono_ns();
		seed[1] = (uint64_t)(uintptr_t)&seed_once;
	}
}

static inline uint64_t rotate(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1], v[1] = rotate(v[1], 13) ^ v[0], v[0] = rotate(v[0], 32);
	v[2] += v[3], v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3], v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1], v[1] = rotate(v[1], 17) ^ v[2], v[2] = rotate(v[2], 32);
}

/* SipHash-1-3 */
static uint64_t hash_key(const void *key, size_t len)
{
	uint64_t v[4] = {seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
		seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573};
	const uint8_t *p = key;
	uint64_t last = (uint64_t)len << 56;
	size_t left = len;

	for (; left >= 8; left -= 8, p += 8) {
		uint64_t word = get_le64(p);

		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < left; i++)
		last |= (uint64_t)p[i] << (8 * i);
	v[3] ^= last;
	sip_round(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	sip_round(v);
	sip_round(v);
	sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The slot of the key; else where it would go: the first deleted one on the way, or the empty one. */
static struct map_slot *find(const struct map *m, const void *key, size_t len, uint64_t hash)
{
	struct map_slot *deleted = NULL;

	for (size_t i = hash & (m->size - 1);; i = (i + 1) & (m->size - 1)) {
		struct map_slot *slot = &m->slots[i];

		if (!slot->key)
			return deleted ? deleted : slot;
		if (!slot->value) {
			if (!deleted)
				deleted = slot;
			continue;
		}
		if (slot->hash == hash && slot->len == len && (!len || !memcmp(slot->key, key, len)))
			return slot;
	}
}

/* Twice the size, or the same when it is mostly deleted slots that fill it. */
static void grow(struct map *m)
{
	struct map old = *m;

	if (!m->size)
		m->size = MAP_SIZE_MIN;
	else if (m->count >= m->size / 2)
		m->size *= 2;
	m->slots = mem_array(m->size, sizeof(*m->slots));
	m->used = m->count;
	for (size_t i = 0; i < old.size; i++)
		if (old.slots[i].value) {
			struct map_slot *slot = &old.slots[i];

			*find(m, slot->key, slot->len, slot->hash) = *slot;
		}
	mem_free(old.slots);
}

void *map_get(const struct map *m, const void *key, size_t len)
{
	return m->count ? find(m, key, len, hash_key(key, len))->value : NULL;
}

void *map_put(struct map *m, const void *key, size_t len, void *value)
{
	struct map_slot *slot;
	uint64_t hash;
	void *old;

	assert(value);
	pthread_once(&seed_once, make_seed);
	if (m->used + 1 > m->size / 4 * 3)
		grow(m);
	hash = hash_key(key, len);
	slot = find(m, key, len, hash);
	old = slot->value;
	if (!old) {
		m->used += !slot->key;
		m->count++;
		slot->key = mem_dup(key, len);
		slot->len = len;
		slot->hash = hash;
	}
	slot->value = value;
	return old;
}

void *map_del(struct map *m, const void *key, size_t len)
{
	struct map_slot *slot;
	void *value;

	if (!m->count)
		return NULL;
	slot = find(m, key, len, hash_key(key, len));
	value = slot->value;
	if (!value)
		return NULL;
	mem_free(slot->key);
	slot->key = &deleted_key;
	slot->value = NULL;
	m->count--;
	return value;
}

void *map_gets(const struct map *m, const char *key)
{
	return map_get(m, key, strlen(key));
}

void *map_puts(struct map *m, const char *key, void *value)
{
	return map_put(m, key, strlen(key), value);
}

bool map_next(const struct map *m, size_t *it, const void **key, size_t *len, void **value)
{
	while (*it < m->size) {
		const struct map_slot *slot = &m->slots[(*it)++];

		if (!slot->value)
			continue;
		if (key)
			*key = slot->key;
		if (len)
			*len = slot->len;
		if (value)
			*value = slot->value;
		return true;
	}
	return false;
}

void map_release(struct map *m)
{
	for (size_t i = 0; i < m->size; i++)
		if (m->slots[i].value)
			mem_free(m->slots[i].key);
	mem_free(m->slots);
	*m = (struct map)MAP_INIT;
}
