/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue of requests between driver and device, as virtio has it (Virtual I/O Device specification
 * 1.2, 2.7, "split virtqueues"), used for disks.
 *
 *	virtqueue_init(&q, memory, size);
 *	if (virtqueue_add(&q, request) && virtqueue_wants_notice(&q))
 *		tell the device
 *	...
 *	while ((request = virtqueue_take(&q)))        after an interrupt
 *		request->error says how it ended
 *
 * A request takes a slot: three descriptors whose numbers never change (header, data, status), and
 * the header and the status byte themselves.  So nothing is allocated, and a number that the device
 * returns names a slot or is wrong.
 *
 * Nothing that the device writes is trusted.  Once it has returned what can't be, `wrong` says so,
 * and nothing more is taken.
 *
 * Concurrency: the caller's lock is held for every call.  Cost: constant.
 */
#ifndef SPANDREL_DEV_VIRTQUEUE_H
#define SPANDREL_DEV_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "disk.h"

#define VIRTQUEUE_SIZE_MAX 128 /* descriptors; a power of two */
#define VIRTQUEUE_SIZE_MIN 4   /* the least power of two that holds a slot */
#define VIRTQUEUE_SLOT 3       /* descriptors of a slot */
#define VIRTQUEUE_SLOTS_MAX (VIRTQUEUE_SIZE_MAX / VIRTQUEUE_SLOT)

/* In memory that the device reads and writes */

struct virtqueue_descriptor {
	uint64_t address; /* physical */
	uint32_t length;
	uint16_t flags;
	uint16_t next;
};
#define VIRTQUEUE_NEXT 1u  /* `next` is valid */
#define VIRTQUEUE_WRITE 2u /* the device writes there, else it reads */

struct virtqueue_available {
	uint16_t flags;
	uint16_t index; /* of the next entry the driver will fill, modulo 2^16 */
	uint16_t ring[];
};

struct virtqueue_used {
	uint16_t flags;
	uint16_t index; /* of the next entry the device will fill, modulo 2^16 */
	struct {
		uint32_t id;	 /* a chain, by its first descriptor */
		uint32_t length; /* bytes that the device wrote */
	} ring[];
};
#define VIRTQUEUE_NO_NOTICE 1u /* in used->flags: the device looks by itself */

struct virtqueue_slot {
	struct {
		uint32_t type;
		uint32_t reserved;
		uint64_t sector; /* of 512 bytes */
	} header;
	uint8_t status;
};
#define VIRTQUEUE_TYPE_READ 0
#define VIRTQUEUE_TYPE_WRITE 1
#define VIRTQUEUE_TYPE_FLUSH 4
#define VIRTQUEUE_STATUS_OK 0
#define VIRTQUEUE_STATUS_NONE 0xff /* the device hasn't written it */

struct virtqueue {
	unsigned size, slot_count;
	struct virtqueue_descriptor *descriptors;
	struct virtqueue_available *available;
	struct virtqueue_used *used;
	struct virtqueue_slot *slots;
	uint16_t used_seen; /* entries taken, modulo 2^16 */
	const char *wrong;  /* what the device did that can't be; NULL: nothing */
	unsigned free_count;
	uint8_t free[VIRTQUEUE_SLOTS_MAX];		     /* slots, as a stack */
	struct disk_request *requests[VIRTQUEUE_SLOTS_MAX]; /* by slot; NULL: it is free */
};

/* How many bytes of memory a queue of `size` descriptors takes. */
size_t virtqueue_bytes(unsigned size);

/* Makes a queue of `size` descriptors, a power of two from VIRTQUEUE_SIZE_MIN to VIRTQUEUE_SIZE_MAX,
 * in memory[0 .. virtqueue_bytes(size)), by its direct-map address, aligned to 64. */
void virtqueue_init(struct virtqueue *q, void *memory, unsigned size);

/* Gives a request to the device.  Returns false, nothing changed, if no slot is free. */
bool virtqueue_add(struct virtqueue *q, struct disk_request *r);

/* Whether the device must be told that requests were added. */
bool virtqueue_wants_notice(const struct virtqueue *q);

/* Takes back a request that has ended, its `error` set.  Returns NULL if there is none. */
struct disk_request *virtqueue_take(struct virtqueue *q);

/* Takes back a request that the device still has; it has been reset.  NULL: none. */
struct disk_request *virtqueue_cancel(struct virtqueue *q);

#endif
