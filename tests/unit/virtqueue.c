/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ring between driver and disk alone.  The test plays the device, a good one and a bad one.
 */
#include "dev/virtqueue.h"

#include "arena.h"
#include "errors.h"
#include "lib/array.h"
#include "lib/string.h"
#include "lib/test.h"
#include "physical.h"

#define SIZE 16 /* descriptors: 5 slots */
#define SLOTS (SIZE / VIRTQUEUE_SLOT)

static struct virtqueue q;
static uint16_t available_seen;

static void begin(void)
{
	void *memory = arena_alloc(dma32_arena, virtqueue_bytes(SIZE), MEM_WAIT);

	virtqueue_init(&q, memory, SIZE);
	available_seen = 0;
}

static void end(void)
{
	arena_free(dma32_arena, q.descriptors, virtqueue_bytes(SIZE));
}

/* The device takes the next chain: its first descriptor. */
static uint32_t device_take(void)
{
	CHECK_NE(available_seen, q.available->index);
	return q.available->ring[available_seen++ % SIZE];
}

/* The device returns a chain. */
static void device_return(uint32_t id, uint32_t length, uint8_t status)
{
	uint16_t at = q.used->index % SIZE;

	if (id / VIRTQUEUE_SLOT < SLOTS)
		q.slots[id / VIRTQUEUE_SLOT].status = status;
	q.used->ring[at].id = id;
	q.used->ring[at].length = length;
	q.used->index++;
}

static struct disk_request request_of(enum disk_operation operation, void *data)
{
	return (struct disk_request){.operation = operation, .block = 3, .count = 2, .data = data};
}

TEST("virtqueue: a chain describes header, data and status as the device reads them")
{
	char *data = arena_alloc(kpages_arena, 2 * DISK_BLOCK_SIZE, MEM_WAIT);
	struct disk_request read = request_of(DISK_READ, data);
	const struct virtqueue_descriptor *d;
	const struct virtqueue_slot *slot;
	uint32_t id;

	begin();
	CHECK(virtqueue_add(&q, &read));
	id = device_take();
	d = &q.descriptors[id];
	slot = physical_at(d[0].address);
	CHECK_EQ(slot->header.type, VIRTQUEUE_TYPE_READ);
	CHECK_EQ(slot->header.sector, 24);
	CHECK_EQ(d[0].length, 16);
	CHECK_EQ(d[0].flags, VIRTQUEUE_NEXT);
	CHECK_EQ(d[0].next, id + 1);
	CHECK_EQ(d[1].address, physical_of(data));
	CHECK_EQ(d[1].length, 2 * DISK_BLOCK_SIZE);
	CHECK_EQ(d[1].flags, VIRTQUEUE_NEXT | VIRTQUEUE_WRITE);
	CHECK_EQ(d[1].next, id + 2);
	CHECK_EQ(d[2].address, physical_of(&slot->status));
	CHECK_EQ(d[2].flags, VIRTQUEUE_WRITE);
	CHECK(!virtqueue_take(&q));
	device_return(id, 2 * DISK_BLOCK_SIZE + 1, VIRTQUEUE_STATUS_OK);
	CHECK_EQ((uintptr_t)virtqueue_take(&q), (uintptr_t)&read);
	CHECK_EQ(read.error, 0);
	end();
	arena_free(kpages_arena, data, 2 * DISK_BLOCK_SIZE);
}

TEST("virtqueue: a flush has no data, and a write's data is only read")
{
	char *data = arena_alloc(kpages_arena, 2 * DISK_BLOCK_SIZE, MEM_WAIT);
	struct disk_request write = request_of(DISK_WRITE, data), flush = {.operation = DISK_FLUSH};
	uint32_t id;

	begin();
	CHECK(virtqueue_add(&q, &write) && virtqueue_add(&q, &flush));
	id = device_take();
	CHECK_EQ(q.descriptors[id + 1].flags, VIRTQUEUE_NEXT);
	id = device_take();
	CHECK_EQ(q.descriptors[id].next, id + 2);
	CHECK_EQ(q.slots[id / VIRTQUEUE_SLOT].header.type, VIRTQUEUE_TYPE_FLUSH);
	end();
	arena_free(kpages_arena, data, 2 * DISK_BLOCK_SIZE);
}

TEST("virtqueue: requests come back in any order, more often than an index can count")
{
	struct disk_request r[SLOTS], none;
	uint32_t ids[SLOTS];

	begin();
	for (size_t round = 0; round < (UINT16_MAX + 100) / SLOTS; round++) {
		size_t first = test_random_below(SLOTS);

		for (size_t i = 0; i < SLOTS; i++) {
			r[i] = (struct disk_request){.operation = DISK_FLUSH};
			CHECK(virtqueue_add(&q, &r[i]));
			ids[i] = device_take();
		}
		CHECK(!virtqueue_add(&q, &none));
		for (size_t i = 0; i < SLOTS; i++)
			device_return(ids[(first + i) % SLOTS], 1, VIRTQUEUE_STATUS_OK);
		for (size_t i = 0; i < SLOTS; i++)
			CHECK_EQ((uintptr_t)virtqueue_take(&q),
				(uintptr_t)&r[(first + i) % SLOTS]);
		CHECK(!virtqueue_take(&q));
	}
	CHECK(!q.wrong);
	end();
}

TEST("virtqueue: a status that isn't 0, and a read that is short, are errors")
{
	static const struct {
		uint32_t length;
		uint8_t status;
	} bad[] = {{2 * DISK_BLOCK_SIZE + 1, 1}, {2 * DISK_BLOCK_SIZE + 1, 2},
		{2 * DISK_BLOCK_SIZE + 1, VIRTQUEUE_STATUS_NONE}, {DISK_BLOCK_SIZE, 0}};
	char *data = arena_alloc(kpages_arena, 2 * DISK_BLOCK_SIZE, MEM_WAIT);
	struct disk_request read = request_of(DISK_READ, data);

	begin();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(virtqueue_add(&q, &read));
		device_return(device_take(), bad[i].length, bad[i].status);
		CHECK_EQ((uintptr_t)virtqueue_take(&q), (uintptr_t)&read);
		CHECK_EQ(read.error, -EIO);
	}
	end();
	arena_free(kpages_arena, data, 2 * DISK_BLOCK_SIZE);
}

/* The device returns `id`, having been given one flush; that must be refused for good, and the
 * flush can be taken back. */
static void check_refused(uint32_t id, uint32_t length, uint16_t count, const char *why)
{
	struct disk_request flush = {.operation = DISK_FLUSH};

	begin();
	CHECK(virtqueue_add(&q, &flush));
	device_return(id, length, VIRTQUEUE_STATUS_OK);
	q.used->index = count;
	CHECK(!virtqueue_take(&q));
	CHECK(q.wrong && strstr(q.wrong, why));
	CHECK(!virtqueue_take(&q));
	CHECK_EQ((uintptr_t)virtqueue_cancel(&q), (uintptr_t)&flush);
	CHECK(!virtqueue_cancel(&q));
	end();
}

TEST("virtqueue: what a device can't return is refused, and so is all after it")
{
	check_refused(1, 1, 1, "can't be");
	check_refused(SLOTS * VIRTQUEUE_SLOT, 1, 1, "can't be");
	check_refused(UINT32_MAX, 1, 1, "can't be");
	check_refused(VIRTQUEUE_SLOT, 1, 1, "didn't have");
	check_refused(0, 2, 1, "more than it was given room for");
	check_refused(0, 1, 2, "more requests");
	check_refused(0, 1, UINT16_MAX, "more requests");
}

TEST("virtqueue: a request that comes back twice is refused the second time")
{
	struct disk_request a = {.operation = DISK_FLUSH}, b = {.operation = DISK_FLUSH};
	uint32_t id;

	begin();
	CHECK(virtqueue_add(&q, &a) && virtqueue_add(&q, &b));
	id = device_take();
	device_return(id, 1, VIRTQUEUE_STATUS_OK);
	device_return(id, 1, VIRTQUEUE_STATUS_OK);
	CHECK_EQ((uintptr_t)virtqueue_take(&q), (uintptr_t)&a);
	CHECK(!virtqueue_take(&q));
	CHECK(q.wrong);
	end();
}

TEST("virtqueue: a device that looks by itself isn't told")
{
	begin();
	CHECK(virtqueue_wants_notice(&q));
	q.used->flags = VIRTQUEUE_NO_NOTICE;
	CHECK(!virtqueue_wants_notice(&q));
	end();
}
