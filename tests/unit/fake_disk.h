/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk in memory, for tests, where the machine may have none.
 *
 *	struct fake_disk *f = fake_disk_create(64);
 *	disk_read(&f->disk, 3, 1, data);
 *	fake_disk_destroy(f);
 *
 * A ktask plays the device: it serves requests one by one, in a random order.  All blocks are of
 * generation 0 at first (disk_pattern.h).
 */
#ifndef SPANDREL_TESTS_FAKE_DISK_H
#define SPANDREL_TESTS_FAKE_DISK_H

#include "disk.h"
#include "kthread.h"
#include "spinlock.h"
#include "sync.h"

struct fake_disk {
	struct disk disk; /* first */
	char *data;
	struct ktask *device;
	struct rendez work;
	struct spinlock lock; /* guards what follows */
	struct disk_request *requests;
	size_t count;
	bool held[3];	     /* requests of this operation aren't served */
	uint64_t fails_from; /* requests for this block and those behind it fail */
	uint64_t served;
	uint64_t random;
	bool ends;
};

struct fake_disk *fake_disk_create(size_t blocks);
void fake_disk_destroy(struct fake_disk *f);

/* A disk of one block that ends each request at once, and keeps nothing.  It isn't in the list of disks. */
struct disk fake_disk_void(void);

/* Has requests of an operation wait, or lets them go on. */
void fake_disk_hold(struct fake_disk *f, enum disk_operation operation, bool held);

/* Has requests for block `from` and those behind it fail.  UINT64_MAX: none. */
void fake_disk_fail(struct fake_disk *f, uint64_t from);

/* How many requests it has now. */
size_t fake_disk_count(struct fake_disk *f);

#endif
