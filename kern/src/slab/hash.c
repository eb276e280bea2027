/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From an address to its slab where no page frame table helps.
 *
 * A slab of any size at any place touches at most two blocks, since a block (a power of two units)
 * is no smaller than a slab; it is entered under each.  An address has one block, so a lookup walks
 * one chain.  The table is a linear hash (Litwin, VLDB 1980): it grows and shrinks by single
 * buckets.  The first lie in the cache itself, and no others are needed for a few dozen slabs; the
 * rest lie in segments, each twice as large as the one before; one that can't be had makes chains
 * longer and is asked for again by the next slab.
 */
#include "slab_impl.h"

#define PAGE_BUCKETS (PORT_PAGE_SIZE / sizeof(struct slab_link *))

/* Entries for each bucket at which the table grows, and buckets for each entry at which it shrinks:
 * far enough apart that it doesn't go to and fro. */
#define LOAD_MAX 1
#define LOAD_MIN_INVERSE 4
/* A slab brings two entries, so this keeps up; and takes two along, from a table that began to
 * shrink when it had a quarter of the entries it grew for. */
#define SPLITS 2
#define MERGES 4
#define TRIM_STEP 16 /* merges of a trim for each lock hold */

struct position {
	unsigned segment;
	size_t offset;
};

/* Where bucket b >= SLAB_HASH_SMALL lies. */
static struct position position_of(size_t b)
{
	size_t x = b - SLAB_HASH_SMALL + PAGE_BUCKETS;
	unsigned top = 63 - (unsigned)__builtin_clzll(x);
	unsigned segment = top - (unsigned)__builtin_ctzll(PAGE_BUCKETS);

	return (struct position){segment, x - ((size_t)1 << top)};
}

static size_t segment_bytes(unsigned segment)
{
	return PORT_PAGE_SIZE << segment;
}

static struct slab_link **bucket_at(const struct slab_hash *h, size_t b)
{
	struct position p;

	if (b < SLAB_HASH_SMALL)
		return (struct slab_link **)&h->small[b];
	p = position_of(b);
	return &h->segments[p.segment][p.offset];
}

static size_t bucket_masked(const struct slab_hash *h, size_t masked)
{
	return masked < h->buckets ? masked : masked & (h->mask >> 1);
}

static size_t bucket_index(const struct slab_hash *h, uintptr_t block)
{
	return bucket_masked(h, hash_u64_wide(block) & h->mask);
}

struct slab_link *slab_hash_far(const struct slab_hash *h, size_t masked)
{
	return *bucket_at(h, bucket_masked(h, masked));
}

/* The block an entry of a slab stands for. */
static uintptr_t link_block(const struct slab_hash *h, const struct slab_link *l)
{
	const struct slab_outside *o = container_of(l->slab, struct slab_outside, slab);

	return (l->slab->base >> h->block_shift) + (l == &o->links[1]);
}

void slab_hash_init(struct slab_hash *h, size_t slab_size)
{
	h->block_shift = slab_size > 1 ? 64 - (unsigned)__builtin_clzll(slab_size - 1) : 0;
	h->entries = 0;
	h->buckets = SLAB_HASH_SMALL;
	h->mask = SLAB_HASH_SMALL - 1;
}

/* The segment that the next bucket opens, or -1 if it has one. */
static int segment_wanted(const struct slab_hash *h)
{
	struct position p = position_of(h->buckets);

	return h->segments[p.segment] ? -1 : (int)p.segment;
}

static bool wants_to_grow(const struct slab_hash *h)
{
	return h->entries + 2 > h->buckets * LOAD_MAX;
}

struct slab_memory slab_hash_prepare(struct kmem_cache *c)
{
	struct slab_memory memory = {NULL, 0};
	port_irq_t irq = spin_lock(&c->lock);
	int segment = wants_to_grow(&c->hash) ? segment_wanted(&c->hash) : -1;

	spin_unlock(&c->lock, irq);
	if (segment >= 0) {
		memory.bytes = segment_bytes((unsigned)segment);
		memory.at = base_alloc(c->source, memory.bytes, MEM_ATOMIC);
	}
	return memory;
}

/* Moves the entries of a chain that belong to bucket b now. */
static void bucket_split(struct slab_hash *h, struct slab_link **from, struct slab_link **to, size_t b)
{
	while (*from) {
		struct slab_link *l = *from;

		if (bucket_index(h, link_block(h, l)) == b) {
			*from = l->next;
			l->next = *to;
			*to = l;
		} else {
			from = &l->next;
		}
	}
}

/* Adds a bucket; false if it has no memory, or memory for a segment that another core brought. */
static bool grow(struct slab_hash *h, struct slab_memory *memory)
{
	size_t b = h->buckets;
	int segment = segment_wanted(h);

	if (segment >= 0) {
		if (!memory->at || memory->bytes != segment_bytes((unsigned)segment))
			return false;
		h->segments[segment] = memory->at;
		memory->at = NULL;
	}
	if (b > h->mask)
		h->mask = h->mask * 2 + 1;
	h->buckets++;
	*bucket_at(h, b) = NULL;
	bucket_split(h, bucket_at(h, b & (h->mask >> 1)), bucket_at(h, b), b);
	return true;
}

/* Joins the last bucket with the one it was split from. */
static void shrink(struct slab_hash *h)
{
	struct slab_link **last = bucket_at(h, --h->buckets), **at = last;
	struct slab_link **to = bucket_at(h, h->buckets & (h->mask >> 1));

	while (*at)
		at = &(*at)->next;
	*at = *to;
	*to = *last;
	if (h->buckets == h->mask / 2 + 1)
		h->mask /= 2;
}

/* Whether the slab has at least half of a block. */
static bool is_most_of(const struct slab_hash *h, const struct slab_link *l, size_t slab_size)
{
	size_t block = (size_t)1 << h->block_shift, behind = l->slab->base & (block - 1);
	size_t in_first = slab_size < block - behind ? slab_size : block - behind;
	const struct slab_outside *o = container_of(l->slab, struct slab_outside, slab);

	return (l == &o->links[0] ? in_first : slab_size - in_first) >= block / 2;
}

/* Slabs that lie one behind the other share blocks, and so chains: who has more of a block comes first. */
static void link_insert(struct slab_hash *h, struct slab_link *l, struct slab *s, size_t slab_size)
{
	struct slab_link **at;

	l->slab = s;
	at = bucket_at(h, bucket_index(h, link_block(h, l)));
	if (*at && !is_most_of(h, l, slab_size))
		at = &(*at)->next;
	l->next = *at;
	*at = l;
	h->entries++;
}

static void link_remove(struct slab_hash *h, struct slab_link *l)
{
	struct slab_link **at = bucket_at(h, bucket_index(h, link_block(h, l)));

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	h->entries--;
}

/* Entries of a slab: one, or two if it ends in the block behind. */
static unsigned links_of(const struct slab_hash *h, const struct slab *s, size_t slab_size)
{
	return (s->base >> h->block_shift) == ((s->base + (slab_size - 1)) >> h->block_shift) ? 1 : 2;
}

void slab_hash_insert(
	struct slab_hash *h, struct slab *s, size_t slab_size, struct slab_memory *memory)
{
	struct slab_outside *o = container_of(s, struct slab_outside, slab);

	for (unsigned i = 0; i < SPLITS && wants_to_grow(h); i++)
		if (!grow(h, memory))
			break;
	for (unsigned i = 0; i < links_of(h, s, slab_size); i++)
		link_insert(h, &o->links[i], s, slab_size);
}

/* The segment that the next bucket would open, if it is still there. */
static struct slab_memory segment_close(struct slab_hash *h)
{
	struct position next = position_of(h->buckets);
	struct slab_memory memory = {NULL, 0};

	if (next.offset == 0) {
		memory.at = h->segments[next.segment];
		memory.bytes = segment_bytes(next.segment);
		h->segments[next.segment] = NULL;
	}
	return memory;
}

struct slab_memory slab_hash_remove(struct slab_hash *h, struct slab *s, size_t slab_size)
{
	struct slab_outside *o = container_of(s, struct slab_outside, slab);
	struct slab_memory memory = {NULL, 0};

	for (unsigned i = 0; i < links_of(h, s, slab_size); i++)
		link_remove(h, &o->links[i]);
	for (unsigned i = 0; i < MERGES && !memory.at; i++) {
		if (h->buckets == SLAB_HASH_SMALL || h->entries >= h->buckets / LOAD_MIN_INVERSE)
			break;
		shrink(h);
		memory = segment_close(h);
	}
	return memory;
}

bool slab_hash_trim(struct slab_hash *h, struct slab_memory *memory)
{
	*memory = (struct slab_memory){NULL, 0};
	for (unsigned i = 0; i < TRIM_STEP && !memory->at; i++) {
		if (h->buckets == SLAB_HASH_SMALL || h->entries > (h->buckets - 1) * LOAD_MAX)
			return false;
		shrink(h);
		*memory = segment_close(h);
	}
	return true;
}
