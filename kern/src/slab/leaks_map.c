/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The finder's map: which pages have which objects, and which are looked at as they are.
 *
 * Pages go through it in this order, each step overruling those before: what is used of base_arena is
 * plain; what is free in an arena over it, or in a slab of a quantum cache, is hidden, and so is what
 * allocators keep for themselves: pages of boundary tags and hashes, slabs of the slab layer's own caches, this map.
 * A boundary tag, a header and a magazine have the address of an object that nobody else may have.  Then
 * slabs of memory caches, large kmallocs and samples become blocks.  A slab that came after its cache was counted may
 * find no room; its pages stay plain, and are looked at as a whole.
 */
#include "leaks_impl.h"

#include "kmalloc.h"
#include "kmem_sample.h"
#include "lib/string.h"
#include "owner.h"

#define SLABS_STEP 4 /* for each lock hold: they have up to a page of objects, and some dozen pages, each */
#define BREATH 16384 /* words looked at, or as much work */
/* Room for slabs that come while it is made: an eighth more, and these. */
#define SPARE_BLOCKS 64
#define SPARE_WORDS 256
#define SPARE_OWNERS 16

static struct arena_owner owner = ARENA_OWNER("leak finder", base_arena);

void *leaks_pages_take(size_t size)
{
	void *pages = base_zalloc(NULL, leaks_whole_pages(size), MEM_ERROR);

	if (pages)
		arena_owner_add(&owner, base_arena, leaks_whole_pages(size));
	return pages;
}

void leaks_pages_give(void *pages, size_t size)
{
	if (!pages)
		return;
	/* Its addresses would keep objects where the pages are used next. */
	memset(pages, 0, size);
	arena_owner_sub(&owner, base_arena, leaks_whole_pages(size));
	base_free(NULL, pages, leaks_whole_pages(size));
}

void leaks_breathe(size_t work)
{
	static size_t done;

	done += work;
	if (done < BREATH)
		return;
	done = 0;
	port_thread_yield();
}

/* Pages */

static void pages_set(struct leaks_map *m, uintptr_t start, size_t pages, uint32_t is)
{
	const struct leaks_region *r = leaks_region_of(m, start);
	size_t first = r ? (start - r->start) / PORT_PAGE_SIZE : 0;

	for (size_t i = first; r && i < first + pages && i < r->pages; i++)
		r->page[i] = is;
}

void leaks_map_hide(struct leaks_map *m, uintptr_t start, size_t size)
{
	uintptr_t first = leaks_whole_pages(start);

	if (size > first - start)
		pages_set(m, first, (size - (first - start)) / PORT_PAGE_SIZE, 0);
}

/* What base_arena has */

static bool count_span(const struct arena_segment *s, void *arg)
{
	struct leaks_map *m = arg;

	if (s->kind == ARENA_SEGMENT_SPAN) {
		m->region_max++;
		m->regions_bytes += s->size / PORT_PAGE_SIZE * sizeof(uint32_t);
	}
	return true;
}

/* A span that came since they were counted has no place. */
static void enter_span(struct leaks_map *m, const struct arena_segment *s)
{
	struct leaks_region *r = &m->regions[m->region_count];
	uint32_t *page = m->region_count ? r[-1].page + r[-1].pages : (uint32_t *)&m->regions[m->region_max];
	size_t pages = s->size / PORT_PAGE_SIZE;

	if (m->region_count == m->region_max || (char *)(page + pages) > (char *)m->regions + m->regions_bytes)
		return;
	*r = (struct leaks_region){s->start, pages, page};
	m->region_count++;
}

static bool enter_segment(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_SPAN)
		enter_span(arg, s);
	else if (s->kind == ARENA_SEGMENT_USED)
		pages_set(arg, s->start, s->size / PORT_PAGE_SIZE, LEAKS_PLAIN);
	leaks_breathe(s->size / PORT_PAGE_SIZE);
	return true;
}

/* The addresses of samples, as if they were a span; their memory isn't looked at. */
static bool samples_span(struct arena_segment *s)
{
	s->kind = ARENA_SEGMENT_SPAN;
	return sample_range(&s->start, &s->size);
}

/* Puts the last region where it belongs in the order of addresses. */
static void regions_sort_last(struct leaks_map *m)
{
	for (size_t i = m->region_count; i-- > 1 && m->regions[i].start < m->regions[i - 1].start;) {
		struct leaks_region r = m->regions[i];

		m->regions[i] = m->regions[i - 1];
		m->regions[i - 1] = r;
	}
}

static bool regions_make(struct leaks_map *m)
{
	struct arena_segment samples;
	bool has_samples = samples_span(&samples);

	arena_walk(base_arena, count_span, m);
	if (has_samples)
		count_span(&samples, m);
	m->regions_bytes += m->region_max * sizeof(*m->regions);
	m->regions = leaks_pages_take(m->regions_bytes);
	if (!m->regions)
		return false;
	arena_walk(base_arena, enter_segment, m);
	if (has_samples) {
		enter_span(m, &samples);
		regions_sort_last(m);
	}
	return true;
}

/* What arenas have idle, or for themselves */

static bool hide_free(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_FREE)
		leaks_map_hide(arg, s->start, s->size);
	leaks_breathe(s->size / PORT_PAGE_SIZE);
	return true;
}

static void hide_page(uintptr_t page, void *arg)
{
	leaks_map_hide(arg, page, PORT_PAGE_SIZE);
	leaks_breathe(1);
}

static void hide_in_arenas(struct leaks_map *m)
{
	for (struct arena *a = arena_next(NULL); a; a = arena_next(a)) {
		if (arena_direct_base(a) == base_arena && a != base_arena)
			arena_walk(a, hide_free, m);
		arena_walk_own_pages(a, hide_page, m);
	}
}

/* Slabs */

typedef void (*slab_fn)(struct leaks_map *m, const struct kmem_cache *c, const struct slab *s);

/* Moves `at`, a place in the list of all slabs, past SLABS_STEP of them; false at the end. */
static bool slabs_step(struct leaks_map *m, struct kmem_cache *c, struct slab *at, slab_fn fn)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct list *l = at->all_link.next;

	for (int i = 0; i < SLABS_STEP && l != &c->all; i++, l = l->next) {
		const struct slab *s = list_entry(l, struct slab, all_link);

		if (s->cache)
			fn(m, c, s);
	}
	list_del(&at->all_link);
	list_insert_before(l, &at->all_link);
	spin_unlock(&c->lock, irq);
	return l != &c->all;
}

/* The cache is pinned. */
static void slabs_walk(struct leaks_map *m, struct kmem_cache *c, slab_fn fn)
{
	struct slab at = {.cache = NULL};
	port_irq_t irq = spin_lock(&c->lock);

	list_add(&c->all, &at.all_link);
	spin_unlock(&c->lock, irq);
	while (slabs_step(m, c, &at, fn))
		leaks_breathe(SLABS_STEP * PORT_PAGE_SIZE / sizeof(uint64_t));
	irq = spin_lock(&c->lock);
	list_del(&at.all_link);
	spin_unlock(&c->lock, irq);
}

static void hide_free_quanta(struct leaks_map *m, const struct kmem_cache *c, const struct slab *s)
{
	for (size_t i = 0; i < c->slab_objects; i++)
		if (bitmap_test(s->map, i))
			leaks_map_hide(m, s->base + i * c->stride, c->stride);
}

static void hide_slab(struct leaks_map *m, const struct kmem_cache *c, const struct slab *s)
{
	leaks_map_hide(m, slab_start(c, s), c->slab_size);
}

static bool is_over_base(const struct kmem_cache *c)
{
	return c->is_memory && arena_direct_base(c->source) == base_arena;
}

bool leaks_is_looked_for(const struct kmem_cache *c)
{
	return is_over_base(c) && c->is_frames && !(c->flags & KMC_META);
}

#define HASH_STEP 16 /* pages */

static void hide_hash(struct leaks_map *m, const struct linear_hash *h, struct spinlock *lock)
{
	uintptr_t pages[HASH_STEP];
	size_t bucket = 0, n;

	do {
		port_irq_t irq = spin_lock(lock);

		n = linear_hash_pages(h, &bucket, pages, HASH_STEP);
		spin_unlock(lock, irq);
		for (size_t i = 0; i < n; i++)
			hide_page(pages[i], m);
	} while (n > 0 && bucket > 0);
}

static void hide_in_caches(struct leaks_map *m)
{
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		hide_hash(m, &c->hash, &c->lock);
		if (c->debug)
			hide_hash(m, &c->debug->tracks, &c->debug->lock);
		if (c->flags & KMC_META)
			slabs_walk(m, c, hide_slab);
		else if ((c->flags & KMC_QCACHE) && is_over_base(c))
			slabs_walk(m, c, hide_free_quanta);
	}
}

/* Objects' slabs come of the quantum caches, which are emptied last.  What is in quarantine goes back, too. */
void leaks_drain(void)
{
	for (int fronts = 0; fronts < 2; fronts++)
		for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
			if (!c->cores || !is_over_base(c) || !(c->flags & KMC_QCACHE) != !fronts)
				continue;
			magazine_drain_cores(c);
			magazine_drain_depot(c, true);
			if (c->debug)
				slab_shed(c, true);
		}
}

/* Blocks */

/* Of a block in the pages [start, start + size). */
static struct leaks_block *block_add(struct leaks_map *m, uintptr_t start, size_t size, uintptr_t base,
	size_t stride, size_t objects, size_t number)
{
	size_t words = BITMAP_WORDS(objects);
	struct leaks_block *b = &m->blocks[m->block_count];

	if (m->block_count == m->block_max || m->word_count + words > m->word_max || !leaks_region_of(m, start))
		return NULL;
	*b = (struct leaks_block){.base = base,
		.memory = base,
		.stride = stride,
		.objects = (uint32_t)objects,
		.word = (uint32_t)m->word_count,
		.owner = (uint32_t)number};
	for (size_t i = 0; i < words; i++)
		m->block_of[m->word_count++] = (uint32_t)m->block_count;
	pages_set(m, start, size / PORT_PAGE_SIZE, LEAKS_BLOCKS + (uint32_t)m->block_count++);
	return b;
}

/* The walk of debug mode full moves slabs to the end of their list, so one may be met twice. */
static void enter_slab(struct leaks_map *m, const struct kmem_cache *c, const struct slab *s)
{
	size_t index;
	struct leaks_block *b = leaks_block_of(m, s->base, &index);

	if (b && b->base == s->base)
		return;
	b = block_add(m, slab_start(c, s), c->slab_size, s->base, c->stride, c->slab_objects, m->owner_count - 1);
	for (size_t i = 0; b && i < c->slab_objects; i += 64) {
		size_t left = c->slab_objects - i;

		m->live[b->word + i / 64] = ~s->map[i / 64] & (left >= 64 ? UINT64_MAX : ((uint64_t)1 << left) - 1);
	}
}

static void owner_add(struct leaks_map *m, const struct kmem_cache *c, const char *name)
{
	struct leaks_owner *o = &m->owners[m->owner_count++];

	o->cache = c;
	str_copy(o->name, name, sizeof(o->name));
}

/* The cache's, or kmalloc's. */
static void enter_samples(struct leaks_map *m, const struct kmem_cache *c)
{
	uintptr_t object;
	size_t size;

	for (size_t i = 0; i < sample_slots(); i++) {
		struct leaks_block *b;

		if (!sample_in_slot(i, c, &object, &size))
			continue;
		b = block_add(m, object, PORT_PAGE_SIZE, object, size, 1, m->owner_count - 1);
		if (b) {
			b->memory = (uintptr_t)kmem_sample_direct((const void *)object);
			m->live[b->word] = 1;
		}
	}
}

static void enter_caches(struct leaks_map *m)
{
	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		if (!leaks_is_looked_for(c) || m->owner_count == m->owner_max)
			continue;
		owner_add(m, c, c->name);
		slabs_walk(m, c, enter_slab);
		enter_samples(m, c);
	}
}

/* The next plain page from *page on at which a large kmalloc begins; false: there is none. */
static bool large_next(const struct leaks_region *r, size_t *page, uintptr_t *start, size_t *size)
{
	for (; *page < r->pages; ++*page) {
		uintptr_t at = r->start + *page * PORT_PAGE_SIZE;

		leaks_breathe(1);
		if (r->page[*page] == LEAKS_PLAIN && kmalloc_find_large(at, at, start, size))
			return true;
	}
	return false;
}

/* Counts large kmallocs, or makes blocks of them. */
static size_t enter_large(struct leaks_map *m, bool only_count)
{
	uintptr_t start;
	size_t size, n = 0;

	for (size_t i = 0; i < m->region_count; i++)
		for (size_t page = 0; large_next(&m->regions[i], &page, &start, &size); n++, page++) {
			struct leaks_block *b = only_count ? NULL : block_add(m, start, size, start, size, 1, 0);

			if (b)
				m->live[b->word] = 1;
		}
	return n;
}

/* Memory for blocks */

static void count_caches(struct leaks_map *m)
{
	struct kmem_cache_stats s;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c)) {
		if (!leaks_is_looked_for(c))
			continue;
		kmem_cache_get_stats(c, &s);
		m->owner_max++;
		m->block_max += s.slabs;
		m->word_max += s.slabs * BITMAP_WORDS(s.slab_objects);
	}
}

static size_t set_words(size_t bits)
{
	size_t words = 0;

	do {
		bits = BITMAP_WORDS(bits);
		words += bits;
	} while (bits > 1);
	return words;
}

static void set_init(struct leaks_set *s, uint64_t *words, size_t bits)
{
	s->levels = 0;
	do {
		bits = BITMAP_WORDS(bits);
		s->level[s->levels++] = words;
		words += bits;
	} while (bits > 1);
}

static bool blocks_make(struct leaks_map *m)
{
	size_t large = enter_large(m, true), words;
	char *at;

	m->owner_max = 1 + SPARE_OWNERS;
	m->block_max = m->word_max = large + sample_slots();
	count_caches(m);
	m->block_max += m->block_max / 8 + SPARE_BLOCKS;
	words = m->word_max += m->word_max / 8 + SPARE_WORDS;
	m->bytes = (2 * words + set_words(64 * words)) * sizeof(uint64_t) + m->owner_max * sizeof(*m->owners) +
		   m->block_max * sizeof(*m->blocks) + words * sizeof(*m->block_of);
	at = m->memory = leaks_pages_take(m->bytes);
	if (!at)
		return false;
	m->live = (uint64_t *)at;
	m->marked = m->live + words;
	set_init(&m->grey, m->marked + words, 64 * words);
	m->blocks = (struct leaks_block *)(m->marked + words + set_words(64 * words));
	m->owners = (struct leaks_owner *)(m->blocks + m->block_max);
	m->block_of = (uint32_t *)(m->owners + m->owner_max);
	return true;
}

_Static_assert(LEAKS_LEVELS * 6 >= 36, "64 * 2^30 bits have that many levels");

int leaks_map_make(struct leaks_map *m)
{
	uintptr_t samples;
	size_t samples_size;

	memset(m, 0, sizeof(*m));
	if (!regions_make(m) || !blocks_make(m)) {
		leaks_map_end(m);
		return -ENOMEM;
	}
	hide_in_arenas(m);
	hide_in_caches(m);
	if (sample_memory(&samples, &samples_size))
		leaks_map_hide(m, samples, samples_size);
	leaks_map_hide(m, (uintptr_t)m->regions, leaks_whole_pages(m->regions_bytes));
	leaks_map_hide(m, (uintptr_t)m->memory, leaks_whole_pages(m->bytes));
	owner_add(m, NULL, "kmalloc, large");
	enter_large(m, false);
	enter_caches(m);
	return 0;
}

void leaks_map_end(struct leaks_map *m)
{
	leaks_pages_give(m->memory, m->bytes);
	leaks_pages_give(m->regions, m->regions_bytes);
	memset(m, 0, sizeof(*m));
}

/* Later */

static void refresh_slab(struct leaks_map *m, const struct kmem_cache *c, const struct slab *s)
{
	size_t index;
	struct leaks_block *b = leaks_block_of(m, s->base, &index);

	if (!b || b->base != s->base || m->owners[b->owner].cache != c || b->stride != c->stride)
		return;
	b->stands = true;
	for (size_t i = 0; i < BITMAP_WORDS(b->objects); i++)
		m->live[b->word + i] &= ~s->map[i];
}

void leaks_map_refresh(struct leaks_map *m)
{
	uintptr_t start;
	size_t size;

	for (struct kmem_cache *c = kmem_cache_next(NULL); c; c = kmem_cache_next(c))
		if (leaks_is_looked_for(c))
			slabs_walk(m, c, refresh_slab);
	for (size_t i = 0; i < m->block_count; i++) {
		struct leaks_block *b = &m->blocks[i];

		if (b->memory != b->base)
			b->stands = sample_is_live(b->base);
		else if (b->owner == 0)
			b->stands = kmalloc_find_large(b->base, b->base, &start, &size) && size == b->stride;
		leaks_breathe(1);
	}
}

/* Sets */

void leaks_set_add(struct leaks_set *s, size_t bit)
{
	bool was_empty = true;

	for (unsigned l = 0; l < s->levels && was_empty; l++, bit /= 64) {
		was_empty = s->level[l][bit / 64] == 0;
		bitmap_set(s->level[l], bit);
	}
}

size_t leaks_set_take(struct leaks_set *s)
{
	size_t bit = 0;

	for (unsigned l = s->levels; l-- > 0;) {
		if (s->level[l][bit] == 0)
			return BITMAP_NONE;
		bit = bit * 64 + (size_t)__builtin_ctzll(s->level[l][bit]);
	}
	for (size_t l = 0, at = bit; l < s->levels; l++, at /= 64) {
		bitmap_clear(s->level[l], at);
		if (s->level[l][at / 64])
			break;
	}
	return bit;
}
