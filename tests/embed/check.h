/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether the library works where it was put, by its public headers alone.
 */
#ifndef EMBED_CHECK_H
#define EMBED_CHECK_H

/* Uses arenas, caches and kmalloc of a kernel that has made base_arena and kpages_arena and called
 * kmem_cache_init(); leaves nothing behind.  Returns NULL, or what was wrong: a line without an end.  Context:
 * a thread or boot.  Nothing else allocates or frees meanwhile: no other thread or core, and no interrupt
 * handler. */
const char *embed_check(void);

#endif
