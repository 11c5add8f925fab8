/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a declared maximum. Bytes at data[len] are always NUL when data is not
 * NULL, so text can be used as a C string. Functions that add return 0, or -1 when the cap would be
 * passed: then nothing is added and `overflow` stays set until buf_reset(), so that a run of adds can
 * be checked once at its end.
 */
#ifndef SH_BASE_BUF_H
#define SH_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data;
	size_t len;
	size_t alloc;
	size_t max; /* cap on len, in bytes */
	bool overflow;
};

#define BUF_INIT(max_bytes) {NULL, 0, 0, (max_bytes), false}
void buf_init(struct buf *b, size_t max_bytes);
void buf_release(struct buf *b); /* frees the memory; cap stays, may be used again */
void buf_release_secret(struct buf *b); /* overwrites it first */
void buf_reset(struct buf *b);   /* len = 0, keeps the memory */

/* Room for `extra` more bytes; data + len may then be written up to that and len moved with buf_grew(). */
int buf_reserve(struct buf *b, size_t extra);
void buf_grew(struct buf *b, size_t n);
int buf_add(struct buf *b, const void *p, size_t n);
int buf_adds(struct buf *b, const char *s);
int buf_addc(struct buf *b, char c);
int buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vaddf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* n zero bytes; returns where they start, or NULL past the cap. Valid until the next add. */
void *buf_add_zeros(struct buf *b, size_t n);
void buf_consume(struct buf *b, size_t n); /* drop n bytes from the front (moves the rest) */
void buf_truncate(struct buf *b, size_t len);
char *buf_detach(struct buf *b, size_t *len); /* caller frees with mem_free(); b is empty afterwards */

/* Little-endian integers, as in our own formats. */
int buf_add_u8(struct buf *b, uint8_t v);
int buf_add_le16(struct buf *b, uint16_t v);
int buf_add_le32(struct buf *b, uint32_t v);
int buf_add_le64(struct buf *b, uint64_t v);

#endif
