/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replays inputs, for a fuzzer that is linked without libFuzzer: each argument is a file that holds one.  Names
 * each as it begins, so that the last one named is the one that failed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

#define INPUT_MAX ((size_t)1 << 16)

static uint8_t input[INPUT_MAX];

static void replay(const char *name, int (*fn)(const uint8_t *data, size_t size))
{
	FILE *file = fopen(name, "rb");
	size_t size;
	uint8_t *data;

	if (!file) {
		perror(name);
		exit(1);
	}
	size = fread(input, 1, sizeof(input), file);
	fclose(file);
	fprintf(stderr, "replay: %s\n", name);
	data = fuzz_copy(input, size);
	fn(data, size);
	free(data);
}

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*fn)(const uint8_t *data, size_t size))
{
	fuzz_period = 1;
	for (int i = 1; i < *argc; i++)
		replay((*argv)[i], fn);
	return 0;
}
