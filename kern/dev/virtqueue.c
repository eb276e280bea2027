/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A split virtqueue of disk requests.
 */
#include "virtqueue.h"

#include "errors.h"
#include "lib/panic.h"
#include "lib/string.h"
#include "physical.h"

#define SECTORS_PER_BLOCK (DISK_BLOCK_SIZE / 512)
#define ALIGN 64

_Static_assert(sizeof(struct virtqueue_descriptor) == 16, "as the device has it");

/* The parts of the memory, one behind the other, each on a line of its own: descriptors, available,
 * used, slots.  The two rings end with a word that isn't used here. */

static size_t round_up(size_t bytes)
{
	return (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

static size_t descriptors_bytes(unsigned size)
{
	return round_up(size * sizeof(struct virtqueue_descriptor));
}

static size_t available_bytes(unsigned size)
{
	return round_up(sizeof(struct virtqueue_available) + (size + 1) * sizeof(uint16_t));
}

static size_t used_bytes(unsigned size)
{
	return round_up(sizeof(struct virtqueue_used) + size * 8 + sizeof(uint16_t));
}

size_t virtqueue_bytes(unsigned size)
{
	return descriptors_bytes(size) + available_bytes(size) + used_bytes(size) +
	       round_up(size / VIRTQUEUE_SLOT * sizeof(struct virtqueue_slot));
}

/* Fills in what never changes of a slot's descriptors. */
static void slot_init(struct virtqueue *q, unsigned slot)
{
	struct virtqueue_descriptor *d = &q->descriptors[slot * VIRTQUEUE_SLOT];

	d[0].address = physical_of(&q->slots[slot].header);
	d[0].length = sizeof(q->slots[slot].header);
	d[0].flags = VIRTQUEUE_NEXT;
	d[1].next = (uint16_t)(slot * VIRTQUEUE_SLOT + 2);
	d[2].address = physical_of(&q->slots[slot].status);
	d[2].length = sizeof(q->slots[slot].status);
	d[2].flags = VIRTQUEUE_WRITE;
	q->free[q->free_count++] = (uint8_t)slot;
}

void virtqueue_init(struct virtqueue *q, void *memory, unsigned size)
{
	char *at = memory;

	ASSERT(size >= VIRTQUEUE_SIZE_MIN && size <= VIRTQUEUE_SIZE_MAX && !(size & (size - 1)));
	memset(memory, 0, virtqueue_bytes(size));
	*q = (struct virtqueue){.size = size, .slot_count = size / VIRTQUEUE_SLOT};
	q->descriptors = (void *)at;
	q->available = (void *)(at += descriptors_bytes(size));
	q->used = (void *)(at += available_bytes(size));
	q->slots = (void *)(at + used_bytes(size));
	for (unsigned slot = q->slot_count; slot-- > 0;)
		slot_init(q, slot);
}

static uint32_t type_of(const struct disk_request *r)
{
	switch (r->operation) {
	case DISK_READ:
		return VIRTQUEUE_TYPE_READ;
	case DISK_WRITE:
		return VIRTQUEUE_TYPE_WRITE;
	default:
		return VIRTQUEUE_TYPE_FLUSH;
	}
}

/* A flush has no data: its header is followed by its status. */
static void describe(struct virtqueue *q, unsigned slot, const struct disk_request *r)
{
	unsigned first = slot * VIRTQUEUE_SLOT;
	struct virtqueue_descriptor *d = &q->descriptors[first];
	struct virtqueue_slot *s = &q->slots[slot];
	bool has_data = r->operation != DISK_FLUSH;

	s->header.type = type_of(r);
	s->header.sector = has_data ? r->block * SECTORS_PER_BLOCK : 0;
	s->status = VIRTQUEUE_STATUS_NONE;
	d[0].next = (uint16_t)(has_data ? first + 1 : first + 2);
	if (has_data) {
		d[1].address = physical_of(r->data);
		d[1].length = (uint32_t)(r->count * DISK_BLOCK_SIZE);
		d[1].flags = VIRTQUEUE_NEXT | (r->operation == DISK_READ ? VIRTQUEUE_WRITE : 0);
	}
}

bool virtqueue_add(struct virtqueue *q, struct disk_request *r)
{
	uint16_t index = q->available->index;
	unsigned slot;

	if (q->free_count == 0)
		return false;
	slot = q->free[--q->free_count];
	q->requests[slot] = r;
	describe(q, slot, r);
	q->available->ring[index & (q->size - 1)] = (uint16_t)(slot * VIRTQUEUE_SLOT);
	/* The device reads the rest once it sees the index.  Seq_cst: either the device sees it in
	 * time, or virtqueue_wants_notice() sees that the device wants to be told. */
	__atomic_store_n(&q->available->index, (uint16_t)(index + 1), __ATOMIC_SEQ_CST);
	return true;
}

/* Seq_cst: after the store of the index in virtqueue_add(). */
bool virtqueue_wants_notice(const struct virtqueue *q)
{
	return !(__atomic_load_n(&q->used->flags, __ATOMIC_SEQ_CST) & VIRTQUEUE_NO_NOTICE);
}

static struct disk_request *slot_free(struct virtqueue *q, unsigned slot)
{
	struct disk_request *r = q->requests[slot];

	q->requests[slot] = NULL;
	q->free[q->free_count++] = (uint8_t)slot;
	return r;
}

/* How many bytes the device writes for a request that succeeds: the data, and the status. */
static uint64_t bytes_written(const struct disk_request *r)
{
	return (r->operation == DISK_READ ? r->count * (uint64_t)DISK_BLOCK_SIZE : 0) + 1;
}

/* What is wrong with an entry of the used ring, or NULL. */
static const char *entry_wrong(const struct virtqueue *q, uint32_t id, uint32_t length)
{
	uint32_t slot = id / VIRTQUEUE_SLOT;

	if (id % VIRTQUEUE_SLOT != 0 || slot >= q->slot_count)
		return "the device returned a request that can't be";
	if (!q->requests[slot])
		return "the device returned a request that it didn't have";
	if (length > bytes_written(q->requests[slot]))
		return "the device wrote more than it was given room for";
	return NULL;
}

/* Acquire: pairs with the device's store of the index, behind what it wrote for the request. */
static uint16_t used_count(const struct virtqueue *q)
{
	uint16_t index = __atomic_load_n(&q->used->index, __ATOMIC_ACQUIRE);

	return (uint16_t)(index - q->used_seen);
}

struct disk_request *virtqueue_take(struct virtqueue *q)
{
	uint16_t count = q->wrong ? 0 : used_count(q);
	uint32_t id, length;
	struct disk_request *r;
	bool is_good, is_short;

	if (count > q->slot_count - q->free_count)
		q->wrong = "the device returned more requests than it had";
	if (q->wrong || count == 0)
		return NULL;
	/* Each is read once: the device could change it behind the checks. */
	id = __atomic_load_n(&q->used->ring[q->used_seen & (q->size - 1)].id, __ATOMIC_RELAXED);
	length = __atomic_load_n(
		&q->used->ring[q->used_seen & (q->size - 1)].length, __ATOMIC_RELAXED);
	q->wrong = entry_wrong(q, id, length);
	if (q->wrong)
		return NULL;
	q->used_seen++;
	is_good = q->slots[id / VIRTQUEUE_SLOT].status == VIRTQUEUE_STATUS_OK;
	r = slot_free(q, id / VIRTQUEUE_SLOT);
	is_short = r->operation == DISK_READ && length < bytes_written(r);
	r->error = is_good && !is_short ? 0 : -EIO;
	return r;
}

struct disk_request *virtqueue_cancel(struct virtqueue *q)
{
	for (unsigned slot = 0; slot < q->slot_count; slot++)
		if (q->requests[slot])
			return slot_free(q, slot);
	return NULL;
}
