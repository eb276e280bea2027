/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arenas.  The model of the root is its quanta, one cell for each, and every question is answered by looking at all
 * of them.  Of an arena that imports from it, what it holds is read from its spans, and its answers are held
 * against the rules alone.
 *
 * There are so few cells that a request by MEM_ATOMIC, which looks at 64 free segments, must be answered rightly.
 */
#include "arena.h"

#include "fuzz.h"
#include "lib/array.h"
#include "lib/string.h"

#define CELLS_MAX 120
#define PIECES_MAX 128
#define LOOKS 64 /* free segments that a request without an index looks at */

typedef unsigned __int128 wide;

static struct cell {
	uintptr_t at;
	bool is_used;
} cells[CELLS_MAX]; /* ascending */
static size_t cell_count;
static size_t quantum;

/* What callers hold. */
static struct piece {
	uintptr_t start;
	size_t size; /* as asked for */
	bool of_child, by_xalloc;
} pieces[PIECES_MAX];
static size_t piece_count;

static struct arena *root, *child; /* child: NULL, or it imports from the root */
static size_t child_quantum, child_cached;
static bool next_begun;
static uintptr_t next_last; /* where the root's last next fit ended */

static bool is_power(size_t n)
{
	return (n & (n - 1)) == 0;
}

static size_t rounded(size_t size, size_t q)
{
	return (size + q - 1) / q * q;
}

/* Cells */

static size_t find_cell(uintptr_t at)
{
	size_t i = 0;

	while (i < cell_count && cells[i].at < at)
		i++;
	return i;
}

static void add_cell(uintptr_t at)
{
	size_t i = find_cell(at);

	ASSERT(cell_count < CELLS_MAX);
	memmove(&cells[i + 1], &cells[i], (cell_count - i) * sizeof(cells[0]));
	cells[i] = (struct cell){at, false};
	cell_count++;
}

/* Whether cell i is behind cell i - 1. */
static bool is_joined(size_t i)
{
	return i > 0 && i < cell_count && cells[i - 1].at + quantum == cells[i].at;
}

/* Whether cells [i, i + n) are one piece, and free. */
static bool are_free(size_t i, size_t n)
{
	for (size_t j = i; j < i + n; j++)
		if (j >= cell_count || cells[j].is_used || (j > i && !is_joined(j)))
			return false;
	return true;
}

static void use(uintptr_t start, size_t size)
{
	size_t i = find_cell(start);

	for (size_t n = rounded(size, quantum) / quantum; n > 0; n--, i++) {
		ASSERT(i < cell_count && cells[i].at == start && !cells[i].is_used);
		cells[i].is_used = true;
		start += quantum;
	}
}

static bool use_span(const struct arena_segment *s, void *arg)
{
	if (s->kind == ARENA_SEGMENT_SPAN)
		use(s->start, s->size);
	return true;
}

/* Marks anew what callers hold, and what the child has imported: none of it may overlap. */
static void mark_cells(void)
{
	for (size_t i = 0; i < cell_count; i++)
		cells[i].is_used = false;
	for (size_t i = 0; i < piece_count; i++)
		if (!pieces[i].of_child)
			use(pieces[i].start, pieces[i].size);
	if (child)
		arena_walk(child, use_span, NULL);
}

/* Spans */

/* What arena_add() must answer, having added the cells if that is 0.  It rounds what overlaps nothing. */
static int expect_add(uintptr_t start, size_t size)
{
	wide first = ((wide)start + quantum - 1) / quantum * quantum;
	wide end = ((wide)start + size) / quantum * quantum;

	if (size == 0)
		return -EINVAL;
	if ((wide)start + size > (wide)1 << 64)
		return -ERANGE;
	if (start == 0)
		return -EDOM;
	for (size_t i = 0; i < cell_count; i++)
		if (cells[i].at < (wide)start + size && start < (wide)cells[i].at + quantum)
			return -EEXIST;
	if (first >= end)
		return -EINVAL;
	for (wide at = first; at < end; at += quantum)
		add_cell((uintptr_t)at);
	return 0;
}

/* Adds a few quanta, or less, near what is there, or anywhere. */
static void add_span(struct fuzz_input *in)
{
	uintptr_t near = cell_count && fuzz_byte(in) % 4 ? cells[fuzz_below(in, cell_count)].at : fuzz_number(in, 8);
	uintptr_t start = near + (uintptr_t)(signed char)fuzz_byte(in) * quantum + fuzz_below(in, quantum);
	size_t size = fuzz_below(in, 24) * quantum + fuzz_below(in, quantum);
	int wanted, got;

	if (cell_count + size / quantum > CELLS_MAX)
		return;
	wanted = expect_add(start, size);
	got = arena_add(root, (void *)start, size, MEM_WAIT);
	if (got != wanted)
		panic("arena_add: %d, wanted %d", got, wanted);
}

/* Requests */

struct request {
	size_t size, align, phase, nocross;
	uintptr_t min, max;
	unsigned fit;
};

static bool satisfies(const struct request *rq, uintptr_t r, size_t q)
{
	wide end = (wide)r + rounded(rq->size, q);

	return r % q == 0 && (!rq->align || r % rq->align == rq->phase) &&
	       (!rq->nocross || r / rq->nocross == (end - 1) / rq->nocross) && r >= rq->min &&
	       (!rq->max || end <= rq->max);
}

static bool is_constrained(const struct request *rq)
{
	return (rq->align && (quantum % rq->align || rq->phase)) || rq->nocross || rq->min || rq->max;
}

/* How many free cells the segment with cell i has. */
static size_t segment_size(size_t i)
{
	size_t first = i, last = i;

	while (is_joined(first) && !cells[first - 1].is_used)
		first--;
	while (is_joined(last + 1) && !cells[last + 1].is_used)
		last++;
	return last - first + 1;
}

/* Whether r is the better answer. */
static bool is_better(const struct request *rq, size_t r, size_t than)
{
	if (rq->fit == ARENA_HIGHFIT)
		return true;
	if (rq->fit == ARENA_NEXTFIT && next_begun)
		return cells[than].at <= next_last && cells[r].at > next_last;
	return rq->fit == ARENA_BESTFIT && !is_constrained(rq) && segment_size(r) < segment_size(than);
}

/* What the root must answer; 0: NULL. */
static uintptr_t oracle(const struct request *rq)
{
	size_t n = rounded(rq->size, quantum) / quantum, best = SIZE_MAX;

	for (size_t i = 0; i < cell_count; i++)
		if (are_free(i, n) && satisfies(rq, cells[i].at, quantum) &&
			(best == SIZE_MAX || is_better(rq, i, best)))
			best = i;
	return best == SIZE_MAX ? 0 : cells[best].at;
}

static struct request take_request(struct fuzz_input *in, size_t q, bool constrained)
{
	static const unsigned fits[] = {ARENA_INSTANTFIT, ARENA_BESTFIT, ARENA_NEXTFIT, ARENA_HIGHFIT};
	struct request rq = {.fit = fits[fuzz_byte(in) % 4]};
	unsigned what = constrained ? fuzz_byte(in) : 0;

	rq.size = (fuzz_byte(in) % 4 ? fuzz_below(in, 6) : fuzz_below(in, 50)) * q + 1 + fuzz_below(in, q);
	if (what & 1 && is_power(q)) {
		rq.align = (size_t)1 << fuzz_below(in, 18);
		rq.phase = what & 2 ? fuzz_number(in, 2) & (rq.align - 1) : 0;
	}
	if (what & 4 && is_power(q)) {
		for (rq.nocross = 1; rq.nocross < rq.size;)
			rq.nocross *= 2;
		rq.nocross <<= fuzz_below(in, 4);
	}
	if (what & 8 && cell_count)
		rq.min = cells[fuzz_below(in, cell_count)].at + fuzz_below(in, 2 * q) - q / 2;
	if (what & 16 && cell_count)
		rq.max = cells[fuzz_below(in, cell_count)].at + fuzz_below(in, 2 * q) - q / 2;
	if (rq.max && rq.min > rq.max)
		rq.max = 0;
	return rq;
}

static uintptr_t ask(struct arena *arena, const struct request *rq, bool xalloc, unsigned how)
{
	if (!xalloc)
		return (uintptr_t)arena_alloc(arena, rq->size, rq->fit | how);
	return (uintptr_t)arena_xalloc(
		arena, rq->size, rq->align, rq->phase, rq->nocross, rq->min, rq->max, rq->fit | how);
}

static void keep(uintptr_t start, size_t size, bool of_child, bool by_xalloc)
{
	size_t q = of_child ? child_quantum : quantum;

	for (size_t i = 0; of_child && i < piece_count; i++)
		ASSERT(!pieces[i].of_child || pieces[i].start > start + (rounded(size, q) - 1) ||
			start > pieces[i].start + (rounded(pieces[i].size, q) - 1));
	pieces[piece_count++] = (struct piece){start, size, of_child, by_xalloc};
}

static void alloc_root(struct fuzz_input *in, bool xalloc)
{
	struct request rq = take_request(in, quantum, xalloc);
	uintptr_t wanted = oracle(&rq), r;
	bool is_exact = rq.fit || rq.min || rq.max;

	/* A request that can't be served and may sleep has memory reclaimed first. */
	r = ask(root, &rq, xalloc, wanted && fuzz_byte(in) & 1 ? MEM_WAIT : MEM_ATOMIC);
	if ((r != 0) != (wanted != 0) || (is_exact && r != wanted) || (r && !satisfies(&rq, r, quantum)))
		panic("got %#zx, wanted %#zx: size %#zx align %#zx phase %#zx nocross %#zx min %#zx max %#zx fit %#x", r,
			wanted, rq.size, rq.align, rq.phase, rq.nocross, rq.min, rq.max, rq.fit);
	if (r == 0)
		return;
	if (rq.fit == ARENA_NEXTFIT) {
		next_begun = true;
		next_last = r + (rounded(rq.size, quantum) - 1);
	}
	keep(r, rq.size, false, xalloc);
}

struct place {
	uintptr_t start;
	size_t size;
	bool is_found;
};

/* Whether the place lies in a span. */
static bool find_span(const struct arena_segment *s, void *arg)
{
	struct place *p = arg;

	p->is_found |= s->kind == ARENA_SEGMENT_SPAN && p->start >= s->start && p->size <= s->size &&
		       p->start - s->start <= s->size - p->size;
	return true;
}

/* Whether a free segment has the size. */
static bool find_free(const struct arena_segment *s, void *arg)
{
	struct place *p = arg;

	p->is_found |= s->kind == ARENA_SEGMENT_FREE && s->size >= p->size;
	p->start += s->kind == ARENA_SEGMENT_FREE;
	return true;
}

static void alloc_child(struct fuzz_input *in, bool xalloc)
{
	struct request rq = take_request(in, child_quantum, xalloc);
	struct place p = {.size = rounded(rq.size, child_quantum)};
	uintptr_t r;

	arena_walk(child, find_free, &p);
	r = ask(child, &rq, xalloc, MEM_ATOMIC);
	if (r == 0) {
		ASSERT(xalloc || !p.is_found || p.start > LOOKS);
		return;
	}
	ASSERT(satisfies(&rq, r, child_quantum));
	keep(r, rq.size, true, xalloc);
	p = (struct place){r, rounded(rq.size, child_quantum), false};
	arena_walk(child, find_span, &p);
	ASSERT(p.is_found);
}

/* Frees */

static void give(struct piece p)
{
	struct arena *arena = p.of_child ? child : root;

	(p.by_xalloc ? arena_xfree : arena_free)(arena, (void *)p.start, p.size);
}

static void free_piece(struct fuzz_input *in)
{
	size_t i;

	if (piece_count == 0)
		return;
	i = fuzz_below(in, piece_count);
	give(pieces[i]);
	pieces[i] = pieces[--piece_count];
}

/* A free that isn't right must be refused, and change nothing.  One that takes what the child has imported is
 * right for the root. */
static void free_wrongly(struct fuzz_input *in)
{
	struct piece p;

	if (piece_count == 0 || child)
		return;
	p = pieces[fuzz_below(in, piece_count)];
	switch (fuzz_byte(in) % 4) {
	case 0:
		p.size += quantum;
		break;
	case 1:
		p.start += quantum;
		break;
	case 2:
		p.by_xalloc = !p.by_xalloc;
		break;
	default:
		p.start -= quantum;
	}
	for (size_t i = 0; i < piece_count; i++)
		if (pieces[i].start == p.start && pieces[i].by_xalloc == p.by_xalloc &&
			rounded(pieces[i].size, quantum) == rounded(p.size, quantum))
			return;
	FUZZ_PANICS(give(p));
}

/* Checks */

/* A free segment is free cells, and as large as can be. */
static bool check_segment(const struct arena_segment *s, void *arg)
{
	size_t i = find_cell(s->start), n = s->size / quantum;

	if (s->kind != ARENA_SEGMENT_FREE)
		return true;
	*(size_t *)arg += n;
	ASSERT(s->size % quantum == 0 && are_free(i, n) && cells[i].at == s->start);
	ASSERT(segment_size(i) == n);
	return true;
}

static void check_all(void)
{
	size_t used = 0, in_segments = 0;

	for (size_t i = 0; i < cell_count; i++)
		used += cells[i].is_used;
	ASSERT(arena_amt_total(root) == cell_count * quantum);
	ASSERT(arena_amt_free(root) == (cell_count - used) * quantum);
	arena_walk(root, check_segment, &in_segments);
	ASSERT(in_segments == cell_count - used);
	ASSERT(arena_check(root, &console_sink) == 0);
	ASSERT(!child || arena_check(child, &console_sink) == 0);
}

static void operate(struct fuzz_input *in)
{
	bool of_child = child && fuzz_byte(in) & 1;

	switch (fuzz_below(in, 8)) {
	case 0:
	case 1:
		if (piece_count < PIECES_MAX)
			of_child ? alloc_child(in, false) : alloc_root(in, false);
		break;
	case 2:
		if (piece_count < PIECES_MAX)
			of_child ? alloc_child(in, true) : alloc_root(in, true);
		break;
	case 3:
	case 4:
		free_piece(in);
		break;
	case 5:
		add_span(in);
		break;
	case 6:
		free_wrongly(in);
		break;
	default:
		if (fuzz_byte(in) & 1)
			arena_reap(of_child ? child : root, fuzz_byte(in) & 1 ? SIZE_MAX : fuzz_number(in, 2));
		else
			arena_index(of_child ? child : root);
	}
	mark_cells();
}

static void begin(struct fuzz_input *in)
{
	static const size_t quanta[] = {1, 3, 7, 16, 64, 4096};
	static const size_t cached[] = {0, 0, 4, 16};

	cell_count = piece_count = 0;
	next_begun = false;
	quantum = quanta[fuzz_byte(in) % ARRAY_SIZE(quanta)];
	root = arena_create("fuzz-root", NULL, 0, quantum, NULL, NULL, NULL, 0, MEM_WAIT);
	child = NULL;
	if (fuzz_byte(in) % 3 != 0)
		return;
	child_quantum = quanta[fuzz_byte(in) % ARRAY_SIZE(quanta)];
	child_cached = cached[fuzz_byte(in) % ARRAY_SIZE(cached)] * child_quantum;
	child = arena_create(
		"fuzz-child", NULL, 0, child_quantum, arena_alloc, arena_free, root, child_cached, MEM_WAIT);
}

static void end(void)
{
	check_all();
	while (piece_count > 0)
		give(pieces[--piece_count]);
	if (child)
		ASSERT(arena_destroy(child) == 0);
	child = NULL;
	mark_cells();
	check_all();
	ASSERT(arena_destroy(root) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct fuzz_operations operations = {begin, operate, check_all, end};

	return fuzz_run(&operations, data, size);
}
