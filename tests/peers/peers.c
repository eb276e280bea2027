/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests/bench/compare.c and tests/bench/held.c do, done with malloc() and free(): of the C
 * library, or of one that LD_PRELOAD names.
 *
 *	peers loops 1|2		pairs and batches on one thread, or on two
 *	peers stream FILE	a recorded stream (scripts/stream), by the clock
 *	peers held FILE		the memory held meanwhile
 *
 * Prints rows `name,n,value,unit` as the project's own benchmarks do.  What isn't measured comes
 * from mmap(), and nothing is printed while something is.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/printf.h"
#include "work/stream.h"

static uint32_t *aligns; /* of objects, by their class; 0: none asked for */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t numbers;

static void *take(const struct stream_object *o);
static void give(const struct stream_object *o, void *at);
static uint64_t loop_now(void);
static void loop_pause(void);
static void loop_threads(unsigned n, void (*fn)(unsigned i, void *arg), void *arg);

#include "bench/loops.h"

static void fail(const char *what)
{
	fprintf(stderr, "peers: %s\n", what);
	exit(1);
}

/* What the reader of streams takes from the project's library. */
size_t ksnprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return (size_t)n;
}

static void *take_aligned(size_t align, size_t bytes)
{
	void *at;

	return posix_memalign(&at, align, bytes) == 0 ? at : NULL;
}

/* The lock that an arena's number is compared with is taken once in each call, as the arena's. */
static void *take_number(void)
{
	uint64_t number;

	pthread_mutex_lock(&lock);
	number = ++numbers;
	pthread_mutex_unlock(&lock);
	return (void *)number;
}

static void give_number(void)
{
	pthread_mutex_lock(&lock);
	numbers--;
	pthread_mutex_unlock(&lock);
}

static inline __attribute__((always_inline)) void *take(const struct stream_object *o)
{
	switch (o->op) {
	case STREAM_KMALLOC:
	case LOOP_OWN:
		return malloc(o->bytes);
	case STREAM_CACHE_ALLOC:
		return aligns[o->class] > _Alignof(max_align_t) ? take_aligned(aligns[o->class], o->bytes) :
								  malloc(o->bytes);
	case STREAM_PAGE_ALLOC:
		return take_aligned(STREAM_PAGE, o->bytes);
	case LOOP_BLOCK:
		return take_aligned(o->bytes, o->bytes);
	default:
		return take_number();
	}
}

static inline __attribute__((always_inline)) void give(const struct stream_object *o, void *at)
{
	if (o->op == LOOP_NUMBER)
		give_number();
	else
		free(at);
}

static uint64_t loop_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void loop_pause(void)
{
	sched_yield();
}

struct loop_task {
	void (*fn)(unsigned i, void *arg);
	void *arg;
	unsigned i;
};

static void *task(void *arg)
{
	struct loop_task *t = arg;

	t->fn(t->i, t->arg);
	return NULL;
}

static void loop_threads(unsigned n, void (*fn)(unsigned i, void *arg), void *arg)
{
	struct loop_task tasks[LOOP_THREADS_MAX];
	pthread_t threads[LOOP_THREADS_MAX];

	for (unsigned i = 0; i < n; i++) {
		tasks[i] = (struct loop_task){fn, arg, i};
		if (pthread_create(&threads[i], NULL, task, &tasks[i]) != 0)
			fail("no thread");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

/* Resident at once, so that it isn't counted as the allocator's later. */
static void *map(size_t bytes)
{
	void *at = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (at == MAP_FAILED)
		fail("no memory");
	return at;
}

/* loops */

static void loops(unsigned threads)
{
	struct loop_batches *batches = map(sizeof(*batches));
	struct loop_remote *remote = map(sizeof(*remote));
	uint32_t none = 0;

	aligns = &none;
	for (size_t i = 0; i < LOOP_ROWS; i++)
		for (int sample = 0; sample < LOOP_SAMPLES; sample++)
			printf("%s,%u,%llu,ps\n", loop_rows[i].name, loop_rows[i].batch,
				(unsigned long long)loop_batches(batches, &loop_rows[i], threads));
	for (int sample = 0; threads > 1 && sample < LOOP_SAMPLES; sample++)
		printf("kmem_remote_64,%u,%llu,ps\n", LOOP_REMOTE_BATCH,
			(unsigned long long)loop_remote(remote));
}

/* stream */

struct replayed {
	struct stream stream;
	struct stream_object *objects;
	struct stream_peak peak;
	uint32_t count;
	void **at;
};

static void open_stream(struct replayed *r, const char *path)
{
	int file = open(path, O_RDONLY | O_CLOEXEC);
	struct stream_counts counts;
	struct stat status;
	const char *wrong;
	void *bytes;

	if (file < 0 || fstat(file, &status) != 0)
		fail("no such file");
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
	if (bytes == MAP_FAILED)
		fail("it can't be read");
	wrong = stream_open(&r->stream, bytes, (size_t)status.st_size);
	if (!wrong)
		wrong = stream_count(&r->stream, &counts);
	if (wrong)
		fail(wrong);
	r->count = counts.objects;
	r->objects = map(r->count * sizeof(*r->objects));
	r->at = map(r->count * sizeof(*r->at));
	wrong = stream_check(&r->stream, r->objects, &r->peak);
	if (wrong)
		fail(wrong);
	aligns = map(r->stream.cache_count * sizeof(*aligns));
	for (uint32_t i = 0; i < r->stream.cache_count; i++)
		aligns[i] = stream_cache_at(&r->stream, i).align;
}

static void stream(const char *path)
{
	struct replayed r;
	uint64_t start;

	open_stream(&r, path);
	loop_stream(&r.stream, r.objects, r.count, r.at); /* touches memory for the first time */
	start = loop_now();
	for (int i = 0; i < LOOP_SAMPLES && loop_now() - start < LOOP_ENOUGH; i++)
		printf("stream,0,%llu,ps\n",
			(unsigned long long)loop_stream(&r.stream, r.objects, r.count, r.at));
}

/* held */

/* Anonymous memory that is resident, exactly; the file's bytes are read without an allocation. */
static uint64_t resident(void)
{
	static char text[8192];
	int file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(file, text, sizeof(text) - 1);
	const char *line;

	close(file);
	text[n > 0 ? n : 0] = '\0';
	line = strstr(text, "Anonymous:");
	if (!line)
		fail("Linux doesn't tell what is resident");
	return strtoull(line + strlen("Anonymous:"), NULL, 10) * 1024;
}

/* Has the library give back what it can, by all that its authors offer for that. */
static void purge(void)
{
	int (*mallctl)(const char *, void *, size_t *, void *, size_t) = dlsym(RTLD_DEFAULT, "mallctl");
	void (*mark_idle)(void) = dlsym(RTLD_DEFAULT, "MallocExtension_MarkThreadIdle");
	void (*release)(void) = dlsym(RTLD_DEFAULT, "MallocExtension_ReleaseFreeMemory");
	void (*collect)(bool) = dlsym(RTLD_DEFAULT, "mi_collect");
	int (*trim)(size_t) = dlsym(RTLD_DEFAULT, "malloc_trim");

	if (mallctl) {
		mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
		mallctl("arena.4096.purge", NULL, NULL, NULL, 0); /* MALLCTL_ARENAS_ALL */
	}
	if (mark_idle && release) {
		mark_idle();
		release();
	}
	if (collect)
		collect(true);
	if (trim)
		trim(0);
}

#define TIMES 16 /* in a stream, for its course */

struct moment {
	uint32_t records;
	uint64_t live, bytes;
};

struct held {
	struct replayed replayed;
	struct stream_cursor cursor;
	uint64_t live, start;
	struct moment course[TIMES], peak, end;
	unsigned times;
};

static struct moment moment_now(const struct held *h)
{
	return (struct moment){h->cursor.at, h->live, resident() - h->start};
}

/* Goes on to record `to`. */
static void replay_to(struct held *h, uint32_t to)
{
	struct replayed *r = &h->replayed;
	uint32_t every = r->stream.record_count / TIMES + 1;
	struct stream_record record;

	while (h->cursor.at < to && stream_next(&h->cursor, &record)) {
		const struct stream_object *o = &r->objects[record.id];

		if (stream_is_alloc(record.op)) {
			r->at[record.id] = take(o);
			loop_touch(r->at[record.id], o->bytes);
			h->live += o->bytes;
		} else {
			give(o, r->at[record.id]);
			h->live -= o->bytes;
		}
		if (h->cursor.at % every == 0 && h->live > 0)
			h->course[h->times++] = moment_now(h);
	}
}

static uint64_t permille(uint64_t held, uint64_t live)
{
	return (held * 1000 + live / 2) / live;
}

static void row(const char *name, uint64_t value)
{
	printf("%s,0,%llu,permille\n", name, (unsigned long long)value);
}

static void held_rows(const struct held *h)
{
	uint64_t bytes = 0, live = 0;
	char name[64];

	for (unsigned i = 0; i < h->times; i++) {
		const struct moment *m = &h->course[i];

		bytes += m->bytes;
		live += m->live;
		snprintf(name, sizeof(name), "held_course.%u", m->records);
		row(name, permille(m->bytes, m->live));
	}
	if (live > 0)
		row("held_permille.mean", permille(bytes, live));
	row("held_permille.peak", permille(h->peak.bytes, h->peak.live));
	row("held_permille.end", permille(h->end.bytes, h->end.live));
}

static void held(const char *path)
{
	static struct held h;
	/* Huge pages would hold what wasn't touched. */
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	open_stream(&h.replayed, path);
	stream_begin(&h.cursor, &h.replayed.stream);
	free(malloc(1)); /* the library has begun */
	purge();
	h.start = resident();
	replay_to(&h, h.replayed.peak.memory_at);
	h.peak = moment_now(&h);
	replay_to(&h, h.replayed.stream.record_count);
	purge();
	h.end = moment_now(&h);
	held_rows(&h);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		fail("usage: peers loops 1|2, peers stream FILE or peers held FILE");
	if (strcmp(argv[1], "loops") == 0)
		loops(argv[2][0] == '1' ? 1 : 2);
	else if (strcmp(argv[1], "stream") == 0)
		stream(argv[2]);
	else
		held(argv[2]);
	return 0;
}
