/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks on virtio over PCI, without the older interface: finding and starting them (Virtual I/O
 * Device specification 1.2: 3.1 initialisation, 4.1 PCI, 5.2 block device).
 */
#include "virtio_disk.h"

#include "arena.h"
#include "irq.h"
#include "kmalloc.h"
#include "lib/panic.h"
#include "owner.h"
#include "physical.h"
#include "virtio_disk_impl.h"

#define VENDOR 0x1af4
#define DEVICE_DISK 0x1042
#define DEVICE_DISK_OLD 0x1001 /* has both interfaces */

/* Vendor capabilities: where the registers are */
#define CAP_TYPE 3
#define CAP_BAR 4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_SIZE 16
#define CAP_NOTIFY_MULTIPLIER 16
#define CAP_NOTIFY_SIZE 20
#define TYPE_COMMON 1
#define TYPE_NOTIFY 2
#define TYPE_DEVICE 4

/* Common registers */
#define COMMON_DEVICE_FEATURE_SELECT 0
#define COMMON_DEVICE_FEATURE 4
#define COMMON_DRIVER_FEATURE_SELECT 8
#define COMMON_DRIVER_FEATURE 12
#define COMMON_CONFIG_MESSAGE 16
#define COMMON_QUEUES 18
#define COMMON_GENERATION 21
#define COMMON_QUEUE_SELECT 22
#define COMMON_QUEUE_SIZE 24
#define COMMON_QUEUE_MESSAGE 26
#define COMMON_QUEUE_ENABLE 28
#define COMMON_QUEUE_NOTIFY 30
#define COMMON_QUEUE_DESCRIPTORS 32
#define COMMON_QUEUE_AVAILABLE 40
#define COMMON_QUEUE_USED 48
#define COMMON_SIZE 56

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER 2u
#define STATUS_RUNS 4u
#define STATUS_FEATURES 8u

/* A disk's registers */
#define DISK_SECTORS 0
#define DISK_SIZE_MAX 8 /* bytes of data in one piece */
#define DISK_QUEUES 34
#define DISK_SIZE 36

#define FEATURE_SIZE_MAX (1ull << 1)
#define FEATURE_READ_ONLY (1ull << 5)
#define FEATURE_QUEUES (1ull << 12)
#define FEATURE_VERSION_1 (1ull << 32)
#define FEATURES_USED (FEATURE_SIZE_MAX | FEATURE_FLUSH | FEATURE_QUEUES | FEATURE_VERSION_1)

#define SECTORS_PER_BLOCK (DISK_BLOCK_SIZE / 512)
#define BLOCKS_MAX 256	    /* in a request: 1 MiB */
#define GENERATION_READS_MAX 100 /* the configuration changes rarely */

/* Registers */

static uint8_t read8(volatile uint8_t *base, unsigned offset)
{
	return base[offset];
}

static uint16_t read16(volatile uint8_t *base, unsigned offset)
{
	return *(volatile uint16_t *)(base + offset);
}

static uint32_t read32(volatile uint8_t *base, unsigned offset)
{
	return *(volatile uint32_t *)(base + offset);
}

static void write8(volatile uint8_t *base, unsigned offset, uint8_t value)
{
	base[offset] = value;
}

static void write16(volatile uint8_t *base, unsigned offset, uint16_t value)
{
	*(volatile uint16_t *)(base + offset) = value;
}

static void write32(volatile uint8_t *base, unsigned offset, uint32_t value)
{
	*(volatile uint32_t *)(base + offset) = value;
}

static void write64(volatile uint8_t *base, unsigned offset, uint64_t value)
{
	write32(base, offset, (uint32_t)value);
	write32(base, offset + 4, (uint32_t)(value >> 32));
}

static void add_status(struct virtio_disk *v, uint8_t bits)
{
	write8(v->common, COMMON_STATUS, read8(v->common, COMMON_STATUS) | bits);
}

/* Start.  Each step returns NULL, or one line that says why the device can't be used. */

static const char *map_part(struct virtio_disk *v, unsigned at, uint32_t least,
	volatile uint8_t **part, uint32_t *size)
{
	*size = pci_read32(v->function, at + CAP_LENGTH);
	if (*size < least)
		return "its registers are fewer than they must be";
	*part = pci_map(v->function, pci_read8(v->function, at + CAP_BAR),
		pci_read32(v->function, at + CAP_OFFSET), *size);
	return *part ? NULL : "its registers can't be mapped";
}

/* The first capability of a type counts. */
static const char *map_type(struct virtio_disk *v, unsigned at)
{
	uint32_t size;
	uint8_t type = pci_read8(v->function, at + CAP_TYPE);

	if (at + (type == TYPE_NOTIFY ? CAP_NOTIFY_SIZE : CAP_SIZE) > PCI_CONFIG_SIZE)
		return "a capability goes on behind its configuration space";
	switch (type) {
	case TYPE_COMMON:
		return v->common ? NULL : map_part(v, at, COMMON_SIZE, &v->common, &size);
	case TYPE_DEVICE:
		return v->device ? NULL : map_part(v, at, DISK_SIZE, &v->device, &size);
	case TYPE_NOTIFY:
		v->notify_multiplier = pci_read32(v->function, at + CAP_NOTIFY_MULTIPLIER);
		return v->notify ? NULL : map_part(v, at, 2, &v->notify, &v->notify_size);
	default:
		return NULL;
	}
}

static const char *map_registers(struct virtio_disk *v)
{
	const char *wrong = NULL;
	unsigned at = 0;

	while (!wrong && (at = pci_capability(v->function, PCI_CAPABILITY_VENDOR, at)))
		wrong = map_type(v, at);
	if (!wrong && (!v->common || !v->device || !v->notify))
		wrong = "it has only the older interface";
	pci_command(v->function, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 0);
	return wrong;
}

static const char *agree_on_features(struct virtio_disk *v)
{
	uint64_t offered = 0;

	for (unsigned half = 0; half < 2; half++) {
		write32(v->common, COMMON_DEVICE_FEATURE_SELECT, half);
		offered |= (uint64_t)read32(v->common, COMMON_DEVICE_FEATURE) << 32 * half;
	}
	if (!(offered & FEATURE_VERSION_1))
		return "it has only the older interface";
	if (offered & FEATURE_READ_ONLY)
		return "it can't be written";
	v->features = offered & FEATURES_USED;
	for (unsigned half = 0; half < 2; half++) {
		write32(v->common, COMMON_DRIVER_FEATURE_SELECT, half);
		write32(v->common, COMMON_DRIVER_FEATURE, (uint32_t)(v->features >> 32 * half));
	}
	add_status(v, STATUS_FEATURES);
	return read8(v->common, COMMON_STATUS) & STATUS_FEATURES ? NULL :
								    "it refuses what was agreed";
}

/* The sectors are two words, read while the device's configuration stays the same. */
static const char *read_size(struct virtio_disk *v)
{
	uint32_t size_max = UINT32_MAX;
	uint64_t sectors = 0;
	uint8_t generation;
	int reads = 0;

	do {
		generation = read8(v->common, COMMON_GENERATION);
		sectors = read32(v->device, DISK_SECTORS) |
			  (uint64_t)read32(v->device, DISK_SECTORS + 4) << 32;
	} while (read8(v->common, COMMON_GENERATION) != generation &&
		 ++reads < GENERATION_READS_MAX);
	if (reads == GENERATION_READS_MAX)
		return "its size doesn't stay the same";
	if (v->features & FEATURE_SIZE_MAX)
		size_max = read32(v->device, DISK_SIZE_MAX);
	if (size_max < DISK_BLOCK_SIZE)
		return "it doesn't take a block in one piece";
	v->disk.blocks = sectors / SECTORS_PER_BLOCK;
	v->disk.blocks_max = size_max / DISK_BLOCK_SIZE < BLOCKS_MAX ? size_max / DISK_BLOCK_SIZE :
								     BLOCKS_MAX;
	return NULL;
}

/* One vector for each message that the queues can use; fewer if fewer are left, one at least. */
static const char *take_vectors(struct virtio_disk *v)
{
	struct irq_request requests[QUEUES_MAX];
	unsigned n = v->queue_count;

	if (!pci_messages_init(&v->messages, v->function))
		return "it can't send messages as interrupts";
	if (n > v->messages.count)
		n = v->messages.count;
	for (unsigned i = 0; i < n; i++) {
		v->message[i] = (struct message){v, i, i};
		requests[i] = (struct irq_request){"disk", virtio_disk_interrupt, &v->message[i]};
	}
	while (n > 0 && !(v->vector = irq_alloc_block(requests, n)))
		n /= 2;
	v->message_count = n;
	return n > 0 ? NULL : "no vector is left";
}

static const char *route_messages(struct virtio_disk *v)
{
	for (unsigned i = 0; i < v->message_count; i++)
		if (!pci_messages_route(
			    &v->messages, i, v->vector + i, i % port_core_count()))
			return "its messages can't be routed";
	pci_messages_enable(&v->messages, true);
	write16(v->common, COMMON_CONFIG_MESSAGE, 0);
	return read16(v->common, COMMON_CONFIG_MESSAGE) == 0 ? NULL : "it refuses a message";
}

/* The largest power of two that is at most `size` and VIRTQUEUE_SIZE_MAX. */
static unsigned ring_size(unsigned size)
{
	unsigned ring = VIRTQUEUE_SIZE_MAX;

	while (ring > size)
		ring /= 2;
	return ring;
}

static struct arena_owner owner = ARENA_OWNER("disk queues", dma32_arena);

static void queue_free(struct queue *q)
{
	size_t bytes = virtqueue_bytes(q->ring.size);

	arena_owner_sub(&owner, dma32_arena, bytes);
	arena_free(dma32_arena, q->memory, bytes);
}

static const char *start_queue(struct virtio_disk *v, struct queue *q)
{
	unsigned size;
	uint64_t notify;

	write16(v->common, COMMON_QUEUE_SELECT, (uint16_t)q->number);
	size = ring_size(read16(v->common, COMMON_QUEUE_SIZE));
	notify = (uint64_t)read16(v->common, COMMON_QUEUE_NOTIFY) * v->notify_multiplier;
	if (size < VIRTQUEUE_SIZE_MIN || notify > v->notify_size - 2 || notify % 2 != 0)
		return "a queue is too small or out of reach";
	q->memory = arena_alloc(dma32_arena, virtqueue_bytes(size), MEM_ERROR);
	if (!q->memory)
		return "there is no memory for its queues";
	arena_owner_add(&owner, dma32_arena, virtqueue_bytes(size));
	virtqueue_init(&q->ring, q->memory, size);
	q->notify = (volatile uint16_t *)(v->notify + notify);
	write16(v->common, COMMON_QUEUE_SIZE, (uint16_t)size);
	write64(v->common, COMMON_QUEUE_DESCRIPTORS, physical_of(q->ring.descriptors));
	write64(v->common, COMMON_QUEUE_AVAILABLE, physical_of(q->ring.available));
	write64(v->common, COMMON_QUEUE_USED, physical_of(q->ring.used));
	write16(v->common, COMMON_QUEUE_MESSAGE, (uint16_t)q->message);
	if (read16(v->common, COMMON_QUEUE_MESSAGE) != q->message)
		return "it refuses a message";
	write16(v->common, COMMON_QUEUE_ENABLE, 1);
	return NULL;
}

static const char *start_queues(struct virtio_disk *v)
{
	const char *wrong = NULL;

	for (unsigned i = 0; i < v->queue_count && !wrong; i++) {
		v->queue[i].message = i % v->message_count;
		wrong = start_queue(v, &v->queue[i]);
	}
	return wrong;
}

/* How many queues the device has, and at most one for each core. */
static const char *count_queues(struct virtio_disk *v)
{
	unsigned n = v->features & FEATURE_QUEUES ? read16(v->device, DISK_QUEUES) : 1;
	unsigned there = read16(v->common, COMMON_QUEUES);

	n = n < there ? n : there;
	if (n < v->queue_count)
		v->queue_count = n;
	return n > 0 ? NULL : "it has no queue";
}

static const char *start(struct virtio_disk *v)
{
	static const char *(*const steps[])(struct virtio_disk *) = {agree_on_features, read_size,
		count_queues, take_vectors, route_messages, start_queues};
	const char *wrong = map_registers(v);

	if (wrong)
		return wrong;
	if (!virtio_disk_reset(v))
		return "it can't be reset";
	add_status(v, STATUS_ACKNOWLEDGE);
	add_status(v, STATUS_DRIVER);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !wrong; i++)
		wrong = steps[i](v);
	add_status(v, wrong ? STATUS_FAILED : STATUS_RUNS);
	return wrong;
}

static size_t disk_bytes(unsigned queues)
{
	return sizeof(struct virtio_disk) + queues * sizeof(struct queue);
}

/* A struct for a disk with at most a queue for each core. */
static struct virtio_disk *make(unsigned function)
{
	unsigned queues = port_core_count() < QUEUES_MAX ? port_core_count() : QUEUES_MAX;
	struct virtio_disk *v = kmalloc_align(disk_bytes(queues), PORT_LINE_SIZE, MEM_ERROR);

	if (!v)
		return NULL;
	*v = (struct virtio_disk){
		.disk = {.kind = "virtio", .submit = virtio_disk_submit},
		.function = function,
		.queue_count = queues,
	};
	for (unsigned i = 0; i < queues; i++) {
		struct queue *q = &v->queue[i];

		*q = (struct queue){.number = i, .waiting_end = &q->waiting};
		spin_init(&q->lock, SPIN_LEAF);
	}
	return v;
}

/* Takes back what start() took, once the device is quiet. */
static void unmake(struct virtio_disk *v)
{
	if (v->common)
		virtio_disk_reset(v);
	pci_command(v->function, 0, PCI_COMMAND_MASTER);
	if (v->message_count > 0) {
		pci_messages_enable(&v->messages, false);
		irq_free_block(v->vector, v->message_count);
	}
	for (unsigned i = 0; i < v->queue_count; i++)
		if (v->queue[i].memory)
			queue_free(&v->queue[i]);
	kfree(v);
}

static void try_function(unsigned function)
{
	struct virtio_disk *v = make(function);
	const char *wrong = v ? start(v) : "there is no memory for it";
	uint64_t bytes;

	if (wrong) {
		kprintf("disk at PCI %02x:%02x.%x is left out: %s\n", function >> 8,
			function >> 3 & 31, function & 7, wrong);
		if (v)
			unmake(v);
		return;
	}
	v->disk.queues = v->queue_count;
	v->disk.vectors = v->message_count;
	disk_add(&v->disk);
	bytes = v->disk.blocks * DISK_BLOCK_SIZE;
	kprintf("%s: %pB, %u queues, %u vectors\n", v->disk.name, (const void *)&bytes,
		v->queue_count, v->message_count);
}

void virtio_disk_probe(void)
{
	for (unsigned f = pci_next(0); f != PCI_NONE; f = pci_next(f + 1)) {
		uint16_t device = pci_read16(f, PCI_DEVICE);

		if (pci_read16(f, PCI_VENDOR) == VENDOR &&
			(device == DEVICE_DISK || device == DEVICE_DISK_OLD))
			try_function(f);
	}
}
