/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the host port share: its start, its terminal and its end.
 */
#ifndef SPANDREL_HOST_H
#define SPANDREL_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* Readies clock, stack bounds and the arguments a reboot starts over with.  Called first, by
 * main(). */
void host_port_init(char **argv);

/* Puts a terminal on standard input into raw mode, so that the monitor sees every key; from here on
 * it is put back at every end of the process but SIGKILL. */
void host_console_init(void);

/* Writes out what is buffered. */
void host_console_flush(void);

/* Puts the terminal back.  Safe in a signal handler, harmless when repeated. */
void host_console_restore(void);

/* Turns the signals of a broken program into panics, and has the terminal restored by those that
 * end the process. */
void host_signals_init(void);

#endif
