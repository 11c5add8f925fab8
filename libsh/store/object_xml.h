/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XML of S3's answers, element by element: the one door to expat. Names are paths of local names,
 * "ListBucketResult/Contents/Key"; attributes and namespaces are passed over. A document type is refused: S3
 * sends none, and entities live there.
 */
#ifndef SH_STORE_OBJECT_XML_H
#define SH_STORE_OBJECT_XML_H

#include "libsh/base/buf.h"
#include "libsh/base/err.h"

enum { OBJECT_XML_PATH_MAX = 256, OBJECT_XML_TEXT_MAX = 16 << 10 };

/* Called at the end of each element with the text since its start or its last child's end. Non-zero ends
 * parsing and is returned. */
typedef int object_xml_element(void *ctx, const char *path, const char *text);
/* 0, what the callback returned, or -1 with ERR_CORRUPT when it is not XML. */
int object_xml_parse(const void *p, size_t n, object_xml_element *element, void *ctx, struct err *e);
/* The text of one element, or -1 (ERR_CORRUPT) when it is not there. */
int object_xml_find(const void *p, size_t n, const char *path, char *out, size_t out_bytes, struct err *e);
/* Text as XML wants it. */
int object_xml_escape(struct buf *out, const char *text);

#endif
