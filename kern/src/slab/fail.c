/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: which are closed for failure injection.  Theory: arena/fail.c.
 */
#include "slab_impl.h"
#include "sync.h"

static struct qlock lock = QLOCK_INIT(lock); /* guards is_failing, of all caches */

/* A quantum cache is closed for its arena, too. */
static bool is_named(const struct kmem_cache *c)
{
	return arena_fail_names(c->name) || ((c->flags & KMC_QCACHE) && arena_fail_names(arena_name(c->source)));
}

void slab_fail_update(struct kmem_cache *c)
{
	bool is;

	qlock_lock(&lock);
	is = c->cores && is_named(c);
	if (is != c->is_failing) {
		c->is_failing = is;
		magazine_set_closed(c, is);
	}
	qlock_unlock(&lock);
}

static void update_all(void)
{
	for (struct kmem_cache *c = slab_walk_all(NULL); c; c = slab_walk_all(c))
		slab_fail_update(c);
}

void slab_fail_init(void)
{
	arena_fail_changed = update_all;
}
