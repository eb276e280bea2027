/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: allocation, freeing, imports.
 *
 * CONCEPTS
 *
 * An arena hands out pieces of a set of integers.  The set is a union of spans, half-open intervals
 * [a, b); a span is cut, without gaps, into segments, each free or used; sizes and starts of
 * segments are multiples of the arena's quantum.  To allocate is to cut a used segment out of a
 * free one; to free is to make it free again and join it with its free neighbours.
 *
 *	     span                                              span
 *	     |  used  | free |    used    | used |     free     |  | free |
 *	-----+--------+------+------------+------+--------------+--+------+-----> integers
 *
 * Spans are either added by hand or imported: an arena with a source takes a span from it, by
 * afunc, when it has nothing that serves, and gives it back, by ffunc, when the span is wholly
 * free.  So arenas form a tree, and memory moves along its edges.  At the root of all memory stands
 * the base arena: its spans are RAM, and beneath it lies nothing.
 *
 * Not quite every span that becomes free goes back at once: an arena retains a few, 32 quanta of
 * its source's together, so that one that is emptied and filled again and again doesn't ask its
 * source each time.  arena_reap() takes those, and all else an arena has and doesn't need.
 *
 * A boundary tag is the record of one segment or span.  Tags lie apart from what they describe, so
 * that an arena can hand out what isn't memory, or memory that nobody may touch.
 *
 * REPRESENTATION
 *
 * The segment store (btag.h) keeps an arena's tags four ways at once: all in one list in address
 * order; free ones in bins by size, with a bitmap of the bins that hold any; used ones in a hash by
 * start; spans in a balanced tree by start.  It works under the arena's lock with tags and nodes
 * that are in its hand (its spare ones) and calls nobody.
 *
 * Tags come from the tag supply of the nearest base arena: pages of the base, each full of tags.  A
 * base arena takes its tag pages from itself.  Its first pages hold the arena, the supply and the
 * first tags, among them the tag of the used segment that those pages are: no step of its creation
 * differs from what any arena does later but for where the first tags came from.
 *
 * An arena that is asked for the smallest segment that serves, or the next, or the lowest under
 * constraints, comes to have an index of its free segments: trees of nodes that lie apart from the
 * tags (btag_index.c).  Most arenas are only asked for a size, and never need one.
 *
 * The segment store is in btag.c (order, spans), btag_fit.c (bins), btag_hash.c, btag_index.c with
 * btag_search.c and btag_triple.c (what the index is for); btag_quick.h has the paths that most
 * calls take.
 *
 * Words.  An instant fit takes the first segment that surely serves, in constant time (COST).  A
 * next fit takes the lowest place above what the last one took.  A hold is what is done between
 * taking an arena's lock and letting it go.  A poke asks reclaim, a thread of its own, to see to an
 * arena.
 *
 * HOW A CONSTRAINED REQUEST IS SERVED
 *
 * arena_xalloc() may ask that the result be equal to `phase` modulo `align`, lie in a window [min,
 * max), and cross no multiple of `nocross`.  Align, phase and the quantum make one arithmetic
 * progression of possible starts.  That and nocross, all but size and window, is called a triple
 * (btag_triple.c).  What the largest request is that one free segment can serve under a triple is a
 * formula, and it serves everything up to that.  So an index of the segments can keep a triple:
 * each node of its tree by address then holds the largest request that its subtree can serve under
 * it.  It keeps the BTAG_TRIPLES last used.
 *
 * In this arena, then:
 *
 *  1. If the index stands and keeps the triple: down one path of the tree, guided by those maxima,
 *     to the lowest segment that serves.  A window cuts at most two segments in part, those at its
 *     ends, and these are looked at by themselves.  That nothing serves shows on the same path.
 *  2. Else, without a window: an instant fit for the size and the most that a start can have to
 *     move within a segment.  What it finds can't fail.
 *  3. Else, if the index stands: the triple is added to it, a few segments for each hold, and then
 *     1 applies.
 *  4. Else BTAG_LOOKS segments at most are looked at, which settles it in a small arena.
 *  5. Else the index is built, a few segments a hold, and then 1 or 3 applies.  A MEM_ATOMIC
 *     request doesn't do that: it pokes and fails, though something may serve.  If there is no
 *     memory for an index, the segments are walked over, a few a hold (arena_steps.c).
 *
 * Between two holds others may change the arena; changes go into an index as it is built, and every
 * search is made anew in the hold that carves, that is, cuts the segment.
 *
 * For example, 16 at phase 48 of 64, in an arena of quantum 1 with free segments [64, 95), [128,
 * 159) and so on, a million of them, and at the end [64000064, 64000128).  The progression is 48,
 * 112, 176 ...; under it each of the million serves 0, and the last serves 16.  So every node of
 * the index has 0 but the last one and those on the path to it: twenty steps down.  A request for
 * 17 fails at the root.
 *
 * If nothing held serves, and the arena imports by arena_alloc(), the same request, triple and
 * window and all, goes to the source, which does as above with its own segments, under the caller's
 * memory flag as far as building goes, and cuts out the whole quanta of its own around the place it
 * found.  What was cut is the span; it is put in, and the request carved out of it, in one hold
 * (arena_xalloc.c).  It remembers that it came by arena_xalloc() and goes back by arena_xfree().
 *
 *	yours    quantum 12 KiB   wants 24 KiB at a multiple of 8 KiB below 4 GiB, holds nothing
 *	  |                       passes that down: starts at 0, 24 KiB, 48 KiB ...
 *	kpages   quantum 4 KiB    holds nothing that serves
 *	  |                       passes down the same
 *	base     quantum 4 KiB    finds it in its index, cuts out 24 KiB
 *
 * On the way back each arena puts the span in and carves what the one above asked for.  An arena in
 * the middle whose quantum isn't a divisor of its source's adds it to the request as a clip
 * quantum: the source then counts a free segment only from its first multiple of that to its last,
 * so that what is cut is whole quanta for everybody on the way.  (Here none is needed: base's
 * segments are whole pages.)
 *
 * No step is linear.  Going down is one search for each arena, coming back one place in a tree of
 * spans for each.  What is linear is never done in one hold: building an index, when an arena is
 * first asked or has lost it, adding a triple, and the walk where memory has run out.  The request
 * that needs it pays.
 *
 * Another afunc than arena_alloc() is asked for so much that the result must lie in it; if a window
 * makes that unknowable, the request fails.
 *
 * Best fit and next fit are the same search without constraints: best fit in a tree by size that
 * the index has from the first one on, next fit in constant time while the segment behind the last
 * one serves.  So is an instant fit that finds nothing: before it imports or fails, it is a best
 * fit.
 *
 * INVARIANTS (arena_check names the one that fails)
 *
 *  1. A segment starts where the one before it in its span ends; the first and last of a span start
 *     and end where the span's extent, rounded inward to the quantum, does.
 *  2. No two free segments of a span are neighbours.
 *  3. Starts and sizes of segments are multiples of the quantum; no segment is empty, nor contains
 *     0, which is what failure looks like.
 *  4. A free segment is in the bin of its size, and a bin's bit is set iff it holds one.
 *  5. A used segment is in the hash, in the bucket of its start, and the hash holds nothing else.
 *  6. Spans ascend, do not overlap, and the tree of spans holds each of them.
 *  7. total, used and the counts are the sums over the list.
 *  8. The imported spans without a used segment amount to `retained` (as the source counts), at
 *     most retain_max.
 *  9. A base arena has at least tag_reserve tags in its hand whenever its supply's lock is free.
 * 10. In a tag supply, a page is in the list for its number of idle tags, in none if it has none,
 *     and the counts are the sums.
 * 11. The index is what btag_index.c says.
 *
 * THE TAG RESERVE
 *
 * Freeing takes no tag: a segment that was used becomes free under the tag it has, and joining only
 * gives tags back.  Allocating takes at most one for each end that stays free, and two more for a
 * span.  They are in the arena's hand before its lock is taken, or the lock is dropped to fetch
 * some.  Fetching may need a new tag page, which must be cut out of the base arena, which may take
 * a tag: one, as the cut is made at the front of a free segment.  The deepest stack is
 *
 *	arena_alloc -> arena_tags_fetch -> tag_page_fetch: carve a page of the base
 *
 * and the supply's lock lets one core at a time into its last step.  So a base arena needs one tag
 * that nobody else may take: tag_reserve is 1 there.  tag_page_fetch takes it and puts back one of
 * the tags it gained, in the same hold of the base's lock.  Elsewhere tag_reserve is what imports
 * under way have set aside: TAGS_PER_IMPORT each, between the hold that found that nothing serves
 * and the one that puts the span in.
 *
 * Nodes of an index are reserved by a bound instead of one by one: of n segments in a row at most
 * (n + 1) / 2 can be free, so freeing never needs more than (segments + spans) / 2, and that many
 * are held.  Making segments takes from a margin beyond that, which is filled up after the fact,
 * with the lock dropped (arena_care), from a second supply whose pages the base gives as it gives
 * any page; its own index pays for that cut out of its own margin.  When the margin ends because
 * memory has, so does the index.
 *
 * When tags can't be had, because the base has no page left, a request is still served by what can
 * be cut with those in hand, and by a segment of exactly its size, which takes none.  A page for
 * tags or nodes is fetched without care for the base's own index, which would fetch one in its turn.
 *
 * LOCKING
 *
 *	arenas_and_slabs_lock (sleeps) -> tag supply -> arena
 *	arenas_and_slabs_lock (sleeps) -> node supply
 *
 * Each arena has its own lock; no arena's lock is held while another's is taken (but see below),
 * nor while afunc, ffunc or anybody else's code runs.  A page of nodes is cut out of the base
 * before the node supply's lock is taken.  An imported span is put in and carved for the request
 * that asked for it in one hold of the lock, so nobody can take it in between and there is nothing
 * to retry.  A caller's bug is found under the lock and reported after it was released.
 *
 * Only the outermost call may sleep, so a source is always asked with MEM_ATOMIC.  How it sleeps,
 * and who wakes it, is in arena_wait.c, which alone takes one arena's lock under another's, an
 * importer's under its source's.
 *
 * COST
 *
 * Instant fit takes the head of the first bin in which every segment serves: two bitmap words,
 * constant.  What it cuts off gets a tag of its own, so that the rest keeps its place in its bin
 * while its size does; a free that joins keeps the neighbour's (btag_quick.h).  So either touches
 * one hash chain and a few tags, and calls nothing.  Whatever else may be the matter, an index to
 * keep, a cursor, somebody who waits, is one word to test (`detour`), and then the general way is
 * taken.  A front's rounds don't even take the lock.  Freeing finds its tag in the hash, whose load
 * is bounded, and looks at two neighbours: constant.  The hash grows and shrinks by at most two
 * buckets an operation and its pages come one at a time.  Spans are found in logarithmic time,
 * which imports and additions pay.  Every other search is logarithmic in free segments once the
 * index stands and keeps the triple.
 *
 * QUESTIONS
 *
 * Why does free take a size?  Callers know it, the tag has it, and two sources that must agree
 * catch most wild frees on the spot.
 *
 * Why are tags out of line?  See CONCEPTS; and a caller that overruns its memory harms no tag.
 *
 * Why do imported spans never coalesce?  They came one by one and must go back one by one.
 *
 * Where does this differ from vmem (Bonwick and Adams, 2001)?  Bins are finer: eight to a doubling,
 * where vmem has one.  An instant fit that fails searches on before it imports or fails.
 * Constraints are searched for in an index, and go down to the source.  Tags belong to a base arena
 * rather than to a system-wide pool.  The hash grows a bucket at a time.  The import isn't retried.
 * Spans are kept in order.
 */
#include "arena/arena_impl.h"

#include "btag/btag_quick.h"
#include "lib/string.h"
#include "sync.h"

/* What an allocation that imports takes: the span's tag, its segment's, and one for what stays free
 * behind the request.  One that doesn't import takes at most 2, for next fit can leave both
 * ends. */
#define TAGS_PER_IMPORT 3
#define TAGS_PER_CARVE 2
/* Tags fetched at a time, so that the supply's lock is taken once for many; and how many an arena
 * may keep in hand before it gives some back: far enough apart that it doesn't go to and fro. */
#define TAGS_FETCH 16
#define TAGS_SPARE_MAX 64
#define TAGS_GIVE_BACK 32

#define unlikely(x) __builtin_expect(!!(x), 0)

/* Tags and pages beneath an arena */

/* Cuts the front off free segment f. */
static struct btag *held_carve(struct arena *a, struct btag *f, size_t size, enum btag_fit fit)
{
	arena_span_begin_use(a, f);
	arena_count_alloc(a, fit, BTAG_USED);
	return btag_carve(&a->store, f, f->start, size);
}

/* Cuts a tag page out of the base arena, with the reserved tag if need be, and leaves the reserve
 * full.  The supply's lock is held. */
static bool tag_page_fetch(struct arena *base)
{
	struct tag_supply *supply = base->supply;
	struct btag_chain reserve = {NULL, 0};
	port_irq_t irq = arena_lock(base);
	struct btag *f = btag_fit_instant(&base->store, PORT_PAGE_SIZE);

	if (f) {
		uintptr_t page = f->start;

		held_carve(base, f, PORT_PAGE_SIZE, BTAG_FIT_ANY);
		tag_supply_add_page(supply, (void *)page);
		if (base->store.spare.count < base->tag_reserve)
			tag_supply_take(supply, &reserve, base->tag_reserve);
		btag_give(&base->store, &reserve);
	}
	arena_unlock(base, irq);
	return f != NULL;
}

void arena_tags_fetch_in_care(struct arena *a, struct btag_chain *chain, size_t count)
{
	struct tag_supply *supply = a->supply;
	port_irq_t irq = spin_lock(&supply->lock);

	if (supply->idle >= count || tag_page_fetch(a->base) || supply->idle > 0)
		tag_supply_take(supply, chain, count);
	spin_unlock(&supply->lock, irq);
}

void arena_tags_fetch(struct arena *a, struct btag_chain *chain, size_t count)
{
	arena_tags_fetch_in_care(a, chain, count);
	/* The base fetches for its own hash on other ways, and not for this. */
	if (unlikely(!arena_is_base(a) && arena_needs_care(a->base)))
		arena_care(a->base);
	else if (unlikely(btag_index_needs_care(&a->base->store.index)))
		arena_index_care(a->base);
}

void arena_tags_return(struct arena *a, struct btag_chain *chain)
{
	if (chain->count == 0)
		return;

	port_irq_t irq = spin_lock(&a->supply->lock);

	tag_supply_give(a->supply, chain);
	spin_unlock(&a->supply->lock, irq);
}

void arena_tags_give_up(struct arena *a, struct btag_chain *chain)
{
	bool some = chain->count > 0;

	arena_tags_return(a, chain);
	if (unlikely(some && __atomic_load_n(&a->base->queue.slow, __ATOMIC_RELAXED)))
		arena_freed(a->base);
}

static void tags_shed(struct arena *a)
{
	struct btag_chain chain = {NULL, 0};
	port_irq_t irq = arena_lock(a);

	if (a->store.spare.count > TAGS_SPARE_MAX &&
		a->store.spare.count - TAGS_GIVE_BACK >= a->tag_reserve)
		btag_take(&a->store, &chain, TAGS_GIVE_BACK);
	arena_unlock(a, irq);
	arena_tags_give_up(a, &chain);
}

/* Serving from what is held */

/* Serves by instant fit, if a segment and the tags to cut it are in hand. */
static bool serve_fast(struct arena *a, size_t size, uintptr_t *result)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *f = btag_fit_instant(&a->store, size);
	bool served = f && a->store.spare.count >= a->tag_reserve + (f->size != size);

	if (__builtin_expect(served, 1)) {
		*result = f->start;
		held_carve(a, f, size, BTAG_FIT_ANY);
	}
	spin_unlock(&a->lock, irq);
	return served;
}

/* Imports */

static inline size_t import_size(const struct arena *a, size_t size)
{
	size_t wanted = size + a->import_slack;

	if (__builtin_expect(a->store.quantum == a->source->store.quantum, 1))
		return size;
	return wanted < size ? 0 : btag_round_up(&a->source->store, wanted);
}

size_t arena_import_size(const struct arena *a, size_t size)
{
	return import_size(a, size);
}

static inline __attribute__((always_inline)) const char *span_refused(
	struct arena *a, uintptr_t start, size_t got, size_t size, struct btag_extent *e)
{
	if (start + (got - 1) < start)
		return "wraps around";
	if (!btag_extent_find(&a->store, start, got, e))
		return "overlaps what was imported before";
	if (e->inside < size)
		return "is misaligned: what was asked for doesn't fit in it";
	return NULL;
}

const char *arena_span_refused(
	struct arena *a, uintptr_t start, size_t got, size_t size, struct btag_extent *e)
{
	return span_refused(a, start, got, size, e);
}

/* In an arena with an index. */
static __attribute__((noinline)) struct btag *span_put_indexed(
	struct arena *a, const struct btag_extent *e, size_t size)
{
	struct btag *t;

	arena_hold_begin(a);
	t = btag_carve(&a->store, btag_span_import(&a->store, e), e->first, size);
	arena_hold_end(a);
	return t;
}

static __attribute__((noinline)) void span_install_fit(struct arena *a, struct btag *t, unsigned flags)
{
	arena_count_alloc(a, arena_fit_of(flags), BTAG_USED);
	if (flags & ARENA_NEXTFIT)
		btag_cursor_move(&a->store.next_fit, t);
}

/* Puts the span in and carves the request out of it, with the tags that are held for that. */
static inline __attribute__((always_inline)) const char *span_install(
	struct arena *a, uintptr_t start, size_t got, size_t size, unsigned flags, uintptr_t *result)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag_extent e;
	const char *refused = span_refused(a, start, got, size, &e);

	a->tag_reserve -= TAGS_PER_IMPORT;
	if (!refused) {
		struct btag *t = unlikely(a->store.index.live) ? span_put_indexed(a, &e, size) :
			btag_span_import_used(&a->store, &e, size);

		*result = e.first;
		a->imports++;
		if (unlikely(flags & ARENA_FITS))
			span_install_fit(a, t, flags);
		else
			a->allocs++;
	}
	spin_unlock(&a->lock, irq);
	return refused;
}

/* Whether the tags for an import are in hand; then nobody else takes them.  Lock held. */
static inline bool tags_hold(struct arena *a)
{
	if (a->store.spare.count < a->tag_reserve + TAGS_PER_IMPORT) {
		arena_tags_miss(a);
		return false;
	}
	a->tag_reserve += TAGS_PER_IMPORT;
	return true;
}

/* The same, with more tags if it must. */
static bool tags_for_import(struct arena *a)
{
	struct btag_chain tags = {NULL, 0};
	port_irq_t irq = spin_lock(&a->lock);
	bool held = tags_hold(a);

	spin_unlock(&a->lock, irq);
	if (held)
		return true;
	arena_tags_fetch(a, &tags, TAGS_FETCH);
	irq = spin_lock(&a->lock);
	btag_give(&a->store, &tags);
	held = tags_hold(a);
	spin_unlock(&a->lock, irq);
	return held;
}

static inline bool tags_missed(const struct arena *a)
{
	return unlikely(__atomic_load_n(&a->tags_missed, __ATOMIC_RELAXED));
}

/* An import has ended, and somebody lacked the tags that were set aside for it.  Nobody does so by an
 * import of his own, so no waiter wakes himself again and again. */
static __attribute__((noinline)) void tags_tell(struct arena *a)
{
	__atomic_store_n(&a->tags_missed, false, __ATOMIC_RELAXED);
	if (__atomic_load_n(&a->queue.slow, __ATOMIC_RELAXED))
		arena_chain_freed(a);
}

void arena_tags_let_go(struct arena *a, size_t n)
{
	port_irq_t irq = spin_lock(&a->lock);

	a->tag_reserve -= n;
	spin_unlock(&a->lock, irq);
	if (tags_missed(a))
		tags_tell(a);
}

static __attribute__((noinline)) void tags_let_go(struct arena *a)
{
	arena_tags_let_go(a, TAGS_PER_IMPORT);
}

void arena_span_bug(struct arena *a, uintptr_t start, size_t got, const char *refused)
{
	panic("arena %s: the span [%#lx, +%#zx) that its source %s gave %s", a->name, start, got,
		a->source->name, refused);
}

static inline void span_return(struct arena *a, uintptr_t start, size_t size, bool by_xalloc)
{
	spin_assert_none_held();
	if (unlikely(by_xalloc))
		arena_xfree(a->source, (void *)start, size);
	else
		a->ffunc(a->source, (void *)start, size);
}

void arena_span_return(struct arena *a, const struct arena_span *span)
{
	span_return(a, span->start, span->size, span->by_xalloc);
}

/* The tags for it are held.  0: the source has nothing. */
static inline __attribute__((always_inline)) uintptr_t serve_import(
	struct arena *a, size_t size, unsigned flags)
{
	size_t got = import_size(a, size);
	const char *refused;
	uintptr_t start, result = 0;

	spin_assert_none_held();
	start = got ? (uintptr_t)a->afunc(a->source, got, MEM_ATOMIC) : 0;
	if (unlikely(start == 0)) {
		tags_let_go(a);
		return 0;
	}
	refused = span_install(a, start, got, size, flags, &result);
	if (unlikely(refused != NULL))
		arena_span_bug(a, start, got, refused);
	if (tags_missed(a))
		tags_tell(a);
	return result;
}

/* What doesn't go by the fast path: another fit is wanted, tags are short, or no segment surely serves. */
static bool serve_slow(
	struct arena *a, size_t size, unsigned flags, uintptr_t *result, enum arena_failure *why)
{
	struct btag_request rq;
	struct btag_place place;

	arena_request_plain(a, &rq, size, flags);
	if (arena_search(a, &rq, flags, BTAG_USED, &place, why)) {
		*result = place.at;
		return true;
	}
	if (!a->afunc)
		return false;
	if (a->imports_aligned)
		return arena_import_aligned(a, &rq, flags, result, why);
	do {
		if (!tags_for_import(a)) {
			*why = ARENA_FAILURE_TAGS;
			return false;
		}
		*result = serve_import(a, size, flags);
	} while (*result == 0 && !(flags & MEM_ATOMIC) && arena_sources_build(a));
	return *result != 0;
}

/* If it fails for another reason than shortage, that is *why. */
static bool serve(
	struct arena *a, size_t size, unsigned flags, uintptr_t *result, enum arena_failure *why)
{
	if (__builtin_expect(!(flags & ARENA_FITS) && serve_fast(a, size, result), 1))
		return true;
	return serve_slow(a, size, flags, result, why);
}

/* Taking back */

enum mistake { NO_MISTAKE, NOT_ALLOCATED, WRONG_KIND, WRONG_SIZE };

/* What is to be done with the lock released, rarely any of it. */
#define AFTER_SPAN (1u << 0) /* a span goes back to the source */
#define AFTER_TAGS (1u << 1) /* too many in hand */
#define AFTER_SLOW (1u << 2) /* somebody waits for what was freed */
#define AFTER_CARE (1u << 3) /* hash or index want something */

static void span_leave(struct arena *a, struct btag *span, struct arena_span *left)
{
	*left = (struct arena_span){span->start, span->size, span->by_xalloc};
	btag_span_remove(&a->store, span);
	a->returns++;
}

/* Whether a span that is wholly free, or about to be, is retained. */
static inline bool span_stays(struct arena *a, const struct btag *span)
{
	/* Relaxed: a waiter that marks the source slow just now misses what a moment earlier it would. */
	return a->retained + span->size <= a->retain_max &&
	       !__atomic_load_n(&a->source->queue.slow, __ATOMIC_RELAXED);
}

/* What there is to do after f became free.  Its lock is held. */
static unsigned after_release(struct arena *a, struct btag *f, struct arena_span *left)
{
	struct btag *span = a->afunc ? btag_span_whole(f) : NULL;
	unsigned after = 0;

	if (span && span_stays(a, span)) {
		a->retained += span->size;
	} else if (span) {
		span_leave(a, span, left);
		after |= AFTER_SPAN;
	}
	if (a->store.spare.count > TAGS_SPARE_MAX)
		after |= AFTER_TAGS;
	if (a->queue.slow)
		after |= AFTER_SLOW;
	if (arena_needs_care(a))
		after |= AFTER_CARE;
	return after;
}

static __attribute__((noinline)) void aftermath(struct arena *a, unsigned after, const struct arena_span *left)
{
	if (after & AFTER_SPAN)
		arena_span_return(a, left);
	if (after & AFTER_TAGS)
		tags_shed(a);
	if (after & AFTER_SLOW)
		arena_freed(a);
	if (after & AFTER_CARE)
		arena_care(a);
}

static __attribute__((noreturn, cold)) void bad_free(
	struct arena *a, enum mistake m, uintptr_t addr, size_t size, void *caller)
{
	struct arena_segment s;

	if (size == 0)
		arena_bug(a, caller, "free of %#lx with size 0", addr);
	if (!arena_find_segment(a, addr, &s))
		arena_bug(a, caller, "free of %#lx, size %#zx, which lies in no span of it", addr, size);
	if (s.kind != ARENA_SEGMENT_USED)
		arena_bug(a, caller, "free of %#lx, size %#zx, which is not allocated (freed twice?)", addr,
			size);
	if (m == NOT_ALLOCATED)
		arena_bug(a, caller, "free of %#lx, size %#zx, which lies inside [%#lx, +%#zx)", addr, size,
			s.start, s.size);
	if (m == WRONG_KIND)
		arena_bug(a, caller,
			"free of %#lx, size %#zx, by the wrong one of arena_free and arena_xfree", addr, size);
	arena_bug(a, caller, "free of %#lx with the wrong size: %#zx, allocated were %#zx", addr, size,
		s.size);
}

/* The end of a free: f has become free. */
static inline void release_end(struct arena *a, struct btag *f, bool timed, port_irq_t irq)
{
	struct arena_span left;
	unsigned after = after_release(a, f, &left);

	if (timed)
		arena_hold_end(a);
	spin_unlock(&a->lock, irq);
	if (unlikely(after))
		aftermath(a, after, &left);
}

/* The same for a quick one whose last steps are rare ones. */
static __attribute__((noinline)) void release_settle(struct arena *a, struct btag *f, port_irq_t irq)
{
	btag_rebin(&a->store, f);
	if (unlikely(btag_hash_is_sparse(&a->store.hash)))
		btag_hash_thin(&a->store.hash);
	release_end(a, f, false, irq);
}

/* The same where the segment is still used, or isn't one of that kind and size at all. */
static __attribute__((noinline)) void release_slow(struct arena *a, uintptr_t addr, size_t size,
	void *caller, enum btag_kind kind, port_irq_t irq)
{
	struct btag *t;
	enum mistake m;

	arena_hold_begin(a);
	t = btag_find(&a->store, addr);
	m = !t					      ? NOT_ALLOCATED :
	    t->kind != kind			      ? WRONG_KIND :
	    t->size != btag_round_up(&a->store, size) ? WRONG_SIZE :
							NO_MISTAKE;
	if (m == NO_MISTAKE) {
		release_end(a, btag_release(&a->store, t), true, irq);
		return;
	}
	spin_unlock(&a->lock, irq);
	bad_free(a, m, addr, size, caller);
}

/* The end of a free of all that was used of a span, in one piece: the span goes back. */
static __attribute__((noinline)) void release_span(
	struct arena *a, struct btag **link, struct btag *span, port_irq_t irq)
{
	uintptr_t start;
	size_t size;
	bool by_xalloc;

	btag_span_unlink_quick(&a->store, link, span);
	start = span->start;
	size = span->size;
	by_xalloc = span->by_xalloc;
	btag_span_end_quick(&a->store, span);
	a->returns++;
	spin_unlock(&a->lock, irq);
	span_return(a, start, size, by_xalloc);
}

/* The end of a free that leaves its span with the arena, as far as the segment itself goes. */
static __attribute__((noinline)) void release_kept(
	struct arena *a, struct btag **link, struct btag *t, port_irq_t irq)
{
	struct btag *span, *f;

	if (unlikely(btag_release_quick(&a->store, link, t, &f) ||
		    a->store.spare.count > TAGS_SPARE_MAX ||
		    ((span = btag_span_whole(f)) && !span_stays(a, span)))) {
		release_settle(a, f, irq);
		return;
	}
	if (span)
		a->retained += span->size;
	spin_unlock(&a->lock, irq);
}

/* Whether a span and its segment can go with nothing left to be done: the tags of both stay in
 * hand, and the hash needn't shrink. */
static inline bool span_goes_quick(const struct arena *a)
{
	return a->store.spare.count + 2 <= TAGS_SPARE_MAX && a->store.hash.room < a->store.hash.room_max;
}

/* The end of a free in an imported span, which may be wholly free then. */
static __attribute__((noinline)) void release_imported(
	struct arena *a, struct btag **link, struct btag *t, port_irq_t irq)
{
	struct btag *span = btag_span_whole(t);

	if (span && !span_stays(a, span) && __builtin_expect(span_goes_quick(a), 1))
		release_span(a, link, span, irq);
	else
		release_kept(a, link, t, irq);
}

/* The rare steps are apart, and each is the last thing done: nothing lives across a call.  A
 * segment of whole quanta is that of `size` if it is larger by less than one. */
__attribute__((noinline)) void arena_take_back(
	struct arena *a, uintptr_t addr, size_t size, void *caller, enum btag_kind kind)
{
	struct btag_store *s = &a->store;
	port_irq_t irq = spin_lock(&a->lock);
	struct btag **link, *t = btag_hash_seek(&s->hash, addr, &link), *f;

	if (unlikely(!t || s->detour || t->kind != kind || t->size - size >= s->quantum)) {
		release_slow(a, addr, size, caller, kind, irq);
		return;
	}
	if (a->afunc) {
		release_imported(a, link, t, irq);
		return;
	}
	if (unlikely(btag_release_quick(s, link, t, &f) || s->spare.count > TAGS_SPARE_MAX)) {
		release_settle(a, f, irq);
		return;
	}
	spin_unlock(&a->lock, irq);
}

/* One span after the other is looked at, until none is left that could be it. */
bool arena_span_retire(struct arena *a, uintptr_t from, struct arena_span *left)
{
	struct btag *span;
	bool found;

	do {
		port_irq_t irq = arena_lock(a);

		span = a->retained ? btag_span_above(&a->store, from) : NULL;
		found = span && span->next->kind == BTAG_FREE && btag_span_whole(span->next);
		if (span)
			from = span->start + 1;
		if (found) {
			a->retained -= span->size;
			span_leave(a, span, left);
		}
		arena_unlock(a, irq);
	} while (span && !found && from != 0);
	return found;
}

/* Hash pages: fetched for a hash that wants to grow, given back by one that has shrunk */

static void hash_page_fetch(struct arena *a)
{
	enum arena_failure why;
	uintptr_t page;
	port_irq_t irq;

	if (!serve(a->base, PORT_PAGE_SIZE, MEM_ATOMIC, &page, &why))
		return;
	__atomic_fetch_add(&a->supply->hash_pages, 1, __ATOMIC_RELAXED);
	irq = arena_lock(a);
	btag_hash_give_page(&a->store.hash, (void *)page);
	arena_unlock(a, irq);
}

void arena_hash_page_return(struct arena *a, void *page)
{
	arena_take_back(
		a->base, (uintptr_t)page, PORT_PAGE_SIZE, __builtin_return_address(0), BTAG_USED);
	__atomic_fetch_sub(&a->supply->hash_pages, 1, __ATOMIC_RELAXED);
}

static void hash_care(struct arena *a)
{
	port_irq_t irq = arena_lock(a);
	bool wants = a->store.hash.wants_page;
	void *surplus = wants ? NULL : btag_hash_take_page(&a->store.hash, BTAG_HASH_SPARE_MAX);

	arena_unlock(a, irq);
	if (wants)
		hash_page_fetch(a);
	if (surplus)
		arena_hash_page_return(a, surplus);
}

__attribute__((noinline)) void arena_care(struct arena *a)
{
	if (btag_hash_needs_care(&a->store.hash))
		hash_care(a);
	if (btag_index_needs_care(&a->store.index))
		arena_index_care(a);
	/* Pages for the above are segments of the base. */
	if (!arena_is_base(a) && arena_needs_care(a->base))
		arena_care(a->base);
}

/* Callers' mistakes and shortage */

static inline bool flags_sound(unsigned flags)
{
	unsigned mem = flags & MEM_FLAGS, fit = flags & ARENA_FITS;

	return mem != 0 && (mem & (mem - 1)) == 0 && fit != ARENA_FITS &&
	       (flags & ~(MEM_FLAGS | ARENA_FITS)) == 0;
}

const char *arena_flags_wrong(unsigned flags)
{
	if (unlikely(!flags_sound(flags)))
		return "not exactly one memory flag and at most one fit";
	if (unlikely((flags & MEM_WAIT) && !port_irq_enabled()))
		return port_in_irq() ? "MEM_WAIT in an interrupt, which can't sleep" :
				       "MEM_WAIT with interrupts off or under a spinlock, which can't sleep";
	if (SPANDREL_DEBUG && (flags & MEM_WAIT) && qlock_is_held_by_me(&arenas_and_slabs_lock))
		return "MEM_WAIT under arenas_and_slabs_lock";
	return NULL;
}

void arena_check_flags(const struct arena *a, unsigned flags, void *caller)
{
	const char *wrong = arena_flags_wrong(flags);

	if (unlikely(wrong != NULL))
		arena_bug(a, caller, "flags %#x: %s", flags, wrong);
}

static __attribute__((noreturn, cold)) void wait_forever(
	struct arena *a, size_t size, void *caller)
{
	struct arena_stats s;

	arena_get_stats(a, &s);
	arena_bug(a, caller,
		"%zu wanted with MEM_WAIT, %zu free, at most %zu in one piece, and nothing runs that "
		"could free any",
		size, (size_t)s.free, (size_t)s.largest_free);
}

void arena_count_failure(struct arena *a, enum arena_failure why)
{
	port_irq_t irq = spin_lock(&a->lock);

	a->failures_by[why]++;
	spin_unlock(&a->lock, irq);
}

/* Allocation and freeing */

/* A request, for when it has to wait. */
struct request {
	struct arena *arena;
	size_t units;
	unsigned flags;
	uintptr_t result;
	enum arena_failure why; /* it wasn't served */
};

/* Whether the front takes `units`.  0, a caller's bug, is no size of the front's. */
static inline bool is_fronted(const struct arena *a, size_t units)
{
	return units - 1 < a->front_max;
}

/* (size - 1) / quantum, of a size that the front takes.  The share is too small by less than one,
 * so what is too little in the product is less than size * quantum / 2^64, less than one,
 * quantumths: a multiple of the quantum falls just short of its number of quanta, and nothing else
 * short of a whole one. */
static inline size_t class_of(const struct arena *a, size_t size)
{
	return (size_t)((unsigned __int128)size * a->quantum_share >> 64);
}

/* This core's. */
static inline struct arena_rounds *rounds_of(const struct arena *a, size_t class)
{
	return (struct arena_rounds *)((char *)a->rounds[class] + port_core_id() * ARENA_ROUNDS_STRIDE);
}

/* NULL: this core has none laid up. */
static inline void *round_take(const struct arena *a, size_t class)
{
	struct arena_rounds *r = rounds_of(a, class);

	r->allocs++;
	return port_stack_pop(&r->stack);
}

static void *front_alloc(struct arena *a, size_t size, unsigned flags)
{
	size_t class = class_of(a, size);
	void *cached = round_take(a, class);

	return cached ? cached : a->front->alloc(a->front, class, flags);
}

static inline void front_free(struct arena *a, void *addr, size_t size, void *caller)
{
	size_t class = class_of(a, size);
	struct arena_rounds *r = rounds_of(a, class);

	r->frees++;
	if (unlikely(!port_stack_push(&r->stack, addr)))
		a->front->free(a->front, addr, class, caller);
}

static bool request_serve(void *arg)
{
	struct request *r = arg;

	/* While it waits, what fits goes back to the front's slabs. */
	if (is_fronted(r->arena, r->units) && !(r->flags & ARENA_FITS)) {
		r->result = (uintptr_t)front_alloc(r->arena, r->units, MEM_ATOMIC);
		if (r->result)
			return true;
	}
	return serve(r->arena, r->units, r->flags, &r->result, &r->why);
}

bool arena_shortage(struct arena *a, size_t size, bool (*try)(void *arg), void *arg, uint64_t deadline,
	enum arena_failure why, void *caller)
{
	bool served = false;

	if (deadline > 0 && !port_thread_self())
		wait_forever(a, size, caller);
	if (deadline > 0)
		served = arena_wait(a, size, try, arg, deadline, NULL);
	if (!served)
		arena_count_failure(a, deadline > 0 ? ARENA_FAILURE_DEADLINE : why);
	return served;
}

/* The end of an allocation that was served. */
static inline void *alloc_end(struct arena *a, uintptr_t result)
{
	if (unlikely(arena_needs_care(a)))
		arena_care(a);
	return (void *)result;
}

/* Sleeps until `deadline`; 0: doesn't sleep. */
static void *segment_alloc(struct arena *a, size_t size, size_t units, unsigned flags,
	uint64_t deadline, void *caller)
{
	struct request r = {a, units, flags, 0, ARENA_FAILURE_SHORTAGE};

	if (unlikely(units == 0))
		arena_bug(a, caller, "allocation of size %#zx, which is %s", size,
			size ? "too large to round up" : "nothing");
	if (unlikely(arena_queues(a, deadline > 0) || !serve(a, units, flags, &r.result, &r.why)))
		if (!arena_shortage(a, units, request_serve, &r, deadline, r.why, caller))
			return NULL;
	return alloc_end(a, r.result);
}

/* What most requests come with: a memory flag that is legal here, and no fit. */
static inline bool flags_plain(unsigned flags, bool may_sleep)
{
	if (__builtin_expect(flags == MEM_WAIT, 1))
		return may_sleep;
	return flags == MEM_ATOMIC || flags == MEM_ERROR;
}

static __attribute__((noinline)) void *alloc_until(
	struct arena *a, size_t size, unsigned flags, uint64_t deadline, void *caller)
{
	size_t units = btag_round_up(&a->store, size);

	arena_check_flags(a, flags, caller);
	if (is_fronted(a, units) && !(flags & ARENA_FITS) && !arena_queues(a, deadline > 0)) {
		void *cached = front_alloc(a, units, flags);

		if (cached)
			return cached;
	}
	return segment_alloc(a, size, units, flags, deadline, caller);
}

static inline void *alloc_from(struct arena *a, size_t size, unsigned flags, void *caller)
{
	return alloc_until(a, size, flags, flags & MEM_WAIT ? PORT_FOREVER : 0, caller);
}

/* No round is laid up, or the flags aren't plain. */
static __attribute__((noinline)) void *alloc_missed(
	struct arena *a, size_t size, unsigned flags, void *caller)
{
	void *cached;

	arena_check_flags(a, flags, caller);
	if (!(flags & ARENA_FITS)) {
		cached = a->front->alloc(a->front, class_of(a, size), flags);
		/* An NMI may have landed where this core holds the lock. */
		if (cached || port_in_nmi())
			return cached;
	}
	return segment_alloc(a, size, btag_round_up(&a->store, size), flags,
		flags & MEM_WAIT ? PORT_FOREVER : 0, caller);
}

/* The quick ways, each of which begins with the lock held, lets go of it, and, as most allocations
 * do, ends there.  The rare steps are apart, and each is the last thing done: nothing lives across
 * a call. */

/* Nothing serves at once, or the request isn't a plain one. */
static __attribute__((noinline)) void *alloc_slow(
	struct arena *a, size_t size, unsigned flags, void *caller, port_irq_t irq)
{
	spin_unlock(&a->lock, irq);
	return alloc_from(a, size, flags, caller);
}

/* The end of an allocation that fills the hash. */
static __attribute__((noinline)) void *alloc_grow(struct arena *a, uintptr_t result, port_irq_t irq)
{
	btag_hash_grow(&a->store.hash);
	spin_unlock(&a->lock, irq);
	if (arena_needs_care(a))
		arena_care(a);
	return (void *)result;
}

/* The end of an allocation whose last steps are rare ones: it was cut off f. */
static __attribute__((noinline)) void *alloc_settle(
	struct arena *a, struct btag *f, uintptr_t result, port_irq_t irq)
{
	btag_rebin(&a->store, f);
	if (unlikely(btag_hash_is_full(&a->store.hash)))
		return alloc_grow(a, result, irq);
	spin_unlock(&a->lock, irq);
	return (void *)result;
}

/* The tags for an import are held. */
static __attribute__((noinline)) void *alloc_imported(
	struct arena *a, size_t units, unsigned flags, void *caller)
{
	uintptr_t result = serve_import(a, units, ARENA_INSTANTFIT);

	if (unlikely(result == 0))
		return alloc_from(a, units, flags, caller);
	/* An index that came to be meanwhile is seen to by whoever meets it. */
	if (unlikely(btag_hash_needs_care(&a->store.hash)))
		arena_care(a);
	return (void *)result;
}

/* Nothing held serves: the tags for a span are held from the moment that showed it, and no search is needed. */
static __attribute__((noinline)) void *alloc_import(
	struct arena *a, size_t size, unsigned flags, void *caller, port_irq_t irq)
{
	size_t units = (((size - 1) >> a->store.shift) + 1) << a->store.shift;

	if (!a->afunc || a->imports_aligned || units == 0 || !tags_hold(a))
		return alloc_slow(a, size, flags, caller, irq);
	spin_unlock(&a->lock, irq);
	return alloc_imported(a, units, flags, caller);
}

/* Nothing surely serves. */
static __attribute__((noinline)) void *alloc_unsure(
	struct arena *a, size_t size, unsigned flags, void *caller, port_irq_t irq)
{
	size_t units = btag_round_up(&a->store, size);

	if (units > 0 && btag_may_serve(&a->store, units))
		return alloc_slow(a, size, flags, caller, irq);
	return alloc_import(a, size, flags, caller, irq);
}

/* Another fit than the first that serves: next fit goes on where it stands, if it can. */
static __attribute__((noinline)) void *alloc_next(
	struct arena *a, size_t size, unsigned flags, void *caller, port_irq_t irq)
{
	struct btag_store *s = &a->store;
	size_t units;
	uintptr_t start;
	struct btag *f;

	if (!flags_plain(flags ^ ARENA_NEXTFIT, port_irq_were_enabled(irq)) || s->detour)
		return alloc_slow(a, size, flags, caller, irq);
	units = btag_round_up(s, size);
	f = units ? btag_next_quick(s, units, &start) : NULL;
	if (!f || s->spare.count < a->tag_reserve + TAGS_PER_CARVE)
		return alloc_slow(a, size, flags, caller, irq);
	arena_span_begin_use(a, f);
	arena_count_alloc(a, BTAG_FIT_NEXT, BTAG_USED);
	if (unlikely(btag_carve_next_quick(s, f, start, units)))
		return alloc_settle(a, f, start, irq);
	spin_unlock(&a->lock, irq);
	return (void *)start;
}

/* What most allocations that no front takes are: an instant fit that serves. */
static __attribute__((noinline)) void *alloc_instant(
	struct arena *a, size_t size, unsigned flags, void *caller)
{
	struct btag_store *s = &a->store;
	port_irq_t irq = spin_lock(&a->lock);
	size_t above, units;
	struct btag *f, *t;
	uintptr_t result;

	if (unlikely(!flags_plain(flags, port_irq_were_enabled(irq))))
		return alloc_next(a, size, flags, caller, irq);
	if (unlikely(s->detour))
		return alloc_slow(a, size, flags, caller, irq);
	/* A size of 0, or one too large to be rounded up, is more than any segment has. */
	above = (size - 1) >> s->shift;
	units = (above + 1) << s->shift;
	f = btag_fit_quick(s, above);
	if (unlikely(!f))
		return s->segments_free > 0 ? alloc_unsure(a, size, flags, caller, irq) :
					      alloc_import(a, size, flags, caller, irq);
	if (unlikely(s->spare.count <= a->tag_reserve && f->size != units))
		return alloc_slow(a, size, flags, caller, irq);
	arena_span_begin_use(a, f);
	a->allocs++;
	result = f->start;
	if (unlikely(btag_carve_quick(s, f, units, &t)))
		return alloc_settle(a, f, result, irq);
	spin_unlock(&a->lock, irq);
	return (void *)result;
}

void *arena_segment_alloc(struct arena *a, size_t size)
{
	enum arena_failure why;
	uintptr_t result;

	if (!serve(a, btag_round_up(&a->store, size), MEM_ATOMIC, &result, &why))
		return NULL;
	return alloc_end(a, result);
}

void arena_segment_free(struct arena *a, void *addr, size_t size, void *caller)
{
	arena_take_back(a, (uintptr_t)addr, size, caller, BTAG_USED);
}

static void free_to(struct arena *a, void *addr, size_t size, void *caller)
{
	size_t units = btag_round_up(&a->store, size);

	if (is_fronted(a, units))
		front_free(a, addr, units, caller);
	else
		arena_segment_free(a, addr, size, caller);
}

void *arena_alloc(struct arena *a, size_t size, unsigned flags)
{
	void *cached;

	/* What the quick ways leave out. */
	if (SPANDREL_DEBUG && (flags & MEM_WAIT))
		arena_check_flags(a, flags, __builtin_return_address(0));
	if (!is_fronted(a, size))
		return alloc_instant(a, size, flags, __builtin_return_address(0));
	if (flags_plain(flags, port_irq_enabled()) && (cached = round_take(a, class_of(a, size))))
		return cached;
	return alloc_missed(a, size, flags, __builtin_return_address(0));
}

void *arena_alloc_timeout(struct arena *a, size_t size, unsigned flags, uint64_t deadline)
{
	void *caller = __builtin_return_address(0);

	sync_check_may_sleep("arena_alloc_timeout", caller);
	if (!(flags & MEM_ERROR))
		arena_bug(a, caller, "flags %#x: a deadline is for MEM_ERROR", flags);
	return alloc_until(a, size, flags, deadline, caller);
}

void arena_free(struct arena *a, void *addr, size_t size)
{
	if (!is_fronted(a, size))
		arena_take_back(a, (uintptr_t)addr, size, __builtin_return_address(0), BTAG_USED);
	else
		front_free(a, addr, size, __builtin_return_address(0));
}

size_t arena_amt_free(struct arena *a)
{
	port_irq_t irq = spin_lock(&a->lock);
	size_t amount = a->store.total - a->store.used;

	spin_unlock(&a->lock, irq);
	return amount;
}

size_t arena_amt_total(struct arena *a)
{
	port_irq_t irq = spin_lock(&a->lock);
	size_t amount = a->store.total;

	spin_unlock(&a->lock, irq);
	return amount;
}

static struct arena *nearest_base(struct arena *near)
{
	return near ? near->base : base_arena;
}

void *base_alloc(struct arena *near, size_t size, unsigned flags)
{
	return alloc_from(nearest_base(near), size, flags, __builtin_return_address(0));
}

void *base_zalloc(struct arena *near, size_t size, unsigned flags)
{
	void *memory = alloc_from(nearest_base(near), size, flags, __builtin_return_address(0));

	return memory ? memset(memory, 0, size) : NULL;
}

void base_free(struct arena *near, void *addr, size_t size)
{
	free_to(nearest_base(near), addr, size, __builtin_return_address(0));
}
