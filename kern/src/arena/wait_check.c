/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether marks and accounts are the sums over the records, the count of marks that are set is possible, and that of
 * records without an answer is that of the queue (wait.c, invariants 1 and 2).
 */
#include "wait_impl.h"

/* What the records make of one arena. */
struct sums {
	const struct arena *arena;
	unsigned count, waiters, short_records, parked;
	size_t wanted;
};

static void add_part(struct sums *sums, const struct shortage *s, const struct shortage_part *p)
{
	for (struct arena *a = p->arena; a; a = arena_source(a)) {
		if (a != sums->arena)
			continue;
		sums->waiters++;
		sums->count += !s->is_parked;
	}
	if (arena_root(p->arena) != sums->arena)
		return;
	sums->parked += s->is_parked;
	if (!__atomic_load_n(&s->is_counted, __ATOMIC_RELAXED))
		return;
	sums->short_records++;
	sums->wanted += shortage_counted(p);
}

static struct sums sums_of(const struct arena *a) SPANDREL_REQUIRES(&shortage_marks_lock)
{
	struct sums sums = {.arena = a};

	for (struct shortage *s = shortage_after(NULL); s; s = shortage_after(s)) {
		for (unsigned i = 0; i < s->part_count; i++)
			add_part(&sums, s, &s->parts[i]);
		if (s->has_tag_part)
			add_part(&sums, s, &s->tag_part);
	}
	return sums;
}

static bool mark_sound(const struct arena *a, const struct sums *sums)
{
	return a->mark.count == sums->count && a->mark.waiters == sums->waiters &&
	       (a->mark.is_set || sums->count == 0) && a->mark.is_set == shortage_is_short(a);
}

static bool account_sound(
	const struct arena *a, const struct sums *sums, const struct shortage_wants *wants)
{
	return wants->amount == sums->wanted && wants->records == sums->short_records &&
	       a->account.parked == sums->parked;
}

/* Records are answered meanwhile: sums count if none was. */
static bool arena_sound(struct arena *a, struct sums *sums) SPANDREL_REQUIRES(&shortage_marks_lock)
{
	struct shortage_wants before = shortage_wants_of(a), after;

	*sums = sums_of(a);
	after = shortage_wants_of(a);
	return mark_sound(a, sums) &&
	       (before.changes != after.changes || account_sound(a, sums, &after));
}

static size_t unanswered(void)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);
	size_t count = shortage_queue.unanswered;

	spin_unlock(&shortage_queue.lock, irq);
	return count;
}

static bool is_unanswered(const struct shortage *s)
{
	port_irq_t irq = spin_lock(&shortage_queue.lock);
	bool is = s->state != SHORTAGE_ANSWERED;

	spin_unlock(&shortage_queue.lock, irq);
	return is;
}

/* None comes or leaves meanwhile; if one was answered, the sum doesn't count. */
static bool count_sound(struct sink *sink) SPANDREL_REQUIRES(&shortage_marks_lock)
{
	size_t before = unanswered(), found = 0;
	bool sound;

	for (struct shortage *s = shortage_after(NULL); s; s = shortage_after(s))
		found += is_unanswered(s);
	sound = before != unanswered() || found == before;
	if (!sound && sink)
		sink_printf(sink, "shortage: invariant 2 is broken: %zu records without an answer, and a count of %zu\n",
			found, before);
	return sound;
}

/* Those of caches count, too, and of arenas that are in no list any more. */
static bool marks_sound(struct sink *sink) SPANDREL_REQUIRES(&shortage_marks_lock)
{
	unsigned count = __atomic_load_n(&shortage_marks_set, __ATOMIC_RELAXED), found = 0;
	bool sound;

	for (struct arena *a = all_arenas; a; a = a->all_next)
		found += a->mark.is_set;
	sound = count >= found && (int)count >= 0;
	if (!sound && sink)
		sink_printf(sink, "shortage: invariant 1 is broken: marks of %u arenas are set, and %u are counted\n", found,
			count);
	return sound;
}

int shortage_check(struct sink *sink)
{
	int broken;

	sync_check_may_sleep("shortage_check", __builtin_return_address(0));
	qlock_lock(&arenas_and_slabs_lock);
	qlock_lock(&shortage_marks_lock);
	broken = !count_sound(sink) ? 2 : !marks_sound(sink) ? 1 : 0;
	for (struct arena *a = all_arenas; a && !broken; a = a->all_next) {
		struct sums sums;

		if (arena_sound(a, &sums))
			continue;
		broken = 1;
		if (sink)
			sink_printf(sink, "shortage: invariant 1 is broken: %s has a mark of %u, and %u records\n",
				a->name, a->mark.count, sums.count);
	}
	qlock_unlock(&shortage_marks_lock);
	qlock_unlock(&arenas_and_slabs_lock);
	return broken;
}
