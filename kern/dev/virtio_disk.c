/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks on virtio: requests and interrupts (Virtual I/O Device specification 1.2, 5.2).
 *
 * A disk has a queue for each core where the device offers as many, and a message for each queue
 * where it has as many and vectors are left; else queues share them.  Message 0 also tells that the
 * device's configuration or state has changed.
 *
 * Locking.  Each queue has a lock, which guards its ring and the requests that wait for a slot.
 * Requests are ended with no lock held.  Once a queue is offline its ring isn't touched any more, but
 * to take its requests out when the device is cut off.
 *
 * Cost.  An interrupt ends SERVICE_STEP requests at most.  If there may be more it raises its vector
 * once more, and so lets other interrupts in.  A hold of a queue's lock is linear in these, or, offline,
 * in the queue's slots.
 */
#include "virtio_disk_impl.h"

#include "errors.h"
#include "machine.h"

#define SERVICE_STEP 4	/* requests that one interrupt ends */
#define RESET_POLLS_MAX 1000000 /* a reset takes microseconds */

bool virtio_disk_reset(struct virtio_disk *v)
{
	int polls = RESET_POLLS_MAX;

	v->common[COMMON_STATUS] = 0;
	while (v->common[COMMON_STATUS] != 0 && --polls > 0)
		port_pause();
	if (polls == 0)
		pci_command(v->function, 0, PCI_COMMAND_MASTER);
	return polls > 0;
}

/* Offline */

static void queue_set_offline(struct queue *q)
{
	port_irq_t irq = spin_lock(&q->lock);

	q->is_offline = true;
	spin_unlock(&q->lock, irq);
}

static void queue_cut_off(struct queue *q)
{
	port_irq_t irq = spin_lock(&q->lock);

	q->is_cut_off = true;
	spin_unlock(&q->lock, irq);
}

/* First no queue takes anything, then the device touches no memory, then interrupts end the requests. */
static void take_offline(struct virtio_disk *v, const char *why)
{
	if (!disk_set_offline(&v->disk, why))
		return;
	for (unsigned i = 0; i < v->queue_count; i++)
		queue_set_offline(&v->queue[i]);
	virtio_disk_reset(v);
	for (unsigned i = 0; i < v->queue_count; i++)
		queue_cut_off(&v->queue[i]);
	for (unsigned i = 0; i < v->message_count; i++)
		machine_raise(v->vector + i);
}

/* Requests */

/* Gives waiting requests to the device while there are slots; returns whether it must be told.
 * Lock held. */
static bool queue_fill(struct queue *q) SPANDREL_REQUIRES(&q->lock)
{
	bool added = false;

	while (q->waiting && virtqueue_add(&q->ring, q->waiting)) {
		q->waiting = q->waiting->next;
		added = true;
	}
	if (!q->waiting)
		q->waiting_end = &q->waiting;
	return added && virtqueue_wants_notice(&q->ring);
}

static void queue_notify(struct queue *q)
{
	*q->notify = (uint16_t)q->number;
}

void virtio_disk_submit(struct disk *disk, struct disk_request *r)
{
	struct virtio_disk *v = (struct virtio_disk *)disk;
	struct queue *q = &v->queue[port_core_id() % v->queue_count];
	port_irq_t irq = spin_lock(&q->lock);
	bool is_offline = q->is_offline, must_notify = false;
	/* A device without a cache has nothing to flush. */
	bool is_void = r->operation == DISK_FLUSH && !(v->features & FEATURE_FLUSH);

	if (!is_offline && !is_void) {
		r->next = NULL;
		*q->waiting_end = r;
		q->waiting_end = &r->next;
		must_notify = queue_fill(q);
	}
	spin_unlock(&q->lock, irq);
	if (must_notify)
		queue_notify(q);
	if (is_offline || is_void)
		disk_end(disk, r, is_offline ? -EIO : 0);
}

/* The next request of a queue that is offline, which has failed, or NULL.  Lock held. */
static struct disk_request *queue_take_failed(struct queue *q) SPANDREL_REQUIRES(&q->lock)
{
	struct disk_request *r = q->is_cut_off ? virtqueue_cancel(&q->ring) : NULL;

	if (!r && q->is_cut_off && q->waiting) {
		r = q->waiting;
		q->waiting = r->next;
	}
	if (r)
		r->error = -EIO;
	return r;
}

static void end_all(struct virtio_disk *v, struct disk_request *list)
{
	struct disk_request *next;

	for (; list; list = next) {
		next = list->next;
		disk_end(&v->disk, list, list->error);
	}
}

/* Takes back what has ended, `most` requests at most; returns how many.  A device that was found wrong is
 * left to take_offline(). */
static unsigned queue_service(struct virtio_disk *v, struct queue *q, unsigned most)
{
	struct disk_request *ended = NULL, **end = &ended, *r;
	bool must_notify = false;
	const char *wrong = NULL;
	unsigned n = 0;
	port_irq_t irq = spin_lock(&q->lock);

	while (n < most && (r = q->is_offline ? queue_take_failed(q) : virtqueue_take(&q->ring))) {
		*end = r;
		end = &r->next;
		n++;
	}
	*end = NULL;
	if (!q->is_offline) {
		wrong = q->ring.wrong;
		must_notify = !wrong && queue_fill(q);
	}
	spin_unlock(&q->lock, irq);
	if (must_notify)
		queue_notify(q);
	end_all(v, ended);
	if (wrong)
		take_offline(v, wrong);
	return n;
}

static void check_status(struct virtio_disk *v)
{
	if (v->common[COMMON_STATUS] & (STATUS_NEEDS_RESET | STATUS_FAILED))
		take_offline(v, "the device says that it has failed");
}

/* The queue after `i` among those of the message. */
static unsigned queue_after(const struct message *m, unsigned i)
{
	i += m->disk->message_count;
	return i < m->disk->queue_count ? i : m->number;
}

/* It begins with the queue behind the one that the last interrupt came to, so that each has its turn. */
void virtio_disk_interrupt(void *arg)
{
	struct message *m = arg;
	struct virtio_disk *v = m->disk;
	unsigned first = __atomic_load_n(&m->next_queue, __ATOMIC_RELAXED), i = first, left = SERVICE_STEP;

	do {
		left -= queue_service(v, &v->queue[i], left);
		i = queue_after(m, i);
	} while (left > 0 && i != first);
	__atomic_store_n(&m->next_queue, i, __ATOMIC_RELAXED);
	if (left == 0)
		machine_raise(v->vector + m->number);
	if (m->number == 0)
		check_status(v);
}
