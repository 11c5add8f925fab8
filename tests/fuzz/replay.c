/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer's main() in normal builds: runs the fuzzer over its seeds, and over each seed
 * cut off and with single bytes changed. A crash or a sanitizer's report is the failure.
 *
 *	fuzz-NAME [DIRECTORY]	default: $top_srcdir/tests/fuzz/corpus/NAME
 */
#include <stdint.h>
#include <stdlib.h>
#include "libsh/base/disk.h"
#include "libsh/base/mem.h"
#include "tests/unit/tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { SEED_MAX = 1 << 20, VARIANTS = 200 };

/* In memory of exactly that size, so that reading past the end is seen. */
static void run(const void *data, size_t n)
{
	uint8_t *copy = mem_dup(data, n);

	LLVMFuzzerTestOneInput(copy, n);
	mem_free(copy);
}

static void run_variants(char *data, size_t n)
{
	size_t step = n / VARIANTS + 1;

	for (size_t i = 0; i < n; i += step) {
		char old = data[i];

		run(data, i);
		data[i] = (char)(old ^ (1 << (i % 8)));
		run(data, n);
		data[i] = (char)~old;
		run(data, n);
		data[i] = old;
	}
}

static void run_seed(const char *directory, const char *name)
{
	char *path = mem_printf("%s/%s", directory, name);
	struct buf seed = BUF_INIT(SEED_MAX);
	struct err e = ERR_INIT;

	if (disk_read_file(path, &seed, &e) == 0 && buf_reserve(&seed, 0) == 0) {
		run(seed.data, seed.len);
		run_variants(seed.data, seed.len);
		ok(true, "%s: %zu bytes and variants of them", name, seed.len);
	} else {
		ok(false, "%s", e.text);
	}
	buf_release(&seed);
	mem_free(path);
}

static char *default_directory(const char *program)
{
	const char *top = getenv("top_srcdir"), *name = strstr(program, "fuzz-");

	for (const char *next = name; next; next = strstr(name, "fuzz-"))
		name = next + strlen("fuzz-");
	return mem_printf("%s/tests/fuzz/corpus/%s", top ? top : ".", name ? name : "");
}

int main(int argc, char **argv)
{
	char *directory = argc > 1 ? mem_strdup(argv[1]) : default_directory(argv[0]);
	struct err e = ERR_INIT;
	char **names = NULL;
	size_t count = 0;

	run("", 0);
	ok(true, "no input at all");
	if (disk_list(directory, &names, &count, &e) < 0 || !count)
		ok(false, "there are seeds in %s: %s", directory, e.text);
	for (size_t i = 0; i < count; i++)
		run_seed(directory, names[i]);
	disk_list_free(names, count);
	mem_free(directory);
	return done_testing();
}
