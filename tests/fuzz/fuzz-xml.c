/* SPDX-License-Identifier: Apache-2.0 */
/* An answer of an object store, any bytes: elements with their limits, or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/store/object_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int element(void *ctx, const char *path, const char *text)
{
	size_t *count = ctx;

	if (strlen(path) >= OBJECT_XML_PATH_MAX || strlen(text) > OBJECT_XML_TEXT_MAX)
		abort();
	return ++*count > 1000 ? 7 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	size_t count = 0;
	char found[64];
	int result = object_xml_parse(data, size, element, &count, &e);

	if ((result < 0) != (e.code != ERR_NONE) || (result == 7) != (count > 1000))
		abort();
	if (object_xml_find(data, size, "Error/Code", found, sizeof(found), &e) == 0 &&
		strlen(found) >= sizeof(found))
		abort();
	return 0;
}
