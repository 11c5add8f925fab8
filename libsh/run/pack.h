/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flat structs to bytes and back, driven by a table of fields, so that a message's struct, writer and reader cannot drift.
 * On the wire: fields in order, little-endian; STR and BYTES have a u32 length in front. A shorter body than the
 * table leaves the last fields zero, a longer one is accepted: fields are only ever added at the end.
 *
 *   #define POINT_FIELDS(F, S) F(S, I32, x) F(S, I32, y) F(S, STR, label)
 *   PACK_STRUCT(point, POINT_FIELDS)       in the header: struct point, extern point_fields[]
 *   PACK_TABLE(point, POINT_FIELDS)        in one .c file
 */
#ifndef SH_RUN_PACK_H
#define SH_RUN_PACK_H

#include <stddef.h>
#include <stdint.h>
#include "libsh/base/buf.h"
#include "libsh/base/bytes.h"
#include "libsh/base/err.h"
#include "libsh/base/mem.h"
#include "libsh/base/uuid.h"

enum pack_type { PACK_END, PACK_U8, PACK_U16, PACK_U32, PACK_U64, PACK_I32, PACK_I64, PACK_UUID, PACK_STR, PACK_BYTES };
struct pack_field {
	enum pack_type type;
	size_t offset;
	const char *name;
};
typedef uint8_t PACK_C_U8;
typedef uint16_t PACK_C_U16;
typedef uint32_t PACK_C_U32;
typedef uint64_t PACK_C_U64;
typedef int32_t PACK_C_I32;
typedef int64_t PACK_C_I64;
typedef struct uuid PACK_C_UUID;
typedef const char *PACK_C_STR;     /* NULL is written as ""; read ones are NUL-terminated copies in the arena */
typedef struct bytes PACK_C_BYTES;  /* read ones point into the input */

#define PACK_MEMBER_(sname, type, name) PACK_C_##type name;
#define PACK_ROW_(sname, type, name) {PACK_##type, offsetof(struct sname, name), #name},
#define PACK_STRUCT(sname, FIELDS)                    \
	struct sname {                                \
		FIELDS(PACK_MEMBER_, sname)           \
	};                                            \
	extern const struct pack_field sname##_fields[];
#define PACK_TABLE(sname, FIELDS) \
	const struct pack_field sname##_fields[] = {FIELDS(PACK_ROW_, sname){PACK_END, 0, NULL}};

int pack_write(struct buf *out, const struct pack_field *fields, const void *s);
int pack_read(const struct pack_field *fields, void *s, const void *p, size_t n, struct arena *a, struct err *e);
/* Rows inside a BYTES field: each written with its length (u32) in front. */
int pack_row_write(struct buf *out, const struct pack_field *fields, const void *s);
/* 1: a row was read; 0: end; -1: damage. Start with *pos = 0. */
int pack_row_next(struct bytes rows, size_t *pos, const struct pack_field *fields, void *s, struct arena *a, struct err *e);

#endif
