/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches.  Every object is filled with what it alone has, and looked at before it goes: so none is handed out
 * twice, overlaps another one, or is written to.
 */
#include "slab.h"

#include "fuzz.h"
#include "lib/array.h"
#include "lib/string.h"

#define LIVE_MAX 200
#define BULK_MAX 24
#define CONSTRUCTED 0xc5 /* every byte of an object as its constructor leaves it */

static struct kmem_cache *cache;
static struct arena *ids; /* the source of objects that aren't memory */
static size_t obj_size, align;
static unsigned flags;
static bool has_ctor, ctor_fails;
static long constructed; /* objects that were, and weren't undone */

static struct {
	uint8_t *object;
	uint8_t stamp;
} live[LIVE_MAX];
static size_t live_count;
static uint8_t next_stamp;
static size_t frees_refused;

static bool is_memory(void)
{
	return !(flags & KMC_NOTOUCH);
}

static bool is_all(const uint8_t *object, uint8_t byte)
{
	for (size_t i = 0; i < obj_size; i++)
		if (object[i] != byte)
			return false;
	return true;
}

static int construct(void *object, void *priv, unsigned how)
{
	ASSERT(priv == &constructed);
	if (ctor_fails && how & (MEM_ATOMIC | MEM_ERROR))
		return -ENOMEM;
	if (is_memory())
		memset(object, CONSTRUCTED, obj_size);
	constructed++;
	return 0;
}

static void destruct(void *object, void *priv)
{
	ASSERT(priv == &constructed);
	ASSERT(!is_memory() || is_all(object, CONSTRUCTED));
	constructed--;
}

/* Objects */

static void keep(void *object, bool is_zero)
{
	struct kmem_object where;
	uint8_t *o = object;

	ASSERT((uintptr_t)o % align == 0);
	ASSERT(kmem_cache_find(cache, (uintptr_t)o, &where));
	ASSERT(where.object == (uintptr_t)o && !where.is_free);
	for (size_t i = 0; i < live_count; i++)
		ASSERT(o + obj_size <= live[i].object || live[i].object + obj_size <= o);
	if (is_memory()) {
		ASSERT(!has_ctor || is_all(o, CONSTRUCTED));
		ASSERT(!is_zero || is_all(o, 0));
		memset(o, next_stamp, obj_size);
	}
	live[live_count].object = o;
	live[live_count++].stamp = next_stamp++;
}

/* Takes the i-th out of the list, as it must be to be freed. */
static void *drop(size_t i)
{
	uint8_t *o = live[i].object;

	if (is_memory()) {
		ASSERT(is_all(o, live[i].stamp));
		if (has_ctor)
			memset(o, CONSTRUCTED, obj_size);
	}
	live[i] = live[--live_count];
	return o;
}

static unsigned take_flags(struct fuzz_input *in)
{
	static const unsigned how[] = {MEM_ATOMIC, MEM_ATOMIC, MEM_WAIT, MEM_ERROR};

	ctor_fails = fuzz_byte(in) % 8 == 0;
	return how[fuzz_byte(in) % ARRAY_SIZE(how)];
}

/* The source of objects that aren't memory has no more than a few, and a request that sleeps for one would for
 * good. */
static unsigned take_how(struct fuzz_input *in)
{
	unsigned how = take_flags(in);

	return is_memory() ? how : MEM_ATOMIC;
}

static void alloc(struct fuzz_input *in)
{
	unsigned how = take_how(in);
	bool zero = is_memory() && !has_ctor && fuzz_byte(in) & 1;
	void *object = NULL;

	if (live_count == LIVE_MAX)
		return;
	object = zero ? kmem_cache_zalloc(cache, how) : kmem_cache_alloc(cache, how);
	ASSERT(object || how != MEM_WAIT);
	ASSERT(object || ctor_fails || !is_memory());
	if (object)
		keep(object, zero);
}

static void alloc_bulk(struct fuzz_input *in)
{
	void *objects[BULK_MAX];
	unsigned how = take_how(in);
	size_t n = fuzz_below(in, BULK_MAX + 1), got;

	if (live_count + n > LIVE_MAX)
		return;
	got = kmem_cache_alloc_bulk(cache, objects, n, how);
	ASSERT(got == n || (got < n && how != MEM_WAIT && (ctor_fails || !is_memory())));
	for (size_t i = 0; i < got; i++)
		keep(objects[i], false);
}

static void free_one(struct fuzz_input *in)
{
	if (live_count > 0)
		kmem_cache_free(cache, drop(fuzz_below(in, live_count)));
}

static void free_bulk(struct fuzz_input *in)
{
	void *objects[BULK_MAX];
	size_t n = fuzz_below(in, BULK_MAX + 1);

	if (n > live_count)
		n = live_count;
	for (size_t i = 0; i < n; i++)
		objects[i] = drop(fuzz_below(in, live_count));
	kmem_cache_free_bulk(cache, objects, n);
}

/* A free that isn't right must be refused, where every free is looked up. */
static void free_wrongly(struct fuzz_input *in)
{
	uint8_t *o;

	if (live_count == 0 || !(flags & (KMC_CHECK | KMC_FULL)))
		return;
	if (fuzz_byte(in) & 1) {
		o = drop(fuzz_below(in, live_count));
		kmem_cache_free(cache, o);
		FUZZ_PANICS(kmem_cache_free(cache, o));
		frees_refused++;
	} else if (obj_size > 1) {
		o = live[fuzz_below(in, live_count)].object;
		FUZZ_PANICS(kmem_cache_free(cache, o + 1 + fuzz_below(in, obj_size - 1)));
		frees_refused++;
	}
}

/* Checks */

static void check_all(void)
{
	struct kmem_cache_stats stats;
	struct kmem_object where;

	kmem_cache_get_stats(cache, &stats);
	ASSERT(stats.live == live_count);
	ASSERT(stats.allocs - stats.failures - (stats.frees - frees_refused) == live_count);
	ASSERT(!has_ctor || constructed == (long)stats.out);
	ASSERT(kmem_cache_check(cache, &console_sink) == 0);
	for (size_t i = 0; i < live_count; i++)
		ASSERT(kmem_cache_find(cache, (uintptr_t)live[i].object, &where) && !where.is_free);
}

static void operate(struct fuzz_input *in)
{
	switch (fuzz_below(in, 9)) {
	case 0:
	case 1:
		alloc(in);
		break;
	case 2:
		alloc_bulk(in);
		break;
	case 3:
	case 4:
		free_one(in);
		break;
	case 5:
		free_bulk(in);
		break;
	case 6:
		free_wrongly(in);
		break;
	case 7:
		kmem_cache_reap(cache, (enum kmem_pressure)(fuzz_byte(in) % 3));
		break;
	default:
		kmem_cache_reserve(cache, fuzz_below(in, 100), MEM_ATOMIC);
	}
}

static void begin(struct fuzz_input *in)
{
	static const unsigned modes[] = {0, 0, KMC_CHECK, KMC_FULL};

	flags = modes[fuzz_byte(in) % ARRAY_SIZE(modes)] | (fuzz_byte(in) % 4 == 0 ? KMC_NOTOUCH : 0);
	has_ctor = fuzz_byte(in) & 1;
	obj_size = 1 + fuzz_below(in, fuzz_byte(in) & 1 ? 200 : is_memory() ? 6000 : 40);
	align = fuzz_byte(in) & 1 ? (size_t)1 << fuzz_below(in, 8) : 0;
	ids = is_memory() ? NULL : arena_create("fuzz-ids", (void *)256, 4096, 256, NULL, NULL, NULL, 0, MEM_WAIT);
	cache = kmem_cache_create("fuzz", obj_size, align, flags, ids, has_ctor ? construct : NULL,
		has_ctor ? destruct : NULL, &constructed);
	ASSERT(cache);
	align = align ? align : is_memory() ? 8 : 1;
	live_count = frees_refused = 0;
	constructed = 0;
}

static void end(void)
{
	check_all();
	if (live_count > 0)
		ASSERT(kmem_cache_destroy(cache) == -EBUSY);
	while (live_count > 0)
		kmem_cache_free(cache, drop(0));
	check_all();
	ASSERT(kmem_cache_destroy(cache) == 0);
	ASSERT(constructed == 0);
	if (ids)
		ASSERT(arena_destroy(ids) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_operations operations = {begin, operate, check_all, end};

	return fuzz_run(&operations, data, size);
}
