/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Block caches.
 *
 * Concepts.  A block is *used* while callers have it.  It is *dirty* from the call of block_dirty()
 * until a write of it begins, and *being written* until that write has ended and the writer has settled
 * it; it may be both.  It is *idle* if it is none of the three, nor being read.  Memory is given back by
 * idle blocks alone.
 *
 *	block_get() -> used --block_put()--> idle -> given up
 *	                 |                     ^
 *	           block_dirty() -> dirty -> being written      (block_writer.c)
 *
 * Representation.  A header for each block, from a cache of objects; its data, a page of
 * kpages_arena; a hash by number; three lists: idle, dirty, being written.  A block of which a read
 * or write has failed is *forgotten*: it leaves the hash, so the next block_get() reads it anew, and
 * it is freed when its last caller puts it.
 *
 * Invariants.
 *  1. The hash has each number at most once, and every block in a list is hashed.
 *  2. A block is in `idle` iff it is hashed and idle.
 *  3. A block is in `dirty` iff it is dirty and not being written, and in `writing` iff it is being
 *     written.
 *  4. Orders ascend in `dirty` and in `writing`.
 *  5. The counts of hashed blocks in use and of dirty blocks are right.
 *
 * Locking.  One spinlock guards a cache.  It is held for a bounded number of steps, and nothing that
 * allocates, frees, sleeps, wakes or calls back is called under it.  So the reclaim callback, which
 * runs wherever memory is short, need not try for the lock: no context that could run it holds it.
 *
 * Shortage.  Reclaim asks the callback, which gives up idle blocks, the least recently used first.  If
 * they don't suffice, it notes how many blocks it owes and wakes the writer; dirty blocks are then given
 * up as soon as they are written.  The writer takes memory from its reserve alone.
 *
 * Cost.  A hit is a look-up and two list operations.
 */
#include "block_cache_impl.h"

#include "errors.h"
#include "kmalloc.h"
#include "lib/check.h"
#include "owner.h"

#define GIVE_UP_STEP 8  /* blocks given up under one hold of the lock */
#define TRIM_STEP 8	/* buckets of the hash */

static struct qlock caches_lock = QLOCK_INIT(caches_lock); /* guards the list */
static struct block_cache *caches;
static struct arena_owner owner = ARENA_OWNER("disk blocks", kpages_arena);
static struct arena_owner hash_owner = ARENA_OWNER("disk block hashes", kpages_arena);

static struct cached *cached_of(struct block *block)
{
	return (struct cached *)block;
}

_Static_assert(!(MEM_FLAGS & BLOCK_NEW), "flags of two kinds");

/* Blocks */

/* Returns NULL, by flag, if there is no memory. */
static struct cached *block_alloc(struct block_cache *c, uint64_t number, unsigned flags)
{
	struct cached *b = kmem_cache_alloc(c->headers, flags);
	void *data = b ? arena_alloc(kpages_arena, DISK_BLOCK_SIZE, flags) : NULL;

	if (!data) {
		if (b)
			kmem_cache_free(c->headers, b);
		return NULL;
	}
	arena_owner_add(&owner, kpages_arena, DISK_BLOCK_SIZE);
	*b = (struct cached){.block = {data}, .cache = c, .link = {.key = number}, .users = 1};
	rendez_init(&b->ready);
	list_init(&b->place);
	return b;
}

void block_free(struct cached *b)
{
	arena_owner_sub(&owner, kpages_arena, DISK_BLOCK_SIZE);
	arena_free(kpages_arena, b->block.data, DISK_BLOCK_SIZE);
	kmem_cache_free(b->cache->headers, b);
}

void block_unhash(struct cached *b)
{
	linear_hash_remove(&b->cache->hash, linear_hash_seek(&b->cache->hash, b->link.key));
	b->is_hashed = false;
	b->cache->in_use -= b->users > 0;
	b->cache->changes++;
}

void block_enter_dirty(struct cached *b)
{
	b->order = ++b->cache->orders;
	list_add_tail(&b->cache->dirty, &b->place);
	b->cache->changes++;
}

bool block_settle(struct cached *b)
{
	struct block_cache *c = b->cache;

	c->changes++;
	if (b->users > 0 || b->is_dirty || b->is_writing)
		return false;
	if (!b->is_hashed)
		return true;
	if (c->owed > 0) {
		c->owed--;
		c->given_up++;
		block_unhash(b);
		return true;
	}
	list_add_tail(&c->idle, &b->place);
	return false;
}

/* Pages of the hash */

static void hash_page_free(void *page)
{
	arena_owner_sub(&hash_owner, kpages_arena, PORT_PAGE_SIZE);
	arena_free(kpages_arena, page, PORT_PAGE_SIZE);
}

/* Frees spare pages that the hash doesn't need. */
static void hash_take_surplus(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	void *page = linear_hash_take_page(&c->hash, LINEAR_HASH_SPARE_MAX);

	spin_unlock(&c->lock, irq);
	if (page)
		hash_page_free(page);
}

/* Makes the hash as small as its entries need. */
static void hash_trim(struct block_cache *c)
{
	bool more = true;
	void *page;

	do {
		port_irq_t irq = spin_lock(&c->lock);

		for (int i = 0; i < TRIM_STEP && more; i++)
			more = linear_hash_trim(&c->hash);
		c->changes++;
		page = linear_hash_take_page(&c->hash, 0);
		spin_unlock(&c->lock, irq);
		if (page)
			hash_page_free(page);
	} while (more || page);
}

static bool hash_wants_page(struct block_cache *c)
{
	port_irq_t irq = spin_lock(&c->lock);
	bool wants = c->hash.wants_page;

	spin_unlock(&c->lock, irq);
	return wants;
}

/* Gives the hash the page it wants, if there is one: without it, its chains get longer. */
static void hash_care(struct block_cache *c)
{
	void *page = NULL;

	if (hash_wants_page(c))
		page = arena_alloc(kpages_arena, PORT_PAGE_SIZE, MEM_ATOMIC);
	if (page) {
		port_irq_t irq;

		arena_owner_add(&hash_owner, kpages_arena, PORT_PAGE_SIZE);
		irq = spin_lock(&c->lock);
		linear_hash_give_page(&c->hash, page);
		spin_unlock(&c->lock, irq);
	}
	hash_take_surplus(c);
}

/* Get and put */

/* Finds a block and has the caller use it.  Lock held. */
static struct cached *find(struct block_cache *c, uint64_t number) SPANDREL_REQUIRES(&c->lock)
{
	struct hash_link *link = *linear_hash_seek(&c->hash, number);
	struct cached *b = link ? container_of(link, struct cached, link) : NULL;

	if (b && b->users++ == 0) {
		c->in_use++;
		c->changes++;
		if (!b->is_dirty && !b->is_writing)
			list_del(&b->place);
	}
	c->hits += b != NULL;
	return b;
}

static struct cached *find_locked(struct block_cache *c, uint64_t number)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct cached *b = find(c, number);

	spin_unlock(&c->lock, irq);
	return b;
}

/* Enters block `fresh`, whose reader the caller is, unless another caller has entered that block
 * meanwhile.  Returns the one that is there. */
static struct cached *enter(struct block_cache *c, struct cached *fresh)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct cached *b = find(c, fresh->link.key);

	if (!b) {
		b = fresh;
		b->is_reading = b->is_hashed = true;
		c->misses++;
		c->in_use++;
		c->changes++;
		linear_hash_insert(&c->hash, &b->link);
	}
	spin_unlock(&c->lock, irq);
	return b;
}

/* Ends the read with `error`.  The caller uses the block, so it outlives the wake-up. */
static void read_done(struct cached *b, int error)
{
	struct block_cache *c = b->cache;
	port_irq_t irq = spin_lock(&c->lock);

	if (error) {
		block_unhash(b);
		c->read_errors++;
	}
	b->error = error;
	/* Release: pairs with the acquire in is_read(). */
	__atomic_store_n(&b->is_reading, false, __ATOMIC_RELEASE);
	spin_unlock(&c->lock, irq);
	rendez_wakeup(&b->ready);
}

static bool is_read(void *arg)
{
	struct cached *b = arg;

	return !__atomic_load_n(&b->is_reading, __ATOMIC_ACQUIRE);
}

/* Enters a block that wasn't there and reads it; NULL: there is no memory.  Another caller may have
 * entered it first, and reads it then. */
static struct cached *bring_in(
	struct block_cache *c, uint64_t number, unsigned flags, bool is_new)
{
	struct cached *fresh = block_alloc(c, number, flags), *b;

	if (!fresh)
		return NULL;
	b = enter(c, fresh);
	if (linear_hash_needs_care(&c->hash))
		hash_care(c);
	if (b != fresh)
		block_free(fresh);
	else if (is_new)
		read_done(b, 0);
	else
		read_done(b, disk_read(c->disk, number, 1, b->block.data));
	return b;
}

int block_get(struct block_cache *c, uint64_t number, unsigned flags, struct block **block)
{
	bool is_new = flags & BLOCK_NEW;
	struct cached *b;
	int error;

	sync_check_may_sleep("block_get", __builtin_return_address(0));
	check_given("block_get", "cache", c, __builtin_return_address(0));
	check_given("block_get", "place for the block", block, __builtin_return_address(0));
	flags ^= is_new ? BLOCK_NEW : 0;
	if (flags != MEM_WAIT && flags != MEM_ERROR && flags != MEM_ATOMIC)
		panic("cache of %s: block %llu is asked for with flags %#x: not exactly one memory flag (called "
		      "from %pS)",
			disk_name(c->disk), (unsigned long long)number, flags, __builtin_return_address(0));
	if (number >= disk_blocks(c->disk))
		return -EINVAL;
	b = find_locked(c, number);
	if (!b)
		b = bring_in(c, number, flags, is_new);
	if (!b)
		return -ENOMEM;
	if (!is_read(b))
		rendez_sleep(&b->ready, is_read, b);
	error = b->error;
	if (error)
		block_put(&b->block);
	else
		*block = &b->block;
	return error;
}

static __attribute__((noreturn, cold)) void bad_use(const struct cached *b, const char *how, void *caller)
{
	panic("cache of %s: block %llu is %s, but no caller has it (called from %pS)",
		disk_name(b->cache->disk), (unsigned long long)b->link.key, how, caller);
}

void block_dirty(struct block *block)
{
	struct cached *b = cached_of(block);
	struct block_cache *c;
	port_irq_t irq;
	bool is_used, is_first;

	check_given("block_dirty", "block", block, __builtin_return_address(0));
	c = b->cache;
	irq = spin_lock(&c->lock);
	is_used = b->users > 0;
	is_first = is_used && !b->is_dirty && b->is_hashed;
	if (is_first) {
		b->is_dirty = true;
		if (!b->is_writing) {
			c->dirty_count++;
			block_enter_dirty(b);
		}
	}
	/* A block that was forgotten has its data no longer written. */
	if (is_used && !b->is_hashed)
		c->has_lost = true;
	spin_unlock(&c->lock, irq);
	if (!is_used)
		bad_use(b, "changed", __builtin_return_address(0));
	if (is_first)
		rendez_wakeup(&c->work);
}

void block_put(struct block *block)
{
	struct cached *b = cached_of(block);
	bool is_used, must_free = false;
	struct block_cache *c;
	port_irq_t irq;

	check_given("block_put", "block", block, __builtin_return_address(0));
	c = b->cache;
	irq = spin_lock(&c->lock);
	is_used = b->users > 0;
	if (is_used && --b->users == 0) {
		c->in_use -= b->is_hashed;
		must_free = block_settle(b);
	}
	spin_unlock(&c->lock, irq);
	if (!is_used)
		bad_use(b, "put", __builtin_return_address(0));
	if (must_free)
		block_free(b);
}

/* Giving back */

/* Takes up to n blocks out of the cache, the least recently used; returns how many. */
static size_t take_idle(struct block_cache *c, struct cached **blocks, size_t n)
{
	port_irq_t irq = spin_lock(&c->lock);
	size_t taken = 0;

	while (taken < n && !list_empty(&c->idle)) {
		struct cached *b = list_first_entry(&c->idle, struct cached, place);

		list_del(&b->place);
		block_unhash(b);
		blocks[taken++] = b;
	}
	c->given_up += taken;
	spin_unlock(&c->lock, irq);
	return taken;
}

/* Has n blocks, or as many as are dirty, given up once they are clean. */
static void owe(struct block_cache *c, size_t n)
{
	port_irq_t irq = spin_lock(&c->lock);

	c->owed = n < c->dirty_count ? n : c->dirty_count;
	spin_unlock(&c->lock, irq);
	rendez_wakeup(&c->work);
}

size_t block_cache_give_up(struct block_cache *c, size_t bytes)
{
	size_t wanted = bytes / DISK_BLOCK_SIZE + (bytes % DISK_BLOCK_SIZE > 0), freed = 0, n;

	check_given("block_cache_give_up", "cache", c, __builtin_return_address(0));
	do {
		struct cached *blocks[GIVE_UP_STEP];
		size_t left = wanted - freed;

		n = take_idle(c, blocks, left < GIVE_UP_STEP ? left : GIVE_UP_STEP);
		for (size_t i = 0; i < n; i++)
			block_free(blocks[i]);
		freed += n;
	} while (n == GIVE_UP_STEP);
	if (freed < wanted)
		owe(c, wanted - freed);
	hash_trim(c);
	return freed * DISK_BLOCK_SIZE;
}

/* The reclaim callback of the headers. */
static size_t give_up(void *priv, size_t bytes)
{
	return block_cache_give_up(priv, bytes);
}

/* Inspect */

struct disk *block_cache_disk(struct block_cache *c)
{
	check_given("block_cache_disk", "cache", c, __builtin_return_address(0));
	return c->disk;
}

void block_cache_get_stats(struct block_cache *c, struct block_cache_stats *stats)
{
	port_irq_t irq;

	check_given("block_cache_get_stats", "cache", c, __builtin_return_address(0));
	irq = spin_lock(&c->lock);
	*stats = (struct block_cache_stats){
		.disk = disk_name(c->disk),
		.blocks = c->hash.entries,
		.in_use = c->in_use,
		.dirty = c->dirty_count,
		.hits = c->hits,
		.misses = c->misses,
		.written = c->written_count,
		.given_up = c->given_up,
		.read_errors = c->read_errors,
		.write_errors = c->write_errors,
	};
	spin_unlock(&c->lock, irq);
}

struct block_cache *block_cache_next(struct block_cache *c)
{
	struct block_cache *next;

	sync_check_may_sleep("block_cache_next", __builtin_return_address(0));
	qlock_lock(&caches_lock);
	next = c ? c->next : caches;
	qlock_unlock(&caches_lock);
	return next;
}

/* Create and destroy */

static void remove_from_list(struct block_cache *c)
{
	struct block_cache **at = &caches;

	qlock_lock(&caches_lock);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	qlock_unlock(&caches_lock);
}

static void init(struct block_cache *c, struct disk *d)
{
	*c = (struct block_cache){.disk = d};
	rendez_init(&c->work);
	rendez_init(&c->written);
	sem_init(&c->slots, WRITES_MAX);
	sem_init(&c->ended, 0);
	spin_init(&c->lock, SPIN_LEAF);
	linear_hash_init(&c->hash);
	list_init(&c->idle);
	list_init(&c->dirty);
	list_init(&c->writing);
	c->ended_last = &c->ended_writes;
}

/* Returns NULL if there is no memory. */
static struct block_cache *make(struct disk *d)
{
	struct block_cache *c = kmalloc(sizeof(*c), MEM_ERROR);
	char name[KMEM_NAME_MAX];

	if (!c)
		return NULL;
	init(c, d);
	ksnprintf(name, sizeof(name), "%s-blocks", disk_name(d));
	c->headers = kmem_cache_create(name, sizeof(struct cached), 0, 0, NULL, NULL, NULL, NULL);
	if (!c->headers || !block_writer_start(c)) {
		if (c->headers)
			kmem_cache_destroy(c->headers);
		kfree(c);
		return NULL;
	}
	kmem_cache_set_reclaim(c->headers, give_up, c);
	return c;
}

/* The lock is held meanwhile: two calls at once make one cache. */
struct block_cache *block_cache_create(struct disk *d)
{
	struct block_cache **at = &caches, *c = NULL;
	bool is_there;

	sync_check_may_sleep("block_cache_create", __builtin_return_address(0));
	check_given("block_cache_create", "disk", d, __builtin_return_address(0));
	qlock_lock(&caches_lock);
	while (*at && (*at)->disk != d)
		at = &(*at)->next;
	is_there = *at != NULL;
	if (!is_there)
		*at = c = make(d);
	qlock_unlock(&caches_lock);
	if (is_there)
		panic("cache of %s: made, but is there (called from %pS)", disk_name(d),
			__builtin_return_address(0));
	return c;
}

/* A cache's hash stands empty: all its pages go. */
static void hash_end(struct block_cache *c)
{
	void *page;

	while (linear_hash_trim(&c->hash))
		;
	while ((page = linear_hash_take_page(&c->hash, 0)))
		hash_page_free(page);
}

/* The next sync says so (again). */
static void note_lost(struct block_cache *c, bool has_lost)
{
	port_irq_t irq = spin_lock(&c->lock);

	c->has_lost |= has_lost;
	spin_unlock(&c->lock, irq);
}

/* That no header is left shows that no caller has a block.  When the headers' cache has gone, no
 * callback runs any more. */
int block_cache_destroy(struct block_cache *c)
{
	struct block_cache_stats stats;
	bool has_lost;

	sync_check_may_sleep("block_cache_destroy", __builtin_return_address(0));
	check_given("block_cache_destroy", "cache", c, __builtin_return_address(0));
	block_cache_get_stats(c, &stats);
	if (stats.in_use > 0)
		return -EBUSY;
	has_lost = block_cache_sync(c) != 0;
	kmem_cache_set_reclaim(c->headers, NULL, NULL);
	block_cache_give_up(c, SIZE_MAX);
	block_cache_get_stats(c, &stats);
	if (stats.blocks > 0 || stats.in_use > 0 || kmem_cache_destroy(c->headers) != 0) {
		kmem_cache_set_reclaim(c->headers, give_up, c);
		note_lost(c, has_lost);
		return -EBUSY;
	}
	remove_from_list(c);
	block_writer_stop(c);
	hash_end(c);
	kfree(c);
	return 0;
}

void block_cache_init(void)
{
	for (struct disk *d = disk_next(NULL); d; d = disk_next(d))
		if (!block_cache_create(d))
			kprintf("%s: there is no memory for a cache of its blocks\n", disk_name(d));
}
