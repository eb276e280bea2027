/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Switches between stacks, and reports each switch to the sanitizers.
 */
#include <stdint.h>

#include "host.h"
#include "machine.h"
#include "port.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif

/* AddressSanitizer saves data of the stack that is left, for the return to it. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

static void asan_leave(void **keep, const struct machine_fiber *to)
{
	__sanitizer_start_switch_fiber(keep, to->stack, to->size);
}

static void asan_arrive(void *kept)
{
	__sanitizer_finish_switch_fiber(kept, NULL, NULL);
}

/* Frames that a fiber never returned from are still poisoned. */
static void asan_clean(void *stack, size_t size)
{
	__asan_unpoison_memory_region(stack, size);
}
#else
static void asan_leave(void **keep, const struct machine_fiber *to)
{
}

static void asan_arrive(void *kept)
{
}

static void asan_clean(void *stack, size_t size)
{
}
#endif

/* ThreadSanitizer treats each fiber as a thread. */
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>

static void *tsan_create(void)
{
	return __tsan_create_fiber(0);
}

static void *tsan_current(void)
{
	return __tsan_get_current_fiber();
}

static void tsan_switch(const struct machine_fiber *to)
{
	__tsan_switch_to_fiber(to->sanitizer, 0);
}

static void tsan_destroy(struct machine_fiber *f)
{
	__tsan_destroy_fiber(f->sanitizer);
}
#else
static void *tsan_create(void)
{
	return NULL;
}

static void *tsan_current(void)
{
	return NULL;
}

static void tsan_switch(const struct machine_fiber *to)
{
}

static void tsan_destroy(struct machine_fiber *f)
{
}
#endif

/* On a stack that has never run, host_switch() returns here; calls fiber_main(fn, arg). */
void host_fiber_entry(void);

__attribute__((noreturn, used)) static void fiber_main(void (*fn)(void *arg), void *arg)
{
	asan_arrive(NULL);
	fn(arg);
	__builtin_trap();
}

#if defined(__x86_64__)
#define FRAME_WORDS 8 /* floating-point control, r15, r14, r13, r12, rbx, rbp, return address */
#define FRAME_FLOAT 0
#define FRAME_ARG 3
#define FRAME_FN 4
#define FRAME_PC 7
#define FLOAT_CONTROL 0x037f00001f80 /* x87 control word, mxcsr: as at a process's start */

__asm__(".text\n"
	".globl host_switch\n"
	".type host_switch, @function\n"
	"host_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	subq $8, %rsp\n"
	"	stmxcsr (%rsp)\n"
	"	fnstcw 4(%rsp)\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	ldmxcsr (%rsp)\n"
	"	fldcw 4(%rsp)\n"
	"	addq $8, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size host_switch, . - host_switch\n"
	".globl host_fiber_entry\n"
	".type host_fiber_entry, @function\n"
	"host_fiber_entry:\n"
	"	movq %r12, %rdi\n"
	"	movq %r13, %rsi\n"
	"	xorl %ebp, %ebp\n"
	"	call fiber_main\n"
	"	ud2\n"
	".size host_fiber_entry, . - host_fiber_entry\n");
#elif defined(__aarch64__)
#define FRAME_WORDS 20 /* d8 to d15, x19 to x28, x29, x30 */
#define FRAME_FLOAT 0
#define FRAME_FN 8
#define FRAME_ARG 9
#define FRAME_PC 19
#define FLOAT_CONTROL 0

__asm__(".text\n"
	".globl host_switch\n"
	".type host_switch, %function\n"
	"host_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp d8, d9, [sp]\n"
	"	stp d10, d11, [sp, #16]\n"
	"	stp d12, d13, [sp, #32]\n"
	"	stp d14, d15, [sp, #48]\n"
	"	stp x19, x20, [sp, #64]\n"
	"	stp x21, x22, [sp, #80]\n"
	"	stp x23, x24, [sp, #96]\n"
	"	stp x25, x26, [sp, #112]\n"
	"	stp x27, x28, [sp, #128]\n"
	"	stp x29, x30, [sp, #144]\n"
	"	mov x2, sp\n"
	"	str x2, [x0]\n"
	"	mov sp, x1\n"
	"	ldp d8, d9, [sp]\n"
	"	ldp d10, d11, [sp, #16]\n"
	"	ldp d12, d13, [sp, #32]\n"
	"	ldp d14, d15, [sp, #48]\n"
	"	ldp x19, x20, [sp, #64]\n"
	"	ldp x21, x22, [sp, #80]\n"
	"	ldp x23, x24, [sp, #96]\n"
	"	ldp x25, x26, [sp, #112]\n"
	"	ldp x27, x28, [sp, #128]\n"
	"	ldp x29, x30, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size host_switch, . - host_switch\n"
	".globl host_fiber_entry\n"
	".type host_fiber_entry, %function\n"
	"host_fiber_entry:\n"
	"	mov x0, x19\n"
	"	mov x1, x20\n"
	"	mov x29, #0\n"
	"	bl fiber_main\n"
	"	brk #0\n"
	".size host_fiber_entry, . - host_fiber_entry\n");
#endif

/* Lays the frame out so that the entry finds the stack aligned to 16 bytes.  The two words above
 * the frame are 0, which ends backtraces. */
void machine_fiber_init(
	struct machine_fiber *f, void *stack, size_t size, void (*fn)(void *arg), void *arg)
{
	uintptr_t *frame;

	asan_clean(stack, size);
	frame = (uintptr_t *)((char *)stack + size) - FRAME_WORDS - 2;
	for (int i = 0; i < FRAME_WORDS + 2; i++)
		frame[i] = 0;
	frame[FRAME_FLOAT] = FLOAT_CONTROL;
	frame[FRAME_FN] = (uintptr_t)fn;
	frame[FRAME_ARG] = (uintptr_t)arg;
	frame[FRAME_PC] = (uintptr_t)host_fiber_entry;
	*f = (struct machine_fiber){frame, stack, size, tsan_create()};
}

void machine_fiber_adopt(struct machine_fiber *f)
{
	const struct host_core *c = host_self();

	f->stack = (void *)c->stack_low;
	f->size = c->stack_high - c->stack_low;
	f->sanitizer = tsan_current();
}

/* After the switch `c` isn't used: this thread of execution may go on on another core. */
__attribute__((noinline)) void machine_switch(
	struct machine_fiber *from, struct machine_fiber *to, bool last)
{
	struct host_core *c = host_self();
	void *kept = NULL;

	c->stack_low = (uintptr_t)to->stack;
	c->stack_high = c->stack_low + to->size;
	asan_leave(last ? NULL : &kept, to);
	tsan_switch(to);
	host_switch(&from->sp, to->sp);
	asan_arrive(kept);
}

void machine_fiber_end(struct machine_fiber *f)
{
	asan_clean(f->stack, f->size);
	tsan_destroy(f);
}

/* The switch has left a frame at the end of what it pushed. */
size_t machine_fiber_backtrace(const struct machine_fiber *f, uintptr_t *pcs, size_t max)
{
	uintptr_t low = (uintptr_t)f->stack;

	return f->sp ? host_walk(low, low + f->size, (uintptr_t)((uintptr_t *)f->sp + FRAME_WORDS - 2), pcs,
			       max) :
		       0;
}

/* The frame pointer lies below the return address. */
void host_switched_at(const void *sp, uintptr_t *pc, uintptr_t *frame)
{
	const uintptr_t *words = sp;

	*pc = words[FRAME_PC];
	*frame = words[FRAME_PC - 1];
}
