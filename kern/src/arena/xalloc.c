/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: requests with constraints.
 *
 * An arena serves them from what it holds, or imports.  Where the source's integers are its own and
 * both quanta are powers of two, the request is passed down as it is: the source looks for a place
 * that satisfies the constraints in its own segments, cuts out the whole quanta around that place,
 * and those are the span.  So the arena that can meet a constraint is the one that sees it, however
 * many levels down.  Each arena on the way has to find whole quanta of its own in the span.  So the
 * request names the largest quantum of those arenas, its `grain`: a free segment counts as far as it
 * is whole grains, and what is cut out are the whole grains around the place.
 *
 * Elsewhere nothing is known of where a span will lie but that it starts on a quantum of the
 * source's, so the source is asked for enough that there is a place wherever that is (arena.c).
 */
#include "arena_impl.h"

#include "lib/check.h"

bool arena_source_must_place(const struct arena_request *r)
{
	const struct btag_request *rq = &r->rq;

	/* Any span serves, if it starts on a quantum of this arena's. */
	if (rq->is_plain && rq->fit != BTAG_FIT_HIGH)
		return r->arena->store.quantum > r->arena->source->store.quantum;
	return rq->fit == BTAG_FIT_HIGH || btag_has_window(rq) ||
	       !btag_triple_is_plain(&r->arena->source->store, &rq->triple);
}

/* What the source cuts out for the request is the span.  A refusal counts as one of the source's.  What
 * the last next fit took, and which segment is the smallest, are matters of the importer's own
 * segments: the source is asked for its lowest place. */
bool arena_pass_down(struct arena_request *r, struct arena_span *span)
{
	struct arena_request down = *r;

	down.arena = r->arena->source;
	/* It is no smaller than the quantum of the arena that a request is in. */
	if (down.rq.triple.grain < down.arena->store.quantum)
		down.rq.triple.grain = down.arena->store.quantum;
	down.kind = BTAG_XALLOCATED;
	down.has_tags_aside = false;
	down.rq.is_plain = !btag_has_window(&r->rq) &&
			   btag_triple_is_plain(&down.arena->store, &down.rq.triple);
	down.why = ARENA_FAILURE_SHORTAGE;
	if (r->rq.fit != BTAG_FIT_HIGH && r->rq.fit != BTAG_FIT_ANY)
		down.rq.fit = BTAG_FIT_LOWEST;
	if (!arena_part_fails(down.arena) && arena_serve(&down)) {
		*span = (struct arena_span){down.place.start, down.place.size, true};
		return true;
	}
	arena_count_failure(down.arena, down.why);
	if (down.why != ARENA_FAILURE_SHORTAGE)
		r->why = down.why;
	return false;
}

/* The public pair */

struct constraint {
	size_t align, phase, nocross;
	uintptr_t min, max;
};

static inline bool is_power_of_two(size_t n)
{
	return (n & (n - 1)) == 0;
}

static void check_call(struct arena *a, size_t size, size_t units, const struct constraint *c,
	unsigned flags, void *caller)
{
	arena_check_flags(a, flags, caller);
	if (units == 0)
		arena_bug(a, caller, "allocation of size %#zx, which is %s", size,
			size ? "too large to round up" : "nothing");
	if (!is_power_of_two(c->align) || !is_power_of_two(c->nocross))
		arena_bug(a, caller, "align %#zx or nocross %#zx is not a power of two", c->align,
			c->nocross);
	if ((c->align > 1 || c->nocross) && !a->store.is_power)
		arena_bug(a, caller, "align %#zx or nocross %#zx, and the quantum %#zx is no power of two",
			c->align, c->nocross, a->store.quantum);
	if (c->phase >= c->align && c->phase > 0)
		arena_bug(a, caller, "phase %#zx is not below align %#zx", c->phase, c->align);
	if (c->nocross && c->nocross < size)
		arena_bug(a, caller, "size %#zx in one piece crosses every multiple of nocross %#zx", size,
			c->nocross);
	if (c->max && c->min > c->max)
		arena_bug(a, caller, "the window [%#lx, %#lx) ends before it begins", c->min, c->max);
}

/* Whether any address at all could serve; then *r says how.  Without any constraint, fits are those
 * of arena_alloc(). */
static bool request_make(struct arena_request *r, const struct constraint *c)
{
	struct arena *a = r->arena;
	struct btag_request *rq = &r->rq;
	bool has_window = c->min > 0 || c->max > 0;
	uintptr_t at;

	r->kind = BTAG_XALLOCATED;
	if (!btag_triple_make(&rq->triple, &a->store, c->align, c->phase, c->nocross))
		return false;
	rq->lo = c->min;
	rq->hi = c->max ? c->max - 1 : UINTPTR_MAX;
	rq->is_plain = !has_window && btag_triple_is_plain(&a->store, &rq->triple);
	if ((has_window && rq->fit == BTAG_FIT_ANY) || (!rq->is_plain && rq->fit == BTAG_FIT_BEST))
		rq->fit = BTAG_FIT_LOWEST;
	return rq->lo <= rq->hi &&
	       btag_triple_lowest(&rq->triple, a->store.quantum, UINTPTR_MAX, rq->lo, rq->hi, rq->size, &at);
}

/* An attempt for a request that sleeps. */
static bool retry(struct shortage *s)
{
	struct arena_sleep *sleep = container_of(s, struct arena_sleep, record);

	return arena_sleep_note(sleep, arena_request_serve(sleep->request));
}

/* Beyond the front's rounds, of which `misplaced` (0: none) is one that the arena handed out itself: it goes
 * back there.  Out of line, like xfree(), so that the hot paths save fewer registers (page_block_2). */
static __attribute__((noinline)) void *xalloc(struct arena *a, size_t size, const struct constraint *c,
	unsigned flags, uintptr_t misplaced, void *caller)
{
	size_t units = btag_round_up(&a->store, size);
	struct arena_request r;

	if (misplaced)
		arena_take_back(a, misplaced, size, caller, BTAG_USED);
	check_call(a, size, units, c, flags, caller);
	arena_request_init(&r, a, units, flags);
	if (!request_make(&r, c)) {
		if (flags & MEM_WAIT)
			arena_bug(a, caller,
				"%#zx at phase %#zx of %#zx within [%#lx, %#lx) not crossing %#zx: no address "
				"can serve, and MEM_WAIT would wait for ever",
				size, c->phase, c->align, c->min, c->max, c->nocross);
		arena_count_failure(a, ARENA_FAILURE_IMPOSSIBLE);
		return NULL;
	}
	if ((!arena_must_stand_back(a, flags) && arena_request_serve(&r)) || arena_sleep(&r, retry, 0, caller))
		return arena_served(a, r.place.at, caller);
	return NULL;
}

/* Of a size that is a power of two a round of the front's is aligned, too, if it is one of a slab's. */
void *arena_xalloc(struct arena *a, size_t size, size_t align, size_t phase, size_t nocross,
	uintptr_t minaddr, uintptr_t maxaddr, unsigned flags)
{
	void *caller = __builtin_return_address(0);
	uintptr_t round = 0;

	check_given("arena_xalloc", "arena", a, caller);
	if (arena_is_fronted(a, size) && a->store.is_power && !(phase | nocross | minaddr | maxaddr) &&
		is_power_of_two(size) && is_power_of_two(align) && align <= size && arena_flags_plain(flags)) {
		if (SPANDREL_DEBUG)
			arena_check_flags(a, flags, caller);
		round = (uintptr_t)arena_round_take(a, size);
		if (round && __builtin_expect((round & (size - 1)) == 0, 1))
			return (void *)round;
	}
	return xalloc(a, size, &(struct constraint){align, phase, nocross, minaddr, maxaddr}, flags, round, caller);
}

/* Whether arena_xalloc() cut it past the front. */
static bool is_placed(struct arena *a, uintptr_t addr)
{
	port_irq_t irq = spin_lock(&a->lock);
	struct btag *t = btag_of_link(*btag_seek(&a->store, addr));
	bool is = t && t->kind == BTAG_XALLOCATED;

	spin_unlock(&a->lock, irq);
	return is;
}

/* What was cut past the front goes back to the arena at once, so that its place can be had again. */
static __attribute__((noinline)) void xfree(struct arena *a, void *addr, size_t size, void *caller)
{
	bool is_fronted = arena_is_fronted(a, size);

	if (is_fronted && !is_placed(a, (uintptr_t)addr)) {
		arena_round_give(a, addr, size, caller);
		return;
	}
	arena_take_back(a, (uintptr_t)addr, size, caller, BTAG_XALLOCATED);
	if (is_fronted)
		__atomic_fetch_sub(&a->placed, 1, __ATOMIC_RELAXED);
}

void arena_xfree(struct arena *a, void *addr, size_t size)
{
	void *caller = __builtin_return_address(0);

	check_given("arena_xfree", "arena", a, caller);
	/* Relaxed: what is freed was allocated, and counted, before. */
	if (arena_is_fronted(a, size) && !__atomic_load_n(&a->placed, __ATOMIC_RELAXED))
		arena_round_give(a, addr, size, caller);
	else
		xfree(a, addr, size, caller);
}
