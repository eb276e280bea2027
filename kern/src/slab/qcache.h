/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Quantum caches: what fronts an arena that was created with a qcache_max.
 */
#ifndef SPANDREL_QCACHE_H
#define SPANDREL_QCACHE_H

/* Has arenas fronted by quantum caches from now on, and those that stand and want it too.  Context:
 * boot, once, when slab caches work. */
void qcache_init(void);

#endif
