/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slab caches: mode full, and what is known of objects.
 *
 * A cache in mode full, or traced, has a struct kmem_debug.  Every core's stack of it is closed, so that each
 * object passes slab_debug_out() on its way to a caller and slab_debug_in() on its way back.
 *
 * A TRACK tells of an object who allocated it, who freed it, and how many bytes were asked for.  Tracks are
 * found by the object's address in a hash of the cache.  Where there is no memory for one nothing is known of
 * the object, and nothing else changes: no allocation fails for want of a track, and a free needs none.
 *
 *	slab	| lead | object 0 | zone | object 1 | zone | ...	zone: DEBUG_ZONE bytes behind the
 *									object, as many before the next
 *
 * A ZONE is filled once, and again when the object is freed, or when less than all of it is asked for.  The
 * byte that is wrong tells which of two neighbours to name: its first half belongs to the object before it.
 * An object that is free has a PATTERN, which is verified when it is handed out, when its slab goes, and by
 * kmem_cache_check(), which the reclaim ktask calls when it is idle.
 *
 * A freed object is in QUARANTINE, oldest first, until so many bytes of others have been freed.  For its slab
 * it is used meanwhile; for statistics it is free.  It ends early where memory is wanted: by reclaim, when
 * the cache ends, and before an allocation fails.
 *
 * While tracing alone, a track is of a live object, and goes with it.
 *
 * LOCKING.  The lock guards hash, tracks and quarantine; none is taken beneath it.  Patterns are read and
 * written without: an object that is being handed out or taken back is one caller's.
 */
#include "kmem_debug.h"

#include "lib/array.h"
#include "lib/check.h"
#include "lib/string.h"
#include "owner.h"
#include "slab_impl.h"
#include "stacks.h"

#define ZONE_BYTE 0xbb
#define FREE_BYTE 0xdb
#define FRESH_BYTE 0x5a /* of what an allocation hands out */
#define QUARANTINE_BYTES 65536
#define QUARANTINE_OBJECTS 256
#define VERIFY_BYTES 512 /* of objects, for each hold: an object takes some 200 instructions, and each word of it 6 */

static struct kmem_cache debugs, tracks; /* struct kmem_debug, struct track */

static size_t begun; /* caches that have a struct kmem_debug; atomic */

static struct arena_owner pages = ARENA_OWNER("debug hashes", base_arena);

/* The mode */

static bool checks, full; /* all caches; `full`, too, those that are named */
static char mode[128] = "off";

const char *kmem_debug_set(const char *value)
{
	bool is_full;

	check_given("kmem_debug_set", "value", value, __builtin_return_address(0));
	is_full = strncmp(value, "full", 4) == 0 && (!value[4] || value[4] == ':');
	if (!is_full && strcmp(value, "check") != 0 && strcmp(value, "off") != 0 && *value)
		return "neither off, check, full nor full:NAME,NAME...";
	if (strlen(value) >= sizeof(mode))
		return "too many names";
	if (debugs.stride > 0)
		return "too late: there are caches";
	full = is_full;
	checks = strcmp(value, "check") == 0 || strcmp(value, "full") == 0;
	arena_notes_users = checks;
	str_copy(mode, *value ? value : "off", sizeof(mode));
	return NULL;
}

const char *kmem_debug_mode(void)
{
	return mode;
}

bool kmem_debug_checks(void)
{
	return checks;
}

/* Whether the mode names the cache. */
static bool is_named(const char *name)
{
	size_t n = strlen(name);

	for (const char *at = strchr(mode, ':'); at; at = strchr(at + 1, ','))
		if (strncmp(at + 1, name, n) == 0 && (!at[1 + n] || at[1 + n] == ','))
			return true;
	return false;
}

unsigned slab_debug_flags(const char *name, unsigned flags)
{
	if (flags & (KMC_META | KMC_QCACHE))
		return 0;
	if (full && (checks || is_named(name)))
		return KMC_FULL;
	return checks ? KMC_CHECK : 0;
}

/* Tracks */

/* Lock held. */
static struct track *track_find(struct kmem_debug *d, uintptr_t object) SPANDREL_REQUIRES(&d->lock)
{
	struct hash_link *l = *linear_hash_seek(&d->tracks, object);

	return l ? container_of(l, struct track, link) : NULL;
}

/* A page for the hash, if it wants one.  No lock held. */
static void hash_care(struct kmem_debug *d)
{
	void *page;
	port_irq_t irq;

	if (!linear_hash_needs_care(&d->tracks) || !(page = base_alloc(NULL, PORT_PAGE_SIZE, MEM_ATOMIC)))
		return;
	arena_owner_add(&pages, base_arena, PORT_PAGE_SIZE);
	irq = spin_lock(&d->lock);
	linear_hash_give_page(&d->tracks, page);
	spin_unlock(&d->lock, irq);
}

/* The hash ends, all tracks gone. */
static void hash_end(struct kmem_debug *d)
{
	void *page;

	while (linear_hash_trim(&d->tracks))
		;
	while ((page = linear_hash_take_page(&d->tracks, 0))) {
		arena_owner_sub(&pages, base_arena, PORT_PAGE_SIZE);
		base_free(NULL, page, PORT_PAGE_SIZE);
	}
}

struct kmem_event slab_debug_now(void *caller)
{
	return (struct kmem_event){stacks_keep(caller), port_ns(), port_word(PORT_THREAD_ID),
		port_core_id()};
}

/* Notes an allocation, in the object's track or a new one. */
static void note_alloc(struct kmem_cache *c, uintptr_t object, void *caller)
{
	struct kmem_event now = slab_debug_now(caller);
	struct kmem_debug *d = c->debug;
	struct track *t, *fresh = NULL;
	port_irq_t irq;

	do {
		irq = spin_lock(&d->lock);
		t = track_find(d, object);
		if (!t && fresh) {
			*fresh = (struct track){.link = {.key = object}};
			linear_hash_insert(&d->tracks, &fresh->link);
			t = fresh;
		}
		if (t) {
			t->alloc = now;
			t->size = c->obj_size;
			t->is_free = false;
		}
		spin_unlock(&d->lock, irq);
	} while (!t && (fresh = slab_meta_alloc(&tracks)));
	if (!t)
		__atomic_fetch_add(&d->untracked, 1, __ATOMIC_RELAXED);
	hash_care(d);
}

/* Forgets an object.  No lock held. */
static void forget(struct kmem_debug *d, uintptr_t object)
{
	port_irq_t irq = spin_lock(&d->lock);
	struct hash_link **at = linear_hash_seek(&d->tracks, object);
	struct track *t = *at ? container_of(*at, struct track, link) : NULL;

	if (t)
		linear_hash_remove(&d->tracks, at);
	spin_unlock(&d->lock, irq);
	if (t)
		slab_meta_free(&tracks, t);
}

/* Zones and patterns, which are hidden from callers by what the sanitizer is told. */

static void fill(uintptr_t at, size_t n, uint8_t byte)
{
	port_memory_show((void *)at, n);
	memset((void *)at, byte, n);
	if (byte != FRESH_BYTE)
		port_memory_hide((void *)at, n);
}

/* The first byte that isn't `byte`, or 0.  It is read as it is, hidden or not: its owner may do one or the other
 * meanwhile. */
static __attribute__((noinline, no_sanitize("address"))) uintptr_t find_other(uintptr_t at, size_t n, uint8_t byte)
{
	uint64_t word = byte * (UINT64_MAX / UINT8_MAX);
	uintptr_t end = at + n;

	while (at < end) {
		while (at % sizeof(word) == 0 && end - at >= sizeof(word) && *(volatile uint64_t *)at == word)
			at += sizeof(word);
		if (at < end && *(volatile uint8_t *)at++ != byte)
			return at - 1;
	}
	return 0;
}

void slab_debug_fill_zone(uintptr_t at, size_t n)
{
	fill(at, n, ZONE_BYTE);
}

uintptr_t slab_debug_find_in_zone(uintptr_t at, size_t n)
{
	return find_other(at, n, ZONE_BYTE);
}

/* It may be hidden. */
__attribute__((noinline, no_sanitize("address"))) uint8_t slab_debug_byte(uintptr_t at)
{
	return *(volatile uint8_t *)at;
}

/* The zone behind an object, `size` bytes from its start, and that before it. */
static uintptr_t find_in_zones(const struct kmem_cache *c, uintptr_t object, size_t size)
{
	uintptr_t wrong = find_other(object + size, c->stride - DEBUG_ZONE - size, ZONE_BYTE);

	return wrong ? wrong : find_other(object - DEBUG_ZONE, DEBUG_ZONE, ZONE_BYTE);
}

static uintptr_t find_in_free(const struct kmem_cache *c, uintptr_t object)
{
	uintptr_t wrong = find_other(object, c->obj_size, FREE_BYTE);

	return wrong ? wrong : find_in_zones(c, object, c->obj_size);
}

static void fill_free(struct kmem_cache *c, uintptr_t object)
{
	fill(object, c->obj_size, FREE_BYTE);
	fill(object + c->obj_size, c->stride - DEBUG_ZONE - c->obj_size, ZONE_BYTE);
}

/* A write that nobody may have made.  What is told of the object names who had it. */
static __attribute__((noreturn, cold)) void bad_write(struct kmem_cache *c, uintptr_t object, uintptr_t wrong,
	const char *found_when, void *caller)
{
	struct kmem_history h = {.size = c->obj_size};
	uint8_t byte = slab_debug_byte(wrong);
	bool known = kmem_cache_history(c, object, &h);

	if (known && h.is_free && wrong - object < c->obj_size)
		kmem_bug_at(c, object,
			"cache %s: byte %zu of free object %#lx was written: %#x, seen %s (called from %pS)",
			c->name, (size_t)(wrong - object), object, byte, found_when, caller);
	if (wrong < object)
		kmem_bug_at(c, object,
			"cache %s: memory %zu bytes before object %#lx was written: %#x, seen %s (called from %pS)",
			c->name, (size_t)(object - wrong), object, byte, found_when, caller);
	kmem_bug_at(c, object,
		"cache %s: byte %zu of object %#lx, of %zu bytes, was written: %#x, seen %s (called from %pS)",
		c->name, (size_t)(wrong - object), object, h.size, byte, found_when, caller);
}

/* Slabs */

void slab_debug_enter(struct kmem_cache *c, const struct slab *s)
{
	if (!(c->flags & KMC_ZONES))
		return;
	fill(slab_start(c, s), c->slab_size, ZONE_BYTE);
	for (size_t i = 0; i < c->slab_objects; i++)
		fill(s->base + i * c->stride, c->obj_size, FREE_BYTE);
}

void slab_debug_leave(struct kmem_cache *c, const struct slab *s)
{
	for (size_t i = 0; i < c->slab_objects; i++) {
		uintptr_t object = s->base + i * c->stride;
		uintptr_t wrong = c->flags & KMC_ZONES ? find_in_free(c, object) : 0;

		if (wrong)
			bad_write(c, object, wrong, "when its slab went", __builtin_return_address(0));
		forget(c->debug, object);
	}
	if (c->flags & KMC_ZONES)
		port_memory_show((void *)slab_start(c, s), c->slab_size);
}

/* Its zones, unless it is freed or resized meanwhile: then those that it has afterwards. */
static uintptr_t find_in_used(struct kmem_cache *c, uintptr_t object)
{
	uintptr_t wrong;
	size_t size;

	do {
		size = slab_debug_size(c, (void *)object);
		wrong = find_in_zones(c, object, size);
	} while (wrong && slab_debug_size(c, (void *)object) != size);
	return wrong;
}

uintptr_t slab_debug_verify(struct kmem_cache *c, const struct slab *s, size_t *from)
{
	uintptr_t wrong = 0;
	size_t i = *from;

	for (size_t bytes = 0; i < c->slab_objects && bytes < VERIFY_BYTES && !wrong; i++, bytes += c->stride) {
		uintptr_t object = s->base + i * c->stride;
		bool is_free = bitmap_test(s->map, i) || slab_debug_is_quarantined(c, object);

		wrong = is_free ? find_in_free(c, object) : find_in_used(c, object);
		__atomic_fetch_add(&c->debug->verified, is_free, __ATOMIC_RELAXED);
	}
	*from = i < c->slab_objects ? i : 0;
	return wrong;
}

/* Out and in */

/* Whether nothing of it is to be noted: it was traced once. */
static bool is_off(const struct kmem_cache *c)
{
	return !(c->flags & KMC_FULL) && !__atomic_load_n(&c->debug->is_tracing, __ATOMIC_RELAXED);
}

void slab_debug_out(struct kmem_cache *c, void *object, void *caller)
{
	uintptr_t at = (uintptr_t)object, wrong;

	if (is_off(c))
		return;
	if (c->flags & KMC_ZONES) {
		wrong = find_in_free(c, at);
		if (wrong)
			bad_write(c, at, wrong, "when it was allocated again", caller);
		__atomic_fetch_add(&c->debug->verified, 1, __ATOMIC_RELAXED);
		fill(at, c->obj_size, FRESH_BYTE);
	}
	note_alloc(c, at, caller);
}

static uintptr_t find_beside(struct kmem_cache *c, uintptr_t object)
{
	return c->flags & KMC_ZONES ? find_in_zones(c, object, slab_debug_size(c, (void *)object)) : 0;
}

bool slab_debug_is_whole(struct kmem_cache *c, void *object)
{
	__atomic_fetch_add(&c->debug->looked_up, 1, __ATOMIC_RELAXED);
	return !slab_debug_is_quarantined(c, (uintptr_t)object) && !find_beside(c, (uintptr_t)object);
}

void slab_debug_report(struct kmem_cache *c, void *object, void *caller)
{
	uintptr_t at = (uintptr_t)object;

	if (slab_debug_is_quarantined(c, at))
		kmem_bug_at(c, at, "cache %s: free of %#lx, which is not allocated: freed twice (called from %pS)",
			c->name, at, caller);
	bad_write(c, at, find_beside(c, at), "when it was freed", caller);
}

/* Puts t into quarantine; returns the one that leaves it for that, or NULL.  Lock held. */
static struct track *quarantine_turn(struct kmem_debug *d, struct track *t) SPANDREL_REQUIRES(&d->lock)
{
	struct track *first = d->oldest;

	t->is_quarantined = true;
	t->next = NULL;
	if (first)
		d->youngest->next = t;
	else
		d->oldest = t;
	d->youngest = t;
	if (d->quarantined < d->quarantined_max) {
		__atomic_store_n(&d->quarantined, d->quarantined + 1, __ATOMIC_RELAXED);
		return NULL;
	}
	first = d->oldest;
	d->oldest = first->next;
	first->is_quarantined = false;
	return first;
}

/* Notes that an object is free, before it is filled: a verification reads both.  Returns its track, or NULL. */
static struct track *note_free(struct kmem_debug *d, uintptr_t object, const struct kmem_event *event)
{
	port_irq_t irq = spin_lock(&d->lock);
	struct track *t = track_find(d, object);

	if (t) {
		t->free = *event;
		t->is_free = true;
	}
	spin_unlock(&d->lock, irq);
	return t;
}

void *slab_debug_in(struct kmem_cache *c, void *object, void *caller)
{
	struct kmem_debug *d = c->debug;
	struct kmem_event now;
	struct track *t, *out;
	port_irq_t irq;

	if (!(c->flags & KMC_FULL)) {
		forget(d, (uintptr_t)object);
		return object;
	}
	now = slab_debug_now(caller);
	t = note_free(d, (uintptr_t)object, &now);
	if (c->flags & KMC_ZONES)
		fill_free(c, (uintptr_t)object);
	if (!t || !(c->flags & KMC_ZONES) || d->quarantined_max == 0 || kmem_is_pressed(c))
		return object;
	irq = spin_lock(&d->lock);
	out = quarantine_turn(d, t);
	spin_unlock(&d->lock, irq);
	return out ? (void *)out->link.key : NULL;
}

void slab_debug_undo(struct kmem_cache *c, void *object)
{
	struct kmem_debug *d = c->debug;
	struct track *t;
	port_irq_t irq;

	if (!(c->flags & KMC_FULL)) {
		forget(d, (uintptr_t)object);
		return;
	}
	irq = spin_lock(&d->lock);
	t = track_find(d, (uintptr_t)object);
	if (t)
		t->is_free = true;
	spin_unlock(&d->lock, irq);
	if (c->flags & KMC_ZONES)
		fill_free(c, (uintptr_t)object);
}

void *slab_debug_release(struct kmem_cache *c)
{
	struct kmem_debug *d = c->debug;
	struct track *t;
	port_irq_t irq;

	if (slab_debug_quarantined(c) == 0)
		return NULL;
	irq = spin_lock(&d->lock);
	t = d->oldest;
	if (t) {
		d->oldest = t->next;
		t->is_quarantined = false;
		__atomic_store_n(&d->quarantined, d->quarantined - 1, __ATOMIC_RELAXED);
	}
	spin_unlock(&d->lock, irq);
	return t ? (void *)t->link.key : NULL;
}

size_t slab_debug_quarantined(const struct kmem_cache *c)
{
	return c->debug ? __atomic_load_n(&c->debug->quarantined, __ATOMIC_RELAXED) : 0;
}

bool slab_debug_is_quarantined(struct kmem_cache *c, uintptr_t object)
{
	struct kmem_debug *d = c->debug;
	struct track *t;
	port_irq_t irq;
	bool is;

	if (!d)
		return false;
	irq = spin_lock(&d->lock);
	t = track_find(d, object);
	is = t && t->is_quarantined;
	spin_unlock(&d->lock, irq);
	return is;
}

/* The size that an object's track has; 0: it has none. */
static size_t tracked_size(struct kmem_debug *d, const void *object)
{
	port_irq_t irq = spin_lock(&d->lock);
	struct track *t = track_find(d, (uintptr_t)object);
	size_t size = t && !t->is_free ? t->size : 0;

	spin_unlock(&d->lock, irq);
	return size;
}

/* A zone is there before the track says so, since a verification reads both.  Without a track nothing would say
 * where it begins: the object stays as large as it is. */
void slab_debug_resize(struct kmem_cache *c, void *object, size_t size)
{
	struct kmem_debug *d = c->debug;
	size_t before = tracked_size(d, object);
	struct track *t;
	port_irq_t irq;

	if ((c->flags & KMC_ZONES) && size < before)
		fill((uintptr_t)object + size, before - size, ZONE_BYTE);
	irq = spin_lock(&d->lock);
	t = track_find(d, (uintptr_t)object);
	if (t)
		t->size = size;
	spin_unlock(&d->lock, irq);
}

size_t slab_debug_size(struct kmem_cache *c, const void *object)
{
	size_t size = tracked_size(c->debug, object);

	return size ? size : c->obj_size;
}

/* Begin and end */

bool slab_debug_begin(struct kmem_cache *c)
{
	struct kmem_debug *d = slab_meta_alloc(&debugs);
	size_t max = QUARANTINE_BYTES / c->stride;

	if (!d)
		return false;
	memset(d, 0, sizeof(*d));
	spin_init(&d->lock, SPIN_LEAF);
	linear_hash_init(&d->tracks);
	d->quarantined_max = max < QUARANTINE_OBJECTS ? max : QUARANTINE_OBJECTS;
	__atomic_fetch_add(&begun, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->debug, d, __ATOMIC_RELEASE);
	return true;
}

/* The address of some object in a bucket; 0: there is none.  *more: there are buckets behind it. */
static uintptr_t known_in(struct kmem_debug *d, size_t bucket, bool *more)
{
	port_irq_t irq = spin_lock(&d->lock);
	struct hash_link *l = linear_hash_bucket(&d->tracks, bucket);

	*more = bucket + 1 < d->tracks.buckets;
	spin_unlock(&d->lock, irq);
	return l ? l->key : 0;
}

void slab_debug_end(struct kmem_cache *c)
{
	struct kmem_debug *d = c->debug;

	if (!d)
		return;
	__atomic_fetch_sub(&begun, 1, __ATOMIC_RELAXED);
	slab_debug_forget(c);
	c->debug = NULL;
	hash_end(d);
	slab_meta_free(&debugs, d);
}

bool slab_debug_any(void)
{
	return __atomic_load_n(&begun, __ATOMIC_RELAXED) > 0;
}

/* A bucket that comes meanwhile takes from one before it what the cache has just noted. */
void slab_debug_forget(struct kmem_cache *c)
{
	uintptr_t object;
	bool more = true;

	for (size_t bucket = 0; more; bucket++)
		while ((object = known_in(c->debug, bucket, &more)))
			forget(c->debug, object);
}

size_t slab_debug_tracked(struct kmem_cache *c)
{
	struct kmem_debug *d = c->debug;
	port_irq_t irq;
	size_t n;

	irq = spin_lock(&d->lock);
	n = d->tracks.entries;
	spin_unlock(&d->lock, irq);
	return n;
}

size_t slab_debug_bytes(void)
{
	const struct kmem_cache *own[] = {&debugs, &tracks};
	size_t bytes = __atomic_load_n(&pages.held, __ATOMIC_RELAXED);

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		bytes += __atomic_load_n(&own[i]->slabs, __ATOMIC_RELAXED) * own[i]->slab_size;
	return bytes;
}

void slab_debug_init(void)
{
	slab_meta_create(&debugs, "debug", sizeof(struct kmem_debug), 0);
	slab_meta_create(&tracks, "tracks", sizeof(struct track), 0);
}

/* What is known */

/* The object that addr lies in, or that lies before it. */
static bool object_of(struct kmem_cache *c, uintptr_t addr, uintptr_t *object)
{
	port_irq_t irq = spin_lock(&c->lock);
	struct slab *s = slab_find(c, addr);
	bool found = s && s->cache == c;
	size_t index;

	if (found) {
		index = addr < s->base ? 0 : (addr - s->base) / c->stride;
		if (index >= c->slab_objects)
			index = c->slab_objects - 1;
		*object = s->base + index * c->stride;
	}
	spin_unlock(&c->lock, irq);
	return found;
}

bool kmem_cache_history(struct kmem_cache *c, uintptr_t addr, struct kmem_history *h)
{
	struct kmem_debug *d;
	uintptr_t object;
	struct track *t;
	port_irq_t irq;

	check_given("kmem_cache_history", "cache", c, __builtin_return_address(0));
	check_given("kmem_cache_history", "place for a history", h, __builtin_return_address(0));
	if (sample_history(c, addr, h))
		return true;
	d = c->debug;
	if (!d || !object_of(c, addr, &object))
		return false;
	irq = spin_lock(&d->lock);
	t = track_find(d, object);
	if (t)
		*h = (struct kmem_history){object, t->size, t->is_free, t->alloc, t->free};
	spin_unlock(&d->lock, irq);
	return t;
}

static void print_event(struct sink *sink, const char *what, const struct kmem_event *e)
{
	uint64_t ms = e->ns ? (port_ns() - e->ns) / 1000000 : 0;

	if (!e->ns) {
		sink_printf(sink, "%s: not known\n", what);
		return;
	}
	sink_printf(sink, "%s %llu.%03llu s ago by ", what, (unsigned long long)(ms / 1000),
		(unsigned long long)(ms % 1000));
	if (e->ktask)
		sink_printf(sink, "ktask %llu on core %u:\n", (unsigned long long)e->ktask, e->core);
	else
		sink_printf(sink, "core %u:\n", e->core);
	stacks_print(sink, e->stack);
}

void kmem_history_print(struct sink *sink, const struct kmem_history *h)
{
	check_given("kmem_history_print", "sink", sink, __builtin_return_address(0));
	check_given("kmem_history_print", "history", h, __builtin_return_address(0));
	sink_printf(sink, "object 0x%zx of %zu bytes is %s\n", (size_t)h->object, h->size,
		h->is_free ? "free" : "allocated");
	print_event(sink, "allocated", &h->alloc);
	if (h->is_free || h->free.ns)
		print_event(sink, h->is_free ? "freed" : "freed before that", &h->free);
}

void slab_debug_print(struct sink *sink, const void *arg)
{
	const struct slab_debug_what *what = arg;
	struct kmem_history h;

	if (kmem_cache_history(what->cache, what->addr, &h)) {
		kmem_history_print(sink, &h);
		sink_puts(sink, "reported here:\n");
	}
}
