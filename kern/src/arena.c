/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: allocation, imports, freeing.  This file is the story of one request, from top to bottom.
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
 * Not every span that becomes free goes back at once: an arena retains a few, of 32 of its
 * source's quanta at most, so that one that is emptied and filled again and again doesn't ask its source
 * each time.  Allocations are served from those; reclaim and arena_reap() give them back, with all else
 * an arena has and doesn't need, and so does a request before it sleeps, in its own arena and that one's
 * sources.  At the hardest level they give back free parts of spans that are partly used, too
 * (arena/part.c).
 *
 * A boundary tag is the record of one segment or span.  Tags lie apart from what they describe, so
 * that an arena can hand out what isn't memory, or memory that must not be touched.
 *
 * An instant fit takes the first segment that surely serves, in constant time.  A next fit takes
 * the lowest place above the one that the last next fit took; a high fit the highest place.  A hold
 * is what is done between taking an arena's lock and releasing it.  A poke asks reclaim, which is a
 * thread of its own, to work for an arena.
 *
 * REPRESENTATION
 *
 * The segment store (btag/) keeps an arena's tags four ways at once: all in one list in address
 * order; free ones in bins by size, with a bitmap of the bins that hold any; used ones in a hash by
 * start; spans in a balanced tree by start.  It works under the arena's lock, with tags and nodes
 * that are in its hand (its spare ones), and calls no other code.
 *
 * Tags come from the tag supply of the nearest base arena: pages of the base, full of tags
 * (arena/tags.c).  A base arena takes its tag pages from itself.  Its first pages hold the arena,
 * the supply and the first tags, among them the tag of the used segment that those pages are: no
 * step of its creation differs from what any arena does later but for where the first tags came
 * from.
 *
 * An arena that is asked again and again for the smallest segment that serves, the next, the
 * highest, or the lowest under constraints, comes to have an index of its free segments: trees of
 * nodes that lie apart from the tags (btag/index.c).  Most arenas never need one.
 *
 * ONE REQUEST
 *
 *  1. The front, a cache for small sizes (arena/front.h), hands out what the core has of that size.
 *  2. An instant fit, in one hold (take_instant).  Most requests end here.
 *  3. A search (arena_search in arena/search.c): it looks at 64 segments, in steps, or goes through
 *     the index if there is one.  In most arenas that settles whether anything held serves.
 *  4. An import.  Tags are set aside for it, under the hold that found nothing if there are enough.
 *     The source's alloc function is called with MEM_ATOMIC, and again only if it was an index that
 *     the source lacked, which is then built (ask_source).  Where the place of the span matters,
 *     if only that it must start at a multiple of the arena's larger quantum, the request becomes
 *     one of the source's instead, with the same flags: it goes through steps 3 to 5 there
 *     (arena_pass_down in arena/xalloc.c).  The span is put in, with the request's segment in it,
 *     in one hold: no other request can take that in between (install).
 *  5. A second search, step by step, until it is settled.  A MEM_ATOMIC request ends before:
 *     it pokes, so that reclaim builds an index, and fails (arena_index_miss).
 *  6. Sleep (arena_sleep in arena/wait.c), by flag: a ktask tries steps 1 to 5 when something was freed.
 *
 * Where an instant fit sees that nothing held is large enough, step 4 follows step 2 at once.  A front
 * that has no round makes a slab of them, in steps 2 to 4 for the slab (arena_segment_alloc); if it
 * can't, the request itself goes on to step 3.  arena_xalloc begins with step 3, or with step 1 where any
 * round of the front's serves: of a size that is a power of two each starts at a multiple of it.  A request that is
 * promised a certain place (the smallest segment, the next or highest place) takes step 5 before
 * step 4, and so does one with a window, which is promised the lowest place in it that is held.  A
 * MEM_ATOMIC request keeps the order: if 64 looks don't settle it, it imports, or fails.
 *
 * ONE FREE
 *
 *  1. The front keeps a small size for the next request (arena/front.h); to the arena it stays used
 *     until the front gives its slab back.
 *  2. The tag is found by address and goes out of the hash (btag_unuse); what has no tag, or another
 *     size, is a caller's bug.
 *  3. The segment becomes free and one with its free neighbours (btag_release).  If that is all of
 *     an imported span, the span is retained or goes (span_stays).  One segment that is a whole span
 *     by itself, and goes, need not become free first.
 *  4. A span that goes is taken out of the store in the same hold (btag_span_out), and given to the
 *     source without a lock (arena_span_return): that is a free there.
 *  5. What the free has left to do: tags beyond what is kept go back, the server is poked if something
 *     is short, hash and index get or give back a page (after_free).
 *
 * CONSTRAINTS
 *
 * Constraints (arena_xalloc) are: start equal to `phase` modulo `align`; within a window; crossing
 * no multiple of `nocross`.  An arena that imports by arena_alloc() and gives back by arena_free()
 * passes them down, where both quanta are powers of two: the source looks for a place in its own
 * segments and cuts out the whole quanta around it, and that is the span.  So a request goes down
 * the tree once, and comes back once:
 *
 *	dma      quantum 1 KiB     wants 8 KiB at a multiple of 64 KiB in a window, holds nothing
 *	  |                        passes that down
 *	kpages   quantum 4 KiB     holds nothing that serves
 *	  |                        passes down the same
 *	base     quantum 4 KiB     finds the lowest such place, cuts out 8 KiB
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
 *  9. In a tag supply, a page is in the list for its number of idle tags, in none if it has none,
 *     and the counts are the sums.
 * 10. The index is what btag/index.c says.
 *
 * TAGS
 *
 * Freeing takes no tag: a segment that was used becomes free under the tag it has, and joining only
 * gives tags back.  Allocating takes at most one for each end that stays free, and two more for a
 * span.  They are in the arena's hand before its lock is taken, or the lock is released to fetch
 * some.  Fetching may need a new tag page, which is cut out of the base arena; that takes a tag,
 * too, which is the first tag of the page itself.  So the deepest such stack is
 *
 *	arena_alloc -> arena_tags_fetch -> tag_page_fetch: carve a page of the base
 *
 * and its last step needs nothing but the page: there is no tag to hold in reserve.  `tag_reserve`
 * is what imports under way have set aside: ARENA_IMPORT_TAGS each, until the hold that puts the span
 * in; and what it takes to split a span of which a part goes back (arena/part.c).
 *
 * When tags can't be had, because the base has no page left, a request is still served by what can
 * be cut with those in hand, and by a segment of exactly its size, which takes none.
 *
 * LOCKING
 *
 *	arenas_and_slabs_lock (sleeps) -> tag supply -> arena
 *	arenas_and_slabs_lock (sleeps) -> node supply
 *
 * Each arena has its own lock; no arena's lock is held while another's is taken, nor while afunc, ffunc
 * or other callers' code runs.  A caller's bug is found under the lock and reported after it was released.
 * Only the outermost call may sleep: so a source's function is called with MEM_ATOMIC, and what is
 * passed down never comes to step 6.
 *
 * COST
 *
 * Instant fit takes the head of the first bin in which every segment serves: two bitmap words,
 * constant.  What it cuts off gets a tag of its own, so that the rest keeps its place in its bin
 * while its size does; a free that joins keeps the larger neighbour's.  A front's rounds don't even
 * take the lock.  Freeing finds its tag in the hash, whose load is at most one, and looks at two
 * neighbours: constant.  The hash grows by at most two buckets an operation, and its pages come one
 * at a time; it shrinks in bounded steps when the arena is reaped.  Spans are found in logarithmic time, which imports, additions and
 * returns pay.
 * A search costs 64 segments; what is beyond that adds up, and when it comes to a quarter of the
 * segments the index is built, with which searches are logarithmic.  No hold is longer than a
 * bounded step, whatever the arena's size.
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
 * rather than to a system-wide pool.  The hash grows a bucket at a time.  An import keeps
 * its span.  Spans are kept in order.
 */
#include "arena/arena_impl.h"

#include "lib/callback.h"
#include "lib/check.h"
#include "lib/held.h"
#include "lib/string.h"
#include "stacks.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

#define WATCH_PERIOD 16 /* imports between looks at the base's watermark */

/* The story of a request: in the order of its steps. */
static void *alloc_plain(struct arena *a, size_t size, unsigned flags, void *caller);
static void *alloc(struct arena *a, size_t size, unsigned flags, uint64_t deadline, void *caller);
static inline void *finish(struct arena_request *r, bool served, uint64_t deadline, void *caller);
/* arena_request_serve() stands here (arena_impl.h). */
static bool retry(struct shortage *s);
static inline void *take_instant(struct arena *a, size_t size, bool *has_tags_aside);
/* arena_serve() stands here (arena_impl.h). */
static bool import(struct arena_request *r);
static bool ask_source(struct arena_request *r, struct arena_span *span);
static bool install(struct arena_request *r, const struct arena_span *span);
static inline bool span_stays(const struct arena *a, const struct btag *span);
static void after_free(struct arena *a);
static void bad_free(struct arena *a, enum btag_kind found, enum btag_kind kind, uintptr_t addr,
	size_t size, void *caller) __attribute__((noreturn, cold));

/* Allocation */

void *arena_alloc(struct arena *a, size_t size, unsigned flags)
{
	void *caller = __builtin_return_address(0), *round;

	if (SPANDREL_DEBUG) {
		check_given("arena_alloc", "arena", a, __builtin_return_address(0));
		arena_check_flags(a, flags, caller);
	}
	if (__builtin_expect(arena_flags_plain(flags), 1)) {
		if (!arena_is_fronted(a, size))
			return alloc_plain(a, size, flags, caller);
		round = arena_round_take(a, size);
		if (round)
			return round;
	}
	return alloc(a, size, flags, 0, caller);
}

void *arena_alloc_timeout(struct arena *a, size_t size, unsigned flags, uint64_t deadline)
{
	void *caller = __builtin_return_address(0);

	check_given("arena_alloc_timeout", "arena", a, __builtin_return_address(0));
	sync_check_may_sleep("arena_alloc_timeout", caller);
	if (!(flags & MEM_ERROR))
		arena_bug(a, caller, "flags %#x: a deadline is for MEM_ERROR", flags);
	return alloc(a, size, flags, deadline ? deadline : 1, caller);
}

static inline enum btag_fit fit_of(unsigned flags)
{
	return flags & ARENA_BESTFIT ? BTAG_FIT_BEST :
	       flags & ARENA_NEXTFIT ? BTAG_FIT_NEXT :
	       flags & ARENA_HIGHFIT ? BTAG_FIT_HIGH :
				       BTAG_FIT_ANY;
}

static inline void request_init(struct arena_request *r, struct arena *a, size_t units, unsigned flags)
{
	size_t q = a->store.quantum;

	r->arena = a;
	r->rq = (struct btag_request){units, fit_of(flags), true, {q, 0, 0, q}, 0, UINTPTR_MAX};
	r->flags = flags;
	r->kind = BTAG_USED;
	r->has_tags_aside = false;
	r->why = ARENA_FAILURE_SHORTAGE;
}

void arena_request_init(struct arena_request *r, struct arena *a, size_t units, unsigned flags)
{
	request_init(r, a, units, flags);
}

/* Past the front, with flags that are plain: an instant fit.  What that can't serve becomes a request,
 * which begins with its import if nothing held is large enough.  Apart, so that the benchmark's row
 * `page_pair` needs no frame. */
static __attribute__((noinline)) void *alloc_plain(struct arena *a, size_t size, unsigned flags, void *caller)
{
	struct arena_request r;
	bool has_tags_aside = false;
	void *at;

	if (unlikely(shortage_any() && (!(flags & MEM_ATOMIC) || arena_fail_any())))
		return alloc(a, size, flags, 0, caller);
	at = take_instant(a, size, &has_tags_aside);
	if (at)
		return arena_served(a, (uintptr_t)at, caller);
	if (!has_tags_aside)
		return alloc(a, size, flags, 0, caller);
	request_init(&r, a, btag_round_up(&a->store, size), flags);
	r.has_tags_aside = true;
	return finish(&r, arena_serve(&r), 0, caller);
}

/* Sleeps by its flags, or until `deadline` unless that is 0. */
static __attribute__((noinline)) void *alloc(
	struct arena *a, size_t size, unsigned flags, uint64_t deadline, void *caller)
{
	size_t units = btag_round_up(&a->store, size);
	struct arena_request r;

	if (unlikely(!arena_flags_plain(flags)))
		arena_check_flags(a, flags, caller);
	if (unlikely(units == 0))
		arena_bug(a, caller, "allocation of size %#zx, which is %s", size,
			size ? "too large to round up" : "nothing");
	request_init(&r, a, units, flags);
	return finish(&r, !arena_must_stand_back(a, flags) && arena_request_serve(&r), deadline, caller);
}

/* The request has been served, or has to wait, or fails. */
static inline void *finish(struct arena_request *r, bool served, uint64_t deadline, void *caller)
{
	if (!served && !arena_sleep(r, retry, deadline, caller))
		return NULL;
	if (served && shortage_any() && !(r->flags & MEM_ATOMIC))
		arena_passed(r->arena);
	return arena_served(r->arena, r->place.at, caller);
}

bool arena_notes_users;

/* By the hash: the segment may have another tag by now.  An arena with a front has rounds, too, and notes none. */
void *arena_note_user(struct arena *a, uintptr_t at, void *caller)
{
	const struct stack *user = stacks_keep(caller);
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *t = btag_of_link(*btag_seek(&a->store, at));

	if (user) {
		t->user = user;
		t->since = port_ns();
	}
	spin_unlock(&a->lock, irq);
	return (void *)at;
}

/* An attempt for a request that sleeps. */
static bool retry(struct shortage *s)
{
	struct arena_sleep *sleep = container_of(s, struct arena_sleep, record);

	return arena_sleep_note(sleep, arena_request_serve(sleep->request));
}

/* Whether any round of the front's serves.  Of a power of two they start at multiples of it, so that they
 * cross none of a larger one.  A request with a window has another fit. */
static bool front_serves(const struct arena_request *r)
{
	const struct btag_request *rq = &r->rq;

	if (rq->fit != BTAG_FIT_ANY || !arena_is_fronted(r->arena, rq->size))
		return false;
	return rq->is_plain || ((rq->size & (rq->size - 1)) == 0 && rq->triple.phase == 0 &&
				rq->triple.step <= rq->size);
}

/* Takes it from the front; what that got from the arena itself, for want of a slab, may lie elsewhere
 * than at a multiple of its size, and goes back there. */
static uintptr_t front_take(struct arena_request *r)
{
	struct arena *a = r->arena;
	uintptr_t at = (uintptr_t)a->front->alloc(a->front, arena_class_of(a, r->rq.size));

	if (r->rq.is_plain || at % r->rq.size == 0)
		return at;
	arena_take_back(a, at, r->rq.size, __builtin_return_address(0), BTAG_USED);
	return 0;
}

/* All there is begins with an instant fit. */
bool arena_request_serve(struct arena_request *r)
{
	if (front_serves(r)) {
		r->place.at = front_take(r);
		/* An NMI may have landed where this core holds the lock. */
		if (r->place.at || port_in_nmi())
			return r->place.at != 0;
	}
	if (!arena_serve(r))
		return false;
	/* Relaxed: what is freed was allocated before. */
	if (r->kind == BTAG_XALLOCATED && arena_is_fronted(r->arena, r->rq.size))
		__atomic_fetch_add(&r->arena->placed, 1, __ATOMIC_RELAXED);
	return true;
}

/* Segment t has been handed out. */
static inline void count(struct arena *a, struct btag *t, enum btag_fit fit, enum btag_kind kind)
{
	a->allocs++;
	if (fit == BTAG_FIT_ANY && kind == BTAG_USED)
		return;
	a->allocs_by[kind == BTAG_XALLOCATED ? ARENA_STYLE_CONSTRAINED :
		     fit == BTAG_FIT_BEST    ? ARENA_STYLE_BEST :
		     fit == BTAG_FIT_HIGH    ? ARENA_STYLE_HIGH :
					       ARENA_STYLE_NEXT]++;
	if (fit == BTAG_FIT_NEXT)
		btag_next_fit_move(&a->store, t);
}

/* f is a free segment, and [start, start + size) in it what is handed out.  Inline for the row
 * `arena_pair`. */
static inline __attribute__((always_inline)) void take(struct arena *a, struct btag *f, uintptr_t start,
	size_t size, enum btag_fit fit, enum btag_kind kind)
{
	if (unlikely(a->retained > 0) && btag_span_whole(f))
		a->retained -= f->prev->size;
	count(a, btag_carve(&a->store, f, start, size, kind), fit, kind);
}

void arena_take(struct arena *a, struct btag *f, uintptr_t start, size_t size, enum btag_fit fit,
	enum btag_kind kind)
{
	take(a, f, start, size, fit, kind);
}

/* What most requests come to: an instant fit, and a tag in hand to cut it.  NULL: there is none, or
 * the size can't be rounded; *has_tags_aside: nothing held is large enough, and tags are set aside for
 * an import.  Inline for the benchmark's row `arena_pair`. */
static inline __attribute__((always_inline)) void *take_instant(
	struct arena *a, size_t size, bool *has_tags_aside)
{
	struct btag_store *s = &a->store;
	port_irq_t irq = spin_lock(&a->lock);
	size_t units = btag_round_up(s, size);
	struct btag *f = btag_fit_instant(s, btag_scaled(s, units));
	uintptr_t at = 0;

	if (__builtin_expect(f && arena_tags(a) >= (f->size != units), 1)) {
		at = f->start;
		take(a, f, at, units, BTAG_FIT_ANY, BTAG_USED);
	} else if (!f && a->afunc && units > 0 && !btag_holds_enough(s, units)) {
		*has_tags_aside = arena_tags_hold(a);
	}
	spin_unlock(&a->lock, irq);
	if (unlikely(btag_needs_care(s)))
		arena_care(a);
	return (void *)at;
}

/* Steps 3 to 5.  A request that any place serves imports before it searches far; the others, which are
 * promised a certain place, search all that is held before they import, unless they are atomic. */
bool arena_serve(struct arena_request *r)
{
	struct arena *a = r->arena;
	bool far = arena_may_search(r->flags), imports_first = a->afunc && r->rq.fit == BTAG_FIT_ANY;
	enum btag_verdict v = BTAG_NOTHING;

	r->why = ARENA_FAILURE_SHORTAGE;
	/* A caller that has set tags aside has searched. */
	if (!r->has_tags_aside)
		v = arena_search(r, far && !imports_first, a->afunc != NULL);
	if (v != BTAG_FOUND && a->afunc && import(r))
		v = BTAG_FOUND;
	if (v == BTAG_MORE && far)
		v = arena_search(r, true, false);
	if (v == BTAG_MORE && r->why != ARENA_FAILURE_TAGS)
		arena_index_miss(r);
	if (unlikely(arena_needs_care(a)))
		arena_care(a);
	return v == BTAG_FOUND;
}

/* Imports */

/* Takes a span from the source and puts it in, the request's segment in it. */
static bool import(struct arena_request *r)
{
	struct arena *a = r->arena;
	struct arena_span span;

	if (!r->has_tags_aside && !arena_tags_set_aside(a)) {
		r->why = ARENA_FAILURE_TAGS;
		return false;
	}
	r->has_tags_aside = false;
	spin_assert_none_held();
	if (!ask_source(r, &span)) {
		arena_tags_let_go(a);
		arena_watch_base(a);
		return false;
	}
	if (install(r, &span))
		arena_watch_base(a);
	return true;
}

/* How much to ask for, so that the request fits wherever it lands; 0: there is no telling. */
static size_t covering_size(const struct arena *a, const struct btag_request *rq)
{
	size_t from = a->source->store.quantum, size;

	if (from == a->store.quantum && rq->is_plain)
		return btag_round_up(&a->source->store, rq->size);
	if (btag_has_window(rq))
		return 0;
	size = btag_triple_covers(&rq->triple, from, rq->size);
	return size ? btag_round_up(&a->source->store, size) : 0;
}

/* A function of the owner's runs as a callback does: nothing may sleep in it. */
static void *call_afunc(struct arena *a, size_t size)
{
	struct callback call;
	void *span;

	if (a->afunc == arena_alloc)
		return arena_alloc(a->source, size, MEM_ATOMIC);
	call = callback_enter(a->name);
	span = a->afunc(a->source, size, MEM_ATOMIC);
	callback_leave(call);
	return span;
}

/* Asks once, and again only after an index that was missed in a source has been built. */
static bool ask_source(struct arena_request *r, struct arena_span *span)
{
	struct arena *a = r->arena;
	size_t size;

	if (a->passes_down && arena_source_must_place(r))
		return arena_pass_down(r, span);
	size = covering_size(a, &r->rq);
	if (size == 0)
		return false;
	*span = (struct arena_span){0, size, false};
	do
		span->start = (uintptr_t)call_afunc(a, size);
	while (!span->start && arena_may_search(r->flags) && arena_sources_build(a));
	return span->start != 0;
}

/* Puts the span in, the request carved out of it, in one hold, with the tags that were set aside.  Returns
 * whether it is time to look at the base's watermark. */
static bool install(struct arena_request *r, const struct arena_span *span)
{
	struct arena *a = r->arena;
	port_irq_t irq = spin_lock(&a->lock);
	const char *refused = NULL;
	struct btag_extent e;
	struct btag *t;
	bool looks = false;

	a->tag_reserve -= ARENA_IMPORT_TAGS;
	if (span->start + (span->size - 1) < span->start) {
		refused = "wraps around";
	} else if (!btag_extent_find(&a->store, span->start, span->size, &e)) {
		refused = "overlaps what was imported before";
	} else if (!e.inside || !btag_place_within(&a->store, &r->rq, e.first, e.inside, &r->place)) {
		refused = "is misaligned: what was asked for doesn't fit in it";
	} else {
		t = btag_span_in(&a->store, &e, span->by_xalloc, r->place.start, r->place.size, r->kind);
		looks = ++a->imports % WATCH_PERIOD == 0;
		count(a, t, r->rq.fit, r->kind);
	}
	spin_unlock(&a->lock, irq);
	if (unlikely(refused != NULL))
		panic("arena %s: the span [%#lx, +%#zx) that its source %s gave %s", a->name, span->start,
			span->size, a->source->name, refused);
	return looks;
}

void *arena_segment_alloc(struct arena *a, size_t size, size_t align)
{
	struct arena_request r;
	bool has_tags_aside = false;
	void *at;

	if (unlikely(arena_part_fails(a)))
		return NULL;
	at = align ? NULL : take_instant(a, size, &has_tags_aside);
	if (at)
		return at;
	request_init(&r, a, btag_round_up(&a->store, size), MEM_ATOMIC);
	r.has_tags_aside = has_tags_aside;
	if (align) {
		btag_triple_make(&r.rq.triple, &a->store, align, 0, 0);
		r.rq.is_plain = btag_triple_is_plain(&a->store, &r.rq.triple);
	}
	return arena_serve(&r) ? (void *)r.place.at : NULL;
}

/* Freeing */

void arena_free(struct arena *a, void *addr, size_t size)
{
	if (SPANDREL_DEBUG)
		check_given("arena_free", "arena", a, __builtin_return_address(0));
	if (!arena_is_fronted(a, size))
		arena_take_back(a, (uintptr_t)addr, size, __builtin_return_address(0), BTAG_USED);
	else
		arena_round_give(a, addr, size, __builtin_return_address(0));
}

void arena_segment_free(struct arena *a, void *addr, size_t size, void *caller)
{
	arena_take_back(a, (uintptr_t)addr, size, caller, BTAG_USED);
}

/* Steps 2 to 5 of a free.  A segment of whole quanta is that of `size` if it is larger by less than a
 * quantum. */
void arena_take_back(struct arena *a, uintptr_t addr, size_t size, void *caller, enum btag_kind kind)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct hash_link **link = btag_seek(&a->store, addr);
	struct btag *t = btag_of_link(*link), *span;
	struct arena_span gone = {0, 0, false};
	bool more = false, stays;

	if (__builtin_expect(t && t->kind == kind && t->size - size < a->store.quantum, 1)) {
		btag_unuse(&a->store, link);
		span = a->afunc ? btag_span_whole(t) : NULL;
		/* A segment that is a span: whether that stays comes first.  Any other: the free does.
		 * One of the two alone asks span_stays(), since its answer may change. */
		stays = !span || span_stays(a, span);
		if (stays)
			t = btag_release(&a->store, t);
		if (!span && a->afunc) {
			span = btag_span_whole(t);
			stays = span && span_stays(a, span);
		}
		if (span && stays) {
			a->retained += span->size;
		} else if (span) {
			arena_span_out(a, span, &gone);
		}
		more = shortage_any() || arena_tags(a) > ARENA_TAGS_MAX || btag_needs_care(&a->store);
		spin_unlock(&a->lock, irq);
	} else {
		enum btag_kind found = t ? t->kind : BTAG_FREE;

		spin_unlock(&a->lock, irq);
		bad_free(a, found, kind, addr, size, caller);
	}
	if (gone.size)
		arena_span_return(a, &gone);
	if (unlikely(more))
		after_free(a);
}

/* Whether a span that is wholly free is retained. */
static inline bool span_stays(const struct arena *a, const struct btag *span)
{
	return a->retained + span->size <= a->retain_max && !(shortage_any() && arena_is_pressed(a));
}

void arena_span_return(struct arena *a, const struct arena_span *span)
{
	struct callback call;

	spin_assert_none_held();
	if (span->by_xalloc) {
		arena_take_back(a->source, span->start, span->size, __builtin_return_address(0),
			BTAG_XALLOCATED);
	} else if (a->ffunc == arena_free) {
		arena_free(a->source, (void *)span->start, span->size);
	} else {
		call = callback_enter(a->name);
		a->ffunc(a->source, (void *)span->start, span->size);
		callback_leave(call);
	}
}

/* Tags beyond what is kept, requests that sleep, and care for hash and index. */
static void after_free(struct arena *a)
{
	bool pressed = shortage_any() && arena_is_pressed(a);

	arena_tags_shed(a, pressed && shortage_is_short(a->base) && !arena_is_base(a));
	if (pressed)
		shortage_poke();
	if (arena_needs_care(a))
		arena_care(a);
}

/* `found` is the kind of the used segment that starts there; BTAG_FREE: none does. */
static void bad_free(struct arena *a, enum btag_kind found, enum btag_kind kind, uintptr_t addr,
	size_t size, void *caller)
{
	struct arena_segment s;

	if (size == 0)
		arena_bug(a, caller, "free of %#lx with size 0", addr);
	if (!arena_find_segment(a, addr, &s))
		arena_bug(a, caller, "free of %#lx, size %#zx, which lies in no span of it", addr, size);
	if (s.kind != ARENA_SEGMENT_USED)
		arena_bug(a, caller, "free of %#lx, size %#zx, which is not allocated (freed twice?)", addr,
			size);
	if (found == BTAG_FREE)
		arena_bug(a, caller, "free of %#lx, size %#zx, which lies inside [%#lx, +%#zx)", addr, size,
			s.start, s.size);
	if (found != kind)
		arena_bug(a, caller,
			"free of %#lx, size %#zx, by the wrong one of arena_free and arena_xfree", addr, size);
	arena_bug(a, caller, "free of %#lx with the wrong size: %#zx, allocated were %#zx", addr, size,
		s.size);
}

/* Memory of the nearest base arena */

static struct arena *nearest_base(struct arena *near)
{
	return near ? near->base : base_arena;
}

static void check_base(const struct arena *near, const char *call, void *caller)
{
	if (!near && !base_arena)
		panic("%s before base_arena (called from %pS)", call, caller);
}

void *base_alloc(struct arena *near, size_t size, unsigned flags)
{
	check_base(near, "base_alloc", __builtin_return_address(0));
	return alloc(nearest_base(near), size, flags, 0, __builtin_return_address(0));
}

void *base_zalloc(struct arena *near, size_t size, unsigned flags)
{
	void *memory;

	check_base(near, "base_zalloc", __builtin_return_address(0));
	memory = alloc(nearest_base(near), size, flags, 0, __builtin_return_address(0));
	return memory ? memset(memory, 0, size) : NULL;
}

void base_free(struct arena *near, void *addr, size_t size)
{
	arena_take_back(
		nearest_base(near), (uintptr_t)addr, size, __builtin_return_address(0), BTAG_USED);
}

size_t arena_amt_free(struct arena *a)
{
	port_irq_t irq;
	size_t amount;

	check_given("arena_amt_free", "arena", a, __builtin_return_address(0));
	irq = spin_lock(&a->lock);
	amount = a->store.total - a->store.used;
	spin_unlock(&a->lock, irq);
	return amount;
}

size_t arena_amt_total(struct arena *a)
{
	port_irq_t irq;
	size_t amount;

	check_given("arena_amt_total", "arena", a, __builtin_return_address(0));
	irq = spin_lock(&a->lock);
	amount = a->store.total;
	spin_unlock(&a->lock, irq);
	return amount;
}

/* Callers' mistakes and shortage */

static inline bool is_one_at_most(unsigned flags)
{
	return (flags & (flags - 1)) == 0;
}

static const char in_callback[] = "MEM_WAIT in a callback of ";
static const char under_spinlock[] = "MEM_WAIT with interrupts off or under a spinlock, which can't sleep";
static const char wait_under_lists[] = "MEM_WAIT under arenas_and_slabs_lock";
static const char error_under_lists[] = "MEM_ERROR under arenas_and_slabs_lock";
static const char under_tried[] = "MEM_WAIT under ";

const char *arena_flags_wrong(unsigned flags)
{
	unsigned mem = flags & MEM_FLAGS;

	if (!mem || !is_one_at_most(mem) || !is_one_at_most(flags & ARENA_FITS) ||
		(flags & ~(MEM_FLAGS | ARENA_FITS)))
		return "not exactly one memory flag and at most one fit";
	if ((flags & MEM_WAIT) && (!port_may_sleep() || held_describe_spinlock(NULL, 0)))
		return port_in_irq() ? "MEM_WAIT in an interrupt, which can't sleep" : under_spinlock;
	if (SPANDREL_DEBUG && !(flags & MEM_ATOMIC) && !port_in_irq() && qlock_is_held_by_me(&arenas_and_slabs_lock))
		return flags & MEM_WAIT ? wait_under_lists : error_under_lists;
	if ((flags & MEM_WAIT) && port_word(PORT_THREAD_RECLAIM))
		return "MEM_WAIT in a ktask of reclaim";
	if ((flags & MEM_WAIT) && port_word(PORT_THREAD_CALLBACK))
		return in_callback;
	if ((flags & MEM_WAIT) && held_describe_tried(NULL, 0))
		return under_tried;
	return NULL;
}

const char *arena_flags_where(const char *wrong, char text[ARENA_WHERE_MAX])
{
	const char *callback = (const char *)port_word(PORT_THREAD_CALLBACK);
	char held[HELD_TEXT_MAX];

	text[0] = '\0';
	if (wrong == in_callback && callback)
		ksnprintf(text, ARENA_WHERE_MAX, "%s", callback);
	else if (wrong == under_spinlock && held_describe_spinlock(held, sizeof(held)))
		ksnprintf(text, ARENA_WHERE_MAX, ": %s", held);
	else if ((wrong == wait_under_lists || wrong == error_under_lists) && held_site(&arenas_and_slabs_lock))
		ksnprintf(text, ARENA_WHERE_MAX, ", taken at %pS", held_site(&arenas_and_slabs_lock));
	else if (wrong == under_tried)
		held_describe_tried(text, ARENA_WHERE_MAX);
	return text;
}

/* Apart, so that the others' frames stay small. */
static __attribute__((noreturn, noinline, cold)) void bad_flags(
	const struct arena *a, unsigned flags, const char *wrong, void *caller)
{
	char where[ARENA_WHERE_MAX];

	arena_bug(a, caller, "flags %#x: %s%s", flags, wrong, arena_flags_where(wrong, where));
}

void arena_check_flags(const struct arena *a, unsigned flags, void *caller)
{
	const char *wrong = arena_flags_wrong(flags);

	if (unlikely(wrong != NULL))
		bad_flags(a, flags, wrong, caller);
}

void arena_count_failure(struct arena *a, enum arena_failure why)
{
	port_irq_t irq = spin_lock(&a->lock);

	a->failures_by[why]++;
	spin_unlock(&a->lock, irq);
}
