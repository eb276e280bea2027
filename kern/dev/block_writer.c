/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block caches: the ktask that writes dirty blocks to the disk.
 *
 * The writer takes dirty blocks in the order in which they became dirty and begins to write each at
 * once, with at most WRITES_MAX writes under way.  A write ends in an interrupt, which hands it to the
 * writer; so what that takes, and what it frees, keeps no interrupt waiting.  A block that is
 * changed while it is being written is dirty again when that write has ended; so two writes of a block
 * are never under way at once, and no more is one of its reads.
 *
 * The writer must go on when no memory is left.  It allocates only requests, from a cache of its own
 * that has twice WRITES_MAX of them reserved.  At most WRITES_MAX are out, but others may lie in
 * magazines of cores on which it has run.  If so many do that none is left, the writer has those
 * returned: then at least WRITES_MAX are in the slab layer, where it finds one.
 */
#include "block_cache_impl.h"

#include "errors.h"
#include "lib/check.h"
#include "machine.h"
#include "reclaim.h"

#define RETRY_NS 1000000 /* between tries to destroy a cache that is being listed */

struct write {
	struct disk_request request; /* first */
	struct cached *block;
	struct write *next; /* once it has ended: the one that ended after it */
};

/* Writes */

/* What the block held is lost, unless its callers still know.  Lock held. */
static void note_failure(struct cached *b)
{
	struct block_cache *c = b->cache;

	c->write_errors++;
	c->has_lost = true;
	b->is_dirty = false;
	block_unhash(b);
}

/* Lock held.  Returns whether the caller must free the block. */
static bool end_write(struct cached *b, int error)
{
	struct block_cache *c = b->cache;

	list_del(&b->place);
	b->is_writing = false;
	if (error)
		note_failure(b);
	else
		c->written_count++;
	if (b->is_dirty)
		block_enter_dirty(b);
	else if (--c->dirty_count == 0)
		c->owed = c->owed > 0; /* nothing but this block is left to be given up */
	return block_settle(b);
}

static void print_first_failure(struct block_cache *c, uint64_t number, bool is_first)
{
	if (is_first)
		kprintf("cache of %s: block %llu couldn't be written and is lost; more may follow\n",
			disk_name(c->disk), (unsigned long long)number);
}

/* Raising the semaphore is the last thing it does to the cache (block_writer_stop). */
static void write_ended(struct disk_request *r)
{
	struct write *w = (struct write *)r;
	struct block_cache *c = w->block->cache;
	port_irq_t irq = spin_lock(&c->lock);

	w->next = NULL;
	*c->ended_last = w;
	c->ended_last = &w->next;
	spin_unlock(&c->lock, irq);
	rendez_wakeup(&c->work);
	sem_up(&c->slots, 1);
}

static void free_lost(struct cached *b)
{
	struct block_cache *c = b->cache;
	port_irq_t irq;

	block_free(b);
	irq = spin_lock(&c->lock);
	c->is_freeing = false;
	spin_unlock(&c->lock, irq);
}

static void settle(struct block_cache *c, struct write *w)
{
	struct cached *b = w->block;
	uint64_t number = b->link.key;
	int error = w->request.error;
	port_irq_t irq = spin_lock(&c->lock);
	bool must_free = end_write(b, error), is_first = error && c->write_errors == 1;

	c->is_freeing = must_free;
	spin_unlock(&c->lock, irq);
	print_first_failure(c, number, is_first);
	if (must_free)
		free_lost(b);
	kmem_cache_free(c->writes, w);
	reclaim_progress();
	rendez_wakeup(&c->written);
}

/* Settles all writes that have ended. */
static void settle_ended(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct write *w = c->ended_writes, *next;

	c->ended_writes = NULL;
	c->ended_last = &c->ended_writes;
	spin_unlock(&c->lock, irq);
	for (; w; w = next) {
		next = w->next;
		settle(c, w);
	}
}

static struct write *write_alloc(struct block_cache *c)
{
	struct write *w = kmem_cache_alloc(c->writes, MEM_ATOMIC);

	if (!w) {
		kmem_cache_reap(c->writes, KMEM_REAP_ALL);
		w = kmem_cache_alloc(c->writes, MEM_ATOMIC);
	}
	ASSERT(w);
	return w;
}

/* The next block to write, being written from now on.  Only the writer takes dirty blocks. */
static struct cached *take_dirty(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct cached *b = list_first_entry(&c->dirty, struct cached, place);

	list_del(&b->place);
	list_add_tail(&c->writing, &b->place);
	b->is_dirty = false;
	b->is_writing = true;
	c->changes++;
	spin_unlock(&c->lock, irq);
	return b;
}

static void write_one(struct block_cache *c)
{
	struct write *w = write_alloc(c);

	w->block = take_dirty(c);
	w->request = (struct disk_request){
		.operation = DISK_WRITE,
		.block = w->block->link.key,
		.count = 1,
		.data = w->block->block.data,
		.done = write_ended,
	};
	disk_submit(c->disk, &w->request);
}

/* The writer */

static bool has_work(void *arg)
{
	struct block_cache *c = arg;
	port_irq_t irq = spin_lock(&c->lock);
	bool has = c->ends || c->ended_writes || !list_empty(&c->dirty);

	spin_unlock(&c->lock, irq);
	return has;
}

static bool has_dirty(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	bool has = !list_empty(&c->dirty);

	spin_unlock(&c->lock, irq);
	return has;
}

static bool ends(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	bool does = c->ends;

	spin_unlock(&c->lock, irq);
	return does;
}

/* A write whose slot is free has ended, and is settled before the next one begins: so no more than
 * WRITES_MAX are out. */
static void writer_main(void *arg)
{
	struct block_cache *c = arg;

	rendez_sleep(&c->work, has_work, c);
	while (!ends(c)) {
		settle_ended(c);
		if (has_dirty(c)) {
			sem_down(&c->slots, 1);
			settle_ended(c);
			write_one(c);
		}
		rendez_sleep(&c->work, has_work, c);
	}
	sem_up(&c->ended, 1);
}

bool block_writer_start(struct block_cache *c)
{
	char name[KMEM_NAME_MAX];

	ksnprintf(name, sizeof(name), "%s-writes", disk_name(c->disk));
	c->writes = kmem_cache_create(name, sizeof(struct write), 0, 0, NULL, NULL, NULL, NULL);
	if (!c->writes)
		return false;
	ksnprintf(name, sizeof(name), "%s-writer", disk_name(c->disk));
	if (kmem_cache_reserve(c->writes, 2 * WRITES_MAX, MEM_ERROR) == 0 &&
		machine_thread_spawn(name, writer_main, c))
		return true;
	kmem_cache_destroy(c->writes);
	return false;
}

/* The last writes may still be in write_ended(); the semaphore has all slots when they have left
 * it.  A cache that is being listed can't be destroyed for that moment. */
void block_writer_stop(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);

	c->ends = true;
	spin_unlock(&c->lock, irq);
	rendez_wakeup(&c->work);
	sem_down(&c->ended, 1);
	sem_down(&c->slots, WRITES_MAX);
	kmem_cache_reserve(c->writes, 0, MEM_ATOMIC);
	while (kmem_cache_destroy(c->writes) != 0)
		port_thread_block(port_ns() + RETRY_NS);
}

/* Sync */

/* Whether all writes up to an order have ended, and no block is left of one that was lost. */
struct goal {
	struct block_cache *cache;
	uint64_t order;
};

static bool is_beyond(struct list *list, uint64_t order)
{
	return list_empty(list) || list_first_entry(list, struct cached, place)->order > order;
}

static bool is_reached(void *arg)
{
	struct goal *g = arg;
	port_irq_t irq = spin_lock(&g->cache->lock);
	bool is = is_beyond(&g->cache->dirty, g->order) && is_beyond(&g->cache->writing, g->order) &&
		  !g->cache->is_freeing;

	spin_unlock(&g->cache->lock, irq);
	return is;
}

static uint64_t settled(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	uint64_t n = c->written_count + c->write_errors;

	spin_unlock(&c->lock, irq);
	return n;
}

/* `patience` is in nanoseconds, or PORT_FOREVER. */
static uint64_t deadline_after(uint64_t patience)
{
	return patience == PORT_FOREVER ? PORT_FOREVER : port_ns() + patience;
}

/* Waits for all blocks that are in `dirty` or `writing` now; false: for as long as `patience` no write has
 * ended. */
static bool await_now(struct block_cache *c, uint64_t patience)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct goal g = {c, c->orders};
	uint64_t before;
	bool is;

	spin_unlock(&c->lock, irq);
	do {
		before = settled(c);
		is = rendez_sleep_timeout(&c->written, is_reached, &g, deadline_after(patience));
	} while (!is && settled(c) != before);
	return is;
}

/* A block that was changed while it was being written enters `dirty` when that write ends, at the
 * latest in the first wait; the second one is for those. */
static bool await_all(struct block_cache *c, uint64_t patience)
{
	return await_now(c, patience) && await_now(c, patience);
}

/* Whether a write has failed since the last call. */
static bool take_lost(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	bool has_lost = c->has_lost;

	c->has_lost = false;
	spin_unlock(&c->lock, irq);
	return has_lost;
}

int block_cache_sync(struct block_cache *c)
{
	int error;

	sync_check_may_sleep("block_cache_sync", __builtin_return_address(0));
	check_given("block_cache_sync", "cache", c, __builtin_return_address(0));
	await_all(c, PORT_FOREVER);
	error = disk_flush(c->disk);
	return take_lost(c) ? -EIO : error;
}

/* Before the machine stops */

static void flush_ended(struct disk_request *r)
{
	struct block_cache *c = container_of(r, struct block_cache, last_flush);

	/* Release: pairs with the acquire in is_flushed(). */
	__atomic_store_n(&c->is_flushed, true, __ATOMIC_RELEASE);
	rendez_wakeup(&c->written);
}

static bool is_flushed(void *arg)
{
	return __atomic_load_n(&((struct block_cache *)arg)->is_flushed, __ATOMIC_ACQUIRE);
}

static bool flush(struct block_cache *c)
{
	c->is_flushed = false;
	c->last_flush = (struct disk_request){.operation = DISK_FLUSH, .done = flush_ended};
	disk_submit(c->disk, &c->last_flush);
	return rendez_sleep_timeout(
		&c->written, is_flushed, c, deadline_after(BLOCK_CACHE_PATIENCE_NS));
}

/* Returns NULL, or what is wrong with the disk. */
static const char *sync_at_last(struct block_cache *c)
{
	if (!await_all(c, BLOCK_CACHE_PATIENCE_NS) || !flush(c))
		return "doesn't answer";
	return take_lost(c) || c->last_flush.error ? "has failed" : NULL;
}

bool block_cache_sync_all(void)
{
	bool all = true;

	sync_check_may_sleep("block_cache_sync_all", __builtin_return_address(0));
	for (struct block_cache *c = block_cache_next(NULL); c; c = block_cache_next(c)) {
		const char *wrong = sync_at_last(c);

		if (wrong)
			kprintf("%s %s: not all that was changed is on it\n", disk_name(c->disk), wrong);
		all = all && !wrong;
	}
	return all;
}
