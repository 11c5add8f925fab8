/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file of any bytes: taken or refused; what was taken survives the way to a role and back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "libsh/base/fd.h"
#include "libsh/run/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct settings *s)
{
	struct settings *copy = settings_new();
	struct buf wire = BUF_INIT(1 << 20), differs = BUF_INIT(4096);
	struct err e = ERR_INIT;

	if (settings_write(s, FOR_ALL, &wire) || settings_read(copy, wire.data, wire.len, &e))
		abort();
	settings_diff(s, copy, true, &differs);
	settings_diff(s, copy, false, &differs);
	if (differs.len)
		abort();
	settings_check(s, &e);
	settings_print(s, &differs);
	buf_release(&wire);
	buf_release(&differs);
	settings_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings *s = settings_new();
	struct err e = ERR_INIT;
	char path[64];
	int fd = fd_memory("shd.conf", data, size, &e);

	if (fd < 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!settings_load_file(s, path, &e))
		round_trip(s);
	fd_close(&fd);
	settings_read(s, data, size, &e);
	settings_free(s);
	return 0;
}
