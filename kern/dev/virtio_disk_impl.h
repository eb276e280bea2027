/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What virtio_disk.c and virtio_start.c share.
 */
#ifndef SPANDREL_DEV_VIRTIO_DISK_IMPL_H
#define SPANDREL_DEV_VIRTIO_DISK_IMPL_H

#include "disk.h"
#include "pci.h"
#include "spinlock.h"
#include "virtqueue.h"

#define QUEUES_MAX 64 /* vectors are for other devices, too */

#define FEATURE_FLUSH (1ull << 9) /* it has a cache, which is to be flushed */

/* Of the common registers: the device's state */
#define COMMON_STATUS 20
#define STATUS_NEEDS_RESET 64u
#define STATUS_FAILED 128u

struct queue {
	struct spinlock lock;
	struct virtqueue ring;
	struct disk_request *waiting, **waiting_end; /* for a slot, in their order */
	bool is_offline; /* it takes no request */
	bool is_cut_off; /* and the device no longer reaches memory: its requests may end */
	/* Fixed once the disk is added. */
	void *memory;
	volatile uint16_t *notify;
	unsigned number;
	unsigned message; /* the one it raises */
} __attribute__((aligned(PORT_LINE_SIZE)));

struct message {
	struct virtio_disk *disk;
	unsigned number;
	unsigned next_queue; /* the first that its next interrupt looks at; atomic */
};

struct virtio_disk {
	struct disk disk; /* first: disk.h hands out pointers to it */
	unsigned function; /* on PCI */
	volatile uint8_t *common, *device, *notify;
	uint32_t notify_size, notify_multiplier;
	uint64_t features;
	struct pci_messages messages;
	struct message message[QUEUES_MAX];
	unsigned vector; /* of message 0, the others follow; 0: none */
	unsigned message_count, queue_count;
	struct queue queue[];
};

/* Begins a request: struct disk's submit. */
void virtio_disk_submit(struct disk *disk, struct disk_request *r);

/* The handler of a message's vector: `arg` is a struct message. */
void virtio_disk_interrupt(void *arg);

/* Ends all that the device does; returns whether it says so.  If not, it is cut off from memory,
 * which it couldn't be trusted with. */
bool virtio_disk_reset(struct virtio_disk *v);

#endif
