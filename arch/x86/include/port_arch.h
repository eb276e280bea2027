/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port's hot half on x86-64.  Included by port.h alone.
 */
#ifndef SPANDREL_PORT_ARCH_H
#define SPANDREL_PORT_ARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORT_HAS_CORES 1
#define PORT_HAS_THREADS 1
#define PORT_HAS_STACKS 1
#define PORT_HAS_COUNT 1
#define PORT_HAS_IRQ_DEPTH 1
#define PORT_HAS_NMI 1
#define PORT_HAS_WORDS 1
#define PORT_HAS_CLOCK 1
#define PORT_HAS_BACKTRACE 1
#define PORT_HAS_CONSOLE 1
#define PORT_HAS_YIELD 1
#define PORT_PAGE_SHIFT 12
#define PORT_LINE_SIZE 64

typedef uint64_t port_irq_t; /* rflags */

/* How deep a core is in handlers.  A non-local return out of a handler restores it. */
struct port_context {
	uint16_t irq;    /* interrupts being handled, NMIs among them */
	uint16_t nmi;    /* NMIs being handled */
	uint16_t report; /* exceptions being reported */
};

/* The GS base points to it: the head of the port's struct core. */
struct port_core {
	struct port_core *self;
	struct ktask *current; /* machine_current() */
	uint32_t id;
	struct port_context context;
};

extern unsigned port_cores;	/* port_core_count() */
extern unsigned port_cores_max; /* port_core_max() */

typedef struct machine_jump {
	uint64_t regs[9]; /* rbx rbp r12 r13 r14 r15 rsp rip rflags, in jump.S's order */
	struct port_context context;
} machine_jump_t;

void machine_jump_note(machine_jump_t *jump);
int machine_jump_save(machine_jump_t *jump) __attribute__((returns_twice));

/* The argument is evaluated twice. */
#define machine_setjmp(jump) (machine_jump_note(jump), machine_jump_save(jump))

/* Volatile: a thread that has slept may run on another core. */
static inline unsigned port_core_id(void)
{
	unsigned id;

	__asm__ volatile("movl %%gs:%c1, %0" : "=r"(id) : "i"(offsetof(struct port_core, id)));
	return id;
}

static inline unsigned port_core_count(void)
{
	return __atomic_load_n(&port_cores, __ATOMIC_ACQUIRE);
}

static inline unsigned port_core_max(void)
{
	return port_cores_max;
}

static inline bool port_in_irq(void)
{
	unsigned depth;

	__asm__ volatile("movzwl %%gs:%c1, %0"
			 : "=r"(depth)
			 : "i"(offsetof(struct port_core, context.irq)));
	return depth > 0;
}

static inline bool port_in_nmi(void)
{
	unsigned depth;

	__asm__ volatile("movzwl %%gs:%c1, %0"
			 : "=r"(depth)
			 : "i"(offsetof(struct port_core, context.nmi)));
	return depth > 0;
}

/* In the flavour that measures how long interrupts are off (irqoff.h), called right after they went
 * off, and right before they come on. */
#ifndef PORT_IRQOFF
#define PORT_IRQOFF 0
#endif
#define PORT_FLAGS_IRQ 0x200u
#if PORT_IRQOFF
void irqoff_begin(void);
void irqoff_end(void);
#else
static inline void irqoff_begin(void)
{
}

static inline void irqoff_end(void)
{
}
#endif

/* Always inlined, so that irqoff_begin() returns to the code that turns interrupts off. */
static inline __attribute__((always_inline)) port_irq_t port_irq_save(void)
{
	port_irq_t flags;

	__asm__ volatile("pushfq\n\tpopq %0\n\tcli" : "=r"(flags) : : "memory");
	if (PORT_IRQOFF && (flags & PORT_FLAGS_IRQ))
		irqoff_begin();
	return flags;
}

static inline __attribute__((always_inline)) void port_irq_restore(port_irq_t saved)
{
	if (PORT_IRQOFF && (saved & PORT_FLAGS_IRQ))
		irqoff_end();
	__asm__ volatile("pushq %0\n\tpopfq" : : "r"(saved) : "memory", "cc");
}

static inline bool machine_irq_enabled(void)
{
	port_irq_t flags;

	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags) : : "memory");
	return flags & PORT_FLAGS_IRQ;
}

/* Interrupts are off in handlers and under spinlocks, so that says it. */
static inline bool port_may_sleep(void)
{
	return machine_irq_enabled();
}

static inline bool machine_irq_were_enabled(port_irq_t saved)
{
	return saved & PORT_FLAGS_IRQ;
}

static inline void port_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline uint64_t port_ticks(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

typedef struct ktask port_thread_t;

/* By one instruction: an interrupt comes before it or behind it. */
static inline void port_count(uint64_t *counter, uint64_t n)
{
	__asm__("addq %1, %0" : "+m"(*counter) : "er"(n) : "cc");
}

/*
 * Stacks of pointers, one for each core (port.h), as restartable sequences.
 *
 * Each sequence chooses the core's stack, reads, decides and copies first, and commits with its last
 * instruction, which moves `top`.  If it is interrupted before that, the trap return path
 * (restart.c) goes back to its first instruction, maybe on another core.  So no instruction may
 * change an input, and what is stored before the commit must not matter: slots above `top`, and the
 * caller's array.  A jump goes to the sequence's end.  Comparisons are unsigned: on a closed stack
 * they fail, and that with `limit` comes before what is below `top` is read.
 */
struct port_stack {
	void **top, **bottom, **limit;
};

/* Enters the sequence between labels 1 and 2, of n instructions, into restart.c's table. */
#define PORT_SEQUENCE(n)                                                                           \
	".pushsection port_sequences, \"aw\", @progbits\n\t"                                       \
	".balign 8\n\t"                                                                            \
	".quad 1b, 2b, " #n "\n\t"                                                                 \
	".popsection\n\t"

/* Its first three instructions: this core's stack. */
#define PORT_STACK_SELF                                                                            \
	"1:\tmovl %%gs:%c[at_id], %k[s]\n\t"                                                        \
	"imulq %[stride], %[s]\n\t"                                                                \
	"addq %[first], %[s]\n\t"
#define PORT_STACK_INPUTS                                                                          \
	[first] "r"(first), [stride] "er"(stride), [at_id] "i"(offsetof(struct port_core, id)),    \
		[at_top] "i"(offsetof(struct port_stack, top))

/* `empty` is "below or equal", from the comparison if the stack is empty, else from the commit: its
 * subtraction neither borrows nor gives zero, so it is false. */
static inline void *port_stack_pop(struct port_stack *first, size_t stride, struct port_stack **used)
{
	struct port_stack *s;
	void **top, *p;
	bool empty;

	__asm__ volatile(PORT_STACK_SELF
			 "movq %c[at_top](%[s]), %[top]\n\t"
			 "cmpq %c[at_bottom](%[s]), %[top]\n\t"
			 "jbe 2f\n\t"
			 "movq -8(%[top]), %[p]\n\t"
			 "subq $8, %c[at_top](%[s])\n"
			 "2:\n\t" PORT_SEQUENCE(8)
			 : [s] "=&r"(s), [top] "=&r"(top), [p] "=&r"(p), "=@ccbe"(empty)
			 : PORT_STACK_INPUTS, [at_bottom] "i"(offsetof(struct port_stack, bottom))
			 : "memory");
	*used = s;
	if (empty)
		return (void *)0;
	if (!p)
		__builtin_unreachable();
	return p;
}

/* `fails` is "below or equal", from the first comparison if there is no room, from the second if p is
 * the top one, else from the commit: its addition neither carries nor gives zero. */
static inline bool port_stack_push(
	struct port_stack *first, size_t stride, void *p, struct port_stack **used)
{
	struct port_stack *s;
	void **top;
	bool fails;

	__asm__ volatile(PORT_STACK_SELF
			 "movq %c[at_top](%[s]), %[top]\n\t"
			 "cmpq %[top], %c[at_limit](%[s])\n\t"
			 "jbe 2f\n\t"
			 "cmpq %[p], -8(%[top])\n\t"
			 "je 2f\n\t"
			 "movq %[p], (%[top])\n\t"
			 "addq $8, %c[at_top](%[s])\n"
			 "2:\n\t" PORT_SEQUENCE(10)
			 : [s] "=&r"(s), [top] "=&r"(top), "=@ccbe"(fails)
			 : PORT_STACK_INPUTS, [p] "r"(p), [at_limit] "i"(offsetof(struct port_stack, limit))
			 : "memory");
	*used = s;
	return !fails;
}

/* The copies' index runs from -moved up to 0. */
static inline size_t port_stack_pop_many(
	struct port_stack *first, size_t stride, void **to, size_t n)
{
	struct port_stack *s;
	void **from, **end, *p;
	size_t moved, i;

	__asm__ volatile(PORT_STACK_SELF
			 "xorl %k[moved], %k[moved]\n\t"
			 "movq %c[at_top](%[s]), %[from]\n\t"
			 "cmpq %c[at_bottom](%[s]), %[from]\n\t"
			 "jbe 2f\n\t"
			 "movq %[from], %[moved]\n\t"
			 "subq %c[at_bottom](%[s]), %[moved]\n\t"
			 "shrq $3, %[moved]\n\t"
			 "cmpq %[n], %[moved]\n\t"
			 "cmovaq %[n], %[moved]\n\t"
			 "leaq (%[to], %[moved], 8), %[end]\n\t"
			 "movq %[moved], %[i]\n\t"
			 "negq %[i]\n\t"
			 "je 2f\n"
			 "3:\tmovq (%[from], %[i], 8), %[p]\n\t"
			 "movq %[p], (%[end], %[i], 8)\n\t"
			 "incq %[i]\n\t"
			 "jne 3b\n\t"
			 "leaq (, %[moved], 8), %[p]\n\t"
			 "subq %[p], %c[at_top](%[s])\n"
			 "2:\n\t" PORT_SEQUENCE(22)
			 : [s] "=&r"(s), [from] "=&r"(from), [end] "=&r"(end), [p] "=&r"(p),
			 [moved] "=&r"(moved), [i] "=&r"(i)
			 : PORT_STACK_INPUTS, [to] "r"(to), [n] "r"(n),
			 [at_bottom] "i"(offsetof(struct port_stack, bottom))
			 : "memory", "cc");
	return moved;
}

/* Stops before a pointer that is the top one then: `i` isn't 0, and takes what is left off. */
static inline size_t port_stack_push_many(
	struct port_stack *first, size_t stride, void *const *from, size_t n)
{
	struct port_stack *s;
	void **top, **end, *p;
	size_t moved, i;

	__asm__ volatile(PORT_STACK_SELF
			 "xorl %k[moved], %k[moved]\n\t"
			 "movq %c[at_top](%[s]), %[top]\n\t"
			 "cmpq %c[at_limit](%[s]), %[top]\n\t"
			 "jae 2f\n\t"
			 "movq %c[at_limit](%[s]), %[moved]\n\t"
			 "subq %[top], %[moved]\n\t"
			 "shrq $3, %[moved]\n\t"
			 "cmpq %[n], %[moved]\n\t"
			 "cmovaq %[n], %[moved]\n\t"
			 "leaq (%[from], %[moved], 8), %[end]\n\t"
			 "leaq (%[top], %[moved], 8), %[top]\n\t"
			 "movq %[moved], %[i]\n\t"
			 "negq %[i]\n\t"
			 "je 2f\n"
			 "3:\tmovq (%[end], %[i], 8), %[p]\n\t"
			 "cmpq %[p], -8(%[top], %[i], 8)\n\t"
			 "je 4f\n\t"
			 "movq %[p], (%[top], %[i], 8)\n\t"
			 "incq %[i]\n\t"
			 "jne 3b\n"
			 "4:\taddq %[i], %[moved]\n\t"
			 "leaq (%[top], %[i], 8), %[top]\n\t"
			 "movq %[top], %c[at_top](%[s])\n"
			 "2:\n\t" PORT_SEQUENCE(26)
			 : [s] "=&r"(s), [top] "=&r"(top), [end] "=&r"(end), [p] "=&r"(p),
			 [moved] "=&r"(moved), [i] "=&r"(i)
			 : PORT_STACK_INPUTS, [from] "r"(from), [n] "r"(n),
			 [at_limit] "i"(offsetof(struct port_stack, limit))
			 : "memory", "cc");
	return moved;
}

/* A closed stack is empty and full at once. */
static inline void port_stack_close(struct port_stack *s)
{
	__atomic_store_n(&s->bottom, (void **)UINTPTR_MAX, __ATOMIC_RELAXED);
	__atomic_store_n(&s->limit, (void **)0, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void port_stack_set(struct port_stack *s, void **bottom, void **top, void **limit)
{
	port_stack_close(s);
	s->top = top;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&s->limit, limit, __ATOMIC_RELAXED);
	__atomic_store_n(&s->bottom, bottom, __ATOMIC_RELAXED);
}

#endif
