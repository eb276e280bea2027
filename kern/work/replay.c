/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Replays recorded streams.
 *
 * The stream is checked as a whole before it is replayed, and its bytes don't change, so a record
 * that is replayed is right: it allocates the next object, or frees one that the stream has live.
 * The table of objects says what each is; an object is live in the replay if `at` has an address
 * for it, which it lacks where its allocation was refused.
 */
#include "replay.h"

#include "arena.h"
#include "kmalloc.h"
#include "kthread.h"
#include "lib/panic.h"
#include "lib/printf.h"
#include "lib/string.h"
#include "owner.h"
#include "port.h"
#include "slab.h"
#include "vmap.h"

#define YIELD_EVERY 64	   /* steps */
#define LOOKS_MAX 64	   /* at objects, in a step */
#define BUSY_SLEEP_US 1000 /* while someone looks at a cache that is to be destroyed */

_Static_assert(STREAM_PAGE == PORT_PAGE_SIZE, "pages and ranges are replayed in pages of this kernel");

static uint64_t salts; /* atomic: how many rounds were begun, by all replays */

static void count(uint64_t *counter)
{
	/* One thread writes it; replay_progress() reads it at any time. */
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

/* Stamps */

/* The word at an offset of an object: differs between objects, rounds, replays and offsets. */
static uint64_t stamp_word(const struct replay *r, uint32_t id, size_t offset)
{
	return (r->salt + ((uint64_t)id << 32 | offset)) * 0x9e3779b97f4a7c15;
}

/* Where the stamp's word behind the one at `offset` is: at the next page, or last in the object;
 * `bytes` behind that.  All are at multiples of a word, so that no two overlap. */
static size_t stamp_next(size_t offset, size_t bytes)
{
	size_t last = (bytes - 1) & ~(sizeof(uint64_t) - 1);

	if (offset == last)
		return bytes;
	return last - offset > PORT_PAGE_SIZE ? offset + PORT_PAGE_SIZE : last;
}

/* Bytes of the word at `offset`: of the last one an object may have only a part. */
static size_t stamp_size(size_t offset, size_t bytes)
{
	return bytes - offset < sizeof(uint64_t) ? bytes - offset : sizeof(uint64_t);
}

static void stamp(const struct replay *r, uint32_t id, char *at, size_t bytes)
{
	for (size_t offset = 0; offset < bytes; offset = stamp_next(offset, bytes)) {
		uint64_t word = stamp_word(r, id, offset);

		memcpy(at + offset, &word, stamp_size(offset, bytes));
	}
}

static bool is_stamped(const struct replay *r, uint32_t id, const char *at, size_t bytes)
{
	for (size_t offset = 0; offset < bytes; offset = stamp_next(offset, bytes)) {
		uint64_t word = stamp_word(r, id, offset);

		if (memcmp(at + offset, &word, stamp_size(offset, bytes)) != 0)
			return false;
	}
	return true;
}

/* Run */

static struct arena_owner pages = ARENA_OWNER("work replay", kpages_arena);

static void *pages_alloc(size_t bytes, unsigned flags)
{
	void *at = arena_alloc(kpages_arena, bytes, flags);

	if (at)
		arena_owner_add(&pages, kpages_arena, bytes);
	return at;
}

static void *take(struct replay *r, const struct stream_object *o, unsigned flags)
{
	switch (o->op) {
	case STREAM_KMALLOC:
		return kmalloc(o->bytes, flags);
	case STREAM_CACHE_ALLOC:
		return kmem_cache_alloc(r->caches[o->class], flags);
	case STREAM_PAGE_ALLOC:
		return pages_alloc(o->bytes, flags);
	default:
		return arena_alloc(r->ranges, o->bytes, flags);
	}
}

static void give(struct replay *r, const struct stream_object *o, void *at)
{
	switch (o->op) {
	case STREAM_KMALLOC:
		kfree(at);
		break;
	case STREAM_CACHE_ALLOC:
		kmem_cache_free(r->caches[o->class], at);
		break;
	case STREAM_PAGE_ALLOC:
		arena_owner_sub(&pages, kpages_arena, o->bytes);
		arena_free(kpages_arena, at, o->bytes);
		break;
	default:
		arena_free(r->ranges, at, o->bytes);
	}
}

static bool is_memory(const struct stream_object *o)
{
	return o->op != STREAM_RANGE_ALLOC;
}

static void object_alloc(struct replay *r, uint32_t id, unsigned flags)
{
	const struct stream_object *o = &r->objects[id];

	r->at[id] = take(r, o, flags);
	if (!r->at[id])
		count(&r->progress.refused);
	else if (is_memory(o))
		stamp(r, id, r->at[id], o->bytes);
	count(&r->progress.operations);
}

static void object_free(struct replay *r, uint32_t id)
{
	const struct stream_object *o;

	if (!r->at[id])
		return;
	o = &r->objects[id];
	if (is_memory(o) && !is_stamped(r, id, r->at[id], o->bytes)) {
		r->wrong_id = id;
		count(&r->progress.errors);
	}
	give(r, o, r->at[id]);
	r->at[id] = NULL;
	count(&r->progress.operations);
}

static void begin_round(struct replay *r)
{
	r->salt = __atomic_add_fetch(&salts, 1, __ATOMIC_RELAXED) * 0xd1342543de82ef95;
	stream_begin(&r->cursor, &r->stream);
	r->ended = 0;
}

/* Behind the last record: frees the next object that is live, after a few dozen looks at most; when
 * none is, begins the next round. */
static void end_some(struct replay *r)
{
	for (unsigned looks = 0; r->ended < r->object_count && looks < LOOKS_MAX; looks++) {
		if (r->at[r->ended++]) {
			object_free(r, r->ended - 1);
			return;
		}
	}
	if (r->ended == r->object_count) {
		count(&r->progress.rounds);
		begin_round(r);
	}
}

void replay_step(struct replay *r, unsigned flags)
{
	struct stream_record record;

	if (!stream_next(&r->cursor, &record))
		end_some(r);
	else if (stream_is_alloc(record.op))
		object_alloc(r, record.id, flags);
	else
		object_free(r, record.id);
}

static bool is_stopped(const struct replay *r)
{
	return __atomic_load_n(&r->stop, __ATOMIC_RELAXED);
}

void replay_run(struct replay *r, uint64_t rounds, unsigned flags)
{
	uint64_t last = r->progress.rounds + rounds;

	for (unsigned steps = 1; !is_stopped(r) && (rounds == 0 || r->progress.rounds < last); steps++) {
		replay_step(r, flags);
		if (steps % YIELD_EVERY == 0)
			kthread_yield();
	}
}

void replay_stop(struct replay *r)
{
	__atomic_store_n(&r->stop, true, __ATOMIC_RELAXED);
}

struct replay_progress replay_progress(const struct replay *r)
{
	const struct replay_progress *p = &r->progress;

	return (struct replay_progress){
		.operations = __atomic_load_n(&p->operations, __ATOMIC_RELAXED),
		.rounds = __atomic_load_n(&p->rounds, __ATOMIC_RELAXED),
		.refused = __atomic_load_n(&p->refused, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&p->errors, __ATOMIC_RELAXED),
	};
}

/* Open and close */

/* Of a table of n elements; at least one byte, since vmalloc() takes no less. */
static size_t table_bytes(size_t n, size_t element)
{
	return n ? n * element : 1;
}

static void *table_alloc(size_t n, size_t element)
{
	void *table = vmalloc(table_bytes(n, element), MEM_ERROR);

	if (table)
		memset(table, 0, table_bytes(n, element));
	return table;
}

static void table_free(void *table, size_t n, size_t element)
{
	if (table)
		vfree(table, table_bytes(n, element));
}

static const char *make_tables(struct replay *r)
{
	r->objects = table_alloc(r->object_count, sizeof(*r->objects));
	r->at = table_alloc(r->object_count, sizeof(*r->at));
	r->caches = table_alloc(r->stream.cache_count, sizeof(struct kmem_cache *));
	return r->objects && r->at && r->caches ? NULL : "no memory for its tables";
}

static const char *make_caches(struct replay *r)
{
	for (uint32_t i = 0; i < r->stream.cache_count; i++) {
		struct stream_cache c = stream_cache_at(&r->stream, i);

		r->caches[i] = kmem_cache_create(c.name, c.size, c.align, 0, NULL, NULL, NULL, NULL);
		if (!r->caches[i])
			return "no memory for its caches";
	}
	return NULL;
}

static const char *make_ranges(struct replay *r)
{
	r->ranges = arena_create("replay", NULL, 0, PORT_PAGE_SIZE, arena_alloc, arena_free,
		vaddr_arena, 0, MEM_ERROR);
	return r->ranges ? NULL : "no memory for its arena";
}

/* More than there is can't ever be live: with MEM_WAIT the replay would sleep for ever. */
static const char *check_peak(const struct stream_peak *peak)
{
	if (peak->memory > arena_amt_total(base_arena))
		return "it needs more memory than there is";
	if (peak->ranges > arena_amt_total(vaddr_arena))
		return "it needs more addresses than there are";
	return NULL;
}

/* Each step in order, until one says what is wrong. */
static const char *make_all(struct replay *r, const struct stream_counts *counts)
{
	const char *wrong = make_tables(r);

	if (!wrong)
		wrong = stream_check(&r->stream, r->objects, &r->peak);
	if (!wrong)
		wrong = check_peak(&r->peak);
	if (!wrong)
		wrong = make_caches(r);
	if (!wrong && counts->ops[STREAM_RANGE_ALLOC] > 0)
		wrong = make_ranges(r);
	return wrong;
}

const char *replay_open(struct replay *r, const void *bytes, size_t size, unsigned number)
{
	struct stream_counts counts;
	const char *wrong;

	memset(r, 0, sizeof(*r));
	wrong = stream_open_nth(&r->stream, bytes, size, number);
	if (!wrong)
		wrong = stream_count(&r->stream, &counts);
	if (!wrong) {
		r->object_count = counts.objects;
		wrong = make_all(r, &counts);
	}
	if (!wrong) {
		begin_round(r);
		return NULL;
	}
	stream_explain(&r->stream, wrong, r->wrong, sizeof(r->wrong));
	replay_close(r);
	return r->wrong;
}

/* None of its objects is live.  It is refused only while a walk over all caches stands on it. */
static void cache_end(struct kmem_cache *c)
{
	while (c && kmem_cache_destroy(c))
		kthread_usleep(BUSY_SLEEP_US);
}

static void free_all(struct replay *r)
{
	for (uint32_t id = 0; r->at && id < r->object_count; id++) {
		object_free(r, id);
		if (id % YIELD_EVERY == 0)
			kthread_yield();
	}
}

void replay_close(struct replay *r)
{
	free_all(r);
	for (uint32_t i = 0; r->caches && i < r->stream.cache_count; i++)
		cache_end(r->caches[i]);
	if (r->ranges && arena_destroy(r->ranges))
		panic("replay: its arena of ranges is in use");
	table_free(r->caches, r->stream.cache_count, sizeof(struct kmem_cache *));
	table_free(r->at, r->object_count, sizeof(*r->at));
	table_free(r->objects, r->object_count, sizeof(*r->objects));
}
