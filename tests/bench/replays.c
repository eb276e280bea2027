/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opens streams for benchmarks.
 */
#include "replays.h"

#include "boot.h"
#include "kmalloc.h"
#include "lib/panic.h"

static void refuse(unsigned n, const char *wrong)
{
	if (wrong)
		panic("bench: stream %u: %s", n, wrong);
}

static void one(
	void (*fn)(struct replay *r, unsigned n), const uint8_t *at, size_t size, unsigned n)
{
	struct replay *r = kmalloc(sizeof(*r), MEM_WAIT);

	refuse(n, replay_open(r, at, size, 0));
	fn(r, n);
	replay_close(r);
	kfree(r);
}

void bench_replays(void (*fn)(struct replay *r, unsigned n))
{
	const uint8_t *at = boot_info->initrd, *end = at + boot_info->initrd_size;
	struct stream_counts counts;
	struct stream stream;

	for (unsigned n = 0; at < end; n++, at += stream.size) {
		refuse(n, stream_open(&stream, at, (size_t)(end - at)));
		refuse(n, stream_count(&stream, &counts));
		if (counts.ops[STREAM_RANGE_ALLOC] == 0)
			one(fn, at, stream.size, n);
	}
}
