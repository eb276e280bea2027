/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The leak finder.
 *
 * CONCEPTS
 *
 * An *object* here is one of a memory cache, or a large kmalloc: what frames.h leads to; or a sample.  It is *live*
 * while a caller has it.  A *root* is memory that is looked at whatever points to it:
 *
 *	the kernel image's data; stacks of ktasks, from where they left off, and their registers; caches and
 *	arenas themselves; and every page that an arena over base_arena has handed out and that is neither a slab
 *	nor a large kmalloc: vmalloc'd memory, hash tables, cores' own areas.  These *plain* pages stand for what
 *	nobody asks to have found: a page that a caller of kpages_arena has lost isn't found, but what it
 *	points to isn't lost by that.
 *
 * A scan is conservative: any aligned word that lies in [object, object + size) counts as a pointer to
 * it, be it a number, left over, or of a field no longer in use.  So it errs by passing over a leak.  It
 * is also concurrent: the kernel runs on, and a pointer that moves from where the scan hasn't been to where
 * it has been isn't seen.  So it errs by suspecting what is in use: hence two scans, of which both would have to meet the
 * same object at such a moment.
 *
 *	live, not marked  --scan-->  suspect  --scan, unless freed in between-->  leak
 *
 * REPRESENTATION
 *
 * A map (leaks_map.c) is made when a scan begins and goes when it ends: for each page what it has, for each
 * slab and large kmalloc where its bits are, for each object the bits live, marked and grey.  Objects that
 * are allocated later are none of this scan's: they aren't marked, nor looked at, nor suspected.
 *
 * What is marked becomes *grey* until it has been looked at itself.  The grey set is the bits with summaries
 * of 64 to 1 above them, so adding and taking are a handful of steps, there is no stack and no
 * recursion, and nothing overflows: a list, a tree and an array of a million pointers cost the same room.
 *
 * Suspects are an array in the order of addresses that stays until the next scan; that one makes a new array
 * and finds what was there before by walking the two side by side.
 *
 * An object is the same allocation as at the scan before if it wasn't freed in between.  Nothing in an object
 * tells.  So caches with suspects are *watched*: they are slow (slab.c), their frees come to the slab
 * layer, which calls leaks_freed() first.  Being watched begins after the new array is in place, then
 * magazines are drained, then the slab layer is asked what is free: an object that a magazine had, or that was
 * freed earlier in the scan, drops out at one of these; one that is freed later drops out by
 * leaks_freed().
 *
 * INVARIANTS
 *
 *  1. A grey object is marked and live.
 *  2. While a suspect isn't `gone`, no call has freed it since its array was put in place and its cache was
 *     watched.
 *  3. A cache is watched iff a suspect of it was there when the last scan ended.
 *  4. No address of an object is in the finder's own static data, and its memory isn't looked at.
 *
 * LOCKING
 *
 * `scans`, a qlock, for a whole scan and whatever else a caller asks for; it comes before
 * arenas_and_slabs_lock.  The map is the scanning thread's.  `found.lock`, a leaf, for which array is in place,
 * since leaks_freed() comes from anywhere.  Marking holds no lock at all, interrupts on.
 *
 * COST
 *
 * A scan is linear in used memory, five instructions a word that is no address of RAM, some thirty one that
 * is; and in slabs.  Locks are held, or interrupts off, for 4 slabs, 32 segments, a magazine, 128 words of a
 * stack that are copied, and a binary search for each object that a watched cache takes back.  After BREATH
 * words the scan lets other threads run.
 *
 * QUESTIONS
 *
 * Why aren't magazines looked at?  They are of free objects; and what was popped off one still has its address
 * above the top.  Likewise boundary tags have starts of large kmallocs and headers starts of slabs.
 *
 * Why is memory that is free hidden, page by page?  It has old pointers.  So have parts of live objects
 * and stacks that nobody uses any more: that is how a leak is missed.  A scan later it may be overwritten.
 *
 * What points to an object by something else than its address, in a device's ring of physical addresses or
 * a word with more than low bits changed, needs a pointer besides, or it is suspected.
 */
#include "leaks.h"

#include "leaks_impl.h"
#include "lib/check.h"
#include "lib/string.h"
#include "sync.h"

#define ROUNDS 2 /* times that roots are looked at: pointers go from stacks to what had been looked at, and back */

#define LEAK_SCANS 2 /* that suspected it */

struct suspect {
	uintptr_t address;
	size_t size;
	uint64_t since;
	uint64_t sum; /* of its words */
	uint32_t owner;
	uint32_t before; /* in the array before, plus 1; 0: it is new */
	uint32_t scans;
	bool gone; /* freed since; atomic */
};

/* What a scan found: owners and suspects, in one piece of memory. */
struct suspects {
	struct leaks_owner *owners; /* first */
	struct suspect *of;
	size_t count, bytes; /* whole pages */
};

static struct qlock scans = QLOCK_INIT(scans);

/* Guarded by `scans`. */
static struct leaks_root *roots;
static struct leaks_map map;
static struct leaks_stats stats;

static struct {
	struct spinlock lock;
	struct suspects now; /* changed with both locks held */
	size_t count;	     /* now.count; atomic */
} found = {.lock = SPINLOCK_INIT(SPIN_LEAF)};

/* Marking */

/* Whether an object that was free when the map was made has left the slab layer since.  Read without a lock:
 * should the slab go meanwhile, its header is still memory, and only a guess is wrong. */
static __attribute__((noinline, no_sanitize("address", "thread"))) bool is_born(
	const struct leaks_block *b, size_t index)
{
	const struct slab *s = slab_of(frames_get(b->base));

	/* Not by bitmap_test(), which a sanitizer looks into. */
	return s && s->base == b->base && !(s->map[index / 64] >> index % 64 & 1);
}

static inline void mark(uintptr_t word)
{
	size_t index, bit;
	const struct leaks_block *b = leaks_block_of(&map, word, &index);

	if (!b)
		return;
	bit = (size_t)b->word * 64 + index;
	if (bitmap_test(map.marked, bit) || (!bitmap_test(map.live, bit) && !is_born(b, index)))
		return;
	bitmap_set(map.marked, bit);
	leaks_set_add(&map.grey, bit);
}

/* Reads what others write at that moment, and around what sanitizers forbid. */
static __attribute__((noinline, no_sanitize("address", "thread"))) void look_at_words(
	const uintptr_t *words, size_t n)
{
	uintptr_t low = map.regions[0].start;
	const struct leaks_region *last = &map.regions[map.region_count - 1];
	uintptr_t extent = last->start + last->pages * PORT_PAGE_SIZE - low;

	for (size_t i = 0; i < n; i++) {
		uintptr_t word = *(const volatile uintptr_t *)&words[i];

		if (__builtin_expect(word - low < extent, 0))
			mark(word);
	}
}

#define LOOK_STEP 2048 /* words */

void leaks_look(const void *from, size_t size)
{
	uintptr_t at = ((uintptr_t)from + sizeof(at) - 1) & -sizeof(at);
	uintptr_t end = ((uintptr_t)from + size) & -sizeof(at);

	ASSERT(map.memory);
	while (at < end) {
		size_t n = (end - at) / sizeof(at);

		n = n < LOOK_STEP ? n : LOOK_STEP;
		look_at_words((const uintptr_t *)at, n);
		at += n * sizeof(at);
		stats.looked += n * sizeof(at);
		leaks_breathe(n);
	}
}

void leaks_hide(const void *from, size_t size)
{
	ASSERT(map.memory);
	leaks_map_hide(&map, (uintptr_t)from, size);
}

void leaks_add_root(struct leaks_root *root)
{
	check_given("leaks_add_root", "root", root, __builtin_return_address(0));
	root->next = roots;
	roots = root;
}

/* Looks at grey objects until there are none. */
static void look_at_grey(void)
{
	size_t bit;

	while ((bit = leaks_set_take(&map.grey)) != BITMAP_NONE) {
		const struct leaks_block *b = &map.blocks[map.block_of[bit / 64]];

		leaks_look((const void *)(b->memory + (bit - (size_t)b->word * 64) * b->stride), b->stride);
	}
}

static void look_at_plain(void)
{
	for (size_t i = 0; i < map.region_count; i++) {
		const struct leaks_region *r = &map.regions[i];

		for (size_t page = 0; page < r->pages; page++) {
			if (r->page[page] == LEAKS_PLAIN)
				leaks_look((const void *)(r->start + page * PORT_PAGE_SIZE), PORT_PAGE_SIZE);
			leaks_breathe(1);
		}
	}
}

/* Slabs of caches are hidden, since they are the slab layer's own; but owners' pointers are in caches. */
static void look_at_caches(void)
{
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		leaks_look(c, sizeof(*c));
}

static void look_at_all(uintptr_t stack)
{
	look_at_plain();
	look_at_caches();
	for (int round = 0; round < ROUNDS; round++) {
		for (const struct leaks_root *r = roots; r; r = r->next)
			r->look(stack);
		look_at_grey();
	}
}

/* Suspects */

static uint64_t suspected(size_t word)
{
	return map.live[word] & ~map.marked[word];
}

static size_t count_suspects(void)
{
	size_t n = 0;

	for (size_t word = 0; word < map.word_count; word++) {
		uint64_t bits = suspected(word);

		n += bitmap_count(&bits, 64);
		leaks_breathe(1);
	}
	return n;
}

/* What others may write at that moment: then it changes, and is no leak. */
static __attribute__((noinline, no_sanitize("address", "thread"))) uint64_t sum_of(
	const uint64_t *words, size_t n, uint64_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ ((const volatile uint64_t *)words)[i]) * 0x9e3779b97f4a7c15ull;
	return sum;
}

static uint64_t sum_of_object(uintptr_t address, size_t size)
{
	uintptr_t at = (address + sizeof(uint64_t) - 1) & -sizeof(uint64_t), end = (address + size) & -sizeof(uint64_t);
	uint64_t sum = 0;

	while (at < end) {
		size_t n = (end - at) / sizeof(uint64_t);

		n = n < LOOK_STEP ? n : LOOK_STEP;
		sum = sum_of((const uint64_t *)at, n, sum);
		at += n * sizeof(uint64_t);
		leaks_breathe(n);
	}
	return sum;
}

/* Adds those of a block; *before is the place reached in the array of the scan before. */
static void add_suspects(struct suspects *s, const struct leaks_block *b, size_t *before)
{
	const struct suspects *old = &found.now;

	for (size_t i = 0; i < b->objects; i++) {
		uintptr_t address = b->base + i * b->stride;

		if (!(suspected(b->word + i / 64) >> (i % 64) & 1))
			continue;
		while (*before < old->count && old->of[*before].address < address)
			++*before;
		s->of[s->count++] = (struct suspect){
			.address = address,
			.size = b->stride,
			.sum = sum_of_object(b->memory + i * b->stride, b->stride),
			.owner = b->owner,
			.before = *before < old->count && old->of[*before].address == address ?
					  (uint32_t)*before + 1 : 0,
		};
	}
	leaks_breathe(b->objects);
}

static bool is_first_page(const struct leaks_block *b, const struct leaks_region *r, size_t page)
{
	return (b->base - r->start) / PORT_PAGE_SIZE == page;
}

/* Every block in the order of addresses: no two begin in one page. */
static void list_suspects(struct suspects *s)
{
	size_t before = 0;

	for (size_t i = 0; i < map.region_count; i++) {
		const struct leaks_region *r = &map.regions[i];

		for (size_t page = 0; page < r->pages; page++) {
			uint32_t is = r->page[page];

			leaks_breathe(1);
			if (is >= LEAKS_BLOCKS && is_first_page(&map.blocks[is - LEAKS_BLOCKS], r, page))
				add_suspects(s, &map.blocks[is - LEAKS_BLOCKS], &before);
		}
	}
}

/* Makes the new array, which isn't in place yet; false if there is no memory for it. */
static bool suspects_make(struct suspects *s)
{
	size_t count = count_suspects(), owners = map.owner_count * sizeof(*s->owners);

	*s = (struct suspects){.bytes = leaks_whole_pages(owners + count * sizeof(*s->of))};
	if (count == 0)
		return true;
	s->owners = leaks_pages_take(s->bytes);
	if (!s->owners)
		return false;
	memcpy(s->owners, map.owners, owners);
	s->of = (struct suspect *)(s->owners + map.owner_count);
	list_suspects(s);
	return true;
}

/* Puts it in place and returns the one before. */
static struct suspects suspects_exchange(struct suspects s)
{
	port_irq_t irq = spin_lock(&found.lock);
	struct suspects old = found.now;

	__atomic_store_n(&found.count, s.count, __ATOMIC_RELAXED);
	found.now = s;
	spin_unlock(&found.lock, irq);
	return old;
}

static bool is_gone(const struct suspect *s)
{
	return __atomic_load_n(&s->gone, __ATOMIC_RELAXED);
}

/* Of those that weren't freed before the new array was in place.  What nothing points to nobody changes.  The
 * second pass of a scan only drops what the first suspected. */
static void suspects_join(const struct suspects *old, bool is_first)
{
	uint64_t now = port_ns();

	for (size_t i = 0; i < found.now.count; i++) {
		struct suspect *s = &found.now.of[i];
		const struct suspect *was = s->before ? &old->of[s->before - 1] : NULL;
		bool is_same = was && !is_gone(was) && was->size == s->size && was->sum == s->sum;

		s->since = is_same ? was->since : now;
		s->scans = is_same ? was->scans + is_first : 1;
		if (!is_same && !is_first)
			__atomic_store_n(&s->gone, true, __ATOMIC_RELAXED);
		leaks_breathe(1);
	}
}

/* Watches the caches that have suspects, and no others. */
static void watch(const struct suspects *s)
{
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		bool has = false;

		for (size_t i = 0; i < s->count && !has; i++) {
			has = !is_gone(&s->of[i]) && s->owners[s->of[i].owner].cache == c;
			leaks_breathe(1);
		}
		if (c->is_watched != has) {
			c->is_watched = has;
			/* As by a debug mode: empty slabs are kept. */
			if (has)
				__atomic_fetch_add(&c->slow_modes, 1, __ATOMIC_RELAXED);
			magazine_set_slow(c, has);
			if (!has)
				__atomic_fetch_sub(&c->slow_modes, 1, __ATOMIC_RELAXED);
		}
	}
}

/* What the slab layer, or the frame table, has as free by now is gone. */
static void drop_free(void)
{
	leaks_map_refresh(&map);
	for (size_t i = 0; i < found.now.count; i++) {
		struct suspect *s = &found.now.of[i];
		size_t index;
		const struct leaks_block *b = leaks_block_of(&map, s->address, &index);

		if (!b || !b->stands || !bitmap_test(map.live, (size_t)b->word * 64 + index))
			__atomic_store_n(&s->gone, true, __ATOMIC_RELAXED);
		leaks_breathe(1);
	}
}

static int keep_suspects(bool is_first)
{
	struct suspects s, old;

	if (!suspects_make(&s))
		return -ENOMEM;
	old = suspects_exchange(s);
	suspects_join(&old, is_first);
	leaks_pages_give(old.owners, old.bytes);
	watch(&s);
	leaks_drain();
	drop_free();
	watch(&s);
	return 0;
}

void leaks_freed(void *const *objects, size_t n)
{
	if (__atomic_load_n(&found.count, __ATOMIC_RELAXED) == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		port_irq_t irq = spin_lock(&found.lock);
		size_t low = 0, high = found.now.count;

		while (low < high) {
			size_t middle = low + (high - low) / 2;

			if (found.now.of[middle].address < (uintptr_t)objects[i])
				low = middle + 1;
			else
				high = middle;
		}
		if (low < found.now.count && found.now.of[low].address == (uintptr_t)objects[i])
			__atomic_store_n(&found.now.of[low].gone, true, __ATOMIC_RELAXED);
		spin_unlock(&found.lock, irq);
	}
}

/* Scans */

static int pass(uintptr_t stack, bool is_first)
{
	int error;

	leaks_drain();
	error = leaks_map_make(&map);
	if (error)
		return error;
	if (found.now.owners)
		leaks_hide(found.now.owners, found.now.bytes);
	for (const struct leaks_root *r = roots; r; r = r->next)
		if (r->hide)
			r->hide();
	stats.live = bitmap_count(map.live, map.word_count * 64);
	stats.held = map.bytes + map.regions_bytes;
	look_at_all(stack);
	error = keep_suspects(is_first);
	leaks_map_end(&map);
	return error;
}

static size_t count_still(unsigned scans_min)
{
	size_t n = 0;

	for (size_t i = 0; i < found.now.count; i++)
		n += !is_gone(&found.now.of[i]) && found.now.of[i].scans >= scans_min;
	return n;
}

/* Undoes a first pass. */
static void scans_undo(void)
{
	for (size_t i = 0; i < found.now.count; i++)
		if (--found.now.of[i].scans == 0)
			__atomic_store_n(&found.now.of[i].gone, true, __ATOMIC_RELAXED);
}

static int scan(uintptr_t stack)
{
	uint64_t began = port_ns();
	int error;

	stats.looked = 0;
	error = pass(stack, true);
	if (!error && count_still(1) > 0) {
		error = pass(stack, false);
		if (error)
			scans_undo();
	}
	stats.scans += !error;
	stats.ns = port_ns() - began;
	return error;
}

/* Out of line: the frame that is above this one has the registers of the caller. */
static __attribute__((noinline)) int scan_from_here(void)
{
	int error;

	qlock_lock(&scans);
	error = scan((uintptr_t)__builtin_frame_address(0));
	qlock_unlock(&scans);
	return error;
}

int leaks_scan(void)
{
	sync_check_may_sleep("leaks_scan", __builtin_return_address(0));
	__builtin_unwind_init(); /* registers that a call preserves are in this frame */
	return scan_from_here();
}

size_t leaks_report(bool (*fn)(const struct leak *leak, void *arg), void *arg)
{
	const struct suspects *s = &found.now;
	bool more = true;
	size_t n = 0;

	check_given("leaks_report", "function", fn, __builtin_return_address(0));
	sync_check_may_sleep("leaks_report", __builtin_return_address(0));
	qlock_lock(&scans);
	for (size_t i = 0; more && i < s->count; i++) {
		const struct suspect *is = &s->of[i];
		struct leak leak = {s->owners[is->owner].name, is->address, is->size, is->since, is->scans};

		if (is->scans < LEAK_SCANS || is_gone(is))
			continue;
		n++;
		more = fn(&leak, arg);
	}
	qlock_unlock(&scans);
	return n;
}

static void count_watched(void)
{
	stats.watched = 0;
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		stats.watched += c->is_watched;
}

void leaks_get_stats(struct leaks_stats *to)
{
	check_given("leaks_get_stats", "place for statistics", to, __builtin_return_address(0));
	sync_check_may_sleep("leaks_get_stats", __builtin_return_address(0));
	qlock_lock(&scans);
	stats.suspects = count_still(1);
	stats.leaks = count_still(LEAK_SCANS);
	count_watched();
	*to = stats;
	qlock_unlock(&scans);
}

void leaks_clear(void)
{
	struct suspects old;

	sync_check_may_sleep("leaks_clear", __builtin_return_address(0));
	qlock_lock(&scans);
	old = suspects_exchange((struct suspects){.count = 0});
	watch(&found.now);
	leaks_pages_give(old.owners, old.bytes);
	memset(&stats, 0, sizeof(stats));
	qlock_unlock(&scans);
}
