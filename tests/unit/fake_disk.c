/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk in memory.
 */
#include "fake_disk.h"

#include "arena.h"
#include "disk_pattern.h"
#include "errors.h"
#include "kmalloc.h"
#include "lib/test.h"

#define BLOCKS_MAX 8 /* in a request */

static void submit(struct disk *d, struct disk_request *r)
{
	struct fake_disk *f = (struct fake_disk *)d;
	port_irq_t irq = spin_lock(&f->lock);

	r->next = f->requests;
	f->requests = r;
	f->count++;
	spin_unlock(&f->lock, irq);
	rendez_wakeup(&f->work);
}

/* Takes one of the requests that aren't held, the one at place `skip` if there are so many.  Lock
 * held. */
static struct disk_request *take(struct fake_disk *f, size_t skip)
{
	struct disk_request **best = NULL, *r;

	for (struct disk_request **at = &f->requests; *at; at = &(*at)->next) {
		if (f->held[(*at)->operation])
			continue;
		best = at;
		if (skip-- == 0)
			break;
	}
	if (!best)
		return NULL;
	r = *best;
	*best = r->next;
	f->count--;
	return r;
}

static bool can_work(void *arg)
{
	struct fake_disk *f = arg;
	port_irq_t irq = spin_lock(&f->lock);
	bool can = f->ends;

	for (struct disk_request *r = f->requests; r && !can; r = r->next)
		can = !f->held[r->operation];
	spin_unlock(&f->lock, irq);
	return can;
}

/* Copies as a device does, which no lock of the callers' keeps from reading what they change.  So
 * ThreadSanitizer isn't to see it. */
__attribute__((no_sanitize("thread"))) static void device_copy(void *to, const void *from, size_t n)
{
	volatile uint64_t *t = to;
	const volatile uint64_t *f = from;

	for (size_t i = 0; i < n / sizeof(*t); i++)
		t[i] = f[i];
}

static void serve(struct fake_disk *f, struct disk_request *r)
{
	char *at = f->data + r->block * DISK_BLOCK_SIZE;
	bool fails = r->operation != DISK_FLUSH &&
		     r->block + r->count > __atomic_load_n(&f->fails_from, __ATOMIC_RELAXED);

	if (!fails && r->operation == DISK_READ)
		device_copy(r->data, at, r->count * DISK_BLOCK_SIZE);
	if (!fails && r->operation == DISK_WRITE)
		device_copy(at, r->data, r->count * DISK_BLOCK_SIZE);
	disk_end(&f->disk, r, fails ? -EIO : 0);
}

static void device_main(void *arg)
{
	struct fake_disk *f = arg;
	struct disk_request *r;
	port_irq_t irq;

	do {
		rendez_sleep(&f->work, can_work, f);
		irq = spin_lock(&f->lock);
		f->random = f->random * 6364136223846793005u + 1;
		r = take(f, f->random >> 60);
		f->served += r != NULL;
		spin_unlock(&f->lock, irq);
		if (r)
			serve(f, r);
	} while (r || !f->ends);
}

struct fake_disk *fake_disk_create(size_t blocks)
{
	struct fake_disk *f = kzalloc(sizeof(*f), MEM_WAIT);

	f->disk.kind = "fake";
	f->disk.blocks = blocks;
	f->disk.blocks_max = BLOCKS_MAX;
	f->disk.queues = 1;
	f->disk.submit = submit;
	f->data = arena_alloc(kpages_arena, blocks * DISK_BLOCK_SIZE, MEM_WAIT);
	for (size_t i = 0; i < blocks; i++)
		disk_pattern_fill(f->data + i * DISK_BLOCK_SIZE, i, 0);
	f->fails_from = UINT64_MAX;
	f->random = test_random();
	spin_init(&f->lock, SPIN_LEAF);
	rendez_init(&f->work);
	f->device = ktask("fake disk", device_main, f);
	CHECK(f->device);
	disk_add(&f->disk);
	return f;
}

void fake_disk_destroy(struct fake_disk *f)
{
	port_irq_t irq = spin_lock(&f->lock);

	f->ends = true;
	spin_unlock(&f->lock, irq);
	rendez_wakeup(&f->work);
	ktask_join(f->device);
	disk_remove(&f->disk);
	CHECK_EQ(f->count, 0);
	arena_free(kpages_arena, f->data, f->disk.blocks * DISK_BLOCK_SIZE);
	kfree(f);
}

static void submit_void(struct disk *d, struct disk_request *r)
{
	disk_end(d, r, 0);
}

struct disk fake_disk_void(void)
{
	return (struct disk){.kind = "void", .name = "void", .blocks = 1, .blocks_max = 1, .submit = submit_void};
}

void fake_disk_hold(struct fake_disk *f, enum disk_operation operation, bool held)
{
	port_irq_t irq = spin_lock(&f->lock);

	f->held[operation] = held;
	spin_unlock(&f->lock, irq);
	rendez_wakeup(&f->work);
}

void fake_disk_fail(struct fake_disk *f, uint64_t from)
{
	__atomic_store_n(&f->fails_from, from, __ATOMIC_RELAXED);
}

size_t fake_disk_count(struct fake_disk *f)
{
	port_irq_t irq = spin_lock(&f->lock);
	size_t count = f->count;

	spin_unlock(&f->lock, irq);
	return count;
}
