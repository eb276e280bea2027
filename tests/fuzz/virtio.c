/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ring between driver and disk.  The input is a device that may write anything anywhere in the queue's
 * memory: the driver gets back requests that it gave, each once, or a plain line that says what was wrong, and then
 * nothing more.
 */
#include "dev/virtqueue.h"

#include "arena.h"
#include "errors.h"
#include "fuzz.h"
#include "physical.h"

#define REQUESTS 48 /* more than the largest queue has slots */

static struct virtqueue q;
static uint8_t *memory;
static struct disk_request requests[REQUESTS];
static bool is_given[REQUESTS]; /* to the device */
static size_t given;
static uint16_t device_seen;
static bool was_wrong;

static struct disk_request *unused_request(struct fuzz_input *in)
{
	static const enum disk_operation operations[] = {DISK_READ, DISK_WRITE, DISK_FLUSH};
	size_t i = 0;

	while (is_given[i])
		i++;
	ASSERT(i < REQUESTS);
	requests[i] = (struct disk_request){.operation = operations[fuzz_byte(in) % 3],
		.block = fuzz_byte(in),
		.count = 1 + fuzz_byte(in) % 4,
		.data = memory};
	return &requests[i];
}

static void give(struct fuzz_input *in)
{
	struct disk_request *r = unused_request(in);
	bool added = virtqueue_add(&q, r);

	ASSERT(added == (given < q.slot_count));
	if (!added)
		return;
	is_given[r - requests] = true;
	given++;
}

/* A request that the driver got back. */
static void check_back(struct disk_request *r)
{
	size_t i = (size_t)(r - requests);

	ASSERT(i < REQUESTS && r == &requests[i] && is_given[i]);
	is_given[i] = false;
	given--;
}

static void take(void)
{
	struct disk_request *r = virtqueue_take(&q);

	ASSERT(!r || !q.wrong);
	ASSERT(!was_wrong || (q.wrong && !r));
	was_wrong = q.wrong != NULL;
	ASSERT(!q.wrong || fuzz_is_plain(q.wrong));
	if (!r)
		return;
	ASSERT(r->error == 0 || r->error == -EIO);
	check_back(r);
}

/* What a device does that works: it returns the next chain that it sees. */
static void return_next(struct fuzz_input *in)
{
	uint16_t id = q.available->ring[device_seen % q.size], at = q.used->index % q.size;
	unsigned slot = id / VIRTQUEUE_SLOT;

	if (device_seen == q.available->index || slot >= q.slot_count)
		return;
	device_seen++;
	q.slots[slot].status = fuzz_byte(in) % 4;
	q.used->ring[at].id = id;
	q.used->ring[at].length = q.descriptors[id + 1].length % 65536 * (fuzz_byte(in) % 2) + 1;
	q.used->index++;
}

static void operate(struct fuzz_input *in)
{
	switch (fuzz_below(in, 8)) {
	case 0:
	case 1:
		give(in);
		break;
	case 2:
	case 3:
		take();
		break;
	case 4:
		return_next(in);
		break;
	case 5:
		memory[fuzz_number(in, 2) % virtqueue_bytes(q.size)] = fuzz_byte(in);
		break;
	case 6:
		q.used->ring[fuzz_byte(in) % q.size].id = (uint32_t)fuzz_number(in, 1u << fuzz_byte(in) % 3);
		q.used->ring[fuzz_byte(in) % q.size].length = (uint32_t)fuzz_number(in, 1u << fuzz_byte(in) % 3);
		break;
	default:
		q.used->index = (uint16_t)(q.used->index + fuzz_byte(in) % 8);
	}
	virtqueue_wants_notice(&q);
}

/* The device is quiet: all that it has comes back, once. */
static void cancel_all(void)
{
	struct disk_request *r;

	while ((r = virtqueue_cancel(&q)))
		check_back(r);
	ASSERT(given == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned ring = VIRTQUEUE_SIZE_MIN << fuzz_below(&in, 6);
	size_t bytes = virtqueue_bytes(ring);

	memory = arena_alloc(dma32_arena, bytes, MEM_WAIT);
	virtqueue_init(&q, memory, ring);
	device_seen = 0;
	was_wrong = false;
	while (in.left > 0)
		operate(&in);
	cancel_all();
	arena_free(dma32_arena, memory, bytes);
	return 0;
}
