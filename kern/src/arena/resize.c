/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas: used segments that come to end elsewhere.
 *
 * A segment grows over the free one behind it.  The last of an imported span grows with the span, which is a
 * segment of the source's, and so on down: large blocks mostly are a span each, and what is free behind them
 * is the source's.
 */
#include "arena_impl.h"

/* The used segment [addr, addr + size), unless that is none or one of the front's, whose slab it may be. */
static struct btag *find(struct arena *a, uintptr_t addr, size_t size)
{
	struct btag *t = arena_is_fronted(a, size) ? NULL : btag_of_link(*btag_seek(&a->store, addr));

	return t && t->size == size ? t : NULL;
}

/* Whether the source's segment that is the span of t, its last segment, may grow. */
static bool may_import(const struct arena *a, const struct btag *span, const struct btag *t, size_t more)
{
	return a->passes_down && t->next->kind == BTAG_SPAN && btag_last(span) == btag_last(t) &&
	       more % a->source->store.quantum == 0;
}

bool arena_segment_grow(struct arena *a, uintptr_t addr, size_t size, size_t more)
{
	struct btag *t, *span = NULL;
	struct arena_span old = {0, 0, false};
	bool grows = false, imports = false;
	port_irq_t irq;

	if (arena_part_fails(a))
		return false;
	irq = spin_lock(&a->lock);
	t = find(a, addr, size);
	if (t && t->next->kind == BTAG_FREE && t->next->size >= more) {
		/* Where all behind it goes, so does a tag, as when a free segment is carved whole. */
		btag_grow(&a->store, t, more);
		grows = true;
	} else if (t) {
		span = btag_span_below(&a->store, addr);
		imports = may_import(a, span, t, more);
		old = (struct arena_span){span->start, span->size, span->by_xalloc};
	}
	spin_unlock(&a->lock, irq);
	if (imports && arena_segment_grow(a->source, old.start, old.size, more)) {
		/* The segment is the caller's, so that its span is as it was; tags may have changed. */
		irq = spin_lock(&a->lock);
		btag_span_grow(&a->store, btag_of_link(*btag_seek(&a->store, addr)), more);
		spin_unlock(&a->lock, irq);
		grows = true;
	}
	if (arena_needs_care(a))
		arena_care(a);
	if (imports && grows)
		arena_watch_base(a);
	return grows;
}

/* A free neighbour behind keeps the tag that the part is cut off with. */
bool arena_segment_trim(struct arena *a, uintptr_t addr, size_t size, size_t less)
{
	uintptr_t at = addr + size - less;
	enum btag_kind kind = BTAG_USED;
	bool has_tag, trims;

	do {
		port_irq_t irq = spin_lock(&a->lock);
		struct btag *t = find(a, addr, size);

		has_tag = arena_tags(a) > 0;
		trims = t && has_tag && !arena_is_fronted(a, size - less);
		if (trims) {
			kind = t->kind;
			arena_split(a, t, at);
		}
		spin_unlock(&a->lock, irq);
	} while (!has_tag && arena_tags_fetch(a));
	if (trims)
		arena_take_back(a, at, less, __builtin_return_address(0), kind);
	return trims;
}
