/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the host port share: its start, its cores, its terminal and its end.
 */
#ifndef SPANDREL_HOST_H
#define SPANDREL_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ends a process that can't begin, with MACHINE_STOP_REFUSED and one line: `word` and what is wrong with
 * it. */
void host_refuse(const char *word, const char *why) __attribute__((noreturn));

/* Starts the clock, and keeps argv for a reboot.  Called first, by main(). */
void host_port_init(char **argv);

/* Starts the clock. */
void host_clock_init(void);

/* Calls fn(arg) on core 0's stack; it doesn't return. */
void host_run(void (*fn)(void *arg), void *arg) __attribute__((noreturn));

/* The seed of the tests' random numbers, if it isn't 1. */
void host_seed(uint64_t seed);

/* What is told last, before the process ends with `code`. */
void host_ending(int code);

/* Makes `count` cores; what calls becomes core 0. */
void host_cores_init(unsigned count);

/* For what cores are made of: allocates them; core `id`; has what calls be it; counts it as one that runs. */
struct host_core;
void host_cores_make(unsigned count);
struct host_core *host_core(unsigned id);
void host_core_enter(struct host_core *c);
void host_core_started(unsigned id);

/* Interrupts that can be raised on a core. */
#define HOST_POKE (1u << 0)  /* ends a wait; kernel_poked() */
#define HOST_CALL (1u << 1)  /* port_core_run() */
#define HOST_TIMER (1u << 2) /* kernel_timer() */
#define HOST_INPUT (1u << 3) /* kernel_input() */
#define HOST_SLEEPING (1u << 31) /* none: the core waits in host_sleep() */
void host_raise(unsigned core, uint32_t interrupt);

/* The running core waits until an interrupt is raised on it; ends that wait of a core. */
void host_sleep(struct host_core *c);
void host_wake(struct host_core *c);

/* Starts the thread that raises timers and input. */
void host_keeper_start(unsigned cores);

/* Has the keeper raise HOST_INPUT on core 0 when input comes.  Called when there is none. */
void host_input_await(void);

/* Maps `size` bytes of RAM, whole pages, and reserves the kernel's virtual addresses.  Returns
 * where, or NULL. */
void *host_ram_map(size_t size);

/* Puts a terminal on standard input into raw mode, so that the monitor sees every key; from here on
 * its old mode is restored at every end of the process but SIGKILL. */
void host_console_init(void);

/* Writes out what is buffered. */
void host_console_flush(void);

/* Restores the terminal's mode.  Safe in a signal handler, harmless when repeated. */
void host_console_restore(void);

/* Interrupts core 0's thread wherever it is, and calls kernel_late() there. */
void host_raise_late(void);

/* Where a signal's context was interrupted: instruction and frame pointer; 0: unknown. */
void host_interrupted_at(const void *context, uintptr_t *pc, uintptr_t *frame);

/* Where what was switched away from with host_switch() goes on, by the stack pointer that was saved. */
void host_switched_at(const void *sp, uintptr_t *pc, uintptr_t *frame);

/* Pushes the registers that a call preserves, stores the stack pointer in *save, and goes on with
 * the stack at `sp`. */
void host_switch(void **save, void *sp);

/* Fills pcs[0 .. max) with the return addresses of the frames from `frame` on that lie in the stack
 * [low, high); returns how many. */
size_t host_walk(uintptr_t low, uintptr_t high, uintptr_t frame, uintptr_t *pcs, size_t max);

/* Where a freeze stopped the core: the instruction's address, or 0, and the frame pointer. */
const struct host_core *host_frozen_at(unsigned core, uintptr_t *pc, uintptr_t *frame);

/* Gives the calling thread a second stack for signals: an overflow of its first is reported. */
void host_signals_stack(void);

/* Sets the signal handlers: the faults of a program become panics, and signals that end the process
 * restore the terminal first. */
void host_signals_init(void);

#endif
