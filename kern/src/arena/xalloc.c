/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: requests with constraints.
 *
 * An arena serves them from what it holds (arena_search.c), or imports.  Where the source's
 * integers are its own, the request goes down as it is: the source looks for a place that satisfies
 * the importer's constraints in its own segments, cuts out the whole quanta around that place, and
 * those are the span.  So the arena that can meet a constraint is the one that sees it, however
 * many levels down.  What an arena on the way has to find is whole quanta of its own in the span:
 * that is what a triple's clip quanta are for.
 *
 * Where afunc translates, nothing is known of where a span will lie but that it starts on a
 * quantum, so it is asked for enough that there is a place wherever that is.
 */
#include "arena_impl.h"

/* What an import takes: tags for span and segment, and for both ends that stay free. */
#define TAGS_PER_XIMPORT 4

static inline bool passes_down(const struct arena *a)
{
	return a->afunc == arena_alloc && a->ffunc == arena_free && a->source != a;
}

/* Imports */

static size_t gcd(size_t a, size_t b)
{
	while (b) {
		size_t r = a % b;

		a = b;
		b = r;
	}
	return a;
}

/* One more clip quantum, to be rounded to before the others.  Of two in a row of which one divides
 * the other, the larger says all.  Where there is no room for one, the last becomes a multiple of
 * both, which may miss a place but finds no wrong one; false if there is no such multiple. */
static bool clip_add(struct btag_triple *t, size_t q)
{
	size_t n = 0, *last;

	while (n < BTAG_CLIPS && t->clip[n] != 0)
		n++;
	last = n > 0 ? &t->clip[n - 1] : NULL;
	if (last && *last % q == 0)
		return true;
	if (last && q % *last == 0)
		*last = q;
	else if (n < BTAG_CLIPS)
		t->clip[n] = q;
	else
		return !__builtin_mul_overflow(*last / gcd(*last, q), q, last);
	return true;
}

/* The request as the source of `a` gets it.  Segments of the source are whole quanta of a's if the
 * source's quantum is a multiple; and the importer at the top takes what the triple gives, which is
 * whole quanta. */
static bool request_down(
	const struct arena *a, const struct btag_request *rq, bool top, struct btag_request *down)
{
	size_t q = a->store.quantum;

	*down = *rq;
	down->fit = BTAG_FIT_LOWEST;
	down->cursor = NULL;
	return top || a->source->store.quantum % q == 0 || clip_add(&down->triple, q);
}

/* Sets tags aside for an import, of those in hand and of `tags`, which go there. */
static bool tags_hold(struct arena *a, struct btag_chain *tags)
{
	port_irq_t irq = arena_lock(a);
	bool held;

	btag_give(&a->store, tags);
	held = a->store.spare.count >= a->tag_reserve + TAGS_PER_XIMPORT;
	if (held)
		a->tag_reserve += TAGS_PER_XIMPORT;
	else
		arena_tags_miss(a);
	arena_unlock(a, irq);
	return held;
}

static bool tags_for_import(struct arena *a)
{
	struct btag_chain tags = {NULL, 0};

	if (tags_hold(a, &tags))
		return true;
	arena_tags_fetch(a, &tags, TAGS_PER_XIMPORT);
	return tags_hold(a, &tags);
}

/* Puts the span in and carves the request out of it, with the tags that were set aside. */
static const char *install(struct arena *a, const struct btag_request *rq, uintptr_t start,
	size_t got, bool by_xalloc, enum btag_kind kind, struct btag_place *place)
{
	port_irq_t irq = arena_lock(a);
	struct btag_extent e;
	const char *refused = arena_span_refused(a, start, got, a->store.quantum, &e);

	a->tag_reserve -= TAGS_PER_XIMPORT;
	if (!refused) {
		struct btag *f, *t;

		f = btag_span_import(&a->store, &e);
		f->prev->by_xalloc = by_xalloc;
		a->imports++;
		if (btag_place_in(&a->store, rq, f, 0, place)) {
			t = btag_carve(&a->store, f, place->start, place->size);
			t->kind = kind;
			arena_count_alloc(a, rq->fit, kind);
			if (rq->fit == BTAG_FIT_NEXT)
				btag_cursor_move(&a->store.next_fit, t);
		} else {
			btag_span_remove(&a->store, f->prev);
			a->imports--;
			refused = "is misaligned: what was asked for doesn't fit in it";
		}
	}
	arena_unlock(a, irq);
	return refused;
}

/* How much to ask a translating afunc for; 0 if there is no telling.  A request handed down by an
 * importer need not be whole quanta, and what clipping leaves doesn't start on one. */
static size_t covering_size(const struct arena *a, const struct btag_request *rq)
{
	struct btag_triple t = rq->triple;
	size_t q = a->store.quantum;
	size_t grid = t.clip[0] == 0 && t.step % q == 0 && t.first % q == 0 ? q : 1;
	size_t size = rq->size, slack;

	if (rq->lo > 0 || rq->hi < UINTPTR_MAX)
		return 0;
	/* Rounding inward loses less than a quantum at either end. */
	for (int i = 0; i < BTAG_CLIPS; i++) {
		if (__builtin_add_overflow(size, t.clip[i], &size) ||
			__builtin_add_overflow(size, t.clip[i], &size))
			return 0;
		t.clip[i] = 0;
	}
	slack = btag_triple_slack(&t, grid, rq->size);
	if (slack == SIZE_MAX || __builtin_add_overflow(size, slack, &size))
		return 0;
	size = btag_round_up(&a->store, size);
	return size ? arena_import_size(a, size) : 0;
}

static bool serve(struct arena *a, const struct btag_request *rq, unsigned flags, bool top,
	struct btag_place *place, enum arena_failure *why);

/* The source's place for it; one that it refuses, it counts. */
static bool ask_source(struct arena *a, const struct btag_request *rq, unsigned flags,
	struct btag_place *span, enum arena_failure *why)
{
	enum arena_failure its = ARENA_FAILURE_SHORTAGE;

	if (serve(a->source, rq, flags, false, span, &its))
		return true;
	arena_count_failure(a->source, its);
	if (its != ARENA_FAILURE_SHORTAGE)
		*why = its;
	return false;
}

static bool import_down(struct arena *a, const struct btag_request *rq, unsigned flags, bool top,
	enum btag_kind kind, struct btag_place *place, enum arena_failure *why)
{
	struct btag_request down;
	struct btag_place span;
	const char *refused;

	if (!request_down(a, rq, top, &down) || !ask_source(a, &down, flags, &span, why))
		return false;
	refused = install(a, rq, span.start, span.size, true, kind, place);
	if (refused)
		arena_span_bug(a, span.start, span.size, refused);
	return true;
}

static bool import_covering(
	struct arena *a, const struct btag_request *rq, unsigned flags, struct btag_place *place)
{
	size_t got = covering_size(a, rq);
	const char *refused;
	uintptr_t start = 0;

	if (got == 0)
		return false;
	do
		start = (uintptr_t)a->afunc(a->source, got, MEM_ATOMIC);
	while (start == 0 && !(flags & MEM_ATOMIC) && arena_sources_build(a));
	if (start == 0)
		return false;
	refused = install(a, rq, start, got, false, BTAG_XALLOCATED, place);
	if (refused)
		arena_span_bug(a, start, got, refused);
	return true;
}

/* `top`: the request is of this arena's own caller. */
static bool import(struct arena *a, const struct btag_request *rq, unsigned flags, bool top,
	enum btag_kind kind, struct btag_place *place, enum arena_failure *why)
{
	bool served;

	if (!tags_for_import(a)) {
		*why = ARENA_FAILURE_TAGS;
		return false;
	}
	served = passes_down(a) ? import_down(a, rq, flags, top, kind, place, why) :
				  import_covering(a, rq, flags, place);
	arena_tags_let_go(a, served ? 0 : TAGS_PER_XIMPORT);
	return served;
}

/* From what the arena holds, or its source. */
static bool serve(struct arena *a, const struct btag_request *rq, unsigned flags, bool top,
	struct btag_place *place, enum arena_failure *why)
{
	bool served = arena_search(a, rq, flags, BTAG_XALLOCATED, place, why) ||
		      (a->afunc && import(a, rq, flags, top, BTAG_XALLOCATED, place, why));

	if (served && arena_needs_care(a))
		arena_care(a);
	return served;
}

static inline bool is_power_of_two(size_t n)
{
	return (n & (n - 1)) == 0;
}

bool arena_imports_aligned(const struct arena *a)
{
	size_t q = a->store.quantum;

	return q > a->source->store.quantum && passes_down(a) && is_power_of_two(q) &&
	       is_power_of_two(a->source->store.quantum);
}

bool arena_import_aligned(struct arena *a, const struct btag_request *rq, unsigned flags,
	uintptr_t *result, enum arena_failure *why)
{
	struct btag_place place;
	bool served = import(a, rq, flags, true, BTAG_USED, &place, why);

	if (served)
		*result = place.at;
	return served;
}

/* The public pair */

struct constraint {
	size_t align, phase, nocross;
	uintptr_t min, max;
};

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
	if (c->phase >= c->align && c->phase > 0)
		arena_bug(a, caller, "phase %#zx is not below align %#zx", c->phase, c->align);
	if (c->nocross && c->nocross < size)
		arena_bug(a, caller, "size %#zx in one piece crosses every multiple of nocross %#zx", size,
			c->nocross);
	if (c->max && c->min > c->max)
		arena_bug(a, caller, "the window [%#lx, %#lx) wraps around", c->min, c->max);
}

/* Whether any address at all could serve; then *rq says how. */
static bool request_make(struct arena *a, size_t units, const struct constraint *c, unsigned flags,
	struct btag_request *rq)
{
	struct btag_triple t;
	uintptr_t r;

	arena_request_plain(a, rq, units, flags);
	if (!btag_triple_make(&t, a->store.quantum, c->align, c->phase, c->nocross))
		return false;
	rq->triple = t;
	rq->lo = c->min;
	rq->hi = c->max ? c->max - 1 : UINTPTR_MAX;
	if (rq->lo > rq->hi || !btag_triple_place(&t, 1, UINTPTR_MAX, rq->lo, rq->hi, units, &r))
		return false;
	if (btag_triple_is_plain(&a->store, &t) && rq->lo == 0 && rq->hi == UINTPTR_MAX)
		return true;
	rq->surely = rq->fit == BTAG_FIT_ANY && rq->lo == 0 && rq->hi == UINTPTR_MAX;
	if (rq->fit != BTAG_FIT_NEXT)
		rq->fit = BTAG_FIT_LOWEST;
	return true;
}

/* A request, for when it has to wait. */
struct wish {
	struct arena *arena;
	const struct btag_request *rq;
	unsigned flags;
	struct btag_place place;
	enum arena_failure why; /* it wasn't served */
};

static bool wish_serve(void *arg)
{
	struct wish *w = arg;

	return serve(w->arena, w->rq, w->flags, true, &w->place, &w->why);
}

void *arena_xalloc(struct arena *a, size_t size, size_t align, size_t phase, size_t nocross,
	uintptr_t minaddr, uintptr_t maxaddr, unsigned flags)
{
	void *caller = __builtin_return_address(0);
	struct constraint c = {align, phase, nocross, minaddr, maxaddr};
	size_t units = btag_round_up(&a->store, size);
	struct btag_request rq;
	struct wish w = {a, &rq, flags, {0}, ARENA_FAILURE_SHORTAGE};
	bool possible;

	check_call(a, size, units, &c, flags, caller);
	possible = request_make(a, units, &c, flags, &rq);
	if (!possible && (flags & MEM_WAIT))
		arena_bug(a, caller,
			"%#zx at phase %#zx of %#zx within [%#lx, %#lx) not crossing %#zx: no address can "
			"serve, and MEM_WAIT would wait for ever",
			size, phase, align, minaddr, maxaddr, nocross);
	if (possible && !arena_queues(a, flags & MEM_WAIT) && wish_serve(&w))
		return (void *)w.place.at;
	if (!possible)
		w.why = ARENA_FAILURE_IMPOSSIBLE;
	if (!arena_shortage(
		    a, units, wish_serve, &w, flags & MEM_WAIT ? PORT_FOREVER : 0, w.why, caller))
		return NULL;
	return (void *)w.place.at;
}

void arena_xfree(struct arena *a, void *addr, size_t size)
{
	arena_take_back(a, (uintptr_t)addr, size, __builtin_return_address(0), BTAG_XALLOCATED);
}
