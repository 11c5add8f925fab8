/* SPDX-License-Identifier: Apache-2.0 */
/* The file of keys that other tools share, and the metadata service's answer; the first byte says which. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "libsh/base/mem.h"
#include "libsh/store/object_s3_keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_word(const char *text)
{
	if (strlen(text) > OBJECT_S3_KEY_TEXT_MAX)
		abort();
	for (; *text; text++)
		if (*text <= ' ' || *text > '~')
			abort();
}

static void check(int result, struct object_s3_key *k, const struct err *e)
{
	if ((result < 0) != (e->code != ERR_NONE))
		abort();
	if (result < 0)
		return;
	if (!*k->access_key || !*k->secret_key)
		abort();
	check_word(k->access_key);
	check_word(k->secret_key);
	check_word(k->token);
	object_s3_key_release(k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct object_s3_key key;
	struct err e = ERR_INIT;
	char *text;

	if (!size)
		return 0;
	if (*data == 'f') {
		text = mem_strndup((const char *)data + 1, size - 1);
		check(object_s3_key_from_file(&key, text, "work", &e), &key, &e);
	} else {
		text = mem_dup(data + 1, size - 1);
		check(object_s3_key_from_instance(&key, text, size - 1, &e), &key, &e);
	}
	mem_free(text);
	return 0;
}
