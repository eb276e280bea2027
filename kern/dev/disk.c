/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks: the list of them, requests that sleep, counters.
 *
 * Locking.  `lock` guards the list.  Counters are added to atomically, in no order.
 */
#include "disk.h"

#include "errors.h"
#include "kmem_sample.h"
#include "lib/check.h"
#include "lib/string.h"
#include "machine.h"
#include "sync.h"
#include "virtio_disk.h"

static struct qlock lock = QLOCK_INIT(lock);
static struct disk *first_disk;

static void count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

static uint64_t value_of(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* The list */

static bool is_taken(const char *name)
{
	for (struct disk *d = first_disk; d; d = d->next)
		if (strcmp(d->name, name) == 0)
			return true;
	return false;
}

/* Where the pointer to d stands; *result NULL: d isn't there.  Lock held. */
static struct disk **place_of(const struct disk *d) SPANDREL_REQUIRES(&lock)
{
	struct disk **at = &first_disk;

	while (*at && *at != d)
		at = &(*at)->next;
	return at;
}

void disk_add(struct disk *d)
{
	struct disk **at;
	unsigned number = 0;
	bool is_there;

	sync_check_may_sleep("disk_add", __builtin_return_address(0));
	check_given("disk_add", "disk", d, __builtin_return_address(0));
	if (!d->kind || !d->submit || d->blocks_max == 0)
		panic("disk %p: added without %s (called from %pS)", (void *)d,
			!d->kind ? "a kind" : !d->submit ? "a submit()" : "blocks in a request",
			__builtin_return_address(0));
	qlock_lock(&lock);
	at = place_of(d);
	is_there = *at != NULL;
	if (!is_there) {
		do {
			ksnprintf(d->name, sizeof(d->name), "disk%u", number++);
		} while (is_taken(d->name));
		d->next = NULL;
		/* Release: pairs with the acquire in disk_next(), which takes no lock. */
		__atomic_store_n(at, d, __ATOMIC_RELEASE);
	}
	qlock_unlock(&lock);
	if (is_there)
		panic("disk %s: added, but is there (called from %pS)", d->name,
			__builtin_return_address(0));
}

void disk_remove(struct disk *d)
{
	struct disk **at;
	bool is_there;

	sync_check_may_sleep("disk_remove", __builtin_return_address(0));
	qlock_lock(&lock);
	at = place_of(d);
	is_there = *at != NULL;
	if (is_there)
		__atomic_store_n(at, d->next, __ATOMIC_RELEASE);
	qlock_unlock(&lock);
	if (!is_there)
		panic("disk %p: removed, but isn't there (called from %pS)", (void *)d,
			__builtin_return_address(0));
}

struct disk *disk_next(struct disk *d)
{
	return __atomic_load_n(d ? &d->next : &first_disk, __ATOMIC_ACQUIRE);
}

const char *disk_name(const struct disk *d)
{
	check_given("disk_name", "disk", d, __builtin_return_address(0));
	return d->name;
}

uint64_t disk_blocks(const struct disk *d)
{
	check_given("disk_blocks", "disk", d, __builtin_return_address(0));
	return d->blocks;
}

/* Requests */

static bool are_of_disk(const struct disk *d, uint64_t block, size_t n)
{
	return n <= d->blocks && block <= d->blocks - n;
}

static void begin(struct disk *d, struct disk_request *r)
{
	count(&d->begun, 1);
	d->submit(d, r);
}

static bool is_page_direct(uintptr_t at)
{
	return machine_is_direct_page(kmem_sample_direct((void *)(at & -PORT_PAGE_SIZE)));
}

/* Whether the first and the last byte lie in the direct map, or in a sample: a device finds them by their
 * physical addresses. */
static bool is_direct(const void *data, size_t n)
{
	uintptr_t first = (uintptr_t)data, last = first + (n * DISK_BLOCK_SIZE - 1);

	return n <= SIZE_MAX / DISK_BLOCK_SIZE && last > first &&
	       is_page_direct(first) && is_page_direct(last);
}

static void check_data(const struct disk *d, size_t n, const void *data, void *caller)
{
	if (!is_direct(data, n))
		panic("disk %s: data of %zu blocks at %p isn't in the direct map (called from %pS)",
			d->name, n, data, caller);
}

static void check_request(const struct disk *d, const struct disk_request *r, void *caller)
{
	if (!r->done || r->operation > DISK_FLUSH)
		panic("disk %s: a request %s (called from %pS)", d->name,
			r->done ? "is no read, write or flush" : "has no done()", caller);
	if (r->operation == DISK_FLUSH)
		return;
	if (r->count == 0 || r->count > d->blocks_max || !are_of_disk(d, r->block, r->count))
		panic("disk %s: a request is for %zu blocks from %llu of %llu, at most %zu at once (called "
		      "from %pS)",
			d->name, r->count, (unsigned long long)r->block, (unsigned long long)d->blocks,
			d->blocks_max, caller);
	check_data(d, r->count, r->data, caller);
}

void disk_submit(struct disk *d, struct disk_request *r)
{
	check_given("disk_submit", "disk", d, __builtin_return_address(0));
	check_given("disk_submit", "request", r, __builtin_return_address(0));
	check_request(d, r, __builtin_return_address(0));
	begin(d, r);
}

void disk_end(struct disk *d, struct disk_request *r, int error)
{
	port_irq_t irq;

	r->error = error;
	if (error) {
		count(&d->errors, 1);
	} else {
		count(&d->requests[r->operation], 1);
		count(&d->blocks_done[r->operation], r->count);
	}
	count(&d->ended, 1);
	irq = port_irq_save();
	r->done(r);
	port_irq_restore(irq);
}

bool disk_set_offline(struct disk *d, const char *why)
{
	bool was_offline = __atomic_exchange_n(&d->is_offline, true, __ATOMIC_RELAXED);

	if (!was_offline)
		kprintf("%s: %s: taken offline\n", *d->name ? d->name : d->kind, why);
	return !was_offline;
}

struct waited {
	struct disk_request request;
	struct semaphore ended;
};

/* The sleeper takes the semaphore's lock before it goes on, so the memory outlives this call. */
static void wake(struct disk_request *r)
{
	sem_up(&((struct waited *)r)->ended, 1);
}

static int run(struct disk *d, enum disk_operation operation, uint64_t block, size_t n, void *data)
{
	struct waited w = {.request = {operation, block, n, data, wake, 0, NULL}};

	sem_init(&w.ended, 0);
	begin(d, &w.request);
	sem_down(&w.ended, 1);
	return w.request.error;
}

static int run_pieces(struct disk *d, enum disk_operation operation, uint64_t first, size_t n, char *data,
	void *caller)
{
	int error = 0;

	if (!are_of_disk(d, first, n))
		panic("disk %s: %zu blocks from %llu of %llu are asked for (called from %pS)", d->name, n,
			(unsigned long long)first, (unsigned long long)d->blocks, caller);
	if (n > 0)
		check_data(d, n, data, caller);
	while (n > 0 && !error) {
		size_t piece = n < d->blocks_max ? n : d->blocks_max;

		error = run(d, operation, first, piece, data);
		first += piece;
		n -= piece;
		data += piece * DISK_BLOCK_SIZE;
	}
	return error;
}

int disk_read(struct disk *d, uint64_t first, size_t n, void *data)
{
	sync_check_may_sleep("disk_read", __builtin_return_address(0));
	check_given("disk_read", "disk", d, __builtin_return_address(0));
	return run_pieces(d, DISK_READ, first, n, data, __builtin_return_address(0));
}

int disk_write(struct disk *d, uint64_t first, size_t n, void *data)
{
	sync_check_may_sleep("disk_write", __builtin_return_address(0));
	check_given("disk_write", "disk", d, __builtin_return_address(0));
	return run_pieces(d, DISK_WRITE, first, n, data, __builtin_return_address(0));
}

int disk_flush(struct disk *d)
{
	sync_check_may_sleep("disk_flush", __builtin_return_address(0));
	check_given("disk_flush", "disk", d, __builtin_return_address(0));
	return run(d, DISK_FLUSH, 0, 0, NULL);
}

/* Statistics */

void disk_get_stats(const struct disk *d, struct disk_stats *stats)
{
	uint64_t ended;

	check_given("disk_get_stats", "disk", d, __builtin_return_address(0));
	ended = value_of(&d->ended);
	*stats = (struct disk_stats){
		.name = d->name,
		.kind = d->kind,
		.state = __atomic_load_n(&d->is_offline, __ATOMIC_RELAXED) ? "offline" : "online",
		.blocks = d->blocks,
		.queues = d->queues,
		.vectors = d->vectors,
		.in_flight = value_of(&d->begun) - ended,
		.reads = value_of(&d->requests[DISK_READ]),
		.writes = value_of(&d->requests[DISK_WRITE]),
		.flushes = value_of(&d->requests[DISK_FLUSH]),
		.errors = value_of(&d->errors),
		.blocks_read = value_of(&d->blocks_done[DISK_READ]),
		.blocks_written = value_of(&d->blocks_done[DISK_WRITE]),
	};
}

void disk_init(void)
{
	virtio_disk_probe();
}
