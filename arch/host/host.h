/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the host port share: its start, its cores, its terminal and its end.
 */
#ifndef SPANDREL_HOST_H
#define SPANDREL_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Readies clock and the arguments a reboot starts over with.  Called first, by main(). */
void host_port_init(char **argv);

/* Makes room for `count` cores; the caller becomes core 0. */
void host_cores_init(unsigned count);

/* Interrupts that can be raised on a core. */
#define HOST_POKE (1u << 0)  /* does nothing but end a wait */
#define HOST_CALL (1u << 1)  /* port_core_run() */
#define HOST_TIMER (1u << 2) /* kernel_timer() */
#define HOST_INPUT (1u << 3) /* kernel_input() */
void host_raise(unsigned core, uint32_t interrupt);

/* Starts the thread that raises timers and input. */
void host_keeper_start(unsigned cores);

/* There is no input now: has HOST_INPUT raised on core 0 when some comes. */
void host_input_await(void);

/* Maps `size` bytes of RAM, whole pages, and reserves the kernel's virtual addresses.  Returns
 * where, or NULL. */
void *host_ram_map(size_t size);

/* Puts a terminal on standard input into raw mode, so that the monitor sees every key; from here on
 * it is put back at every end of the process but SIGKILL. */
void host_console_init(void);

/* Writes out what is buffered. */
void host_console_flush(void);

/* Puts the terminal back.  Safe in a signal handler, harmless when repeated. */
void host_console_restore(void);

/* Gives the calling thread a stack for signals, so that an overflow of its own can be reported. */
void host_signals_stack(void);

/* Turns the signals of a broken program into panics, and has the terminal restored by those that
 * end the process. */
void host_signals_init(void);

#endif
